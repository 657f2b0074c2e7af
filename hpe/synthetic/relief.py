"""A photograph seen as a relief: the mean head, placed by the face's pose, gives each pixel its depth; then it turns.

As in 300W-LP (Zhu et al., "Face Alignment Across Large Poses", CVPR 2016, section 4): the picture becomes a mesh whose
front is the head and whose rest lies at the depth of the head's middle, the mesh is turned, and the crop is taken again
around the turned landmarks. What was hidden is stretched from what lies beside it. The projection is orthographic.
"""

from functools import lru_cache

import numpy as np

from hpe.pose.rotation import euler_to_matrix
from hpe.synthetic.camera import standard_box
from hpe.synthetic.compiled import compiled
from hpe.synthetic.scene import ZERO_PITCH_DEG
from hpe.synthetic.surface import COLUMNS, ROWS, head_surface

MIDDLE = np.array([[0.0], [0.0], [-75.0]])
"""What the head turns about, and where the background lies: between the ears, mm in head coordinates."""
AROUND = 24
"""Pixels of mirrored picture on each side, which may come into sight."""
UNKNOWN = np.float32(-1e9)
"""The depth of a pixel that shows no head."""
FINER = 2
"""A pixel is the mean of N by N places in the relief, so that silhouettes are not jagged."""
EDGE_PX = 2
"""The head's outermost pixels, where the surface runs away from the camera, take their depth from what is around."""
SOFTENINGS = 120
"""Rounds in which a pixel of unknown depth takes the mean of its neighbours."""
PULL = np.float32(0.02)
"""How much of the way each round goes on to the depth of the background."""


def turned(picture: np.ndarray, pose_deg: np.ndarray, turn_deg: np.ndarray, size: int) -> np.ndarray:
    """The picture of a face, turned out of its plane: uint8 (side, side, 3), as the one that came.

    Args:
        picture: RGB uint8 (side, side, 3), whose middle `size` pixels are the standard crop.
        pose_deg: (3,) yaw, pitch, roll of the face in it.
        turn_deg: (2,) yaw and pitch of the turn about the picture's axes; see `turned_pose`.
        size: side of the standard crop in pixels.
    """
    side = len(picture)
    around = (side - size) / 2
    rotation = _placed(pose_deg)
    turn = euler_to_matrix(np.array([turn_deg[0], turn_deg[1], 0.0]))
    before = _view(rotation, size, around)
    after = _view(turn @ rotation, size, around)
    depth = _depth(rotation, before, side)  # (side + 2 AROUND,) twice, mm
    edge = np.arange(-AROUND, side + AROUND, dtype=np.float64) + 0.5
    x, y = (edge - before[1][0]) / before[0][0], (before[1][1] - edge) / before[0][1]  # mm right, mm up
    points = np.stack([np.broadcast_to(x, depth.shape), np.broadcast_to(y[:, None], depth.shape), depth])
    points = np.tensordot(turn, points, 1).astype(np.float32)  # (3, rows, columns)
    column = (points[0] * after[0][0] + after[1][0]).astype(np.float32)
    row = (after[1][1] - points[1] * after[0][1]).astype(np.float32)
    source = _mesh(column * FINER, row * FINER, points[2], side * FINER)  # (3, side * FINER, side * FINER)
    padded = np.pad(picture, ((AROUND, AROUND), (AROUND, AROUND), (0, 0)), mode="symmetric")
    return _sample(padded, source[1], source[2], FINER)


def turned_pose(pose_deg: np.ndarray, turn_deg: np.ndarray) -> np.ndarray:
    """Poses (N, 3) after turns (N, 2) in degrees: the head first turns as it did, then as a whole by yaw and pitch.

    The turn is about axes of the picture, so that of a tilted head roll changes, too.
    """
    from hpe.pose.rotation import matrix_to_euler

    turns = np.concatenate([turn_deg, np.zeros((len(turn_deg), 1))], 1)
    return matrix_to_euler(euler_to_matrix(turns) @ euler_to_matrix(np.asarray(pose_deg, np.float64)))


def _placed(pose_deg: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) of the head as it is modelled."""
    zero = euler_to_matrix(np.array([0.0, ZERO_PITCH_DEG, 0.0]))
    return euler_to_matrix(np.asarray(pose_deg, np.float64)) @ zero


@lru_cache(maxsize=1)
def _mean_head() -> tuple[np.ndarray, np.ndarray]:
    """The mean head (3, n) and its 68 landmarks (3, 68), mm from its middle."""
    surface = head_surface()
    points = surface.points.astype(np.float64) - MIDDLE
    return points, points[:, surface.landmarks]


def _view(rotation: np.ndarray, size: int, around: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels per mm right and down (2,), and where the middle of the head is (2,): the crop fills `size` pixels."""
    x, y, _ = rotation @ _mean_head()[1]
    left, top, right, bottom = standard_box(x, -y)
    scale = np.array([size / (right - left), size / (bottom - top)])
    return scale, around - scale * [left, top]


