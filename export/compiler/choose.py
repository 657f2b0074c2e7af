"""Which kernel each convolution gets, by the cost model: dense, sparse, or clustered."""

from __future__ import annotations

import numpy as np

from export.compiler import fast
from export.compiler.cost import KINDS, Layer, run_instructions, weight_bytes
from export.compiler.graph import Block, Conv, Graph
from export.compiler.sparse_weights import sparse3_entries

_FLASH = 0.2
"""What a share of flash counts against a share of time: 5 % less flash weigh as much as 1 % less time."""
_SMALL = 20
"""Instructions that a byte of flash may cost where small flash is asked for."""
_REPACK = 20
"""Instructions for each input of a sparse layer whose pixels come as a tile (4 pixels into an image, then a strip)."""


def choose(graph: Graph, block: Block, op: Conv, passes: tuple[str, ...]) -> str:
    """dense, sparse3 (two entries in 3 bytes), sparse4 (an entry in 4) or clustered (codes of 4 bits).

    passes: "sparse" allows the sparse ones, "clusters" the last.
    """
    if not fast.is_point(op):
        return "dense"
    layer = layer_of(block, op)
    kinds = [kind for kind in KINDS if kind == "dense" or "sparse" in passes]
    kinds = [kind for kind in kinds if kind != "sparse3" or layer.entries]
    costs = {kind: (instructions(graph, block, op, kind), weight_bytes(layer, kind)) for kind in (*kinds, "clustered")}
    fastest, smallest = min(costs[kind][0] for kind in kinds), min(costs[kind][1] for kind in kinds)
    best = min(kinds, key=lambda kind: costs[kind][0] / fastest + _FLASH * costs[kind][1] / smallest)
    slower, saved = (sign * (costs["clustered"][i] - costs[best][i]) for i, sign in enumerate((1, -1)))
    small = "clusters" in passes and saved > 0 and slower < _SMALL * saved and fast.is_clustered(op)
    return "clustered" if small else best


def layer_of(block: Block, op: Conv) -> Layer:
    matrix = op.weights.reshape(len(op.weights), -1)
    zeros = matrix.shape[1] * len(matrix) - int(np.count_nonzero(matrix))
    entries = sparse3_entries(matrix) if fast.is_point(op) and 4 * zeros > matrix.size else None
    shape = matrix.shape[1], len(matrix), matrix.size - zeros
    return Layer(*shape, op.zero_point == -128, op is block.expand, entries or 0)


def instructions(graph: Graph, block: Block, op: Conv, kind: str) -> float:
    """Of the whole layer, in the block as it would run with this kind."""
    layer, sparse = layer_of(block, op), kind.startswith("sparse")
    height, width, _ = graph.tensors[op.output].image
    if not fast.is_point(op):
        return height * run_instructions(layer, "dense", width)
    if block.depthwise is None or fast.is_map4(graph, block.depthwise):
        total = run_instructions(layer, kind, height * width)
    elif sparse and width == 4 and height % 2 == 0:  # two rows make a strip
        total = height / 2 * run_instructions(layer, kind, 8)
    else:
        total = height * run_instructions(layer, kind, width)
    tile = block.depthwise is not None and fast.is_map4(graph, block.depthwise) and op is block.project
    return total + (_REPACK * layer.inputs if tile and sparse else 0)
