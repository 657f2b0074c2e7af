"""How a task is started as a process of its own on this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Protocol

from export.process import command
from hpe.study.folder import StudyFolder

WORKER = Path(__file__).with_name("worker.py")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Job(Protocol):
    """A task that was started."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs; negative where a signal ended it."""
        ...

    def stop(self) -> None:
        """End it at once."""
        ...


class Launcher(Protocol):
    """Starts tasks."""

    def start(self, folder: StudyFolder, task_id: str) -> Job: ...


class LocalLauncher:
    """Tasks as processes of this machine, which share its processors."""

    def __init__(self, jobs: int) -> None:
        self.threads = threads_of(jobs)

    def start(self, folder: StudyFolder, task_id: str) -> Job:
        """Start a task; what it prints goes to its log."""
        environment = os.environ | dict.fromkeys(THREADS, str(self.threads))
        log = folder.log(task_id)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            process = subprocess.Popen(
                command(WORKER, folder.root.absolute(), task_id),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        return LocalJob(process)


class LocalJob:
    """A process of this machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self.process.poll()

    def stop(self) -> None:
        """Kill it and wait until it is gone."""
        self.process.kill()
        self.process.wait()


def threads_of(jobs: int) -> int:
    """Threads of each job."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cores = os.cpu_count() or 1
    return max(1, cores // jobs)
