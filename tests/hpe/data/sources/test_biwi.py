"""BIWI: small files in the very same format."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpe.data.faces import check_data, load_faces, prepare
from hpe.data.sources.biwi import SEQUENCES, SPLITS, face_box, read_camera, read_pose
from tests.face_files import biwi_rotation, write_biwi_frame


@pytest.mark.parametrize("pose_deg", [(30, 0, 0), (0, 25, 0), (0, 0, -20), (-60, 35, 15), (75, -50, -30)])
def test_biwi_rotations_become_our_angles(tmp_path, pose_deg):
    path = write_biwi_frame(tmp_path, "01", 3, pose_deg)
    found, _ = read_pose(path)
    np.testing.assert_allclose(found, pose_deg, atol=1e-3)
    # The same by the formula of FSA-Net's BIWI script (on the transposed matrix), as an oracle for the signs.
    r = biwi_rotation(pose_deg).T
    roll = -np.rad2deg(np.arctan2(r[1, 0], r[0, 0]))
    yaw = -np.rad2deg(np.arctan2(-r[2, 0], np.hypot(r[2, 1], r[2, 2])))
    pitch = np.rad2deg(np.arctan2(r[2, 1], r[2, 2]))
    np.testing.assert_allclose(found, [yaw, pitch, roll], atol=1e-3)


def test_the_biwi_nose_points_where_the_camera_sees_it(tmp_path):
    """A head turned to the image's left has its nose (minus z there) at negative x: our yaw must be positive."""
    found, _ = read_pose(write_biwi_frame(tmp_path, "01", 3, (35, 0, 0)))
    nose_x = -biwi_rotation((35, 0, 0))[0, 2]
    assert nose_x < 0 < found[0]


def test_the_biwi_crop_is_centred_on_the_projected_head(tmp_path):
    """Projected by hand with rgb.cal: rotate and move into the colour camera, divide by z, apply the intrinsics."""
    centre_mm = np.array([43.4, -30.7, 906.9])
    rotation = np.array(
        [[0.999947, 0.00432361, 0.00929419], [-0.00446314, 0.999877, 0.0150443], [-0.009228, -0.015085, 0.999844]]
    )
    x, y, z = rotation @ centre_mm + [-24.0198, 5.8896, -13.2308]
    column, row = 320 + 517.679 * x / z, 240.5 + 517.679 * y / z
    scene = Image.new("RGB", (640, 480), (0, 0, 80))
    scene.paste((255, 255, 255), (round(column) - 4, round(row) - 4, round(column) + 4, round(row) + 4))
    write_biwi_frame(tmp_path, "01", 3, (0, 0, 0), tuple(centre_mm), scene)
    faces = load_faces(f"biwi:{tmp_path}")
    rows, columns = np.nonzero(faces.images[0, :, :, 0] > 128)
    assert columns.mean() == pytest.approx(39.5, abs=0.6)
    assert rows.mean() == pytest.approx(39.5, abs=0.6)
    left, top, right, bottom = face_box(Path(), centre_mm, read_camera(tmp_path / "01" / "rgb.cal"))
    assert (right - left) * z / 517.679 == pytest.approx(140)
    assert (bottom - top) * z / 517.679 == pytest.approx(130)


def test_the_biwi_split_keeps_sequences_and_persons_apart(tmp_path):
    assert (len(SPLITS["train"]), len(SPLITS["test"])) == (16, 8)
    assert sorted(SPLITS["train"] + SPLITS["test"]) == sorted(SEQUENCES)
    for first, second in (("02", "21"), ("03", "15"), ("05", "18"), ("07", "22")):  # one person each
        assert (first in SPLITS["test"]) == (second in SPLITS["test"])
        for sequence in (first, second):
            write_biwi_frame(tmp_path / "persons", sequence, 1, (10, 5, 2))
    persons = load_faces(f"biwi:{tmp_path / 'persons'}").extra["person"].tolist()
    assert persons == ["02", "03", "05", "07", "03", "05", "02", "07"]
    for sequence in ("01", "04"):
        for frame in (3, 7):
            write_biwi_frame(tmp_path, sequence, frame, (10, 5, 2))
    assert load_faces(f"biwi:{tmp_path}@train").ids == ["01/frame_00003_rgb.png", "01/frame_00007_rgb.png"]
    assert load_faces(f"biwi:{tmp_path}@test").ids == ["04/frame_00003_rgb.png", "04/frame_00007_rgb.png"]
    assert len(load_faces(f"biwi:{tmp_path}")) == 4
    (summary,) = prepare(f"biwi:{tmp_path}@test")
    assert "lacks the sequences 06, 08" in summary.missing[0]


def test_every_biwi_fault_is_named(tmp_path):
    folder = tmp_path / "01"
    names = ["short", "letters", "stretched", "near", "no image", "no pose", "broken", "good"]
    poses = {name: write_biwi_frame(tmp_path, "01", number, (10, 5, 2)) for number, name in enumerate(names)}
    write_biwi_frame(tmp_path, "02", 0, (0, 0, 0))
    (tmp_path / "02" / "rgb.cal").write_text("1 2 3\n")
    poses["short"].write_text("1 0 0\n0 1 0\n")
    poses["letters"].write_text("a b c\n")
    poses["stretched"].write_text("2 0 0\n0 1 0\n0 0 1\n\n0 0 900\n")
    poses["near"].write_text("1 0 0\n0 1 0\n0 0 1\n\n0 0 -900\n")
    (folder / "frame_00004_rgb.png").unlink()
    poses["no pose"].unlink()
    image = folder / "frame_00006_rgb.png"
    image.write_bytes(image.read_bytes()[:500])
    faults = {Path(fault.source).name: fault.what for fault in check_data(f"biwi:{tmp_path}")}
    for number, what in enumerate(["4 lines", "lines of numbers", "no rotation", "mm from", "no frame_00004_rgb.png"]):
        assert what in faults[f"frame_{number:05d}_pose.txt"]
    assert "no frame_00005_pose.txt" in faults["frame_00005_rgb.png"]
    assert "cannot be decoded" in faults["frame_00006_pose.txt"]
    assert "8 lines" in faults["rgb.cal"]
    assert len(faults) == 8
