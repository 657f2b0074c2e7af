"""Frames with faces, made up, for the tests of what takes them."""

from __future__ import annotations

import numpy as np

from hpe.inference.predictor import Face
from hpe.inference.rates import RateCounter
from hpe.inference.seen import Seen, SeenFace


def seen(frame: int = 0, faces: int = 1, size: tuple[int, int] = (160, 120)) -> Seen:
    """A frame of a made-up camera, at 10 a second, in which face N has a yaw of 10 N + frame degrees."""
    told = []
    for number in range(faces):
        pose = np.array([10.0 * number + frame, -5.0, 2.5])
        told.append(SeenFace(Face((10 + 50 * number, 20, 50 + 50 * number, 70), pose, 0.9), number, pose, 1.5))
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    return Seen("camera 0", frame, frame / 10, pixels, tuple(told), 4.0, RateCounter().now())
