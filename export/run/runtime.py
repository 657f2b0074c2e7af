"""Run an .onnx or .tflite file: float images in, float vectors out, the same call for every format.

Needs numpy and ai-edge-litert (or onnxruntime, for ONNX), so that it works on a Raspberry Pi.
"""

from __future__ import annotations

from pathlib import Path

from export.errors import ExportError
from export.micro.flatbuffer import read_model
from export.process import usable_cores
from export.run.check import check_sizes, doubt
from export.run.child import ChildRuntime
from export.run.engines import OnnxRuntime, Runtime, TFLiteRuntime


def load_runtime(
    path: str | Path, threads: int = 1, reference_kernels: bool = False, xnnpack: bool = True, trusted: bool = False
) -> Runtime:
    """Load a .tflite (LiteRT) or .onnx (onnxruntime) file.

    A .tflite passes our reader's checks first. Where its graph cannot be shown to be safe (export.run.check), it runs
    in a child process with a memory limit (export.run.child).

    Args:
        path: the file; the suffix decides.
        threads: CPU threads; no more are used than there are cores.
        reference_kernels: use TensorFlow Lite's slow reference kernels. TensorFlow Lite Micro gives the same bytes, but
            for a MUL, whose factor it computes in double and LiteRT in float32, and for LOGISTIC and TANH, which it
            computes in fixed point and LiteRT in float32: an output near a tie may differ by one.
        xnnpack: False leaves a .tflite to TensorFlow Lite's built-in kernels.
        trusted: the file was made or verified by this program, so that it runs in this process.

    Raises:
        ExportError: not such a file, damaged, with an operator that nothing here computes, or with more than one
            input or output.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no model file {path}.")
    threads = usable_threads(threads)
    if path.suffix == ".onnx":
        return OnnxRuntime(path, threads)
    if path.suffix == ".tflite":
        kernels = ("reference",) if reference_kernels else ("xnnpack", "builtin")[not xnnpack :]
        reason = None if trusted else doubt(check_sizes(read_model(path)))
        if reason is None:
            return TFLiteRuntime(path, threads, kernels)
        return ChildRuntime(path, threads, kernels, reason)
    raise ExportError(f"{path} is neither .onnx nor .tflite; export the model first.")


def usable_threads(threads: int) -> int:
    """`threads`, but no more than the cores that this process may use."""
    if threads < 1:
        raise ExportError(f"{threads} threads cannot compute anything; give 1 or more.")
    return min(threads, usable_cores())
