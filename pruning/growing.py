"""Growing regularisation: channels that are to go are faded out while training, and cut when there is nothing left."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels import PruneReport, choose, remove
from pruning.graph import ChannelGraph, trace
from pruning.importance import Importance, make_importance
from pruning.plan import rank

FADE = 10.0
"""By the end the weights have been multiplied by exp(-FADE), apart from what the gradients did: 0.00005."""


class GrowingRegPruner:
    """Chooses channels at `begin_step`, shrinks them ever faster, removes them at `end_step`.

    After GReg-1 (Wang et al. 2021, arXiv:2012.09243): an L2 penalty on the chosen channels that grows linearly. The
    penalty is applied beside the optimiser, as weight decay is in AdamW, so that it works alike with any of them.

    Args:
        begin_step, end_step: in optimiser steps.
        ratio, params, macs, int8_bytes: the target, exactly one; see `prune_channels`, also for the rest.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        *,
        begin_step: int,
        end_step: int,
        ratio: float | None = None,
        params: int | None = None,
        macs: int | None = None,
        int8_bytes: int | None = None,
        importance: str | Importance = "magnitude",
        ranking: str = "local",
        round_to: int = 1,
        min_channels: int = 4,
        ignored: Sequence[str | nn.Module] = (),
    ):
        if not 0 <= begin_step < end_step:
            raise ValueError(f"begin_step ({begin_step}) must be 0 or more and below end_step ({end_step}).")
        self.model = model
        self.example_input = example_input
        self.begin_step = begin_step
        self.end_step = end_step
        self.targets = {"ratio": ratio, "params": params, "macs": macs, "int8_bytes": int8_bytes}
        self.importance = make_importance(importance) if isinstance(importance, str) else importance
        self.ranking = ranking
        self.round_to = round_to
        self.min_channels = min_channels
        self.ignored = ignored
        self.steps = 0
        self.report: PruneReport | None = None
        self._doomed: dict[str, Tensor] = {}
        graph = trace(model, example_input, ignored)
        self._choose(
            graph, [torch.zeros(group.size) for group in graph.groups]
        )  # fails now if the target cannot be met

    def step(self, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Count one optimiser step; choose, shrink or remove channels. Returns True if channels were removed."""
        self.steps += 1
        if self.steps < self.begin_step or self.report is not None or self.steps > self.end_step:
            return False
        if not self._doomed:
            graph = trace(self.model, self.example_input, self.ignored)
            scores = [self.importance(group) for group in graph.groups]
            for group, score, count in zip(graph.groups, scores, self._choose(graph, scores), strict=True):
                doomed = torch.zeros(group.size, dtype=torch.bool)
                doomed[score.detach().float().cpu().argsort(stable=True)[:count]] = True
                self._doomed[group.name] = doomed
            self._find_weights(graph)
        self._shrink()
        return self.steps == self.end_step and self._cut(optimizer)

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """Flat: `step` and `doomed.GROUP` (bool tensors)."""
        return {"step": self.steps, **{f"doomed.{name}": doomed for name, doomed in self._doomed.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Load the model's weights (and widths) first."""
        self.steps = int(state["step"])
        self._doomed = {n.removeprefix("doomed."): v.bool() for n, v in state.items() if n.startswith("doomed.")}
        if self._doomed and self.steps < self.end_step:
            self._find_weights(trace(self.model, self.example_input, self.ignored))

    def _choose(self, graph: ChannelGraph, scores: Sequence[Tensor]) -> list[int]:
        return choose(graph, rank(graph, scores, self.ranking, self.round_to, self.min_channels), self.targets)

    def _find_weights(self, graph: ChannelGraph) -> None:
        """The parameters that make the doomed channels, each with a mask of what to shrink."""
        self._weights: list[nn.Parameter] = []
        self._masks: list[Tensor] = []
        for group in graph.groups:
            for slot in group.slots:
                if slot.axis != "out":
                    continue
                module = self.model.get_submodule(slot.layer)
                rows = torch.zeros(graph.layers[slot.layer].out)
                rows[slot.index[self._doomed[group.name][slot.root]]] = 1.0
                for parameter in module.parameters(recurse=False):
                    dim = 1 if getattr(module, "transposed", False) and parameter.dim() > 1 else 0
                    shape = [-1 if i == dim else 1 for i in range(parameter.dim())]
                    self._weights.append(parameter)
                    self._masks.append(rows.to(parameter.device, parameter.dtype).view(shape))

    @torch.no_grad()
    def _shrink(self) -> None:
        """Multiply the doomed weights by 1 - rate; the rates grow linearly and add up to FADE."""
        duration = self.end_step - self.begin_step
        rate = min(1.0, 2 * FADE * (self.steps - self.begin_step) / duration**2)
        for weight, mask in zip(self._weights, self._masks, strict=True):
            weight.addcmul_(weight, mask, value=-rate)

    def _cut(self, optimizer: torch.optim.Optimizer | None) -> bool:
        graph = trace(self.model, self.example_input, self.ignored)
        scores = [(~self._doomed[group.name]).float() for group in graph.groups]
        removed = [int(self._doomed[group.name].sum()) for group in graph.groups]
        self.report = remove(self.model, self.example_input, graph, scores, removed, optimizer)
        return any(removed)
