"""What a layer costs on a Cortex-M4: instructions, and bytes of flash; for 1x1 convolutions dense and sparse.

The instructions of one call of a kernel are linear in its work. The numbers are a least-squares fit to exact counts of
the emulated processor (GCC 12.2, -O2; 14 to 204 inputs, 14 to 68 outputs, 50 to 90 % zeros) and are within 1 % of each;
tests/export/compiler/test_cost.py holds them to 3 %. They are instructions and not cycles: the emulator has no pipeline
and no flash wait states.
"""

from __future__ import annotations

from dataclasses import dataclass

from export.compiler.step import Step

KINDS = ("dense", "sparse3", "sparse4")
"""Kernels that a layer may have; clustered, too, where less flash is worth more time."""


@dataclass(frozen=True)
class Layer:
    """A 1x1 convolution, or any on gathered windows."""

    inputs: int
    outputs: int
    nonzeros: int
    """Weights that are not 0."""
    clamps_at_zero: bool
    """The output's zero point is -128, as after a ReLU: one instruction less a value."""
    to_rows: bool
    """Writes the layout `rows`, not an image."""
    entries: int = 0
    """Of sparse3, those that only move on included."""


@dataclass(frozen=True)
class _Call:
    """Instructions of one call of a kernel."""

    step: float
    """Each pair of inputs and pair of outputs (dense), or each entry (sparse)."""
    output: float
    """Each pair of outputs (dense), or each output (sparse), where negative results are clamped to the zero point."""
    signed: float
    """The same where they are not."""
    fixed: float
    rows: float
    """More of the fixed ones where the call writes rows."""
    missing: float
    """More for each (pair of) outputs where it writes rows and some of the 4 or 8 pixels are not there."""


_CALLS = {
    ("dense", 4): _Call(12.39, 70.8, 80.6, 85, 12, 64.5),
    ("clustered", 4): _Call(36.3, 194, 204, -29, 67, 64.5),
    ("sparse3", 4): _Call(8.74, 47.6, 53.1, 141, 11, 16.4),
    ("sparse3", 8): _Call(13.75, 68.7, 79.3, 151, -9, 16.3),
    ("sparse4", 4): _Call(7.74, 47.6, 53.1, 141, 11, 16.4),
    ("sparse4", 8): _Call(12.75, 68.7, 79.3, 151, -9, 16.3),
}


def call_instructions(layer: Layer, kind: str, pixels: int) -> float:
    """Of one call on a tile (dense, at most 4 pixels) or a strip (sparse, at most 8)."""
    most = 8 if pixels > 4 else 4
    call = _CALLS[kind, most]
    output = call.output if layer.clamps_at_zero else call.signed
    fixed = call.fixed
    if layer.to_rows:
        fixed += call.rows
        output += call.missing if pixels < most else 0
    if kind in ("dense", "clustered"):
        pairs_in, pairs_out = -(-layer.inputs // 2), -(-layer.outputs // 2)
        return pairs_out * (call.step * pairs_in + output) + fixed
    entries = max(layer.nonzeros, layer.outputs, layer.entries if kind == "sparse3" else 0)
    return call.step * entries + output * layer.outputs + fixed


def run_instructions(layer: Layer, kind: str, pixels: int) -> float:
    """Of a run of pixels, 4 or 8 at a time."""
    most = 8 if kind.startswith("sparse") else 4
    whole, rest = divmod(pixels, most)
    return whole * call_instructions(layer, kind, most) + (call_instructions(layer, kind, rest) if rest else 0)


def depthwise_instructions(
    window: tuple[int, int], clamps_at_zero: bool, channels: int, shape: tuple[int, int, int]
) -> float:
    """Of a depthwise layer with the fast kernel, 3x3 or 5x5.

    Args:
        window: size and stride.
        shape: rows of the output, fours of pixels in one of them, and kernel rows in all that meet the image.
    """
    rows, groups, kernel_rows = shape
    each, kernel_row = (28.2, 11.8) if window[0] == 3 else (37.4, 23.9 if window[1] == 1 else 20.9)
    each += 0 if clamps_at_zero else 4
    return rows * (190 + channels * (28.7 + groups * each)) + kernel_rows * channels * groups * kernel_row


def weight_bytes(layer: Layer, kind: str) -> int:
    """Flash for the weights alone; the channels' constants are the same for all kinds."""
    if kind == "dense":
        return -(-layer.inputs // 2) * 2 * -(-layer.outputs // 2) * 2
    if kind == "clustered":
        return -(-layer.outputs // 2) * (32 + -(-layer.inputs // 2) * 2)
    if kind == "sparse3":
        return round(1.5 * max(layer.entries, layer.outputs) + 1.75 * layer.outputs)
    return 4 * max(layer.nonzeros, layer.outputs) + 2 * layer.outputs


WORK = {
    "added": 16.2,  # values of ADD, and of MUL of equal shapes
    "averaged": 2.04,  # values that MEAN reads
    "broadcast": 139,  # values of ADD and MUL of other shapes
    "call": 77,  # a step
    "cell": 1.1,  # outputs of gathered windows, times the cells of a window
    "convolution": 1,  # instructions of the dense and sparse kernels, as above
    "depthwise": 1,  # instructions of the depthwise kernels, as above
    "gate": 11.9,  # channels of an image times a vector
    "gated": 10.2,  # values of the same
    "gathered": 2.6,  # values of gathered windows
    "looked up": 3.4,  # values of a table by itself
    "map4": 97.5,  # channels of depthwise layers of at most 4 pixels
    "mean": 53.4,  # values that MEAN writes
    "moved": 1,  # bytes
    "narrowed": 3.1,  # values of a block that ends in its depthwise layer
    "plain": 5.9,  # MACs of a convolution that no fast kernel takes
    "plain depthwise": 16.5,
    "plain output": 144,
    "pooled": 5.0,  # values that a pool reads
    "row": 206,  # rows of a block's input and output
    "softmax": 79,
    "spread": 2.4,  # values of a block that begins with its depthwise layer
    "table": 5.25,  # values of a table within a block
    "tile": 75,  # fours (dense) or eights (sparse) of pixels of a convolution without a depthwise layer
    "vector": 1.98,  # MACs of a dense layer
    "vector output": 68.2,
    "widened": 2.08,  # values that a 1x1 convolution reads
}
"""Instructions for each piece of work: a non-negative least-squares fit to the counts of 465 steps of 13 models."""


CYCLES_PER_INSTRUCTION = 1.43
"""Of compiled networks, by the rules of emulator/cycles.py: 1.37 to 1.43 in ten of them, 1.44 in one. Memory answers at
once there, so that a board takes longer."""


def step_instructions(step: Step) -> float:
    """Of one step of a compiled model."""
    return sum(WORK[kind] * amount for kind, amount in step.work.items())
