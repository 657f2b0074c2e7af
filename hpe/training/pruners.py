"""From what a config says to what `pruning` does: pruners, dropped blocks, rewound weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from export.micro.boards import find_board, planned_limits
from hpe.data.faces import Faces
from hpe.model.net import HeadPoseNet, example_input, load_model
from hpe.model.preprocess import centre_crop, preprocess_torch
from hpe.training.config import TARGETS, ConfigError, PruneConfig
from pruning.blocks import drop_blocks
from pruning.channels.growing import GrowingRegPruner
from pruning.channels.observed import AttentionImportance, SensitivityImportance
from pruning.channels.pruner import ChannelPruner
from pruning.schedule import ConstantSparsity, PolynomialDecay
from pruning.stats import stats
from pruning.weights.magnitude import MagnitudePruner
from pruning.weights.masks import prunable_weights, rewind

if TYPE_CHECKING:
    from torch import Tensor

    from hpe.training.state import Pruner

LOOKED_AT = 64
"""Faces by which the blocks that add least are found, and channels ranked by attention maps."""

LOOKED_AT_FOR_SENSITIVITY = 256
"""Faces by which channels are ranked by sensitivity: a mean of squares needs more."""


def make_pruner(
    network: HeadPoseNet, prune: PruneConfig, epochs: int, steps: int, faces: Faces | None = None
) -> Pruner:
    """The pruner of a config: epochs become optimiser steps, `steps` of them an epoch.

    `faces` are what some rankings look at; the others need none.
    """
    begin, end = _pruning_steps(prune, epochs, steps)
    masks, channels = prune.masks, prune.channels
    limits = channel_limits(network, prune)
    shares = _shares_to_go(network, limits)
    final = max(shares.values(), default=prune.final_sparsity)
    if prune.schedule == "constant":
        schedule = ConstantSparsity(final, begin, end, prune.frequency)
    else:
        schedule = PolynomialDecay(min(prune.initial_sparsity, final), final, begin, end, frequency=prune.frequency)
    if prune.method == "magnitude":
        places = {"include": masks.include, "exclude": masks.exclude, "depthwise": masks.depthwise}
        return MagnitudePruner(network, schedule, masks.scope, score=masks.score, **places)
    options = {"importance": channels.importance, "ranking": channels.ranking, "round_to": channels.round_to}
    options |= {"min_channels": channels.min_channels, "ignored": channels.ignored}
    if channels.importance in ("attention", "sensitivity"):
        if faces is None:
            raise ConfigError(f"--importance {channels.importance} looks at faces, and none were given")
        if channels.importance == "attention":
            options["importance"] = AttentionImportance(network, some_crops(faces))
        else:
            crops = some_crops(faces, LOOKED_AT_FOR_SENSITIVITY)
            options["importance"] = SensitivityImportance(network, crops, limits)
    if channels.grow:
        goal = limits or {"ratio": final}
        return GrowingRegPruner(network, example_input(), begin_step=begin, end_step=end, **goal, **options)
    measure = {name: share / final for name, share in shares.items()} or "channels"
    return ChannelPruner(network, example_input(), schedule, measure=measure, **options)


def _pruning_steps(prune: PruneConfig, epochs: int, steps: int) -> tuple[int, int]:
    """First and last step of the schedule; the last is rounded down to a pruning step, so that all of it is met."""
    end_epoch = prune.end_epoch if prune.end_epoch is not None else max(prune.begin_epoch + 1, round(epochs * 2 / 3))
    if prune.begin_epoch >= epochs or end_epoch > epochs:
        raise ConfigError(f"pruning from epoch {prune.begin_epoch} to {end_epoch} does not fit into --epochs {epochs}")
    begin, end = prune.begin_epoch * steps, end_epoch * steps
    last = begin + (end - begin) // prune.frequency * prune.frequency
    if last == begin:
        raise ConfigError(f"--frequency {prune.frequency} is more than the {end - begin} steps of pruning")
    return begin, last


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
