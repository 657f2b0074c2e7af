"""Finds copies of the same photograph in two sets of faces, so that a test set is not trained on.

A difference hash (dHash: is a cell brighter than its neighbour?) of 12 x 12 cells, across and down: 288 bits. The crop
is hashed again shifted by up to 3 pixels, enlarged and shrunk by 6 %, and mirrored, since two data sets seldom crop
alike. On 28,564 training faces and 284 test faces (30 s on one core), copies differed in 16 to 35 bits and unrelated
faces in 46 or more; another photo of the same session is not found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from hpe.data.faces import load_faces
from hpe.io.images import LUMA
from hpe.io.progress import progress_bar
from hpe.pose.crop import IMAGE_SIZE, STORED_SIZE

CELLS = 12
BITS = 2 * CELLS * CELLS
MAX_DISTANCE = 40
"""Crops that differ in no more bits than this count as copies."""
SHIFTS = (-3, -1, 0, 1, 3)
SIZES = (60, 64, 68)
BLOCK = 2048
"""Faces whose distances are in memory at a time."""


@dataclass(frozen=True)
class Pair:
    """Two samples that look like the same photograph."""

    id: str
    """The sample of the data that were checked."""
    against: str
    """The sample that is closest to it."""
    distance: int
    """How many of the 288 bits differ."""
    mirrored: bool
    """Whether one is the mirror image of the other."""

    def __str__(self) -> str:
        mirrored = ", mirrored" if self.mirrored else ""
        return f"{self.id} looks like {self.against} ({self.distance} of {BITS} bits differ{mirrored})"


def near_duplicates(spec: str, against: str, max_distance: int = MAX_DISTANCE) -> list[Pair]:
    """For each face of `spec` that has a copy among those of `against`: the closest one. Bad samples are left out."""
    ours, theirs = load_faces(spec, skip_bad=True), load_faces(against, skip_bad=True)
    swapped = len(ours) < len(theirs)  # the smaller side is the one that is hashed in 150 ways
    many, few = (theirs, ours) if swapped else (ours, theirs)
    distance = np.full(len(ours), BITS + 1)
    partner = np.zeros(len(ours), int)
    mirrored = np.zeros(len(ours), bool)
    plain = hashes(many.images, STORED_SIZE // 2, STORED_SIZE // 2, IMAGE_SIZE)
    with progress_bar("Comparing", len(SHIFTS) ** 2 * len(SIZES) * 2) as advance:
        for mirror, x, y, side in _views():
            viewed = hashes(few.images, x, y, side, mirror)
            a, b = (viewed, plain) if swapped else (plain, viewed)
            for start in range(0, len(a), BLOCK):
                bits = (BITS - a[start : start + BLOCK] @ b.T) / 2  # (n, M), exact in float32
                nearest = bits.argmin(1)
                found = bits[np.arange(len(bits)), nearest].astype(int)
                rows = start + np.flatnonzero(found < distance[start : start + BLOCK])
                distance[rows], partner[rows] = found[rows - start], nearest[rows - start]
                mirrored[rows] = mirror
            advance()
    chosen = np.flatnonzero(distance <= max_distance)
    return [Pair(ours.ids[i], theirs.ids[partner[i]], int(distance[i]), bool(mirrored[i])) for i in chosen]


def hashes(images: np.ndarray, x: int, y: int, side: int, mirror: bool = False) -> np.ndarray:
    """The difference hashes (N, 288) of -1 and 1 of the square around (x, y) in stored images (N, 80, 80, 3)."""
    rows, columns = slice(y - side // 2, y + side // 2), slice(x - side // 2, x + side // 2)
    mean = _cell_means(side)
    parts = [np.zeros((0, BITS), np.float32)]
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK, rows, columns].astype(np.float32)
        grey = block @ np.array(LUMA, np.float32)  # (n, side, side)
        cells = mean @ (grey[:, :, ::-1] if mirror else grey) @ mean.T  # (n, 13, 13)
        across = cells[:, :CELLS, 1:] > cells[:, :CELLS, :-1]
        down = cells[:, 1:, :CELLS] > cells[:, :-1, :CELLS]
        bits = np.concatenate([across.reshape(len(cells), -1), down.reshape(len(cells), -1)], 1)
        parts.append(np.where(bits, np.float32(1), np.float32(-1)))
    return np.concatenate(parts)


def _views() -> Iterator[tuple[bool, int, int, int]]:
    """(mirror, x, y, side) of every way in which a face is hashed."""
    middle = STORED_SIZE // 2
    for mirror, dx, dy, side in product((False, True), SHIFTS, SHIFTS, SIZES):
        yield mirror, middle + dx, middle + dy, side


def _cell_means(side: int) -> np.ndarray:
    """(13, side): each row takes the mean over one thirteenth of `side` pixels, fractions of a pixel included."""
    edges = np.linspace(0, side, CELLS + 2)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(overlap, 0, None) * (CELLS + 1) / side).astype(np.float32)
