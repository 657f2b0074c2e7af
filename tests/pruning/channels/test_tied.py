"""Channels that go in units: groups of convolutions, heads of attention, ghost features; and what proves unsound."""

import copy

import pytest
import torch
import torch_pruning as tp
from torch import nn
from torch.nn.utils.prune import l1_unstructured

from pruning.channels.fusing import fuse_attentions
from pruning.channels.graph import trace
from pruning.channels.growing import GrowingRegPruner
from pruning.channels.importance import IMPORTANCES
from pruning.channels.observed import HessianImportance, SensitivityImportance
from pruning.channels.pruner import ChannelPruner, apply_widths, prune_channels, widths
from pruning.channels.surgery import keep_channels
from pruning.channels.target import Criteria, Target
from pruning.errors import PruningError
from pruning.schedule import PolynomialDecay
from pruning.stats import stats
from tests.small_nets import X, images, params
from tests.tied_nets import NETS, Head, grouped_net, transformer


class SomeNorm(nn.Module):
    """A layer norm over the channels of a mask: an independent statement of what a cut one computes."""

    def __init__(self, norm, mask):
        super().__init__()
        self.norm, self.mask = norm, mask

    def forward(self, x):
        count = self.mask.sum()
        mean = (x * self.mask).sum(-1, keepdim=True) / count
        variance = ((x - mean).square() * self.mask).sum(-1, keepdim=True) / count
        return (x - mean) / (variance + self.norm.eps).sqrt() * self.norm.weight + self.norm.bias


@pytest.mark.parametrize("name", NETS)
def test_a_net_cut_by_units_equals_the_dense_one_with_them_unread_and_is_counted(name):
    dense, pruned = NETS[name](), NETS[name]()
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    fuse_attentions(dense, x)
    report = prune_channels(pruned, x[:1], Target(ratio=0.5), Criteria(min_channels=1))
    assert set(report.left_out.values()) == {"it makes the model's output"}
    with torch.no_grad():
        for layer, axes in report.kept.items():
            if layer not in dict(dense.named_modules()):
                continue
            module = dense.get_submodule(layer)
            if "in" in axes:
                groups = getattr(module, "groups", 1)
                inputs = module.weight.shape[1] * groups
                for place in sorted(set(range(inputs)) - set(axes["in"].tolist())):
                    rows = len(module.weight) // groups
                    part = place // module.weight.shape[1]
                    module.weight[part * rows : (part + 1) * rows, place % module.weight.shape[1]] = 0
            elif isinstance(module, nn.LayerNorm):
                mask = torch.zeros(module.normalized_shape[0])
                mask[axes["out"]] = 1
                dense.set_submodule(layer, SomeNorm(module, mask))
        torch.testing.assert_close(pruned(x), dense(x), rtol=1e-4, atol=1e-5)
    assert params(pruned) == report.after.params == stats(pruned, x[:1]).params
    assert report.after.macs == stats(pruned, x[:1]).macs < 0.41 * report.before.macs


@pytest.mark.parametrize("name", NETS)
def test_widths_rebuild_a_net_cut_by_units(name):
    model, x = NETS[name](), torch.randn(2, 3, 16, 16)
    prune_channels(model, x[:1], Target(ratio=0.5), Criteria(min_channels=1))
    again = NETS[name]()
    apply_widths(again, widths(model))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize("name", NETS)
def test_every_score_and_ranking_takes_units(name):
    model, x = NETS[name](), torch.randn(4, 3, 16, 16)
    model(x).square().mean().backward()
    observed = [kind(model, x) for kind in (SensitivityImportance, HessianImportance)]
    graph = trace(model, x[:1])
    for importance in [*IMPORTANCES, *observed]:
        score = Criteria(importance=importance).make_score()
        if importance == "fpgm" and name == "grouped":
            with pytest.raises(PruningError, match="take another"):
                [score(group) for group in graph.groups]
            continue
        assert all(score(group).shape == (group.size,) for group in graph.groups)
    limit = int(graph.cost().macs * 0.6)
    for ranking in ("local", "global", "isomorphic", "knapsack"):
        cut = copy.deepcopy(model)
        report = prune_channels(cut, x[:1], Target(macs=limit), Criteria(ranking=ranking, min_channels=1))
        assert stats(cut, x[:1]).macs == report.after.macs <= limit


