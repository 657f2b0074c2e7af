"""Second order: the Hessian's diagonal against autograd's own, reconstruction against numpy's least squares."""

import numpy as np
import pytest
import torch
from torch import nn

from pruning.channels.pruner import prune_channels
from pruning.channels.target import Criteria, Target
from pruning.errors import PruningError
from pruning.reconstruct import DAMPING, Reconstruction
from pruning.second_order import diagonal_hessian, obd_scores
from pruning.weights.masks import apply_masks, make_masks
from pruning.weights.prunable import prunable_weights


def test_the_diagonal_is_that_of_the_squared_error_of_a_linear_net():
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    images = torch.randn(4000, 4)
    found = diagonal_hessian(layer, images)

    def error(weight):
        return ((images @ weight.T + layer.bias - layer(images).detach()) ** 2).sum(1).mean() / 2

    exact = torch.autograd.functional.hessian(error, layer.weight.detach()).flatten(2).flatten(0, 1).diagonal()
    torch.testing.assert_close(found["weight"].flatten(), exact, rtol=0.15, atol=0)  # the directions are random
    assert layer.weight.grad is None
    torch.testing.assert_close(
        obd_scores({"weight": layer.weight}, found)["weight"], found["weight"] * layer.weight**2 / 2
    )


def test_a_masked_layer_becomes_the_least_squares_fit_on_what_is_left():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 5))
    mixing = torch.randn(6, 6)
    images = torch.randn(300, 6) @ mixing
    dense = Reconstruction(model, images)
    target = model(images).detach().numpy()
    mask = torch.rand(5, 6) > 0.5
    mask[:, 0] = True
    with torch.no_grad():
        model[0].weight.mul_(mask)
    before = model[0].weight.detach().numpy().copy()
    dense.fit(model)
    assert torch.equal(model[0].weight != 0, mask)
    x = images.numpy() - images.numpy().mean(0)  # the bias takes the mean
    moments = x.T @ x / 300
    damping = DAMPING * np.trace(moments) / 6
    for row in range(5):
        on = mask[row].numpy()
        start, goal = before[row, on], target[:, row] - target[:, row].mean()
        left = moments[np.ix_(on, on)] + damping * np.eye(on.sum())
        exact = np.linalg.solve(left, x[:, on].T @ goal / 300 + damping * start)
        np.testing.assert_allclose(model[0].weight[row].detach().numpy()[on], exact, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(model(images).mean(0).detach(), target.mean(0), atol=1e-4)


def small_net():
    torch.manual_seed(2)
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    layers += [nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 12, 1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3))
    for _ in range(20):
        model.train()(torch.randn(32, 3, 8, 8))
    return model.eval()


@pytest.mark.parametrize("kind", ["masks", "channels"])
def test_it_brings_the_outputs_back_towards_the_dense_ones(kind):
    model, images, unseen = small_net(), torch.randn(128, 3, 8, 8), torch.randn(64, 3, 8, 8)
    dense, expected = Reconstruction(model, images), model(unseen).detach()
    kept = None
    if kind == "masks":
        weights = {name: w.detach().abs() for name, w in prunable_weights(model).items()}
        apply_masks(model, make_masks(weights, 0.6))
    else:
        kept = prune_channels(model, images[:1], Target(ratio=0.4), Criteria(min_channels=2)).kept
    zeros = {name: (w == 0).sum() for name, w in model.named_parameters()}
    pruned = (model(unseen) - expected).square().mean()
    model.train()
    dense.fit(model, kept)
    assert model.training
    model.eval()
    assert (model(unseen) - expected).square().mean() < 0.6 * pruned
    assert {name: (w == 0).sum() for name, w in model.named_parameters()} == zeros


def test_a_dense_model_stays_as_it_is():
    model, images = small_net(), torch.randn(64, 3, 8, 8)
    expected = model(images).detach()
    Reconstruction(model, images).fit(model)
    torch.testing.assert_close(model(images), expected, rtol=1e-3, atol=1e-4)


def test_cut_channels_without_what_was_kept_are_refused():
    model, images = small_net(), torch.randn(16, 3, 8, 8)
    dense = Reconstruction(model, images)
    prune_channels(model, images[:1], Target(ratio=0.4), Criteria(min_channels=2))
    with pytest.raises(PruningError, match="kept"):
        dense.fit(model)


class Shared(nn.Module):
    """A convolution on two levels of different size, and two dense layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.level = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        levels = self.level(x).mean((2, 3)) + self.level(nn.functional.avg_pool2d(x, 2)).mean((2, 3))
        return self.second(self.first(levels).relu())


def test_weights_that_are_used_twice_stay():
    torch.manual_seed(0)
    model, images = Shared(), torch.randn(64, 3, 8, 8)
    dense = Reconstruction(model, images)
    with torch.no_grad():
        model.stem.weight[::2] = 0.0
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    dense.fit(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_weight_that_is_made_of_others_is_not_fitted():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)))
    images = torch.randn(64, 8)
    kept = Reconstruction(net, images)
    with torch.no_grad():
        net[2].parametrizations.weight.original1[:4] = 0
        before = net[2].bias.clone()
    kept.fit(net)
    assert torch.equal(net[2].bias, before)


def test_half_precision_is_fitted():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).to(torch.bfloat16)
    images = torch.randn(256, 8, dtype=torch.bfloat16)
    kept, wanted = Reconstruction(net, images), net(images).detach()
    with torch.no_grad():
        net[2].weight[:, :3] = 0
        broken = (net(images) - wanted).float().square().mean()
        kept.fit(net)
        assert (net(images) - wanted).float().square().mean() < 0.6 * broken
