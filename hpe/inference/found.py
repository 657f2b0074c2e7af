"""From what a face detector says to the box around the 68 landmarks, which training knows.

A detector's box goes from the forehead to the chin and turns little with the head; the landmarks' box begins at the
brows and follows the jaw. The constants were measured by `benchmarks/face_boxes.py` on training faces.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpe.pose.crop import Box

Points = tuple[tuple[float, float], ...]
"""x, y in pixels: the eye on the picture's left, the other, the nose, the mouth's corners on its left and right."""

# benchmarks/face_boxes.py, YuNet's boxes: where the landmarks' box lies in a detector's box of width and height 1
LEFT, TOP, RIGHT, BOTTOM = 0.006, 0.234, 0.994, 1.004
PER_DEGREE = 0.002
"""How far the middle moves to the right for a degree of yaw (the nose goes left, the back of the jaw right)."""
LARGEST_YAW_DEG = 60.0
"""Beyond this the middle stays where it is."""

# The same with the five points: an edge = offset + weights * (x and y of each point, from the middle of the box).
EDGES: dict[str, tuple[float, tuple[float, ...]]] = {
    "left": (-0.0760, (-0.3625, -0.2299, 0.2171, 0.3223, -0.2153, 0.0145, 0.2111, 0.0298, -0.0489, 0.0068)),
    "top": (0.1297, (0.1096, 0.4253, -0.1096, 0.4253, 0.0000, -0.1194, -0.3310, 0.2996, 0.3310, 0.2996)),
    "right": (1.0760, (0.2171, -0.3223, -0.3625, 0.2299, -0.2153, -0.0145, -0.0489, -0.0068, 0.2111, -0.0298)),
    "bottom": (1.0983, (0.0869, 0.2190, -0.0869, 0.2190, 0.0000, -0.1025, -0.0612, -0.0419, 0.0612, -0.0419)),
}


@dataclass(frozen=True)
class Found:
    """A face as a detector found it, in pixels of the picture."""

    left: float
    top: float
    width: float
    height: float
    points: Points | None = None
    """None where the detector gives a box alone."""
    score: float = 1.0

    def box(self, yaw_deg: float | None = None) -> Box:
        """The box (left, top, right, bottom) that 68 landmarks would have; the points say more than a yaw does."""
        if self.points is not None:
            features = [value for x, y in self.points for value in self._inside(x, y)]
            edges = [offset + sum(map(float.__mul__, weights, features)) for offset, weights in EDGES.values()]
            left, top, right, bottom = edges
        else:
            shift = PER_DEGREE * min(max(yaw_deg or 0.0, -LARGEST_YAW_DEG), LARGEST_YAW_DEG)
            left, top, right, bottom = LEFT + shift, TOP, RIGHT + shift, BOTTOM
        return (
            self.left + left * self.width,
            self.top + top * self.height,
            self.left + right * self.width,
            self.top + bottom * self.height,
        )

    def _inside(self, x: float, y: float) -> tuple[float, float]:
        """A point in a box of width and height 1 around zero."""
        return (x - self.left) / self.width - 0.5, (y - self.top) / self.height - 0.5

    def moved(self, scale: float, right: float, down: float) -> Found:
        """The same face in a picture `scale` times as large, of which this one began at (right, down)."""
        points = self.points and tuple((x * scale + right, y * scale + down) for x, y in self.points)
        left, top = self.left * scale + right, self.top * scale + down
        return Found(left, top, self.width * scale, self.height * scale, points, self.score)


def as_detected(box: Box) -> Found:
    """A box of somebody's detector (left, top, right, bottom in pixels)."""
    left, top, right, bottom = box
    return Found(left, top, right - left, bottom - top)
