"""What every source of faces gives the cache: a list of items, and a function that reads a chunk of them."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hpe.data.crop import Box, crop_face, fit_stored
from hpe.data.spec import DataError, Fault, Part
from hpe.model.preprocess import STORED_SIZE

MAX_PIXELS = 100_000_000
"""A larger image is refused unread: it would take more than 300 MB."""


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


def list_source(part: Part) -> Source:
    """List the samples of one part of a specification; raises DataError where there is nothing to list."""
    if part.kind == "synthetic":
        return list_synthetic(part)
    if not part.path.is_dir():
        raise DataError(f"{part.path}: there is no such folder; check the path in '{part}'.")
    from hpe.data.sources.biwi import list_biwi
    from hpe.data.sources.csv_folder import list_csv
    from hpe.data.sources.mat_pairs import list_300w_lp, list_aflw2000

    readers = {"csv": list_csv, "aflw2000": list_aflw2000, "300w-lp": list_300w_lp, "biwi": list_biwi}
    return readers[part.kind](part)


def list_synthetic(part: Part) -> Source:
    """The heads of `synthetic:PRESET:COUNT:SEED`; the renderer's source code is part of the fingerprint."""
    from hpe import synthetic

    items = [(part.preset, part.seed, index) for index in range(part.count)]
    folder = Path(synthetic.__file__).parent
    code = b"".join(path.read_bytes() for path in sorted(folder.glob("**/*.py")))
    ids = [f"synthetic:{preset}:{seed}:{index}" for preset, seed, index in items]
    return Source(items, read_synthetic, ids, hashlib.sha256(code).hexdigest(), chunk=64, prepare=synthetic.prepare)


def read_synthetic(items: Sequence[tuple[str, int, int]]) -> Chunk:
    """Render the heads of (preset, seed, index); all items share preset and seed."""
    from hpe.model.preprocess import IMAGE_SIZE, MARGIN
    from hpe.synthetic import render

    preset, seed, _ = items[0]
    indices = np.array([index for _, _, index in items])
    images, pose_deg = render(indices, seed, preset, size=IMAGE_SIZE, margin=MARGIN)
    return Chunk(np.asarray(images), np.asarray(pose_deg, np.float32))


def read_items(items: Sequence[Item], read_label: Callable[[Item], tuple[Any, Box | None]]) -> Chunk:
    """Read image and label of each item; `read_label` gives the pose in degrees and the face box (or None)."""
    chunk = Chunk(
        np.zeros((len(items), STORED_SIZE, STORED_SIZE, 3), np.uint8), np.full((len(items), 3), np.nan, np.float32)
    )
    for row, item in enumerate(items):
        try:
            pose_deg, box = read_label(item)
            image = open_image(item)
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


def open_image(item: Item) -> Image.Image:
    """The decoded image of an item; BadItem where it is missing, no image, cut short or enormous."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warning about large images; refused below
            opened = Image.open(item.image)
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadItem(item.where, f"{item.image} has {image.width}x{image.height} pixels", "shrink the image")
            image.load()
        return image
    except FileNotFoundError:
        raise BadItem(item.where, f"the image {item.image} is missing", "restore it or remove the sample") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        what = f"the image {item.image} cannot be decoded ({_first_line(error)})"
        raise BadItem(item.where, what, "it may be cut short: copy it again or remove the sample") from None


def crop(item: Item, image: Image.Image, box: Box) -> np.ndarray:
    """The stored crop around the box; BadItem where the box makes no sense."""
    try:
        return crop_face(image, box)
    except ValueError as error:
        raise BadItem(item.where, str(error), "correct the box or the landmarks, or remove the sample") from None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].removesuffix(".") if lines else type(error).__name__


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
