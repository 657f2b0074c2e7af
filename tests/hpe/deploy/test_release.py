"""A finished run becomes a released model: card, file, checkpoint, and the commands that then take its name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hpe.cli.main import main
from hpe.data.faces import load_faces
from hpe.deploy.evaluate import evaluate
from hpe.deploy.release import MeasureOptions, ReleaseOptions, measure, page, release, released_bytes
from hpe.inference.predictor import load_predictor
from hpe.io.configs import to_dict
from hpe.io.files import read_json, write_json
from hpe.model import cards as released
from hpe.model.config import ModelConfig
from hpe.model.lineage import Ancestor, Lineage
from hpe.model.net import build_model, load_model, save_checkpoint
from hpe.model.zoo import ModelNameError, resolve_model, resolve_run
from hpe.training.config import DistillConfig, FinetuneConfig
from hpe.training.pruning_config import PruneConfig
from pruning.channels.pruner import prune_channels
from pruning.channels.target import Target
from tests.drawn_faces import MODEL

DATA = "synthetic:easy:24:5"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A narrow untrained network as a finished run with a parent, and a file that stands for its int8 export."""
    folder = tmp_path_factory.mktemp("runs")
    network = build_model(ModelConfig(act="relu6", se=False))
    prune_channels(network, torch.zeros(1, 3, 64, 64), Target(ratio=0.8))
    save_checkpoint(network, folder / "small")
    shutil.copyfile(MODEL, folder / "small" / "model_int8.tflite")
    config = {"command": "prune", "parent": "elsewhere/dense", "model": to_dict(network.config), "data": DATA}
    config["distill"] = to_dict(DistillConfig(Path("/home/me/runs/teacher")))
    config["finetune"] = to_dict(FinetuneConfig(rewind_to=Path("/home/me/runs/first")))
    config["prune"] = to_dict(PruneConfig(method="channel", target_ms=1.0, latency_table=Path("/home/me/pi.json")))
    config["lineage"] = to_dict(Lineage("channel", 0.8, ancestors=(Ancestor("old", "train", "dense"),)))
    write_json(folder / "small" / "config.json", config)
    dense = {"command": "train", "distill": to_dict(DistillConfig()), "lineage": to_dict(Lineage())}
    write_json(folder / "dense" / "config.json", dense)
    write_json(folder / "dense" / "result.json", {"id": "old", "config": dense})
    result = {"id": "abc", "config": config, "params": 10, "nonzeros": 9, "macs": 2_500_000}
    write_json(folder / "small" / "result.json", result)
    return folder / "small"


@pytest.fixture(scope="module")
def releases(run, tmp_path_factory):
    """A folder of models: b0 with a checkpoint, b0-pi without."""
    folder = tmp_path_factory.mktemp("package") / "models"
    for name, checkpoint in (("b0", True), ("b0-pi", False)):
        release(ReleaseOptions(run, name, DATA, "nothing", checkpoint=checkpoint), folder, report=lambda line: None)
    return folder


@pytest.fixture
def models(releases, monkeypatch):
    monkeypatch.setattr(released, "FOLDER", releases)
    return releases


def test_a_packed_model_is_the_same_model(run, releases, tmp_path, monkeypatch):
    folder = tmp_path / "models"
    release(ReleaseOptions(run, "b0-sparse", DATA, "nothing", packed=True), folder, report=lambda line: None)
    monkeypatch.setattr(released, "FOLDER", folder)
    assert [path.name for path in folder.glob("*.tflite*")] == ["b0-sparse.tflite.gz"]
    assert resolve_model("b0-sparse").read_bytes() == (releases / "b0.tflite").read_bytes()


def test_the_card_holds_what_was_measured(run, releases):
    card = read_json(releases / "b0.json")
    result = read_json(run / "result.json")
    measured = {entry["file"]: entry for entry in result["evaluations"].values()}
    assert card["mae_deg"] == measured["model_int8.tflite"]["mae_deg"]
    assert card["float_mae_deg"] == measured["model.safetensors"]["mae_deg"]
    assert card["n"] == 24
    assert 0 < card["arena_bytes"] < 200_000
    assert {"nano33ble", "pi4"} <= set(card["boards"])
    assert {"protocol", "trained_on", "limits", "provenance", "geodesic_deg", "environment"} <= card.keys()
    assert [card["config"]["command"], card["parents"][0]["command"]] == ["prune", "train"]
    named = (("distill", "teacher"), ("finetune", "rewind_to"), ("prune", "latency_table"))
    assert [card["config"][section][key] for section, key in named] == ["teacher", "first", "pi.json"]
    assert card["data"] == card["float_data"] == "24 faces of AFLW2000-3D (80x80 pixels, exact labels)"
    assert card["lineage"] == read_json(run / "config.json")["lineage"]
    assert "/home" not in (releases / "b0.json").read_text()


