"""What a structured pruner is asked for: which channels go first, and what must stay; how much goes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from pruning.channels.allocation import RANKINGS, Ranking, meet_limits
from pruning.channels.costs import Cost, Price
from pruning.channels.graph import ChannelGraph
from pruning.channels.importance import IMPORTANCES, Importance, make_importance
from pruning.errors import PruningError

LIMITS = tuple(f.name for f in fields(Cost))
"""Costs that can be a target: params, macs, int8_bytes, latency."""


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Which channels go first, and what must stay.

    Raises:
        PruningError: if the importance or ranking is unknown, or a width is below 1.
    """

    importance: str | Importance = "magnitude"
    """A name of `importance.IMPORTANCES`, or a function of a group: `SensitivityImportance(model, images)`."""
    ranking: str = "local"
    """local, global, isomorphic or knapsack; see `allocation.rank`."""
    round_to: int = 1
    """Pruned widths are multiples of this (the nearest; a layer is never pruned away)."""
    min_channels: int = 4
    """No group of channels gets narrower than this."""
    ignored: Sequence[str | nn.Module] = ()
    """Modules or name patterns whose output channels stay."""
    seed: int = 0
    """Of the importance "random"."""
    price: Price | None = None
    """What a layer takes, for a limit of latency: (name, layer, outputs, inputs) -> cycles, nanoseconds ..."""

    def __post_init__(self):
        if self.ranking not in RANKINGS:
            raise PruningError(f"Unknown ranking {self.ranking!r}: use one of {', '.join(RANKINGS)}.")
        if isinstance(self.importance, str) and self.importance not in IMPORTANCES:
            raise PruningError(f"Unknown importance {self.importance!r}: use one of {', '.join(IMPORTANCES)}.")
        if self.round_to < 1 or self.min_channels < 1:
            raise PruningError("round_to and min_channels must be 1 or more.")

    def make_score(self) -> Importance:
        """The importance as a function; one that draws numbers starts from the seed."""
        return make_importance(self.importance, self.seed) if isinstance(self.importance, str) else self.importance


@dataclass(frozen=True, kw_only=True)
class Target:
    """How much goes: a ratio, or one or more limits, of which none is exceeded and the tightest is met.

    Raises:
        PruningError: unless there is either a ratio or a limit.
    """

    ratio: float | None = None
    """Fraction of the channels to remove, in [0, 1)."""
    params: int | None = None
    """Largest allowed number of parameters."""
    macs: int | None = None
    """Largest allowed number of multiply-accumulates for one input."""
    int8_bytes: int | None = None
    """Largest allowed int8 file; predicted, see costs.py."""
    latency: int | None = None
    """Largest allowed time, in the unit of the criteria's price."""

    def __post_init__(self):
        if (self.ratio is None) == (not self.limits):
            raise PruningError(f"Give either a ratio or limits ({', '.join(LIMITS)}).")
        if self.ratio is not None and not 0 <= self.ratio < 1:
            raise PruningError(f"ratio must be at least 0 and below 1, got {self.ratio}.")

    @property
    def limits(self) -> dict[str, int]:
        """The limits that are given, by field of Cost."""
        given = {name: getattr(self, name) for name in LIMITS}
        return {name: limit for name, limit in given.items() if limit is not None}

    def removals(self, graph: ChannelGraph, ranking: Ranking) -> list[int]:
        """How many channels each group of the graph loses.

        Raises:
            PruningError: if the floors do not allow a limit to be met, or a ratio is asked of the ranking "knapsack".
        """
        return meet_limits(graph, ranking, self.limits) if self.ratio is None else ranking.removals(self.ratio)


def no_scores(graph: ChannelGraph) -> list[Tensor]:
    """Scores that know no better: enough to see whether a target is in reach, whatever the scores."""
    return [torch.zeros(group.size) for group in graph.groups]
