"""Turned photographs: labels against scipy, and where points of the face go in the picture."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hpe.synthetic.relief import MIDDLE, turned, turned_pose
from hpe.synthetic.scene import ZERO_PITCH_DEG
from hpe.synthetic.surface import head_surface

SIZE, SIDE = 64, 80


def rotation(pose_deg):
    """Scipy's rotation of (yaw, pitch, roll): R = Rx(-pitch) Ry(-yaw) Rz(-roll)."""
    yaw, pitch, roll = np.moveaxis(np.asarray(pose_deg, float), -1, 0)
    return Rotation.from_euler("XYZ", np.stack([-pitch, -yaw, -roll], -1), degrees=True)


def places(pose_deg, turn_deg):
    """Columns and rows (68,) of the mean head's landmarks in the standard crop of a turned face."""
    head = head_surface()
    points = (head.points[:, head.landmarks] - MIDDLE).T.astype(float)
    whole = rotation([*turn_deg, 0]) * rotation(pose_deg) * rotation([0, ZERO_PITCH_DEG, 0])
    x, y, _ = whole.apply(points).T
    wide, high = np.ptp(x), np.ptp(y)
    column = (x - x.min() + 0.4 * wide) / (1.8 * wide)
    row = (y.max() - y + 0.4 * high) / (1.52 * high)  # 0.4 above, 0.12 below
    margin = (SIDE - SIZE) / 2
    return margin + column * SIZE, margin + row * SIZE


def test_labels_follow_exactly():
    rng = np.random.default_rng(0)
    pose = rng.uniform([-60, -40, -40], [60, 40, 40], (200, 3))
    turn = rng.uniform(-25, 25, (200, 2))
    wanted = rotation(np.concatenate([turn, np.zeros((200, 1))], 1)) * rotation(pose)
    got = turned_pose(pose, turn)
    assert (wanted * rotation(got).inv()).magnitude().max() < 1e-6
    upright = turned_pose(np.array([[10.0, 0, 0]]), np.array([[15.0, 0]]))
    np.testing.assert_allclose(upright, [[25, 0, 0]], atol=1e-9)


@pytest.mark.parametrize("turn", [(0, 0), (20, 0), (0, 15), (0, -15), (20, 15)])
def test_spots_of_the_face_go_where_the_turned_head_has_them(turn):
    pose = (12.0, -5.0, 8.0)
    column, row = places(pose, (0, 0))
    to_column, to_row = places(pose, turn)
    across, down = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    for mark in (27, 30, 36, 39, 42, 48, 54):  # nose, corners of eyes and mouth
        spot = 40 + 200 * np.exp(-((across - column[mark]) ** 2 + (down - row[mark]) ** 2) / 4)
        picture = np.repeat(spot[..., None], 3, 2).astype(np.uint8)
        seen = turned(picture, np.array(pose), np.array(turn, float), SIZE)[..., 0] - 40.0
        seen[seen < 40] = 0
        middle = (seen * across).sum() / seen.sum(), (seen * down).sum() / seen.sum()
        assert np.hypot(middle[0] - to_column[mark], middle[1] - to_row[mark]) < (0.3 if turn == (0, 0) else 2), mark


def test_no_turn_leaves_the_picture_but_for_the_averaging():
    rng = np.random.default_rng(1)
    picture = np.repeat(np.repeat(rng.integers(0, 256, (10, 10, 3), np.uint8), 8, 0), 8, 1)
    same = turned(picture, np.zeros(3), np.zeros(2), SIZE)
    assert (same.shape, same.dtype) == (picture.shape, np.uint8)
    assert np.abs(same.astype(int) - picture).mean() < 5


def test_the_mirrored_picture_turns_as_the_mirror_image():
    picture = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    first = turned(picture, np.array([15.0, 5, -7]), np.array([20.0, 10]), SIZE)
    second = turned(picture[:, ::-1], np.array([-15.0, 5, 7]), np.array([-20.0, 10]), SIZE)[:, ::-1]
    assert np.abs(first.astype(int) - second).mean() < 4
