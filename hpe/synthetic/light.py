"""Light: a key lamp that casts shadows, a fill lamp, ambient sky and the camera's exposure. See shading for its use."""

import math
from typing import NamedTuple

import numpy as np

from hpe.synthetic.draws import Draws

Triple = tuple[np.float32, np.float32, np.float32]


class Light(NamedTuple):
    """The lamps of one picture, in plain float32 numbers, which compiled code reads fastest.

    Directions are unit vectors towards the lamp in camera axes; colours are linear RGB.
    """

    key: Triple
    across: Triple
    """With `up` and `key`, the axes of the shadow map; this one is level."""
    up: Triple
    key_colour: Triple
    half_way: Triple
    """Between the key lamp and the camera: where normals point at highlights."""
    fill: Triple
    fill_colour: Triple
    sky_colour: Triple
    wrap: np.float32
    """Softness of the key lamp: how far light reaches round."""
    shadow: np.float32
    """Depth of the cast shadow, 0..1."""
    shine: np.float32
    """Strength of highlights."""
    rim: np.float32
    """Light along the silhouette."""
    exposure: np.float32

    @classmethod
    def draw(cls, draws: Draws, skin: np.ndarray) -> "Light":
        around, above = draws.uniform(-0.75, 0.75) * math.pi, draws.uniform(-0.35, 1.2)
        opposite = around + math.pi * draws.uniform(0.5, 1.2)
        level = math.cos(above)  # neither lamp ever stands behind the head
        x, y, z = _unit(math.sin(around) * level, math.sin(above), abs(math.cos(around)) * level)
        level = math.hypot(x, z)
        fill = _unit(math.sin(opposite), draws.normal(0.2), 0.6 * abs(math.cos(opposite)) + 0.1)
        key_level, fill_level, sky_level = draws.uniform(0.3, 1.6), 0.6 * draws.uniform() ** 2, draws.uniform(0.2, 0.8)
        # A camera exposes for what it sees: bright scenes and light skin less, but not fully.
        metered = (0.5 * key_level + 0.8 * sky_level + 0.3 * fill_level) * float(skin.mean()) ** 0.5
        return cls(
            key=_triple(x, y, z),
            across=_triple(z / level, 0.0, -x / level),
            up=_triple(-y * x / level, level, -y * z / level),
            key_colour=_triple(*(draws.tint(0.14) * key_level)),
            half_way=_triple(*_unit(x, y, z + 1)),
            fill=_triple(*fill),
            fill_colour=_triple(*(draws.tint(0.14) * fill_level)),
            sky_colour=_triple(*(draws.tint(0.10) * sky_level)),
            wrap=np.float32(draws.uniform(0, 0.35)),
            shadow=np.float32(draws.uniform(0.5, 1.0)),
            shine=np.float32(draws.uniform(0, 0.35)),
            rim=np.float32(0.15 * draws.uniform() ** 4),
            exposure=np.float32(draws.uniform(0.5, 1.1) * (0.75 / metered) ** 0.7),
        )


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length


def _triple(x: float, y: float, z: float) -> Triple:
    return np.float32(x), np.float32(y), np.float32(z)
