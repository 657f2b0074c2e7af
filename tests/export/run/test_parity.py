"""Parity with torch, the layer dump, and the graph that a microcontroller can take."""

import json

import numpy as np
import pytest

from export import (
    FORMATS,
    ExportError,
    ParityError,
    check_int8_graph,
    check_parity,
    first_deviating,
    layer_deviations,
    measure_deviation,
    operators,
)
from export.run.parity import LayerDeviation
from tests.crafted import custom_operator_model, requantize_model, transpose_model
from tests.exported import INT8_OPERATORS, TINY_OPERATORS, exported


def test_int8_graph_is_clean_and_as_short_as_the_network():
    """SAME padding needs no PAD, flattening no TRANSPOSE, batch norm nothing at all."""
    assert check_int8_graph(exported().files["int8"]) == INT8_OPERATORS
    assert operators(exported().files["fp32"]) == TINY_OPERATORS


@pytest.mark.parametrize("make", [requantize_model, transpose_model])
def test_forbidden_operators_are_named(make, tmp_path):
    path = make(tmp_path / "dirty.tflite")
    with pytest.raises(ExportError, match=f"{operators(path)[0]} at 0"):
        check_int8_graph(path)


@pytest.mark.parametrize("fmt", ["fp32", "fp16", "dynamic"])
def test_float_operators_are_named(fmt):
    with pytest.raises(ExportError, match="float"):
        check_int8_graph(exported().files[fmt])


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "noise.tflite").write_bytes(b"noise" * 100)
    with pytest.raises(ExportError, match=r"noise\.tflite"):
        operators(tmp_path / "noise.tflite")
    with pytest.raises(ExportError, match="Nonsense"):
        check_int8_graph(custom_operator_model(tmp_path / "custom.tflite"))
    with pytest.raises(FileNotFoundError):
        operators(tmp_path / "absent.tflite")


def test_deviation_is_the_hand_formula():
    made = exported()
    shifted = made.expected + np.array([[1.0, -2.0, 0.0]], np.float32)
    deviation = measure_deviation(made.files["fp32"], made.samples, shifted)
    np.testing.assert_allclose(deviation.mean_per_output, [1, 2, 0], atol=1e-4)
    assert deviation.max == pytest.approx(2, abs=1e-4)
    assert deviation.mean == pytest.approx(1, abs=1e-4)
    assert deviation.n == len(made.samples)


def test_outputs_of_another_shape_are_refused():
    made = exported()
    with pytest.raises(ValueError, match="shape"):
        measure_deviation(made.files["fp32"], made.samples, made.expected[:, :2])


def test_every_format_within_tolerance_leaves_no_evidence(tmp_path):
    made = exported()
    tolerance = {"fp32": 1e-4, "sparse": 1e-4, "fp16": 1e-2, "dynamic": 0.1, "int8": 0.2}
    deviations = check_parity(made.files, made.samples, made.expected, tolerance, tmp_path)
    assert set(deviations) == set(FORMATS)
    assert deviations["fp32"].mean <= deviations["fp16"].mean <= deviations["int8"].mean
    assert not list(tmp_path.iterdir())


def test_beyond_tolerance_keeps_the_evidence(tmp_path):
    made = exported()
    with pytest.raises(ParityError, match=r"int8 by .* \(allowed 1e-06\)") as caught:
        check_parity(made.files, made.samples, made.expected, {"int8": 1e-6, "fp32": 1e-3}, tmp_path / "evidence")
    assert str(tmp_path / "evidence" / "parity.json") in str(caught.value)
    report = json.loads((tmp_path / "evidence" / "parity.json").read_text())
    assert list(report["failed"]) == ["int8"]
    assert set(report["deviations"]) == set(FORMATS)
    assert [layer["operator"] for layer in report["int8_layers"]] == INT8_OPERATORS[:-1]
    with np.load(tmp_path / "evidence" / "parity.npz") as arrays:
        np.testing.assert_array_equal(arrays["expected"], made.expected)
        assert set(arrays) == {"samples", "expected", *FORMATS}
    check_parity({"fp32": made.files["fp32"]}, made.samples, made.expected, {"fp32": 1e-3}, tmp_path / "evidence")
    assert not list((tmp_path / "evidence").iterdir()), "an export that passed leaves no evidence of an earlier one"


def test_outputs_that_are_no_numbers_fail(tmp_path):
    made = exported()
    with pytest.raises(ParityError, match="nan"):
        check_parity({"fp32": made.files["fp32"]}, made.samples * np.nan, made.expected, {"fp32": 1.0}, tmp_path)


def test_sound_int8_file_deviates_nowhere():
    made = exported()
    layers = layer_deviations(made.files["fp32"], made.files["int8"], made.samples)
    assert [layer.operator for layer in layers] == INT8_OPERATORS[:-1]  # all that the float file has, too
    assert all(layer.relative_error < 0.1 for layer in layers)
    assert first_deviating(layers) is None


def test_damaged_layer_is_found(tmp_path):
    """With the weights of one convolution turned around, the dump points at that convolution."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    made, broken = exported(), TINY_OPERATORS.index("ADD") - 1  # the projection before the residual sum
    model = schema.ModelT.InitFromPackedBuf(made.files["int8"].read_bytes())
    graph = model.subgraphs[0]
    buffer = model.buffers[graph.tensors[graph.operators[broken].inputs[1]].buffer]
    buffer.data = buffer.data[::-1].copy()
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path = tmp_path / "broken.tflite"
    path.write_bytes(bytes(builder.Output()))

    layers = layer_deviations(made.files["fp32"], path, made.samples)
    assert max(layer.relative_error for layer in layers[:broken]) < 0.1
    assert layers[broken].relative_error > 0.5


def test_first_deviating_is_where_the_error_begins_to_stay():
    layers = [LayerDeviation(i, "CONV_2D", (1,), error) for i, error in enumerate([0.0, 0.5, 0.01, 0.2, 0.3])]
    assert first_deviating(layers) == layers[3]
    assert first_deviating(layers[:3]) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "count"),
    [({"act": "silu"}, 244), ({"act": "relu6"}, 146), ({"act": "relu6", "se": False, "padding": "same"}, 61)],
)
def test_efficientnet_b0_gives_the_known_small_graphs(options, count, tmp_path):
    from export import convert, export_onnx
    from hpe.model.config import ModelConfig
    from hpe.model.net import build_model, example_input, fold_output_scale

    onnx = export_onnx(fold_output_scale(build_model(ModelConfig(**options))), example_input(), tmp_path / "b0.onnx")
    calibration = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype(np.float32)
    files = convert(onnx, tmp_path, ("int8",), calibration)
    assert len(check_int8_graph(files["int8"])) == count
