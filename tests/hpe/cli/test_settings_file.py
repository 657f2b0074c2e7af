"""`--config FILE`: what a run wrote, given back; what cannot be used is told."""

import json

import pytest

from hpe.cli import training
from hpe.cli.main import commands
from hpe.cli.settings_file import with_settings
from hpe.io.configs import to_dict
from hpe.io.errors import ConfigError
from hpe.model.config import ModelConfig
from hpe.training import runs
from hpe.training.augment import AugmentConfig
from hpe.training.config import PRUNING_RECIPE, FinetuneConfig, Recipe
from hpe.training.pruning_config import PruneConfig
from tests.hpe.cli.command import run


def test_config_takes_what_a_run_wrote_and_typed_flags_win(tmp_path):
    config = {
        "command": "train",
        "data": "csv:x",
        "val": None,
        "model": {"act": "relu6", "se": False},
        "lineage": {"a": 1},
    }
    config["train"] = {"epochs": 7, "lr": 0.002, "compile": True}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    words = with_settings("train", training.train, ["--config", str(path), "--epochs", "3", "--out", "o"])
    assert words == [
        "--data",
        "csv:x",
        "--act",
        "relu6",
        "--no-se",
        "--lr",
        "0.002",
        "--compile",
        "--epochs",
        "3",
        "--out",
        "o",
    ]
    toml = tmp_path / "mine.toml"
    toml.write_text('data = "csv:x"\n[train]\nlr = 0.5\n')
    for given in (["--config", str(toml)], [f"--config={toml}"]):
        assert with_settings("train", training.train, given) == ["--data", "csv:x", "--lr", "0.5"]
    path.write_text(json.dumps({"command": "prune", "parent": "runs/dense", "prune": {"method": "channel"}}))
    assert with_settings("prune", training.prune, ["--config", str(path)]) == ["runs/dense", "--method", "channel"]


def test_a_run_that_began_with_another_is_made_again_by_its_own_config(capsys, tmp_path, monkeypatch):
    recipe = Recipe("csv:x", "csv:y", train=PRUNING_RECIPE, augment=AugmentConfig(no_face=0.1))
    prune = PruneConfig("channel", target_macs=9_000_000, end_epoch=3, frequency=50)
    made = []
    monkeypatch.setattr(runs, "run_finetune", lambda source, out, tune, recipe, *_, **__: made.append((tune, recipe)))
    monkeypatch.setattr(runs, "run_prune", lambda source, out, prune, recipe, *_, **__: made.append((prune, recipe)))
    for command, settings in (("finetune", FinetuneConfig(qat=True)), ("prune", prune)):
        config = {"command": command, "parent": "runs/a", command: to_dict(settings)} | to_dict(recipe)
        config |= {"model": to_dict(ModelConfig(locate=True, width=0.5)), "lineage": {"family": "dense"}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        code, _, err = run(capsys, command, "--config", tmp_path / "config.json", "--out", tmp_path / "o")
        assert (code, err) == (0, "")
        assert made.pop() == (settings, recipe)  # --locate is not asked of a network that has it
    (tmp_path / "mine.toml").write_text("[model]\nwidth = 0.5\n")
    with pytest.raises(ConfigError, match="there is no setting width in hpe finetune"):
        with_settings("finetune", training.finetune, ["--config", str(tmp_path / "mine.toml")])


@pytest.mark.parametrize(
    ("name", "text", "typed", "expected"),
    [
        # a list must not swallow what was typed by position
        ("prune", 'exclude = ["head", "stem"]', ["runs/dense", "--out", "o"],
         ["runs/dense", "--exclude", "head", "stem", "--out", "o"]),
        ("predict", 'sources = ["a.jpg", "b.jpg"]', ["--csv", "x.csv"], ["a.jpg", "b.jpg", "--csv", "x.csv"]),
        ("predict", 'sources = ["a.jpg"]', ["c.jpg"], ["c.jpg"]),
        # what has no --no- is off unless it is named
        ("predict", "crops = false\nquiet = true", ["c.jpg"], ["c.jpg", "--quiet"]),
        ("compile", "small = false", ["b0-nano", "--out", "o"], ["b0-nano", "--out", "o"]),
        ("train", "se = false", ["--out", "o"], ["--no-se", "--out", "o"]),
    ],
)  # fmt: skip
def test_settings_stand_where_the_command_understands_them(tmp_path, name, text, typed, expected):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert with_settings(name, commands()[name], [*typed, "--config", str(path)]) == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "lr = ", "not valid TOML"),
        ("a.json", "[1]", "holds no settings"),
        ("a.toml", "learning_rate = 1", "there is no setting learning_rate in hpe train"),
        ("a.json", '{"command": "prune"}', "written by hpe prune, not by hpe train"),
    ],
)
def test_a_config_that_cannot_be_used_is_told(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        with_settings("train", training.train, ["--config", str(tmp_path / name)])
    with pytest.raises(ConfigError, match="No such file"):
        with_settings("train", training.train, ["--config", str(tmp_path / "absent.toml")])
