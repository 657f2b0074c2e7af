"""What the compiler does not take is named in one message, and nothing is written."""

import contextlib
import os

import numpy as np
import pytest

from export.compiler import CompileError, Limits, c_name, compile_model
from export.errors import ModelFileError
from tests.crafted import custom_operator_model, quantize_model, transpose_model, two_input_model
from tests.export.compiler.host import ROOT
from tests.export.compiler.nets import Net

TINY = ROOT / "tests" / "data" / "tiny_relu6_nose.tflite"


def refused(path, tmp_path, *words):
    out = tmp_path / "out"
    with pytest.raises((CompileError, ModelFileError)) as error:
        compile_model(path, out)
    for word in words:
        assert word in str(error.value)
    assert not out.exists()


def test_an_unknown_operator_is_named(tmp_path):
    refused(transpose_model(tmp_path / "m.tflite"), tmp_path, "TRANSPOSE", "It knows ADD")
    refused(custom_operator_model(tmp_path / "m.tflite"), tmp_path, "Nonsense")


def test_sparse_weights_have_a_remedy(tmp_path):
    """int8, once through DENSIFY, once as they are."""
    for densify in (True, False):
        net = Net(0)
        x = net.tensor([1, 8, 8, 2], 0.05)
        y = net.window(x, (4, 1, 1, 2), depthwise=False, out=(1.0, 0))
        convolution = net.graph.operators[-1]
        weights = int(convolution.inputs[1])
        net.graph.tensors[weights].sparsity = net.schema.SparsityParametersT()
        if densify:
            convolution.inputs[1] = net.op("DENSIFY", [weights], net.tensor([4, 1, 1, 2], 0.05))
        (tmp_path / "m.tflite").write_bytes(net.finish(x, y))
        reason = "DENSIFY" if densify else "0 (CONV_2D) has sparse-encoded weights"
        refused(tmp_path / "m.tflite", tmp_path, reason, "`--formats int8`: zeros need no sparse storage there.")


def test_float_models_and_two_inputs(tmp_path):
    refused(quantize_model(tmp_path / "m.tflite", 0.5, 0, 4), tmp_path, "FLOAT32", "int8")
    refused(two_input_model(tmp_path / "m.tflite"), tmp_path, "2 inputs")


def test_a_damaged_file(tmp_path):
    data = TINY.read_bytes()
    for cut in (3, 200, len(data) // 2):
        (tmp_path / "m.tflite").write_bytes(data[:cut])
        refused(tmp_path / "m.tflite", tmp_path, "m.tflite")


def test_bytes_changed_at_random_end_in_an_error_or_in_c(tmp_path):
    data, dice = TINY.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(data)
        for at in dice.integers(0, len(data), 4):
            changed[at] = dice.integers(0, 256)
        (tmp_path / "m.tflite").write_bytes(bytes(changed))
        with contextlib.suppress(CompileError, ModelFileError):  # any other exception fails the test
            compile_model(tmp_path / "m.tflite", tmp_path / "out")


def test_a_dilated_convolution_and_a_batch(tmp_path):
    net = Net(0)
    x = net.tensor([1, 8, 8, 2], 0.05)
    y = net.window(x, (3, 3, 3, 2), depthwise=False, out=(1.0, 0))
    net.graph.operators[-1].builtinOptions.dilationHFactor = 2
    (tmp_path / "m.tflite").write_bytes(net.finish(x, y))
    refused(tmp_path / "m.tflite", tmp_path, "0 (CONV_2D)", "dilated")
    net = Net(0)
    x = net.tensor([2, 8, 8, 2], 0.05)
    y = net.tensor([2, 8, 8, 2], 1 / 256, -128)
    net.op("LOGISTIC", [x], y)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, y))
    refused(tmp_path / "m.tflite", tmp_path, "batch of 2")


def test_sums_that_could_overflow(tmp_path):
    net = Net(0)
    x = net.tensor([1, 2, 2, 1], 0.05)
    y = net.window(x, (1, 1, 1, 1), depthwise=False, out=(1.0, 0))
    bias = next(b for b in net.model.buffers if b.data is not None and len(b.data) == 4)
    bias.data = np.frombuffer(np.array([2**31 - 1], np.int32).tobytes(), np.uint8)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, y))
    refused(tmp_path / "m.tflite", tmp_path, "overflow")


