"""A study's folder: where each file is, what is done, and what failed. The layout is that of benchmarks/README.md."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpe.io.files import read_json
from hpe.study.planned import Task
from hpe.training.scratch import DONE


@dataclass(frozen=True)
class StudyFolder:
    """Paths below the study's folder, and what they tell."""

    root: Path
    complete: set[str] = field(default_factory=set, compare=False)
    """Ids of runs that were seen complete: they stay so, and their files need not be read again."""

    @property
    def plan(self) -> Path:
        """What is to be run."""
        return self.root / "plan.json"

    @property
    def claims(self) -> Path:
        """Who runs what."""
        return self.root / "claims"

    def run(self, task_id: str) -> Path:
        """The run folder."""
        return self.root / "runs" / task_id

    def shared(self, task_id: str) -> Path:
        """The folder of a beginning."""
        return self.root / "shared" / task_id

    def log(self, task_id: str) -> Path:
        """What a task printed."""
        return self.root / "logs" / f"{task_id}.log"

    def failure(self, task_id: str) -> Path:
        """The log of a task that failed."""
        return self.root / "failed" / f"{task_id}.log"

    def is_done(self, task: Task) -> bool:
        """Whether a task has left all that it should."""
        if task.kind == "beginning":
            return (self.shared(task.id) / DONE).exists()
        if task.id not in self.complete:
            result = read_result(self.run(task.id))
            if result is None or "study" not in result:
                return False
            self.complete.add(task.id)
        return True

    def has_failed(self, task: Task) -> bool:
        """Whether it ended in an error that is kept."""
        return self.failure(task.id).exists()

    def epochs_done(self, task: Task) -> int:
        """Epochs of a task that are trained so far, by its metrics."""
        folder = self.shared(task.id) if task.kind == "beginning" else self.run(task.id)
        try:
            with open(folder / "metrics.csv", "rb") as file:
                return max(0, sum(1 for _ in file) - 1)
        except OSError:
            return 0

    def keep_failure(self, task: Task) -> None:
        """Move a task's log among the failures."""
        self.failure(task.id).parent.mkdir(parents=True, exist_ok=True)
        if self.log(task.id).exists():
            os.replace(self.log(task.id), self.failure(task.id))
        else:
            self.failure(task.id).touch()

    def drop_unneeded(self, tasks: Sequence[Task]) -> None:
        """Delete the beginnings that all tasks which go on from them have left behind."""
        for task in tasks:
            folder = self.shared(task.id)
            if task.kind == "beginning" and folder.exists():
                users = [other for other in tasks if task.id in other.needs]
                if all(self.is_done(user) or not is_wanted(user, tasks, self) for user in users):
                    (folder / DONE).unlink(missing_ok=True)  # first: half of it is no beginning to go on from
                    shutil.rmtree(folder, ignore_errors=True)


def is_wanted(task: Task, tasks: Sequence[Task], folder: StudyFolder) -> bool:
    """Whether a task is still to be done; a beginning is not where all that goes on from it is done."""
    if folder.is_done(task):
        return False
    if task.kind == "run":
        return True
    return any(is_wanted(other, tasks, folder) for other in tasks if task.id in other.needs)


def read_result(run: Path) -> dict[str, Any] | None:
    """A run's result.json, if there is one."""
    try:
        result = read_json(run / "result.json")
    except FileNotFoundError:
        return None
    return result if isinstance(result, dict) else None
