"""Builds small int8 .tflite files from random weights, without TensorFlow. Run as a program, it writes tests/data.

The networks have the ops of the real ones (convolutions, SiLU or ReLU6, squeeze-excitation, a shortcut, MEAN, dense) at
a few channels. Needs flatbuffers and ai-edge-litert, whose schema classes it uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"


class Graph:
    """Adds tensors and ops one by one; activations get scales that keep random outputs spread over the int8 range."""

    def __init__(self, seed: int):
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.rng = np.random.default_rng(seed)
        self.model = schema.ModelT()
        self.model.version, self.model.buffers, self.model.operatorCodes = 3, [schema.BufferT()], []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape, scale=0.0, zero_point=0, kind="INT8", data=None, scales=None, dimension=0) -> int:
        s = self.schema
        tensor = s.TensorT()
        tensor.shape, tensor.type = np.array(shape, np.int32), getattr(s.TensorType, kind)
        if data is not None:
            buffer = s.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        if scale or scales is not None:
            quantization = s.QuantizationParametersT()
            quantization.scale = np.array([scale] if scales is None else scales, np.float32)
            quantization.zeroPoint = np.full(len(quantization.scale), zero_point, np.int64)
            quantization.quantizedDimension = dimension
            tensor.quantization = quantization
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def shape(self, i: int) -> list[int]:
        return [int(d) for d in self.graph.tensors[i].shape]

    def scale(self, i: int) -> float:
        return float(self.graph.tensors[i].quantization.scale[0])

    def op(self, name: str, inputs: list[int], output: int, options: Any = None, version: int = 1) -> int:
        s = self.schema
        code = getattr(s.BuiltinOperator, name)
        known = [c.builtinCode for c in self.model.operatorCodes]
        if code not in known:
            operator_code = s.OperatorCodeT()
            operator_code.builtinCode, operator_code.deprecatedBuiltinCode = code, min(code, 127)
            operator_code.version = version
            self.model.operatorCodes.append(operator_code)
            known.append(code)
        operator = s.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = known.index(code), inputs, [output]
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(s.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.graph.operators.append(operator)
        return output

    def conv(self, x: int, channels: int, size: int = 1, stride: int = 1, relu6: bool = False) -> int:
        return self._convolve("CONV_2D", x, (channels, size, size, self.shape(x)[3]), stride, relu6)

    def depthwise(self, x: int, size: int = 3, stride: int = 1, relu6: bool = False) -> int:
        return self._convolve("DEPTHWISE_CONV_2D", x, (1, size, size, self.shape(x)[3]), stride, relu6)

    def _convolve(self, name: str, x: int, kernel: tuple[int, ...], stride: int, relu6: bool) -> int:
        s = self.schema
        axis = 0 if name == "CONV_2D" else 3
        channels, fan_in = kernel[axis], int(np.prod(kernel)) // kernel[axis]
        scales = self.rng.uniform(0.5, 1.5, channels) / 127
        weights = self.rng.integers(-127, 128, kernel, dtype=np.int8)
        bias = self.rng.integers(-2000, 2000, channels, dtype=np.int32)
        w = self.tensor(kernel, data=weights, scales=scales, dimension=axis)
        b = self.tensor([channels], kind="INT32", data=bias, scales=scales * self.scale(x))
        _, height, width, _ = self.shape(x)
        out_shape = [1, -(-height // stride), -(-width // stride), channels]
        scale = 6 / 255 if relu6 else self.scale(x) * 0.6 * np.sqrt(fan_in)
        out = self.tensor(out_shape, scale, -128 if relu6 else 3)
        options = s.Conv2DOptionsT() if name == "CONV_2D" else s.DepthwiseConv2DOptionsT()
        options.strideW = options.strideH = stride
        options.fusedActivationFunction = s.ActivationFunctionType.RELU6 if relu6 else 0
        options.dilationWFactor = options.dilationHFactor = 1
        if name != "CONV_2D":
            options.depthMultiplier = 1
        return self.op(name, [x, w, b], out, options, version=3)

    def logistic(self, x: int) -> int:
        return self.op("LOGISTIC", [x], self.tensor(self.shape(x), 1 / 256, -128), version=2)

    def mul(self, x: int, y: int) -> int:
        out = self.tensor(self.shape(x), self.scale(x) * 0.7, -10)
        return self.op("MUL", [x, y], out, self.schema.MulOptionsT(), version=2)

    def add(self, x: int, y: int) -> int:
        out = self.tensor(self.shape(x), self.scale(x) + self.scale(y), 0)
        return self.op("ADD", [x, y], out, self.schema.AddOptionsT(), version=2)

    def mean(self, x: int, keep_dims: bool) -> int:
        axes = self.tensor([2], kind="INT32", data=np.array([1, 2], np.int32))
        channels = self.shape(x)[3]
        out = self.tensor([1, 1, 1, channels] if keep_dims else [1, channels], self.scale(x) / 4, 5)
        options = self.schema.ReducerOptionsT()
        options.keepDims = keep_dims
        return self.op("MEAN", [x, axes], out, options, version=2)

    def dense(self, x: int, outputs: int) -> int:
        fan_in = self.shape(x)[1]
        weights = self.rng.integers(-90, 91, (outputs, fan_in))
        weights -= np.round(weights.mean(axis=1, keepdims=True)).astype(int)  # no offset from the inputs' mean
        w = self.tensor([outputs, fan_in], 0.01, 0, data=weights.astype(np.int8))
        bias = self.rng.integers(-300, 300, outputs, dtype=np.int32)
        b = self.tensor([outputs], 0.01 * self.scale(x), 0, "INT32", bias)
        out = self.tensor([1, outputs], self.scale(x) * 0.15 * np.sqrt(fan_in), -7)
        return self.op("FULLY_CONNECTED", [x, w, b], out, self.schema.FullyConnectedOptionsT(), version=4)

    def finish(self, x: int, y: int) -> bytes:
        import flatbuffers

        self.graph.inputs, self.graph.outputs = [x], [y]
        self.model.description = "random weights"
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def image_net(seed: int, activation: str, squeeze: bool, channels: int = 8, image: int = 64, outputs: int = 3) -> bytes:
    """One inverted residual block between a stem and a dense head; `activation` is silu or relu6."""
    g = Graph(seed)
    relu6 = activation == "relu6"

    def act(x: int) -> int:
        return x if relu6 else g.mul(x, g.logistic(x))

    x = image_input = g.tensor([1, image, image, 3], 0.0186, -14)
    x = act(g.conv(x, channels, 3, 2, relu6))
    shortcut = x
    x = act(g.conv(x, 2 * channels, 1, 1, relu6))
    x = act(g.depthwise(x, 5, 1, relu6))
    if squeeze:
        gate = act(g.conv(g.mean(x, keep_dims=True), 4, 1, 1, relu6))
        x = g.mul(x, g.logistic(g.conv(gate, 2 * channels)))
    x = g.add(g.conv(x, channels), shortcut)
    x = act(g.depthwise(x, 3, 2, relu6))
    x = act(g.conv(x, 3 * channels, 1, 1, relu6))
    return g.finish(image_input, g.dense(g.mean(x, keep_dims=False), outputs))


def logistic_net(scale: float, zero_point: int) -> bytes:
    """LOGISTIC alone, over 256 values."""
    g = Graph(0)
    x = g.tensor([1, 256], scale, zero_point)
    return g.finish(x, g.logistic(x))


TINY = {
    "tiny_silu_se.tflite": {"seed": 1, "activation": "silu", "squeeze": True},
    "tiny_relu6_se.tflite": {"seed": 2, "activation": "relu6", "squeeze": True},
    "tiny_relu6_nose.tflite": {"seed": 3, "activation": "relu6", "squeeze": False},
}

if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    for name, arguments in TINY.items():
        (DATA / name).write_bytes(image_net(**arguments))
