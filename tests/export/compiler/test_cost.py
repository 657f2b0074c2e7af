"""The cost model against the emulated Cortex-M4, and what it chooses."""

import csv

import numpy as np
import pytest

from benchmarks.sparse_curve import with_zeros
from export.compiler import compile_model, profile_model
from export.compiler.cost import Layer, call_instructions, depthwise_instructions, run_instructions, weight_bytes
from export.compiler.emulator.calls import Board
from export.compiler.fast import pack_dense
from export.compiler.sparse_weights import pack_sparse, sparse3_entries
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.host import RELEASES, ROOT, SHARED, build, needs, random_inputs, reference
from tests.export.compiler.nets import Net

COUNTED = ROOT / "benchmarks" / "results" / "cortex_m4_qemu-mps2-an386_202611.csv"
REFERENCE = SHARED / "reference" / "mlperf_tiny"
ZEROS = {"relu6_pruned, 75 % zeros": 0.75, "relu6_pruned, 87.5 % zeros": 0.875}
MODELS = {
    "b0-nano": RELEASES / "b0-nano.tflite",
    "b0-tiny": RELEASES / "b0-tiny.tflite",
    "vww_96_int8": REFERENCE / "vww_96_int8.tflite",
    "pretrainedResnet_quant": REFERENCE / "pretrainedResnet_quant.tflite",
    **{name: ROOT / "tests" / "data" / "micro" / f"{name}.tflite"
       for name in ("silu_se", "hswish_se", "relu6_se", "relu6_nose", "relu6_pruned", "relu6_small")},
    **dict.fromkeys(ZEROS, ROOT / "tests" / "data" / "micro" / "relu6_pruned.tflite"),
}  # fmt: skip
"""Those of benchmarks/cortex_m4.py."""
SHAPES = [(20, 32), (68, 75), (135, 64)]


@needs_emulator
@pytest.mark.parametrize("kind", ["dense", "sparse3", "sparse4"])
def test_instructions_of_a_call(kind):
    dice = np.random.default_rng(3)
    board, layers = Board(["dense" if kind == "dense" else "sparse"]), []
    for (inputs, outputs), zero_point, to_rows in [(s, z, r) for s in SHAPES for z in (-128, 7) for r in (False, True)]:
        weights = dice.integers(1, 90, (outputs, inputs)).astype(np.int8)
        weights[dice.random(weights.shape) < 0.7] = 0
        shape = inputs, outputs, int(np.count_nonzero(weights))
        layer = Layer(*shape, zero_point == -128, to_rows, sparse3_entries(weights) or 0)
        channels = board.put(np.tile(np.array([[9, 1 << 30, 8]], np.int32), (outputs + 1, 1)))
        values = board.put(dice.integers(-128, 128, 8 * inputs + 8).astype(np.int16))
        if kind == "dense":
            struct = board.struct("PPhhi", board.put(pack_dense(weights)), channels, inputs, outputs, zero_point)
        else:
            entries, counts = (board.put(part) for part in pack_sparse(weights, kind))
            struct = board.struct("PPPhhi", entries, counts, channels, inputs, outputs, zero_point)
        out = board.put(np.zeros(40 * outputs, np.int16))
        for pixels in (4,) if kind == "dense" else (4, 8):
            more = () if kind == "dense" else (4,)
            if to_rows:
                board.call(f"{kind}_to_rows", struct, values, pixels, out, 36, *more)
            else:
                board.call(f"{kind}_to_image", struct, values, pixels, out)
            layers.append((layer, pixels))
    expected = [call_instructions(layer, kind, pixels) for layer, pixels in layers]
    np.testing.assert_allclose(board.run(), expected, rtol=0.03)


