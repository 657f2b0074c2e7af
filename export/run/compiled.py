"""A model as `hpe compile` writes it, run on this machine: what runs on a board can be measured here.

Needs a C compiler (cc), and nothing else that export.run does not need.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from export.compiler import Compiled, compile_model
from export.errors import ExportError
from export.micro.flatbuffer import read_model
from export.run.runtime import Runtime

_MODEL = "model"


class CompiledRuntime(Runtime):
    """The generated C as a shared library. Gives the bytes of TensorFlow Lite's reference kernels.

    With `fine` the result is that of NAME_run_fine: the last layer's sums, which are not rounded to int8.
    """

    kernels = "compiled C"

    def __init__(self, path: Path, fine: bool = False) -> None:
        self.path, self.fine = path, fine
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            compiled = compile_model(path, folder, _MODEL)
            library = ctypes.CDLL(str(_build(compiled, Path(folder))))
        self.init_ms = (time.perf_counter() - start) * 1e3
        source, target = read_model(path).input, read_model(path).output
        if len(source.shape) != 4 or source.type != "INT8" or target.type != "INT8":
            raise ExportError(f"{path} takes {source.type} {list(source.shape)}; int8 (1, H, W, C) is needed.")
        _, height, width, channels = source.shape
        self.input_shape = (height, width, channels)
        self.output_size = target.elements
        self.input_scale, self.input_zero_point = source.scale, source.zero_point
        self.output_scale, self.output_zero_point = target.scale, target.zero_point
        self._scales = np.ones(self.output_size) if compiled.fine_scales is None else compiled.fine_scales
        if fine and compiled.fine_scales is None:
            raise ExportError(f"{path} does not end in a dense layer, so it has no fine output; take the engine c.")
        self._input = np.zeros((1, *self.input_shape), np.int8)
        self._output = np.zeros((1, self.output_size), np.int32 if fine else np.int8)
        self._entry = getattr(library, f"{_MODEL}_run_fine" if fine else f"{_MODEL}_run")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        if not self.fine:
            return super().__call__(images)
        images = np.asarray(images, np.float32)
        self._check_shape(images)
        sums = [self.run_one(image[None]) for image in self.quantize(images)]
        rows = np.concatenate(sums) if sums else np.empty((0, self.output_size), np.int32)
        return np.multiply(rows, self._scales, dtype=np.float64).astype(np.float32)

    def set_input(self, image: np.ndarray) -> None:
        self._input[:] = image

    def invoke(self) -> None:
        self._entry(self._input.ctypes.data_as(ctypes.c_void_p), self._output.ctypes.data_as(ctypes.c_void_p))

    def get_output(self) -> np.ndarray:
        return self._output.copy()  # (1, K)


def _build(compiled: Compiled, folder: Path) -> Path:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise ExportError("The engine c needs a C compiler: install gcc or clang, or name one in $CC.")
    library = folder / "model.so"
    source = next(str(file) for file in compiled.files if file.suffix == ".c")
    done = subprocess.run(
        [*compiler.split(), "-std=c99", "-O2", "-shared", "-fPIC", source, "-o", str(library)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ExportError(f"{compiler} cannot compile {compiled.name}: {done.stderr.strip()[-300:]}")
    return library
