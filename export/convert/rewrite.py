"""Changes to a .tflite file that leave what it computes as it is: tensor names away, dense layers as convolutions."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np


def strip_names(content: bytes) -> bytes:
    """A .tflite without its tensor names, which no interpreter needs: 10 to 40 kB less. The rest is unchanged."""
    tree = parse(content)
    for graph in tree.subgraphs:
        for tensor in graph.tensors:
            tensor.name = None
    return pack(tree, len(content))


def dense_as_convolutions(content: bytes) -> bytes:
    """An int8 .tflite with each FULLY_CONNECTED as a 1 x 1 CONV_2D on the same weights, scales and ranges.

    LiteRT's FULLY_CONNECTED rounds a scaled sum once, that of TensorFlow Lite Micro twice (as CMSIS-NN's), so that one
    output in a thousand is a step apart; their CONV_2D agree to the byte. Layers that share their weights stay as they
    are. What reads a result still finds it in its old shape.
    """
    tree = parse(content)
    graph = _Graph(tree)
    operators = graph.take_operators()
    dense = [operator for operator in operators if graph.is_plain_dense(operator)]
    for operator in operators:
        if operator in dense:
            graph.add_convolution(operator, feeds_dense=any(operator.outputs[0] == other.inputs[0] for other in dense))
        else:
            graph.operators.append(operator)
    graph.drop_unused_codes()
    return pack(tree, len(content))


class _Graph:
    """The first subgraph of a model tree while its operators are handed over one by one."""

    def __init__(self, tree: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.tree = schema, tree
        self.tensors: list[Any] = tree.subgraphs[0].tensors
        self.operators: list[Any] = []

    def take_operators(self) -> list[Any]:
        """The operators there were; the graph starts without any."""
        graph = self.tree.subgraphs[0]
        operators, graph.operators = graph.operators, self.operators
        self.readers = Counter(int(i) for operator in operators for i in operator.inputs)
        self.readers.update(int(i) for i in graph.outputs)
        return operators

    def is_plain_dense(self, operator: Any) -> bool:
        """Whether it is an int8 FULLY_CONNECTED of one sample, with constant weights of its own."""
        if builtin_of(self.tree, operator) != self.schema.BuiltinOperator.FULLY_CONNECTED:
            return False
        source, weights = (self.tensors[i] for i in operator.inputs[:2])
        constant = self.tree.buffers[weights.buffer].data is not None and self.readers[operator.inputs[1]] == 1
        int8 = source.type == weights.type == self.schema.TensorType.INT8
        return constant and int8 and int(np.prod(source.shape)) == weights.shape[-1]

    def add_convolution(self, dense: Any, feeds_dense: bool) -> None:
        """Append what takes the place of a dense layer; of one that feeds another, the result stays an image."""
        weights, result = self.tensors[dense.inputs[1]], int(dense.outputs[0])
        rows, columns = (int(side) for side in weights.shape)
        _set_shape(weights, [rows, 1, 1, columns])
        weights.quantization.quantizedDimension = 0
        options = self.schema.Conv2DOptionsT()
        options.padding = self.schema.Padding.VALID
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
        options.fusedActivationFunction = dense.builtinOptions.fusedActivationFunction
        convolution = self.schema.OperatorT()
        convolution.opcodeIndex = self._code(self.schema.BuiltinOperator.CONV_2D, version=3)
        convolution.builtinOptionsType = self.schema.BuiltinOptions.Conv2DOptions
        convolution.builtinOptions = options
        has_bias = len(dense.inputs) == 3 and dense.inputs[2] >= 0
        bias = int(dense.inputs[2]) if has_bias else self._add_zeros(dense)
        convolution.inputs = [self._as_image(int(dense.inputs[0])), int(dense.inputs[1]), bias]
        self.operators.append(convolution)
        shape = [1, 1, 1, rows]
        if feeds_dense and self.readers[result] == 1:
            _set_shape(self.tensors[result], shape)
            convolution.outputs = [result]
        else:
            convolution.outputs = [self._add_tensor_like(result, shape)]
            self._add_reshape(convolution.outputs[0], result)

    def drop_unused_codes(self) -> None:
        """Leave out operator codes that nothing uses any more: every interpreter looks for each of them."""
        used = sorted({operator.opcodeIndex for operator in self.operators})
        self.tree.operatorCodes = [self.tree.operatorCodes[i] for i in used]
        for operator in self.operators:
            operator.opcodeIndex = used.index(operator.opcodeIndex)

    def _as_image(self, source: int) -> int:
        """The tensor `source` of n values, or one that holds the same, in the shape (1, 1, 1, n)."""
        shape = [1, 1, 1, int(np.prod(self.tensors[source].shape))]
        if list(self.tensors[source].shape) == shape:
            return source
        makers = [operator for operator in self.operators if source in operator.outputs]
        if makers and self.readers[source] == 1:  # nobody else minds the shape
            maker = makers[0]
            kind = builtin_of(self.tree, maker)
            if kind == self.schema.BuiltinOperator.RESHAPE:
                self._set_reshape(maker, shape)
                return source
            if kind == self.schema.BuiltinOperator.MEAN and self._is_over_pixels(maker):
                maker.builtinOptions.keepDims = True
                _set_shape(self.tensors[source], shape)
                return source
        image = self._add_tensor_like(source, shape)
        self._add_reshape(source, image)
        return image

    def _is_over_pixels(self, mean: Any) -> bool:
        """Whether a MEAN of (1, H, W, C) leaves C values, so that it may as well leave (1, 1, 1, C)."""
        source, axes = (self.tensors[i] for i in mean.inputs)
        data = self.tree.buffers[axes.buffer].data
        return len(source.shape) == 4 and data is not None and {*np.frombuffer(bytes(data), np.int32) % 4} == {1, 2}

    def _add_reshape(self, source: int, result: int) -> None:
        reshape = self.schema.OperatorT()
        reshape.opcodeIndex = self._code(self.schema.BuiltinOperator.RESHAPE, version=1)
        reshape.inputs, reshape.outputs = [source], [result]
        self._set_reshape(reshape, [int(side) for side in self.tensors[result].shape])
        self.operators.append(reshape)

    def _set_reshape(self, reshape: Any, shape: list[int]) -> None:
        """Let it give `shape`, which it holds twice: as a constant and in its options."""
        if len(reshape.inputs) < 2 or self.readers[reshape.inputs[1]] != 1:  # none, or also another one's
            reshape.inputs = [reshape.inputs[0], self._append(self._constant(shape))]
        else:
            self.tensors[reshape.inputs[1]] = self._constant(shape)
        reshape.builtinOptionsType = self.schema.BuiltinOptions.ReshapeOptions
        reshape.builtinOptions = self.schema.ReshapeOptionsT()
        reshape.builtinOptions.newShape = np.array(shape, np.int32)
        _set_shape(self.tensors[reshape.outputs[0]], shape)

    def _add_tensor_like(self, index: int, shape: list[int]) -> int:
        """A new tensor without data, of the type and range of another."""
        tensor = copy.deepcopy(self.tensors[index])
        tensor.buffer = 0  # by the schema, always the empty one
        _set_shape(tensor, shape)
        return self._append(tensor)

    def _add_zeros(self, dense: Any) -> int:
        """A bias for a layer without one, on the scale that a bias must have."""
        source, weights = (self.tensors[i].quantization for i in dense.inputs[:2])
        bias = self._constant([0] * int(self.tensors[dense.outputs[0]].shape[-1]))
        bias.quantization = self.schema.QuantizationParametersT()
        bias.quantization.scale = np.asarray(source.scale * weights.scale, np.float32)
        bias.quantization.zeroPoint = np.zeros(len(weights.scale), np.int64)
        return self._append(bias)

    def _constant(self, values: list[int]) -> Any:
        """A tensor int32 (n,) with its buffer, not yet in the graph."""
        buffer, tensor = self.schema.BufferT(), self.schema.TensorT()
        buffer.data = np.array(values, "<i4").view(np.uint8)
        tensor.shape, tensor.type = np.array([len(values)], np.int32), self.schema.TensorType.INT32
        tensor.buffer = len(self.tree.buffers)
        self.tree.buffers.append(buffer)
        return tensor

    def _append(self, tensor: Any) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _code(self, builtin: int, version: int) -> int:
        """Index of the operator code, which is appended where there is none."""
        codes = self.tree.operatorCodes
        for index, code in enumerate(codes):
            if code.builtinCode == builtin:
                return index
        code = self.schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = version
        codes.append(code)
        return len(codes) - 1


def builtin_of(tree: Any, operator: Any) -> int:
    """Which of BuiltinOperator an operator is; files of older converters hold the code in its old field alone."""
    code = tree.operatorCodes[operator.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _set_shape(tensor: Any, shape: list[int]) -> None:
    tensor.shape, tensor.shapeSignature = np.array(shape, np.int32), None


def parse(content: bytes) -> Any:
    """A .tflite as a tree that can be changed."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(content)


def pack(tree: Any, size_hint: int) -> bytes:
    """A tree as a .tflite; `size_hint` is about how many bytes it will have."""
    import flatbuffers

    class AlignedBuilder(flatbuffers.Builder):
        """Weights (uint8) at 16-byte offsets, as the schema's force_align says; the generated code forgets it."""

        def CreateNumpyVector(self, x: np.ndarray) -> int:
            self.StartVector(x.itemsize, x.size, 16 if x.dtype == np.uint8 else x.dtype.alignment)
            payload = x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes()
            self.head = self.head - len(payload)
            self.Bytes[self.head : self.head + len(payload)] = payload
            self.vectorNumElems = x.size
            return self.EndVector()

    builder = AlignedBuilder(size_hint)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
