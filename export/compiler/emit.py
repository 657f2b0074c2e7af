"""Steps and their places -> the text of NAME.c and NAME.h. Only tables of integers, structs and calls are made here."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from string import Template

import numpy as np

from export.compiler.arrange import constant_name
from export.compiler.graph import Graph
from export.compiler.plan import Buffer, Plan
from export.compiler.source import kernel_source
from export.compiler.step import Step, Struct, Table

_TEMPLATES = Path(__file__).parent / "templates"


def emit(graph: Graph, steps: list[Step], buffers: list[Buffer], plan: Plan, name: str) -> dict[str, str]:
    """File name -> text."""
    source, target = graph.tensors[graph.input], graph.tensors[graph.output]
    types = ["uint8_t" if unsigned else "int8_t" for unsigned in graph.unsigned]
    zeros = [t.zero_point + 128 * u for t, u in zip((source, target), graph.unsigned, strict=True)]
    tables = [table for step in steps for table in step.tables]
    text = [*(_table(table) for table in tables), *(_struct(s) for step in steps for s in step.structs)]
    values: dict[str, object] = {
        "name": name,
        "macro": name.upper(),
        "input_type": types[0],
        "output_type": types[1],
    }
    values |= _fine(graph, steps, plan, values)
    values |= {
        "title": f"{name}: generated from {Path(graph.path).name}; change the model, not this file.",
        "facts": _facts(steps, plan, tables),
        "guard": name.upper(),
        "input_bytes": source.size,
        "output_bytes": target.size,
        "ram_bytes": plan.size,
        "input_shape": " x ".join(map(str, source.shape)),
        "output_shape": " x ".join(map(str, target.shape)),
        "input_scale": _number(source.scale),
        "output_scale": _number(target.scale),
        "input_zero_point": zeros[0],
        "output_zero_point": zeros[1],
        "input_offset": plan.offsets[graph.input],
        "output_offset": plan.offsets[graph.output],
        "kernels": kernel_source({f for s in steps for f in s.functions}, {p for s in steps for p in s.pieces}),
        "tables": "\n\n".join(text),
        "free_ranges": _free_ranges(buffers, plan, len(steps)),
    }
    lines = [_call(i, step, plan) for i, step in enumerate(steps)]
    values |= {"layers": "\n".join(lines[:-1]), "last": lines[-1]}
    return {f"{name}.{end}": _fill(f"model.{end}", values) for end in ("h", "c")}


def _fine(graph: Graph, steps: list[Step], plan: Plan, names: Mapping[str, object]) -> dict[str, object]:
    """The declaration and the definition of NAME_run_fine, where the last layer is one of the vector kernels."""
    last = steps[-1]
    if last.fine_scales is None or last.output != graph.output:
        return {"fine_declaration": "", "fine_definition": ""}
    scales = ", ".join(f"{_number(scale)}f" for scale in last.fine_scales)
    own = {"scales": scales, "struct": last.structs[0].name, "offset": plan.offsets[last.inputs[0]]}
    last.functions.add("vector_sums")
    return {
        f"fine_{part}": _fill(f"fine_{part}.txt", {**names, **own}).rstrip() for part in ("declaration", "definition")
    }


def _fill(template: str, values: Mapping[str, object]) -> str:
    return Template((_TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)


def _facts(steps: list[Step], plan: Plan, tables: list[Table]) -> str:
    macs, flash = sum(step.macs for step in steps), sum(table.size for table in tables)
    return f"{macs:,} multiply-accumulates, {flash:,} bytes of tables, {plan.size:,} bytes of RAM."


def _number(scale: float) -> str:
    """float32 as a C constant that reads back as the same float32."""
    return np.format_float_scientific(np.float32(scale), unique=True, trim="0")


def _table(table: Table) -> str:
    """static const int8_t name[12] = {...};"""
    if table.values.ndim == 1:
        items = ", ".join(map(_integer, table.values.tolist()))
    else:
        items = ", ".join("{" + ", ".join(map(_integer, row)) + "}" for row in table.values.tolist())
    body = "\n".join(line.replace(", ", ",") for line in textwrap.wrap(items, 130))  # a fifth less text
    align = "ALIGN4 " if table.words else ""
    return f"static const {table.type} {align}{table.name}[{len(table.values)}] = {{\n{body}\n}};"


def _integer(value: int) -> str:
    return str(value) if value > -(1 << 31) else "(-2147483647 - 1)"


def _struct(struct: Struct) -> str:
    fields = ", ".join(f".{key} = {value}" for key, value in struct.fields.items())
    body = "\n".join(textwrap.wrap(fields, 118, initial_indent="    ", subsequent_indent="    "))
    return f"static const {struct.type} {struct.name} = {{\n{body}\n}};"


def _call(i: int, step: Step, plan: Plan) -> str:
    places = [f"m + {plan.offsets[t]}" if t in plan.offsets else constant_name(t) for t in step.inputs]
    scratch = f"m + {plan.offsets[f'scratch{i}']}" if step.scratch else ""
    call = step.call.format(*places, out=f"m + {plan.offsets[step.output]}", scratch=scratch)
    return f"    poison({i}); /* {step.name} */\n    {call};"


def _free_ranges(buffers: list[Buffer], plan: Plan, steps: int) -> str:
    """{step, first byte, bytes} of what holds no value when the step begins."""
    lines = []
    for step in range(steps):
        full = sorted((plan.offsets[b.key], plan.offsets[b.key] + b.size) for b in buffers if b.first < step <= b.last)
        at = 0
        for start, end in [*full, (plan.size, plan.size)]:
            if start > at:
                lines.append(f"    {{{step}, {at}, {start - at}}},")
            at = max(at, end)
    return "\n".join(lines) or "    {-1, 0, 0},"
