"""The mean head: a closed surface lofted from outlines, with a face modelled onto it, and the regions paint needs.

Every height level y has an outline given by its half width, its front, its back and the depth where it is widest;
the face (nose, brows, sockets, lips, chin) is added as smooth relief. All lengths are millimetres.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hpe.synthetic import anatomy as an
from hpe.synthetic.geometry import bump, curve, smoothstep

ROWS, COLUMNS = 80, 80

_BOTTOM_Y = an.CHIN_Y - 4.0
# (y, mm): half width, front and back of the outline, and the depth at which it is widest.
_HALF_WIDTH = [
    (_BOTTOM_Y, 0), (-112, 15), (-107, 26), (-98, 37), (-88, 44.5), (-76, an.HALF_JAW + 1), (-60, 57), (-42, 62),
    (-14, an.HALF_FACE), (0, 69), (14, 71.5), (42, an.HALF_HEAD), (56, 75), (72, 70), (91, 52), (102, 36),
    (107, 20), (an.TOP_Y, 0),
]  # fmt: skip
_FRONT_Z = [
    (_BOTTOM_Y, -14), (-112, -5), (-108, 2), (-98, 7), (-84, 9), (-70, 12), (-56, 13), (-42, 10.5), (-28, 8.5),
    (-14, 8), (0, 10.5), (11, 15), (21, 17), (42, 15), (70, 4), (91, -14), (102, -33), (107, -50), (an.TOP_Y, -70),
]  # fmt: skip
_BACK_Z = [
    (_BOTTOM_Y, -31), (-108, -50), (-98, -67), (-84, -92), (-63, -123), (-42, -140), (-14, -160),
    (14, an.BACK_Z + 4), (30, an.BACK_Z), (50, an.BACK_Z + 6), (70, -154), (91, -130), (102, -110), (an.TOP_Y, -70),
]  # fmt: skip
_WIDEST_Z = [(_BOTTOM_Y, -22), (-98, -38), (-77, -56), (-56, -66), (-28, -71), (14, -74), (70, -74), (an.TOP_Y, -70)]

# (y, mm): how far the ridge of the nose stands out, and how wide it is.
_NOSE_RIDGE = [
    (-56, 0), (-47, 1), (-43, 8), (an.NOSE_TIP_Y - 4.5, an.MEASURES["nose_protrusion"].mean + 2.2), (-33, 27.5),
    (-26.5, 24.5), (-14, 15), (0, 7), (7, 3), (17, 0),
]  # fmt: skip
_NOSE_WIDTH = [(-56, 12), (-42, 11.2), (-35, 10.5), (-21, 8.1), (-3, 6.7), (17, 9.8)]


@dataclass(frozen=True)
class HeadSurface:
    """The mean head, sampled on ROWS x COLUMNS points (n = ROWS * COLUMNS), and maps over it."""

    points: np.ndarray
    """(3, n) mm."""
    azimuth: np.ndarray
    """(n,) radians about the vertical axis; 0 is the front, positive to the image's right."""
    flat: np.ndarray
    """(2, n): x and y of the loft before the relief, which paint refers to."""
    outward: np.ndarray
    """(3, n) unit vectors away from the middle of the skull, along which hair and caps grow."""
    relief: dict[str, np.ndarray]
    """Parts of the relief that identity and expression move, name -> (n,)."""
    paint: dict[str, np.ndarray]
    """Coverage 0..1 of painted regions, name -> (n,)."""
    cavity: np.ndarray
    """(n,) share of ambient light that reaches a point."""
    landmarks: np.ndarray
    """(68,) the vertex of each landmark."""


def _row_heights() -> np.ndarray:
    """Heights of the rows, top down: denser at the eyes and at the mouth, where the jaw's drop stretches them."""
    y = np.linspace(an.TOP_Y, _BOTTOM_Y, 2000)
    lips, gap, eyes = (
        np.exp(-(((y - at) / radius) ** 2)) for at, radius in ((an.MOUTH_Y, 11), (an.MOUTH_Y, 3), (2, 16))
    )
    density = 1 + 0.6 * lips + 3.5 * gap + 0.6 * eyes
    position = np.cumsum(density)
    return np.interp(np.linspace(position[0], position[-1], ROWS), position, y)


