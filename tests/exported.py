"""A tiny network and its exported files, made once for all tests of export/: a conversion imports TensorFlow (12 s)."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export import FORMATS, convert, export_onnx

SIZE = 32


class TinyNet(nn.Module):
    """What EfficientNets are made of, small: SAME padding, depthwise, SiLU, squeeze-excite, residual, flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.squeeze = nn.Conv2d(16, 4, 1)
        self.excite = nn.Conv2d(4, 16, 1)
        self.expand = nn.Conv2d(16, 64, 1)
        self.project = nn.Conv2d(64, 16, 1)
        self.patch = nn.Conv2d(16, 32, 8, stride=8)
        self.head = nn.Linear(2 * 2 * 32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(F.pad(x, (0, 1, 0, 1)))  # TensorFlow's SAME: (B, 16, 16, 16)
        x = F.relu6(self.stem_norm(x))
        x = F.silu(self.depthwise(x))
        gate = self.excite(F.relu6(self.squeeze(x.mean((2, 3), keepdim=True))))  # (B, 16, 1, 1)
        x = x * torch.sigmoid(gate)
        x = x + self.project(F.relu6(self.expand(x)))
        x = F.relu6(self.patch(x))  # (B, 32, 2, 2)
        return self.head(torch.flatten(x, 1))  # (B, 3)


TINY_OPERATORS = [
    *("CONV_2D", "DEPTHWISE_CONV_2D", "LOGISTIC", "MUL"),
    *("MEAN", "CONV_2D", "CONV_2D", "LOGISTIC", "MUL"),
    *("CONV_2D", "CONV_2D", "ADD", "CONV_2D", "RESHAPE", "FULLY_CONNECTED"),
]
INT8_OPERATORS = [*TINY_OPERATORS[:-1], "CONV_2D", "RESHAPE"]


def tiny_net() -> TinyNet:
    """Fixed weights, three quarters of them zero; outputs with a spread of about 10; channels_last, as in training."""
    torch.manual_seed(0)
    net = TinyNet()
    with torch.no_grad():
        net.stem_norm.running_mean.normal_()  # type: ignore[union-attr]
        net.stem_norm.weight.uniform_(0.5, 2.0)
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                smallest = module.weight.abs().flatten().argsort()[: module.weight.numel() * 3 // 4]
                module.weight.view(-1)[smallest] = 0
                module.weight.mul_(2)
        net.head.weight.mul_(10)
    return net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Exported:
    folder: Path
    onnx: Path
    files: dict[str, Path]
    calibration: np.ndarray
    """float32 (100, 32, 32, 3)."""
    samples: np.ndarray
    """float32 (16, 32, 32, 3)."""
    expected: np.ndarray
    """torch's outputs on them, float32 (16, 3)."""


@functools.cache
def exported() -> Exported:
    """TinyNet in every format, in a temporary folder that goes when the process ends. Read it, do not write there."""
    folder = Path(tempfile.mkdtemp(prefix="exported-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    net = tiny_net()
    calibration = np.random.default_rng(0).normal(size=(100, SIZE, SIZE, 3)).astype(np.float32)
    samples = np.random.default_rng(1).normal(size=(16, SIZE, SIZE, 3)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(samples).permute(0, 3, 1, 2)).numpy()  # (16, 3)
    onnx = export_onnx(net, torch.zeros(1, 3, SIZE, SIZE), folder / "tiny.onnx")
    files = convert(onnx, folder, FORMATS, calibration)
    return Exported(folder, onnx, files, calibration, samples, expected)
