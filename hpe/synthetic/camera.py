"""The camera: perspective, the standard crop around the 68 landmarks, and splatting of surfels into a z-buffer."""

from dataclasses import dataclass

import numpy as np

from hpe.synthetic.draws import Draws

CROP_K = 0.2
"""Widening of the landmarks' box: 2k of its size to the left, right and top, 0.6k to the bottom (AFLW2000 practice)."""

_DEPTH_RANGE = 800.0  # mm in front of and behind the neck that the z-buffer can tell apart
_ID_BITS = 16  # a z-buffer word is (depth, surfel number): the nearer surfel wins a maximum
_STEP_MM = 10.0  # a hole is a pixel whose neighbour is this much nearer


@dataclass(frozen=True)
class Camera:
    """A pinhole camera on the z axis."""

    distance: float
    """From the pivot of the head, mm."""

    @classmethod
    def draw(cls, draws: Draws) -> "Camera":
        return cls(draws.uniform(650, 2200))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x right and y down on the picture plane through the pivot, in mm, of points (3, n)."""
        scale = np.float32(self.distance) / (np.float32(self.distance) - points[2])
        return points[0] * scale, -points[1] * scale


def standard_box(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the standard crop around landmarks at x (right) and y (down)."""
    left, right, top, bottom = float(x.min()), float(x.max()), float(y.min()), float(y.max())
    width, height = right - left, bottom - top
    return (
        left - 2 * CROP_K * width,
        top - 2 * CROP_K * height,
        right + 2 * CROP_K * width,
        bottom + 0.6 * CROP_K * height,
    )


def to_pixels(
    x: np.ndarray, y: np.ndarray, box: tuple[float, float, float, float], pixels: int, border: int
) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, as floats, where the box fills pixels x pixels and `border` more surround it."""
    left, top, right, bottom = box
    column = (x - np.float32(left)) * np.float32(pixels / (right - left)) + np.float32(border)
    row = (y - np.float32(top)) * np.float32(pixels / (bottom - top)) + np.float32(border)
    return column, row


def splat(depth: np.ndarray, column: np.ndarray, row: np.ndarray, side: int, grow: int) -> np.ndarray:
    """The number of the nearest surfel at each pixel of a side x side picture, -1 where there is none; (side * side,).

    A surfel covers one pixel; `grow` rounds of growth then close holes, which are pixels whose neighbour is much nearer.
    """
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    number = np.flatnonzero(inside)
    pixel = row[number].astype(np.int32) * side + column[number].astype(np.int32)
    levels = np.clip((depth[number] + _DEPTH_RANGE) * ((2**15 - 2) / (2 * _DEPTH_RANGE)), 0, 2**15 - 2)
    word = ((levels.astype(np.int32) + 1) << _ID_BITS) | number.astype(np.int32)
    buffer = np.zeros(side * side, np.int32)
    np.maximum.at(buffer, pixel, word)
    step = np.int32(_STEP_MM * (2**15 - 2) / (2 * _DEPTH_RANGE))
    buffer = buffer.reshape(side, side)
    for _ in range(grow):
        nearest = buffer.copy()
        np.maximum(nearest[:, 1:], buffer[:, :-1], out=nearest[:, 1:])
        np.maximum(nearest[:, :-1], buffer[:, 1:], out=nearest[:, :-1])
        beside = nearest.copy()
        np.maximum(nearest[1:], beside[:-1], out=nearest[1:])
        np.maximum(nearest[:-1], beside[1:], out=nearest[:-1])
        hole = (nearest >> _ID_BITS) - (buffer >> _ID_BITS) > step
        np.copyto(buffer, nearest, where=hole)
    return np.where(buffer > 0, buffer & (2**_ID_BITS - 1), -1).ravel()
