"""Random numbers for one head: a counter-based stream that depends on (seed, index, stream) alone."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

_UNIFORMS, _NORMALS = 256, 112


class Draws:
    """Uniform and normal draws, taken in order from one block drawn up front.

    Philox4x64 is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the key holds
    (seed, index) and the last counter word the stream, so no head's numbers depend on which heads came before it.
    Raises RuntimeError when a head takes more draws than the block holds.
    """

    def __init__(self, seed: int, index: int, stream: int) -> None:
        bits = np.random.Philox(key=np.array([seed, index], np.uint64), counter=np.array([0, 0, 0, stream], np.uint64))
        generator = np.random.Generator(bits)
        self._uniforms = iter(generator.random(_UNIFORMS).tolist())
        self._normals = iter(np.clip(generator.standard_normal(_NORMALS), -2.3, 2.3).tolist())

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        try:
            return low + (high - low) * next(self._uniforms)
        except StopIteration:
            raise RuntimeError("a head took more uniform draws than its block holds; enlarge the block") from None

    def normal(self, deviation: float = 1.0) -> float:
        """Normal, cut at 2.3 deviations: heads stay plausible."""
        try:
            return deviation * next(self._normals)
        except StopIteration:
            raise RuntimeError("a head took more normal draws than its block holds; enlarge the block") from None

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def choice(self, options: Sequence, weights: Sequence[float]):
        """One of `options`; the weights need not sum to 1."""
        mark = self.uniform(0.0, float(sum(weights)))
        for option, weight in zip(options, weights, strict=True):
            mark -= weight
            if mark < 0:
                return option
        return options[-1]

    def tint(self, spread: float) -> np.ndarray:
        """A factor (3,) on RGB: warm or cold by `spread` (log scale), a little green or magenta."""
        warmth = self.normal(spread)
        return np.array([math.exp(warmth), math.exp(self.normal(0.03)), math.exp(-1.2 * warmth)], np.float32)

    def colour(self, power: float = 1.5, strength: float = 0.6) -> np.ndarray:
        """A random linear RGB colour (3,); a higher power is darker."""
        return np.array([strength * self.uniform() ** power + 0.01 for _ in range(3)], np.float32)

    def gray(self, power: float = 1.7, strength: float = 0.7) -> np.ndarray:
        """A random linear gray (3,)."""
        return np.full(3, strength * self.uniform() ** power + 0.01, np.float32)


@lru_cache(maxsize=1)
def noise_table() -> np.ndarray:
    """A fixed (512, 512) float32 table of standard normal numbers; a draw picks where a window lies in it."""
    generator = np.random.Generator(np.random.Philox(key=20240607))
    return generator.standard_normal((512, 512)).astype(np.float32)


def noise_window(place: float, height: int, width: int) -> np.ndarray:
    """A window (height, width) of the noise table, its corner chosen by `place` in [0, 1)."""
    table = noise_table()
    rows, columns = table.shape[0] - height + 1, table.shape[1] - width + 1
    corner = int(place * rows * columns)
    return table[corner // columns :, corner % columns :][:height, :width]
