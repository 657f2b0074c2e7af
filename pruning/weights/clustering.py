"""Weight clustering: each layer's weights take one of a few values, so that a compressed file is smaller."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import PruningError
from pruning.parameters import ParameterCheck
from pruning.weights.prunable import prunable_weights

LLOYD_STEPS = 20


class WeightClusterer:
    """Shares values among the weights of each layer, and keeps them shared while training.

    As in Deep Compression (Han et al. 2016, arXiv:1510.00149): k-means, then each value is trained by what all of its
    weights ask for. Zeros stay zero and have a value of their own, so that masks hold.

    Args:
        model: trained, possibly pruned; clustered in place at once.
        clusters: how many values a layer may have, zero included where it has zeros; a layer that has no more than
            that many keeps its own.
        include, exclude: patterns of module names (see `prunable.prunable_weights`).
    """

    def __init__(
        self, model: nn.Module, clusters: int = 16, include: Sequence[str] = ("*",), exclude: Sequence[str] = ()
    ):
        if clusters < 2:
            raise PruningError(f"clusters must be 2 or more, got {clusters}.")
        self._weights = prunable_weights(model, include, exclude)
        self._clusters = {name: _cluster(weight.detach(), clusters) for name, weight in self._weights.items()}
        self._check = ParameterCheck(model, self._weights)
        self._share()

    def step(self, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Set each weight to the mean of its cluster; call once after every `optimizer.step()`. Returns False."""
        self._check(optimizer)
        self._share()
        return False

    @torch.no_grad()
    def _share(self) -> None:
        for name, weight in self._weights.items():
            members = self._clusters[name].to(weight.device).long().flatten()  # (n,), 0 for the zeros
            count = int(members.max()) + 1
            totals = torch.zeros(
                count, dtype=torch.float64, device=weight.device
            )  # else small updates are rounded away
            totals.index_add_(0, members, weight.flatten().double())
            values = totals / torch.bincount(members, minlength=count).clamp_min(1)  # (count,)
            values[0] = 0.0
            weight.copy_(values.to(weight.dtype)[members].view(weight.shape))

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """Flat: `cluster.NAME`, which cluster each weight is in (int32; 0 is the zeros)."""
        return {f"cluster.{name}": members for name, members in self._clusters.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Load the model's weights first."""
        stored = {name.removeprefix("cluster."): members for name, members in state.items()}
        if {n: m.shape for n, m in stored.items()} != {n: w.shape for n, w in self._weights.items()}:
            raise PruningError("The stored clusters do not fit this model; were other layers included?")
        self._clusters = stored  # the weights are shared already; to average them again would change their last bit


def _cluster(weight: Tensor, clusters: int) -> Tensor:
    """Which cluster each weight is in, from 1; 0 for weights that are exactly zero. int32, the weight's shape."""
    flat = weight.flatten().float()
    nonzero = flat != 0
    values = flat[nonzero]  # (n,)
    members = torch.zeros(flat.shape, dtype=torch.int32, device=weight.device)
    if len(values):
        count = clusters if bool(nonzero.all()) else clusters - 1
        members[nonzero] = (_nearest(values, _kmeans(values, count)) + 1).int()
    return members.view(weight.shape)


def _kmeans(values: Tensor, count: int) -> Tensor:
    """K-means on a line; (n,) values -> (count or fewer,) ascending centres.

    The better of two starts: centres as dense as the cube root of the values' density (optimal for many of them, Panter
    & Dite 1951), and evenly spaced ones. The first matter: weights have heavy tails, on which even spacing has 1.5 to 2
    times the error of k-means++, and the cube root 0.9 to 1.0 times.
    """
    values = values.sort().values
    distinct = values.unique()
    if len(distinct) <= count:
        return distinct
    middles = (torch.arange(count, device=values.device) + 0.5) / count  # (count,)
    # Between neighbours the density is in proportion to 1 / gap; its cube root times the gap is gap ** (2 / 3).
    mass = nn.functional.pad(values.double().diff() ** (2 / 3), (1, 0)).cumsum(0)  # (n,)
    dense = values[torch.searchsorted(mass, middles * mass[-1])]
    even = values[0] + (values[-1] - values[0]) * middles
    found = [_lloyd(values, start) for start in (dense, even)]
    return min(found, key=lambda centres: float((values - centres[_nearest(values, centres)]).square().sum()))


def _lloyd(values: Tensor, centres: Tensor) -> Tensor:
    """Lloyd's algorithm; a centre that has no values moves to the value that is farthest from its own."""
    for _ in range(LLOYD_STEPS):
        nearest = _nearest(values, centres)
        sizes = torch.bincount(nearest, minlength=len(centres))
        means = torch.zeros_like(centres).index_add_(0, nearest, values) / sizes.clamp_min(1)
        empty = (sizes == 0).nonzero().squeeze(1)
        if len(empty):
            far = (values - means[nearest]).abs().topk(len(empty)).indices
            means[empty] = values[far]
        centres = means.sort().values
    return centres


def _nearest(values: Tensor, centres: Tensor) -> Tensor:
    """Index of the centre nearest to each value; the centres ascend."""
    return torch.bucketize(values, (centres[1:] + centres[:-1]) / 2)
