"""Ears, eyeballs, neck and shoulders, as surfels in head coordinates (mm)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic import anatomy as an
from hpe.synthetic.draws import Draws
from hpe.synthetic.geometry import Part, curve, facing, smoothstep
from hpe.synthetic.parts import clothing, eyeballs, trunk
from hpe.synthetic.surfels import grid_normals, lay_over

EAR_ROWS, EAR_COLUMNS = 10, 20
EYE_ROWS, EYE_COLUMNS = 9, 17
BODY_ROWS, BODY_COLUMNS = 28, 48
NECK_PIVOT = np.array([0, -77, -87], np.float32)
"""The joint that the head turns about, mm."""


@dataclass(frozen=True)
class Ears:
    """Both ears of a head."""

    scale: float
    protrusion: float
    """mm that the back edge stands off further."""

    @classmethod
    def draw(cls, draws: Draws) -> "Ears":
        return cls(draws.uniform(0.85, 1.15), draws.uniform(-1, 6))

    def build(self, half_width: float, height: float, skin: np.ndarray) -> Part:
        """Both ears; `half_width` of the head at the ears (mm), `height` a factor on the head's heights."""
        shape, normals, ambient, side = _ears_shape()
        ears = shape * np.float32(self.scale)
        ears[0] -= np.float32(self.protrusion / 18) * side * ears[2]
        ears[0] += np.float32(half_width) * side
        ears[1:] += np.float32([[(an.TRAGION_Y + 5) * height], [an.EAR_Z]])  # pyright: ignore[reportArgumentType]
        return Part(ears, normals, (skin * np.float32([1.05, 0.88, 0.85]))[:, None] * ambient, ambient, 0.3)  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=1)
def _ears_shape() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Both ears around their middle, shells with a raised rim: points and normals (3, n), ambient light and side (n,).

    The side is 1 at the image's right and -1 at its left.
    """
    radius = np.linspace(0, 1, EAR_ROWS)[:, None]
    angle = np.linspace(0, 2 * np.pi, EAR_COLUMNS, endpoint=False)[None]
    half_length = an.MEASURES["ear_length"].mean / 2
    y = half_length * radius * np.sin(angle) * (1 - 0.12 * np.cos(angle))
    z = 15 * radius * np.cos(angle) * (1 + 0.15 * np.sin(angle)) - 4 * radius * np.sin(angle) - 5
    rim = np.exp(-(((radius - 0.82) / 0.16) ** 2))
    x = 5 * rim - 2.8 * (radius < 0.5) + 3.5 - 0.5 * z * radius - 8 * (radius > 0.97) + 0 * angle
    ambient = (0.72 + 0.28 * smoothstep(0.2, 0.85, radius) + 0 * angle).ravel()
    ear = np.stack([x, y, z]).reshape(3, -1)
    normals = facing(
        grid_normals(ear.astype(np.float32), EAR_ROWS, EAR_COLUMNS, closed=True), np.array([[1], [0], [0]])
    )
    mirror = np.array([[-1], [1], [1]])
    arrays = (
        np.concatenate([ear, ear * mirror], axis=1),
        np.concatenate([normals, normals * mirror], axis=1),
        np.tile(ambient, 2),
        np.repeat([1.0, -1.0], ambient.size),
    )
    points, normals, ambient, side = (a.astype(np.float32) for a in arrays)
    return points, normals, ambient, side


@dataclass(frozen=True)
class Eyes:
    """Both eyes."""

    opening: float
    """Of the lids: 0 closed, 1 the mean."""
    gaze: tuple[float, float]
    """Where the irises sit off the middle, mm right and up."""
    iris: np.ndarray
    """(3,) linear RGB."""
    white: float
    """Brightness of the white."""

    @classmethod
    def draw(cls, draws: Draws, dark_skin: bool) -> "Eyes":
        closed, opening = draws.chance(0.07), draws.uniform(0.55, 1.15)
        colours = ((0.05, 0.025, 0.012), (0.10, 0.05, 0.02), (0.10, 0.18, 0.26), (0.09, 0.14, 0.07))
        iris = np.array(draws.choice(colours, (6, 2, 0, 0) if dark_skin else (5, 2, 2, 1)), np.float32)
        gaze = (draws.normal(1.8), draws.normal(0.6))
        return cls(0.0 if closed else opening, gaze, iris, draws.uniform(0.28, 0.55))

    def build(self, landmarks: np.ndarray) -> Part | None:
        """What shows of the eyeballs of a head with these landmarks (3, 68); None where eyes are shut."""
        if self.opening == 0.0:
            return None
        almonds, lid_shadow = _eye_patches()
        middles = landmarks[:, 36:48].reshape(3, 2, 6).mean(axis=2) + _EYE_PLACE  # of the two eyes
        white = np.float32(self.white) * _EYE_WHITE
        opening, gaze = np.float32(self.opening), np.array(self.gaze, np.float32)
        points, normals, albedo = eyeballs(almonds, lid_shadow, middles, opening, gaze, self.iris, white)
        return Part(points, normals, albedo, 0.85 * lid_shadow, 0.8)


_EYE_WHITE = np.array([1, 0.92, 0.87], np.float32)
_EYE_PLACE = np.array([[0], [-0.6], [2.2]], np.float32)  # mm, of the ball's front off the middle of the lids


@lru_cache(maxsize=1)
def _eye_patches() -> tuple[np.ndarray, np.ndarray]:
    """Points inside the almonds of both eyes, each around its middle, (3, n) mm, and the light that lids leave (n,)."""
    across = np.linspace(-1, 1, EYE_COLUMNS)[None]
    height = np.linspace(-1, 1, EYE_ROWS)[:, None] + 0 * across
    lid = an.EYE_HALF_HEIGHT * np.clip(1 - across**2, 0, None) ** 0.8
    x = an.EYE_HALF_WIDTH * across + 0 * height
    almond = np.stack([x, lid * height, 0 * x]).reshape(3, -1)
    lid_shadow = 1 - 0.45 * smoothstep(0.3, 1.0, height.ravel())
    return np.tile(almond, 2).astype(np.float32), np.tile(lid_shadow, 2).astype(np.float32)


@dataclass(frozen=True)
class Body:
    """Neck, shoulders and clothes."""

    follow: tuple[float, float, float]
    """Yaw, pitch, roll of the trunk as a share of the head's."""
    turn_deg: tuple[float, float, float]
    """And its own turn on top, degrees."""
    shoulder: float
    """Width factor."""
    neck: float
    """Width factor."""
    colour: np.ndarray
    """(3,) of the clothes, linear RGB."""
    collar: float
    """Height of the collar, mm."""
    neckline: float
    """Depth of the V in front, mm."""
    stripes: float
    """Contrast of horizontal stripes, 0 for none."""

    @classmethod
    def draw(cls, draws: Draws, female: bool) -> "Body":
        coloured, dull = draws.colour(1.6, 0.6), draws.gray(1.7, 0.75)
        follow = (draws.uniform(0, 0.75), 0.12, 0.15)
        turn = (draws.normal(8), draws.normal(3), draws.normal(4))
        neck = (1 + draws.normal(0.09)) * (0.93 if female else 1.07)
        stripes = draws.uniform(0.2, 0.8) if draws.chance(0.15) else 0.0
        return cls(
            follow, turn, draws.uniform(0.85, 1.1), neck, coloured if draws.chance(0.5) else dull,
            draws.uniform(-175, -132), draws.uniform(0, 50), stripes,
        )  # fmt: skip

    def pose_deg(self, head_deg: np.ndarray) -> np.ndarray:
        """Yaw, pitch, roll (3,) of the trunk under a head with this pose, degrees."""
        return np.array(self.follow) * head_deg + np.array(self.turn_deg)

    def build(self, trunk_in_head: np.ndarray, skin: np.ndarray) -> Part:
        """Neck and trunk; `trunk_in_head` (3, 3) is the trunk's rotation in head coordinates."""
        rest, rest_normals, trunk_share, ambient = _body_shape()  # the points are seen from the joint of the neck
        turn = trunk_in_head - np.eye(3, dtype=np.float32)
        neck, shoulder = np.float32(self.neck), np.float32(self.shoulder)
        points, normals = trunk(rest, rest_normals, trunk_share, turn, neck, shoulder, NECK_PIVOT)
        collar, neckline, stripes = np.float32(self.collar), np.float32(self.neckline), np.float32(self.stripes)
        cloth, bright = clothing(rest[1] + NECK_PIVOT[1], _front_wedge(), collar, neckline, stripes)
        albedo = np.repeat(0.9 * skin[:, None], cloth.size, axis=1)
        lay_over(albedo, cloth, self.colour, bright)
        return Part(points, normals, albedo, ambient, 0.1)


