"""Poses from pictures with a run folder (torch), ONNX or TFLite file. Nothing heavy is imported for a .tflite.

from hpe import HeadPosePredictor

predictor = HeadPosePredictor("runs/small/model_int8.tflite")  # or the name of a released model
for face in predictor.faces(image):                            # RGB uint8 (H, W, 3); needs the extra `vision`
    print(face.box, face.pose_deg)                             # pixels; yaw, pitch, roll in degrees
    print(face.score, face.spread_deg)                         # how sure: None where the model does not say
predictor.look(image, box=(110, 90, 300, 290))                 # a rough box: a model that locates corrects it
predictor(image, box=(120, 80, 300, 290))                      # the face is known: no OpenCV needed
predictor(crop)                                                # the whole picture is a face crop
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hpe.io.dataset_file import central_crop_of
from hpe.io.errors import HpeError
from hpe.io.images import open_image
from hpe.model.outputs import POSE, Reading, output_parts, read_outputs
from hpe.model.preprocess import preprocess
from hpe.model.zoo import SUFFIXES, is_released, resolve_model
from hpe.pose.crop import IMAGE_SIZE, Box, as_picture, centre_crop, crop_face, fit_stored, narrow, widen
from hpe.pose.rotation import flip_pose

if TYPE_CHECKING:
    from export.run.runtime import Runtime
    from hpe.inference.detector import FaceDetector
    from hpe.inference.found import Found

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 crops (N, 64, 64, 3) RGB to poses (N, 3), yaw, pitch and roll in degrees."""


class PredictError(HpeError, ValueError):
    """A picture or model that cannot be used; the message names the file and the remedy."""


class BoxError(PredictError):
    """A face box that makes no sense in its picture."""


NEAR = 0.1
"""A crop whose edges are off by less of its side counts in the mean of two looks; chosen on validation faces."""
ENGINES = ("litert", "reference", "c", "c-fine")
"""What computes a model file: LiteRT, its reference kernels, the compiled C, or that before its last rounding."""


def load_predictor(model: str | Path | None, threads: int = 1, engine: str = "litert") -> Predict:
    """A function from uint8 RGB crops (N, 64, 64, 3) to (yaw, pitch, roll) in degrees (N, 3).

    `model` is the name of a released model (None: the default one), a .onnx or .tflite file, or a run folder, which
    alone needs torch. `engine` is one of ENGINES: `reference` is slow and gives a microcontroller's int8 output to the
    bit (XNNPACK may differ by a step of it); the compiled ones take a full-int8 .tflite file, and `c-fine` gives what
    the sketch of `hpe deploy` prints: the output before its last rounding.
    Anything else raises PredictError or ModelNameError, both ValueErrors; a file that does not run, ExportError, a
    RuntimeError.
    """
    network = load_network(model, threads, engine)
    return lambda crops: network(crops)[:, :POSE]


def load_network(model: str | Path | None, threads: int = 1, engine: str = "litert") -> Predict:
    """As `load_predictor`, but the function gives all outputs (N, K): `hpe.model.outputs.read_outputs` reads them."""
    path = resolve_model(model)
    network = _open_network(path, threads, engine, trusted=is_released(model))

    def run(crops: np.ndarray) -> np.ndarray:
        outputs = network(crops)
        if not np.isfinite(outputs).all():
            raise PredictError(f"{path}: its output holds a value that is no number; train again with a lower --lr")
        return outputs

    return run


def _open_network(path: Path, threads: int, engine: str, trusted: bool) -> Predict:
    if engine != "litert" and path.suffix != ".tflite":
        raise PredictError(f"{path}: engine {engine} is for .tflite files; name the int8 file that runs on the board")
    if path.is_dir():
        from hpe.model.net import load_model, outputs_of

        network = load_model(path)
        return lambda crops: outputs_of(network, crops)
    if not path.exists():
        raise PredictError(f"{path}: no such model; give a run folder, or a .onnx or .tflite file")
    if path.suffix not in SUFFIXES:
        raise PredictError(f"{path}: not a model this program knows; give a run folder, or a .onnx or .tflite file")
    runtime = _load_runtime(path, threads, engine, trusted)
    _check_head_pose(path, runtime)
    return lambda crops: runtime(preprocess(crops))


