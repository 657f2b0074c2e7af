"""What `hpe deploy` writes: a complete sketch folder, or one message and nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.errors import ExportError, ModelFileError
from export.micro.boards import BOARDS
from export.micro.sketch import write_arduino
from export.micro.sketch_settings import quantize_table
from export.run.runtime import load_runtime
from hpe.model.preprocess import MEAN, STD, preprocess
from tests.sketches import SETTINGS, SILU

GENERATED = {"model_data.h", "model_data.cpp", "model_settings.h", "op_resolver.h"}
pytestmark = pytest.mark.usefixtures("without_wheel")


def test_sketch_is_complete(sketch: Path):
    names = {path.relative_to(sketch).as_posix() for path in sketch.rglob("*") if path.is_file()}
    assert names >= GENERATED | {"head_pose.ino", "README.md", "src/image.cpp", "src/frame_parser.cpp", "src/pose.cpp"}
    assert not [path for path in sketch.parent.iterdir() if path.name.startswith(".")]  # no leavings


def test_model_data_is_the_file(sketch: Path):
    text = (sketch / "model_data.cpp").read_text()
    numbers = text[text.index("{") + 1 : text.index("}")].split(",")
    assert bytes(map(int, numbers)) == SILU.read_bytes()
    assert "alignas(16) const unsigned char g_model[]" in text


def test_resolver_has_the_used_ops_and_no_others(sketch: Path):
    methods = set(re.findall(r"resolver\.(Add\w+)\(\)", (sketch / "op_resolver.h").read_text()))
    assert methods == {
        "AddConv2D",
        "AddDepthwiseConv2D",
        "AddLogistic",
        "AddMul",
        "AddAdd",
        "AddMean",
        "AddFullyConnected",
    }


def test_same_input_gives_the_same_files(sketch: Path, tmp_path: Path):
    again = tmp_path / "head_pose"
    for path in write_arduino(SILU, again, "nano33ble", SETTINGS, "tflm"):
        assert path.read_bytes() == (sketch / path.relative_to(again)).read_bytes()
    other = write_arduino(SILU, tmp_path / "other_name", "nano33ble", SETTINGS, "tflm")
    assert tmp_path / "other_name" / "other_name.ino" in other


def test_table_is_preprocessing_and_quantisation_in_one():
    runtime = load_runtime(SILU)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    expected = runtime.quantize(preprocess(image))
    table = quantize_table(MEAN, STD, runtime.input_scale, runtime.input_zero_point)
    np.testing.assert_array_equal(table[np.arange(3), image], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.5, 0.5]}, "mean"),
        ({"std": [0.2, 0.2, 0.0]}, "std"),
        ({"pose_order": ["yaw", "pitch", "pitch"]}, "yaw, pitch and roll once each"),
        ({"units": "turns"}, "degrees"),
    ],
)
def test_bad_settings_write_nothing(tmp_path: Path, change: dict, message: str):
    with pytest.raises(ExportError, match=message):
        write_arduino(SILU, tmp_path / "out", "nano33ble", SETTINGS | change, "tflm")
    assert list(tmp_path.iterdir()) == []


def test_bad_models_and_boards_write_nothing(tmp_path: Path):
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(SILU.read_bytes()[:3000])
    out = tmp_path / "out"
    with pytest.raises(ModelFileError, match="Export it again"):
        write_arduino(cut, out, "nano33ble", SETTINGS, "tflm")
    with pytest.raises(ExportError, match="hpe predict"):
        write_arduino(SILU, out, "pi4", SETTINGS, "tflm")
    with pytest.raises(ExportError, match="There is no board"):
        write_arduino(SILU, out, "uno", SETTINGS, "tflm")
    with pytest.raises(ExportError, match="sketch folders"):
        write_arduino(SILU, tmp_path / "bad name!", "nano33ble", SETTINGS, "tflm")
    assert list(tmp_path.iterdir()) == [cut]


def test_model_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(BOARDS, "nano33ble", replace(BOARDS["nano33ble"], ram_bytes=120_000))
    with pytest.raises(ExportError, match=r"RAM is .* bytes short"):
        write_arduino(SILU, tmp_path / "out", "nano33ble", SETTINGS, "tflm")
    assert list(tmp_path.iterdir()) == []


def test_what_the_user_wrote_in_a_used_folder_stays(tmp_path: Path):
    folder = tmp_path / "head_pose"
    write_arduino(SILU, folder, "nano33ble", SETTINGS, "tflm")
    (folder / "src" / "config.h").write_text("// edited\n")
    (folder / "README.md").write_text("# My robot\n")
    (folder / "src" / "image.cpp").write_text("old\n")
    written = write_arduino(SILU, folder, "nano33ble", SETTINGS, "tflm")
    assert (folder / "src" / "config.h").read_text() == "// edited\n"
    assert (folder / "README.md").read_text() == "# My robot\n"
    assert (folder / "src" / "image.cpp").read_text() != "old\n"
    assert not {folder / "src" / "config.h", folder / "README.md"} & set(written)


def test_nothing_is_written_through_a_link(tmp_path: Path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "head_pose"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "src").symlink_to(elsewhere)
    with pytest.raises(ExportError, match="src is a link; nothing was written"):
        write_arduino(SILU, folder, "nano33ble", SETTINGS, "tflm")
    assert not list(elsewhere.iterdir())
    assert [path.name for path in folder.iterdir()] == ["src"]


def test_readme_says_what_is_not_true_of_another_board(sketch: Path, tmp_path: Path):
    assert "another board" not in (sketch / "README.md").read_text()
    write_arduino(SILU, tmp_path / "pico", "rp2040", SETTINGS, "tflm")
    assert "written for another board: Raspberry Pi Pico" in (tmp_path / "pico" / "README.md").read_text()


@pytest.mark.parametrize("name", ["two\nlines.tflite", "ends\\", "a\rb.tflite"])
def test_no_file_name_or_note_leaves_its_comment(name, tmp_path: Path):
    (tmp_path / name).write_bytes(SILU.read_bytes())
    write_arduino(tmp_path / name, tmp_path / "head_pose", "nano33ble", SETTINGS | {"note": "x\n#error y\\"}, "tflm")
    for header in ("model_settings.h", "op_resolver.h", "model_data.h", "model_data.cpp"):
        first, second = (tmp_path / "head_pose" / header).read_text().splitlines()[:2]
        assert first.startswith("// Generated")
        assert first.endswith("do not edit.")
        assert "\\" not in first + second
        assert second.startswith(("// x #error y", "#ifndef", "#include"))
