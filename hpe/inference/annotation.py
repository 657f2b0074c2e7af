"""Faces with their axes and angles drawn into whole pictures and videos."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hpe.inference.detector import VisionError, load_opencv
from hpe.inference.outputs import OutputError, save_drawn
from hpe.inference.predictor import Face
from hpe.inference.seen import Seen, SeenFace
from hpe.io.errors import install
from hpe.io.files import whole_file, write_whole
from hpe.pose.crop import as_picture
from hpe.pose.overlay import add_axes

ENLARGED_PX = 320
"""Side in pixels to which a face crop is enlarged before it is drawn on."""
KEPT_FREE_BYTES = 16 << 20
"""A video ends while this much of the disk is free: its index, without which nothing plays it, is written last."""
STILL_S = 10.0
"""No frame stands longer in a video: a camera that was away for an hour costs no hour of writing."""
FORMATS = ((".mp4", "avc1"), (".webm", "VP80"), (".mp4", "mp4v"))
"""Kinds of video, the one that plays in most places first: H.264 and VP8 play in browsers. OpenCV's wheels write no
H.264 (the builds of Linux distributions do)."""
YELLOW, WHITE, BLACK = (255, 220, 90), (255, 255, 255), (0, 0, 0)


def draw_seen(seen: Seen, longest_px: int | None = None) -> Image.Image:
    """A frame with its faces, their numbers, and the rate; shrunk where a side would be longer than `longest_px`.

    The axes lie on the face as it is; the angles are those that are told, relative to a neutral look say.
    """
    picture = as_picture(seen.pixels)
    scale = 1.0 if longest_px is None else min(1.0, longest_px / max(picture.size))
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    for told in seen.faces:
        left, top, right, bottom = told.face.box
        face = replace(told.face, box=(left * scale, top * scale, right * scale, bottom * scale))
        _draw_face(picture, face, f"{_number(told, seen)}{_angles(told.pose_deg)}", boxed=True)
    if seen.rates is not None:
        height = min(max(10.0, picture.height / 24), 24.0)
        _write(picture, (6, 4), f"{seen.rates['camera']['per_second']:.1f} / s", height)
    return picture


def draw_crop(seen: Seen) -> Image.Image:
    """A face crop, enlarged, with the axes of its face and the angles that are told."""
    picture = as_picture(seen.pixels).resize((ENLARGED_PX, ENLARGED_PX), Image.Resampling.BICUBIC)
    for told in seen.faces:
        face = replace(told.face, box=(0, 0, ENLARGED_PX, ENLARGED_PX))
        _draw_face(picture, face, f"{_number(told, seen)}{_angles(told.pose_deg)}", boxed=False)
    return picture


def _number(told: SeenFace, seen: Seen) -> str:
    """The face's number, where there may be several."""
    mark = "rel. " if told.relative else ""
    return f"{told.number}: {mark}" if seen.rates is not None or len(seen.faces) > 1 else mark


def _angles(pose_deg: np.ndarray) -> str:
    words = zip(("yaw", "pitch", "roll"), pose_deg, strict=True)
    return ", ".join(f"{name} {round(float(angle)):+d}" for name, angle in words)


def _draw_face(picture: Image.Image, face: Face, text: str, boxed: bool) -> None:
    """Axes, a line of text and, if `boxed`, the box."""
    left, top, right, bottom = face.box
    size = min(right - left, bottom - top)
    middle = ((left + right) / 2, (top + bottom) / 2)
    add_axes(picture, face.pose_deg, centre=middle, length=0.45 * size, width=max(2, round(size / 50)))
    if boxed:
        ImageDraw.Draw(picture).rectangle(face.box, outline=YELLOW, width=max(1, round(size / 120)))
    height = min(max(10.0, size / 10), 28.0)
    _write(picture, (max(0.0, left) + 2, max(0.0, top - 1.4 * height if boxed else top)), text, height)


def _write(picture: Image.Image, place: tuple[float, float], text: str, height: float) -> None:
    font = ImageFont.load_default(size=height)
    ImageDraw.Draw(picture).text(place, text, fill=WHITE, font=font, stroke_width=2, stroke_fill=BLACK)


