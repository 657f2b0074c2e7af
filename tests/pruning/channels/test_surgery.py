"""Channel pruning at once. Small nets where they show as much as a real one; each trap that was met has its test."""

import copy

import pytest
import timm
import torch
import torch_pruning as tp
import torchvision
from torch import nn

from pruning.channels.graph import trace
from pruning.channels.importance import IMPORTANCES
from pruning.channels.pruner import prune_channels
from pruning.channels.target import Criteria, Target
from pruning.errors import PruningError
from tests.small_nets import SmallNet, X, images, params, small_net

# What pruning means


@pytest.mark.parametrize("ranking", ["local", "global", "isomorphic"])
def test_a_pruned_net_equals_the_dense_one_with_those_channels_unread(ranking):
    dense, pruned = small_net(), small_net()
    graph = trace(dense, X)
    gone = {}

    def remember(group):
        gone[group.name] = torch.rand(group.size, generator=torch.Generator().manual_seed(group.size))
        return gone[group.name]

    report = prune_channels(pruned, X, Target(ratio=0.4), Criteria(importance=remember, ranking=ranking))
    with torch.no_grad():
        for group in graph.groups:
            before, after = report.widths[group.name]
            dropped = gone[group.name].argsort()[: before - after]
            for slot in group.slots:
                if slot.axis == "in":  # what reads a dropped channel reads nothing
                    at = slot.index[torch.isin(slot.root, dropped)]
                    dense.get_submodule(slot.layer).weight[:, at] = 0  # type: ignore[index]
    assert params(pruned) < 0.7 * params(dense)
    torch.testing.assert_close(pruned(images()), dense(images()), rtol=1e-5, atol=1e-4)


