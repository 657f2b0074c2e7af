"""Where the runs of a study are run."""

from __future__ import annotations

import os
from dataclasses import dataclass

from export.process import usable_cores
from hpe.io.errors import require


@dataclass(frozen=True)
class Where:
    """Where the runs of a study are run."""

    jobs: int = 1
    """Runs at a time, which share the processors and the GPUs. Another number of threads may change the last bits."""
    processes: int = 1
    """Processes for each run, started by torchrun, which share every batch; where there are GPUs, a GPU for each."""
    ray: str | None = None
    """Run on this Ray cluster (the extra `ray`): HOST:PORT, auto, or local to start one here. Its machines must see
    --out and the data under the same paths."""

    def __post_init__(self) -> None:
        require(self.jobs >= 1, f"--jobs is {self.jobs}; it must be 1 or more")
        require(self.processes >= 1, f"--processes is {self.processes}; it must be 1 or more")

    @property
    def threads(self) -> int:
        """Threads of each process on this machine."""
        return threads_of(self.jobs * self.processes)


def threads_of(processes: int) -> int:
    """Threads of each process, where `processes` of them share this machine; OMP_NUM_THREADS if that is fewer."""
    threads, limit = max(1, usable_cores() // processes), os.environ.get("OMP_NUM_THREADS", "")
    return min(threads, int(limit)) if limit.isdecimal() and int(limit) else threads
