"""Augmentation, whose labels must follow the picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from hpe.io.errors import ConfigError
from hpe.model.preprocess import MEAN, STD, preprocess
from hpe.pose.crop import BASE_K, Box, centre_crop, crop_face, widen
from hpe.pose.overlay import axis_ends
from hpe.pose.rotation import rotate_in_plane
from hpe.training.augment import AugmentConfig, TrainAugment

OFF = {name: 0.0 for name in AugmentConfig.__dataclass_fields__ if name != "k_max"} | {"k_max": BASE_K}


def only(**settings: float) -> TrainAugment:
    """An augmentation that does nothing but what is named."""
    return TrainAugment(AugmentConfig(**(OFF | settings)))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 80, 80, 3), dtype=torch.uint8, generator=generator(seed))


def pixels(x: torch.Tensor) -> np.ndarray:
    """Network input (B, 3, 64, 64) back to 0..255, channels last."""
    return (x.permute(0, 2, 3, 1).numpy() * STD + MEAN) * 255


def dot(x: float, y: float, radius: float = 3.0) -> np.ndarray:
    """A stored picture (80, 80), black but for a soft white dot; x, y count from the picture's middle, y down."""
    grid = np.arange(80) - 39.5
    return np.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * radius**2))


def centroid(channel: np.ndarray) -> np.ndarray:
    """Where the brightness of (64, 64) has its middle, counted from the picture's middle, y down."""
    grid = np.arange(64) - 31.5
    return np.array([(channel * grid[None, :]).sum(), (channel * grid[:, None]).sum()]) / channel.sum()


def test_centre_crop_is_the_middle():
    images = noise(2).numpy()
    np.testing.assert_array_equal(centre_crop(images), images[:, 8:72, 8:72])


def test_switched_off_it_is_the_standard_crop():
    images, pose_deg = noise(4), torch.tensor([[96.0, 2.0, -3.0]] * 4)
    x, pose_after = TrainAugment(AugmentConfig.off())(images, pose_deg, generator())
    np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy(), preprocess(centre_crop(images.numpy())), atol=1e-4)
    np.testing.assert_array_equal(pose_after, pose_deg)


def test_output_form_and_that_the_input_is_left_alone():
    images, pose_deg = noise(5), torch.zeros(5, 3)
    before = images.clone()
    x, pose_after = TrainAugment(AugmentConfig())(images, pose_deg, generator())
    assert x.shape == (5, 3, 64, 64)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert pose_after.shape == (5, 3)
    assert torch.equal(images, before)
    assert torch.equal(pose_deg, torch.zeros(5, 3))
    assert torch.isfinite(x).all()


def test_a_seed_gives_the_same_batch_and_another_one_does_not():
    augment, images, pose_deg = TrainAugment(AugmentConfig()), noise(4), torch.zeros(4, 3)
    first, same, other = (augment(images, pose_deg, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], same[0])
    assert torch.equal(first[1], same[1])
    assert not torch.equal(first[0], other[0])


def test_each_sample_draws_its_own_values():
    x, pose_deg = TrainAugment(AugmentConfig())(noise(1).expand(16, -1, -1, -1), torch.zeros(16, 3), generator())
    assert len(torch.unique(pose_deg[:, 2])) == 16
    assert len(torch.unique(x.flatten(1).sum(1))) == 16


def test_flip_mirrors_the_picture_and_negates_yaw_and_roll():
    images = torch.from_numpy(np.stack([dot(20, -10)] * 3, -1)[None] * 255).to(torch.uint8)
    x, pose_deg = only(flip=1)(images, torch.tensor([[10.0, 20.0, 30.0]]), generator())
    np.testing.assert_allclose(centroid(pixels(x)[0, :, :, 0]), [-20, -10], atol=0.3)
    np.testing.assert_array_equal(pose_deg, [[-10, 20, -30]])


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("pose", [(25.0, -15.0, 10.0), (-50.0, 30.0, -20.0), (0.0, 0.0, 0.0), (70.0, 5.0, 0.0)])
def test_the_label_follows_the_picture(pose, flip):
    """Dots at the ends of the head's three axes must move to where the new label puts the axes."""
    length = 24.0
    ends = axis_ends(pose) * length  # (3, 2)
    picture = np.stack([dot(*end) for end in ends], -1)  # red, green, blue dot
    count = 24
    images = torch.from_numpy(np.repeat(picture[None] * 255, count, 0)).to(torch.uint8)
    x, pose_deg = only(flip=flip, rotation_deg=60)(images, torch.tensor([pose] * count), generator())
    mirror = np.array([[-1.0], [1.0], [1.0]]) if flip else 1.0  # the head's x axis ends at the other ear
    for picture, after in zip(pixels(x), pose_deg.numpy(), strict=True):
        found = np.stack([centroid(picture[:, :, channel]) for channel in range(3)])
        np.testing.assert_allclose(found, axis_ends(after) * mirror * length, atol=0.5)


