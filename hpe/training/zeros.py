"""The zeros of a network that was masked before: they stay, whatever pruner or clustering comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpe.io.errors import ConfigError
from hpe.model.net import HeadPoseNet
from hpe.training.pruning_config import PruneConfig
from pruning.weights.frozen import ZeroKeeper

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hpe.training.state import Pruner

MASKED = 0.001
"""A network with a larger share of exact zeros was masked."""


class KeepingZeros:
    """A pruner, and the zeros that the network came with: they stay zero, whatever the pruner does."""

    def __init__(self, network: HeadPoseNet, pruner: Pruner) -> None:
        self.network, self.pruner = network, pruner
        self._parameters = list(network.parameters())
        self._zeros = ZeroKeeper(network)

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Zero what was zero, then let the pruner act; True where that changed the network."""
        self._zeros.step(optimizer)
        changed = self.pruner.step(optimizer)
        if changed:
            self._follow()
        return changed

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """The pruner's: the zeros are in the weights."""
        return self.pruner.state_dict()

    def load_state_dict(self, state: dict[str, Tensor | int | float]) -> None:
        """Go on where `state_dict` was taken. Load the network's weights first."""
        self.pruner.load_state_dict(state)
        self._follow()

    def _follow(self) -> None:
        """Where channels were cut, the weights are new objects: what is zero in them now is what was zero before."""
        parameters = list(self.network.parameters())
        if any(new is not old for new, old in zip(parameters, self._parameters, strict=True)):
            self._parameters, self._zeros = parameters, ZeroKeeper(self.network)


def check_masked_parent(prune: PruneConfig, share: float) -> None:
    """Zeros of the network to prune stay; what cannot be met with them is refused."""
    if share < MASKED:
        return
    has = f"{share:.1%} of these weights are zero already, and stay so"
    if prune.falls:
        raise ConfigError(f"{has}: a falling schedule would bring them back; start from a dense run")
    if prune.masks.score != "magnitude":
        raise ConfigError(f"{has}: --score {prune.masks.score} would drop others besides; take --score magnitude")
    if prune.final_sparsity <= share:
        raise ConfigError(f"{has}: --final-sparsity {prune.final_sparsity} leaves nothing to prune; give more")