@needs_emulator
def test_instructions_of_a_depthwise_row():
    board, expected = Board(["depthwise"]), []
    shapes = [
        (size, stride, zero, width) for size in (3, 5) for stride in (1, 2) for zero in (-128, 5) for width in (4, 16)
    ]
    for size, stride, zero_point, width in shapes:
        pad, channels, groups = size // 2, 21, width // 4
        row_stride = 2 - pad + stride * (width - 1) + size + 1
        row_stride += row_stride % 2
        weights = board.put(np.ones(channels * size * 8, np.int8))
        records = board.put(np.tile(np.array([[1 << 30, 9 * 256 + 8]], np.int32), (channels + 1, 1)))
        struct = board.struct("PPhhhBBBi", weights, records, channels, width, row_stride, size, stride, pad, zero_point)
        ring = board.put(np.zeros(channels * row_stride * size, np.int16))
        rows = board.put(np.array([ring + 2 * i * channels * row_stride for i in range(5)], np.uint32))
        out = board.put(np.zeros(8 * (channels + 1) // 2 * groups + 16, np.int16))
        for inside in (size - 1, size):
            board.call("depthwise_to_tiles", struct, rows, 0, inside, out)
            expected.append(depthwise_instructions((size, stride), zero_point == -128, channels, (1, groups, inside)))
    np.testing.assert_allclose(board.run(), expected, rtol=0.05)


@pytest.mark.parametrize("name", MODELS)
def test_whole_networks_against_stored_counts(name, tmp_path):
    """The counts are those of benchmarks/results; count again where a kernel changed."""
    if not MODELS[name].exists():
        pytest.skip(f"{MODELS[name]} is not here")
    file = tmp_path / "m.tflite"
    data = MODELS[name].read_bytes()
    file.write_bytes(with_zeros(data, ZEROS[name]) if name in ZEROS else data)
    with open(COUNTED, newline="") as lines:
        stored = [row for row in csv.DictReader(lines) if row["model"] == name]
    profile = profile_model(file)
    counted = {row["step"]: int(row["instructions"]) for row in stored}
    estimated = {row["operators"]: row["instructions"] for row in profile}
    assert list(estimated) == list(counted)
    assert [row["flash_bytes"] for row in profile] == [int(row["flash_bytes"]) for row in stored]
    assert sum(estimated.values()) == pytest.approx(sum(counted.values()), rel=0.02)
    large = [step for step, count in counted.items() if count > 0.02 * sum(counted.values())]
    assert len(large) >= 5
    np.testing.assert_allclose([estimated[step] for step in large], [counted[step] for step in large], rtol=0.1)


def test_zeros_pay_from_about_half_on():
    def ratio(share: float) -> float:
        entries = round(135 * 64 * (1 - share))
        layer = Layer(135, 64, entries, False, False, entries)
        return run_instructions(layer, "sparse3", 64) / run_instructions(layer, "dense", 64)

    assert ratio(0.4) > 1 > ratio(0.6)
    assert weight_bytes(Layer(135, 64, 1080, False, False, 1140), "sparse3") < 0.22 * 136 * 64


def sparse_net(zeros: float, side: int, seed: int = 0) -> bytes:
    net = Net(seed)
    first = net.tensor([1, side, side, 20], 0.05, -3)
    y = net.window(first, (30, 1, 1, 20), depthwise=False, out=(1.0, -128), activation="RELU", zeros=zeros)
    y = net.window(y, (1, 3, 3, 30), depthwise=True, out=(1.0, -128), activation="RELU6")
    y = net.window(y, (20, 1, 1, 30), depthwise=False, out=(1.0, 3), zeros=zeros)
    y = net.pairwise("ADD", first, y, (1.0, 5))
    y = net.window(y, (300, 1, 1, 20), depthwise=False, out=(1.0, 3), zeros=zeros)
    y = net.window(y, (24, 1, 1, 300), depthwise=False, out=(1.0, 3), zeros=zeros)
    return net.finish(first, y)


@needs("gcc")
@pytest.mark.parametrize("side", [2, 3, 4, 6, 9])
def test_sparse_networks_give_the_same_bytes(side, tmp_path):
    """Maps of 4 pixels, of rows of 4, of rows with a rest; more inputs than one byte counts."""
    for zeros in (0.2, 0.8, 0.95):
        model = sparse_net(zeros, side)
        (tmp_path / "m.tflite").write_bytes(model)
        compiled = compile_model(tmp_path / "m.tflite", tmp_path, name=f"m{side}_{int(zeros * 100)}")
        kernels = " ".join(step.kernel for step in compiled.steps)
        assert ("sparse3" in kernels) == (zeros > 0.5)
        inputs = random_inputs(compiled, model, 8)
        np.testing.assert_array_equal(build(compiled, tmp_path)(inputs), reference(model)(inputs))
