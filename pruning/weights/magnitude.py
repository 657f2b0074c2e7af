"""Unstructured pruning while training: masks that follow a schedule, re-applied after every optimizer step."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import PruningError
from pruning.parameters import ParameterCheck
from pruning.schedule import Schedule, due_steps
from pruning.weights.masks import make_masks, share_of_zeros
from pruning.weights.prunable import prunable_weights

SCORES = ("magnitude", "movement", "random")


class MagnitudePruner:
    """Zeroes the weights with the lowest scores, to the sparsity that the schedule asks for.

    Call `step(optimizer)` once after every `optimizer.step()`. While the sparsity grows masks nest: a dropped weight
    stays dropped (TF-MOT chooses again at each update). Where the schedule falls, weights come back: those with the
    highest score, which for magnitude is how far the last optimiser step moved them from zero, since masks are applied
    after it. They start from there and train on; what is kept stays.

    Args:
        model: trained elsewhere; its parameters are changed in place.
        schedule: ConstantSparsity, PolynomialDecay or anything like them.
        scope: what a sparsity is a fraction of: layer, global, erk, 2:4, 1x4 (see `masks.make_masks`).
        include, exclude, depthwise, policy: which weights (see `prunable.prunable_weights`). A policy also says how
            much each loses at least.
        score: "magnitude" (|w|), "movement" (first order: -sum over steps of w * gradient, Sanh et al. 2020,
            arXiv:2005.07683; gradients must still be there when `step` is called), or "random" as a control.
        seed: of the random scores.
    """

    def __init__(
        self,
        model: nn.Module,
        schedule: Schedule,
        scope: str = "layer",
        include: Sequence[str] = ("*",),
        exclude: Sequence[str] = (),
        depthwise: bool = False,
        score: str = "magnitude",
        seed: int = 0,
        policy: Mapping[str, float] | None = None,
    ):
        if score not in SCORES:
            raise PruningError(f"Unknown score {score!r}: use one of {', '.join(SCORES)}.")
        self.schedule = schedule
        self.scope = scope
        self.score = score
        self.seed = seed
        self.steps = 0
        self._weights = prunable_weights(model, include, exclude, depthwise, policy)
        self._least = policy
        self._check = ParameterCheck(model, self._weights)
        self._movement = {name: torch.zeros_like(w) for name, w in self._weights.items()} if score == "movement" else {}
        self.masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in self._weights.items()}
        # The masks in the weights' own type and layout: one fused multiplication a step, no conversion.
        self._factors = {name: torch.ones_like(w, requires_grad=False) for name, w in self._weights.items()}
        self._changed = False  # since the last step

    @torch.no_grad()
    def step(self, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Count one optimizer step, update the masks where the schedule says so, zero the dropped weights.

        Args:
            optimizer: only looked at: whether it still trains this model.

        Returns:
            True if the masks changed.

        Raises:
            PruningError: if channels of the model were cut since this pruner was made, or without the optimiser.
        """
        self.steps += 1
        due = due_steps(self.schedule, self.steps)
        self._check(optimizer, bool(due))
        if self.score == "movement":
            self._accumulate_movement()
        for step in due:
            self.update_masks(self.schedule.sparsity(step))
        self._apply()
        changed, self._changed = self._changed, False
        return changed

    @torch.no_grad()
    def update_masks(self, sparsity: float) -> None:
        """Choose new masks for a sparsity now, whatever the schedule, and apply them."""
        self._set_masks(make_masks(self._scores(), sparsity, self.scope, previous=self.masks, least=self._least))
        self._apply()

    def sparsity(self) -> float:
        """Fraction of the prunable weights that the masks drop now."""
        return share_of_zeros(self.masks)

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """Flat: `step`, `mask.NAME` (bool tensors) and, for movement, `movement.NAME`."""
        masks = {f"mask.{name}": mask for name, mask in self.masks.items()}
        movement = {f"movement.{name}": value for name, value in self._movement.items()}
        return {"step": self.steps, **masks, **movement}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Load the model's weights first.

        Raises:
            PruningError: if the masks are of other weights than this pruner's.
        """
        stored = {name.removeprefix("mask."): mask for name, mask in state.items() if name.startswith("mask.")}
        if {n: m.shape for n, m in stored.items()} != {n: w.shape for n, w in self._weights.items()}:
            raise PruningError("The stored masks do not fit this model; was it pruned with another include or exclude?")
        self.steps = int(state["step"])
        for name, movement in self._movement.items():
            movement.copy_(state[f"movement.{name}"])
        self._set_masks({name: stored[name].to(weight.device) for name, weight in self._weights.items()})
        self._changed = False
        self._apply()

    def _set_masks(self, masks: dict[str, Tensor]) -> None:
        self._changed |= any(not torch.equal(mask, self.masks[name].to(mask.device)) for name, mask in masks.items())
        self.masks = masks
        for name, factor in self._factors.items():
            factor.copy_(masks[name])

    def _apply(self) -> None:
        weights = list(self._weights.values())
        device = weights[0].device
        if next(iter(self._factors.values())).device != device:  # the model was moved
            self.masks = {name: mask.to(device) for name, mask in self.masks.items()}
            self._factors = {name: factor.to(device) for name, factor in self._factors.items()}
            self._movement = {name: value.to(device) for name, value in self._movement.items()}
        torch._foreach_mul_(weights, list(self._factors.values()))  # pyright: ignore

    def _accumulate_movement(self) -> None:
        for name, weight in self._weights.items():
            if weight.grad is None:
                raise PruningError(f"{name} has no gradient: call step() before optimizer.zero_grad().")
            self._movement[name].addcmul_(weight, weight.grad, value=-1)

    def _scores(self) -> dict[str, Tensor]:
        if self.score == "movement":
            return self._movement
        if self.score == "magnitude":
            return {name: weight.detach().abs() for name, weight in self._weights.items()}
        generator = torch.Generator().manual_seed(self.seed)
        return {name: torch.rand(w.shape, generator=generator).to(w.device) for name, w in self._weights.items()}
