"""Batch-norm statistics after pruning: those of the dense net no longer fit what is left."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def reestimate_norms(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Precise batch-norm: measure the running mean and variance of every batch-norm afresh, in place.

    Both are averaged over the batches with equal weight, instead of the moving average of training (Wu & Johnson 2021,
    arXiv:2105.07576, section 3). Everything else runs as in evaluation: no dropout, no gradients.

    Args:
        model: left in the mode it was in; frozen norms are measured too.
        batches: inputs of the model, (B, C, H, W), B of 2 or more, shuffled, best of one size; on any device.

    Raises:
        ValueError: if there are no batches.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    device = next(model.parameters()).device
    seen = 0
    try:
        model.eval()
        for norm in norms:
            norm.train()
            norm.momentum = None  # torch's name for the average over all batches with equal weight
        for batch in batches:
            if seen == 0:
                for norm in norms:
                    norm.reset_running_stats()
            model(batch.to(device))
            seen += 1
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    if seen == 0:
        raise ValueError("There are no batches to measure the batch-norm statistics on.")
