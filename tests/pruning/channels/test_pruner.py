"""Channel pruning while training, and saving what it leaves."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from pruning.channels.graph import trace
from pruning.channels.pruner import ChannelPruner, apply_widths, prune_channels, widths
from pruning.channels.target import Criteria, Target
from pruning.schedule import ConstantSparsity, PolynomialDecay
from tests.small_nets import X, images, params, small_net

OPTIMIZERS = {
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-3, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9),
}


def train_step(model, optimizer, pruner, step):
    optimizer.zero_grad()
    loss = model(images(step)).square().mean()
    loss.backward()
    optimizer.step()
    pruner.step(optimizer)
    return loss


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_are_carried_over_for_the_channels_that_stay(name):
    model = small_net().train()
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = OPTIMIZERS[name]([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}])
    train_step(model, optimizer, ChannelPruner(model, X, ConstantSparsity(0.5, 99)), 0)
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if value.shape == parameter.shape:
                state[key] = parameter.detach() * 2  # so that a cut moment can be told by its parameter
    prune_channels(model, X, Target(ratio=0.5), optimizer=optimizer)
    members = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in members} == {id(p) for p in model.parameters()}
    assert all(p.dim() > 1 for p in optimizer.param_groups[0]["params"])
    assert set(optimizer.state) == set(members)
    moments = 0
    for parameter, state in optimizer.state.items():
        for value in state.values():
            if value.shape == parameter.shape:
                assert torch.equal(value, parameter.detach() * 2)
                moments += 1
    assert moments >= len(members)
    assert all(p.grad is not None and p.grad.shape == p.shape for p in members)
    train_step(model, optimizer, ChannelPruner(model, X, ConstantSparsity(0.5, 99)), 1)


def test_channels_follow_the_schedule_while_an_old_loss_is_still_alive():
    model = small_net().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = PolynomialDecay(0.0, 0.75, begin_step=1, end_step=9, frequency=4)
    pruner = ChannelPruner(model, X, schedule, Criteria(min_channels=2))
    sizes, loss = [], None
    for step in range(10):
        held = loss  # the graph of the last step lives on while the next is built
        loss = train_step(model, optimizer, pruner, step)
        sizes.append(model.blocks[0].expand[0].out_channels)
        del held
    middle = 32 - round(32 * schedule.sparsity(5))
    assert sizes == [32] * 4 + [middle] * 4 + [8] * 2
    assert model.head[2].in_features == model.blocks[1].project[0].out_channels * 4


@pytest.mark.parametrize("measure", ["params", "macs", "int8_bytes"])
def test_a_schedule_of_bytes_or_work(measure):
    model = small_net().train()
    before = getattr(trace(model, X).cost(), measure)
    pruner = ChannelPruner(model, X, ConstantSparsity(0.3, 0), Criteria(min_channels=1), measure)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert pruner.step(optimizer) is True
    after = getattr(trace(model, X).cost(), measure)
    assert 0.97 * 0.7 * before <= after <= 0.7 * before  # single channels of so small a net are near 1 %
    assert pruner.step(optimizer) is False


@pytest.mark.parametrize(
    ("weights", "tight"), [({"params": 0.2, "macs": 1.0}, "macs"), ({"params": 1.0, "macs": 0.1}, "params")]
)
def test_a_schedule_of_several_costs_meets_the_tightest_and_exceeds_none(weights, tight):
    torch.manual_seed(0)
    model, x = torchvision.models.mobilenet_v2(num_classes=10), torch.zeros(1, 3, 32, 32)
    before = trace(model, x).cost()
    pruner = ChannelPruner(model, x, PolynomialDecay(0.0, 0.6, 0, 2, frequency=1), measure=weights)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for sparsity in (pruner.schedule.sparsity(1), 0.6):
        pruner.step(optimizer)
        after = trace(model, x).cost()
        shares = {name: getattr(after, name) / getattr(before, name) for name in weights}
        allowed = {name: 1 - sparsity * weight for name, weight in weights.items()}
        assert all(shares[name] <= allowed[name] for name in weights)
        assert shares[tight] >= 0.99 * allowed[tight]


def test_schedules_that_channels_cannot_follow_are_refused_at_once():
    with pytest.raises(ValueError, match="do not come back"):
        ChannelPruner(small_net(), X, PolynomialDecay(0.75, 0.5, 0, 10))
    with pytest.raises(ValueError, match="cannot be reached"):
        ChannelPruner(small_net(), X, ConstantSparsity(0.99, 0), measure="params")
    with pytest.raises(ValueError, match="Unknown measure 'weight'"):
        ChannelPruner(small_net(), X, ConstantSparsity(0.5, 0), measure="weight")
    with pytest.raises(ValueError, match="Unknown measure 'channels'"):
        ChannelPruner(small_net(), X, ConstantSparsity(0.5, 0), measure={"channels": 1.0, "macs": 0.5})


@pytest.mark.parametrize("resumed", [False, True])
def test_a_constant_schedule_cuts_once_whatever_rounding_leaves(resumed):
    """After the first cut all that is left to go is sought in one group, where it is more than rounding leaves."""
    cut = []

    def score(group):
        return torch.full((group.size,), float(bool(cut) and group.name != "blocks.1.squeeze.2"))

    def build():
        model = small_net().train()
        criteria = Criteria(importance=score, ranking="global", round_to=8)
        return model, ChannelPruner(model, X, ConstantSparsity(0.3, 1, frequency=1), criteria)

    model, pruner = build()
    assert pruner.prune_to(0.3)
    cut.append(widths(model))
    if resumed:
        state = pruner.state_dict()
        model, pruner = build()
        apply_widths(model, cut[0])
        pruner.load_state_dict(state)
    assert not pruner.step(torch.optim.Adam(model.parameters()))
    assert widths(model) == cut[0]
    assert pruner.prune_to(0.31)  # what was left goes with the next cut


@pytest.mark.parametrize("importance", ["magnitude", "random"])
def test_training_resumes_exactly(importance, tmp_path):
    def build():
        model = small_net().train()
        schedule = PolynomialDecay(0.1, 0.6, 0, 8, frequency=2)
        criteria = Criteria(importance=importance, ranking="global", min_channels=1)
        return model, ChannelPruner(model, X, schedule, criteria, "params")

    model, pruner = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(4):
        train_step(model, optimizer, pruner, step)
    shape = json.loads(json.dumps(widths(model)))
    pruner_state = pruner.state_dict()
    tensors = {name: value for name, value in pruner_state.items() if isinstance(value, torch.Tensor)}
    save_file(tensors, tmp_path / "pruner.safetensors")
    pruner_state = {**pruner_state, **load_file(tmp_path / "pruner.safetensors")}
    weights, moments = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    for step in range(4, 9):
        train_step(model, optimizer, pruner, step)

    again, pruner_again = build()
    apply_widths(again, shape)
    again.load_state_dict(weights)
    optimizer_again = torch.optim.Adam(again.parameters(), lr=0.01)
    optimizer_again.load_state_dict(moments)
    pruner_again.load_state_dict(pruner_state)
    for step in range(4, 9):
        train_step(again, optimizer_again, pruner_again, step)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert params(model) < 0.41 * params(small_net())


# Saving


def test_a_pruned_net_loads_into_a_plain_build(tmp_path):
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v2(num_classes=10).eval()
    prune_channels(model, torch.zeros(1, 3, 32, 32), Target(ratio=0.6), Criteria(ranking="global"))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "arch.json").write_text(json.dumps(widths(model)))

    plain = torchvision.models.mobilenet_v2(num_classes=10).eval()
    apply_widths(plain, json.loads((tmp_path / "arch.json").read_text()))
    plain.load_state_dict(load_file(tmp_path / "model.safetensors"))
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(plain(x), model(x))
    assert [str(m) for m in plain.modules()] == [str(m) for m in model.modules()]


def test_a_fresh_process_computes_the_same(tmp_path):
    model = small_net()
    prune_channels(model, X, Target(ratio=0.5))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "arch.json").write_text(json.dumps(widths(model)))
    save_file({"outputs": model(images()).detach()}, tmp_path / "outputs.safetensors")
    code = """
