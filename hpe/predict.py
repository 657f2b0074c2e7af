"""Poses from pictures with a run folder (torch), ONNX or TFLite file. Nothing heavy is imported for a .tflite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hpe.crop import Box, crop_face
from hpe.evaluate import Predict
from hpe.files import write_whole
from hpe.transforms import IMAGE_SIZE, preprocess

DRAWN_SIZE = 320
"""Side in pixels of a crop that is drawn with its axes."""


class PredictError(ValueError):
    """A picture or model that cannot be used; the message names the file and the remedy."""


def load_predictor(model: str | Path, threads: int = 1) -> Predict:
    """A function from uint8 RGB crops (N, 64, 64, 3) to (yaw, pitch, roll) in degrees (N, 3).

    `model` is a run folder, or a .onnx or .tflite file; anything else raises PredictError.
    """
    path = Path(model)
    if path.is_dir():
        from hpe.model import load_model
        from hpe.train import predict_all

        network = load_model(path)
        return lambda crops: predict_all(network, crops)
    if not path.exists():
        raise PredictError(f"{path}: no such model; give a run folder, or a .onnx or .tflite file")
    if path.suffix not in (".onnx", ".tflite"):
        raise PredictError(f"{path}: not a model this program knows; give a run folder, or a .onnx or .tflite file")
    from export.runtime import load_runtime

    runtime = load_runtime(path, threads=threads)
    return lambda crops: runtime(preprocess(crops))


def read_image(path: str | Path) -> np.ndarray:
    """An image file as RGB uint8 (H, W, 3)."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise PredictError(f"{path}: no such file") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise PredictError(f"{path}: not a whole picture ({error})") from None


class HeadPosePredictor:
    """Head pose from a frame: `HeadPosePredictor("model_int8.tflite")(frame)`.

    The frame is RGB uint8 (H, W, 3). `box` is the face (x0, y0, x1, y1) in pixels, to which the crop rule of training
    (k = 0.2) is applied; without a box the whole frame must be such a crop. Returns yaw, pitch, roll in degrees (3,).
    """

    def __init__(self, model: str | Path, threads: int = 1) -> None:
        self._predict = load_predictor(model, threads)

    def __call__(self, frame: np.ndarray, box: Box | None = None) -> np.ndarray:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise PredictError(f"a frame must be RGB uint8 (H, W, 3), not {frame.dtype} {frame.shape}")
        return self._predict(face_crop(frame, box)[None])[0]


def face_crop(frame: np.ndarray, box: Box | None) -> np.ndarray:
    """The standard crop (64, 64, 3) of a frame: around the face box, or the whole frame where there is none."""
    if box is None:
        if frame.shape[:2] == (IMAGE_SIZE, IMAGE_SIZE):
            return frame
        size = (IMAGE_SIZE, IMAGE_SIZE)
        return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))
    return crop_face(frame, box, size=IMAGE_SIZE, margin=0)


def predict_files(
    model: str | Path, paths: Sequence[str | Path], box: Box | None = None, draw_folder: Path | None = None
) -> dict[str, list[float]]:
    """Yaw, pitch and roll in degrees of picture files, by path; every picture is read before the first is judged.

    With `draw_folder`, the crops with their poses as axes are written there as NAME.png.
    """
    crops = np.stack([_crop_of(path, box) for path in paths])  # (N, 64, 64, 3)
    poses = load_predictor(model)(crops)
    if draw_folder is not None:
        from hpe.draw import draw_axes

        for path, crop, pose in zip(paths, crops, poses, strict=True):
            large = Image.fromarray(crop).resize((DRAWN_SIZE, DRAWN_SIZE), Image.Resampling.BICUBIC)
            picture = draw_axes(large, pose)
            write_whole(draw_folder / f"{Path(path).stem}.png", picture.save)
    return {str(path): [float(angle) for angle in pose] for path, pose in zip(paths, poses, strict=True)}


def _crop_of(path: str | Path, box: Box | None) -> np.ndarray:
    try:
        return face_crop(read_image(path), box)
    except ValueError as error:
        message = str(error)
        raise PredictError(message if str(path) in message else f"{path}: {message}") from None
