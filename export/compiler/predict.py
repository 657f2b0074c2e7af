"""What a layer will take in the compiled C, before there is a file: from its shape alone.

The pieces of work are those of cost.py, counted as work.py and lower.py count them, dense kernels everywhere.
Layers of one block share its fixed part, which counts with the depthwise layer. A trained net takes less where channels
have died, which the compiler leaves out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from export.compiler.cost import CYCLES_PER_INSTRUCTION, WORK, Layer, depthwise_instructions, run_instructions

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
    values = shape.image_out[0] * shape.image_out[1] * shape.outputs
    if shape.kind == "vector":
        work: dict[str, float] = {"call": 1.0, "vector": shape.inputs * shape.outputs, "vector output": shape.outputs}
        return work | {"looked up": shape.outputs * shape.table}
    work = {"table": values * shape.table, "added": values * shape.added, "call": 0.0}
    work |= _depthwise(shape) if shape.kind == "depthwise" else _convolution(shape)
    work["call"] += (shape.kind == "depthwise") + shape.alone
    if shape.gated:
        work |= {"narrowed": values, "gated": values, "gate": shape.outputs}
    if shape.gated or shape.averaged:
        work |= {"averaged": values, "mean": shape.outputs}
        work["call"] += 2
    if shape.pads:
        work["moved"] = math.prod(side + shape.kernel - 1 for side in shape.image_in) * shape.inputs
        work["call"] += 2
        if shape.kind == "depthwise":  # it cannot be fused with what is before the padding
            work["spread"] = work["moved"]
    return work


def _convolution(shape: Shape) -> dict[str, float]:
    rows, columns = shape.image_out
    inputs = shape.inputs * shape.kernel**2
    layer = Layer(inputs, shape.outputs, inputs * shape.outputs, shape.relu, to_rows=shape.first and not shape.alone)
    whole = shape.alone or (rows * columns <= MAP4 and not shape.strided)
    runs = (1, rows * columns) if whole else (rows, columns)
    work = {"convolution": runs[0] * run_instructions(layer, "dense", runs[1])}
    work["tile"] = runs[0] * -(-runs[1] // 4) * shape.alone
    if shape.first and shape.kind == "point":
        work["widened"] = rows * columns * inputs
    elif shape.first:
        work |= {"gathered": rows * columns * inputs, "cell": rows * columns * shape.kernel**2}
    return work


def _depthwise(shape: Shape) -> dict[str, float]:
    (height, width), (rows, columns), size = shape.image_in, shape.image_out, shape.kernel
    if max(rows * columns, height * width) <= MAP4:
        return {"map4": shape.outputs}
    stride, pad = -(-height // rows), 0
    if shape.pads:
        height += size - 1
    else:
        pad = max((rows - 1) * stride + size - height, 0) // 2
    tops = [row * stride - pad for row in range(rows)]
    inside = sum(min(top + size, height) - max(top, 0) for top in tops)  # kernel rows that meet the image
    counts = rows, -(-columns // 4), inside
    return {
        "depthwise": depthwise_instructions((size, stride), shape.relu, shape.outputs, counts),
        "row": rows + height,
    }
