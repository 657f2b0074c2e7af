"""A run that was killed after an epoch and resumed ends in the same weights, for all pairs of features with a state."""

from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch

from hpe.io.errors import FileError
from hpe.io.files import read_json
from hpe.model.config import ModelConfig
from hpe.model.net import load_model
from hpe.training import distillation
from hpe.training.augment import AugmentConfig
from hpe.training.config import DistillConfig, FinetuneConfig, Recipe, TrainConfig
from hpe.training.loop import LAST
from hpe.training.pruning_config import ChannelConfig, MaskConfig, PruneConfig
from hpe.training.runs import run_finetune, run_prune, run_train
from hpe.training.start import RunError
from hpe.training.state import TrainError

DATA = "synthetic:easy:32:5"
SMALL = ModelConfig(width=0.25, act="relu6")
PLATEAU = TrainConfig(epochs=3, batch_size=16, lr=1e-3, patience=0)
ONECYCLE = TrainConfig(epochs=3, batch_size=16, lr=1e-3, lr_schedule="onecycle")
RAW = replace(PLATEAU, ema=0.0)


def recipe(train=PLATEAU):
    return Recipe(DATA, DATA, train=train)


def quiet(line):
    pass


class Killed(Exception):
    pass


def kill(line):
    """The report of a run that is killed once it has saved an epoch."""
    if line.startswith("epoch"):
        raise Killed


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return run_train(tmp_path_factory.mktemp("runs") / "dense", SMALL, recipe(RAW), report=quiet)


