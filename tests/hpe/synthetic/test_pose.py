"""Synthetic heads: labels and crop exact, a face in every crop, proportions as published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hpe.synthetic import PRESETS, render
from hpe.synthetic import anatomy as an
from hpe.synthetic.camera import standard_box
from hpe.synthetic.geometry import POSITION
from hpe.synthetic.scene import ZERO_PITCH_DEG, Scene, _rotations
from hpe.synthetic.surface import head_surface

PEERS = Path(__file__).resolve().parents[4] / "shared" / "data" / "peers"
NOSE_TIP, LEFT_EYE, RIGHT_EYE = 30, slice(36, 42), slice(42, 48)


def head_rotation(*pose_deg: float) -> np.ndarray:
    return _rotations(np.array([pose_deg]))[0]


def landmarks_at(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Image positions (68, 2), x right and y down, of one head in this pose."""
    scene = replace(Scene.draw(3, 5, PRESETS["clean"]), pose_deg=np.array([yaw, pitch, roll], np.float32))
    return np.stack(scene.camera.look(scene.build()[1]), axis=1)


# Labels


def test_full_reaches_profiles_and_easy_does_not():
    full, easy = (np.array([Scene.draw(0, i, PRESETS[p]).pose_deg for i in range(600)]) for p in ("full", "easy"))
    assert 90 < np.abs(full[:, 0]).max() <= 99
    assert (np.abs(full[:, 0]) > 45).mean() > 0.25
    assert np.abs(full[:, 1:]).max() <= 60
    assert np.abs(easy[:, 0]).max() <= 60
    assert np.abs(easy[:, 1:]).max() <= 35


def test_rotation_is_the_documented_one():
    yaw, pitch, roll = 31.0, -22.0, 17.0
    expected = Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True)
    zero = Rotation.from_euler("X", -ZERO_PITCH_DEG, degrees=True)
    rotation = head_rotation(yaw, pitch, roll)
    np.testing.assert_allclose(rotation, (expected * zero).as_matrix(), atol=1e-6)


def test_positive_yaw_turns_the_nose_to_the_images_left():
    for sign in (1, -1):
        points = landmarks_at(40 * sign, 0, 0)
        eyes = (points[LEFT_EYE].mean(0) + points[RIGHT_EYE].mean(0)) / 2
        assert sign * (points[NOSE_TIP] - eyes)[0] < -5


def test_positive_pitch_looks_up():
    up, level, down = (landmarks_at(0, pitch, 0) for pitch in (30, 0, -30))
    drop = [p[NOSE_TIP, 1] - (p[LEFT_EYE, 1].mean() + p[RIGHT_EYE, 1].mean()) / 2 for p in (up, level, down)]
    assert drop[0] < drop[1] - 5 < drop[2] - 10


def test_positive_roll_is_clockwise_as_seen():
    for sign in (1, -1):
        points = landmarks_at(0, 0, 30 * sign)
        assert sign * (points[RIGHT_EYE].mean(0) - points[LEFT_EYE].mean(0))[1] > 20


def test_a_mirrored_head_has_negated_yaw_and_roll():
    mirror = np.diag([-1, 1, 1])
    for pose in ((25, 10, -15), (-80, -30, 40)):
        yaw, pitch, roll = pose
        there = mirror @ head_rotation(*pose) @ mirror
        np.testing.assert_allclose(there, head_rotation(-yaw, pitch, -roll), atol=1e-6)


@pytest.mark.skipif(not PEERS.is_dir(), reason="FSA-Net is not in ../shared/data/peers")
def test_an_independent_network_reads_the_poses():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    nets = [onnxruntime.InferenceSession(str(path), options) for path in sorted(PEERS.glob("fsanet-*.onnx"))]
    images, pose_deg = render(range(48), 0, "easy")
    batch = ((images[..., ::-1].astype(np.float32) - 127.5) / 128).transpose(0, 3, 1, 2)
    read_deg = np.mean([[net.run(None, {"input": x[None]})[0][0] for x in batch] for net in nets], axis=0)
    correlation = [np.corrcoef(pose_deg[:, k], read_deg[:, k])[0, 1] for k in range(3)]
    assert correlation[0] > 0.95
    assert correlation[1] > 0.75
    assert correlation[2] > 0.85


