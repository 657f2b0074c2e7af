"""What lies behind and in front of a head: a blurred backdrop, and things that cover part of the face."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic.draws import Draws, noise_window

_OCTAVES = ((6, 0.5), (14, 0.35), (34, 0.3))  # cells across the picture and strength


@dataclass(frozen=True)
class Backdrop:
    """A smooth field between two colours, with texture and a few blurred slabs such as walls and window frames."""

    colours: np.ndarray
    """(2, 3) display RGB."""
    texture: tuple[float, float, float]
    """Strength of coarse, middle and fine texture."""
    tint: float
    """Strength of coloured texture."""
    slabs: tuple[tuple[float, float, float, float, np.ndarray], ...]
    """(direction in radians, offset, half width, softness, display RGB), lengths in half pictures."""
    places: tuple[float, ...]
    """Where in the noise table the fields lie."""

    @classmethod
    def draw(cls, draws: Draws) -> "Backdrop":
        first = draws.uniform() ** 1.2 * draws.tint(0.13)
        second = draws.uniform() * draws.tint(0.16)
        plain, bright = draws.chance(0.15), draws.uniform() ** 2
        strength, fine = draws.uniform() ** 1.5, draws.uniform() ** 3
        texture = (0.6 * strength, 0.6 * strength * draws.uniform(), 0.5 * strength * fine)
        slabs = []
        for _ in range(3):
            shown, tint = draws.chance(0.45), draws.tint(0.18)
            upright, direction, offset = draws.chance(0.7), draws.normal(0.06), draws.uniform(-1, 1)
            direction = direction + draws.choice((0, np.pi / 2), (2, 1)) if upright else draws.uniform(0, np.pi)
            half_width, softness, bright_slab = draws.uniform(0.03, 0.6), draws.uniform(0.02, 0.25), draws.uniform()
            if shown and not plain:
                slabs.append((direction, offset, half_width, softness, bright_slab * tint))
        colours = np.stack([first, second])
        if plain:
            colours, texture = np.full((2, 3), 0.9 * bright), (0.02, 0.0, 0.0)
        tinted = 0.12 * draws.uniform() ** 2
        places = tuple(draws.uniform() for _ in range(7))
        return cls(colours.astype(np.float32), texture, 0.0 if plain else tinted, tuple(slabs), places)

    def paint(self, side: int) -> np.ndarray:
        """Linear RGB (3, side, side), 0..1."""
        blend = np.clip(0.5 + 0.6 * _smooth_field(self.places[0], 3, side), 0, 1)
        picture = self.colours[0][:, None, None] * (1 - blend) + self.colours[1][:, None, None] * blend
        light = np.zeros((side, side), np.float32)
        for place, (cells, strength), amount in zip(self.places[1:4], _OCTAVES, self.texture, strict=True):
            if amount > 0.01:
                light += np.float32(strength * amount) * _smooth_field(place, cells, side)
        picture *= 1 + light
        if self.tint > 0.01:
            for channel, place in enumerate(self.places[4:]):
                picture[channel] *= 1 + np.float32(self.tint) * _smooth_field(place, 7, side)
        across = _across(side)
        for direction, offset, half_width, softness, colour in self.slabs:
            distance = across[None] * np.float32(np.cos(direction)) + across[:, None] * np.float32(np.sin(direction))
            cover = np.clip((half_width - np.abs(distance - np.float32(offset))) / np.float32(softness), 0, 1)
            picture += cover * (colour[:, None, None].astype(np.float32) - picture)
        picture = np.clip(picture, 0, 1)
        return picture * picture  # gamma 2, as for the display


@dataclass(frozen=True)
class Occluder:
    """A hand-like or object-like blob, softly edged, in front of the face."""

    present: bool
    centre: tuple[float, float]
    """In half pictures from the middle, right and down."""
    radii: tuple[float, float]
    turn: float
    """Radians."""
    colour: np.ndarray
    """(3,) linear RGB."""
    bright: float
    """Slope of brightness from bottom to top."""

    @classmethod
    def draw(cls, draws: Draws, probability: float, skin: np.ndarray) -> "Occluder":
        present, hand = draws.chance(probability), draws.chance(0.55)
        thing = draws.colour(1.5, 0.6)
        # It comes in from below or from a side, so that it never hides the whole face.
        side, reach = draws.uniform(-1, 1), draws.uniform(0.45, 0.95)
        centre = (0.95 * np.sign(side) * reach, draws.uniform(-0.2, 0.9)) if abs(side) > 0.5 else (1.6 * side, reach)
        radii = (draws.uniform(0.1, 0.42), draws.uniform(0.1, 0.36))
        colour = 0.8 * skin * np.float32(draws.uniform(0.6, 1.2)) if hand else thing
        return cls(present, centre, radii, draws.uniform(0, np.pi), colour, draws.uniform(-0.35, 0.35))

    def cover(self, picture: np.ndarray) -> None:
        """Blend into a linear RGB picture (3, side, side), in place."""
        if not self.present:
            return
        across = _across(picture.shape[1])
        x, y = across[None] - np.float32(self.centre[0]), across[:, None] - np.float32(self.centre[1])
        cosine, sine = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        u, v = (x * cosine + y * sine) / np.float32(self.radii[0]), (y * cosine - x * sine) / np.float32(self.radii[1])
        cover = np.clip((1.1 - (np.abs(u) ** 3 + np.abs(v) ** 3)) / 0.2, 0, 1)
        rounded = 1 - 0.25 * np.clip(u * u + v * v, 0, 1) - np.float32(self.bright) * across[:, None]
        colour = self.colour[:, None, None] * rounded
        picture += cover * (colour - picture)


@lru_cache(maxsize=8)
def _across(side: int) -> np.ndarray:
    """Pixel positions (side,) from -1 to 1."""
    return np.linspace(-1, 1, side, dtype=np.float32)


def _smooth_field(place: float, cells: int, side: int) -> np.ndarray:
    """A smooth random field (side, side) with `cells` cells across, deviation about 1."""
    weights = _upsampling(cells, side)
    return weights @ np.ascontiguousarray(noise_window(place, cells, cells)) @ weights.T


@lru_cache(maxsize=32)
def _upsampling(cells: int, side: int) -> np.ndarray:
    """Catmull-Rom weights (side, cells) that stretch `cells` samples over `side` pixels."""
    position = (np.arange(side) + 0.5) / side * (cells - 1)
    offset = np.abs(position[:, None] - np.arange(-2, cells + 2)[None])
    near, far = 1.5 * offset**3 - 2.5 * offset**2 + 1, -0.5 * offset**3 + 2.5 * offset**2 - 4 * offset + 2
    weights = np.where(offset < 1, near, np.where(offset < 2, far, 0.0))
    weights[:, 2] += weights[:, :2].sum(1)  # repeat the edge
    weights[:, -3] += weights[:, -2:].sum(1)
    return np.ascontiguousarray(weights[:, 2:-2], dtype=np.float32)
