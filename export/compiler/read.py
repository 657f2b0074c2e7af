"""A .tflite file -> Graph. Refuses, by name, whatever the compiler does not know, before anything is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export.compiler import graph as g
from export.compiler.graph import CompileError, Graph
from export.compiler.numbers import UNARY, activation_range, quantize_multiplier, softmax_exponentials, table_of
from export.micro import flatbuffer as fb

_MOST_VALUES = 1 << 24  # of a tensor: no microcontroller holds more


def read_graph(path: str | Path) -> Graph:
    """Reads an int8 .tflite file of one input and one output.

    Raises:
        CompileError: an operator, a type or a shape that the compiler does not know; it is named.
        ModelFileError: no .tflite file, or a damaged one.
    """
    model = fb.read_model(path)
    return _Reading(model).graph()


class _Reading:
    """One file while it is read: tensors as they are met, ops in order."""

    def __init__(self, model: fb.Model):
        self.model = model
        self.ops: list[g.Op] = []
        self.tensors = [g.Tensor(t.shape, t.zero_point, t.scale) for t in model.tensors]
        self.written: set[int] = set()

    def graph(self) -> Graph:
        model = self.model
        if model.subgraphs != 1:
            raise CompileError(f"{model.path} has {model.subgraphs} subgraphs; the compiler takes models of one.")
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            ends = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
            raise CompileError(f"{model.path} has {ends}; the compiler takes models of one input and one output.")
        unknown = sorted({op.custom_code or op.name for op in model.ops} - set(_READERS))
        if unknown:
            raise CompileError(
                f"{model.path} uses {', '.join(unknown)}, which the compiler does not know. "
                f"It knows {', '.join(sorted(_READERS))}."
            )
        unsigned = self._end(model.input), self._end(model.output)
        self.written.add(model.inputs[0])
        for op in model.ops:
            self._read(op)
        if model.outputs[0] not in self.written:
            raise CompileError(f"{model.path}: no operator writes the output.")
        ends = model.inputs[0], model.outputs[0]
        return Graph(model.path, self.tensors, self.ops, *ends, model.size_bytes, unsigned)

    def _end(self, tensor: fb.Tensor) -> bool:
        if tensor.type not in ("INT8", "UINT8"):
            raise CompileError(
                f"{self.model.path} has {tensor.type} at an end; the compiler takes int8 models. "
                "Convert with full int8 quantisation (int8 input and output)."
            )
        return tensor.type == "UINT8"

    def _read(self, op: fb.Op) -> None:
        if len(op.outputs) != 1:
            raise self.refuse(op, f"has {len(op.outputs)} outputs, not one")
        output = op.outputs[0]
        if output in self.written or self.model.tensors[output].is_constant:
            raise self.refuse(op, "writes a tensor that is written before")
        made = _READERS[op.name](self, op)
        if made.output != output:  # pragma: no cover
            raise AssertionError(op.name)
        self.ops.append(made)
        self.written.add(output)

    def refuse(self, op: fb.Op, what: str) -> CompileError:
        return CompileError(f"{self.model.path}: operator {op.index} ({op.name}) {what}; the compiler cannot take it.")

    def activation(self, op: fb.Op, index: int, unsigned: bool = False) -> fb.Tensor:
        """An int8 tensor that flows: the input, or what an op before wrote, or a constant."""
        if index < 0:
            raise self.refuse(op, "lacks an input")
        tensor = self.model.tensors[index]
        if tensor.type != "INT8" and not (unsigned and tensor.type == "UINT8"):
            raise self.refuse(op, f"works on {tensor.type}, not int8")
        if tensor.is_sparse:
            raise self.refuse(op, "has a sparse-encoded tensor")
        lowest, highest = (-128, 127) if tensor.type == "INT8" else (0, 255)
        if tensor.scales.size != 1 or tensor.scale <= 0 or not lowest <= tensor.zero_point <= highest:
            raise self.refuse(op, "has a tensor without one scale and zero point")
        if not 1 <= tensor.elements <= _MOST_VALUES or len(tensor.shape) > 4:
            raise self.refuse(op, f"has a tensor of shape {list(tensor.shape)}")
        if len(tensor.shape) > 1 and tensor.shape[0] != 1:
            raise self.refuse(op, f"has a batch of {tensor.shape[0]}, not 1")
        if index in op.inputs and index not in self.written:
            if not tensor.is_constant:
                raise self.refuse(op, "reads a tensor that nothing writes before")
            assert tensor.data is not None
            self.tensors[index].constant = tensor.data.view(np.int8).reshape(tensor.shape)
        return tensor

    def ends(self, op: fb.Op, unsigned: bool = False) -> tuple[fb.Tensor, fb.Tensor]:
        return self.activation(op, op.inputs[0], unsigned), self.activation(op, op.outputs[0], unsigned)

    def constant(self, op: fb.Op, index: int, kind: str, what: str) -> fb.Tensor:
        tensor = self.model.tensors[index]
        if tensor.is_sparse:
            raise self.refuse(op, f"has sparse-encoded {what}")
        if tensor.type != kind or tensor.data is None:
            raise self.refuse(op, f"has {what} that are {tensor.type} or computed, not constant {kind}")
        return tensor

    def range(self, op: fb.Op) -> tuple[int, int]:
        """Of the fused activation."""
        tensor = self.model.tensors[op.outputs[0]]
        activation = op.options["activation"]
        if activation not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
            raise self.refuse(op, f"has the fused activation {activation}")
        return activation_range(activation, tensor.scale, tensor.zero_point)

    def rescaling(self, op: fb.Op, weights: fb.Tensor, outputs: int, axis: int) -> dict[str, Any]:
        """The fields of Rescaling; PopulateConvolutionQuantizationParams."""
        source, target = (self.model.tensors[i] for i in (op.inputs[0], op.outputs[0]))
        if (weights.zero_points != 0).any():
            raise self.refuse(op, "has weights with a zero point other than 0")
        if weights.scales.size not in (1, outputs) or (weights.scales.size > 1 and weights.quantized_dimension != axis):
            raise self.refuse(op, f"has {weights.scales.size} scales for {outputs} outputs")
        scales = np.broadcast_to(weights.scales.astype(np.float64), outputs)
        factors = [source.scale * float(scale) / target.scale for scale in scales]
        if op.name == "FULLY_CONNECTED" and weights.scales.size == 1:  # GetQuantizedConvolutionMultipler
            factors = [float(np.float32(source.scale) * np.float32(weights.scale)) / target.scale] * outputs
        numbers = np.array([quantize_multiplier(factor) for factor in factors], np.int64)  # (outputs, 2)
        bias = np.zeros(outputs, np.int64)
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            data = self.constant(op, op.inputs[2], "INT32", "biases").data
            assert data is not None
            bias = data.view(np.int32).astype(np.int64)
            if bias.size != outputs:
                raise self.refuse(op, f"has {bias.size} biases for {outputs} outputs")
        if (numbers[:, 1] < -30).any():
            raise self.refuse(op, "scales its output up by more than 2^30")
        low, high = self.range(op)
        fields = {"bias": bias, "multiplier": numbers[:, 0], "shift": numbers[:, 1], "zero_point": target.zero_point}
        return fields | {"low": low, "high": high, "in_file": outputs}

    def check_sums(self, op: fb.Op, weights: np.ndarray, bias: np.ndarray) -> None:
        """weights: (outputs, values). The sums must stay within int32 in whichever order they are taken."""
        sums = np.abs(weights.astype(np.int64)).sum(axis=1) * 256 + np.abs(bias)
        if sums.max(initial=0) >= 1 << 31:
            raise self.refuse(op, "can overflow its 32-bit sums")

    def window(self, op: fb.Op, size: tuple[int, int], source: fb.Tensor, target: fb.Tensor) -> dict[str, Any]:
        """Stride and padding of a sliding window; checks the output's shape."""
        if len(source.shape) != 4 or len(target.shape) != 4:
            raise self.refuse(op, f"has shapes {list(source.shape)} and {list(target.shape)}")
        options = op.options
        if options.get("dilation_h", 1) != 1 or options.get("dilation_w", 1) != 1:
            raise self.refuse(op, "is dilated")
        stride = options["stride_h"], options["stride_w"]
        if not all(1 <= s <= 255 for s in (*stride, *size)):
            raise self.refuse(op, f"has a window of {size} with stride {stride}")
        pads, sides = [], []
        for side, length, step in zip(source.shape[1:3], size, stride, strict=True):
            same = options["padding"] == "SAME"
            count = -(-side // step) if same else (side - length) // step + 1
            pads.append(max((count - 1) * step + length - side, 0) // 2 if same else 0)
            sides.append(count)
        if tuple(sides) != target.shape[1:3] or min(sides) < 1:
            raise self.refuse(op, f"makes {sides[0]} x {sides[1]} of {list(source.shape)}, not {list(target.shape)}")
        return {"stride": stride, "pad": tuple(pads)}


def _label(op: fb.Op) -> dict[str, Any]:
    return {"name": f"{op.index} {op.name}", "output": op.outputs[0]}


def _conv(r: _Reading, op: fb.Op) -> g.Op:
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
    r.check_sums(op, values.reshape(outputs, -1), rescaling["bias"])
    return g.Conv(inputs=(op.inputs[0],), weights=values, **window, **rescaling, **_label(op))


def _depthwise(r: _Reading, op: fb.Op) -> g.Op:
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
    r.check_sums(op, values.reshape(-1, outputs).T, rescaling["bias"])
    return g.Depthwise(inputs=(op.inputs[0],), weights=values, **window, **rescaling, **_label(op))


def _dense(r: _Reading, op: fb.Op) -> g.Op:
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
    r.check_sums(op, values.reshape(outputs, -1), rescaling["bias"])
    how = {"stride": (1, 1), "pad": (0, 0), "once": True}
    return g.Conv(inputs=(op.inputs[0],), weights=values, **how, **rescaling, **_label(op))


def _unary(r: _Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op, unsigned=op.name == "QUANTIZE")
    if source.shape != target.shape:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(op.name)
    if fixed and fixed != (target.scale, target.zero_point):
        raise r.refuse(op, f"has an output of scale {target.scale:g} and zero point {target.zero_point}")
    ends = [(t.scale, t.zero_point - (128 if t.type == "UINT8" else 0)) for t in (source, target)]
    table = table_of(op.name, ends[0], ends[1], op.options.get("alpha", 0.0))
    for tensor, index in ((source, op.inputs[0]), (target, op.outputs[0])):
        if tensor.type == "UINT8":  # an unsigned byte, seen as a signed one, is 128 away from its int8 twin
            table = np.roll(table, 128) if tensor is source else (table.view(np.uint8) ^ 128).view(np.int8)
            r.tensors[index].zero_point -= 128
    return g.Lookup(inputs=(op.inputs[0],), table=table, **_label(op))


def _broadcast(r: _Reading, op: fb.Op) -> tuple[fb.Tensor, fb.Tensor, fb.Tensor]:
    a, b, target = (r.activation(op, i) for i in (op.inputs[0], op.inputs[1], op.outputs[0]))
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shape = None
    if shape != target.shape:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(a.shape)} and {list(b.shape)}")
    return a, b, target


def _add(r: _Reading, op: fb.Op) -> g.Op:
    a, b, target = _broadcast(r, op)
    twice = 2.0 * max(a.scale, b.scale)
    sides = [quantize_multiplier(t.scale / twice) for t in (a, b)]
    total = quantize_multiplier(twice / ((1 << 20) * target.scale))
    if total[1] < 0:
        raise r.refuse(op, "scales its output up by more than 2^20")
    low, high = r.range(op)
    factors = sides[0], sides[1], total
    return g.Add(inputs=op.inputs[:2], factors=factors, low=low, high=high, **_label(op))


def _multiply(r: _Reading, op: fb.Op) -> g.Op:
    a, b, target = _broadcast(r, op)
    multiplier, shift = quantize_multiplier(a.scale * b.scale / target.scale)
    if shift < -14:
        raise r.refuse(op, "scales its output up by more than 2^14")
    low, high = r.range(op)
    return g.Multiply(inputs=op.inputs[:2], multiplier=multiplier, shift=shift, low=low, high=high, **_label(op))


def _mean(r: _Reading, op: fb.Op) -> g.Op:
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


def _pool(r: _Reading, op: fb.Op) -> g.Op:
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


def _pad(r: _Reading, op: fb.Op) -> g.Op:
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


def _reshape(r: _Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    if source.elements != target.elements:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    return g.Reshape(inputs=(op.inputs[0],), **_label(op))


def _softmax(r: _Reading, op: fb.Op) -> g.Op:
    source, target = r.ends(op)
    if source.shape != target.shape or source.shape[-1] > 4096:
        raise r.refuse(op, f"makes {list(target.shape)} of {list(source.shape)}")
    if (target.scale, target.zero_point) != (1 / 256, -128):
        raise r.refuse(op, f"has an output of scale {target.scale:g} and zero point {target.zero_point}")
    beta = op.options["beta"]
    if not beta * source.scale * (1 << 26) > 0 or beta * source.scale * (1 << 26) <= 1:
        raise r.refuse(op, f"has beta {beta:g} with an input scale of {source.scale:g}")
    exponentials = softmax_exponentials(source.scale, beta)
    return g.Softmax(inputs=(op.inputs[0],), exponentials=exponentials, **_label(op))


def _concat(r: _Reading, op: fb.Op) -> g.Op:
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


_READERS: dict[str, Callable[[_Reading, fb.Op], g.Op]] = {
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
