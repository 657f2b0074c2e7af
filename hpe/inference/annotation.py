"""Faces with their axes and angles drawn into whole pictures and videos."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpe.inference.detector import load_opencv
from hpe.inference.outputs import OutputError
from hpe.inference.predictor import Face
from hpe.io.files import whole_file
from hpe.pose.crop import as_picture
from hpe.pose.overlay import add_axes

ENLARGED_PX = 320
"""Side in pixels to which a face crop is enlarged before it is drawn on."""
KEPT_FREE_BYTES = 16 << 20
"""A video ends while this much of the disk is free: its index, without which nothing plays it, is written last."""


def draw_faces(pixels: np.ndarray, faces: Sequence[Face], enlarge: bool = False) -> Image.Image:
    """The picture RGB uint8 (H, W, 3) with box, axes and angles of every face; `enlarge` is for a face crop."""
    picture = as_picture(pixels)
    if enlarge:
        picture = picture.resize((ENLARGED_PX, ENLARGED_PX), Image.Resampling.BICUBIC)
        faces = [Face((0, 0, ENLARGED_PX, ENLARGED_PX), face.pose_deg) for face in faces]
    brush = ImageDraw.Draw(picture)
    for face in faces:
        left, top, right, bottom = face.box
        size = min(right - left, bottom - top)
        middle = ((left + right) / 2, (top + bottom) / 2)
        add_axes(picture, face.pose_deg, centre=middle, length=0.45 * size, width=max(2, round(size / 50)))
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

    The file has its name, and can be played, once it is closed, also when the writing was interrupted.
    """

    def __init__(self, path: Path | None, frames_per_second: float) -> None:
        self._path, self._rate = path, frames_per_second
        self._writer: Any = None
        self._whole = ExitStack()

    def __enter__(self) -> VideoFile:
        return self

    def write(self, pixels: np.ndarray, faces: Sequence[Face]) -> None:
        """Add a frame RGB uint8 (H, W, 3); the first one sets the size. OutputError where the disk is nearly full."""
        if self._path is None:
            return
        if self._writer is None:
            self._writer = self._open(self._path, (pixels.shape[1], pixels.shape[0]))
        if shutil.disk_usage(self._path.parent).free < KEPT_FREE_BYTES:
            raise OutputError(f"{self._path}: the disk is nearly full; the video ends here, free some space")
        drawn = draw_faces(pixels, faces)
        bgr = np.frombuffer(drawn.tobytes("raw", "BGR"), np.uint8)
        self._writer.write(bgr.reshape(drawn.height, drawn.width, 3))

    def _open(self, path: Path, size: tuple[int, int]) -> Any:
        cv2 = load_opencv()
        try:
            partial = self._whole.enter_context(whole_file(path))
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
        writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, size)
        if not writer.isOpened():
            raise OutputError(f"{path}: OpenCV cannot write a video there")
        return writer

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.release()
        self._whole.close()  # what there is is whole, whatever ended it
