"""What the outputs of a network mean. The three angles come first; a network may answer more, told by their number.

| outputs | what they are |
|---|---|
| 3 | yaw, pitch, roll in degrees |
| 7 | and where the face lies in the crop: shift to the right, shift down, size; and whether there is a face |
| 6 | the angles, and the spread of each |
| 10 | the angles, the place, the spreads |

All are in units in which a network's answers are about as large as its angles are in degrees: one scale of an int8 file
suits them all. `read_outputs` takes them to what a program wants. Numpy alone, as on a Pi.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

POSE, PLACE, SPREAD = 3, 4, 3
"""How many numbers each part has."""
PLACE_UNIT = 300.0
"""This much means a shift by a whole crop, or a size e times as large."""
SCORE_UNIT = 10.0
"""This much is one in the logit of there being a face."""
SPREAD_UNIT = 30.0
"""This much means a spread e times as large."""
SPREAD_AT_ZERO_DEG = 2.0
"""The spread where the output is zero."""
LARGEST_SHIFT, LARGEST_LOG_SIZE = 0.35, math.log(2)
"""Nothing beyond is believed: no crop of training was so far off."""


def output_count(locate: bool, spread: bool) -> int:
    """How many outputs a network has."""
    return POSE + PLACE * locate + SPREAD * spread


def output_parts(count: int) -> tuple[bool, bool]:
    """Whether a network of `count` outputs locates the face, and whether it tells spreads; ValueError for another."""
    for locate in (False, True):
        for spread in (False, True):
            if output_count(locate, spread) == count:
                return locate, spread
    raise ValueError(f"{count} outputs: a head-pose network has 3, 6, 7 or 10")


def output_names(count: int) -> list[str]:
    """A name for each output, in their order."""
    locate, spread = output_parts(count)
    names = ["yaw", "pitch", "roll"]
    names += ["shift_x", "shift_y", "log_size", "face_logit"] if locate else []
    return names + (["yaw_log_spread", "pitch_log_spread", "roll_log_spread"] if spread else [])


@dataclass(frozen=True)
class Reading:
    """What a network says of N crops."""

    pose_deg: np.ndarray
    """(N, 3): yaw, pitch, roll."""
    place: np.ndarray | None
    """(N, 3): the middle of the face's standard crop right of and below that of the crop seen, as a share of its side,
    and the side of the standard crop as a share of it. None where the network does not say."""
    face: np.ndarray | None
    """(N,): how likely there is a face, 0 to 1. None likewise."""
    spread_deg: np.ndarray | None
    """(N, 3): the mean absolute error that the network expects of each angle. None likewise."""


def read_outputs(outputs: np.ndarray) -> Reading:
    """The outputs (N, K) in the units of a program; ValueError where no network of ours has K of them."""
    locate, spread = output_parts(outputs.shape[1])
    place = face = spread_deg = None
    if locate:
        shift = np.clip(outputs[:, 3:5] / PLACE_UNIT, -LARGEST_SHIFT, LARGEST_SHIFT)
        log_size = np.clip(outputs[:, 5:6] / PLACE_UNIT, -LARGEST_LOG_SIZE, LARGEST_LOG_SIZE)
        place = np.concatenate([shift, np.exp(log_size)], 1)
        face = 1 / (1 + np.exp(-np.clip(outputs[:, 6] / SCORE_UNIT, -30, 30)))
    if spread:
        spread_deg = SPREAD_AT_ZERO_DEG * np.exp(np.clip(outputs[:, -SPREAD:] / SPREAD_UNIT, -10, 5))
    return Reading(outputs[:, :POSE], place, face, spread_deg)
