"""Structured pruning: whole channels, to a ratio or a target, at once or while training."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.allocation import meet_limits, rank
from pruning.channels.costs import Cost
from pruning.channels.fusing import fuse_attentions
from pruning.channels.graph import ChannelGraph, trace
from pruning.channels.groups import Kept, kept_positions
from pruning.channels.importance import Importance
from pruning.channels.norms import reestimate_norms
from pruning.channels.surgery import Widths, apply_widths, keep_channels, widths
from pruning.channels.target import LIMITS, Criteria, Target, no_scores
from pruning.errors import PruningError
from pruning.modes import outputs_of
from pruning.parameters import ParameterCheck, check_optimizer
from pruning.reconstruct import Reconstruction
from pruning.schedule import Schedule, due_steps

__all__ = ["ChannelPruner", "PruneReport", "Widths", "apply_widths", "prune_channels", "widths"]

MEASURES = ("channels", *LIMITS)


@dataclass(frozen=True)
class PruneReport:
    """What pruning did to a model."""

    before: Cost
    after: Cost
    widths: dict[str, tuple[int, int]]
    """Group (named by a layer of it) -> channels before and after."""
    left_out: dict[str, str]
    """Layers that could not or should not be pruned, and why; also groups that a floor or rounding kept whole."""
    kept: Kept = field(default_factory=dict)
    """Layer -> {"out": positions that stayed, "in": likewise}, of those that were cut; for `Reconstruction.fit`."""


def prune_channels(
    model: nn.Module,
    example_input: Tensor,
    target: Target,
    criteria: Criteria = Criteria(),  # noqa: B008
    optimizer: torch.optim.Optimizer | None = None,
) -> PruneReport:
    """Remove the least important channels, in place, to a ratio or to limits.

    A limit is never exceeded, and the tightest is met as nearly as single channels (or `round_to` of them) allow:
    within 1 % on any net that is not tiny. Layers that make the output keep their channels. torch's MultiheadAttention
    becomes a FusedAttention with its parameters, of other names.

    Args:
        example_input: one input, for tracing; MACs are counted for it.
        optimizer: goes on with the cut parameters and their moments. Give it wherever one trains this model.

    Raises:
        PruningError: where a limit cannot be reached.
    """
    if optimizer is not None:
        check_optimizer(model, optimizer)
    fuse_attentions(model, example_input)
    graph = trace(model, example_input, criteria.ignored, criteria.price)
    scores = scores_of(graph, criteria.make_score())
    removed = target.removals(graph, rank(graph, scores, criteria))
    return remove(model, example_input, graph, scores, removed, optimizer)


class ChannelPruner:
    """Removes channels while training, on a schedule; training gets faster as the net shrinks.

    Call `step(optimizer)` once after every `optimizer.step()` and before `zero_grad()`.

    Args:
        schedule: its sparsity is the fraction of `measure` that is gone; it must not fall.
        criteria: which channels go first, and what must stay.
        measure: "channels" (of those that may go), or "params", "macs", "int8_bytes" or "latency" of the whole net. Or
            several of the latter, each with a weight: at the sparsity s at least s * weight of each is gone.
        batches: called after each cut for some batches of inputs (B, C, H, W), drawn and augmented as in training, on
            which batch-norms are re-estimated (see `reestimate_norms`), so that scores and validation see the net that
            is trained. Left out, they stay.
        fit_on: inputs (B, C, H, W), some hundreds, on which what each cut leaves is fitted to what was there before it,
            by least squares (see `Reconstruction`). Left out, it stays as cut.

    Raises:
        PruningError: if the schedule falls, or its end cannot be reached.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        schedule: Schedule,
        criteria: Criteria = Criteria(),  # noqa: B008
        measure: str | Mapping[str, float] = "channels",
        batches: Callable[[], Iterable[Tensor]] | None = None,
        fit_on: Tensor | None = None,
    ):
        for name in [measure] if isinstance(measure, str) else measure:
            if name not in (MEASURES if isinstance(measure, str) else LIMITS):
                raise PruningError(f"Unknown measure {name!r}: use one of {', '.join(MEASURES)}; channels only alone.")
        last_step = schedule.end_step if schedule.end_step != -1 else schedule.begin_step
        if schedule.sparsity(last_step) < schedule.sparsity(schedule.begin_step):
            raise PruningError("Removed channels do not come back: the schedule's final sparsity is below its first.")
        self.model = model
        self.example_input = example_input
        self.schedule = schedule
        self.criteria = criteria
        self.measure = measure
        self.batches = batches
        self.fit_on = fit_on
        self.steps = 0
        self.sparsity = 0.0  # that was last pruned to
        self.report: PruneReport | None = None
        self._check = ParameterCheck(model)
        self._score: Any = criteria.make_score()
        fuse_attentions(model, example_input)
        graph = trace(model, example_input, criteria.ignored, criteria.price)
        self._first_sizes = {group.name: group.size for group in graph.groups}
        self._first_cost = graph.cost()
        self._removals(graph, no_scores(graph), schedule.sparsity(last_step))

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Count one optimiser step, and prune where the schedule says so.

        Args:
            optimizer: what trains the model: it goes on with the cut parameters.

        Returns:
            True if channels were removed: parameters are new objects then, here and in the optimiser.

        Raises:
            PruningError: if the model's parameters are no longer the optimiser's.
        """
        self.steps += 1
        due = due_steps(self.schedule, self.steps)
        self._check(optimizer, bool(due))
        pruned = [self.prune_to(self.schedule.sparsity(step), optimizer) for step in due]
        return any(pruned)

    def prune_to(self, sparsity: float, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Prune to a sparsity now, whatever the schedule. Returns True if channels were removed.

        To the one of the last time there is nothing to do: what rounding left of it stays.
        """
        if sparsity in (0, self.sparsity):  # a random score, which has a state, is not asked either
            return False
        self.sparsity = sparsity
        graph = trace(self.model, self.example_input, self.criteria.ignored, self.criteria.price)
        scores = scores_of(graph, self._score)
        removed = self._removals(graph, scores, sparsity)
        if not any(removed):
            return False
        before = None if self.fit_on is None else Reconstruction(self.model, self.fit_on)
        self.report = remove(self.model, self.example_input, graph, scores, removed, optimizer)
        if before is not None:
            before.fit(self.model, self.report.kept)
        if self.batches is not None:
            reestimate_norms(self.model, self.batches())
        return True

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """Flat: `step`, the `sparsity` that was last pruned to, the widths and cost before any pruning, which
        sparsities are fractions of; and `score.NAME`, the state of an importance that has one (random)."""
        sizes = {f"first_size.{name}": size for name, size in self._first_sizes.items()}
        cost = {f"first_cost.{name}": getattr(self._first_cost, name) for name in LIMITS}
        return {"step": self.steps, "sparsity": self.sparsity, **sizes, **cost, **score_state(self._score)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, on a model that has its widths again (`apply_widths`).

        Make the pruner before: of a model that is cut already it would take the schedule's end for a share of what is
        left, which may be out of reach.
        """
        sizes = {
            name.removeprefix("first_size."): int(v) for name, v in state.items() if name.startswith("first_size.")
        }
        if sizes.keys() != self._first_sizes.keys():
            raise PruningError("The stored widths are of other layers than this pruner's; were other layers ignored?")
        self.steps = int(state["step"])
        self.sparsity = float(state["sparsity"])
        self._first_sizes = sizes
        self._first_cost = Cost(**{name: int(state[f"first_cost.{name}"]) for name in LIMITS})
        load_score_state(self._score, state)

    def _removals(self, graph: ChannelGraph, scores: Sequence[Tensor], sparsity: float) -> list[int]:
        ranking = rank(graph, scores, self.criteria, self._first_sizes)
        if self.measure == "channels":
            return ranking.removals(sparsity)
        weights = {self.measure: 1.0} if isinstance(self.measure, str) else self.measure
        limits = {
            name: int(getattr(self._first_cost, name) * (1 - sparsity * weight) + 1e-6)
            for name, weight in weights.items()
        }
        return meet_limits(graph, ranking, limits)


def scores_of(graph: ChannelGraph, score: Importance) -> list[Tensor]:
    """(size,) scores for each group. One of a single unit stays whatever its score, which some importances lack."""
    return [score(group) if group.size > 1 else torch.zeros(1) for group in graph.groups]


def score_state(score: Any) -> dict[str, Tensor]:
    """What an importance has to keep, under `score.NAME`; nothing for most."""
    state = score.state_dict() if hasattr(score, "state_dict") else {}
    return {f"score.{name}": value for name, value in state.items()}


def load_score_state(score: Any, state: Mapping[str, Any]) -> None:
    """The reverse of `score_state`."""
    if hasattr(score, "load_state_dict"):
        score.load_state_dict({n.removeprefix("score."): v for n, v in state.items() if n.startswith("score.")})


def remove(
    model: nn.Module,
    example_input: Tensor,
    graph: ChannelGraph,
    scores: Sequence[Tensor],
    removed: Sequence[int],
    optimizer: torch.optim.Optimizer | None,
) -> PruneReport:
    """Cut the `removed[i]` lowest-scored units of each group, in place."""
    dropped = []
    for group, score, count in zip(graph.groups, scores, removed, strict=True):
        units = torch.zeros(group.size, dtype=torch.bool)
        units[score.detach().float().cpu().argsort(stable=True)[:count]] = True
        dropped.append(units)
    kept = kept_positions(graph.groups, dropped, graph.layers)
    keep_channels(model, kept, optimizer)
    _check_outputs(model, example_input, graph)
    new_widths = {
        group.name: (len(group.units), (group.size - count) * group.channels_each)
        for group, count in zip(graph.groups, removed, strict=True)
    }
    whole = {
        name: f"{after} channels stay, for rounding or its floor"
        for name, (before, after) in new_widths.items()
        if before == after
    }
    return PruneReport(graph.cost(), graph.cost(removed), new_widths, {**graph.left_out, **whole}, kept)


def _check_outputs(model: nn.Module, example_input: Tensor, graph: ChannelGraph) -> None:
    """One forward pass: the pruned net must run and give outputs of the same shape."""
    if [tensor.shape for tensor in outputs_of(model, example_input)] != graph.output_shapes:
        raise PruningError("Pruning changed the shape of the output: name the layers that make it in `ignored`.")
