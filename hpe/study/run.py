"""`hpe study run`: take the tasks of a plan that are ready and free, one process each, until none is left.

Several such programs may work on one folder; each takes what no other has claimed. Killed at any moment, the next one
goes on: what is finished is skipped, and a run that was begun goes on after its last whole epoch.
"""

from __future__ import annotations

import errno
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpe.io.files import read_json, write_json
from hpe.study.claims import Claims
from hpe.study.folder import StudyFolder, is_wanted
from hpe.study.launch import Job, Launcher, LocalLauncher, gpus_here
from hpe.study.plan import Plan, cost_lines, keep_plan, make_plan, measure_speed, plan_cost, unweighed_lines
from hpe.study.planned import Task
from hpe.study.progress import Counts, Display, last_line
from hpe.study.spec import StudyError
from hpe.study.where import Where
from hpe.study.worker import FULL, is_full, is_nearly_full

POLL_S = 0.3
RENEW_S = 30.0
"""How often this process says that it still has its claims."""
TRIES = 2
"""How often a task is started whose process is killed from outside: for want of memory, or with a machine."""


def run_study(
    toml: Path,
    out: Path,
    where: Where = Where(),  # noqa: B008
    launcher: Launcher | None = None,
    report: Callable[[str], None] = print,
) -> Counts:
    """Run what is missing of a study in the folder `out`; returns how the runs ended.

    Another `launcher` may start the tasks.

    Raises:
        StudyError: for a TOML or a folder that cannot be used, or when the disk is full.
    """
    plan, folder = make_plan(toml), StudyFolder(out)
    launcher = launcher or _launcher(where)
    with _full_disk_explained(out):
        return _run_plan(toml, plan, folder, where, launcher, report)


def _run_plan(
    toml: Path, plan: Plan, folder: StudyFolder, where: Where, launcher: Launcher, report: Callable[[str], None]
) -> Counts:
    keep_plan(toml, plan, folder)
    for line in unweighed_lines(plan, folder):
        report(line)
    cost = None
    if any(not folder.is_done(task) and not folder.has_failed(task) for task in plan.tasks if task.kind == "run"):
        cost = plan_cost(plan, folder, known_speed(plan, folder, where.threads), where.jobs)
        for line in cost_lines(plan, cost, folder):
            report(line)
    with Display(plan.tasks, folder, cost, report) as display:
        scheduler = Scheduler(plan, folder, launcher, where.jobs, display)
        try:
            return scheduler.work()
        finally:
            scheduler.stop()


@contextmanager
def _full_disk_explained(out: Path) -> Iterator[None]:
    """Say what to do when the disk is full, whoever met it: a task, or this process."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise StudyError(
            f"{out}: the disk is full; free some space and run the same command again: what is finished stays, and "
            "runs go on after their last whole epoch"
        ) from None


def known_speed(plan: Plan, folder: StudyFolder, threads: int) -> dict[str, float]:
    """How fast one job trains here; measured when the study is first run, and again with other threads."""
    path = folder.root / f"speed-{platform.node()}-{threads}.json"
    if not path.exists():
        write_json(path, measure_speed(plan, threads))
    return read_json(path)


def _launcher(where: Where) -> Launcher:
    if where.ray is None:
        return LocalLauncher(where.jobs, where.processes, gpus_here())
    from hpe.study.ray_cluster import RayLauncher

    return RayLauncher(where.ray, where.jobs, where.processes)


class Scheduler:
    """Starts tasks as others end, and keeps count."""

    def __init__(self, plan: Plan, folder: StudyFolder, launcher: Launcher, jobs: int, display: Display) -> None:
        self.plan, self.folder, self.launcher, self.jobs, self.display = plan, folder, launcher, jobs, display
        self.claims = Claims(folder.claims)
        self.running: dict[str, tuple[Task, Job, float]] = {}
        self.tries: dict[str, int] = {}
        self.renewed = time.monotonic()
        self.full = False

    def work(self) -> Counts:
        """Go on until every task is done, has failed, or needs one that has."""
        self.folder.drop_unneeded(self.plan.tasks)  # those of a program that was killed
        while True:
            self._collect()
            if self.full and not self.running:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder.root))
            if not self.full:
                self._start_more()
            counts = self.counts()
            self.display.update(counts, list(self.running))
            if not self.running and not counts.open:
                return counts
            self._renew()
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End what still runs and give its claims back."""
        for task, job, _ in self.running.values():
            job.stop()
            self.claims.release(task.id)
        self.running.clear()

    def counts(self) -> Counts:
        """How many runs are in which state."""
        runs = [task for task in self.plan.tasks if task.kind == "run"]
        done = sum(self.folder.is_done(task) for task in runs)
        failed = [task for task in runs if not self.folder.is_done(task) and self.folder.has_failed(task)]
        blocked = [task for task in runs if self._is_blocked(task)]
        return Counts(len(runs), done, len(failed), len(blocked))

    def _collect(self) -> None:
        for task, job, started in list(self.running.values()):
            code = job.poll()
            if code is None:
                continue
            del self.running[task.id]
            self._judge(task, code, time.monotonic() - started)
            self.claims.release(task.id)
            self.folder.drop_unneeded(self.plan.tasks)

    def _judge(self, task: Task, code: int, seconds: float) -> None:
        """What has become of a task whose process ended."""
        if self.folder.is_done(task):
            self.display.event(f"done: {task.name} ({seconds:.0f} s)")
        elif code == FULL or (code and is_nearly_full(self.folder.root)):  # torchrun passes no code of its workers on
            self.full = True
        elif code < 0 and self.tries[task.id] < TRIES:
            self.display.event(f"killed by signal {-code}: {task.name}; it is started again")
        else:
            reason = f"killed by signal {-code}" if code < 0 else last_line(self.folder.log(task.id))
            self.folder.keep_failure(task)
            self.display.event(f"failed: {task.name}: {reason} ({self.folder.failure(task.id)})")

    def _start_more(self) -> None:
        for task in self.plan.tasks:
            if len(self.running) >= self.jobs:
                return
            if task.id in self.running or not self._is_ready(task) or not self.claims.take(task.id):
                continue
            if not self._is_ready(task):  # another program has done it meanwhile
                self.claims.release(task.id)
                continue
            self.tries[task.id] = self.tries.get(task.id, 0) + 1
            self.display.event(f"start: {task.name}")
            try:
                job = self.launcher.start(self.folder, task.id)
            except BaseException:
                self.claims.release(task.id)
                raise
            self.running[task.id] = (task, job, time.monotonic())

    def _is_ready(self, task: Task) -> bool:
        if self.folder.has_failed(task) or not is_wanted(task, self.plan.tasks, self.folder):
            return False
        return all(self.folder.is_done(self._task(need)) for need in task.needs)

    def _is_blocked(self, task: Task) -> bool:
        """Whether a task waits for one that has failed."""
        if self.folder.is_done(task) or self.folder.has_failed(task):
            return False
        needs = [self._task(need) for need in task.needs]
        return any(
            not self.folder.is_done(need) and (self.folder.has_failed(need) or self._is_blocked(need)) for need in needs
        )

    def _task(self, task_id: str) -> Task:
        return next(task for task in self.plan.tasks if task.id == task_id)

    def _renew(self) -> None:
        if time.monotonic() - self.renewed > RENEW_S:
            self.renewed = time.monotonic()
            for task_id in self.running:
                self.claims.renew(task_id)
