"""Structured pruning: whole channels, to a ratio or a target, at once or while training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.allocation import meet_limits
from pruning.channels.costs import Cost
from pruning.channels.graph import ChannelGraph
from pruning.channels.surgery import Widths, apply_widths, keep_channels, widths
from pruning.channels.target import LIMITS, Criteria, Goal
from pruning.schedule import Schedule

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


def prune_channels(
    model: nn.Module, example_input: Tensor, *, optimizer: torch.optim.Optimizer | None = None, **goal: Any
) -> PruneReport:
    """Remove the least important channels, in place, to a ratio or to limits.

    A limit is never exceeded, and the tightest is met as nearly as single channels (or `round_to` of them) allow:
    within 1 % on any net that is not tiny. Layers that make the output keep their channels.

    Args:
        example_input: one input, for tracing; MACs are counted for it.
        optimizer: where given, goes on with the cut parameters and their moments.
        goal: the fields of `Goal`: ratio, or params, macs, int8_bytes; and importance, ranking, round_to,
            min_channels, ignored.

    Raises:
        ValueError: unless either a ratio or limits are given; or where a limit cannot be reached.
    """
    wanted = Goal(**goal)
    graph = wanted.trace(model, example_input)
    scores = wanted.scores(graph)
    return remove(model, example_input, graph, scores, wanted.removals(graph, scores), optimizer)


class ChannelPruner:
    """Removes channels while training, on a schedule; training gets faster as the net shrinks.

    Call `step(optimizer)` once after every `optimizer.step()` and before `zero_grad()`.

    Args:
        schedule: its sparsity is the fraction of `measure` that is gone; it must not fall.
        measure: "channels" (of those that may go), or "params", "macs" or "int8_bytes" of the whole net. Or several of
            the latter three, each with a weight: at the sparsity s at least s * weight of each is gone.
        criteria: the fields of `Criteria`: importance, ranking, round_to, min_channels, ignored.

    Raises:
        ValueError: if the schedule falls, or its end cannot be reached.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        schedule: Schedule,
        *,
        measure: str | Mapping[str, float] = "channels",
        **criteria: Any,
    ):
        for name in [measure] if isinstance(measure, str) else measure:
            if name not in (MEASURES if isinstance(measure, str) else LIMITS):
                raise ValueError(f"Unknown measure {name!r}: use one of {', '.join(MEASURES)}; several: not channels.")
        last_step = schedule.end_step if schedule.end_step != -1 else schedule.begin_step
        if schedule.sparsity(last_step) < schedule.sparsity(schedule.begin_step):
            raise ValueError("Removed channels do not come back: the schedule's final sparsity is below its first.")
        self.model = model
        self.example_input = example_input
        self.schedule = schedule
        self.measure = measure
        self.criteria = Criteria(**criteria)
        self.steps = 0
        self.report: PruneReport | None = None
        graph = self.criteria.trace(model, example_input)
        self._first_sizes = {group.name: group.size for group in graph.groups}
        self._first_cost = graph.cost()
        self._removals(graph, [torch.zeros(group.size) for group in graph.groups], schedule.sparsity(last_step))

    def step(self, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Count one optimiser step, and prune where the schedule says so.

        Returns:
            True if channels were removed: parameters are new objects then, here and in the optimiser.
        """
        self.steps += 1
        due = [step for step in ([0, 1] if self.steps == 1 else [self.steps]) if self.schedule.should_prune(step)]
        pruned = [self.prune_to(self.schedule.sparsity(step), optimizer) for step in due]
        return any(pruned)

    def prune_to(self, sparsity: float, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Prune to a sparsity now, whatever the schedule. Returns True if channels were removed."""
        graph = self.criteria.trace(self.model, self.example_input)
        scores = self.criteria.scores(graph)
        removed = self._removals(graph, scores, sparsity)
        if not any(removed):
            return False
        self.report = remove(self.model, self.example_input, graph, scores, removed, optimizer)
        return True

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """Flat: `step`, and the widths and cost before any pruning, which sparsities are fractions of."""
        sizes = {f"first_size.{name}": size for name, size in self._first_sizes.items()}
        cost = {f"first_cost.{name}": getattr(self._first_cost, name) for name in LIMITS}
        return {"step": self.steps, **sizes, **cost}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, on a model that has its widths again (`apply_widths`)."""
        sizes = {
            name.removeprefix("first_size."): int(v) for name, v in state.items() if name.startswith("first_size.")
        }
        if sizes.keys() != self._first_sizes.keys():
            raise ValueError("The stored widths are of other layers than this pruner's; were other layers ignored?")
        self.steps = int(state["step"])
        self._first_sizes = sizes
        self._first_cost = Cost(**{name: int(state[f"first_cost.{name}"]) for name in LIMITS})

    def _removals(self, graph: ChannelGraph, scores: Sequence[Tensor], sparsity: float) -> list[int]:
        ranking = self.criteria.rank(graph, scores, self._first_sizes)
        if self.measure == "channels":
            return ranking.removals(sparsity)
        weights = {self.measure: 1.0} if isinstance(self.measure, str) else self.measure
        limits = {
            name: int(getattr(self._first_cost, name) * (1 - sparsity * weight) + 1e-6)
            for name, weight in weights.items()
        }
        return meet_limits(graph, ranking, limits)


def remove(
    model: nn.Module,
    example_input: Tensor,
    graph: ChannelGraph,
    scores: Sequence[Tensor],
    removed: Sequence[int],
    optimizer: torch.optim.Optimizer | None,
) -> PruneReport:
    """Cut the `removed[i]` lowest-scored channels of each group, in place."""
    gone: dict[str, dict[str, list[Tensor]]] = {}
    for group, score, count in zip(graph.groups, scores, removed, strict=True):
        if count == 0:
            continue
        dropped = torch.zeros(group.size, dtype=torch.bool)
        dropped[score.detach().float().cpu().argsort(stable=True)[:count]] = True
        for slot in group.slots:
            gone.setdefault(slot.layer, {}).setdefault(slot.axis, []).append(slot.index[dropped[slot.root]])
    kept = {}
    for name, axes in gone.items():
        kept[name] = {}
        for axis, indices in axes.items():
            stays = torch.ones(graph.layers[name].out if axis == "out" else graph.layers[name].inputs, dtype=torch.bool)
            stays[torch.cat(indices)] = False
            kept[name][axis] = stays.nonzero().squeeze(1)
    keep_channels(model, kept, optimizer)
    _check_outputs(model, example_input, graph)
    whole = {
        g.name: f"{g.size} channels stay, for rounding or its floor"
        for g, n in zip(graph.groups, removed, strict=True)
        if not n
    }
    new_widths = {g.name: (g.size, g.size - n) for g, n in zip(graph.groups, removed, strict=True)}
    return PruneReport(graph.cost(), graph.cost(removed), new_widths, {**graph.left_out, **whole})


def _check_outputs(model: nn.Module, example_input: Tensor, graph: ChannelGraph) -> None:
    """One forward pass: the pruned net must run and give outputs of the same shape."""
    import torch_pruning as tp

    modes = {module: module.training for module in model.modules()}
    with torch.no_grad():
        outputs = tp.utils.flatten_as_list(model.eval()(example_input.to(next(model.parameters()).device)))
    for module, mode in modes.items():
        module.training = mode
    if [tensor.shape for tensor in outputs] != graph.output_shapes:
        raise RuntimeError("Pruning changed the shape of the output: name the layers that make it in `ignored`.")
