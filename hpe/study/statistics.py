"""Mean, spread, and the paired bootstrap that stands behind every "A is better than B". Errors in degrees.

Test faces and seeds are both drawn again, independently of each other: the pigeonhole bootstrap (Owen 2007, The
pigeonhole bootstrap, Annals of Applied Statistics 1), a little wide where the two interact. Of n seeds n - 1 are
drawn, which makes the variance over few seeds right instead of (n - 1) / n of it (Rao and Wu 1988, JASA 83). With one
seed the interval covers the choice of faces alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from hpe.pose.rotation import wrap_deg

DRAWS = 4000
LEVEL = 0.95


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    mean: float
    """Their mean."""
    sd: float | None
    """Their standard deviation (n - 1); None for a single one."""
    n: int
    """How many there are."""


@dataclass(frozen=True)
class Comparison:
    """How the error of A compares with that of B."""

    difference_deg: float
    """Mean error of A less that of B: negative where A is better."""
    low_deg: float
    """Lower end of the interval that holds LEVEL of the draws."""
    high_deg: float
    """Upper end."""
    probability: float
    """Share of the draws in which A is better."""

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out no difference at all."""
        return self.low_deg > 0 or self.high_deg < 0


@dataclass(frozen=True)
class Noise:
    """What repeating a run changes, from pairs of equal runs."""

    sd_deg: float
    """Standard deviation of one run."""
    pairs: int
    """Degrees of freedom."""
    quantile: float
    """Of Student's t at LEVEL, two-sided."""

    def limit_deg(self, runs_a: int = 1, runs_b: int = 1) -> float:
        """Differences beyond this between the means of so many runs happen by chance in 1 - LEVEL of the cases."""
        return self.quantile * self.sd_deg * sqrt(1 / runs_a + 1 / runs_b)


@dataclass(frozen=True)
class Draws:
    """Mean errors of rows under the same draws of faces."""

    observed: dict[Hashable, float]
    """Mean error of each row, as measured."""
    drawn: dict[Hashable, np.ndarray]
    """(DRAWS,) mean errors of each row."""

    def compare(self, a: Hashable, b: Hashable) -> Comparison:
        """Row A against row B."""
        differences = self.drawn[a] - self.drawn[b]
        low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        better = float(np.mean(differences < 0) + np.mean(differences == 0) / 2)
        return Comparison(self.observed[a] - self.observed[b], float(low), float(high), better)


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one or more values."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), sd, len(values))


def face_errors(predicted_deg: Sequence[Sequence[float]], true_deg: Sequence[Sequence[float]]) -> np.ndarray:
    """The mean absolute error over yaw, pitch and roll of every face, (faces,)."""
    difference = np.asarray(predicted_deg, np.float64) - np.asarray(true_deg, np.float64)  # (faces, 3)
    return np.abs(wrap_deg(difference)).mean(axis=1)


def draw(errors: Mapping[Any, Mapping[int, np.ndarray]], draws: int = DRAWS, seed: int = 0) -> Draws:
    """Draw faces and seeds again and again; `errors` are rows of {training seed: (faces,)}, the same faces everywhere.

    Rows with the same seeds get the same draws of them, since equal seeds share data order and beginnings.
    """
    generator = np.random.default_rng(seed)
    faces = len(next(iter(next(iter(errors.values())).values())))
    weights = generator.multinomial(faces, np.full(faces, 1 / faces), size=draws) / faces  # (draws, faces)
    observed: dict[Hashable, float] = {}
    drawn: dict[Hashable, np.ndarray] = {}
    chosen: dict[tuple[int, ...], np.ndarray] = {}
    for name, by_seed in errors.items():
        seeds = tuple(sorted(by_seed))
        stacked = np.stack([by_seed[s] for s in seeds])  # (seeds, faces)
        if seeds not in chosen:
            chosen[seeds] = generator.integers(len(seeds), size=(draws, max(1, len(seeds) - 1)))
        means = stacked @ weights.T  # (seeds, draws)
        observed[name] = float(stacked.mean())
        drawn[name] = np.take_along_axis(means.T, chosen[seeds], axis=1).mean(axis=1)
    return Draws(observed, drawn)


def noise(pairs: Sequence[tuple[float, float]]) -> Noise:
    """The spread of a run from pairs of runs that differ in nothing but chance."""
    from scipy.special import stdtrit  # its import is much shorter than that of scipy.stats

    sd = sqrt(sum((a - b) ** 2 for a, b in pairs) / (2 * len(pairs)))
    return Noise(sd, len(pairs), float(stdtrit(len(pairs), (1 + LEVEL) / 2)))
