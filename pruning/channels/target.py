"""What a structured pruner is asked for: which channels go first, what must stay, and how much goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor, nn

from pruning.channels.allocation import RANKINGS, Ranking, meet_limits, rank
from pruning.channels.costs import Cost
from pruning.channels.graph import ChannelGraph, trace
from pruning.channels.importance import Importance, make_importance

LIMITS = tuple(f.name for f in fields(Cost))
"""Costs that can be a target: params, macs, int8_bytes."""


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Which channels go first, and what must stay.

    Raises:
        ValueError: if the importance or ranking is unknown, or a width is below 1.
    """

    importance: str | Importance = "magnitude"
    """A name or a function; see importance.py."""
    ranking: str = "local"
    """local, global or isomorphic; see `plan.rank`."""
    round_to: int = 1
    """Pruned widths are multiples of this (the nearest; a layer is never pruned away)."""
    min_channels: int = 4
    """No group of channels gets narrower than this."""
    ignored: Sequence[str | nn.Module] = ()
    """Modules or name patterns whose output channels stay."""
    score: Importance = field(init=False, repr=False)
    """The importance as a function."""

    def __post_init__(self):
        if self.ranking not in RANKINGS:
            raise ValueError(f"Unknown ranking {self.ranking!r}: use one of {', '.join(RANKINGS)}.")
        if self.round_to < 1 or self.min_channels < 1:
            raise ValueError("round_to and min_channels must be 1 or more.")
        score = make_importance(self.importance) if isinstance(self.importance, str) else self.importance
        object.__setattr__(self, "score", score)

    def trace(self, model: nn.Module, example_input: Tensor) -> ChannelGraph:
        """The channels of a model, without the ignored ones."""
        return trace(model, example_input, self.ignored)

    def scores(self, graph: ChannelGraph) -> list[Tensor]:
        """(size,) scores of each group of the graph."""
        return [self.score(group) for group in graph.groups]

    def rank(
        self, graph: ChannelGraph, scores: Sequence[Tensor], first_sizes: Mapping[str, int] | None = None
    ) -> Ranking:
        """The order in which the channels of a graph go; see `plan.rank`."""
        return rank(graph, scores, self.ranking, self.round_to, self.min_channels, first_sizes)


@dataclass(frozen=True, kw_only=True)
class Goal(Criteria):
    """How much goes: a ratio, or one or more limits, of which none is exceeded and the tightest is met.

    Raises:
        ValueError: unless there is either a ratio or a limit.
    """

    ratio: float | None = None
    """Fraction of the channels to remove, in [0, 1)."""
    params: int | None = None
    """Largest allowed number of parameters."""
    macs: int | None = None
    """Largest allowed number of multiply-accumulates for one input."""
    int8_bytes: int | None = None
    """Largest allowed int8 file; an estimate, see costs.py."""

    def __post_init__(self):
        super().__post_init__()
        if (self.ratio is None) == (not self.limits):
            raise ValueError(f"Give either a ratio or limits ({', '.join(LIMITS)}).")
        if self.ratio is not None and not 0 <= self.ratio < 1:
            raise ValueError(f"ratio must be at least 0 and below 1, got {self.ratio}.")

    @property
    def limits(self) -> dict[str, int]:
        """The limits that are given, by field of Cost."""
        given = {name: getattr(self, name) for name in LIMITS}
        return {name: limit for name, limit in given.items() if limit is not None}

    def removals(self, graph: ChannelGraph, scores: Sequence[Tensor]) -> list[int]:
        """How many channels each group of the graph loses.

        Raises:
            ValueError: if the floors do not allow a limit to be met.
        """
        ranking = self.rank(graph, scores)
        return meet_limits(graph, ranking, self.limits) if self.ratio is None else ranking.removals(self.ratio)

    def check(self, graph: ChannelGraph) -> None:
        """Raise ValueError now if the limits are out of reach, whatever the scores."""
        self.removals(graph, [torch.zeros(group.size) for group in graph.groups])