def _loft() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Azimuth and the plain egg-like loft, four (ROWS, COLUMNS) arrays: azimuth, x, y, z."""
    t = np.linspace(-1, 1, COLUMNS, endpoint=False)
    azimuth = np.pi * (0.62 * t + 0.38 * t**3)  # denser in front
    y = _row_heights()
    half_width, front, back, widest = (
        curve(y, knots)[:, None] for knots in (_HALF_WIDTH, _FRONT_Z, _BACK_Z, _WIDEST_Z)
    )
    sine, cosine = np.sin(azimuth), np.cos(azimuth)
    x = half_width * np.sign(sine) * np.abs(sine) ** 0.92
    ahead = widest + (front - widest) * np.abs(cosine) ** 0.95
    behind = widest + (back - widest) * np.abs(cosine) ** 0.90
    z = np.where(cosine > 0, ahead, behind)
    return np.broadcast_to(azimuth, x.shape), x, np.broadcast_to(y[:, None], x.shape), z


def _relief(azimuth: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """The features of the face as bumps of height about 1, except the nose, which is in mm."""
    front = smoothstep(-0.05, 0.35, np.cos(azimuth))
    side = smoothstep(-0.3, 0.3, np.cos(azimuth))
    ax = np.abs(x)

    def pair(cx, cy, rx, ry):
        return bump(ax, y, cx, cy, rx, ry)

    nose = curve(np.clip(y, -56, 17), _NOSE_RIDGE) * np.exp(-((ax / curve(y, _NOSE_WIDTH)) ** 2.2))
    return {
        "nose": nose * front,
        "nostril_wing": pair(an.HALF_NOSE - 5, -38, 5.6, 5.2) * front,
        "socket": pair(an.EYE_X, 1, 16, 8.5) * front,
        "eyeball": pair(an.EYE_X, -0.5, 11, 5.5) * front,
        "brow": pair(28, 16, 21, 6) * front,
        "cheek_bone": pair(47, -21, 18, 13) * side,
        "hollow": pair(46, -53, 17, 15) * side,
        "jowl": pair(54, -59, 28, 28) * smoothstep(-0.6, 0.2, np.cos(azimuth)),
        "upper_lip": pair(0, an.MOUTH_Y + 5, 18, 3.8) * front,
        "lower_lip": pair(0, an.MOUTH_Y - 6, 16, 4.2) * front,
        "lip_gap": pair(0, an.MOUTH_Y, 21, 1.8) * front,
        "mouth": pair(0, an.MOUTH_Y + 1, 28, 15) * front,
        "chin": pair(0, -96, 17, 10.5) * front,
        "chin_crease": pair(0, -82, 17, 4.2) * front,
        "temple": pair(66, 17, 14, 17) * smoothstep(-0.5, 0.1, np.cos(azimuth)),
        "front": front,
    }


def _add_relief(x: np.ndarray, z: np.ndarray, relief: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    heights_z = {
        "nose": 1.0, "nostril_wing": 6.3, "socket": -8.5, "eyeball": 4.5, "brow": 4.0, "cheek_bone": 4.2,
        "hollow": -1.5, "upper_lip": 6.3, "lower_lip": 5.6, "lip_gap": -4.2, "mouth": 3.5, "chin": 6.3,
        "chin_crease": -4.0,
    }  # fmt: skip
    heights_x = {"cheek_bone": 2.1, "temple": -1.7, "nostril_wing": 2.8}
    z = z + sum(height * relief[name] for name, height in heights_z.items())
    x = x + np.sign(x) * sum(height * relief[name] for name, height in heights_x.items())
    return x, z


def _paint(x: np.ndarray, y: np.ndarray, z: np.ndarray, relief: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Coverage of what is painted on the skin."""
    front, ax = relief["front"], np.abs(x)

    def pair(cx, cy, rx, ry):
        return bump(ax, y, cx, cy, rx, ry) * front

    brow_line = 17.5 + 4.2 * np.clip(1 - ((ax - 33) / 22) ** 2, -1, 1)
    brow = np.exp(-(((y - brow_line) / 3.0) ** 4)) * smoothstep(11, 17, ax) * smoothstep(55, 46, ax) * front
    lip_edge = np.clip(1 - (ax / (an.HALF_MOUTH - 0.5)) ** 2, 0, 1)
    lip_top = an.MOUTH_Y + 0.5 + 7.5 * lip_edge - 1.2 * np.exp(-((ax / 3.5) ** 2))
    lip_bottom = an.MOUTH_Y - 0.5 - 9 * lip_edge
    lips = smoothstep(-0.8, 1.4, np.minimum(lip_top - y, y - lip_bottom)) * front * (ax < an.HALF_MOUTH)
    gap = np.exp(-(((y - an.MOUTH_Y - 1.1 * (ax / 25) ** 2) / 1.3) ** 2)) * (ax < an.HALF_MOUTH) * front
    beard_line = curve(ax, [(0, -63), (26, -61), (45, -52), (58, -32), (66, -10)])  # rises to the sideburns
    beard = smoothstep(7, -8, y - beard_line) * smoothstep(-105, -63, z) * (1 - 0.85 * lips)
    moustache_line = an.MOUTH_Y + 13 - 0.008 * ax**2
    moustache = np.exp(-(((y - moustache_line) / 4.4) ** 4)) * smoothstep(32, 22, ax) * front
    fold_x = 20 + 0.45 * (-34 - y)  # from the wing of the nose to beside the mouth
    fold = np.exp(-(((ax - fold_x) / 3.5) ** 2)) * smoothstep(-70, -58, y) * smoothstep(-32, -42, y) * front
    return {
        "blush": pair(42, -28, 18, 14) + 0.6 * bump(x, y, 0, -33, 10, 8) * front,
        "eye_shade": pair(an.EYE_X, 6.3, 14, 5) + 0.5 * pair(28, -7.5, 13, 4.2),
        "fold": fold,
        "lips": lips,
        "brow": brow,
        "beard": beard,
        "moustache": moustache * (1 - lips),
        "nostrils": pair(6.5, -43.2, 3.4, 1.8),
        "lip_gap": gap,
        "lash": pair(an.EYE_X, 2.6, 13, 2.2),
    }


