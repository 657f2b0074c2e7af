"""The stages in a card: found by the ids of runs, and such that they can be asked for again."""

import shutil

import pytest

from hpe.deploy.recipe import check_recipe, recipe
from hpe.io.configs import to_dict
from hpe.io.errors import FileError
from hpe.io.files import read_json, write_json
from hpe.model import cards as released
from hpe.model.cards import cards
from hpe.model.config import ModelConfig
from hpe.model.zoo import ModelNameError
from hpe.training.config import TrainConfig
from hpe.training.descent import lineage_after
from hpe.training.pruning_config import PruneConfig
from tests.cards import card


def make_run(folder, command, parent=None, **sections):
    """A finished run without a network, with the lineage that the code gives it."""
    config = {"command": command, "data": "synthetic:easy:8:0", **sections}
    config |= {"parent": str(parent)} if parent is not None else {}
    config["lineage"] = to_dict(lineage_after(config))
    write_json(folder / "config.json", config)
    write_json(folder / "result.json", {"id": f"id of {folder.name} in {folder.parent.name}", "config": config})
    return folder


@pytest.fixture
def releases(tmp_path, monkeypatch):
    """One release, b0, of two stages."""
    folder = tmp_path / "releases"
    parents = [{"command": "train", "train": to_dict(TrainConfig(epochs=5))}]
    write_json(folder / "b0.json", card(config={"command": "finetune"}, parents=parents, id="released"))
    monkeypatch.setattr(released, "FOLDER", folder)
    return folder


def test_a_parent_named_as_a_release_is_the_release_whatever_lies_beside(releases, tmp_path):
    runs = tmp_path / "runs"
    make_run(runs / "b0", "prune", make_run(runs / "other", "train"), prune=to_dict(PruneConfig("magnitude")))
    child = make_run(runs / "child", "finetune", "b0")
    assert [stage["command"] for stage in recipe(child)] == ["train", "finetune", "finetune"]
    assert recipe(child)[0]["train"]["epochs"] == 5
    assert read_json(child / "config.json")["lineage"]["family"] == "dense"
    ancestor = read_json(child / "config.json")["lineage"]["ancestors"][-1]
    assert ancestor == {"id": "released", "command": "finetune", "name": "b0", "released": True}


def test_a_parent_elsewhere_is_found_and_a_stranger_of_its_name_is_not_taken(releases, tmp_path):
    dense = make_run(tmp_path / "one" / "dense", "train", train=to_dict(TrainConfig(epochs=3)))
    child = make_run(tmp_path / "two" / "child", "finetune", dense)
    make_run(tmp_path / "two" / "dense", "train", train=to_dict(TrainConfig(epochs=77)))
    assert [stage.get("train", {}).get("epochs") for stage in recipe(child)] == [3, None]
    shutil.rmtree(tmp_path / "one")
    with pytest.raises(ModelNameError, match=r"its parent, run id of dense in one, is not in"):
        recipe(child)


def test_runs_that_moved_together_keep_their_recipe(releases, tmp_path):
    make_run(tmp_path / "runs" / "child", "finetune", make_run(tmp_path / "runs" / "dense", "train"))
    shutil.move(tmp_path / "runs", tmp_path / "moved")
    assert [stage["command"] for stage in recipe(tmp_path / "moved" / "child")] == ["train", "finetune"]


def test_every_released_card_can_be_asked_for_again():
    for known in cards().values():
        check_recipe(known)
        for stage in (*known["parents"], known["config"]):
            assert ModelConfig(**stage["model"])
            assert stage["command"] == "recalibrate" or TrainConfig(**stage["train"]).epochs > 0


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"command": "train", "train": {"epochs": "4 of 12, then stopped"}}, 'stage 1: train: epochs is "4 of 12'),
        ({"command": "train", "train": {"speed": 3}}, "stage 1: train: TrainConfig: unknown setting speed"),
        ({"command": "train", "weather": {}}, "stage 1: unknown section weather"),
        (
            {"command": "train", "train": {}, "stopped_after_epochs": "4"},
            "stage 1: stopped_after_epochs is '4', not int",
        ),
        ({"train": {}}, "stage 1: no command"),
    ],
)
def test_a_stage_that_cannot_be_asked_for_is_named(stage, message):
    with pytest.raises(FileError, match=f"card of b0: {message}"):
        check_recipe(card(config=stage))
