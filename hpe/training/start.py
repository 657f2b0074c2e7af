"""What is checked before a run begins: nothing heavy has been imported, rendered or decoded by then."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpe.data.spec import DataError, parse_spec
from hpe.io.configs import from_dict, to_dict
from hpe.io.errors import ConfigError, HpeError
from hpe.io.files import is_temporary, read_json
from hpe.model.checkpoint import checkpoint_folder
from hpe.training.config import Recipe, flag
from hpe.training.pruning_config import PruneConfig

Report = Callable[[str], None]

LAST = "last.safetensors"
"""The state after the last whole epoch, in the run folder until the run is finished."""
TAUGHT = "taught.safetensors"
"""The mixed labels (N, 3) of a teacher that was asked once, likewise, so that a run that goes on asks nobody again."""
LOCK = ".training"
"""Held by the program that trains the run."""


class RunError(HpeError, RuntimeError):
    """A run folder that cannot be used as asked; the message names it and the remedy."""


@dataclass(frozen=True)
class Request:
    """What a run was asked for."""

    out: Path
    """Its folder."""
    what: dict[str, Any]
    """The command and its settings, as config.json holds them beside the recipe."""
    recipe: Recipe
    """How to train."""
    resume: bool
    """Go on with what is in the folder."""
    report: Report
    """Takes lines for the user."""

    @property
    def config(self) -> dict[str, Any]:
        """What config.json holds."""
        return self.what | to_dict(self.recipe)


def is_finished(request: Request) -> bool:
    """Check all that can be checked at once; True where --resume was given and the run is finished.

    Raises:
        RunError: if the folder holds anything that the run would overwrite or cannot go on with.
        HpeError: if data or a network that the run starts from are not there.
    """
    out = request.out
    if not (out / "config.json").exists() and not (out / "result.json").exists():
        _check_new(out)
        check_inputs(request.recipe)
        return False
    finished = (out / "result.json").exists()
    if not request.resume:
        state, remedy = ("a finished", "delete the folder first") if finished else ("an unfinished", "add --resume")
        raise RunError(f"{out}: holds {state} run; give another --out, or {remedy}")
    changed = list(_changed(read_config(out), request, finished))
    if changed:
        what = "is finished, with another" if finished else "--resume with another"
        further = f", or train it further: hpe finetune {out}" if finished else ""
        raise RunError(f"{out}: {what} {', '.join(changed)}; give the old settings or another --out{further}")
    if finished:
        clear_finished(out)
        request.report(f"{out}: this run is finished, there is nothing to resume")
        return True
    check_inputs(request.recipe)
    return False


def read_config(out: Path) -> dict[str, Any]:
    """What OUT/config.json holds.

    Raises:
        RunError: if it is no config of a run.
    """
    path = out / "config.json"
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); restore it, or start again in another --out") from None
    if not isinstance(config, dict) or not isinstance(config.get("command"), str):
        raise RunError(f"{path}: holds no settings of a run; restore it, or start again in another --out")
    return config


def keep_schedule(prune: PruneConfig, out: Path, resume: bool) -> PruneConfig:
    """The config with --end-epoch and --frequency of the run to resume, where they were left out."""
    if not resume or not (out / "config.json").exists():
        return prune
    try:
        saved = from_dict(PruneConfig, read_config(out).get("prune"))
    except ConfigError as error:
        raise RunError(f"{out / 'config.json'}: damaged ({error}); start again in another --out") from None
    end = prune.end_epoch if prune.end_epoch is not None else saved.end_epoch
    return replace(prune, end_epoch=end, frequency=prune.frequency or saved.frequency)


def check_other_folder(source: Path, out: Path) -> None:
    """Refuse to overwrite the run that is started from."""
    if out.resolve() == source.resolve():
        raise ConfigError(f"--out {out} is the run to start from; give another folder, so that it stays as it is")


def check_board(name: str) -> None:
    """Refuse a board that is not known."""
    from export.errors import ExportError
    from export.micro.boards import find_board

    try:
        find_board(name)
    except (ExportError, ValueError) as error:
        raise ConfigError(f"--target-board {name}: {error}") from None


def check_inputs(recipe: Recipe) -> None:
    """Refuse data and teachers that are not there."""
    for spec in (recipe.data, recipe.val):
        for part in parse_spec(spec) if spec else []:
            if part.kind != "synthetic" and not part.path.is_dir():
                raise DataError(f"{part.path}: there is no such folder; check the path in '{part}'.")
    if recipe.distill.teacher is not None:
        checkpoint_folder(recipe.distill.teacher)


def clear_leftovers(out: Path) -> None:
    """Delete the temporary files of a run that was killed while it wrote."""
    for path in _leftovers(out):
        path.unlink(missing_ok=True)


def clear_finished(out: Path) -> None:
    """Delete what only a run that is not finished needs."""
    for name in (LAST, TAUGHT, LOCK):
        (out / name).unlink(missing_ok=True)


def _leftovers(out: Path) -> list[Path]:
    return [path for path in out.iterdir() if is_temporary(path) and path.is_file()]


def _check_new(out: Path) -> None:
    """Refuse a folder that holds something else, or that cannot be written."""
    if out.exists() and (not out.is_dir() or set(out.iterdir()) - {*_leftovers(out), out / LOCK}):
        raise RunError(f"{out}: exists and is no run folder; give another --out")
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise RunError(f"{out}: {place} is no folder that can be written; give another --out")


def _changed(saved: dict[str, Any], request: Request, finished: bool) -> Iterator[str]:
    """What the request has otherwise than the saved config, as flags with their old values."""
    free = {"train.device", "train.compile"}
    if request.recipe.train.lr_schedule == "plateau" and not finished:
        free.add("train.epochs")
    now, before = dict(_leaves(request.config)), dict(_leaves(saved))
    for name, value in now.items():
        unknown_then = name not in before and not value  # a switch that is off, and that there was not yet
        if name not in free and not unknown_then and before.get(name) != value:
            yield f"{flag(name.rpartition('.')[2])} (was {before.get(name, 'not there')})"


def _leaves(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
