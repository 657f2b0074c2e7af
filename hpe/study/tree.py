"""Runs -> tasks: what several runs have in common is trained once.

A row that prunes from epoch 40 goes on from the dense state after 40 epochs, which its sisters of the same seed share;
and rows that must end in the same bits (a constant sparsity, whenever its schedule ends) are trained once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpe.io.configs import run_id
from hpe.study.planned import PlannedRun, RunSettings, Task
from hpe.training.scratch import canonical, shared_epochs


def tasks_of(runs: Sequence[PlannedRun]) -> list[Task]:
    """What has to be done, each task after those that it needs."""
    leaders = _leaders(runs)
    alone = [run for run in runs if leaders[run.id] == run.id]
    beginnings = _beginnings(alone)
    tasks = list(beginnings.values())
    for run in runs:
        tasks.append(_run_task(run, leaders[run.id], beginnings))
    return _in_order(tasks)


def planned_epochs(tasks: Sequence[Task]) -> int:
    """Epochs that are trained in all."""
    return sum(task.new_epochs for task in tasks)


def _leaders(runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Run -> the first run that ends in the same bits, itself in most cases."""
    first: dict[str, str] = {}
    leaders = {}
    for run in runs:
        settings = run.settings
        prune = canonical(settings.prune, settings.epochs) if settings.prune else None
        leaders[run.id] = first.setdefault(run_id(replace(settings, prune=prune)), run.id)
    return leaders


def _dense_key(settings: RunSettings) -> str:
    return run_id(settings.model, settings.recipe)


def _shared(settings: RunSettings) -> int:
    """Epochs of a run that are those of the dense network; none of a width that is not known yet."""
    if settings.twin is not None and settings.twin.family == "width":
        return 0
    return shared_epochs(settings.prune, settings.epochs)


def _beginnings(runs: Sequence[PlannedRun]) -> dict[tuple[str, int], Task]:
    """(dense network, epochs) -> the task that trains it so far, for every epoch from which two runs or more go on."""
    groups: dict[str, list[PlannedRun]] = {}
    for run in runs:
        groups.setdefault(_dense_key(run.settings), []).append(run)
    found: dict[tuple[str, int], Task] = {}
    for key, members in groups.items():
        shared = [_shared(run.settings) for run in members]
        whole = members[0].settings.epochs
        earlier: Task | None = None
        for epochs in sorted({e for e in shared if 0 < e < whole}):
            if sum(e >= epochs for e in shared) < 2:
                continue
            needs = (earlier.id,) if earlier else ()
            new = epochs - (earlier.epochs if earlier else 0)
            settings = replace(members[0].settings, prune=None, twin=None)
            seed = settings.recipe.train.seed
            earlier = Task(
                id=run_id(key, epochs),
                kind="beginning",
                name=f"first {epochs} epochs, seed {seed}",
                epochs=epochs,
                new_epochs=new,
                needs=needs,
                beginning=needs[0] if needs else None,
                settings=settings,
            )
            found[key, epochs] = earlier
    return found


def _run_task(run: PlannedRun, leader: str, beginnings: dict[tuple[str, int], Task]) -> Task:
    settings = run.settings
    needs = [settings.twin.of, settings.twin.dense] if settings.twin else []
    beginning = None
    if leader == run.id:
        key, most = _dense_key(settings), _shared(settings)
        usable = [epochs for other, epochs in beginnings if other == key and epochs <= most]
        beginning = beginnings[key, max(usable)] if usable else None
    own = settings.epochs - (beginning.epochs if beginning else 0)
    return Task(
        id=run.id,
        kind="run",
        name=f"{run.row}, seed {run.seed}",
        epochs=settings.epochs,
        new_epochs=own if leader == run.id else 0,
        needs=(*needs, *((beginning.id,) if beginning else ()), *((leader,) if leader != run.id else ())),
        beginning=beginning.id if beginning else None,
        same_as=leader if leader != run.id else None,
        settings=settings,
    )


def _in_order(tasks: Sequence[Task]) -> list[Task]:
    """Each beginning just before the first run that needs it; runs as they were, needs first."""
    known = {task.id: task for task in tasks}
    placed: dict[str, Task] = {}

    def place(task: Task) -> None:
        if task.id not in placed:
            for need in task.needs:
                place(known[need])
            placed[task.id] = task

    for task in tasks:
        if task.kind == "run":
            place(task)
    return list(placed.values())
