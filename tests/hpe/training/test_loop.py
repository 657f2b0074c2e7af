import csv
from itertools import pairwise

import pytest
import torch

from hpe.data.faces import load_faces
from hpe.model.net import build_model
from hpe.model.preprocess import AugmentConfig
from hpe.training.config import ModelConfig, PruneConfig, TrainConfig
from hpe.training.loop import LAST, fit, steps_per_epoch
from hpe.training.pruners import make_pruner
from hpe.training.state import TrainError, TrainState, WeightAverage, one_cycle

CONFIG = TrainConfig(epochs=2, batch_size=16, lr=1e-3)


@pytest.fixture(scope="module")
def faces(data_cache):
    return load_faces("synthetic:easy:48:5")


def quiet(line):
    pass


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("method", [None, "magnitude", "channel"])
def test_a_resumed_run_equals_an_unbroken_one(faces, tmp_path, method):
    def new():
        model = build_model(ModelConfig())
        prune = PruneConfig(method or "magnitude", final_sparsity=0.4, end_epoch=2, frequency=1)
        return model, (make_pruner(model, prune, 2, 3) if method else None)

    model, pruner = new()
    whole = fit(model, faces, faces, CONFIG, tmp_path / "whole", pruner, report=quiet)
    unbroken = state_of(model)

    class Killed(Exception):
        pass

    def kill(line):
        raise Killed

    model, pruner = new()
    with pytest.raises(Killed):
        fit(model, faces, faces, CONFIG, tmp_path / "broken", pruner, report=kill)
    model, pruner = new()
    resumed = fit(model, faces, faces, CONFIG, tmp_path / "broken", pruner, resume=True, report=quiet)
    after = state_of(model)
    assert after.keys() == unbroken.keys()
    for name, tensor in unbroken.items():
        assert torch.equal(after[name], tensor), name
    assert resumed.val == whole.val
    rows = list(csv.DictReader((tmp_path / "broken" / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]


def test_resume_with_other_settings_is_refused(faces, tmp_path):
    state = TrainState(build_model(ModelConfig()), None, CONFIG, 3)
    state.save(tmp_path / LAST)
    other = TrainState(build_model(ModelConfig()), None, TrainConfig(epochs=2, batch_size=16, lr=2e-3), 3)
    with pytest.raises(TrainError, match=r"--lr \(was 0.001\)"):
        other.load(tmp_path / LAST)
    (tmp_path / LAST).write_bytes(b"half")
    with pytest.raises(TrainError, match="damaged"):
        state.load(tmp_path / LAST)


def test_masks_hold_in_the_averaged_weights(faces, tmp_path):
    model = build_model(ModelConfig())
    pruner = make_pruner(model, PruneConfig("magnitude", "constant", final_sparsity=0.75, frequency=1), 2, 3)
    fit(model, faces, None, CONFIG, tmp_path, pruner, report=quiet)
    weight = model.backbone.conv_head.weight
    assert int((weight == 0).sum()) == round(0.75 * weight.numel())


def test_training_learns(faces, tmp_path):
    model = build_model(ModelConfig())
    config = TrainConfig(epochs=10, batch_size=16, lr=2e-3, lr_schedule="onecycle")
    history = fit(model, faces, None, config, tmp_path, augment=AugmentConfig.off(), report=quiet).history
    assert history[-1]["train_mae_deg"] < 0.75 * history[0]["train_mae_deg"]


def test_one_cycle_rises_to_the_peak_and_ends_at_zero():
    rates = [one_cycle(step, 1.0, 100) for step in range(101)]
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 15
    assert rates[0] == pytest.approx(0.04)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert all(a > b for a, b in pairwise(rates[15:]))


def test_plateau_halves_after_patience_as_torch_does():
    state = TrainState(build_model(ModelConfig()), None, TrainConfig(patience=1, min_lr=3e-4), 3)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([parameter], lr=1e-3)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=3e-4)
    for error in (5.0, 4.0, 4.1, 4.2, 4.3, 3.9, 4.0, 4.0, 4.0, 4.0, 4.0):
        state.end_epoch({}, error)
        oracle.step(error)
        assert state.lr == pytest.approx(optimizer.param_groups[0]["lr"])


def test_average_is_a_running_mean_and_follows_a_change_of_shape():
    layer = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(layer, 0.5)
    start = layer.weight.item()
    with torch.no_grad():
        layer.weight.fill_(start + 1)
    average.update(layer)  # young: 1 - 2/11 of the new value
    assert average.state(layer)["weight"].item() == pytest.approx(start + 9 / 11, rel=1e-6)
    layer.weight = torch.nn.Parameter(torch.ones(1, 2))
    average.update(layer)
    assert torch.equal(average.state(layer)["weight"], torch.ones(1, 2))


def test_more_batch_than_images_is_one_sentence():
    with pytest.raises(TrainError, match="--batch-size 64"):
        steps_per_epoch(48, 64)