def _cavity(x: np.ndarray, y: np.ndarray, z: np.ndarray, relief: dict[str, np.ndarray]) -> np.ndarray:
    front, ax = relief["front"], np.abs(x)
    under_chin = smoothstep(-98, -114, y) * smoothstep(14, -28, z)
    beside_nose = bump(ax, y, 14, -26, 5, 14) * front
    under_nose = bump(ax, y, 10, -46, 7, 3.5) * front
    dark = 0.22 * relief["socket"] + 0.45 * under_nose + 0.25 * relief["lip_gap"] + 0.2 * relief["chin_crease"]
    return np.clip(1 - dark - 0.10 * beside_nose - 0.35 * under_chin, 0.2, 1)


@lru_cache(maxsize=1)
def head_surface() -> HeadSurface:
    """Build the mean head (once; some 20 ms)."""
    azimuth, x0, y, z0 = _loft()
    relief = _relief(azimuth, x0, y)
    x, z = _add_relief(x0, z0, relief)
    points = np.stack([x.ravel(), y.ravel(), z.ravel()])
    outward = points - np.array([[0.0], [7.0], [-70.0]])
    offset = points[:, None] - an.landmarks_68().T[:, :, None]  # (3, 68, n)
    distance = offset[0] ** 2 + offset[1] ** 2 + 0.1 * offset[2] ** 2  # their z is approximate

    def flat32(a):
        return np.ascontiguousarray(a.reshape(*a.shape[:-2], -1), dtype=np.float32)

    return HeadSurface(
        points=points.astype(np.float32),
        azimuth=flat32(azimuth),
        flat=flat32(np.stack([x0, y])),
        outward=(outward / np.linalg.norm(outward, axis=0)).astype(np.float32),
        relief={name: flat32(a) for name, a in relief.items()},
        paint={name: flat32(a) for name, a in _paint(x0, y, z0, relief).items()},
        cavity=flat32(_cavity(x0, y, z, relief)),
        landmarks=distance.argmin(1),
    )
