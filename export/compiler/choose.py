"""Dense or sparse kernel for each convolution, by the cost model."""

from __future__ import annotations

from export.compiler.graph import Block, Conv, Graph


def choose(graph: Graph, block: Block, op: Conv, sparse: bool) -> str:
    """dense, sparse2 (entries of 2 bytes) or sparse4 (of 4)."""
    return "dense"
