"""Anyone's own faces: a folder with images and labels.csv.

Columns file, yaw, pitch, roll (degrees, 300W-LP convention). Optional: split, person, spread (how far the labels may
be off, degrees) and a face box x0, y0, x1, y1 in pixels, which is cropped by the k = 0.2 rule. Without a box an image
is taken as a standard crop; an optional dataset.json {"central_crop": 0.8} says that only its central 80 % are, and
that the border is room for augmentation.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpe.data.sources.items import BadItem, Chunk, Item, Source, fingerprint, read_items
from hpe.data.spec import DataError, Fault, Part
from hpe.io.dataset_file import read_central_crop
from hpe.io.errors import FileError
from hpe.io.files import open_regular

ANGLES = ("yaw", "pitch", "roll")
BOX = ("x0", "y0", "x1", "y1")


def list_csv(part: Part) -> Source:
    """The rows of labels.csv that belong to the split, and a fault for each row that cannot be used."""
    labels = part.path / "labels.csv"
    header, rows = read_table(labels)
    _check_columns(labels, header, part)
    if part.split:
        rows = _select_split(labels, rows, part.split)
    if not rows:
        raise DataError(f"{labels}: there are no rows; add one line per image below the header.")
    try:
        central = read_central_crop(part.path)
    except FileError as error:
        raise DataError(str(error)) from None

    items: list[Item] = []
    faults: list[Fault] = []
    kept: list[Row] = []
    for row in rows:
        try:
            items.append(_item(part.path, f"{labels}, line {row.line}", row, len(header), central))
            kept.append(row)
        except BadItem as bad:
            faults.append(bad.fault)
    files = [labels, part.path / "dataset.json", *(item.image for item in items)]
    extra = {}
    if "spread" in header:
        extra["spread"] = np.array([_optional_number(row.cells.get("spread")) for row in kept], np.float32)
    for name in ("person", "split"):
        if name in header:
            extra[name] = np.array([row.cells.get(name, "") for row in kept], dtype=str)
    return Source(items, read_csv_items, [item.id for item in items], fingerprint(files), faults, extra)


def read_csv_items(items: Sequence[Item]) -> Chunk:
    """Read the images of items whose poses and boxes were listed."""
    return read_items(items, lambda item: (item.pose_deg, item.box))


class Row(NamedTuple):
    """A line of a csv file."""

    line: int
    """Its number in the file; the last one where a quoted cell has several."""
    cells: dict[str, str]
    """Column to text without blanks around it; columns that the line does not reach are absent."""
    beyond: int
    """How many cells with text it has beyond the header's columns."""


def read_table(path: Path) -> tuple[list[str], list[Row]]:
    """Column names and rows of a csv file, both without blanks around the texts."""
    try:
        with open_regular(path) as file:
            reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
            header = [name.strip() for name in next(reader, [])]
            rows = [_row(reader.line_num, header, cells) for cells in reader if cells]
    except FileNotFoundError:
        raise DataError(
            f"{path}: the file is missing; a csv folder needs a labels.csv (file,yaw,pitch,roll)."
        ) from None
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: cannot be read as csv ({error}); save it as UTF-8 text with commas.") from None
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names {', '.join(twice)} more than once; keep one column of each name.")
    return header, rows


def _row(line: int, header: list[str], cells: list[str]) -> Row:
    texts = [cell.strip() for cell in cells]
    beyond = sum(bool(text) for text in texts[len(header) :])
    return Row(line, dict(zip(header, texts, strict=False)), beyond)


def _check_columns(labels: Path, header: list[str], part: Part) -> None:
    missing = [name for name in ("file", *ANGLES) if name not in header]
    if missing:
        raise DataError(
            f"{labels}: column {', '.join(missing)} is missing; the header must name file, yaw, pitch, roll."
        )
    if any(name in header for name in BOX) and not all(name in header for name in BOX):
        raise DataError(f"{labels}: a face box needs all of the columns {', '.join(BOX)}; add the rest or remove them.")
    if part.split and "split" not in header:
        raise DataError(f"{labels}: there is no column split; add one or leave '@{part.split}' out.")


def _select_split(labels: Path, rows: list[Row], split: str) -> list[Row]:
    """The rows of the split, and those with cells beyond the header, whose split cannot be told: they are bad."""
    selected = [row for row in rows if row.cells.get("split") == split or row.beyond]
    if not selected:
        known = sorted({row.cells.get("split", "") for row in rows} - {""})
        raise DataError(
            f"{labels}: there is no split '{split}'; the column split has {', '.join(known) or 'no names'}."
        )
    return selected


def _item(folder: Path, where: str, row: Row, columns: int, central: float) -> Item:
    if row.beyond:
        what = f"there are {columns + row.beyond} cells under {columns} columns"
        raise BadItem(where, what, "write 1.5, not 1,5, and put a text with commas in double quotes")
    file = row.cells.get("file", "")
    if not file:
        raise BadItem(where, "the column file is empty", "name the image or remove the row")
    image = folder / file
    if not image.exists():
        raise BadItem(where, f"the image {image} is missing", "restore it or remove the row")
    yaw, pitch, roll = (_angle(where, name, row.cells.get(name, "")) for name in ANGLES)
    return Item(file, image, where, pose_deg=(yaw, pitch, roll), box=_box(where, row.cells), central=central)


def _angle(where: str, name: str, text: str) -> float:
    value = _optional_number(text)
    if not math.isfinite(value):
        raise BadItem(where, f"{name} is '{text}', which is no number", "write degrees or remove the row")
    if abs(value) > 180:
        raise BadItem(where, f"{name} is {value:g}, beyond 180 degrees", "write degrees from -180 to 180")
    return value


def _box(where: str, row: Mapping[str, str]) -> tuple[float, float, float, float] | None:
    texts = [row.get(name, "") for name in BOX]
    if not any(texts):
        return None
    x0, y0, x1, y1 = (_optional_number(text) for text in texts)
    if not all(math.isfinite(edge) for edge in (x0, y0, x1, y1)):
        what = f"the face box is '{','.join(texts)}'"
        raise BadItem(where, what, "write four numbers x0, y0, x1, y1 in pixels, or none of them")
    return x0, y0, x1, y1


def _optional_number(text: str | None) -> float:
    """The number, or NaN where there is none. Python's 1_5 is none: it is 1.5 mistyped, hardly 15."""
    try:
        return math.nan if not text or "_" in text else float(text)
    except ValueError:
        return math.nan
