"""One call of a kernel, with its tables: what an operator becomes before it is written as C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Table:
    """A const array in flash."""

    type: str
    """C's name of an item, for instance int8_t or channel_t."""
    name: str
    values: np.ndarray
    """(items,), or (items, fields) for structs."""
    words: bool = False
    """Read as 32-bit words: starts on one."""

    @property
    def size(self) -> int:
        """Bytes of flash."""
        item = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2}.get(self.type, 4)
        return item * self.values.size


@dataclass
class Struct:
    """A const struct of parameters; field values are C text."""

    type: str
    name: str
    fields: Mapping[str, str | int]


STRUCT_BYTES = {
    "add_t": 44, "block_t": 92, "broadcast_t": 48, "channelwise_t": 48, "conv_t": 52, "dense_t": 16, "depthwise_t": 24,
    "gather_t": 14, "map4_t": 16, "mean_t": 28, "multiply_t": 28, "pad_t": 40, "softmax_t": 12, "sparse_t": 20,
    "vector_t": 28, "window_t": 40,
}  # fmt: skip
"""sizeof, pointers being 4 bytes."""


@dataclass
class Step:
    name: str
    """The operators' numbers and names in the file."""
    inputs: tuple[int, ...]
    """Tensors that are read; {0}, {1} ... in `call`."""
    output: int
    """{out} in `call`"""
    call: str
    """The C statement; {scratch} is the scratch buffer."""
    functions: set[str]
    """Kernel functions that it needs."""
    pieces: set[str] = field(default_factory=set)
    """Pieces of these functions that it needs, see KEEP of kernels/common.h."""
    tables: list[Table] = field(default_factory=list)
    structs: list[Struct] = field(default_factory=list)
    scratch: int = 0
    """Bytes of RAM while it runs."""
    ram: int = 0
    """Bytes of the static buffer in use while it runs, up to the last; set when memory is planned."""
    slack: Mapping[int, int] = field(default_factory=dict)
    """Inputs that the output may be written over, if it starts at least that many bytes before them."""
    fine_scales: np.ndarray | None = None
    """(outputs,): what a sum of a last layer is worth, before it is rounded to int8; None: there are no such sums."""
    work: Mapping[str, float] = field(default_factory=dict)
    """What the kernels do, by kind: see WORK of cost.py."""
    macs: int = 0
    """Multiply-accumulates as the network has them."""
    channels: tuple[int, int] = (0, 0)
    """Outputs of its convolutions: those that are computed, those in the file."""
    kernel: str = "plain"
    """Dense, sparse with its share of zeros, plain loop ...: for reports."""

    @property
    def flash(self) -> int:
        """Bytes of tables and structs on a 32-bit processor."""
        return sum(table.size for table in self.tables) + sum(STRUCT_BYTES[struct.type] for struct in self.structs)
