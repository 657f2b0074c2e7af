"""Which faces set the ranges of an int8 file, and on which others it is compared with the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpe.data.faces import Faces, load_faces
from hpe.data.spec import parse_spec
from hpe.pose.crop import centre_crop

CALIBRATION_SAMPLES = 200
CALIBRATION_BALANCE = 2.0
"""How much likelier rare poses are to be among them (`hpe.data.sampling`): a range that never saw one clips it."""
PARITY_SAMPLES = 64
PARITY_SHARE = 4
"""One face in this many is kept for the comparison at most, so that few faces still leave some for the ranges."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Standard crops, uint8 (N, 64, 64, 3) each; no face is in both."""

    calibration: np.ndarray
    """Set the int8 ranges; rare poses are likelier among them."""
    parity: np.ndarray
    """Files are compared with torch on these: as many from each source where it has them. Empty below 4 faces."""
    pose_range_deg: tuple[float, float] = (-99.0, 99.0)
    """The lowest and the highest angle of any face of the data."""


def export_samples(spec: str) -> Samples:
    """The samples of a data SPEC; bad ones are left out. The same each time."""
    sources = [load_faces(str(part), skip_bad=True) for part in parse_spec(spec)]
    shares = parity_shares([len(faces) for faces in sources], PARITY_SAMPLES)
    parity, others, poses = [], [], []
    for faces, share in zip(sources, shares, strict=True):
        # the middles of `share` equal stretches: a source's files are often in the order of its own sources
        kept = ((np.arange(share) + 0.5) * len(faces) / max(share, 1)).astype(int)
        rest = np.setdiff1d(np.arange(len(faces)), kept)
        parity.append(centre_crop(faces.images[kept]))
        others.append((faces, rest))
        poses.append(faces.pose_deg[rest])
    chosen = _draw(np.concatenate(poses), CALIBRATION_SAMPLES, CALIBRATION_BALANCE)
    calibration, start = [], 0
    for faces, rest in others:
        mine = chosen[(chosen >= start) & (chosen < start + len(rest))] - start
        calibration.append(centre_crop(faces.images[rest[mine]]))
        start += len(rest)
    all_deg = [faces.pose_deg for faces in sources if len(faces)]
    lowest, highest = (
        float(edge(poses.min() if edge is min else poses.max() for poses in all_deg)) for edge in (min, max)
    )
    return Samples(np.concatenate(calibration), np.concatenate(parity), (lowest, highest))


def parity_shares(sizes: Sequence[int], count: int) -> list[int]:
    """How many of `count` faces come from each source: equally many, at most one in PARITY_SHARE of its faces."""
    limits = [size // PARITY_SHARE for size in sizes]
    shares = [0] * len(sizes)
    for _ in range(min(count, sum(limits))):
        shares[min((i for i in range(len(sizes)) if shares[i] < limits[i]), key=lambda i: shares[i])] += 1
    return shares


def random_crops(faces: Faces, count: int, balance: float = 0.0) -> np.ndarray:
    """Standard crops uint8 (count, 64, 64, 3) of faces chosen at random, fewer where there are fewer.

    With `balance` above 0 rare poses are likelier (`hpe.data.sampling.pose_weights`). The same faces each time.
    """
    return centre_crop(faces.images[_draw(faces.pose_deg, count, balance)])


def _draw(pose_deg: np.ndarray, count: int, balance: float) -> np.ndarray:
    """Ascending indices (count,) of distinct faces, poses (N, 3)."""
    import torch

    from hpe.data.sampling import pose_weights

    weights = pose_weights(torch.from_numpy(np.array(pose_deg)), balance).double().numpy()  # (N,)
    draw = np.random.default_rng(0).choice
    return np.sort(draw(len(weights), min(count, len(weights)), replace=False, p=weights / weights.sum()))
