"""The cost model against the emulated Cortex-M4, and what it chooses."""

import numpy as np
import pytest

from export.compiler import compile_model
from export.compiler.cost import Layer, call_instructions, run_instructions, weight_bytes
from export.compiler.emulator.calls import Board
from export.compiler.fast import pack_dense
from export.compiler.sparse_weights import pack_sparse, sparse3_entries
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.host import build, needs, random_inputs, reference
from tests.export.compiler.nets import Net

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