def test_rotation_is_smaller_in_profile_and_stays_within_its_limit():
    frontal, profile = torch.zeros(500, 3), torch.tensor([[80.0, 0.0, 0.0]] * 500)
    _, frontal_after = only(rotation_deg=30)(noise(1).expand(500, -1, -1, -1), frontal, generator())
    _, profile_after = only(rotation_deg=30)(noise(1).expand(500, -1, -1, -1), profile, generator())
    assert 28 < frontal_after[:, 2].abs().max() <= 30
    assert (profile_after - profile).abs().max() < 31
    limit = torch.from_numpy(rotate_in_plane(np.array([[80.0, 0, 0]]), np.array([30 * np.cos(np.deg2rad(80))])))
    assert (profile_after - profile).abs().max() <= (limit - profile[:1]).abs().max() + 1e-3


def test_no_black_corners():
    """A white picture stays white however it is turned, shrunk and moved: what is not there is reflected."""
    images = torch.full((64, 80, 80, 3), 255, dtype=torch.uint8)
    x, _ = only(rotation_deg=45, scale=0.5, shift=0.3, k_max=0.4)(images, torch.zeros(64, 3), generator())
    assert pixels(x).min() > 254.9


def test_shift_moves_up_to_its_limit_either_way():
    images = torch.from_numpy(np.stack([dot(0, 0)] * 3, -1)[None].repeat(200, 0) * 255).to(torch.uint8)
    x, _ = only(shift=0.2)(images, torch.zeros(200, 3), generator())
    moved = np.stack([centroid(picture[:, :, 0]) for picture in pixels(x)])
    assert np.abs(moved).max() == pytest.approx(0.2 * 64, abs=0.5)
    assert (moved.min(0) < -10).all()
    assert (moved.max(0) > 10).all()


def test_scale_zooms_in_and_out():
    images = torch.from_numpy(np.stack([dot(16, 0)] * 3, -1)[None].repeat(200, 0) * 255).to(torch.uint8)
    x, _ = only(scale=0.25)(images, torch.zeros(200, 3), generator())
    distance = np.array([centroid(picture[:, :, 0])[0] for picture in pixels(x)])
    assert distance.min() == pytest.approx(16 / 1.25, abs=0.3)
    assert distance.max() == pytest.approx(16 * 1.25, abs=0.3)


def smooth_photo() -> Image.Image:
    """A photo with no detail finer than a few crop pixels."""
    coarse = np.random.default_rng(3).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((480, 480), Image.Resampling.BICUBIC)


def test_a_wider_k_is_the_crop_of_that_k():
    """A crop of the drawn k, taken from the stored k = 0.2 crop, is what cropping the photo with that k gives."""
    photo, box = smooth_photo(), (180.0, 190.0, 280.0, 300.0)
    stored = torch.from_numpy(crop_face(photo, box).copy())[None]
    augment = only(k_max=0.3)
    k = 0.2 + 0.1 * torch.rand(1, augment.DRAWS, generator=generator(5))[0, 3].item()  # the fourth number drawn
    x, _ = augment(stored, torch.zeros(1, 3), generator(5))
    expected = np.asarray(photo.resize((64, 64), Image.Resampling.BILINEAR, box=widen(box, k)), np.float32)
    assert np.abs(pixels(x)[0] - expected).mean() < 1.0
    unmoved = centre_crop(stored.numpy())[0].astype(np.float32)
    assert np.abs(unmoved - expected).mean() > 3.0  # so the test can see the difference


def test_the_stored_border_holds_real_pixels_up_to_k_0295():
    def fits(k: float) -> bool:
        face: Box = (0.0, 0.0, 1.0, 1.0)
        inner, outer = widen(face), widen(face, k)
        margin_x, margin_y = (inner[2] - inner[0]) / 8, (inner[3] - inner[1]) / 8
        return bool(
            outer[0] >= inner[0] - margin_x
            and outer[2] <= inner[2] + margin_x
            and outer[1] >= inner[1] - margin_y
            and outer[3] <= inner[3] + margin_y
        )

    assert fits(0.295)
    assert not fits(0.3)