def _depth(rotation: np.ndarray, view: tuple[np.ndarray, np.ndarray], side: int) -> np.ndarray:
    """How far towards the camera each pixel lies, mm from the middle of the head, AROUND more pixels on each side."""
    scale, shift = view
    x, y, z = (rotation @ _mean_head()[0]).reshape(3, ROWS, COLUMNS).astype(np.float32)
    closed = [np.concatenate([part, part[:, :1]], 1) for part in (x, y, z)]
    column = (closed[0] * scale[0] + shift[0] + AROUND).astype(np.float32)
    row = (shift[1] - closed[1] * scale[1] + AROUND).astype(np.float32)
    depth = _mesh(column, row, closed[2], side + 2 * AROUND)[0]
    known = depth > UNKNOWN / 2
    for _ in range(EDGE_PX):
        inner = known.copy()
        inner[1:-1, 1:-1] &= known[:-2, 1:-1] & known[2:, 1:-1] & known[1:-1, :-2] & known[1:-1, 2:]
        known = inner
    depth[~known] = 0
    return _softened(depth, known, SOFTENINGS, PULL)


@compiled
def _softened(depth, known, rounds, pull):
    """Depths (h, w) in which what is not known runs smoothly from what is known down to 0, far away."""
    height, width = depth.shape
    for _ in range(rounds):
        for i in range(1, height - 1):
            for j in range(1, width - 1):
                if not known[i, j]:
                    mean = (depth[i - 1, j] + depth[i + 1, j] + depth[i, j - 1] + depth[i, j + 1]) / 4
                    depth[i, j] = mean * (1 - pull)
    return depth


@compiled
def _mesh(column, row, depth, side):
    """The nearest surface of a mesh (h, w) at each pixel of a picture: depth and place in the mesh (3, side, side).

    Places are in vertices from the first one: row and column. Where the mesh does not reach, the depth is -1e9.
    """
    seen = np.full((3, side, side), np.float32(-1e9))
    height, width = column.shape
    for i in range(height - 1):
        for j in range(width - 1):
            for half in range(2):
                ai, aj = i + half, j + half  # the corner with the right angle, then the other two
                bi, bj, ci, cj = i, j + 1, i + 1, j
                ax, ay = column[ai, aj], row[ai, aj]
                bx, by = column[bi, bj] - ax, row[bi, bj] - ay
                cx, cy = column[ci, cj] - ax, row[ci, cj] - ay
                area = bx * cy - cx * by
                if abs(area) < 1e-9:
                    continue
                left, right = min(0.0, bx, cx) + ax, max(0.0, bx, cx) + ax
                top, bottom = min(0.0, by, cy) + ay, max(0.0, by, cy) + ay
                for v in range(max(0, int(np.ceil(top - 0.5))), min(side - 1, int(np.floor(bottom - 0.5))) + 1):
                    for u in range(max(0, int(np.ceil(left - 0.5))), min(side - 1, int(np.floor(right - 0.5))) + 1):
                        x, y = u + 0.5 - ax, v + 0.5 - ay
                        b, c = (x * cy - cx * y) / area, (bx * y - x * by) / area
                        if b < -1e-4 or c < -1e-4 or b + c > 1 + 1e-4:
                            continue
                        z = depth[ai, aj] + b * (depth[bi, bj] - depth[ai, aj]) + c * (depth[ci, cj] - depth[ai, aj])
                        if z > seen[0, v, u]:
                            seen[0, v, u] = z
                            seen[1, v, u] = ai + b * (bi - ai) + c * (ci - ai)
                            seen[2, v, u] = aj + b * (bj - aj) + c * (cj - aj)
    return seen


@compiled
def _sample(picture, row, column, finer):
    """A picture uint8 (h, w, 3): each pixel the mean of finer x finer bilinear samples of a picture (H, W, 3).

    The places `row` and `column` are (h * finer, w * finer); what lies outside takes the edge.
    """
    height, width = picture.shape[0], picture.shape[1]
    out = np.empty((row.shape[0] // finer, row.shape[1] // finer, 3), np.uint8)
    share = np.float32(1 / finer**2)
    colour = np.empty(3, np.float32)
    for v in range(out.shape[0]):
        for u in range(out.shape[1]):
            colour[:] = 0
            for part in range(finer * finer):
                place = v * finer + part // finer, u * finer + part % finer
                y = min(max(row[place], np.float32(0)), np.float32(height - 1.001))
                x = min(max(column[place], np.float32(0)), np.float32(width - 1.001))
                i, j = int(y), int(x)
                p, q = y - i, x - j
                for k in range(3):
                    above = picture[i, j, k] * (1 - q) + picture[i, j + 1, k] * q
                    below = picture[i + 1, j, k] * (1 - q) + picture[i + 1, j + 1, k] * q
                    colour[k] += share * (above * (1 - p) + below * p)
            for k in range(3):
                out[v, u, k] = np.uint8(min(colour[k] + np.float32(0.5), np.float32(255)))
    return out
