"""How far a study is: a live table on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpe.study.claims import Claims
from hpe.study.folder import StudyFolder
from hpe.study.plan import FINISH_S, Cost, Plan, epochs_left
from hpe.study.planned import Task

REFRESH_S = 2.0
ENOUGH_S = 300.0
"""So much work done in this call tells more than the speed that was measured at its start."""


@dataclass(frozen=True)
class Counts:
    """Runs of a study by their state."""

    runs: int
    done: int
    failed: int
    blocked: int
    """Those that need a failed one."""

    @property
    def open(self) -> int:
        """Those that are still to be run."""
        return self.runs - self.done - self.failed - self.blocked


class Display:
    """Shows events and counts while a study runs, as a context."""

    def __init__(
        self, tasks: Sequence[Task], folder: StudyFolder, cost: Cost | None, report: Callable[[str], None]
    ) -> None:
        from rich.console import Console

        self.tasks, self.folder, self.cost, self.report = tasks, folder, cost, report
        self.console = Console(stderr=True)
        self.live: Any = None
        self.shown = 0.0
        self.pace = Pace(1 if cost is None else cost.jobs)
        self.stack = ExitStack()

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            from rich.live import Live

            self.live = self.stack.enter_context(Live(console=self.console, transient=True, auto_refresh=False))
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def event(self, line: str) -> None:
        """Something happened."""
        text = f"{time.strftime('%H:%M:%S')} {line}"
        if self.live is not None:
            self.live.console.print(text, markup=False, highlight=False)
        else:
            self.report(text)

    def update(self, counts: Counts, running: Sequence[str]) -> None:
        """Draw the table anew, not too often; without a terminal nothing is drawn."""
        if self.live is None or time.monotonic() - self.shown < REFRESH_S:
            return
        self.shown = time.monotonic()
        self.live.update(self._table(counts, running), refresh=True)

    def _table(self, counts: Counts, running: Sequence[str]) -> Any:
        from rich.table import Table
        from rich.text import Text

        left = (
            "" if self.cost is None else f", about {self.pace.left(work_left(self.tasks, self.folder, self.cost))} left"
        )
        table = Table(title=summary(counts) + left, title_justify="left", show_edge=False, expand=True)
        table.add_column("running", no_wrap=True)
        table.add_column("epochs", justify="right")
        table.add_column("last line", no_wrap=True, ratio=1)
        for task in self.tasks:
            if task.id in running:
                epochs = f"{self.folder.epochs_done(task)}/{task.epochs}"
                table.add_row(Text(task.name), epochs, Text(last_line(self.folder.log(task.id))))
        return table


def summary(counts: Counts) -> str:
    """The counts in words."""
    blocked = f", {counts.blocked} need a failed one" if counts.blocked else ""
    return f"{counts.done} of {counts.runs} runs done, {counts.failed} failed{blocked}, {counts.open} to go"


class Pace:
    """Hours and minutes until all is done: at the speed measured at the start, then at that of the work done since."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.began: tuple[float, float] | None = None

    def left(self, work_s: float) -> str:
        """For `work_s` seconds of one job that are left by the speed measured at the start."""
        now = time.monotonic()
        began_s, before_s = self.began = self.began or (now, work_s)
        done_s = before_s - work_s
        minutes = round(work_s * ((now - began_s) / done_s if done_s >= ENOUGH_S else 1 / self.jobs) / 60)
        return f"{minutes // 60} h {minutes % 60:02} min"


def work_left(tasks: Sequence[Task], folder: StudyFolder, cost: Cost) -> float:
    """Seconds of one job until all is done, at the speed that was measured at the start."""
    undone = sum(task.kind == "run" and not folder.is_done(task) and not folder.has_failed(task) for task in tasks)
    return epochs_left(tasks, folder) * cost.images / cost.images_per_s + undone * FINISH_S


def last_line(log: Path) -> str:
    """The last line that a task printed."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 2000))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def status_lines(plan: Plan, folder: StudyFolder) -> list[str]:
    """The state of every run, and what is running."""
    claims = Claims(folder.claims)
    lines, states = [], []
    for task in plan.tasks:
        state = task_state(task, plan.tasks, folder, claims)
        states.append((task, state))
        if task.kind == "run" or state.startswith("running"):
            lines.append(f"{task.id}  {state:<28} {task.name}")
    words = [state.split()[0] for task, state in states if task.kind == "run"]
    counted = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    return [f"{plan.name}: {counted}", *lines]


def task_state(task: Task, tasks: Sequence[Task], folder: StudyFolder, claims: Claims) -> str:
    """done, failed, running (epochs, where), waiting, or begun."""
    if folder.is_done(task):
        return "done"
    if folder.has_failed(task):
        return "failed"
    epochs = folder.epochs_done(task)
    owner = claims.holder(task.id)
    if owner is not None:
        return f"running {epochs}/{task.epochs} ({owner.host} {owner.pid})"
    return f"begun {epochs}/{task.epochs}" if epochs else "waiting"
