"""What a cheap camera, a resize and JPEG do to a picture. All of it works on display RGB (3, h, w), 0..1."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic.draws import Draws, noise_table

_BLOCK = 8  # JPEG's block
# Luma and colour differences as in JPEG (ITU-R BT.601), and back.
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_FROM_YCC = np.linalg.inv(_TO_YCC).astype(np.float32)


@dataclass(frozen=True)
class Degradation:
    """One picture's way from the sensor to the crop."""

    contrast: float
    brightness: float
    balance: np.ndarray
    """(3,) factor on red, green, blue."""
    saturation: float
    """0 is a gray picture."""
    blur: float
    """Deviation of the blur, pixels at 64 across the crop."""
    noise: float
    """Deviation, of 0..1."""
    noise_place: tuple[float, float]
    jpeg_step: float
    """Quantisation step at the lowest frequency, of 0..1; grows with the frequency."""
    cut: tuple[float, float, float]
    """Share of the picture that is black at left, right and bottom, where the crop ran off the photo."""

    @classmethod
    def draw(cls, draws: Draws) -> "Degradation":
        gray, sharp, cut = draws.chance(0.12), draws.chance(0.35), draws.chance(0.12)
        saturation, blur = draws.uniform(0.6, 1.25), 0.25 + 1.2 * draws.uniform() ** 2
        balance = np.array([1 + draws.normal(0.035) for _ in range(3)], np.float32)
        cuts = tuple(0.26 * draws.uniform() ** 2 * cut for _ in range(3))
        return cls(
            contrast=draws.uniform(0.75, 1.2),
            brightness=draws.uniform(-0.08, 0.08),
            balance=balance,
            saturation=0.0 if gray else saturation,
            blur=0.0 if sharp else blur,
            noise=0.03 * draws.uniform() ** 2,
            noise_place=(draws.uniform(), draws.uniform()),
            jpeg_step=0.006 + 0.03 * draws.uniform() ** 2,
            cut=(cuts[0], cuts[1], cuts[2]),
        )

    def apply(self, picture: np.ndarray, size: int) -> np.ndarray:
        """The degraded picture; `size` is the pixels across the standard crop."""
        picture = self._tone(picture)
        picture = self._blur(picture, size)
        picture = self._black_border(picture)
        picture = self._sensor_noise(picture)
        return self._jpeg(picture)

    def _tone(self, picture: np.ndarray) -> np.ndarray:
        """Contrast, brightness and colour balance, then saturation: one affine map of the colours."""
        mix = self.saturation * np.eye(3) + (1 - self.saturation) / 3
        offset = 0.5 - 0.5 * self.contrast + self.brightness
        matrix = (mix * (self.contrast * self.balance)).astype(np.float32)
        shift = (mix @ (offset * self.balance)).astype(np.float32)
        return (matrix @ picture.reshape(3, -1) + shift[:, None]).reshape(picture.shape)

    def _blur(self, picture: np.ndarray, size: int) -> np.ndarray:
        if self.blur == 0.0:
            return picture
        weights = _gaussian_rows(picture.shape[1], self.blur * size / 64)
        return weights @ picture @ weights.T

    def _black_border(self, picture: np.ndarray) -> np.ndarray:
        side = picture.shape[1]
        left, right, bottom = (int(share * side) for share in self.cut)
        picture[:, :, :left] = 0
        picture[:, :, side - right :] = 0
        picture[:, side - bottom :] = 0
        return picture

    def _sensor_noise(self, picture: np.ndarray) -> np.ndarray:
        table = noise_table()
        span = picture.size
        start = int(self.noise_place[0] * (table.size - span)) if span < table.size else 0
        noise = np.resize(table, span) if span > table.size else table.ravel()[start : start + span]
        return picture + np.float32(self.noise) * noise.reshape(picture.shape)

    def _jpeg(self, picture: np.ndarray) -> np.ndarray:
        """Quantise 8 x 8 cosine blocks of luma and colour, as JPEG does."""
        side = picture.shape[1]
        blocks = -(-side // _BLOCK)
        if blocks * _BLOCK != side:
            rest = blocks * _BLOCK - side
            picture = np.pad(picture, ((0, 0), (0, rest), (0, rest)), mode="edge")
        ycc = _TO_YCC @ picture.reshape(3, -1)
        cosine = _cosine()
        waves = cosine @ ycc.reshape(3, blocks, _BLOCK, -1)  # down each block
        waves = waves.reshape(3, -1, _BLOCK) @ cosine.T  # and across
        steps = _relative_steps(blocks) * np.float32(self.jpeg_step)
        waves = np.rint(waves / steps) * steps
        ycc = cosine.T @ (waves @ cosine).reshape(3, blocks, _BLOCK, -1)
        return (_FROM_YCC @ ycc.reshape(3, -1)).reshape(picture.shape)[:, :side, :side]


def _gaussian_rows(side: int, deviation: float) -> np.ndarray:
    """(side, side): each row averages its neighbours with Gaussian weights that sum to 1."""
    offset = np.arange(side, dtype=np.float32)
    distance = np.abs(offset[:, None] - offset[None]) / np.float32(deviation)
    weights = np.exp(-0.5 * np.minimum(distance, 5) ** 2) * (distance < 5)  # cut, so that no number is denormal
    return weights / weights.sum(axis=1, keepdims=True)


@lru_cache(maxsize=1)
def _cosine() -> np.ndarray:
    """(8, 8): the orthonormal cosine transform, type II."""
    n = np.arange(_BLOCK)
    matrix = np.cos(np.pi * n[:, None] * (2 * n[None] + 1) / (2 * _BLOCK)) * np.sqrt(2 / _BLOCK)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


@lru_cache(maxsize=4)
def _relative_steps(blocks: int) -> np.ndarray:
    """(3, blocks * 8 * blocks, 8) quantisation steps of rows of 8 waves: coarser for high frequencies and colour."""
    frequency = np.arange(_BLOCK)
    steps = 1 + frequency[:, None, None] + frequency[None, None]  # (8 down, 1, 8 across)
    steps = np.broadcast_to(steps, (blocks, _BLOCK, blocks, _BLOCK)).reshape(-1, _BLOCK)
    return (steps * np.array([1, 1.8, 1.8])[:, None, None]).astype(np.float32)
