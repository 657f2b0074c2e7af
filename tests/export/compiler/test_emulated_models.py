"""Whole compiled models on the emulated Cortex-M4: the same bytes as TFLite's reference kernels."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from export import load_runtime
from export.compiler import compile_model
from export.compiler.emulator import CLANG
from export.compiler.emulator.model import run_model
from tests.export.compiler.emulated import needs_emulator

pytestmark = needs_emulator
ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT.parent / "shared" / "reference"
TINY = sorted((ROOT / "tests" / "data").glob("*.tflite"))
RELEASED = [ROOT / "hpe" / "model" / "releases" / f"b0-{name}.tflite" for name in ("nano", "tiny")]
OTHERS = sorted(REFERENCE.glob("m*/*.tflite"))

needs_clang = pytest.mark.skipif(
    shutil.which("clang") is None or not Path(CLANG[3]).exists(), reason="clang or newlib's headers are not installed"
)


def expected_and_run(path, folder, count, **options):
    """Outputs of TFLite's reference kernels on random inputs, and what the board did with the same."""
    model, runtime = compile_model(path, folder), load_runtime(path, reference_kernels=True)
    inputs = np.random.default_rng(0).integers(-128, 128, (count, *runtime.input_shape), dtype=np.int8)
    return runtime.invoke_raw(inputs), run_model(model, [x.tobytes() for x in inputs], **options)


@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_small_models_answer_as_the_reference_kernels(path, tmp_path):
    expected, run = expected_and_run(path, tmp_path, 3)
    np.testing.assert_array_equal(run.outputs, expected.view(np.uint8))
    assert 0 < run.stack_bytes < 2048


@needs_clang
@pytest.mark.parametrize("flag", ["-O0", "-O2", "-Os"])
def test_clang_builds_what_gcc_builds(flag, tmp_path):
    expected, run = expected_and_run(RELEASED[1], tmp_path, 2, flags=(flag,), compiler=CLANG)
    np.testing.assert_array_equal(run.outputs, expected.view(np.uint8))


def test_steps_add_up_to_the_run(tmp_path):
    _, run = expected_and_run(TINY[0], tmp_path, 2, count_steps=True)
    for total, steps in zip(run.instructions, run.steps, strict=True):
        assert sum(steps) < total < 1.02 * sum(steps) + 1000


@pytest.mark.slow
@pytest.mark.parametrize("path", [*RELEASED, *OTHERS], ids=lambda path: path.stem)
def test_large_models_answer_as_the_reference_kernels(path, tmp_path):
    expected, run = expected_and_run(path, tmp_path, 8)
    np.testing.assert_array_equal(run.outputs, expected.view(np.uint8))


@needs_clang
@pytest.mark.slow
@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_clang_builds_large_models_for_size(path, tmp_path):
    expected, run = expected_and_run(path, tmp_path, 2, flags=("-Os",), compiler=CLANG)
    np.testing.assert_array_equal(run.outputs, expected.view(np.uint8))
