"""A group of channels as plain data, and what of each layer goes and stays with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.costs import Layer
from pruning.errors import PruningError

UNFOLLOWED = (ZeroDivisionError, IndexError)
"""What Torch-Pruning raises on models that it cannot follow (ShuffleNet-V2, CSPResNet)."""

Kept = dict[str, dict[str, Tensor]]
"""Layer -> {"out": positions that stay, "in": likewise}; an axis that is left out stays whole."""


@dataclass(frozen=True)
class Slot:
    """Positions on one axis of one layer that go with the channels of a group."""

    layer: str
    """Name of a convolution, dense or norm module, or of a bare parameter."""
    axis: str
    """"out" or "in"; depthwise and norm layers and parameters have "out" alone."""
    index: Tensor
    """(m,) positions on that axis; m is a multiple of the group's size (a flattened map has several a channel)."""
    root: Tensor
    """(m,) the group's unit that each position belongs to."""


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed together, over all layers that carry them.

    They go in units, mostly of one channel. Channels that are tied make one unit: a channel of every group of a grouped
    convolution, a whole head of an attention, a channel and what is computed from it and stands in for its neighbour.
    """

    name: str
    """The layer that the group is named by."""
    size: int
    """Number of units."""
    slots: list[Slot]
    units: Tensor
    """(channels,) the unit of each output channel of that layer."""
    find_depgraph_group: Callable[[], Any]
    """Looks for Torch-Pruning's own group, for its importance scores."""

    @property
    def channels_each(self) -> int:
        """Channels of the layer that the group is named by, in each unit."""
        return len(self.units) // self.size

    @cached_property
    def depgraph_group(self) -> Any:
        """Torch-Pruning's own group."""
        try:
            return self.find_depgraph_group()
        except UNFOLLOWED as error:
            raise PruningError(
                f"Torch-Pruning cannot score the channels of {self.name} ({type(error).__name__}): take the importance "
                "SensitivityImportance, which needs none of its groups."
            ) from error

    def per_unit(self, slot: Slot) -> int:
        """How many positions of a slot go with one unit."""
        return len(slot.index) // self.size

    def mean_over_units(self, scores: Tensor) -> Tensor:
        """(channels,) scores as Torch-Pruning gives them, sometimes with a tail that means nothing -> (size,)."""
        shares = scores[: len(self.units)] / self.channels_each
        return shares.new_zeros(self.size).index_add_(0, self.units.to(scores.device), shares)

    def reason_against(self) -> str:
        """Why its units cannot be cut one by one; "" where they can, or where there is but one, which stays."""
        even = all(_is_even(slot.root, self.size) for slot in self.slots) and _is_even(self.units, self.size)
        return "" if even else "its channels are shared with another group in a way that is not supported"


def _is_even(root: Tensor, size: int) -> bool:
    counts = torch.bincount(root, minlength=size)
    return len(counts) == size and bool((counts == counts[0]).all()) and len(root) > 0


def kept_positions(groups: Sequence[ChannelGroup], dropped: Sequence[Tensor], layers: Mapping[str, Layer]) -> Kept:
    """What stays of each layer that loses something.

    Args:
        dropped: for each group (size,), True for the units that go.
    """
    gone: dict[str, dict[str, list[Tensor]]] = {}
    for group, units in zip(groups, dropped, strict=True):
        if not units.any():
            continue
        for slot in group.slots:
            gone.setdefault(slot.layer, {}).setdefault(slot.axis, []).append(slot.index[units[slot.root]])
    kept: Kept = {}
    for name, axes in gone.items():
        kept[name] = {}
        for axis, indices in axes.items():
            stays = torch.ones(layers[name].out if axis == "out" else layers[name].inputs, dtype=torch.bool)
            stays[torch.cat(indices)] = False
            kept[name][axis] = stays.nonzero().squeeze(1)
    return kept


def is_plain_depthwise(module: nn.Module) -> bool:
    """Whether a layer is a convolution with one kernel a channel, which keeps the number of channels."""
    is_conv = isinstance(module, nn.modules.conv._ConvNd)
    return is_conv and module.groups == module.in_channels == module.out_channels > 1


def is_grouped(module: nn.Module) -> bool:
    """Whether a layer is a convolution in groups of several channels, or with several kernels a channel."""
    return isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1 and not is_plain_depthwise(module)
