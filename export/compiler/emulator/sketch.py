"""An Arduino sketch of the engine c on the emulated Cortex-M4: bytes arrive over serial, printed lines come back.

Of Arduino there are only stand-ins for what the sketches use (arduino/): no core, no camera, no USB.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from export.compiler import emulator
from export.compiler.emulator import Sections

CXX = ("arm-none-eabi-g++",)
BOARD = emulator.FOLDER / "arduino"
CPP_FLAGS = ("-std=gnu++14", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics",
             "-include", "Arduino.h")  # fmt: skip
SECTIONS = ("-ffunction-sections", "-fdata-sections")
LINK = ("-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,--gc-sections,--defsym=end=bss_end")
"""newlib's small C library, as Arduino's core for the Nano 33 BLE has it."""


@dataclass(frozen=True)
class SketchRun:
    """What a sketch did."""

    lines: tuple[str, ...]
    """What it printed, without line ends."""
    program: Sections
    """The whole program, with the small newlib and some 1 kB of stand-ins where a board has its core and USB."""
    model: Sections
    """Of the model alone."""

    @property
    def answers(self) -> list[list[str]]:
        """The fields of each line that is no message; the last but one is the number of instructions of the model."""
        return [line.split(",") for line in self.lines if not line.startswith("#")]


def run_sketch(folder: Path, stream: bytes, flags: Sequence[str] = ("-O2",), defines: Sequence[str] = ()) -> SketchRun:
    """Build the sketch in `folder` for the emulated board, send it `stream`, and return what it printed.

    Args:
        flags: of the compiler, for all of the sketch: -O2, or -Os as Arduino's IDE has it.
        defines: for the sketch's own settings, for instance -DSKETCH_FINE=0.

    Raises:
        ExportError: a tool is missing, a source does not compile without warnings, or the sketch stopped.
    """
    with tempfile.TemporaryDirectory() as work:
        objects = build_objects(folder, Path(work), (*flags, *SECTIONS, *defines))
        program = link(objects, Path(work))
        said = emulator.run(program, stream, 300).output
        model = [file for file in objects if file.name.endswith(".c.o")]
        sizes = emulator.section_sizes([program]), emulator.section_sizes(model)
        return SketchRun(tuple(said.decode("utf-8").splitlines()), *sizes)


def build_objects(folder: Path, work: Path, flags: Sequence[str]) -> list[Path]:
    """The sketch's own files as objects: all that Arduino's build compiles."""
    cpp = (*CXX, *emulator.M4, *CPP_FLAGS, "-I", str(BOARD), "-I", str(folder), *flags)
    c = (*emulator.GCC, *emulator.M4, "-std=gnu11", *emulator.WARNINGS, *flags)
    objects = []
    for source in sorted([*folder.glob("*.ino"), *folder.rglob("*.c"), *folder.rglob("*.cpp")]):
        objects.append(work / f"{source.relative_to(folder).as_posix().replace('/', '_')}.o")
        command = c if source.suffix == ".c" else (*cpp, "-x", "c++")
        emulator.run_tool([*command, "-c", str(source), "-o", str(objects[-1])], 300)
    return objects


def link(objects: Sequence[Path], work: Path) -> Path:
    """The sketch with the stand-in for Arduino's core; what nobody calls is left out."""
    program, board = work / "sketch.elf", work / "board.o"
    source = str(BOARD / "board.cpp")
    emulator.run_tool([*CXX, *emulator.M4, *CPP_FLAGS, "-I", str(BOARD), "-O2", "-c", source, "-o", str(board)], 60)
    files = [str(file) for file in (*objects, board, emulator.compile_start(work / "start.o"))]
    script = str(emulator.FOLDER / "mps2_an386.ld")
    emulator.run_tool([*emulator.GCC, *emulator.M4, *files, *LINK, "-lm", "-T", script, "-o", str(program)], 60)
    return program
