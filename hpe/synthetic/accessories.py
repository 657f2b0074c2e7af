"""What people wear: glasses and hats. Each is a part of the scene, in head coordinates (mm)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic import anatomy as an
from hpe.synthetic.draws import Draws
from hpe.synthetic.geometry import Part, facing, smoothstep
from hpe.synthetic.surface import head_surface
from hpe.synthetic.surfels import grid_normals

BRIM_ROWS, BRIM_COLUMNS = 14, 52


@dataclass(frozen=True)
class Glasses:
    """A pair of glasses."""

    worn: bool
    dark: bool
    """Sunglasses: the lenses are opaque."""
    colour: np.ndarray
    """(3,) linear RGB of the frame."""
    scale: float
    """Size against the usual one."""
    drop: float
    """mm that it sits above its usual place."""
    thick: float
    """Thickness of the frame, mm."""

    @classmethod
    def draw(cls, draws: Draws, probability: float) -> "Glasses":
        worn, dark = draws.chance(probability), draws.chance(0.3)
        coloured, dull = draws.colour(2.0, 0.4), draws.gray(4.0, 0.2)
        colour = coloured if draws.chance(0.35) else dull
        return cls(
            worn, dark, colour, draws.uniform(0.88, 1.14), draws.uniform(-3.5, 2), draws.choice((1.2, 2.4), (2, 1))
        )

    def build(self, landmarks: np.ndarray, half_width: float) -> list[Part]:
        """Frame and lenses on a head with these landmarks (3, 68) and half width at the ears, mm."""
        frame, lenses, lens_normals = _glasses_shape()
        bridge = landmarks[:, 27]  # the top of the nose carries them
        width = np.float32(half_width / an.HALF_FACE)
        scale = np.array([[width * self.scale], [self.scale], [1]], np.float32)
        place = np.array([[bridge[0]], [bridge[1] - 5 + self.drop], [bridge[2] - 12]], np.float32)
        tube = np.array([[0, 0.7, 0, -0.7], [1, 0, -1, 0], [0, 0.7, 0.7, 0]], np.float32) * np.float32(self.thick)
        rings = (frame * scale + place)[:, :, None] + tube[:, None, :]  # (3, m, 4)
        normals = np.repeat(np.array([[0], [0.2], [1]], np.float32), rings[0].size, axis=1)
        parts = [Part(rings.reshape(3, -1), normals, self.colour[:, None], 1.0, 1.0)]
        if self.dark:
            parts.append(Part(lenses * scale + place, lens_normals, self.colour[:, None] * 0.25 + 0.008, 1.0, 2.5))
        return parts


@lru_cache(maxsize=1)
def _glasses_shape() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre line of the frame (3, m), points of the lenses (3, k) and their normals (3, k); z = 0 at the bridge."""

    def bow(x):  # the front follows the face
        return 5 - 0.0036 * np.clip(np.abs(x) - 14, 0, None) ** 2

    def rounded(a):  # a rounded rectangle
        return np.sign(a) * np.abs(a) ** 0.75

    angle = np.linspace(0, 2 * np.pi, 56, endpoint=False)
    ring_x, ring_y = an.EYE_X - 1 + 22 * rounded(np.cos(angle)), -2 + 14 * rounded(np.sin(angle))
    t = np.linspace(0, 1, 44)
    temple_x, temple_z = 51 + 20 * t**0.4, bow(51) - 95 * t
    right = np.concatenate(
        [
            [ring_x, ring_y, bow(ring_x)],
            [temple_x, np.full_like(t, 5), temple_z],
        ],
        axis=1,
    )
    x = np.linspace(-9, 9, 12)
    bridge = np.stack([x, 2 - 0.02 * x**2, bow(x) + 1])
    q = np.linspace(-0.95, 0.95, 18)
    qx, qy = (a.ravel() for a in np.meshgrid(q, q))
    inside = np.abs(qx) ** 2.6 + np.abs(qy) ** 2.6 < 1
    lens_x, lens_y = an.EYE_X - 1 + 22 * qx[inside], -2 + 14 * qy[inside]
    lens = np.stack([lens_x, lens_y, bow(lens_x) - 0.5])
    bulge = np.stack([lens_x / 80, lens_y / 60, np.ones_like(lens_x)])
    mirror = np.array([[-1], [1], [1]])
    frame = np.concatenate([right, right * mirror, bridge], axis=1)
    return (
        frame.astype(np.float32),
        np.concatenate([lens, lens * mirror], axis=1).astype(np.float32),
        np.concatenate([bulge, bulge * mirror], axis=1).astype(np.float32),
    )


