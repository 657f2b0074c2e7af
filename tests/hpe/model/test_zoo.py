"""Released models: cards, names, and what `hpe models` lists."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from hpe.cli.main import main
from hpe.inference.predictor import HeadPosePredictor
from hpe.io.errors import FileError
from hpe.io.files import read_json, write_json
from hpe.model import cards as released
from hpe.model.cards import cards
from hpe.model.zoo import DEFAULT_MODEL, INT8, ModelNameError, resolve_file, resolve_model, resolve_run
from tests.cards import card
from tests.drawn_faces import MODEL


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of releases with one model."""
    models = tmp_path / "models"
    content = MODEL.read_bytes()
    write_json(models / "b0.json", card(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)))
    (models / "b0.tflite").write_bytes(content)
    monkeypatch.setattr(released, "FOLDER", models)
    monkeypatch.setattr("hpe.model.zoo.DEFAULT_MODEL", "b0")
    return models


def test_the_default_is_a_bargain():
    """Nearly the smallest error of all released models, for a small part of the largest one's bytes."""
    known = cards()
    best = min(known.values(), key=lambda card: card["mae_deg"]["mean"])
    default = known[DEFAULT_MODEL]
    assert default["mae_deg"]["mean"] < best["mae_deg"]["mean"] + 0.1
    assert default["size_bytes"] < 0.1 * max(card["size_bytes"] for card in known.values())


def test_a_name_a_path_and_the_default(folder):
    assert resolve_model("b0") == folder / "b0.tflite"
    assert resolve_model(None) == folder / "b0.tflite"
    assert resolve_model(MODEL) == MODEL
    assert resolve_model("absent.tflite").name == "absent.tflite"  # who opens it says that it is absent
    with pytest.raises(ModelNameError, match=r"b0-py: no such model; .* a released one: b0"):
        resolve_model("b0-py")


def test_a_device_runs_the_int8_file_of_a_run(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(ModelNameError, match=r"run: no model_int8.tflite in this folder; run `hpe export .*run` first"):
        resolve_file(run)
    (run / INT8).write_bytes(MODEL.read_bytes())
    assert resolve_file(run) == run / INT8
    assert resolve_file(MODEL) == MODEL
    assert resolve_file("b0") == folder / "b0.tflite"
    assert resolve_file("model.onnx") == Path("model.onnx")  # `hpe bench` times those, too


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_a_released_name_is_not_taken_for_a_folder_or_file_of_that_name(folder, tmp_path, monkeypatch, caplog, make):
    monkeypatch.chdir(tmp_path)
    assert resolve_model("b0") == folder / "b0.tflite"
    assert not caplog.messages
    make(tmp_path / "b0")
    assert resolve_model(None) == folder / "b0.tflite"
    assert not caplog.messages  # nobody named it
    assert resolve_model("b0") == resolve_model(Path("b0")) == folder / "b0.tflite"
    assert HeadPosePredictor("b0")
    (message,) = caplog.messages  # once
    assert "the released model is taken, not" in message
    assert str(tmp_path / "b0") in message
    assert resolve_model("./b0") == Path("b0")
    assert resolve_run(tmp_path / "b0") == tmp_path / "b0"
    with pytest.raises(ModelNameError, match="can only be run"):
        resolve_run("b0")


@pytest.mark.parametrize("typed", ["./b0", "b0/"])
def test_the_command_line_keeps_the_separator_that_means_a_path(folder, tmp_path, monkeypatch, capsys, typed):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b0").mkdir()
    with pytest.raises(SystemExit, match="2"):
        main(["export", typed])
    assert f"{tmp_path / 'b0'}: no arch.json" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["export", "b0", "--out", "o", "--calibration", "synthetic:easy:8:1"])
    assert "released as a file that can only be run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("size_bytes", "4,860,080", r'b0\.json: size_bytes is "4,860,080"; it must be a whole number'),
        ("n", 4.5, "n is 4.5; it must be a whole number"),
        ("mae_deg", {"mean": "3"}, r'mae_deg\.mean is "3"; it must be a number'),
        ("boards", "pi4", 'boards is "pi4"; it must be a list'),
        ("parents", {}, "parents is {}; it must be a list"),
        ("checkpoint", {"folder": "b0"}, "checkpoint: sha256, size_bytes is missing"),
        ("protocol", ..., "protocol is missing"),
    ],
)
def test_a_card_of_wrong_types_is_refused_with_the_key(folder, key, value, message):
    values = {k: v for k, v in (read_json(folder / "b0.json") | {key: value}).items() if v is not ...}
    write_json(folder / "b0.json", values)
    with pytest.raises(FileError, match=message):
        cards()


def test_a_changed_file_is_refused(folder):
    (folder / "b0.tflite").write_bytes(b"changed")
    with pytest.raises(ModelNameError, match="missing or changed"):
        resolve_model("b0")
    (folder / "b0.tflite").unlink()
    with pytest.raises(ModelNameError, match="missing or changed"):
        resolve_model("b0")


def test_a_packed_file_is_unpacked_once_and_repaired(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HPE_CACHE", str(tmp_path / "cache"))
    packed = folder / "b0.tflite.gz"
    packed.write_bytes(gzip.compress((folder / "b0.tflite").read_bytes()))
    (folder / "b0.tflite").unlink()
    write_json(folder / "b0.json", read_json(folder / "b0.json") | {"file": packed.name})
    file = resolve_model("b0")
    assert (file.name, file.read_bytes()) == ("b0.tflite", MODEL.read_bytes())
    assert tmp_path / "cache" in file.parents
    first = file.stat().st_mtime_ns
    assert resolve_model("b0").stat().st_mtime_ns == first
    file.write_bytes(b"half of i")
    assert resolve_model("b0").read_bytes() == MODEL.read_bytes()
    for content in (b"no gzip", packed.read_bytes()[:-30], gzip.compress(b"another model")):
        packed.write_bytes(content)
        file.unlink(missing_ok=True)
        with pytest.raises(ModelNameError, match="install head-pose-edge again"):
            resolve_model("b0")


def test_a_packed_file_needs_a_cache_that_can_be_written(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HPE_CACHE", str(tmp_path / "file" / "cache"))
    (folder / "b0.tflite.gz").write_bytes(gzip.compress(MODEL.read_bytes()))
    write_json(folder / "b0.json", read_json(folder / "b0.json") | {"file": "b0.tflite.gz"})
    with pytest.raises(ModelNameError, match="HPE_CACHE"):
        resolve_model("b0")


def test_without_any_shipped_model(tmp_path):
    with pytest.raises(ModelNameError, match="--model"):
        resolve_model(None, tmp_path)
    with pytest.raises(ModelNameError, match=r"b0: no such model; give a run folder, or a \.onnx or \.tflite file$"):
        resolve_model("b0", tmp_path)


def test_hpe_models_lists_and_writes(folder, tmp_path, capsys):
    main(["models", "--json", str(tmp_path / "m.json")])
    out = capsys.readouterr().out
    assert "b0" in out
    assert "3.00" in out
    assert "2.90" in out
    assert "2.50" in out
    assert "deg: MAE on 48 faces: MAE" in out
    assert json.loads((tmp_path / "m.json").read_text())["b0"]["n"] == 48


def test_every_released_card_holds():
    assert len(cards()) == 7
    for name, known in cards().items():
        assert resolve_model(name).stat().st_size == known["size_bytes"]
        assert str(known["n"]) in known["data"]
