"""Blocks -> steps: which driver and stages of the block's kernel, and what each stage does."""

from __future__ import annotations

import numpy as np

from export.compiler import fast
from export.compiler.block_memory import find_slack, place_scratch
from export.compiler.block_tables import add_depthwise, add_weights, full_table
from export.compiler.choose import choose
from export.compiler.draft import Draft, Kinds
from export.compiler.graph import Block, Conv, Depthwise, Graph
from export.compiler.lower import add_piece, add_struct
from export.compiler.step import Step, Struct, Table
from export.compiler.work import block_work


def lower_block(graph: Graph, block: Block, tag: str, passes: tuple[str, ...]) -> Step:
    """The step of one block; `tag` begins the names of its tables. `passes`: as `choose` reads them."""
    draft = Draft(graph, block, tag)
    kinds = Kinds(
        choose(graph, block, block.expand, passes) if block.expand else "",
        choose(graph, block, block.project, passes) if block.project else "",
    )
    driver = _driver(graph, block, kinds)
    sizes = place_scratch(draft, driver, kinds)
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
        slack=find_slack(graph, block, driver, draft),
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


def _driver(graph: Graph, block: Block, kinds: Kinds) -> str:
    if block.depthwise is None:
        assert block.project is not None
        if not fast.is_point(block.project):
            return "windows"
        return "points_strips" if kinds.project.startswith("sparse") else "points_tiles"
    if fast.is_map4(graph, block.depthwise):
        return "block_map4"
    return "block_strips" if kinds.project.startswith("sparse") else "block_tiles"


def _stages(draft: Draft, driver: str, kinds: Kinds) -> None:
    block, tag, graph = draft.block, draft.tag, draft.graph
    if block.depthwise is not None:
        if block.expand is None:
            draft.use("fill", "fill_spread")
        else:
            gathered = not fast.is_point(block.expand)
            draft.use("fill", "fill_gather" if gathered else f"fill_{kinds.expand}")
            add_weights(draft, block.expand, "expand", kinds.expand)
            table = full_table(block.expand)
            if table is not None:
                zero_point = graph.tensors[block.expand.output].zero_point
                draft.tables.append(Table("int16_t", f"{tag}_rows_table", table.astype(np.int64) - zero_point))
                draft.fields["rows_table"] = f"{tag}_rows_table + {block.expand.zero_point + 128}"
                draft.use("change_rows", "apply_rows_table")
        add_depthwise(draft, block.depthwise, driver)
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
        add_weights(draft, block.project, "project", kinds.project)
    _tail(draft)


def _tail(draft: Draft) -> None:
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
