"""Functions of one value become one table: MUL(x, LOGISTIC(x)) is a table of x, and goes into what makes x."""

from __future__ import annotations

import numpy as np

from export.compiler.graph import Add, Conv, Depthwise, Graph, Lookup, Multiply, Op
from export.compiler.numbers import rescale

_ALL = np.arange(-128, 128, dtype=np.int8)


def merge_tables(graph: Graph) -> None:
    """Changes the graph in place; outputs stay the same bytes."""
    changed = True
    while changed:
        changed = any(_to_lookup(graph, op) or _into_producer(graph, op) for op in list(graph.ops))


def _to_lookup(graph: Graph, op: Op) -> bool:
    """ADD and MUL of two functions of one tensor, and a LOOKUP of a LOOKUP."""
    if isinstance(op, Lookup):
        inner = graph.writer(op.inputs[0])
        if not isinstance(inner, Lookup) or graph.tensors[inner.inputs[0]].shape != graph.tensors[op.output].shape:
            return False
        table = op.table[inner.table.astype(np.int16) + 128]
        _replace(
            graph, op, Lookup(name=f"{inner.name} + {op.name}", inputs=inner.inputs, output=op.output, table=table)
        )
        return True
    if not isinstance(op, Add | Multiply):
        return False
    roots = [_root(graph, tensor) for tensor in op.inputs]
    (root, a), (other, b) = roots
    if root != other or graph.tensors[root].shape != graph.tensors[op.output].shape:
        return False
    if graph.tensors[root].constant is not None:
        return False
    table = pairwise(graph, op, a, b)
    _replace(graph, op, Lookup(name=op.name, inputs=(root,), output=op.output, table=table))
    return True


def _root(graph: Graph, tensor: int) -> tuple[int, np.ndarray]:
    """The tensor of which this one is a function, and the function's table."""
    writer = graph.writer(tensor)
    if isinstance(writer, Lookup):
        return writer.inputs[0], writer.table
    return tensor, _ALL


def pairwise(graph: Graph, op: Add | Multiply, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """ADD or MUL of int8 values, as the reference kernels compute it."""
    zero_a, zero_b, zero_out = (graph.tensors[i].zero_point for i in (*op.inputs, op.output))
    x, y = a.astype(np.int64) - zero_a, b.astype(np.int64) - zero_b
    if isinstance(op, Add):
        left, right, total = op.factors
        out = rescale(rescale(x << 20, *left) + rescale(y << 20, *right), *total)
    else:
        out = rescale(x * y, op.multiplier, op.shift)
    return np.clip(out + zero_out, op.low, op.high).astype(np.int8)


def _into_producer(graph: Graph, op: Op) -> bool:
    """A table that is the only reader of a convolution becomes part of it."""
    if not isinstance(op, Lookup):
        return False
    producer = graph.writer(op.inputs[0])
    if not isinstance(producer, Conv | Depthwise) or op.inputs[0] == graph.output:
        return False
    if graph.readers(op.inputs[0]) != [op] or graph.tensors[op.inputs[0]].shape != graph.tensors[op.output].shape:
        return False
    old = producer.table if producer.table is not None else _ALL
    producer.table = op.table[old.astype(np.int16) + 128]
    producer.output = op.output
    producer.name = f"{producer.name} + {op.name}"
    graph.ops.remove(op)
    return True


def _replace(graph: Graph, old: Op, new: Op) -> None:
    """Put `new` in the place of `old`, and remove what nobody reads any more."""
    graph.ops[graph.ops.index(old)] = new
    for tensor in old.inputs:
        writer = graph.writer(tensor)
        if isinstance(writer, Lookup) and tensor != graph.output and not graph.readers(tensor):
            graph.ops.remove(writer)
