"""What sets of heads there are, and the poses in them."""

from dataclasses import dataclass

import numpy as np

from hpe.synthetic.draws import Draws


@dataclass(frozen=True)
class Preset:
    """What a set of heads contains."""

    stream: int
    """Number of its random stream; presets that share it show the same heads in the same poses."""
    wide: bool
    """Poses: |yaw| to 99 degrees, or to 60 and mostly upright."""
    glasses: float
    """Probability."""
    hat: float
    """Probability."""
    occluder: float
    """Probability."""
    degraded: bool


PRESETS = {
    "easy": Preset(stream=1, wide=False, glasses=0.1, hat=0.0, occluder=0.0, degraded=False),
    "full": Preset(stream=2, wide=True, glasses=0.25, hat=0.14, occluder=0.12, degraded=True),
    "clean": Preset(stream=2, wide=True, glasses=0.25, hat=0.14, occluder=0.0, degraded=False),
}
"""`easy`: moderate poses, clean pictures. `full`: everything. `clean`: the heads of `full`, undegraded, unoccluded."""


def draw_pose(draws: Draws, wide: bool) -> np.ndarray:
    """(yaw, pitch, roll) in degrees, (3,) float32."""
    flat, flat_pitch, flat_roll = draws.chance(0.5), draws.chance(0.12), draws.chance(0.1)
    yaw = (draws.uniform(-99, 99), draws.normal(28))[not flat]
    pitch = (draws.uniform(-55, 55), draws.normal(17) - 2)[not flat_pitch]
    roll = (draws.uniform(-55, 55), draws.normal(12))[not flat_roll]
    if not wide:
        yaw, pitch, roll = yaw * 60 / 99, pitch * 0.55, roll * 0.5
    calm = 1 - 0.45 * (yaw / 99) ** 2  # at profile, pitch and roll are smaller, as in photographs
    return np.array([yaw, pitch * calm, roll * calm], np.float32)
