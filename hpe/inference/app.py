"""`hpe predict`: pictures, videos or a camera in; poses, tables and drawn axes out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hpe.inference.annotation import VideoFile, draw_faces
from hpe.inference.detector import VIDEO_PX, FaceDetector, FaceFollower, VisionError
from hpe.inference.following import NetworkFollower
from hpe.inference.found import Found
from hpe.inference.outputs import COLUMNS, DrawnNames, OutputError, save_drawn, shown
from hpe.inference.predictor import Face, HeadPosePredictor, PredictError, read_crop, read_image
from hpe.inference.sources import SourceError, Stream, expand, is_video, open_stream
from hpe.inference.tracking import Tracks
from hpe.io.errors import HpeError
from hpe.io.files import write_whole
from hpe.io.interrupts import endings_interrupt, signal_of
from hpe.pose.crop import Box

TIMES_KEPT = 10_000
"""The medians at the end of a video or camera are over the last N frames."""


@dataclass(frozen=True)
class PredictOptions:
    """How faces are found, what computes, and what is drawn."""

    boxes: Mapping[str, Sequence[Box] | Sequence[Found]] | None = None
    """Face boxes by file name ("" for every picture) instead of searching."""
    crops: bool = False
    """The pictures are face crops already."""
    smooth: bool = True
    """Filter the poses of a video over time."""
    draw: Path | None = None
    """Folder for the pictures and videos with axes."""
    frames: int | None = None
    """End a video or camera after N frames."""
    reference: bool = False
    """Compute with TensorFlow Lite's reference kernels, as a microcontroller does."""


@dataclass
class Outcome:
    """How a call ended."""

    rows: int = 0
    """Faces written."""
    faults: list[str] = field(default_factory=list)
    """A message for each source that gave no pose, and for what ended the call."""
    stopped_by: int | None = None
    """The signal that ended it (Ctrl-C is 2)."""


@dataclass(frozen=True)
class Job:
    """What is the same for all sources of one call."""

    predictor: HeadPosePredictor
    options: PredictOptions
    names: DrawnNames | None
    """Names for what is drawn; None where nothing is."""
    write: Callable[[dict[str, Any]], object]
    """Takes each row of COLUMNS as soon as it is known."""
    report: Callable[[str], object]
    outcome: Outcome


def run_predict(
    model: str | Path | None,
    sources: Sequence[Path],
    camera: int | None = None,
    options: PredictOptions | None = None,
    write: Callable[[dict[str, Any]], object] = lambda row: None,
    report: Callable[[str], object] = print,
) -> Outcome:
    """Estimate the pose of every face in the sources (files and folders) or before a camera.

    `write` takes each row of outputs.COLUMNS as it comes. A source that cannot be read, or shows no face, becomes a
    fault; the others go on. Ctrl-C, SIGTERM, and an output that cannot be written end the call early: what is drawn is
    closed, and the outcome says why. Errors are raised for what concerns all sources.
    """
    options = options or PredictOptions()
    if bool(sources) == (camera is not None):
        raise SourceError("give pictures, folders or videos, or --camera N, so that there is something to look at")
    files = expand(sources)
    names = DrawnNames(options.draw, files) if options.draw is not None else None
    predictor = HeadPosePredictor(model, engine="reference" if options.reference else "litert")
    job = Job(predictor, options, names, write, report, Outcome())
    try:
        with endings_interrupt():
            for source in [camera] if camera is not None else files:
                try:
                    if isinstance(source, Path) and not is_video(source):
                        predict_picture(job, source)
                    else:
                        with open_stream(source) as stream:
                            predict_stream(job, stream)
                except (OutputError, VisionError):
                    raise
                except HpeError as error:  # this one cannot be used
                    known = not isinstance(source, Path) or str(source) in str(error)
                    job.outcome.faults.append(shown(error if known else f"{source}: {error}"))
    except KeyboardInterrupt as interrupt:
        job.outcome.stopped_by = signal_of(interrupt)
        report("stopped")
    except OutputError as error:
        job.outcome.faults.append(shown(error))
    return job.outcome


def predict_picture(job: Job, file: Path) -> None:
    """The faces of one picture."""
    pixels = read_crop(file) if job.options.crops else read_image(file)
    start = time.perf_counter()
    found = given_boxes(str(file), pixels, job.options)
    if found is None:
        found = FaceDetector()(pixels)
    find_ms = (time.perf_counter() - start) * 1e3
    faces, model_ms = poses(job, pixels, found)
    if not faces:
        raise SourceError(f"{file}: no face found; name it with --box X,Y,W,H, or say --crops if it is a face crop")
    for number, (face, spent) in enumerate(zip(faces, model_ms, strict=True)):
        write_row(job, (str(file), 0, 0.0, number), face, (find_ms, spent))
        where = "" if len(faces) == 1 else f" face {number}"
        job.report(f"{shown(file)}{where}: {_angles(face.pose_deg)}")
    if job.names is not None:
        target = job.names.choose(file, ".png")
        drawn = draw_faces(pixels, faces, enlarge=job.options.crops)
        try:
            write_whole(target, lambda path: save_drawn(drawn, path))
        except OSError as error:
            raise OutputError(f"{target}: cannot be written ({error.strerror})") from None
        if target.stem != file.stem:
            job.report(f"{shown(file)}: drawn as {shown(target)}, since {shown(file.stem)}.png is taken")


