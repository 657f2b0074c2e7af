import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from hpe.data.faces import load_faces
from hpe.model.config import ModelConfig
from hpe.model.net import build_model
from hpe.training.augment import AugmentConfig
from hpe.training.config import TrainConfig
from hpe.training.loop import LAST, Lesson, fit, steps_per_epoch
from hpe.training.pruners import make_pruner
from hpe.training.pruning_config import PruneConfig
from hpe.training.state import TrainError, TrainState

SMALL = ModelConfig(width=0.25, act="relu6")
CONFIG = TrainConfig(epochs=2, batch_size=16, lr=1e-3)


@pytest.fixture(scope="module")
def faces(data_cache):
    return load_faces("synthetic:easy:48:5")


def quiet(line):
    pass


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


class Constant:
    """A pruner that says at which of its steps it changed the network, and does nothing."""

    def __init__(self, changes):
        self.changes, self.steps = changes, 0

    def step(self, optimizer):
        self.steps += 1
        return self.steps in self.changes

    def state_dict(self):
        return {"step": self.steps}

    def load_state_dict(self, state):
        self.steps = state["step"]


def test_plateau_forgets_the_error_from_before_pruning():
    """Against the best from before a cut, no error of the recovery is better, and the rate only falls."""
    state = TrainState(build_model(SMALL), Constant({3}), TrainConfig(patience=0), 1)
    rates = []
    for error in (2.0, 1.9, 9.0, 8.0, 7.0, 6.5):
        state.after_step()
        state.end_epoch({}, error)
        rates.append(state.lr)
    assert rates == [1e-3] * 6
    state.end_epoch({}, 6.6)
    assert state.lr == 5e-4


def test_plateau_goes_on_while_masks_stay_as_they_are(faces):
    """A constant schedule looks at its masks at every pruning step, and changes them once."""
    model = build_model(SMALL)
    pruner = make_pruner(model, PruneConfig("magnitude", "constant", end_epoch=4, frequency=1), 4, 1)
    state = TrainState(model, pruner, TrainConfig(patience=0), 1)
    rates = []
    for error in (5.0, 6.0, 6.0):
        state.after_step()
        state.end_epoch({}, error)
        rates.append(state.lr)
    assert rates == [1e-3, 5e-4, 2.5e-4]


def test_resume_with_other_data_or_a_damaged_state_is_refused(tmp_path):
    state = TrainState(build_model(SMALL), None, CONFIG, 3)
    state.save(tmp_path / LAST)
    with pytest.raises(TrainError, match="an epoch had 3 steps, and has 4 now"):
        TrainState(build_model(SMALL), None, CONFIG, 4).load(tmp_path / LAST)
    (tmp_path / LAST).write_bytes(b"half")
    with pytest.raises(TrainError, match=r"damaged .* delete it, and --resume"):
        state.load(tmp_path / LAST)


def test_resume_with_as_many_other_faces_or_labels_is_refused(faces, tmp_path):
    state = TrainState(build_model(SMALL), None, CONFIG, steps_per_epoch(len(faces), CONFIG.batch_size))
    fit(state, Lesson(faces), tmp_path, report=quiet, until=1)
    corrected = replace(faces, pose_deg=faces.pose_deg + np.float32(0.25))
    for other in (corrected, replace(faces, ids=faces.ids[::-1])):
        with pytest.raises(TrainError, match="not those of its first 1 epochs; restore"):
            fit(state, Lesson(other), tmp_path, report=quiet, until=2)
    fit(state, Lesson(faces), tmp_path, report=quiet, until=2)


def test_fewer_epochs_than_are_done_are_refused():
    state = TrainState(build_model(SMALL), None, CONFIG, 3)
    state.progress.epoch = 3
    with pytest.raises(TrainError, match="--epochs 2: 3 epochs are done"):
        state.check_epochs()


def test_divergence_advises_what_can_be_done(faces, tmp_path):
    model = build_model(SMALL)
    state = TrainState(model, None, replace(CONFIG, lr=10.0), 3)
    with torch.no_grad():
        model.last_layer.bias.fill_(torch.inf)
    with pytest.raises(TrainError, match=r"epoch 1: training diverged .*another --out with a lower --lr") as caught:
        fit(state, Lesson(faces), tmp_path, report=quiet)
    assert "--resume" not in str(caught.value)
    assert not (tmp_path / LAST).exists()


def test_weights_that_are_no_numbers_name_their_layer(faces, tmp_path):
    """The error of the last step may still be finite when its update is not."""

    class Spoiler(Constant):
        def step(self, optimizer):
            with torch.no_grad():
                model.backbone.conv_stem.weight[0, 0, 0, 0] = torch.nan
            return False

    model = build_model(SMALL)
    with pytest.raises(TrainError, match=r"backbone\.conv_stem\.weight holds NaN"):
        fit(TrainState(model, Spoiler(()), CONFIG, 3), Lesson(faces), tmp_path, report=quiet)


def test_the_last_validation_is_done_once(faces, tmp_path, monkeypatch):
    calls = []
    from hpe.training import loop

    original = loop._validate
    monkeypatch.setattr(loop, "_validate", lambda *a: calls.append(1) or original(*a))
    val = replace(faces, dropped=2, skipped=1)
    result = fit(TrainState(build_model(SMALL), None, CONFIG, 3), Lesson(faces, val), tmp_path, report=quiet)
    assert result.val is not None
    assert (result.val.n, result.val.dropped, result.val.skipped) == (48, 2, 1)
    assert len(calls) == CONFIG.epochs


def test_masks_hold_in_the_averaged_weights(faces, tmp_path):
    model = build_model(SMALL)
    pruner = make_pruner(model, PruneConfig("magnitude", "constant", final_sparsity=0.75, frequency=1), 2, 3)
    fit(TrainState(model, pruner, CONFIG, 3), Lesson(faces), tmp_path, report=quiet)
    weight = model.backbone.conv_head.weight
    assert int((weight == 0).sum()) == round(0.75 * weight.numel())


def test_training_learns(faces, tmp_path):
    config = TrainConfig(epochs=10, batch_size=16, lr=2e-3, lr_schedule="onecycle")
    state = TrainState(build_model(ModelConfig()), None, config, 3)
    history = fit(state, Lesson(faces, augment=AugmentConfig.off()), tmp_path, report=quiet).history
    assert history[-1]["train_mae_deg"] < 0.75 * history[0]["train_mae_deg"]
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == [str(n) for n in range(1, 11)]


def test_more_batch_than_images_is_one_message():
    with pytest.raises(TrainError, match="--batch-size 64"):
        steps_per_epoch(48, 64)
