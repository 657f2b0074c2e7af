"""In which order an epoch visits the faces: each once, or the rare poses more often."""

from __future__ import annotations

import torch
from torch import Tensor

BIN_DEG = 5.0
MOST = 3.0
"""No face is drawn more than this many times as often as the mean face: a few odd ones must not fill the epoch."""


def epoch_order(pose_deg: Tensor, balance: float, generator: torch.Generator) -> Tensor:
    """Indices (N,) of the faces of one epoch, on the CPU: a permutation, or with `balance` above 0 drawn with
    replacement by `pose_weights`."""
    if not balance:
        return torch.randperm(len(pose_deg), generator=generator)
    return torch.multinomial(pose_weights(pose_deg.cpu(), balance), len(pose_deg), True, generator=generator)


def pose_weights(pose_deg: Tensor, balance: float) -> Tensor:
    """How often each face (N, 3) is drawn, (N,) with mean about 1: by the rarity of its angles, to the power `balance`.

    Rarity is one over the share of the faces in the same 5-degree bin, taken for each angle by itself and averaged over
    the three in the logarithm; the result is at most `MOST`.
    """
    log_rarity = torch.zeros(len(pose_deg))
    for angle in pose_deg.float().T:  # (N,)
        _, which, count = torch.unique((angle / BIN_DEG).floor(), return_inverse=True, return_counts=True)
        log_rarity -= torch.log(count[which] / len(pose_deg)) / 3
    weights = torch.exp(balance * (log_rarity - log_rarity.mean()))  # (N,)
    weights /= weights.mean()
    return weights.clamp(max=MOST)
