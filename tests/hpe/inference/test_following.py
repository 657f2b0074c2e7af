"""A rough box gets a second look and a video is followed, with a network that locates: here one that sees a disc."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from hpe.inference import app, detector, predictor
from hpe.inference.following import NetworkFollower
from hpe.inference.found import Found
from hpe.inference.predictor import Face, HeadPosePredictor, corrected
from hpe.inference.seen import message
from hpe.model.outputs import PLACE_UNIT, read_outputs
from hpe.pose.crop import narrow, widen
from tests.drawn_faces import MODEL, video

RADIUS = 40
"""Of the disc, pixels; its standard crop is four radii wide and high."""


def disc(x, y, radius=RADIUS, size=(480, 360)):
    """A picture (H, W, 3) with a bright disc on black; nothing at all where x is None."""
    across, down = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    inside = np.zeros(across.shape, bool) if x is None else np.hypot(across - x, down - y) < radius
    return np.repeat(np.where(inside, 250, 0)[..., None], 3, 2).astype(np.uint8)


def box_of(x, y, radius=RADIUS):
    return narrow((x - 2 * radius, y - 2 * radius, x + 2 * radius, y + 2 * radius))


def sees_the_disc(crops):
    """Ten outputs (N, 10): the disc's middle and size, from where the crop is bright; a face where anything is."""
    outputs = np.zeros((len(crops), 10), np.float32)
    axis = (np.arange(64) + 0.5) / 64 - 0.5
    for row, crop in zip(outputs, crops[..., 0] > 125, strict=True):
        if crop.any():
            area = crop.mean()
            middle = (crop.sum(0) * axis).sum() / crop.sum(), (crop.sum(1) * axis).sum() / crop.sum()
            row[3:5] = PLACE_UNIT * np.array(middle)
            row[5] = PLACE_UNIT * np.log(np.sqrt(16 * area / np.pi))  # a quarter of the side is the radius
        row[:3], row[6] = (2, 12.5, -1), 40 if crop.any() else -40  # yaw and roll, of a symmetric picture, are errors
    return outputs


@pytest.fixture
def locating(monkeypatch):
    monkeypatch.setattr(predictor, "load_network", lambda *given: sees_the_disc)
    return HeadPosePredictor("any")


def test_narrow_is_the_reverse_of_widen():
    np.testing.assert_allclose(narrow(widen((10, 20, 130, 160))), (10, 20, 130, 160))
    np.testing.assert_allclose(narrow(widen((10, 20, 130, 160), 0.3), 0.3), (10, 20, 130, 160))


@pytest.mark.parametrize(
    ("right", "down", "larger", "near"),
    [(0, 0, 1, True), (8, -6, 1.05, True), (20, -10, 1, False), (-12, 14, 1.3, False), (0, 8, 0.8, False)],
)
def test_a_rough_box_is_corrected(locating, right, down, larger, near):
    """The second look is at the mirror image; the first counts where it was near, and errors of one side cancel."""
    pixels, true = disc(220, 170), np.array(box_of(220, 170))
    middle, half = (true[:2] + true[2:]) / 2, (true[2:] - true[:2]) / 2 * larger
    rough = (*(middle - half + [right, down]), *(middle + half + [right, down]))
    face = locating.look(pixels, rough)
    np.testing.assert_allclose(face.box, true, atol=2.5)
    assert face.score > 0.9
    np.testing.assert_allclose(face.pose_deg, [0, 12.5, 0] if near else [-2, 12.5, 1])
    np.testing.assert_allclose(face.spread_deg, [2, 2, 2])
    once = corrected(rough, read_outputs(sees_the_disc(predictor.face_crop(pixels, rough)[None])))
    np.testing.assert_allclose(once, true, atol=4)


def test_a_model_of_three_outputs_takes_the_box_as_it_is():
    plain = HeadPosePredictor(MODEL)
    assert (plain.locates, plain.tells_spread) == (False, False)
    pixels, box = disc(220, 170), (180.0, 130.0, 260.0, 230.0)
    face = plain.look(pixels, box)
    assert (face.box, face.score, face.spread_deg) == (box, None, None)
    np.testing.assert_array_equal(face.pose_deg, plain(pixels, box))


def test_a_face_is_followed_without_a_detector_until_it_is_lost(locating):
    asked = []

    def search(pixels):
        asked.append(len(frames_seen))
        return [Face(box_of(100, 100), np.zeros(3), 0.99)] if pixels.any() else []

    follow = NetworkFollower(locating, search, search_every=100)
    frames_seen, places = [], [(100 + 6 * i, 100 + 4 * i) for i in range(30)]
    for x, y in places:
        (face,) = follow(disc(x, y))
        frames_seen.append(1)
        np.testing.assert_allclose(face.box, box_of(x, y), atol=3)
    assert asked == [0]
    assert follow(disc(None, 0)) == []  # gone
    assert follow(disc(None, 0)) == []
    assert len(asked) == 3
    (face,) = follow(disc(100, 100))
    assert face.score > 0.9


