"""What a run descends from: written into its config.json, read by report, export and release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TARGETS = ("params", "macs", "int8_bytes", "cycles", "ms", "board")


@dataclass(frozen=True)
class Ancestor:
    """One earlier stage of a network."""

    id: str | None
    """The id of its run; None where it was not kept."""
    command: str
    """train, prune, finetune or recalibrate."""
    name: str | None
    """The name of its folder, or of the released model; None where it was not kept."""
    released: bool = False
    """Whether the name is that of a released model."""


@dataclass(frozen=True)
class Lineage:
    """How a network was pruned, by itself or by an ancestor, and which runs it came from."""

    family: str = "dense"
    """dense, magnitude, channel or block; several joined by + where pruning of one kind followed another."""
    sparsity: float | None = None
    """Share of the weights (magnitude) or channels (channel) that the last pruning was to remove; None where a target
    or a number of blocks said how much."""
    target: dict[str, int | float | str] = field(default_factory=dict)
    """The limit that it was pruned to: params, macs, int8_bytes, cycles or ms with a number, or board with a name."""
    ancestors: tuple[Ancestor, ...] = ()
    """The runs that it came from, the first one first."""


@dataclass(frozen=True)
class RunConfig:
    """What every step needs to know of config.json."""

    command: str
    """train, prune, finetune or recalibrate."""
    lineage: Lineage
    """What the run descends from."""
    data: str | None = None
    """SPEC of the training data; None where a released model was exported."""
    val: str | None = None
    """SPEC of the validation data; None where there were none."""


@dataclass(frozen=True)
class RunOrigin:
    """What identifies a finished run, from its result.json."""

    id: str
    """The run's id."""
    config: RunConfig
    """What was asked for."""


def pruned(lineage: Lineage, prune: Mapping[str, Any]) -> Lineage:
    """`lineage` after one more pruning, given by the section `prune` of a config."""
    families = [] if lineage.family == "dense" else lineage.family.split("+")
    stages = ["channel", "magnitude"] if prune["method"] == "hybrid" else [prune["method"]]
    family = "+".join(dict.fromkeys([*families, *stages]))
    target = {name: prune[f"target_{name}"] for name in TARGETS if prune.get(f"target_{name}") is not None}
    by_target = bool(target) and prune["method"] != "hybrid"
    sparsity = None if by_target or prune["method"] == "block" else prune["final_sparsity"]
    return Lineage(family, sparsity, target or lineage.target, lineage.ancestors)