def test_heads_go_whole_and_the_moments_of_tokens_and_groups_are_cut_too():
    model, x = transformer(), torch.randn(2, 3, 16, 16)
    optimizer = torch.optim.Adam(model.parameters())
    model(x).square().mean().backward()
    optimizer.step()
    prune_channels(model, x[:1], Target(ratio=0.5), Criteria(), optimizer)
    assert model.blocks[0].attn.num_heads == 2
    assert model.blocks[0].attn.head_dim == 8
    assert model.blocks[0].attn.qkv.out_features == 3 * 16
    assert model.pos_embed.shape == (1, 17, 16)
    assert all(optimizer.state[p]["exp_avg"].shape == p.shape for p in model.parameters())
    model(x).square().mean().backward()
    optimizer.step()


def test_floors_and_rounding_are_of_channels():
    model = grouped_net()
    report = prune_channels(model, X, Target(ratio=0.9), Criteria(min_channels=8, round_to=8))
    assert report.widths["grouped"] == (16, 8)
    assert report.widths["reduce"] == (24, 8)
    assert model.grouped.groups == 4


def several_kernels_a_channel(outputs_each):
    """As keyword spotting nets have it: a depthwise layer with several outputs for each of its 16 channels."""
    torch.manual_seed(0)
    depthwise = nn.Conv2d(16, 16 * outputs_each, 3, groups=16)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), depthwise, nn.ReLU(), nn.Conv2d(16 * outputs_each, 12, 1), nn.ReLU(), Head(12)
    ).eval()


def test_a_channel_that_cannot_go_needs_no_score():
    model = several_kernels_a_channel(2)
    report = prune_channels(model, X, Target(ratio=0.5), Criteria())  # Torch-Pruning cannot score the first layer
    assert report.widths == {"0": (16, 16), "2": (32, 16), "4": (12, 6)}


def test_channels_that_a_cut_has_untied_are_counted_from_then_on():
    model = several_kernels_a_channel(2)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    pruner = ChannelPruner(model, X, PolynomialDecay(0.5, 0.75, 0, 1, frequency=1), Criteria(min_channels=2))
    pruner.prune_to(0.5, optimizer)  # one kernel a channel is left, so that both layers' channels are the same now
    assert (model[0].out_channels, model[2].out_channels, model[2].groups) == (16, 16, 16)
    pruner.prune_to(0.75, optimizer)
    assert (model[0].out_channels, model[2].out_channels, model[4].out_channels) == (4, 4, 3)


