"""What the readers of single operators share: checks of tensors, windows and scales, and the graph that they fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from export.compiler import graph as g
from export.compiler.graph import CompileError, Graph
from export.compiler.numbers import activation_range, quantize_multiplier
from export.micro import flatbuffer as fb

_MOST_VALUES = 1 << 24  # of a tensor: no microcontroller holds more
_DENSE_REMEDY = "Compile the file of `--formats int8`: zeros need no sparse storage there."
_SCALES = 2.0**-40, 2.0**40  # least and greatest: ratios and products of them stay within float32


def signed_zero_point(tensor: fb.Tensor) -> int:
    """That of its int8 twin, where a tensor is uint8."""
    return tensor.zero_point - (128 if tensor.type == "UINT8" else 0)


class Reading:
    """One file while it is read: tensors as they are met, ops in order."""

    def __init__(self, model: fb.Model, readers: Mapping[str, Callable[[Reading, fb.Op], g.Op]]):
        self.model, self.readers = model, readers
        self.ops: list[g.Op] = []
        self.tensors = [g.Tensor(t.shape, signed_zero_point(t), t.scale) for t in model.tensors]
        self.written: set[int] = set()

    def graph(self) -> Graph:
        model = self.model
        if model.subgraphs != 1:
            raise CompileError(f"{model.path} has {model.subgraphs} subgraphs; the compiler takes models of one.")
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            ends = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
            raise CompileError(f"{model.path} has {ends}; the compiler takes models of one input and one output.")
        unknown = sorted({op.custom_code or op.name for op in model.ops} - set(self.readers))
        if unknown:
            remedy = f" {_DENSE_REMEDY}" if "DENSIFY" in unknown else ""
            raise CompileError(
                f"{model.path} uses {', '.join(unknown)}, which the compiler does not know. "
                f"It knows {', '.join(sorted(self.readers))}.{remedy}"
            )
        unsigned = self._end(model.input), self._end(model.output)
        self.written.add(model.inputs[0])
        for op in model.ops:
            self._read(op)
        ends = model.inputs[0], model.outputs[0]
        if ends[1] not in self.written or ends[0] == ends[1]:
            raise CompileError(f"{model.path}: no operator writes the output.")
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
        made = self.readers[op.name](self, op)
        if made.output != output:  # pragma: no cover
            raise AssertionError(op.name)
        self.ops.append(made)
        self.written.add(output)

    def refuse(self, op: fb.Op, what: str, remedy: str = "") -> CompileError:
        refused = f"{self.model.path}: operator {op.index} ({op.name}) {what}; the compiler cannot take it."
        return CompileError(f"{refused} {remedy}".rstrip())

    def activation(self, op: fb.Op, index: int, unsigned: bool = False) -> fb.Tensor:
        """An int8 tensor that flows: the input, or what an op before wrote, or a constant."""
        if index < 0:
            raise self.refuse(op, "lacks an input")
        tensor = self.model.tensors[index]
        if tensor.type != "INT8" and not (unsigned and tensor.type == "UINT8"):
            raise self.refuse(op, f"works on {tensor.type}, not int8")
        if tensor.is_sparse:
            raise self.refuse(op, "has a sparse-encoded tensor", _DENSE_REMEDY)
        lowest, highest = (-128, 127) if tensor.type == "INT8" else (0, 255)
        if tensor.scales.size != 1 or tensor.scale <= 0 or not lowest <= tensor.zero_point <= highest:
            raise self.refuse(op, "has a tensor without one scale and zero point")
        if not _SCALES[0] <= tensor.scale <= _SCALES[1]:
            raise self.refuse(op, f"has a tensor of scale {tensor.scale:g}")
        least_rank = 0 if tensor.is_constant else 1
        if not 1 <= tensor.elements <= _MOST_VALUES or not least_rank <= len(tensor.shape) <= 4:
            raise self.refuse(op, f"has a tensor of shape {list(tensor.shape)}")
        if len(tensor.shape) > (3 if tensor.is_constant else 1) and tensor.shape[0] != 1:
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
            raise self.refuse(op, f"has sparse-encoded {what}", _DENSE_REMEDY)
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
        if (weights.scales > _SCALES[1]).any():
            raise self.refuse(op, f"has weights of scale {weights.scales.max():g}")
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

    def check_sums(self, op: fb.Op, weights: np.ndarray, rescaling: Mapping[str, Any]) -> None:
        """weights: (outputs, values). The sums must stay within int32 in any order, and shifted left."""
        sums = np.abs(weights.astype(np.int64)).sum(axis=1) * 256 + np.abs(rescaling["bias"])
        if (sums * 2.0 ** np.maximum(-rescaling["shift"], 0)).max(initial=0) >= 1 << 31:
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
