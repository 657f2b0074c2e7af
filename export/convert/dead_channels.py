"""Channels without inputs, in a .tflite of float activations: masks may leave such; what the file computes stays.

Such a channel is one number for every image. A depthwise convolution that pads it with zeros gives another number at
the border, and the batch-norm after it divides by that little variance: its folded weights can be hundreds of times
those of other channels, and multiply what int8 rounds off the number: in a full-int8 file made of this one, and in a
dynamic-range file at run time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from export.convert.rewrite import builtin_of, pack, parse

Activation = Callable[[np.ndarray], np.ndarray]


def settle_dead_channels(model: bytes, highs: Mapping[int, float]) -> bytes:
    """The same function, such channels larger and the depthwise weights that read them as much smaller.

    Args:
        highs: tensor -> what its values reach in a usual sample: no channel is made larger than that, and no weights
            smaller than is usual in their layer.
    """
    net = _Net(tree := parse(model))
    settled = [net.settle(operator, highs) for operator in net.graph.operators]
    return pack(tree, len(model)) if any(settled) else model


class _Net:
    """The first subgraph of a model tree, by what reads each tensor."""

    def __init__(self, tree: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.tree, self.graph = schema, tree, tree.subgraphs[0]
        self.readers: dict[int, list[Any]] = defaultdict(list)
        for operator in self.graph.operators:
            for index in operator.inputs:
                self.readers[int(index)].append(operator)
        self.buffers = [tensor.buffer for tensor in self.graph.tensors]

    def settle(self, conv: Any, highs: Mapping[int, float]) -> bool:
        """Settle the dead channels of an operator, if it is a convolution that has such; whether it changed."""
        if not self._is(conv, "CONV_2D") or len(conv.inputs) < 3:
            return False
        activation, read = self._activation(conv)
        depthwise = self._depthwise(read)
        constants = [] if depthwise is None else [conv.inputs[1], conv.inputs[2], depthwise.inputs[1]]
        values = [value for index in constants if (value := self._values(int(index))) is not None]
        if activation is None or len(values) < 3 or highs.get(read, 0) <= 0:
            return False
        rows, bias, weights = values
        dead = ~rows.reshape(len(bias), -1).any(axis=1)  # (C,)
        if not dead.any() or dead.all() or weights.shape[-1] != len(bias):
            return False
        largest = np.abs(weights).max(axis=(0, 1, 2)).astype(np.float64)  # (C,)
        constant = activation(bias.astype(np.float64))
        level = np.minimum(highs[read], np.abs(constant) * largest / np.median(largest[~dead]))
        small = dead & (level > np.abs(constant)) & (constant != 0)
        bias[small] = _inverse(activation, level[small])
        factors = np.ones(len(bias), np.float32)
        factors[small] = constant[small] / activation(bias[small].astype(np.float64))
        self._set_floats(constants[1], bias)
        self._scale_channels(constants[2], weights, factors)
        return bool(small.any())

    def _activation(self, conv: Any) -> tuple[Activation | None, int]:
        """What follows a convolution, and the tensor that it gives; None where that is something else."""
        kinds, result = self.schema.ActivationFunctionType, int(conv.outputs[0])
        fused = conv.builtinOptions.fusedActivationFunction
        if fused in (kinds.RELU, kinds.RELU6):
            most = 6.0 if fused == kinds.RELU6 else np.inf
            return lambda x: np.clip(x, 0, most), result
        users = self.readers[result]
        if fused == kinds.NONE and len(users) == 1 and self._is(users[0], "HARD_SWISH"):
            return lambda x: x * np.clip(x + 3, 0, 6) / 6, int(users[0].outputs[0])
        if fused == kinds.NONE and len(users) == 2 and self._is(users[0], "LOGISTIC") and self._is(users[1], "MUL"):
            gate = int(users[0].outputs[0])
            if self.readers[gate] == [users[1]] and {int(i) for i in users[1].inputs} == {result, gate}:
                return lambda x: x / (1 + np.exp(-x)), int(users[1].outputs[0])
        return None, result

    def _depthwise(self, tensor: int) -> Any:
        """The depthwise convolution that alone reads a tensor, or what pads it; else None."""
        users = self.readers[tensor]
        if len(users) == 1 and self._is(users[0], "PAD"):
            users = self.readers[int(users[0].outputs[0])]
        return users[0] if len(users) == 1 and self._is(users[0], "DEPTHWISE_CONV_2D") else None

    def _values(self, index: int) -> np.ndarray | None:
        """The constants of a tensor that nobody shares, float32 or int8 with a scale for each channel; else None."""
        tensor, types = self.graph.tensors[index], self.schema.TensorType
        data = self.tree.buffers[tensor.buffer].data
        alone = len(self.readers[index]) == 1 and self.buffers.count(tensor.buffer) == 1
        if data is None or not alone or tensor.type not in (types.FLOAT32, types.INT8):
            return None
        if tensor.type == types.FLOAT32:
            return np.frombuffer(bytes(data), np.float32).reshape(tensor.shape).copy()
        scale = np.asarray(tensor.quantization.scale, np.float32)
        if len(scale) != tensor.shape[axis := tensor.quantization.quantizedDimension]:
            return None
        shape = [-1 if i == axis else 1 for i in range(len(tensor.shape))]
        return np.frombuffer(bytes(data), np.int8).reshape(tensor.shape) * scale.reshape(shape)

    def _set_floats(self, index: int, values: np.ndarray) -> None:
        buffer = self.tree.buffers[self.graph.tensors[index].buffer]
        buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)

    def _scale_channels(self, index: int, weights: np.ndarray, factors: np.ndarray) -> None:
        """Multiply depthwise weights (1, H, W, C) by a factor (C,) for each channel; int8 ones by their scales."""
        tensor = self.graph.tensors[index]
        if tensor.type == self.schema.TensorType.FLOAT32:
            self._set_floats(index, weights * factors)
            return
        tensor.quantization.scale = np.asarray(tensor.quantization.scale, np.float32) * np.abs(factors)
        buffer = self.tree.buffers[tensor.buffer]  # symmetric: no -128
        steps = np.frombuffer(bytes(buffer.data), np.int8).reshape(tensor.shape) * np.sign(factors).astype(np.int8)
        buffer.data = np.frombuffer(steps.tobytes(), np.uint8)

    def _is(self, operator: Any, name: str) -> bool:
        return builtin_of(self.tree, operator) == getattr(self.schema.BuiltinOperator, name)


def _inverse(activation: Activation, values: np.ndarray) -> np.ndarray:
    """Where an activation that rises above 0 gives these positive values, by bisection."""
    low, high = np.zeros_like(values), values + 6
    for _ in range(60):
        middle = (low + high) / 2
        above = activation(middle) > values
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2
