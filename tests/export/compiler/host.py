"""Compiled models on this machine: built with cc, called through ctypes; and TFLite's reference kernels beside them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.compiler import Compiled

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared"
RELEASES = ROOT / "hpe" / "model" / "releases"


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def reference(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """int8 (N, *input) -> int8 (N, outputs), computed by TFLite's reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(inputs: np.ndarray) -> np.ndarray:
        rows = []
        for row in inputs:
            interpreter.set_tensor(source["index"], row.reshape(source["shape"]))
            interpreter.invoke()
            rows.append(interpreter.get_tensor(target["index"]).ravel().copy())
        return np.stack(rows)

    return run


def random_inputs(compiled: Compiled, model: bytes, count: int, seed: int = 0) -> np.ndarray:
    from export.micro.flatbuffer import parse_model

    source = parse_model(model).input
    low, high, kind = (-128, 128, np.int8) if source.type == "INT8" else (0, 256, np.uint8)
    return np.random.default_rng(seed).integers(low, high, (count, *source.shape), dtype=kind)


_MAIN = """
#include <stdio.h>
#include "{name}.h"

int main(void) {{
    static int8_t input[{macro}_INPUT_BYTES], output[{macro}_OUTPUT_BYTES];
    while (fread(input, 1, sizeof input, stdin) == sizeof input) {{
        if ({name}_run(input, output) || fwrite(output, 1, sizeof output, stdout) != sizeof output) {{
            return 1;
        }}
    }}
    return 0;
}}
"""


def run_sanitized(compiled: Compiled, folder: Path, inputs: np.ndarray) -> np.ndarray:
    """int8 (N, *input) -> (N, outputs), in a program of its own under the address and undefined sanitizers."""
    (folder / "main.c").write_text(_MAIN.format(name=compiled.name, macro=compiled.name.upper()))
    command = ["gcc", *WARNINGS, "-O1", "-g", "-DPOISON_FREE_MEMORY", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover=all", str(folder / "main.c"), str(folder / f"{compiled.name}.c")]
    subprocess.run([*command, "-o", str(folder / "program")], check=True)
    answer = subprocess.run([str(folder / "program")], input=inputs.tobytes(), capture_output=True)
    assert answer.returncode == 0, answer.stderr.decode()[-2000:]
    return np.frombuffer(answer.stdout, np.int8).reshape(len(inputs), -1)


def build(compiled: Compiled, folder: Path, compiler: str = "gcc", *flags: str) -> Callable[[np.ndarray], np.ndarray]:
    """The compiled model as a function: (N, *input) -> (N, outputs). A debug build: free memory is poisoned."""
    library = folder / f"{compiled.name}-{compiler}.so"
    command = [compiler, *WARNINGS, "-O1", "-DPOISON_FREE_MEMORY", "-shared", "-fPIC", *flags]
    command += [str(file) for file in compiled.files if file.suffix == ".c"]
    subprocess.run([*command, "-o", str(library)], check=True)
    entry = getattr(ctypes.CDLL(str(library)), f"{compiled.name}_run")

    def run(inputs: np.ndarray) -> np.ndarray:
        outputs = np.zeros((len(inputs), compiled.output_bytes), inputs.dtype)
        for row, answer in zip(np.ascontiguousarray(inputs), outputs, strict=True):
            pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (row, answer))
            assert entry(*pointers) == 0
        return outputs

    return run
