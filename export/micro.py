"""TensorFlow Lite Micro on this computer (the tflite-micro wheel), and whether a model fits a board.

The wheel exists for Linux x86-64 with Python 3.10 and 3.12; `fit` needs it not, `run_micro` and `micro_arena` do.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.flatbuffer import Model, ModelFileError, read_model


@dataclass(frozen=True)
class MicroArena:
    """What TensorFlow Lite Micro's recording allocator reports on this host, in bytes."""

    arena_bytes: int
    activations_bytes: int
    persistent_bytes: int


def run_micro(path: str | Path, inputs: np.ndarray) -> np.ndarray:
    """Runs an int8 model in TensorFlow Lite Micro, one sample after another.

    inputs: int8 (N, ...) with the model's input shape behind N. Returns int8 (N, K): each output, flattened.
    Raises ModelFileError for a damaged or float model, ValueError for inputs that do not match it, RuntimeError where
    the wheel is missing or the interpreter refuses the model.
    """
    model = check_int8(read_model(path))
    sample_shape = model.input.shape[1:]
    if inputs.dtype != np.int8 or inputs.shape[1:] != sample_shape:
        raise ValueError(f"{path} takes int8 (N, {sample_shape}); these inputs are {inputs.dtype} {inputs.shape}")
    interpreter = _interpreter(path)
    outputs = np.empty((len(inputs), model.output.elements), np.int8)  # (N, K)
    for i, sample in enumerate(inputs):
        interpreter.set_input(np.ascontiguousarray(sample[None]), 0)
        interpreter.invoke()
        outputs[i] = interpreter.get_output(0).reshape(-1)
    return outputs


def micro_arena(path: str | Path) -> MicroArena:
    """The arena that the real interpreter takes on this host (64-bit pointers; a Cortex-M4 needs about 9 % less)."""
    read_model(path)  # the interpreter itself checks nothing: never hand it a damaged file
    with _captured_stderr() as log:
        interpreter = _interpreter(path)
        interpreter.print_allocations()
    text = log.text
    parts = [re.search(rf"Arena allocation {part} (\d+) bytes", text) for part in ("total", "head", "tail")]
    if not all(parts):
        raise RuntimeError(f"TensorFlow Lite Micro printed no arena sizes for {path}: {text.strip()!r}")
    return MicroArena(*(int(part.group(1)) for part in parts if part))


def check_int8(model: Model) -> Model:
    """Returns the model if a microcontroller can take it: one int8 input, one int8 output, one subgraph."""
    remedy = "Export with --formats int8 and give the .tflite file that it writes"
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        found = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        raise ModelFileError(f"{model.path} has {found}; a board runs models with one of each. {remedy}.")
    if model.subgraphs != 1:
        raise ModelFileError(
            f"{model.path} has {model.subgraphs} subgraphs (control flow); a board runs one. {remedy}."
        )
    for what, tensor in (("input", model.input), ("output", model.output)):
        if tensor.type != "INT8" or not tensor.scale > 0:
            kind = tensor.type.lower()
            raise ModelFileError(f"{model.path} has a {kind} {what}, not a quantised int8 one. {remedy}.")
    return model


def _interpreter(path: str | Path) -> Any:
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError:
        raise RuntimeError(
            "TensorFlow Lite Micro's Python wheel is not installed (Linux x86-64, Python 3.12 only): "
            "`uv pip install tflite-micro`, or use `hpe fit`, which plans the arena without it."
        ) from None
    size = os.path.getsize(path)
    return runtime.Interpreter.from_file(str(path), arena_size=10 * size + (1 << 20))


class _captured_stderr:
    """Collects what C code writes to file descriptor 2 inside the `with` block into `.text`."""

    text = ""

    def __enter__(self) -> _captured_stderr:
        self._file = tempfile.TemporaryFile()
        self._saved = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(self, *error: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
        self._file.seek(0)
        self.text = self._file.read().decode("utf-8", "replace")
        self._file.close()
