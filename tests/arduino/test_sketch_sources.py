"""The sketch's C++ on this computer, against the Python side: same table, same resize, same frames, same degrees."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.micro.flatbuffer import read_model
from export.micro.logistic import logistic_table
from export.micro.sketch import write_arduino
from export.micro.sketch_settings import quantize_table
from hpe.deploy.board_link import encode_frame
from hpe.model.preprocess import MEAN, STD
from tests.sketches import RELU6, SETTINGS, SILU, TESTS, WARNINGS, build_sketch, needs_gxx, rgb565, run

pytestmark = pytest.mark.usefixtures("without_wheel")


@pytest.fixture(scope="module")
def host(sketch: Path) -> Path:
    """tests/arduino_host.cpp with the sketch's sources."""
    program = sketch.parent / "host"
    sources = [
        TESTS / "arduino_host.cpp",
        *(sketch / "src" / f"{name}.cpp" for name in ("image", "frame_parser", "pose", "follow")),
    ]
    checks = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wconversion"]
    includes = ["-DWITH_LOGISTIC", f"-I{sketch}", f"-I{TESTS / 'arduino_stubs'}"]
    subprocess.run(["g++", *WARNINGS, *checks, *includes, *map(str, sources), "-o", str(program)], check=True)
    return program


@needs_gxx
def test_quantize(host: Path):
    rng = np.random.default_rng(1)
    table = quantize_table(MEAN, STD, 0.0186, -14)
    rgb = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = np.frombuffer(run(host, "quantize", stdin=table.tobytes() + rgb.tobytes()), np.int8)
    np.testing.assert_array_equal(found.reshape(rgb.shape), table[np.arange(3), rgb])


def area_mean(image: np.ndarray, out: int) -> np.ndarray:
    """uint8 (S, S, 3) -> uint8 (out, out, 3): the mean of the area of each output pixel, by exact rational weights."""
    size = image.shape[0]
    edges = np.arange(size + 1) * out
    lows, highs = np.arange(out) * size, (np.arange(out) + 1) * size
    overlap = np.minimum(highs[:, None], edges[None, 1:]) - np.maximum(lows[:, None], edges[None, :-1])
    weights = np.clip(overlap, 0, None)  # (out, S), each row sums to S
    total = np.einsum("yr,rcd,xc->yxd", weights, image.astype(np.int64), weights, optimize=True)
    return ((total + size * size // 2) // (size * size)).astype(np.uint8)


@needs_gxx
@pytest.mark.parametrize(("width", "height", "out"), [(160, 120, 64), (64, 64, 64), (48, 40, 64), (97, 101, 32)])
def test_resize(host: Path, width: int, height: int, out: int):
    frame, image = rgb565(np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8))
    size = min(width, height)
    top, left = (height - size) // 2, (width - size) // 2
    table = quantize_table(MEAN, STD, 0.0186, -14)
    small = area_mean(image[top : top + size, left : left + size], out)
    found = np.frombuffer(run(host, "resize", width, height, out, stdin=table.tobytes() + frame), np.int8)
    np.testing.assert_array_equal(found.reshape(out, out, 3), table[np.arange(3), small])


@needs_gxx
def test_resize_is_pillows_box_filter(host: Path):
    from PIL import Image

    frame, image = rgb565(np.random.default_rng(3).integers(0, 256, (120, 120, 3), dtype=np.uint8))
    identity = np.tile(np.arange(256, dtype=np.int64) - 128, (3, 1)).astype(np.int8)
    found = np.frombuffer(run(host, "resize", 120, 120, 64, stdin=identity.tobytes() + frame), np.int8)
    box = np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX), np.int64)
    # Pillow takes source pixels whole or not at all, so single pixels of noise differ, but not their mean.
    difference = found.reshape(64, 64, 3).astype(np.int64) + 128 - box
    assert abs(difference.mean()) < 0.5


@needs_gxx
@pytest.mark.parametrize(("order", "degrees"), [((0, 1, 2), 1.0), ((2, 0, 1), 57.2957795)])
def test_decode(host: Path, order: tuple[int, int, int], degrees: float):
    raw = np.random.default_rng(4).integers(-128, 128, (100, 3), dtype=np.int8)
    raw[0] = -7  # the zero point
    scale = 0.0579430088
    lines = run(host, "decode", scale, -7, degrees, *order, stdin=raw.tobytes()).decode().splitlines()
    found = np.array([[float(v) for v in line.split(",")] for line in lines])  # (100, 5)
    real = (raw.astype(np.float64) + 7) * scale * degrees
    np.testing.assert_allclose(found[:, :3], real[:, list(order)], atol=0.0051, rtol=1e-6)
    np.testing.assert_array_equal(found[:, 3], np.arange(0, 300, 3))
    assert lines[0] == "0.00,0.00,0.00,0,0"
    np.testing.assert_array_equal(found[:, 4], np.arange(0, 300, 3) % 256)


@needs_gxx
def test_logistic_tables_of_the_resolver(host: Path):
    model = read_model(SILU)
    inputs = [model.tensors[op.inputs[0]] for op in model.ops if op.name == "LOGISTIC"]
    wanted = np.stack([logistic_table(t.scale, t.zero_point) for t in inputs])
    found = np.frombuffer(run(host, "logistic", len(inputs)), np.int8).reshape(-1, 256)
    np.testing.assert_array_equal(found, wanted)


# ---- the serial protocol

SIDE = 4
IMAGE = np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3)
FRAME = encode_frame(IMAGE, 7)
GOOD = b"F\x07" + IMAGE.tobytes()


def parse(host: Path, stream: bytes) -> bytes:
    return run(host, "parse", IMAGE.size, stdin=stream)


