"""Weight clustering: each layer's weights take one of a few values, so that a compressed file is smaller."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning.weights.masks import prunable_weights

LLOYD_STEPS = 20


class WeightClusterer:
    """Shares values among the weights of each layer, and keeps them shared while training.

    As in Deep Compression (Han et al. 2016, arXiv:1510.00149): k-means from evenly spaced values, then each value is
    trained by what all of its weights ask for. Zeros stay zero and have a value of their own, so that masks hold.

    Args:
        model: trained, possibly pruned; clustered in place at once.
        clusters: how many values a layer may have, zero included where it has zeros.
        include, exclude: patterns of module names (see `masks.prunable_weights`).
    """

    def __init__(
        self, model: nn.Module, clusters: int = 16, include: Sequence[str] = ("*",), exclude: Sequence[str] = ()
    ):
        if clusters < 2:
            raise ValueError(f"clusters must be 2 or more, got {clusters}.")
        self._weights = prunable_weights(model, include, exclude)
        self._clusters = {name: _cluster(weight.detach(), clusters) for name, weight in self._weights.items()}
        self.step()

    @torch.no_grad()
    def step(self, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Set each weight to the mean of its cluster; call once after every `optimizer.step()`. Returns False."""
        for name, weight in self._weights.items():
            members = self._clusters[name].to(weight.device).long().flatten()  # (n,), 0 for the zeros
            count = int(members.max()) + 1
            totals = weight.new_zeros(count).index_add_(0, members, weight.flatten())
            values = totals / torch.bincount(members, minlength=count).clamp_min(1)  # (count,)
            values[0] = 0.0
            weight.copy_(values[members].view(weight.shape))
        return False

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """Flat: `cluster.NAME`, which cluster each weight is in (int16; 0 is the zeros)."""
        return {f"cluster.{name}": members for name, members in self._clusters.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Load the model's weights first."""
        stored = {name.removeprefix("cluster."): members for name, members in state.items()}
        if {n: m.shape for n, m in stored.items()} != {n: w.shape for n, w in self._weights.items()}:
            raise ValueError("The stored clusters do not fit this model; were other layers included?")
        self._clusters = stored
        self.step()


def _cluster(weight: Tensor, clusters: int) -> Tensor:
    """Which cluster each weight is in, from 1; 0 for weights that are exactly zero. int16, the weight's shape."""
    flat = weight.flatten().float()
    nonzero = flat != 0
    values = flat[nonzero]  # (n,)
    members = torch.zeros(flat.shape, dtype=torch.int16, device=weight.device)
    if len(values):
        count = clusters if bool(nonzero.all()) else clusters - 1
        centres = _kmeans(values, count)  # (count,) ascending
        members[nonzero] = (_nearest(values, centres) + 1).to(torch.int16)
    return members.view(weight.shape)


def _kmeans(values: Tensor, count: int) -> Tensor:
    """Lloyd's algorithm on a line, from evenly spaced centres; (n,) values -> (count,) ascending centres."""
    low, high = values.aminmax()
    centres = low + (high - low) * torch.linspace(0, 1, count, device=values.device)
    for _ in range(LLOYD_STEPS):
        nearest = _nearest(values, centres)
        sizes = torch.bincount(nearest, minlength=count)
        means = torch.zeros_like(centres).index_add_(0, nearest, values) / sizes.clamp_min(1)
        centres = torch.where(sizes > 0, means, centres).sort().values  # an empty cluster stays where it is
    return centres


def _nearest(values: Tensor, centres: Tensor) -> Tensor:
    """Index of the centre nearest to each value; the centres ascend."""
    return torch.bucketize(values, (centres[1:] + centres[:-1]) / 2)
