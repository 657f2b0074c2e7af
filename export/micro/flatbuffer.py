"""A safe reader of .tflite files: ops, tensors, quantisation. Needs numpy alone, and trusts nothing in the file.

Every offset is checked against the file before it is followed and every vector against the bytes that are left, so a
truncated, damaged or hostile file ends in a ModelFileError and never in a crash, a hang or a huge allocation.
The layout is that of tensorflow/lite/schema/schema.fbs (TFL3); field numbers below count its fields from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import ModelFileError
from export.micro.schema import (
    ACTIVATIONS,
    BUILTIN_OPERATORS,
    NEEDED_INPUTS,
    OP_OPTIONS,
    PADDINGS,
    TENSOR_BITS,
    TENSOR_TYPES,
)
from export.micro.tables import Reader, Table


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph. `data` holds its raw bytes (a view into the file) where it is a constant, else None."""

    index: int
    name: str
    shape: tuple[int, ...]
    type: str
    data: np.ndarray | None = field(repr=False)
    scales: np.ndarray
    zero_points: np.ndarray
    quantized_dimension: int
    is_variable: bool
    is_sparse: bool

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the dense tensor in memory (4-bit types are packed two a byte)."""
        return (self.elements * TENSOR_BITS[self.type] + 7) // 8

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def scale(self) -> float:
        """The scale of a tensor quantised as a whole; 0 where it is not quantised."""
        return float(self.scales[0]) if self.scales.size else 0.0

    @property
    def zero_point(self) -> int:
        return int(self.zero_points[0]) if self.zero_points.size else 0


@dataclass(frozen=True)
class Op:
    """One operator. `name` is the BuiltinOperator's name, or CUSTOM with `custom_code`; -1 in `inputs`: left out."""

    index: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]
    custom_code: str = ""


