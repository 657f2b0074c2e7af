"""Identity and expression: smooth displacements of the head surface, one per trait, added with random weights."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic import anatomy as an
from hpe.synthetic.draws import Draws
from hpe.synthetic.geometry import bump, smoothstep
from hpe.synthetic.surface import head_surface
from hpe.synthetic.surfels import add_layers, spans_of

_SEX_SHIFT = {  # in deviations, for women; men get the opposite
    "jaw_width": -0.5, "chin_length": -0.4, "brow_ridge": -0.6, "chin_forward": -0.3, "nose_length": -0.3,
    "nose_width": -0.4, "lip_thickness": 0.4, "eye_size": 0.3, "brow_height": 0.3, "cheek_bone": 0.3, "jowl": -0.2,
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """Shape of one head: weights of the morphs, and the few traits that other steps need to know."""

    female: bool
    weights: dict[str, float]
    """Morph name -> weight, in units of the morph's displacement."""
    mouth_open: float
    """0 closed to 1 wide open."""
    smile: float
    """0 to 1."""

    @classmethod
    def draw(cls, draws: Draws) -> "Person":
        female = draws.chance(0.5)
        shift = 1 if female else -1
        weights = {
            name: deviation * (draws.normal() + shift * _SEX_SHIFT.get(name, 0.0))
            for name, deviation in DEVIATIONS.items()
        }
        opens, smiles = draws.chance(0.32), draws.chance(0.45)
        mouth_open, smile = draws.uniform() ** 1.4 * opens, draws.uniform() * smiles
        mouth_open = max(mouth_open, 0.28 * smile) if draws.chance(0.6) else mouth_open
        weights |= {"jaw_drop": mouth_open, "smile": smile, "brow_raise": draws.uniform(-0.6, 1.0)}
        return cls(female, weights, mouth_open, smile)

    def shape(self) -> np.ndarray:
        """The head's points (3, n), mm."""
        points = head_surface().points.copy()
        for axis, (names, displacements, spans) in enumerate(_basis()):
            weights = np.array([self.weights[name] for name in names], np.float32)
            add_layers(points[axis], weights, displacements, spans)
        return points


# Standard deviation of each trait's weight. Displacements are in mm per unit, or factors where the comment says so.
DEVIATIONS = {
    "width": 0.05, "height": 0.045, "depth": 0.05,  # factors on the whole head
    "jaw_width": 0.09, "cranium_width": 0.05, "nose_forward": 0.14, "nose_width": 0.25, "eye_size": 0.15,  # factors
    "lip_thickness": 0.3, "mouth_width": 0.12, "chin_width": 0.1,  # factors
    "chin_length": 6.0, "cranium_height": 7.0, "cranium_back": 9.0, "forehead": 5.0, "face_flat": 5.0,
    "nose_length": 3.6, "nose_bridge": 2.8, "nose_tip": 3.0, "nose_bend": 1.5, "nostril_wing": 2.6,
    "eye_distance": 2.2, "eye_depth": 2.6, "eye_height": 2.0, "eye_tilt": 1.6, "brow_ridge": 3.6, "brow_height": 3.0,
    "cheek_bone": 3.2, "hollow": 2.4, "jowl": 3.6, "lip_forward": 3.0, "mouth_height": 2.4, "chin_forward": 5.0,
    "asymmetry_x": 1.6, "asymmetry_y": 0.01,
}  # fmt: skip


@lru_cache(maxsize=1)
def _basis() -> list[tuple[list[str], np.ndarray, np.ndarray]]:
    """For x, y and z: the names of the k morphs that move it, their displacements (k, n) and where they are (k, 2)."""
    moves = {**_identity(), **_expression()}
    basis = []
    for axis in range(3):
        names = [name for name, move in moves.items() if move[axis] is not None]
        displacements = np.stack([moves[name][axis] for name in names]).astype(np.float32)
        basis.append((names, displacements, spans_of(displacements)))
    return basis


