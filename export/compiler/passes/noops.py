"""Operators that only move values: PAD goes into the convolution that reads it, RESHAPE and empty tables vanish."""

from __future__ import annotations

import numpy as np

from export.compiler.graph import Add, Conv, Depthwise, Graph, Lookup, Multiply, Op, Pad, Reshape

_IDENTITY = np.arange(-128, 128, dtype=np.int8)


def skip_noops(graph: Graph) -> None:
    """Changes the graph in place; outputs stay the same bytes."""
    for op in list(graph.ops):
        if isinstance(op, Pad):
            _fold_pad(graph, op)
        elif isinstance(op, Reshape) or (isinstance(op, Lookup) and np.array_equal(op.table, _IDENTITY)):
            _bypass(graph, op)


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
        if isinstance(reader, Conv) and reader.once:  # FULLY_CONNECTED reads all values in a row: it has no outside
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


def _bypass(graph: Graph, op: Op) -> None:
    """Everything that reads the output reads the input, where that has the same bytes as the same image."""
    (source,), output = op.inputs, op.output
    old, new = graph.tensors[output], graph.tensors[source]
    if old.image != new.image or old.zero_point != new.zero_point or new.constant is not None:
        return
    readers = graph.readers(output)
    if old.shape != new.shape and any(isinstance(reader, Add | Multiply) for reader in readers):  # these broadcast
        return
    if output == graph.output:
        if source == graph.input or old.scale != new.scale:  # the header states the output's scale
            return
        graph.output = source
    for reader in readers:
        reader.inputs = tuple(source if i == output else i for i in reader.inputs)
    graph.ops.remove(op)
