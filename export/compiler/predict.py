"""What a layer will take in the compiled C, before there is a file: from its shape alone.

The pieces of work are those of cost.py, counted as lower_block.py and lower.py count them, dense kernels everywhere.
Layers of one block share its fixed part, which counts with the depthwise layer. A trained net takes less where channels
have died, which the compiler leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass

from export.compiler.cost import CYCLES_PER_INSTRUCTION, WORK, Layer, run_instructions

MAP4 = 4
"""Pixels of the maps that the depthwise kernel takes at once."""


@dataclass(frozen=True)
class Shape:
    """A convolution or dense layer, and what the compiler fuses into it."""

    kind: str
    """point (1x1), windows (any other with one group), depthwise, or vector (one pixel)."""
    inputs: int
    outputs: int
    image_in: tuple[int, int]
    """Height and width."""
    image_out: tuple[int, int]
    kernel: int = 1
    """Side of the kernel."""
    relu: bool = False
    """Whether negative results are clamped to 0."""
    table: bool = False
    """Whether an activation other than that follows, which becomes a table."""
    first: bool = False
    """Whether it reads the input of its block (not a depthwise layer's output)."""
    alone: bool = False
    """Whether it is a block of its own."""
    added: bool = False
    """Whether a residual is added to its output."""
    gated: bool = False
    """Whether squeeze-excitation follows: the map is written, averaged and multiplied."""
    averaged: bool = False
    """Whether its output is averaged over the pixels."""
    strided: bool = False
    """Whether the depthwise layer before it has a stride."""
    pads: bool = False
    """Whether an operator of its own pads its input."""


def layer_cycles(shape: Shape) -> float:
    """Rough cycles of a Cortex-M4 for one layer."""
    return CYCLES_PER_INSTRUCTION * sum(WORK[kind] * amount for kind, amount in _work(shape).items())


def _work(shape: Shape) -> dict[str, float]:
    rows, columns = shape.image_out
    pixels, values = rows * columns, rows * columns * shape.outputs
    work: dict[str, float] = {}
    if shape.kind == "vector":
        work |= {"call": 1, "vector": shape.inputs * shape.outputs, "vector output": shape.outputs}
        return work | {"looked up": shape.outputs * shape.table}
    if shape.kind == "depthwise":
        work |= {"call": 1, "block": 1} | _depthwise(shape)
    else:
        inputs = shape.inputs * shape.kernel**2
        layer = Layer(inputs, shape.outputs, inputs * shape.outputs, shape.relu, to_rows=shape.first)
        runs = (1, pixels) if pixels <= MAP4 and not shape.strided else (rows, columns)
        work["convolution"] = runs[0] * run_instructions(layer, "dense", runs[1])
        if shape.first:
            work["widened" if shape.kind == "point" else "gathered"] = pixels * inputs
        if shape.alone:
            work |= {"call": 1, "block": 1}
    work["table"] = values * shape.table
    work["added"] = values * shape.added
    if shape.gated:
        work |= {"narrowed": values, "gated": values}
    if shape.gated or shape.averaged:
        work |= {"averaged": values, "mean": shape.outputs}
        work["call"] = work.get("call", 0) + 2
    if shape.pads:
        padded = (shape.image_in[0] + shape.kernel - 1) * (shape.image_in[1] + shape.kernel - 1) * shape.inputs
        work["moved"] = padded
        work["call"] = work.get("call", 0) + 2
        if shape.kind == "depthwise":  # it cannot be fused with what is before the padding
            work |= {"spread": padded, "block": 2}
    return work


def _depthwise(shape: Shape) -> dict[str, float]:
    rows, columns = shape.image_out
    if max(rows * columns, shape.image_in[0] * shape.image_in[1]) <= MAP4:
        return {"map4": shape.outputs}
    windows = rows * -(-columns // 4) * shape.outputs
    return {"window": windows, "taps": windows * 4 * shape.kernel**2, "row": rows + shape.image_in[0]}
