"""Faces in pictures, found by the cascades that OpenCV's wheel carries (Viola & Jones, CVPR 2001).

A cascade answers with a square; training knows the box around the 68 landmarks. `Found.box` goes from one to the other
with constants that `benchmarks/face_boxes.py` measured. OpenCV is loaded on first use (the extra `vision`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from hpe.io.errors import HpeError
from hpe.pose.crop import Box

PICTURE_PX, VIDEO_PX = 640, 320
"""Longer side in pixels to which a picture, or a frame of a video, is shrunk before it is searched."""
SMALLEST_PX = 30
"""Side in pixels, after shrinking, of the smallest face looked for."""
SCALE_STEP = 1.1
NEIGHBOURS = 3
"""How many overlapping answers of the cascade make a face."""
SEARCH_EVERY = 10
"""In a video the whole frame is searched this often; in between the faces are followed, which is quicker."""
GROWN = 0.4
"""A face is followed inside its square, grown by this share of the side in each direction, at 0.8 to 1.25 its size."""


class VisionError(HpeError, RuntimeError):
    """OpenCV is missing, or is one without cascades; the message says what to install."""


@dataclass(frozen=True)
class Shape:
    """Where the landmarks' box lies in a cascade's square of side 1."""

    centre: float
    """Middle from the left at yaw 0."""
    per_degree: float
    """How far the middle moves to the right for a degree of yaw (the nose goes left, the back of the jaw right)."""
    width: float
    top: float
    bottom: float
    yaw_deg: float
    """The yaw to assume where it is not known yet."""


# benchmarks/face_boxes.py: medians over faces of AFLW, whose crops show the whole source picture
FRONT = Shape(centre=0.5, per_degree=0.0061, width=0.847, top=0.233, bottom=1.058, yaw_deg=0.0)
SIDE = Shape(centre=0.366, per_degree=0.0036, width=0.718, top=0.29, bottom=0.983, yaw_deg=35.0)
LARGEST_YAW_DEG = 45.0
"""Beyond this the middle stays where it is."""


LOOKS = (0, 1, -1)
"""Frontal cascade, profile cascade (positive yaw), and the same in the mirrored picture."""


@dataclass(frozen=True)
class Found:
    """A cascade's square in pixels of the picture."""

    left: float
    top: float
    side: float
    look: int
    """What found it, one of LOOKS."""

    def box(self, yaw_deg: float | None = None) -> Box:
        """The box (left, top, right, bottom) that 68 landmarks would have, in pixels, for a face of that yaw."""
        shape = SIDE if self.look else FRONT
        mirrored = self.look < 0
        yaw = shape.yaw_deg if yaw_deg is None else (-yaw_deg if mirrored else yaw_deg)
        centre = shape.centre + shape.per_degree * min(max(yaw, -LARGEST_YAW_DEG), LARGEST_YAW_DEG)
        middle = self.left + (1 - centre if mirrored else centre) * self.side
        half = shape.width * self.side / 2
        return (middle - half, self.top + shape.top * self.side, middle + half, self.top + shape.bottom * self.side)


