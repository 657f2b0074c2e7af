"""Poses relative to a neutral look, against scipy's rotations; with several faces, tracks that end, and files."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from hpe.cli.main import main
from hpe.inference import annotation
from hpe.inference.app import PredictOptions, run_predict
from hpe.inference.neutral import NeutralError, NeutralLooks, parse_neutral, read_look, relative_pose
from hpe.inference.predictor import Face
from hpe.inference.sources import SourceError
from hpe.pose.rotation import euler_to_matrix, geodesic_deg, mean_rotation
from tests.drawn_faces import MODEL, picture, video

POSES = np.random.default_rng(5).uniform(-60, 60, (40, 3))


def scipy_rotation(pose_deg) -> Rotation:
    """R = Rx(-pitch) Ry(-yaw) Rz(-roll)."""
    yaw, pitch, roll = np.moveaxis(np.asarray(pose_deg), -1, 0)
    return Rotation.from_euler("XYZ", np.stack([-pitch, -yaw, -roll], -1), degrees=True)


def face(pose_deg, x=0.0) -> Face:
    return Face((x, 0.0, x + 100.0, 100.0), np.asarray(pose_deg, np.float64))


def test_the_mean_rotation_is_scipys():
    for count in (1, 2, 9, 40):
        near = POSES[:count] / 3 + 20
        expected = scipy_rotation(near).mean().as_matrix()
        np.testing.assert_allclose(mean_rotation(euler_to_matrix(near)), expected, atol=1e-9)
    opposite = np.stack([np.eye(3), np.diag([-1.0, -1.0, 1.0]), np.diag([1.0, -1.0, -1.0])])
    assert np.linalg.det(mean_rotation(opposite)) == pytest.approx(1)  # never a reflection


@pytest.mark.parametrize("pose", POSES[:8])
@pytest.mark.parametrize("neutral", POSES[8:14])
def test_a_relative_pose_is_scipys_rotation(pose, neutral):
    relative = relative_pose(pose, scipy_rotation(neutral).as_matrix())
    expected = (scipy_rotation(neutral).inv() * scipy_rotation(pose)).as_matrix()
    np.testing.assert_allclose(euler_to_matrix(relative), expected, atol=1e-9)
    turned = scipy_rotation(pose).as_matrix()
    assert geodesic_deg(turned, scipy_rotation(neutral).as_matrix()) == pytest.approx(
        geodesic_deg(np.eye(3), euler_to_matrix(relative))
    )


def test_it_is_no_difference_of_angles_and_goes_beyond_90_degrees():
    neutral = euler_to_matrix(np.array([0.0, 0.0, 30.0]))
    tilted = relative_pose(np.array([40.0, 0.0, 30.0]), neutral)  # from a camera that is tilted by 30 degrees
    assert np.abs(tilted - [40, 0, 0]).max() > 5
    assert geodesic_deg(euler_to_matrix(tilted), np.eye(3)) == pytest.approx(40)
    far = relative_pose(np.array([60.0, 0, 0]), euler_to_matrix(np.array([-50.0, 0, 0])))
    np.testing.assert_allclose(far, [110, 0, 0], atol=1e-9)


def test_the_first_seconds_of_each_face_are_its_neutral_look():
    looks, said = NeutralLooks(0.25), []
    told = [looks(i / 10, [(0, face(POSES[i])), (1, face(POSES[i + 9], 300))], said.append) for i in range(6)]
    assert [[relative for _, relative in both] for both in told] == [[False] * 2] * 3 + [[True] * 2] * 3
    for number, shift in ((0, 0), (1, 9)):
        mean = scipy_rotation(POSES[shift : shift + 3]).mean()
        for i in range(3, 6):
            expected = (mean.inv() * scipy_rotation(POSES[i + shift])).as_matrix()
            np.testing.assert_allclose(euler_to_matrix(told[i][number][0]), expected, atol=1e-9)
    np.testing.assert_array_equal(told[1][0][0], POSES[1])  # as it is until then
    assert [line.split(":")[0] for line in said] == ["face 0", "face 1"]


def test_a_face_that_comes_back_has_the_look_of_the_nearest_that_left():
    looks = NeutralLooks(0.05)
    for i in range(3):
        looks(i / 10, [(0, face([10, 0, 0])), (1, face([-20, 0, 0], 500))])
    ((pose, relative),) = looks(2.0, [(2, face([-20, 5, 0], 480))])  # the second face, with a new number
    assert relative
    np.testing.assert_allclose(pose, relative_pose(np.array([-20.0, 5, 0]), euler_to_matrix(np.array([-20.0, 0, 0]))))
    both = looks(2.1, [(2, face([-20, 0, 0], 480)), (3, face([10, 0, 0], 20))])
    np.testing.assert_allclose(both[1][0], 0, atol=1e-9)
    looks.begin()
    assert not looks.known
    assert looks(0.0, [(0, face([10, 0, 0]))])[0][1] is False


def test_a_face_that_is_back_elsewhere_leaves_no_look_where_it_was():
    looks = NeutralLooks(0.05)
    for i in range(3):
        looks(i / 10, [(0, face([10, 0, 0])), (1, face([-20, 0, 0], 500))])
    looks(2.0, [(1, face([-20, 0, 0], 500)), (2, face([10, 0, 0], 300))])  # the first face, with a new number
    told = looks(4.0, [(2, face([10, 0, 0], 300)), (3, face([-20, 0, 0], 50))])  # the second one, where the first was
    np.testing.assert_allclose([pose for pose, _ in told], 0, atol=1e-9)


def test_asked_for_anew():
    looks = NeutralLooks()
    assert looks(0.0, [(0, face([10, 0, 0]))])[0][1] is None
    looks.again()
    flags = [looks(i / 4, [(0, face([10, 0, 0]))])[0] for i in range(1, 8)]
    assert [flag for _, flag in flags] == [False] * 4 + [True] * 3
    np.testing.assert_allclose(flags[-1][0], 0, atol=1e-9)
    timed = NeutralLooks(0.3)
    for i in range(5):
        timed(i / 10, [(0, face([10, 0, 0]))])
    timed.again()  # just before the video ends: poses were relative all the same
    assert not timed(0.5, [(0, face([10, 0, 0]))])[0][1]
    assert timed.known
    fixed = NeutralLooks(fixed=np.eye(3))
    assert fixed(0.0, [(0, face([10, 0, 0]))])[0][1]
    fixed.again()
    assert not fixed(0.1, [(0, face([10, 0, 0]))])[0][1]
    fixed.begin()  # the next video: the look that was given holds again
    ((pose, relative),) = fixed(0.0, [(0, face([10, 0, 0]))])
    assert relative
    np.testing.assert_allclose(pose, [10, 0, 0])


def test_what_neutral_may_name(tmp_path):
    assert parse_neutral("2").seconds == 2
    for bad in ("0", "-1", "nan", "inf"):
        with pytest.raises(NeutralError, match="seconds above 0"):
            parse_neutral(bad)
    with pytest.raises(NeutralError, match="neither seconds nor a file"):
        parse_neutral(str(tmp_path / "absent.csv"))
    table = tmp_path / "rest.csv"
    table.write_text("yaw_deg,pitch_deg,roll_deg,relative\n10,5,0,0\n12,5,0,\n90,0,0,1\n")
    expected = scipy_rotation([[10, 5, 0], [12, 5, 0]]).mean().as_matrix()
    np.testing.assert_allclose(read_look(table), expected, atol=1e-9)
    table.write_text("yaw_deg,pitch_deg,roll_deg,relative\n10,5,0,1\n")
    with pytest.raises(NeutralError, match="holds no pose that is not relative"):
        read_look(table)
    table.write_text("yaw_deg,pitch_deg,roll_deg\n10,5,x\n")
    with pytest.raises(NeutralError, match=r"rest\.csv, line 2"):
        read_look(table)
    table.write_bytes("yaw_deg,pitch_deg,roll_deg,name\n10,5,1,Jürgen\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"rest\.csv: not a text in UTF-8"):
        read_look(table)
    table.write_text('yaw_deg,pitch_deg,roll_deg\n"10,5,1\n' + "10,5,1\n" * 30_000)
    with pytest.raises(SourceError, match=r"rest\.csv: cannot be read as CSV .* is a double quote left open\?"):
        read_look(table)
    table.write_text("a,b\n")
    with pytest.raises(NeutralError, match="needs the columns"):
        read_look(table)


def test_predict_with_a_look_from_a_file_in_every_output(tmp_path, capsys, monkeypatch):
    """The rows of one call are the neutral look of the next one; a picture of that look then has the pose 0."""
    drawn = []
    monkeypatch.setattr(annotation, "_write", lambda picture, place, text, height: drawn.append(text))
    Image.fromarray(picture((0, 0, 64), size=(64, 64))).save(tmp_path / "a.png")
    given = ["predict", str(tmp_path / "a.png"), "--crops", "--model", str(MODEL), "--quiet"]
    main([*given, "--csv", str(tmp_path / "rest.csv")])
    (raw,) = csv.DictReader((tmp_path / "rest.csv").read_text().splitlines())
    assert raw["relative"] == ""
    outputs = ["--jsonl", "-", "--csv", str(tmp_path / "b.csv"), "--draw", str(tmp_path / "drawn")]
    main([*given, "--neutral", str(tmp_path / "rest.csv"), *outputs])
    row = json.loads(capsys.readouterr().out)
    assert row["relative"] == 1
    assert [row["yaw_deg"], row["pitch_deg"], row["roll_deg"]] == pytest.approx([0, 0, 0], abs=0.02)
    (same,) = csv.DictReader((tmp_path / "b.csv").read_text().splitlines())
    assert (same["relative"], float(same["yaw_deg"])) == ("1", row["yaw_deg"])
    assert drawn == ["rel. yaw +0, pitch +0, roll +0"]
    with pytest.raises(SystemExit):
        main([*given, "--neutral", "2"])
    assert "--neutral SECONDS is for a video or a camera" in capsys.readouterr().err


def test_predict_with_the_first_seconds_of_a_video(tmp_path):
    pytest.importorskip("cv2")
    video(tmp_path / "v.avi", 8)
    raw, told, said = [], [], []
    run_predict(MODEL, [tmp_path / "v.avi"], write=raw.append, report=len)
    run_predict(MODEL, [tmp_path / "v.avi"], PredictOptions(neutral=NeutralLooks(0.35)), told.append, said.append)
    assert [row["relative"] for row in told] == [0] * 4 + [1] * 4
    poses = [[[row[f"{name}_deg"] for name in ("yaw", "pitch", "roll")] for row in rows] for rows in (raw, told)]
    np.testing.assert_array_equal(poses[0][:4], poses[1][:4])
    mean = scipy_rotation(poses[0][:4]).mean()
    expected = (mean.inv() * scipy_rotation(poses[0][4:])).as_matrix()
    np.testing.assert_allclose(euler_to_matrix(np.array(poses[1][4:])), expected, atol=1e-3)  # rows are rounded
    assert [row["x"] for row in raw] == [row["x"] for row in told]  # following knows nothing of it
    assert any("face 0: neutral look yaw" in line for line in said)
    Image.fromarray(picture((40, 50, 130), size=(320, 240))).save(tmp_path / "z.png")
    after, sources = [], [tmp_path / "v.avi", tmp_path / "z.png"]
    run_predict(MODEL, sources, PredictOptions(neutral=NeutralLooks(0.35)), after.append, len)
    assert [row["relative"] for row in after] == [0] * 4 + [1] * 4 + [0]  # the picture shows someone else
    outcome = run_predict(MODEL, [tmp_path / "v.avi"], PredictOptions(neutral=NeutralLooks(9.0)), report=len)
    assert "ended before --neutral was over" in outcome.faults[0]
