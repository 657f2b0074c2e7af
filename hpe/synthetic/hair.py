"""Hair of the head: a layer that thickens the scalp, and for long hair a curtain that hangs around the back."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic import anatomy as an
from hpe.synthetic.draws import Draws
from hpe.synthetic.geometry import Part, bump, facing, smoothstep
from hpe.synthetic.parts import hair_layer, hang_curtain
from hpe.synthetic.surface import COLUMNS, ROWS, HeadSurface, head_surface
from hpe.synthetic.surfels import grid_normals

CURTAIN_ROWS, CURTAIN_COLUMNS = 30, 54
_STRAND_PATTERNS = 8

# Linear RGB of black, dark brown, brown, light brown, blond, red, gray and white, and how common each is.
_COLOURS = (
    (0.012, 0.010, 0.009), (0.030, 0.018, 0.012), (0.080, 0.045, 0.025), (0.18, 0.10, 0.045),
    (0.42, 0.28, 0.14), (0.22, 0.07, 0.03), (0.24, 0.23, 0.22), (0.50, 0.49, 0.47),
)  # fmt: skip
_COLOUR_SHARES = (26, 20, 17, 12, 10, 5, 5, 5)
_MEN, _WOMEN = (9, 14, 62, 5, 10), (0, 0, 27, 60, 13)
"""How common the styles are."""


@dataclass(frozen=True)
class Hair:
    """Style and colour of one head of hair; lengths in mm."""

    style: str
    """bald, receding, short, long or curly."""
    colour: np.ndarray
    """(3,) linear RGB."""
    border: tuple[float, ...]
    """Height of the hairline at the forehead, at the side, at the back, and its slant from the parting."""
    thickness: float
    """Depth of the layer."""
    lift: float
    """Extra height on top."""
    wave: float
    """How ragged the border is."""
    softness: float
    """Width of the border's fade."""
    contrast: float
    """Light and dark of the strands."""
    pattern: int
    """Which strand pattern, and which part of it."""
    fall: tuple[float, ...]
    """Curtain: height of its end, half its opening at the face (radians), volume, flare."""

    @classmethod
    def draw(cls, draws: Draws, female: bool, dark_skin: bool) -> "Hair":
        style = draws.choice(("bald", "receding", "short", "long", "curly"), _WOMEN if female else _MEN)
        pick = draws.choice(range(len(_COLOURS)), _COLOUR_SHARES)
        colour = np.array(_COLOURS[min(pick, 1) if dark_skin else pick], np.float32)
        fringe = draws.uniform(0, 36) if draws.chance(0.25) else 0.0
        forehead = an.HAIRLINE_Y - 9 + draws.normal(7) - fringe
        thickness, lift = draws.uniform(3, 13), draws.uniform(0, 12)
        if style == "receding":
            forehead, thickness, lift = forehead + draws.uniform(14, 34), 0.5 * thickness, 0.2 * lift
        if style == "curly":
            thickness, lift = thickness + draws.uniform(6, 34), lift + 6
        opening = draws.uniform(1.8, 2.1) if draws.chance(0.3) else draws.uniform(1.15, 1.5)  # behind or over the ears
        return cls(
            style=style,
            colour=colour * np.float32(math.exp(draws.normal(0.3))) * draws.tint(0.08),
            border=(forehead, draws.uniform(-42, 8), draws.uniform(-95, -60), draws.uniform(-9, 9)),
            thickness=thickness,
            lift=lift,
            wave=draws.uniform(0, 4),
            softness=draws.uniform(2, 8),
            contrast=draws.uniform(0.3, 1.0),
            pattern=int(draws.uniform() * _STRAND_PATTERNS),
            fall=(draws.uniform(-230, -62), opening, draws.uniform(3, 20), draws.uniform(-0.08, 0.25)),
        )

    @property
    def hides_ears(self) -> bool:
        hangs_over, puffs_over = (
            self.style == "long" and self.fall[1] < 1.7,
            self.style == "curly" and self.thickness > 18,
        )
        return hangs_over or puffs_over

    def cover(self) -> tuple[np.ndarray, np.ndarray]:
        """Coverage 0..1 and layer depth in mm of the hair over the head surface, two (n,) arrays."""
        if self.style == "bald":
            return np.zeros(ROWS * COLUMNS, np.float32), np.zeros(ROWS * COLUMNS, np.float32)
        scalp = _scalp()
        fullness = scalp.fuller_on_top if self.hides_ears else scalp.flat_at_ears
        border, strands = np.array(self.border, np.float32), self.strands(ROWS, COLUMNS)
        wave, softness, thickness, lift = np.array([self.wave, self.softness, self.thickness, self.lift], np.float32)
        return hair_layer(
            scalp.height, scalp.border_weights, border, strands, wave, softness, fullness, thickness, scalp.top, lift
        )

    def strands(self, rows: int, columns: int) -> np.ndarray:
        """Strand pattern (rows * columns,), mean 0, deviation 1."""
        return _strand_patterns(rows, columns, self.style == "curly")[self.pattern]

    def shade(self, rows: int, columns: int) -> np.ndarray:
        """Brightness factor (rows * columns,) of the strands."""
        shade = np.float32(0.4 * self.contrast) * self.strands(rows, columns)
        shade += 1
        return np.clip(shade, 0.25, 2.2, out=shade)


