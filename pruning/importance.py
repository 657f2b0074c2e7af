"""Scores that say how much each channel of a group matters; the lowest go first.

Torch-Pruning's own scores are used where it has them. Every score is normalised over its group (to a mean of 1, or by
LAMP), so that groups can be ranked against each other.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pruning.graph import ChannelGroup
from pruning.surgery import widths

Importance = Callable[[ChannelGroup], Tensor]
"""A group -> (size,) scores."""

IMPORTANCES = ("magnitude", "l1", "taylor", "bn_scale", "fpgm", "lamp", "random")


def make_importance(name: str, seed: int = 0) -> Importance:
    """The scoring function of a name.

    - magnitude, l1: L2 or L1 norm of all weights that go with the channel (Li et al. 2017, arXiv:1608.08710).
    - taylor: first-order change of the loss, |w * gradient| (Molchanov et al. 2019, arXiv:1906.10771).
    - bn_scale: |gamma| of batch-norm (Liu et al. 2017, arXiv:1708.06519); groups without one: magnitude.
    - fpgm: distance from the other filters (He et al. 2019, arXiv:1811.00250).
    - lamp: magnitude, normalised by what would be left (Lee et al. 2021, arXiv:2010.07611).
    - random: uniform, from `seed`; the control.

    For a ranking by attention maps, which needs images, pass an `AttentionImportance` where a name is taken.

    Raises:
        ValueError: if the name is unknown.
    """
    import torch_pruning as tp

    if name == "random":
        generator = torch.Generator().manual_seed(seed)
        return lambda group: torch.rand(group.size, generator=generator)
    magnitude = tp.importance.GroupMagnitudeImportance(p=2)
    scorers = {
        "magnitude": magnitude,
        "l1": tp.importance.GroupMagnitudeImportance(p=1),
        "taylor": tp.importance.GroupTaylorImportance(),
        "bn_scale": tp.importance.BNScaleImportance(),
        "fpgm": tp.importance.FPGMImportance(),
        "lamp": tp.importance.LAMPImportance(),
    }
    if name not in scorers:
        raise ValueError(f"Unknown importance {name!r}: use one of {', '.join(IMPORTANCES)}.")

    def score(group: ChannelGroup) -> Tensor:
        if name == "taylor":
            _check_gradients(group.depgraph_group)
        scores = scorers[name](group.depgraph_group)
        return magnitude(group.depgraph_group) if scores is None else scores  # pyright: ignore[reportReturnType]

    return score


class AttentionImportance:
    """How much a layer's spatial attention map changes when the channel is taken out of it.

    After ARPruning (Yuan et al. 2024, doi:10.1016/j.neunet.2024.106220), which ranks the channels of a layer by its
    attention map; here the map is the sum of squared activations over the channels (Zagoruyko & Komodakis 2017,
    arXiv:1612.03928), scaled to length 1, and a channel's score is the distance between the map with it and the map
    without it, averaged over images. Where there is but one position (squeeze-and-excite, dense layers) the score is
    the channel's share of the energy. The paper's search for the layers' ratios is not part of it.

    Args:
        model: the model that will be pruned.
        images: (B, C, H, W) representative inputs; some tens are enough.
    """

    def __init__(self, model: nn.Module, images: Tensor):
        self.model = model
        self.images = images
        self._state: object = None
        self._scores: dict[str, Tensor] = {}

    def __call__(self, group: ChannelGroup) -> Tensor:
        """(size,) scores of a group: the mean over its batch-norm outputs, or else over its own layer's output."""
        state = (widths(self.model), sum(parameter._version for parameter in self.model.parameters()))
        if state != self._state:  # pruned or trained since the last call
            self._scores = self._measure()
            self._state = state
        modules = dict(self.model.named_modules())
        outs = [slot.layer for slot in group.slots if slot.axis == "out" and group.per_channel(slot) == 1]
        norms = [name for name in outs if isinstance(modules[name], nn.modules.batchnorm._BatchNorm)]
        scores = torch.stack([self._scores[name] for name in norms or outs[:1]]).mean(0)  # (size,)
        return scores / scores.mean().clamp_min(1e-12)

    @torch.no_grad()
    def _measure(self) -> dict[str, Tensor]:
        """One forward pass over the images: layer name -> (channels,) scores."""
        scores: dict[str, Tensor] = {}
        modes = {module: module.training for module in self.model.modules()}
        handles = []
        for name, module in self.model.named_modules():
            if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm)):

                def score(module: nn.Module, _: tuple, output: Tensor, name: str = name) -> None:
                    scores[name] = _attention_change(output)

                handles.append(module.register_forward_hook(score))
        try:
            self.model.eval()(self.images.to(next(self.model.parameters()).device))
        finally:
            for handle in handles:
                handle.remove()
            for module, mode in modes.items():
                module.training = mode
        return scores


def _attention_change(output: Tensor) -> Tensor:
    """(B, C, ...) activations -> (C,) mean change of the attention map without each channel."""
    energy = output.flatten(2).square() if output.dim() > 2 else output.square()[..., None]  # (B, C, positions)
    whole = energy.sum(1, keepdim=True)  # (B, 1, positions)
    if energy.shape[2] == 1:
        return (energy / whole.clamp_min(1e-12)).mean((0, 2))
    unit = nn.functional.normalize(whole, dim=2)
    return (nn.functional.normalize(whole - energy, dim=2) - unit).norm(dim=2).mean(0)


def _check_gradients(depgraph_group: Any) -> None:
    for dep, _ in depgraph_group.items:
        weight = getattr(dep.target.module, "weight", None)
        if weight is not None and weight.grad is None:
            raise ValueError("Taylor importance needs gradients: prune between loss.backward() and zero_grad().")
