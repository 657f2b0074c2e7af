"""TFLite files of one operator, written by hand: what no converter of ours would produce."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FLOAT, INT8, INT32 = schema.TensorType.FLOAT32, schema.TensorType.INT8, schema.TensorType.INT32


def tensor(shape: list[int], kind: int, scale: float = 0.0, zero_point: int = 0, buffer: int = 0) -> schema.TensorT:
    made = schema.TensorT()
    made.shape, made.type, made.buffer = np.array(shape, np.int32), kind, buffer
    if scale:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = np.array([scale], np.float32)
        made.quantization.zeroPoint = np.array([zero_point], np.int64)
    return made


def write_model(
    path: Path,
    code: int,
    inputs: list[schema.TensorT],
    output: schema.TensorT,
    constants: list[tuple[schema.TensorT, np.ndarray]] = (),  # type: ignore[assignment]
    custom: str | None = None,
) -> Path:
    """One operator from `inputs` and `constants` to `output`."""
    operator_code = schema.OperatorCodeT()
    operator_code.builtinCode = code
    operator_code.deprecatedBuiltinCode = min(code, 127)
    operator_code.version, operator_code.customCode = 1, custom
    buffers = [schema.BufferT()]
    for made, values in constants:
        made.buffer = len(buffers)
        buffers.append(schema.BufferT())
        buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
    graph, operator, model = schema.SubGraphT(), schema.OperatorT(), schema.ModelT()
    graph.tensors = [*inputs, *(made for made, _ in constants), output]
    graph.inputs, graph.outputs = np.arange(len(inputs), dtype=np.int32), np.array([len(graph.tensors) - 1], np.int32)
    operator.inputs, operator.outputs = np.arange(len(graph.tensors) - 1, dtype=np.int32), graph.outputs
    graph.operators = [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [operator_code], [graph], buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def quantize_model(path: Path, scale: float, zero_point: int, width: int) -> Path:
    """float (1, 1, width, 1) -> int8 by a QUANTIZE operator."""
    ends = tensor([1, 1, width, 1], FLOAT), tensor([1, 1, width, 1], INT8, scale, zero_point)
    return write_model(path, schema.BuiltinOperator.QUANTIZE, [ends[0]], ends[1])


def requantize_model(path: Path) -> Path:
    """int8 (1, 1, 4, 1) -> int8 of another scale by a QUANTIZE operator."""
    ends = tensor([1, 1, 4, 1], INT8, 0.5), tensor([1, 1, 4, 1], INT8, 0.25)
    return write_model(path, schema.BuiltinOperator.QUANTIZE, [ends[0]], ends[1])


def transpose_model(path: Path) -> Path:
    """int8 (1, 2, 3, 1) -> (1, 3, 2, 1)."""
    ends = tensor([1, 2, 3, 1], INT8, 0.5), tensor([1, 3, 2, 1], INT8, 0.5)
    order = tensor([4], INT32), np.array([0, 2, 1, 3], np.int32)
    return write_model(path, schema.BuiltinOperator.TRANSPOSE, [ends[0]], ends[1], [order])


def two_input_model(path: Path) -> Path:
    """float (1, 1, 4, 1) + float (1, 1, 4, 1)."""
    ends = [tensor([1, 1, 4, 1], FLOAT) for _ in range(3)]
    return write_model(path, schema.BuiltinOperator.MAXIMUM, ends[:2], ends[2])


def custom_operator_model(path: Path) -> Path:
    """An operator that no runtime has."""
    ends = tensor([1, 1, 4, 1], FLOAT), tensor([1, 1, 4, 1], FLOAT)
    return write_model(path, schema.BuiltinOperator.CUSTOM, [ends[0]], ends[1], custom="Nonsense")
