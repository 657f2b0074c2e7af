"""Files that are written whole or not at all, and the JSON and CSV of a run folder."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from export.files import (
    NO_FILE,
    file_to_write,
    is_temporary,
    whole_file,
    write_all,
    write_json,
    write_text,
    write_whole,
)
from hpe.io.errors import FileError

__all__ = [
    "default_cache_dir",
    "file_to_write",
    "is_temporary",
    "locked",
    "merge_result",
    "note_result",
    "open_regular",
    "read_json",
    "whole_file",
    "write_all",
    "write_csv",
    "write_json",
    "write_text",
    "write_whole",
]


def default_cache_dir() -> Path:
    """$HPE_CACHE, or ~/.cache/hpe."""
    return Path(os.environ.get("HPE_CACHE") or Path.home() / ".cache" / "hpe")


def write_csv(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows under a header of their keys, in the order of first appearance; what a row lacks stays empty."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def read_json(path: str | os.PathLike) -> Any:
    """Read JSON; a file that holds none, or is no file, raises FileError with its name (and line)."""
    try:
        with open_regular(path) as file:
            return json.loads(file.read().decode("utf-8"))
    except NotAFile as error:
        raise FileError(f"{path}: {error}; remove it or make the run again") from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: not valid JSON ({error}); restore the file or make the run again") from None


def merge_result(run: str | os.PathLike, section: str, entries: Mapping[str, Any]) -> None:
    """Add `entries` to one section of RUN/result.json, keeping what other steps and other processes wrote there."""
    path = Path(run) / "result.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        result = read_json(path) if path.exists() else {}
        kept = result.get(section, {}) if isinstance(result, dict) else result
        if not isinstance(kept, dict):
            where = f"'{section}'" if isinstance(result, dict) else "the file"
            raise FileError(f"{path}: {where} is no JSON object; restore the file or make the run again")
        write_json(path, {**result, section: {**kept, **entries}})


def note_result(run: str | os.PathLike, section: str, entries: Mapping[str, Any]) -> None:
    """`merge_result` for what took long to find out: where it cannot be kept a line says so, and the caller goes on."""
    path = Path(run) / "result.json"
    try:
        merge_result(run, section, entries)
    except (OSError, FileError) as error:
        reason = getattr(error, "strerror", None) or str(error).removeprefix(f"{path}: ")
        print(f"hpe: not noted in {path} ({reason})", file=sys.stderr)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time holds the lock of a folder, or of a file made for it; it ends with the process."""
    flags = os.O_RDONLY if path.is_dir() else os.O_WRONLY | os.O_CREAT
    handle = os.open(path, flags, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def held(path: Path, otherwise: str) -> Iterator[None]:
    """Keep a lock file of this name while the caller works; it ends with the process, and the file goes.

    Raises:
        FileError: with the message `otherwise`, where another process keeps it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileError(otherwise) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


class NotAFile(OSError):
    """What has a file's name is none; who reads it says which name."""


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a file for reading; NotAFile, an OSError, where it is a folder, or a pipe or device that may never end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer would wait here
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotAFile(NO_FILE)
    return os.fdopen(handle, "rb")
