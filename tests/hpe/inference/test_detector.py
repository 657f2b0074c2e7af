"""Faces are found, and a cascade's square becomes the box that 68 landmarks would have."""

from pathlib import Path

import numpy as np
import pytest

from hpe.inference.detector import FRONT, FaceDetector, Found, VisionError, load_opencv
from tests.conftest import SHARED
from tests.drawn_faces import picture

PAIRS = SHARED / "data" / "aflw2000_mat"


def test_all_faces_are_found_the_largest_first():
    pytest.importorskip("cv2")
    first, second = FaceDetector()(picture((40, 60, 160), (300, 120, 110)))
    for found, (left, top, side) in ((first, (40, 60, 160)), (second, (300, 120, 110))):
        assert abs(found.left + found.side / 2 - (left + side / 2)) < 0.1 * side
        assert top < found.top + found.side / 2 < top + side


def test_a_shrunk_picture_gives_boxes_of_the_whole_one():
    pytest.importorskip("cv2")
    pixels = picture((400, 300, 500), size=(1280, 960))
    (found,) = FaceDetector(longest_px=320)(pixels)
    assert 350 < found.side < 520
    assert abs(found.left + found.side / 2 - 650) < 40


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


def test_the_box_follows_the_yaw_and_mirrors():
    front = Found(100.0, 50.0, 200.0, 0)
    left, top, right, bottom = front.box()
    assert (left + right) / 2 == pytest.approx(200)
    assert (top, bottom) == pytest.approx((50 + 200 * FRONT.top, 50 + 200 * FRONT.bottom))
    assert front.box(20.0)[0] == pytest.approx(left + 200 * 20 * FRONT.per_degree)
    assert front.box(80.0) == front.box(45.0)
    mirrored = front.box(-20.0)
    assert (400 - mirrored[2], 400 - mirrored[0]) == pytest.approx((front.box(20.0)[0], front.box(20.0)[2]))
    one, other = Found(0.0, 0.0, 100.0, 1).box(), Found(0.0, 0.0, 100.0, -1).box()
    assert (100 - one[2], 100 - one[0]) == pytest.approx((other[0], other[2]))
    one, other = Found(0.0, 0.0, 100.0, 1).box(30.0), Found(0.0, 0.0, 100.0, -1).box(-30.0)
    assert (100 - one[2], 100 - one[0]) == pytest.approx((other[0], other[2]))


@pytest.mark.skipif(not PAIRS.exists(), reason="no AFLW2000 pairs here")
def test_boxes_agree_with_landmarks_on_real_pictures():
    """7 of the 8 pictures: the eighth is turned by 69 degrees and tilted by 59."""
    pytest.importorskip("cv2")
    from hpe.data.sources.mat_pairs import read_mat
    from hpe.inference.predictor import read_image
    from hpe.inference.tracking import overlap

    shares = []
    for mat in sorted(PAIRS.glob("*.mat")):
        pose, box = read_mat(Path(mat), "pt3d_68")
        faces = FaceDetector()(read_image(mat.with_suffix(".jpg")))
        shares.append(max((overlap(face.box(float(pose[0])), box) for face in faces), default=0.0))
    assert sum(share > 0.45 for share in shares) == 7
    assert np.median(shares) > 0.65


def test_without_opencv_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(VisionError, match=r"pip install 'head-pose-edge\[vision\]'"):
        load_opencv()
