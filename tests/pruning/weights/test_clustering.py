import numpy as np
import pytest
import torch
from torch import nn

from pruning.weights.clustering import WeightClusterer
from pruning.weights.masks import apply_masks, make_masks
from pruning.weights.prunable import prunable_weights


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 4))


def values(weight):
    return np.unique(weight.detach().numpy())


def test_each_layer_takes_few_values_near_its_own():
    model, dense = net(), net()
    WeightClusterer(model, clusters=8)
    for mine, was in ((model[0].weight, dense[0].weight), (model[3].weight, dense[3].weight)):
        assert len(values(mine)) <= 8
        step = (was.max() - was.min()) / 8
        assert (mine - was).abs().max() < step
    assert torch.equal(model[0].bias, dense[0].bias)


def test_obvious_clusters_are_found_exactly():
    model = nn.Linear(6, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 1.2, 0.0, -3.0, -3.2, 0.0]]))
    WeightClusterer(model, clusters=3)
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[1.1, 1.1, 0.0, -3.1, -3.1, 0.0]]))


@pytest.mark.parametrize("freedom", [2.0, 3.0, 8.0])
def test_heavy_tails_are_clustered_as_well_as_by_k_means_plus_plus(freedom):
    from scipy.cluster.vq import kmeans2
    from scipy.stats import t

    weights = t.rvs(freedom, size=(1, 20_000), random_state=0).astype(np.float32)
    model = nn.Linear(20_000, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(weights))
    WeightClusterer(model, clusters=16)
    error = float(np.square(model.weight.detach().numpy() - weights).mean())
    errors = []
    for seed in range(3):
        centres, nearest = kmeans2(weights.T.astype(float), 16, minit="++", seed=seed, iter=20)
        errors.append(np.square(centres[nearest] - weights.T).mean())
    assert error < 1.02 * np.mean(errors)


def test_more_clusters_than_weights_leave_the_weights():
    model, dense = net(), net()
    WeightClusterer(model, clusters=100_000)
    torch.testing.assert_close(model[3].weight, dense[3].weight)
    wide = nn.Linear(40_000, 1, bias=False)
    before = wide.weight.detach().clone()
    WeightClusterer(wide, clusters=39_000)  # more than an int16 counts
    assert 33_000 < len(values(wide.weight)) <= 39_000
    assert (wide.weight - before).abs().max() < 1e-3


def test_training_keeps_values_shared_and_zeros_zero():
    model = net()
    masks = make_masks({n: w.detach().abs() for n, w in prunable_weights(model).items()}, 0.5)
    apply_masks(model, masks)
    clusterer = WeightClusterer(model, clusters=8)
    before = values(model[3].weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for seed in range(3):
        images = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()
        clusterer.step(optimizer)
    assert len(values(model[3].weight)) <= 8
    assert not np.allclose(values(model[3].weight), before)
    for name, mask in masks.items():
        assert (model.get_parameter(name)[~mask] == 0).all()


def test_state_goes_on_elsewhere():
    model = net()
    clusterer = WeightClusterer(model, clusters=4)
    again = net()
    resumed = WeightClusterer(again, clusters=4, include=["*"])
    with torch.no_grad():
        model[3].weight.add_(torch.randn(4, 128, generator=torch.Generator().manual_seed(1)))
    again.load_state_dict(model.state_dict())
    resumed.load_state_dict(clusterer.state_dict())
    clusterer.step()
    resumed.step()
    assert torch.equal(model[3].weight, again[3].weight)
    with pytest.raises(ValueError, match="do not fit"):
        WeightClusterer(net(), exclude=["0"]).load_state_dict(clusterer.state_dict())
    with pytest.raises(ValueError, match="2 or more"):
        WeightClusterer(net(), clusters=1)


def test_updates_far_smaller_than_a_weight_are_made():
    """A mean over ten thousand equal values, added one by one in float32, would go back to where it was."""
    torch.manual_seed(0)
    layer = nn.Conv2d(320, 1280, 1, bias=False)
    clusterer = WeightClusterer(nn.Sequential(layer), clusters=16)
    before = layer.weight.detach().clone()
    for _ in range(50):
        with torch.no_grad():
            layer.weight += 1e-6
        clusterer.step()
    np.testing.assert_allclose((layer.weight.detach() - before).mean().item(), 5e-5, rtol=0.02)
    moved = layer.weight.detach().clone()
    clusterer.step()
    assert torch.equal(layer.weight, moved)


def test_half_precision_is_clustered_to_its_own_rounding():
    torch.manual_seed(0)
    layer = nn.Linear(512, 512).to(torch.bfloat16)
    before = layer.weight.detach().float()
    WeightClusterer(nn.Sequential(layer), clusters=64)
    assert (layer.weight.detach().float() - before).square().mean().sqrt() < 0.03 * before.std()
