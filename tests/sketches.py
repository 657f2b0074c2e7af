"""A sketch folder with a tiny model, and programs built of its sources for this computer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

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


def build_sketch(folder: Path, model: Path, camera: bool) -> Path:
    """The whole sketch as a program, on stand-ins for Arduino and TensorFlow Lite Micro (tests/arduino_stubs)."""
    found = read_model(model)
    defines = [
        f"-DHEAD_POSE_CAMERA={int(camera)}",
        f"-DSTUB_IMAGE={found.input.shape[1]}",
        f"-DSTUB_LOGISTICS={sum(op.name == 'LOGISTIC' for op in found.ops)}",
        f"-DSTUB_INPUT_SCALE={found.input.scale}f",
        f"-DSTUB_INPUT_ZERO_POINT={found.input.zero_point}",
        f"-DSTUB_OUTPUT_SCALE={found.output.scale}f",
        f"-DSTUB_OUTPUT_ZERO_POINT={found.output.zero_point}",
    ]
    program = folder.parent / f"{model.stem}_{'camera' if camera else 'serial'}"
    stubs = TESTS / "arduino_stubs"
    sources = [
        folder / f"{folder.name}.ino",
        *folder.glob("*.cpp"),
        *(folder / "src").glob("*.cpp"),
        stubs / "main.cpp",
    ]
    command = ["g++", *WARNINGS, "-O1", *defines, f"-I{folder}", f"-I{stubs}", "-include", "Arduino.h", "-x", "c++"]
    subprocess.run([*command, *map(str, sources), "-o", str(program)], check=True)
    return program


def build_c_sketch(folder: Path, camera: bool = False) -> Path:
    """The sketch of the engine c as a program: of all stand-ins only Arduino's own headers are within reach."""
    stubs, work = TESTS / "arduino_stubs", folder.parent / f"{folder.name}_build"
    work.mkdir(exist_ok=True)
    for header in ("Arduino.h", *(["Arduino_OV767X.h"] if camera else [])):
        shutil.copy(stubs / header, work)
    checks = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    (source,) = folder.glob("*.c")
    compiled, program = work / "model.o", work / "program"
    subprocess.run(
        ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", *checks, "-c", str(source), "-o", str(compiled)],
        check=True,
    )
    sources = [
        folder / f"{folder.name}.ino",
        *folder.glob("*.cpp"),
        *(folder / "src").glob("*.cpp"),
        stubs / "main.cpp",
    ]
    includes = [f"-DHEAD_POSE_CAMERA={int(camera)}", f"-I{folder}", f"-I{work}", "-include", "Arduino.h"]
    command = ["g++", *WARNINGS, *checks, *includes, "-x", "c++", *map(str, sources), "-x", "none", str(compiled)]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program
