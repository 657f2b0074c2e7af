"""Passes, steps and memory: from a graph to the calls of kernels, each with its place in RAM."""

from __future__ import annotations

from collections.abc import Callable

from export.compiler.graph import Block, Graph
from export.compiler.lower import lower
from export.compiler.lower_block import lower_block
from export.compiler.passes.dead import drop_dead_channels
from export.compiler.passes.fuse import fuse_blocks
from export.compiler.passes.noops import skip_noops
from export.compiler.passes.tables import merge_tables
from export.compiler.plan import Buffer, Plan, place
from export.compiler.step import Step, Table

PASSES = ("noops", "tables", "dead", "fuse", "sparse")
"""What is done to a network, in this order; each can be left out, and no byte of the output depends on it."""
SMALL = (*PASSES, "clusters")
"""The same, and codes of 4 bits for layers of at most 16 different weights an output: less flash, more time."""
_RUN: dict[str, Callable[[Graph], None]] = {
    "noops": skip_noops,
    "tables": merge_tables,
    "dead": drop_dead_channels,
    "fuse": fuse_blocks,
}


def arrange(graph: Graph, passes: tuple[str, ...] = PASSES) -> tuple[list[Step], list[Buffer], Plan]:
    """Runs the passes on the graph; the kernels' calls in order, and where each tensor lives."""
    for name in PASSES:
        if name in passes and name in _RUN:
            _RUN[name](graph)
    steps = [
        lower_block(graph, op, f"op{i}", passes) if isinstance(op, Block) else lower(graph, op, f"op{i}")
        for i, op in enumerate(graph.ops)
    ]
    _add_constants(graph, steps)
    buffers = _buffers(graph, steps)
    plan = place(buffers, len(steps) + 1)
    for i, step in enumerate(steps):
        step.ram = max(plan.offsets[b.key] + b.size for b in buffers if b.first <= i <= b.last)
    return steps, buffers, plan


def constant_name(tensor: int) -> str:
    """The table of a constant tensor."""
    return f"tensor{tensor}"


def _add_constants(graph: Graph, steps: list[Step]) -> None:
    """A constant tensor is a table of the first step that reads it."""
    added: set[int] = set()
    for step in steps:
        for i in step.inputs:
            values = graph.tensors[i].constant
            if values is not None and i not in added:
                added.add(i)
                step.tables.append(Table("int8_t", constant_name(i), values.ravel()))


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
