"""Cutting channels out of layers, with the optimiser's memory of them; and the widths that let a cut net be rebuilt."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.attention import attention_of, head_width, set_heads
from pruning.channels.costs import bare_parameters, channel_dim, is_layer_norm, is_norm
from pruning.channels.fusing import replace_attentions
from pruning.channels.groups import is_grouped
from pruning.errors import PruningError
from pruning.weights.masks import is_depthwise

Widths = dict[str, list[int]]
"""Layer name -> [out, in] of a convolution or dense layer, [n] of a norm, the shape of a bare parameter, [] of a
dropped block; plain JSON."""

Along = Mapping[int, Tensor]
"""Dimension of a tensor -> the positions to keep there."""


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
    replaced: dict[nn.Parameter, tuple[nn.Parameter, Along]] = {}
    attentions = [found for name in kept if (found := attention_of(model, name)) is not None]
    heads = [(attention, head_width(attention)) for attention in attentions]
    bare = bare_parameters(model)
    with torch.no_grad():
        for name, axes in kept.items():
            if name in bare:
                along = {channel_dim(bare[name]): axes["out"]}
                replaced[bare[name]] = _replace(model, name, along), along
                continue
            module = model.get_submodule(name)
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for key, tensor in own:
                if tensor.dim():
                    along = _along(module, key, axes.get("out"), axes.get("in"))
                    if tensor in replaced:
                        raise PruningError(
                            f"{name}.{key} is shared with another layer, and cannot be cut in one alone."
                        )
                    new = _replace(module, key, along)
                    if isinstance(tensor, nn.Parameter):
                        replaced[tensor] = new, along
            _set_sizes(module, *(len(axes[axis]) if axis in axes else None for axis in ("out", "in")))
    for attention, width in heads:
        set_heads(attention, width)
    if optimizer is not None:
        _replace_in_optimizer(optimizer, replaced)


def out_dims(model: nn.Module, layer: str) -> list[tuple[nn.Parameter, int]]:
    """The parameters of a layer, or the bare one of that name, each with the dimension of its output channels."""
    if (bare := bare_parameters(model).get(layer)) is not None:
        return [(bare, channel_dim(bare))]
    module = model.get_submodule(layer)
    transposed = isinstance(module, nn.modules.conv._ConvNd) and module.transposed
    return [(p, int(transposed and p.dim() > 1)) for p in module.parameters(recurse=False)]


def select(tensor: Tensor, along: Along) -> Tensor:
    """The given positions of each dimension as a fresh tensor in the same memory format."""
    for dim, index in along.items():
        tensor_format = _memory_format(tensor)
        tensor = tensor.index_select(dim, index.to(tensor.device)).contiguous(memory_format=tensor_format)
    return tensor


def _replace(owner: nn.Module, name: str, along: Along) -> Any:
    """Cut a parameter or buffer of a module, with its gradient; returns what took its place."""
    parent, _, key = name.rpartition(".")
    owner = owner.get_submodule(parent)
    tensor = getattr(owner, key)
    new = select(tensor, along)
    if isinstance(tensor, nn.Parameter):
        new = nn.Parameter(new, requires_grad=tensor.requires_grad)
        new.grad = None if tensor.grad is None else select(tensor.grad, along)
    setattr(owner, key, new)
    return new


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
    return found | {name: list(parameter.shape) for name, parameter in bare_parameters(model).items()}


def apply_widths(model: nn.Module, wanted: Mapping[str, list[int]]) -> None:
    """Give a plain build the widths of a pruned net, in place, so that its state_dict loads.

    Raises:
        PruningError: if the widths are of another architecture, or wider than this build.
    """
    for name, size in wanted.items():
        if not size and name in dict(model.named_modules()):
            model.set_submodule(name, DroppedBlock())
    owners = {name.rpartition(".")[0] for name in wanted if name.endswith(".qkv")}
    attentions = [n for n, module in model.named_modules() if n in owners and isinstance(module, nn.MultiheadAttention)]
    replace_attentions(model, attentions)
    plain = widths(model)
    bare = bare_parameters(model).keys()
    if plain.keys() - bare != wanted.keys() - bare:
        name = sorted((plain.keys() - bare) ^ (wanted.keys() - bare))[0]
        raise PruningError(f"These widths are of another architecture: the layer {name!r} is in only one of the two.")
    kept = {}
    for name, size in wanted.items():
        if len(size) != len(plain[name]) or any(
            new > old or new < 1 for new, old in zip(size, plain[name], strict=True)
        ):
            raise PruningError(f"The layer {name!r} cannot be cut from {plain[name]} to {list(size)}.")
        if list(size) != plain[name]:
            kept[name] = _first(model, name, plain[name], size, name in bare)
    keep_channels(model, kept)


def _first(model: nn.Module, name: str, old: list[int], new: list[int], is_bare: bool) -> dict[str, Tensor]:
    """The first positions of each axis of a layer; of a grouped convolution, of each of its groups."""
    if is_bare:
        dim = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
        return {"out": torch.arange(new[dim])}
    module: Any = model.get_submodule(name)
    groups = module.groups if is_grouped(module) else 1
    axes = ("out",) if len(new) == 1 or is_depthwise(module) else ("out", "in")
    return {
        axis: (torch.arange(groups)[:, None] * (before // groups) + torch.arange(after // groups)).flatten()
        for axis, before, after in zip(axes, old, new, strict=False)
    }


def _along(module: Any, key: str, out: Tensor | None, inputs: Tensor | None) -> Along:
    """What to keep on each dimension of a layer's tensor."""
    if key != "weight" or is_norm(module) or is_depthwise(module):
        dims = (out, None)
    elif isinstance(module, nn.modules.conv._ConvNd) and module.transposed:
        dims = (inputs, out if out is None else out[out < module.out_channels // module.groups])
    elif is_grouped(module) and inputs is not None:  # the same places of every group
        dims = (out, inputs[inputs < module.in_channels // module.groups])
    else:
        dims = (out, inputs)
    return {dim: index for dim, index in enumerate(dims) if index is not None}


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


def _replace_in_optimizer(
    optimizer: torch.optim.Optimizer, replaced: Mapping[nn.Parameter, tuple[nn.Parameter, Along]]
) -> None:
    for group in optimizer.param_groups:
        group["params"] = [replaced[p][0] if p in replaced else p for p in group["params"]]
    for old, (new, along) in replaced.items():
        if old not in optimizer.state:
            continue
        state = optimizer.state.pop(old)
        optimizer.state[new] = {
            key: select(value, along) if isinstance(value, Tensor) and value.shape == old.shape else value
            for key, value in state.items()
        }


def _memory_format(tensor: Tensor) -> torch.memory_format:
    channels_last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last and not tensor.is_contiguous() else torch.contiguous_format
