"""Small geometric helpers: smooth steps, bumps, curves through knots, and the surfel layout.

Lengths are in millimetres, axes are x right (as seen), y up, z to the camera; point sets are (3, n) float32.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hpe.synthetic.surfels import turn_into

# A scene is a cloud of surfels: an (11, n) float32 array with these rows.
POSITION = slice(0, 3)  # mm
NORMAL = slice(3, 6)  # any length
ALBEDO = slice(6, 9)  # linear RGB
AMBIENT = 9  # how much of the ambient light arrives, 0 to 1
GLOSS = 10  # strength of the highlight, skin is 0.5
SURFEL_ROWS = 11


def smoothstep(start: float, stop: float, x: np.ndarray) -> np.ndarray:
    """0 before `start`, 1 after `stop` (which may be the smaller), a cubic between."""
    t = x - start
    t *= 1.0 / (stop - start)
    np.clip(t, 0.0, 1.0, out=t)
    step = 3.0 - 2.0 * t
    step *= t
    step *= t
    return step


def bump(
    x: np.ndarray, y: np.ndarray, centre_x: float, centre_y: float, radius_x: float, radius_y: float
) -> np.ndarray:
    """A Gaussian bump of height 1; its value is 1/e one radius away."""
    return np.exp(-(((x - centre_x) / radius_x) ** 2) - ((y - centre_y) / radius_y) ** 2)


def curve(x: np.ndarray, knots: Sequence[tuple[float, float]]) -> np.ndarray:
    """Monotone cubic through (x, y) knots, constant outside (Fritsch and Butland 1984, as in PCHIP)."""
    knot_x, knot_y = np.array(sorted(knots), dtype=np.float64).T
    step = np.diff(knot_x)
    slope = np.diff(knot_y) / step
    tangent = np.zeros_like(knot_y)
    rising = slope[:-1] * slope[1:] > 0
    weight1, weight2 = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        harmonic = (weight1 + weight2) / (weight1 / slope[:-1] + weight2 / slope[1:])
    tangent[1:-1] = np.where(rising, harmonic, 0.0)
    tangent[0], tangent[-1] = slope[0], slope[-1]
    x = np.clip(np.asarray(x, dtype=np.float64), knot_x[0], knot_x[-1])
    i = np.clip(np.searchsorted(knot_x, x, side="right") - 1, 0, len(step) - 1)
    t = (x - knot_x[i]) / step[i]
    rise = knot_y[i] * (1 + 2 * t) * (1 - t) ** 2 + knot_y[i + 1] * t**2 * (3 - 2 * t)
    return rise + step[i] * t * (1 - t) * (tangent[i] * (1 - t) - tangent[i + 1] * t)


def facing(normals: np.ndarray, outward: np.ndarray) -> np.ndarray:
    """The normals (3, n), each turned to the side of `outward` (3, n)."""
    away = (normals * outward).sum(axis=0) < 0
    return normals * (1 - 2 * away.astype(np.float32))


class Part(NamedTuple):
    """A part of a scene in head coordinates: n surfels. What is not (3, n) is spread over all of them."""

    position: np.ndarray
    """(3, n) mm."""
    normal: np.ndarray
    """(3, n), any length."""
    albedo: np.ndarray
    """(3, n) or (3, 1) linear RGB."""
    ambient: np.ndarray | float = 1.0
    """(n,) or one number, as in a surfel."""
    gloss: np.ndarray | float = 0.3
    """(n,) or one number, as in a surfel."""


def assemble(parts: Sequence[Part], rotation: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    """All parts as surfels (11, n), turned by `rotation` (3, 3) about `pivot` (3,), which becomes the origin."""
    scene = np.empty((SURFEL_ROWS, sum(part.position.shape[1] for part in parts)), np.float32)
    origin = np.zeros(3, np.float32)
    start = 0
    for part in parts:
        stop = start + part.position.shape[1]
        span = scene[:, start:stop]
        turn_into(span[POSITION], part.position, rotation, pivot)
        turn_into(span[NORMAL], part.normal, rotation, origin)
        span[ALBEDO], span[AMBIENT], span[GLOSS] = part.albedo, part.ambient, part.gloss
        start = stop
    return scene