def write_picture(seen: Seen, target: Path, crop: bool) -> None:
    """Draw a picture into a .png; `crop` says that it is a face crop."""
    drawn = draw_crop(seen) if crop else draw_seen(seen)
    try:
        write_whole(target, lambda path: save_drawn(drawn, path))
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror})") from None


class VideoFile:
    """A context manager and sink that writes frames with their faces drawn, each at its time.

    A frame stays until the next one's time, so that a camera that gives, or is asked for, less than its nominal rate
    does not play too fast; one that comes before there is a place for it is left out. The file has its name, and can
    be played, once it is closed, also when the writing was interrupted.
    """

    def __init__(self, path: Path, frames_per_second: float) -> None:
        self._path, self._rate = path, frames_per_second
        self._writer: Any = None
        self._size = (0, 0)
        self._start_s = 0.0
        self._written = 0
        self._last: np.ndarray | None = None
        self._whole = ExitStack()

    def __enter__(self) -> VideoFile:
        return self

    def __call__(self, seen: Seen) -> None:
        """Add a frame; the first one sets the size. OutputError where the disk is nearly full."""
        drawn = draw_seen(seen)
        if self._writer is None:
            self._size, self._start_s = drawn.size, seen.time_s
            self._writer = self._open()
        if shutil.disk_usage(self._path.parent).free < KEPT_FREE_BYTES:
            raise OutputError(f"{self._path}: the disk is nearly full; the video ends here, free some space")
        if drawn.size != self._size:  # a stream that was opened again
            drawn = drawn.resize(self._size, Image.Resampling.BILINEAR)
        bgr = np.frombuffer(drawn.tobytes("raw", "BGR"), np.uint8).reshape(drawn.height, drawn.width, 3)
        if drawn.width % 2 or drawn.height % 2:
            bgr = np.pad(bgr, ((0, drawn.height % 2), (0, drawn.width % 2), (0, 0)), "edge")
        self._write_at(seen.time_s, bgr)

    def _write_at(self, time_s: float, bgr: np.ndarray) -> None:
        """Add a frame in its place, the one before it in the places between; a longer pause than STILL_S is cut."""
        missing = round((time_s - self._start_s) * self._rate) - self._written
        most = max(0, round(STILL_S * self._rate) - 1)
        if missing > most:
            self._start_s += (missing - most) / self._rate
            missing = most
        for frame in [self._last] * missing + [bgr] * (missing >= 0):
            self._writer.write(frame)
            self._written += 1
        self._last = bgr

    def _open(self) -> Any:
        width, height = self._size
        even = width + width % 2, height + height % 2  # the codecs would leave out an odd column or row
        with ExitStack() as stack:
            try:
                partial = stack.enter_context(whole_file(self._path))
            except OSError as error:
                raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from None
            writer = open_writer(partial, video_format()[1], self._rate, even)
            if not writer.isOpened():
                raise OutputError(f"{self._path}: OpenCV cannot write a video there")
            self._whole = stack.pop_all()
        return writer

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.release()
        self._whole.close()  # what there is is whole, whatever ended it


@cache
def video_format() -> tuple[str, str]:
    """The first of FORMATS that this OpenCV can write: suffix and codec."""
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in FORMATS:
            writer = open_writer(Path(folder) / f"try{suffix}", codec, 10.0, (64, 64))
            if writer.isOpened():
                writer.release()
                return suffix, codec
    raise VisionError(f"OpenCV {load_opencv().__version__} writes no video; {install('vision')} brings one that does")


def open_writer(path: Path, codec: str, frames_per_second: float, size: tuple[int, int]) -> Any:
    """OpenCV's writer of a video of (width, height) pixels."""
    cv2 = load_opencv()
    with _nothing_said():
        return cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), frames_per_second, size)


@contextmanager
def _nothing_said() -> Iterator[None]:
    """Standard error shut for OpenCV's C code, which remarks on each codec that it tries, and on .webm in any case."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