@dataclass(frozen=True)
class Hat:
    """Headgear: none, a cap (peak in front), a beanie, a hat with a brim all around, or a scarf over the hair."""

    kind: str
    colour: np.ndarray
    """(3,) linear RGB."""
    edge: float
    """Height of its lower edge above the eyes, mm."""
    depth: float
    """How far it stands off the skull, mm."""
    crown: float
    """Extra height on top, mm."""
    brim: float
    """Length of peak or brim, mm."""
    droop: float
    """How much the brim hangs down, 0..1."""

    @classmethod
    def draw(cls, draws: Draws, probability: float, female: bool) -> "Hat":
        worn = draws.chance(probability)
        kind = draws.choice(("cap", "beanie", "brim", "scarf"), (40, 25, 20, 45) if female else (55, 30, 15, 0))
        coloured, dull = draws.colour(1.5, 0.6), draws.gray(2.0, 0.6)
        colour = coloured if draws.chance(0.5) else dull
        edge, depth, crown = draws.uniform(31, 52), draws.uniform(4, 12), draws.uniform(0, 10)
        brim, droop = draws.uniform(30, 62), draws.uniform(-0.3, 1.0)
        return cls(kind if worn else "none", colour, edge, depth, crown, brim, droop)

    def cover(self) -> tuple[np.ndarray, np.ndarray]:
        """Coverage 0..1 and depth in mm over the head surface, two (n,) arrays."""
        head = head_surface()
        height, azimuth = head.flat[1], head.azimuth
        if self.kind == "none":
            return np.zeros_like(height), np.zeros_like(height)
        if self.kind == "scarf":  # around the face: an oval that leaves brow to chin and cheek to cheek free
            around = np.abs(azimuth) / 1.2
            oval = np.sqrt(around**2 + ((height + 25) / np.float32(self.edge + 36)) ** 2)
            cover = smoothstep(0.97, 1.04, oval)
        else:
            cover = smoothstep(0, 2.8, height - np.float32(self.edge) + 9 - 11 * np.cos(azimuth))
        return cover, cover * (np.float32(self.depth) + np.float32(self.crown) * smoothstep(56, 112, height))

    def build_brim(self, landmarks: np.ndarray, half_width: float) -> Part | None:
        """The peak or brim on a head with these landmarks (3, 68); None where the hat has none."""
        if self.kind not in ("cap", "brim"):
            return None
        spread = 1.2 if self.kind == "cap" else np.pi
        angle = np.linspace(-spread, spread, BRIM_COLUMNS, dtype=np.float32)[None]
        reach = np.linspace(0, 1, BRIM_ROWS, dtype=np.float32)[:, None]
        brow_z = float(landmarks[2, 27]) + 3
        length = self.brim * (np.cos(1.25 * angle).clip(0) if self.kind == "cap" else 0.8)
        radius_x = half_width + 6 + self.depth * 0.5 + reach * (length if self.kind == "brim" else 0)
        x = radius_x * np.sin(angle) * np.ones_like(reach)
        ahead = brow_z + 70 + self.depth
        z = -70 + np.where(np.cos(angle) > 0, ahead, 105 + self.depth) * np.cos(angle) + reach * length * np.cos(angle)
        # the crown of the hat is tilted, low at the back, and so is the brim
        y = (
            self.edge
            + 2
            - 20 * (0.5 - 0.5 * np.cos(angle))
            - 14 * reach * self.droop
            - 0.0022 * x**2 * (self.kind == "cap")
        )
        brim = np.stack([x, np.broadcast_to(y, x.shape), z]).reshape(3, -1).astype(np.float32)
        normals = grid_normals(brim, BRIM_ROWS, BRIM_COLUMNS, closed=False)
        return Part(brim, facing(normals, np.float32([[0], [1], [0]])), self.colour[:, None] * 0.8, 1.0, 0.1)  # pyright: ignore[reportArgumentType]
