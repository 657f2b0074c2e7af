"""The camera: perspective, and the standard crop around the 68 landmarks."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hpe.pose.crop import Box, widen
from hpe.synthetic.draws import Draws
from hpe.synthetic.raster import project


class View(NamedTuple):
    """How millimetres right and down on the plane of the neck become columns and rows, two (2,) float32 arrays."""

    scale: np.ndarray
    shift: np.ndarray


_MILLIMETRES = View(np.ones(2, np.float32), np.zeros(2, np.float32))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera on the z axis."""

    distance: float
    """From the pivot of the head, mm."""

    @classmethod
    def draw(cls, draws: Draws) -> "Camera":
        return cls(draws.uniform(650, 2200))

    def look(self, points: np.ndarray, view: View = _MILLIMETRES) -> tuple[np.ndarray, np.ndarray]:
        """Column and row (n,) of points (3, n); without a view, mm right and down on the plane of the neck."""
        return project(points, np.float32(self.distance), view.scale, view.shift)

    def view_of(self, landmarks: np.ndarray, pixels: float, border: float) -> View:
        """The view in which the standard crop around landmarks (3, 68) fills pixels x pixels, `border` more around."""
        left, top, right, bottom = standard_box(*self.look(landmarks))
        scale = np.array([pixels / (right - left), pixels / (bottom - top)])
        shift = border - scale * [left, top]
        return View(scale.astype(np.float32), shift.astype(np.float32))


def standard_box(x: np.ndarray, y: np.ndarray) -> Box:
    """(left, top, right, bottom) of the standard crop around landmarks at x (right) and y (down)."""
    return widen((float(x.min()), float(y.min()), float(x.max()), float(y.max())))
