"""From what a config says to what `pruning` does: pruners, dropped blocks, rewound weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from export.micro.boards import find_board, planned_limits
from hpe.data.faces import Faces
from hpe.io.errors import ConfigError
from hpe.model.net import HeadPoseNet, example_input, load_model
from hpe.model.preprocess import preprocess_torch
from hpe.pose.crop import centre_crop
from hpe.training.config import TARGETS, MaskConfig, PruneConfig
from hpe.training.timing import settled
from pruning.blocks import drop_blocks
from pruning.channels.growing import GrowingRegPruner
from pruning.channels.observed import AttentionImportance, SensitivityImportance
from pruning.channels.pruner import ChannelPruner
from pruning.schedule import ConstantSparsity, PolynomialDecay, Schedule
from pruning.stats import stats
from pruning.weights.frozen import ZeroKeeper
from pruning.weights.magnitude import MagnitudePruner
from pruning.weights.masks import prunable_weights, rewind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hpe.training.state import Pruner

LOOKED_AT = 64
"""Faces by which the blocks that add least are found, and channels ranked by attention maps."""

MASKED = 0.001
"""A network with a larger share of exact zeros was masked."""

LOOKED_AT_FOR_SENSITIVITY = 256
"""Faces by which channels are ranked by sensitivity: a mean of squares needs more."""


class KeepingZeros:
    """A pruner, and the zeros that the network came with: they stay zero, whatever the pruner does."""

    def __init__(self, network: HeadPoseNet, pruner: Pruner) -> None:
        self.network, self.pruner = network, pruner
        self._parameters = list(network.parameters())
        self._zeros = ZeroKeeper(network)

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Zero what was zero, then let the pruner act; True where that changed the network."""
        self._zeros.step(optimizer)
        changed = self.pruner.step(optimizer)
        if changed:
            self._follow()
        return changed

    def state_dict(self) -> dict[str, Tensor | int | float]:
        """The pruner's: the zeros are in the weights."""
        return self.pruner.state_dict()

    def load_state_dict(self, state: dict[str, Tensor | int | float]) -> None:
        """Go on where `state_dict` was taken. Load the network's weights first."""
        self.pruner.load_state_dict(state)
        self._follow()

    def _follow(self) -> None:
        """Where channels were cut, the weights are new objects: what is zero in them now is what was zero before."""
        parameters = list(self.network.parameters())
        if any(new is not old for new, old in zip(parameters, self._parameters, strict=True)):
            self._parameters, self._zeros = parameters, ZeroKeeper(self.network)


def make_pruner(
    network: HeadPoseNet, prune: PruneConfig, epochs: int, steps: int, faces: Faces | None = None, seed: int = 0
) -> Pruner:
    """The pruner of a config: epochs become optimiser steps, `steps` of them an epoch.

    `faces` are what some rankings look at; the others need none. `seed` is for random scores.

    Raises:
        ConfigError: if the config does not suit the network or the length of the run.
    """
    prune = settled(prune, epochs, steps)
    try:
        if prune.method == "magnitude":
            return _mask_pruner(network, prune, make_schedule(prune, steps), seed)
        return _channel_pruner(network, prune, steps, faces)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def make_schedule(prune: PruneConfig, steps: int, final: float | None = None) -> Schedule:
    """The schedule of a settled config in optimiser steps; `final` takes the place of its final sparsity.

    The last step is rounded down to a pruning step, so that the final sparsity is met.
    """
    assert prune.end_epoch is not None
    assert prune.frequency is not None
    final = prune.final_sparsity if final is None else final
    begin, span = prune.begin_epoch * steps, (prune.end_epoch - prune.begin_epoch) * steps
    end = begin + span // prune.frequency * prune.frequency
    if prune.schedule == "constant":
        return ConstantSparsity(final, begin, end, prune.frequency)
    return PolynomialDecay(prune.initial_sparsity, final, begin, end, frequency=prune.frequency)


def _mask_pruner(network: HeadPoseNet, prune: PruneConfig, schedule: Schedule, seed: int) -> Pruner:
    masks = prune.masks
    _check_masked_parent(prune, zero_share(_prunable(network, masks)))
    places = {"include": masks.include, "exclude": masks.exclude, "depthwise": masks.depthwise}
    pruner = MagnitudePruner(network, schedule, masks.scope, score=masks.score, seed=seed, **places)
    return KeepingZeros(network, pruner)


def _prunable(network: HeadPoseNet, masks: MaskConfig) -> Mapping[str, Tensor]:
    """The weights that the config allows to be masked."""
    return prunable_weights(network, masks.include, masks.exclude, masks.depthwise)


def _check_masked_parent(prune: PruneConfig, share: float) -> None:
    """Zeros of the network to prune stay; what cannot be met with them is refused."""
    if share < MASKED:
        return
    has = f"{share:.1%} of these weights are zero already, and stay so"
    if prune.falls:
        raise ConfigError(f"{has}: a falling schedule would bring them back; start from a dense run")
    if prune.masks.score != "magnitude":
        raise ConfigError(f"{has}: --score {prune.masks.score} would drop others besides; take --score magnitude")
    if prune.final_sparsity <= share:
        raise ConfigError(f"{has}: --final-sparsity {prune.final_sparsity} leaves nothing to prune; give more")


