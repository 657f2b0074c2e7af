"""TensorFlow Lite Micro on the host gives the very bytes of TensorFlow Lite's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import export.micro.tflm
from export.convert.rewrite import dense_as_convolutions
from export.errors import ExportError, ModelFileError
from export.micro.arena import HOST, plan_arena
from export.micro.flatbuffer import read_model
from export.micro.interpreter import interpreter_footprint
from export.micro.logistic import logistic_table
from export.micro.tflm import has_micro, micro_arena, run_micro
from export.run.runtime import load_runtime

DATA = Path(__file__).resolve().parents[2] / "data"
SHARED = Path(__file__).resolve().parents[4] / "shared"
REFERENCE = DATA / "micro"
TINY = sorted(DATA.glob("tiny_*.tflite"))

needs_micro = pytest.mark.skipif(not has_micro(), reason="the tflite-micro wheel is not installed (Linux, Python 3.12)")


def random_inputs(count: int) -> np.ndarray:
    """int8 (2 * count, 64, 64, 3): noise, and as many nearly flat images."""
    noise = np.random.default_rng(0).integers(-128, 128, (count, 64, 64, 3), dtype=np.int8)
    flat = noise // 16 + np.linspace(-96, 96, count).astype(np.int8)[:, None, None, None]
    return np.concatenate([noise, flat])


def assert_same_bytes(path: Path, inputs: np.ndarray) -> np.ndarray:
    """TensorFlow Lite Micro and LiteRT's reference kernels agree on int8 inputs (N, H, W, C); returns int8 (N, K)."""
    found = run_micro(path, inputs)
    np.testing.assert_array_equal(found, load_runtime(path, reference_kernels=True).invoke_raw(inputs))
    return found


@needs_micro
@pytest.mark.parametrize("path", TINY, ids=lambda p: p.stem)
def test_same_bytes_as_reference_kernels(path: Path, tmp_path: Path):
    """Every operator of the variants, in small, as convert writes them; with FULLY_CONNECTED some outputs differ."""
    convolutions = tmp_path / path.name
    convolutions.write_bytes(dense_as_convolutions(path.read_bytes()))
    found = assert_same_bytes(convolutions, random_inputs(64))
    assert len(np.unique(found, axis=0)) > 32  # the outputs do depend on the inputs
    np.testing.assert_array_equal(found, run_micro(path, random_inputs(64)))


@needs_micro
@pytest.mark.slow
@pytest.mark.parametrize("name", ["silu_se", "hswish_se", "relu6_se", "relu6_nose"])
def test_same_bytes_on_the_reference_models(name: str, tmp_path: Path):
    path = REFERENCE / f"{name}.tflite"
    convolutions = tmp_path / path.name
    convolutions.write_bytes(dense_as_convolutions(path.read_bytes()))
    assert_same_bytes(convolutions, random_inputs(32))


@needs_micro
def test_logistic_table_is_that_of_the_kernel(tmp_path: Path):
    from tests.tiny_models import logistic_net

    rng = np.random.default_rng(0)
    every_value = np.arange(-128, 128, dtype=np.int8)[None]
    path = tmp_path / "logistic.tflite"
    scales = [*10 ** rng.uniform(-3, 0.3, 40), 4.0, 8.0, 40.0]
    for scale, zero_point in zip(scales, rng.integers(-128, 128, len(scales)), strict=True):
        path.write_bytes(logistic_net(float(scale), int(zero_point)))
        np.testing.assert_array_equal(
            logistic_table(float(np.float32(scale)), int(zero_point)), run_micro(path, every_value)[0]
        )


def test_logistic_table_is_close_to_the_formula():
    for scale, zero_point in ((0.05, 3), (0.1, -20), (0.02, 100)):
        real = 1 / (1 + np.exp(-scale * (np.arange(-128, 128) - zero_point)))
        wanted = np.clip(np.round(256 * real) - 128, -128, 127)
        assert np.abs(logistic_table(scale, zero_point) - wanted).max() <= 1


@needs_micro
def test_inputs_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"takes int8 .*these inputs are float32"):
        run_micro(TINY[0], np.zeros((1, 64, 64, 3), np.float32))
    with pytest.raises(ValueError, match=r"\(1, 32, 32, 3\)"):
        run_micro(TINY[0], np.zeros((1, 32, 32, 3), np.int8))