def _load_runtime(path: Path, threads: int, engine: str, trusted: bool) -> Runtime:
    if engine not in ENGINES:
        raise PredictError(f"{engine}: no such engine; choose one of {', '.join(ENGINES)}")
    if engine.startswith("c"):
        from export.run.compiled import CompiledRuntime

        return CompiledRuntime(path, fine=engine == "c-fine")
    from export.run.runtime import load_runtime

    return load_runtime(path, threads, reference_kernels=engine == "reference", trusted=trusted)


def _check_head_pose(path: Path, runtime: Runtime) -> None:
    try:
        output_parts(runtime.output_size)
        fits = runtime.input_shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    except ValueError:
        fits = False
    if not fits:
        size = "x".join(str(side) for side in runtime.input_shape)
        raise PredictError(
            f"{path}: takes {size} and gives {runtime.output_size} numbers; a head-pose model takes "
            f"{IMAGE_SIZE}x{IMAGE_SIZE}x3 and gives 3, 6, 7 or 10"
        )


def read_image(path: str | Path) -> np.ndarray:
    """An image file as RGB uint8 (H, W, 3), turned upright where a camera noted how it was held; ImageError if bad."""
    return np.asarray(open_image(path))


def read_crop(path: str | Path) -> np.ndarray:
    """A face crop as RGB uint8: the whole picture, or (64, 64, 3) without the border of which a dataset.json tells."""
    image, central = open_image(path), central_crop_of(Path(path))
    return np.asarray(image) if central == 1 else centre_crop(fit_stored(image, central)[None])[0]


@dataclass(frozen=True)
class Face:
    """A face in a picture."""

    box: Box
    """Left, top, right, bottom in pixels, as the 68 landmarks would have it."""
    pose_deg: np.ndarray
    """Yaw, pitch, roll in degrees: (3,). Positive yaw turns the nose to the picture's left, positive pitch looks up,
    positive roll is clockwise as seen."""
    score: float | None = None
    """How likely this is a face, 0 to 1; None where the model does not say."""
    spread_deg: np.ndarray | None = None
    """The mean absolute error to be expected of yaw, pitch, roll: (3,); None where the model does not say."""


