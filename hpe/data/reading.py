"""Reads the items of a source in chunks, in several processes where that pays."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from export.process import end_with_parent, usable_cores
from hpe.data.sources.items import Chunk, Source
from hpe.data.spec import DataError, Fault
from hpe.io.progress import progress_bar

POOL_FROM = 5
"""With fewer chunks than this, starting processes takes longer than reading."""


def refuse_while_importing_main() -> None:
    """A script without a guard runs again in each reading process, which would wait here for its own parent's lock."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise DataError("Put what the script does under `if __name__ == '__main__':`.")


def for_each_chunk(
    source: Source, take: Callable[[int, Chunk], None], title: str, skip: set[int] | frozenset[int] = frozenset()
) -> None:
    """Read the items in chunks, in several processes where that pays, and hand each (start, chunk) to `take`.

    Chunks whose start is in `skip` are left out. A rich progress bar shows on a terminal.
    """
    starts = [start for start in range(0, len(source.items), source.chunk) if start not in skip]
    tasks = [(start, source.items[start : start + source.chunk]) for start in starts]
    with progress_bar(title, sum(len(items) for _, items in tasks)) as advance:
        if len(tasks) < POOL_FROM:
            chunks = ((start, source.read(items)) for start, items in tasks)
            _take_all(chunks, take, advance)
        else:
            if source.prepare is not None:
                source.prepare()
            with _pool() as pool:
                _take_all(_read_parallel(pool, source.read, tasks), take, advance)


def read_faults(source: Source, title: str) -> list[Fault]:
    """Read every item of a source and keep nothing but what is wrong."""
    faults: dict[int, list[Fault]] = {}
    for_each_chunk(source, lambda start, chunk: faults.update({start: chunk.faults}), title)
    return [fault for start in sorted(faults) for fault in faults[start]]


def _take_all(
    chunks: Iterator[tuple[int, Chunk]], take: Callable[[int, Chunk], None], advance: Callable[[], None]
) -> None:
    for start, chunk in chunks:
        take(start, chunk)
        for _ in chunk.images:
            advance()


def _read_parallel(
    pool: ProcessPoolExecutor, read: Callable[[Sequence[Any]], Chunk], tasks: list[tuple[int, Sequence[Any]]]
) -> Iterator[tuple[int, Chunk]]:
    """Chunks in the order they are finished, with only a few waiting at a time, so that memory stays small."""
    running: dict[Future[Chunk], int] = {}
    queue = iter(tasks)
    most = 2 * usable_cores()
    while True:
        for start, items in queue:
            running[pool.submit(read, items)] = start
            if len(running) >= most:
                break
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


def _start_reader(parent: int) -> None:
    """In a reading process: Ctrl-C is the parent's to handle, and a killed parent takes this process with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)


@contextlib.contextmanager
def _pool() -> Iterator[ProcessPoolExecutor]:
    """One process a core, each with one thread. They are spawned: forking a process with threads can deadlock."""
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(threads, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(usable_cores(), context, initializer=_start_reader, initargs=(os.getpid(),))
    try:
        yield pool
    except BrokenProcessPool:
        raise DataError(
            "A reading process ended without a word: out of memory, or the script that calls this has no "
            "`if __name__ == '__main__':`. Run again; what is read is kept."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in threads.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
