"""A .tflite file -> Graph: one small reader an operator. Whatever the compiler does not know is refused, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export.compiler import graph as g
from export.compiler.graph import Graph
from export.compiler.numbers import UNARY, product_factor, quantize_multiplier, softmax_exponentials, table_of
from export.compiler.reading import Reading, signed_zero_point
from export.micro import flatbuffer as fb


def read_graph(path: str | Path) -> Graph:
    """Reads an int8 .tflite file of one input and one output.

    Raises:
        CompileError: an operator, a type or a shape that the compiler does not know; it is named.
        ModelFileError: no .tflite file, or a damaged one.
    """
    model = fb.read_model(path)
    return Reading(model, _READERS).graph()


def _label(op: fb.Op) -> dict[str, Any]:
    return {"name": f"{op.index} {op.name}", "output": op.outputs[0]}


def _conv(r: Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    weights = r.constant(op, op.inputs[1], "INT8", "weights")
    if len(weights.shape) != 4 or len(source.shape) != 4 or weights.elements < 1:
        raise r.refuse(op, f"has weights of shape {list(weights.shape)}")
    outputs, height, width, inputs = weights.shape
    if source.shape[3] % inputs or outputs % (source.shape[3] // inputs) or target.shape[-1] != outputs:
        raise r.refuse(op, f"has weights {list(weights.shape)} for {list(source.shape)}")
    window = r.window(op, (height, width), source, target)
    rescaling = r.rescaling(op, weights, outputs, 0)
    values = _int8(weights).reshape(weights.shape)
    r.check_sums(op, values.reshape(outputs, -1), rescaling)
    return g.Conv(inputs=(op.inputs[0],), weights=values, **window, **rescaling, **_label(op))


def _depthwise(r: Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    weights = r.constant(op, op.inputs[1], "INT8", "weights")
    if len(weights.shape) != 4 or len(source.shape) != 4 or weights.shape[0] != 1 or weights.elements < 1:
        raise r.refuse(op, f"has weights of shape {list(weights.shape)}")
    _, height, width, outputs = weights.shape
    if outputs % source.shape[3] or target.shape[-1] != outputs:
        raise r.refuse(op, f"has weights {list(weights.shape)} for {list(source.shape)}")
    window = r.window(op, (height, width), source, target)
    rescaling = r.rescaling(op, weights, outputs, 3)
    values = _int8(weights).reshape(height, width, outputs)
    r.check_sums(op, values.reshape(-1, outputs).T, rescaling)
    return g.Depthwise(inputs=(op.inputs[0],), weights=values, **window, **rescaling, **_label(op))


def _dense(r: Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    weights = r.constant(op, op.inputs[1], "INT8", "weights")
    if len(weights.shape) != 2 or weights.elements < 1 or source.elements % weights.shape[1]:
        raise r.refuse(op, f"has weights of shape {list(weights.shape)} for {list(source.shape)}")
    outputs, inputs = weights.shape
    if target.elements != source.elements // inputs * outputs or target.shape[-1] != outputs:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    if source.elements != inputs:
        raise r.refuse(op, "works on more than one vector")
    rescaling = r.rescaling(op, weights, outputs, 0)
    values = _int8(weights).reshape(outputs, 1, 1, inputs)
    r.check_sums(op, values.reshape(outputs, -1), rescaling)
    how = {"stride": (1, 1), "pad": (0, 0), "once": True}
    return g.Conv(inputs=(op.inputs[0],), weights=values, **how, **rescaling, **_label(op))


def _unary(r: Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op, unsigned=op.name == "QUANTIZE")
    if source.shape != target.shape:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(op.name)
    if fixed and fixed != (target.scale, target.zero_point):
        raise r.refuse(op, f"has an output of scale {target.scale:g} and zero point {target.zero_point}")
    alpha = op.options.get("alpha", 0.0)
    if not fixed and not max(abs(alpha), 1.0) * source.scale < target.scale * (1 << 23):  # alpha may be no number
        raise r.refuse(op, "scales its output up by more than 2^23")
    if op.name == "HARD_SWISH" and source.scale * 512 < target.scale:  # a shift of 16 and more, of an int16
        raise r.refuse(op, "scales its output down by more than 2^9")
    ends = [(t.scale, signed_zero_point(t)) for t in (source, target)]
    table = table_of(op.name, ends[0], ends[1], alpha)
    if source.type == "UINT8":  # an unsigned byte, seen as a signed one, is 128 away from its int8 twin
        table = np.roll(table, 128)
    if target.type == "UINT8":
        table = (table.view(np.uint8) ^ 128).view(np.int8)
    return g.Lookup(inputs=(op.inputs[0],), table=table, **_label(op))


def _broadcast(r: Reading, op: fb.Op) -> tuple[fb.Tensor, fb.Tensor, fb.Tensor]:
    a, b, target = (r.activation(op, i) for i in (op.inputs[0], op.inputs[1], op.outputs[0]))
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shape = None
    if shape != target.shape:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(a.shape)} and {list(b.shape)}")
    return a, b, target


def _add(r: Reading, op: fb.Op) -> g.Op:
    a, b, target = _broadcast(r, op)
    twice = 2.0 * max(a.scale, b.scale)
    sides = [quantize_multiplier(t.scale / twice) for t in (a, b)]
    total = quantize_multiplier(twice / ((1 << 20) * target.scale))
    if total[1] < 0:
        raise r.refuse(op, "scales its output up by more than 2^20")
    low, high = r.range(op)
    factors = sides[0], sides[1], total
    return g.Add(inputs=op.inputs[:2], factors=factors, low=low, high=high, **_label(op))


def _multiply(r: Reading, op: fb.Op) -> g.Op:
    a, b, target = _broadcast(r, op)
    multiplier, shift = quantize_multiplier(product_factor(a.scale, b.scale, target.scale))
    if shift < -14:
        raise r.refuse(op, "scales its output up by more than 2^14")
    low, high = r.range(op)
    return g.Multiply(inputs=op.inputs[:2], multiplier=multiplier, shift=shift, low=low, high=high, **_label(op))


def _mean(r: Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    data = r.constant(op, op.inputs[1], "INT32", "axes").data
    assert data is not None
    rank = len(source.shape)
    axes = sorted({int(axis) % rank if -rank <= axis < rank else rank for axis in data.view(np.int32)})
    if not axes or axes[-1] >= rank or axes != list(range(axes[0], axes[-1] + 1)):
        raise r.refuse(op, f"takes the mean over axes {axes} of {list(source.shape)}")
    outer, inner = math.prod(source.shape[: axes[0]]), math.prod(source.shape[axes[-1] + 1 :])
    count = math.prod(source.shape[axes[0] : axes[-1] + 1])
    if target.elements != outer * inner:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    multiplier, shift = quantize_multiplier(source.scale / target.scale)
    bits = min(count.bit_length() - 1, 32, 31 - shift)  # QuantizedMeanOrSum: 1 / count goes into the multiplier
    multiplier, shift = (multiplier << bits) // count, shift + bits
    if shift < -7 or count >= 1 << 22:
        raise r.refuse(op, "has a scale or size that its 32-bit sums cannot hold")
    sizes = {"outer": outer, "count": count, "inner": inner}
    return g.Mean(inputs=(op.inputs[0],), multiplier=multiplier, shift=shift, **sizes, **_label(op))


def _pool(r: Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    if (source.scale, source.zero_point) != (target.scale, target.zero_point):
        raise r.refuse(op, "changes scale or zero point")
    if len(source.shape) != 4 or source.shape[3] != target.shape[-1]:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    size = op.options["filter_h"], op.options["filter_w"]
    low, high = r.range(op)
    window = r.window(op, size, source, target)
    average = op.name == "AVERAGE_POOL_2D"
    return g.Pool(inputs=(op.inputs[0],), average=average, size=size, low=low, high=high, **window, **_label(op))


def _pad(r: Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    data = r.constant(op, op.inputs[1], "INT32", "paddings").data
    assert data is not None
    rank = len(source.shape)
    pads = data.view(np.int32).reshape(-1, 2).tolist() if data.size == 8 * rank else None
    if pads is None or min(min(pad) for pad in pads) < 0 or rank != 4 or sum(pads[0]):
        raise r.refuse(op, f"has paddings {pads} for {list(source.shape)}")
    if tuple(d + sum(pad) for d, pad in zip(source.shape, pads, strict=True)) != target.shape:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    if (source.scale, source.zero_point) != (target.scale, target.zero_point):
        raise r.refuse(op, "changes scale or zero point")
    before = pads[1][0], pads[2][0], pads[3][0]
    return g.Pad(inputs=(op.inputs[0],), before=before, **_label(op))


def _reshape(r: Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    if source.elements != target.elements:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    return g.Reshape(inputs=(op.inputs[0],), **_label(op))


def _softmax(r: Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    if source.shape != target.shape:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    if source.shape[-1] >= 4096:  # as many exponentials of 1 in Q12.19
        raise r.refuse(op, f"can overflow its 32-bit sum of {source.shape[-1]} exponentials")
    if (target.scale, target.zero_point) != (1 / 256, -128):
        raise r.refuse(op, f"has an output of scale {target.scale:g} and zero point {target.zero_point}")
    beta = op.options["beta"]
    if not beta * source.scale * (1 << 26) > 0 or beta * source.scale * (1 << 26) <= 1:
        raise r.refuse(op, f"has beta {beta:g} with an input scale of {source.scale:g}")
    exponentials = softmax_exponentials(source.scale, beta)
    return g.Softmax(inputs=(op.inputs[0],), exponentials=exponentials, **_label(op))


def _concat(r: Reading, op: fb.Op) -> g.Op:
    target = r.activation(op, op.outputs[0])
    parts = [r.activation(op, i) for i in op.inputs]
    rank = len(target.shape)
    axis = op.options["axis"] + (rank if op.options["axis"] < 0 else 0)
    if not parts or not 0 <= axis < rank or op.options["activation"] != "NONE":
        raise r.refuse(op, f"joins along axis {op.options['axis']} with activation {op.options['activation']}")
    for part in parts:
        if (part.scale, part.zero_point) != (target.scale, target.zero_point):
            raise r.refuse(op, "changes scale or zero point")
        if (
            len(part.shape) != rank
            or part.shape[:axis] + part.shape[axis + 1 :] != target.shape[:axis] + target.shape[axis + 1 :]
        ):
            raise r.refuse(op, f"joins shapes {[list(p.shape) for p in parts]}")
    if sum(part.shape[axis] for part in parts) != target.shape[axis]:
        raise r.refuse(op, f"makes {list(target.shape)} of {[list(p.shape) for p in parts]}")
    return g.Concat(inputs=op.inputs, outer=math.prod(target.shape[:axis]), **_label(op))


def _int8(tensor: fb.Tensor) -> np.ndarray:
    assert tensor.data is not None
    return tensor.data.view(np.int8).copy()  # passes may change it


_READERS: dict[str, Callable[[Reading, fb.Op], g.Op]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "ADD": _add,
    "MUL": _multiply,
    "MEAN": _mean,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "SOFTMAX": _softmax,
    "CONCATENATION": _concat,
    **dict.fromkeys(UNARY, _unary),
}
