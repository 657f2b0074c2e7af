"""`hpe predict`: pictures, videos or a camera in; each picture or frame, with its faces, out to every sink."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from hpe.inference.annotation import VideoFile, video_format, write_picture
from hpe.inference.cameras import Camera, open_camera
from hpe.inference.detector import VisionError
from hpe.inference.finding import Faces, frame_finder, picture_faces
from hpe.inference.neutral import NeutralError
from hpe.inference.options import PredictOptions
from hpe.inference.outputs import DrawnNames, OutputError, shown
from hpe.inference.predictor import Face, HeadPosePredictor, read_crop, read_image
from hpe.inference.rates import RateCounter
from hpe.inference.seen import Seen, SeenFace, Sink, each_line, each_row
from hpe.inference.sources import SourceError, Stream, expand, inside, is_video, open_video, paced
from hpe.inference.tracking import Tracks
from hpe.io.errors import HpeError
from hpe.io.interrupts import endings_interrupt, signal_of

__all__ = ["Outcome", "PredictOptions", "checked_sources", "predict_sources", "run_predict"]


@dataclass
class Outcome:
    """How a call ended."""

    rows: int = 0
    """Faces written."""
    faults: list[str] = field(default_factory=list)
    """A message for each source, and each given box, that gave no pose, and for what ended the call."""
    stopped_by: int | None = None
    """The signal that ended it (Ctrl-C is 2)."""

    def count(self, seen: Seen) -> None:
        """A sink, after that of the rows."""
        self.rows += len(seen.faces)


@dataclass(frozen=True)
class Job:
    """What is the same for all sources of one call."""

    predictor: HeadPosePredictor
    options: PredictOptions
    names: DrawnNames | None
    """Names for what is drawn; None where nothing is."""
    sinks: Sequence[Sink]
    """Each takes every picture and frame as soon as it is known."""
    report: Callable[[str], object]
    outcome: Outcome


def run_predict(
    model: str | Path | None,
    sources: Sequence[Path | Camera],
    options: PredictOptions | None = None,
    write: Callable[[dict[str, Any]], object] = lambda row: None,
    report: Callable[[str], object] = print,
    sinks: Sequence[Sink] = (),
) -> Outcome:
    """Estimate the pose of every face in the sources: files and folders (Path), cameras by number, URL or `pi`.

    `write` takes each row of outputs.COLUMNS as it comes, `report` each line to read, every one of `sinks` each picture
    or frame as a Seen. A source that cannot be read, or shows no face, becomes a fault; the others go on. Ctrl-C,
    SIGTERM, and an output that cannot be written end the call early: what is drawn is closed, and the outcome says why.
    Errors are raised for what concerns all sources.
    """
    options = options or PredictOptions()
    return predict_sources(model, checked_sources(sources, options), options, write, report, sinks)


def checked_sources(sources: Sequence[Path | Camera], options: PredictOptions) -> list[Path | Camera]:
    """The files, folders being what is inside them, then the cameras.

    SourceError where there is none, ConfigError where they do not obey the options.
    """
    if not sources:
        raise SourceError("give pictures, folders or videos, or --camera N, so that there is something to look at")
    files = expand([source for source in sources if isinstance(source, Path)])
    checked = [*files, *(source for source in sources if not isinstance(source, Path))]
    options.check_sources(checked)
    return checked


def predict_sources(
    model: str | Path | None,
    sources: Sequence[Path | Camera],
    options: PredictOptions,
    write: Callable[[dict[str, Any]], object],
    report: Callable[[str], object],
    sinks: Sequence[Sink],
) -> Outcome:
    """As `run_predict`, for what `checked_sources` gave."""
    files = [source for source in sources if isinstance(source, Path)]
    names = DrawnNames(options.draw, files) if options.draw is not None else None
    predictor = HeadPosePredictor(model, engine="reference" if options.reference else "litert")
    outcome = Outcome()
    every = (each_row(write), outcome.count, *sinks, each_line(report))
    job = Job(predictor, options, names, every, report, outcome)
    try:
        with endings_interrupt():
            for source in sources:
                try:
                    predict_source(job, source)
                except (OutputError, VisionError):
                    raise
                except HpeError as error:  # this one cannot be used
                    known = not isinstance(source, Path) or str(source) in str(error)
                    outcome.faults.append(shown(error if known else f"{source}: {error}"))
    except KeyboardInterrupt as interrupt:
        outcome.stopped_by = signal_of(interrupt)
        report("stopped")
    except OutputError as error:
        outcome.faults.append(shown(error))
    return outcome


def predict_source(job: Job, source: Path | Camera) -> None:
    """One picture, video or camera."""
    if isinstance(source, Path) and os.path.isdir(source):
        inside(source)  # raises: a folder that gives nothing
    if job.options.neutral is not None:
        job.options.neutral.begin()
    if isinstance(source, Path) and not is_video(source):
        predict_picture(job, source)
        return
    with open_video(source) if isinstance(source, Path) else open_camera(source, job.report) as stream:
        predict_stream(job, stream)


def predict_picture(job: Job, file: Path) -> None:
    """The faces of one picture."""
    pixels = read_crop(file) if job.options.crops else read_image(file)
    found = picture_faces(job.predictor, str(file), pixels, job.options)
    _tell_unusable(job, str(file), found, begun=False)
    if not found.faces:
        raise SourceError(f"{file}: no face found; name it with --box X,Y,W,H, or say --crops if it is a face crop")
    told = _told(job, 0.0, list(enumerate(found.faces)), found.model_ms)
    seen = Seen(str(file), 0, 0.0, pixels, told, found.find_ms)
    for sink in job.sinks:
        sink(seen)
    if job.names is not None:
        target = job.names.choose(file, ".png")
        write_picture(seen, target, crop=job.options.crops)
        _tell_name(job, str(file), target, f"{file.stem}.png")


def predict_stream(job: Job, stream: Stream) -> None:
    """A video or camera, frame by frame; a frame that cannot be read is counted and passed over."""
    tracks, rates, rows_before = Tracks(), RateCounter(), job.outcome.rows
    find = frame_finder(job.predictor, stream.name, job.options, tracks)
    with ExitStack() as stack:
        sinks = [*job.sinks, *_drawn_video(job, stream, stack)]
        try:
            frames = paced(stream.frames) if job.options.paced and not stream.live else stream.frames
            for frame in islice(rates.waited_for(frames), job.options.frames):
                if frame.pixels is None:
                    continue
                found = find(frame.pixels)
                _tell_unusable(job, stream.name, found, begun=job.outcome.rows > rows_before)
                rates.add(found.find_ms, sum(found.model_ms), len(found.faces))
                numbered = _numbered(job, tracks, frame.time_s, found.faces)
                told = _told(job, frame.time_s, numbered, found.model_ms)
                seen = Seen(stream.name, frame.index, frame.time_s, frame.pixels, told, found.find_ms, rates.now())
                for sink in sinks:
                    sink(seen)
        finally:
            if rates.frames > rates.unreadable:
                job.report(f"{shown(stream.name)}: {rates.summary()}")
    if job.outcome.rows == rows_before:
        raise SourceError(
            f"{stream.name}: no face found in any frame; --box says where it is, --crops that frames are crops"
        )
    if job.options.neutral is not None and job.options.neutral.seconds and not job.options.neutral.known:
        raise NeutralError(f"{stream.name}: ended before --neutral was over; its poses are not relative to any look")


def _drawn_video(job: Job, stream: Stream, stack: ExitStack) -> Iterator[Sink]:
    """The sink for --draw, if it is asked for; `stack` closes the video."""
    if job.names is None:
        return
    suffix, _ = video_format()
    target = job.names.choose(Path(stream.stem), suffix)
    stack.callback(_tell_name, job, stream.name, target, f"{Path(stream.stem).stem}{suffix}")
    yield stack.enter_context(VideoFile(target, stream.frames_per_second))


def _tell_name(job: Job, source: str, target: Path, usual: str) -> None:
    """Say where something is drawn if its usual name was taken."""
    if target.name != usual and target.exists():
        job.report(f"{shown(source)}: drawn as {shown(target)}, since {shown(usual)} is taken")


def _tell_unusable(job: Job, source: str, found: Faces, begun: bool) -> None:
    """A fault for each given box that shows no face, once in a video; SourceError where no other one ever did."""
    if found.unusable and not found.faces and not begun:
        raise SourceError(f"{source}: {'; '.join(found.unusable)}")
    faults = [shown(f"{source}: {reason}") for reason in found.unusable]
    job.outcome.faults += [fault for fault in faults if fault not in job.outcome.faults]


def _numbered(job: Job, tracks: Tracks, time_s: float, faces: Sequence[Face]) -> list[tuple[int, Face]]:
    """The faces of a frame with their numbers, filtered over time."""
    known = tracks.update(time_s, [face.box for face in faces], [face.pose_deg for face in faces])
    if not job.options.smooth:
        return [(number, face) for face, (number, _) in zip(faces, known, strict=True)]
    return [(number, replace(face, pose_deg=pose)) for face, (number, pose) in zip(faces, known, strict=True)]


def _told(
    job: Job, time_s: float, numbered: Sequence[tuple[int, Face]], model_ms: Sequence[float]
) -> tuple[SeenFace, ...]:
    """The faces with the poses to tell: relative to the neutral look, where the user wants that."""
    if job.options.neutral is None:
        poses = [(face.pose_deg, None) for _, face in numbered]
    else:
        poses = job.options.neutral(time_s, numbered, job.report)
    return tuple(
        SeenFace(face, number, pose, took, relative)
        for (number, face), (pose, relative), took in zip(numbered, poses, model_ms, strict=True)
    )
