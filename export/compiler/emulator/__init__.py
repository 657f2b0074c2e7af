"""An emulated Cortex-M4: C sources and bytes in, bytes and exact counts of instructions out.

qemu-system-arm's mps2-an386 with one nanosecond of emulated time per instruction, gcc-arm-none-eabi, a bare-metal
start (startup.c) and nothing else. Instructions are counted, not cycles: the emulator knows no pipeline and no
flash wait states.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.errors import ExportError

FOLDER = Path(__file__).resolve().parent
COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
GCC = (COMPILER,)
CLANG = ("clang", "--target=arm-none-eabi", "-isystem", "/usr/lib/arm-none-eabi/include")
"""Beside newlib's headers of Debian; it compiles, gcc links."""
M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
INPUT_ADDRESS = 0x21000000


@dataclass(frozen=True)
class Outcome:
    """What a program did."""

    output: bytes
    """What it passed to emulator_output, in order."""
    counts: tuple[int, ...]
    """What it passed to emulator_count, in order."""


@dataclass(frozen=True)
class Sections:
    """Bytes of a linked program or of object files, as arm-none-eabi-size counts them."""

    flash: int
    """Code, constants and the first values of variables."""
    ram: int
    """Variables; the stack is not among them."""


def missing_tools() -> list[str]:
    """The programs that are not installed; empty where the emulator can run."""
    return [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]


def build(sources: Iterable[Path], program: Path, flags: Sequence[str] = ("-O2",)) -> Path:
    """Compile and link C sources and objects (with a `main`) for the emulated board; warnings are errors."""
    script = FOLDER / "mps2_an386.ld"
    command = [COMPILER, *M4, "-std=c99", *WARNINGS, "-I", str(FOLDER), *flags]
    start = compile_start(program.with_suffix(".start.o"))
    files = [str(source) for source in sources]
    run_tool([*command, *files, str(start), "-nostartfiles", "-T", str(script), "-o", str(program)], 300)
    return program


def compile_start(target: Path) -> Path:
    """The bare-metal start. It is no C99: semihosting and the vector table need GNU C."""
    run_tool([COMPILER, *M4, "-std=gnu99", "-O2", "-c", str(FOLDER / "startup.c"), "-o", str(target)], 60)
    return target


def compile_object(source: Path, target: Path, flags: Sequence[str] = ("-O2",), compiler: Sequence[str] = GCC) -> Path:
    """Compile one C file for the emulated processor; warnings are errors."""
    run_tool([*compiler, *M4, "-std=c99", *WARNINGS, *flags, "-c", str(source), "-o", str(target)], 300)
    return target


def run(program: Path, data: bytes = b"", timeout_s: float = 60) -> Outcome:
    """Run a linked program on the emulated board with `data` as its input."""
    with tempfile.TemporaryDirectory() as folder:
        run_tool(command(program, data, Path(folder)), timeout_s, folder)
        counts = Path(folder, "counts.bin").read_bytes()
        output = Path(folder, "output.bin").read_bytes()
    return Outcome(output, struct.unpack(f"<{len(counts) // 4}I", counts))


def command(program: Path, data: bytes, folder: Path) -> list[str]:
    """The command that runs a linked program in `folder`, where its input is written and its output will be."""
    loaded = folder / "input.bin"
    loaded.write_bytes(struct.pack("<I12x", len(data)) + data)
    machine = [EMULATOR, "-M", "mps2-an386", "-display", "none", "-serial", "null", "-monitor", "none"]
    clock = ["-icount", "shift=0,align=off,sleep=off", "-semihosting-config", "enable=on,target=native"]
    loader = ["-device", f"loader,file={loaded},addr={INPUT_ADDRESS:#x},force-raw=on"]
    return [*machine, *clock, *loader, "-kernel", str(program.resolve())]


def run_c(sources: Iterable[Path], data: bytes = b"", flags: Sequence[str] = ("-O2",)) -> Outcome:
    """Build C sources and run them: a few hundred milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        return run(build(sources, Path(folder, "program.elf"), flags), data)


def section_sizes(files: Iterable[Path]) -> Sections:
    """Flash and RAM of object files or of a linked program, together."""
    lines = run_tool(["arm-none-eabi-size", *(str(file) for file in files)], 60).splitlines()[1:]
    text, data, bss = (sum(int(line.split()[column]) for line in lines) for column in range(3))
    return Sections(text + data, data + bss)


def run_tool(command: list[str], timeout_s: float, folder: str | None = None) -> str:
    """The standard output of a command that must succeed."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s)
    except FileNotFoundError:
        raise ExportError(f"{command[0]} is not installed: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi "
                          "qemu-system-arm") from None  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ExportError(f"{command[0]} did not end within {timeout_s:g} s; the program may hang.") from None
    if done.returncode:
        said = f"{done.stdout}{done.stderr}"[-4000:]
        raise ExportError(f"{command[0]} failed with {done.returncode}: {' '.join(command[-3:])}\n{said}")
    return done.stdout
