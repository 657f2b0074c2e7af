"""Which convolutions the fast kernels can take, and the tables of weights in the order that these want."""

from __future__ import annotations

import numpy as np

from export.compiler.graph import Conv, Depthwise, Graph, Rescaling
from export.compiler.numbers import rescale

_DENSE_LIMIT = 1 << 23
"""The sums of two channels share a register for a while, one of them 256 times: see kernels/dsp/dense.c."""
_SUM_LIMIT = 1 << 22
"""Doubled, a bias has 24 bits, see fast_channel_t."""


def fast_rescaling(
    op: Rescaling, low: np.ndarray, high: np.ndarray, limit: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """(multiplier, shift) with 1 <= shift <= 22, or None where a fast kernel cannot have them.

    low, high: (outputs,), the least and the greatest sum of each output. A channel whose result is always 0 gets the
    multiplier 0.
    """
    if max(-int(low.min(initial=0)), int(high.max(initial=0))) >= limit:
        return None
    multiplier, shift = op.multiplier.copy(), op.shift.copy()
    for c in np.flatnonzero((shift > 22) | (multiplier == 0)):
        ends = rescale(np.array([low[c], high[c]]), int(multiplier[c]), int(shift[c]))
        if ends.any():
            return None
        multiplier[c], shift[c] = 0, 1
    return None if (shift < 1).any() else (multiplier, shift)


def folded_bias(op: Conv, zero_point: int) -> np.ndarray:
    """int64 (outputs,): for kernels that read raw values."""
    return op.bias - zero_point * op.weights.reshape(len(op.weights), -1).astype(np.int64).sum(axis=1)


def conv_rescaling(graph: Graph, op: Conv) -> tuple[np.ndarray, np.ndarray] | None:
    """For the dense and sparse kernels."""
    if op.once:
        return None
    weights = op.weights.reshape(len(op.weights), -1).astype(np.int64)
    bias = folded_bias(op, graph.tensors[op.inputs[0]].zero_point)
    low = bias + np.minimum(weights * -128, weights * 127).sum(axis=1)
    high = bias + np.maximum(weights * -128, weights * 127).sum(axis=1)
    return fast_rescaling(op, low, high, _DENSE_LIMIT)


def is_fast_conv(graph: Graph, op: Conv) -> bool:
    """A convolution of one group, whose windows the gathering kernel can take."""
    height, width, channels = graph.tensors[op.inputs[0]].image
    if op.weights.shape[3] != channels or op.weights[0].size > 8192 or max(height, width, channels) > 4096:
        return False
    if op.weights.min() == -128:  # two weights share 16 bits: see kernels/dsp/dense.c
        return False
    return len(op.weights) <= 4096 and conv_rescaling(graph, op) is not None


def is_point(op: Conv) -> bool:
    """A 1x1 convolution that reads each pixel once."""
    return op.weights.shape[1:3] == (1, 1) and op.stride == (1, 1) and op.pad == (0, 0)


def is_clustered(op: Conv) -> bool:
    """At most 16 different weights in each output, few enough inputs for the kernel."""
    matrix = op.weights.reshape(len(op.weights), -1)
    return matrix.shape[1] <= 256 and all(np.unique(row).size <= 16 for row in matrix)


def depthwise_rescaling(graph: Graph, op: Depthwise) -> tuple[np.ndarray, np.ndarray] | None:
    """For the depthwise kernels, which read centred values."""
    zero_point = graph.tensors[op.inputs[0]].zero_point
    weights = op.weights.reshape(-1, op.weights.shape[2]).astype(np.int64)
    ends = weights * (-128 - zero_point), weights * (127 - zero_point)
    low = op.bias + np.minimum(np.minimum(*ends), 0).sum(axis=0)  # 0: a tap outside the image
    high = op.bias + np.maximum(np.maximum(*ends), 0).sum(axis=0)
    return fast_rescaling(op, low, high, _SUM_LIMIT)


def is_map4(graph: Graph, op: Depthwise) -> bool:
    """A whole image of 2 x 2 pixels, before and after."""
    sides = [graph.tensors[i].image for i in (op.inputs[0], op.output)]
    same = sides[0] == sides[1] == (2, 2, sides[0][2])
    return same and op.stride == (1, 1) and depthwise_rescaling(graph, op) is not None


def is_fast_depthwise(graph: Graph, op: Depthwise) -> bool:
    """3x3 or 5x5, stride 1 or 2, one output a channel, at least one row and column of every window in the image."""
    size, width = op.weights.shape[:2]
    source, target = graph.tensors[op.inputs[0]].image, graph.tensors[op.output].image
    if size != width or size not in (3, 5) or op.stride not in ((1, 1), (2, 2)) or source[2] != target[2]:
        return False
    if max(op.pad) > 2 or op.pad[0] >= size or max(source) > 4096:
        return False
    if (target[0] - 1) * op.stride[0] - op.pad[0] >= source[0]:
        return False
    return depthwise_rescaling(graph, op) is not None


def depthwise_core(op: Depthwise) -> str:
    """The piece of kernels/dsp/depthwise.c that takes it."""
    size, stride, odd = op.weights.shape[0], op.stride[0], op.pad[1] % 2
    if size == 5 and stride == 1 and odd:
        return "DEPTHWISE_RARE"
    return f"DEPTHWISE_{size}_{stride}" + (
        "_ODD" if size == 5 and odd else "_EVEN" if (size, stride, odd) == (3, 1, 0) else ""
    )


def row_stride(width_in: int, width_out: int, op: Depthwise) -> int:
    """Halfwords from channel to channel in the layout `rows`; see kernels/README.md."""
    written = 2 + -(-width_in // 4) * 4
    read = 2 - op.pad[1] + op.stride[1] * (-(-width_out // 4) * 4 - 1) + op.weights.shape[1] + 1
    return -(-max(written, read) // 2) * 2


def pack_dense(weights: np.ndarray) -> np.ndarray:
    """int8 (outputs, inputs) -> bytes of the int16 256 * w(c + 1, k) + w(c, k), as [outputs / 2][inputs / 2][2]."""
    outputs, inputs = weights.shape
    even = np.zeros((outputs + outputs % 2, inputs + inputs % 2), np.int64)
    even[:outputs, :inputs] = weights
    first, second = even[0::2], even[1::2]
    return (256 * second + first).astype("<i2").ravel().view(np.int8)


def pack_clustered(weights: np.ndarray) -> np.ndarray:
    """int8 (outputs, inputs) of at most 16 values an output -> see kernels/clustered.h."""
    outputs, inputs = weights.shape
    even = np.zeros((outputs + outputs % 2, inputs), np.int8)
    even[:outputs] = weights
    tables, codes = np.zeros((len(even), 16), np.int8), np.zeros((len(even), inputs + inputs % 2), np.uint8)
    for row, table, code in zip(even, tables, codes, strict=True):
        values, code[:inputs] = np.unique(row, return_inverse=True)
        table[: values.size] = values
    both = (codes[0::2] | codes[1::2] << 4).view(np.int8)  # (outputs / 2, inputs)
    return np.concatenate([tables.reshape(len(both), 32), both], axis=1).ravel()


def pack_depthwise(op: Depthwise) -> np.ndarray:
    """(size, size, channels) -> [channel][kernel row][8 or 5 bytes]: see kernels/README.md.

    Size 3: int16, doubled. Size 5: int8, four in the order in which SXTB16 makes pairs of them, and one alone.
    """
    size, odd = op.weights.shape[0], op.pad[1] % 2
    weights = 2 * op.weights.astype(np.int16) if size == 3 else op.weights
    taps = [*weights.transpose(1, 0, 2), np.zeros_like(weights[:, 0])]  # the last: no tap
    if size == 5:
        order = (1, 3, 2, 4, 0) if odd and op.stride[1] == 2 else (0, 2, 1, 3, 4)
    elif op.stride[1] == 1:
        order = (0, 1, 1, 2)
    else:
        order = (3, 0, 1, 2) if odd else (0, 1, 2, 3)
    rows = np.stack([taps[i] for i in order], axis=-1)  # (size, channels, taps)
    return rows.transpose(1, 0, 2).ravel()


def pack_map4(op: Depthwise) -> np.ndarray:
    """-> int8 [channel][pixels above, level, below][on the left, on the right, in the middle], and one more."""
    size, channels = op.weights.shape[:2], op.weights.shape[2]
    near = np.zeros((3, 3, channels), np.int8)
    for y, x in np.ndindex(3, 3):
        tap = y - 1 + op.pad[0], x - 1 + op.pad[1]
        if 0 <= tap[0] < size[0] and 0 <= tap[1] < size[1]:
            near[y, x] = op.weights[tap]
    return np.append(near[:, (0, 2, 1)].transpose(2, 0, 1).ravel(), np.int8(0))
