"""Cutting channels out of layers, with the optimiser's memory of them; and the widths that let a cut net be rebuilt."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.costs import is_layer_norm
from pruning.errors import PruningError
from pruning.weights.masks import is_depthwise

Widths = dict[str, list[int]]
"""Layer name -> [out, in] of a convolution or dense layer, [n] of a norm, [] of a dropped block; plain JSON."""


class DroppedBlock(nn.Identity):
    """What stands where a residual block was dropped."""


def keep_channels(
    model: nn.Module,
    kept: Mapping[str, Mapping[str, Tensor]],
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Cut layers down to the given positions, in place.

    New parameters take the old ones' place in the model and in the optimiser's groups; moments (any state of the
    parameter's shape) are cut alike.

    Args:
        kept: layer name -> {"out": (n,) positions to keep, "in": (m,) positions to keep}; an axis left out stays whole.
    """
    replaced: dict[nn.Parameter, tuple[nn.Parameter, tuple[Tensor | None, Tensor | None]]] = {}
    with torch.no_grad():
        for name, axes in kept.items():
            module = model.get_submodule(name)
            out, inputs = axes.get("out"), axes.get("in")
            for key, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                if tensor.dim() == 0:
                    continue
                along = _along(module, key, out, inputs)
                cut = select(tensor, *along)
                if isinstance(tensor, nn.Parameter):
                    new = nn.Parameter(cut, requires_grad=tensor.requires_grad)
                    new.grad = None if tensor.grad is None else select(tensor.grad, *along)
                    setattr(module, key, new)
                    replaced[tensor] = (new, along)
                else:
                    setattr(module, key, cut)
            _set_sizes(module, None if out is None else len(out), None if inputs is None else len(inputs))
    if optimizer is not None:
        _replace_in_optimizer(optimizer, replaced)


def select(tensor: Tensor, dim0: Tensor | None, dim1: Tensor | None) -> Tensor:
    """tensor[dim0][:, dim1] as a fresh tensor in the same memory format; None takes all."""
    for dim, index in enumerate((dim0, dim1)):
        if index is not None:
            tensor_format = _memory_format(tensor)
            tensor = tensor.index_select(dim, index.to(tensor.device)).contiguous(memory_format=tensor_format)
    return tensor


def widths(model: nn.Module) -> Widths:
    """The width of every layer that pruning may change, for arch.json; see `apply_widths`."""
    found: Widths = {}
    for name, module in model.named_modules():
        if isinstance(module, DroppedBlock):
            found[name] = []
        elif isinstance(module, nn.modules.conv._ConvNd):
            found[name] = [module.out_channels, module.in_channels]
        elif isinstance(module, nn.Linear):
            found[name] = [module.out_features, module.in_features]
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            found[name] = [module.num_features]
        elif is_layer_norm(module):
            found[name] = [int(module.normalized_shape[0])]  # pyright: ignore[reportIndexIssue, reportArgumentType]
    return found


def apply_widths(model: nn.Module, wanted: Mapping[str, list[int]]) -> None:
    """Give a plain build the widths of a pruned net, in place, so that its state_dict loads.

    Raises:
        PruningError: if the widths are of another architecture, or wider than this build.
    """
    for name, size in wanted.items():
        if not size and name in dict(model.named_modules()):
            model.set_submodule(name, DroppedBlock())
    plain = widths(model)
    if plain.keys() != wanted.keys():
        name = sorted(plain.keys() ^ wanted.keys())[0]
        raise PruningError(f"These widths are of another architecture: the layer {name!r} is in only one of the two.")
    kept = {}
    for name, size in wanted.items():
        if len(size) != len(plain[name]) or any(
            new > old or new < 1 for new, old in zip(size, plain[name], strict=True)
        ):
            raise PruningError(f"The layer {name!r} cannot be cut from {plain[name]} to {list(size)}.")
        if list(size) == plain[name]:
            continue
        axes = {"out": torch.arange(size[0])}
        if len(size) == 2 and not is_depthwise(model.get_submodule(name)):
            axes["in"] = torch.arange(size[1])
        kept[name] = axes
    keep_channels(model, kept)


def _along(
    module: nn.Module, key: str, out: Tensor | None, inputs: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """What to keep on a tensor's first and second dimension."""
    if key != "weight" or isinstance(module, nn.modules.batchnorm._BatchNorm) or is_depthwise(module):
        return out, None
    if isinstance(module, nn.modules.conv._ConvNd) and module.transposed:
        return inputs, out
    return out, inputs


def _set_sizes(module: Any, out: int | None, inputs: int | None) -> None:
    if isinstance(module, nn.LayerNorm):
        module.normalized_shape = (out or module.normalized_shape[0],)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = out or module.num_features
    elif isinstance(module, nn.Linear):
        module.out_features = out or module.out_features
        module.in_features = inputs or module.in_features
    elif is_depthwise(module):
        module.in_channels = module.out_channels = module.groups = out or module.groups
    else:
        module.out_channels = out or module.out_channels
        module.in_channels = inputs or module.in_channels


def _replace_in_optimizer(optimizer: torch.optim.Optimizer, replaced: Mapping[Any, tuple]) -> None:
    for group in optimizer.param_groups:
        group["params"] = [replaced[p][0] if p in replaced else p for p in group["params"]]
    for old, (new, along) in replaced.items():
        if old not in optimizer.state:
            continue
        state = optimizer.state.pop(old)
        optimizer.state[new] = {
            key: select(value, *along) if isinstance(value, Tensor) and value.shape == old.shape else value
            for key, value in state.items()
        }


def _memory_format(tensor: Tensor) -> torch.memory_format:
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last and not tensor.is_contiguous() else torch.contiguous_format
