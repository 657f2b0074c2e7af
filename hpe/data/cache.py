"""The cache: each data source decoded, cropped and stored once as one memory-mapped uint8 array.

A cache is a folder that appears whole, by a rename. While it is built, finished chunks are noted in a journal beside
the pixels, so that an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hpe.data.reading import for_each_chunk, refuse_while_importing_main
from hpe.data.sources.items import Chunk, Source
from hpe.data.spec import DataError, Fault
from hpe.io.files import locked
from hpe.pose.crop import STORED_SIZE

VERSION = 4
"""Goes up when what is stored changes, so that older caches are built again."""
STALE_S = 7 * 24 * 3600.0
"""An unfinished build that nothing was added to for so long is given up; until then it is gone on with."""
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
    """Samples left out because they cannot be used: those of the listing, then those that reading found."""


def open_or_build(cache_dir: Path, name: str, source: Source, max_angle_deg: float) -> Cached:
    """The cache of a source, built first where it is not there or the data have changed since.

    `name` is the specification; caches of the same name with older data are removed. A finished cache is only read.
    """
    if not source.items:
        nothing = np.zeros((0, *IMAGE_SHAPE), np.uint8)
        return Cached(nothing, np.zeros((0, 3), np.float32), [], source.extra, 0, source.faults)
    refuse_while_importing_main()
    kind = name.partition(":")[0]
    prefix = f"{kind}-{_hash(name, max_angle_deg)}"
    folder = cache_dir / f"{prefix}-{_hash(VERSION, source.fingerprint, len(source.items), source.chunk)}"
    try:
        cached = _open(folder)
        if cached is None:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with locked(cache_dir / f"{prefix}.lock"):
                cached = _open(folder)  # another process may have built it while this one waited
                if cached is None:
                    _remove_stale(cache_dir, prefix, folder)
                    _build(folder, name, source, max_angle_deg)
                    cached = _open(folder)
        if cached is None:
            raise OSError("what was written cannot be read again")
        return replace(cached, faults=source.faults + cached.faults)  # a file without its partner is in no cache
    except OSError as error:
        raise DataError(f"{cache_dir}: the cache cannot be used ({error}); free space or set HPE_CACHE.") from error


def _hash(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]


def _open(folder: Path) -> Cached | None:
    """A finished cache; None where there is none, or one that is damaged in any way and must be built again."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        cached = Cached(
            images=np.lib.format.open_memmap(folder / "images.npy", mode="c"),
            pose_deg=_read_array(folder / "pose_deg.npy"),
            ids=meta["ids"],
            extra={name: _read_array(folder / f"extra_{name}.npy") for name in meta["extra"]},
            dropped=meta["dropped"],
            faults=[Fault(**fault) for fault in meta["faults"]],
        )
        n = len(cached.ids)
        whole = (cached.images.shape, cached.images.dtype) == ((n, *IMAGE_SHAPE), np.uint8)
        whole &= (cached.pose_deg.shape, cached.pose_deg.dtype) == ((n, 3), np.float32)
        return cached if whole and all(len(values) == n for values in cached.extra.values()) else None
    except PermissionError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _read_array(path: Path) -> np.ndarray:
    """An array of a .npy file; a file of anything else is a ValueError (numpy.load would try zip files as well)."""
    with open(path, "rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _remove_stale(cache_dir: Path, prefix: str, folder: Path) -> None:
    """Before a build: a damaged cache, and what killed builds left of older data, or of other data long ago."""
    shutil.rmtree(folder, ignore_errors=True)
    for partial in cache_dir.glob("*.partial"):
        same_name = partial.name.startswith(f"{prefix}-")
        with contextlib.suppress(OSError):
            idle_s = time.time() - max(path.stat().st_mtime for path in (partial, *partial.iterdir()))
            if partial.name != f"{folder.name}.partial" and (same_name or idle_s > STALE_S):
                shutil.rmtree(partial)


def _build(folder: Path, name: str, source: Source, max_angle_deg: float) -> None:
    """Read all chunks (in parallel when there are many) into FOLDER.partial, then finish it as FOLDER."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(exist_ok=True)
    pixels, journal = partial / "pixels.raw", partial / "journal.jsonl"
    done = _read_journal(journal) if pixels.exists() else {}
    with open(pixels, "ab") as file:
        _reserve(file, len(source.items) * IMAGE_BYTES)

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
    for old in folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)


def _reserve(file: BinaryIO, size: int) -> None:
    """Make the file `size` bytes long, on the disk as well: a full one is an error now, not after an hour of reading.

    Where the file system cannot reserve, the bytes are taken as they are written.
    """
    file.truncate(size)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


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
    with open(partial / "images.npy", "wb") as file:  # not mapped: a full disk would end the process (SIGBUS)
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *IMAGE_SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), 4096):
            file.write(raw[rows[start : start + 4096]].tobytes())
    del raw
    np.save(partial / "pose_deg.npy", pose_deg[kept])
    for column, values in source.extra.items():
        np.save(partial / f"extra_{column}.npy", values[kept])
    meta = {
        "spec": name,
        "dropped": int((good & ~kept).sum()),
        "max_angle_deg": max_angle_deg,
        "faults": [fault for entry in entries for fault in entry["faults"]],
        "extra": list(source.extra),
        "ids": [source.ids[row] for row in rows],
    }
    (partial / "meta.json").write_text(json.dumps(meta))
    (partial / "pixels.raw").unlink()
    (partial / "journal.jsonl").unlink()
    os.replace(partial, folder)
