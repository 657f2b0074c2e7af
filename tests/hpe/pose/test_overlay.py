"""Axes against the formula of the literature, and against pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hpe.pose.overlay import BLUE, GREEN, RED, axis_ends, contact_sheet, draw_axes

angles = st.floats(-99, 99)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(angles, angles, angles)
def test_axes_are_those_of_hopenets_drawing(yaw, pitch, roll):
    """Ruiz et al., deep-head-pose, utils.draw_axis: the end points in the picture, y down, yaw negated."""
    y, p, r = -np.deg2rad(yaw), np.deg2rad(pitch), np.deg2rad(roll)
    expected = [
        (np.cos(y) * np.cos(r), np.cos(p) * np.sin(r) + np.cos(r) * np.sin(p) * np.sin(y)),
        (-np.cos(y) * np.sin(r), np.cos(p) * np.cos(r) - np.sin(p) * np.sin(y) * np.sin(r)),
        (np.sin(y), -np.cos(y) * np.sin(p)),
    ]
    np.testing.assert_allclose(axis_ends([yaw, pitch, roll]), expected, atol=1e-12)


def middle_of(image: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """The middle of the pixels of a colour, from the image's middle: to the right, down."""
    rows, columns = np.nonzero((np.asarray(image) == colour).all(-1))
    return np.array([columns.mean() - image.width / 2, rows.mean() - image.height / 2])


def test_the_lines_go_where_the_head_points():
    canvas = np.zeros((101, 101, 3), np.uint8)
    left = draw_axes(canvas, [40, 0, 0])
    assert middle_of(left, BLUE)[0] < -8  # +yaw: the nose points to the image's left
    up = draw_axes(canvas, [0, 40, 0])
    assert middle_of(up, BLUE)[1] < -8  # +pitch: it points up
    clockwise = draw_axes(canvas, [0, 0, 40])
    assert middle_of(clockwise, RED)[1] > 8  # +roll: the right-hand axis sinks,
    assert middle_of(clockwise, GREEN)[0] < -8  # the chin swings to the left


def test_the_image_is_copied_and_its_centre_can_be_chosen():
    canvas = np.zeros((60, 80, 3), np.uint8)
    drawn = np.asarray(draw_axes(canvas, [0, 0, 0], centre=(20, 30), length=10, width=1))
    assert not canvas.any()
    rows, columns = np.nonzero((drawn == RED).all(-1))
    assert (rows == 30).all()
    assert (columns.min(), columns.max()) in {(20, 30), (21, 30)}


def test_gray_pillow_images_can_be_drawn_on():
    assert draw_axes(Image.new("L", (64, 64)), [10, 10, 10]).mode == "RGB"


@pytest.mark.parametrize("with_prediction", [False, True])
def test_a_contact_sheet_has_a_tile_for_each_face(with_prediction):
    faces = np.full((5, 64, 64, 3), 90, np.uint8)
    pose_deg = np.zeros((5, 3), np.float32)
    sheet = contact_sheet(faces, pose_deg, pose_deg + 10 if with_prediction else None)
    tile_height = sheet.height // 2
    assert sheet.width % 3 == 0
    pixels = np.asarray(sheet)
    for index in range(6):
        left, top = index % 3 * (sheet.width // 3), index // 3 * tile_height
        tile = pixels[top : top + tile_height, left : left + sheet.width // 3]
        assert (tile == GREEN).all(-1).any() == (index < 5)


def test_an_empty_sheet_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet(np.zeros((0, 64, 64, 3), np.uint8), np.zeros((0, 3)))
