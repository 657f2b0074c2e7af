"""What a network that locates learns: the place of the standard crop, and images without a face."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hpe.io.errors import ConfigError
from hpe.training.augment import AugmentConfig, TrainAugment

SIDE, N = 80, 64
OFF = AugmentConfig.off()


def marked():
    """Images black but for a blob in the middle, and two at the corners of the standard crop's middle half."""
    across, down = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    spots = []
    for x, y in ((40, 40), (24, 24), (56, 56)):
        spots.append(255 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / 8))
    return torch.from_numpy(np.stack(spots, -1).astype(np.uint8)).expand(N, -1, -1, -1)  # one in each colour


def centres(x):
    """Columns and rows (B, 3) of the spots in red, green, blue, as shares of the side from the middle."""
    weight = (x - x.amin((2, 3), keepdim=True)).clamp_min(0)
    weight = torch.where(weight > 0.2 * weight.amax((2, 3), keepdim=True), weight, 0.0)
    axis = (torch.arange(64) + 0.5) / 64 - 0.5
    total = weight.sum((2, 3))
    return (weight.sum(2) * axis).sum(2) / total, (weight.sum(3) * axis).sum(2) / total


@pytest.mark.parametrize("turn", [0.0, 25.0])
def test_the_place_is_where_the_marks_of_the_picture_are(turn):
    config = replace(OFF, shift=0.08, scale=0.15, k_max=0.26, rotation_deg=turn, flip=0.5)
    vary = TrainAugment(config, locate=True)
    x, targets = vary(marked(), torch.zeros(N, 3), torch.Generator().manual_seed(1))
    assert targets.shape == (N, 8)
    assert (targets[:, 6:] == 1).all()
    columns, rows = centres(x)
    torch.testing.assert_close(targets[:, 3], columns[:, 0], atol=0.008, rtol=0)
    torch.testing.assert_close(targets[:, 4], rows[:, 0], atol=0.008, rtol=0)
    if not turn:  # the marks are half a standard crop apart in x and y
        wide, high = (columns[:, 2] - columns[:, 1]).abs(), (rows[:, 2] - rows[:, 1]).abs()
        torch.testing.assert_close(targets[:, 5], torch.log(2 * (wide * high).sqrt()), atol=0.02, rtol=0)


def test_crops_far_off_are_told_where_their_face_is_and_their_pose_does_not_count():
    near = replace(OFF, shift=0.03, scale=0.05)
    vary = TrainAugment(replace(near, far=0.5), locate=True)
    x, targets = vary(marked(), torch.zeros(N, 3), torch.Generator().manual_seed(2))
    far, (columns, rows) = targets[:, 7] == 0, centres(x)
    assert (targets[:, 6] == 1).all()
    assert 0.3 < far.float().mean() < 0.7
    torch.testing.assert_close(targets[:, 3:5], torch.stack([columns[:, 0], rows[:, 0]], 1), atol=0.01, rtol=0)
    size, shift = targets[:, 5].abs().exp(), targets[:, 3:5].abs()
    assert size[~far].max() <= 1.05 + 1e-5 < 1.15 < size[far].max() <= 1.25 + 1e-5
    assert shift[~far].max() < 0.03 * 1.05 < 0.15 < shift[far].max() < 0.2 * 1.25
    plain, unchanged = TrainAugment(near, locate=True)(marked(), torch.zeros(N, 3), torch.Generator().manual_seed(2))
    assert torch.equal(x[~far], plain[~far])
    assert torch.equal(targets[~far], unchanged[~far])


def test_without_locate_nothing_changes_for_a_seed():
    images = torch.randint(0, 256, (8, SIDE, SIDE, 3), dtype=torch.uint8)
    poses = torch.randn(8, 3)
    plain = TrainAugment(AugmentConfig())(images, poses, torch.Generator().manual_seed(3))
    located = TrainAugment(AugmentConfig(), locate=True)(images, poses, torch.Generator().manual_seed(3))
    assert torch.equal(plain[0], located[0])
    assert torch.equal(plain[1], located[1][:, :3])


def test_images_without_a_face():
    images = torch.randint(0, 256, (200, 10, 10, 3), dtype=torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2)
    plain = TrainAugment(OFF)(images, torch.zeros(200, 3), torch.Generator().manual_seed(0))[0]
    x, targets = TrainAugment(replace(OFF, no_face=0.6), locate=True)(
        images, torch.zeros(200, 3), torch.Generator().manual_seed(0)
    )
    none = targets[:, 6] == 0
    assert 0.5 < none.float().mean() < 0.7
    assert torch.equal(x[~none], plain[~none])
    changed = (x - plain).abs().mean((1, 2, 3)) > 0.1
    assert changed[none].all()
    sorted_alike = (x.flatten(2).sort(2).values - plain.flatten(2).sort(2).values).abs().amax((1, 2)) < 1e-5
    assert 0.5 < sorted_alike[none].float().mean() < 0.83  # tiles and faces upside down hold the same pixels
    with pytest.raises(ConfigError, match="--no-face needs a network that locates"):
        TrainAugment(replace(OFF, no_face=0.6))
