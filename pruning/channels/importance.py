"""Scores that say how much each channel of a group matters; the lowest go first.

Torch-Pruning's own scores are used where it has them. Every score is normalised over its group (to a mean of 1, or by
LAMP), so that groups can be ranked against each other. Scores by what images show are in observed.py.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pruning.channels.groups import ChannelGroup
from pruning.errors import PruningError

Importance = Callable[[ChannelGroup], Tensor]
"""A group -> (size,) scores of its units."""

IMPORTANCES = ("magnitude", "l1", "taylor", "bn_scale", "fpgm", "lamp", "random")


class RandomImportance:
    """Uniform scores, drawn again at each call from a generator of its own: the control. Its state can be kept."""

    def __init__(self, seed: int = 0):
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, group: ChannelGroup) -> Tensor:
        """(size,) scores of a group."""
        return torch.rand(group.size, generator=self._generator)

    def state_dict(self) -> dict[str, Tensor]:
        """Flat: `generator`, uint8."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._generator.set_state(state["generator"].cpu())


def make_importance(name: str, seed: int = 0) -> Importance:
    """The scoring function of a name.

    - magnitude, l1: L2 or L1 norm of all weights that go with the channel (Li et al. 2017, arXiv:1608.08710).
    - taylor: first-order change of the loss, |w * gradient| (Molchanov et al. 2019, arXiv:1906.10771).
    - bn_scale: |gamma| of batch-norm (Liu et al. 2017, arXiv:1708.06519); groups without one: magnitude.
    - fpgm: distance from the other filters (He et al. 2019, arXiv:1811.00250).
    - lamp: magnitude, normalised by what would be left (Lee et al. 2021, arXiv:2010.07611).
    - random: uniform, from `seed`; the control.

    For a ranking by what images show, pass an importance of observed.py where a name is taken.

    Raises:
        PruningError: where gradients are missing, once it is called.
    """
    import torch_pruning as tp

    if name == "random":
        return RandomImportance(seed)
    magnitude = tp.importance.GroupMagnitudeImportance(p=2)
    scorers = {
        "magnitude": magnitude,
        "l1": tp.importance.GroupMagnitudeImportance(p=1),
        "taylor": tp.importance.GroupTaylorImportance(),
        "bn_scale": tp.importance.BNScaleImportance(),
        "fpgm": tp.importance.FPGMImportance(),
        "lamp": tp.importance.LAMPImportance(),
    }

    def score(group: ChannelGroup) -> Tensor:
        if name == "taylor":
            _check_gradients(group.depgraph_group)
        found = group.depgraph_group
        try:
            scores: Any = scorers[name](found)
        except (RuntimeError, IndexError) as error:  # of some of Torch-Pruning's scores, on grouped convolutions
            raise PruningError(
                f"The importance {name!r} cannot score the channels of {group.name} ({error}): take another one."
            ) from error
        return group.mean_over_units(magnitude(found) if scores is None else scores)  # pyright: ignore[reportArgumentType]

    return score


def _check_gradients(depgraph_group: Any) -> None:
    for dep, _ in depgraph_group.items:
        weight = getattr(dep.target.module, "weight", None)
        if weight is not None and weight.grad is None:
            raise PruningError("Taylor importance needs gradients: prune between loss.backward() and zero_grad().")
