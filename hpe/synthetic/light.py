"""Light: a key lamp that casts shadows, a fill lamp, ambient sky and the camera's exposure."""

from dataclasses import dataclass

import numpy as np

from hpe.synthetic.draws import Draws
from hpe.synthetic.geometry import ALBEDO, AMBIENT, GLOSS, NORMAL, POSITION

_SHADOW_SIDE = 48
_SHADOW_HALF_X, _SHADOW_HALF_Y = 182.0, 140.0  # mm that the shadow map covers around the neck
_SHADOW_BIAS, _SHADOW_LIFT = 9.0, 8.0  # mm towards the lamp and off the surface, against shadows of itself


@dataclass(frozen=True)
class Light:
    """The lamps of one picture. Directions are unit vectors towards the lamp, in camera axes."""

    key: np.ndarray
    key_colour: np.ndarray
    fill: np.ndarray
    fill_colour: np.ndarray
    sky_colour: np.ndarray
    wrap: float
    """Softness of the key lamp: how far light reaches round."""
    shadow: float
    """Depth of the cast shadow, 0..1."""
    shine: float
    """Strength of highlights."""
    rim: float
    """Light along the silhouette."""
    exposure: float

    @classmethod
    def draw(cls, draws: Draws, skin: np.ndarray) -> "Light":
        around, above = draws.uniform(-0.75, 0.75) * np.pi, draws.uniform(-0.35, 1.2)
        opposite = around + np.pi * draws.uniform(0.5, 1.2)
        key = [np.sin(around) * np.cos(above), np.sin(above), abs(np.cos(around)) * np.cos(above)]
        fill = [np.sin(opposite), draws.normal(0.2), 0.6 * abs(np.cos(opposite)) + 0.1]
        key_level, fill_level, sky_level = draws.uniform(0.3, 1.6), 0.6 * draws.uniform() ** 2, draws.uniform(0.2, 0.8)
        # A camera exposes for what it sees: bright scenes and light skin less, but not fully.
        metered = (0.5 * key_level + 0.8 * sky_level + 0.3 * fill_level) * float(skin.mean()) ** 0.5
        return cls(
            key=_unit(key),
            key_colour=draws.tint(0.14) * np.float32(key_level),
            fill=_unit(fill),
            fill_colour=draws.tint(0.14) * np.float32(fill_level),
            sky_colour=draws.tint(0.10) * np.float32(sky_level),
            wrap=draws.uniform(0, 0.35),
            shadow=draws.uniform(0.5, 1.0),
            shine=draws.uniform(0, 0.35),
            rim=0.15 * draws.uniform() ** 4,
            exposure=draws.uniform(0.5, 1.1) * (0.75 / metered) ** 0.7,
        )

    def shade(self, visible: np.ndarray, scene: np.ndarray) -> np.ndarray:
        """Linear RGB (3, m) of the visible surfels (11, m) in a scene (11, n), both in camera axes."""
        normal = visible[NORMAL]
        length = np.sqrt(np.einsum("cm,cm->m", normal, normal)) + np.float32(1e-6)
        normal = normal / length
        normal *= 1 - 2 * (normal[2] < -0.15).astype(np.float32)  # thin sheets have two sides
        half_way = _unit(self.key + np.float32([0, 0, 1]))  # pyright: ignore[reportArgumentType]
        key, fill, glance = np.stack([self.key, self.fill, half_way]) @ normal
        wrap = np.float32(self.wrap)
        diffuse = np.maximum((key + wrap) / (1 + wrap), 0)
        diffuse *= 1 - np.float32(self.shadow) * self._shadow(visible[POSITION], normal, scene[POSITION, ::3])
        ambient = visible[AMBIENT]
        sky = (0.6 + 0.4 * normal[1]) * ambient
        fill = np.maximum(fill, 0) * ambient
        glance = np.maximum(glance, 0)
        glance = glance * glance
        glance = (glance * glance) ** 2  # to the 8th
        highlight = np.float32(self.shine) * glance * glance * visible[GLOSS] * (diffuse > 0)
        edge = 1 - np.clip(normal[2], 0, 1)
        highlight += np.float32(self.rim) * edge * edge * edge
        lamps = np.stack([self.key_colour, self.sky_colour, self.fill_colour], axis=1)  # (3 colours, 3 lamps)
        arriving = lamps @ np.stack([diffuse, sky, fill])
        colour = visible[ALBEDO] * arriving + self.key_colour[:, None] * highlight
        return colour * np.float32(self.exposure)

    def _shadow(self, points: np.ndarray, normals: np.ndarray, casters: np.ndarray) -> np.ndarray:
        """How far each point (3, m) lies in the shadow of the casters (3, n), 0..1, from a shadow map."""
        x, y, z = self.key
        right = _unit([z, 0, -x])  # up (0, 1, 0) x key
        axes = np.stack([right, np.float32([y * right[2], z * right[0] - x * right[2], -y * right[0]]), self.key])  # pyright: ignore[reportArgumentType]
        scale = np.float32([_SHADOW_SIDE / (2 * _SHADOW_HALF_X), _SHADOW_SIDE / (2 * _SHADOW_HALF_Y)])  # pyright: ignore[reportArgumentType]

        last = np.float32(_SHADOW_SIDE - 1.01)

        def on_map(where):
            across, up, towards = axes @ where
            column, row = (across + np.float32(_SHADOW_HALF_X)) * scale[0], (up + np.float32(_SHADOW_HALF_Y)) * scale[1]  # pyright: ignore[reportArgumentType, reportCallIssue]
            return np.minimum(np.maximum(column, 0), last), np.minimum(np.maximum(row, 0), last), towards

        column, row, towards = on_map(casters)
        nearest = np.full(_SHADOW_SIDE * _SHADOW_SIDE, -1e4, np.float32)
        np.maximum.at(nearest, row.astype(np.int32) * _SHADOW_SIDE + column.astype(np.int32), towards)

        column, row, towards = on_map(points + np.float32(_SHADOW_LIFT) * normals)
        left, top = column.astype(np.int32), row.astype(np.int32)
        right_share, bottom_share = column - left, row - top
        corner = top * _SHADOW_SIDE + left
        limit = towards + np.float32(_SHADOW_BIAS)
        dark = [np.take(nearest, corner + offset) > limit for offset in (0, 1, _SHADOW_SIDE, _SHADOW_SIDE + 1)]
        above = dark[0] + (dark[1].view(np.int8) - dark[0].view(np.int8)) * right_share
        below = dark[2] + (dark[3].view(np.int8) - dark[2].view(np.int8)) * right_share
        return above + (below - above) * bottom_share


def _unit(vector) -> np.ndarray:
    vector = np.asarray(vector, np.float32)
    return vector / np.sqrt((vector * vector).sum())
