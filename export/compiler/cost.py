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


_CALLS = {
    ("dense", 4): _Call(12.4, 68.7, 78.7, 92, 6),
    ("clustered", 4): _Call(36.3, 194, 204, -29, 67),
    ("sparse3", 4): _Call(8.74, 47.0, 52.4, 131, 23),
    ("sparse3", 8): _Call(13.74, 68.0, 78.4, 131, 23),
    ("sparse4", 4): _Call(7.74, 47.0, 52.4, 130, 23),
    ("sparse4", 8): _Call(12.74, 68.0, 78.4, 130, 23),
}


def call_instructions(layer: Layer, kind: str, pixels: int) -> float:
    """Of one call on a tile (dense, at most 4 pixels) or a strip (sparse, at most 8)."""
    call = _CALLS[kind, 8 if pixels > 4 else 4]
    output = call.output if layer.clamps_at_zero else call.signed
    fixed = call.fixed + (call.rows if layer.to_rows else 0)
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
    "added": 14.5,  # values of ADD, and of MUL of equal shapes
    "averaged": 2.1,  # values that MEAN reads
    "block": 188,  # a fused block
    "broadcast": 138,  # values of ADD and MUL of other shapes
    "call": 120,  # a step
    "convolution": 1,  # instructions of the dense and sparse kernels, as above
    "gated": 11,  # values of an image times a vector
    "gathered": 3.66,  # values of gathered windows
    "looked up": 3.9,  # values of a table by itself
    "map4": 97,  # channels of depthwise layers of at most 4 pixels
    "mean": 50.7,  # values that MEAN writes
    "moved": 1,  # bytes
    "narrowed": 2.9,  # values of a block that ends in its depthwise layer
    "plain": 5.9,  # MACs of a convolution that no fast kernel takes
    "plain depthwise": 16.5,
    "plain output": 144,
    "pooled": 5.8,  # values that a pool reads
    "row": 393,  # rows of a block's input and output
    "softmax": 67,
    "spread": 1.46,  # values of a block that begins with its depthwise layer
    "table": 5.6,  # values of a table within a block
    "taps": 1.13,  # MACs of a depthwise layer
    "vector": 2.0,  # MACs of a dense layer
    "vector output": 66.7,
    "widened": 2.54,  # values that a 1x1 convolution reads
    "window": 36.2,  # four outputs of a depthwise layer
}
"""Instructions for each piece of work: a non-negative least-squares fit to the counts of 700 steps of 13 models."""


def step_instructions(step: Step) -> float:
    """Of one step of a compiled model: within some 5 % for fused blocks, 40 % for plain kernels."""
    return sum(WORK[kind] * amount for kind, amount in step.work.items())
