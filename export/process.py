"""Child processes that end with their parent, even where it is killed and cannot tell them, and how many may run.

`end_with_parent` is called inside the child. A program that imports nothing of this package is started through this
file instead: `python -P export/process.py PARENT_PID SCRIPT ARGUMENTS`, which `command` writes.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""Of linux/prctl.h: the signal that the kernel sends when the parent ends."""
POLL_S = 1.0
"""How often the parent is looked for where the kernel does not tell (macOS)."""


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with_parent(parent: int) -> None:
    """From now on this process is killed when its parent, process `parent`, ends; at once if that has ended already."""
    if not sys.platform.startswith("linux") or ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)


def command(script: str | Path, *arguments: str | Path) -> list[str]:
    """The command line that runs a Python script as a child that ends with this process.

    -P: the script's folder is not searched for modules (export/convert holds an onnx.py).
    """
    return [sys.executable, "-P", __file__, str(os.getpid()), str(script), *map(str, arguments)]


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
