"""The stages that made a network, for its card: what was asked for in each, checked, so that it can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpe.io.errors import FileError
from hpe.io.files import read_json
from hpe.io.records import from_json, read_record
from hpe.model.config import ModelConfig
from hpe.model.lineage import Ancestor, RunOrigin
from hpe.model.zoo import ModelNameError, released_card
from hpe.training.augment import AugmentConfig
from hpe.training.config import DistillConfig, FinetuneConfig, TrainConfig
from hpe.training.pruning_config import PruneConfig
from hpe.training.recalibrate import RecalibrateConfig

SECTIONS: dict[str, Any] = {
    "model": ModelConfig,
    "prune": PruneConfig,
    "finetune": FinetuneConfig,
    "recalibrate": RecalibrateConfig,
    "train": TrainConfig,
    "augment": AugmentConfig,
    "distill": DistillConfig,
}
"""The sections of a stage, and the dataclass of each. A stage may also have `stopped_after_epochs`: how many of
train.epochs it had when it was ended by hand."""
PATHS = (("distill", "teacher"), ("finetune", "rewind_to"), ("prune", "latency_table"))
"""The settings that are files or folders: a card tells their names alone."""


def recipe(run: Path) -> list[dict[str, Any]]:
    """What was asked for in each stage of a run, the first one first; folders by their names only.

    Raises:
        ModelNameError: if a run that it came from is neither where it was nor beside it.
    """
    stages = [stage(read_json(run / "config.json"))]
    ancestors = read_record(RunOrigin, run / "result.json").config.lineage.ancestors
    for ancestor in reversed(ancestors):
        if ancestor.released:
            card = released_card(str(ancestor.name))
            if card is None or card["id"] != ancestor.id:
                raise ModelNameError(f"{run}: started from the released model {ancestor.name}, which is another now")
            return [*card["parents"], card["config"], *stages]
        run = _find(ancestor, run)
        stages.insert(0, stage(read_json(run / "config.json")))
    return stages


def _find(ancestor: Ancestor, child: Path) -> Path:
    """The folder of a run's parent: where it was when the run was made, or beside the run."""
    written = Path(read_json(child / "config.json")["parent"])
    for place in (written, child.resolve().parent / str(ancestor.name)):
        if (place / "result.json").is_file() and read_record(RunOrigin, place / "result.json").id == ancestor.id:
            return place
    raise ModelNameError(f"{child}: its parent, run {ancestor.id}, is not in {written}; put it beside {child} again")


def stage(config: dict[str, Any]) -> dict[str, Any]:
    """What of a run's config.json goes into a card."""
    kept = {key: config[key] for key in ("command", *SECTIONS) if key in config}
    for section, key in PATHS:
        if kept.get(section, {}).get(key) is not None:
            kept[section] = {**kept[section], key: Path(kept[section][key]).name}
    return kept


def check_recipe(card: dict[str, Any]) -> None:
    """Raise FileError unless every stage of a card could be asked for again as it stands there."""
    for number, values in enumerate([*card["parents"], card["config"]], 1):
        where = f"card of {card['name']}: stage {number}"
        unknown = sorted(set(values) - {"command", "stopped_after_epochs", *SECTIONS})
        if unknown or not isinstance(values.get("command"), str):
            raise FileError(f"{where}: unknown section {', '.join(unknown)}" if unknown else f"{where}: no command")
        for name, kind in SECTIONS.items():
            if name in values:
                from_json(kind, values[name], f"{where}: {name}")
        if not isinstance(values.get("stopped_after_epochs", 1), int):
            raise FileError(f"{where}: stopped_after_epochs is {values['stopped_after_epochs']!r}, not int")
