import pytest
import torch
from torch import nn

from hpe.model.config import ModelConfig
from hpe.model.net import build_model
from hpe.training.averages import WeightAverage
from hpe.training.config import TrainConfig
from hpe.training.state import TrainState


def test_average_is_a_running_mean_and_follows_a_change_of_shape():
    layer = nn.Linear(1, 1, bias=False)
    average = WeightAverage(layer, 0.5)
    start = layer.weight.item()
    with torch.no_grad():
        layer.weight.fill_(start + 1)
    average.update()  # young: 1 - 2/11 of the new value
    assert average.state(layer)["weight"].item() == pytest.approx(start + 9 / 11, rel=1e-6)
    layer.weight = nn.Parameter(torch.ones(1, 2))
    average.follow(layer)
    average.update()
    assert torch.equal(average.state(layer)["weight"], torch.ones(1, 2))


def test_average_equals_torchs_own_with_the_decay_of_a_young_average():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    mine = WeightAverage(model, 0.9)
    decays = [min(0.9, (1 + count) / (10 + count)) for count in range(1, 13)]
    oracle = {name: tensor.clone() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for decay in decays:
        optimizer.zero_grad()
        model(torch.randn(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        mine.update()
        live = {name: tensor for name, tensor in model.state_dict().items() if name in oracle}
        torch.optim.swa_utils.get_ema_multi_avg_fn(decay)(list(oracle.values()), list(live.values()), None)
    state = mine.state(model)
    for name, tensor in oracle.items():
        torch.testing.assert_close(state[name], tensor)
    assert int(state["1.num_batches_tracked"]) == 12  # a count is not averaged


def test_an_average_of_another_model_is_refused():
    average = WeightAverage(nn.Linear(2, 2), 0.9)
    with pytest.raises(ValueError, match="another model"):
        average.load_state_dict({"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, 1)


def test_a_step_looks_nothing_up():
    """Walking the model at every step costs more than the average itself."""
    layer = nn.Linear(2, 2)
    average = WeightAverage(layer, 0.9)
    layer.state_dict = lambda *args, **named: pytest.fail("the average walks the model")
    average.update()


@pytest.mark.parametrize("changed", [True, False])
def test_the_average_restarts_where_a_pruner_changed_the_network_and_goes_on_where_not(changed):
    class Pruner:
        def step(self, optimizer):
            return changed

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    model = build_model(ModelConfig(width=0.25))
    state = TrainState(model, Pruner(), TrainConfig(epochs=1, ema=0.9), 100)
    average = state.average
    for step in range(1, 31):
        with torch.no_grad():
            model.last_layer.bias.fill_(float(step))
        state.after_step()
    kept = state.weights()["head.0.bias"]
    assert average.updates == (1 if changed else 30)
    assert torch.allclose(kept, torch.full((3,), 30.0)) == changed
    assert changed or bool((kept < 29).all())
