"""Crops against hand-computed boxes."""

import numpy as np
import pytest
from PIL import Image

from hpe.pose import crop as cropping
from hpe.pose.crop import crop_face, fit_stored, widen


def ramp(width: int, height: int) -> Image.Image:
    """Red grows by one a pixel to the right, green downwards, blue is 200."""
    pixels = np.full((height, width, 3), 200, np.uint8)
    pixels[:, :, 0] = np.arange(width)
    pixels[:, :, 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


def test_the_margins_are_those_of_the_literature():
    assert widen((100, 100, 200, 150), 0.2) == pytest.approx((60, 80, 240, 156))
    assert widen((100, 100, 200, 150), 0.4) == pytest.approx((20, 60, 280, 162))


def test_the_crop_shows_the_widened_box_and_its_border():
    """Box 40 wide and 50 high at (100, 90): crop 72 x 76 from (84, 70), border 9 and 9.5 pixels of the photo."""
    crop = crop_face(ramp(250, 250), (100, 90, 140, 140)).astype(float)
    assert crop.shape == (80, 80, 3)
    assert crop[40, 39:41, 0].mean() == pytest.approx(84 + 36 - 0.5, abs=0.6)
    assert crop[39:41, 40, 1].mean() == pytest.approx(70 + 38 - 0.5, abs=0.6)
    inside = crop[8:72, 8:72]
    assert inside[:, 0, 0].mean() == pytest.approx(84 + 72 / 128 - 0.5, abs=0.6)
    assert inside[:, -1, 0].mean() == pytest.approx(156 - 72 / 128 - 0.5, abs=0.6)
    assert inside[0, :, 1].mean() == pytest.approx(70 + 76 / 128 - 0.5, abs=0.6)
    assert inside[-1, :, 1].mean() == pytest.approx(146 - 76 / 128 - 0.5, abs=0.6)
    assert crop[0, 40, 1] == pytest.approx(60.5, abs=1)


def test_without_a_margin_it_is_the_middle_of_the_crop_with_one():
    photo, box = ramp(250, 250), (100.3, 90.7, 150.2, 140.1)
    np.testing.assert_allclose(crop_face(photo, box, margin=0), crop_face(photo, box)[8:72, 8:72], atol=1.5)


def test_arrays_and_gray_photos_are_photos_too():
    photo, box = ramp(250, 250), (100, 90, 140, 140)
    np.testing.assert_array_equal(crop_face(np.asarray(photo), box), crop_face(photo, box))
    assert crop_face(photo.convert("L"), box).shape == (80, 80, 3)
    assert crop_face(photo.convert("P"), box).shape == (80, 80, 3)


def test_outside_the_photo_it_is_black():
    white = Image.new("RGB", (100, 100), (255, 255, 255))
    crop = crop_face(white, (0, 30, 50, 80))
    assert (crop[:, :14] == 0).all()  # the crop starts 20 pixels left of the photo
    assert (crop[20:50, 35:] == 255).all()


def crop_of_a_copy(image: Image.Image, box: cropping.Box, margin: int) -> np.ndarray:
    """The crop as it was first written: the whole image is copied twice, and Pillow pads it with black."""
    left, top, right, bottom = widen(box)
    border_x, border_y = (right - left) * margin / 64, (bottom - top) * margin / 64
    region = (left - border_x, top - border_y, right + border_x, bottom + border_y)
    x0, y0 = int(np.floor(region[0])), int(np.floor(region[1]))
    outer = image.convert("RGB").crop((x0, y0, int(np.ceil(region[2])), int(np.ceil(region[3]))))
    inner = (region[0] - x0, region[1] - y0, region[2] - x0, region[3] - y0)
    return np.asarray(outer.resize((64 + 2 * margin,) * 2, Image.Resampling.BILINEAR, box=inner))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "array"])
def test_cutting_first_changes_no_pixel(mode):
    rng = np.random.default_rng(4)
    noise = Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8))
    photo = noise if mode == "array" else noise.convert(mode)
    for _ in range(60):
        (x, y), side = rng.uniform((-15, -15), (100, 70)), rng.uniform(5, 90, 2)
        box = (x, y, x + side[0], y + side[1])
        try:
            cropping.check_box(box, photo.size)
        except ValueError:
            continue
        for margin in (0, 8):
            found = crop_face(np.asarray(photo) if mode == "array" else photo, box, margin=margin)
            np.testing.assert_array_equal(found, crop_of_a_copy(photo, box, margin))


def test_no_more_than_the_rectangle_is_copied(monkeypatch):
    """Only the widened box of a frame becomes a Pillow image: its 70 x 65 pixels and border, not 1920 x 1080."""
    sizes = []
    whole = Image.fromarray

    def seen(array):
        sizes.append(array.shape)
        return whole(array)

    monkeypatch.setattr(cropping.Image, "fromarray", seen)
    crop_face(np.zeros((1080, 1920, 3), np.uint8), (900, 500, 940, 540), margin=0)
    assert len(sizes) == 1
    assert max(sizes[0]) <= 74


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ((50, 50, 50, 90), "smaller"),
        ((90, 50, 50, 90), "inside out"),
        ((float("nan"), 0, 50, 50), "finite"),
        ((0, 0, float("inf"), 50), "finite"),
        ((-400, 0, 60, 60), "outside"),
        ((0, 0, 1e9, 1e9), "outside"),
        ((200, 200, 260, 260), "outside"),
    ],
)
def test_a_senseless_box_is_refused(box, what):
    with pytest.raises(ValueError, match=what):
        crop_face(ramp(100, 100), box)


def test_a_picture_with_the_usual_border_is_stored_as_it_is():
    photo = ramp(80, 80)
    np.testing.assert_array_equal(fit_stored(photo, 0.8), np.asarray(photo))


def test_a_larger_picture_with_border_is_only_resized():
    stored = fit_stored(ramp(240, 240), 0.8).astype(float)
    np.testing.assert_allclose(stored[40, :, 0], np.arange(80) * 3 + 1, atol=1)


def test_a_picture_with_more_border_loses_the_rest():
    """The standard crop is the middle 120 of 240 pixels; 15 more on each side are kept."""
    stored = fit_stored(ramp(240, 240), 0.5).astype(float)
    assert stored[:, 8, 0].mean() == pytest.approx(60, abs=1.5)
    assert stored[:, 0, 0].mean() == pytest.approx(45, abs=1.5)


def test_a_picture_without_border_is_reflected():
    stored = fit_stored(ramp(64, 64), 1.0)
    np.testing.assert_array_equal(stored[8:72, 8:72], np.asarray(ramp(64, 64)))
    np.testing.assert_array_equal(stored[8:72, :8], stored[8:72, 9:17][:, ::-1])
    np.testing.assert_array_equal(stored[-8:], stored[-17:-9][::-1])


def test_a_picture_with_little_border_keeps_what_it_has():
    stored = fit_stored(ramp(200, 200), 0.9).astype(float)
    assert stored.shape == (80, 80, 3)
    assert stored[:, 8, 0].mean() == pytest.approx(11, abs=2)  # the crop starts 10 pixels into the picture
    assert stored[:, 71, 0].mean() == pytest.approx(188, abs=2)
