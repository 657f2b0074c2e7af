"""Shipped models: cards, names, and what `hpe models` lists."""

import gzip
import hashlib
import json

import pytest

from hpe.cli.main import main
from hpe.inference.predictor import HeadPosePredictor
from hpe.io.files import read_json, write_json
from hpe.model import zoo as registry
from hpe.model.zoo import ModelNameError, cards, resolve_model
from tests.drawn_faces import MODEL


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A registry with one model."""
    models = tmp_path / "models"
    content = MODEL.read_bytes()
    card = {"name": "b0", "file": "b0.tflite", "sha256": hashlib.sha256(content).hexdigest()}
    card |= {"size_bytes": len(content), "gzip_bytes": 9, "macs": 2_500_000, "arena_bytes": 8, "boards": ["pi4"]}
    card |= {"mae_deg": {"mean": 3.0}, "float_mae_deg": {"mean": 2.9}, "data": "48 faces", "n": 48, "protocol": "MAE"}
    write_json(models / "b0.json", card | {"checkpoint": None})
    (models / "b0.tflite").write_bytes(content)
    monkeypatch.setattr(registry, "FOLDER", models)
    return models


def test_a_name_a_path_and_the_default(folder, tmp_path):
    assert resolve_model("b0") == folder / "b0.tflite"
    assert resolve_model(None) == folder / "b0.tflite"
    assert resolve_model(MODEL) == MODEL
    assert resolve_model("absent.tflite").name == "absent.tflite"  # who opens it says that it is absent
    with pytest.raises(ModelNameError, match=r"b0-py: no such model; .* one that ships: b0"):
        resolve_model("b0-py")
    (tmp_path / "b0").mkdir()
    assert HeadPosePredictor("b0")


def test_a_changed_file_is_refused(folder):
    (folder / "b0.tflite").write_bytes(b"changed")
    with pytest.raises(ModelNameError, match="missing or changed"):
        resolve_model("b0")
    (folder / "b0.tflite").unlink()
    with pytest.raises(ModelNameError, match="missing or changed"):
        resolve_model("b0")


def test_a_packed_file_is_unpacked_once_and_mended(folder, tmp_path, monkeypatch):
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


def test_every_shipped_card_holds():
    for name, card in cards().items():
        assert resolve_model(name).stat().st_size == card["size_bytes"]
        assert {"mae_deg", "data", "protocol", "limits", "trained_on"} <= card.keys()
