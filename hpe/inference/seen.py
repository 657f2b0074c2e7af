"""What a picture or a frame shows: made once, taken by every output (rows, lines, drawings, the live page, MQTT)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpe.inference.outputs import COLUMNS, shown
from hpe.inference.predictor import Face

Rates = dict[str, dict[str, float]]
"""camera, detector and network: how often a second (`per_second`), and the milliseconds that one takes (`ms`)."""


@dataclass(frozen=True)
class SeenFace:
    """A face, and what is told of it."""

    face: Face
    """Box and pose as they are in the picture; the pose of a video is smoothed."""
    number: int
    """The same through a video."""
    pose_deg: np.ndarray
    """Yaw, pitch, roll to tell (3,): that of the face, or relative to its neutral look."""
    model_ms: float
    """What crop and network took."""
    relative: bool | None = None
    """Whether `pose_deg` is relative to a neutral look; None where none was asked for."""


@dataclass(frozen=True)
class Seen:
    """One picture or frame with its faces."""

    source: str
    """The path of a picture or video, the name of a camera."""
    frame: int
    time_s: float
    pixels: np.ndarray
    """RGB uint8 (H, W, 3)."""
    faces: tuple[SeenFace, ...]
    find_ms: float
    """What finding the faces took."""
    rates: Rates | None = None
    """Of the last frames; None for a picture."""


Sink = Callable[[Seen], object]
"""An output: takes each picture or frame as soon as it is known."""


def rows(seen: Seen) -> list[dict[str, Any]]:
    """A row of COLUMNS for each face."""
    return [_row(seen, face) for face in seen.faces]


def message(seen: Seen) -> dict[str, Any]:
    """All that is known of a frame but its pixels, for JSON: what the live page and MQTT send."""
    of_frame = ("source", "frame", "time_s", "find_ms")
    faces = [{name: value for name, value in row.items() if name not in of_frame} for row in rows(seen)]
    height, width = seen.pixels.shape[:2]
    frame = {"source": seen.source, "frame": seen.frame, "time_s": round(seen.time_s, 4)}
    return {**frame, "width": width, "height": height, "rates": seen.rates, "faces": faces}


def lines(seen: Seen) -> list[str]:
    """A line to read for each face."""
    texts = []
    for face in seen.faces:
        yaw, pitch, roll = face.pose_deg
        angles = f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f} deg"
        angles += " from the neutral look" if face.relative else ""
        if seen.rates is None:
            where = "" if len(seen.faces) == 1 else f" face {face.number}"
            texts.append(f"{shown(seen.source)}{where}: {angles}")
        else:
            texts.append(f"{shown(seen.source)} {seen.time_s:.2f} s face {face.number}: {angles}; "
                         f"found in {seen.find_ms:.1f} ms, model {face.model_ms:.1f} ms")  # fmt: skip
    return texts


def each_row(write: Callable[[dict[str, Any]], object]) -> Sink:
    """A sink that hands each row to `write`."""
    return lambda seen: [write(row) for row in rows(seen)]


def each_line(report: Callable[[str], object]) -> Sink:
    """A sink that hands each line to `report`."""
    return lambda seen: [report(line) for line in lines(seen)]


def _row(seen: Seen, told: SeenFace) -> dict[str, Any]:
    face = told.face
    left, top, right, bottom = face.box
    box = [round(value, 1) for value in (left, top, right - left, bottom - top)]
    pose = [round(float(angle), 2) for angle in told.pose_deg]
    took = [round(value, 3) for value in (seen.find_ms, told.model_ms)]
    score = None if face.score is None else round(face.score, 3)
    spread = [None] * 3 if face.spread_deg is None else [round(float(value), 2) for value in face.spread_deg]
    relative = None if told.relative is None else int(told.relative)
    where = (seen.source, seen.frame, round(seen.time_s, 4), told.number)
    return dict(zip(COLUMNS, (*where, *box, *pose, *took, score, *spread, relative), strict=True))
