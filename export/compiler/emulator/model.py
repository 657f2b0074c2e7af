"""A compiled model on the emulated Cortex-M4: outputs, exact instructions of each run and step, flash, RAM, stack."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.compiler import emulator
from export.compiler.compile import Compiled
from export.errors import ExportError

NO_HOOK = "#define poison(step) ((void)0)"
"""The line of the generated C that marks where a step begins."""
HOOK = "void step_begins(int step);\n#define poison(step) step_begins(step)"


@dataclass(frozen=True, eq=False)
class ModelRun:
    """What a compiled model did on the board."""

    outputs: np.ndarray
    """uint8 (inputs, bytes)"""
    instructions: tuple[int, ...]
    """One number per input."""
    steps: tuple[tuple[int, ...], ...]
    """Per input the instructions of each step; empty where they were not asked for."""
    flash_bytes: int
    """Code and constants of the model's object file."""
    ram_bytes: int
    """Its variables."""
    stack_bytes: int
    """The most stack that a run took."""


def run_model(
    model: Compiled,
    inputs: Sequence[bytes],
    flags: Sequence[str] = ("-O2",),
    count_steps: bool = False,
    compiler: Sequence[str] = emulator.GCC,
) -> ModelRun:
    """Build a compiled model for the emulated board and run it on each of the inputs."""
    with tempfile.TemporaryDirectory() as folder:
        program = build_model(model, Path(folder), flags, count_steps, compiler)
        outcome = emulator.run(program, b"".join(inputs), timeout_s=600)
        sizes = emulator.section_sizes([program.with_name("model.o")])
    data = np.frombuffer(outcome.output, np.uint8)
    columns = 1 + len(model.steps) if count_steps else 1
    counts = np.array(outcome.counts).reshape(-1, columns).tolist()
    return ModelRun(
        data[:-4].reshape(len(inputs), model.output_bytes),
        tuple(row[0] for row in counts),
        tuple(tuple(row[1:]) for row in counts) if count_steps else (),
        sizes.flash,
        sizes.ram,
        int(data[-4:].view("<u4")[0]),
    )


def build_model(
    model: Compiled,
    folder: Path,
    flags: Sequence[str] = ("-O2",),
    count_steps: bool = False,
    compiler: Sequence[str] = emulator.GCC,
) -> Path:
    """FOLDER/model.elf, which runs the model on every input that it is given; FOLDER/model.o is the model alone."""
    source = next(file for file in model.files if file.suffix == ".c")
    if count_steps:
        text = source.read_text(encoding="utf-8")
        if NO_HOOK not in text:
            raise ExportError(f"{source} has no marks where steps begin. Compile the model again.")
        source = folder / "counted.c"
        source.write_text(text.replace(NO_HOOK, HOOK), encoding="utf-8")
    include = ("-I", str(model.files[0].parent))
    compiled = emulator.compile_object(source, folder / "model.o", (*flags, *include), compiler)
    defines = (f'-DMODEL_HEADER="{model.name}.h"', f"-DMODEL_RUN={model.name}_run", f"-DSTEPS={len(model.steps)}")
    sizes = (f"-DINPUT_BYTES={model.input_bytes}", f"-DOUTPUT_BYTES={model.output_bytes}")
    files = [emulator.FOLDER / "run_model.c", compiled]
    return emulator.build(files, folder / "model.elf", ("-O2", *include, *defines, *sizes))
