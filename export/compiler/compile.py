"""From a file to C: read, passes, steps, plan, emit."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.compiler.emit import emit
from export.compiler.graph import Block, CompileError, Graph
from export.compiler.limits import NO_LIMITS, Limits, check_limits
from export.compiler.lower import lower
from export.compiler.lower_block import lower_block
from export.compiler.passes.dead import drop_dead_channels
from export.compiler.passes.fuse import fuse_blocks
from export.compiler.passes.noops import skip_noops
from export.compiler.passes.tables import merge_tables
from export.compiler.plan import Buffer, Plan, place
from export.compiler.read import read_graph
from export.compiler.step import Step


@dataclass
class Compiled:
    """What was written, and what it takes."""

    name: str
    files: list[Path]
    ram_bytes: int
    flash_bytes: int
    """Tables and structs; the kernels' code comes on top: 8 to 20 KB on a Cortex-M4."""
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
        steps = [
            {
                "operators": s.name,
                "kernel": s.kernel,
                "macs": s.macs,
                "flash_bytes": s.flash,
                "scratch_bytes": s.scratch,
            }
            for s in self.steps
        ]
        sizes = {
            key: getattr(self, key) for key in ("name", "ram_bytes", "flash_bytes", "macs", "live_macs", "input_bytes")
        }
        return sizes | {"notes": self.notes, "steps": steps}


PASSES = ("noops", "tables", "dead", "fuse", "sparse")
"""What is done to a network, in this order; each can be left out, and no byte of the output depends on it."""
_RUN: dict[str, Callable[[Graph], None]] = {
    "noops": skip_noops,
    "tables": merge_tables,
    "dead": drop_dead_channels,
    "fuse": fuse_blocks,
}


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
        passes: those of PASSES that are wanted.

    Raises:
        CompileError: the model, or an operator of it, is not one that the compiler takes, or it exceeds a limit.
        ModelFileError: no .tflite file, or a damaged one.
    """
    name = c_name(name if name is not None else Path(model).stem)
    graph = read_graph(model)
    macs = graph.macs
    steps, buffers, plan = _arrange(graph, passes)
    check_limits(graph, steps, buffers, plan, limits)
    texts = emit(graph, steps, buffers, plan, name)
    files = _write(Path(out), texts)
    flash, live = sum(step.flash for step in steps), sum(step.macs for step in steps)
    fine = steps[-1].fine_scales if steps[-1].output == graph.output else None
    ends = graph.tensors[graph.input].size, graph.tensors[graph.output].size
    return Compiled(name, files, plan.size, flash, macs, live, *ends, fine, steps, graph.notes)


def c_name(text: str) -> str:
    """A C identifier: b0-nano -> b0_nano"""
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    return f"model_{name}" if not name or name[0].isdigit() or name[0] == "_" else name


def _arrange(graph: Graph, passes: tuple[str, ...]) -> tuple[list[Step], list[Buffer], Plan]:
    for name in PASSES:
        if name in passes and name in _RUN:
            _RUN[name](graph)
    steps = [
        lower_block(graph, op, f"op{i}", sparse="sparse" in passes)
        if isinstance(op, Block)
        else lower(graph, op, f"op{i}")
        for i, op in enumerate(graph.ops)
    ]
    buffers = _buffers(graph, steps)
    return steps, buffers, place(buffers, len(steps) + 1)


def _buffers(graph: Graph, steps: list[Step]) -> list[Buffer]:
    """Life spans: the input is there before the first step, the output is read after the last."""
    last = {graph.output: len(steps)}
    for i, step in enumerate(steps):
        for tensor in step.inputs:
            last[tensor] = max(last.get(tensor, i), i)
    buffers = [Buffer(graph.input, graph.tensors[graph.input].size, -1, max(last.get(graph.input, 0), 0))]
    for i, step in enumerate(steps):
        size = graph.tensors[step.output].size
        buffers.append(Buffer(step.output, size, i, last.get(step.output, i), {**step.slack}))
        if step.scratch:
            buffers.append(Buffer(f"scratch{i}", step.scratch, i, i))
    return buffers


def _write(out: Path, texts: dict[str, str]) -> list[Path]:
    """All files or none: each is written under a temporary name first."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        staged = []
        try:
            for file, text in texts.items():
                handle, temporary = tempfile.mkstemp(prefix=f".{file}-", dir=out)
                staged.append((temporary, out / file))
                with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                    stream.write(text)
                os.chmod(temporary, 0o644)
            for temporary, final in staged:
                os.replace(temporary, final)
        except BaseException:
            for temporary, _ in staged:
                Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CompileError(f"{out} cannot be written: {error.strerror or error}. Choose another folder.") from error
    return [final for _, final in staged]
