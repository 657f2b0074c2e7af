import pytest
import timm
import torch
import torchvision
from rich.console import Console
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pruning.stats import sparsity_histogram, stats, stats_table

BUILDS = {
    "efficientnet_b0": lambda: timm.create_model("efficientnet_b0", num_classes=3),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(num_classes=10),
    "upscaling": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.ConvTranspose2d(8, 6, 3, 2, 1),
        nn.ConvTranspose2d(6, 4, 3),
        nn.ConvTranspose2d(4, 4, 4, 2, 1, 1, groups=2),
    ),
    "from a point": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.ConvTranspose2d(3, 8, 4), nn.Conv2d(8, 3, 1)),
    "transposed": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)),
}


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_macs_agree_with_torchs_own_flop_counter(name, batch):
    model = BUILDS[name]().eval()
    images = torch.zeros(batch, 3, 64, 64)  # (B, 3, 64, 64)
    with FlopCounterMode(display=False) as counter:
        model(images)
    counts = stats(model, images)
    assert counts.macs * 2 * batch == counter.get_total_flops()
    assert counts.macs == sum(layer.macs for layer in counts.layers)
    assert counts.params == sum(p.numel() for p in model.parameters())
    assert counts.params == sum(layer.params for layer in counts.layers)


def test_counts_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 25, 2)).train()
    with torch.no_grad():
        model[3].weight[:, :30] = 0
        model[1].bias.fill_(1.0)
    counts = stats(model, torch.zeros(1, 3, 5, 5))
    assert counts.params == (3 * 4 * 9 + 4) + 8 + (200 + 2)
    assert counts.nonzeros == counts.params - 60
    assert counts.macs == 3 * 4 * 9 * 25 + 200
    assert counts.layers[2].sparsity == pytest.approx(60 / 202)
    assert model.training
    assert all(module.training for module in model.modules())


def test_table_and_histogram(tmp_path):
    counts = stats(BUILDS["mobilenet_v2"](), torch.zeros(1, 3, 32, 32))
    console = Console(width=160, record=True, quiet=True)
    console.print(stats_table(counts))
    assert stats_table(counts).row_count == len(counts.layers)
    path = sparsity_histogram(counts, tmp_path / "zeros.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_estimate_of_int8_bytes_is_near_a_real_file():
    """A trained B0 with three outputs came to 4,859,792 bytes (onnx2tf 1.28.8, TensorFlow 2.21, names dropped)."""
    counts = stats(BUILDS["efficientnet_b0"](), torch.zeros(1, 3, 64, 64))
    assert counts.int8_bytes == pytest.approx(4_859_792, rel=0.005)
