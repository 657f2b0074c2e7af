"""A sketch folder with a tiny model, and programs built of its sources for this computer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export.compiler.emulator.sketch import BOARD
from export.micro.flatbuffer import read_model
from hpe.model.preprocess import MEAN, STD

TESTS = Path(__file__).parent
SILU = TESTS / "data" / "tiny_silu_se.tflite"
RELU6 = TESTS / "data" / "tiny_relu6_nose.tflite"
SETTINGS = {
    "mean": MEAN.tolist(),
    "std": STD.tolist(),
    "pose_order": ["yaw", "pitch", "roll"],
    "units": "degrees",
    "note": "random weights",
}
WARNINGS = ["-std=gnu++14", "-Wall", "-Wextra", "-Werror"]

needs_gxx = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


def run(program: Path, *arguments: object, stdin: bytes = b"") -> bytes:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=60).stdout


def braces(shape: tuple[int, ...]) -> str:
    """A shape as the stand-in for TensorFlow Lite has it: {rank, {sizes}}"""
    return f"{len(shape)}, {{{','.join(map(str, shape))}}}"


def build_sketch(folder: Path, model: Path, camera: bool) -> Path:
    """The whole sketch as a program, on stand-ins for Arduino and TensorFlow Lite Micro (tests/arduino_stubs)."""
    found = read_model(model)
    defines = [
        f"-DHEAD_POSE_CAMERA={int(camera)}",
        f"-DSTUB_INPUT_BYTES={found.input.elements}",
        f"-DSTUB_INPUT_SHAPE={braces(found.input.shape)}",
        f"-DSTUB_OUTPUTS={found.output.elements}",
        f"-DSTUB_OUTPUT_SHAPE={braces(found.output.shape)}",
        f"-DSTUB_LOGISTICS={sum(op.name == 'LOGISTIC' for op in found.ops)}",
        f"-DSTUB_INPUT_SCALE={np.float32(found.input.scale)!s}f",
        f"-DSTUB_INPUT_ZERO_POINT={found.input.zero_point}",
        f"-DSTUB_OUTPUT_SCALE={np.float32(found.output.scale)!s}f",
        f"-DSTUB_OUTPUT_ZERO_POINT={found.output.zero_point}",
    ]
    program = folder.parent / f"{model.stem}_{'camera' if camera else 'serial'}"
    stubs = TESTS / "arduino_stubs"
    includes = [f"-I{folder}", f"-I{stubs}", f"-I{BOARD}", "-include", "Arduino.h"]
    command = ["g++", *WARNINGS, "-O1", *defines, *includes, "-x", "c++", *map(str, cpp_sources(folder))]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


def cpp_sources(folder: Path) -> list[Path]:
    """The sketch's own C++ files, and the stand-in for Arduino's core on a PC."""
    own = [folder / f"{folder.name}.ino", *folder.glob("*.cpp"), *(folder / "src").glob("*.cpp")]
    return [*own, TESTS / "arduino_stubs" / "main.cpp"]


def build_c_sketch(folder: Path, *defines: str) -> Path:
    """The sketch of the engine c as a program: of all stand-ins only Arduino's own headers are within reach."""
    work = folder.parent / f"{folder.name}_build"
    work.mkdir(exist_ok=True)
    shutil.copy(BOARD / "Arduino.h", work)
    if "-DHEAD_POSE_CAMERA=1" in defines:
        shutil.copy(TESTS / "arduino_stubs" / "Arduino_OV767X.h", work)
    checks = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    (source,) = folder.glob("*.c")
    compiled, program = work / "model.o", work / "program"
    subprocess.run(
        ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", *checks, "-c", str(source), "-o", str(compiled)],
        check=True,
    )
    includes = [*defines, f"-I{folder}", f"-I{work}", "-include", "Arduino.h"]
    sources = ["-x", "c++", *map(str, cpp_sources(folder)), "-x", "none", str(compiled)]
    subprocess.run(["g++", *WARNINGS, *checks, *includes, *sources, "-o", str(program)], check=True)
    return program


def rgb565(image: np.ndarray) -> tuple[bytes, np.ndarray]:
    """RGB565, high byte first, of an image (H, W, 3), and the image as it reads back."""
    red, green, blue = (image[..., c].astype(np.uint16) for c in range(3))
    packed = (red >> 3 << 11) | (green >> 2 << 5) | blue >> 3
    r, g, b = packed >> 11, packed >> 5 & 63, packed & 31
    read_back = np.stack([r << 3 | r >> 2, g << 2 | g >> 4, b << 3 | b >> 2], -1).astype(np.uint8)
    return packed.astype(">u2").tobytes(), read_back


def film(program: Path, folder: Path, frames: list[np.ndarray]) -> list[str]:
    """What the sketch prints of these frames."""
    file = folder / "frames.bin"
    file.write_bytes(b"".join(rgb565(frame)[0] for frame in frames))
    result = subprocess.run(
        [program], env={"FRAMES": str(file)}, capture_output=True, text=True, timeout=60, check=True
    )
    return result.stdout.splitlines()
