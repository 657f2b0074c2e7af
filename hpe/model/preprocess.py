"""From standard crops to network input: ImageNet's mean and standard deviation, numpy alone (as on a Pi) or torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
"""ImageNet mean of red, green, blue on the 0..1 scale."""
STD = np.array([0.229, 0.224, 0.225], np.float32)
"""ImageNet standard deviation of red, green, blue on the 0..1 scale."""


def preprocess(images: np.ndarray) -> np.ndarray:
    """Network input (N, 64, 64, 3) float32, channels last, from RGB uint8 crops of that shape."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"preprocess wants RGB uint8 images (N, H, W, 3), not {images.dtype} {images.shape}.")
    return (images.astype(np.float32) / np.float32(255) - MEAN) / STD


def preprocess_torch(images: torch.Tensor) -> torch.Tensor:
    """Network input (B, 3, 64, 64) float32 in channels_last memory, from RGB uint8 crops (B, 64, 64, 3)."""
    return normalise(images.permute(0, 3, 1, 2).float() / 255)  # still channels last in memory


def normalise(scaled: torch.Tensor) -> torch.Tensor:
    """Network input (B, 3, H, W) from images of the same shape on the scale 0..1."""
    return (scaled - constants(MEAN, scaled).view(1, 3, 1, 1)) / constants(STD, scaled).view(1, 3, 1, 1)


def constants(values: Sequence[float] | np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """A few numbers (n,) as float32 on the device of `like`; a copy from the host would make a GPU wait."""
    import torch

    return torch.stack([torch.full((), float(value), device=like.device) for value in values])
