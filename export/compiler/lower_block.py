"""Blocks -> steps: which stages the block's kernel has, the tables of each, and the scratch memory that it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from export.compiler import fast
from export.compiler.choose import choose
from export.compiler.graph import Block, Conv, Depthwise, Graph, Rescaling
from export.compiler.lower import add_piece, add_struct
from export.compiler.sparse_weights import pack_sparse
from export.compiler.step import Step, Struct, Table
from export.compiler.work import block_work

_ANYWHERE = -(1 << 30)
_GATHER = (
    "height", "width", "inputs", "size_y", "size_x", "stride_y", "stride_x", "pad_top", "pad_left", "zero_point"
)  # fmt: skip


@dataclass
class _Draft:
    """A step while it is made."""

    graph: Graph
    block: Block
    tag: str
    fields: dict[str, str | int] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    structs: list[Struct] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    pieces: set[str] = field(default_factory=set)

    def need(self, piece: str, zero_point: int) -> None:
        """An ending: where the zero point is -128, the one that clamps negative results to it."""
        self.pieces.add(piece + ("_POSITIVE" if zero_point == -128 else ""))

    def use(self, stage: str, function: str) -> None:
        self.fields[stage] = function
        self.functions.add(function)


@dataclass
class _Kinds:
    """What `choose` says for each convolution; empty: the block has none."""

    expand: str = ""
    project: str = ""

    def __str__(self) -> str:
        return " + ".join(kind for kind in (self.expand, self.project) if kind) or "depthwise"


def lower_block(graph: Graph, block: Block, tag: str, passes: tuple[str, ...]) -> Step:
    """The step of one block; `tag` begins the names of its tables. `passes`: as `choose` reads them."""
    draft = _Draft(graph, block, tag)
    kinds = _Kinds(
        choose(graph, block, block.expand, passes) if block.expand else "",
        choose(graph, block, block.project, passes) if block.project else "",
    )
    driver = _driver(graph, block, kinds)
    sizes = _sizes(draft, driver, kinds)
    _stages(draft, driver, kinds)
    draft.structs.append(Struct("block_t", tag, draft.fields))
    draft.functions.add(driver)
    shortcut = "{1}" if block.add else "0"
    call = f"{driver}(&{tag}, {{0}}, {shortcut}, {{out}}, (int16_t *)({{scratch}}))"
    return Step(
        block.name,
        block.inputs,
        block.output,
        call,
        draft.functions,
        draft.pieces,
        draft.tables,
        draft.structs,
        scratch=2 * sizes,
        slack=_slack(graph, block, driver, draft),
        work=block_work(graph, block, driver, (kinds.expand, kinds.project), _looked_up(graph, block)),
        channels=(sum(len(stage.bias) for stage in block.stages), sum(stage.in_file for stage in block.stages)),
        macs=sum(_macs(graph, stage) for stage in block.stages),
        kernel=str(kinds),
    )


def _macs(graph: Graph, stage: Conv | Depthwise) -> int:
    rows, columns, _ = graph.tensors[stage.output].image
    return stage.weights.size * rows * columns


def _looked_up(graph: Graph, block: Block) -> int:
    """Values that go through a table."""
    return sum(graph.tensors[stage.output].size for stage in block.stages if full_table(stage) is not None)


def _driver(graph: Graph, block: Block, kinds: _Kinds) -> str:
    if block.depthwise is None:
        assert block.project is not None
        if not fast.is_point(block.project):
            return "windows"
        return "points_strips" if kinds.project.startswith("sparse") else "points_tiles"
    if fast.is_map4(graph, block.depthwise):
        return "block_map4"
    return "block_strips" if kinds.project.startswith("sparse") else "block_tiles"


def _sizes(draft: _Draft, driver: str, kinds: _Kinds) -> int:
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


def _middle(draft: _Draft, op: Depthwise, driver: str, kinds: _Kinds) -> int:
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


def _stages(draft: _Draft, driver: str, kinds: _Kinds) -> None:
    block, tag, graph = draft.block, draft.tag, draft.graph
    if block.depthwise is not None:
        if block.expand is None:
            draft.use("fill", "fill_spread")
        else:
            gathered = not fast.is_point(block.expand)
            draft.use("fill", "fill_gather" if gathered else f"fill_{kinds.expand}")
            _weights(draft, block.expand, "expand", kinds.expand)
            table = full_table(block.expand)
            if table is not None:
                zero_point = graph.tensors[block.expand.output].zero_point
                draft.tables.append(Table("int16_t", f"{tag}_rows_table", table.astype(np.int64) - zero_point))
                draft.fields["rows_table"] = f"{tag}_rows_table + {block.expand.zero_point + 128}"
                draft.use("change_rows", "apply_rows_table")
        _depthwise(draft, block.depthwise, driver)
        table = full_table(block.depthwise)
        if table is not None:
            draft.tables.append(Table("int8_t", f"{tag}_tiles_table", table))
            draft.fields["tiles_table"] = f"{tag}_tiles_table"
            draft.use("change_tiles", "apply_tiles_table")
    if block.project is None:
        draft.use("finish", "finish_narrow")
    else:
        tile = driver == "block_map4" and kinds.project.startswith("sparse")
        draft.use("finish", f"finish_tile_{kinds.project}" if tile else f"finish_{kinds.project}")
        _weights(draft, block.project, "project", kinds.project)
    _tail(draft)


def _tail(draft: _Draft) -> None:
    block, tag = draft.block, draft.tag
    table = full_table(block.project) if block.project is not None else None
    names = []
    if table is not None:
        draft.tables.append(Table("int8_t", f"{tag}_table", table))
        draft.fields["table"] = f"{tag}_table"
        names.append("lookup")
    if block.add is not None:
        draft.structs.append(add_struct(draft.graph, block.add, f"{tag}_add"))
        draft.pieces.add(add_piece(draft.graph, block.add))
        draft.fields["add"] = f"&{tag}_add"
        names.append("add")
    if names:
        draft.use("tail", "tail_" + "_".join(names))


def full_table(op: Rescaling) -> np.ndarray | None:
    """int8 (256,): the fused activation and the table together; None where neither changes a value."""
    values = np.clip(np.arange(-128, 128), op.low, op.high)
    if op.table is not None:
        return op.table[values + 128]
    return values.astype(np.int8) if (op.low, op.high) != (-128, 127) else None


def _weights(draft: _Draft, op: Conv, stage: str, kind: str) -> None:
    """The tables and the struct of a dense or sparse convolution, and of the windows that it reads."""
    graph, tag = draft.graph, f"{draft.tag}_{stage}"
    matrix = op.weights.reshape(len(op.weights), -1)
    source = graph.tensors[op.inputs[0]]
    rescaling = fast.conv_rescaling(graph, op)
    assert rescaling is not None
    channels = _channels(f"{tag}_channels", fast.folded_bias(op, source.zero_point), *rescaling)
    fields: dict[str, str | int] = {"channels": channels.name, "inputs": matrix.shape[1], "outputs": len(matrix)}
    fields["zero_point"] = op.zero_point
    sparse = kind.startswith("sparse")
    unit = "SPARSE" if sparse else "DENSE"
    draft.need(f"{unit}_ROWS" if stage == "expand" else f"{unit}_IMAGE", op.zero_point)
    if not sparse:
        packed = fast.pack_dense(matrix) if kind == "dense" else fast.pack_clustered(matrix)
        draft.tables.append(Table("int8_t", f"{tag}_weights", packed, words=True))
        fields["weights"] = f"{tag}_weights"
    else:
        entries, counts = pack_sparse(matrix, kind)
        draft.tables.append(Table(f"{entries.dtype}_t", f"{tag}_entries", entries))
        fields |= {"entries": f"{tag}_entries", "counts": f"{tag}_counts" if counts.size else 0}
        if counts.size:
            draft.tables.append(Table("uint16_t", f"{tag}_counts", counts))
    draft.tables.append(channels)
    draft.structs.append(Struct("sparse_t" if sparse else "dense_t", tag, fields))
    draft.fields[stage] = f"&{tag}"
    if not fast.is_point(op):
        _gather(draft, op)


def _gather(draft: _Draft, op: Conv) -> None:
    source = draft.graph.tensors[op.inputs[0]]
    height, width, inputs = source.image
    values = (height, width, inputs, *op.weights.shape[1:3], *op.stride, *op.pad, source.zero_point)
    draft.structs.append(Struct("gather_t", f"{draft.tag}_gather", dict(zip(_GATHER, values, strict=True))))
    draft.fields["gather"] = f"&{draft.tag}_gather"


def _channels(name: str, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> Table:
    assert (np.abs(bias) < 1 << 23).all()  # which limits on sums guarantee, see fast.py
    records = np.stack([multiplier, bias * 256 + shift], axis=1)
    return Table("fast_channel_t", name, np.concatenate([records, records[-1:]]) if len(records) % 2 else records)


def _depthwise(draft: _Draft, op: Depthwise, driver: str) -> None:
    graph, tag = draft.graph, f"{draft.tag}_depthwise"
    rescaling = fast.depthwise_rescaling(graph, op)
    assert rescaling is not None
    doubled = 2 if driver != "block_map4" and op.weights.shape[0] == 3 else 1  # see kernels/README.md
    draft.tables.append(_channels(f"{tag}_channels", doubled * op.bias, *rescaling))
    fields: dict[str, str | int] = {"weights": f"{tag}_weights", "channels": f"{tag}_channels"}
    fields |= {"count": op.weights.shape[2], "zero_point": op.zero_point}
    if driver == "block_map4":
        weights, kind = fast.pack_map4(op), "map4_t"
    else:
        weights, kind = fast.pack_depthwise(op), "depthwise_t"
        fields |= {"width": graph.tensors[op.output].image[1], "row_stride": draft.fields["row_stride"]}
        fields |= {"size": op.weights.shape[0], "stride": op.stride[0], "pad_left": op.pad[1]}
        draft.need("DEPTHWISE_STRIPS" if driver == "block_strips" else "DEPTHWISE_TILES", op.zero_point)
        draft.pieces.add(fast.depthwise_core(op))
    draft.tables.append(Table(f"{weights.dtype}_t", f"{tag}_weights", weights, words=True))
    draft.structs.append(Struct(kind, tag, fields))
    draft.fields["depthwise"] = f"&{tag}"


def _slack(graph: Graph, block: Block, driver: str, draft: _Draft) -> dict[int, int]:
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


def _next_row(block: Block, draft: _Draft, y: int, own: bool) -> int:
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
