"""TensorFlow Lite Micro on this computer: run a model in it, and say what arena it takes.

The tflite-micro wheel exists for Linux x86-64 with Python 3.10 and 3.12. `export.micro.footprint` does without it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.errors import ExportError, ModelFileError
from export.micro.flatbuffer import Model, read_model

# A program of its own: an odd model can crash the interpreter, which checks little.
_PRINT_ALLOCATIONS = """
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).print_allocations()
"""


@dataclass(frozen=True)
class MicroArena:
    """What TensorFlow Lite Micro's recording allocator reports on this host, in bytes."""

    arena_bytes: int
    activations_bytes: int
    persistent_bytes: int


def has_micro() -> bool:
    """Whether the tflite-micro wheel is installed."""
    return importlib.util.find_spec("tflite_micro") is not None


def run_micro(path: str | Path, inputs: np.ndarray) -> np.ndarray:
    """Runs an int8 model in TensorFlow Lite Micro, one sample after another.

    inputs: int8 (N, ...) with the model's input shape after N. Returns int8 (N, K): each output, flattened.
    Raises ModelFileError for a damaged or float model, ValueError for inputs that do not match it, ExportError where
    the wheel is missing or the interpreter refuses the model.
    """
    model = check_int8(read_model(path))
    sample_shape = model.input.shape[1:]
    if inputs.dtype != np.int8 or inputs.shape[1:] != sample_shape:
        raise ValueError(f"{path} takes int8 (N, {sample_shape}); these inputs are {inputs.dtype} {inputs.shape}.")
    _require_wheel()
    from tflite_micro.python.tflite_micro import runtime

    try:
        interpreter = runtime.Interpreter.from_file(str(path), arena_size=_arena_room(path))
    except RuntimeError as error:
        raise ExportError(f"TensorFlow Lite Micro refuses {path}: {error}.") from error
    outputs = np.empty((len(inputs), model.output.elements), np.int8)  # (N, K)
    for i, sample in enumerate(inputs):
        interpreter.set_input(np.ascontiguousarray(sample[None]), 0)
        interpreter.invoke()
        outputs[i] = interpreter.get_output(0).reshape(-1)
    return outputs


def micro_arena(path: str | Path) -> MicroArena:
    """The arena that the real interpreter takes on this host (64-bit pointers; a Cortex-M4 needs about 9 % less).

    Raises ModelFileError for a damaged file, ExportError where the wheel is missing or the interpreter refuses it.
    """
    read_model(path)
    _require_wheel()
    command = [sys.executable, "-c", _PRINT_ALLOCATIONS, str(path), str(_arena_room(path))]
    try:
        child = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"TensorFlow Lite Micro did not load {path} within 300 s.") from error
    sizes = dict(re.findall(r"Arena allocation (total|head|tail) (\d+) bytes", child.stderr))
    if child.returncode or len(sizes) != 3:
        said = " ".join(child.stderr.partition("Traceback (most recent")[0].split())[:300]
        raise ExportError(f"TensorFlow Lite Micro refuses {path}: {said or f'it ended with code {child.returncode}'}")
    return MicroArena(int(sizes["total"]), int(sizes["head"]), int(sizes["tail"]))


def check_int8(model: Model) -> Model:
    """Returns the model if a microcontroller can take it: one int8 input, one int8 output, one subgraph."""
    remedy = "Export with --formats int8 and give the int8 .tflite file that it writes"
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


def _require_wheel() -> None:
    if not has_micro():
        raise ExportError(
            "TensorFlow Lite Micro's Python wheel is not installed (Linux x86-64, Python 3.12 only): "
            "`uv pip install tflite-micro`; `hpe footprint` plans the arena without it."
        )


def _arena_room(path: str | Path) -> int:
    """Bytes of arena that are surely enough on this host."""
    return 10 * os.path.getsize(path) + (1 << 20)
