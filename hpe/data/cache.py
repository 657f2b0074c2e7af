"""The cache: each data source decoded, cropped and stored once as one memory-mapped uint8 array.

A cache is a folder that appears whole, by a rename. While it is built, finished chunks are noted in a journal beside
the pixels, so that an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpe.data.sources.items import Chunk, Source
from hpe.data.spec import DataError, Fault
from hpe.io.progress import progress_bar
from hpe.model.preprocess import STORED_SIZE

VERSION = 1
"""Goes up when what is stored changes, so that older caches are built again."""
POOL_FROM = 5
"""With fewer chunks than this, starting processes takes longer than reading."""
IMAGE_SHAPE = (STORED_SIZE, STORED_SIZE, 3)
IMAGE_BYTES = STORED_SIZE * STORED_SIZE * 3


@dataclass
class Cached:
    """A finished cache, opened."""

    images: np.ndarray
    """uint8 (N, 80, 80, 3), memory-mapped"""
    pose_deg: np.ndarray
    """float32 (N, 3)"""
    ids: list[str]
    extra: dict[str, np.ndarray]
    dropped: int
    """Samples left out because an angle is beyond the limit."""
    faults: list[Fault] = field(default_factory=list)
    """Samples left out because they cannot be used."""


def open_or_build(cache_dir: Path, name: str, source: Source, max_angle_deg: float) -> Cached:
    """The cache of a source, built first where it is not there or the data have changed since.

    `name` is the specification; caches of the same name with older data are removed.
    """
    if not source.items:
        nothing = np.zeros((0, *IMAGE_SHAPE), np.uint8)
        return Cached(nothing, np.zeros((0, 3), np.float32), [], source.extra, 0, source.faults)
    _refuse_while_importing_main()
    kind = name.partition(":")[0]
    prefix = f"{kind}-{_hash(name, max_angle_deg)}"
    folder = cache_dir / f"{prefix}-{_hash(VERSION, source.fingerprint, len(source.items), source.chunk)}"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _lock(cache_dir / f"{prefix}.lock"):
            if not _is_whole(folder):
                _build(folder, name, source, max_angle_deg)
                for old in cache_dir.glob(f"{prefix}-*"):
                    if old != folder:
                        shutil.rmtree(old, ignore_errors=True)
        return _open(folder)
    except OSError as error:
        raise DataError(f"{cache_dir}: the cache cannot be written ({error}); free space or set HPE_CACHE.") from error


def _refuse_while_importing_main() -> None:
    """A script without a guard runs again in each reading process, which would wait here for its own parent's lock."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise DataError("Put what the script does under `if __name__ == '__main__':`.")


def _hash(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Only one process builds a cache; the others wait for it. The lock ends with the process."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open(folder: Path) -> Cached:
    meta = json.loads((folder / "meta.json").read_text())
    extra = {name: np.load(folder / f"extra_{name}.npy", allow_pickle=False) for name in meta["extra"]}
    return Cached(
        images=np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False),
        pose_deg=np.load(folder / "pose_deg.npy", allow_pickle=False),
        ids=meta["ids"],
        extra=extra,
        dropped=meta["dropped"],
        faults=[Fault(**fault) for fault in meta["faults"]],
    )


def _is_whole(folder: Path) -> bool:
    """Whether a finished cache is there and as long as it says; a damaged one is removed, to be built again."""
    if not folder.exists():
        return False
    try:
        cached = _open(folder)
        if len(cached.images) == len(cached.pose_deg) == len(cached.ids):
            return True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(folder)
    return False


def _build(folder: Path, name: str, source: Source, max_angle_deg: float) -> None:
    """Read all chunks (in parallel when there are many) into FOLDER.partial, then finish it as FOLDER."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(exist_ok=True)
    pixels, journal = partial / "pixels.raw", partial / "journal.jsonl"
    done = _read_journal(journal) if pixels.exists() else {}
    with open(pixels, "ab") as file:
        file.truncate(len(source.items) * IMAGE_BYTES)  # sparse until written

    with open(journal, "w") as log, open(pixels, "r+b") as file:
        for entry in done.values():  # rewritten without a line that an interruption cut short
            log.write(json.dumps(entry) + "\n")

        def keep(start: int, chunk: Chunk) -> None:
            file.seek(start * IMAGE_BYTES)
            file.write(chunk.images.tobytes())
            file.flush()
            entry = {"start": start, "pose_deg": chunk.pose_deg.tolist(), "faults": [asdict(f) for f in chunk.faults]}
            done[start] = entry
            log.write(json.dumps(entry) + "\n")
            log.flush()

        for_each_chunk(source, keep, title=f"Reading {name.partition(':')[0]}", skip=set(done))
    _finish(partial, folder, name, source, [done[start] for start in sorted(done)], max_angle_deg)


def _read_journal(journal: Path) -> dict[int, dict[str, Any]]:
    done = {}
    with contextlib.suppress(OSError, ValueError, KeyError), open(journal) as lines:
        for line in lines:
            entry = json.loads(line)
            done[entry["start"]] = entry
    return done


def _finish(
    partial: Path, folder: Path, name: str, source: Source, entries: list[dict[str, Any]], max_angle_deg: float
) -> None:
    """Store the rows that are good and within the limit, in order; then rename the folder."""
    pose_deg = np.array([row for entry in entries for row in entry["pose_deg"]], np.float32).reshape(-1, 3)
    good = np.isfinite(pose_deg).all(1)
    kept = good & (np.abs(np.nan_to_num(pose_deg)) <= max_angle_deg).all(1)
    rows = np.flatnonzero(kept)

    raw = np.memmap(partial / "pixels.raw", np.uint8, "r", shape=(len(source.items), *IMAGE_SHAPE))
    images = np.lib.format.open_memmap(partial / "images.npy", "w+", np.uint8, (len(rows), *IMAGE_SHAPE))
    for start in range(0, len(rows), 4096):
        images[start : start + 4096] = raw[rows[start : start + 4096]]
    images.flush()
    del raw, images
    np.save(partial / "pose_deg.npy", pose_deg[kept])
    for column, values in source.extra.items():
        np.save(partial / f"extra_{column}.npy", values[kept])
    faults = source.faults + [Fault(**fault) for entry in entries for fault in entry["faults"]]
    meta = {
        "spec": name,
        "dropped": int((good & ~kept).sum()),
        "max_angle_deg": max_angle_deg,
        "faults": [asdict(fault) for fault in faults],
        "extra": list(source.extra),
        "ids": [source.ids[row] for row in rows],
    }
    (partial / "meta.json").write_text(json.dumps(meta))
    (partial / "pixels.raw").unlink()
    (partial / "journal.jsonl").unlink()
    os.replace(partial, folder)


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
    most = 2 * _processes()
    while True:
        for start, items in queue:
            running[pool.submit(read, items)] = start
            if len(running) >= most:
                break
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


def _processes() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _pool() -> Iterator[ProcessPoolExecutor]:
    """One process a core, each with one thread. They are spawned: forking a process with threads can deadlock."""
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(threads, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        _processes(), context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )
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