def _identity() -> dict[str, tuple]:
    head = head_surface()
    x, y, z = head.points.astype(np.float64)
    r = head.relief
    front, ax, side = r["front"], np.abs(head.flat[0]), np.sign(x)
    y0 = head.flat[1]
    low, high = smoothstep(7, -105, y), smoothstep(0, 98, y)
    face, occiput = smoothstep(-70, 14, z), smoothstep(-63, -154, z)

    def near(cy, ry, rx=1e9, cx=0.0):
        return bump(ax, y0, cx, cy, rx, ry) * front

    eye = near(0, 11, 17, an.EYE_X)
    still = None  # an axis that a morph leaves alone
    return {
        "width": (x, still, still),
        "height": (still, y, still),
        "depth": (still, still, z + 70),
        "jaw_width": (x * low, still, still),
        "cranium_width": (x * high, still, still),
        "nose_forward": (still, still, r["nose"]),
        "nose_width": (x * near(-35, 13, 17), still, still),
        "eye_size": ((ax - an.EYE_X) * side * near(0, 8.5, 13, an.EYE_X) * 0.6, y * near(0, 8.5, 13, an.EYE_X), still),
        "lip_thickness": (still, (y - an.MOUTH_Y) * near(an.MOUTH_Y, 8, 22), 7 * (r["upper_lip"] + r["lower_lip"])),
        "mouth_width": (x * near(an.MOUTH_Y, 9, 31), still, still),
        "chin_width": (x * near(-101, 13, 42), still, still),
        "chin_length": (still, -(low**2), still),
        "cranium_height": (still, high, still),
        "cranium_back": (still, still, -occiput),
        "forehead": (still, still, high * face),
        "face_flat": (still, still, -((x / 60) ** 2) * front),
        "nose_length": (still, -near(-34, 14, 17), still),
        "nose_bridge": (still, still, near(-8, 10, 7)),
        "nose_tip": (still, still, near(-34, 6, 7)),
        "nose_bend": (near(-31, 14, 14), still, still),
        "nostril_wing": (side * r["nostril_wing"], still, r["nostril_wing"]),
        "eye_distance": (side * eye, still, still),
        "eye_depth": (still, still, -r["socket"]),
        "eye_height": (still, near(0, 11, 18, an.EYE_X), still),
        "eye_tilt": (still, eye * (ax - an.EYE_X) / 11, still),
        "brow_ridge": (still, still, r["brow"]),
        "brow_height": (still, near(17, 7, 22, 28), still),
        "cheek_bone": (side * r["cheek_bone"] * 0.6, still, r["cheek_bone"]),
        "hollow": (-side * r["hollow"] * 0.7, still, -r["hollow"]),
        "jowl": (side * r["jowl"], still, 0.5 * r["jowl"] * front),
        "lip_forward": (still, still, r["mouth"]),
        "mouth_height": (still, near(an.MOUTH_Y, 13, 34), still),
        "chin_forward": (still, still, r["chin"]),
        "asymmetry_x": (low * front, still, still),
        "asymmetry_y": (still, x * front, still),
    }


def _expression() -> dict[str, tuple]:
    head = head_surface()
    x, _, z = head.points.astype(np.float64)
    front, ax, y0 = head.relief["front"], np.abs(head.flat[0]), head.flat[1]
    side = np.sign(x)
    # The jaw: below the gap between the lips in the middle, fading in more slowly towards the cheeks.
    middle = np.exp(-((ax / 27) ** 4)) * front
    below = smoothstep(an.MOUTH_Y + 0.8, an.MOUTH_Y - 1.8, y0) * middle + smoothstep(-42, -87, y0) * (1 - middle)
    jaw = below * smoothstep(-105, -14, z) * np.clip(1 - (ax / 84) ** 4, 0, 1)
    corner = bump(ax, y0, 25, an.MOUTH_Y + 1, 15, 10) * front
    cheek = bump(ax, y0, 42, -42, 14, 14) * front
    return {
        "jaw_drop": (None, -19 * jaw, -5 * jaw),
        "smile": (side * 6.5 * corner, 5.5 * corner + 2.5 * cheek, 3 * cheek - 2 * head.relief["mouth"]),
        "brow_raise": (None, 4.2 * bump(ax, y0, 28, 17, 22, 7) * front, None),
    }
