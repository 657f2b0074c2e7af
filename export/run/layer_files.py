"""Int8 .tflite files of one operator, some times over on the same input: what a layer takes is measured with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SCALE = 0.05
"""Of every tensor; the values do not matter."""


@dataclass(frozen=True)
class Operator:
    """One operator: conv, depthwise, add, gate (an image times a vector), silu (a sigmoid and a product) or mean."""

    kind: str
    image: tuple[int, int]
    """Height and width of the input."""
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1


def layer_file(operator: Operator, copies: int) -> bytes:
    """The file: `copies` times the operator, each with an output of the model."""
    from ai_edge_litert import schema_py_generated as schema

    graph = _Graph(schema)
    image = graph.tensor([1, *operator.image, operator.inputs])
    graph.inputs = [image]
    for _ in range(copies):
        graph.outputs.append(_add(graph, operator, image))
    return graph.packed()


class _Graph:
    """A model while it is put together."""

    def __init__(self, schema: Any):
        self.schema = schema
        self.codes: list[int] = []
        self.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(self, shape: Sequence[int], values: np.ndarray | None = None, scales: int = 1) -> int:
        """A new int8 tensor (int32 where the values are); its number."""
        made = self.schema.TensorT()
        is_int32 = values is not None and values.dtype == np.int32
        made.type = self.schema.TensorType.INT32 if is_int32 else self.schema.TensorType.INT8
        made.shape, made.buffer, made.name = np.array(shape, np.int32), 0, f"t{len(self.graph.tensors)}"
        made.quantization = self.schema.QuantizationParametersT()
        made.quantization.scale = np.full(scales, SCALE**2 if is_int32 else SCALE, np.float32)
        made.quantization.zeroPoint = np.zeros(scales, np.int64)
        if values is not None:
            made.buffer = len(self.buffers)
            self.buffers.append(self.schema.BufferT())
            self.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(self, name: str, inputs: Sequence[int], output: int, options: Any = None) -> int:
        """A new operator; returns its output."""
        code = getattr(self.schema.BuiltinOperator, name)
        if code not in self.codes:
            self.codes.append(code)
        made = self.schema.OperatorT()
        made.opcodeIndex = self.codes.index(code)
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, type(options).__name__[:-1])
        self.graph.operators.append(made)
        return output

    def packed(self) -> bytes:
        """The flatbuffer."""
        import flatbuffers

        model = self.schema.ModelT()
        self.graph.inputs = np.array(self.inputs, np.int32)
        self.graph.outputs = np.array(self.outputs, np.int32)
        model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [self.graph], self.buffers, []
        for code in self.codes:
            made = self.schema.OperatorCodeT()
            made.builtinCode, made.deprecatedBuiltinCode, made.version = code, min(code, 127), 3
            model.operatorCodes.append(made)
        builder = flatbuffers.Builder(4096)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def _add(graph: _Graph, operator: Operator, image: int) -> int:
    if operator.kind in ("conv", "depthwise"):
        return _convolution(graph, operator, image)
    schema, shape = graph.schema, [1, *operator.image, operator.inputs]
    if operator.kind == "add":
        return graph.operator("ADD", [image, image], graph.tensor(shape), schema.AddOptionsT())
    if operator.kind == "gate":
        vector = graph.tensor([1, 1, 1, operator.inputs], np.ones(operator.inputs, np.int8))
        return graph.operator("MUL", [image, vector], graph.tensor(shape), schema.MulOptionsT())
    if operator.kind == "silu":
        gate = graph.operator("LOGISTIC", [image], graph.tensor(shape))
        sigmoid = graph.graph.tensors[gate].quantization
        sigmoid.scale, sigmoid.zeroPoint = np.array([1 / 256], np.float32), np.array([-128], np.int64)
        return graph.operator("MUL", [image, gate], graph.tensor(shape), schema.MulOptionsT())
    options = schema.ReducerOptionsT()
    options.keepDims = True
    axes = graph.tensor([2], np.array([1, 2], np.int32))
    return graph.operator("MEAN", [image, axes], graph.tensor([1, 1, 1, operator.inputs]), options)


def _convolution(graph: _Graph, operator: Operator, image: int) -> int:
    schema, depthwise = graph.schema, operator.kind == "depthwise"
    first, last = (1, operator.outputs) if depthwise else (operator.outputs, operator.inputs)
    shape = [first, operator.kernel, operator.kernel, last]
    values = np.random.default_rng(0).integers(-127, 128, shape, np.int8)
    weights = graph.tensor(shape, values, operator.outputs)
    graph.graph.tensors[weights].quantization.quantizedDimension = 3 if depthwise else 0
    bias = graph.tensor([operator.outputs], np.arange(operator.outputs, dtype=np.int32), operator.outputs)
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding, options.strideW, options.strideH = schema.Padding.SAME, operator.stride, operator.stride
    options.dilationWFactor = options.dilationHFactor = 1
    if depthwise:
        options.depthMultiplier = 1
    sides = [-(-side // operator.stride) for side in operator.image]
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    return graph.operator(name, [image, weights, bias], graph.tensor([1, *sides, operator.outputs]), options)
