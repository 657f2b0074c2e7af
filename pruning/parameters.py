"""Whether a pruner's model, its optimiser and the pruner itself still mean the same parameters."""

from collections.abc import Mapping

import torch
from torch import nn

from pruning.errors import PruningError

CHECK_EVERY = 100
"""Steps between two looks, besides the first step and those that prune."""


class ParameterCheck:
    """Called with every step of a pruner; looks at the first, at each that prunes, and at every hundredth.

    Args:
        model: what is pruned.
        weights: the parameters by name that a pruner of masks holds on to.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, nn.Parameter] | None = None):
        self._model = model
        self._weights = weights or {}
        self._calls = 0

    def __call__(self, optimizer: torch.optim.Optimizer | None, due: bool = False) -> None:
        """Raise PruningError where cut channels left the optimiser or the pruner with parameters that are gone."""
        self._calls += 1
        if not due and self._calls % CHECK_EVERY != 1:
            return
        now = dict(self._model.named_parameters(remove_duplicate=False))  # a shared one under each of its names
        gone = [name for name, weight in self._weights.items() if now.get(name) is not weight]
        if gone:
            raise PruningError(
                f"{gone[0]} was replaced after this pruner was made: channels were cut meanwhile. Cut channels first, "
                "then make the pruner of masks."
            )
        if optimizer is not None:
            check_optimizer(self._model, optimizer)


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise PruningError where channels were cut without this optimiser, which goes on training what is gone.

    Told by two signs together: parameters of the optimiser that are not the model's, and parameters of the model that
    should be trained and are not the optimiser's.
    """
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    lost = [n for n, parameter in model.named_parameters() if parameter.requires_grad and id(parameter) not in held]
    if lost and held - {id(parameter) for parameter in model.parameters()}:
        raise PruningError(
            f"The optimizer lacks {len(lost)} of the model's parameters ({lost[0]}, ...) and holds others that the "
            "model no longer has: channels were cut without it. Pass optimizer= to whatever cuts, or make the "
            "optimizer again; freeze (requires_grad_(False)) what is not meant to train."
        )
