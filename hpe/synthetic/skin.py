"""Paint of the head: skin tone, lips, brows, beard, make-up, mouth; then hair and hat over it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic import anatomy as an
from hpe.synthetic.draws import Draws
from hpe.synthetic.geometry import bump, smoothstep
from hpe.synthetic.morphs import Person
from hpe.synthetic.surface import COLUMNS, ROWS, head_surface
from hpe.synthetic.surfels import add_layers, spans_of

_LIGHT, _DARK = np.log([0.76, 0.50, 0.38]), np.log([0.15, 0.075, 0.045])  # linear RGB of the ends of the range
_BLOTCH_PATTERNS = 8


@dataclass(frozen=True)
class Skin:
    """Colours and coverages of one face."""

    tone: float
    """0 light to 1 dark."""
    colour: np.ndarray
    """(3,) linear RGB."""
    lip_colour: np.ndarray
    """(3,) linear RGB, lipstick included."""
    shade: float
    """Darkness round the eyes, as a factor on the skin."""
    cover: dict[str, float]
    """How strongly each painted region shows, 0..1."""
    blotch: float
    """Contrast of the skin's unevenness."""
    pattern: int

    @classmethod
    def draw(cls, draws: Draws, female: bool) -> "Skin":
        tone = draws.uniform() ** 1.25
        share = tone**1.3
        colour = np.exp((1 - share) * _LIGHT + share * _DARK) * draws.tint(0.06) * draws.uniform(0.8, 1.15)
        lips = colour * np.array([0.85, 0.48, 0.48]) * draws.uniform(0.8, 1.1)
        lipstick, strength = draws.chance(0.35), draws.uniform(0.5, 1.3)
        if female and lipstick:
            lips = np.array([0.42, 0.06, 0.07]) * strength
        beard, stubble = draws.chance(0.42), draws.chance(0.35)
        moustache = draws.chance(0.08)
        beard_cover = draws.uniform(0.12, 0.4) if stubble else draws.uniform(0.6, 0.97)
        moustache_cover = draws.uniform(0.4, 0.95)
        if female:
            beard = moustache = False
        cover = {
            "blush": draws.uniform(0, 0.8),
            "eye_shade": draws.uniform(0.1, 0.7),
            "fold": draws.uniform(0, 0.5),
            "lips": 0.9,
            "brow": draws.uniform(0.35, 0.95),
            "beard": beard_cover * beard,
            "moustache": max(beard_cover * beard, moustache_cover * moustache),
            "nostrils": 0.85,
            "lip_gap": 0.75,
            "lash": draws.uniform(0.3, 0.9),
        }
        return cls(
            tone, colour.astype(np.float32), lips.astype(np.float32), draws.uniform(0.45, 0.95), cover,
            draws.uniform(0, 0.07), int(draws.uniform() * _BLOTCH_PATTERNS),
        )  # fmt: skip

    def paint(self, hair_colour: np.ndarray, person: Person) -> np.ndarray:
        """Albedo (3, n) of the bare head: the regions of the surface, blended onto the skin."""
        hair, skin = hair_colour, self.colour
        colours = {
            "blush": skin * np.float32([1.05, 0.78, 0.75]),  # pyright: ignore[reportArgumentType]
            "eye_shade": skin * np.float32(self.shade),
            "fold": skin * np.float32(0.6),
            "lips": self.lip_colour,
            "brow": 0.7 * hair + 0.08 * skin,
            "beard": 0.8 * hair + 0.05 * skin,
            "moustache": 0.8 * hair + 0.05 * skin,
            "nostrils": skin * np.float32(0.15),
            "lip_gap": skin * np.float32(0.18),
            "lash": 0.2 * hair + 0.005,
        }
        names, coverage, spans = _regions()
        change = np.array([np.float32(self.cover[name]) * (colours[name] - skin) for name in names]).T.copy()
        albedo = np.empty((3, coverage.shape[1]), np.float32)
        albedo[:] = skin[:, None]
        for channel in range(3):  # regions hardly overlap, so their changes add up
            add_layers(albedo[channel], change[channel], coverage, spans)
        if person.mouth_open > 0.02:
            self._open_mouth(albedo, person)
        unevenness = np.float32(self.blotch) * _blotches()[self.pattern]
        unevenness += 1
        albedo *= unevenness
        return albedo

    def _open_mouth(self, albedo: np.ndarray, person: Person) -> None:
        """Dark inside of the mouth with a row of teeth, where the jaw's drop stretches the gap."""
        span, inside, teeth = _mouth_inside()
        shown = np.float32(min(1.0, 4 * person.mouth_open))
        albedo[:, span] += shown * inside * (np.float32([[0.05], [0.015], [0.015]]) - albedo[:, span])  # pyright: ignore[reportArgumentType]
        bright = np.float32(min(1.0, 0.35 + person.smile)) * shown
        albedo[:, span] += bright * teeth * (np.float32([[0.62], [0.58], [0.50]]) - albedo[:, span])  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=1)
def _regions() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the k painted regions, their coverage over the head surface (k, n), and where each is (k, 2)."""
    paint = head_surface().paint
    coverage = np.stack(list(paint.values()))
    return list(paint), coverage, spans_of(coverage)


@lru_cache(maxsize=1)
def _mouth_inside() -> tuple[slice, np.ndarray, np.ndarray]:
    """The span of points of the gap between the lips, the coverage of the mouth's inside there, and of the teeth."""
    head = head_surface()
    (x, y), front = head.flat, head.relief["front"]
    half = an.HALF_MOUTH - 4
    below = an.MOUTH_Y - y  # the jaw's drop sets in just below this line and stretches what follows
    narrow = smoothstep(half, half - 5, np.abs(x)) * front
    inside = smoothstep(-1.2, -0.2, below) * smoothstep(2.6, 1.4, below) * narrow
    teeth = smoothstep(-0.9, -0.5, below) * smoothstep(0.5, 0.1, below) * narrow
    touched = np.flatnonzero(inside > 1e-3)
    span = slice(int(touched[0]), int(touched[-1]) + 1)
    return span, inside[span].astype(np.float32), teeth[span].astype(np.float32)


@lru_cache(maxsize=1)
def _blotches() -> np.ndarray:
    """(patterns, n): smooth unevenness over the head, deviation 1."""
    generator = np.random.Generator(np.random.Philox(key=77))
    row, column = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    patterns = []
    for _ in range(_BLOTCH_PATTERNS):
        pattern = np.zeros((ROWS, COLUMNS))
        for _ in range(90):
            radius = generator.uniform(2, 7)
            centre_row, centre_column = generator.uniform(0, ROWS), generator.uniform(0, COLUMNS)
            pattern += generator.normal() * bump(column, row, centre_column, centre_row, radius, radius)
        patterns.append(pattern.ravel() / pattern.std())
    return np.array(patterns, np.float32)
