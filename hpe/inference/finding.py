"""The faces of a picture, and of each frame of a video: given by the user, or found by a detector or the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from hpe.inference.detector import VIDEO_PX, FaceDetector, FaceFollower
from hpe.inference.following import NetworkFollower
from hpe.inference.found import Found
from hpe.inference.options import PredictOptions
from hpe.inference.predictor import BoxError, Face, HeadPosePredictor
from hpe.inference.sources import SourceError
from hpe.inference.tracking import Tracks
from hpe.pose.crop import Box


@dataclass(frozen=True)
class Faces:
    """The faces of one picture or frame, and what they took in milliseconds."""

    faces: list[Face]
    model_ms: list[float]
    """Crop and network, for each face."""
    find_ms: float
    unusable: list[str] = field(default_factory=list)
    """What is wrong with the boxes that the user gave and that show no face."""


def picture_faces(predictor: HeadPosePredictor, name: str, pixels: np.ndarray, options: PredictOptions) -> Faces:
    """The faces of one picture RGB uint8 (H, W, 3)."""
    start = time.perf_counter()
    places = given_boxes(name, pixels, options)
    if places is None:
        places = FaceDetector()(pixels)
    find_ms = (time.perf_counter() - start) * 1e3
    return poses(predictor, pixels, places, options, find_ms)


def frame_finder(
    predictor: HeadPosePredictor, name: str, options: PredictOptions, tracks: Tracks
) -> Callable[[np.ndarray], Faces]:
    """A function that takes the frames RGB uint8 (H, W, 3) of one video in order; `tracks` knows the faces before."""
    if options.crops or options.boxes is not None:
        places = partial(_given, name, options)
    else:
        detector = FaceDetector(VIDEO_PX)
        if predictor.locates:
            return _network_finder(predictor, detector, options)
        places = FaceFollower(detector)

    def find(pixels: np.ndarray) -> Faces:
        start = time.perf_counter()
        found = places(pixels)
        find_ms = (time.perf_counter() - start) * 1e3
        return poses(predictor, pixels, found, options, find_ms, tracks)

    return find


def _network_finder(
    predictor: HeadPosePredictor, detector: FaceDetector, options: PredictOptions
) -> Callable[[np.ndarray], Faces]:
    """For a model that locates: it follows the faces by itself; the detector is asked now and then."""
    detector_ms: list[float] = []  # of this frame

    def search(pixels: np.ndarray) -> list[Face]:
        start = time.perf_counter()
        found = detector(pixels)
        detector_ms.append((time.perf_counter() - start) * 1e3)
        return poses(predictor, pixels, found, options).faces

    follow = NetworkFollower(predictor, search)

    def find(pixels: np.ndarray) -> Faces:
        detector_ms.clear()
        start = time.perf_counter()
        faces = follow(pixels)
        find_ms = sum(detector_ms)
        each_ms = ((time.perf_counter() - start) * 1e3 - find_ms) / max(1, len(faces))
        return Faces(faces, [each_ms] * len(faces), find_ms)

    return find


def _given(name: str, options: PredictOptions, pixels: np.ndarray) -> Sequence[Box] | Sequence[Found]:
    return given_boxes(name, pixels, options) or []


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
    predictor: HeadPosePredictor,
    pixels: np.ndarray,
    places: Sequence[Found] | Sequence[Box],
    options: PredictOptions,
    find_ms: float = 0.0,
    tracks: Tracks | None = None,
) -> Faces:
    """The faces at these places; `tracks` knows the frame before.

    A detector's face at the picture's edge, whose landmarks would lie mostly outside, is left out; what is wrong with a
    box that the user gave is kept.
    """
    found = Faces([], [], find_ms)
    for place in places:
        start = time.perf_counter()
        try:
            found.faces.append(_face(predictor, pixels, place, options, tracks))
        except BoxError as error:
            if options.boxes is not None:
                found.unusable.append(str(error))
            continue
        found.model_ms.append((time.perf_counter() - start) * 1e3)
    return found


def _face(
    predictor: HeadPosePredictor, pixels: np.ndarray, place: Found | Box, options: PredictOptions, tracks: Tracks | None
) -> Face:
    if isinstance(place, Found):
        return predictor.face(pixels, place, tracks.yaw_near(place.box()) if tracks is not None else None)
    return predictor.known(pixels, None) if options.crops else predictor.look(pixels, place)
