"""An int8 network as plain dataclasses: what the passes change and emit.py writes.

Every number is the integer that TFLite's kernel would use, so nothing after this needs a scale. Images are (height,
width, channels); a vector is an image of one pixel. Ops are in the order in which they run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from export.errors import ExportError


class CompileError(ExportError):
    """A model that cannot be compiled; the message names the operator or the limit, and the remedy if there is one."""


@dataclass
class Tensor:
    shape: tuple[int, ...]
    """As in the file, with the batch of 1."""
    zero_point: int
    scale: float
    """For reports and the ends only."""
    constant: np.ndarray | None = None
    """int8 values, where the file has them."""

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape)

    @property
    def image(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        rest = self.shape[1:] if len(self.shape) > 1 else self.shape
        return tuple([1] * (3 - len(rest)) + list(rest))[-3:]  # type: ignore[return-value]


@dataclass(kw_only=True, eq=False)
class Op:
    name: str
    """The operator's number and name in the file, for messages and comments."""
    inputs: tuple[int, ...]
    """Tensors that it reads."""
    output: int
    """The tensor that it writes."""


@dataclass(kw_only=True, eq=False)
class Rescaling:
    """What every output channel of a convolution is scaled by: multiplier / 2^31 / 2^shift."""

    bias: np.ndarray
    """int64 (outputs,), the file's own."""
    multiplier: np.ndarray
    """int64 (outputs,)"""
    shift: np.ndarray
    """int64 (outputs,), to the right; below 0 to the left."""
    low: int
    """The fused activation's least output."""
    high: int
    zero_point: int
    """Of the output, before the table."""
    in_file: int
    """Outputs that the layer has in the file; some of them may be dropped."""
    table: np.ndarray | None = None
    """int8 (256,): a function of each output, for -128 ... 127; None: none"""


@dataclass(kw_only=True, eq=False)
class Conv(Op, Rescaling):
    """CONV_2D and FULLY_CONNECTED."""

    weights: np.ndarray
    """int8 (outputs, kernel height, kernel width, inputs of the group)"""
    stride: tuple[int, int]
    """(down, right)"""
    pad: tuple[int, int]
    """Rows above and columns left of the image that count as the zero point."""
    once: bool = False
    """FULLY_CONNECTED rounds once, the others twice."""


@dataclass(kw_only=True, eq=False)
class Depthwise(Op, Rescaling):
    weights: np.ndarray
    """int8 (kernel height, kernel width, outputs); outputs / inputs is the depth multiplier."""
    stride: tuple[int, int]
    pad: tuple[int, int]


@dataclass(kw_only=True, eq=False)
class Lookup(Op):
    """Any function of one value."""

    table: np.ndarray
    """int8 (256,), for -128 ... 127"""


@dataclass(kw_only=True, eq=False)
class Add(Op):
    """Both inputs may be broadcast."""

    factors: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    """(multiplier, shift) of input a, of input b, of the sum"""
    low: int
    high: int


@dataclass(kw_only=True, eq=False)
class Multiply(Op):
    multiplier: int
    shift: int
    low: int
    high: int


@dataclass(kw_only=True, eq=False)
class Mean(Op):
    """Over one run of neighbouring axes: the tensor as (outer, count, inner), the mean over the middle."""

    outer: int
    count: int
    inner: int
    multiplier: int
    shift: int


@dataclass(kw_only=True, eq=False)
class Pool(Op):
    average: bool
    size: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    low: int
    high: int


@dataclass(kw_only=True, eq=False)
class Pad(Op):
    before: tuple[int, int, int]
    """Rows above, columns left, channels before."""


@dataclass(kw_only=True, eq=False)
class Reshape(Op):
    """The same bytes under another shape."""


@dataclass(kw_only=True, eq=False)
class Softmax(Op):
    exponentials: np.ndarray
    """int32 (256,): exp of each distance from the greatest input, in Q0.31"""


@dataclass(kw_only=True, eq=False)
class Concat(Op):
    outer: int
    """How often a piece of each input follows the others' pieces."""


@dataclass(kw_only=True, eq=False)
class Block(Op):
    """Convolutions that run row by row, so that what is between them never exists as a whole. Made by passes/fuse.py.

    `inputs` are the image and, where there is an `add`, the shortcut.
    """

    expand: Conv | None
    """Before the depthwise layer."""
    depthwise: Depthwise | None
    project: Conv | None
    """After it, or alone."""
    add: Add | None
    """Of what project made (its first input) and the shortcut."""

    @property
    def stages(self) -> list[Conv | Depthwise]:
        return [stage for stage in (self.expand, self.depthwise, self.project) if stage is not None]


@dataclass
class Graph:
    path: str
    tensors: list[Tensor]
    ops: list[Op]
    input: int
    output: int
    file_bytes: int
    unsigned: tuple[bool, bool] = (False, False)
    """Whether the input, the output is uint8 in the file."""
    notes: list[str] = field(default_factory=list)
    """What the passes did, for the report."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolutions."""
        layers = [op for op in self.ops if isinstance(op, Conv | Depthwise)]
        return sum(op.weights.size * math.prod(self.tensors[op.output].image[:2]) for op in layers)

    def readers(self, tensor: int) -> list[Op]:
        return [op for op in self.ops if tensor in op.inputs]

    def writer(self, tensor: int) -> Op | None:
        return next((op for op in self.ops if op.output == tensor), None)