# The crop


def test_the_box_follows_the_published_rule():
    # landmarks 100..200 by 50..130: 2k = 0.4 of the size to the left, right and top, 0.6k = 0.12 to the bottom
    assert standard_box(np.array([100.0, 200.0]), np.array([130.0, 50.0])) == pytest.approx((60, 18, 240, 139.6))


@pytest.mark.parametrize("margin", [0, 8])
def test_the_nose_is_where_the_crop_puts_it(margin):
    """A red dot painted on the nose tip shows up where the crop rule says."""
    scene = Scene.draw(0, 0, PRESETS["easy"])
    scene = replace(scene, pose_deg=np.array([20, -5, 10], np.float32), glasses=replace(scene.glasses, worn=False))
    surfel, landmarks = scene.build()
    x, y = scene.camera.look(landmarks)
    left, top, right, bottom = standard_box(x, y)
    expected = margin + 64 * np.array([(x[NOSE_TIP] - left) / (right - left), (y[NOSE_TIP] - top) / (bottom - top)])
    covered, number, fine_side = scene.rasterise(surfel, landmarks, 64, margin)
    tip = landmarks[:, NOSE_TIP]
    near = ((surfel[POSITION][:, number] - tip[:, None]) ** 2).sum(0) < 5**2
    row, column = np.divmod(covered[near], fine_side)
    found = (np.array([column.mean(), row.mean()]) + 0.5) * (64 + 2 * margin) / fine_side
    np.testing.assert_allclose(found, expected, atol=1.0)


def test_every_crop_shows_a_face():
    """Skin of the face, brow to chin, not under hair, hat, an occluder or a cut, fills at least a twentieth."""
    head = head_surface()
    face = (head.relief["front"] > 0.5) & (head.flat[1] < 30) & (head.flat[1] > -108)
    shares = []
    for index in range(150):
        scene = Scene.draw(11, index, PRESETS["full"])
        surfel, landmarks = scene.build()
        covered, number, side = scene.rasterise(surfel, landmarks, 64, 0)
        bare = face & (scene.hair.cover()[0] < 0.5) & (scene.hat.cover()[0] < 0.5)
        seen = np.zeros(side * side, bool)
        seen[covered] = np.concatenate([bare, np.zeros(surfel.shape[1] - bare.size, bool)])[number]
        blank = np.full((3, side, side), -1, np.float32)
        scene.occluder.cover(blank)
        seen = seen.reshape(side, side) & (blank[0] < -0.9)
        if scene.degradation is not None:
            left, right, bottom = (int(share * side) for share in scene.degradation.cut)
            seen = seen[: side - bottom, left : side - right]
        shares.append(seen.sum() / side**2)
    assert min(shares) > 0.05
    assert np.median(shares) > 0.2


def test_pictures_are_neither_black_nor_white_and_vary():
    images, _ = render(range(60), 4, "full")
    means = images.reshape(60, -1).mean(1)
    assert means.min() > 15
    assert means.max() < 235
    assert means.std() > 20
    assert images.reshape(60, -1).std(1).min() > 8


# Proportions


def test_the_mean_head_has_the_published_proportions():
    head = head_surface()
    mark = head.points[:, head.landmarks]

    def distance(a, b):
        return np.linalg.norm(mark[:, a] - mark[:, b])

    x, y, z = head.points
    measured = {
        "head_breadth": np.ptp(x),
        "head_length": np.ptp(z[np.abs(y - 30) < 15]),
        "tragion_to_top": y.max() - an.TRAGION_Y,
        "face_breadth": distance(0, 16),
        "jaw_breadth": distance(4, 12),
        "face_height": an.NASION_Y - mark[1, 8],
        "inner_eye_distance": distance(39, 42),
        "outer_eye_distance": distance(36, 45),
        "mouth_breadth": distance(48, 54),
    }
    for name, value in measured.items():
        assert value == pytest.approx(an.MEASURES[name].mean, abs=4), name  # vertices are 2 to 4 mm apart
