"""Every model named for the compiler gives the bytes of TFLite's reference kernels, on random images and on faces."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export import load_runtime
from export.compiler import compile_model
from tests.export.compiler.host import RELEASES, ROOT, SHARED, build, needs, random_inputs, reference

pytestmark = needs("gcc")
TINY = sorted((ROOT / "tests" / "data").glob("tiny_*.tflite"))
QUICK = [RELEASES / "b0-nano.tflite", RELEASES / "b0-tiny.tflite"]
BIG = [RELEASES / "b0.tflite", RELEASES / "b0-pi.tflite"]
OTHERS = [SHARED / "reference" / name for name in (
    "micro/silu_se.tflite", "micro/hswish_se.tflite", "micro/relu6_se.tflite", "micro/relu6_nose.tflite",
    "mlperf_tiny/vww_96_int8.tflite", "mlperf_tiny/pretrainedResnet_quant.tflite")]  # fmt: skip


def check(path: Path, folder: Path, inputs: int, faces: int) -> None:
    if not path.exists():
        pytest.skip(f"{path} is not here")
    model = path.read_bytes()
    compiled = compile_model(path, folder)
    run, expected = build(compiled, folder), reference(model)
    noise = random_inputs(compiled, model, inputs)
    np.testing.assert_array_equal(run(noise), expected(noise))
    if faces:
        images = real_faces(path, faces)
        np.testing.assert_array_equal(run(images), expected(images))


def real_faces(path: Path, count: int) -> np.ndarray:
    """int8 (N, H, W, C): photographs, scaled to the model's size and into its range."""
    table = SHARED / "data" / "faces" / "labels.csv"
    if not table.exists():
        pytest.skip(f"{table} is not here")
    runtime = load_runtime(path, reference_kernels=True)
    height, width, _ = runtime.input_shape
    with open(table, newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["split"] == "test"][:count]
    pictures = [Image.open(table.parent / name).convert("RGB").resize((width, height)) for name in names]
    pixels = np.stack([np.asarray(picture, np.float32) for picture in pictures])
    return runtime.quantize((pixels - 127.0) / 64.0)


@pytest.mark.parametrize("path", [*TINY, *QUICK, *OTHERS], ids=lambda path: path.stem)
def test_the_bytes_of_the_reference_kernels(path, tmp_path):
    check(path, tmp_path, inputs=4, faces=0)


@pytest.mark.parametrize("path", QUICK, ids=lambda path: path.stem)
def test_the_same_on_faces(path, tmp_path):
    check(path, tmp_path, inputs=1, faces=8)


@pytest.mark.slow
@pytest.mark.parametrize("path", [*TINY, *QUICK, *BIG, *OTHERS], ids=lambda path: path.stem)
def test_the_same_on_64_random_images_and_64_faces(path, tmp_path):
    check(path, tmp_path, inputs=64, faces=64)
