"""From standard crops to network input."""

import numpy as np
import pytest
import torch

from hpe.model.preprocess import preprocess, preprocess_torch


def test_preprocess_is_the_imagenet_formula():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    found = preprocess(images)
    assert found.dtype == np.float32
    expected = (images[1, 5, 7].astype(float) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found[1, 5, 7], expected, rtol=1e-5)


def test_preprocess_torch_is_preprocess():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    found = preprocess_torch(torch.from_numpy(images))
    assert found.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), preprocess(images), atol=1e-6)


@pytest.mark.parametrize("images", [np.zeros((2, 64, 64, 3), np.float32), np.zeros((64, 64, 3), np.uint8)])
def test_preprocess_refuses_what_is_no_image_batch(images):
    with pytest.raises(ValueError, match="uint8"):
        preprocess(images)
