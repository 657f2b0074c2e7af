"""Which faces set the ranges of an int8 file, and on which it is compared with the network."""

from __future__ import annotations

import numpy as np

from hpe.data.faces import Faces
from hpe.pose.crop import centre_crop

CALIBRATION_SAMPLES = 200
CALIBRATION_BALANCE = 2.0
"""How much likelier rare poses are to be among them (`hpe.data.sampling`): a range that never saw one clips it."""
PARITY_SAMPLES = 64


def random_crops(faces: Faces, count: int, balance: float = 0.0) -> np.ndarray:
    """Standard crops uint8 (count, 64, 64, 3) of faces chosen at random, fewer where there are fewer.

    With `balance` above 0 rare poses are likelier (`hpe.data.sampling.pose_weights`). The same faces each time.
    """
    import torch

    from hpe.data.sampling import pose_weights

    weights = pose_weights(torch.from_numpy(np.array(faces.pose_deg)), balance).double().numpy()  # (N,)
    draw = np.random.default_rng(0).choice
    chosen = draw(len(faces), min(count, len(faces)), replace=False, p=weights / weights.sum())
    return centre_crop(faces.images)[np.sort(chosen)]
