"""Layer-wise reconstruction after pruning: what is left of each 1x1 convolution is fitted to what the dense one gave.

Optimal Brain Surgeon (Hassibi & Stork 1993) makes up for removed weights by the others of their layer. As in SparseGPT
(Frantar & Alistarh 2023, arXiv:2301.00774) that is a least-squares problem for each layer, on the second moments of
its inputs; here it is solved for all rows at once under their masks, by conjugate gradients, and layer after layer, so
that each makes up for those before it as well. No labels and no training: two forward passes over some hundred images.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import PruningError
from pruning.layout import is_point
from pruning.modes import evaluating

COLUMNS = 16_384
"""Pixels of all images that a layer is fitted on, at most; drawn evenly."""
DAMPING = 0.01
"""Pull towards the weights as they are, as a share of the inputs' mean square (SparseGPT's percdamp)."""
ITERATIONS = 40
"""Of conjugate gradients, at most."""

Kept = Mapping[str, Mapping[str, Tensor]]
"""Layer name -> {"out": (n,) its output channels that are left}; layers and axes that stayed whole may be missing."""


class Reconstruction:
    """What the layers of a dense model give on some images, and the fit of a pruned model to it.

        dense = Reconstruction(model, images)
        report = prune_channels(model, images[:1], Target(macs=...))  # or masks: their zeros stay
        dense.fit(model, report.kept)

    Args:
        model: before pruning; left as it was.
        images: (B, C, H, W) representative inputs, some hundreds, drawn as in training.
    """

    def __init__(self, model: nn.Module, images: Tensor):
        self._images = images.to(next(model.parameters()).device)
        self._targets: dict[str, Tensor] = {}
        owners = Counter(parameter for _, parameter in model.named_parameters(remove_duplicate=False))
        uses: Counter[str] = Counter()

        def keep(name: str, layer: Any, inputs: Tensor, output: Tensor) -> None:
            self._targets[name] = _columns(layer, output)
            uses[name] += owners[layer.weight]

        self._run(model, after=keep)
        for name, count in uses.items():
            if count > 1:  # what suits one use would spoil the other
                del self._targets[name]

    @torch.no_grad()
    def fit(self, model: nn.Module, kept: Kept | None = None) -> None:
        """Fit every 1x1 convolution and dense layer, in place and in the order in which they run; zeros stay zero.

        Weights that are used twice stay as they are. A layer's bias is fitted too; where it has none, the running mean
        of the batch-norm that reads it is.

        Args:
            model: pruned; in whatever mode, which stays.
            kept: which output channels are left of each layer, as in `PruneReport.kept`; None: all, as with masks.

        Raises:
            PruningError: if a layer has other outputs than `kept` says.
        """
        norms = self._norms_after(model)

        def refit(name: str, layer: Any, inputs: Tensor) -> None:
            target = self._targets.get(name)
            if target is None:
                return
            index = (kept or {}).get(name, {}).get("out")
            target = target if index is None else target[index.to(target.device)]
            if len(target) != len(layer.weight):
                raise PruningError(
                    f"{name} has {len(layer.weight)} outputs, not {len(target)}: pass the report's kept."
                )
            _refit(layer, norms.get(name), _columns(layer, inputs), target)

        self._run(model, before=refit)

    def _norms_after(self, model: nn.Module) -> dict[str, Any]:
        """Layer name -> the batch-norm that is given exactly its output."""
        outputs: list[tuple[str, Tensor]] = []
        norms: dict[str, Any] = {}

        def look(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
            norms.update({name: norm for name, output in outputs if output is given[0]})

        handles = [
            module.register_forward_pre_hook(look)
            for module in model.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
        ]
        try:
            self._run(model, after=lambda name, _, __, output: outputs.append((name, output)), images=self._images[:1])
        finally:
            for handle in handles:
                handle.remove()
        return norms

    @torch.no_grad()
    def _run(
        self,
        model: nn.Module,
        before: Callable[[str, Any, Tensor], None] | None = None,
        after: Callable[[str, Any, Tensor, Tensor], None] | None = None,
        images: Tensor | None = None,
    ) -> None:
        with _hooked(model, before, after):
            model(self._images if images is None else images)


@contextmanager
def _hooked(model: nn.Module, before: Any, after: Any) -> Iterator[None]:
    """Evaluation mode, and calls before and after each 1x1 convolution and dense layer."""
    handles = []
    for name, module in model.named_modules():
        if not _is_matrix(module):
            continue
        if before is not None:
            handles.append(module.register_forward_pre_hook(lambda m, given, n=name: before(n, m, given[0])))
        if after is not None:
            handles.append(module.register_forward_hook(lambda m, given, out, n=name: after(n, m, given[0], out)))
    try:
        with evaluating(model):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _is_matrix(module: nn.Module) -> bool:
    """Whether a layer is a 1x1 convolution or dense one with a weight of its own, not one made of other parameters."""
    return (isinstance(module, nn.Linear) or is_point(module)) and "weight" in module._parameters


def _columns(layer: nn.Module, x: Tensor) -> Tensor:
    """(B, C, H, W) of a convolution or (B, ..., C) of a dense layer -> (C, n), the same COLUMNS of pixels for any C."""
    flat = x.flatten(0, -2).T if isinstance(layer, nn.Linear) else x.transpose(0, 1).flatten(1)  # (C, pixels)
    step = flat.shape[1] / COLUMNS
    if step <= 1:
        return flat.clone()
    return flat[:, (torch.arange(COLUMNS, device=flat.device) * step).long()]


def _refit(layer: Any, norm: Any, x: Tensor, target: Tensor) -> None:
    """Least squares of target (out, n) on x (in, n), under the layer's zeros, with a shift of every output."""
    x, target = x.float(), target.float()  # half precision cannot be solved for
    weight = layer.weight.flatten(1).float()  # (out, in)
    has_shift = layer.bias is not None or norm is not None
    mean_x, mean_y = (t.mean(1, keepdim=True) if has_shift else 0 * t[:, :1] for t in (x, target))
    x, target = x - mean_x, target - mean_y
    moments = x @ x.T / x.shape[1]  # (in, in)
    rest = (target - weight @ x) @ x.T / x.shape[1]  # (out, in)
    moments.diagonal().add_(DAMPING * moments.diagonal().mean().clamp_min(1e-12))
    mask = weight != 0
    if mask.all():
        new = weight + torch.linalg.solve(moments, rest.T).T
    else:
        new = weight + _conjugate_gradients(moments, rest, mask)
    layer.weight.copy_(new.view_as(layer.weight))
    shift = (mean_y - new @ mean_x).squeeze(1)  # (out,) what the layer lacks
    if layer.bias is not None:
        layer.bias.copy_(shift)
    elif norm is not None:
        norm.running_mean.sub_(shift)


def _conjugate_gradients(moments: Tensor, rest: Tensor, mask: Tensor) -> Tensor:
    """d (out, in), zero outside the mask, with (d @ moments)[mask] = rest[mask]: each row a problem of its own."""
    scale = moments.diagonal().clamp_min(1e-12)  # (in,) preconditions
    found, residual = torch.zeros_like(rest), rest * mask
    preconditioned = residual / scale
    direction = preconditioned.clone()
    energy = (residual * preconditioned).sum(1, keepdim=True)  # (out, 1)
    least = 1e-8 * energy.max().clamp_min(1e-30)
    for _ in range(ITERATIONS):
        if energy.max() <= least:
            break
        product = (direction @ moments) * mask
        length = energy / (direction * product).sum(1, keepdim=True).clamp_min(1e-30)
        found += length * direction
        residual -= length * product
        preconditioned = residual / scale
        before, energy = energy, (residual * preconditioned).sum(1, keepdim=True)
        direction = preconditioned + energy / before.clamp_min(1e-30) * direction
    return found