def test_local_pruning_agrees_with_torch_pruning():
    ours, theirs = small_net(), small_net()
    prune_channels(ours, X, Target(ratio=0.5), Criteria(min_channels=1))
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    tp.pruner.BasePruner(theirs, X, importance, pruning_ratio=0.5, ignored_layers=[theirs.head[4]]).step()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("importance", [*IMPORTANCES])
def test_every_importance_prunes_to_the_same_widths(importance):
    model = small_net()
    model(images()).square().mean().backward()
    report = prune_channels(model, X, Target(ratio=0.5), Criteria(importance=importance))
    assert all(after == max(4, before // 2) for before, after in report.widths.values())
    assert model(images()).shape == (4, 3)


def test_taylor_without_gradients_says_so():
    with pytest.raises(ValueError, match="needs gradients"):
        prune_channels(small_net(), X, Target(ratio=0.5), Criteria(importance="taylor"))


# Targets


@pytest.mark.parametrize("ranking", ["local", "global", "isomorphic"])
@pytest.mark.parametrize("target", ["params", "macs", "int8_bytes"])
def test_targets_are_met_within_one_percent_and_never_exceeded(target, ranking):
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v2(num_classes=10)
    before = trace(model, torch.zeros(1, 3, 32, 32)).cost()
    limit = getattr(before, target) // 3
    report = prune_channels(model, torch.zeros(1, 3, 32, 32), Target(**{target: limit}), Criteria(ranking=ranking))
    after = trace(model, torch.zeros(1, 3, 32, 32)).cost()
    assert after == report.after  # what was predicted is what is there
    assert after.params == params(model)
    assert 0.99 * limit <= getattr(after, target) <= limit


@pytest.mark.parametrize(
    ("target", "limit", "round_to"),
    [("params", 3_000_000, 4), ("params", 700_000, 4), ("macs", 10_000_000, 1), ("int8_bytes", 1_200_000, 1)],
)
def test_efficientnet_meets_a_target(target, limit, round_to):
    model = timm.create_model("efficientnet_b0", num_classes=3)
    x = torch.zeros(1, 3, 64, 64)
    prune_channels(model, x, Target(**{target: limit}), Criteria(round_to=round_to))
    assert 0.99 * limit <= getattr(trace(model, x).cost(), target) <= limit


def test_a_target_that_is_met_already_changes_nothing():
    model = small_net()
    report = prune_channels(model, X, Target(params=params(model)))
    assert report.before == report.after
    assert params(model) == params(small_net())


def test_a_target_out_of_reach_is_refused_before_anything_is_cut():
    model = small_net()
    with pytest.raises(ValueError, match=r"cannot be reached.*Lower min_channels"):
        prune_channels(model, X, Target(params=100))
    assert params(model) == params(small_net())


@pytest.mark.parametrize("goal", [{}, {"ratio": 0.5, "macs": 100}])
def test_either_a_ratio_or_limits(goal):
    with pytest.raises(ValueError, match="either a ratio or limits"):
        Target(**goal)


def test_of_several_limits_none_is_exceeded_and_the_tightest_is_met():
    model = torchvision.models.mobilenet_v2(num_classes=10)
    x = torch.zeros(1, 3, 32, 32)
    before = trace(model, x).cost()
    for macs_share, tight in ((0.3, "macs"), (0.8, "params")):
        limits = {"params": before.params // 2, "macs": int(before.macs * macs_share)}
        pruned = copy.deepcopy(model)
        after = prune_channels(pruned, x, Target(**limits), Criteria(ranking="global")).after
        assert all(getattr(after, name) <= limit for name, limit in limits.items())
        assert getattr(after, tight) >= 0.99 * limits[tight]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ranking": "best"}, "Unknown ranking 'best'"),
        ({"importance": "size"}, "Unknown importance 'size'"),
        ({"ignored": ["heda"]}, "'heda' matches no module"),
        ({"round_to": 0}, "round_to"),
    ],
)
def test_bad_options_name_themselves(options, words):
    with pytest.raises(PruningError, match=words):
        prune_channels(small_net(), X, Target(ratio=0.5), Criteria(**options))
    with pytest.raises(PruningError, match="ratio"):
        Target(ratio=1.0)


# Traps


@pytest.mark.parametrize("ranking", ["local", "global"])
def test_round_to_neither_collapses_nor_grows_with_the_ratio(ranking):
    sizes = []
    for ratio in (0.0, 0.2, 0.4, 0.6, 0.8, 0.95):
        model = small_net()
        report = prune_channels(model, X, Target(ratio=ratio), Criteria(ranking=ranking, round_to=8))
        for name, (before, after) in report.widths.items():
            assert after == before or after % 8 == 0
            assert after >= min(before, 8)
            assert (name in report.left_out) == (after == before)
        sizes.append(params(model))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 3


@pytest.mark.parametrize("floor", [1, 6])
def test_a_global_ranking_keeps_the_floor_of_every_layer(floor):
    model = small_net()
    with torch.no_grad():
        model.stem[0].weight.mul_(1e-6)
    report = prune_channels(model, X, Target(ratio=0.95), Criteria(ranking="global", min_channels=floor))
    assert all(after >= min(before, floor) for before, after in report.widths.values())
    assert min(after for _, after in report.widths.values()) == floor


def test_batch_norm_scale_on_an_untrained_net_prunes_evenly():
    model = torchvision.models.mobilenet_v2(num_classes=10)  # every gamma is 1
    criteria = Criteria(ranking="global", importance="bn_scale")
    report = prune_channels(model, torch.zeros(1, 3, 32, 32), Target(ratio=0.5), criteria)
    shares = [after / before for before, after in report.widths.values()]
    assert min(shares) > 0.4
    assert max(shares) < 0.6


def test_frozen_layers_are_pruned_too_and_stay_frozen():
    model = small_net()
    model.blocks.requires_grad_(False)
    model.train()
    report = prune_channels(model, X, Target(ratio=0.5))
    assert report.widths == prune_channels(small_net(), X, Target(ratio=0.5)).widths
    assert not any(p.requires_grad for p in model.blocks.parameters())
    assert all(p.requires_grad for p in model.head.parameters())
    assert all(module.training for module in model.modules())


def test_tracing_leaves_statistics_and_modes_alone():
    model = small_net()
    model.stem.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prune_channels(model, images(), Target(ratio=0.0))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.stem[1].training
    assert not model.blocks.training


class TwoOutputs(nn.Module):
    """The features that feed the second output are an output themselves."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(3, 8, 3)
        self.features = nn.Conv2d(8, 8, 3)
        self.logits = nn.Conv2d(8, 5, 1)

    def forward(self, x):
        features = self.features(self.inner(x))
        return features, self.logits(features)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        TwoOutputs(),
        SmallNet(),
    ],
    ids=["conv", "norm", "pooled", "two outputs", "scaled"],
)
def test_outputs_do_not_shrink(model):
    before = tp.utils.flatten_as_list(model(images()))
    report = prune_channels(model, X, Target(ratio=0.5))
    after = tp.utils.flatten_as_list(model(images()))
    assert [t.shape for t in after] == [t.shape for t in before]
    assert any(new < old for old, new in report.widths.values())
    assert "output" in "".join(report.left_out.values())


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 8, 3, padding=1)
        self.right = nn.Conv2d(3, 16, 3, padding=1)
        self.grouped = nn.Conv2d(24, 24, 3, groups=4)
        self.mixed = nn.Conv2d(24, 12, 1)
        self.last = nn.Linear(12, 2)

    def forward(self, x):
        joined = torch.cat([self.left(x), self.right(x)], 1)  # (B, 24, H, W)
        halves = self.mixed(self.grouped(joined)).chunk(2, 1)
        return self.last(torch.cat([halves[1], halves[0]], 1).mean((2, 3)))


def test_what_cannot_be_pruned_is_left_out_and_named():
    model = Branches()
    report = prune_channels(model, X, Target(ratio=0.5), Criteria(min_channels=1))
    assert model(images()).shape == (4, 2)
    assert all("group" in report.left_out[name] for name in ("left", "right"))
    assert report.after.params == params(model)


def test_concatenation_is_followed():
    model = Branches()
    model.grouped = nn.Conv2d(24, 24, 3)
    report = prune_channels(model, X, Target(ratio=0.5), Criteria(min_channels=1))
    assert report.widths["left"] == (8, 4)
    assert model.grouped.in_channels == 12
    assert model(images()).shape == (4, 2)


def test_ignored_layers_keep_their_channels():
    model = small_net()
    report = prune_channels(model, X, Target(ratio=0.5), Criteria(ignored=["stem", model.head]))
    assert model.stem[0].out_channels == 16
    assert model.head[2].out_features == 24
    assert model.blocks[0].expand[0].out_channels == 16
    assert sum("request" in reason for reason in report.left_out.values()) >= 2


def test_memory_format_stays():
    model = small_net().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prune_channels(model, X, Target(ratio=0.5))
    assert model.stem[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not model.stem[0].weight.is_contiguous()
