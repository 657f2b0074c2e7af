"""Sketches for networks that are none for head poses: what they print is what TensorFlow Lite computes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.errors import ExportError
from export.micro.flatbuffer import read_model
from export.micro.labels import c_string
from export.micro.sketch import write_arduino, write_model_sketch
from hpe.deploy.board_link import encode_values
from tests.export.compiler.nets import Net
from tests.sketches import RELU6, SETTINGS, SILU, build_c_sketch, build_sketch, needs_gxx, run

pytestmark = pytest.mark.usefixtures("without_wheel")
needs_compilers = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("g++") is None, reason="gcc and g++ are not installed"
)
BOARD = "nano33ble"


def classifier(folder: Path, outputs: int = 5, softmax: bool = True) -> Path:
    """A net on a 5 x 6 image of two channels."""
    net = Net(8)
    first = net.tensor([1, 5, 6, 2], 0.05, -3)
    x = net.window(first, (4, 3, 3, 2), depthwise=False, out=(1.0, 2), activation="RELU")
    x = net.linear(net.flat(x), outputs, per_channel=False)
    x = net.softmax(x) if softmax else x
    path = folder / "classifier.tflite"
    path.write_bytes(net.finish(first, x))
    return path


def reference(path: Path, inputs: np.ndarray) -> np.ndarray:
    """float64 (N, K): LiteRT's reference kernels, dequantised."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for values in inputs:
        interpreter.set_tensor(source["index"], values.reshape(source["shape"]))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target["index"]).ravel())
    scale, zero_point = target["quantization"]
    return (np.array(rows, np.float64) - zero_point) * scale


def ask(program: Path, inputs: np.ndarray) -> list[list[str]]:
    """The answers without the microseconds; sequence bytes are checked."""
    stream = b"".join(encode_values(values, index) for index, values in enumerate(inputs))
    lines = run(program, stdin=stream).decode().splitlines()
    assert lines[0].startswith("# model ready: input ")
    fields = [line.rsplit(",", 2) for line in lines[1:]]
    assert [int(row[2]) for row in fields] == list(range(len(inputs)))
    return [row[0].split(",") for row in fields]


def random_inputs(path: Path, count: int = 6) -> np.ndarray:
    return np.random.default_rng(5).integers(-128, 128, (count, read_model(path).input.elements), dtype=np.int8)


@needs_compilers
@pytest.mark.parametrize("make", [classifier, lambda _: SILU, lambda _: RELU6], ids=["classifier", "silu", "relu6"])
def test_outputs_are_the_reference(make: Any, tmp_path: Path):
    path = make(tmp_path)
    write_model_sketch(path, tmp_path / "any", BOARD, {})
    inputs, step = random_inputs(path), read_model(path).output.scale
    found = np.array(ask(build_c_sketch(tmp_path / "any"), inputs), np.float64)
    np.testing.assert_allclose(found, reference(path, inputs), atol=0.0501 * step)


@needs_compilers
def test_fine_outputs_are_within_half_a_step(tmp_path: Path):
    path = classifier(tmp_path, softmax=False)
    write_model_sketch(path, tmp_path / "any", BOARD, {})
    inputs, step = random_inputs(path), read_model(path).output.scale
    found = np.array(ask(build_c_sketch(tmp_path / "any", "-DSKETCH_FINE=1"), inputs), np.float64)
    whole = reference(path, inputs)
    assert (np.abs(found - whole) <= 0.56 * step).all()
    assert np.abs(found - whole).max() > 0.1 * step


@needs_compilers
def test_bytes_of_an_image_are_normalised_on_the_board(tmp_path: Path):
    """Two channels, each with a mean and deviation of its own."""
    from export.run.runtime import load_runtime

    path, normalisation = classifier(tmp_path), {"mean": [0.4, 0.5], "std": [0.2, 0.3]}
    write_model_sketch(path, tmp_path / "any", BOARD, normalisation)
    images = np.random.default_rng(6).integers(0, 256, (4, 5, 6, 2), dtype=np.uint8)
    real = ((images.astype(np.float32) / 255 - np.float32([0.4, 0.5])) / np.float32([0.2, 0.3])).astype(np.float32)
    expected = reference(path, load_runtime(path, reference_kernels=True).quantize(real))
    found = np.array(ask(build_c_sketch(tmp_path / "any"), images), np.float64)
    np.testing.assert_allclose(found, expected, atol=0.0501 / 256)
    readme = (tmp_path / "any" / "README.md").read_text()
    assert "the image's 60 bytes (5 x 6 x 2" in readme


@needs_compilers
def test_label_and_value_of_the_highest_output(tmp_path: Path):
    path, labels = classifier(tmp_path), ["tench, Tinca", 'a "b" \\', "what??=", "größer", "% d"]
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n\n", encoding="utf-8")
    write_model_sketch(path, tmp_path / "any", BOARD, {"labels": tmp_path / "labels.txt"})
    inputs = random_inputs(path, 20)
    found = [",".join(row).rsplit(",", 1) for row in ask(build_c_sketch(tmp_path / "any"), inputs)]
    whole = reference(path, inputs)
    assert [label for label, _ in found] == [labels[top] for top in whole.argmax(axis=1)]
    np.testing.assert_allclose([float(value) for _, value in found], whole.max(axis=1), atol=0.0501 / 256)
    assert len({label for label, _ in found}) > 1


