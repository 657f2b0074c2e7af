"""Int8 networks that hypothesis makes up: any mix of the compiler's operators, with odd shapes and scales."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.tiny_models import Graph

ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}


class Net(Graph):
    """tiny_models.Graph with every operator, and with scales that keep the values of random weights spread."""

    def tensor(self, shape, scale=0.0, *args, **kwargs) -> int:
        """Scales stay within bounds, however many operators change them."""
        return super().tensor(shape, float(np.clip(scale, 1e-3, 10)) if scale else 0.0, *args, **kwargs)

    def window(self, x: int, kernel: tuple[int, ...], *, depthwise: bool, out: tuple[float, int], **how: Any) -> int:
        """kernel: (outputs, height, width, inputs) or (1, height, width, outputs); out: scale factor, zero point."""
        s = self.schema
        axis = 3 if depthwise else 0
        channels = kernel[axis]
        scales = self.rng.uniform(0.3, 1.7, channels) / 127
        if how.get("per_tensor"):
            scales = scales[:1]
        weights = self.rng.integers(-127, 128, kernel, dtype=np.int8)
        weights[self.rng.random(kernel) < how.get("zeros", 0.0)] = 0
        bias = self.rng.integers(-3000, 3000, channels, dtype=np.int32)
        w = self.tensor(kernel, data=weights, scales=scales, dimension=axis)
        bias_scales = scales * self.scale(x)
        inputs = [x, w, self.tensor([channels], kind="INT32", data=bias, scales=bias_scales)]
        _, height, width, _ = self.shape(x)
        stride, same = how.get("stride", (1, 1)), how.get("same", True)
        sides = [
            -(-side // step) if same else (side - size) // step + 1
            for side, size, step in zip((height, width), kernel[1:3], stride, strict=True)
        ]
        fan_in = int(np.prod(kernel)) // channels
        output = self.tensor([1, *sides, channels], self.scale(x) * 0.6 * np.sqrt(fan_in) * out[0], out[1])
        options = s.DepthwiseConv2DOptionsT() if depthwise else s.Conv2DOptionsT()
        options.padding = 0 if same else 1
        options.strideH, options.strideW = stride
        options.fusedActivationFunction = ACTIVATIONS[how.get("activation", "NONE")]
        options.dilationWFactor = options.dilationHFactor = 1
        if depthwise:
            options.depthMultiplier = channels // self.shape(x)[3]
        name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        return self.op(name, inputs, output, options, version=3)

    def unary(self, name: str, x: int, out: tuple[float, int]) -> int:
        scale, zero = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}.get(name, (self.scale(x) * out[0], out[1]))
        options = None
        if name == "LEAKY_RELU":
            options = self.schema.LeakyReluOptionsT()
            options.alpha = 0.1
        version = {"LOGISTIC": 2, "TANH": 2, "LEAKY_RELU": 2, "RELU": 2, "RELU6": 2, "QUANTIZE": 2}.get(name, 1)
        return self.op(name, [x], self.tensor(self.shape(x), scale, zero), options, version)

    def pairwise(self, name: str, x: int, y: int, out: tuple[float, int], activation: str = "NONE") -> int:
        shape = np.broadcast_shapes(self.shape(x), self.shape(y))
        options = self.schema.AddOptionsT() if name == "ADD" else self.schema.MulOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[activation]
        scale = (self.scale(x) + self.scale(y)) if name == "ADD" else self.scale(x) * self.scale(y) * 40
        return self.op(name, [x, y], self.tensor(shape, scale * out[0], out[1]), options, version=2)

    def zero_point(self, x: int) -> int:
        return int(self.graph.tensors[x].quantization.zeroPoint[0])

    def like(self, x: int, shape: list[int]) -> int:
        return self.tensor(shape, self.scale(x), self.zero_point(x))

    def pool(self, name: str, x: int, size: tuple[int, int], stride: tuple[int, int], same: bool) -> int:
        options = self.schema.Pool2DOptionsT()
        options.padding = 0 if same else 1
        options.strideH, options.strideW = stride
        options.filterHeight, options.filterWidth = size
        _, height, width, channels = self.shape(x)
        sides = [
            -(-side // step) if same else (side - length) // step + 1
            for side, length, step in zip((height, width), size, stride, strict=True)
        ]
        return self.op(name, [x], self.like(x, [1, *sides, channels]), options, version=2)

    def pad(self, x: int, pads: list[tuple[int, int]]) -> int:
        paddings = self.tensor([4, 2], kind="INT32", data=np.array([(0, 0), *pads], np.int32))
        shape = [1, *(side + sum(pad) for side, pad in zip(self.shape(x)[1:], pads, strict=True))]
        return self.op("PAD", [x, paddings], self.like(x, shape), self.schema.PadOptionsT(), version=2)

    def average(self, x: int, axes: list[int], out: tuple[float, int]) -> int:
        data = self.tensor([len(axes)], kind="INT32", data=np.array(axes, np.int32))
        options = self.schema.ReducerOptionsT()
        options.keepDims = True
        shape = [1 if axis in axes else side for axis, side in enumerate(self.shape(x))]
        return self.op("MEAN", [x, data], self.tensor(shape, self.scale(x) * out[0], out[1]), options, version=2)

    def concat(self, parts: list[int], axis: int) -> int:
        options = self.schema.ConcatenationOptionsT()
        options.axis = axis
        shape = self.shape(parts[0])
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self.op("CONCATENATION", parts, self.like(parts[0], shape), options, version=2)

    def flat(self, x: int) -> int:
        shape = [1, int(np.prod(self.shape(x)))]
        target = self.tensor([2], kind="INT32", data=np.array(shape, np.int32))
        return self.op("RESHAPE", [x, target], self.like(x, shape), self.schema.ReshapeOptionsT())

    def linear(self, x: int, outputs: int, per_channel: bool) -> int:
        fan_in = int(np.prod(self.shape(x)))
        scales = self.rng.uniform(0.3, 1.7, outputs if per_channel else 1) / 127
        w = self.tensor(
            [outputs, fan_in], data=self.rng.integers(-127, 128, (outputs, fan_in), dtype=np.int8), scales=scales
        )
        bias = self.tensor([outputs], kind="INT32", data=self.rng.integers(-900, 900, outputs, dtype=np.int32),
                           scales=scales * self.scale(x))  # fmt: skip
        out = self.tensor([1, outputs], self.scale(x) * 0.6 * np.sqrt(fan_in), 3)
        return self.op("FULLY_CONNECTED", [x, w, bias], out, self.schema.FullyConnectedOptionsT(), version=4)

    def softmax(self, x: int) -> int:
        options = self.schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self.op("SOFTMAX", [x], self.tensor(self.shape(x), 1 / 256, -128), options, version=2)


@st.composite
def networks(draw: st.DrawFn, steps: int = 5) -> bytes:
    """A .tflite file of a chain of random operators, some with shortcuts."""
    net = Net(draw(st.integers(0, 2**16)))
    sides = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    first = x = net.tensor([1, *sides, draw(st.integers(1, 9))], 0.05, draw(st.integers(-128, 127)))
    for _ in range(draw(st.integers(1, steps))):
        x = draw(_operator(net, x))
    ending = draw(st.sampled_from(["none", "flat", "image", "softmax"]))
    if ending != "none":
        x = net.linear(x if ending == "image" else net.flat(x), draw(st.integers(1, 6)), draw(st.booleans()))
        x = net.softmax(x) if ending == "softmax" else x
    return net.finish(first, x)


@st.composite
def _operator(draw: st.DrawFn, net: Net, x: int) -> int:
    _, height, width, channels = net.shape(x)
    out = draw(st.sampled_from([0.02, 0.5, 1.0, 3.0])), draw(st.sampled_from([-128, -7, 0, 5, 127]))
    activation = draw(st.sampled_from(list(ACTIVATIONS)))
    size = draw(st.sampled_from([1, 2, 3, 5])), draw(st.sampled_from([1, 2, 3, 5]))
    stride = draw(st.sampled_from([(1, 1), (2, 2), (1, 2), (3, 1)]))
    same = draw(st.booleans()) or size[0] > height or size[1] > width
    how = {"stride": stride, "same": same, "activation": activation,
           "per_tensor": draw(st.booleans()), "zeros": draw(st.sampled_from([0.0, 0.5, 0.9]))}  # fmt: skip
    kind = draw(st.sampled_from(["conv", "point", "grouped", "depthwise", "block", "unary", "add", "mul", "gate",
                                 "pool", "pad", "mean", "concat"]))  # fmt: skip
    if kind == "conv":
        return net.window(x, (draw(st.integers(1, 12)), *size, channels), depthwise=False, out=out, **how)
    if kind == "point":
        how["stride"] = (1, 1)
        return net.window(x, (draw(st.integers(1, 12)), 1, 1, channels), depthwise=False, out=out, **how)
    if kind == "grouped" and channels % 2 == 0:
        return net.window(x, (2 * draw(st.integers(1, 4)), *size, channels // 2), depthwise=False, out=out, **how)
    if kind == "depthwise":
        kernel = (1, *size, channels * draw(st.sampled_from([1, 1, 1, 2])))
        return net.window(x, kernel, depthwise=True, out=out, **how)
    if kind == "block":
        return draw(_block(net, x, out))
    if kind == "add":
        other = net.window(x, (channels, 1, 1, channels), depthwise=False, out=out)
        return net.pairwise("ADD", *draw(st.permutations([x, other])), out, activation)
    if kind == "mul":
        other = net.unary(draw(st.sampled_from(["LOGISTIC", "TANH"])), x, out)
        return net.pairwise("MUL", *draw(st.permutations([x, other])), (1.0, out[1]), activation)
    if kind == "gate":
        shape = draw(st.sampled_from([[1, 1, 1, channels], [1, height, width, 1], [1, 1, 1, 1], []]))
        data = np.array(net.rng.integers(-128, 128, shape), np.int8)
        constant = net.tensor(shape, 0.02, draw(st.integers(-128, 127)), data=data)
        return net.pairwise(draw(st.sampled_from(["MUL", "ADD"])), x, constant, out, activation)
    if kind == "pool":
        name = draw(st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
        return net.pool(name, x, size, stride, same)
    if kind == "pad":
        pads = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2)]
        return net.pad(x, [*pads, draw(st.sampled_from([(0, 0), (0, 0), (1, 2)]))])
    if kind == "mean":
        return net.average(x, draw(st.sampled_from([[1, 2], [1], [2], [3], [1, 2, 3]])), out)
    if kind == "concat":
        return net.concat([x, net.pool("MAX_POOL_2D", x, (2, 2), (1, 1), True)], draw(st.integers(1, 3)))
    name = draw(st.sampled_from(["LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU", "RELU6", "QUANTIZE"]))
    return net.unary(name, x, out)


@st.composite
def _block(draw: st.DrawFn, net: Net, x: int, out: tuple[float, int]) -> int:
    """An inverted residual block, as EfficientNets have it."""
    channels = net.shape(x)[3]
    relu = draw(st.sampled_from([(1.0, -128, "RELU6"), (1.0, -128, "RELU"), (0.7, 4, "NONE"), (1.0, -20, "RELU")]))
    how = {"activation": relu[2], "zeros": draw(st.sampled_from([0.0, 0.6, 0.9]))}
    wide = draw(st.integers(1, 13))
    size = draw(st.sampled_from([3, 5]))
    stride = draw(st.sampled_from([(1, 1), (2, 2)]))
    y = net.window(x, (wide, 1, 1, channels), depthwise=False, out=relu[:2], **how)
    y = net.window(y, (1, size, size, wide), depthwise=True, out=relu[:2], stride=stride, activation=relu[2])
    narrow = channels if stride == (1, 1) and draw(st.booleans()) else draw(st.integers(1, 9))
    y = net.window(y, (narrow, 1, 1, wide), depthwise=False, out=out, zeros=how["zeros"])
    return net.pairwise("ADD", y, x, (1.0, out[1])) if net.shape(y) == net.shape(x) else y
