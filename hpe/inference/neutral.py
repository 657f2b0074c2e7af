"""Poses relative to how someone looks at rest: the neutral look of a face is the mean of its rotations there.

The relative rotation is R_neutral^T R, the head's turn about the axes of the neutral head: what a camera straight
before that look would see. It is no difference of angles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpe.inference.predictor import Face
from hpe.inference.sources import read_table
from hpe.io.errors import HpeError
from hpe.pose.crop import Box
from hpe.pose.rotation import euler_to_matrix, matrix_to_euler, mean_rotation, nearer_euler

AGAIN_S = 1.0
"""How long a face is watched when the neutral look is asked for anew, unless the user said so."""


class NeutralError(HpeError, ValueError):
    """A neutral look that cannot be had; the message says what to give."""


@dataclass
class _Look:
    """One face: what is known of its neutral look."""

    since_s: float
    box: Box
    rotations: list[np.ndarray] = field(default_factory=list)
    """Each (3, 3), while it is watched."""
    mean: np.ndarray | None = None
    """(3, 3), once it is known."""


class NeutralLooks:
    """The neutral look of every face of a video: what it looks like on average in its first `seconds`.

    A face that comes back under a new number, or comes for another that left, has the look of the nearest one that
    left. With `fixed`, a rotation (3, 3), all faces have this look from the start. With neither, poses stay as they are
    until `again` is called, whose look holds until the next `begin`.
    """

    def __init__(self, seconds: float | None = None, fixed: np.ndarray | None = None) -> None:
        self.seconds, self._given, self._fixed = seconds, fixed, fixed
        self._again = False
        self._watch_s = seconds
        self._looks: dict[int, _Look] = {}
        self.known = fixed is not None
        """Whether any face has had its look since `begin`."""

    def begin(self) -> None:
        """A new picture or video: its faces are other ones."""
        self._again, self._watch_s, self._looks, self._fixed = False, self.seconds, {}, self._given
        self.known = self._given is not None

    def again(self) -> None:
        """Watch all faces anew from the next frame on; may be called from another thread."""
        self._again = True

    def __call__(
        self, time_s: float, faces: Sequence[tuple[int, Face]], report: Callable[[str], object] = lambda line: None
    ) -> list[tuple[np.ndarray, bool | None]]:
        """The pose of each (number, face) of a frame in degrees (3,), and whether it is relative; None: not asked."""
        if self._again:
            self._again, self._watch_s, self._looks, self._fixed = False, self.seconds or AGAIN_S, {}, None
        present = {number for number, _ in faces}
        return [self._told(time_s, number, face, present, report) for number, face in faces]

    def _told(
        self, time_s: float, number: int, face: Face, present: set[int], report: Callable[[str], object]
    ) -> tuple[np.ndarray, bool | None]:
        if self._fixed is not None:
            return relative_pose(face.pose_deg, self._fixed), True
        if self._watch_s is None:
            return face.pose_deg, None
        if number not in self._looks:
            self._looks[number] = _Look(time_s, face.box, mean=self._left_behind(face.box, present))
        look = self._looks[number]
        look.box = face.box
        if look.mean is None and look.rotations and time_s - look.since_s >= self._watch_s:
            look.mean, self.known = mean_rotation(np.stack(look.rotations)), True
            look.rotations = []
            yaw, pitch, roll = matrix_to_euler(look.mean)
            report(f"face {number}: neutral look yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f} deg; "
                   "poses are relative to it from here on")  # fmt: skip
        if look.mean is None:
            look.rotations.append(euler_to_matrix(face.pose_deg))
            return face.pose_deg, False
        return relative_pose(face.pose_deg, look.mean), True

    def _left_behind(self, box: Box, present: set[int]) -> np.ndarray | None:
        """The look (3, 3) of the nearest face that is not there any more, nor under another number."""
        there = {id(look.mean) for number, look in self._looks.items() if number in present}
        left = [look for look in self._looks.values() if look.mean is not None and id(look.mean) not in there]
        return min(left, key=lambda look: _distance(look.box, box)).mean if left else None


def relative_pose(pose_deg: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll (3,) in degrees of a pose (3,), seen from the neutral rotation (3, 3)."""
    rotation = neutral.T @ euler_to_matrix(np.asarray(pose_deg, np.float64))
    return nearer_euler(rotation, pose_deg - matrix_to_euler(neutral))


def parse_neutral(text: str) -> NeutralLooks:
    """What --neutral names: SECONDS, or a CSV that `hpe predict` wrote while someone looked so."""
    try:
        seconds = float(text)
    except ValueError:
        return NeutralLooks(fixed=read_look(Path(text)))
    if not 0 < seconds < math.inf:
        raise NeutralError(f"--neutral {text}: give seconds above 0, for instance --neutral 2, or a CSV of predict")
    return NeutralLooks(seconds)


def read_look(path: Path) -> np.ndarray:
    """The mean rotation (3, 3) of the rows of a CSV with the columns yaw_deg, pitch_deg, roll_deg."""
    if not path.is_file():
        raise NeutralError(f"--neutral {path}: neither seconds nor a file; give 2, or a CSV that predict wrote")
    names = ("yaw_deg", "pitch_deg", "roll_deg")
    columns, rows = read_table(path)
    if not set(names) <= set(columns):
        raise NeutralError(f"{path}: needs the columns {', '.join(names)}, as hpe predict --csv writes them")
    poses = []
    for line, row in rows:
        if row.get("relative") == "1":
            continue
        try:
            poses.append([float(row[name]) for name in names])
        except (TypeError, ValueError):
            raise NeutralError(f"{path}, line {line}: {', '.join(names)} must be three numbers") from None
    if not poses or not np.isfinite(poses).all():
        raise NeutralError(f"{path}: holds no pose that is not relative already; look at rest with hpe predict --csv")
    return mean_rotation(euler_to_matrix(np.array(poses)))


def _distance(first: Box, second: Box) -> float:
    """Between the middles, in pixels."""
    x, y = (first[0] + first[2] - second[0] - second[2]) / 2, (first[1] + first[3] - second[1] - second[3]) / 2
    return math.hypot(x, y)