def test_measuring_again_changes_the_errors_alone(releases, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(releases, folder)
    before = {name: read_json(folder / f"{name}.json") for name in ("b0", "b0-pi")}
    lines = []
    measure(MeasureOptions("synthetic:easy:9:6", tested_on="others"), folder, lines.append)
    after = {name: read_json(folder / f"{name}.json") for name in ("b0", "b0-pi")}
    for name, card in after.items():
        changed = {key for key in card if card[key] != before[name][key]}
        measured = {"mae_deg", "geodesic_deg", "n", "data"}
        assert changed - {"environment"} == measured | ({"float_mae_deg", "float_data"} if name == "b0" else set())
        assert (card["n"], card["data"]) == (9, "9 faces of others")
    assert after["b0"]["mae_deg"] == load_metrics(folder / "b0.tflite").mae_deg
    assert "**Float error measured on (b0-pi).** 24 faces of AFLW2000" in (folder / "README.md").read_text()
    assert "b0-pi: " in "".join(lines)
    with pytest.raises(ModelNameError, match="b9: not released; choose from b0"):
        measure(MeasureOptions(DATA, ("b9",)), folder)


def load_metrics(file):
    return evaluate(load_predictor(file), load_faces("synthetic:easy:9:6"))


def test_the_page_lists_every_model(releases):
    text = (releases / "README.md").read_text()
    assert "| b0 | int8 |" in text
    assert "| b0-pi | int8 |" in text
    assert text.count("**Limits.**") == 1
    first, second = (read_json(releases / f"{name}.json") for name in ("b0", "b0-pi"))
    assert "**Limits (b0-pi).** Other." in page({"b0": first, "b0-pi": {**second, "limits": "Other."}})


def test_the_checkpoint_is_half_as_large_and_answers_alike(run, models):
    folder = resolve_run("b0")
    assert folder == models / "b0"
    assert (folder / "model.safetensors").stat().st_size < 0.62 * (run / "model.safetensors").stat().st_size
    crops = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), np.uint8)
    loaded = load_model("b0")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    np.testing.assert_allclose(load_predictor(folder)(crops), load_predictor(run)(crops), atol=0.05)


def test_a_pruned_model_is_released_with_its_weights_unless_the_package_is_full(run, tmp_path, monkeypatch, capsys):
    folder, lines = tmp_path / "models", []
    card = release(ReleaseOptions(run, "b0-nano", DATA, "nothing"), folder, lines.append)
    assert card["checkpoint"]["size_bytes"] == (folder / "b0-nano" / "model.safetensors").stat().st_size
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert released_bytes(folder, besides="b0-tiny") == held
    assert released_bytes(folder, besides="b0-nano") == (folder / "README.md").stat().st_size
    monkeypatch.setattr(released, "FOLDER", folder)
    tuned = tmp_path / "tuned"
    main(["finetune", "b0-nano", "--data", DATA, "--epochs", "1", "--batch-size", "8", "--qat", "--out", str(tuned)])
    counts = [sum(p.numel() for p in load_model(net).parameters()) for net in (tuned, run)]
    assert counts[0] == counts[1]
    assert read_json(tuned / "config.json")["lineage"]["ancestors"][-1]["name"] == "b0-nano"

    monkeypatch.setattr("hpe.deploy.release.PACKAGE_BYTES", held + 1000)
    assert release(ReleaseOptions(run, "b0-tiny", DATA, "nothing"), folder, lines.append)["checkpoint"] is None
    assert "b0-tiny: released without its weights" in lines[-1]
    assert not (folder / "b0-tiny").exists()
    assert release(ReleaseOptions(run, "b0-nano", DATA, "nothing"), folder, lines.append)["checkpoint"] is None
    assert not (folder / "b0-nano").exists()  # the weights of another network than the file's would stay otherwise


def test_names_that_cannot_be_trained(models):
    assert resolve_model("b0") == models / "b0.tflite"
    with pytest.raises(ModelNameError, match=r"b0-pi: released as a file that can only be run, .* a released one: b0$"):
        load_model("b0-pi")
    with pytest.raises(ModelNameError, match=r"b1: no such run; .* a released one: b0$"):
        resolve_run("b1")


def test_a_changed_checkpoint_is_refused(models, tmp_path):
    shutil.copytree(models, tmp_path / "models")
    (tmp_path / "models" / "b0" / "model.safetensors").write_bytes(b"changed")
    with pytest.raises(ModelNameError, match="missing or changed"):
        resolve_run("b0", tmp_path / "models")


def test_every_command_takes_a_name(models, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = ["--data", DATA, "--epochs", "1", "--batch-size", "8"]
    for command in (
        ["evaluate", "b0", "--data", DATA, "--json", "evaluated.json"],
        ["bench", "b0", "b0-pi", "--seconds", "0.02"],
        ["footprint", "b0-pi"],
        ["deploy", "b0-pi", "--out", "sketch"],
        ["finetune", "b0", *quick, "--teacher", "b0", "--out", "tuned"],
        ["prune", "b0", *quick, "--method", "magnitude", "--frequency", "1", "--out", "masked"],
        ["finetune", "masked", *quick, "--rewind-to", "b0", "--out", "rewound"],
    ):
        main(command)
    assert json.loads((tmp_path / "evaluated.json").read_text())["n"] == 24
    assert read_json(tmp_path / "masked" / "config.json")["parent"] == "b0"
    assert "deg on 24 faces of AFLW2000-3D" in (tmp_path / "sketch" / "model_settings.h").read_text()
    assert sorted(path.name for path in models.iterdir()) == [
        "README.md", "b0", "b0-pi.json", "b0-pi.tflite", "b0.json", "b0.tflite"
    ]  # fmt: skip
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(["export", "b0"])
    assert "b0 is a released model; say where to write with --out" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["export", "b0", "--out", "tuned", "--calibration", DATA])
    assert "--out tuned: holds another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        f"evaluate b9 --data {DATA}",
        "bench b9",
        "footprint b9",
        "deploy b9 --out o",
        "export b9",
        "predict picture.png --model b9",
        f"prune b9 --method block --data {DATA} --out o",
        f"finetune b9 --data {DATA} --out o",
        f"train --data {DATA} --teacher b9 --out o",
    ],
)
def test_an_unknown_name_lists_the_releases(models, tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(command.split())
    error = capsys.readouterr().err
    assert "b9: no such" in error
    assert "a released one: b0" in error
    assert list(tmp_path.iterdir()) == []
