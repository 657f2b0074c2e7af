"""What computes a model file: LiteRT for .tflite, onnxruntime for .onnx, with the same calls for both.

`export.run.runtime.load_runtime` chooses, and checks the file first.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import ExportError


class Runtime(ABC):
    """A loaded model file. Calling it takes float32 (N, H, W, C) and returns float32 (N, K).

    The files have a fixed batch of 1; the call loops over N.

    Attributes:
        path: the file.
        input_shape: (H, W, C).
        output_size: K.
        input_scale, input_zero_point, output_scale, output_zero_point: real = scale * (int8 - zero_point);
            scale is 0 for a float model.
        kernels: what computes: "xnnpack", "builtin", "reference" or "onnxruntime".
        init_ms: the time it took to load the file and get ready.
    """

    path: Path
    input_shape: tuple[int, int, int]
    output_size: int
    input_scale = 0.0
    input_zero_point = 0
    output_scale = 0.0
    output_zero_point = 0
    kernels: str
    init_ms: float

    @property
    def is_int8(self) -> bool:
        """True where the file takes and returns int8."""
        return self.input_scale > 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, H, W, C), normalised as in training -> float32 (N, K). Quantises and dequantises int8 models."""
        images = np.asarray(images, np.float32)
        self._check_shape(images)
        if not self.is_int8:
            rows = [self.run_one(image[None]) for image in images]
            return np.concatenate(rows) if rows else np.empty((0, self.output_size), np.float32)
        return self.dequantize(self.invoke_raw(self.quantize(images)))

    def invoke_raw(self, images: np.ndarray) -> np.ndarray:
        """int8 (N, H, W, C) -> int8 (N, K), no scale applied.

        Raises:
            ExportError: the model is not int8.
        """
        if not self.is_int8:
            raise ExportError(f"{self.path} takes float input; only a full-int8 file has raw int8 input and output.")
        if images.dtype != np.int8:
            raise ValueError(f"invoke_raw needs int8 images, not {images.dtype}; quantize() makes them.")
        self._check_shape(images)
        rows = [self.run_one(image[None]) for image in images]
        return np.concatenate(rows) if rows else np.empty((0, self.output_size), np.int8)

    def quantize(self, images: np.ndarray) -> np.ndarray:
        """Real float32 -> int8, as TensorFlow Lite's QUANTIZE: float32 division, halves away from zero, saturated."""
        scaled = np.asarray(images, np.float32) / np.float32(self.input_scale)
        whole = np.trunc(scaled)
        rounded = np.where(np.abs(scaled - whole) >= 0.5, whole + np.sign(scaled), whole)
        return np.clip(rounded + self.input_zero_point, -128, 127).astype(np.int8)

    def dequantize(self, raw: np.ndarray) -> np.ndarray:
        """int8 outputs -> real float32."""
        return (raw.astype(np.float32) - self.output_zero_point) * np.float32(self.output_scale)

    def run_one(self, image: np.ndarray) -> np.ndarray:
        """(1, H, W, C) in the file's own type -> (1, K) in the file's own type."""
        self.set_input(image)
        self.invoke()
        return self.get_output()

    @abstractmethod
    def set_input(self, image: np.ndarray) -> None:
        """Hand over (1, H, W, C) in the file's own type."""

    @abstractmethod
    def invoke(self) -> None:
        """Compute, once, on the input last set."""

    def timed_invoke(self) -> float:
        """Compute once; the milliseconds that it took, measured where it is computed."""
        start = time.perf_counter()
        self.invoke()
        return (time.perf_counter() - start) * 1e3

    @abstractmethod
    def get_output(self) -> np.ndarray:
        """(1, K) in the file's own type."""

    def _check_shape(self, images: np.ndarray) -> None:
        if images.ndim != 4 or images.shape[1:] != self.input_shape:
            expected = ", ".join(str(side) for side in self.input_shape)
            raise ValueError(f"{self.path} takes images of shape (N, {expected}), not {images.shape}.")


