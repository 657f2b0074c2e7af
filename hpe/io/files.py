"""Files that are written whole or not at all, and the JSON and CSV of a run folder."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


def default_cache_dir() -> Path:
    """$HPE_CACHE, or ~/.cache/hpe."""
    return Path(os.environ.get("HPE_CACHE") or Path.home() / ".cache" / "hpe")


def write_whole(path: str | os.PathLike, write: Callable[[Path], object]) -> Path:
    """Call `write(temporary_path)`, then move the finished file to `path`; on any error `path` is as it was.

    The temporary name keeps the suffix of `path`, since some writers (Pillow, matplotlib) choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write `text` as UTF-8, whole or not at all."""
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: str | os.PathLike, value: Any) -> Path:
    """Write `value` as indented JSON; NaN and infinity are refused, since JSON has no such numbers."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_csv(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows under a header of their keys, in the order of first appearance; what a row lacks stays empty."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def read_json(path: str | os.PathLike) -> Any:
    """Read JSON; a file that is none raises ValueError with its name and line."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); restore the file or make the run again") from None


def merge_result(run: str | os.PathLike, section: str, entries: Mapping[str, Any]) -> None:
    """Add `entries` to one section of RUN/result.json, keeping what other steps wrote there."""
    path = Path(run) / "result.json"
    result = read_json(path) if path.exists() else {}
    result.setdefault(section, {}).update(entries)
    write_json(path, result)
