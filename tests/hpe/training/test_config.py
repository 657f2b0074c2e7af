import csv
from pathlib import Path

import pytest

from hpe.io.configs import from_dict, run_id, to_dict
from hpe.io.errors import ConfigError
from hpe.model.config import ModelConfig
from hpe.training.augment import AugmentConfig
from hpe.training.config import PRUNING_RECIPE, DistillConfig, FinetuneConfig, Recipe, TrainConfig
from hpe.training.pruning_config import ChannelConfig, MaskConfig, PruneConfig

GRID = Path(__file__).resolve().parents[3] / "hpe" / "study" / "tencon2022_grid.csv"
"""All 39 runs of the study (TENCON 2022), as published."""
GROW = ChannelConfig(grow=True)


def test_defaults_are_the_papers_recipe():
    train = TrainConfig()
    assert (train.epochs, train.batch_size, train.lr, train.lr_schedule) == (80, 128, 1e-3, "plateau")
    assert (train.patience, train.factor, train.min_lr) == (3, 0.5, 1e-5)
    assert ModelConfig() == ModelConfig(head="gap", act="silu", se=True, padding="symmetric", pretrained=False)


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(act="relu6"),
        TrainConfig(seed=3),
        PruneConfig("magnitude", end_epoch=3, masks=MaskConfig(include=("head", "backbone"))),
        FinetuneConfig(rewind_to=Path("early")),
        Recipe("csv:faces", distill=DistillConfig(Path("teacher"), 0.7)),
    ],
)
def test_json_round_trip(config):
    assert from_dict(type(config), to_dict(config)) == config


def test_unknown_setting_is_named():
    with pytest.raises(ConfigError, match="unknown setting learning_rate"):
        from_dict(TrainConfig, {"learning_rate": 1})


@pytest.mark.parametrize(
    ("kind", "values", "flag"),
    [
        (TrainConfig, {"epochs": 0}, "--epochs"),
        (TrainConfig, {"batch_size": 1}, "--batch-size"),
        (TrainConfig, {"lr": 0.0}, "--lr"),
        (TrainConfig, {"factor": 1.0}, "--factor"),
        (TrainConfig, {"min_lr": 1.0}, "--min-lr"),
        (TrainConfig, {"ema": 1.0}, "--ema"),
        (PruneConfig, {"method": "magnitude", "final_sparsity": 1.0}, "--final-sparsity"),
        (TrainConfig, {"lr": float("inf")}, "--lr is inf; it must lie above 0 and be at most 10"),
        (TrainConfig, {"lr": float("nan")}, "--lr"),
        (TrainConfig, {"seed": 2**63}, "--seed"),
        (TrainConfig, {"seed": -1}, "--seed"),
        (TrainConfig, {"lr_schedule": "onecycle", "patience": 5}, "--patience needs --lr-schedule plateau"),
        (TrainConfig, {"lr_schedule": "onecycle", "factor": 0.9}, "--factor needs"),
        (TrainConfig, {"lr_schedule": "onecycle", "min_lr": 1e-7}, "--min-lr needs"),
        (DistillConfig, {"teacher_weight": 0.7}, "--teacher-weight needs --teacher RUN"),
        (AugmentConfig, {"black_border": 2.0}, "--black-border is 2.0; it must lie between 0 and 1"),
        (PruneConfig, {"method": "channel", "initial_sparsity": 0.8}, "--initial-sparsity .* do not come back"),
        (PruneConfig, {"method": "magnitude", "schedule": "constant", "initial_sparsity": 0.2}, "--schedule poly"),
        (PruneConfig, {"method": "magnitude", "blocks": 2}, "--blocks needs --method block"),
        (PruneConfig, {"method": "block", "final_sparsity": 0.7}, "--final-sparsity needs --method"),
        (PruneConfig, {"method": "block", "frequency": 7}, "--frequency needs --method"),
        (PruneConfig, {"method": "block", "end_epoch": 7}, "--end-epoch needs --method"),
        (PruneConfig, {"method": "channel", "target_macs": 9, "final_sparsity": 0.7}, "--final-sparsity needs"),
        (PruneConfig, {"method": "channel", "channels": GROW, "frequency": 7}, "--frequency needs"),
        (PruneConfig, {"method": "channel", "channels": GROW, "schedule": "constant"}, "--schedule needs"),
        (PruneConfig, {"method": "magnitude", "masks": MaskConfig("2:4"), "final_sparsity": 0.7}, "at most 0.5"),
        (PruneConfig, {"method": "channel", "begin_epoch": 3, "end_epoch": 3}, "--end-epoch"),
        (PruneConfig, {"method": "magnitude", "target_macs": 10}, "--target-macs"),
        (PruneConfig, {"method": "channel", "target_cycles": 10, "target_board": "pi4"}, "no other target"),
        (PruneConfig, {"method": "channel", "target_macs": 10, "target_int8_bytes": 0}, "target-int8-bytes is 0"),
        (PruneConfig, {"method": "channel", "target_cycles": 0}, "--target-cycles is 0"),
        (PruneConfig, {"method": "magnitude", "target_cycles": 10}, "--target-cycles needs --method channel"),
        (PruneConfig, {"method": "hybrid"}, "--method hybrid needs a target"),
        (PruneConfig, {"method": "hybrid", "target_macs": 9, "channels": GROW}, "--grow needs --method channel"),
        (PruneConfig, {"method": "hybrid", "target_macs": 9, "initial_sparsity": 0.2}, "--initial-sparsity needs"),
        (PruneConfig, {"method": "channel", "target_ms": 0.5}, "--target-ms and --latency-table go together"),
        (PruneConfig, {"method": "channel", "latency_table": Path("t.json")}, "go together"),
        (PruneConfig, {"method": "channel", "channels": ChannelConfig(ranking="knapsack")}, "needs a target"),
    ],
)
def test_bad_settings_name_their_flag(kind, values, flag):
    with pytest.raises(ConfigError, match=flag):
        kind(**values)


