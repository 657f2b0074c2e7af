"""Separable filters on square pictures: enlarge, average down, blur, and the cosine waves of JPEG, with one loop."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hpe.synthetic.compiled import compiled

BLOCK = 8  # JPEG's block


class Filter(NamedTuple):
    """Each output is a weighted sum of neighbouring inputs; outputs far apart share none."""

    first: np.ndarray
    """(outputs,) the first input of each."""
    weights: np.ndarray
    """(outputs, taps) float32, of that input and the following ones."""


@compiled
def filtered(pictures, first, weights):
    """Float32 pictures (c, side, side) filtered downwards and across: (c, outputs, outputs)."""
    side = first.size
    result = np.empty((pictures.shape[0], side, side), np.float32)
    for channel in range(pictures.shape[0]):
        down = _filter_rows(pictures[channel], first, weights)  # (outputs, side)
        across = _filter_rows(down.T.copy(), first, weights)  # (outputs, outputs), turned
        for y in range(side):
            for x in range(side):
                result[channel, y, x] = across[x, y]
    return result


@compiled
def _filter_rows(rows, first, weights):
    """Weighted sums of rows (side, width): (outputs, width)."""
    sums = np.zeros((first.size, rows.shape[1]), np.float32)
    for output in range(first.size):
        target = sums[output]
        for tap in range(weights.shape[1]):
            source, weight = rows[first[output] + tap], weights[output, tap]
            for x in range(target.size):
                target[x] += weight * source[x]
    return sums


@lru_cache(maxsize=32)
def enlarging(cells: int, side: int) -> Filter:
    """Catmull-Rom weights that stretch `cells` samples over `side` pixels; the edges are repeated."""
    position = (np.arange(side) + 0.5) / side * (cells - 1)
    offset = np.abs(position[:, None] - np.arange(-2, cells + 2)[None])
    near, far = 1.5 * offset**3 - 2.5 * offset**2 + 1, -0.5 * offset**3 + 2.5 * offset**2 - 4 * offset + 2
    weights = np.where(offset < 1, near, np.where(offset < 2, far, 0.0))
    weights[:, 2] += weights[:, :2].sum(1)
    weights[:, -3] += weights[:, -2:].sum(1)
    return _without_zeros(weights[:, 2:-2])


@lru_cache(maxsize=8)
def averaging(fine: int, side: int) -> Filter:
    """A triangle filter of `fine` pixels down to `side`, each output one and a half of its pixels wide."""
    centre = (np.arange(side) + 0.5) * fine / side - 0.5
    weights = np.clip(1 - np.abs(np.arange(fine)[None] - centre[:, None]) * side / fine, 0, None)
    return _without_zeros(weights / weights.sum(1, keepdims=True))


@compiled
def blurring(side, deviation):
    """Gaussian weights, cut at four deviations; at an edge those inside the picture sum to 1."""
    reach = min(int(4 * deviation) + 1, (side - 1) // 2)
    taps = 2 * reach + 1
    first = np.empty(side, np.int64)
    weights = np.empty((side, taps), np.float32)
    for output in range(side):
        first[output] = min(max(output - reach, 0), side - taps)
        total = 0.0
        for tap in range(taps):
            offset = (first[output] + tap - output) / deviation
            weights[output, tap] = np.exp(-0.5 * offset * offset) if abs(offset) <= 4 else 0.0
            total += weights[output, tap]
        for tap in range(taps):
            weights[output, tap] /= total
    return first, weights


@lru_cache(maxsize=4)
def cosine_waves(blocks: int) -> tuple[Filter, Filter]:
    """The orthonormal cosine transform (type II) of blocks of 8 pixels, and its inverse."""
    n = np.arange(BLOCK)
    matrix = np.cos(np.pi * n[:, None] * (2 * n[None] + 1) / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
    matrix[0] /= np.sqrt(2)
    first = np.arange(blocks * BLOCK) // BLOCK * BLOCK
    there, back = (np.tile(m, (blocks, 1)).astype(np.float32) for m in (matrix, matrix.T))
    return Filter(first, there), Filter(first, back)


def _without_zeros(weights: np.ndarray) -> Filter:
    """The filter of a matrix (outputs, inputs) whose rows are mostly zeros."""
    taps = max(int(np.ptp(np.flatnonzero(row))) + 1 for row in weights)
    first = np.minimum([np.flatnonzero(row)[0] for row in weights], weights.shape[1] - taps)
    kept = np.take_along_axis(weights, first[:, None] + np.arange(taps)[None], axis=1)
    return Filter(first.astype(np.int64), kept.astype(np.float32))
