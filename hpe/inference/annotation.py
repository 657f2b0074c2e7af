"""Faces with their axes and angles drawn into whole pictures and videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpe.inference.detector import load_opencv
from hpe.inference.predictor import Face
from hpe.pose.overlay import draw_axes

ENLARGED_PX = 320
"""Side in pixels to which a face crop is enlarged before it is drawn on."""


def draw_faces(pixels: np.ndarray, faces: Sequence[Face], enlarge: bool = False) -> Image.Image:
    """The picture RGB uint8 (H, W, 3) with box, axes and angles of every face; `enlarge` is for a face crop."""
    picture = Image.fromarray(pixels)
    if enlarge:
        picture = picture.resize((ENLARGED_PX, ENLARGED_PX), Image.Resampling.BICUBIC)
        faces = [Face((0, 0, ENLARGED_PX, ENLARGED_PX), face.pose_deg) for face in faces]
    for face in faces:
        left, top, right, bottom = face.box
        size = min(right - left, bottom - top)
        middle = ((left + right) / 2, (top + bottom) / 2)
        picture = draw_axes(picture, face.pose_deg, centre=middle, length=0.45 * size, width=max(2, round(size / 50)))
        brush = ImageDraw.Draw(picture)
        if not enlarge:
            brush.rectangle(face.box, outline=(255, 220, 90), width=max(1, round(size / 120)))
        height = min(max(10.0, size / 10), 28.0)
        words = zip(("yaw", "pitch", "roll"), face.pose_deg, strict=True)
        text = ", ".join(f"{name} {angle:+.0f}" for name, angle in words)
        place = (max(0.0, left) + 2, max(0.0, top if enlarge else top - 1.4 * height))
        font = ImageFont.load_default(size=height)
        brush.text(place, text, fill=(255, 255, 255), font=font, stroke_width=2, stroke_fill=(0, 0, 0))
    return picture


class VideoFile:
    """A context manager that writes frames with their faces drawn; None as path writes nothing.

    The file has its name once it is whole, also when the writing was interrupted.
    """

    def __init__(self, path: Path | None, frames_per_second: float) -> None:
        self._path, self._rate = path, frames_per_second
        self._writer: Any = None

    def __enter__(self) -> VideoFile:
        return self

    def write(self, pixels: np.ndarray, faces: Sequence[Face]) -> None:
        """Add a frame RGB uint8 (H, W, 3); the first one sets the size."""
        if self._path is None:
            return
        cv2 = load_opencv()
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            code, size = cv2.VideoWriter.fourcc(*"mp4v"), (pixels.shape[1], pixels.shape[0])
            self._writer = cv2.VideoWriter(str(self._partial), code, self._rate, size)
            if not self._writer.isOpened():
                raise OSError(f"{self._path}: OpenCV cannot write a video there")
        drawn = np.asarray(draw_faces(pixels, faces))
        self._writer.write(np.ascontiguousarray(drawn[..., ::-1]))

    def __exit__(self, *error: object) -> None:
        if self._path is not None and self._writer is not None:
            self._writer.release()
            os.replace(self._partial, self._path)

    @property
    def _partial(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f".{self._path.name}")
