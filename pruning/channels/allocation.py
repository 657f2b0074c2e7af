"""How many channels of each group go: for a ratio, or for a target that is met and never exceeded."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pruning.channels.graph import ChannelGraph
from pruning.channels.groups import ChannelGroup
from pruning.channels.knapsack import check_reach, least_loss, lost_scores
from pruning.errors import PruningError

if TYPE_CHECKING:
    from pruning.channels.target import Criteria

RANKINGS = ("local", "global", "isomorphic", "knapsack")


@dataclass(frozen=True)
class Ranking:
    """The order in which the channels of a graph would go."""

    groups: list[ChannelGroup]
    pools: list[list[int]]
    """Groups (by index) whose channels are ranked against each other."""
    order: list[np.ndarray]
    """For each pool, the group of each channel that may go, the least important channel first."""
    first_sizes: list[int]
    """Units of each group before any pruning: what a ratio is a fraction of."""
    floors: list[int]
    """Units that each group keeps at least."""
    steps: list[int]
    """What the number of units that each group keeps is a multiple of."""
    losses: list[np.ndarray] | None = None
    """For "knapsack": of each group, the sum of the scores of its least important 0, 1, 2 ... channels."""

    def removals(self, ratio: float) -> list[int]:
        """How many units each group loses from now on, for a ratio of the first ones to be gone in all.

        Raises:
            PruningError: of the ranking "knapsack", which weighs scores against a limit.
        """
        if self.losses is not None:
            raise PruningError("The ranking knapsack needs a limit (params, macs, int8_bytes, latency), not a ratio.")
        removed = [0] * len(self.groups)
        for pool, order in zip(self.pools, self.order, strict=True):
            first = sum(self.first_sizes[i] for i in pool)
            gone = first - sum(self.groups[i].size for i in pool)
            count = max(0, round(ratio * first) - gone)
            for i, n in zip(*np.unique(order[:count], return_counts=True), strict=True):
                removed[int(i)] = self._rounded(int(i), int(n))
        return removed

    def _rounded(self, i: int, count: int) -> int:
        """A removal that leaves the nearest multiple of the group's step, and never less than its floor."""
        size = self.groups[i].size
        width = round((size - count) / self.steps[i]) * self.steps[i]
        return size - min(size, max(width, self.floors[i]))


def rank(
    graph: ChannelGraph, scores: Sequence[Tensor], criteria: "Criteria", first_sizes: Mapping[str, int] | None = None
) -> Ranking:
    """Order the channels of a graph.

    Args:
        scores: (size,) for each group of the graph.
        criteria: its ranking is "local" (the ratio of each group), "global" (all channels in one list), "isomorphic"
            (one list for all groups built of the same layers; Fang et al. 2024, arXiv:2407.04616) or "knapsack" (the
            widths with the least sum of lost scores within the limits; see knapsack.py); its `round_to` and
            `min_channels` are what widths are multiples of, and what no group falls below (narrower ones stay).
        first_sizes: widths before any pruning, where some was done before.
    """
    keys = [_pool_key(graph, group, criteria.ranking) for group in graph.groups]
    pools = [[i for i, key in enumerate(keys) if key == pool] for pool in dict.fromkeys(keys)]
    lowest_multiple = -(-criteria.min_channels // criteria.round_to) * criteria.round_to
    floors = [min(group.size, -(-lowest_multiple // group.channels_each)) for group in graph.groups]
    steps = [criteria.round_to // math.gcd(criteria.round_to, group.channels_each) for group in graph.groups]
    # more than at first: channels that were tied, of a grouped convolution that is a depthwise one by now
    first = [max((first_sizes or {}).get(group.name, 0), group.size) for group in graph.groups]
    orders = [_order(pool, graph.groups, scores, floors) for pool in pools]
    losses = [lost_scores(score) for score in scores] if criteria.ranking == "knapsack" else None
    return Ranking(graph.groups, pools, orders, first, floors, steps, losses)


def meet_limits(graph: ChannelGraph, ranking: Ranking, limits: Mapping[str, int]) -> list[int]:
    """The fewest channels to remove so that each field of Cost in `limits` is at most its limit.

    Bisects the ratio, then gives single channels back while they fit; or, of the ranking "knapsack", chooses each
    group's width by what it loses and costs.

    Raises:
        PruningError: if the floors do not allow it, or a limit of latency has no price.
    """
    if "latency" in limits and graph.price is None:
        raise PruningError("A limit of latency needs a price for each layer: give one in the criteria.")
    if ranking.losses is not None:
        return least_loss(graph, ranking.losses, list(zip(ranking.floors, ranking.steps, strict=True)), limits)

    def fullness(removed: list[int]) -> float:
        """The cost as a fraction of its limit, of the tightest limit: above 1 it does not fit."""
        cost = graph.cost(removed)
        return max(getattr(cost, name) / max(limit, 1) for name, limit in limits.items())

    if fullness(ranking.removals(0.0)) <= 1:
        return ranking.removals(0.0)
    check_reach(graph.cost(ranking.removals(1.0)), limits)
    low, high = 0.0, 1.0  # fullness(low) > 1 >= fullness(high)
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if fullness(ranking.removals(middle)) <= 1 else (middle, high)
    return _give_back(ranking.removals(high), ranking.steps, fullness)


def _give_back(removed: list[int], steps: list[int], fullness: Callable[[list[int]], float]) -> list[int]:
    """Return units, a step at a time, always the one that fills the limit most and still fits."""
    while fullness(removed) <= 0.998:
        best, best_fullness = None, -1.0
        for i, count in enumerate(removed):
            if count:
                trial = [*removed[:i], max(0, count - steps[i]), *removed[i + 1 :]]
                trial_fullness = fullness(trial)
                if best_fullness < trial_fullness <= 1:
                    best, best_fullness = trial, trial_fullness
        if best is None:
            break
        removed = best
    return removed


def _order(pool: list[int], groups: list[ChannelGroup], scores: Sequence[Tensor], floors: list[int]) -> np.ndarray:
    """Group indices, the least important channel first; the floor of each group is not in the list.

    Equal scores (an untrained batch-norm) go evenly over the groups: ties are broken by the rank within the group.
    """
    owners, values, ranks = [], [], []
    for i in pool:
        may_go = groups[i].size - floors[i]
        ascending = np.sort(scores[i].detach().float().cpu().numpy())[:may_go]
        owners.append(np.full(may_go, i))
        values.append(ascending)
        ranks.append(np.arange(may_go) / groups[i].size)
    order = np.lexsort((np.concatenate(ranks), np.concatenate(values)))
    return np.concatenate(owners)[order]


def _pool_key(graph: ChannelGraph, group: ChannelGroup, ranking: str) -> object:
    if ranking == "local":
        return group.name
    if ranking in ("global", "knapsack"):
        return ""
    return tuple((graph.layers[s.layer].kind, graph.layers[s.layer].kernel, s.axis) for s in group.slots)
