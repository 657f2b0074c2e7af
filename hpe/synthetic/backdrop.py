"""What lies behind and in front of a head: a blurred backdrop, and things that cover part of the face."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic.compiled import compiled
from hpe.synthetic.draws import Draws, noise_window
from hpe.synthetic.filters import enlarging, filtered

_OCTAVES = ((6, 0.5), (14, 0.35), (34, 0.3))  # cells across the picture and strength
_COARSE = 0.4  # of the picture's pixels are painted, then enlarged


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
        """Linear RGB (3, side, side), about 0..1. It is out of focus, so it is painted coarsely and enlarged."""
        coarse = max(8, round(_COARSE * side))
        blend = _smooth_field(self.places[0], 3, coarse)
        light = np.ones((3, coarse, coarse), np.float32)
        for place, (cells, strength), amount in zip(self.places[1:4], _OCTAVES, self.texture, strict=True):
            if amount > 0.01:
                light += np.float32(strength * amount) * _smooth_field(place, cells, coarse)
        if self.tint > 0.01:
            for channel, place in zip(light, self.places[4:], strict=True):
                channel *= 1 + np.float32(self.tint) * _smooth_field(place, 7, coarse)
        picture = _blend(self.colours, blend, light)
        for direction, offset, half_width, softness, colour in self.slabs:
            _lay_slab(picture, math.cos(direction), math.sin(direction), offset, half_width, softness, colour)
        np.clip(picture, 0, 1, out=picture)
        picture *= picture  # gamma 2, as for the display
        return filtered(picture, *enlarging(coarse, side))


@compiled
def _blend(colours, blend, light):
    """From the first to the second of the colours (2, 3) by a field (h, w) of deviation 1, times light (3, h, w)."""
    picture = np.empty_like(light)
    for channel in range(3):
        first, change = colours[0, channel], colours[1, channel] - colours[0, channel]
        for y in range(blend.shape[0]):
            for x in range(blend.shape[1]):
                share = min(max(0.5 + 0.6 * blend[y, x], 0.0), 1.0)
                picture[channel, y, x] = (first + change * share) * light[channel, y, x]
    return picture


@compiled
def _lay_slab(picture, cosine, sine, offset, half_width, softness, colour):
    """A soft-edged bar of one colour (3,) across a picture (3, s, s), in place; lengths in half pictures."""
    side = picture.shape[1]
    step = 2 / (side - 1)
    for y in range(side):
        for x in range(side):
            distance = (x * step - 1) * cosine + (y * step - 1) * sine - offset
            cover = np.float32(min(max((half_width - abs(distance)) / softness, 0.0), 1.0))
            for channel in range(3):
                picture[channel, y, x] += cover * (colour[channel] - picture[channel, y, x])


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
    return filtered(np.ascontiguousarray(noise_window(place, cells, cells))[None], *enlarging(cells, side))[0]
