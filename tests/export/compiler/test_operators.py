"""Single operators against LiteRT's reference kernels, every int8 input at once, over random scales and zero points."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.compiler import compile_model
from export.compiler.graph import Multiply
from export.compiler.numbers import quantize_multiplier, rescale, table_of
from export.compiler.passes.tables import pairwise
from export.compiler.read import read_graph
from tests.export.compiler.host import build, needs, random_inputs, reference, run_sanitized
from tests.export.compiler.nets import Net
from tests.tiny_models import Graph

ALL = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)
SCALES = st.floats(2e-3, 0.5)
ZEROS = st.integers(-128, 127)


@pytest.mark.parametrize("name", ["LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "RELU", "RELU6", "QUANTIZE"])
@given(SCALES, ZEROS, SCALES, ZEROS)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_tables_of_unary_functions(name, scale, zero, out_scale, out_zero):
    if name in ("HARD_SWISH", "QUANTIZE"):
        out_scale = max(out_scale, scale / 100)
    if name == "HARD_SWISH":
        out_scale = max(out_scale, scale / 128 * 1.01)  # else LiteRT refuses it
    net = Net(0)
    x = net.tensor([1, 256], scale, zero)
    y = net.unary(name, x, (out_scale / net.scale(x), out_zero))
    target = net.scale(y), net.zero_point(y)
    table = table_of(name, (net.scale(x), zero), target, 0.1)
    expected = reference(net.finish(x, y))(ALL)[0]
    np.testing.assert_array_equal(table, expected)


@pytest.mark.parametrize("name", ["LOGISTIC", "TANH"])
def test_tables_of_sigmoids_where_fixed_point_differs(name):
    ends = [(0.0038632041195261107, 61), (0.14429505100213666, 123), (0.017996382482253288, -80)]
    for scale, zero in [*ends, (2.0, 0), (4.0, 5), (8.0, -128), (1000.0, 3)]:
        net = Net(0)
        x = Graph.tensor(net, [1, 256], scale, zero)  # not Net.tensor, which bounds the scale
        y = net.unary(name, x, (1.0, 0))
        table = table_of(name, (net.scale(x), zero), (net.scale(y), net.zero_point(y)))
        np.testing.assert_array_equal(table, reference(net.finish(x, y))(ALL)[0])


def near_ties(count: int, values: np.ndarray) -> list[tuple[np.float32, np.float32]]:
    """Pairs of scales whose ratio, in float32 and in double, rounds one of the values to different integers."""
    dice, found = np.random.default_rng(1), []
    while len(found) < count:
        target = np.float32(dice.uniform(0.01, 0.1))
        source = np.float32((dice.integers(1, 120) + 0.5) * float(target) / dice.integers(3, 128))
        factors = float(source) / float(target), float(source / target)
        double, single = (rescale(values, *quantize_multiplier(factor)) for factor in factors)
        if (double != single).any():
            found.append((source, target))
    return found


@pytest.mark.parametrize("name", ["LEAKY_RELU", "RELU", "RELU6", "QUANTIZE"])
def test_tables_at_ties(name):
    for scale, out_scale in near_ties(4, np.arange(128)):
        net = Net(0)
        x = net.tensor([1, 256], float(scale))
        y = net.unary(name, x, (1.0, 0))
        net.graph.tensors[y].quantization.scale = np.array([out_scale])
        table = table_of(name, (net.scale(x), 0), (net.scale(y), 0), 0.1)
        np.testing.assert_array_equal(table, reference(net.finish(x, y))(ALL)[0])


@pytest.mark.parametrize(
    "ends",
    [
        ((0.07227065414190292, -3), (1 / 256, -128), (0.03801826760172844, -121)),
        ((0.05479157343506813, -4), (1 / 256, -128), (0.029185231775045395, -118)),
    ],
)
def test_products_at_ties(ends, tmp_path):
    """Scales of a SiLU net, with which a factor in double rounds two products otherwise."""
    net = Net(0)
    x, y = net.tensor([1, 1], *ends[0]), net.tensor([1, 256], *ends[1], data=ALL)
    z = net.op("MUL", [x, y], net.tensor([1, 256], *ends[2]), net.schema.MulOptionsT(), version=2)
    model = net.finish(x, z)
    (tmp_path / "m.tflite").write_bytes(model)
    graph = read_graph(tmp_path / "m.tflite")
    (op,) = graph.ops
    assert isinstance(op, Multiply)
    found = pairwise(graph, op, ALL.T, ALL)
    np.testing.assert_array_equal(found, reference(model)(ALL.T))


@needs("gcc")
@pytest.mark.parametrize("per_channel", [True, False])
def test_fully_connected_rounds_once(per_channel, tmp_path):
    for seed in range(6):
        net = Net(seed)
        x = net.tensor([1, 9], 0.03, 5)
        y = net.linear(x, 7, per_channel)
        model = net.finish(x, y)
        (tmp_path / "m.tflite").write_bytes(model)
        compiled = compile_model(tmp_path / "m.tflite", tmp_path, name=f"m{seed}_{per_channel}")
        inputs = random_inputs(compiled, model, 200)
        np.testing.assert_array_equal(build(compiled, tmp_path)(inputs), reference(model)(inputs))


def computes_as_litert(model: bytes, folder: Path, count: int, sanitized: bool = False) -> None:
    """The compiled C, built on this machine, gives the bytes of LiteRT's reference kernels for random inputs."""
    (folder / "m.tflite").write_bytes(model)
    compiled = compile_model(folder / "m.tflite", folder)
    inputs = random_inputs(compiled, model, count)
    outputs = run_sanitized(compiled, folder, inputs) if sanitized else build(compiled, folder)(inputs)
    np.testing.assert_array_equal(outputs, reference(model)(inputs))


