"""AFLW2000-3D, 300W-LP, and what all readers share: small files in the very same formats, and the real pairs."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import loadmat, savemat
from scipy.spatial.transform import Rotation

from hpe.data.faces import DataError, check_data, load_faces, prepare
from hpe.data.sources.mat_pairs import SUBSETS
from hpe.pose.crop import crop_face
from hpe.pose.rotation import euler_to_matrix
from tests.face_files import (
    csv_rows,
    landmarks,
    picture,
    write_biwi_frame,
    write_csv_folder,
    write_mat_pair,
)

REAL = Path(__file__).resolve().parents[5] / "shared" / "data" / "aflw2000_mat"
needs_real_pairs = pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the AFLW2000-3D pairs in {REAL}")


def test_aflw2000_pose_and_crop(tmp_path):
    """Pose_Para is (pitch, yaw, roll) in radians; the box is that of pt3d_68, not of pt2d with its -1 entries."""
    write_mat_pair(tmp_path / "a", "image00002", (30.0, -20.0, 10.0), box=(40, 30, 80, 70))
    faces = load_faces(f"aflw2000:{tmp_path / 'a'}")
    np.testing.assert_allclose(faces.pose_deg, [[30, -20, 10]], atol=1e-4)
    assert faces.ids == ["image00002.jpg"]
    with Image.open(tmp_path / "a" / "image00002.jpg") as photo:
        np.testing.assert_array_equal(faces.images[0], crop_face(photo, (40, 30, 80, 70)))


def test_angles_beyond_99_degrees_are_dropped_and_counted(tmp_path):
    for stem, yaw in (("a", 98.9), ("b", 99.1), ("c", -120.0)):
        write_mat_pair(tmp_path / "a", stem, (yaw, 0.0, 0.0))
    faces = load_faces(f"aflw2000:{tmp_path / 'a'}")
    assert (faces.ids, faces.dropped) == (["a.jpg"], 2)
    assert load_faces(f"aflw2000:{tmp_path / 'a'}#1").dropped == 0  # of the one that was asked for
    assert len(load_faces(f"aflw2000:{tmp_path / 'a'}", max_angle_deg=180)) == 3


@needs_real_pairs
def test_the_real_pairs():
    faces = load_faces(f"aflw2000:{REAL}")
    assert len(faces) == 8
    poses = dict(zip(faces.ids, faces.pose_deg.tolist(), strict=True))
    assert poses["image00004.jpg"] == pytest.approx([68.155, 26.933, 17.244], abs=1e-3)
    assert poses["image00020.jpg"] == pytest.approx([22.0, -9.8, -25.0], abs=0.1)


@needs_real_pairs
def test_the_real_landmarks_turn_as_the_label_says():
    """The rotation that scipy fits between the 3D landmarks of two photos is the one between their labels."""
    points, rotations = [], []
    faces = load_faces(f"aflw2000:{REAL}")
    for name, pose_deg in zip(faces.ids, faces.pose_deg.astype(np.float64), strict=True):
        xyz = loadmat(REAL / f"{name[:-4]}.mat")["pt3d_68"].astype(np.float64)
        xyz[1] *= -1  # y down in the file
        xyz -= xyz.mean(1, keepdims=True)
        points.append((xyz / np.linalg.norm(xyz)).T)
        rotations.append(euler_to_matrix(pose_deg))
    for other in range(1, 8):
        fitted, _ = Rotation.align_vectors(points[other], points[0])
        labelled = Rotation.from_matrix(rotations[other] @ rotations[0].T)
        assert np.rad2deg((fitted.inv() * labelled).magnitude()) < 8  # faces and expressions differ


def test_300w_lp_reads_all_subsets_and_flips_and_nothing_else(tmp_path):
    for index, subset in enumerate(SUBSETS):
        write_mat_pair(tmp_path / subset, f"{subset}_1_0", (10.0 + index, 5.0, -5.0), kind="300w-lp")
    write_mat_pair(tmp_path / "Code", "not_a_sample", (0, 0, 0), kind="300w-lp")
    (tmp_path / "landmarks" / "AFW").mkdir(parents=True)
    faces = load_faces(f"300w-lp:{tmp_path}")
    assert faces.ids == [f"{subset}/{subset}_1_0.jpg" for subset in SUBSETS]
    np.testing.assert_allclose(faces.pose_deg[:, 0], 10 + np.arange(8), atol=1e-4)  # a flip's file has its own pose
    one = load_faces(f"300w-lp:{tmp_path}@ibug_flip")
    assert one.ids == ["IBUG_Flip/IBUG_Flip_1_0.jpg"]
    with pytest.raises(DataError, match="no split 'train'"):
        load_faces(f"300w-lp:{tmp_path}@train")


def test_every_300w_lp_fault_is_named(tmp_path):
    kinds = ["good", "no image", "no pose", "broken image", "cut mat", "no Pose_Para", "NaN", "few landmarks"]
    for subset in ("AFW", "HELEN_Flip"):
        for kind in kinds:
            path = write_mat_pair(tmp_path / subset, kind, (10.0, 5.0, -5.0), kind="300w-lp")
            photo = path.with_suffix(".jpg")
            if kind == "no image":
                photo.unlink()
            elif kind == "no pose":
                path.unlink()
            elif kind == "broken image":
                photo.write_bytes(photo.read_bytes()[:700])
            elif kind == "cut mat":
                path.write_bytes(path.read_bytes()[:-200])
            else:
                damage_mat(path, kind, landmarks="pt2d")
    faults = {fault.source: fault for fault in check_data(f"300w-lp:{tmp_path}")}
    expected = {
        "no image.mat": "no .jpg beside",
        "no pose.jpg": "no .mat beside",
        "broken image.mat": "cannot be decoded",
        "cut mat.mat": "cut short",
        "no Pose_Para.mat": "no array Pose_Para",
        "NaN.mat": "not finite",
        "few landmarks.mat": "shape",
    }
    assert set(faults) == {str(tmp_path / subset / name) for subset in ("AFW", "HELEN_Flip") for name in expected}
    for source, fault in faults.items():
        assert expected[Path(source).name] in fault.what
        assert fault.remedy


def test_counts_are_verified(tmp_path):
    write_mat_pair(tmp_path / "AFW", "one", (10.0, 5.0, -5.0), kind="300w-lp")
    (summary,) = prepare(f"300w-lp:{tmp_path}")
    assert (summary.samples, summary.dropped, summary.faults) == (1, 0, [])
    assert "AFW has 1 samples of 5,207" in summary.missing
    assert "HELEN_Flip has 0 samples of 37,676" in summary.missing
    (summary,) = prepare(f"aflw2000:{tmp_path / 'AFW'}")  # pt3d_68 is missing there
    assert len(summary.faults) == 1
    assert "has 1 samples of 2,000" in str(summary)


def test_an_absent_dataset_says_how_to_obtain_it(tmp_path):
    for kind, word in (("aflw2000", "AFLW2000-3D.zip"), ("300w-lp", "300W-LP.zip"), ("biwi", "kinect_head_pose_db")):
        with pytest.raises(DataError, match=word):
            prepare(f"{kind}:{tmp_path / 'nowhere'}")


def damage_mat(path: Path, how: str, landmarks: str = "pt3d_68") -> None:
    content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    if how == "no Pose_Para":
        del content["Pose_Para"]
    elif how == "short Pose_Para":
        content["Pose_Para"] = content["Pose_Para"][:, :2]
    elif how == "NaN":
        content["Pose_Para"][0, 1] = np.nan
    elif how == "text":
        content["Pose_Para"] = "hello"
    elif how == "no landmarks":
        del content[landmarks]
    elif how == "few landmarks":
        content[landmarks] = content[landmarks][:, :5]
    elif how == "face outside":
        content[landmarks][:2] += 500
    savemat(path, content)


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("no Pose_Para", "no array Pose_Para"),
        ("short Pose_Para", "2 numbers instead of 7"),
        ("NaN", "not finite"),
        ("text", "no array Pose_Para"),
        ("no landmarks", "no array pt3d_68"),
        ("few landmarks", "shape"),
        ("face outside", "outside the image"),
    ],
)
def test_a_wrong_mat_is_named(tmp_path, how, what):
    write_mat_pair(tmp_path, "good", (1, 2, 3))
    damage_mat(write_mat_pair(tmp_path, "wrong", (1, 2, 3)), how)
    (fault,) = check_data(f"aflw2000:{tmp_path}")
    assert fault.source == str(tmp_path / "wrong.mat")
    assert what in fault.what
    assert fault.remedy
    with pytest.raises(DataError, match="1 sample cannot be used"):
        load_faces(f"aflw2000:{tmp_path}")
    assert load_faces(f"aflw2000:{tmp_path}", skip_bad=True).ids == ["good.jpg"]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data())
def test_no_damaged_mat_gets_past_the_fault_list(tmp_path_factory, data):
    """Whatever happens to the bytes of a .mat: it is read, or it is a fault; nothing else is raised."""
    folder = tmp_path_factory.mktemp("mat")
    path = write_mat_pair(folder, "image", (1, 2, 3))
    content = bytearray(path.read_bytes())
    content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 6))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    assert all(fault.source and fault.remedy for fault in check_data(f"aflw2000:{folder}"))


def test_files_without_a_partner_and_broken_images_are_listed_together(tmp_path):
    for stem in ("a", "b", "c", "d"):
        write_mat_pair(tmp_path, stem, (1, 2, 3))
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.mat").unlink()
    photo = tmp_path / "c.jpg"
    photo.write_bytes(photo.read_bytes()[:700])
    faults = {Path(fault.source).name: fault.what for fault in check_data(f"aflw2000:{tmp_path}")}
    assert set(faults) == {"a.mat", "b.jpg", "c.mat"}
    assert "cannot be decoded" in faults["c.mat"]


def test_a_file_without_a_partner_counts_while_it_is_there(tmp_path):
    for stem in ("a", "b"):
        write_mat_pair(tmp_path, stem, (1, 2, 3))
    assert len(load_faces(f"aflw2000:{tmp_path}")) == 2
    (stray := tmp_path / "stray.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    with pytest.raises(DataError, match=r"no \.mat beside it"):
        load_faces(f"aflw2000:{tmp_path}")
    stray.unlink()
    assert len(load_faces(f"aflw2000:{tmp_path}")) == 2


def test_pipes_among_the_files_are_named_and_do_not_hang(tmp_path):
    for path in (
        write_mat_pair(tmp_path / "a", "one", (1, 2, 3)),
        write_mat_pair(tmp_path / "a", "two", (1, 2, 3)).with_suffix(".jpg"),
        write_biwi_frame(tmp_path / "b", "01", 3, (0, 0, 0)),
    ):
        path.unlink()
        os.mkfifo(path)
    faults = check_data(f"aflw2000:{tmp_path / 'a'}") + check_data(f"biwi:{tmp_path / 'b'}")
    assert len(faults) == 3
    assert all("not a file" in fault.what for fault in faults)


@pytest.mark.parametrize("kind", ["csv", "aflw2000", "300w-lp", "biwi"])
def test_a_missing_and_an_empty_folder_are_named(tmp_path, kind):
    for path, what in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "missing|no .jpg|no folder")):
        with pytest.raises(DataError, match=what) as caught:
            load_faces(f"{kind}:{path}")
        assert str(path) in str(caught.value)
        (fault,) = check_data(f"{kind}:{path}")
        assert str(path) in fault.source


def test_a_split_that_a_dataset_does_not_have(tmp_path):
    write_mat_pair(tmp_path / "a", "one", (1, 2, 3))
    write_biwi_frame(tmp_path / "b", "01", 3, (0, 0, 0))
    write_csv_folder(tmp_path / "c", csv_rows(2, split="train"))
    for spec, what in (("aflw2000:a", "no splits"), ("biwi:b", "choose train or test"), ("csv:c", "has train")):
        kind, _, folder = spec.partition(":")
        with pytest.raises(DataError, match=what):
            load_faces(f"{kind}:{tmp_path / folder}@val")


@needs_real_pairs
def test_damage_to_a_copy_of_the_real_pairs(tmp_path):
    for path in REAL.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    cut = tmp_path / "image00002.mat"
    cut.write_bytes(cut.read_bytes()[:-1000])
    picture().save(tmp_path / "image00004.jpg")  # another photo: the landmarks now lie outside
    faults = {Path(fault.source).name for fault in check_data(f"aflw2000:{tmp_path}")}
    assert faults == {"image00002.mat", "image00004.mat"}
    assert len(load_faces(f"aflw2000:{tmp_path}", skip_bad=True)) == 6


def test_the_landmark_helper_spans_its_box():
    points = landmarks((10, 20, 30, 60))
    np.testing.assert_allclose([*points.min(1), *points.max(1)], [10, 20, 30, 60])
