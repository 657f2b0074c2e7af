"""The memory of a block: its scratch places, and how far before its inputs the output must start."""

from __future__ import annotations

import math

from export.compiler import fast
from export.compiler.draft import Draft, Kinds
from export.compiler.graph import Block, Depthwise, Graph

_ANYWHERE = -(1 << 30)


def place_scratch(draft: Draft, driver: str, kinds: Kinds) -> int:
    """Sets the shapes and the places in the scratch memory; returns its halfwords."""
    graph, block, fields = draft.graph, draft.block, draft.fields
    source, target = graph.tensors[block.inputs[0]].image, graph.tensors[block.output].image
    fields |= {"channels": source[2], "width": source[1], "rows": target[0], "columns": target[1], "outputs": target[2]}
    fields |= {"zero_point": graph.tensors[block.inputs[0]].zero_point, "ring": 1, "fill_rows": 1, "group": 1}
    ring = 0
    if block.depthwise is not None:
        ring = _middle(draft, block.depthwise, driver, kinds)
    # what fill and finish use; a sparse project of a tile needs a strip and an image of it
    reads = block.expand or block.project
    inputs = reads.weights[0].size if reads is not None else 0
    fill = 8 * (inputs + 1) if block.depthwise is not None and block.expand is not None else 0
    if driver == "block_map4" and kinds.project.startswith("sparse"):
        assert block.project is not None
        fill = max(fill, 10 * block.project.weights[0].size + 2)
    channels = block.depthwise.weights.shape[2] if block.depthwise is not None else inputs
    pixels = int(fields["group"]) * target[1] if driver.startswith("block") else 4
    if "strips" in driver:
        tiles = -(-pixels // 8) * 8 * channels
    else:
        tiles = (1 if driver == "block_map4" else -(-pixels // 4)) * 8 * ((channels + 1) // 2)
    fields["tiles_halfwords"] = tiles
    run = {"points_tiles": 4, "points_strips": 8, "windows": 4, "block_map4": target[0] * target[1]}.get(driver, pixels)
    row = -(-run * target[2] // 2) if block.add else 0
    places = {"at_fill": ring, "at_tiles": ring + fill, "at_row": ring + fill + tiles}
    fields |= {key: -(-at // 2) * 2 for key, at in places.items()}  # on words
    return -(-(int(fields["at_row"]) + row) // 2) * 2


def _middle(draft: Draft, op: Depthwise, driver: str, kinds: Kinds) -> int:
    """The depthwise layer's input; returns the halfwords of the ring."""
    graph, fields = draft.graph, draft.fields
    source, target = graph.tensors[op.inputs[0]].image, graph.tensors[op.output].image
    height, width, channels = source
    if driver == "block_map4":
        fields |= {"middle_channels": channels, "middle_height": 1, "middle_width": height * width, "row_stride": 4}
        return 2 + 4 * channels
    stride = fast.row_stride(width, target[1], op)
    if kinds.expand.startswith("sparse") and width == 4 and height % 2 == 0:
        fields["fill_rows"] = 2
    if kinds.project.startswith("sparse") and target[1] == 4 and target[0] % 2 == 0:
        fields["group"] = 2
    step = int(fields["fill_rows"])
    # the rows of one window, and those that a fill of two begins too early; a group is done row by row
    ring = min(-(-height // step) * step, -(-(op.weights.shape[0] + step - 1) // step) * step)
    fields |= {"middle_channels": channels, "middle_height": height, "middle_width": width, "row_stride": stride}
    fields |= {"ring": ring, "pad_top": op.pad[0]}
    return ring * channels * stride


def find_slack(graph: Graph, block: Block, driver: str, draft: Draft) -> dict[int, int]:
    """How far before its inputs the output must start, see plan.py."""
    source, target = graph.tensors[block.inputs[0]].image, graph.tensors[block.output].image
    row_in, row_out = math.prod(source[1:]), math.prod(target[1:])
    own = block.add is not None and block.inputs[1] == block.inputs[0]
    if driver == "block_map4":
        needed = 0 if own else _ANYWHERE
    elif driver.startswith("points"):
        pixels = source[0] * source[1]
        needed = max(0, (pixels - 1) * (target[2] - source[2]))
    elif driver == "windows":
        assert block.project is not None
        stride, pad = block.project.stride[0], block.project.pad[0]
        needed = max(0, *((y + 1) * row_out - max(0, y * stride - pad) * row_in for y in range(target[0])))
    else:
        needed = max(0, *(y * row_out - _next_row(block, draft, y, own) * row_in for y in range(target[0])))
    slack = {block.inputs[0]: needed}
    if block.add is not None:
        slack[block.inputs[1]] = max(0, slack.get(block.inputs[1], 0))
    return slack


def _next_row(block: Block, draft: Draft, y: int, own: bool) -> int:
    """The first row of the input that is read after output rows 0 to y - 1 are written."""
    op, fields = block.depthwise, draft.fields
    assert op is not None
    if y % int(fields["group"]):  # rows of a group are written together
        y = y // int(fields["group"]) * int(fields["group"])
    if y == 0:
        return 0
    bottom = min((y - 1) * op.stride[0] - op.pad[0] + op.weights.shape[0], int(fields["middle_height"]))
    step = int(fields["fill_rows"])
    filled = max(0, -(-bottom // step) * step)
    if block.expand is not None and not fast.is_point(block.expand):
        filled = max(0, filled * block.expand.stride[0] - block.expand.pad[0])
    return min(filled, y) if own else filled