def test_run_id_depends_on_every_setting_and_not_on_key_order():
    assert run_id(TrainConfig()) == run_id(TrainConfig())
    assert run_id(TrainConfig()) != run_id(TrainConfig(seed=1))
    assert run_id({"a": 1, "b": 2}) == run_id({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (TrainConfig, {"epochs": "ten"}, 'epochs is "ten"'),
        (TrainConfig, {"epochs": True}, "epochs is true"),
        (TrainConfig, {"lr_schedule": 3}, "lr_schedule is 3; .*plateau"),
        (TrainConfig, [1, 2], "it must be an object"),
        (ModelConfig, {"act": "tanh"}, "act is .*tanh"),
        (PruneConfig, {"schedule": "constant"}, "method"),
        (PruneConfig, {"method": "magnitude", "masks": None}, "masks is null"),
        (PruneConfig, {"method": "magnitude", "masks": {"include": "head"}}, "include is"),
        (Recipe, {"data": None}, "data is null"),
    ],
)
def test_saved_settings_of_other_types_are_one_message(kind, values, words):
    with pytest.raises(ConfigError, match=words):
        from_dict(kind, values)


def test_pruning_anneals_by_default():
    assert PRUNING_RECIPE.lr_schedule == "onecycle"


def test_all_runs_of_the_study_can_be_asked_for():
    """Each row as a PruneConfig, and the schedule that it makes; one of them falls from 0.75 to 0.5."""
    from hpe.training.pruners import make_schedule
    from hpe.training.timing import settled

    with GRID.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 39
    falling, steps = 0, 957  # steps: 300W-LP in batches of 128
    for row in rows:
        initial, final = float(row["initial_sparsity"]), float(row["final_sparsity"])
        begin, end = int(row["begin_epoch"]), int(row["end_epoch"])
        asked = PruneConfig("magnitude", row["schedule"], initial, final, begin, end)  # type: ignore[arg-type]
        falling += asked.falls
        prune = settled(asked, TrainConfig().epochs, steps)
        assert prune.frequency is not None
        schedule = make_schedule(prune, steps)
        assert schedule.begin_step == begin * steps
        assert 0 <= end * steps - schedule.end_step < prune.frequency
        assert schedule.should_prune(schedule.begin_step)
        assert schedule.should_prune(schedule.end_step)
        assert schedule.sparsity(schedule.end_step) == pytest.approx(final)
        start = initial if row["schedule"] == "polynomial" else final
        assert schedule.sparsity(schedule.begin_step) == pytest.approx(start)
        middle = (schedule.begin_step + schedule.end_step) // 2
        left = 1 - (middle - schedule.begin_step) / (schedule.end_step - schedule.begin_step)
        assert schedule.sparsity(middle) == pytest.approx(final + (start - final) * left**3)
    assert falling == 1