class HeadPosePredictor:
    """Head pose from pictures, with a model that is loaded once. See the top of the module for how to use it.

    `model`, `threads` and `engine` are those of `load_predictor`, and so are the errors. Torch is never imported for
    a file or a released model. Not to be shared between threads.
    """

    def __init__(self, model: str | Path | None = None, threads: int = 1, engine: str = "litert") -> None:
        self._network = load_network(model, threads, engine)
        blank = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        self.locates, self.tells_spread = output_parts(self._network(blank).shape[1])
        self._detector: FaceDetector | None = None

    def __call__(self, image: np.ndarray, box: Box | None = None) -> np.ndarray:
        """Yaw, pitch and roll in degrees (3,) of the face in `box` (left, top, right, bottom in pixels).

        The crop rule of training (k = 0.2) is applied to the box; without one the whole image, RGB uint8 (H, W, 3),
        must be such a crop. An image of another kind, or a box that makes no sense (BoxError), raises PredictError.
        """
        return self._read(image, box).pose_deg[0]

    def _read(self, image: np.ndarray, box: Box | None, mirrored: bool = False) -> Reading:
        """What the model says of one crop, or of its mirror image; the errors are those of a call."""
        check_image(image)
        try:
            crop = face_crop(image, box)
        except ValueError as error:  # of check_box
            raise BoxError(str(error)) from None
        return read_outputs(self._network(np.ascontiguousarray(crop[None, :, ::-1]) if mirrored else crop[None]))

    def known(self, image: np.ndarray, box: Box | None) -> Face:
        """The face in `box`, which is trusted; None means that the whole picture is a face crop."""
        reading = self._read(image, box)
        return _as_face(box or (0.0, 0.0, float(image.shape[1]), float(image.shape[0])), reading)

    def look(self, image: np.ndarray, box: Box, looks: int = 2) -> Face:
        """The face near `box`, which may be rough: a model that locates corrects the box before each further look.

        The last look is at the mirror image, and the pose is the mean with that of the look before if its box was near;
        score and spread are the last look's. A model that does not locate takes the box as it is. BoxError where the
        box, or the corrected one, lies outside the picture.
        """
        if not self.locates or looks == 1:
            return self.known(image, box)
        for _ in range(looks - 2):
            box = corrected(box, self._read(image, box))
        before = self._read(image, box)
        box = corrected(box, before)
        face = _as_face(box, self._read(image, box, mirrored=True))
        pose_deg = flip_pose(face.pose_deg)
        return replace(face, pose_deg=(before.pose_deg[0] + pose_deg) / 2 if _is_near(before) else pose_deg)

    def faces(self, image: np.ndarray) -> list[Face]:
        """The faces in an RGB uint8 (H, W, 3) picture, largest first; an empty list where there is none.

        A face that lies mostly outside the picture is left out. Needs OpenCV: VisionError, a RuntimeError, says what to
        install where it is missing.
        """
        from hpe.inference.detector import FaceDetector

        check_image(image)
        self._detector = self._detector or FaceDetector()
        faces = []
        for found in self._detector(image):
            with suppress(BoxError):  # at the picture's edge: the landmarks would lie mostly outside
                faces.append(self.face(image, found))
        return faces

    def face(self, image: np.ndarray, found: Found, yaw_deg: float | None = None) -> Face:
        """The pose of a face that a FaceDetector found.

        A box alone does not tell where the jaw lies in it, which depends on the yaw. Without `yaw_deg`, from the frame
        before say, a first estimate of it places the box for the second. A model that locates corrects the box itself.
        """
        placed = found.points is not None or yaw_deg is not None
        if self.locates:
            return self.look(image, found.box(yaw_deg), looks=2 if placed else 3)
        if not placed:
            yaw_deg = float(self(image, found.box())[0])
        return self.known(image, found.box(yaw_deg))


def _as_face(box: Box, reading: Reading) -> Face:
    score = None if reading.face is None else float(reading.face[0])
    return Face(box, reading.pose_deg[0], score, None if reading.spread_deg is None else reading.spread_deg[0])


def corrected(box: Box, reading: Reading) -> Box:
    """The landmark box (pixels) where a model that locates, having seen the crop of `box`, says that it is."""
    assert reading.place is not None
    right, down, size = reading.place[0].tolist()  # Python's numbers, as JSON wants them
    left, top, end, bottom = widen(box)
    width, height = end - left, bottom - top
    middle = (left + end) / 2 + right * width, (top + bottom) / 2 + down * height
    half = width * size / 2, height * size / 2
    return narrow((middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]))


def _is_near(reading: Reading) -> bool:
    """Whether no edge of the crop seen is off by more than NEAR of its side: then its pose is as good as the next."""
    assert reading.place is not None
    right, down, size = reading.place[0]
    return max(abs(right), abs(down)) + abs(size - 1) / 2 < NEAR


def check_image(image: np.ndarray) -> None:
    """Raise PredictError unless the image is RGB uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise PredictError(f"an image must be RGB uint8 (H, W, 3), not {image.dtype} {image.shape}")


def face_crop(image: np.ndarray, box: Box | None) -> np.ndarray:
    """The standard crop (64, 64, 3) of an image: around the face box, or the whole image where there is none."""
    if box is None:
        if image.shape[:2] == (IMAGE_SIZE, IMAGE_SIZE):
            return image
        size = (IMAGE_SIZE, IMAGE_SIZE)
        return np.asarray(as_picture(image).resize(size, Image.Resampling.BILINEAR))
    return crop_face(image, box, size=IMAGE_SIZE, margin=0)
