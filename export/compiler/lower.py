"""Operators -> steps on plain kernels, which take any shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from export.compiler import graph as g
from export.compiler.step import Step, Struct, Table

_WINDOW_FIELDS = (
    "height width inputs rows columns outputs "
    "size_y size_x stride_y stride_x pad_top pad_left low high zero_in zero_out"
)


def lower(graph: g.Graph, op: g.Op, tag: str) -> Step:
    """The step of one operator; `tag` begins the names of its tables."""
    step = _LOWER[type(op)](graph, op, tag)
    step.work = {"call": 1, **step.work}
    if isinstance(op, g.Rescaling):
        step.channels = len(op.bias), op.in_file
    if isinstance(op, g.Rescaling) and op.table is not None:
        step.tables.append(Table("int8_t", f"{tag}_table", op.table))
        step.functions.add("lookup")
        step.work = {**step.work, "looked up": graph.tensors[op.output].size}
        step.call += f";\n    lookup({tag}_table, {{out}}, {{out}}, {graph.tensors[op.output].size})"
    return step


def channel_table(name: str, op: g.Rescaling, bias: np.ndarray | None = None) -> Table:
    """channel_t records: bias (that of `op` where none is given), multiplier, shift."""
    bias = op.bias if bias is None else bias
    return Table("channel_t", name, np.stack([bias, op.multiplier, op.shift], axis=1))  # (outputs, 3)


def _step(op: g.Op, call: str, functions: set[str], **more: Any) -> Step:
    return Step(op.name, op.inputs, op.output, call, functions, **more)


def _window(graph: g.Graph, op: Any, size: tuple[int, int]) -> str:
    source, target = graph.tensors[op.inputs[0]], graph.tensors[op.output]
    zero_point = target.zero_point if isinstance(op, g.Pool) else op.zero_point
    sides = ", ".join(str(side) for side in (*source.image, *target.image))
    numbers = ", ".join(str(n) for n in (*size, *op.stride, *op.pad, op.low, op.high))
    return f"{{{sides}, {numbers}, {source.zero_point}, {zero_point}}}"


def _row_slack(graph: g.Graph, op: Any) -> dict[int, int]:
    """Row y of the output is written when rows from y * stride - pad on are still to be read."""
    source, target = graph.tensors[op.inputs[0]], graph.tensors[op.output]
    row_in, row_out = math.prod(source.image[1:]), math.prod(target.image[1:])
    needs = [(y + 1) * row_out - max(0, y * op.stride[0] - op.pad[0]) * row_in for y in range(target.image[0])]
    return {op.inputs[0]: max(0, *needs)}


def vector_parts(graph: g.Graph, op: g.Conv, tag: str) -> tuple[Struct, list[Table]]:
    """The parameters of the vector kernels."""
    outputs = len(op.weights)
    weights = op.weights.reshape(outputs, -1)
    folded = op.bias - graph.tensors[op.inputs[0]].zero_point * weights.astype(np.int64).sum(axis=1)
    fields = {"weights": f"{tag}_weights", "channels": f"{tag}_channels", "inputs": weights.shape[1]}
    fields |= {"outputs": outputs, "zero_point": op.zero_point, "low": op.low, "high": op.high}
    tables = [Table("int8_t", f"{tag}_weights", weights.ravel()), channel_table(f"{tag}_channels", op, folded)]
    return Struct("vector_t", tag, fields), tables


def _vector(graph: g.Graph, op: g.Conv, tag: str) -> Step:
    struct, tables = vector_parts(graph, op, tag)
    name = "vector_once" if op.once else "vector_twice"
    step = _step(op, f"{name}(&{tag}, {{0}}, {{out}})", {name}, tables=tables, structs=[struct], macs=op.weights.size)
    step.kernel, step.work = "vector", {"vector": op.weights.size, "vector output": len(op.weights)}
    computed = graph.tensors[op.inputs[0]].constant is None
    if computed and (op.low, op.high) == (-128, 127) and op.table is None:
        step.fine_scales = graph.tensors[op.output].scale * np.ldexp(op.multiplier / 2.0**31, -op.shift)
    return step


def _plain(graph: g.Graph, op: g.Op, kind: str, macs: int) -> dict[str, float]:
    """For the cost model."""
    return {kind: macs, "plain output": graph.tensors[op.output].size}


def _conv(graph: g.Graph, op: g.Conv, tag: str) -> Step:
    _, height, width, inputs = op.weights.shape
    if op.once or (graph.tensors[op.inputs[0]].size == inputs and height == width == 1):
        return _vector(graph, op, tag)
    fields = {
        "window": _window(graph, op, (height, width)),
        "weights": f"{tag}_weights",
        "channels": f"{tag}_channels",
        "group_inputs": inputs,
    }
    tables = [Table("int8_t", f"{tag}_weights", op.weights.ravel()), channel_table(f"{tag}_channels", op)]
    macs = op.weights.size * math.prod(graph.tensors[op.output].image[:2])
    slack = _row_slack(graph, op)
    struct = Struct("conv_t", tag, fields)
    return _step(
        op,
        f"conv(&{tag}, {{0}}, {{out}})",
        {"conv"},
        tables=tables,
        structs=[struct],
        macs=macs,
        slack=slack,
        work=_plain(graph, op, "plain", macs),
    )


def _depthwise(graph: g.Graph, op: g.Depthwise, tag: str) -> Step:
    fields = {
        "window": _window(graph, op, op.weights.shape[:2]),  # type: ignore[arg-type]
        "weights": f"{tag}_weights",
        "channels": f"{tag}_channels",
    }
    tables = [Table("int8_t", f"{tag}_weights", op.weights.ravel()), channel_table(f"{tag}_channels", op)]
    macs = op.weights.size * math.prod(graph.tensors[op.output].image[:2])
    call = f"channelwise(&{tag}, {{0}}, {{out}})"
    structs = [Struct("channelwise_t", tag, fields)]
    return _step(
        op,
        call,
        {"channelwise"},
        tables=tables,
        structs=structs,
        macs=macs,
        slack=_row_slack(graph, op),
        work=_plain(graph, op, "plain depthwise", macs),
    )


def _lookup(graph: g.Graph, op: g.Lookup, tag: str) -> Step:
    count = graph.tensors[op.output].size
    table = Table("int8_t", f"{tag}_table", op.table)
    call = f"lookup({tag}_table, {{0}}, {{out}}, {count})"
    return _step(op, call, {"lookup"}, tables=[table], slack={op.inputs[0]: 0}, work={"looked up": count})


def add_struct(graph: g.Graph, op: g.Add, tag: str) -> Struct:
    zeros = [graph.tensors[i].zero_point for i in (*op.inputs, op.output)]
    values = {}
    for suffix, zero, (multiplier, shift) in zip(("_a", "_b", ""), zeros, op.factors, strict=True):
        values |= {f"zero{suffix or '_point'}": zero, f"multiplier{suffix}": multiplier, f"shift{suffix}": shift}
    return Struct("add_t", tag, values | {"low": op.low, "high": op.high})


def add_piece(graph: g.Graph, op: g.Add) -> str:
    """The loop that add_images of kernels/dsp/elementwise.c takes."""
    zeros = [graph.tensors[i].zero_point for i in op.inputs]
    (multiplier_a, shift_a), (multiplier_b, shift_b), (_, shift) = op.factors
    halves = [(multiplier_a, shift_a) == (1 << 30, 0), (multiplier_b, shift_b) == (1 << 30, 0)]
    if not 1 <= shift <= 22 or (op.low, op.high) != (-128, 127):
        return "ADD_ANY"
    if all(halves):
        return "ADD_ALIKE"
    others = (halves[0], zeros[0], shift_b), (halves[1], zeros[1], shift_a)
    fits = any(half and 1 <= other <= 10 and abs(zero) <= 1 << (10 - other) for half, zero, other in others)
    return "ADD_FAST" if fits else "ADD_ANY"


def multiply_struct(graph: g.Graph, op: g.Multiply, tag: str) -> Struct:
    a, b, out = (graph.tensors[i].zero_point for i in (*op.inputs, op.output))
    fields = {"zero_a": a, "zero_b": b, "zero_point": out, "multiplier": op.multiplier, "shift": op.shift}
    return Struct("multiply_t", tag, fields | {"low": op.low, "high": op.high})


def _pairwise(graph: g.Graph, op: g.Add | g.Multiply, tag: str) -> Step:
    """ADD and MUL: values one by one, a vector times an image, or any broadcast."""
    is_add = isinstance(op, g.Add)
    struct = add_struct(graph, op, tag) if is_add else multiply_struct(graph, op, tag)
    name = "add" if is_add else "multiply"
    a, b = (graph.tensors[i] for i in op.inputs)
    target = graph.tensors[op.output]
    slack = {i: 0 for i in op.inputs if graph.tensors[i].size == target.size}
    if a.size == b.size == target.size:
        call = f"{name}_images(&{tag}, {{0}}, {{1}}, {{out}}, {target.size})"
        pieces = {add_piece(graph, op)} if isinstance(op, g.Add) else set()
        more: dict[str, Any] = {"structs": [struct], "slack": slack, "work": {"added": target.size}}
        return _step(op, call, {f"{name}_images"}, pieces=pieces, **more)
    if not is_add and a.size == target.size and b.size > 1 and b.size == target.shape[-1] == b.shape[-1]:
        pixels = target.size // b.size
        call = f"gate_image(&{tag}, {{0}}, {{1}}, {{out}}, {pixels}, {b.size})"
        return _step(
            op, call, {"gate_image"}, structs=[struct], slack=slack, work={"gated": target.size, "gate": b.size}
        )
    sides = [1] * (4 - len(target.shape)) + list(target.shape)
    steps = [_broadcast_steps(t.shape, sides) for t in (a, b)]
    text = ["{" + ", ".join(map(str, values)) + "}" for values in (sides, *steps)]
    fields = {"sides": text[0], "steps_a": text[1], "steps_b": text[2]}
    shape = Struct("broadcast_t", f"{tag}_shape", fields)
    call = f"{name}_broadcast(&{tag}, &{tag}_shape, {{0}}, {{1}}, {{out}})"
    return _step(op, call, {f"{name}_broadcast"}, structs=[struct, shape], work={"broadcast": target.size})


def _broadcast_steps(shape: tuple[int, ...], sides: list[int]) -> list[int]:
    own = [1] * (4 - len(shape)) + list(shape)
    return [0 if own[axis] == 1 else math.prod(own[axis + 1 :]) for axis in range(4)]


def _mean(graph: g.Graph, op: g.Mean, tag: str) -> Step:
    zero_in, zero_out = graph.tensors[op.inputs[0]].zero_point, graph.tensors[op.output].zero_point
    fields = {"outer": op.outer, "count": op.count, "inner": op.inner, "offset": zero_in * op.count}
    struct = Struct("mean_t", tag, fields | {"multiplier": op.multiplier, "shift": op.shift, "zero_point": zero_out})
    return _step(
        op,
        f"mean(&{tag}, {{0}}, {{out}})",
        {"mean"},
        structs=[struct],
        work={"averaged": op.outer * op.count * op.inner, "mean": op.outer * op.inner},
    )


def _pool(graph: g.Graph, op: g.Pool, tag: str) -> Step:
    name = "average_pool" if op.average else "max_pool"
    values = _window(graph, op, op.size).strip("{}").split(", ")
    struct = Struct("window_t", tag, dict(zip(_WINDOW_FIELDS.split(), values, strict=True)))
    call = f"{name}(&{tag}, {{0}}, {{out}})"
    return _step(
        op,
        call,
        {name},
        structs=[struct],
        slack=_row_slack(graph, op),
        work={"pooled": math.prod(op.size) * graph.tensors[op.output].size},
    )


def _pad(graph: g.Graph, op: g.Pad, tag: str) -> Step:
    names = ["height", "width", "channels", "rows", "columns", "depth", "above", "left", "front", "value"]
    source, target = graph.tensors[op.inputs[0]], graph.tensors[op.output]
    values = (*source.image, *target.image, *op.before, target.zero_point)
    struct = Struct("pad_t", tag, dict(zip(names, values, strict=True)))
    return _step(op, f"pad(&{tag}, {{0}}, {{out}})", {"pad"}, structs=[struct], work={"moved": target.size})


def _softmax(graph: g.Graph, op: g.Softmax, tag: str) -> Step:
    target = graph.tensors[op.output]
    depth = target.shape[-1] if target.shape else 1
    fields = {"exponentials": f"{tag}_exponentials", "rows": target.size // depth, "depth": depth}
    table = Table("int32_t", f"{tag}_exponentials", op.exponentials)
    struct = Struct("softmax_t", tag, fields)
    call = f"softmax(&{tag}, {{0}}, {{out}})"
    return _step(
        op, call, {"softmax"}, tables=[table], structs=[struct], slack={op.inputs[0]: 0}, work={"softmax": target.size}
    )


def _concat(graph: g.Graph, op: g.Concat, tag: str) -> Step:
    step = graph.tensors[op.output].size // op.outer
    calls, at = [], 0
    for i, tensor in enumerate(op.inputs):
        piece = graph.tensors[tensor].size // op.outer
        calls.append(f"copy({{{i}}}, {{out}} + {at}, {op.outer}, {piece}, {step})")
        at += piece
    return _step(op, ";\n    ".join(calls), {"copy"}, work={"moved": graph.tensors[op.output].size})


def _reshape(graph: g.Graph, op: g.Reshape, tag: str) -> Step:
    call = f"memmove({{out}}, {{0}}, {graph.tensors[op.output].size})"
    return _step(op, call, set(), slack={op.inputs[0]: 0}, work={"moved": graph.tensors[op.output].size})


_LOWER: dict[type, Callable[..., Step]] = {
    g.Conv: _conv,
    g.Depthwise: _depthwise,
    g.Lookup: _lookup,
    g.Add: _pairwise,
    g.Multiply: _pairwise,
    g.Mean: _mean,
    g.Pool: _pool,
    g.Pad: _pad,
    g.Softmax: _softmax,
    g.Concat: _concat,
    g.Reshape: _reshape,
}