def predict_stream(job: Job, stream: Stream) -> None:
    """A video or camera, frame by frame; a frame that cannot be read is counted and passed over."""
    detector = FaceDetector(VIDEO_PX)
    search = FaceFollower(detector)
    finding: list[float] = []  # milliseconds of the detector in this frame
    searched = partial(_searched, job, detector, finding)
    follow = NetworkFollower(job.predictor, searched) if job.predictor.locates else None
    tracks, name = Tracks(), stream.name
    seen, bad, rows_before, start = 0, 0, job.outcome.rows, time.perf_counter()
    times: deque[tuple[float, float]] = deque(maxlen=TIMES_KEPT)  # milliseconds of finding and of the network
    source = Path(name.replace(" ", "-")) if name.startswith("camera ") else Path(name)
    target = job.names.choose(source, ".mp4") if job.names is not None else None
    with VideoFile(target, stream.frames_per_second) as drawn:
        try:
            for frame in islice(stream.frames, job.options.frames):
                seen += 1
                if frame.pixels is None:
                    bad += 1
                    continue
                begin = time.perf_counter()
                given = given_boxes(name, frame.pixels, job.options)
                if given is None and follow is not None:
                    finding.clear()
                    faces = follow(frame.pixels)
                    find_ms = sum(finding)
                    each = ((time.perf_counter() - begin) * 1e3 - find_ms) / max(1, len(faces))
                    spent = [each] * len(faces)
                else:
                    places = search(frame.pixels) if given is None else given
                    find_ms = (time.perf_counter() - begin) * 1e3
                    faces, spent = poses(job, frame.pixels, places, tracks)
                times.append((find_ms, sum(spent)))
                numbered = tracks.update(frame.time_s, [face.box for face in faces], [face.pose_deg for face in faces])
                if job.options.smooth:
                    faces = [replace(face, pose_deg=pose) for face, (_, pose) in zip(faces, numbered, strict=True)]
                for face, (number, _), model_ms in zip(faces, numbered, spent, strict=True):
                    write_row(job, (name, frame.index, frame.time_s, number), face, (find_ms, model_ms))
                    job.report(f"{shown(name)} {frame.time_s:.2f} s face {number}: {_angles(face.pose_deg)}; "
                               f"found in {find_ms:.1f} ms, model {model_ms:.1f} ms")  # fmt: skip
                drawn.write(frame.pixels, faces)
        finally:
            if times:
                find, net = np.median(times, axis=0)
                rate = seen / (time.perf_counter() - start)
                job.report(f"{shown(name)}: {seen} frames, {bad} of them unreadable, {rate:.1f} a second; "
                           f"median of finding {find:.1f} ms, model {net:.1f} ms")  # fmt: skip
    if target is not None and target.stem != source.stem:
        job.report(f"{shown(name)}: drawn as {shown(target)}, since {shown(source.stem)}.mp4 is taken")
    if job.outcome.rows == rows_before:
        raise SourceError(f"{name}: no face found in any frame")


def _searched(job: Job, detector: FaceDetector, finding: list[float], pixels: np.ndarray) -> list[Face]:
    """The faces of a whole frame, for a model that locates; `finding` gets the milliseconds of the detector."""
    start = time.perf_counter()
    found = detector(pixels)
    finding.append((time.perf_counter() - start) * 1e3)
    return poses(job, pixels, found)[0]


def given_boxes(name: str, pixels: np.ndarray, options: PredictOptions) -> Sequence[Box] | Sequence[Found] | None:
    """The boxes that the user gave for a picture, None where it must be searched."""
    if options.crops:
        return [(0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0]))]
    if options.boxes is None:
        return None
    for key in ("", name, Path(name).name):
        if key in options.boxes:
            return options.boxes[key]
    raise SourceError(f"{name}: the list of boxes has no row for it")


def poses(
    job: Job, pixels: np.ndarray, places: Sequence[Found] | Sequence[Box], tracks: Tracks | None = None
) -> tuple[list[Face], list[float]]:
    """The faces, and the milliseconds that crop and network took for each; `tracks` knows the frame before."""
    faces, spent = [], []
    for place in places:
        start = time.perf_counter()
        if isinstance(place, Found):
            yaw = tracks.yaw_near(place.box()) if tracks is not None else None
            try:
                faces.append(job.predictor.face(pixels, place, yaw))
            except PredictError:  # at the picture's edge: the landmarks would lie mostly outside
                continue
        else:
            face = job.predictor.known(pixels, None if job.options.crops else place)
            faces.append(face)
        spent.append((time.perf_counter() - start) * 1e3)
    return faces, spent


def write_row(job: Job, where: tuple[str, int, float, int], face: Face, took_ms: tuple[float, float]) -> None:
    """Hand on a row of COLUMNS. `where`: source, frame, time, number of the face; `took_ms`: finding, model."""
    source, frame, time_s, number = where
    left, top, right, bottom = face.box
    box = [round(value, 1) for value in (left, top, right - left, bottom - top)]
    pose = [round(float(angle), 2) for angle in face.pose_deg]
    took = [round(value, 3) for value in took_ms]
    score = None if face.score is None else round(face.score, 3)
    spread = [None] * 3 if face.spread_deg is None else [round(float(value), 2) for value in face.spread_deg]
    values = (source, frame, round(time_s, 4), number, *box, *pose, *took, score, *spread)
    job.write(dict(zip(COLUMNS, values, strict=True)))
    job.outcome.rows += 1


def _angles(pose_deg: np.ndarray) -> str:
    yaw, pitch, roll = pose_deg
    return f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f} deg"