@pytest.fixture(scope="module")
def masked(dense, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "masked"
    return run_prune(dense, out, PruneConfig("magnitude", "constant"), recipe(ONECYCLE), report=quiet)


def prune(method, schedule="polynomial", **options):
    return lambda run, out, **how: run_prune(
        run, out, PruneConfig(method, schedule, **options), how.pop("recipe"), **how
    )


def tune(**options):
    return lambda run, out, **how: run_finetune(run, out, FinetuneConfig(**options), how.pop("recipe"), **how)


FALLING = {"initial_sparsity": 0.75, "final_sparsity": 0.5}
CASES = {
    "masks, plateau": (prune("magnitude"), PLATEAU, "dense"),
    "masks, constant, raw weights": (prune("magnitude", schedule="constant"), RAW, "dense"),
    "falling masks, 1cycle": (prune("magnitude", **FALLING), ONECYCLE, "dense"),
    "movement": (prune("magnitude", masks=MaskConfig(score="movement")), ONECYCLE, "dense"),
    "random masks": (prune("magnitude", masks=MaskConfig("global", "random")), PLATEAU, "dense"),
    "masks on a masked run": (prune("magnitude", final_sparsity=0.7), PLATEAU, "masked"),
    "channels, plateau": (prune("channel"), PLATEAU, "dense"),
    "channels by gradients, raw weights": (prune("channel", channels=ChannelConfig("taylor", "global")), RAW, "dense"),
    "channels by outputs": (prune("channel", channels=ChannelConfig("sensitivity", "global")), ONECYCLE, "dense"),
    "channels by curvature, raw": (prune("channel", channels=ChannelConfig("hessian", "global")), RAW, "dense"),
    "random channels": (prune("channel", channels=ChannelConfig("random", "global")), ONECYCLE, "dense"),
    "channels of a masked run": (prune("channel", final_sparsity=0.3), ONECYCLE, "masked"),
    "channels to cycles": (prune("channel", target_cycles=6_000_000), ONECYCLE, "dense"),
    "channels, then masks": (
        prune("hybrid", target_cycles=6_000_000, end_epoch=2, final_sparsity=0.6),
        ONECYCLE,
        "dense",
    ),
    "channels, then masks from the first epoch on": (
        prune("hybrid", "constant", target_cycles=6_000_000, begin_epoch=0, end_epoch=2, final_sparsity=0.5),
        PLATEAU,
        "dense",
    ),
    "growing": (prune("channel", channels=ChannelConfig(grow=True)), ONECYCLE, "dense"),
    "blocks of a masked run": (prune("block"), PLATEAU, "masked"),
    "rounding": (tune(qat=True), ONECYCLE, "dense"),
    "rounding of a masked run, raw weights": (tune(qat=True), RAW, "masked"),
    "rounding and clusters of a masked run": (tune(qat=True, clusters=8), PLATEAU, "masked"),
    "simpler form": (tune(simplify=True, simplify_for="pi"), PLATEAU, "masked"),
    "zeros for a Pi, erk": (
        prune("magnitude", final_sparsity=0.8, masks=MaskConfig("erk", zeros_for="pi")),
        ONECYCLE,
        "dense",
    ),
    "zeros for a microcontroller": (
        prune("magnitude", final_sparsity=0.7, masks=MaskConfig("global", zeros_for="mcu")),
        RAW,
        "dense",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_equals_an_unbroken_one(case, dense, masked, tmp_path):
    run, train, start = CASES[case]
    start = {"dense": dense, "masked": masked}[start]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(start, whole, recipe=recipe(train), report=quiet)
    with pytest.raises(Killed):
        run(start, broken, recipe=recipe(train), report=kill)
    lines = []
    run(start, broken, recipe=recipe(train), resume=True, report=lines.append)
    assert any("resumed after epoch 1 of 3" in line for line in lines)
    expected, found = load_model(whole).state_dict(), load_model(broken).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    results = [read_json(folder / "result.json") for folder in (whole, broken)]
    assert results[0]["val"] == results[1]["val"]
    assert results[0]["config"] == results[1]["config"]
    metrics = [(folder / "metrics.csv").read_text().splitlines() for folder in (whole, broken)]
    assert [line.split(",")[:2] for line in metrics[0]] == [line.split(",")[:2] for line in metrics[1]]


def test_a_resumed_run_does_not_ask_its_teacher_again(dense, tmp_path, monkeypatch):
    taught = replace(recipe(), distill=DistillConfig(dense, 0.5, teacher_offline=True))
    run_finetune(dense, tmp_path / "whole", FinetuneConfig(), taught, report=quiet)
    assert not (tmp_path / "whole" / "taught.safetensors").exists()
    with pytest.raises(Killed):
        run_finetune(dense, tmp_path / "broken", FinetuneConfig(), taught, report=kill)
    asked = Mock(wraps=distillation.relabelled)
    monkeypatch.setattr(distillation, "relabelled", asked)
    run_finetune(dense, tmp_path / "broken", FinetuneConfig(), taught, resume=True, report=quiet)
    asked.assert_not_called()
    expected, found = (load_model(tmp_path / run).state_dict() for run in ("whole", "broken"))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    with pytest.raises(Killed):
        run_finetune(dense, tmp_path / "harmed", FinetuneConfig(), taught, report=kill)
    (tmp_path / "harmed" / "taught.safetensors").write_bytes(b"no array")
    run_finetune(dense, tmp_path / "harmed", FinetuneConfig(), taught, resume=True, report=quiet)
    assert asked.call_count == 2  # when it began, and again


def test_more_epochs_do_not_move_the_pruning_schedule(dense, tmp_path):
    """--end-epoch was two thirds of the new --epochs, in the middle of a run."""
    config, short = PruneConfig("magnitude"), recipe(replace(PLATEAU, epochs=3))
    with pytest.raises(Killed):
        run_prune(dense, tmp_path / "run", config, short, report=kill)
    saved = read_json(tmp_path / "run" / "config.json")["prune"]
    assert (saved["end_epoch"], saved["frequency"]) == (2, 1)
    longer = recipe(replace(PLATEAU, epochs=6))
    run_prune(dense, tmp_path / "run", config, longer, resume=True, report=quiet)
    after = read_json(tmp_path / "run" / "config.json")
    assert (after["prune"], after["train"]["epochs"]) == (saved, 6)
    with pytest.raises(Killed):
        run_prune(dense, tmp_path / "other", config, short, report=kill)
    with pytest.raises(RunError, match=r"another --end-epoch \(was 2\)"):
        run_prune(dense, tmp_path / "other", replace(config, end_epoch=3), short, resume=True, report=quiet)


def test_a_finished_run_says_so_and_changes_nothing(dense):
    before = {path: path.stat().st_mtime_ns for path in dense.iterdir()}
    lines = []
    assert run_train(dense, SMALL, recipe(replace(RAW, device="cpu")), resume=True, report=lines.append) == dense
    assert lines == [f"{dense}: this run is finished, there is nothing to resume"]
    with pytest.raises(RunError, match=r"another --epochs \(was 3\).* hpe finetune"):
        run_train(dense, SMALL, recipe(replace(RAW, epochs=9)), resume=True, report=quiet)
    assert {path: path.stat().st_mtime_ns for path in dense.iterdir()} == before


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "unfinished"
    with pytest.raises(Killed):
        run_train(out, SMALL, recipe(), report=kill)
    return out


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (recipe(replace(PLATEAU, lr=2e-3)), r"another --lr \(was 0.001\)"),
        (recipe(replace(PLATEAU, seed=1, ema=0.0)), r"--ema \(was 0.995\), --seed \(was 0\)"),
        (replace(recipe(), augment=AugmentConfig(blur=0.0)), "--blur"),
        (replace(recipe(), val=None), "--val"),
        (recipe(replace(PLATEAU, device="abacus")), "--device abacus"),
    ],
)
def test_a_refused_resume_leaves_the_run_as_it_was(unfinished, other, words):
    before = {path: path.read_bytes() for path in unfinished.iterdir() if path.is_file()}
    with pytest.raises((RunError, TrainError), match=words):
        run_train(unfinished, SMALL, other, resume=True, report=quiet)
    assert {path: path.read_bytes() for path in unfinished.iterdir() if path.is_file()} == before


def test_a_resume_with_a_damaged_state_leaves_the_config(unfinished):
    config, state = (unfinished / "config.json").read_bytes(), (unfinished / LAST).read_bytes()
    (unfinished / LAST).write_bytes(state[:1000])
    with pytest.raises(TrainError, match="damaged"):
        run_train(unfinished, SMALL, recipe(replace(PLATEAU, epochs=9)), resume=True, report=quiet)
    assert (unfinished / "config.json").read_bytes() == config
    (unfinished / LAST).write_bytes(state)


def test_what_a_killed_run_left_is_cleaned_at_the_next_start(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / ".training").touch()
    (out / ".config.1@elsewhere.ab12.json").write_text("{")  # killed while it wrote its first file
    with pytest.raises(Killed):
        run_train(out, SMALL, recipe(replace(RAW, epochs=2)), report=kill)
    assert not (out / ".config.1@elsewhere.ab12.json").exists()
    (out / ".last.1@elsewhere.x8_y.safetensors").write_bytes(b"half")
    run_train(out, SMALL, recipe(replace(RAW, epochs=2)), resume=True, report=quiet)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert not (out / LAST).exists()
    (out / LAST).touch()  # killed when it was finished
    run_train(out, SMALL, recipe(replace(RAW, epochs=2)), resume=True, report=quiet)
    assert not (out / LAST).exists()


def test_killed_between_the_last_state_and_its_row_no_epoch_is_missing(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Killed):
        run_train(out, SMALL, recipe(replace(RAW, epochs=1)), report=kill)
    row = (out / "metrics.csv").read_text()
    (out / "metrics.csv").unlink()
    run_train(out, SMALL, recipe(replace(RAW, epochs=1)), resume=True, report=quiet)
    assert (out / "metrics.csv").read_text() == row


def test_two_programs_never_train_one_run(tmp_path):
    refused = []

    def join(line):
        if line.startswith("epoch 1"):  # meanwhile, somebody asks for the same
            with pytest.raises(FileError, match="another program trains this run"):
                run_train(tmp_path / "run", SMALL, recipe(RAW), resume=True, report=quiet)
            refused.append(line)

    run_train(tmp_path / "run", SMALL, recipe(RAW), report=lambda line: join(" ".join(line.split())))
    assert len(refused) == 1
    assert (tmp_path / "run" / "result.json").exists()
