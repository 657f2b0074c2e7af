"""Output recalibration: a gain and a bias for each angle, fitted on faces that a network was not trained on.

A network trained on noisy labels underestimates large angles where it is unsure, and a mean error over faces that look
ahead, as most do, hardly shows it. Here gain and bias of each angle minimise the absolute error over faces weighted by
the rarity of their poses (`hpe.data.sampling`), as `--pose-balance` does while training. Mirrored faces count as much,
so that the biases of yaw and roll are zero, as symmetry wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpe.pose.metrics import ANGLES
from hpe.pose.rotation import flip_pose

if TYPE_CHECKING:
    from torch import nn

GAINS = np.arange(100, 401) / 200
"""The gains that are tried; the error is convex in the gain."""


def fit_gain_bias(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gains (3,) and biases (3,) in degrees for yaw, pitch, roll: the least weighted mean of |gain p + bias - t|.

    Args:
        predicted, true: poses (N, 3) in degrees, of faces and of their mirror images.
        weights: (N,), not negative.
    """
    gains, biases = np.ones(3), np.zeros(3)
    for i, name in enumerate(ANGLES):
        candidates = []
        for gain in GAINS:
            missing = true[:, i] - gain * predicted[:, i]  # (N,)
            bias = weighted_median(missing, weights) if name == "pitch" else 0.0
            candidates.append((float((weights * np.abs(missing - bias)).sum()), gain, bias))
        _, gains[i], biases[i] = min(candidates)
    return gains, biases


def at_bound(gains: np.ndarray) -> list[str]:
    """The angles whose search ended at the least or largest gain that is tried: a better one may lie beyond."""
    return [name for name, gain in zip(ANGLES, gains, strict=True) if gain in (GAINS[0], GAINS[-1])]


def cross_validated(
    predicted: np.ndarray, mirrored: np.ndarray, true: np.ndarray, weights: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """Poses (N, 3) of all faces, each with the gain and bias that the faces of the other folds give.

    Args:
        predicted: poses (N, 3) in degrees.
        mirrored: those of the mirror images (N, 3), as they were predicted.
        true: (N, 3).
        weights: (N,).
        folds: the fold of each face, (N,).
    """
    poses = np.empty_like(predicted)
    for fold in np.unique(folds):
        rest = folds != fold  # (N,)
        both = np.concatenate([predicted[rest], mirrored[rest]])
        truth = np.concatenate([true[rest], flip_pose(true[rest])])
        gain, bias = fit_gain_bias(both, truth, np.tile(weights[rest], 2))
        poses[~rest] = predicted[~rest] * gain + bias
    return poses


def split_folds(groups: np.ndarray, count: int) -> np.ndarray:
    """A fold below `count` for each of N samples, of about equal size; what is of one group (N,) stays together."""
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(sizes))
    fold_of, filled = np.empty(len(sizes), int), np.zeros(count, int)
    for group in order[np.argsort(-sizes[order], kind="stable")]:  # large ones first, each where there is most room
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return fold_of[which]


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value (of N) below and above which there is at most half of the weight."""
    order = np.argsort(values)
    gathered = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(gathered, gathered[-1] / 2)])


def apply_gain_bias(layer: nn.Linear, gain: np.ndarray, bias: np.ndarray) -> None:
    """Give the first outputs of a dense layer a gain (3,) and a bias (3,) in its own units, in place."""
    import torch

    factor, count = torch.from_numpy(gain).float(), len(gain)
    with torch.no_grad():
        layer.weight[:count] *= factor[:, None]
        layer.bias[:count] = layer.bias[:count] * factor + torch.from_numpy(bias).float()


def fit_spread_factors(error_deg: np.ndarray, spread_deg: np.ndarray) -> np.ndarray:
    """Factors (3,) that make spreads (N, 3) fit errors (N, 3): the likeliest ones, if errors are Laplace's.

    For one b common to all, the likelihood of |e| / s is largest where b is their mean.
    """
    return (np.abs(error_deg) / spread_deg).mean(0)
