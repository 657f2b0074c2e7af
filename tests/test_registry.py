"""Shipped models: cards, names, and what `hpe models` lists."""

import gzip
import hashlib
import json

import pytest

from hpe import registry
from hpe.cli import main
from hpe.files import read_json, write_json
from hpe.predict import HeadPosePredictor
from hpe.registry import ModelNameError, cards, resolve_model, ship

from .drawn_faces import MODEL

DATA = "synthetic:easy:48:5"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A registry with one model, shipped from a run."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "model_int8.tflite").write_bytes(MODEL.read_bytes())
    mae = {"yaw": 3.0, "pitch": 4.0, "roll": 2.0, "mean": 3.0}
    evaluation = {"file": "model_int8.tflite", "data": DATA, "mae_deg": mae, "geodesic_deg": 5.0, "n": 48, "dropped": 0}
    result = {"id": "abc", "config": {"data": "csv:faces@train"}, "params": 10, "nonzeros": 9, "macs": 2_500_000}
    write_json(run / "result.json", {**result, "evaluations": {"x": evaluation}})
    monkeypatch.setattr(registry, "FOLDER", tmp_path / "models")
    ship(run / "model_int8.tflite", "b0-pi", DATA, "Frontal faces only.")
    return tmp_path / "models"


def test_the_card_holds_what_was_measured(folder):
    card = read_json(folder / "b0-pi.json")
    content = MODEL.read_bytes()
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["size_bytes"] == len(content) == (folder / "b0-pi.tflite").stat().st_size
    assert card["gzip_bytes"] == len(gzip.compress(content, 9, mtime=0))
    assert card["mae_deg"]["mean"] == 3.0
    assert (card["data"], card["n"], card["trained_on"]) == (DATA, 48, "csv:faces@train")
    assert 0 < card["arena_bytes"] < 200_000
    assert {"nano33ble", "pi4"} <= set(card["boards"])
    assert card["limits"] == "Frontal faces only."


def test_a_name_a_path_and_the_default(folder, tmp_path):
    assert resolve_model("b0-pi") == folder / "b0-pi.tflite"
    assert resolve_model(None) == folder / "b0-pi.tflite"
    assert resolve_model(MODEL) == MODEL
    assert resolve_model("absent.tflite").name == "absent.tflite"  # who opens it says that it is absent
    with pytest.raises(ModelNameError, match=r"b0-py: no such model; .* one that ships: b0-pi"):
        resolve_model("b0-py")
    (tmp_path / "b0-pi").mkdir()
    assert HeadPosePredictor("b0-pi")


def test_a_changed_file_is_refused(folder):
    (folder / "b0-pi.tflite").write_bytes(b"changed")
    with pytest.raises(ModelNameError, match="missing or changed"):
        resolve_model("b0-pi")
    (folder / "b0-pi.tflite").unlink()
    with pytest.raises(ModelNameError, match="missing or changed"):
        resolve_model("b0-pi")


def test_without_any_shipped_model(tmp_path):
    with pytest.raises(ModelNameError, match="--model"):
        resolve_model(None, tmp_path)
    with pytest.raises(ModelNameError, match=r"b0: no such model; give a run folder, or a \.onnx or \.tflite file$"):
        resolve_model("b0", tmp_path)


def test_an_unmeasured_model_does_not_ship(folder, tmp_path):
    with pytest.raises(ModelNameError, match="hpe evaluate"):
        ship(tmp_path / "run" / "model_int8.tflite", "b0", "csv:other", "")


def test_hpe_models_lists_and_writes(folder, tmp_path, capsys):
    main(["models", "--json", str(tmp_path / "m.json")])
    out = capsys.readouterr().out
    assert "b0-pi" in out
    assert "3.00" in out
    assert "2.50" in out
    assert f"MAE on {DATA}, n=48" in out
    assert json.loads((tmp_path / "m.json").read_text())["b0-pi"]["n"] == 48


def test_every_shipped_card_holds():
    for name, card in cards().items():
        assert resolve_model(name).stat().st_size == card["size_bytes"]
        assert {"mae_deg", "data", "protocol", "limits", "trained_on"} <= card.keys()