@needs_gxx
def test_frames_arrive(host: Path):
    assert parse(host, FRAME) == GOOD
    assert parse(host, 3 * FRAME) == 3 * GOOD
    assert parse(host, b"HPHPF" + FRAME + b"noise" + FRAME) == 2 * (b"L" + GOOD)


@needs_gxx
def test_frame_of_another_size_is_reported_and_skipped(host: Path):
    for side in (1, SIDE - 1, SIDE + 1, 5 * SIDE):
        other = encode_frame(np.zeros((side, side, 3), np.uint8), 0)
        assert parse(host, other + FRAME) == b"L" + GOOD


@needs_gxx
def test_any_bytes_arrive_as_they_are(host: Path):
    rng = np.random.default_rng(7)
    for side in (4, 9, 10, 64):  # runs of more than 254 bytes without a zero, too
        for image in (rng.integers(0, 256, (side, side, 3)), rng.integers(1, 256, (side, side, 3)), np.zeros(1)):
            image = np.broadcast_to(image, (side, side, 3)).astype(np.uint8)
            arrived = run(host, "parse", image.size, stdin=encode_frame(image, 0))
            assert arrived == b"F\0" + image.tobytes()


@needs_gxx
def test_a_frame_cut_anywhere_costs_only_itself(host: Path):
    for end in range(2, len(FRAME) - 1):
        assert parse(host, FRAME[:end] + FRAME) == b"L" + GOOD
    lost = FRAME[:30] + FRAME[40:]
    assert parse(host, lost + FRAME + FRAME) == b"L" + 2 * GOOD


@needs_gxx
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_resynchronises_after_any_noise(host: Path, data: st.DataObject):
    noise = data.draw(st.binary(max_size=80))
    position = data.draw(st.integers(0, len(FRAME) - 1))
    damaged = FRAME[:position] + bytes([FRAME[position] ^ data.draw(st.integers(1, 255))]) + FRAME[position + 1 :]
    cut = FRAME[: data.draw(st.integers(0, len(FRAME)))]
    # Whatever came before, both frames after it arrive, unharmed, and no damaged one ever does.
    events = parse(host, noise + damaged + cut + FRAME + FRAME)
    assert events.endswith(2 * GOOD)
    assert set(re.sub(re.escape(GOOD), b"", events, flags=re.DOTALL)) <= set(b"CL")


# ---- the whole sketch on stand-ins


@needs_gxx
def test_sketch_answers_frames_and_noise(sketch: Path):
    program = build_sketch(sketch, SILU, camera=False)
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    damaged = bytearray(encode_frame(images[0], 1))
    damaged[5000] = damaged[5000] % 255 + 1 if damaged[5000] != 254 else 1
    stream = encode_frame(images[0], 254) + bytes(damaged) + encode_frame(images[1], 255)
    lines = run(program, stdin=stream).decode().splitlines()
    assert lines[0].startswith("# head_pose ready: image 64, arena 12288 of ")
    assert lines[2] == "# error: a frame arrived damaged"
    model = read_model(SILU)
    table = quantize_table(MEAN, STD, model.input.scale, model.input.zero_point)
    for image, line, frame in ((images[0], lines[1], 254), (images[1], lines[3], 255)):
        values = table[np.arange(3), image].reshape(-1)[[0, 6144, 12287]].astype(np.float64)
        found = [float(v) for v in line.split(",")]
        np.testing.assert_allclose(found[:3], (values - model.output.zero_point) * model.output.scale, atol=0.0051)
        assert found[4] == frame


@needs_gxx
def test_sketch_with_camera(tmp_path: Path):
    folder = tmp_path / "head_pose"
    write_arduino(RELU6, folder, "nano33ble", SETTINGS, "tflm")
    lines = run(build_sketch(folder, RELU6, camera=True), 3).decode().splitlines()
    assert len(lines) == 4
    assert all(re.fullmatch(rf"-?\d+\.\d\d,-?\d+\.\d\d,-?\d+\.\d\d,\d+,{i}", line) for i, line in enumerate(lines[1:]))


@needs_gxx
def test_sketch_refuses_settings_of_another_model(tmp_path: Path, sketch: Path):
    folder = tmp_path / "head_pose"
    shutil.copytree(sketch, folder)
    text = (folder / "model_settings.h").read_text().replace("kInputZeroPoint = -14", "kInputZeroPoint = -13")
    (folder / "model_settings.h").write_text(text)
    program = build_sketch(folder, SILU, camera=False)
    result = subprocess.run([str(program)], capture_output=True, timeout=60, input=b"")
    assert result.returncode == 3
    assert b"# error: model_settings.h belongs to another model" in result.stdout


@pytest.mark.skipif(shutil.which("arm-none-eabi-g++") is None, reason="gcc-arm-none-eabi is not installed")
def test_cortex_m4_size(sketch: Path, tmp_path: Path):
    options = [
        *WARNINGS,
        "-mcpu=cortex-m4",
        "-mthumb",
        "-mfloat-abi=hard",
        "-mfpu=fpv4-sp-d16",
        "-Os",
        "-fno-exceptions",
    ]
    total = 0
    for name in ("image", "frame_parser", "pose", "follow"):
        target = tmp_path / f"{name}.o"
        command = ["arm-none-eabi-g++", *options, "-c", str(sketch / "src" / f"{name}.cpp"), "-o", str(target)]
        subprocess.run(command, check=True)
        sizes = subprocess.run(["arm-none-eabi-size", str(target)], capture_output=True, text=True, check=True).stdout
        text, data, bss = map(int, sizes.splitlines()[1].split()[:3])
        total += text
        assert data + bss == 0  # no RAM of their own
    assert total < 4000
