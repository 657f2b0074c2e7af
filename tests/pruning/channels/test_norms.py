import pytest
import torch
import torchvision
from torch import nn

from pruning.channels.norms import reestimate_norms
from pruning.channels.pruner import ChannelPruner, prune_channels
from pruning.channels.target import Criteria, Target
from pruning.schedule import PolynomialDecay
from tests.small_nets import X, images, small_net


def test_the_first_norm_gets_the_mean_and_variance_of_all_batches():
    model = small_net()
    batches = [images(seed, batch=64) for seed in range(8)]
    reestimate_norms(model, batches)
    inputs = torch.cat([model.stem[0](batch) for batch in batches]).detach()  # (512, 16, 8, 8)
    torch.testing.assert_close(model.stem[1].running_mean, inputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(model.stem[1].running_var, inputs.var((0, 2, 3)), rtol=2e-3, atol=0)


def test_a_pruned_net_then_computes_in_evaluation_what_it_does_in_training():
    model = small_net()
    prune_channels(model, X, Target(ratio=0.5))
    batch = images(batch=256)
    weight = model.stem[1].weight.detach().clone()
    with torch.no_grad():
        wanted = model.train()(batch)
        before = (model.eval()(batch) - wanted).abs().mean()
        reestimate_norms(model, [batch])
        assert (model(batch) - wanted).abs().mean() < 0.01 * before
    assert torch.equal(model.stem[1].weight, weight)


def test_training_starts_from_the_same_net_with_and_without():
    """What a norm's weight and bias are decides how the net trains; pruning by LAMP hung on it (2.4 or 4.0 degrees)."""
    nets = small_net(), small_net()
    for model in nets:
        prune_channels(model, X, Target(ratio=0.75), Criteria(importance="lamp", ranking="global"))
    reestimate_norms(nets[0], [images(seed) for seed in range(4)])
    batch = images(batch=64)
    for model in nets:
        model.train()(batch).square().sum().backward()
    for first, second in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        torch.testing.assert_close(first.grad, second.grad, rtol=0, atol=0)


def test_a_channel_that_has_become_constant_has_its_bias():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).eval()
    with torch.no_grad():
        model[0].weight[0] = 0.0
        model[1].bias.copy_(torch.tensor([0.5, -1.0]))
    reestimate_norms(model, [images()])
    assert model[1].running_var[0] == 0
    torch.testing.assert_close(model(images())[:, 0].detach(), torch.full((4, 16, 16), 0.5))


def test_the_pruner_re_estimates_after_each_cut():
    model, calls = small_net(), []

    def batches():
        calls.append(model.stem[0].out_channels)
        return [images(batch=128)]

    pruner = ChannelPruner(model, X, PolynomialDecay(0.25, 0.5, 1, 3, frequency=2), batches=batches)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for _ in range(4):
        pruner.step(optimizer)
    assert calls == [12, 8]
    evaluated = model.eval()(images(batch=128)).detach()
    torch.testing.assert_close(model.train()(images(batch=128)).detach(), evaluated, rtol=1e-2, atol=2e-2)


def test_nothing_but_the_statistics_changes():
    model = torchvision.models.mobilenet_v2(num_classes=3, width_mult=0.25)  # has dropout
    model.features[0].eval()
    model.features[0][1].momentum = 0.3
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    reestimate_norms(model, (images(seed).repeat(1, 1, 2, 2) for seed in range(2)))
    assert [module.training for module in model.modules()] == modes
    assert model.features[0][1].momentum == 0.3
    assert model.features[1].conv[0][1].momentum == 0.1
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == ("running_" not in name), name


def test_no_batches_are_an_error_and_change_nothing():
    model = small_net()
    before = model.stem[1].running_mean.clone()
    with pytest.raises(ValueError, match="no batches"):
        reestimate_norms(model, [])
    assert torch.equal(model.stem[1].running_mean, before)
    reestimate_norms(nn.Linear(3, 2), [torch.zeros(2, 3)])  # no norms: nothing to do


def test_a_batch_that_fails_changes_nothing():
    model = small_net().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def batches():
        yield images()
        raise OSError("no such picture")

    with pytest.raises(OSError, match="no such picture"):
        reestimate_norms(model, batches())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.stem[1].momentum == 0.1


def test_a_norm_that_does_not_run_stays():
    model = small_net()
    model.spare = nn.BatchNorm2d(4)
    model.spare.running_mean.fill_(3.0)
    reestimate_norms(model, [images()])
    assert torch.equal(model.spare.running_mean, torch.full((4,), 3.0))