def test_two_boxes_that_end_on_one_face_are_one(locating):
    follow = NetworkFollower(locating, lambda pixels: [Face(box_of(x, 150), np.zeros(3), 0.9) for x in (200, 230)])
    assert len(follow(disc(200, 150))) == 1
    assert len(follow(disc(200, 150))) == 1
    left = [follow(disc(200 + 30 * i, 150)) for i in range(1, 12)]
    assert [len(faces) for faces in left][:5] == [1] * 5


def test_a_face_behind_another_is_followed_too(locating, monkeypatch):
    """Boxes of a fourth in common (YuNet finds faces up to 0.3) are two faces; more than 0.4 is one."""
    monkeypatch.setattr(locating, "look", lambda pixels, box: Face(box, np.zeros(3), 0.9))
    for apart, count in ((0.6, 2), (0.3, 1)):
        boxes = [(100 + shift, 100, 200 + shift, 200) for shift in (0, 100 * apart)]
        follow = NetworkFollower(locating, lambda pixels, boxes=boxes: [Face(box, np.zeros(3), 0.9) for box in boxes])
        assert [len(follow(disc(200, 150))) for _ in range(3)] == [count] * 3


def test_a_wandering_box_outside_the_picture_is_lost_not_an_error(locating):
    follow = NetworkFollower(locating, lambda pixels: [Face((900, 900, 990, 990), np.zeros(3), None)])
    assert len(follow(disc(100, 100))) == 1
    follow._search = lambda pixels: []
    assert follow(disc(100, 100)) == []


def test_score_and_spread_are_in_the_rows_of_predict(locating, monkeypatch, tmp_path):
    monkeypatch.setattr(app, "HeadPosePredictor", lambda *given, **options: locating)
    Image.fromarray(disc(220, 170)).save(tmp_path / "a.png")
    rows = []
    options = app.PredictOptions(boxes={"": [box_of(220, 170)]})
    app.run_predict("any", [tmp_path / "a.png"], options=options, write=rows.append, report=lambda line: None)
    assert rows[0]["score"] == pytest.approx(0.982, abs=0.001)
    assert [rows[0][f"{name}_spread_deg"] for name in ("yaw", "pitch", "roll")] == [2, 2, 2]


@pytest.mark.parametrize("kind", ["landmarks", "detector"])
def test_a_corrected_box_can_be_told_in_json(kind, locating, monkeypatch, tmp_path):
    """As --jsonl, --json, the live page and MQTT tell it; the box that was given is rough, and so is not told."""
    monkeypatch.setattr(app, "HeadPosePredictor", lambda *given, **options: locating)
    Image.fromarray(disc(220, 170)).save(tmp_path / "a.png")
    left, top, right, bottom = true = box_of(220, 170)
    rough = Found(left + 6, top - 30, right - left, bottom - top + 20)
    if kind == "landmarks":
        rough = (left + 7, top - 8, right + 7, bottom - 8)
    rows, frames = [], []
    options = app.PredictOptions(boxes={"": [rough]})
    app.run_predict("any", [tmp_path / "a.png"], options, rows.append, report=len, sinks=[frames.append])
    (row,), (face,) = json.loads(json.dumps(rows)), json.loads(json.dumps(message(frames[0])))["faces"]
    for told in (row, face):
        edges = (told["x"], told["y"], told["x"] + told["w"], told["y"] + told["h"])
        np.testing.assert_allclose(edges, true, atol=4)


def test_a_video_is_followed_by_predict(locating, monkeypatch, tmp_path):
    pytest.importorskip("cv2")
    monkeypatch.setattr(app, "HeadPosePredictor", lambda *given, **options: locating)
    searches = []
    search = detector.FaceDetector.__call__
    monkeypatch.setattr(detector.FaceDetector, "__call__", lambda *given: searches.append(1) or search(*given))
    rows = []
    app.run_predict("any", [video(tmp_path / "v.avi", count=4)], write=rows.append, report=lambda line: None)
    assert {row["face"] for row in rows} == {0}
    assert len(searches) == 1
    assert rows[0]["find_ms"] > rows[1]["find_ms"] == 0


def test_a_model_that_says_neither_leaves_the_cells_empty(tmp_path, capsys):
    from hpe.cli.main import main

    Image.fromarray(disc(220, 170)).save(tmp_path / "a.png")
    main(["predict", str(tmp_path / "a.png"), "--crops", "--model", str(MODEL), "--csv", str(tmp_path / "p.csv")])
    (row,) = csv.DictReader((tmp_path / "p.csv").read_text().splitlines())
    assert row["score"] == row["yaw_spread_deg"] == ""
