"""Files from elsewhere: what is safe runs here, what is not ends a child process, and this process never crashes."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export import ExportError, load_runtime
from export.errors import ModelFileError
from export.micro.flatbuffer import parse_model, read_model
from export.run import child
from export.run import runtime as runtime_module
from export.run.check import doubt
from export.run.engines import TFLiteRuntime
from tests.crafted import FLOAT, INT8, INT32, schema, tensor, write_model
from tests.exported import exported

ROOT = Path(__file__).resolve().parents[3]
TINY = ROOT / "tests" / "data" / "tiny_relu6_se.tflite"
RELEASED = sorted((ROOT / "hpe" / "model" / "releases").glob("*.tflite"))
PEERS = sorted((ROOT.parent / "shared" / "reference" / "mlperf_tiny").glob("*.tflite"))

# The process that must survive: it loads and runs mutated files of the paths given, and prints how many of each fate.
SURVIVOR = """
import collections, sys
from pathlib import Path
import numpy as np
from export import ExportError, load_runtime
from export.run import child
from export.run import runtime as runtime_module

class FewChildren(child.ChildRuntime):
    left = int(sys.argv[3])

    def __init__(self, path, *rest):
        FewChildren.left -= 1
        if FewChildren.left < 0:
            raise ExportError(f"{path} would run in a child")
        super().__init__(path, *rest)

