"""The C itself: warnings, processors, sanitizers, two models in one program, nothing that is not needed."""

import ctypes
import platform
import re
import shutil
import subprocess

import numpy as np
import pytest

from export.compiler import compile_model
from export.compiler.source import KERNELS
from export.compiler.step import STRUCT_BYTES
from export.micro.flatbuffer import read_model
from tests.export.compiler.host import ROOT, WARNINGS, build, needs, random_inputs, reference
from tests.export.compiler.nets import Net

DATA = ROOT / "tests" / "data"
MODELS = ["tiny_silu_se", "tiny_relu6_nose"]
TARGETS = {
    "gcc": ["gcc"],
    "clang": ["clang"],
    "aarch64": ["aarch64-linux-gnu-gcc"],
    "cortex-m0plus": ["arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb"],
    "cortex-m4": ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb"],
    "cortex-m7": ["arm-none-eabi-gcc", "-mcpu=cortex-m7", "-mthumb"],
    "cortex-m33": ["arm-none-eabi-gcc", "-mcpu=cortex-m33", "-mthumb"],
}
MAIN = r"""
#include <stdio.h>
#include "tiny_silu_se.h"
#include "tiny_relu6_nose.h"

static int8_t input[TINY_SILU_SE_INPUT_BYTES];

int main(void) {
    int8_t output[TINY_SILU_SE_OUTPUT_BYTES];
    while (fread(input, 1, sizeof input, stdin) == sizeof input) {
        if (tiny_silu_se_run(input, output) || fwrite(output, 1, sizeof output, stdout) != sizeof output) {
            return 1;
        }
        if (tiny_relu6_nose_run(input, output) || fwrite(output, 1, sizeof output, stdout) != sizeof output) {
            return 1;
        }
    }
    return tiny_silu_se_run(0, output) == 1 ? 0 : 2;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Both models, compiled into one folder."""
    out = tmp_path_factory.mktemp("c")
    for model in MODELS:
        compile_model(DATA / f"{model}.tflite", out)
    (out / "main.c").write_text(MAIN)
    return out


@pytest.mark.parametrize("target", TARGETS)
def test_it_compiles_without_a_warning(target, folder, tmp_path):
    command = TARGETS[target]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} not installed")
    for model in MODELS:
        object_file = tmp_path / f"{model}.o"
        subprocess.run(
            [*command, *WARNINGS, "-O2", "-c", str(folder / f"{model}.c"), "-o", str(object_file)], check=True
        )


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_two_models_in_one_program_under_the_sanitizers(compiler, folder, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} not installed")
    program, empty = tmp_path / "program", tmp_path / "empty.c"
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]
    empty.write_text("int main(void) { return 0; }\n")
    if subprocess.run([compiler, *sanitize, str(empty), "-o", str(program)], capture_output=True).returncode:
        pytest.skip(f"{compiler} has no sanitizers here")
    sources = [str(folder / f"{name}.c") for name in ("main", *MODELS)]
    subprocess.run([compiler, *WARNINGS, *sanitize, "-DPOISON_FREE_MEMORY", *sources, "-o", str(program)], check=True)
    images = np.random.default_rng(1).integers(-128, 128, (3, 64, 64, 3), dtype=np.int8)
    answer = subprocess.run([str(program)], input=images.tobytes(), capture_output=True, check=True).stdout
    expected = [reference((DATA / f"{model}.tflite").read_bytes())(images) for model in MODELS]
    np.testing.assert_array_equal(np.frombuffer(answer, np.int8).reshape(3, 2, 3), np.stack(expected, axis=1))


def test_no_heap_no_float_and_no_library_but_memcpy(folder):
    for model in MODELS:
        text = re.sub(r"/\*.*?\*/", "", (folder / f"{model}.c").read_text(), flags=re.S)
        assert not re.findall(r"\b(malloc|free|float|double|printf|expf?)\b", text)
        assert set(re.findall(r"#include (<.*?>)", text)) <= {"<stdint.h>", "<string.h>", "<arm_acle.h>"}


