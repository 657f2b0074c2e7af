"""Rotations against scipy's, and signs that fail when swapped."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hpe.pose import rotation as rot

NOSE, TOP, EAR = 2, 1, 0  # the head's z, y and x axes: columns of the matrix
steady = settings(deadline=None, derandomize=True, max_examples=60)
poses = st.tuples(st.floats(-89, 89), st.floats(-179, 179), st.floats(-179, 179)).map(np.array)


def scipy_rotation(pose_deg: np.ndarray) -> Rotation:
    yaw, pitch, roll = np.asarray(pose_deg, np.float64)
    about_x, about_y, about_z = (
        Rotation.from_rotvec(np.deg2rad(angle) * axis)
        for angle, axis in zip((-pitch, -yaw, -roll), np.eye(3), strict=True)
    )
    return about_x * about_y * about_z


@steady
@given(poses)
def test_matrix_is_scipys(pose_deg):
    np.testing.assert_allclose(rot.euler_to_matrix(pose_deg), scipy_rotation(pose_deg).as_matrix(), atol=1e-12)


@steady
@given(poses)
def test_euler_angles_come_back(pose_deg):
    np.testing.assert_allclose(rot.matrix_to_euler(rot.euler_to_matrix(pose_deg)), pose_deg, atol=1e-6)


@pytest.mark.parametrize("yaw", [90.0, -90.0, 89.99999999, -90.0000001])
def test_gimbal_lock_keeps_the_rotation(yaw):
    matrix = rot.euler_to_matrix(np.array([yaw, 20.0, 30.0]))
    pose_deg = rot.matrix_to_euler(matrix)
    assert np.isfinite(pose_deg).all()
    np.testing.assert_allclose(rot.euler_to_matrix(pose_deg), matrix, atol=1e-6)


def test_signs_of_the_angles():
    """In the picture x is to the right, y up: +yaw nose to the left, +pitch up, +roll clockwise (top to the right)."""
    yaw, pitch, roll = (rot.euler_to_matrix(np.array(pose)) for pose in ([30, 0, 0], [0, 30, 0], [0, 0, 30]))
    np.testing.assert_allclose(yaw[:, NOSE], [-0.5, 0, np.sqrt(0.75)], atol=1e-12)
    np.testing.assert_allclose(pitch[:, NOSE], [0, 0.5, np.sqrt(0.75)], atol=1e-12)
    np.testing.assert_allclose(roll[:, TOP], [0.5, np.sqrt(0.75), 0], atol=1e-12)
    np.testing.assert_allclose(roll[:, EAR], [np.sqrt(0.75), -0.5, 0], atol=1e-12)


@steady
@given(poses)
def test_flip_is_the_mirrored_rotation(pose_deg):
    mirror = np.diag([-1.0, 1.0, 1.0])
    flipped = rot.euler_to_matrix(rot.flip_pose(pose_deg))
    np.testing.assert_allclose(flipped, mirror @ scipy_rotation(pose_deg).as_matrix() @ mirror, atol=1e-12)


@steady
@given(poses, st.floats(-180, 180))
def test_turning_the_image_multiplies_from_the_left(pose_deg, clockwise_deg):
    turned = Rotation.from_euler("z", -clockwise_deg, degrees=True) * scipy_rotation(pose_deg)
    matrix = rot.euler_to_matrix(rot.rotate_in_plane(pose_deg, clockwise_deg))
    np.testing.assert_allclose(matrix, turned.as_matrix(), atol=1e-6)


def test_turning_the_image_changes_all_three_angles():
    frontal = rot.rotate_in_plane(np.array([0.0, 0.0, 5.0]), 20.0)
    np.testing.assert_allclose(frontal, [0, 0, 25], atol=1e-9)
    turned = rot.rotate_in_plane(np.array([40.0, -20.0, 5.0]), 20.0)
    assert (np.abs(turned - [40, -20, 25]) > 1).all()


def test_a_yaw_beyond_90_stays_there():
    before = np.array([[96.0, 4.0, 3.0], [-97.0, 2.0, -4.0]])
    after = rot.rotate_in_plane(before, np.array([1.0, -1.0]))
    assert np.abs(after - before).max() < 12


@steady
@given(poses)
def test_other_euler_is_the_same_rotation(pose_deg):
    other = rot.other_euler(pose_deg)
    np.testing.assert_allclose(rot.euler_to_matrix(other), rot.euler_to_matrix(pose_deg), atol=1e-9)
    assert np.abs(other[0]) >= 90


@steady
@given(poses, poses)
def test_geodesic_is_scipys_angle(first, second):
    expected = np.rad2deg((scipy_rotation(first).inv() * scipy_rotation(second)).magnitude())
    found = rot.geodesic_deg(rot.euler_to_matrix(first), rot.euler_to_matrix(second))
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("angle_deg", [0.0, 1e-9, 1e-5, 179.9999, 180.0])
def test_geodesic_is_exact_at_its_ends(angle_deg):
    turned = Rotation.from_rotvec(np.deg2rad(angle_deg) * np.array([0.6, 0.0, 0.8])).as_matrix()
    assert rot.geodesic_deg(np.eye(3), turned) == pytest.approx(angle_deg, abs=1e-8)


def test_geodesic_of_float32_does_not_invent_an_angle():
    matrix = rot.euler_to_matrix(np.random.default_rng(0).uniform(-80, 80, (1000, 3)).astype(np.float32))
    assert rot.geodesic_deg(matrix, matrix).max() < 1e-4


def test_wrap():
    np.testing.assert_allclose(rot.wrap_deg(np.array([-180, 180, 181, -181, 540, 0])), [-180, -180, -179, 179, -180, 0])


def test_torch_and_numpy_agree_and_keep_their_kind():
    rng = np.random.default_rng(1)
    pose_deg = rng.uniform(-89, 89, (2, 50, 3))
    tensor = torch.from_numpy(pose_deg)
    matrix = rot.euler_to_matrix(pose_deg)
    pairs = [
        (rot.euler_to_matrix(tensor), matrix),
        (rot.matrix_to_euler(torch.from_numpy(matrix)), pose_deg),
        (rot.rotate_in_plane(tensor, torch.full((2, 50), 15.0)), rot.rotate_in_plane(pose_deg, np.full((2, 50), 15.0))),
        (rot.flip_pose(tensor), rot.flip_pose(pose_deg)),
        (rot.geodesic_deg(*torch.from_numpy(matrix)), rot.geodesic_deg(*matrix)),
        (rot.wrap_deg(tensor * 5), rot.wrap_deg(pose_deg * 5)),
    ]
    for found, expected in pairs:
        assert isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)
    assert rot.euler_to_matrix(tensor.float()).dtype == torch.float32
    assert rot.euler_to_matrix(pose_deg.astype(np.float32)).dtype == np.float32


def test_whole_numbers_are_angles_too():
    np.testing.assert_allclose(rot.euler_to_matrix([30, 0, 0]), rot.euler_to_matrix(np.array([30.0, 0, 0])))
    assert rot.euler_to_matrix(torch.tensor([30, 0, 0])).is_floating_point()
