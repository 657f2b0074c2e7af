"""What `hpe predict` writes: rows that are in their file as soon as they are known, and names that are free."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from hpe.io.errors import HpeError
from hpe.io.files import file_to_write
from hpe.io.processes import give_up_standard_output, say

COLUMNS = ("source", "frame", "time_s", "face", "x", "y", "w", "h", "yaw_deg", "pitch_deg", "roll_deg",
           "find_ms", "model_ms", "score", "yaw_spread_deg", "pitch_spread_deg", "roll_spread_deg",
           "relative")  # fmt: skip
"""What a row holds: x, y, w, h are the face box in pixels; find_ms and model_ms what finding and the model took; score
is how likely there is a face, a spread the mean absolute error to be expected; empty where the model does not say.
relative is 1 where the angles are relative to a neutral look, 0 before it is known, empty where none was asked for."""
STANDARD_OUTPUT = Path("-")
DRAWN_BY = "hpe predict"
"""Noted in every picture that is drawn: only such a picture may be written over by a later call."""


class OutputError(HpeError, ValueError):
    """Something cannot be written; the message names it. What was written before stays."""


class RowFile:
    """A context manager that adds rows of COLUMNS to a file as CSV or JSON lines; `-` is standard output.

    Every row is handed to the system at once, so that nothing is lost however the program ends; on a full disk the
    file ends after the last whole row. A call that fails before it has any row leaves an older file alone.
    """

    def __init__(self, path: Path, as_json: bool) -> None:
        self._path, self._as_json = path, as_json
        self._begun, self._size = False, 0
        self._file: io.FileIO | None = None

    def __enter__(self) -> RowFile:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None and not self._begun:
            self._begin()
        if self._file is not None:
            self._file.close()

    def write(self, row: Mapping[str, Any]) -> None:
        if not self._begun:
            self._begin()
        self._add(json.dumps(row) + "\n" if self._as_json else _csv_line(row[name] for name in COLUMNS))

    def _begin(self) -> None:
        if self._path != STANDARD_OUTPUT:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("wb", buffering=0)
            except OSError as error:
                raise OutputError(f"{self._path}: cannot be written ({error.strerror}); give another name") from None
        self._begun = True
        if not self._as_json:
            self._add(_csv_line(COLUMNS))

    def _add(self, line: str) -> None:
        content = line.encode("utf-8", "backslashreplace")  # file names need not be UTF-8
        try:
            if self._file is None:
                sys.stdout.write(content.decode("utf-8"))
                sys.stdout.flush()
            else:
                _write_all(self._file, content)
        except BrokenPipeError:  # a reader that has enough
            raise
        except OSError as error:
            raise self._stopped(error.strerror) from None
        self._size += len(content)

    def _stopped(self, reason: str | None) -> OutputError:
        """The error for a row that could not be written; a file loses the part of it that was."""
        if self._file is None:
            return _lost_standard_output(f"{reason}; its last row may be cut")
        with suppress(OSError):  # a pipe or device
            self._file.truncate(self._size)
        return OutputError(f"{self._path}: {reason}; the rows up to here are whole")


def print_line(line: str) -> None:
    """Print a line to read on standard output; OutputError where it cannot be written."""
    try:
        say(line)
    except BrokenPipeError:  # a reader that has enough
        raise
    except OSError as error:
        raise _lost_standard_output(error.strerror) from None


def _lost_standard_output(reason: str | None) -> OutputError:
    """The error for a standard output that cannot be written, which the interpreter does not try again at its end."""
    give_up_standard_output()
    return OutputError(f"standard output: {reason}")


def _write_all(file: io.FileIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _csv_line(values: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


class DrawnNames:
    """Names for drawn pictures and videos in one folder: never that of a source, of another output, or of a file that
    was there, unless an earlier call drew it."""

    def __init__(self, folder: Path, sources: Iterable[Path]) -> None:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"--draw {folder}: this is a file; give a folder")
        self._folder = folder
        self._taken = {_place(source) for source in sources}

    def choose(self, source: Path, suffix: str) -> Path:
        """The stem of the source with `suffix` (.png or .mp4), or the next name that is free."""
        names = chain((source.stem, source.name), (f"{source.stem}-{number}" for number in count(2)))
        paths = (self._folder / f"{name}{suffix}" for name in names)
        chosen = next(path for path in paths if _place(path) not in self._taken and _may_write(path))
        self._taken.add(_place(chosen))
        return chosen


def _place(path: Path) -> str:
    """The file that a path means, alike for names that some file systems take for the same."""
    return os.path.realpath(path).casefold()


def _may_write(path: Path) -> bool:
    """Whether nothing is there, or a picture that an earlier call drew."""
    if not os.path.lexists(path):
        return True
    if path.suffix != ".png" or path.is_symlink() or not path.is_file():
        return False
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return image.info.get("Software") == DRAWN_BY
    except (OSError, ValueError, SyntaxError):
        return False


def save_drawn(picture: Image.Image, path: Path) -> None:
    """Write a drawn picture as PNG, with the note that it is one."""
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", DRAWN_BY)
    picture.save(path, pnginfo=note)


def check_distinct(outputs: Mapping[str, Path | None], inputs: Iterable[Path]) -> None:
    """OutputError where two outputs (by flag) are one file, or one of them is something that is read."""
    seen = {_place(path): f"{shown(path)}, which is read" for path in inputs}
    for flag, path in outputs.items():
        if path is None:
            continue
        place = "-" if path == STANDARD_OUTPUT else _place(path)
        if place in seen:
            raise OutputError(f"{flag} {shown(path)} would overwrite {seen[place]}; give another name")
        seen[place] = f"what {flag} writes"


def check_json(path: Path | None) -> None:
    """OutputError where --json, which is written at the end, could not be: known before the first picture."""
    if path is None:
        return
    if path == STANDARD_OUTPUT:
        raise OutputError("--json - is no file; --jsonl - writes faces to standard output, as they are found")
    try:
        folder = file_to_write(path).parent
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK) else "its folder is closed"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise OutputError(f"--json {shown(path)}: cannot be written ({reason}); give another name")


def shown(text: object) -> str:
    """A text on one printable line: file names may hold line breaks, terminal codes and what is no Unicode."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
