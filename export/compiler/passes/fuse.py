"""Convolutions that follow each other become blocks, which run row by row: what is between them is never whole."""

from __future__ import annotations

from export.compiler import fast
from export.compiler.graph import Add, Block, Conv, Depthwise, Graph, Op


def fuse_blocks(graph: Graph) -> None:
    """Changes the graph in place: every convolution that the fast kernels can take becomes part of a Block."""
    done: set[int] = set()
    for op in list(graph.ops):
        if id(op) in done:
            continue
        block, parts = _block(graph, op)
        if block is None:
            continue
        done |= {id(part) for part in parts}
        graph.ops[graph.ops.index(parts[-1])] = block  # where the last was, every input is there
        for part in parts[:-1]:
            graph.ops.remove(part)


def _block(graph: Graph, op: Op) -> tuple[Block | None, list[Op]]:
    """The block that begins with this operator, and the operators that it stands for."""
    expand = depthwise = project = add = None
    if isinstance(op, Conv) and _fast(graph, op):
        follower = _only_reader(graph, op)
        if isinstance(follower, Depthwise) and _joins(graph, op, follower):
            expand, depthwise = op, follower
        else:
            project = op
    elif isinstance(op, Depthwise) and (fast.is_map4(graph, op) or fast.is_fast_depthwise(graph, op)):
        depthwise = op
    else:
        return None, []
    if depthwise is not None:
        follower = _only_reader(graph, depthwise)
        if isinstance(follower, Conv) and fast.is_point(follower) and _fast(graph, follower):
            project = follower
    parts: list[Op] = [part for part in (expand, depthwise, project) if part is not None]
    inputs = parts[0].inputs
    if project is not None:
        follower = _only_reader(graph, project)
        if isinstance(follower, Add) and _adds(graph, follower, project.output):
            add = _with_first(follower, project.output)
            parts.append(follower)
            inputs = (inputs[0], add.inputs[1])
    name = " + ".join(part.name for part in parts)
    block = Block(
        name=name,
        inputs=inputs,
        output=parts[-1].output,
        expand=expand,
        depthwise=depthwise,
        project=project,
        add=add,
    )
    return block, parts


def _fast(graph: Graph, op: Conv) -> bool:
    """One pixel is the vector kernels' business."""
    return graph.tensors[op.output].size > len(op.weights) and fast.is_fast_conv(graph, op)


def _joins(graph: Graph, conv: Conv, depthwise: Depthwise) -> bool:
    if fast.is_map4(graph, depthwise):
        return fast.is_point(conv)
    return fast.is_fast_depthwise(graph, depthwise)


def _only_reader(graph: Graph, op: Op) -> Op | None:
    readers = graph.readers(op.output)
    return readers[0] if len(readers) == 1 and op.output != graph.output else None


def _adds(graph: Graph, add: Add, tensor: int) -> bool:
    """Of two different images of the same shape, the other one computed and no constant."""
    a, b = (graph.tensors[i] for i in add.inputs)
    other = add.inputs[1] if add.inputs[0] == tensor else add.inputs[0]
    return (
        a.size == b.size == graph.tensors[add.output].size and other != tensor and graph.tensors[other].constant is None
    )


def _with_first(add: Add, first: int) -> Add:
    """The same sum with `first` as the first input."""
    if add.inputs[0] == first:
        return add
    a, b, total = add.factors
    return Add(
        name=add.name, inputs=add.inputs[::-1], output=add.output, factors=(b, a, total), low=add.low, high=add.high
    )