@dataclass(frozen=True, eq=False)
class Model:
    """A .tflite file as read: the first subgraph, and how many there are."""

    path: str
    size_bytes: int
    version: int
    description: str
    ops: tuple[Op, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int
    metadata: dict[str, bytes] = field(repr=False)

    @property
    def input(self) -> Tensor:
        return self.tensors[self.inputs[0]]

    @property
    def output(self) -> Tensor:
        return self.tensors[self.outputs[0]]


_MAX_RANK = 8
_MAX_ELEMENTS = 1 << 40


def read_model(path: str | Path) -> Model:
    """Reads a .tflite file. ModelFileError where it is none or is damaged; OSError where it cannot be opened."""
    with open(path, "rb") as file:
        head = file.read(8)
        _check_identifier(head, str(path))  # before a file of any size is read
        return parse_model(head + file.read(), str(path))


def parse_model(data: bytes, name: str = "model") -> Model:
    """Reads a .tflite model from memory; `name` stands in error messages."""
    _check_identifier(data, name)
    try:
        return _read_model(Reader(data), name)
    except ModelFileError as error:
        raise ModelFileError(f"{name} is a damaged .tflite file: {error}. Export it again.") from None


def _check_identifier(data: bytes, name: str) -> None:
    if data[4:8] == b"TFL3":
        return
    suffix = Path(name).suffix
    if suffix in ("", ".tflite"):
        raise ModelFileError(f"{name} is no .tflite file: it has no 'TFL3' at byte 4. Export it again.")
    raise ModelFileError(
        f"{name} is a {suffix} file, no .tflite file: take one that `hpe export RUN` writes, or for a network of your "
        "own `export.convert`."
    )


def _read_model(reader: Reader, name: str) -> Model:
    # table Model: version, operator_codes, subgraphs, description, buffers, metadata_buffer, metadata
    root = Table(reader, reader.number("I", 0))
    version = root.number(0, "I")
    if version != 3:
        raise ModelFileError(f"its schema version is {version}, not 3")
    subgraphs = root.tables(2)
    if not subgraphs:
        raise ModelFileError("it has no subgraph")
    buffers = [_buffer_data(table) for table in root.tables(4)]
    codes = [_op_code(table) for table in root.tables(1)]

    # table SubGraph: tensors, inputs, outputs, operators, name
    graph = subgraphs[0]
    tensors = tuple(_read_tensor(i, table, buffers) for i, table in enumerate(graph.tables(0)))
    inputs, outputs = graph.ints(1), graph.ints(2)
    ops = tuple(_read_op(i, table, codes) for i, table in enumerate(graph.tables(3)))
    _check_graph(ops, tensors, inputs, outputs)
    metadata = _read_metadata(root, buffers)
    return Model(name, len(reader.data), version, root.text(3), ops, tensors, inputs, outputs, len(subgraphs), metadata)


def _buffer_data(table: Table) -> np.ndarray:
    """table Buffer: data, offset, size (the last two: bytes outside the flatbuffer, in models over 2 GB)."""
    data, offset, size = table.array(0, "u1"), table.number(1, "Q"), table.number(2, "Q")
    if offset > 1:
        if offset + size > len(table.reader.data):
            raise ModelFileError(f"a buffer lies outside the file (bytes {offset} to {offset + size})")
        return np.frombuffer(table.reader.data, "u1", size, offset)
    return data


def _op_code(table: Table) -> tuple[str, str, int]:
    """table OperatorCode: deprecated_builtin_code, custom_code, version, builtin_code. -> name, custom code, version"""
    code = max(table.number(0, "b"), table.number(3, "i"))  # the wider field wins, as in GetBuiltinCode()
    name = BUILTIN_OPERATORS[code] if 0 <= code < len(BUILTIN_OPERATORS) else f"BUILTIN_{code}"
    return name, table.text(1), table.number(2, "i", 1)


def _read_tensor(index: int, table: Table, buffers: list[np.ndarray]) -> Tensor:
    # table Tensor: shape, type, buffer, name, quantization, is_variable, sparsity, shape_signature, has_rank
    shape = table.ints(0)
    if len(shape) > _MAX_RANK or any(d < 0 for d in shape) or math.prod(shape) > _MAX_ELEMENTS:
        raise ModelFileError(f"tensor {index} has an impossible shape {list(shape)[: _MAX_RANK + 1]}")
    code = table.number(1, "b")
    if code not in TENSOR_TYPES:
        raise ModelFileError(f"tensor {index} has the unknown type {code}")
    type_name, bits = TENSOR_TYPES[code]
    buffer = table.number(2, "I")
    if buffer >= len(buffers):
        raise ModelFileError(f"tensor {index} uses buffer {buffer} of {len(buffers)}")
    data = buffers[buffer] if buffers[buffer].size else None
    is_sparse = table.table(6) is not None
    if data is not None and bits and not is_sparse and data.size != (math.prod(shape) * bits + 7) // 8:
        raise ModelFileError(f"tensor {index} of shape {list(shape)} and type {type_name} has {data.size} bytes")
    scales, zero_points, dimension = _read_quantization(index, table, shape)
    return Tensor(
        index,
        table.text(3),
        shape,
        type_name,
        data,
        scales,
        zero_points,
        dimension,
        bool(table.number(5, "B")),
        is_sparse,
    )


def _read_quantization(index: int, table: Table, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, int]:
    # table QuantizationParameters: min, max, scale, zero_point, details_type, details, quantized_dimension
    quantization = table.table(4)
    if quantization is None:
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    scales, zero_points = quantization.array(2, "<f4"), quantization.array(3, "<i8")
    dimension = quantization.number(6, "i")
    if scales.size > 1 and not (0 <= dimension < len(shape) and scales.size == shape[dimension]):
        raise ModelFileError(
            f"tensor {index} has {scales.size} scales along dimension {dimension} of shape {list(shape)}"
        )
    if not (np.isfinite(scales).all() and (scales >= 0).all()):
        raise ModelFileError(f"tensor {index} has a scale that is negative or no number")
    if zero_points.size not in (0, 1, scales.size):
        raise ModelFileError(f"tensor {index} has {zero_points.size} zero points for {scales.size} scales")
    return scales, zero_points, dimension


def _read_op(index: int, table: Table, codes: list[tuple[str, str, int]]) -> Op:
    # table Operator: opcode_index, inputs, outputs, builtin_options_type, builtin_options, ...
    code = table.number(0, "I")
    if code >= len(codes):
        raise ModelFileError(f"op {index} uses operator code {code} of {len(codes)}")
    name, custom_code, version = codes[code]
    options: dict[str, Any] = {}
    option_table = table.table(4) if name in OP_OPTIONS else None
    if name in OP_OPTIONS:
        for option, (number, fmt, default) in OP_OPTIONS[name].items():
            options[option] = option_table.number(number, fmt, default) if option_table else default
        for option, names in (("padding", PADDINGS), ("activation", ACTIVATIONS)):
            if option in options:
                value = int(options[option])
                if not 0 <= value < len(names):
                    raise ModelFileError(f"op {index} ({name}) has the unknown {option} {value}")
                options[option] = names[value]
    return Op(index, name, version, table.ints(1), table.ints(2), options, custom_code)


def _check_graph(
    ops: tuple[Op, ...], tensors: tuple[Tensor, ...], inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> None:
    """Every tensor index in range (-1, an input left out, only after the needed ones), and no op short of tensors."""
    count = len(tensors)
    if not inputs or not outputs:
        raise ModelFileError("it has no input or no output")
    if not all(0 <= i < count for i in inputs + outputs):
        raise ModelFileError(f"its inputs and outputs are not all among its {count} tensors")
    for op in ops:
        needed = NEEDED_INPUTS.get(op.name, 0)
        if len(op.inputs) < needed or (needed and not op.outputs):
            raise ModelFileError(f"op {op.index} ({op.name}) has too few inputs or outputs")
        required, optional = op.inputs[:needed] + op.outputs, op.inputs[needed:]
        if not all(0 <= i < count for i in required) or not all(-1 <= i < count for i in optional):
            raise ModelFileError(f"op {op.index} ({op.name}) refers to a tensor that is not among the {count}")


def _read_metadata(root: Table, buffers: list[np.ndarray]) -> dict[str, bytes]:
    """table Metadata: name, buffer."""
    metadata = {}
    for table in root.tables(6):
        buffer = table.number(1, "I")
        if buffer >= len(buffers):
            raise ModelFileError(f"metadata uses buffer {buffer} of {len(buffers)}")
        table.reader.spend(buffers[buffer].nbytes)
        metadata[table.text(0)] = buffers[buffer].tobytes()
    return metadata
