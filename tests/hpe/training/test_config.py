import pytest

from hpe.io.configs import from_dict, run_id, to_dict
from hpe.io.errors import ConfigError
from hpe.model.config import ModelConfig
from hpe.training.config import PruneConfig, TrainConfig


def test_defaults_are_the_papers_recipe():
    train = TrainConfig()
    assert (train.epochs, train.batch_size, train.lr, train.lr_schedule) == (80, 128, 1e-3, "plateau")
    assert (train.patience, train.factor, train.min_lr) == (3, 0.5, 1e-5)
    assert ModelConfig() == ModelConfig(head="gap", act="silu", se=True, padding="symmetric", pretrained=False)


@pytest.mark.parametrize("config", [ModelConfig(act="relu6"), TrainConfig(seed=3), ModelConfig(width=0.5)])
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
        (PruneConfig, {"method": "magnitude", "initial_sparsity": 0.8}, "--initial-sparsity"),
        (PruneConfig, {"method": "channel", "begin_epoch": 3, "end_epoch": 3}, "--end-epoch"),
        (PruneConfig, {"method": "magnitude", "target_macs": 10}, "--target-macs"),
        (PruneConfig, {"method": "channel", "target_macs": 10, "target_params": 10}, "one target"),
    ],
)
def test_bad_settings_name_their_flag(kind, values, flag):
    with pytest.raises(ConfigError, match=flag):
        kind(**values)


def test_run_id_depends_on_every_setting_and_not_on_key_order():
    assert run_id(TrainConfig()) == run_id(TrainConfig())
    assert run_id(TrainConfig()) != run_id(TrainConfig(seed=1))
    assert run_id({"a": 1, "b": 2}) == run_id({"b": 2, "a": 1})
