import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pruning.schedule import ConstantSparsity, PolynomialDecay
from pruning.weights.magnitude import MagnitudePruner
from pruning.weights.masks import make_masks, share_of_zeros
from pruning.weights.prunable import prunable_weights


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))


def train(model, optimizer, pruner, steps, first=0, record=None):
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(4, 3, 8, 8, generator=generator)  # (4, 3, 8, 8)
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
        pruner.step(optimizer)
        if record is not None:
            record.append(pruner.sparsity())


def zeros(model):
    weights = prunable_weights(model).values()
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@pytest.mark.parametrize("optimizer_type", [torch.optim.Adam, torch.optim.SGD])
def test_masks_hold_through_the_optimizer_and_follow_the_schedule(optimizer_type):
    model = small_net()
    optimizer = optimizer_type(model.parameters(), lr=0.01)
    schedule = PolynomialDecay(0.25, 0.75, begin_step=2, end_step=10, frequency=4)
    pruner = MagnitudePruner(model, schedule)
    record = []
    train(model, optimizer, pruner, 12, record=record)
    for step, sparsity in enumerate(record, 1):
        due = [s for s in (2, 6, 10) if s <= step]
        assert sparsity == pytest.approx(schedule.sparsity(due[-1]) if due else 0.0, abs=2e-3)
    assert zeros(model) == pytest.approx(0.75)
    for name, mask in pruner.masks.items():
        assert int((~mask).sum()) == mask.numel() - round(mask.numel() * 0.25)
        assert (model.get_parameter(name)[~mask] == 0).all()
    assert (model[0].bias != 0).all()


def test_a_schedule_from_step_0_prunes_at_the_first_call():
    model = small_net()
    pruner = MagnitudePruner(model, ConstantSparsity(0.5, begin_step=0, frequency=1000))
    assert zeros(model) == 0  # building a pruner changes nothing
    assert pruner.step() is True
    assert zeros(model) == pytest.approx(0.5)
    assert pruner.step() is False


def test_masks_nest_during_training():
    model = small_net()
    pruner = MagnitudePruner(model, PolynomialDecay(0.0, 0.9, 0, 20, frequency=1), scope="global")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    before = pruner.masks
    for step in range(20):
        train(model, optimizer, pruner, 1, first=step)
        assert all((pruner.masks[name] <= before[name]).all() for name in before)
        before = pruner.masks


@pytest.mark.parametrize("scope", ["layer", "global", "erk", "2:4", "1x4"])
def test_a_falling_schedule_gives_weights_back_that_train_on(scope):
    """The published grid has schedules from 0.75 down to 0.5."""
    high, low = (0.5, 0.25) if scope == "2:4" else (0.75, 0.5)
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    pruner = MagnitudePruner(model, PolynomialDecay(high, low, 1, 9, frequency=4), scope=scope)
    train(model, optimizer, pruner, 1)
    first = pruner.masks
    assert pruner.sparsity() == pytest.approx(high, abs=0.06)  # three input channels make no block of four
    train(model, optimizer, pruner, 8, first=1)
    anew = make_masks({name: w.detach().abs() for name, w in prunable_weights(model).items()}, low, scope)
    assert pruner.sparsity() == pytest.approx(share_of_zeros(anew), abs=1e-3)
    for name, mask in pruner.masks.items():
        assert (mask >= first[name]).all()  # what was kept stays
        back = mask & ~first[name]
        if scope == "layer":
            assert back.any()
        assert (model.get_parameter(name)[back] != 0).all()
        assert (model.get_parameter(name)[~mask] == 0).all()


def test_those_come_back_that_the_last_step_moved_most():
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[9.0, 1.0, 2.0, 3.0]]))
    pruner = MagnitudePruner(model, PolynomialDecay(0.75, 0.5, 1, 2, frequency=1))
    pruner.step()
    assert model.weight.tolist() == [[9.0, 0.0, 0.0, 0.0]]
    with torch.no_grad():
        model.weight.add_(torch.tensor([[0.0, 0.1, -0.3, 0.2]]))  # an optimiser step
    pruner.step()
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[9.0, 0.0, -0.3, 0.0]]))


@pytest.mark.parametrize("score", ["magnitude", "movement", "random"])
def test_training_resumes_exactly(tmp_path, score):
    def build():
        model = small_net()
        schedule = PolynomialDecay(0.1, 0.8, 1, 9, frequency=2)
        return model, torch.optim.Adam(model.parameters(), lr=0.01), MagnitudePruner(model, schedule, score=score)

    model, optimizer, pruner = build()
    train(model, optimizer, pruner, 5)
    state = pruner.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    numbers = {name: value for name, value in state.items() if not isinstance(value, torch.Tensor)}
    save_file(tensors, tmp_path / "pruner.safetensors")
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer_state = optimizer.state_dict()
    moments = {i: {k: v.clone() for k, v in entry.items()} for i, entry in optimizer_state["state"].items()}
    train(model, optimizer, pruner, 6, first=5)

    again, optimizer_again, pruner_again = build()
    again.load_state_dict(weights)
    optimizer_again.load_state_dict({**optimizer_state, "state": moments})
    pruner_again.load_state_dict({**load_file(tmp_path / "pruner.safetensors"), **numbers})
    train(again, optimizer_again, pruner_again, 6, first=5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert pruner_again.steps == pruner.steps == 11


def test_a_state_of_another_model_is_refused():
    state = MagnitudePruner(small_net(), ConstantSparsity(0.5, 0), exclude=["0"]).state_dict()
    with pytest.raises(ValueError, match="do not fit"):
        MagnitudePruner(small_net(), ConstantSparsity(0.5, 0)).load_state_dict(state)


def test_movement_keeps_what_moves_away_from_zero():
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 1.0]]))
    pruner = MagnitudePruner(model, ConstantSparsity(0.5, 1, frequency=1), score="movement")
    model.weight.grad = torch.tensor([[1.0, -1.0, 2.0, -2.0]])  # a negative gradient lets a positive weight grow
    pruner.step()
    assert pruner.masks["weight"].tolist() == [[False, True, False, True]]
    model.weight.grad = None
    with pytest.raises(ValueError, match="no gradient"):
        pruner.step()
    with pytest.raises(ValueError, match="Unknown score 'size'"):
        MagnitudePruner(model, ConstantSparsity(0.5, 0), score="size")


def test_random_is_a_control_with_a_seed():
    def mask(seed):
        pruner = MagnitudePruner(small_net(), ConstantSparsity(0.5, 0), score="random", seed=seed)
        pruner.update_masks(0.5)
        return pruner.masks["4.weight"]

    assert torch.equal(mask(0), mask(0))
    assert not torch.equal(mask(0), mask(1))
    assert share_of_zeros({"w": mask(0)}) == 0.5


def test_channels_last_weights_stay_channels_last():
    model = small_net().to(memory_format=torch.channels_last)
    pruner = MagnitudePruner(model, ConstantSparsity(0.5, 0))
    pruner.update_masks(0.5)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert zeros(model) == pytest.approx(0.5)
