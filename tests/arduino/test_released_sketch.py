"""The sketch as released: its files belong together, the model fits the board, and does what its README says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from export.convert.tflite import file_sizes
from export.micro.flatbuffer import read_model
from export.micro.interpreter import interpreter_footprint
from export.micro.sketch import write_arduino
from export.micro.tflm import has_micro, run_micro
from export.run.runtime import load_runtime
from tests.sketches import SETTINGS

ARDUINO = Path(__file__).resolve().parents[2] / "arduino"
SHIPPED = ARDUINO / "head_pose"
README = (ARDUINO / "README.md").read_text()
FACES = Path(__file__).resolve().parents[3] / "shared" / "data" / "faces"

needs_faces = pytest.mark.skipif(not FACES.is_dir(), reason="the faces that the model was measured on are not here")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The .tflite file inside model_data.cpp."""
    text = (SHIPPED / "model_data.cpp").read_text()
    path = tmp_path_factory.mktemp("shipped") / text[: text.index(";")].split()[-1]
    path.write_bytes(bytes(map(int, text[text.index("{") + 1 : text.index("}")].split(","))))
    return path


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """The faces of the test split, float32 (285, 64, 64, 3), normalised."""
    from hpe.data.faces import load_faces
    from hpe.model.preprocess import preprocess
    from hpe.pose.crop import centre_crop

    return preprocess(centre_crop(load_faces(f"csv:{FACES}@test").images))


def test_files_are_what_deploy_writes(model: Path, tmp_path: Path):
    """Settings, resolver and model belong together, and to the present sources."""
    (note,) = re.findall(r"^// (Mean absolute error: .*)$", (SHIPPED / "model_settings.h").read_text(), re.MULTILINE)
    written = write_arduino(model, tmp_path / "head_pose", "nano33ble", SETTINGS | {"note": note}, "tflm")
    files = {path for path in SHIPPED.rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path / "head_pose") for path in written} == {p.relative_to(SHIPPED) for p in files}
    for path in written:
        assert path.read_bytes() == (SHIPPED / path.relative_to(tmp_path / "head_pose")).read_bytes(), path.name


def test_readme_states_the_numbers_of_the_model(model: Path):
    verdict = interpreter_footprint(model, "nano33ble")
    assert verdict.fits
    assert interpreter_footprint(model, "nano33ble-rev2").fits
    stated = [verdict.macs, verdict.arena_bytes, verdict.flash_bytes, verdict.ram_bytes, *file_sizes(model).values()]
    assert [f"{number:,}" for number in stated if f"{number:,}" not in README] == []
    operators = ", ".join(f"{name} {count}" for name, count in verdict.ops.items())
    assert f"{len(read_model(model).ops)}: {operators}" in README
    if verdict.host_arena_bytes is not None:  # where TensorFlow Lite Micro is installed
        assert f"{verdict.host_arena_bytes:,}" in README


@needs_faces
def test_errors_are_those_that_the_readme_states(model: Path, images: np.ndarray):
    from hpe.data.faces import load_faces

    truth = load_faces(f"csv:{FACES}@test").pose_deg
    yaw, pitch, roll = np.abs(load_runtime(model)(images) - truth).mean(axis=0)
    pattern = r"error, int8 \| mean ([\d.]+) degrees \(yaw ([\d.]+), pitch ([\d.]+), roll ([\d.]+)\)"
    (stated,) = re.findall(pattern, README)
    np.testing.assert_allclose([np.mean([yaw, pitch, roll]), yaw, pitch, roll], np.float64(stated), atol=0.02)


@pytest.mark.skipif(not has_micro(), reason="the tflite-micro wheel is not installed (Linux, Python 3.12)")
@pytest.mark.parametrize("kind", ["random", pytest.param("real", marks=needs_faces)])
def test_same_bytes_in_both_interpreters(model: Path, kind: str, request: pytest.FixtureRequest):
    """64 inputs each: TensorFlow Lite's reference kernels and TensorFlow Lite Micro."""
    reference = load_runtime(model, reference_kernels=True)
    if kind == "random":
        inputs = np.random.default_rng(0).integers(-128, 128, (64, 64, 64, 3), dtype=np.int8)
    else:
        inputs = reference.quantize(request.getfixturevalue("images")[:64])
    found = run_micro(model, inputs)  # (64, 3)
    np.testing.assert_array_equal(found, reference.invoke_raw(inputs))
    assert len(np.unique(found, axis=0)) > 30
