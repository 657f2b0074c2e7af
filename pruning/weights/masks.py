"""Masks: a dict from parameter name to a bool tensor of that parameter's shape, True where the weight stays.

Every function here prunes an exact number of weights: ties are broken by position, the first of equals going first.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from pruning.errors import PruningError

Masks = dict[str, Tensor]


def is_depthwise(module: nn.Module) -> bool:
    """True for a convolution with as many groups as input channels, and more than one."""
    return isinstance(module, nn.modules.conv._ConvNd) and module.groups == module.in_channels > 1


def make_masks(
    scores: Mapping[str, Tensor],
    sparsity: float,
    scope: str = "layer",
    previous: Mapping[str, Tensor] | None = None,
    least: Mapping[str, float] | None = None,
) -> Masks:
    """Masks that drop the weights with the lowest scores.

    Args:
        scores: one tensor per parameter, higher is better; |weight| for magnitude pruning.
        sparsity: fraction to drop, in [0, 1).
        scope: "layer" (the fraction of each tensor), "global" (of all weights together), "erk" (Erdős–Rényi-Kernel,
            Evci et al. 2020, arXiv:1911.11134: wide tensors lose more, the total is the fraction), "2:4" or any "N:M"
            (N stay of every M along the input channels; at most 1 - N/M), "1x4" or any "1xN" (whole blocks of N
            neighbours along the input channels). A transposed convolution has its output channels there.
        previous: masks that these must nest with: while the sparsity grows no dropped weight comes back; while it
            falls no kept weight goes, and of the dropped ones those with the highest scores come back.
        least: the least share to drop of each tensor (`engines.zeros_for`). erk and global share out only what
            goes beyond it; up to it, all tensors lose `sparsity` alike.

    Returns:
        masks that keep round(n * (1 - sparsity)) of the n weights of each scope, and at least one of each tensor.
    """
    if not 0 <= sparsity < 1:
        raise PruningError(f"sparsity must be at least 0 and below 1, got {sparsity}.")
    n_of_m = re.fullmatch(r"(\d+):(\d+)", scope)
    block = re.fullmatch(r"1x(\d+)", scope)
    if scope == "layer":
        return {name: _drop_lowest(score, sparsity, _of(previous, name)) for name, score in scores.items()}
    if scope == "erk":
        fractions = erk_sparsities({name: score.shape for name, score in scores.items()}, sparsity, least)
        return {name: _drop_lowest(score, fractions[name], _of(previous, name)) for name, score in scores.items()}
    if scope == "global":
        return _global_masks(scores, sparsity, previous, least or {})
    if n_of_m:
        n, m = int(n_of_m[1]), int(n_of_m[2])
        return {name: _n_of_m_mask(score, n, m, sparsity, _of(previous, name)) for name, score in scores.items()}
    if block:
        return {name: _block_mask(s, int(block[1]), sparsity, _of(previous, name)) for name, s in scores.items()}
    raise PruningError(f"Unknown scope {scope!r}: use layer, global, erk, an N:M pattern such as 2:4, or blocks 1xN.")


def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the dropped weights of the model to zero, in place."""
    with torch.no_grad():
        for name, mask in masks.items():
            weight = model.get_parameter(name)
            weight.mul_(mask.to(weight.device))


def share_of_zeros(tensors: Mapping[str, Tensor]) -> float:
    """The fraction of masks that drops weights, or of weights that are exactly zero."""
    total = sum(tensor.numel() for tensor in tensors.values())
    return 1 - sum(int(tensor.count_nonzero()) for tensor in tensors.values()) / total


