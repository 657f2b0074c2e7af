"""The running average of the weights, which is what is evaluated and kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of all parameters and statistics; young averages forget faster (as in timm).

    A weight that is exactly zero in the live model is zero in the average too, so a mask holds for both. Where a layer
    changed shape (channels were removed), its average starts again; integers (the batches that batch-norm counted) are
    the live ones. The live tensors are looked up once, not at every step: call `follow` where tensors were replaced,
    and `restart` where the network itself changed.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live: dict[str, Tensor] = {}
        self._average: dict[str, Tensor] = {}
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Take up the tensors that the model has now; an average of the right shape goes on."""
        live = {name: tensor.detach() for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
        kept = {name: tensor for name, tensor in self._average.items() if name in live}
        self._average = {
            name: kept[name] if name in kept and kept[name].shape == tensor.shape else tensor.clone()
            for name, tensor in live.items()
        }
        self._live = live

    def restart(self, model: nn.Module) -> None:
        """Begin again at the weights that the model has now, as a young average: those before are another network's."""
        self._average, self.updates = {}, 0
        self.follow(model)

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the live weights, once per optimiser step."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self._average.values()), list(self._live.values()), weight)  # pyright: ignore[reportPrivateImportUsage]

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """The averaged state dict, with zeros wherever the live weight is exactly zero."""
        state = model.state_dict()
        averaged = {name: torch.where(state[name] == 0, state[name], tensor) for name, tensor in self._average.items()}
        return {**state, **averaged}

    def state_dict(self) -> dict[str, Tensor]:
        """The averages, by the names of the model's state."""
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, averages: dict[str, Tensor], updates: int) -> None:
        """Go on where `state_dict` was taken, on a model that has its shapes again (`follow` it first).

        Raises:
            ValueError: if the averages are of another model.
        """
        if {n: t.shape for n, t in averages.items()} != {n: t.shape for n, t in self._average.items()}:
            raise ValueError("the averages are of another model")
        for name, tensor in averages.items():
            self._average[name].copy_(tensor)  # in place: the memory layout stays that of the model
        self.updates = updates
