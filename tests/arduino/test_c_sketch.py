"""The sketch with the model as plain C: what it prints is what TensorFlow Lite's reference kernels compute."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from export.errors import ExportError
from export.micro.sketch import write_arduino
from export.run.compiled import CompiledRuntime
from export.run.runtime import load_runtime
from hpe.deploy.board_link import encode_frame
from hpe.model.preprocess import preprocess
from hpe.model.zoo import resolve_model
from tests.sketches import RELU6, SETTINGS, SILU, build_c_sketch, needs_gxx, run

needs_compilers = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("g++") is None, reason="gcc and g++ are not installed"
)
TURNED = SETTINGS | {"pose_order": ["roll", "yaw", "pitch"], "units": "radians"}


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(6).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def poses(lines: list[str]) -> np.ndarray:
    """(N, 3) of the lines that are no messages; the sequence bytes must count up from 0."""
    found = np.array([[float(v) for v in line.split(",")] for line in lines if not line.startswith("#")])
    np.testing.assert_array_equal(found[:, 4], np.arange(len(found)))
    return found[:, :3]


@needs_compilers
@pytest.mark.parametrize("name", ["silu", "relu6", "b0-nano"])
def test_printed_poses_are_those_of_the_reference(name: str, tmp_path: Path):
    model = {"silu": SILU, "relu6": RELU6}.get(name) or resolve_model(name)
    write_arduino(model, tmp_path / "head_pose", "nano33ble", SETTINGS)
    images = random_images(8)
    stream = b"".join(encode_frame(image, index) for index, image in enumerate(images))
    lines = run(build_c_sketch(tmp_path / "head_pose"), stdin=stream).decode().splitlines()
    assert re.fullmatch(r"# head_pose ready: image 64, model RAM \d+", lines[0])
    found = poses(lines)
    # Hundredths are printed: the sums before the last rounding, within half a step of the int8 reference.
    np.testing.assert_allclose(found, CompiledRuntime(model, fine=True)(preprocess(images)), atol=0.0051)
    reference = load_runtime(model, reference_kernels=True)
    whole = reference(preprocess(images))
    inside = np.abs(reference.invoke_raw(reference.quantize(preprocess(images))).astype(int)) < 127
    assert inside.any()
    assert (np.abs(found - whole)[inside] <= reference.output_scale * 0.501 + 0.0051).all()


@needs_compilers
def test_order_and_unit_of_the_outputs(tmp_path: Path):
    write_arduino(SILU, tmp_path / "turned", "nano33ble", TURNED)
    images = random_images(2)
    stream = b"".join(encode_frame(image, index) for index, image in enumerate(images))
    found = poses(run(build_c_sketch(tmp_path / "turned"), stdin=stream).decode().splitlines())
    roll, yaw, pitch = np.rad2deg(CompiledRuntime(SILU, fine=True)(preprocess(images))).T
    np.testing.assert_allclose(found, np.stack([yaw, pitch, roll], 1), atol=0.0051, rtol=1e-6)


@needs_compilers
def test_damaged_frame_is_named_and_the_next_one_answered(tmp_path: Path):
    write_arduino(SILU, tmp_path / "head_pose", "nano33ble", SETTINGS)
    (image,) = random_images(1)
    damaged = bytearray(encode_frame(image, 1))
    damaged[5000] = damaged[5000] % 255 + 1 if damaged[5000] != 254 else 1
    lines = (
        run(build_c_sketch(tmp_path / "head_pose"), stdin=bytes(damaged) + encode_frame(image, 0)).decode().splitlines()
    )
    assert lines[1] == "# error: a frame arrived damaged"
    assert poses(lines).shape == (1, 3)


@needs_compilers
def test_sketch_with_camera(tmp_path: Path):
    write_arduino(RELU6, tmp_path / "head_pose", "nano33ble", SETTINGS)
    lines = run(build_c_sketch(tmp_path / "head_pose", "-DHEAD_POSE_CAMERA=1"), 3).decode().splitlines()
    assert poses(lines).shape == (3, 3)


def test_folder_has_no_trace_of_a_library(tmp_path: Path):
    written = write_arduino(SILU, tmp_path / "head_pose", "nano33ble", SETTINGS)
    names = {path.relative_to(tmp_path / "head_pose").as_posix() for path in written}
    assert names == {
        *("head_pose.ino", "README.md", "model.c", "model.h", "model_settings.h"),
        *(
            f"src/{name}"
            for name in ("config.h", "engine.h", "image_source.h", "camera_source.cpp", "serial_source.cpp")
        ),
        "src/quantize.h",
        "src/fail.h",
        *(
            f"src/{name}.{end}"
            for name in ("image", "frame_parser", "serial_frames", "pose", "follow")
            for end in ("h", "cpp")
        ),
    }
    for path in written:
        text = path.read_text()
        if path.name not in ("README.md", "config.h"):
            assert not re.search(r"#include .*(tensorflow|model_data|op_resolver)", text, re.IGNORECASE), path.name
            assert "kTensorArenaBytes" not in text, path.name
    readme = (tmp_path / "head_pose" / "README.md").read_text()
    assert "no TensorFlow Lite" in readme
    assert "## Images from an OV7675 camera" in readme
    assert "another board" not in readme
    write_arduino(SILU, tmp_path / "pico", "rp2040", SETTINGS)
    assert "written for another board: Raspberry Pi Pico" in (tmp_path / "pico" / "README.md").read_text()


def test_files_of_the_other_engine_go_and_those_of_the_user_stay(tmp_path: Path, without_wheel: None):
    folder = tmp_path / "head_pose"
    for engine in ("tflm", "c", "tflm", "c"):
        written = write_arduino(SILU, folder, "nano33ble", SETTINGS, engine)
        assert {path for path in folder.rglob("*") if path.is_file()} - set(written) <= {folder / "src" / "config.h"}
    (folder / "op_resolver.h").write_text("// mine\n")
    write_arduino(SILU, folder, "nano33ble", SETTINGS)
    assert (folder / "op_resolver.h").read_text() == "// mine\n"


def test_what_cannot_be_written_is_refused_in_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from dataclasses import replace

    from export.micro.boards import BOARDS

    with pytest.raises(ExportError, match="no engine 'cpp'; choose one of c, tflm"):
        write_arduino(SILU, tmp_path / "out", "nano33ble", SETTINGS, "cpp")
    board = BOARDS["nano33ble"]
    room_for_code = board.core_flash_bytes + 10_000
    for change, message in (({"ram_bytes": 120_000}, "RAM is"), ({"flash_bytes": room_for_code}, "flash is")):
        monkeypatch.setitem(BOARDS, "nano33ble", replace(board, **change))
        with pytest.raises(ExportError, match=f"does not fit the Arduino Nano.*{message} .* bytes short"):
            write_arduino(SILU, tmp_path / "out", "nano33ble", SETTINGS)
    assert list(tmp_path.iterdir()) == []


@needs_gxx
def test_settings_of_another_model_do_not_compile(tmp_path: Path):
    import subprocess

    folder = tmp_path / "head_pose"
    write_arduino(SILU, folder, "nano33ble", SETTINGS)
    settings = folder / "model_settings.h"
    settings.write_text(settings.read_text().replace("kInputZeroPoint = -14", "kInputZeroPoint = -13"))
    with pytest.raises(subprocess.CalledProcessError):
        build_c_sketch(folder)