@needs_gxx
@pytest.mark.parametrize("with_labels", [False, True])
def test_the_same_on_the_stand_in_for_the_interpreter(with_labels: bool, tmp_path: Path):
    """Its outputs are values of the input, so that decoding and printing are what is tested."""
    settings: dict[str, Any] = {}
    if with_labels:
        settings["labels"] = tmp_path / "labels.txt"
        settings["labels"].write_text("left\nmiddle\nright\n")
    write_model_sketch(SILU, tmp_path / "any", BOARD, settings, "tflm")
    inputs, target = random_inputs(SILU, 4), read_model(SILU).output
    chosen = inputs[:, [0, 6144, 12287]].astype(np.float64)
    real = (chosen - target.zero_point) * target.scale
    found = ask(build_sketch(tmp_path / "any", SILU, camera=False), inputs)
    if with_labels:
        assert [row[0] for row in found] == [("left", "middle", "right")[i] for i in real.argmax(axis=1)]
        found, real = [row[1:] for row in found], real.max(axis=1, keepdims=True)
    np.testing.assert_allclose(np.array(found, np.float64), real, atol=0.0501 * target.scale)


@needs_gxx
@pytest.mark.parametrize("scale", [3e-12, 0.5, 4.0, 25.0, 7e6])
def test_outputs_of_any_scale_can_be_read(scale: float, tmp_path: Path):
    """On the stand-in for the interpreter, which takes any scale as it is."""
    net = Net(3)
    x = net.tensor([1, 1, 1, 4], 0.05, 1)
    y = super(Net, net).tensor([1, 1, 1, 4], scale, -7)
    path = tmp_path / "scaled.tflite"
    path.write_bytes(net.finish(x, net.op("HARD_SWISH", [x], y)))
    write_model_sketch(path, tmp_path / "any", BOARD, {}, "tflm")
    inputs = np.array([[-128, 127, 0, -7], [1, 2, 3, 4]], np.int8)
    found = np.array(ask(build_sketch(tmp_path / "any", path, camera=False), inputs), np.float64)
    np.testing.assert_allclose(found, (inputs.astype(np.float64) + 7) * scale, atol=0.0501 * scale, rtol=1e-6)


@pytest.mark.parametrize("engine", ["c", "tflm"])
def test_sketch_is_complete_and_speaks_of_no_heads(engine: str, tmp_path: Path):
    written = write_model_sketch(SILU, tmp_path / "any", BOARD, {}, engine)
    files = {path for path in (tmp_path / "any").rglob("*") if path.is_file()}
    assert files == set(written)
    for path in written:
        text = path.read_text() if path.name != "model.c" else ""  # whose kernels know of the pitch of rows
        assert not re.search(r"\bhead|yaw|pitch|\bface|camera|OV7675", text, re.IGNORECASE), path.name
    readme = (tmp_path / "any" / "README.md").read_text()
    assert readme.startswith("# any_model: tiny_silu_se.tflite on a microcontroller\n")
    assert "$" not in readme
    assert ("no TensorFlow Lite" in readme) == (engine == "c")
    assert ("Chirale_TensorFLowLite" in readme) == (engine == "tflm")
    named = set(re.findall(r"`((?:src/)?[a-z_]+)\.(?:h|\*|cpp)`", readme))
    there = {path.relative_to(tmp_path / "any").with_suffix("").as_posix() for path in files}
    assert named <= there
    for path in files - {tmp_path / "any" / name for name in ("any.ino", "README.md")}:
        assert path.relative_to(tmp_path / "any").with_suffix("").as_posix() in named, path.name


def test_engines_change_and_kinds_do_not_mix(tmp_path: Path):
    for engine in ("tflm", "c", "tflm"):
        written = write_model_sketch(SILU, tmp_path / "any", BOARD, {}, engine)
        assert {p for p in (tmp_path / "any").rglob("*") if p.is_file()} - set(written) <= {
            tmp_path / "any/src/config.h"
        }
    with pytest.raises(ExportError, match=r"any holds a sketch of another kind \(any_model\)"):
        write_arduino(SILU, tmp_path / "any", BOARD, SETTINGS)
    write_arduino(SILU, tmp_path / "heads", BOARD, SETTINGS)
    with pytest.raises(ExportError, match=r"heads holds a sketch of another kind \(head_pose\)"):
        write_model_sketch(SILU, tmp_path / "heads", BOARD, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntwo\n", "has 2 labels, .* has 3 outputs"),
        (b"one\ntwo\nthree\nfour\n", "has 4 labels, .* has 3 outputs"),
        (b"one\n\nthree\n", "line 2 is empty"),
        (b"one\n# two\nthree\n", "line 2 begins with '#'"),
        (b"one\ntw\x07o\nthree\n", "line 2 cannot be printed"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (None, "No such file"),
    ],
)
def test_labels_that_are_none_are_refused(content: bytes | None, message: str, tmp_path: Path):
    path = tmp_path / "labels.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExportError, match=f"--labels .*labels.txt.*{message}"):
        write_model_sketch(SILU, tmp_path / "any", BOARD, {"labels": path})
    assert not (tmp_path / "any").exists()


def test_settings_that_do_not_suit_are_refused(tmp_path: Path):
    one = classifier(tmp_path, outputs=1, softmax=False)
    (tmp_path / "labels.txt").write_text("one\n")
    with pytest.raises(ExportError, match="has one output"):
        write_model_sketch(one, tmp_path / "any", BOARD, {"labels": tmp_path / "labels.txt"})
    with pytest.raises(ExportError, match=r"'mean'.*2 numbers, one for each channel"):
        write_model_sketch(one, tmp_path / "any", BOARD, {"mean": [0.5] * 3, "std": [0.5] * 3})
    with pytest.raises(ExportError, match=r"'std'.*2 numbers"):
        write_model_sketch(one, tmp_path / "any", BOARD, {"mean": [0.5] * 2})
    assert not (tmp_path / "any").exists()


def test_any_label_is_a_c_string():
    assert c_string('a"b\\c?ü') == '"a\\042b\\134c\\077\\303\\274"'
