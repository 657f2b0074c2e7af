"""Where pictures come from: files, folders, videos, cameras. OpenCV is loaded for the last two only."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpe.inference.detector import load_opencv
from hpe.io.errors import HpeError
from hpe.pose.crop import Box

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mjpeg")
MODELS = (".tflite", ".onnx")
PATIENCE = 30
"""Frames that may fail one after the other before a video or camera counts as gone."""


class SourceError(HpeError, ValueError):
    """A picture, video, camera or list of boxes that cannot be read; the message names it and the remedy."""


@dataclass(frozen=True)
class Frame:
    """A picture of a video: `pixels` are RGB uint8 (H, W, 3), None where it could not be read.

    They are a view of what OpenCV read (blue first), so that no frame is copied.
    """

    index: int
    time_s: float
    pixels: np.ndarray | None


def expand(sources: Sequence[Path]) -> list[Path]:
    """Files as they are, folders as the pictures and videos directly in them, by name."""
    files = []
    for source in sources:
        if source.suffix.lower() in MODELS:
            raise SourceError(f"{source}: this is a model; name it with --model, and pictures, folders or videos here")
        if not source.is_dir():
            files.append(source)
            continue
        inside = sorted(file for file in source.iterdir() if file.suffix.lower() in PICTURES + VIDEOS)
        if not inside:
            raise SourceError(f"{source}: this folder holds no picture and no video")
        files.extend(inside)
    return files


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


@dataclass(frozen=True)
class Stream:
    """A video or camera that is open."""

    name: str
    """The path of a video, `camera N`."""
    frames: Iterator[Frame]
    frames_per_second: float


@contextmanager
def open_stream(source: Path | int) -> Iterator[Stream]:
    """A video file, or a camera by its number; SourceError where it does not open."""
    cv2 = load_opencv()
    if isinstance(source, Path) and not source.is_file():
        reason = "a folder, a pipe or a device, not a file" if source.exists() else "no such file"
        raise SourceError(f"{source}: {reason}; a camera is named by --camera N")
    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    try:
        if not capture.isOpened():
            raise SourceError(
                f"camera {source} does not open; is it plugged in and free? --camera 0 is the first one"
                if isinstance(source, int)
                else f"{source}: not a video that OpenCV can read; convert it to .mp4 or .avi"
            )
        name = f"camera {source}" if isinstance(source, int) else str(source)
        frames = camera_frames(capture, name) if isinstance(source, int) else video_frames(capture)
        yield Stream(name, frames, frames_per_second(capture))
    finally:
        capture.release()


def frames_per_second(capture: Any) -> float:
    """The rate of a video or camera; 30 where it does not say."""
    rate = float(capture.get(load_opencv().CAP_PROP_FPS))
    return rate if 0 < rate < 1000 else 30.0


def video_frames(capture: Any) -> Iterator[Frame]:
    """Every frame of a video file; one that cannot be read has no pixels, and the video goes on after it."""
    rate = frames_per_second(capture)
    count = int(capture.get(load_opencv().CAP_PROP_FRAME_COUNT))
    failed: list[Frame] = []
    index = 0
    while len(failed) <= PATIENCE and (not failed or index < count):
        pixels = _read(capture)
        if pixels is None:
            failed.append(Frame(index, index / rate, None))  # perhaps just the end
        else:
            yield from failed
            failed = []
            yield Frame(index, index / rate, pixels)
        index += 1


def camera_frames(capture: Any, name: str) -> Iterator[Frame]:
    """The frames of a camera as they come; SourceError when it has given none for a while."""
    start, failures, index = time.perf_counter(), 0, 0
    while True:
        pixels = _read(capture)
        failures = failures + 1 if pixels is None else 0
        if failures > PATIENCE:
            raise SourceError(f"{name} gives no more pictures; is it still plugged in?")
        yield Frame(index, time.perf_counter() - start, pixels)
        index += 1


def _read(capture: Any) -> np.ndarray | None:
    """The next frame, RGB uint8 (H, W, 3), or None where it cannot be read."""
    try:
        whole, frame = capture.read()
    except load_opencv().error:
        return None
    if not whole or frame is None or frame.ndim != 3 or frame.size == 0:
        return None
    return frame[..., ::-1]


def parse_box(text: str) -> Box:
    """`X,Y,W,H` in pixels to (left, top, right, bottom)."""
    try:
        x, y, width, height = (float(number) for number in text.split(","))
    except ValueError:
        raise SourceError(f"--box {text}: give X,Y,W,H in pixels, for instance --box 120,80,180,210") from None
    return x, y, x + width, y + height


def read_boxes(path: Path) -> dict[str, list[Box]]:
    """Face boxes by file name from a CSV with the columns file, x, y, w, h in pixels; a file may have several rows."""
    boxes: dict[str, list[Box]] = {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if not {"file", "x", "y", "w", "h"} <= set(reader.fieldnames or ()):
            raise SourceError(
                f"{path}: needs the columns file, x, y, w, h; it has {', '.join(reader.fieldnames or ())}"
            )
        for row in reader:
            try:
                box = parse_box(",".join(row[name] or "" for name in "xywh"))
            except SourceError:
                raise SourceError(f"{path}, line {reader.line_num}: x, y, w, h must be four numbers") from None
            boxes.setdefault(row["file"], []).append(box)
    return boxes
