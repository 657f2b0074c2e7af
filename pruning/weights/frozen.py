"""Training a masked net further without losing its masks."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning.parameters import ParameterCheck
from pruning.weights.prunable import prunable_weights


class ZeroKeeper:
    """Keeps every weight at zero that is zero now; `step(optimizer)` goes after each `optimizer.step()`.

    Args:
        model: pruned; its parameters are changed in place.
        include, exclude: patterns of module names (see `prunable.prunable_weights`).
    """

    def __init__(self, model: nn.Module, include: Sequence[str] = ("*",), exclude: Sequence[str] = ()):
        weights = prunable_weights(model, include, exclude, depthwise=True)
        self._weights = {name: weight for name, weight in weights.items() if bool((weight == 0).any())}
        self._check = ParameterCheck(model, self._weights)
        self._factors = {name: (weight.detach() != 0).to(weight.dtype) for name, weight in self._weights.items()}

    @torch.no_grad()
    def step(self, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Zero what was zero. Returns False: no mask changes."""
        self._check(optimizer)
        if self._weights:
            self._factors = {name: f.to(self._weights[name].device) for name, f in self._factors.items()}
            torch._foreach_mul_(list(self._weights.values()), list(self._factors.values()))  # pyright: ignore[reportPrivateImportUsage]
        return False

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """Nothing: the zeros are in the weights."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load. The zeros are those of the model this was made for."""
