"""From a file to C: read, passes, steps, plan, emit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.compiler.arrange import PASSES, arrange
from export.compiler.emit import emit
from export.compiler.graph import CompileError
from export.compiler.limits import NO_LIMITS, Limits, check_limits
from export.compiler.profile import profile_row
from export.compiler.read import read_graph
from export.compiler.step import Step
from export.files import write_all

KERNEL_NAMES = {"convert", "dense", "depthwise", "sparse3", "sparse4"}
"""NAME_run of these may be a function of the kernels."""


@dataclass
class Compiled:
    """What was written, and what it takes."""

    name: str
    files: list[Path]
    ram_bytes: int
    flash_bytes: int
    """Tables and structs; the kernels' code comes on top: some 4 to 14 KB on a Cortex-M4."""
    macs: int
    """Multiply-accumulates of the network as it is in the file."""
    live_macs: int
    """Those that are left without the channels that make no difference."""
    input_bytes: int
    output_bytes: int
    fine_scales: np.ndarray | None
    """What a sum of NAME_run_fine is worth, for each output; None where there is no such function."""
    steps: list[Step]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        steps = [profile_row(step) for step in self.steps]
        sizes = {
            key: getattr(self, key) for key in ("name", "ram_bytes", "flash_bytes", "macs", "live_macs", "input_bytes")
        }
        return sizes | {"notes": self.notes, "steps": steps}


def compile_model(
    model: str | Path,
    out: str | Path,
    name: str | None = None,
    limits: Limits = NO_LIMITS,
    passes: tuple[str, ...] = PASSES,
) -> Compiled:
    """Write OUT/NAME.c and OUT/NAME.h: plain C99 that computes what TFLite's reference kernels do, byte for byte.

    Args:
        model: a full-int8 .tflite file of one input and one output.
        out: the folder; it is made where it is absent. Nothing is written unless all of it can be.
        name: begins the names of files and functions; left out, the file's own.
        limits: the board's flash and RAM.
        passes: those of PASSES that are wanted; SMALL for less flash at the price of time.

    Raises:
        CompileError: the model, or an operator of it, is not one that the compiler takes, or it exceeds a limit.
        ModelFileError: no .tflite file, or a damaged one.
    """
    name = c_name(name if name is not None else Path(model).stem)
    graph = read_graph(model)
    macs = graph.macs
    steps, buffers, plan = arrange(graph, passes)
    check_limits(graph, steps, plan, limits)
    texts = emit(graph, steps, buffers, plan, name)
    files = _write(Path(out), texts)
    flash, live = sum(step.flash for step in steps), sum(step.macs for step in steps)
    fine = steps[-1].fine_scales if steps[-1].output == graph.output else None
    ends = graph.tensors[graph.input].size, graph.tensors[graph.output].size
    return Compiled(name, files, plan.size, flash, macs, live, *ends, fine, steps, graph.notes)


def c_name(text: str) -> str:
    """A C identifier: b0-nano -> b0_nano"""
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    return f"model_{name}" if not name or name[0].isdigit() or name[0] == "_" or name in KERNEL_NAMES else name


def _write(out: Path, texts: dict[str, str]) -> list[Path]:
    try:
        return write_all({out / file: text for file, text in texts.items()})
    except OSError as error:
        raise CompileError(f"{out} cannot be written: {error.strerror or error}. Choose another folder.") from error
