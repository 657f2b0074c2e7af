"""Every DSP unit compiles without a warning, as strict C99, with gcc and clang, for Cortex-M4, M7 and M33."""

import shutil
import subprocess
from pathlib import Path

import pytest

from export.compiler.emulator.calls import KERNELS

HEADERS = Path("/usr/lib/arm-none-eabi/include")
UNITS = sorted(path.stem for path in (KERNELS / "dsp").glob("*.c"))
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-DKERNEL="]
GCC, CLANG = ["arm-none-eabi-gcc"], ["clang", "--target=arm-none-eabi", "-isystem", str(HEADERS)]


@pytest.mark.parametrize("compiler", [GCC, CLANG], ids=["gcc", "clang"])
@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m7", "cortex-m33"])
def test_units_compile_without_warnings(compiler, cpu, tmp_path):
    if shutil.which(compiler[0]) is None or not HEADERS.exists():
        pytest.skip(f"{compiler[0]} or Debian's libnewlib-arm-none-eabi is not installed")
    source = tmp_path / "units.c"
    source.write_text("".join(f'#include "{KERNELS / "dsp" / unit}.c"\n' for unit in UNITS))
    command = [*compiler, *STRICT, f"-mcpu={cpu}", "-mthumb", "-O2", "-c", str(source), "-o", str(tmp_path / "units.o")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flags", "dsp"),
    [
        (["-mcpu=cortex-m4", "-mthumb"], 1),
        (["-mcpu=cortex-m33", "-mthumb"], 1),
        (["-mcpu=cortex-m33+nodsp", "-mthumb"], 0),
        (["-mcpu=cortex-m0plus", "-mthumb"], 0),
        (["-mcpu=cortex-m4", "-mthumb", "-DPORTABLE_KERNELS"], 0),
        (["-mcpu=cortex-a7", "-marm"], 0),  # a Raspberry Pi with a 32-bit system
        (["-mcpu=cortex-a7", "-mthumb"], 0),
    ],
)
def test_who_gets_the_dsp_kernels(flags, dsp, tmp_path):
    if shutil.which(GCC[0]) is None:
        pytest.skip(f"{GCC[0]} is not installed")
    source = tmp_path / "choice.c"
    source.write_text(f'#include "{KERNELS}/common.h"\n#if DSP_KERNELS != {dsp}\n#error another choice\n#endif\n')
    command = [*GCC, *STRICT, *flags, "-fsyntax-only", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
