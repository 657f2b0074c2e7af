"""Signals that ask a program to end, as an exception that lets it close what it writes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDINGS = ("SIGTERM", "SIGHUP")
"""What `kill`, a shutdown and a closed terminal send; Ctrl-C (SIGINT) raises KeyboardInterrupt anyway."""


@contextmanager
def endings_interrupt() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise KeyboardInterrupt with the signal's number, unless they are ignored (nohup)."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        numbers = [getattr(signal, name) for name in ENDINGS if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in numbers}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def signal_of(interrupt: KeyboardInterrupt) -> int:
    """The number of the signal that raised it."""
    return int(interrupt.args[0]) if interrupt.args else int(signal.SIGINT)
