"""What a target of channel pruning allows, what the network has of it now, and the widths and ranking that suit it."""

from __future__ import annotations

from export.micro.boards import find_board, planned_limits
from hpe.io.errors import ConfigError
from hpe.model.net import HeadPoseNet, example_input
from hpe.training.latency import NS_PER_MS, make_price, network_latency
from hpe.training.pruning_config import TARGETS, PruneConfig
from pruning.stats import stats


def ranking_of(prune: PruneConfig) -> str:
    """--ranking, or what suits the target."""
    timed = prune.target_cycles is not None or prune.target_ms is not None
    return prune.channels.ranking or ("knapsack" if timed else "local")


def round_to_of(prune: PruneConfig) -> int:
    """--round-to, or as many channels as the target's kernels take at a time."""
    if prune.channels.round_to is not None:
        return prune.channels.round_to
    if prune.target_board is not None:
        return 8 if find_board(prune.target_board).is_linux else 4
    return 4 if prune.target_cycles is not None else 8 if prune.target_ms is not None else 1


def channel_limits(network: HeadPoseNet, prune: PruneConfig) -> dict[str, tuple[int, int]]:
    """What the config's target allows, and what the network has now: params, macs, int8_bytes, or latency.

    Empty where it has no target. Limits that the network meets already are left out.

    Raises:
        ConfigError: if it meets all of them.
    """
    if prune.target_board is not None:
        limits: dict[str, float] = dict(planned_limits(find_board(prune.target_board)))
        flag = f"--target-board {prune.target_board}"
    else:
        targets = {measure: getattr(prune, f"target_{measure}") for measure in TARGETS}
        limits = {measure: target for measure, target in targets.items() if target is not None}
        flag = " ".join(f"--target-{name.replace('_', '-')} {limit:,}" for name, limit in limits.items())
    if not limits:
        return {}
    has = {name: _has(network, prune, name) for name in limits}
    wanting = {name: (limit, has[name]) for name, limit in limits.items() if limit < has[name]}
    if not wanting:
        texts = ", ".join(f"{has[name]:,.6g} {name} of {limit:,}" for name, limit in limits.items())
        raise ConfigError(f"{flag} is met by the net as it is ({texts}); nothing to prune")
    return dict(_in_units(name, *numbers) for name, numbers in wanting.items())


def _has(network: HeadPoseNet, prune: PruneConfig, measure: str) -> float:
    """What the network has of a target's measure now."""
    if measure not in ("cycles", "ms"):
        return getattr(stats(network, example_input()), measure)
    price = make_price(network, prune)
    assert price is not None
    latency = network_latency(network, price)
    return latency / NS_PER_MS if measure == "ms" else latency


def _in_units(measure: str, limit: float, now: float) -> tuple[str, tuple[int, int]]:
    """A limit and what there is now, by the name and in the unit in which `pruning` counts it."""
    scale = NS_PER_MS if measure == "ms" else 1
    name = "latency" if measure in ("cycles", "ms") else measure
    return name, (int(limit * scale), round(now * scale))
