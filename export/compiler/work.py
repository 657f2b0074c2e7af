"""What the kernels of a fused block do, counted in the pieces that the cost model knows: see WORK of cost.py."""

from __future__ import annotations

import math

from export.compiler import fast
from export.compiler.choose import instructions
from export.compiler.cost import depthwise_instructions
from export.compiler.graph import Block, Conv, Depthwise, Graph


def block_work(graph: Graph, block: Block, driver: str, kinds: tuple[str, str], tables: int) -> dict[str, float]:
    """Pieces of work by kind.

    Args:
        kinds: dense, sparse3 or sparse4 of the block's first and second 1x1 convolution; empty where it has none.
        tables: values that are looked up within the block.
    """
    source, target = graph.tensors[block.inputs[0]], graph.tensors[block.output]
    work = {"call": 1.0, "table": float(tables)}
    for op, kind in zip((block.expand, block.project), kinds, strict=True):
        if op is not None:
            work = _sum(work, _convolution(graph, block, op, kind))
    if block.depthwise is not None:
        work = _sum(work, _depthwise(graph, block.depthwise, driver))
        work["spread"] = source.size if block.expand is None else 0
        work["narrowed"] = target.size if block.project is None else 0
    work["added"] = target.size if block.add is not None else 0
    return work


def _sum(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    return {kind: a.get(kind, 0) + b.get(kind, 0) for kind in {**a, **b}}


def _convolution(graph: Graph, block: Block, op: Conv, kind: str) -> dict[str, float]:
    rows, columns, _ = graph.tensors[op.output].image
    most = 8 if kind.startswith("sparse") else 4
    alone = block.depthwise is None
    tiles = -(-rows * columns // most) if alone and fast.is_point(op) else rows * -(-columns // most)
    work = {"convolution": instructions(graph, block, op, kind), "tile": tiles if alone else 0}
    if op is block.expand or alone:  # it reads an image
        values = rows * columns * op.weights[0].size
        if fast.is_point(op):
            return work | {"widened": values}
        return work | {"gathered": values, "cell": rows * columns * math.prod(op.weights.shape[1:3])}
    return work


def _depthwise(graph: Graph, op: Depthwise, driver: str) -> dict[str, float]:
    height = graph.tensors[op.inputs[0]].image[0]
    rows, columns, channels = graph.tensors[op.output].image
    if driver == "block_map4":
        return {"map4": channels}
    size = op.weights.shape[0]
    tops = [y * op.stride[0] - op.pad[0] for y in range(rows)]
    inside = sum(min(top + size, height) - max(top, 0) for top in tops)  # kernel rows that meet the image
    groups = -(-columns // 4)
    return {
        "depthwise": depthwise_instructions(
            (size, op.stride[0]), op.zero_point == -128, channels, (rows, groups, inside)
        ),
        "row": rows + height,
    }