def test_brightness_and_contrast_change_mean_and_spread_within_limits():
    images = noise(300) // 4 + 96  # far from clipping
    original = centre_crop(images.numpy()).astype(float)
    bright = pixels(only(brightness=0.2)(images, torch.zeros(300, 3), generator())[0])
    change = (bright.mean((1, 2, 3)) - original.mean((1, 2, 3))) / 255
    assert change.min() == pytest.approx(-0.2, abs=0.01)
    assert change.max() == pytest.approx(0.2, abs=0.01)
    contrast = pixels(only(contrast=0.4)(images, torch.zeros(300, 3), generator())[0])
    ratio = contrast.std((1, 2, 3)) / original.std((1, 2, 3))
    assert ratio.min() == pytest.approx(0.6, abs=0.02)
    assert ratio.max() == pytest.approx(1.4, abs=0.02)
    np.testing.assert_allclose(contrast.mean((1, 2, 3)), original.mean((1, 2, 3)), atol=0.05)


def test_gray_is_pillows_luma():
    images = noise(2)
    found = pixels(only(gray=1)(images, torch.zeros(2, 3), generator())[0])
    expected = np.asarray(Image.fromarray(centre_crop(images.numpy())[0]).convert("L"), np.float32)
    np.testing.assert_allclose(found[0], np.repeat(expected[:, :, None], 3, -1), atol=1.0)


def test_blur_keeps_the_mean_and_takes_away_detail():
    images = noise(8)
    found = pixels(only(blur=1)(images, torch.zeros(8, 3), generator())[0])
    original = centre_crop(images.numpy()).astype(float)
    np.testing.assert_allclose(found.mean((1, 2, 3)), original.mean((1, 2, 3)), atol=1.5)
    assert (found.std((1, 2, 3)) < 0.97 * original.std((1, 2, 3))).all()


def test_cutout_covers_one_rectangle():
    images = torch.zeros(50, 80, 80, 3, dtype=torch.uint8)
    covered = pixels(only(cutout=1)(images, torch.zeros(50, 3), generator())[0])[..., 0] > 1
    for mask in covered:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.sum() == len(rows) * len(columns)
        assert 2 <= len(rows) <= 27
        assert rows[-1] - rows[0] + 1 == len(rows)


def test_black_border_lies_along_the_sides():
    images = torch.full((200, 80, 80, 3), 255, dtype=torch.uint8)
    black = pixels(only(black_border=1)(images, torch.zeros(200, 3), generator())[0])[..., 0] < 1
    assert not black[:, 13:51, 13:51].any()  # at most a fifth of each side
    for side in (black[:, 30, 0], black[:, 30, -1], black[:, 0, 30], black[:, -1, 30]):
        assert 0.3 < side.mean() < 0.7


@pytest.mark.parametrize("name", ["flip", "gray", "blur", "cutout", "black_border"])
def test_probabilities_are_kept(name):
    images = noise(1).expand(400, -1, -1, -1)
    x, _ = only(**{name: 0.25})(images, torch.zeros(400, 3), generator())
    plain, _ = only()(images[:1], torch.zeros(1, 3), generator())
    changed = (x - plain).abs().amax((1, 2, 3)) > 1e-3
    expected = 0.25 * (1 - 1 / 16 if name == "black_border" else 1)  # all four bands may be absent
    assert changed.float().mean().item() == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(
    ("name", "value"),
    [("flip", 1.5), ("shift", -0.1), ("rotation_deg", 200), ("k_max", 0.1), ("contrast", 2), ("scale", float("nan"))],
)
def test_a_senseless_setting_is_named(name, value):
    with pytest.raises(ConfigError, match="--" + name.replace("_", "-")):
        AugmentConfig(**{name: value})


def test_augmentation_never_waits_to_know_how_many_images_it_changes():
    """On a device of its own, an index by a condition waits for it; the meta device cannot answer and would raise."""
    images = torch.zeros(4, 80, 80, 3, dtype=torch.uint8, device="meta")
    out, pose_deg = TrainAugment(AugmentConfig())(images, torch.zeros(4, 3, device="meta"), torch.Generator())
    assert (out.shape, pose_deg.shape) == ((4, 3, 64, 64), (4, 3))


def test_blur_is_the_same_whether_all_or_the_chosen_are_computed():
    from hpe.training.augment import _blur, _gaussian

    generator = torch.Generator().manual_seed(0)
    images, sigma = torch.rand(6, 3, 64, 64, generator=generator), 0.3 + 0.9 * torch.rand(6, generator=generator)
    chosen = torch.tensor([True, False, True, True, False, False])
    everything = torch.where(chosen[:, None, None, None], _gaussian(images, sigma), images)
    assert torch.equal(_blur(images.clone(), chosen, sigma), everything)
