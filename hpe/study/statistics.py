"""Mean, spread, and the paired bootstrap that stands behind every "A is better than B". Errors in degrees.

Faces are drawn again (Efron 1979). Seeds are drawn from the Student's t distribution that their spread gives: few
values drawn again from themselves make intervals that are too narrow, and call 7 to 36 % of equal rows with two or
three seeds different; this calls 0 to 6 % so (benchmarks/LOG.md). With one seed the interval covers the choice of faces
alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
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
        """Differences beyond this between the means of n runs happen by chance in 1 - LEVEL of the cases."""
        return self.quantile * self.sd_deg * sqrt(1 / runs_a + 1 / runs_b)


@dataclass(frozen=True)
class Draws:
    """Mean errors of rows under the same draws of faces, and in each seed."""

    drawn: dict[Hashable, np.ndarray]
    """(DRAWS,) mean errors of each row over its seeds."""
    by_seed: dict[Hashable, dict[int, float]]
    """Mean errors of each row over all faces."""

    def compare(self, a: Hashable, b: Hashable) -> Comparison:
        """Row A against row B; seeds that both have are paired, since they share data order and beginnings."""
        first, second = self.by_seed[a], self.by_seed[b]
        differences = self.drawn[a] - self.drawn[b]
        if first.keys() == second.keys():
            differences = differences + _chance([first[seed] - second[seed] for seed in first], len(differences), 0)
        else:
            differences = differences + _chance(list(first.values()), len(differences), 1)
            differences = differences - _chance(list(second.values()), len(differences), 2)
        low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        better = float(np.mean(differences < 0) + np.mean(differences == 0) / 2)
        observed = float(np.mean(list(first.values())) - np.mean(list(second.values())))
        return Comparison(observed, float(low), float(high), better)


def _chance(values: Sequence[float], draws: int, stream: int) -> np.ndarray | float:
    """How far the mean of so few values may lie from the truth, (draws,); 0 for one, of which nothing is known."""
    if len(values) == 1:
        return 0.0
    return _student(len(values) - 1, draws, stream) * (float(np.std(values, ddof=1)) / sqrt(len(values)))


@cache
def _student(freedom: int, draws: int, stream: int) -> np.ndarray:
    """(draws,) of Student's t, always the same ones; other streams are independent."""
    return np.random.default_rng([freedom, stream]).standard_t(freedom, size=draws)


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one or more values."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), sd, len(values))


def face_errors(predicted_deg: Sequence[Sequence[float]], true_deg: Sequence[Sequence[float]]) -> np.ndarray:
    """The mean absolute error over yaw, pitch and roll of every face, (faces,)."""
    difference = np.asarray(predicted_deg, np.float64) - np.asarray(true_deg, np.float64)  # (faces, 3)
    return np.abs(wrap_deg(difference)).mean(axis=1)


def draw(errors: Mapping[Any, Mapping[int, np.ndarray]], draws: int = DRAWS, seed: int = 0) -> Draws:
    """Draw faces again and again; `errors` are rows of {training seed: (faces,)}, the same faces everywhere."""
    faces = len(next(iter(next(iter(errors.values())).values())))
    counts = np.random.default_rng(seed).multinomial(faces, np.full(faces, 1 / faces), size=draws)  # (draws, faces)
    drawn = {name: counts @ np.mean(list(by_seed.values()), axis=0) / faces for name, by_seed in errors.items()}
    means = {name: {s: float(e.mean()) for s, e in by_seed.items()} for name, by_seed in errors.items()}
    return Draws(drawn, means)


def noise(pairs: Sequence[tuple[float, float]]) -> Noise:
    """The spread of a run from pairs of runs that differ in nothing but chance."""
    from scipy.special import stdtrit  # its import is much shorter than that of scipy.stats

    sd = sqrt(sum((a - b) ** 2 for a, b in pairs) / (2 * len(pairs)))
    return Noise(sd, len(pairs), float(stdtrit(len(pairs), (1 + LEVEL) / 2)))
