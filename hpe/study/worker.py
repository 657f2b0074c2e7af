"""One task of a study in a process of its own: worker.py DIR TASK, started through `export.process.command`.

It ends with 0 when the task is done, FULL when the disk is full, 1 on any other error, which its log explains.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from export.process import end_with_parent
from hpe.io.files import read_json, write_json
from hpe.io.processes import is_first_process, process_count, say
from hpe.study.folder import StudyFolder, read_result
from hpe.study.plan import Plan, read_plan
from hpe.study.planned import Task
from hpe.study.spec import StudyError
from hpe.training.config import Recipe

FULL = 75
"""Exit code where the disk is full: the task goes on later."""
LEAST_FREE_BYTES = 16 * 2**20
"""With less than this left an error is put down to the disk."""


def main() -> None:
    """Do the task that the command line names."""
    root, task_id = Path(sys.argv[1]), sys.argv[2]
    if process_count() > 1:
        end_with_parent(os.getppid())  # torchrun, which may be killed
    try:
        run_task(root, task_id)
    except Exception as error:
        with suppress(OSError):  # the log may lie on a full disk
            traceback.print_exc()
            print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(FULL if is_full(error) or is_nearly_full(root) else 1)


def run_task(root: Path, task_id: str) -> None:
    """Do a task of the plan in folder `root`."""
    folder = StudyFolder(root)
    plan = read_plan(folder)
    task = next((task for task in plan.tasks if task.id == task_id), None)
    if task is None:
        raise StudyError(f"{folder.plan}: has no {task_id} any more; another study was started in this folder")
    if task.kind == "beginning":
        _begin(folder, plan, task)
    else:
        _run(folder, plan, task)


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is at the bottom of an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_nearly_full(folder: Path) -> bool:
    """Whether so little of the disk is left that an error is put down to it."""
    return shutil.disk_usage(folder).free < LEAST_FREE_BYTES


def _begin(folder: StudyFolder, plan: Plan, task: Task) -> None:
    """Train the first epochs that several runs share."""
    from hpe.training.parallel import together
    from hpe.training.scratch import run_beginning

    assert task.settings is not None
    _check_faces(folder, plan, task.settings.recipe)
    settings, earlier = task.settings, _state(folder, task)
    with together(folder.shared(task.id)) as place:
        run_beginning(place, settings.model, settings.recipe, task.epochs, say, earlier)


def _run(folder: StudyFolder, plan: Plan, task: Task) -> None:
    """Train a run, or copy it from the one that it would equal; then measure it."""
    from hpe.study.measure import finish
    from hpe.training.parallel import together
    from hpe.training.start import clear_finished

    run, entry, first = folder.run(task.id), plan.run(task.id), is_first_process()
    if task.same_as is not None:
        if first:
            _copy(folder.run(task.same_as), run, entry.study() | {"same_as": task.same_as})
        return
    if first and run.exists() and not ((run / "config.json").exists() or (run / "result.json").exists()):
        shutil.rmtree(run)  # killed before it began
    if not (run / "result.json").exists():
        _check_faces(folder, plan, entry.settings.recipe)
        with together(run) as place:
            _train(folder, task, place)
    if first:
        clear_finished(run)
        finish(run, entry.settings, plan.files, entry.study(), say)


def _check_faces(folder: StudyFolder, plan: Plan, recipe: Recipe) -> None:
    """Refuse training faces that are not those of the runs that were trained before on data of that name.

    Raises:
        StudyError: with the data and such a run.
    """
    from hpe.data.faces import load_faces

    known = {}
    for run in plan.runs:
        if (run.settings.recipe.data, run.settings.recipe.skip_bad) == (recipe.data, recipe.skip_bad):
            known.setdefault((read_result(folder.run(run.id)) or {}).get("faces_sha256"), run)
    known.pop(None, None)  # not trained yet, or before this was noted
    digest = load_faces(recipe.data, skip_bad=recipe.skip_bad).digest() if known else None
    for found, run in known.items():
        if found != digest:
            raise StudyError(
                f"{recipe.data}: its faces or their labels are not those that '{run.row}' (seed {run.seed}) was "
                "trained on; restore them, or give another --out"
            )


def _train(folder: StudyFolder, task: Task, run: Path) -> None:
    from hpe.study.twins import settle_twin
    from hpe.training.runs import run_train
    from hpe.training.scratch import run_scratch_prune

    assert task.settings is not None
    settings = settle_twin(folder, task.settings) if task.settings.twin else task.settings
    if settings.prune is None:
        run_train(run, settings.model, settings.recipe, True, say, _state(folder, task))
    else:
        run_scratch_prune(run, settings.model, settings.prune, settings.recipe, say, _state(folder, task))


def _copy(source: Path, run: Path, study: Mapping[str, object]) -> None:
    """A run that would end in the same bits as `source`: its files under another name."""
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(source, run, ignore=shutil.ignore_patterns("result.json", "tensorboard"))
    result = read_json(source / "result.json")
    write_json(run / "result.json", result | {"study": study})


def _state(folder: StudyFolder, task: Task) -> Path | None:
    """The state of the beginning that a task goes on from."""
    return folder.shared(task.beginning) / "last.safetensors" if task.beginning else None


if __name__ == "__main__":
    main()
