"""What a run descends from, through every command."""

from pathlib import Path

import pytest

from hpe.io.configs import to_dict
from hpe.io.errors import ConfigError, FileError
from hpe.io.files import read_json, write_json
from hpe.model.lineage import Ancestor, Lineage, pruned
from hpe.study.report_rows import make_rows, plain_groups
from hpe.study.results import read_results
from hpe.training.config import FinetuneConfig, Recipe, TrainConfig
from hpe.training.descent import lineage_after
from hpe.training.pruning_config import PruneConfig
from hpe.training.recalibrate import run_recalibrate
from hpe.training.runs import run_finetune, run_prune
from tests.conftest import TINY_DATA


def saved(folder, lineage=None):
    """A finished run that says no more than its lineage."""
    config = {"command": "prune", "lineage": to_dict(lineage or Lineage())}
    write_json(folder / "result.json", {"id": f"id-{folder.name}", "config": config})
    return {"command": "finetune", "parent": str(folder)}


def test_pruning_names_family_share_and_target():
    masks = to_dict(PruneConfig("magnitude", final_sparsity=0.75))
    board = to_dict(PruneConfig("channel", target_board="nano33ble"))
    blocks = to_dict(PruneConfig("block"))
    assert pruned(Lineage(), masks) == Lineage("magnitude", 0.75)
    assert pruned(Lineage(), board) == Lineage("channel", None, {"board": "nano33ble"})
    cycles = to_dict(PruneConfig("channel", target_cycles=9))
    assert pruned(Lineage(), cycles) == Lineage("channel", None, {"cycles": 9})
    both = to_dict(PruneConfig("hybrid", target_macs=9, final_sparsity=0.7))
    assert pruned(Lineage(), both) == Lineage("channel+magnitude", 0.7, {"macs": 9})
    timed = to_dict(PruneConfig("channel", target_ms=0.5, latency_table=Path("t.json")))
    assert pruned(Lineage(), timed) == Lineage("channel", None, {"ms": 0.5})
    assert pruned(Lineage(), to_dict(PruneConfig("channel", target_macs=9))) == Lineage("channel", None, {"macs": 9})
    assert pruned(Lineage(), blocks) == Lineage("block")
    once = pruned(Lineage(), board)
    assert pruned(once, board).family == "channel"
    assert pruned(once, masks) == Lineage("channel+magnitude", 0.75, {"board": "nano33ble"})  # it still has to fit


def test_a_child_inherits_and_adds_its_parent(tmp_path):
    old = Lineage("channel", None, {"board": "rp2040"}, (Ancestor("a", "train", "dense"),))
    lineage = lineage_after(saved(tmp_path / "small", old))
    assert (lineage.family, lineage.target) == ("channel", {"board": "rp2040"})
    assert lineage.ancestors == (Ancestor("a", "train", "dense"), Ancestor("id-small", "prune", "small"))
    assert lineage_after({"command": "train"}) == Lineage()


def test_a_parent_that_tells_nothing_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent: no result\.json"):
        lineage_after({"command": "finetune", "parent": str(tmp_path / "absent")})
    write_json(tmp_path / "old" / "result.json", {"id": "x", "config": {"command": "train"}})
    with pytest.raises(FileError, match=r"old/result\.json: config: lineage is missing"):
        lineage_after({"command": "finetune", "parent": str(tmp_path / "old")})


def test_a_pruned_net_stays_pruned_in_the_report_whatever_follows(tiny_run, tmp_path):
    recipe = Recipe(TINY_DATA, train=TrainConfig(epochs=1, batch_size=16))
    quiet = {"report": lambda line: None}
    run_prune(tiny_run, tmp_path / "pruned", PruneConfig("block"), recipe, **quiet)
    run_finetune(tmp_path / "pruned", tmp_path / "tuned", FinetuneConfig(), recipe, **quiet)
    run_recalibrate(tmp_path / "tuned", TINY_DATA, tmp_path / "last", 1.0, **quiet)
    runs = [tiny_run, *(tmp_path / name for name in ("pruned", "tuned", "last"))]
    assert [row["family"] for row in make_rows(plain_groups(read_results(runs)), "-")] == [
        "dense",
        "block",
        "block",
        "block",
    ]
    last = read_json(tmp_path / "last" / "config.json")["lineage"]
    assert [a["command"] for a in last["ancestors"]] == ["train", "prune", "finetune"]
    assert [a["id"] for a in last["ancestors"]] == [read_json(run / "result.json")["id"] for run in runs[:3]]
    assert read_json(tmp_path / "tuned" / "result.json")["config"]["lineage"]["family"] == "block"
