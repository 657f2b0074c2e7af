"""Small geometric helpers: smooth steps, bumps, curves through knots, normals of grids, and the surfel layout.

Lengths are in millimetres, axes are x right (as seen), y up, z to the camera; point sets are (3, n) float32.
"""

from collections.abc import Sequence

import numpy as np

# Every part of a scene is a cloud of surfels: an (11, n) float32 array with these rows.
POSITION = slice(0, 3)  # mm
NORMAL = slice(3, 6)  # any length
ALBEDO = slice(6, 9)  # linear RGB
AMBIENT = 9  # how much of the ambient light arrives, 0 to 1
GLOSS = 10  # strength of the highlight, skin is 0.5
SURFEL_ROWS = 11


def smoothstep(start: float, stop: float, x: np.ndarray) -> np.ndarray:
    """0 before `start`, 1 after `stop` (which may be the smaller), a cubic between."""
    t = (x - start) * (1.0 / (stop - start))
    t = np.minimum(np.maximum(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


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


def grid_normals(points: np.ndarray, rows: int, columns: int, closed: bool) -> np.ndarray:
    """Normals (3, rows*columns), not normalised, of a grid (3, rows*columns); `closed` joins last column and first.

    They point outward when columns run counter-clockwise seen from above (phi = atan2(x, z)) and rows run downward.
    """
    grid = points.reshape(3, rows, columns)
    across, down = np.empty_like(grid), np.empty_like(grid)
    np.subtract(grid[:, :, 2:], grid[:, :, :-2], out=across[:, :, 1:-1])
    first, last = (-1, 0) if closed else (0, -1)
    across[:, :, 0] = grid[:, :, 1] - grid[:, :, first]
    across[:, :, -1] = grid[:, :, last] - grid[:, :, -2]
    np.subtract(grid[:, 2:], grid[:, :-2], out=down[:, 1:-1])
    down[:, 0] = grid[:, 1] - grid[:, 0]
    down[:, -1] = grid[:, -1] - grid[:, -2]
    (ax, ay, az), (bx, by, bz) = down, across
    normals = np.empty_like(grid)
    normals[0] = ay * bz - az * by
    normals[1] = az * bx - ax * bz
    normals[2] = ax * by - ay * bx
    return normals.reshape(3, -1)


def facing(normals: np.ndarray, outward: np.ndarray) -> np.ndarray:
    """The normals (3, n), each turned to the side of `outward` (3, n)."""
    away = (normals * outward).sum(axis=0) < 0
    return normals * (1 - 2 * away.astype(np.float32))


def surfels(
    position: np.ndarray,
    normal: np.ndarray,
    albedo: np.ndarray,
    ambient: np.ndarray | float = 1.0,
    gloss: np.ndarray | float = 0.3,
) -> np.ndarray:
    """Pack a part's arrays, (3, n) or (n,) or broadcastable to these, into surfels (11, n)."""
    packed = np.empty((SURFEL_ROWS, position.shape[1]), np.float32)
    packed[POSITION], packed[NORMAL], packed[ALBEDO] = position, normal, albedo
    packed[AMBIENT], packed[GLOSS] = ambient, gloss
    return packed
