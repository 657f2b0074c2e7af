"""Widths by a knapsack: against every choice there is, never above a limit, and with a price for each layer."""

import itertools

import pytest
import torch
from torch import nn

from pruning.channels.allocation import meet_limits, rank
from pruning.channels.graph import trace
from pruning.channels.knapsack import least_loss, lost_scores
from pruning.channels.pruner import ChannelPruner, prune_channels
from pruning.channels.target import Criteria, Target
from pruning.errors import PruningError
from pruning.schedule import PolynomialDecay


def net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 1), nn.ReLU(), nn.Conv2d(12, 10, 3, padding=1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 2))


def by_steps(name, layer, outputs, inputs):
    """A price as of kernels that take four channels at a time."""
    return layer.positions * 4 * -(-outputs // 4) * inputs if layer.kind == "conv" else outputs * inputs


X = torch.zeros(1, 3, 8, 8)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("limit", ["macs", "latency"])
def test_it_is_near_the_best_of_all_widths(limit, share):
    graph = trace(net(), X, price=by_steps)
    generator = torch.Generator().manual_seed(1)
    losses = [lost_scores(torch.rand(group.size, generator=generator)) for group in graph.groups]
    limits = {limit: int(getattr(graph.cost(), limit) * share)}
    removed = least_loss(graph, losses, [(2, 2)] * len(losses), limits)
    assert getattr(graph.cost(removed), limit) <= limits[limit]
    options = [range(0, group.size - 1, 2) for group in graph.groups]
    fitting = [c for c in itertools.product(*options) if getattr(graph.cost(c), limit) <= limits[limit]]

    def lost(counts):
        return sum(loss[n] for loss, n in zip(losses, counts, strict=True))

    assert lost(removed) <= 1.1 * min(lost(counts) for counts in fitting)


def test_of_several_limits_none_is_exceeded():
    model = net()
    graph = trace(model, X)
    limits = {"params": int(graph.cost().params * 0.6), "macs": int(graph.cost().macs * 0.4)}
    after = prune_channels(model, X, Target(**limits), Criteria(ranking="knapsack", min_channels=1)).after
    assert all(getattr(after, name) <= limit for name, limit in limits.items())
    assert max(getattr(after, name) / limit for name, limit in limits.items()) > 0.9


def test_widths_are_multiples_and_a_schedule_of_latency_ends_within_its_limit():
    model = net()
    criteria = Criteria(ranking="knapsack", round_to=2, min_channels=2, price=by_steps)
    pruner = ChannelPruner(model, X, PolynomialDecay(0.0, 0.5, 0, 4, frequency=1), criteria, "latency")
    first = trace(model, X, price=by_steps).cost().latency
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for _ in range(5):
        pruner.step(optimizer)
    now = trace(model, X, price=by_steps)
    assert 0.35 * first < now.cost().latency <= 0.5 * first
    assert all(group.size % 2 == 0 for group in now.groups)
    again = ChannelPruner(net(), X, pruner.schedule, criteria, "latency")
    again.load_state_dict(pruner.state_dict())
    assert again._first_cost.latency == first


def test_what_cannot_be_is_named():
    model = net()
    graph = trace(model, X)
    scores = [torch.zeros(group.size) for group in graph.groups]
    with pytest.raises(PruningError, match="needs a limit"):
        rank(graph, scores, Criteria(ranking="knapsack")).removals(0.5)
    with pytest.raises(PruningError, match="price"):
        meet_limits(graph, rank(graph, scores, Criteria()), {"latency": 5})
    with pytest.raises(PruningError, match="cannot be reached"):
        prune_channels(model, X, Target(macs=5), Criteria(ranking="knapsack"))
