"""What `hpe deploy` cannot write is one message, whatever the engine and the kind of sketch, and nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from export.compiler import Limits
from export.errors import ExportError
from export.micro.boards import BOARDS
from export.micro.engines import engine_costs
from export.micro.sketch import ENGINES, write_arduino, write_model_sketch
from hpe.model.zoo import resolve_model
from tests.crafted import quantize_model, two_input_model
from tests.export.compiler.nets import Net
from tests.sketches import SETTINGS, SILU

pytestmark = pytest.mark.usefixtures("without_wheel")
BOARD = "nano33ble"
Write = Callable[[Path, Path], list[Path]]


@pytest.fixture(params=[(kind, engine) for kind in ("head_pose", "any_model") for engine in ENGINES], ids="-".join)
def write(request: pytest.FixtureRequest) -> Write:
    """write(model, out) for a kind of sketch and an engine."""
    kind, engine = request.param
    writer, settings = (write_arduino, SETTINGS) if kind == "head_pose" else (write_model_sketch, {})
    return partial(writer, board=BOARD, settings=settings, engine=engine)


def refused(write: Write, model: Path, out: Path, message: str) -> None:
    before = {path: path.read_bytes() for path in out.parent.rglob("*") if path.is_file()}
    folders = {path for path in out.parent.rglob("*") if path.is_dir()}
    with pytest.raises(ExportError, match=message) as error:
        write(model, out)
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in out.parent.rglob("*") if path.is_file()} == before
    assert {path for path in out.parent.rglob("*") if path.is_dir()} == folders


def test_models_that_no_board_runs(write: Write, tmp_path: Path):
    floats = quantize_model(tmp_path / "float.tflite", 0.5, 0, 4)
    refused(write, floats, tmp_path / "out", r"float.tflite has a float32")
    refused(write, two_input_model(tmp_path / "two.tflite"), tmp_path / "out", r"two.tflite has 2 inputs")
    (tmp_path / "cut.tflite").write_bytes(SILU.read_bytes()[:3000])
    refused(write, tmp_path / "cut.tflite", tmp_path / "out", r"cut.tflite")


def test_folders_that_cannot_be_written(write: Write, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    refused(write, SILU, tmp_path / "file", r"file cannot be written: .* Give another --out")
    refused(write, SILU, tmp_path / "file" / "out", r"out cannot be written: .* Give another --out")
    (tmp_path / "taken" / "model_settings.h").mkdir(parents=True)
    refused(write, SILU, tmp_path / "taken", r"model_settings.h is a folder; nothing was written")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "src").write_text("a file where a folder must be")
    refused(write, SILU, tmp_path / "half", r"half cannot be written")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission(write: Write, tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(write, SILU, tmp_path / "locked" / "out", r"out cannot be written: Permission denied")


def test_a_full_disk_leaves_nothing(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The last of the files cannot be written."""
    real, left = Path.write_bytes, [5]

    def write_bytes(path: Path, content: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    refused(write, SILU, tmp_path / "deep" / "out", r"out cannot be written: No space left on device")


def test_a_program_of_the_users_own_beside_the_sketch(write: Write, tmp_path: Path):
    write(SILU, tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    (tmp_path / "two" / "mine.ino").write_text("void setup() {}\n")
    refused(write, SILU, tmp_path / "two", r"mine.ino would become a part of the sketch")
    (tmp_path / "two" / "mine.ino").unlink()
    write(SILU, tmp_path / "two")
    assert [path.name for path in (tmp_path / "two").glob("*.ino")] == ["two.ino"]  # that of the old name is gone


@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_that_fill_the_memory_of_the_sketch(engine: str, tmp_path: Path):
    """The model alone would fit: it takes an image of 64 x 64, or the mean of it."""
    for name, whole in (("means", False), ("image", True)):
        net = Net(0)
        x = net.tensor([1, 64, 64, 3], 0.05)
        y = net.window(x, (10, 1, 1, 3), depthwise=False, out=(1.0, 0))
        (tmp_path / f"{name}.tflite").write_bytes(net.finish(x, y if whole else net.average(y, [1, 2], (1.0, 0))))
    assert engine_costs(tmp_path / "image.tflite", BOARD, count_code=False)[engine]["fits"]
    write = partial(write_model_sketch, board=BOARD, settings={}, engine=engine)
    refused(
        write, tmp_path / "image.tflite", tmp_path / "out", r"image.tflite does not fit .*RAM is [\d,]+ bytes short"
    )
    write(tmp_path / "means.tflite", tmp_path / "out")


@pytest.mark.parametrize("engine", ENGINES)
def test_only_a_sketch_with_a_camera_needs_room_for_its_frame(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    board = BOARDS[BOARD]
    needed = engine_costs(SILU, BOARD, count_code=False)[engine]["ram_bytes"] + board.core_ram_bytes
    monkeypatch.setitem(BOARDS, BOARD, replace(board, ram_bytes=needed + board.frame_bytes - 1))
    heads = partial(write_arduino, board=BOARD, settings=SETTINGS, engine=engine)
    refused(heads, SILU, tmp_path / "heads", r"tiny_silu_se.tflite does not fit .*RAM is \d+ bytes short")
    assert write_model_sketch(SILU, tmp_path / "any", BOARD, {}, engine)


def test_the_sums_of_a_last_dense_layer_count(tmp_path: Path):
    """6 bytes an output fit, the model's own byte included, and 9 with SKETCH_FINE do not."""
    board = BOARDS[BOARD]
    outputs = (board.ram_bytes - board.core_ram_bytes) // 8
    net = Net(0)
    x = net.tensor([1, 1], 0.05)
    (tmp_path / "many.tflite").write_bytes(net.finish(x, net.linear(x, outputs, per_channel=False)))
    write = partial(write_model_sketch, board=BOARD, settings={})
    refused(write, tmp_path / "many.tflite", tmp_path / "out", r"many.tflite does not fit .*RAM is [\d,]+ bytes short")


@pytest.mark.parametrize("kind", ["head_pose", "any_model"])
def test_what_exceeds_a_limit_or_the_board_is_told_by_layer(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = resolve_model("b0-nano")
    write = write_arduino if kind == "head_pose" else write_model_sketch
    settings = SETTINGS if kind == "head_pose" else {}
    for limits, message in (
        (Limits(flash=150_000), r"([\d,]+) bytes of flash.*: ([\d,]+) more than the 150,000 allowed. Most of it: \d+ "),
        (Limits(ram=20_000), r"([\d,]+) bytes of RAM: ([\d,]+) more than the 20,000 allowed. Most of it: \d+ "),
    ):
        out = tmp_path / "out"
        refused(partial(write, board=BOARD, settings=settings, limits=limits), model, out, message)
        with pytest.raises(ExportError, match=r"--flash and --ram hold for --engine c"):
            write(model, out, BOARD, settings, "tflm", limits)
    board = BOARDS[BOARD]
    for change, message in (
        ({"ram_bytes": 80_000}, r"RAM is [\d,]+ bytes short \(the model takes [\d,]+, .*Most of it: \d+ "),
        ({"flash_bytes": 300_000}, r"flash is [\d,]+ bytes short \(the model takes [\d,]+, .*Most of it: \d+ "),
    ):
        monkeypatch.setitem(BOARDS, BOARD, replace(board, **change))
        refused(partial(write, board=BOARD, settings=settings), model, tmp_path / "out", message)