class FaceDetector:
    """`FaceDetector()(frame)`: the faces of an RGB uint8 (H, W, 3) picture, largest first.

    Raises VisionError where OpenCV is missing.
    """

    def __init__(self, longest_px: int = PICTURE_PX) -> None:
        self._longest_px = longest_px
        self._cascades = {0: load_cascade("frontalface_alt2"), 1: load_cascade("profileface")}

    def __call__(self, frame: np.ndarray, looks: Sequence[int] = LOOKS) -> list[Found]:
        gray, scale = self._shrunk(frame)
        found = [face for look in looks for face in self._search(gray, look, SMALLEST_PX, min(gray.shape))]
        return [_enlarged(face, scale) for face in _distinct(found)]

    def follow(self, frame: np.ndarray, faces: Sequence[Found]) -> list[Found]:
        """The same faces in the next frame, looked for near where they were; the lost ones are left out."""
        gray, scale = self._shrunk(frame)
        found = []
        for face in faces:
            left, top, side = face.left / scale, face.top / scale, face.side / scale
            x, y = max(0, round(left - GROWN * side)), max(0, round(top - GROWN * side))
            region = gray[y : round(top + (1 + GROWN) * side), x : round(left + (1 + GROWN) * side)]
            for look in sorted(LOOKS, key=lambda look, last=face.look: abs(look - last)):
                near = self._search(region, look, round(0.8 * side), round(1.25 * side))
                if near:
                    found.append(_enlarged(replace(near[0], left=near[0].left + x, top=near[0].top + y), scale))
                    break
        return _distinct(found)

    def _shrunk(self, frame: np.ndarray) -> tuple[np.ndarray, float]:
        """The frame in gray (h, w) for the search, and how many of its pixels one pixel of that is."""
        cv2 = load_opencv()
        as_read = frame[..., ::-1]  # frames of a video are views of OpenCV's BGR, which need not be copied
        if as_read.flags.c_contiguous:
            gray = cv2.cvtColor(as_read, cv2.COLOR_BGR2GRAY)
        else:
            gray = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        height, width = gray.shape
        scale = max(1.0, max(height, width) / self._longest_px)
        size = (max(1, round(width / scale)), max(1, round(height / scale)))
        return (cv2.resize(gray, size, interpolation=cv2.INTER_AREA) if scale > 1 else gray), scale

    def _search(self, gray: np.ndarray, look: int, smallest: int, largest: int) -> list[Found]:
        """The squares of one cascade in (h, w), largest first."""
        if min(gray.shape, default=0) < smallest:
            return []
        picture = np.ascontiguousarray(gray[:, ::-1] if look < 0 else gray)
        sizes = {"minSize": (smallest, smallest), "maxSize": (largest, largest)}
        answers = self._cascades[abs(look)].detectMultiScale(picture, SCALE_STEP, NEIGHBOURS, **sizes)
        squares = [tuple(int(number) for number in answer[:3]) for answer in answers]
        found = [Found(gray.shape[1] - x - side if look < 0 else x, y, side, look) for x, y, side in squares]
        return sorted(found, key=lambda face: -face.side)


class FaceFollower:
    """The faces of each frame of a video: the whole frame every SEARCH_EVERY frames, in between near the last ones."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._faces: list[Found] = []
        self._left = 0

    def __call__(self, pixels: np.ndarray) -> list[Found]:
        followed = self._detector.follow(pixels, self._faces) if self._left else []
        if not followed or len(followed) < len(self._faces):  # time is up, or a face is lost
            followed, self._left = self._detector(pixels), SEARCH_EVERY
        self._left -= 1
        self._faces = followed
        return followed


def _distinct(found: Sequence[Found]) -> list[Found]:
    """Without those whose middle lies in an earlier one or the reverse; frontal ones come first, then the largest."""
    kept: list[Found] = []
    for face in found:
        if not any(_middle_inside(face, other) or _middle_inside(other, face) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.side)


def _middle_inside(face: Found, other: Found) -> bool:
    x, y = face.left + face.side / 2, face.top + face.side / 2
    return other.left < x < other.left + other.side and other.top < y < other.top + other.side


def _enlarged(face: Found, scale: float) -> Found:
    return Found(face.left * scale, face.top * scale, face.side * scale, face.look)


@cache
def load_cascade(name: str) -> Any:
    """A cascade of OpenCV's wheel, read once."""
    cv2 = load_opencv()
    cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")
    if cascade.empty():
        raise VisionError(f"OpenCV cannot load haarcascade_{name}.xml; install it again")
    return cascade


def load_opencv() -> Any:
    """The module cv2; VisionError with what to install where it is missing or has no cascades."""
    install = "pip install 'head-pose-edge[vision]'"
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what fails is said once, by us
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError:
        raise VisionError(f"finding faces, video and cameras need OpenCV: {install}") from None
    if not hasattr(cv2, "CascadeClassifier"):
        raise VisionError(f"OpenCV {cv2.__version__} has no face detector; {install} brings OpenCV 4") from None
    return cv2
