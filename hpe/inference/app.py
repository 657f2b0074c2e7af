"""`hpe predict`: pictures, videos or a camera in; poses, tables and drawn axes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hpe.inference.annotation import VideoFile, draw_faces
from hpe.inference.detector import VIDEO_PX, FaceDetector, Found
from hpe.inference.predictor import Face, HeadPosePredictor, read_image
from hpe.inference.sources import (
    Frame,
    SourceError,
    camera_frames,
    expand,
    frames_per_second,
    is_video,
    open_camera,
    open_video,
    video_frames,
)
from hpe.inference.tracking import Tracks
from hpe.io.files import write_whole
from hpe.pose.crop import Box

SEARCH_EVERY = 10
"""In a video the whole frame is searched this often; in between the faces are followed, which is quicker."""
COLUMNS = ("source", "frame", "time_s", "face", "x", "y", "w", "h", "yaw_deg", "pitch_deg", "roll_deg")
"""What a row holds, besides find_ms and model_ms: x, y, w, h are the face box in pixels."""


@dataclass(frozen=True)
class PredictOptions:
    """How faces are found and what is drawn."""

    boxes: dict[str, list[Box]] | None = None
    """Face boxes by file name ("" for every picture) instead of searching."""
    crops: bool = False
    """The pictures are face crops already."""
    smooth: bool = True
    """Filter the poses of a video over time."""
    draw: Path | None = None
    """Folder for the pictures and videos with axes."""
    frames: int | None = None
    """End a video or camera after so many frames."""


@dataclass
class Outcome:
    """Rows of COLUMNS and times, and a sentence for each picture or video without any."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    drawn: list[Path] = field(default_factory=list)


def run_predict(
    model: str | Path | None,
    sources: Sequence[Path],
    camera: int | None = None,
    options: PredictOptions | None = None,
    report: Callable[[str], None] = print,
) -> Outcome:
    """Estimate the pose of every face in the sources (files and folders) or before a camera.

    A source that cannot be read, or shows no face, becomes a fault; the others go on. PredictError, SourceError,
    VisionError and the errors of `load_predictor` are for what concerns all of them.
    """
    options = options or PredictOptions()
    if bool(sources) == (camera is not None):
        raise SourceError("give pictures, folders or videos, or --camera N, so that there is something to look at")
    files = expand(sources)
    predictor = HeadPosePredictor(model)
    outcome = Outcome()
    if camera is not None:
        _camera(predictor, camera, options, outcome, report)
    for file in files:
        try:
            (_video if is_video(file) else _picture)(predictor, file, options, outcome, report)
        except (ValueError, OSError) as error:  # this one cannot be used
            outcome.faults.append(str(error) if str(file) in str(error) else f"{file}: {error}")
    return outcome


def _picture(
    predictor: HeadPosePredictor, file: Path, options: PredictOptions, outcome: Outcome, report: Callable[[str], None]
) -> None:
    pixels = read_image(file)
    start = time.perf_counter()
    found = _given(str(file), pixels, options)
    if found is None:
        found = FaceDetector()(pixels)
    find_ms = (time.perf_counter() - start) * 1e3
    faces, model_ms = _poses(predictor, pixels, found, crops=options.crops)
    if not faces:
        raise SourceError(f"{file}: no face found; name it with --box X,Y,W,H, or say --crops if it is a face crop")
    for number, (face, spent) in enumerate(zip(faces, model_ms, strict=True)):
        outcome.rows.append(_row(str(file), 0, 0.0, number, face, find_ms, spent))
        where = "" if len(faces) == 1 else f" face {number}"
        report(f"{file}{where}: {_angles(face.pose_deg)}")
    if options.draw is not None:
        target = options.draw / f"{file.stem}.png"
        if target in outcome.drawn:
            target = options.draw / f"{file.name}.png"  # a.jpg and a.png
        outcome.drawn.append(target)
        write_whole(target, draw_faces(pixels, faces, enlarge=options.crops).save)


def _given(name: str, pixels: np.ndarray, options: PredictOptions) -> Sequence[Box] | None:
    """The boxes that the user gave for a picture, None where it must be searched."""
    if options.crops:
        return [(0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0]))]
    if options.boxes is None:
        return None
    for key in ("", name, Path(name).name):
        if key in options.boxes:
            return options.boxes[key]
    raise SourceError(f"{name}: the list of boxes has no row for it")


