"""Operators that only move values: PAD goes into the convolution that reads it, tables that change nothing vanish."""

from __future__ import annotations

import numpy as np

from export.compiler.graph import Conv, Depthwise, Graph, Lookup, Pad, Tensor

_IDENTITY = np.arange(-128, 128, dtype=np.int8)


def skip_noops(graph: Graph) -> None:
    """Changes the graph in place; outputs stay the same bytes."""
    for op in list(graph.ops):
        if isinstance(op, Pad):
            _fold_pad(graph, op)
        elif isinstance(op, Lookup) and np.array_equal(op.table, _IDENTITY):
            _bypass(graph, op.output, op.inputs[0])


def _fold_pad(graph: Graph, pad: Pad) -> None:
    """PAD writes the zero point, which is what a convolution takes outside its image."""
    readers = graph.readers(pad.output)
    source = graph.tensors[pad.inputs[0]]
    height, width, channels = source.image
    if pad.output == graph.output or not readers or graph.tensors[pad.output].image[2] != channels:
        return
    for reader in readers:
        if not isinstance(reader, Conv | Depthwise) or reader.pad != (0, 0):
            return
        size = reader.weights.shape[1:3] if isinstance(reader, Conv) else reader.weights.shape[:2]
        if any(before >= length or before > 255 for before, length in zip(pad.before, size, strict=False)):
            return
        rows, columns, _ = graph.tensors[reader.output].image
        last = (rows - 1) * reader.stride[0] - pad.before[0], (columns - 1) * reader.stride[1] - pad.before[1]
        if last[0] >= height or last[1] >= width:
            return
    for reader in readers:
        assert isinstance(reader, Conv | Depthwise)
        reader.pad = pad.before[0], pad.before[1]
        reader.inputs = (pad.inputs[0],)
        reader.name = f"{pad.name} + {reader.name}"
    graph.ops.remove(pad)


def _bypass(graph: Graph, output: int, source: int) -> None:
    """Everything that read `output` reads `source`, which has the same bytes and the same shape."""
    old, new = graph.tensors[output], graph.tensors[source]
    writer = graph.writer(output)
    if output == graph.output or writer is None or not _alike(old, new):
        return
    for op in graph.readers(output):
        op.inputs = tuple(source if i == output else i for i in op.inputs)
    graph.ops.remove(writer)


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.zero_point == b.zero_point