@needs("gcc")
@pytest.mark.parametrize("name", ["ADD", "MUL"])
def test_a_row_and_a_column_of_equal_sizes_make_an_image(name, tmp_path):
    net = Net(0)
    x = net.tensor([1, 4, 4, 2], 0.05, 3)
    y = net.pairwise(name, net.average(x, [1], (1.0, 3)), net.average(x, [2], (1.0, 5)), (1.0, 0))
    computes_as_litert(net.finish(x, y), tmp_path, 4, sanitized=True)


@needs("gcc")
@pytest.mark.parametrize("name", ["ADD", "MUL"])
def test_a_constant_of_rows_and_channels_has_no_batch(name, tmp_path):
    net = Net(0)
    x = net.tensor([1, 2, 5, 3], 0.05, 3)
    data = net.rng.integers(-128, 128, (5, 3), dtype=np.int8)
    computes_as_litert(
        net.finish(x, net.pairwise(name, x, net.tensor([5, 3], 0.02, 7, data=data), (1.0, 0))), tmp_path, 4
    )


@needs("gcc")
def test_a_last_layer_of_a_constant(tmp_path):
    net = Net(0)
    x = net.tensor([1, 4], 0.05)
    constant = net.tensor([1, 6], 0.05, 2, data=net.rng.integers(-99, 99, (1, 6), dtype=np.int8))
    computes_as_litert(net.finish(x, net.linear(constant, 3, per_channel=False)), tmp_path, 2)


@needs("gcc")
def test_uint8_ends(tmp_path):
    net = Net(0)
    x = net.tensor([1, 4, 4, 3], 0.05, 130, "UINT8")
    y = net.op("QUANTIZE", [x], net.tensor([1, 4, 4, 3], 0.05, 2), version=2)
    y = net.window(y, (5, 3, 3, 3), depthwise=False, out=(1.0, 0))
    y = net.op("QUANTIZE", [y], net.tensor([1, 4, 4, 5], net.scale(y), 128, "UINT8"), version=2)
    computes_as_litert(net.finish(x, y), tmp_path, 20)
    assert "int m_run(const uint8_t *input, uint8_t *output);" in (tmp_path / "m.h").read_text()
    assert "M_INPUT_ZERO_POINT (130)" in (tmp_path / "m.h").read_text()


def test_a_uint8_input_that_two_operators_read(tmp_path):
    net = Net(0)
    x = net.tensor([1, 4], 0.05, 130, "UINT8")
    parts = [net.op("QUANTIZE", [x], net.tensor([1, 4], 0.05 * n, 2), version=2) for n in (1, 2)]
    (tmp_path / "m.tflite").write_bytes(net.finish(x, net.pairwise("ADD", *parts, (1.0, 0))))
    compile_model(tmp_path / "m.tflite", tmp_path)
    assert "M_INPUT_ZERO_POINT (130)" in (tmp_path / "m.h").read_text()


@given(st.floats(1e-12, 1e6))
def test_quantised_multipliers_are_close_and_normalised(factor):
    multiplier, shift = quantize_multiplier(factor)
    if multiplier:
        assert 1 << 30 <= multiplier < 1 << 31
        assert multiplier / 2.0**31 / 2.0**shift == pytest.approx(factor, rel=1e-9)
    else:
        assert factor < 2.0**-32
