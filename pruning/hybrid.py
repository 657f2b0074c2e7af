"""Both families on one schedule: channels first, then masks on what stays."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from pruning.errors import PruningError

State = dict[str, Tensor | int | float]


class Pruner(Protocol):
    """What both have: a step after each optimiser step, and a state for resuming."""

    def step(self, optimizer: torch.optim.Optimizer) -> bool: ...
    def state_dict(self) -> State: ...
    def load_state_dict(self, state: Any) -> None: ...


class HybridPruner:
    """Channels to a budget, then masks on what stays.

    Args:
        channels: prunes in the steps 1 to `switch_step`.
        make_masks: called once after these: a pruner of the cut model's weights, whose own steps start at 1 then.
        switch_step: the last step of the channels; their schedule must end by then.

    Raises:
        PruningError: if it is below 1.
    """

    def __init__(self, channels: Pruner, make_masks: Callable[[], Pruner], switch_step: int):
        if switch_step < 1:
            raise PruningError(f"switch_step must be 1 or more, got {switch_step}.")
        self.channels = channels
        self.masks: Pruner | None = None
        self.switch_step = switch_step
        self.steps = 0
        self._make_masks = make_masks

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Count one optimiser step; True where channels were removed or masks changed."""
        self.steps += 1
        if self.steps <= self.switch_step:
            return self.channels.step(optimizer)
        return self._masks().step(optimizer)

    def state_dict(self) -> State:
        """Flat: `step`, `channels.NAME` and, once there are masks, `masks.NAME`."""
        state: State = {"step": self.steps}
        state |= {f"channels.{name}": value for name, value in self.channels.state_dict().items()}
        masks = {} if self.masks is None else self.masks.state_dict()
        return state | {f"masks.{name}": value for name, value in masks.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Load the model's widths and weights first."""
        self.steps = int(state["step"])
        self.channels.load_state_dict(_part(state, "channels."))
        if self.steps > self.switch_step:
            self._masks().load_state_dict(_part(state, "masks."))

    def _masks(self) -> Pruner:
        if self.masks is None:
            self.masks = self._make_masks()
        return self.masks


def _part(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
