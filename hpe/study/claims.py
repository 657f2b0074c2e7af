"""Who runs which task: a small file for each, so that several processes on one folder take different ones.

The owner is a process, by machine, number and start time. One of this machine that is gone has lost its claims at once;
one of another machine when it has not renewed them for STALE_S.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hpe.io.configs import from_dict, to_dict
from hpe.io.errors import ConfigError
from hpe.io.files import locked, read_json, write_json

STALE_S = 300.0
"""Seconds without a sign of life after which a claim of another machine is void."""


@dataclass(frozen=True)
class Owner:
    """A process."""

    host: str
    pid: int
    started: int
    """When it began, in the system's own count, so that a later process of the same number is another; 0: unknown."""


def this_process() -> Owner:
    """The process that calls."""
    return Owner(platform.node(), os.getpid(), start_time(os.getpid()))


def start_time(pid: int) -> int:
    """When a process of this machine began, in ticks since the boot; 0 where the system does not tell.

    -1 where it has ended, and its parent has not asked how: in a container nobody may ever ask.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    state, *rest = text.rpartition(")")[2].split()  # from field 3 on; the name before it may hold blanks
    return -1 if state in ("Z", "X") else int(rest[18])  # field 22


class Claims:
    """The claims in one folder, and those of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.owner = folder, this_process()

    def take(self, task_id: str) -> bool:
        """Claim a task; False where a living process has it."""
        with self._locked():
            if self.holder(task_id) is not None:
                return False
            write_json(self._path(task_id), to_dict(self.owner))
            return True

    def release(self, task_id: str) -> None:
        """Give a task back, done or not; one that another process has taken over stays its own."""
        with self._locked():
            if self._read(task_id)[0] == self.owner:
                self._path(task_id).unlink()

    def renew(self, task_id: str) -> None:
        """Say that this process is still there."""
        with suppress(OSError), self._locked():
            if self._read(task_id)[0] == self.owner:
                os.utime(self._path(task_id))

    def holder(self, task_id: str) -> Owner | None:
        """The living process that has a task."""
        owner, age_s = self._read(task_id)
        if owner is None:
            return None
        if owner.host != self.owner.host:
            return owner if age_s < STALE_S else None
        return owner if _runs(owner) else None

    def _read(self, task_id: str) -> tuple[Owner | None, float]:
        """The process that a claim names, and the seconds since its last sign of life; None where there is no claim."""
        path = self._path(task_id)
        try:
            return from_dict(Owner, read_json(path)), time.time() - path.stat().st_mtime
        except (OSError, ValueError, ConfigError):  # none, or one that was cut short
            return None, 0.0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """No other process changes a claim meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            yield

    def _path(self, task_id: str) -> Path:
        return self.folder / f"{task_id}.json"


def _runs(owner: Owner) -> bool:
    """Whether a process of this machine is there, and is the one that was meant."""
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return not owner.started or start_time(owner.pid) == owner.started