def zero_share(weights: Mapping[str, Tensor]) -> float:
    """The share of weights that are exactly zero."""
    total = sum(weight.numel() for weight in weights.values())
    return 1 - sum(int(weight.count_nonzero()) for weight in weights.values()) / total


def _channel_pruner(network: HeadPoseNet, prune: PruneConfig, steps: int, faces: Faces | None) -> Pruner:
    channels, limits = prune.channels, channel_limits(network, prune)
    shares = _shares_to_go(network, limits)
    final = max(shares.values(), default=prune.final_sparsity)
    options = {"importance": channels.importance, "ranking": channels.ranking, "round_to": channels.round_to}
    options |= {"min_channels": channels.min_channels, "ignored": channels.ignored}
    if channels.importance in ("attention", "sensitivity"):
        options["importance"] = _observed(network, channels.importance, faces, limits)
    if channels.grow:
        assert prune.end_epoch is not None
        goal, end = limits or {"ratio": final}, prune.end_epoch * steps
        growing = GrowingRegPruner(
            network, example_input(), begin_step=prune.begin_epoch * steps, end_step=end, **goal, **options
        )
        return KeepingZeros(network, growing)
    if prune.initial_sparsity > final:
        raise ConfigError(
            f"--initial-sparsity {prune.initial_sparsity} is more than the target takes ({final:.3f}): "
            "removed channels do not come back"
        )
    measure = {name: share / final for name, share in shares.items()} or "channels"
    schedule = make_schedule(prune, steps, final)
    return KeepingZeros(network, ChannelPruner(network, example_input(), schedule, measure=measure, **options))


def _observed(
    network: HeadPoseNet, importance: str, faces: Faces | None, limits: dict[str, int]
) -> AttentionImportance | SensitivityImportance:
    """A ranking by what faces show."""
    if faces is None:
        raise ConfigError(f"--importance {importance} looks at faces, and none were given")
    if importance == "attention":
        return AttentionImportance(network, some_crops(faces))
    return SensitivityImportance(network, some_crops(faces, LOOKED_AT_FOR_SENSITIVITY), limits)


def check_network(network: HeadPoseNet, prune: PruneConfig) -> None:
    """Refuse what does not suit the network, before any data are read: patterns, its zeros, a target that is met."""
    try:
        if prune.method == "magnitude":
            _check_masked_parent(prune, zero_share(_prunable(network, prune.masks)))
        elif prune.method == "channel":
            channel_limits(network, prune)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


def channel_limits(network: HeadPoseNet, prune: PruneConfig) -> dict[str, int]:
    """What the config's target allows, by what is counted (params, macs, int8_bytes); empty where it has no target.

    Limits that the network meets already are left out.

    Raises:
        ConfigError: if it meets all of them.
    """
    now = stats(network, example_input())
    if prune.target_board is not None:
        limits = planned_limits(find_board(prune.target_board))
        flag = f"--target-board {prune.target_board}"
    else:
        targets = {measure: getattr(prune, f"target_{measure}") for measure in TARGETS}
        limits = {measure: target for measure, target in targets.items() if target is not None}
        flag = " ".join(f"--target-{name.replace('_', '-')} {limit:,}" for name, limit in limits.items())
    wanting = {name: limit for name, limit in limits.items() if limit < getattr(now, name)}
    if limits and not wanting:
        has = ", ".join(f"{getattr(now, name):,} {name} of {limit:,}" for name, limit in limits.items())
        raise ConfigError(f"{flag} is met by the net as it is ({has}); nothing to prune")
    return wanting


def _shares_to_go(network: HeadPoseNet, limits: dict[str, int]) -> dict[str, float]:
    """The share of what the network has that must go, for each limit."""
    now = stats(network, example_input())
    return {name: 1 - limit / getattr(now, name) for name, limit in limits.items()}


def drop_least_blocks(network: HeadPoseNet, faces: Faces, count: int) -> list[str]:
    """Drop the residual blocks that add least on some faces, in place; returns their names."""
    return drop_blocks(network, some_crops(faces), count=count)


def some_crops(faces: Faces, count: int = LOOKED_AT) -> Tensor:
    """`count` faces, evenly spread over the data, as the network takes them: float32 (count, 3, 64, 64)."""
    import numpy as np
    import torch

    chosen = np.linspace(0, len(faces) - 1, min(count, len(faces))).astype(int)
    return preprocess_torch(torch.from_numpy(centre_crop(faces.images[chosen])))


def rewind_to(network: HeadPoseNet, run: Path) -> None:
    """Give a masked network the weights of run `run`, masked as it is; the two must be of one architecture."""
    masks = {name: weight != 0 for name, weight in prunable_weights(network, depthwise=True).items()}
    early = load_model(run).state_dict()
    if {name: tensor.shape for name, tensor in early.items()} != {n: t.shape for n, t in network.state_dict().items()}:
        raise ConfigError(f"--rewind-to {run}: not of the pruned run's architecture; give a run that it came from")
    rewind(network, early, masks)
