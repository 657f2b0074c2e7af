"""A study -> its runs: axes multiplied out, seeds, twins, and the published row beside each."""

from __future__ import annotations

import copy
import csv
import itertools
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hpe.io.configs import from_dict, to_dict
from hpe.io.errors import ConfigError, require
from hpe.model.config import ModelConfig
from hpe.study.paper import EPOCHS
from hpe.study.planned import PlannedRun, RunSettings, TwinTarget
from hpe.study.spec import RowSpec, StudyError, StudySpec, TwinSpec
from hpe.training.config import Recipe, TrainConfig
from hpe.training.pruning_config import MaskConfig, PruneConfig
from hpe.training.timing import check_epochs

WINDOW = ("begin_epoch", "end_epoch")
GRID = ("schedule", "initial_sparsity", "final_sparsity", *WINDOW)
"""What a published row is recognised by, beside its kind of masks."""


def expand(study: StudySpec, folder: Path) -> list[PlannedRun]:
    """All runs of a study in the order of its rows; `folder` is that of the TOML.

    Raises:
        StudyError: naming the row that cannot be run, and why.
    """
    runs: list[PlannedRun] = []
    rows = [row for spec in study.rows for row in multiplied(spec)]
    for name in study.more_seeds:
        if not any(fnmatchcase(row.name, name) for row in rows):
            known = ", ".join(row.name for row in rows)
            raise StudyError(f"{study.name}: more_seeds for '{name}', but there is no such row; there are {known}")
    published = _published(study, folder)
    for row in rows:
        try:
            runs += [_run(study, row, seed, published) for seed in seeds_of(study, row)]
        except ConfigError as error:
            raise StudyError(f"{study.name}: row '{row.name}': {error}") from None
    rows = list(runs)
    for twin in study.twins:
        runs += list(_twins(study, twin, rows))
    _check_names(study, runs)
    _check_ids(study, runs)
    names = {run.row for run in runs}
    for run in runs:
        if run.against is not None and run.against not in names - {run.row}:
            raise StudyError(f"{study.name}: row '{run.row}' is against '{run.against}', which is no other row")
    return runs


def seeds_of(study: StudySpec, row: RowSpec) -> list[int]:
    """The seeds of a row, its own or the study's, and those that `more_seeds` adds."""
    more = [seed for name, seeds in study.more_seeds.items() if fnmatchcase(row.name, name) for seed in seeds]
    return list(dict.fromkeys([*(study.seeds if row.seeds is None else row.seeds), *more]))


def multiplied(spec: RowSpec) -> list[RowSpec]:
    """The rows of all combinations of a row's axes; the last axis changes fastest."""
    if not spec.axes:
        return [spec]
    rows = []
    for values in itertools.product(*spec.axes.values()):
        tables = {name: copy.deepcopy(getattr(spec, name)) for name in ("prune", "model", "train")}
        for key, value in zip(spec.axes, values, strict=True):
            _set(tables, key, value)
        against = None if spec.against is None else _name(spec.against, tables)
        rows.append(replace(spec, axes={}, name=_name(spec.name, tables), against=against, **tables))
    return rows