@pytest.mark.parametrize("name", ["grouped", "transformer", "torch encoder"])
def test_growing_regularisation_fades_units_and_tokens(name):
    model, x = NETS[name](), torch.randn(2, 3, 16, 16)
    pruner = GrowingRegPruner(model, x[:1], Target(ratio=0.5), (1, 4), Criteria(min_channels=1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for _ in range(4):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        pruner.step(optimizer)
    assert pruner.report is not None
    assert model(x).shape == (2, 3)


class Windows(nn.Module):
    """An attention with a table by heads, as Swin's."""

    def __init__(self):
        super().__init__()
        self.num_heads = 4
        self.embed, self.qkv, self.proj = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 48), nn.Linear(16, 8)
        self.table = nn.Parameter(torch.randn(16 * 16, 4))
        self.head = Head(8)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)  # (B, 16, 8)
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = q @ k.transpose(-2, -1) + self.table.view(16, 16, -1).permute(2, 0, 1)
        x = (weights.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return self.head(self.proj(x))


def test_a_table_by_heads_is_cut_with_them():
    torch.manual_seed(0)
    model, x = Windows().eval(), torch.randn(2, 3, 16, 16)
    dense = copy.deepcopy(model)
    report = prune_channels(model, x[:1], Target(ratio=0.5), Criteria(ignored=["embed", "proj"]))
    assert model.table.shape == (256, 2)
    with torch.no_grad():
        gone = sorted(set(range(16)) - set(report.kept["proj"]["in"].tolist()))
        dense.proj.weight[:, gone] = 0
    torch.testing.assert_close(model(x), dense(x), rtol=1e-4, atol=1e-5)


class Constant(nn.Module):
    """Code that holds a width, which no trace shows; and a channel mean, which every channel enters."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.stem, self.other = nn.Conv2d(3, 16, 3), nn.Conv2d(3, 8, 3)
        self.next = nn.Conv2d(8 if way != "mean" else 17, 8, 1)
        self.head = Head(8)

    def forward(self, x):
        wide, other = self.stem(x), self.other(x)
        if self.way == "split":
            wide = sum(wide.split(8, 1))
        elif self.way == "slice":
            wide = wide[:, 4:12]
        else:
            wide = torch.cat([wide, wide.mean(1, keepdim=True)], 1)
        return self.head(self.next(wide) * other)


@pytest.mark.parametrize("way", ["split", "slice", "mean"])
def test_what_a_trial_shows_to_be_unsound_is_left_out_and_the_rest_is_cut(way):
    torch.manual_seed(0)
    model = Constant(way).eval()
    report = prune_channels(model, X, Target(ratio=0.5))
    assert "stem" in report.left_out
    assert model.stem.out_channels == 16
    assert model.other.out_channels == 4
    assert report.after.params == params(model)
    assert model(images()).shape == (4, 3)


def test_what_never_runs_costs_nothing():
    model = grouped_net()
    before, report = stats(model, X), prune_channels(grouped_net(), X, Target(ratio=0.5))
    model.auxiliary = nn.Sequential(nn.Conv2d(12, 50, 3), nn.BatchNorm2d(50), nn.PReLU(50))
    assert stats(model, X) == before
    assert prune_channels(model, X, Target(ratio=0.5)).after == report.after


def test_a_score_that_torch_pruning_cannot_give_is_explained(monkeypatch):
    def breaks(*args):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(tp.DependencyGraph, "get_pruning_group", breaks)
    with pytest.raises(PruningError, match=r"cannot score.*SensitivityImportance"):
        prune_channels(grouped_net(), X, Target(ratio=0.5))
    model = grouped_net()
    criteria = Criteria(importance=SensitivityImportance(model, images()))
    assert prune_channels(model, X, Target(ratio=0.5), criteria).after.macs > 0


class SharedWeights(nn.Module):
    """Two layers of one weight."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = (nn.Conv2d(3, 8, 3, padding=1), *(nn.Conv2d(8, 8, 3, padding=1) for _ in "ab"))
        self.b.weight = self.a.weight
        self.wide, self.head = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 3, 1)

    def forward(self, x):
        return self.head(self.wide(self.b(self.a(self.stem(x)).relu()).relu()).relu()).mean((2, 3))


def test_a_weight_that_two_layers_share_stays_shared():
    net = SharedWeights()
    graph = trace(net, X)
    assert {"its weight is shared with a", "its weight is shared with b"} & set(graph.left_out.values())
    assert [group.name for group in graph.groups] == ["wide"]
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    report = prune_channels(net, X, Target(ratio=0.5), optimizer=optimizer)
    assert net.a.weight is net.b.weight
    assert report.after.params == params(net) == stats(net, X).params
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in net.parameters()}
    half = {"out": torch.arange(4)}
    with pytest.raises(PruningError, match=r"b\.weight is shared with another layer"):
        keep_channels(net, {"a": half, "b": half})


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("way", [nn.utils.weight_norm, lambda layer: l1_unstructured(layer, "weight", 0.3)])
def test_a_layer_that_makes_its_weight_is_left_out_with_the_remedy(way):
    net = nn.Sequential(
        way(nn.Conv2d(3, 8, 3)), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Conv2d(16, 3, 3), nn.Flatten()
    )
    graph = trace(net, X)
    assert "remove_weight_norm" in graph.left_out["0"]
    prune_channels(net, X, Target(ratio=0.5))
    assert (net[0].out_channels, net[2].out_channels) == (8, 8)
    assert stats(net, X).params == params(net)
