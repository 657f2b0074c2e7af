"""Dropping whole residual blocks: what is left of `x + f(x)` is `x`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.surgery import DroppedBlock
from pruning.errors import PruningError
from pruning.modes import evaluating
from pruning.weights.masks import name_matches


def residual_blocks(model: nn.Module, images: Tensor) -> dict[str, float]:
    """The blocks that can be dropped, with what each adds to its input.

    A module counts where it returns its input unchanged once all of its parameters are zero, so whatever its code
    looks like; of nested ones the innermost.

    Args:
        images: (B, C, H, W) representative inputs.

    Returns:
        module name -> mean |f(x)| / mean |x|, in the model's order.
    """
    found: dict[str, float] = {}
    with evaluating(model):
        for name, (module, given, returned) in _calls(model, images).items():
            if given.shape == returned.shape and _is_identity_without_weights(module, given):
                found[name] = float((returned - given).abs().mean() / given.abs().mean().clamp_min(1e-12))
    return {name: share for name, share in found.items() if not any(n.startswith(name + ".") for n in found)}


def drop_blocks(
    model: nn.Module,
    images: Tensor,
    *,
    count: int | None = None,
    names: Sequence[str] = (),
    optimizer: torch.optim.Optimizer | None = None,
) -> list[str]:
    """Replace residual blocks by the identity, in place.

    Args:
        images: (B, C, H, W) representative inputs.
        count: drop N, those that add least to their input; or give
        names: names or patterns of the blocks to drop.
        optimizer: where given, forgets the dropped parameters, but those that other layers share.

    Returns:
        The names of the dropped blocks; `widths` records them and `apply_widths` drops them again.

    Raises:
        PruningError: if there are fewer blocks, or a pattern matches none.
    """
    if (count is None) == (not names):
        raise PruningError("Give either how many blocks to drop (count) or which (names).")
    shares = residual_blocks(model, images)
    available = ", ".join(shares) or "none"
    if count is not None:
        if not 0 <= count <= len(shares):
            raise PruningError(f"{count} blocks cannot be dropped: the residual blocks are {available}.")
        dropped = sorted(shares, key=lambda name: shares[name])[:count]
    else:
        for pattern in names:
            if not any(name_matches(name, pattern) for name in shares):
                raise PruningError(f"{pattern!r} is no residual block that can be dropped; those are {available}.")
        dropped = [name for name in shares if any(name_matches(name, pattern) for pattern in names)]
    for name in dropped:
        block = model.get_submodule(name)
        model.set_submodule(name, DroppedBlock())
        if optimizer is not None:
            _forget(optimizer, set(block.parameters()) - set(model.parameters()))
    return dropped


def _calls(model: nn.Module, images: Tensor) -> dict[str, tuple[nn.Module, Tensor, Tensor]]:
    """What went in and came out of every module that takes and gives one tensor, holds weights, and has parts."""
    calls: dict[str, tuple[nn.Module, Tensor, Tensor]] = {}
    handles = []
    for name, module in model.named_modules():
        if name and next(module.children(), None) is not None and next(module.parameters(), None) is not None:

            def remember(module: nn.Module, given: tuple, returned: Any, name: str = name) -> None:
                if len(given) == 1 and isinstance(given[0], Tensor) and isinstance(returned, Tensor):
                    calls[name] = (module, given[0].clone(), returned.clone())

            handles.append(module.register_forward_hook(remember))
    try:
        with torch.no_grad():
            model(images.to(next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return calls


@torch.no_grad()
def _is_identity_without_weights(module: nn.Module, given: Tensor) -> bool:
    # Each part once: of one with two names, functional_call would put back what it was given.
    nothing = {
        f"{name}.{key}".removeprefix("."): torch.zeros_like(tensor)
        for name, part in module.named_modules()
        for key, tensor in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
    }
    returned = torch.func.functional_call(module, nothing, (given.clone(),), tie_weights=False)
    return isinstance(returned, Tensor) and torch.equal(returned, given)


def _forget(optimizer: torch.optim.Optimizer, gone: set[nn.Parameter]) -> None:
    for group in optimizer.param_groups:
        stays = [parameter not in gone for parameter in group["params"]]
        for key in {"params", "param_names"} & group.keys():  # names where it was made of named_parameters()
            group[key] = [entry for entry, stay in zip(group[key], stays, strict=True) if stay]
    for parameter in gone:
        optimizer.state.pop(parameter, None)