def _set(tables: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of a row; the key "prune.window" sets begin_epoch and end_epoch."""
    section, *path = key.split(".")
    if section not in tables or not path:
        raise StudyError(f"axes: '{key}' must begin with prune., model. or train.")
    if key == "prune.window":
        if not isinstance(value, list) or len(value) != 2:
            raise StudyError(f"axes: prune.window has {value}; it must have pairs such as [0, 80]")
        tables["prune"] |= dict(zip(WINDOW, value, strict=True))
        return
    table = tables[section]
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise StudyError(f"axes: '{key}' goes into '{part}', which is {table!r} and no table")
    table[path[-1]] = value


def _name(pattern: str, tables: dict[str, Any]) -> str:
    """The pattern with {key} replaced by what the row has there."""
    known = dict(_leaves(tables))
    try:
        return pattern.format_map(known)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise StudyError(f"row '{pattern}': {error} is none of its settings ({', '.join(known)})") from None


def _leaves(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield name, value


def _run(study: StudySpec, row: RowSpec, seed: int, published: dict[tuple, list[int]]) -> PlannedRun:
    model = from_dict(ModelConfig, to_dict(study.model) | row.model)
    train = from_dict(TrainConfig, to_dict(study.train) | row.train | {"seed": seed})
    prune = _prune(study, row.prune, train.epochs) if row.prune else None
    settings = settings_of(study, model, train, prune)
    labels = _labels(row, study.schedule_epochs or train.epochs, train.epochs)
    repeats = row.role == "row" and labels["schedule_epochs"] == EPOCHS and _masks_as_published(prune)
    lines = published.get(tuple(labels.get(name) for name in GRID)) if repeats else None
    assert study.reference is not None or lines is None
    reference = {"file": Path(study.reference or "").name, "line": lines} if lines else None
    family = prune.method if prune else "dense"
    return PlannedRun(row.name, family, row.role, seed, settings, None, labels, reference, row.against)


def _masks_as_published(prune: PruneConfig | None) -> bool:
    """Whether weights are masked as in the published study: the smallest ones, layer by layer."""
    return prune is not None and (prune.method, prune.masks) == ("magnitude", MaskConfig())


def settings_of(study: StudySpec, model: ModelConfig, train: TrainConfig, prune: PruneConfig | None) -> RunSettings:
    """The settings of a run of this study."""
    data = study.data
    recipe = Recipe(data.train, data.val, data.skip_bad, train, study.augment)
    return RunSettings(model, recipe, prune, data.test, data.calibration, tuple(study.files.formats))


def _prune(study: StudySpec, values: dict[str, Any], epochs: int) -> PruneConfig:
    """The pruning of a row, its epochs those of the run."""
    of = study.schedule_epochs or epochs
    scaled = {name: _scaled(values[name], epochs, of) for name in WINDOW if name in values}
    prune = from_dict(PruneConfig, values | scaled)
    require(
        prune.method != "block", "--method block drops blocks of a trained network, which a study does not start from"
    )
    check_epochs(prune, epochs)
    return prune


def _scaled(epoch: Any, epochs: int, of: int) -> int:
    require(isinstance(epoch, int), f"epoch {epoch!r} must be a whole number")
    scaled, rest = divmod(epoch * epochs, of)
    require(rest == 0, f"epoch {epoch} of {of} is no whole epoch of {epochs}; take other epochs in [train]")
    return scaled


def _labels(row: RowSpec, of: int, epochs: int) -> dict[str, Any]:
    """What distinguishes a row: what its tables say, the epochs in the study's own count."""
    labels = dict(_leaves({"prune": row.prune, "model": row.model, "train": row.train}))
    if row.prune:
        labels.setdefault("schedule", "polynomial")
        labels.setdefault("begin_epoch", 0)
        if labels["schedule"] == "polynomial":
            labels.setdefault("initial_sparsity", 0.0)
    return labels | {"schedule_epochs": of, "epochs": epochs}


def _published(study: StudySpec, folder: Path) -> dict[tuple, list[int]]:
    """Published rows by their settings: the numbers of their rows in the file, from 1, the header not counted."""
    if study.reference is None:
        return {}
    path = folder / study.reference
    rows: dict[tuple, list[int]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), 1):
                constant = row["schedule"] == "constant"
                initial = None if constant else float(row["initial_sparsity"])
                window = (int(row["begin_epoch"]), int(row["end_epoch"]))
                key = (row["schedule"], initial, float(row["final_sparsity"]), *window)
                rows.setdefault(key, []).append(number)
    except (OSError, KeyError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read as published rows ({error}); correct `reference`") from None
    return rows


def _twins(study: StudySpec, twin: TwinSpec, runs: list[PlannedRun]) -> Iterator[PlannedRun]:
    """The twins of one entry, of every row that it names and every seed that this row has."""
    for pattern in twin.of:
        others = [run for run in runs if fnmatchcase(run.row, pattern) or run.row == pattern]
        if not others:
            known = ", ".join(dict.fromkeys(run.row for run in runs))
            raise StudyError(f"{study.name}: a twin of '{pattern}', but there is no such row; there are {known}")
        missing = sorted(set(twin.seeds or ()) - {run.seed for run in others})
        if missing:
            raise StudyError(f"{study.name}: a twin of '{pattern}' with the seeds {missing}, which no such row has")
        for other in others:
            if twin.seeds is None or other.seed in twin.seeds:
                try:
                    yield _twin(study, twin, other, runs)
                except ConfigError as error:
                    raise StudyError(f"{study.name}: twin of '{other.row}': {error}") from None


def _twin(study: StudySpec, twin: TwinSpec, other: PlannedRun, runs: list[PlannedRun]) -> PlannedRun:
    prune, train = other.settings.prune, other.settings.recipe.train
    require(prune is not None, "it is dense; name a pruned row")
    assert prune is not None
    boards = study.files.boards
    by_board = twin.equal in ("flash", "cycles")
    require(not by_board or twin.board in boards, f"board {twin.board} is not among files.boards ({', '.join(boards)})")
    require(
        twin.equal != "int8_bytes" or prune.method != "magnitude",
        "masks leave int8_bytes as they are in the dense network; take int8_gzip_bytes, flash, macs or cycles",
    )
    by_file = twin.equal != "macs"
    require(not by_file or "int8" in study.files.formats, f"equal {twin.equal} needs int8 among files.formats")
    dense = [r for r in runs if r.settings.prune is None and r.settings.twin is None and r.seed == other.seed]
    dense = [
        r for r in dense if r.settings.model == other.settings.model and r.settings.recipe == other.settings.recipe
    ]
    require(bool(dense), 'it needs a dense row of the same seed to measure by; add one with role = "baseline"')
    what = {"of": other.row, "family": twin.family, "equal": twin.equal}
    target = TwinTarget(other.id, twin.equal, dense[0].id, twin.family, twin.board)
    if twin.family == "width":
        require(not twin.channels, 'channels is for family = "channel"')
        require(
            not other.settings.model.pretrained,
            'family = "width": there are no ImageNet weights for a narrower net; take family = "channel"',
        )
        own: PruneConfig | None = None
    else:
        when = {name: getattr(prune, name) for name in ("schedule", *WINDOW, "frequency")}
        to_come = {f"target_{target.aim}": 1} if twin.channels.get("ranking") == "knapsack" else {}  # it asks for one
        own = from_dict(PruneConfig, {"method": "channel", "channels": twin.channels, **when, **to_come})
    settings = replace(settings_of(study, other.settings.model, train, own), twin=target)
    labels = {**other.labels, **dict(_leaves({"channels": twin.channels})), "method": twin.family}
    name = _name(twin.name, {"twin": what, "channels": twin.channels})
    family = "dense" if own is None else "channel"
    return PlannedRun(name, family, twin.role, other.seed, settings, {"of": other.row, "equal": twin.equal}, labels)


def _check_names(study: StudySpec, runs: list[PlannedRun]) -> None:
    """The runs of one name must be one network in several seeds: reports take their mean."""
    seen: dict[str, PlannedRun] = {}
    seeds: set[tuple[str, int]] = set()
    for run in runs:
        if (run.row, run.seed) in seeds or _but_seed(run) != _but_seed(seen.setdefault(run.row, run)):
            raise StudyError(
                f"{study.name}: two rows are called '{run.row}'; tell them apart in the `name` of [[rows]] or [[twins]]"
            )
        seeds.add((run.row, run.seed))


def _but_seed(run: PlannedRun) -> tuple[Any, ...]:
    """What the runs of one row have in common; the ids in a twin's target are those of one seed."""
    settings, target = run.settings, run.settings.twin
    train = replace(settings.recipe.train, seed=0)
    board = None if target is None else target.board
    recipe = replace(settings.recipe, train=train)
    return run.family, run.role, run.twin, settings.model, recipe, settings.prune, board


def _check_ids(study: StudySpec, runs: list[PlannedRun]) -> None:
    """No two runs may be the same under two names."""
    seen: dict[str, PlannedRun] = {}
    for run in runs:
        if run.id in seen:
            raise StudyError(f"{study.name}: '{run.row}' and '{seen[run.id].row}' are the same run; leave one out")
        seen[run.id] = run
