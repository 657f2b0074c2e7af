"""Faces are found, and what a detector says becomes the box that 68 landmarks would have."""

import hashlib
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from hpe.inference.detector import MODEL, FaceDetector, VisionError, load_opencv
from hpe.inference.found import BOTTOM, PER_DEGREE, TOP, Found, as_detected
from hpe.inference.predictor import HeadPosePredictor
from tests.conftest import SHARED
from tests.drawn_faces import MODEL as DRAWN_MODEL
from tests.drawn_faces import picture

PAIRS = SHARED / "data" / "aflw2000_mat"


def test_all_faces_are_found_the_largest_first():
    pytest.importorskip("cv2")
    first, second = FaceDetector()(picture((40, 60, 160), (300, 120, 110)))
    for found, (left, top, side) in ((first, (40, 60, 160)), (second, (300, 120, 110))):
        assert abs(found.left + found.width / 2 - (left + side / 2)) < 0.1 * side
        assert top < found.top + found.height / 2 < top + side
        right_eye, left_eye, nose, *mouth = found.points
        assert right_eye[0] < nose[0] < left_eye[0]
        assert right_eye[1] < nose[1] < min(y for _, y in mouth)


def test_a_shrunk_picture_gives_boxes_of_the_whole_one():
    pytest.importorskip("cv2")
    pixels = picture((400, 300, 500), size=(1280, 960))
    (found,) = FaceDetector(longest_px=320)(pixels)
    assert 350 < found.height < 520
    assert abs(found.left + found.width / 2 - 650) < 40
    (whole,) = FaceDetector(longest_px=1280)(pixels)
    np.testing.assert_allclose(found.box(), whole.box(), atol=40)


class FindsWhite:
    """In place of YuNet: the box around what is white."""

    def setInputSize(self, size):
        pass

    def detect(self, pixels):
        rows, columns = np.nonzero(pixels[..., 0] > 127)
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return 1, np.array([[left, top, right - left, bottom - top, *[0] * 10, 0.9]], np.float32)


@pytest.mark.parametrize(("width", "height"), [(1003, 4000), (4000, 1003), (165, 6400), (640, 480)])
def test_a_box_is_off_by_a_pixel_of_the_search_at_most_whatever_the_pictures_shape(monkeypatch, width, height):
    """Sides of whole pixels do not shrink by exactly the same, which adds up along a tall picture."""
    pytest.importorskip("cv2")
    monkeypatch.setattr("hpe.inference.detector.load_network", FindsWhite)
    left, top, side, pixels = width - 150, height - 150, 120, np.zeros((height, width, 3), np.uint8)
    pixels[top : top + side, left : left + side] = 255
    (found,) = FaceDetector(longest_px=640)(pixels)
    edges = found.left, found.top, found.left + found.width, found.top + found.height
    np.testing.assert_allclose(edges, [left, top, left + side, top + side], atol=max(width, height) / 640)


def test_no_face_is_an_empty_list():
    pytest.importorskip("cv2")
    assert FaceDetector()(picture()) == []
    assert FaceDetector()(np.zeros((3, 2, 3), np.uint8)) == []


def test_a_face_is_followed_and_lost():
    pytest.importorskip("cv2")
    detector = FaceDetector()
    found = detector(picture((40, 60, 160)))
    (moved,) = detector.follow(picture((52, 66, 160)), found)
    assert 4 < moved.left - found[0].left < 20
    assert detector.follow(picture(), found) == []
    assert detector.follow(picture((300, 60, 160)), found) == []  # too far away to be the same


def test_a_face_mostly_outside_the_picture_is_left_out():
    predictor = HeadPosePredictor(DRAWN_MODEL)
    inside, outside = as_detected((40.0, 60.0, 150.0, 200.0)), as_detected((-110.0, 60.0, 40.0, 200.0))
    predictor._detector = cast(FaceDetector, lambda image: [inside, outside])
    (face,) = predictor.faces(picture())
    assert face.box == inside.box(float(predictor(picture(), inside.box())[0]))


def test_a_box_alone_follows_the_yaw_and_mirrors():
    given = as_detected((100.0, 50.0, 250.0, 250.0))
    left, top, right, bottom = given.box()
    assert (left + right) / 2 == pytest.approx(175)
    assert (top, bottom) == pytest.approx((50 + 200 * TOP, 50 + 200 * BOTTOM))
    assert given.box(20.0)[0] == pytest.approx(left + 150 * 20 * PER_DEGREE)
    assert given.box(80.0) == given.box(60.0)
    mirrored = given.box(-20.0)
    assert (350 - mirrored[2], 350 - mirrored[0]) == pytest.approx((given.box(20.0)[0], given.box(20.0)[2]))


POINTS = ((130.0, 110.0), (200.0, 115.0), (150.0, 150.0), (135.0, 190.0), (190.0, 195.0))


def test_the_box_by_points_mirrors_scales_and_moves():
    face = Found(100.0, 50.0, 150.0, 200.0, POINTS)
    right_eye, left_eye, nose, right_mouth, left_mouth = ((400 - x, y) for x, y in POINTS)
    other = Found(150.0, 50.0, 150.0, 200.0, (left_eye, right_eye, nose, left_mouth, right_mouth))
    left, top, right, bottom = face.box()
    assert other.box() == pytest.approx((400 - right, top, 400 - left, bottom), abs=0.1)
    assert face.moved(2, 30, -10).box() == pytest.approx((2 * left + 30, 2 * top - 10, 2 * right + 30, 2 * bottom - 10))
    assert face.box(40.0) == face.box()  # the points say more


def test_points_of_a_turned_head_move_the_box_to_the_jaw():
    """The nose near the left eye of the picture: a positive yaw, so the jaw goes on to the right."""
    straight = Found(0.0, 0.0, 100.0, 130.0, ((30, 50), (70, 50), (50, 75), (35, 100), (65, 100)))
    turned = Found(0.0, 0.0, 100.0, 130.0, ((20, 50), (55, 50), (25, 75), (25, 100), (55, 100)))
    middles = [(face.box()[0] + face.box()[2]) / 2 for face in (straight, turned)]
    assert middles[0] == pytest.approx(50, abs=0.5)
    assert middles[1] > 52


def test_the_file_is_the_one_that_its_readme_names():
    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert digest in (MODEL.parent / "README.md").read_text()
    assert "MIT License" in (MODEL.parent / "LICENSE").read_text()


@pytest.mark.skipif(not PAIRS.exists(), reason="no AFLW2000 pairs here")
def test_boxes_agree_with_landmarks_on_real_pictures():
    pytest.importorskip("cv2")
    from hpe.data.sources.mat_pairs import read_mat
    from hpe.inference.predictor import read_image
    from hpe.inference.tracking import overlap

    shares = []
    for mat in sorted(PAIRS.glob("*.mat")):
        _, box = read_mat(Path(mat), "pt3d_68")
        faces = FaceDetector()(read_image(mat.with_suffix(".jpg")))
        shares.append(max((overlap(face.box(), box) for face in faces), default=0.0))
    assert min(shares) > 0.55
    assert np.median(shares) > 0.75


def test_without_opencv_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(VisionError, match=r"pip install '\.\[vision\]' in a clone"):
        load_opencv()
