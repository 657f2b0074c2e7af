"""Whole sketches of the engine c on an emulated Cortex-M4: framed inputs over serial, printed lines back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.compiler.emulator.sketch import SketchRun, run_sketch
from export.micro.sketch import write_arduino, write_model_sketch
from export.run.compiled import CompiledRuntime
from export.run.runtime import load_runtime
from hpe.data.faces import load_faces
from hpe.deploy.board_link import encode_frame, encode_values
from hpe.model.preprocess import preprocess
from hpe.model.zoo import resolve_model
from hpe.pose.crop import centre_crop
from tests.conftest import SHARED, TINY_DATA
from tests.export.compiler.emulated import needs_emulator
from tests.sketches import RELU6, SETTINGS, SILU

pytestmark = needs_emulator
FACES = SHARED / "data" / "faces"
OTHERS = sorted((SHARED / "reference" / "mlperf_tiny").glob("*.tflite"))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sketch of b0-nano, as `hpe deploy` writes it."""
    folder = tmp_path_factory.mktemp("released") / "head_pose"
    write_arduino(resolve_model("b0-nano"), folder, "nano33ble", SETTINGS)
    return folder


@pytest.fixture(params=["synthetic heads", "real faces"])
def crops(request: pytest.FixtureRequest) -> np.ndarray:
    """uint8 (8, 64, 64, 3)"""
    if request.param == "synthetic heads":
        return centre_crop(load_faces(TINY_DATA).images[:8])
    if not FACES.is_dir():
        pytest.skip("the faces of the shared folder are not here")
    return centre_crop(load_faces(f"csv:{FACES}@test").images[::40])[:8]


def framed(images: np.ndarray) -> bytes:
    return b"".join(encode_frame(image, 250 + index & 255) for index, image in enumerate(images))


def answers(run: SketchRun, count: int) -> np.ndarray:
    """(N, outputs) of what was printed; the sequence bytes must be those of `framed`."""
    rows = np.array([[float(field) for field in row] for row in run.answers])
    np.testing.assert_array_equal(rows[:, -1], (250 + np.arange(count)) & 255)
    return rows[:, :-2]


def test_poses_of_b0_nano_are_the_reference(released: Path, crops: np.ndarray):
    model = resolve_model("b0-nano")
    run = run_sketch(released, framed(crops))
    assert run.lines[0] == "# head_pose ready: image 64, model RAM 23504"
    found = answers(run, 8)
    images = preprocess(crops)
    # hundredths are printed
    np.testing.assert_allclose(found, CompiledRuntime(model, fine=True)(images), atol=0.0051)
    reference = load_runtime(model, reference_kernels=True)
    assert (np.abs(found - reference(images)) <= reference.output_scale * 0.501 + 0.0051).all()
    assert len(np.unique(found, axis=0)) == 8


def test_whole_sketch_is_small_and_fast(released: Path):
    """What README and benchmarks say of it, within some percent: compilers differ."""
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    for flags, instructions in ((("-O2",), 5_230_000), (("-Os",), 5_450_000)):
        run = run_sketch(released, framed(image), flags)
        assert int(run.answers[0][-2]) == pytest.approx(instructions, rel=0.05)
        assert run.program.flash - run.model.flash < 9_000  # the sketch's own code, newlib's snprintf, the stand-ins
        assert run.program.ram - run.model.ram < 300


@pytest.mark.parametrize("model", [SILU, RELU6], ids=["silu", "relu6"])
def test_without_fine_output_the_sketch_prints_the_reference_bytes(model: Path, tmp_path: Path):
    write_arduino(model, tmp_path / "head_pose", "nano33ble", SETTINGS)
    crops = np.random.default_rng(1).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    run = run_sketch(tmp_path / "head_pose", framed(crops), defines=("-DSKETCH_FINE=0",))
    expected = load_runtime(model, reference_kernels=True)(preprocess(crops))
    np.testing.assert_allclose(answers(run, 6), expected, atol=0.0051)


def test_harmed_frames_cost_only_themselves(tmp_path: Path):
    write_arduino(RELU6, tmp_path / "head_pose", "nano33ble", SETTINGS)
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    good = encode_frame(image, 7)
    damaged = good[:3000] + bytes([good[3000] % 255 + 1 if good[3000] != 254 else 1]) + good[3001:]
    run = run_sketch(tmp_path / "head_pose", good + damaged + good[:5000] + good + b"noise" + good + good[:400])
    said = [line.split(",")[0] if line.startswith("#") else "pose" for line in run.lines[1:]]
    size = "# error: a frame has another size than the model's input"
    assert said == [
        "pose",
        "# error: a frame arrived damaged",
        size,
        "pose",
        size,
        "pose",
        "# error: a frame was cut short",
    ]
    assert len({tuple(row[:3]) for row in run.answers}) == 1


@pytest.mark.parametrize("path", [SILU, *OTHERS], ids=lambda path: path.stem)
def test_outputs_of_other_models_are_the_reference(path: Path, tmp_path: Path):
    runtime = load_runtime(path, reference_kernels=True)
    inputs = np.random.default_rng(3).integers(-128, 128, (3, *runtime.input_shape), dtype=np.int8)
    write_model_sketch(path, tmp_path / "any", "nano33ble", {})
    run = run_sketch(tmp_path / "any", b"".join(encode_values(x, 250 + i) for i, x in enumerate(inputs)))
    real = (runtime.invoke_raw(inputs).astype(np.float64) - runtime.output_zero_point) * runtime.output_scale
    np.testing.assert_allclose(answers(run, 3), real, atol=0.0501 * runtime.output_scale)


def test_top_class_and_its_score(tmp_path: Path):
    path = OTHERS[0] if OTHERS else SILU
    runtime = load_runtime(path, reference_kernels=True)
    labels = [f"class {i}, über" for i in range(runtime.output_size)]
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    write_model_sketch(path, tmp_path / "any", "nano33ble", {"labels": tmp_path / "labels.txt"})
    inputs = np.random.default_rng(4).integers(-128, 128, (4, *runtime.input_shape), dtype=np.int8)
    run = run_sketch(tmp_path / "any", b"".join(encode_values(x, i) for i, x in enumerate(inputs)))
    raw = runtime.invoke_raw(inputs).astype(np.float64)
    for line, values in zip(run.lines[1:], raw, strict=True):
        label, score, _, _ = line.rsplit(",", 3)
        assert label == labels[int(values.argmax())]
        assert float(score) == pytest.approx(
            (values.max() - runtime.output_zero_point) * runtime.output_scale, abs=0.0501 * runtime.output_scale
        )