@dataclass(frozen=True)
class _Scalp:
    """Maps over the head surface, each (n,) unless said otherwise."""

    height: np.ndarray
    """mm above the eyes."""
    border_weights: np.ndarray
    """(4, n): how forehead, side, back and slant of the hairline combine around the head."""
    fuller_on_top: np.ndarray
    """Factor on the layer's depth."""
    flat_at_ears: np.ndarray
    """The same, for hair that lies flat around visible ears."""
    top: np.ndarray
    """1 at the top of the head, 0 at the brows."""


@lru_cache(maxsize=1)
def _scalp() -> _Scalp:
    head = head_surface()
    x, y, z = head.points
    height, azimuth = head.flat[1], head.azimuth
    to_side, to_back = smoothstep(0.85, 1.25, np.abs(azimuth)), smoothstep(1.25, 1.9, np.abs(azimuth))
    front = 1 - to_side
    weights = np.stack([front, to_side * (1 - to_back), to_side * to_back, np.sin(azimuth) * front])
    fuller = 0.6 + 0.4 * smoothstep(28, 98, height)
    at_ears = bump(z, y, an.EAR_Z, an.TRAGION_Y + 8, 28, 38) * (np.abs(x) > 40)
    maps = height, weights, fuller, fuller * (1 - 0.85 * at_ears), smoothstep(35, 105, height)
    return _Scalp(*(np.ascontiguousarray(a, dtype=np.float32) for a in maps))


@lru_cache(maxsize=8)
def _strand_patterns(rows: int, columns: int, curly: bool) -> np.ndarray:
    """(_STRAND_PATTERNS, rows * columns): waves that run around the head and bend on the way down, or curls."""
    generator = np.random.Generator(np.random.Philox(key=[rows, columns + 1000 * curly]))
    around, down = np.meshgrid(np.linspace(0, 2 * np.pi, columns, endpoint=False), np.linspace(0, 1, rows))
    patterns = []
    for _ in range(_STRAND_PATTERNS):
        pattern = np.zeros((rows, columns))
        for _ in range(24):
            frequency, phase, lean = generator.integers(8, 40), generator.uniform(0, 2 * np.pi), generator.normal()
            bend = 0.8 * np.sin(generator.uniform(2, 8) * down) + (generator.uniform(20, 70) * down if curly else 0)
            pattern += np.cos(frequency * around + phase + 1.5 * lean * down + bend) / np.sqrt(frequency)
        patterns.append(pattern.ravel() / pattern.std())
    return np.array(patterns, np.float32)


def curtain(hair: Hair, half_width: float, colour: np.ndarray, shade: np.ndarray | float, loose: float = 1.0) -> Part:
    """A sheet that hangs from the crown around sides and back: long hair or a head scarf.

    `half_width` is that of this head at the ears, mm; `loose` scales the ripple of strands.
    """
    strands = hair.strands(CURTAIN_ROWS, CURTAIN_COLUMNS)
    numbers = np.array([half_width, *hair.fall, 1.7 * loose], np.float32)
    points = hang_curtain(strands, CURTAIN_ROWS, CURTAIN_COLUMNS, *numbers)
    normals = grid_normals(points, CURTAIN_ROWS, CURTAIN_COLUMNS, closed=False)
    outward = points * np.float32([[1], [0], [1]]) + np.float32([[0], [0], [73]])  # pyright: ignore[reportArgumentType]
    return Part(points, facing(normals, outward), colour[:, None] * shade)


def grow(points: np.ndarray, depth: np.ndarray, head: HeadSurface) -> None:
    """Push the head's points (3, n) outward by `depth` (n,) mm, in place."""
    points += depth.astype(np.float32) * head.outward
