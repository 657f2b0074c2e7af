"""When pruning happens in a run: its last epoch and the steps between two cuts, where they were left out."""

from __future__ import annotations

from dataclasses import replace

from hpe.io.errors import ConfigError
from hpe.training.pruning_config import PruneConfig

MOST_STEPS = 100
"""Steps between two pruning steps in TF-MOT, whose schedules these are."""
CUTS = 20
"""Pruning steps that a short run has at least, where it has as many steps."""


def settled(prune: PruneConfig, epochs: int, steps: int) -> PruneConfig:
    """The config with what was left out filled in, for `epochs` of `steps` optimiser steps.

    This is what a run keeps, so that a later --epochs does not move the schedule.

    Raises:
        ConfigError: if the schedule does not fit into the run.
    """
    if prune.method == "block":
        return prune
    check_epochs(prune, epochs)
    end = last_epoch(prune, epochs)
    span = (end - prune.begin_epoch) * steps
    least = span // 2 // steps * steps if prune.method == "hybrid" else span  # first channels, then masks
    if prune.frequency is not None and prune.frequency > max(least, 1):
        raise ConfigError(
            f"--frequency {prune.frequency} is more than the {least} steps of pruning; give {least} or fewer, or none"
        )
    if prune.channels.grow:
        return replace(prune, end_epoch=end)
    return replace(prune, end_epoch=end, frequency=prune.frequency or sensible_frequency(span))


def last_epoch(prune: PruneConfig, epochs: int) -> int:
    """--end-epoch, or two thirds of the epochs."""
    return prune.end_epoch if prune.end_epoch is not None else max(prune.begin_epoch + 1, round(epochs * 2 / 3))


def check_epochs(prune: PruneConfig, epochs: int) -> None:
    """Refuse a schedule that does not fit into the epochs of the run."""
    end = last_epoch(prune, epochs)
    if prune.method != "block" and (prune.begin_epoch >= epochs or end > epochs):
        raise ConfigError(
            f"pruning from epoch {prune.begin_epoch} to {end} does not fit into --epochs {epochs}; give "
            "--begin-epoch and --end-epoch within it, or more --epochs"
        )


def sensible_frequency(span: int) -> int:
    """Steps between two pruning steps: 100 as in TF-MOT, or a twentieth of the `span`; one that divides it if near."""
    most = max(1, min(MOST_STEPS, span // CUTS))
    return next((steps for steps in range(most, most // 2, -1) if span % steps == 0), most)
