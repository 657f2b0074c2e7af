"""Small nets whose channels go in units: groups of a convolution, ghost features, heads of attention."""

import torch
from torch import nn


class Head(nn.Module):
    """A mean over the positions of (B, C, H, W) or (B, N, C), and a dense layer."""

    def __init__(self, channels):
        super().__init__()
        self.last = nn.Linear(channels, 3)

    def forward(self, x):
        return self.last(x.mean((2, 3)) if x.dim() == 4 else x.mean(1))


def grouped_net():
    """As in ResNeXt and RegNet: 1x1, 3x3 in four groups, 1x1, with batch-norms and a shortcut."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 12, 3, padding=1)
            self.reduce, self.norm1 = nn.Conv2d(12, 24, 1, bias=False), nn.BatchNorm2d(24)
            self.grouped, self.norm2 = nn.Conv2d(24, 16, 3, padding=1, groups=4), nn.BatchNorm2d(16)
            self.expand = nn.Conv2d(16, 12, 1)
            self.head = Head(12)

        def forward(self, x):
            x = self.stem(x)
            inner = self.norm1(self.reduce(x)).relu()
            return self.head(x + self.expand(self.norm2(self.grouped(inner)).relu()))

    return Block().eval()


def ghost_net():
    """As in GhostNet: half of the features are computed from the other half; a slice takes what is wanted."""
    torch.manual_seed(0)

    class Ghost(nn.Module):
        def __init__(self, inputs, out):
            super().__init__()
            self.out = out
            self.primary = nn.Conv2d(inputs, out // 2, 1)
            self.cheap = nn.Conv2d(out // 2, out // 2, 3, padding=1, groups=out // 2)

        def forward(self, x):
            first = self.primary(x).relu()
            return torch.cat([first, self.cheap(first)], 1)[:, : self.out]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.one, self.two = nn.Conv2d(3, 16, 3), Ghost(16, 24), Ghost(24, 16)
            self.head = Head(16)

        def forward(self, x):
            x = self.stem(x)
            return self.head(x + self.two(self.one(x)))

    return Net().eval()


def transformer(norm=nn.LayerNorm):
    """timm's own, with a class token, positions, layer scales; 4 heads of 8."""
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    net = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=4, num_classes=3, init_values=0.5, norm_layer=norm
    )
    return net.eval()


class TorchEncoder(nn.Module):
    """Patches, torch's own nn.TransformerEncoder, a mean; 4 heads of 8."""

    def __init__(self, batch_first=True, **options):
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Conv2d(3, 32, 4, stride=4)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=batch_first, **options)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = Head(32)

    def forward(self, x, **masks):
        x = self.embed(x).flatten(2).transpose(1, 2)  # (B, N, 32)
        if self.batch_first:
            return self.head(self.encoder(x, **masks))
        return self.head(self.encoder(x.transpose(0, 1), **masks).transpose(0, 1))


def torch_encoder(**options):
    """A TorchEncoder whose biases are not zero."""
    torch.manual_seed(0)
    net = TorchEncoder(**options)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    return net.eval()


NETS = {"grouped": grouped_net, "ghost": ghost_net, "transformer": transformer, "torch encoder": torch_encoder}
