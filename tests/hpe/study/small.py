"""A network of two convolutions in the place of EfficientNet-B0, so that a whole study takes a second."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from torch import nn

from hpe.model import net
from hpe.model.config import ModelConfig

USED = (
    "hpe.study.measure",
    "hpe.study.twins",
    "hpe.training.augment",
    "hpe.training.distillation",
    "hpe.training.loop",
    "hpe.training.pruners",
    "hpe.training.runs",
    "rich.console",
    "timm",
    "torch.utils.tensorboard",
    "torch_pruning",
)
"""What the tasks of a study import."""


class Small(nn.Sequential):
    """Images (B, 3, 64, 64) to features (B, num_features)."""

    def __init__(self, config: ModelConfig) -> None:
        self.num_features = round(64 * config.width)
        super().__init__(
            nn.Conv2d(3, self.num_features, 4, 4, bias=False),
            nn.BatchNorm2d(self.num_features),
            nn.ReLU6(),
            nn.Conv2d(self.num_features, self.num_features, 3, 2, bias=False),
            nn.BatchNorm2d(self.num_features),
            nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


def prepare() -> None:
    """Put the small network in place, and import what tasks use."""
    sys.modules["tensorboard.compat.notf"] = ModuleType("notf")  # as in hpe.training.loop: no TensorFlow
    for name in USED:
        importlib.import_module(name)
    net._backbone = Small