import json, torch
from safetensors.torch import load_file
from pruning import apply_widths
from tests.small_nets import images, small_net
model = small_net()
apply_widths(model, json.load(open("arch.json")))
model.load_state_dict(load_file("model.safetensors"))
assert torch.equal(model(images()), load_file("outputs.safetensors")["outputs"])
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)


def test_widths_of_another_net_are_refused():
    shape = widths(small_net())
    with pytest.raises(ValueError, match="another architecture"):
        apply_widths(torchvision.models.mobilenet_v2(), shape)
    with pytest.raises(ValueError, match=r"'stem.0' cannot be cut from \[16, 3\] to \[17, 3\]"):
        apply_widths(small_net(), {**shape, "stem.0": [17, 3]})
    with pytest.raises(ValueError, match="cannot be cut"):
        apply_widths(small_net(), {**shape, "stem.0": [16]})


def test_what_is_fitted_after_a_cut_stays_nearer_to_what_was_there():
    unseen, deviation = images(), {}
    dense = small_net().eval()
    for fit_on in (None, images()):
        model = small_net().eval()
        pruner = ChannelPruner(model, X, ConstantSparsity(0.5, 1, 1, 1), Criteria(), fit_on=fit_on)
        assert pruner.prune_to(0.5)
        with torch.no_grad():
            deviation[fit_on is not None] = float((model(unseen) - dense(unseen)).square().mean())
    assert deviation[True] < 0.5 * deviation[False]
