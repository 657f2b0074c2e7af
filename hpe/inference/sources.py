"""Where pictures come from: files, folders and videos, for which alone OpenCV is loaded."""

from __future__ import annotations

import csv
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpe.inference.detector import load_opencv
from hpe.io.errors import HpeError
from hpe.io.files import open_regular
from hpe.pose.crop import Box

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mjpeg", ".3gp", ".ts")
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
    """Files as they are, folders as what is `inside` them; one that gives nothing stays, to be told in its turn."""
    files = []
    for source in sources:
        if source.suffix.lower() in MODELS:
            raise SourceError(f"{source}: this is a model; name it with --model, and pictures, folders or videos here")
        try:
            files.extend(inside(source) if os.path.isdir(source) else [source])
        except SourceError:
            files.append(source)
    return files


def inside(folder: Path) -> list[Path]:
    """The pictures and videos directly in a folder, by name; SourceError where there is none, or it cannot be read.

    Hidden files, whose names begin with a dot, do not count: macOS leaves them beside pictures, a killed writer too.
    """
    try:
        named = [file for file in folder.iterdir() if file.suffix.lower() in PICTURES + VIDEOS]
        found = sorted(file for file in named if not file.name.startswith(".") and not file.is_dir())
    except OSError as error:
        raise SourceError(f"{folder}: this folder cannot be read ({error.strerror}); let this user read it") from None
    if not found:
        raise SourceError(f"{folder}: this folder holds no picture and no video")
    return found


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


@dataclass(frozen=True)
class Stream:
    """A video or camera that is open."""

    name: str
    """The path of a video, the name of a camera."""
    stem: str
    """What a file drawn from it is called."""
    frames: Iterator[Frame]
    frames_per_second: float
    live: bool
    """Whether its frames come in their own time; those of a file come as fast as they are read."""


@contextmanager
def open_video(path: Path) -> Iterator[Stream]:
    """A video file; SourceError where it does not open."""
    try:
        open_regular(path).close()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or error
        raise SourceError(f"{path}: {reason}; a camera is named by --camera N") from None
    capture = load_opencv().VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise SourceError(f"{path}: not a video that OpenCV can read; convert it to .mp4 or .avi")
        yield Stream(str(path), path.name, video_frames(capture), frames_per_second(capture), live=False)
    finally:
        capture.release()


def paced(
    frames: Iterator[Frame],
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Frame]:
    """The same frames, none before its time, counted from when the first was asked for."""
    start_s = clock()
    for frame in frames:
        early_s = frame.time_s - (clock() - start_s)
        if early_s > 0:
            sleep(early_s)
        yield frame


def frames_per_second(capture: Any) -> float:
    """The rate of a video or camera; 30 where it does not say."""
    rate = float(capture.get(load_opencv().CAP_PROP_FPS))
    return rate if 0 < rate < 1000 else 30.0


def video_frames(capture: Any) -> Iterator[Frame]:
    """Every frame of a video file; one that cannot be read has no pixels, and the video goes on after it.

    It ends early, with those frames, where more than PATIENCE in a row cannot be read.
    """
    rate = frames_per_second(capture)
    count = int(capture.get(load_opencv().CAP_PROP_FRAME_COUNT))
    failed: list[Frame] = []
    index = 0
    while len(failed) <= PATIENCE and (not failed or index < count):
        pixels = read_frame(capture)
        if pixels is None:
            failed.append(Frame(index, index / rate, None))  # perhaps just the end
        else:
            yield from failed
            failed = []
            yield Frame(index, index / rate, pixels)
        index += 1
    if index < count:
        yield from failed


def read_frame(capture: Any) -> np.ndarray | None:
    """The next frame, RGB uint8 (H, W, 3), or None where it cannot be read."""
    try:
        whole, frame = capture.read()
    except load_opencv().error:
        return None
    if not whole or frame is None or frame.ndim != 3 or frame.size == 0:
        return None
    return frame[..., ::-1]


def without_user(url: str) -> str:
    """An address as messages show it, also one that cannot be used: without what stands before @."""
    return re.sub(r"^(\w+://)?.*@", r"\1", url)


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
    columns, rows = read_table(path)
    if not {"file", "x", "y", "w", "h"} <= set(columns):
        raise SourceError(f"{path}: needs the columns file, x, y, w, h; it has {', '.join(columns)}")
    for line, row in rows:
        if not row["file"]:
            raise SourceError(f"{path}, line {line}: the column file is empty; name the picture")
        try:
            box = parse_box(",".join(row[name] or "" for name in "xywh"))
        except SourceError:
            raise SourceError(f"{path}, line {line}: x, y, w, h must be four numbers") from None
        boxes.setdefault(row["file"], []).append(box)
    return boxes


def read_table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
    """The columns of a CSV in UTF-8, and its rows, each with the line where it ends."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            return list(reader.fieldnames or ()), [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError:
        raise SourceError(f"{path}: not a text in UTF-8; save it as a CSV in UTF-8") from None
    except csv.Error as error:
        raise SourceError(f"{path}: cannot be read as CSV ({error}); is a double quote left open?") from None
