"""What a cheap camera, a resize and JPEG do to a picture. All of it works on display RGB (3, h, w), 0..1."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic.compiled import compiled
from hpe.synthetic.draws import Draws, noise_table
from hpe.synthetic.filters import BLOCK, blurring, cosine_waves, filtered

# Luma and colour differences as in JPEG (ITU-R BT.601), and back.
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_FROM_YCC = np.linalg.inv(_TO_YCC).astype(np.float32)
_NO_SHIFT = np.zeros(3, np.float32)
_ZERO, _HALF, _ONE, _WHITE = np.array([0, 0.5, 1, 255], np.float32)


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
        return mix_colours(picture, matrix, (mix @ (offset * self.balance)).astype(np.float32))

    def _blur(self, picture: np.ndarray, size: int) -> np.ndarray:
        if self.blur == 0.0:
            return picture
        return filtered(picture, *blurring(picture.shape[1], self.blur * size / 64))

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
        blocks = -(-side // BLOCK)
        if rest := blocks * BLOCK - side:
            picture = np.pad(picture, ((0, 0), (0, rest), (0, rest)), mode="edge")
        there, back = cosine_waves(blocks)
        waves = filtered(mix_colours(picture, _TO_YCC, _NO_SHIFT), *there)
        quantise(waves, _relative_steps(blocks), np.float32(self.jpeg_step))
        return mix_colours(filtered(waves, *back), _FROM_YCC, _NO_SHIFT)[:, :side, :side]


@lru_cache(maxsize=4)
def _relative_steps(blocks: int) -> np.ndarray:
    """(3, blocks * 8, blocks * 8) quantisation steps: coarser for high frequencies and colour."""
    frequency = np.arange(blocks * BLOCK) % BLOCK
    steps = 1 + frequency[:, None] + frequency[None]  # down and across
    return (steps * np.array([1, 1.8, 1.8])[:, None, None]).astype(np.float32)


@compiled
def mix_colours(picture, matrix, shift):
    """matrix (3, 3) @ each colour + shift (3,) of a picture (3, h, w), float32."""
    mixed = np.empty(picture.shape, np.float32)
    for channel in range(3):
        a, b, c = matrix[channel, 0], matrix[channel, 1], matrix[channel, 2]
        for y in range(picture.shape[1]):
            red, green, blue, target = picture[0, y], picture[1, y], picture[2, y], mixed[channel, y]
            for x in range(target.size):
                target[x] = a * red[x] + b * green[x] + c * blue[x] + shift[channel]
    return mixed


@compiled
def quantise(waves, steps, scale):
    """Round waves (3, h, w) to multiples of scale * steps, in place."""
    for channel in range(3):
        for y in range(waves.shape[1]):
            row, step = waves[channel, y], steps[channel, y]
            for x in range(row.size):
                row[x] = np.rint(row[x] / (step[x] * scale)) * (step[x] * scale)


@compiled
def to_bytes(picture):
    """A picture (3, h, w) of 0..1, cut to that, as uint8 (h, w, 3)."""
    _, height, width = picture.shape
    pixels = np.empty((height, width, 3), np.uint8)
    for y in range(height):
        for channel in range(3):
            row = picture[channel, y]
            for x in range(width):
                pixels[y, x, channel] = np.uint8(min(max(row[x], _ZERO), _ONE) * _WHITE + _HALF)
    return pixels