@lru_cache(maxsize=1)
def _body_shape() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rest points seen from the joint of the neck (3, n), their normals (3, n), share of the trunk's pose (n,), ambient
    light (n,)."""
    azimuth, y = _body_grid()
    half_width = curve(
        y,
        [(-336, 182), (-238, 179), (-203, 168), (-182, 140), (-168, 98), (-154, 63), (-140, 51), (-112, 47), (-49, 48)],
    )
    half_depth = curve(y, [(-336, 77), (-224, 70), (-182, 56), (-154, 50), (-126, 49), (-49, 50)])
    middle = curve(y, [(-336, -77), (-210, -84), (-154, -92), (-98, -84), (-49, -74)])
    points = np.stack([half_width * np.sin(azimuth), y, middle + half_depth * np.cos(azimuth)]).reshape(3, -1)
    normals = grid_normals(points.astype(np.float32), BODY_ROWS, BODY_COLUMNS, closed=True)
    under_chin = 0.5 * np.exp(-(((y + 105) / 28) ** 2)) * smoothstep(-1, 0.5, np.cos(azimuth))
    from_joint = points - NECK_PIVOT[:, None]
    arrays = from_joint, normals, smoothstep(-63, -161, y).ravel(), 1 - under_chin.ravel()
    points, normals, trunk_share, ambient = (a.astype(np.float32) for a in arrays)
    return points, normals, trunk_share, ambient


def _body_grid() -> tuple[np.ndarray, np.ndarray]:
    """Azimuth in radians and height in mm of neck and trunk, two (BODY_ROWS, BODY_COLUMNS) arrays."""
    t = np.linspace(-1, 1, BODY_COLUMNS, endpoint=False)
    azimuth = np.pi * (0.7 * t + 0.3 * t**3)
    y = np.concatenate([np.linspace(-49, -140, 12), np.linspace(-148, -270, BODY_ROWS - 12)])
    azimuth, y = np.meshgrid(azimuth, y)
    return azimuth, y


@lru_cache(maxsize=1)
def _front_wedge() -> np.ndarray:
    """1 in the middle of the chest, 0 to the sides: where a neckline dips, (n,)."""
    return np.exp(-((_body_grid()[0].ravel() / 0.35) ** 2)).astype(np.float32)
