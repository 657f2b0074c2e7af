"""What every source of faces gives the cache: a list of items, and a function that reads a chunk of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hpe.data.spec import Fault
from hpe.io.images import ImageError, open_image
from hpe.pose.crop import STORED_SIZE, Box, crop_face, fit_stored


@dataclass(frozen=True)
class Item:
    """One sample of a folder, before its image is read."""

    id: str
    """Names the sample: the file's path inside the folder."""
    image: Path
    """The image file."""
    where: str
    """File and row, for messages."""
    labels: Path = Path()
    """The file with the pose, where each image has its own."""
    pose_deg: tuple[float, float, float] | None = None
    """Yaw, pitch, roll, where the list itself holds them."""
    box: Box | None = None
    """The face box, where the list holds one."""
    central: float = 1.0
    """Without a box: the fraction of the image that is the standard crop."""


@dataclass
class Chunk:
    """What reading some items gave; a bad one has zeros, NaN and a fault."""

    images: np.ndarray
    """uint8 (n, 80, 80, 3)"""
    pose_deg: np.ndarray
    """float32 (n, 3), NaN for a bad item"""
    faults: list[Fault] = field(default_factory=list)


@dataclass
class Source:
    """A data source that has been listed but not read."""

    items: Sequence[Any]
    """What `read` takes chunks of."""
    read: Callable[[Sequence[Any]], Chunk]
    """Reads a chunk of the items; a function at module level, so that other processes can run it."""
    ids: list[str]
    """Names of the items."""
    fingerprint: str
    """Changes whenever the data do."""
    faults: list[Fault] = field(default_factory=list)
    """What was found wrong while listing; those rows are not among the items."""
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    """Further columns, one value an item."""
    chunk: int = 256
    """Items to read at a time; an interruption loses no more than this for each process."""
    prepare: Callable[[], None] | None = None
    """Run once before several processes start to read."""


def read_items(items: Sequence[Item], read_label: Callable[[Item], tuple[Any, Box | None]]) -> Chunk:
    """Read image and label of each item; `read_label` gives the pose in degrees and the face box (or None)."""
    chunk = Chunk(
        np.zeros((len(items), STORED_SIZE, STORED_SIZE, 3), np.uint8), np.full((len(items), 3), np.nan, np.float32)
    )
    for row, item in enumerate(items):
        try:
            pose_deg, box = read_label(item)
            image = read_image(item)
            chunk.images[row] = fit_stored(image, item.central) if box is None else crop(item, image, box)
            chunk.pose_deg[row] = pose_deg
        except BadItem as bad:
            chunk.faults.append(bad.fault)
    return chunk


class BadItem(Exception):
    """Carries the fault of one item out of the functions that read it."""

    def __init__(self, source: str | Path, what: str, remedy: str) -> None:
        self.fault = Fault(str(source), what, remedy)
        super().__init__(str(self.fault))


def read_image(item: Item) -> Image.Image:
    """The decoded, upright image of an item; BadItem where it cannot be used."""
    try:
        return open_image(item.image)
    except ImageError as error:
        raise BadItem(item.where, f"{item.image}: {error.what}", f"{error.remedy}, or remove the sample") from None


def crop(item: Item, image: Image.Image, box: Box) -> np.ndarray:
    """The stored crop around the box; BadItem where the box makes no sense."""
    try:
        return crop_face(image, box)
    except ValueError as error:
        raise BadItem(item.where, str(error), "correct the box or the landmarks, or remove the sample") from None


def fingerprint(files: Sequence[Path], *texts: str) -> str:
    """A hash of the names, sizes and times of the files, and of further texts; a missing file counts as such."""
    digest = hashlib.sha256()
    for path in files:
        try:
            status = os.stat(path)
            digest.update(f"{path}|{status.st_size}|{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
        except OSError:
            digest.update(f"{path}|missing\n".encode(errors="surrogateescape"))
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()
