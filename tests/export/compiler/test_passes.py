"""Every pass is lossless: with each left out, and with none, the bytes stay."""

import re

import numpy as np
import pytest

from export.compiler import PASSES, SMALL, compile_model
from tests.export.compiler.host import ROOT, SHARED, build, needs, random_inputs, reference
from tests.export.compiler.nets import Net

TINY = sorted((ROOT / "tests" / "data").glob("tiny_*.tflite"))


@needs("gcc")
@pytest.mark.parametrize("without", [*PASSES, "all"])
@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_no_byte_depends_on_a_pass(path, without, tmp_path):
    passes = () if without == "all" else tuple(name for name in PASSES if name != without)
    compiled = compile_model(path, tmp_path, passes=passes)
    inputs = random_inputs(compiled, path.read_bytes(), 2)
    np.testing.assert_array_equal(build(compiled, tmp_path)(inputs), reference(path.read_bytes())(inputs))


@needs("gcc")
@pytest.mark.parametrize("zeros", [0.0, 0.5])
def test_codes_of_clustered_weights_save_flash_and_change_no_byte(zeros, tmp_path):
    net = Net(4)
    first = net.tensor([1, 2, 2, 96], 0.05, -3)
    y = net.window(first, (130, 1, 1, 96), depthwise=False, out=(1.0, -128), activation="RELU", zeros=zeros)
    y = net.window(y, (1, 3, 3, 130), depthwise=True, out=(1.0, -128), activation="RELU6")
    y = net.window(y, (96, 1, 1, 130), depthwise=False, out=(1.0, 3), zeros=zeros)
    for operator in net.graph.operators[::2]:
        buffer = net.model.buffers[net.graph.tensors[operator.inputs[1]].buffer]
        buffer.data = np.maximum(buffer.data.view(np.int8) // 16 * 16, -112).astype(np.int8).view(np.uint8)
    model = net.finish(first, y)
    (tmp_path / "m.tflite").write_bytes(model)
    usual, small = (
        compile_model(tmp_path / "m.tflite", tmp_path, name=f"m{len(p)}", passes=p) for p in (PASSES, SMALL)
    )
    inputs = random_inputs(small, model, 4)
    np.testing.assert_array_equal(build(small, tmp_path)(inputs), reference(model)(inputs))
    assert small.steps[0].kernel == "clustered + clustered"
    assert small.flash_bytes < 0.8 * usual.flash_bytes
    assert "clustered" not in usual.steps[0].kernel


@needs("gcc")
@pytest.mark.parametrize("sides", [(2, 2), (1, 1)])
def test_a_dense_layer_reads_the_padding_of_its_image(sides, tmp_path):
    """It has no window, so its padding cannot be what lies outside of one."""
    net = Net(1)
    first = net.tensor([1, *sides, 3], 0.05, -5)
    model = net.finish(first, net.linear(net.pad(first, [(0, 1), (0, 1), (0, 0)]), 4, True))
    (tmp_path / "m.tflite").write_bytes(model)
    compiled = compile_model(tmp_path / "m.tflite", tmp_path)
    inputs = random_inputs(compiled, model, 4)
    np.testing.assert_array_equal(build(compiled, tmp_path)(inputs), reference(model)(inputs))


def masked_net(seed: int, dead: float) -> bytes:
    """Convolutions of which many channels have no weights, with a shortcut, padding and a mean."""
    net = Net(seed)
    first = net.tensor([1, 8, 8, 3], 0.05, -128)
    x = net.window(first, (12, 3, 3, 3), depthwise=False, out=(1.0, -128), activation="RELU6")
    y = net.window(x, (16, 1, 1, 12), depthwise=False, out=(1.0, -128), activation="RELU")
    y = net.window(y, (1, 3, 3, 16), depthwise=True, out=(1.0, -128), activation="RELU")
    y = net.window(y, (12, 1, 1, 16), depthwise=False, out=(1.0, 3))
    y = net.pairwise("ADD", x, y, (1.0, 5))
    y = net.linear(net.flat(net.average(y, [1, 2], (1.0, 0))), 3, True)
    dice = np.random.default_rng(seed)
    for operator in net.graph.operators:
        if len(operator.inputs) == 3:
            weights = net.graph.tensors[operator.inputs[1]]
            shape = [int(side) for side in weights.shape]
            values = net.model.buffers[weights.buffer].data.view(np.int8).reshape(shape).copy()
            if len(shape) == 4:  # whole channels of the convolutions
                values[(..., dice.random(shape[3]) < dead) if shape[0] == 1 else dice.random(shape[0]) < dead] = 0
            net.model.buffers[weights.buffer].data = values.view(np.uint8).ravel()
    return net.finish(first, y)


@needs("gcc")
@pytest.mark.parametrize("dead", [0.3, 0.7, 1.0])
def test_dead_channels_vanish_and_no_byte_changes(dead, tmp_path):
    for seed in range(5):
        model = masked_net(seed, dead)
        (tmp_path / "m.tflite").write_bytes(model)
        compiled = compile_model(tmp_path / "m.tflite", tmp_path, name=f"m{seed}_{int(dead * 10)}")
        inputs = random_inputs(compiled, model, 8)
        np.testing.assert_array_equal(build(compiled, tmp_path)(inputs), reference(model)(inputs))
        assert compiled.live_macs < compiled.macs
        assert "make no difference" in compiled.notes[0]


@pytest.mark.parametrize(("factor", "steps"), [(1.0, 1), (1.0018, 2)])
def test_an_identity_at_the_end_vanishes_where_the_scale_is_the_same(factor, steps, tmp_path):
    """The header states the scale of the file's output."""
    net = Net(0)
    x = net.tensor([1, 4, 4, 2], 0.05)
    y = net.pool("MAX_POOL_2D", x, (2, 2), (2, 2), same=True)
    z = net.op("QUANTIZE", [y], net.tensor(net.shape(y), 0.05 * factor), version=2)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, z))
    assert len(compile_model(tmp_path / "m.tflite", tmp_path).steps) == steps
    scale = re.search(r"M_OUTPUT_SCALE (\S+)f", (tmp_path / "m.h").read_text())
    assert scale
    assert float(scale[1]) == pytest.approx(0.05 * factor, rel=1e-6)


def test_half_of_the_visual_wake_words_model_is_dead(tmp_path):
    path = SHARED / "reference" / "mlperf_tiny" / "vww_96_int8.tflite"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    compiled = compile_model(path, tmp_path)
    assert compiled.macs == 7_489_664
    assert compiled.live_macs < 3_850_000
    assert compiled.flash_bytes < path.stat().st_size / 5
