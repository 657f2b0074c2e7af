"""The camera: perspective, the standard crop around the 68 landmarks, and splatting of surfels into a z-buffer."""

from dataclasses import dataclass

import numpy as np

from hpe.crop import Box, widen
from hpe.synthetic.draws import Draws

_DEPTH_RANGE = 800.0  # mm in front of and behind the neck that the z-buffer can tell apart
_ID_BITS = 16  # a z-buffer word is (depth, surfel number): the nearer surfel wins a maximum
_LEVELS = 2**15 - 1
_LEVELS_PER_MM = _LEVELS / (2 * _DEPTH_RANGE)
_STEP_MM = 10.0  # a hole shows something at least this much farther away


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


def standard_box(x: np.ndarray, y: np.ndarray) -> Box:
    """(left, top, right, bottom) of the standard crop around landmarks at x (right) and y (down)."""
    return widen((float(x.min()), float(y.min()), float(x.max()), float(y.max())))


def to_pixels(x: np.ndarray, y: np.ndarray, box: Box, pixels: float, border: float) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, as floats, where the box fills pixels x pixels and `border` more surround it."""
    left, top, right, bottom = box
    column = (x - np.float32(left)) * np.float32(pixels / (right - left)) + np.float32(border)
    row = (y - np.float32(top)) * np.float32(pixels / (bottom - top)) + np.float32(border)
    return column, row


def splat(
    depth: np.ndarray, column: np.ndarray, row: np.ndarray, side: int, reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of a side x side picture that are covered (m,), and the number of the nearest surfel at each (m,).

    A surfel covers one pixel. Holes up to 2 * reach pixels wide, where the background or a farther surface shows
    between neighbours, are then closed by a morphological closing of the z-buffer, which leaves silhouettes alone.
    """
    padded = side + 2  # a ring around the picture takes what falls outside
    ring_column = np.minimum(np.maximum(column + np.float32(1), 0), np.float32(side + 1)).astype(np.int32)
    ring_row = np.minimum(np.maximum(row + np.float32(1), 0), np.float32(side + 1)).astype(np.int32)
    levels = ((depth + np.float32(_DEPTH_RANGE)) * np.float32(_LEVELS_PER_MM)).astype(np.int32)
    word = (levels << _ID_BITS) | np.arange(depth.size, dtype=np.int32)
    buffer = np.zeros(padded * padded, np.int32)
    np.maximum.at(buffer, ring_row * padded + ring_column, word)
    buffer = np.ascontiguousarray(buffer.reshape(padded, padded)[1:-1, 1:-1])
    closed = _spread(_spread(buffer, np.maximum, reach), np.minimum, reach)
    hole = (closed >> _ID_BITS) - (buffer >> _ID_BITS) > np.int32(_STEP_MM * _LEVELS_PER_MM)
    np.copyto(buffer, closed, where=hole)
    covered = np.flatnonzero(buffer)
    return covered, buffer.ravel()[covered] & (2**_ID_BITS - 1)


def _spread(buffer: np.ndarray, extreme: np.ufunc, reach: int) -> np.ndarray:
    """The maximum or minimum of (side, side) over squares of 2 * reach + 1 pixels."""
    for _ in range(reach):
        across = buffer.copy()
        extreme(across[:, 1:], buffer[:, :-1], out=across[:, 1:])
        extreme(across[:, :-1], buffer[:, 1:], out=across[:, :-1])
        buffer = across.copy()
        extreme(buffer[1:], across[:-1], out=buffer[1:])
        extreme(buffer[:-1], across[1:], out=buffer[:-1])
    return buffer