@pytest.mark.parametrize("depthwise", [True, False])
def test_sums_that_overflow_when_they_are_shifted_left(depthwise, tmp_path):
    net = Net(0)
    x = net.tensor([1, 2, 2, 1], 0.05)
    y = net.window(x, (1, 3, 3, 1), depthwise=depthwise, out=(1.0, 0))
    net.graph.tensors[y].quantization.scale = np.array([1e-10], np.float32)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, y))
    refused(tmp_path / "m.tflite", tmp_path, "overflow")


def test_a_softmax_whose_sum_overflows_where_all_inputs_are_equal(tmp_path):
    for depth in (4095, 4096):
        net = Net(0)
        x = net.tensor([1, depth], 0.05)
        (tmp_path / "m.tflite").write_bytes(net.finish(x, net.softmax(x)))
        if depth == 4095:
            compile_model(tmp_path / "m.tflite", tmp_path)
    refused(tmp_path / "m.tflite", tmp_path, "(SOFTMAX)", "overflow")


@pytest.mark.parametrize(
    "name",
    ["TANH", "LOGISTIC", "HARD_SWISH", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "QUANTIZE", "SQUEEZE",
     "EXPAND_DIMS"],
)  # fmt: skip
def test_an_operator_without_an_input(name, tmp_path):
    net = Net(0)
    x, y = net.tensor([1, 4], 0.05), net.tensor([1, 4], 0.05)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, net.op(name, [], y, version=2)))
    refused(tmp_path / "m.tflite", tmp_path, f"op 0 ({name})", "too few inputs")


@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "SOFTMAX"])
def test_an_output_without_a_side(name, tmp_path):
    net = Net(0)
    x = net.tensor([1, 3] if name == "FULLY_CONNECTED" else [] if name == "SOFTMAX" else [1, 4, 4, 3], 0.05)
    if name == "FULLY_CONNECTED":
        y = net.linear(x, 1, per_channel=False)
    elif name == "SOFTMAX":
        y = net.softmax(x)
    elif name == "MAX_POOL_2D":
        y = net.pool(name, x, (2, 2), (2, 2), same=True)
    else:
        y = net.window(x, (1, 3, 3, 3), depthwise=name.startswith("DEPTHWISE"), out=(1.0, 0))
    net.graph.tensors[y].shape = np.zeros(0, np.int32)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, y))
    refused(tmp_path / "m.tflite", tmp_path, f"({name}) has a tensor of shape []")


@pytest.mark.parametrize("with_operator", [True, False])
def test_an_output_that_is_the_input(with_operator, tmp_path):
    net = Net(0)
    x = net.tensor([1, 4], 0.05)
    if with_operator:
        net.flat(x)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, x))
    refused(tmp_path / "m.tflite", tmp_path, "no operator writes the output")


@pytest.mark.parametrize(
    ("name", "scale", "word"),
    [("RELU6", 1e-40, "of scale"), ("RELU", 1e30, "of scale"), ("QUANTIZE", 1e-9, "by more than 2^23"),
     ("HARD_SWISH", 0.05 * 513, "down by more than 2^9")],
)  # fmt: skip
def test_scales_beyond_what_the_kernels_hold(name, scale, word, tmp_path):
    net = Net(0)
    x = net.tensor([1, 4], 0.05)
    y = net.unary(name, x, (1.0, 0))
    net.graph.tensors[y].quantization.scale = np.array([scale], np.float32)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, y))
    refused(tmp_path / "m.tflite", tmp_path, f"({name})", word)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(CompileError, match="cannot be written"):
        compile_model(TINY, tmp_path / "locked" / "out")


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(CompileError, match="cannot be written"):
        compile_model(TINY, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_names_become_identifiers():
    assert [c_name(text) for text in ("b0-nano", "3d", "", "_x", "ok")] == [
        "b0_nano", "model_3d", "model_", "model__x", "ok"]  # fmt: skip


def test_a_board_that_is_too_small(tmp_path):
    compiled = compile_model(TINY, tmp_path / "fits", limits=Limits(100_000, 100_000))
    with pytest.raises(CompileError, match=r"RAM: 1 more than .* CONV_2D") as error:
        compile_model(TINY, tmp_path / "out", limits=Limits(ram=compiled.ram_bytes - 1))
    assert f"{compiled.ram_bytes:,} bytes" in str(error.value)
    with pytest.raises(CompileError, match=r"of flash.* more than the 5,000 allowed.*CONV_2D"):
        compile_model(TINY, tmp_path / "out", limits=Limits(flash=5000))
    assert not (tmp_path / "out").exists()