def test_kernels_that_no_operator_uses_are_left_out(folder):
    plain, silu = ((folder / f"{model}.c").read_text() for model in ("tiny_relu6_nose", "tiny_silu_se"))
    assert "lookup(" not in plain
    assert "lookup(" in silu
    assert "max_pool(" not in silu


@needs("gcc")
@pytest.mark.parametrize("unit", sorted(path.stem for path in (KERNELS / "portable").glob("*.c")))
def test_each_kernel_file_compiles_by_itself(unit, tmp_path):
    source = KERNELS / "portable" / f"{unit}.c"
    subprocess.run(["gcc", *WARNINGS, "-O1", "-DKERNEL=", "-c", str(source), "-o", str(tmp_path / "k.o")], check=True)


@pytest.mark.parametrize("compiler", ["gcc -m32", "arm-none-eabi-gcc"])
def test_sizes_of_structs_on_32_bits(compiler, tmp_path):
    program, *options = compiler.split()
    if shutil.which(program) is None or (options and platform.machine() != "x86_64"):
        pytest.skip(f"no {compiler} here")
    headers = sorted(path.name for path in KERNELS.glob("*.h"))
    sizes = [
        f"typedef char {name}_is_{size}[sizeof({name}) == {size} ? 1 : -1];" for name, size in STRUCT_BYTES.items()
    ]
    (tmp_path / "string.h").write_text("")  # those of the C library may be there for 64 bits only
    (tmp_path / "sizes.c").write_text("\n".join([*(f'#include "{name}"' for name in headers), *sizes]))
    command = [program, *options, "-std=c99", "-ffreestanding", "-fsyntax-only", f"-I{tmp_path}", f"-I{KERNELS}"]
    subprocess.run([*command, str(tmp_path / "sizes.c")], check=True)


@needs("gcc")
def test_a_model_without_a_kernel(tmp_path):
    """RESHAPE alone: memmove and memcpy are declared all the same."""
    net = Net(0)
    x = net.tensor([1, 4, 4, 2], 0.05)
    model = net.finish(x, net.flat(x))
    (tmp_path / "m.tflite").write_bytes(model)
    compiled = compile_model(tmp_path / "m.tflite", tmp_path)
    inputs = random_inputs(compiled, model, 2)
    np.testing.assert_array_equal(build(compiled, tmp_path)(inputs), inputs.reshape(2, -1))


@needs("g++")
def test_the_header_suits_c_and_cpp(folder, tmp_path):
    (tmp_path / "use.cpp").write_text('#include "tiny_silu_se.h"\nint main() { return tiny_silu_se_run(0, 0) - 1; }\n')
    command = ["g++", "-Wall", "-Wextra", "-Werror", f"-I{folder}", "-c", str(tmp_path / "use.cpp")]
    subprocess.run([*command, "-o", str(tmp_path / "use.o")], check=True)


@needs("gcc")
@pytest.mark.parametrize("model", MODELS)
def test_fine_output_is_the_int8_one_before_it_is_rounded(model, tmp_path):
    path = DATA / f"{model}.tflite"
    compiled = compile_model(path, tmp_path)
    library = tmp_path / "model.so"
    command = ["gcc", *WARNINGS, "-O1", "-shared", "-fPIC", str(tmp_path / f"{model}.c"), "-o", str(library)]
    subprocess.run(command, check=True)
    fine = getattr(ctypes.CDLL(str(library)), f"{model}_run_fine")
    scales = re.search(r"_FINE_SCALES {(.*?)}", (tmp_path / f"{model}.h").read_text())
    assert scales
    factors = np.array([float(text.strip().rstrip("f")) for text in scales[1].split(",")])
    target = read_model(path).output
    inputs = random_inputs(compiled, path.read_bytes(), 40)
    coarse = build(compiled, tmp_path)(inputs)
    for row, answer in zip(inputs, coarse, strict=True):
        sums = np.zeros(len(factors), np.int32)
        assert fine(row.ctypes.data_as(ctypes.c_void_p), sums.ctypes.data_as(ctypes.c_void_p)) == 0
        steps = sums * factors / target.scale + target.zero_point
        inside = np.abs(answer) < 127
        assert (np.abs(steps - answer)[inside] <= 0.5001).all()
    assert len(np.unique(coarse)) > 3
