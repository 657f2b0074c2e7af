"""How a task is started as a process of its own on this machine."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from export.process import command
from hpe.study.folder import StudyFolder
from hpe.study.where import threads_of

WORKER = Path(__file__).with_name("worker.py")
TORCHRUN = ("--standalone", "--nproc-per-node")
VISIBLE = "CUDA_VISIBLE_DEVICES"
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""As Python's -P, for the processes that torchrun starts: the worker's folder is not searched for modules."""
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
    """Tasks as processes of this machine, which share its processors and GPUs; several for each task by torchrun."""

    def __init__(self, jobs: int, processes: int = 1, gpus: Sequence[str] = (), worker: Path = WORKER) -> None:
        self.threads, self.processes, self.gpus, self.worker = threads_of(jobs * processes), processes, gpus, worker
        self.started: list[LocalJob] = []

    def start(self, folder: StudyFolder, task_id: str) -> LocalJob:
        """Start a task, on the GPUs with the fewest others; what it prints goes to its log."""
        gpus = self._least_used()
        environment = os.environ | SAFE_PATH | dict.fromkeys(THREADS, str(self.threads))
        if gpus:
            environment[VISIBLE] = ",".join(gpus)
        log = folder.log(task_id)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            process = subprocess.Popen(
                words(self.processes, self.worker, folder, task_id),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        self.started.append(LocalJob(process, gpus))
        return self.started[-1]

    def _least_used(self) -> list[str]:
        self.started = [job for job in self.started if job.poll() is None]
        used = Counter(gpu for job in self.started for gpu in job.gpus)
        return sorted(self.gpus, key=lambda gpu: used[gpu])[: self.processes]


class LocalJob:
    """A process of this machine."""

    def __init__(self, process: subprocess.Popen[bytes], gpus: Sequence[str]) -> None:
        self.process, self.gpus = process, gpus

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self.process.poll()

    def stop(self) -> None:
        """Kill it and wait until it is gone."""
        self.process.kill()
        self.process.wait()


def words(processes: int, worker: Path, folder: StudyFolder, task_id: str) -> list[str]:
    """The command line of a task: the worker, in as many processes."""
    task = (worker, folder.root.absolute(), task_id)
    if processes == 1:
        return command(*task)
    torch = find_spec("torch")
    assert torch is not None
    assert torch.origin is not None
    return command(Path(torch.origin).parent / "distributed" / "run.py", *TORCHRUN, str(processes), *task)


def gpus_here() -> list[str]:
    """The GPUs that this process may use, by what CUDA_VISIBLE_DEVICES calls them."""
    import torch

    named = os.environ.get(VISIBLE)
    return named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
