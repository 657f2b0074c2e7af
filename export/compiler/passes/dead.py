"""Channels that make no difference: constants are folded forward, and channels that nobody reads vanish.

A channel whose weights are all zero, or too small to reach the next integer, holds one value everywhere; what reads it
can have that value in its bias. A channel that no weight reads afterwards goes, with the weights that made it, and so
back through the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.compiler.graph import Add, Conv, Depthwise, Graph, Lookup, Mean, Multiply, Op, Pool, Rescaling, Reshape
from export.compiler.numbers import rescale
from export.compiler.passes.tables import pairwise

_NONE = 1 << 20
"""In an array of constants: the channel is none."""


def drop_dead_channels(graph: Graph) -> None:
    """Changes the graph in place; outputs stay the same bytes."""
    before = {id(op): op.weights.size for op in graph.ops if isinstance(op, Conv | Depthwise)}
    channels = sum(graph.tensors[op.output].image[2] for op in graph.ops if isinstance(op, Conv | Depthwise))
    for op in graph.ops:
        if isinstance(op, Conv | Depthwise):
            _settle_constants(graph, op)
    dropped = 1
    while dropped:
        _fold_forward(graph)
        dropped = _drop(graph)
    left = sum(graph.tensors[op.output].image[2] for op in graph.ops if isinstance(op, Conv | Depthwise))
    if left < channels:
        weights = sum(op.weights.size for op in graph.ops if isinstance(op, Conv | Depthwise))
        gone = sum(before.values()) - weights
        graph.notes.append(
            f"{channels - left} of {channels} channels make no difference and vanish, with {gone:,} weights"
        )


def _settle_constants(graph: Graph, op: Conv | Depthwise) -> None:
    """Channels that hold one value whatever the input is: their weights become 0.

    Their other numbers become such as every kernel can take: bias 4 (value - zero point), times 1/4.
    """
    zero_point = graph.tensors[op.inputs[0]].zero_point
    axis = 0 if isinstance(op, Conv) else 2
    weights = np.moveaxis(op.weights, axis, 0).reshape(len(op.bias), -1).astype(np.int64)
    ends = weights * (-128 - zero_point), weights * (127 - zero_point)  # 0 lies between: a tap outside the image
    low, high = op.bias + np.minimum(*ends).sum(axis=1), op.bias + np.maximum(*ends).sum(axis=1)
    for c in range(len(op.bias)):
        value = _result(op, c, int(low[c]))
        if value == _result(op, c, int(high[c])):
            np.moveaxis(op.weights, axis, 0)[c] = 0
            op.bias[c] = 4 * (value - op.zero_point)
            op.multiplier[c], op.shift[c] = 1 << 30, 1


def _result(op: Rescaling, c: int, total: int) -> int:
    """The output of channel c for this sum, before the table."""
    multiplier, shift = int(op.multiplier[c]), int(op.shift[c])
    if isinstance(op, Conv) and op.once:
        value = (total * multiplier + (1 << (30 + shift))) >> (31 + shift)
    else:
        value = int(rescale(np.array([total]), multiplier, shift)[0])
    return min(max(value + op.zero_point, op.low), op.high)


def _fold_forward(graph: Graph) -> None:
    """Constants of each tensor from those of the ones before; they move into biases."""
    known: dict[int, np.ndarray] = {}
    for op in graph.ops:
        values = [known.get(i) for i in op.inputs]
        result = None
        if isinstance(op, Conv | Depthwise):
            if values[0] is not None and _may_fold(graph, op):
                _fold(graph, op, values[0])
            result = _constants(op)
        elif isinstance(op, Lookup | Pool | Mean | Add | Multiply) and all(value is not None for value in values):
            result = _through(graph, op, [value for value in values if value is not None])
        elif isinstance(op, Reshape) and values[0] is not None and _same_channels(graph, op):
            result = values[0]
        if result is not None and (result != _NONE).any():
            known[op.output] = result


def _constants(op: Conv | Depthwise) -> np.ndarray:
    """int (outputs,): the value of each channel without weights."""
    axes = (1, 2, 3) if isinstance(op, Conv) else (0, 1)
    values = np.full(len(op.bias), _NONE)
    for c in np.flatnonzero(~op.weights.any(axis=axes)):
        value = _result(op, int(c), int(op.bias[c]))
        values[c] = value if op.table is None else int(op.table[value + 128])
    return values


def _may_fold(graph: Graph, op: Conv | Depthwise) -> bool:
    """One group; a depthwise layer of one output a channel."""
    channels = graph.tensors[op.inputs[0]].image[2]
    if isinstance(op, Depthwise):
        return op.weights.shape[2] == channels
    return op.weights.shape[3] == channels


def _fold(graph: Graph, op: Conv | Depthwise, values: np.ndarray) -> None:
    """Takes constant inputs out of the weights and into the biases."""
    source = graph.tensors[op.inputs[0]]
    inside = _stays_inside(graph, op)
    for k in np.flatnonzero(values != _NONE):
        centred = int(values[k]) - source.zero_point
        if centred and not inside:  # outside the image it would count as 0
            continue
        weights = op.weights[..., k]
        if not weights.any():
            continue
        if isinstance(op, Conv):
            op.bias += centred * weights.reshape(len(weights), -1).astype(np.int64).sum(axis=1)
        else:
            op.bias[k] += centred * int(weights.astype(np.int64).sum())
        weights[...] = 0
    _settle_constants(graph, op)


def _stays_inside(graph: Graph, op: Conv | Depthwise) -> bool:
    """No window reaches beyond the image."""
    (height, width, _), (rows, columns, _) = (graph.tensors[i].image for i in (op.inputs[0], op.output))
    if isinstance(op, Conv) and op.weights.shape[1:3] == (1, 1) and op.pad == (0, 0):
        return True
    size = op.weights.shape[1:3] if isinstance(op, Conv) else op.weights.shape[:2]
    ends = (rows - 1) * op.stride[0] + size[0], (columns - 1) * op.stride[1] + size[1]
    return op.pad == (0, 0) and ends[0] <= height and ends[1] <= width


def _through(graph: Graph, op: Op, values: list[np.ndarray]) -> np.ndarray | None:
    """The constants of an operator that treats each channel by itself."""
    if not _channelwise(graph, op):
        return None
    all_known = np.all([value != _NONE for value in values], axis=0)
    safe = [np.where(all_known, value, 0).astype(np.int8) for value in values]
    if isinstance(op, Lookup):
        result = op.table[safe[0].astype(np.int16) + 128]
    elif isinstance(op, Add | Multiply):
        result = pairwise(graph, op, *safe)
    elif isinstance(op, Pool):
        result = np.clip(safe[0], op.low, op.high)
    elif isinstance(op, Mean):
        total = (safe[0].astype(np.int64) - graph.tensors[op.inputs[0]].zero_point) * op.count
        moved = rescale(total, op.multiplier, op.shift) + graph.tensors[op.output].zero_point
        result = np.clip(moved, -128, 127)
    else:
        return None
    return np.where(all_known, result.astype(np.int64), _NONE)


def _channelwise(graph: Graph, op: Op) -> bool:
    """Whether channel c of the output depends on channel c of each input alone."""
    channels = graph.tensors[op.output].image[2]
    if any(graph.tensors[i].image[2] != channels or graph.tensors[i].constant is not None for i in op.inputs):
        return False
    if isinstance(op, Mean):
        return op.outer == 1 and op.inner == channels
    if isinstance(op, Depthwise):
        return op.weights.shape[2] == channels
    if isinstance(op, Reshape):
        return _same_channels(graph, op)
    if isinstance(op, Add | Multiply):  # the last axis must be the channels' for both
        return all(graph.tensors[i].shape[-1:] == (channels,) for i in op.inputs)
    return isinstance(op, Lookup | Pool)


def _same_channels(graph: Graph, op: Op) -> bool:
    """A reshape that leaves the channels the last axis: of one pixel to one pixel."""
    source, target = graph.tensors[op.inputs[0]], graph.tensors[op.output]
    return source.image[2] == target.image[2] == source.size == target.size


@dataclass
class _Groups:
    """Tensors whose channels stand for each other, so that they are kept or dropped together."""

    parent: dict[int, int]

    def root(self, tensor: int) -> int:
        while self.parent.setdefault(tensor, tensor) != tensor:
            tensor = self.parent[tensor]
        return tensor

    def tie(self, a: int, b: int) -> None:
        self.parent[self.root(a)] = self.root(b)


def _drop(graph: Graph) -> int:
    """Removes the channels that nobody reads; returns how many tensor channels went."""
    groups, alive = _Groups({}), _alive(graph)
    for op in graph.ops:
        if _channelwise(graph, op):
            for tensor in op.inputs:
                groups.tie(tensor, op.output)
    keep: dict[int, np.ndarray] = {}
    for tensor, mask in alive.items():
        root = groups.root(tensor)
        keep[root] = keep[root] | mask if root in keep else mask.copy()
    for mask in keep.values():
        mask[0] |= not mask.any()  # a tensor without channels is none
    masks = {tensor: keep[groups.root(tensor)] for tensor in alive}
    for op in graph.ops:
        _slice(graph, op, masks)
    dropped = 0
    for tensor, mask in masks.items():
        dropped += int((~mask).sum())
        _narrow(graph, tensor, mask)
    return dropped


def _alive(graph: Graph) -> dict[int, np.ndarray]:
    """bool (channels,) of each tensor: whether anything that reaches the output reads the channel."""
    alive = {graph.input: np.ones(graph.tensors[graph.input].image[2], bool)}
    for op in graph.ops:
        alive[op.output] = np.zeros(graph.tensors[op.output].image[2], bool)
    alive[graph.output][:] = True
    for op in reversed(graph.ops):
        wanted = alive[op.output]
        for tensor in op.inputs:
            if tensor in alive:
                alive[tensor] |= _wanted(graph, op, tensor, wanted)
    return alive


def _wanted(graph: Graph, op: Op, tensor: int, wanted: np.ndarray) -> np.ndarray:
    """The channels of an input that these channels of the output need."""
    channels = graph.tensors[tensor].image[2]
    if isinstance(op, Conv) and op.weights.shape[3] == channels and _whole(graph, op):
        return op.weights[wanted].any(axis=(0, 1, 2))
    if isinstance(op, Depthwise) and op.weights.shape[2] == channels:
        return wanted & op.weights.any(axis=(0, 1))
    if _channelwise(graph, op):
        return wanted
    wanted[:] = True  # what mixes channels is left as it is
    return np.ones(channels, bool)


def _whole(graph: Graph, op: Conv) -> bool:
    """A convolution over the image's channels, not one over a flattened image."""
    return not op.once or graph.tensors[op.inputs[0]].size == op.weights.shape[3]


def _slice(graph: Graph, op: Op, masks: dict[int, np.ndarray]) -> None:
    if not isinstance(op, Conv | Depthwise):
        if isinstance(op, Mean) and _channelwise(graph, op):
            op.inner = int(masks[op.output].sum())
        return
    outputs = masks[op.output]
    for name in ("bias", "multiplier", "shift"):
        setattr(op, name, getattr(op, name)[outputs])
    if isinstance(op, Depthwise):
        op.weights = np.ascontiguousarray(op.weights[:, :, outputs])
        return
    op.weights = op.weights[outputs]
    inputs = masks.get(op.inputs[0])
    if inputs is not None and op.weights.shape[3] == inputs.size:
        op.weights = np.ascontiguousarray(op.weights[..., inputs])


def _narrow(graph: Graph, tensor: int, mask: np.ndarray) -> None:
    shape = graph.tensors[tensor].shape
    if shape:
        graph.tensors[tensor].shape = (*shape[:-1], int(mask.sum()))
