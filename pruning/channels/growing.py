"""Growing regularisation: channels that are to go are faded out while training, and cut when there is nothing left."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.allocation import rank
from pruning.channels.fusing import fuse_attentions
from pruning.channels.graph import ChannelGraph, trace
from pruning.channels.pruner import PruneReport, load_score_state, remove, score_state, scores_of
from pruning.channels.surgery import out_dims
from pruning.channels.target import Criteria, Target, no_scores
from pruning.errors import PruningError
from pruning.parameters import ParameterCheck

FADE = 10.0
"""By the end the weights have been multiplied by exp(-FADE), apart from what the gradients did: 0.00005."""


class GrowingRegPruner:
    """Chooses channels at the first of `steps`, shrinks them ever faster, removes them at the last.

    After GReg-1 (Wang et al. 2021, arXiv:2012.09243): an L2 penalty on the chosen channels that grows linearly. The
    penalty is applied beside the optimiser, as weight decay is in AdamW, so that it works alike with any of them.

    Args:
        target: how much goes.
        steps: the first and the last optimiser step.
        criteria: which channels go first, and what must stay.

    Raises:
        PruningError: if the steps are not in order, or the target cannot be reached.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        target: Target,
        steps: tuple[int, int],
        criteria: Criteria = Criteria(),  # noqa: B008
    ):
        self.begin_step, self.end_step = steps
        if not 0 <= self.begin_step < self.end_step:
            raise PruningError(f"steps are {steps}: the first must be 0 or more, and the last after it.")
        self.model = model
        self.example_input = example_input
        self.target = target
        self.criteria = criteria
        self.steps = 0
        self.report: PruneReport | None = None
        self._check = ParameterCheck(model)
        self._score = criteria.make_score()
        self._doomed: dict[str, Tensor] = {}
        fuse_attentions(model, example_input)
        graph = self._trace()
        self.target.removals(graph, rank(graph, no_scores(graph), criteria))  # fails now if it cannot be met

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Count one optimiser step; choose, shrink or remove channels. Returns True if channels were removed.

        Raises:
            PruningError: if the model's parameters are no longer the optimiser's.
        """
        self.steps += 1
        self._check(optimizer, due=self.steps == self.end_step)
        if self.steps < self.begin_step or self.report is not None or self.steps > self.end_step:
            return False
        if not self._doomed:
            graph = self._trace()
            scores = scores_of(graph, self._score)
            removed = self.target.removals(graph, rank(graph, scores, self.criteria))
            for group, score, count in zip(graph.groups, scores, removed, strict=True):
                doomed = torch.zeros(group.size, dtype=torch.bool)
                doomed[score.detach().float().cpu().argsort(stable=True)[:count]] = True
                self._doomed[group.name] = doomed
            self._find_weights(graph)
        self._shrink()
        return self.steps == self.end_step and self._cut(optimizer)

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """Flat: `step`, `doomed.GROUP` (bool tensors), and `score.NAME` of an importance that has a state (random)."""
        doomed = {f"doomed.{name}": mask for name, mask in self._doomed.items()}
        return {"step": self.steps, **doomed, **score_state(self._score)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Load the model's weights (and widths) first."""
        self.steps = int(state["step"])
        self._doomed = {n.removeprefix("doomed."): v.bool() for n, v in state.items() if n.startswith("doomed.")}
        load_score_state(self._score, state)
        if self._doomed and self.steps < self.end_step:
            self._find_weights(self._trace())

    def _trace(self) -> ChannelGraph:
        return trace(self.model, self.example_input, self.criteria.ignored, self.criteria.price)

    def _find_weights(self, graph: ChannelGraph) -> None:
        """The parameters that make the doomed channels, each with a mask of what to shrink."""
        self._weights: list[nn.Parameter] = []
        self._masks: list[Tensor] = []
        for group in graph.groups:
            for slot in group.slots:
                if slot.axis != "out":
                    continue
                rows = torch.zeros(graph.layers[slot.layer].out)
                rows[slot.index[self._doomed[group.name][slot.root]]] = 1.0
                for parameter, dim in out_dims(self.model, slot.layer):
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

    def _cut(self, optimizer: torch.optim.Optimizer) -> bool:
        graph = self._trace()
        none = {group.name: torch.zeros(group.size, dtype=torch.bool) for group in graph.groups}
        doomed = [(none | self._doomed)[group.name] for group in graph.groups]
        scores, removed = [(~units).float() for units in doomed], [int(units.sum()) for units in doomed]
        self.report = remove(self.model, self.example_input, graph, scores, removed, optimizer)
        return any(removed)
