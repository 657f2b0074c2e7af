"""Mean, spread, and the paired bootstrap that stands behind every "A is better than B". Errors in degrees.

Faces are drawn again (Efron 1979). What another seed would change is drawn from Student's t, with the standard
deviation of a run that all rows with several seeds give together: a row's own two or three seeds say little of it, and
a row with one seed nothing, although it varies as much. Of equal rows this calls 3 to 7 % different, and it finds more
of the true differences than each row's own spread does (benchmarks/LOG.md). Where every row has one seed, an interval
covers the choice of faces alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import nan, sqrt
from typing import Any

import numpy as np

from hpe.pose.rotation import wrap_deg

DRAWS = 4000
LEVEL = 0.95
ONE_SD = 0.6827
"""Of a normal distribution within one standard deviation of its mean."""
Files = tuple[str, str]
"""A row, and a kind of file of all its networks."""


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
    standard_error_deg: float
    """Half of the interval that holds the middle 68 % of the draws, one standard deviation to each side."""
    faces_alone: bool
    """Whether nothing says what another seed would change, so that two networks are compared, not two recipes."""

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out no difference at all."""
        return self.low_deg > 0 or self.high_deg < 0


@dataclass(frozen=True)
class Noise:
    """What repeating a run changes, from runs that differ in nothing but chance."""

    sd_deg: float
    """Standard deviation of one run; NaN where nothing was repeated."""
    freedom: int
    """Degrees of freedom; 0 where nothing was repeated."""

    def limit_deg(self, runs: float = 2.0) -> float:
        """Differences beyond this happen by chance in 1 - LEVEL of the cases; `runs` is their variance in those of a
        run: 2 between two single runs, 1/n + 1/m between the means of n and m (`variance`).
        """
        from scipy.special import stdtrit  # its import is much shorter than that of scipy.stats

        return float(stdtrit(self.freedom, (1 + LEVEL) / 2)) * self.sd_deg * sqrt(runs)


@dataclass(frozen=True)
class Draws:
    """Mean errors of files under the same draws of faces, and in each seed."""

    drawn: dict[Files, np.ndarray]
    """(DRAWS,) mean errors over a row's seeds."""
    by_seed: dict[Files, dict[int, float]]
    """Mean errors over all faces."""

    def run_noise(self, kind: str, less: str | None = None) -> Noise:
        """The spread of a run's error with this kind of file, over all rows with several seeds. With `less`: of what it
        errs more than that kind, both files of one network.
        """
        groups = []
        for (row, its_kind), errors in self.by_seed.items():
            other = dict.fromkeys(errors, 0.0) if less is None else self.by_seed.get((row, less), {})
            if its_kind == kind:
                groups.append([error - other[seed] for seed, error in errors.items() if seed in other])
        return pooled(groups)

    def compare(self, *pairs: tuple[Files, Files]) -> Comparison:
        """A against B in the mean of all pairs: two rows with one kind of file; or two kinds of file of one row, which
        come from the same networks, so that most of what a seed changes falls out.
        """
        (_, kind), (_, other_kind) = pairs[0]
        same = all(a[0] == b[0] for a, b in pairs)
        runs = self.run_noise(kind, other_kind if same else None)
        trainings = [(self._training(a), None if same else self._training(b)) for a, b in pairs]
        differences = np.mean([self.drawn[a] - self.drawn[b] for a, b in pairs], axis=0)
        if runs.freedom:
            scale = runs.sd_deg * sqrt(variance(trainings, len))
            differences = differences + _student(runs.freedom, len(differences)) * scale
        ends = [(1 - LEVEL) / 2, (1 - ONE_SD) / 2, (1 + ONE_SD) / 2, (1 + LEVEL) / 2]
        low, lower, upper, high = (float(end) for end in np.quantile(differences, ends))
        better = float(np.mean(differences < 0) + np.mean(differences == 0) / 2)
        means = [[np.mean(list(self.by_seed[files].values())) for files in pair] for pair in pairs]
        observed = float(np.mean([a - b for a, b in means]))
        return Comparison(observed, low, high, better, (upper - lower) / 2, runs.freedom == 0)

    def _training(self, files: Files) -> tuple[tuple[int, float], ...]:
        """Errors by seed, which know rows that are one training under several names, and how many runs there are."""
        return tuple(self.by_seed[files].items())


def variance(pairs: Sequence[tuple[Hashable, Hashable]], runs: Callable[[Any], int]) -> float:
    """The variance, in those of one run, of the mean over pairs of A less B, each the mean of so many `runs`; without
    a B, of the mean of A. What stands in several pairs counts in all of them.
    """
    weights: dict[Hashable, float] = defaultdict(float)
    for pair in pairs:
        for one, sign in zip(pair, (1, -1), strict=True):
            if one is not None:
                weights[one] += sign / len(pairs)
    return sum(weight**2 / runs(one) for one, weight in weights.items())


@cache
def _student(freedom: int, draws: int) -> np.ndarray:
    """(draws,) of Student's t, always the same ones."""
    return np.random.default_rng(freedom).standard_t(freedom, size=draws)


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one or more values."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), sd, len(values))


def face_errors(predicted_deg: Sequence[Sequence[float]], true_deg: Sequence[Sequence[float]]) -> np.ndarray:
    """The mean absolute error over yaw, pitch and roll of every face, (faces,)."""
    difference = np.asarray(predicted_deg, np.float64) - np.asarray(true_deg, np.float64)  # (faces, 3)
    return np.abs(wrap_deg(difference)).mean(axis=1)


def draw(errors: Mapping[Files, Mapping[int, np.ndarray]], draws: int = DRAWS, seed: int = 0) -> Draws:
    """Draw faces again and again; `errors` are {training seed: (faces,)} of files, the same faces everywhere."""
    faces = len(next(iter(next(iter(errors.values())).values())))
    counts = np.random.default_rng(seed).multinomial(faces, np.full(faces, 1 / faces), size=draws)  # (draws, faces)
    drawn = {name: counts @ np.mean(list(by_seed.values()), axis=0) / faces for name, by_seed in errors.items()}
    means = {name: {s: float(e.mean()) for s, e in by_seed.items()} for name, by_seed in errors.items()}
    return Draws(drawn, means)


def pooled(groups: Iterable[Sequence[float]]) -> Noise:
    """The spread of a run from groups of runs that differ in nothing but chance; groups that are equal value by value
    are one training that stands under several names, and count once.
    """
    several = [group for group in {tuple(group) for group in groups} if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum((len(group) - 1) * float(np.var(group, ddof=1)) for group in several)
    return Noise(sqrt(squares / freedom) if freedom else nan, freedom)