@needs_micro
def test_op_that_the_interpreter_lacks_is_one_message(tmp_path: Path):
    from tests.tiny_models import Graph

    graph = Graph(0)
    x = graph.tensor([1, 8], 0.1)
    path = tmp_path / "odd.tflite"
    path.write_bytes(graph.finish(x, graph.op("MATRIX_DIAG", [x], graph.tensor([1, 8], 0.1))))
    with pytest.raises(ExportError, match="refuses"):
        run_micro(path, np.zeros((1, 8), np.int8))
    with pytest.raises(ExportError, match="refuses"):
        micro_arena(path)


@needs_micro
def test_fit_asks_the_real_interpreter_where_it_is(tmp_path: Path):
    from tests.tiny_models import Graph

    found = interpreter_footprint(TINY[0], "nano33ble").host_arena_bytes
    assert found == pytest.approx(plan_arena(read_model(TINY[0]), HOST).arena_bytes, rel=0.03)
    assert interpreter_footprint(TINY[0], "pi4").host_arena_bytes is None

    graph = Graph(0)  # TANH is in the library, but not for INT32
    x, y = graph.tensor([1, 8], 0.1), graph.tensor([1, 8], 0.1)
    middle = graph.op("TANH", [x], graph.tensor([1, 8], kind="INT32"))
    path = tmp_path / "odd_types.tflite"
    path.write_bytes(graph.finish(x, graph.op("TANH", [middle], y)))
    result = interpreter_footprint(path, "nano33ble")
    assert not result.fits
    assert "TensorFlow Lite Micro refuses" in result.unsupported_ops[0]


def test_damaged_file_never_reaches_the_interpreter(tmp_path: Path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(TINY[0].read_bytes()[:500])
    with pytest.raises(ModelFileError, match="cut"):
        micro_arena(path)


def test_missing_wheel_is_a_kind_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export.micro.tflm, "has_micro", lambda: False)
    with pytest.raises(ExportError, match="pip install tflite-micro"):
        micro_arena(TINY[0])


VARIANTS = {
    "dense_silu": {"act": "silu"},
    "pruned_relu6": {"act": "relu6", "padding": "same"},
    "no_se": {"act": "relu6", "se": False, "padding": "same"},
}


@needs_micro
@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_real_networks_agree_and_are_planned(variant: str, tmp_path: Path):
    """On 128 random and 64 real inputs: the bytes of TFLite's reference kernels, and the arena within 3 %."""
    torch = pytest.importorskip("torch")
    from export import convert, export_onnx
    from hpe.data.faces import load_faces
    from hpe.model.config import ModelConfig
    from hpe.model.net import build_model
    from hpe.model.preprocess import preprocess
    from hpe.pose.crop import centre_crop
    from pruning.channels.pruner import prune_channels
    from pruning.channels.target import Target

    here = (SHARED / "data" / "faces").is_dir()
    faces = load_faces(f"csv:{SHARED / 'data' / 'faces'}@test" if here else "synthetic:easy:128:0")
    images = preprocess(np.array(centre_crop(faces.images)[:128]))  # (128, 64, 64, 3)
    model = build_model(ModelConfig(**VARIANTS[variant]))
    if variant == "pruned_relu6":
        prune_channels(model, torch.zeros(1, 3, 64, 64), Target(macs=3_500_000))
    model.train()
    with torch.no_grad():  # batch statistics of real images, so that activations spread as in a trained net
        for _ in range(20):
            model(torch.from_numpy(images[:64]).permute(0, 3, 1, 2))
    onnx = export_onnx(model.eval(), torch.from_numpy(images[:1]).permute(0, 3, 1, 2), tmp_path / f"{variant}.onnx")
    path = convert(onnx, tmp_path, ("int8",), calibration=images[:64])["int8"]

    inputs = np.concatenate([random_inputs(64), load_runtime(path).quantize(images[64:])])
    found = assert_same_bytes(path, inputs)  # (192, 3)
    assert len(np.unique(found, axis=0)) > 60
    plan, real = plan_arena(read_model(path), HOST), micro_arena(path)
    assert plan.arena_bytes == pytest.approx(real.arena_bytes, rel=0.03)