class TFLiteRuntime(Runtime):
    """LiteRT. XNNPACK computes where it can; a sparse int8 file, which it refuses, runs on the built-in kernels."""

    def __init__(self, path: Path, threads: int, kernels: Sequence[str], content: bytes | None = None) -> None:
        """Open `content` (default: the file's) with the first of `kernels` that take it."""
        try:
            from ai_edge_litert.interpreter import OpResolverType
        except ImportError as error:
            raise ExportError(f"{path} needs ai-edge-litert; install it with `pip install ai-edge-litert`.") from error

        self.path = path
        content = path.read_bytes() if content is None else content
        resolvers = {
            "xnnpack": OpResolverType.BUILTIN,
            "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            "reference": OpResolverType.BUILTIN_REF,
        }
        for last, self.kernels in enumerate(kernels, start=1):
            start = time.perf_counter()
            try:
                self._interpreter = _open_tflite(content, threads, resolvers[self.kernels])
                break
            except (ValueError, RuntimeError) as error:
                if last == len(kernels):
                    raise ExportError(
                        f"{path} is not a TensorFlow Lite model that runs here: {_line(error)}"
                    ) from error
        self.init_ms = (time.perf_counter() - start) * 1e3

        self._input, self._output = _single_ends(path, self._interpreter)
        _, height, width, channels = (int(side) for side in self._input["shape"])
        self.input_shape = (height, width, channels)
        self.output_size = int(np.prod(self._output["shape"]))
        if self._input["dtype"] == np.int8:
            self.input_scale, self.input_zero_point = self._input["quantization"]
            self.output_scale, self.output_zero_point = self._output["quantization"]

    def set_input(self, image: np.ndarray) -> None:
        self._interpreter.set_tensor(self._input["index"], image)

    def invoke(self) -> None:
        self._interpreter.invoke()

    def get_output(self) -> np.ndarray:
        return self._interpreter.get_tensor(self._output["index"]).reshape(1, -1)  # (1, K)


class OnnxRuntime(Runtime):
    """onnxruntime on the CPU. The file is NCHW, as torch wrote it; the images are transposed here."""

    kernels = "onnxruntime"

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ExportError(f"{path} needs onnxruntime; install it with `pip install onnxruntime`.") from error

        self.path = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        start = time.perf_counter()
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except OSError:
            raise
        except Exception as error:  # onnxruntime has an exception class for each kind of damage
            raise ExportError(f"{path} is not an ONNX model that runs here: {_line(error)}") from error
        self.init_ms = (time.perf_counter() - start) * 1e3

        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ExportError(_ends_message(path, len(inputs), len(outputs)))
        shape = inputs[0].shape
        if len(shape) != 4 or shape[0] != 1 or inputs[0].type != "tensor(float)":
            raise ExportError(f"{path} takes {inputs[0].type} {shape}; a float (1, C, H, W) input is needed.")
        _, channels, height, width = shape
        self.input_shape = (height, width, channels)
        self.output_size = int(np.prod(outputs[0].shape))
        self._names = inputs[0].name, [outputs[0].name]

    def set_input(self, image: np.ndarray) -> None:
        self._image = np.ascontiguousarray(image.transpose(0, 3, 1, 2))  # (1, C, H, W)

    def invoke(self) -> None:
        name, wanted = self._names
        (self._result,) = self._session.run(wanted, {name: self._image})

    def get_output(self) -> np.ndarray:
        return np.asarray(self._result).reshape(1, -1)  # (1, K)


def _open_tflite(content: bytes, threads: int, resolver: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    return interpreter


def _single_ends(path: Path, interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The details of the one input (1, H, W, C) and the one output, both float32 or both int8."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(_ends_message(path, len(inputs), len(outputs)))
    (source,), (result,) = inputs, outputs
    if len(source["shape"]) != 4 or source["shape"][0] != 1:
        raise ExportError(f"{path} takes an input of shape {list(source['shape'])}; (1, H, W, C) is needed.")
    if source["dtype"] != result["dtype"] or source["dtype"] not in (np.float32, np.int8):
        ends = f"{source['dtype'].__name__} input and {result['dtype'].__name__} output"
        raise ExportError(f"{path} has {ends}; both must be float32 or both int8.")
    return source, result


def _ends_message(path: Path, inputs: int, outputs: int) -> str:
    return f"{path} has {inputs} inputs and {outputs} outputs; one of each is needed."


def _line(error: BaseException) -> str:
    """The message of another library's exception, on one line of bearable length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
