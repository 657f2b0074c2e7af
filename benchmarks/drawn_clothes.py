"""Drawn clothes in the files of Fashion-MNIST, for where there is no network. They are simpler than the real ones."""

import gzip
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from torchvision.datasets.utils import extract_archive

from export.files import write_all

Polygons = list[tuple[list[tuple[float, float]], float]]
"""Corners (x, y) in the unit square, and brightness; later ones are drawn over earlier ones."""


def write_drawn_clothes(root: Path, train: int, test: int, seed: int) -> None:
    """Ten kinds of drawn clothes in the files of Fashion-MNIST: gzipped IDX, and unpacked beside it."""
    raw = root / "FashionMNIST" / "raw"
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("t10k", test)):
        classes = rng.integers(0, 10, count).astype(np.uint8)
        images = np.stack([draw_garment(int(label), rng) for label in classes])  # (N, 28, 28)
        for name, array in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", classes)):
            header = np.array([0x0800 + array.ndim, *array.shape], ">i4").tobytes()  # 0x08: unsigned bytes
            write_all({raw / f"{name}.gz": gzip.compress(header + array.tobytes(), mtime=0)})
            extract_archive(str(raw / f"{name}.gz"), str(raw))


def draw_garment(label: int, rng: np.random.Generator) -> np.ndarray:
    """One grey garment on black, uint8 (28, 28), of a class of Fashion-MNIST; the classes overlap somewhat."""
    canvas = Image.new("L", (112, 112))
    pen = ImageDraw.Draw(canvas)
    shade = int(rng.integers(90, 250))
    for polygon, factor in outline(label, rng):
        pen.polygon([(112 * x, 112 * y) for x, y in polygon], fill=int(shade * factor))
    canvas = canvas.rotate(rng.normal(0, 6), Image.Resampling.BILINEAR, translate=tuple(rng.integers(-6, 7, 2)))
    small = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3))).resize((28, 28), Image.Resampling.BOX)
    grey = np.asarray(small, np.float32)
    cloth = 1 + 0.25 * rng.normal(size=(7, 7)).repeat(4, 0).repeat(4, 1)  # folds and prints
    return (grey * cloth + rng.normal(0, 8, grey.shape)).clip(0, 255).astype(np.uint8)


def outline(label: int, rng: np.random.Generator) -> Polygons:
    """The parts of a garment of a class."""
    jitter = rng.uniform(-0.04, 0.04, 4)
    if label == 1:  # trouser
        half, gap = 0.16 + jitter[0], 0.03 + abs(jitter[1])
        legs = [[(0.5 - half, 0.08), (0.5, 0.08), (0.5 - gap, 0.92), (0.46 - half, 0.92)]]
        legs += [[(1 - x, y) for x, y in legs[0]]]
        return [(leg, 1.0) for leg in legs]
    if label == 8:  # bag
        rim, side = 0.42 + 2 * jitter[0], 0.14 + 2 * jitter[1]
        handle = [(0.3, rim), (0.36, 0.15), (0.64, 0.15), (0.7, rim)]
        hole = [(0.36, rim), (0.41, 0.22), (0.59, 0.22), (0.64, rim)]
        return [
            (handle, 0.8),
            (hole, 0.0),
            ([(side, rim), (1 - side, rim), (1.02 - side, 0.85), (side - 0.02, 0.85)], 1.0),
        ]
    if label in (5, 7, 9):
        return shoe(label, jitter, rng)
    return top(label, jitter, rng)


def shoe(label: int, jitter: np.ndarray, rng: np.random.Generator) -> Polygons:
    """Sandal, sneaker or ankle boot, from the side."""
    low, high = {5: (0.3, 0.5), 7: (0.42, 0.58), 9: (0.12, 0.42)}[label]
    ankle = rng.uniform(low, high)
    upper = [(0.08, 0.78), (0.1, ankle), (0.36 + jitter[0], ankle), (0.5 + jitter[1], 0.55), (0.92, 0.68), (0.94, 0.78)]
    parts: Polygons = [(upper, 0.9), ([(0.06, 0.78), (0.95, 0.78), (0.95, 0.86 + jitter[2]), (0.06, 0.88)], 0.6)]
    if label == 5:  # the gaps between straps
        for x in rng.uniform(0.15, 0.75, 3):
            parts.insert(1, ([(x, 0.4), (x + 0.12, 0.4), (x + 0.18, 0.77), (x + 0.05, 0.77)], 0.0))
    return parts


def top(label: int, jitter: np.ndarray, rng: np.random.Generator) -> Polygons:
    """T-shirt, pullover, dress, coat or shirt: they differ by sleeves, length, flare and what runs down the front."""
    sleeve = rng.uniform(*{0: (0.1, 0.3), 2: (0.45, 0.6), 3: (0.0, 0.2), 4: (0.45, 0.6), 6: (0.2, 0.55)}[label])
    hem = rng.uniform(*{0: (0.7, 0.85), 2: (0.7, 0.85), 3: (0.88, 0.96), 4: (0.82, 0.95), 6: (0.75, 0.9)}[label])
    waist = 0.13 + jitter[0] / 2 if label == 3 else 0.2 + jitter[0] / 2
    flare = waist + (rng.uniform(0.02, 0.16) if label == 3 else 0.02)
    shoulder = 0.22 + jitter[1] / 2
    right = [(0.58, 0.1), (0.5 + shoulder, 0.15), (0.5 + waist, 0.45), (0.5 + flare, hem)]
    body = right + [(1 - x, y) for x, y in reversed(right)]
    arm = [(0.5 + shoulder, 0.15), (0.56 + shoulder + 0.25 * sleeve, 0.2 + sleeve)]
    arm += [(0.46 + shoulder + 0.2 * sleeve, 0.24 + sleeve), (0.5 + shoulder - 0.06, 0.3)]
    parts: Polygons = [(arm, 0.9), ([(1 - x, y) for x, y in arm], 0.9), (body, 1.0)]
    parts.append(([(0.43, 0.09), (0.57, 0.09), (0.5, 0.14 + abs(jitter[2]) * 2)], 0.2))  # neck
    if label == 4 or (label == 6 and rng.random() < 0.6):  # an open front, or a row of buttons
        half = 0.012 if label == 4 else 0.006
        parts.append(([(0.5 - half, 0.15), (0.5 + half, 0.15), (0.5 + half, hem), (0.5 - half, hem)], 0.4))
    return parts
