"""`hpe predict --box-kind`: the box that is given is that of the landmarks, or a detector's, which is mapped."""

import json
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from hpe.cli.main import main
from hpe.inference.app import PredictOptions, run_predict
from hpe.inference.found import as_detected
from hpe.inference.predictor import HeadPosePredictor
from tests.drawn_faces import MODEL, picture, video


@pytest.fixture
def photo(tmp_path):
    file = tmp_path / "photo.png"
    Image.fromarray(picture((40, 60, 160))).save(file)
    return file


def poses(tmp_path, *arguments):
    out = tmp_path / "out.json"
    main(["predict", *map(str, arguments), "--model", str(MODEL), "--json", str(out)])
    return json.loads(out.read_text())["faces"]


def test_a_detectors_box_is_mapped_twice(photo, tmp_path):
    (row,) = poses(tmp_path, photo, "--box", "60,70,120,150", "--box-kind", "detector")
    predictor, pixels = HeadPosePredictor(MODEL), np.asarray(Image.open(photo))
    given = as_detected((60, 70, 180, 220))
    box = given.box(float(predictor(pixels, given.box())[0]))
    assert [row["x"], row["y"], row["x"] + row["w"], row["y"] + row["h"]] == pytest.approx(box, abs=0.11)
    assert row["yaw_deg"] == pytest.approx(predictor(pixels, box)[0], abs=0.0051)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("file,x,y,w,h\nphoto.png,60,70,120,150\n")
    (again,) = poses(tmp_path, photo, "--boxes", boxes, "--box-kind", "detector")
    assert again["yaw_deg"] == row["yaw_deg"]


def test_a_landmarks_box_is_taken_as_it_is(photo, tmp_path):
    (row,) = poses(tmp_path, photo, "--box", "60,70,120,150")
    assert [row[name] for name in "xywh"] == [60, 70, 120, 150]
    (same,) = poses(tmp_path, photo, "--box", "60,70,120,150", "--box-kind", "landmarks")
    assert same["yaw_deg"] == row["yaw_deg"]


def test_faces_are_placed_in_one_way_only(photo, tmp_path, capsys):
    (tmp_path / "boxes.csv").write_text("file,x,y,w,h\nphoto.png,60,70,120,150\n")
    ways = [["--box", "60,70,120,150"], ["--boxes", tmp_path / "boxes.csv"], ["--crops"]]
    for one, other in combinations(ways, 2):
        with pytest.raises(SystemExit):
            poses(tmp_path, photo, *one, *other)
        assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["landmarks", "detector"])
def test_a_box_outside_the_picture_costs_only_itself_and_is_told(photo, tmp_path, kind):
    boxes = [(60.0, 70.0, 180.0, 220.0), (900.0, 70.0, 990.0, 170.0), (60.0, 900.0, 180.0, 990.0)]
    given = boxes if kind == "landmarks" else [as_detected(box) for box in boxes]
    rows = []
    outcome = run_predict(MODEL, [photo], PredictOptions({"": given}), rows.append, len)
    assert (outcome.rows, len(rows)) == (1, 1)
    assert [fault.split(": the face box (")[1][:2] for fault in outcome.faults] == ["90", "60"]
    assert all(f"{photo}: " in fault and "lies mostly outside" in fault for fault in outcome.faults)
    outcome = run_predict(MODEL, [photo], PredictOptions({"": given[1:]}), rows.append, len)
    assert (outcome.rows, len(outcome.faults)) == (0, 1)
    assert outcome.faults[0].count("lies mostly outside") == 2


def test_a_box_outside_a_video_is_told_once(tmp_path):
    pytest.importorskip("cv2")
    boxes = [(40.0, 50.0, 170.0, 180.0), (900.0, 70.0, 990.0, 170.0)]
    outcome = run_predict(MODEL, [video(tmp_path / "v.avi", 3)], PredictOptions({"": boxes}), report=len)
    assert (outcome.rows, len(outcome.faults)) == (3, 1)
    outcome = run_predict(MODEL, [tmp_path / "v.avi"], PredictOptions({"": boxes[1:]}), report=len)
    assert (outcome.rows, len(outcome.faults)) == (0, 1)


def test_without_boxes_the_flag_is_refused(photo, tmp_path, capsys):
    with pytest.raises(SystemExit):
        poses(tmp_path, photo, "--box-kind", "detector")
    assert "give one of them" in capsys.readouterr().err