def rewind(model: nn.Module, early_state: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Lottery-ticket rewinding: give the model the weights of an earlier state, then mask them, in place.

    Frankle et al. 2019, arXiv:1903.01611; `early_state` is a state_dict saved at initialisation or soon after it.
    """
    model.load_state_dict(early_state)
    apply_masks(model, masks)


def erk_sparsities(
    shapes: Mapping[str, Sequence[int]], sparsity: float, least: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Per-tensor sparsity by Erdős–Rényi-Kernel: density in proportion to sum(shape) / product(shape).

    The densities average to `1 - sparsity` over all weights (arXiv:1911.11134, appendix; tensors whose density would
    exceed 1, or what `least` leaves them, get just that and the others make up for it).
    """
    sizes = {name: int(torch.Size(shape).numel()) for name, shape in shapes.items()}
    raw = {name: sum(shape) / sizes[name] for name, shape in shapes.items()}
    most = {name: 1 - min((least or {}).get(name, 0.0), sparsity) for name in shapes}  # density
    full: set[str] = set()
    while True:
        kept = sum(sizes.values()) * (1 - sparsity) - sum(most[name] * sizes[name] for name in full)
        others = sum(raw[name] * sizes[name] for name in raw if name not in full)
        scale = max(kept, 0.0) / others if others else 0.0
        too_dense = {name for name in raw if name not in full and scale * raw[name] > most[name]}
        if not too_dense:
            return {name: 1 - most[name] if name in full else 1 - scale * raw[name] for name in raw}
        full |= too_dense


def name_matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")


def _of(previous: Mapping[str, Tensor] | None, name: str) -> Tensor | None:
    return None if previous is None else previous[name]


def _drop_count(total: int, sparsity: float) -> int:
    """As TF-MOT: round(total * (1 - sparsity)) stay, and at least one."""
    return total - max(round(total * (1 - sparsity)), 1)


def _drop_lowest(score: Tensor, sparsity: float, previous: Tensor | None) -> Tensor:
    flat = score.flatten()  # (n,)
    kept_before = None if previous is None else previous.flatten()
    return _keep(flat, _drop_count(flat.numel(), sparsity), kept_before).view(score.shape)


def _global_masks(
    scores: Mapping[str, Tensor],
    sparsity: float,
    previous: Mapping[str, Tensor] | None,
    least: Mapping[str, float],
) -> Masks:
    flat = torch.cat([score.flatten() for score in scores.values()])  # (all weights,)
    count = min(_drop_count(flat.numel(), sparsity), flat.numel() - len(scores))
    kept_before = None if previous is None else torch.cat([previous[name].flatten() for name in scores])
    sizes = [score.numel() for score in scores.values()]
    alive = [None] * len(sizes) if kept_before is None else kept_before.split(sizes)
    for (name, score), part, kept in zip(scores.items(), flat.split(sizes), alive, strict=True):
        best = part.argmax()
        if kept is not None and not kept[best]:
            best = part.masked_fill(~kept, -torch.inf).argmax()
        share = min(least.get(name, 0.0), sparsity)
        if share:  # what each tensor has to lose goes first
            part[~_drop_lowest(score, share, _of(previous, name)).flatten()] = -torch.inf
        part[best] = torch.inf  # the best weight of each tensor stays, or the tensor would cut the net
    kept = _keep(flat, count, kept_before)
    return {name: k.view(scores[name].shape) for name, k in zip(scores, kept.split(sizes), strict=True)}


def _n_of_m_mask(score: Tensor, n: int, m: int, sparsity: float, previous: Tensor | None) -> Tensor:
    if not 0 < n < m:
        raise PruningError(f"{n}:{m} is no pattern: N of every M weights stay, so N must be between 1 and {m - 1}.")
    if sparsity > 1 - n / m + 1e-9:
        raise PruningError(f"{n}:{m} reaches at most a sparsity of {1 - n / m:g}, but {sparsity:g} was asked.")
    blocks = _input_blocks(score, m, pad=-torch.inf)  # (..., blocks, m); padding counts as dropped
    order = blocks.argsort(dim=-1, stable=True)
    if previous is not None:  # those that were dropped stay so before others go, the padding first of all
        before = _input_blocks(previous.to(torch.int8), m, pad=-1).gather(-1, order)
        order = order.gather(-1, before.argsort(dim=-1, stable=True))
    kept = torch.ones_like(blocks, dtype=torch.bool).scatter_(-1, order[..., : round(sparsity * m)], False)
    return _from_input_blocks(kept, score)


def _block_mask(score: Tensor, size: int, sparsity: float, previous: Tensor | None) -> Tensor:
    means = _input_blocks(score.float(), size, pad=torch.nan).nanmean(-1)  # (..., blocks)
    kept_before = None if previous is None else _input_blocks(previous.float(), size, pad=0.0).amax(-1) > 0
    kept = _drop_lowest(means, sparsity, kept_before)
    return _from_input_blocks(kept[..., None].expand(*kept.shape, size), score)


def _input_blocks(score: Tensor, size: int, pad: float) -> Tensor:
    """(out, in, ...) -> (out, ..., ceil(in / size), size): neighbours along the second side, mostly the inputs."""
    last = score.movedim(1, -1)
    missing = -last.shape[-1] % size
    padded = nn.functional.pad(last, (0, missing), value=pad)
    return padded.unflatten(-1, (-1, size))


def _from_input_blocks(kept: Tensor, score: Tensor) -> Tensor:
    """The reverse of `_input_blocks`, without the padding."""
    return kept.flatten(-2)[..., : score.shape[1]].movedim(-1, 1).contiguous()


def _keep(flat: Tensor, count: int, kept_before: Tensor | None) -> Tensor:
    """What stays when `count` go: a subset of what was kept before, or, where fewer are to go, a superset."""
    if kept_before is None:
        return ~lowest(flat, count)
    gone_before = kept_before.numel() - int(kept_before.count_nonzero())
    if gone_before == 0:
        return ~lowest(flat, count)
    if count >= gone_before:
        return kept_before ^ lowest(flat, count - gone_before, among=kept_before)
    return ~lowest(flat, count, among=~kept_before)


def lowest(flat: Tensor, count: int, among: Tensor | None = None) -> Tensor:
    """True at exactly `count` of the lowest values; among equals the first ones.

    Args:
        flat: (n,), without NaN.
        count: how many, from 0 to n.
        among: (n,) bool, the positions to choose from; all where absent.
    """
    if count == 0:
        return torch.zeros_like(flat, dtype=torch.bool)
    threshold = _kth_smallest(flat, count, among)
    dropped = flat <= threshold
    if among is not None:
        dropped &= among
    surplus = int(dropped.count_nonzero()) - count  # ties with the threshold
    if surplus < 0:
        raise PruningError("The scores hold NaN: has the training diverged?")
    if surplus:
        ties = dropped & (flat == threshold)
        dropped[ties.nonzero().squeeze(1)[-surplus:]] = False
    return dropped


def _kth_smallest(flat: Tensor, k: int, among: Tensor | None) -> Tensor:
    if flat.device.type == "cpu" and flat.dtype in (torch.float32, torch.float64):
        # NumPy selects five times as fast as torch on the CPU, and compress() gathers three times as fast as indexing.
        values = flat.detach().numpy()
        values = values.copy() if among is None else values.compress(among.numpy())
        values.partition(k - 1)
        return flat.new_tensor(values[k - 1].item())
    return torch.kthvalue(flat if among is None else flat[among], k).values
