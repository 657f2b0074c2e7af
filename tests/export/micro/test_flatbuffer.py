"""The reader of .tflite files: right on good ones (oracle: the schema's generated classes), safe on bad ones."""

from __future__ import annotations

import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.errors import ExportError, ModelFileError
from export.micro.arena import plan_arena
from export.micro.flatbuffer import parse_model, read_model
from export.micro.interpreter import interpreter_footprint
from export.micro.sketch import write_arduino, write_model_sketch
from export.micro.tflm import check_int8

DATA = Path(__file__).resolve().parents[2] / "data"
REFERENCE = DATA / "micro"
TINY = sorted(DATA.glob("tiny_*.tflite"))
SILU = (DATA / "tiny_silu_se.tflite").read_bytes()


def reference_models() -> list[Path]:
    return sorted(REFERENCE.glob("*.tflite"))


@pytest.mark.parametrize("path", TINY + reference_models(), ids=lambda p: p.stem)
def test_reads_what_the_schema_classes_read(path: Path):
    pytest.importorskip("tflite_micro")
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    expected = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = expected.subgraphs[0]
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    types = {number: name for name, number in vars(schema.TensorType).items() if isinstance(number, int)}

    model = read_model(path)
    assert model.size_bytes == path.stat().st_size
    assert list(model.inputs) == list(graph.inputs)
    assert list(model.outputs) == list(graph.outputs)
    assert len(model.ops) == len(graph.operators)
    for op, wanted in zip(model.ops, graph.operators, strict=True):
        code = expected.operatorCodes[wanted.opcodeIndex]
        assert (op.name, op.version) == (names[code.builtinCode], code.version)
        assert list(op.inputs) == list(wanted.inputs)
        assert list(op.outputs) == list(wanted.outputs)
        if op.name == "CONV_2D":
            assert op.options["stride_w"] == wanted.builtinOptions.strideW
            assert op.options["padding"] == ("SAME", "VALID")[wanted.builtinOptions.padding]
    for tensor, wanted in zip(model.tensors, graph.tensors, strict=True):
        assert list(tensor.shape) == ([] if wanted.shape is None else list(wanted.shape))
        assert tensor.type == types[wanted.type]
        data = expected.buffers[wanted.buffer].data
        assert tensor.is_constant == (data is not None and len(data) > 0)
        if tensor.data is not None:
            np.testing.assert_array_equal(tensor.data, data)
        scales = wanted.quantization.scale if wanted.quantization else None
        np.testing.assert_array_equal(tensor.scales, [] if scales is None else scales)


def test_quantisation_of_input_and_weights():
    model = parse_model(SILU)
    assert model.input.shape == (1, 64, 64, 3)
    assert (model.input.type, model.input.zero_point) == ("INT8", -14)
    assert model.input.scale == pytest.approx(0.0186)
    weights = model.tensors[model.ops[0].inputs[1]]
    assert weights.scales.shape == (weights.shape[weights.quantized_dimension],)


def survives(data: bytes) -> None:
    """Anything may come of damaged bytes but another exception than ModelFileError (a ValueError)."""
    with suppress(ModelFileError):
        model = parse_model(data, "damaged.tflite")
        plan_arena(model)
        check_int8(model)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SILU) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes(changes: list[tuple[int, int]]):
    data = bytearray(SILU)
    for position, value in changes:
        data[position] = value
    survives(bytes(data))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SILU) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_fit_and_deploy_of_changed_bytes(changes: list[tuple[int, int]]):
    data = bytearray(SILU)
    for position, value in changes:
        data[position] = value
    sketch = {"mean": [0.5] * 3, "std": [0.2] * 3, "pose_order": ["yaw", "pitch", "roll"], "units": "degrees"}
    no_wheel = mock.patch("export.micro.interpreter.has_micro", return_value=False)  # a second for each child process
    with tempfile.TemporaryDirectory() as folder, no_wheel, suppress(ExportError):
        path = Path(folder) / "damaged.tflite"
        path.write_bytes(data)
        assert interpreter_footprint(path, "nano33ble").flash_bytes > 0
        for engine in ("tflm", "c"):
            with suppress(ExportError):  # the compiler takes fewer models than the interpreter
                write_arduino(path, Path(folder) / "sketch", "nano33ble", sketch, engine)
            with suppress(ExportError):
                write_model_sketch(path, Path(folder) / "any", "nano33ble", {}, engine)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, len(SILU) // 4 - 1), st.sampled_from([0, 1, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(SILU), 255])
)
def test_hostile_offsets_and_counts(word: int, value: int):
    survives(SILU[: 4 * word] + struct.pack("<I", value) + SILU[4 * word + 4 :])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SILU)), st.binary(max_size=64))
