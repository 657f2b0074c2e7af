"""Synthetic heads: rendered when they are first needed, and kept in the cache like any other source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpe import synthetic
from hpe.data.sources.items import Chunk, Source
from hpe.data.spec import Part
from hpe.pose.crop import IMAGE_SIZE, MARGIN


def list_synthetic(part: Part) -> Source:
    """The heads of `synthetic:PRESET:COUNT:SEED`; the renderer's source code is part of the fingerprint."""
    items = [(part.preset, part.seed, index) for index in range(part.count)]
    folder = Path(synthetic.__file__).parent
    code = b"".join(path.read_bytes() for path in sorted(folder.glob("**/*.py")))
    ids = [f"synthetic:{preset}:{seed}:{index}" for preset, seed, index in items]
    return Source(items, read_synthetic, ids, hashlib.sha256(code).hexdigest(), chunk=64, prepare=synthetic.prepare)


def read_synthetic(items: Sequence[tuple[str, int, int]]) -> Chunk:
    """Render the heads of (preset, seed, index); all items share preset and seed."""
    preset, seed, _ = items[0]
    indices = np.array([index for _, _, index in items])
    images, pose_deg = synthetic.render(indices, seed, preset, size=IMAGE_SIZE, margin=MARGIN)
    return Chunk(np.asarray(images), np.asarray(pose_deg, np.float32))
