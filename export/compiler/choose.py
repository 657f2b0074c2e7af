"""Dense or sparse kernel for each convolution, by the cost model."""

from __future__ import annotations

import numpy as np

from export.compiler import fast
from export.compiler.cost import KINDS, Layer, run_instructions, weight_bytes
from export.compiler.graph import Block, Conv, Graph
from export.compiler.sparse_weights import sparse3_entries

_FLASH = 0.2
"""What a share of flash counts against a share of time: 5 % less flash weigh as much as 1 % less time."""
_REPACK = 20
"""Instructions for each input of a sparse layer whose pixels come as a tile (4 pixels into an image, then a strip)."""


def choose(graph: Graph, block: Block, op: Conv, sparse: bool) -> str:
    """dense, sparse3 (two entries in 3 bytes) or sparse4 (an entry in 4 bytes)."""
    if not sparse or not fast.is_point(op):
        return "dense"
    layer = layer_of(block, op)
    kinds = [kind for kind in KINDS if kind != "sparse3" or layer.entries]
    costs = {kind: (instructions(graph, block, op, kind), weight_bytes(layer, kind)) for kind in kinds}
    fastest, smallest = min(time for time, _ in costs.values()), min(size for _, size in costs.values())
    return min(costs, key=lambda kind: _price(costs[kind], fastest, smallest))


def _price(cost: tuple[float, int], fastest: float, smallest: int) -> float:
    return cost[0] / fastest + _FLASH * cost[1] / smallest


def layer_of(block: Block, op: Conv) -> Layer:
    matrix = op.weights.reshape(len(op.weights), -1)
    zeros = matrix.shape[1] * len(matrix) - int(np.count_nonzero(matrix))
    entries = sparse3_entries(matrix) if fast.is_point(op) and 4 * zeros > matrix.size else None
    shape = matrix.shape[1], len(matrix), matrix.size - zeros
    return Layer(*shape, op.zero_point == -128, op is block.expand, entries or 0)


def instructions(graph: Graph, block: Block, op: Conv, kind: str) -> float:
    """Of the whole layer, in the block as it would run with this kind."""
    layer = layer_of(block, op)
    height, width, _ = graph.tensors[op.output].image
    if not fast.is_point(op):
        return height * run_instructions(layer, "dense", width)
    if block.depthwise is None or fast.is_map4(graph, block.depthwise):
        total = run_instructions(layer, kind, height * width)
    elif kind != "dense" and width == 4 and height % 2 == 0:  # two rows make a strip
        total = height / 2 * run_instructions(layer, kind, 8)
    else:
        total = height * run_instructions(layer, kind, width)
    tile = block.depthwise is not None and fast.is_map4(graph, block.depthwise) and op is block.project
    return total + (_REPACK * layer.inputs if tile and kind != "dense" else 0)