def test_truncated(length: int, tail: bytes):
    survives(SILU[:length] + tail)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_behind_the_identifier(content: bytes):
    survives(struct.pack("<I", 8) + b"TFL3" + content)


def test_every_truncation_of_the_tables_is_refused():
    # The tables of a file packed by flatbuffers lie around its start and its end; data buffers are in between.
    for length in range(0, len(SILU) - 1, 37):
        survives(SILU[:length])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "TFL3"),
        (b"not a model at all", "TFL3"),
        (SILU[:200], "truncated"),
        (struct.pack("<I", 0xFFFFFF00) + SILU[4:], "offset"),
    ],
)
def test_messages_name_file_and_remedy(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=reason) as caught:
        read_model(path)
    assert str(path) in str(caught.value)
    assert "Export it again" in str(caught.value)


def test_a_file_of_another_kind_is_told_what_makes_a_tflite(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08 an ONNX file")
    with pytest.raises(ModelFileError, match=r"model.onnx is a .onnx file, no .tflite file: .*`hpe export RUN`"):
        read_model(tmp_path / "model.onnx")


def test_shared_vectors_cannot_keep_the_reader_busy():
    # 20,000 operators that are one and the same table, with a list of 20,000 inputs: 160 kB unfold to 1.6 GB.
    flatbuffers = pytest.importorskip("flatbuffers")
    count = 20_000
    b = flatbuffers.Builder(1 << 20)

    def vector(items: list[int], add) -> int:
        b.StartVector(4, len(items), 4)
        for item in items:
            add(item)
        return b.EndVector()

    def table(slots: dict[int, int]) -> int:
        b.StartObject(8)
        for slot, offset in slots.items():
            b.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return b.EndObject()

    operator = table({1: vector([0] * count, b.PrependInt32)})
    subgraph = table({3: vector([operator] * count, b.PrependUOffsetTRelative)})
    codes = vector([table({})], b.PrependUOffsetTRelative)
    subgraphs = vector([subgraph], b.PrependUOffsetTRelative)
    b.StartObject(8)
    b.PrependUint32Slot(0, 3, 0)
    b.PrependUOffsetTRelativeSlot(1, codes, 0)
    b.PrependUOffsetTRelativeSlot(2, subgraphs, 0)
    b.Finish(b.EndObject(), b"TFL3")
    with pytest.raises(ModelFileError, match="far more data"):
        parse_model(bytes(b.Output()))


def test_float_model_is_refused_for_a_board(tmp_path: Path):
    pytest.importorskip("tflite_micro")
    from tests.tiny_models import Graph

    graph = Graph(0)
    x = graph.tensor([1, 8], kind="FLOAT32")
    y = graph.tensor([1, 8], kind="FLOAT32")
    path = tmp_path / "float.tflite"
    path.write_bytes(graph.finish(x, graph.op("LOGISTIC", [x], y)))
    with pytest.raises(ModelFileError, match="float32 input"):
        interpreter_footprint(path, "nano33ble")


def test_two_inputs_are_refused_for_a_board(tmp_path: Path):
    pytest.importorskip("tflite_micro")
    from tests.tiny_models import Graph

    graph = Graph(0)
    x, other = graph.tensor([1, 8], 0.1), graph.tensor([1, 8], 0.1)
    content_y = graph.add(x, other)
    graph.finish(x, content_y)
    graph.graph.inputs = [x, other]
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.model.Pack(builder), b"TFL3")
    path = tmp_path / "two.tflite"
    path.write_bytes(bytes(builder.Output()))
    with pytest.raises(ModelFileError, match="2 inputs"):
        interpreter_footprint(path, "nano33ble")
