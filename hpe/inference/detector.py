"""Faces in pictures, found by YuNet (Wu, Peng & Yu, Machine Intelligence Research 2023), which lies in yunet/.

OpenCV runs it, 4 or 5, loaded on first use (the extra `vision`). What it finds becomes the box around 68 landmarks in
`found`; what the detectors cost that can be had is in benchmarks/results (`face_boxes`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpe.inference.found import Found
from hpe.inference.tracking import overlap
from hpe.io.errors import HpeError, install

PICTURE_PX, VIDEO_PX = 640, 320
"""Longer side in pixels to which a picture, or a frame of a video, is shrunk before it is searched."""
MODEL = Path(__file__).parent / "yunet" / "face_detection_yunet_2023mar.onnx"
LEAST_SCORE, LARGEST_OVERLAP, MOST_FACES = 0.6, 0.3, 200
SMALLEST_SIDE_PX = 16
"""Of a picture to be searched: the network halves it five times."""
SEARCH_EVERY = 10
"""In a video the whole frame is searched this often; in between the faces are followed, which is quicker."""
GROWN = 0.6
"""A face is followed inside its box, grown by this share of its longer side in each direction."""
FOLLOWED_PX = 128
"""Longer side in pixels to which that part is shrunk."""
SAME_FACE = 0.25
"""Boxes that share this much of their union, or more, are the same face in the next frame."""


class VisionError(HpeError, RuntimeError):
    """OpenCV is missing or too old; the message says what to install."""


class FaceDetector:
    """`FaceDetector()(frame)`: the faces of an RGB uint8 (H, W, 3) picture, largest first.

    Raises VisionError where OpenCV is missing.
    """

    def __init__(self, longest_px: int = PICTURE_PX) -> None:
        self._longest_px = longest_px
        self._network = load_network()

    def __call__(self, frame: np.ndarray) -> list[Found]:
        return sorted(self._search(frame, self._longest_px), key=lambda face: -face.width * face.height)

    def follow(self, frame: np.ndarray, faces: Sequence[Found]) -> list[Found]:
        """The same faces in the next frame, looked for near where they were; the lost ones are left out."""
        found: list[Found] = []
        for face in faces:
            room = GROWN * max(face.width, face.height)
            x, y = max(0, round(face.left - room)), max(0, round(face.top - room))
            right = max(0, round(face.left + face.width + room))
            bottom = max(0, round(face.top + face.height + room))
            near = [other.moved(1, x, y) for other in self._search(frame[y:bottom, x:right], FOLLOWED_PX)]
            best = max(near, key=lambda other: _shared(other, face), default=None)
            if best and _shared(best, face) > SAME_FACE and all(_shared(best, other) < SAME_FACE for other in found):
                found.append(best)
        return found

    def _search(self, pixels: np.ndarray, longest_px: int) -> list[Found]:
        """The faces of a picture (H, W, 3) that is shrunk to `longest_px` at most."""
        cv2 = load_opencv()
        height, width = pixels.shape[:2]
        if min(height, width) == 0:
            return []
        scale = max(1.0, max(height, width) / longest_px)
        size = (max(1, round(width / scale)), max(1, round(height / scale)))
        if min(size) < SMALLEST_SIDE_PX:
            return []
        blue_first = np.ascontiguousarray(pixels[..., ::-1])  # a frame of a video is a view of just that
        if scale > 1:
            blue_first = cv2.resize(blue_first, size, interpolation=cv2.INTER_AREA)
        self._network.setInputSize(size)
        rows = self._network.detect(blue_first)[1]  # (N, 15): box, five points, score
        return [] if rows is None else [_as_found(row.tolist()).moved(scale, 0, 0) for row in rows]


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


def _as_found(row: Sequence[float]) -> Found:
    points = tuple((row[index], row[index + 1]) for index in range(4, 14, 2))
    return Found(row[0], row[1], row[2], row[3], points, row[14])


def _shared(one: Found, other: Found) -> float:
    """How much of their union two boxes share."""
    return overlap(
        (one.left, one.top, one.left + one.width, one.top + one.height),
        (other.left, other.top, other.left + other.width, other.top + other.height),
    )


def load_network() -> Any:
    """YuNet in OpenCV."""
    cv2 = load_opencv()
    if not MODEL.is_file():
        raise VisionError(f"{MODEL}: the file is missing; install head-pose-edge again")
    size = (VIDEO_PX, VIDEO_PX)
    return cv2.FaceDetectorYN.create(str(MODEL), "", size, LEAST_SCORE, LARGEST_OVERLAP, MOST_FACES)


def load_opencv() -> Any:
    """The module cv2; VisionError with what to install where it is missing or has no YuNet."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what fails is said once, by us
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError:
        raise VisionError(f"finding faces, video and cameras need OpenCV: {install('vision')}") from None
    if not hasattr(cv2, "FaceDetectorYN"):
        raise VisionError(
            f"OpenCV {cv2.__version__} cannot run the face detector; {install('vision')} brings one that can"
        )
    return cv2
