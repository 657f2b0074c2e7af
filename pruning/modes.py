"""Looking at a model without changing it: what was set for a look is as before after it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards each module has its own mode again."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def all_gradients(model: nn.Module) -> Iterator[None]:
    """Gradients of every parameter, frozen or not; afterwards each has its own flag again."""
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        with torch.enable_grad():
            model.requires_grad_(True)
            yield
    finally:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)


@torch.no_grad()
def outputs_of(model: nn.Module, example_input: Tensor) -> list[Tensor]:
    """What a model gives in evaluation mode, every tensor of it in a list, on the model's device."""
    import torch_pruning as tp

    with evaluating(model):
        return tp.utils.flatten_as_list(model(example_input.to(next(model.parameters()).device)))
