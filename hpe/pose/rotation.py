"""Rotations of the head: Euler angles, matrices and the angle between two. One code path, numpy or torch.

Convention (that of 300W-LP and AFLW2000): a pose is (yaw, pitch, roll) in degrees; axes are x to the image's right,
y up, z towards the camera; R = Rx(-pitch) Ry(-yaw) Rz(-roll) takes head coordinates to camera coordinates.
So +yaw turns the nose to the image's left, +pitch looks up, +roll tilts the head clockwise as seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
"""A numpy array or a torch tensor; every function here returns the kind that it was given."""


def _namespace(x: Array) -> tuple[Any, Array]:
    """The module (numpy or torch) that works on `x`, and `x` as a floating-point array of it."""
    if type(x).__module__.partition(".")[0] == "torch":
        import torch

        return torch, x if x.is_floating_point() else x.to(torch.get_default_dtype())
    x = np.asarray(x)
    return np, x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)


def wrap_deg(angle_deg: Array) -> Array:
    """The same angle in [-180, 180), in degrees."""
    _, angle_deg = _namespace(angle_deg)
    return (angle_deg + 180.0) % 360.0 - 180.0


def euler_to_matrix(pose_deg: Array) -> Array:
    """Rotation matrices (..., 3, 3) of poses (..., 3) = (yaw, pitch, roll) in degrees."""
    xp, pose_deg = _namespace(pose_deg)
    radians = xp.deg2rad(pose_deg)
    cos, sin = xp.cos(radians), xp.sin(radians)
    cy, cp, cr = cos[..., 0], cos[..., 1], cos[..., 2]
    sy, sp, sr = sin[..., 0], sin[..., 1], sin[..., 2]
    rows = (
        xp.stack([cy * cr, cy * sr, -sy], axis=-1),
        xp.stack([sp * sy * cr - cp * sr, sp * sy * sr + cp * cr, sp * cy], axis=-1),
        xp.stack([cp * sy * cr + sp * sr, cp * sy * sr - sp * cr, cp * cy], axis=-1),
    )
    return xp.stack(rows, axis=-2)  # (..., 3, 3)


def matrix_to_euler(rotation: Array) -> Array:
    """Poses (..., 3) = (yaw, pitch, roll) in degrees of rotation matrices (..., 3, 3).

    Yaw lies in [-90, 90], pitch and roll in [-180, 180]. At yaw = +-90 only one combination of pitch and roll is
    determined; roll is then 0. For the other triple of the same rotation see `other_euler`.
    """
    xp, rotation = _namespace(rotation)
    cos_yaw = xp.sqrt(rotation[..., 0, 0] ** 2 + rotation[..., 0, 1] ** 2)
    yaw = xp.arctan2(-rotation[..., 0, 2], cos_yaw)
    locked = cos_yaw < 1e-6
    pitch_locked = xp.arctan2(-rotation[..., 2, 1], rotation[..., 1, 1])
    pitch = xp.where(locked, pitch_locked, xp.arctan2(rotation[..., 1, 2], rotation[..., 2, 2]))
    roll = xp.where(locked, xp.zeros_like(yaw), xp.arctan2(rotation[..., 0, 1], rotation[..., 0, 0]))
    return xp.rad2deg(xp.stack([yaw, pitch, roll], axis=-1))


def other_euler(pose_deg: Array) -> Array:
    """The second (yaw, pitch, roll) triple (..., 3) in degrees that stands for the same rotation as `pose_deg`."""
    xp, pose_deg = _namespace(pose_deg)
    return wrap_deg(xp.stack([180.0 - pose_deg[..., 0], pose_deg[..., 1] + 180.0, pose_deg[..., 2] + 180.0], axis=-1))


def rotate_in_plane(pose_deg: Array, clockwise_deg: Array) -> Array:
    """The poses (..., 3) once the image has been turned clockwise as seen by `clockwise_deg` (...), in degrees.

    The turn is about the camera's axis, so it multiplies the rotation from the left: all three angles change, and
    roll alone does only for a head that looks straight at the camera. Of the two triples for the new rotation, the
    one nearer to the old pose is returned, so that a yaw beyond 90 degrees stays there.
    """
    xp, pose_deg = _namespace(pose_deg)
    clockwise = xp.zeros_like(pose_deg)
    clockwise[..., 2] = clockwise_deg
    return nearer_euler(euler_to_matrix(clockwise) @ euler_to_matrix(pose_deg), pose_deg)


def nearer_euler(rotation: Array, pose_deg: Array) -> Array:
    """Of the two (yaw, pitch, roll) triples of rotations (..., 3, 3), those (..., 3) nearer to `pose_deg` (..., 3)."""
    xp, pose_deg = _namespace(pose_deg)
    first = matrix_to_euler(rotation)  # (..., 3)
    second = other_euler(first)
    first_is_nearer = abs(wrap_deg(first - pose_deg)).sum(-1) <= abs(wrap_deg(second - pose_deg)).sum(-1)
    return xp.where(first_is_nearer[..., None], first, second)


def mean_rotation(rotations: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) nearest to all of (N, 3, 3) in squared Frobenius distance (Moakher, SIMAX 2002)."""
    left, _, right = np.linalg.svd(rotations.mean(0))
    left[:, -1] *= np.linalg.det(left @ right)  # no reflection
    return left @ right


def flip_pose(pose_deg: Array) -> Array:
    """The poses (..., 3) of the mirrored image (left and right exchanged): yaw and roll change sign."""
    xp, pose_deg = _namespace(pose_deg)
    return xp.stack([-pose_deg[..., 0], pose_deg[..., 1], -pose_deg[..., 2]], axis=-1)


def geodesic_deg(first: Array, second: Array) -> Array:
    """The angle (...) in degrees, in [0, 180], of the rotation that takes `first` (..., 3, 3) to `second`.

    From sine and cosine together, so that it is exact near 0 and near 180 degrees as well.
    """
    xp, first = _namespace(first)
    _, second = _namespace(second)
    between = first.swapaxes(-1, -2) @ second  # (..., 3, 3)
    twice_cos = between[..., 0, 0] + between[..., 1, 1] + between[..., 2, 2] - 1.0
    twice_sin = xp.sqrt(
        (between[..., 2, 1] - between[..., 1, 2]) ** 2
        + (between[..., 0, 2] - between[..., 2, 0]) ** 2
        + (between[..., 1, 0] - between[..., 0, 1]) ** 2
    )
    return xp.rad2deg(xp.arctan2(twice_sin, twice_cos))