def _poses(
    predictor: HeadPosePredictor,
    pixels: np.ndarray,
    places: Sequence[Found] | Sequence[Box],
    tracks: Tracks | None = None,
    crops: bool = False,
) -> tuple[list[Face], list[float]]:
    """The faces, and the milliseconds that crop and network took for each; `tracks` knows the frame before."""
    faces, spent = [], []
    for place in places:
        start = time.perf_counter()
        if isinstance(place, Found):
            yaw = tracks.yaw_near(place.box()) if tracks is not None else None
            try:
                faces.append(predictor.face(pixels, place, yaw))
            except ValueError:  # at the picture's edge: the landmarks would lie mostly outside
                continue
        else:
            faces.append(Face(place, predictor(pixels, None if crops else place)))
        spent.append((time.perf_counter() - start) * 1e3)
    return faces, spent


def _video(
    predictor: HeadPosePredictor, file: Path, options: PredictOptions, outcome: Outcome, report: Callable[[str], None]
) -> None:
    capture = open_video(file)
    try:
        before = len(outcome.rows)
        _moving(predictor, str(file), video_frames(capture), frames_per_second(capture), options, outcome, report)
    finally:
        capture.release()
    if len(outcome.rows) == before:
        raise SourceError(f"{file}: no face found in any frame")


def _camera(
    predictor: HeadPosePredictor, index: int, options: PredictOptions, outcome: Outcome, report: Callable[[str], None]
) -> None:
    capture, name = open_camera(index), f"camera {index}"
    try:
        frames = camera_frames(capture, name)
        _moving(predictor, name, frames, frames_per_second(capture), options, outcome, report)
    except KeyboardInterrupt:  # how a camera is stopped
        report("stopped")
    except SourceError as error:  # unplugged: what was seen stays
        outcome.faults.append(str(error))
    finally:
        capture.release()


def _moving(
    predictor: HeadPosePredictor,
    name: str,
    frames: Iterable[Frame],
    rate: float,
    options: PredictOptions,
    outcome: Outcome,
    report: Callable[[str], None],
) -> None:
    """A video or camera, frame by frame; a frame that cannot be read is counted and passed over."""
    search = Search(FaceDetector(VIDEO_PX))
    tracks, bad, seen = Tracks(), 0, 0
    times: list[tuple[float, float]] = []  # milliseconds of finding and of the network, a frame
    start = time.perf_counter()
    target = options.draw / f"{Path(name).stem.replace(' ', '-')}.mp4" if options.draw is not None else None
    with VideoFile(target, rate) as drawn:
        try:
            for frame in islice(frames, options.frames):
                seen += 1
                if frame.pixels is None:
                    bad += 1
                    continue
                begin = time.perf_counter()
                given = _given(name, frame.pixels, options)
                places = search(frame.pixels) if given is None else given
                find_ms = (time.perf_counter() - begin) * 1e3
                faces, spent = _poses(predictor, frame.pixels, places, tracks, options.crops)
                times.append((find_ms, sum(spent)))
                numbered = tracks.update(frame.time_s, [face.box for face in faces], [face.pose_deg for face in faces])
                if options.smooth:
                    faces = [Face(face.box, pose) for face, (_, pose) in zip(faces, numbered, strict=True)]
                for face, (number, _), model_ms in zip(faces, numbered, spent, strict=True):
                    outcome.rows.append(_row(name, frame.index, frame.time_s, number, face, find_ms, model_ms))
                    report(f"{name} {frame.time_s:.2f} s face {number}: {_angles(face.pose_deg)}; "
                           f"found in {find_ms:.1f} ms, model {model_ms:.1f} ms")  # fmt: skip
                drawn.write(frame.pixels, faces)
        finally:
            if times:
                find, net = np.median(times, axis=0)
                rate = seen / (time.perf_counter() - start)
                report(f"{name}: {seen} frames, {bad} of them unreadable, {rate:.1f} a second; "
                       f"median of finding {find:.1f} ms, model {net:.1f} ms")  # fmt: skip


class Search:
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


def _row(
    source: str, frame: int, time_s: float, number: int, face: Face, find_ms: float, model_ms: float
) -> dict[str, Any]:
    left, top, right, bottom = face.box
    numbers = [round(value, 1) for value in (left, top, right - left, bottom - top)]
    numbers += [round(float(angle), 2) for angle in face.pose_deg]
    row = dict(zip(COLUMNS, (source, frame, round(time_s, 4), number, *numbers), strict=True))
    return {**row, "find_ms": round(find_ms, 3), "model_ms": round(model_ms, 3)}


def _angles(pose_deg: np.ndarray) -> str:
    yaw, pitch, roll = pose_deg
    return f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f} deg"