runtime_module.ChildRuntime = FewChildren
count, work, files = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[4:]
fates = collections.Counter()
for number in range(count):
    rng = np.random.default_rng([20261, number])
    content = bytearray(Path(files[number % len(files)]).read_bytes())
    words = np.frombuffer(content[: len(content) // 4 * 4], "<u4")
    tables = np.flatnonzero(words < 70_000)  # small numbers: indices, counts, shapes, offsets; hardly any weights
    for at in 4 * rng.choice(tables, rng.integers(1, 4)):
        odd = [0, 1, 2, 5, 255, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1][rng.integers(10)]
        content[at : at + 4] = int(odd).to_bytes(4, "little")
    (work / "mutated.tflite").write_bytes(content)
    print(number, file=sys.stderr, flush=True)
    try:
        loaded = load_runtime(work / "mutated.tflite")
        image = np.ones((1, *loaded.input_shape), np.float32)
        loaded.run_one(loaded.quantize(image) if loaded.is_int8 else image)
        fates["ran"] += 1
    except ExportError as error:
        assert "mutated.tflite" in str(error), error
        fates["refused"] += 1
print(fates["ran"], fates["refused"])
"""


def survive(count: int, children: int, work: Path, files: list[Path]) -> tuple[int, int]:
    """How many of `count` mutations ran, and how many were refused, in a process that none of them may end.

    No more than `children` are tried in a child, each of which takes a third of a second to start.
    """
    command = [sys.executable, "-c", SURVIVOR, str(count), str(work), str(children), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"mutation {done.stderr.splitlines()[-1:]} ended the process: {done.stderr[-500:]}"
    ran, refused = done.stdout.split()
    return int(ran), int(refused)


def damaged(source: Path, target: Path, changes: dict[int, int]) -> Path:
    content = bytearray(source.read_bytes())
    for at, value in changes.items():
        content[at] = value
    target.write_bytes(content)
    return target


def test_hundreds_of_mutations_never_end_the_process(tmp_path: Path):
    ran, refused = survive(300, 8, tmp_path, [TINY])
    assert ran > 30
    assert refused > 60


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scales"), [("ADD", (1.0, 1e-8)), ("SUB", (1.0, 1e-8)), ("SOFTMAX", (1e-30, 1 / 256))]
)
def test_scales_that_end_litert_are_in_doubt(name: str, scales: tuple[float, float], tmp_path: Path):
    ends = [tensor([1, 4, 4, 2], INT8, scale, -128 if name == "SOFTMAX" else 0) for scale in scales]
    inputs = ends[:1] if name == "SOFTMAX" else [ends[0], tensor([1, 4, 4, 2], INT8, scales[0])]
    path = write_model(tmp_path / "odd.tflite", getattr(schema.BuiltinOperator, name), inputs, ends[1])
    reason = doubt(read_model(path))
    assert reason is not None
    assert "scale" in reason


def test_thousands_of_mutations_of_every_format_never_end_the_process(tmp_path: Path):
    files = [path for fmt, path in exported().files.items() if fmt != "onnx"]
    ran, refused = survive(3000, 500, tmp_path, [TINY, *RELEASED[:1], *files])
    assert ran > 300
    assert refused > 600


def test_an_index_that_crashed_and_a_shape_that_took_gigabytes_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(runtime_module, "ChildRuntime", None)  # the cheap checks decide
    crashed = damaged(TINY, tmp_path / "crash.tflite", dict.fromkeys(range(2492, 2496), 0xFF))
    with pytest.raises(ModelFileError, match=r"crash\.tflite is a damaged .* not among the 35"):
        load_runtime(crashed)
    huge = damaged(ROOT / "tests" / "data" / "micro" / "relu6_small.tflite", tmp_path / "huge.tflite", {67959: 1})
    with pytest.raises(ModelFileError, match=r"huge\.tflite is a damaged .* takes 3,087,008,480 bytes"):
        load_runtime(huge)


@pytest.mark.parametrize("path", [TINY, *RELEASED, *PEERS], ids=lambda path: path.stem)
def test_networks_of_this_kind_run_without_a_child(path: Path):
    assert doubt(read_model(path)) is None


@pytest.mark.parametrize(
    ("fmt", "expected"), [("fp32", None), ("fp16", None), ("dynamic", None), ("int8", None), ("sparse", "sparse")]
)
def test_exported_formats(fmt: str, expected: str | None):
    reason = doubt(read_model(exported().files[fmt]))
    assert reason is None if expected is None else expected in str(reason)


@pytest.mark.parametrize("fmt", ["sparse", "int8_sparse"])
def test_a_child_answers_as_this_process_would(fmt: str):
    made = exported()
    path = made.files[fmt]
    apart, here = load_runtime(path), load_runtime(path, trusted=True)
    assert isinstance(apart, child.ChildRuntime)
    assert isinstance(here, TFLiteRuntime)
    assert apart.kernels == here.kernels == ("xnnpack" if fmt == "sparse" else "builtin")
    np.testing.assert_array_equal(apart(made.samples[:3]), here(made.samples[:3]))
    assert apart.input_shape == here.input_shape
    assert apart.timed_invoke() > 0


def test_the_child_ends_with_its_runtime():
    runtime = load_runtime(exported().files["sparse"])
    assert isinstance(runtime, child.ChildRuntime)
    process = runtime._child
    assert process.poll() is None
    del runtime
    gc.collect()
    assert process.poll() is not None


def test_a_refusal_in_the_child_is_passed_on(tmp_path: Path):
    ends = tensor([1, 1, 4, 1], FLOAT), tensor([1, 1, 4, 1], FLOAT)
    unknown = write_model(tmp_path / "odd.tflite", schema.BuiltinOperator.CUSTOM, [ends[0]], ends[1], custom="Odd")
    with pytest.raises(ExportError, match=r"odd\.tflite is not a TensorFlow Lite model that runs here: .*Odd"):
        load_runtime(unknown)


def test_a_child_that_takes_too_much_dies_or_takes_too_long_is_one_message(tmp_path: Path, monkeypatch):
    made = exported()
    path = made.files["sparse"]
    runtime = load_runtime(path)
    assert isinstance(runtime, child.ChildRuntime)
    runtime._child.kill()
    with pytest.raises(ModelFileError, match=r"sparse\.tflite is a damaged .* crashed or took too much memory; it has"):
        runtime(made.samples[:1])
    rows = 200_000_000  # of 4 bytes
    amounts = np.array([[0, 0], [0, rows], [0, 0], [0, 0]], np.int32)
    ends = tensor([1, 4, 4, 1], INT8, 0.5), tensor([1, 4 + rows, 4, 1], INT8, 0.5)
    large = tmp_path / "large.tflite"
    assert "more memory than is plausible" in str(one_op(large, "PAD", ends, [(tensor([4, 2], INT32), amounts)]))
    with pytest.raises(ExportError, match=r"large\.tflite"):
        load_runtime(large)
    monkeypatch.setattr(child, "LIMIT_S", 0.001)
    with pytest.raises(ModelFileError, match=r"did not compute within 0\.001 s"):
        load_runtime(path)


def one_op(path: Path, name: str, ends: tuple, constants: list, options: object = None) -> str | None:
    return doubt(read_model(write_model(path, getattr(schema.BuiltinOperator, name), [ends[0]], ends[1], constants)))


@pytest.mark.parametrize(
    ("name", "output", "constant", "reason"),
    [
        ("PAD", [1, 6, 4, 1], [[0, 0], [1, 1], [0, 0], [0, 0]], None),
        ("PAD", [1, 6, 4, 1], [[0, 0], [1, 2**24], [0, 0], [0, 0]], "an output of shape"),
        ("PAD", [1, 6, 4, 1], [[0, 0], [3, -1], [0, 0], [0, 0]], "amounts"),
        ("PAD", [1, 6, 4, 1], [[1, 1], [0, 0]], "amounts"),
        ("MEAN", [1, 1, 1, 1], [1, 2], None),
        ("MEAN", [1, 1], [1, -2], None),
        ("MEAN", [1, 1, 1, 1], [1, 7], "axes that the input does not have"),
        ("MEAN", [1, 1, 1, 1], [1, 1], "named twice"),
        ("MEAN", [1, 4, 1, 1], [1, 2], "an output of shape"),
        ("RESHAPE", [1, 16], [1, 16], None),
        ("RESHAPE", [1, 16], [1, -1], None),
        ("RESHAPE", [1, 16], [2, 8], "a shape that is not"),
        ("RESHAPE", [1, 17], [1, 17], "a shape that is not"),
        ("GATHER", [1, 16], [1, 16], "not an operator that is checked"),
    ],
)
def test_numbers_inside_constants_are_followed(tmp_path: Path, name, output, constant, reason):
    values = np.array(constant, np.int32)
    ends = tensor([1, 4, 4, 1], INT8, 0.5), tensor(output, INT8, 0.5)
    found = one_op(tmp_path / "op.tflite", name, ends, [(tensor(list(values.shape), INT32), values)])
    assert found is None if reason is None else reason in str(found)


def test_a_graph_that_reads_what_is_not_written_is_in_doubt():
    content = bytearray(TINY.read_bytes())
    model = parse_model(bytes(content))
    assert doubt(model) is None
    later = model.ops[5].outputs[0]
    first = np.array(model.ops[0].inputs, "<i4").tobytes()
    at = content.find(first)
    content[at : at + 4] = int(later).to_bytes(4, "little")
    assert "read before it is written" in str(doubt(parse_model(bytes(content))))
