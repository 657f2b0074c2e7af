"""The plan of a study: its runs and tasks, kept in plan.json, and what it costs before anything starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.process import command
from hpe.io.configs import from_dict, to_dict
from hpe.io.environment import commit
from hpe.io.errors import ConfigError, FileError
from hpe.io.files import is_temporary, read_json, write_all, write_json
from hpe.model.zoo import INT8
from hpe.study.expand import expand
from hpe.study.folder import StudyFolder, read_result
from hpe.study.planned import PlannedRun, Task
from hpe.study.spec import FilesSpec, StudyError, StudySpec, read_study
from hpe.study.tree import planned_epochs, tasks_of


@dataclass(frozen=True)
class Plan:
    """What a study is to do."""

    name: str
    title: str
    files: FilesSpec
    runs: list[PlannedRun]
    tasks: list[Task]

    def run(self, run_id: str) -> PlannedRun:
        """The run of an id."""
        return next(run for run in self.runs if run.id == run_id)


def make_plan(toml: Path) -> Plan:
    """The plan of a study's TOML."""
    study = read_study(toml)
    runs = expand(study, toml.parent)
    return Plan(study.name, study.title or study.name, study.files, runs, tasks_of(runs))


def keep_plan(toml: Path, plan: Plan, folder: StudyFolder) -> None:
    """Write plan.json, with the study's TOML and published rows beside it.

    Raises:
        StudyError: if the folder holds another study, or something else.
    """
    study = read_study(toml)
    if folder.plan.exists():
        _check_is_ours(study, plan, folder)
    elif folder.root.exists() and not (folder.root.is_dir() and all(map(is_temporary, folder.root.iterdir()))):
        raise StudyError(f"{folder.root}: is no folder of a study; give another --out")
    entries = [run.entry() for run in plan.runs]
    facts = {"name": plan.name, "title": plan.title, "commit": commit(), "files": to_dict(plan.files)}
    copies = {folder.root / "study.toml": toml.read_bytes()}
    if study.reference:
        reference = toml.parent / study.reference
        copies[folder.root / reference.name] = reference.read_bytes()
    write_json(folder.plan, facts | {"runs": entries})  # first: by it the folder is known as this study's
    write_all(copies)


def _check_is_ours(study: StudySpec, plan: Plan, folder: StudyFolder) -> None:
    """Whether the folder holds this study, or one that it extends and has all runs of."""
    try:
        held = read_json(folder.plan)
        known, runs = held["name"], {entry["id"]: entry["row"] for entry in held["runs"]}
    except (FileError, KeyError, TypeError):
        known, runs = _name_beside(folder), {}
    if known not in (plan.name, *study.extends):
        raise StudyError(f"{folder.root}: holds the study '{known}', not '{plan.name}'; give another --out")
    lost = sorted({row for run, row in runs.items() if run not in {mine.id for mine in plan.runs}})
    if known != plan.name and lost:
        raise StudyError(
            f"{folder.root}: holds runs of '{known}' that '{plan.name}' does not have ({', '.join(lost[:3])}"
            f"{', ...' if len(lost) > 3 else ''}); give another --out, or extend it with no setting changed"
        )


def _name_beside(folder: StudyFolder) -> str:
    """The name of the study whose TOML lies beside a damaged plan.json."""
    try:
        return tomllib.loads((folder.root / "study.toml").read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError):
        raise StudyError(f"{folder.plan}: damaged, and no study.toml is beside it; give another --out") from None


def read_plan(folder: StudyFolder) -> Plan:
    """The plan that a study's folder holds.

    Raises:
        StudyError: if there is none.
    """
    try:
        values = read_json(folder.plan)
        runs = [_planned(entry) for entry in values["runs"]]
        files = from_dict(FilesSpec, values["files"])
        return Plan(values["name"], values["title"], files, runs, tasks_of(runs))
    except FileNotFoundError:
        raise StudyError(f"{folder.root}: no plan.json there; give the --out folder of `hpe study run`") from None
    except (KeyError, TypeError, ConfigError, FileError) as error:
        raise StudyError(f"{folder.plan}: damaged ({error}); `hpe study run` writes it anew") from None


def _planned(entry: dict[str, Any]) -> PlannedRun:
    return from_dict(PlannedRun, {name: value for name, value in entry.items() if name != "id"})


