import pytest
import torch
import torchvision
from torch import nn

from pruning.channels.norms import reestimate_norms
from pruning.channels.pruner import prune_channels
from tests.small_nets import X, images, small_net


def test_the_first_norm_gets_the_mean_and_variance_of_all_batches():
    model = small_net()
    batches = [images(seed, batch=64) for seed in range(8)]
    reestimate_norms(model, batches)
    inputs = torch.cat([model.stem[0](batch) for batch in batches]).detach()  # (512, 16, 8, 8)
    torch.testing.assert_close(model.stem[1].running_mean, inputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(model.stem[1].running_var, inputs.var((0, 2, 3)), rtol=2e-3, atol=0)


def test_a_pruned_net_behaves_in_evaluation_as_on_its_own_batch():
    model = small_net()
    prune_channels(model, X, ratio=0.5)
    batch = images(batch=256)
    wanted = model.train()(batch)
    model.eval()
    before = (model(batch) - wanted).abs().mean()
    reestimate_norms(model, [batch])
    assert (model(batch) - wanted).abs().mean() < 0.01 * before


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
        same = torch.equal(value, before[name])
        assert same == (not name.endswith(("running_mean", "running_var", "num_batches_tracked"))), name


def test_no_batches_are_an_error_and_change_nothing():
    model = small_net()
    before = model.stem[1].running_mean.clone()
    with pytest.raises(ValueError, match="no batches"):
        reestimate_norms(model, [])
    assert torch.equal(model.stem[1].running_mean, before)
    reestimate_norms(nn.Linear(3, 2), [torch.zeros(2, 3)])  # no norms: nothing to do
