"""Whether a group can be cut: a copy of the model is, and must give what the model gives with those channels unread.

Torch-Pruning guesses what slices, reshapes and unknown operations do to channels, and code may hold widths as constants
(`split(width)`, `x[:, :16]`); both show here before anything is cut.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.costs import Layer, is_layer_norm
from pruning.channels.groups import ChannelGroup, kept_positions
from pruning.channels.surgery import keep_channels
from pruning.modes import outputs_of

TOLERANCE = 1e-3
"""Of what the lost channels change in the output: the most that the cut copy may deviate."""
NOISE = 2e-5
"""Of the largest output: what float32 may deviate."""


def sound_groups(
    model: nn.Module, example_input: Tensor, groups: Sequence[ChannelGroup], layers: Mapping[str, Layer]
) -> list[ChannelGroup]:
    """The groups that can be cut; tried all at once, and halved where that fails.

    Args:
        model: in evaluation mode; left as it is.
    """
    try:
        trial = _Trial(model, example_input, layers)
    except (RuntimeError, TypeError, NotImplementedError):  # it cannot be copied, or runs on its own device alone
        return list(groups)
    return trial.sound(list(groups)) if trial.is_possible else list(groups)


class _Trial:
    """On the processor and in float32, whatever the model is in: elsewhere rounding would hide what is sought."""

    def __init__(self, model: nn.Module, example_input: Tensor, layers: Mapping[str, Layer]):
        self._model, self._layers, self._input = copy.deepcopy(model).cpu().float(), layers, example_input.cpu()
        if example_input.is_floating_point():
            self._input = torch.randn(example_input.shape, generator=torch.Generator().manual_seed(0))
        self._dense = outputs_of(self._model, self._input)
        self.is_possible = all(
            bool(first.isfinite().all()) and _differ(first, again) <= NOISE * float(first.abs().max())
            for first, again in zip(self._dense, outputs_of(self._model, self._input), strict=True)
        )

    def sound(self, groups: list[ChannelGroup]) -> list[ChannelGroup]:
        """As many of the groups as can be cut together."""
        if not groups or self._passes(groups):
            return groups
        if len(groups) == 1:
            return []
        left, right = (self.sound(half) for half in (groups[: len(groups) // 2], groups[len(groups) // 2 :]))
        if not left or not right or self._passes(left + right):
            return left + right
        return left

    def _passes(self, groups: list[ChannelGroup]) -> bool:
        """Whether the model without one unit of each group computes what it does where nothing reads them."""
        dropped = [(torch.arange(group.size) == group.size // 2) & (group.size > 1) for group in groups]
        unread, cut = copy.deepcopy(self._model), copy.deepcopy(self._model)
        unread_norms(unread, groups, dropped)
        keep_channels(cut, kept_positions(groups, dropped, self._layers))
        expected = outputs_of(unread, self._input)
        try:
            found = outputs_of(cut, self._input)
        except (RuntimeError, ValueError, IndexError, AssertionError):  # the model's code holds the width
            return False
        for dense, masked, pruned in zip(self._dense, expected, found, strict=True):
            if pruned.shape != masked.shape:
                return False
            if not _differ(pruned, masked) <= TOLERANCE * _differ(masked, dense) + NOISE * float(dense.abs().max()):
                return False
        return True


def _differ(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


@torch.no_grad()
def unread_norms(model: nn.Module, groups: Sequence[ChannelGroup], dropped: Sequence[Tensor]) -> None:
    """Let nothing read the dropped units of a model, in place: no weight, and no layer norm's mean and variance."""
    modules = dict(model.named_modules())
    for group, units in zip(groups, dropped, strict=True):
        for slot in group.slots:
            at = slot.index[units[slot.root]]
            if slot.axis == "in":
                _zero_inputs(modules[slot.layer], at)
                continue
            if is_layer_norm(module := modules.get(slot.layer, model)):
                _leave_out(module, at)


def _zero_inputs(layer: Any, at: Tensor) -> None:
    """Set the weights that read some inputs of a convolution or dense layer to zero."""
    if getattr(layer, "transposed", False):
        layer.weight[at] = 0
        return
    groups = getattr(layer, "groups", 1)
    width = layer.weight.shape[1]
    by_group = layer.weight.view(groups, -1, *layer.weight.shape[1:])  # (groups, out / groups, in / groups, ...)
    by_group[at // width, :, at % width] = 0


def _leave_out(norm: Any, at: Tensor) -> None:
    """Let a layer norm compute as if some channels were not there; it gives zero for them."""
    stays = torch.ones(norm.normalized_shape[0], dtype=torch.bool)
    stays[at] = False
    kept = stays.nonzero().squeeze(1)

    def recompute(norm: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        x, index = inputs[0], kept.to(output.device)
        dim = -1 if type(norm) is nn.LayerNorm or x.dim() != 4 else 1
        weight, bias = (None if p is None else p[index] for p in (norm.weight, norm.bias))
        some = nn.functional.layer_norm(x.movedim(dim, -1)[..., index], (len(index),), weight, bias, norm.eps)
        return torch.zeros_like(output).index_copy_(dim, index, some.movedim(-1, dim))

    norm.register_forward_hook(recompute)
