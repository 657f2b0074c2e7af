"""Widths by a knapsack: the least sum of lost scores among all widths that keep within the limits.

As budgets of latency are shared out in HALP (Shen et al. 2021, arXiv:2110.10811): a group of channels has for each
width what it loses (the scores of what goes) and what it costs, and dynamic programming over the budget finds the best
widths of all groups together. A layer's cost depends on two groups, its inputs' and its outputs', which MDP (Sun et al.
2024, arXiv:2406.12079) solves as a quadratic programme. Here each group is priced with the others at a guess, and the
guess is improved for some rounds. The true cost says which budget to take, so that no limit is exceeded.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from pruning.channels.costs import Cost
from pruning.channels.graph import ChannelGraph
from pruning.errors import PruningError

BINS = 4000
"""Steps of the budget in the dynamic programme."""
ROUNDS = 5
"""Guesses of the widths by which costs are taken."""
OPTIONS = 64
"""Widths of a group that are looked at, at most."""
NEAR = 4
"""How many of them up are tried when what is left of the limits is given back."""
MOST_MOVES = 100
"""How many groups are given channels back, one after another."""


def lost_scores(scores: Tensor) -> np.ndarray:
    """(size,) scores -> (size + 1,) what goes with the least important 0, 1, 2 ... channels."""
    ascending = np.sort(scores.detach().double().cpu().numpy())
    return np.concatenate([[0.0], np.cumsum(np.maximum(ascending, 0))])


def check_reach(smallest: Cost, limits: Mapping[str, int]) -> None:
    """Refuse limits below the cost of the least widths."""
    for name, limit in limits.items():
        if getattr(smallest, name) > limit:
            raise PruningError(
                f"The target of {limit:,} {name} cannot be reached: the widths that must stay leave "
                f"{getattr(smallest, name):,}. Lower min_channels or round_to, ignore fewer layers, or raise "
                "the target."
            )


def least_loss(
    graph: ChannelGraph,
    losses: Sequence[np.ndarray],
    least: Sequence[tuple[int, int]],
    limits: Mapping[str, int],
) -> list[int]:
    """How many units each group loses, so that no limit is exceeded and the sum of lost scores is small.

    Args:
        losses: for each group (size + 1,), what goes with its least important 0, 1, 2 ... units.
        least: for each group its floor, and what its size is a multiple of (unless it stays whole).

    Raises:
        PruningError: if the floors do not allow it.
    """
    choices = [_options(group.size, *own) for group, own in zip(graph.groups, least, strict=True)]
    most, none = [options[-1] for options in choices], [0] * len(choices)
    check_reach(graph.cost(most), limits)
    fullness = _Fullness(graph, limits)
    if fullness.fits(none):
        return none

    def lost(removed: Sequence[int]) -> float:
        return float(sum(loss[n] for loss, n in zip(losses, removed, strict=True)))

    guess, found = _evenly(choices, fullness), most
    weights = np.ones(len(limits)) / len(limits)
    for _ in range(ROUNDS):
        costs = [[float(w @ weights) for w in fullness.changes(guess, i, options)] for i, options in enumerate(choices)]
        best = _within_limits(choices, losses, costs, fullness)
        weights = weights * np.asarray(fullness.of(best)) ** 2
        weights /= weights.sum()
        found = min(found, _give_back(best, choices, losses, fullness), key=lost)
        guess = [_nearest(options, (a + b) / 2) for options, a, b in zip(choices, guess, best, strict=True)]
    return found


def _options(size: int, floor: int, unit: int) -> list[int]:
    """How many channels a group may lose: none, or what leaves a multiple of the unit; OPTIONS of them at most."""
    widths = range(-(-floor // unit) * unit, size, unit)
    thinned = widths[:: -(-len(widths) // OPTIONS)] if len(widths) else widths
    return sorted({0} | {size - width for width in thinned})


class _Fullness:
    """Costs as shares of their limits; quick to ask for a change of one group."""

    def __init__(self, graph: ChannelGraph, limits: Mapping[str, int]):
        self._graph, self._limits = graph, limits
        self._touched = [
            {(slot.layer, slot.axis): group.per_unit(slot) for slot in group.slots} for group in graph.groups
        ]
        self._known: dict[tuple[str, int, int], np.ndarray] = {}
        fixed = graph.fixed
        self._fixed = np.array([getattr(fixed, name) / max(limit, 1) for name, limit in limits.items()])

    def of(self, removed: Sequence[int]) -> list[float]:
        """The share of each limit that is used; above 1 it is exceeded. Exact."""
        cost = self._graph.cost(removed)
        return [getattr(cost, name) / max(limit, 1) for name, limit in self._limits.items()]

    def fits(self, removed: Sequence[int]) -> bool:
        """Whether no limit is exceeded."""
        return max(self.of(removed)) <= 1

    def changes(self, removed: Sequence[int], i: int, options: Sequence[int]) -> list[np.ndarray]:
        """(limits,) for each option: what the shares change by if group `i` loses that many instead."""
        widths = self._widths(removed)
        layers = {layer for layer, _ in self._touched[i]}
        now = sum(self._layer(name, *widths[name]) for name in layers)
        changes = []
        for option in options:
            then = np.zeros(len(self._limits))
            for name in layers:
                more = [self._touched[i].get((name, axis), 0) * (removed[i] - option) for axis in ("out", "in")]
                then = then + self._layer(name, widths[name][0] + more[0], widths[name][1] + more[1])
            changes.append(then - now)
        return changes

    def _widths(self, removed: Sequence[int]) -> dict[str, list[int]]:
        widths = {name: [layer.out, layer.inputs] for name, layer in self._graph.layers.items()}
        for touched, count in zip(self._touched, removed, strict=True):
            for (layer, axis), per_channel in touched.items():
                widths[layer][axis == "in"] -= per_channel * count
        return widths

    def _layer(self, name: str, out: int, inputs: int) -> np.ndarray:
        key = (name, out, inputs)
        if key not in self._known:
            cost = self._graph.layers[name].cost(out, inputs)
            latency = self._graph.time(name, out, inputs)
            shares = [
                (latency if limit == "latency" else getattr(cost, limit)) / max(most, 1)
                for limit, most in self._limits.items()
            ]
            self._known[key] = np.array(shares)
        return self._known[key]


def _evenly(choices: Sequence[Sequence[int]], fullness: _Fullness) -> list[int]:
    """The same share of every group, so much that the limits are met."""
    low, high = 0.0, 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        removed = [_nearest(options, middle * options[-1]) for options in choices]
        low, high = (low, middle) if fullness.fits(removed) else (middle, high)
    return [_nearest(options, high * options[-1]) for options in choices]


def _nearest(options: Sequence[int], value: float) -> int:
    return min(options, key=lambda option: abs(option - value))


def _within_limits(
    choices: Sequence[Sequence[int]],
    losses: Sequence[np.ndarray],
    costs: Sequence[Sequence[float]],
    fullness: _Fullness,
) -> list[int]:
    """One option of each group, with the least loss for its cost, at the largest budget that keeps within the limits.

    The dynamic programme answers for every budget at once; the true cost says which of its answers to take.
    """
    lowest = [min(cost) for cost in costs]
    step = sum(max(cost) - low for cost, low in zip(costs, lowest, strict=True)) / BINS or 1.0
    best = np.zeros(BINS + 1)  # the least loss for each number of bins
    taken = []
    for options, loss, cost, low in zip(choices, losses, costs, lowest, strict=True):
        bins = [round((c - low) / step) for c in cost]
        rows = np.full((len(options), BINS + 1), np.inf)
        for row, option, used in zip(rows, options, bins, strict=True):
            if used <= BINS:
                row[used:] = best[: BINS + 1 - used] + loss[option]
        choice = rows.argmin(0)
        best = rows[choice, np.arange(BINS + 1)]
        taken.append((options, choice, bins))

    def answer(budget: int) -> list[int]:
        removed = []
        for options, choice, bins in reversed(taken):
            removed.append(options[choice[budget]])
            budget -= bins[choice[budget]]
        return removed[::-1]

    low, high = 0, BINS + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fullness.fits(answer(middle)) else (low, middle)
    found = answer(low)
    return found if fullness.fits(found) else [options[-1] for options in choices]


def _give_back(
    removed: list[int], choices: Sequence[Sequence[int]], losses: Sequence[np.ndarray], fullness: _Fullness
) -> list[int]:
    """Take channels back, always what gains most for what it costs, while they fit."""
    for _ in range(MOST_MOVES):
        used = np.asarray(fullness.of(removed))
        best, best_price = removed, 0.0
        for i, option, change in _moves(removed, choices, fullness):
            gained = losses[i][removed[i]] - losses[i][option] + 1e-12
            price = gained / max(float(change.max()), 1e-9)
            if (used + change <= 1).all() and price > best_price:
                best, best_price = _with(removed, i, option), price
        if best == removed or not fullness.fits(best):
            break
        removed = best
    return removed


def _moves(
    removed: list[int], choices: Sequence[Sequence[int]], fullness: _Fullness
) -> Iterator[tuple[int, int, np.ndarray]]:
    """What each group might take back: (group, option, change of the shares)."""
    for i, options in enumerate(choices):
        at = options.index(removed[i])
        near = options[max(0, at - NEAR) : at]
        yield from ((i, *move) for move in zip(near, fullness.changes(removed, i, near), strict=True))


def _with(removed: list[int], i: int, option: int) -> list[int]:
    return [*removed[:i], option, *removed[i + 1 :]]
