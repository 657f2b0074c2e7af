"""From what a config says to what `pruning` does: pruners, dropped blocks, rewound weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpe.config import TARGETS, ConfigError, PruneConfig
from hpe.datasets import Faces
from hpe.model import HeadPoseNet, example_input, load_model
from hpe.transforms import centre_crop, preprocess_torch
from pruning.blocks import drop_blocks
from pruning.channels import ChannelPruner
from pruning.growing import GrowingRegPruner
from pruning.magnitude import MagnitudePruner
from pruning.masks import prunable_weights, rewind
from pruning.schedule import ConstantSparsity, PolynomialDecay
from pruning.stats import stats

if TYPE_CHECKING:
    from hpe.train_state import Pruner

LOOKED_AT = 64
"""Faces by which the blocks that add least are found."""


def make_pruner(network: HeadPoseNet, prune: PruneConfig, epochs: int, steps: int) -> Pruner:
    """The pruner of a config: epochs become optimiser steps, `steps` of them an epoch."""
    begin, end = _pruning_steps(prune, epochs, steps)
    masks, channels = prune.masks, prune.channels
    measure, final = _channel_goal(network, prune)
    if prune.schedule == "constant":
        schedule = ConstantSparsity(final, begin, end, prune.frequency)
    else:
        schedule = PolynomialDecay(min(prune.initial_sparsity, final), final, begin, end, frequency=prune.frequency)
    if prune.method == "magnitude":
        places = {"include": masks.include, "exclude": masks.exclude, "depthwise": masks.depthwise}
        return MagnitudePruner(network, schedule, masks.scope, score=masks.score, **places)
    options = {"importance": channels.importance, "ranking": channels.ranking, "round_to": channels.round_to}
    options |= {"min_channels": channels.min_channels, "ignored": channels.ignored}
    if channels.grow:
        target = {measure: getattr(prune, f"target_{measure}")} if measure in TARGETS else {"ratio": final}
        return GrowingRegPruner(network, example_input(), begin_step=begin, end_step=end, **target, **options)
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


def _channel_goal(network: HeadPoseNet, prune: PruneConfig) -> tuple[str, float]:
    """What sparsity is a fraction of, and its final value: that of the config, or the one that meets its target."""
    for measure in TARGETS:
        target = getattr(prune, f"target_{measure}")
        if target is None:
            continue
        now = getattr(stats(network, example_input()), measure)
        if target >= now:
            flag = f"--target-{measure.replace('_', '-')}"
            raise ConfigError(f"{flag} {target:,} is no less than what the net has ({now:,}); nothing to prune")
        return measure, 1 - target / now
    return "channels", prune.final_sparsity


def drop_least_blocks(network: HeadPoseNet, faces: Faces, count: int) -> list[str]:
    """Drop the residual blocks that add least on the first faces, in place; returns their names."""
    import numpy as np
    import torch

    crops = np.ascontiguousarray(centre_crop(faces.images[:LOOKED_AT]))
    return drop_blocks(network, preprocess_torch(torch.from_numpy(crops)), count=count)


def rewind_to(network: HeadPoseNet, run: Path) -> None:
    """Give a masked network the weights of run `run`, masked as it is; the two must be of one architecture."""
    masks = {name: weight != 0 for name, weight in prunable_weights(network, depthwise=True).items()}
    early = load_model(run).state_dict()
    if {name: tensor.shape for name, tensor in early.items()} != {n: t.shape for n, t in network.state_dict().items()}:
        raise ConfigError(f"--rewind-to {run}: not of the pruned run's architecture; give a run that it came from")
    rewind(network, early, masks)
