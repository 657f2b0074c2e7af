"""A net small enough for quick tests, with all that makes EfficientNet hard to prune."""

import torch
from torch import Tensor, nn

X = torch.zeros(1, 3, 16, 16)


class Residual(nn.Module):
    """Inverted residual block with squeeze-and-excite: the parts that make EfficientNet hard to prune."""

    def __init__(self, channels: int):
        super().__init__()
        wide = 2 * channels
        self.expand = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.SiLU())
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide), nn.BatchNorm2d(wide), nn.SiLU()
        )
        self.squeeze = nn.Sequential(nn.Conv2d(wide, 8, 1), nn.ReLU(), nn.Conv2d(8, wide, 1), nn.Sigmoid())
        self.project = nn.Sequential(nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))  # (B, 2C, H, W)
        y = y * self.squeeze(y.mean((2, 3), keepdim=True))
        return x + self.project(y)


class SmallNet(nn.Module):
    """Stem, two residual blocks, a flattened 2x2 map, two dense layers, a scaled output."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.blocks = nn.Sequential(Residual(16), Residual(16))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x))) * 30.0  # (B, 3)


def small_net() -> SmallNet:
    torch.manual_seed(0)
    model = SmallNet()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
    return model.eval()


def params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def images(seed: int = 0, batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(seed))  # (B, 3, 16, 16)
