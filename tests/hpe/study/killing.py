"""Studies in processes of their own, which are killed at a chosen write into the study's folder.

`python -m tests.hpe.study.killing` imports what a study needs once, and forks for each study that it is asked for, and
for each of its tasks: a study then costs no imports. A write is a call that changes what a next start would find: a
file opened to write, a rename, a file or folder made or removed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import rich.console  # noqa: F401  which a study imports when it starts

from hpe.study import run, worker
from hpe.study.folder import StudyFolder
from tests.hpe.study.studies import Pretending

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink")
OPENED = os.O_WRONLY | os.O_RDWR | os.O_CREAT
FUTILE = {"os.mkdir": True, "os.remove": False}
"""What changes nothing where the path exists, or where it does not."""
RECORD = 200
"""Bytes of a line in the list of writes."""


@dataclass(frozen=True)
class Order:
    """A study to run."""

    toml: str
    out: str
    writes: str
    """File for the list of writes."""
    kill_at: int = 0
    """All processes are killed just before this write, counted from 1; 0: never."""
    pretend: bool = False
    """Tasks leave their results at once."""


class Nursery:
    """Where studies are born: a process that has imported everything; use it as a context."""

    def __init__(self, cache: Path) -> None:
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hpe.study.killing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"HPE_CACHE": str(cache)},
            cwd=Path(__file__).parents[3],
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate()

    def run(self, order: Order) -> int:
        """The exit code of a study: 0, negative where it was killed."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(asdict(order)) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def written(order: Order) -> list[str]:
    """The writes of a study, in order."""
    return Path(order.writes).read_text().split("\n")[:-1]


def _watch(order: Order) -> None:
    """Count the writes of this process and of all that are forked from it."""
    root, names = os.path.abspath(order.out), os.open(order.writes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hook(event: str, args: tuple) -> None:
        if event not in CHANGES and not (event == "open" and args[2] & OPENED):
            return
        path = _path(args[0], args[-1] if event in ("os.remove", "os.rmdir", "os.mkdir") else -1)
        if not path.startswith(root) or (event in FUTILE and os.path.lexists(path) == FUTILE[event]):
            return
        line = f"{event.removeprefix('os.')} {path.removeprefix(root)}"[: RECORD - 1]
        os.write(names, f"{line:{RECORD - 1}}\n".encode())
        if os.fstat(names).st_size // RECORD == order.kill_at:
            os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)


def _path(name: object, folder: object) -> str:
    """The absolute path of a name, which may be relative to an open folder."""
    if not isinstance(name, str | bytes | os.PathLike):
        return ""  # a file that is open already
    where = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else os.getcwd()
    return os.path.join(where, os.fsdecode(name))


class Forked:
    """Tasks as processes, as LocalLauncher starts them."""

    def start(self, folder: StudyFolder, task_id: str) -> ForkedJob:
        log = folder.log(task_id)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as file:
            pid = os.fork()
            if pid == 0:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                sys.argv = ["worker.py", str(folder.root), task_id]
                _end_with(worker.main)
        return ForkedJob(pid)


class ForkedJob:
    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _end_with(work) -> None:
    """Do the work, then end this process without what Python does at its end."""
    code: object = 1
    try:
        code = work() or 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _study(order: Order) -> int:
    os.setpgid(0, 0)
    log = os.open(f"{order.out}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _watch(order)
    run.POLL_S = 0.0 if order.pretend else 0.1
    launcher = Pretending() if order.pretend else Forked()
    counts = run.run_study(Path(order.toml), Path(order.out), launcher=launcher, report=print)
    return 0 if counts.done == counts.runs else 1


def _gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def main() -> None:
    """Answer each order on standard input by its exit code."""
    run.measure_speed = lambda plan, threads: {"images_per_s": 9.0, "images": 32, "params": 9}
    prepared = False
    for line in sys.stdin:
        order = Order(**json.loads(line))
        if not order.pretend and not prepared:
            from tests.hpe.study import small

            small.prepare()
            prepared = True
        pid = os.fork()
        if pid == 0:
            _end_with(lambda order=order: _study(order))
        _, status = os.waitpid(pid, 0)
        for _ in range(500):  # its workers are killed, too, and go in a moment
            if _gone(pid):
                break
            time.sleep(0.01)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
