"""TensorFlow Lite Micro on the host gives the very bytes of TensorFlow Lite's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import export.micro
from export.errors import ExportError
from export.flatbuffer import ModelFileError
from export.logistic import logistic_table
from export.micro import has_micro, micro_arena, run_micro
from export.runtime import load_runtime

DATA = Path(__file__).parent / "data"
REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "micro"
TINY = sorted(DATA.glob("tiny_*.tflite"))

needs_micro = pytest.mark.skipif(not has_micro(), reason="the tflite-micro wheel is not installed (Linux, Python 3.12)")


@needs_micro
@pytest.mark.parametrize("path", TINY, ids=lambda p: p.stem)
def test_same_bytes_as_reference_kernels(path: Path):
    inputs = np.random.default_rng(0).integers(-128, 128, (64, 64, 64, 3), dtype=np.int8)
    inputs[:32] = inputs[:32] // 16 + np.arange(-96, 96, 6, dtype=np.int8)[:, None, None, None]  # flat images as well
    expected = load_runtime(path, reference_kernels=True).invoke_raw(inputs)
    found = run_micro(path, inputs)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found, axis=0)) > 16  # the outputs do depend on the inputs


@needs_micro
@pytest.mark.slow
def test_same_bytes_on_the_reference_model():
    path = REFERENCE / "silu_se.tflite"
    if not path.is_file():
        pytest.skip("../shared/reference/micro is not here")
    inputs = np.random.default_rng(0).integers(-128, 128, (64, 64, 64, 3), dtype=np.int8)
    expected = load_runtime(path, reference_kernels=True).invoke_raw(inputs)
    np.testing.assert_array_equal(run_micro(path, inputs), expected)


@needs_micro
def test_logistic_table_is_that_of_the_kernel(tmp_path: Path):
    from .tiny_models import logistic_net

    rng = np.random.default_rng(0)
    every_value = np.arange(-128, 128, dtype=np.int8)[None]
    path = tmp_path / "logistic.tflite"
    for scale, zero_point in zip(10 ** rng.uniform(-3, 0.3, 40), rng.integers(-128, 128, 40), strict=True):
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
def test_op_that_the_interpreter_lacks_is_one_sentence(tmp_path: Path):
    from .tiny_models import Graph

    graph = Graph(0)
    x = graph.tensor([1, 8], 0.1)
    path = tmp_path / "odd.tflite"
    path.write_bytes(graph.finish(x, graph.op("MATRIX_DIAG", [x], graph.tensor([1, 8], 0.1))))
    with pytest.raises(ExportError, match="refuses"):
        run_micro(path, np.zeros((1, 8), np.int8))
    with pytest.raises(ExportError, match="refuses"):
        micro_arena(path)


def test_damaged_file_never_reaches_the_interpreter(tmp_path: Path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(TINY[0].read_bytes()[:500])
    with pytest.raises(ModelFileError, match="cut"):
        micro_arena(path)


def test_missing_wheel_is_a_kind_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export.micro, "has_micro", lambda: False)
    with pytest.raises(ExportError, match="pip install tflite-micro"):
        micro_arena(TINY[0])
