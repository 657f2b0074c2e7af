"""The lineage of a new run, from the run or released model that it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpe.io.errors import ConfigError
from hpe.io.records import from_json, read_record
from hpe.model.lineage import Ancestor, Lineage, RunOrigin, pruned
from hpe.model.zoo import released_card


def lineage_after(config: Mapping[str, Any]) -> Lineage:
    """The lineage of the run that `config` asks for: its parent's, the parent itself, and its own pruning."""
    lineage = Lineage() if config.get("parent") is None else _child_of(config["parent"])
    return pruned(lineage, config["prune"]) if config["command"] == "prune" else lineage


def _child_of(parent: str) -> Lineage:
    """The lineage of what descends from `parent`, a run folder or the name of a released model, unpruned so far."""
    card = released_card(parent)
    if card is not None:
        known = from_json(Lineage, card["lineage"], f"card of {parent}: lineage")
        last = Ancestor(card["id"], card["config"]["command"], parent, released=True)
    else:
        path = Path(parent) / "result.json"
        if not path.is_file():
            raise ConfigError(f"{parent}: no result.json there; give the folder of a finished run")
        origin = read_record(RunOrigin, path)
        known = origin.config.lineage
        last = Ancestor(origin.id, origin.config.command, Path(parent).resolve().name)
    return Lineage(known.family, known.sparsity, known.target, (*known.ancestors, last))