@dataclass(frozen=True)
class Cost:
    """What a plan costs."""

    epochs_listed: int
    """If each run were trained by itself."""
    epochs_planned: int
    """With shared beginnings, and equal runs trained once."""
    epochs_left: int
    """Without what is done."""
    runs_left: int
    images: int
    """Training images an epoch."""
    images_per_s: float
    """Measured here, with one job's threads."""
    disk_bytes: int
    """That the rest will need, at most."""
    jobs: int

    @property
    def hours(self) -> float:
        """Of training and measuring what is left."""
        seconds = self.epochs_left * self.images / self.images_per_s + self.runs_left * FINISH_S
        return seconds / 3600 / self.jobs


FINISH_S = 75.0
"""Seconds that export and measuring take for each run, roughly: 4 formats of a B0."""


def epochs_left(tasks: Sequence[Task], folder: StudyFolder) -> int:
    """Epochs that are still to be trained."""
    left = 0
    for task in tasks:
        if not folder.is_done(task) and not folder.has_failed(task):
            before = task.epochs - task.new_epochs
            left += min(task.new_epochs, task.epochs - max(before, folder.epochs_done(task)))
    return left


def plan_cost(plan: Plan, folder: StudyFolder, speed: dict[str, float], jobs: int) -> Cost:
    """The cost of a plan; `speed` is what `measure_speed` measured."""
    undone = [task for task in plan.tasks if not folder.is_done(task) and not folder.has_failed(task)]
    runs = [task for task in undone if task.kind == "run"]
    kept = len(plan.files.formats if plan.files.keep is None else plan.files.keep)
    states = sum(task.kind == "beginning" for task in undone) + jobs
    disk = speed["params"] * 4 * (len(runs) * (1 + kept) + 4 * states)
    trained = sum(task.settings.epochs for task in plan.tasks if task.kind == "run" and task.settings)
    return Cost(
        epochs_listed=trained,
        epochs_planned=planned_epochs(plan.tasks),
        epochs_left=epochs_left(plan.tasks, folder),
        runs_left=len(runs),
        images=int(speed["images"]),
        images_per_s=speed["images_per_s"],
        disk_bytes=int(disk),
        jobs=jobs,
    )


def cost_lines(plan: Plan, cost: Cost, folder: StudyFolder) -> list[str]:
    """The cost for a user, before anything starts."""
    rows = len({run.row for run in plan.runs})
    copies = sum(task.same_as is not None for task in plan.tasks)
    shared = sum(task.kind == "beginning" for task in plan.tasks)
    saved = 1 - cost.epochs_planned / cost.epochs_listed
    free = shutil.disk_usage(next(p for p in (folder.root, *folder.root.absolute().parents) if p.exists())).free
    lines = [
        f"{plan.name}: {len(plan.runs)} runs of {rows} rows, {len(plan.runs) - cost.runs_left} of them done or failed",
        f"{cost.epochs_planned} epochs instead of {cost.epochs_listed} ({saved:.0%} saved): {shared} shared "
        f"beginnings, {copies} runs equal to another",
        f"{cost.epochs_left} epochs of {cost.images:,} images left at {cost.images_per_s:.0f} images/s, {cost.jobs} "
        f"job{'s' if cost.jobs > 1 else ''}: about {cost.hours:.1f} hours",
        f"disk: about {cost.disk_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB free",
    ]
    if cost.disk_bytes > free:
        lines.append("warning: the disk may become full; the study would stop then, and go on when there is space")
    return lines


def unweighed_lines(plan: Plan, folder: StudyFolder) -> list[str]:
    """For each board that finished runs were not weighed against, since it came later: how many, and what to do."""
    boards = plan.files.boards if "int8" in plan.files.formats else []
    results = [result for run in plan.runs if "study" in (result := read_result(folder.run(run.id)) or {})]
    lacking = {board: sum(board not in result.get("footprint", {}) for result in results) for board in boards}
    return [
        f"{count} finished runs were not weighed against {board}, so that the page leaves it out of their rows: "
        f"`hpe footprint RUN/{INT8} --board {board}` does it"
        for board, count in lacking.items()
        if count
    ]


def measure_speed(plan: Plan, threads: int) -> dict[str, float]:
    """Images a second that training reaches here, images an epoch, and parameters; in a process of its own."""
    settings = to_dict(plan.runs[0].settings)
    done = subprocess.run(
        command(Path(__file__).with_name("speed.py"), str(threads)),
        input=json.dumps(settings), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise StudyError(f"{plan.name}: the first run cannot start: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
