"""The predicted size of an int8 file, against real files: never exceeded, and near."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from hpe.model.config import ModelConfig
from hpe.model.net import build_model, example_input, fold_output_scale, load_model
from pruning.channels.pruner import prune_channels
from pruning.channels.target import Target
from pruning.stats import stats
from tests.exported import SIZE, exported, tiny_net


def plain_cnn():
    layers, width = [], 3
    for wider in (16, 32, 64):
        layers += [nn.Conv2d(width, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU(), nn.MaxPool2d(2)]
        width = wider
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU(), nn.Linear(64, 3))


def b0_form(**config):
    model = build_model(ModelConfig(**config))
    prune_channels(model, example_input(), Target(int8_bytes=200_000))
    return fold_output_scale(model)


ROOT = Path(__file__).parents[3]
NETS = {
    "plain": (plain_cnn, 32),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=2, width_mult=0.25), 32),
    "relu6, no se, same": (lambda: b0_form(act="relu6", se=False, padding="same"), 64),
    "relu6, se": (lambda: b0_form(act="relu6"), 64),
    "hard-swish": (lambda: b0_form(act="hard_swish"), 64),
}


def test_the_released_b0_is_predicted_to_a_thousandth():
    size = (ROOT / "hpe" / "model" / "releases" / "b0.tflite").stat().st_size
    assert size <= stats(load_model("b0"), example_input()).int8_bytes <= 1.001 * size


def test_a_tiny_file_is_predicted_to_a_kilobyte():
    size = exported().files["int8"].stat().st_size
    assert size <= stats(tiny_net(), torch.zeros(1, 3, SIZE, SIZE)).int8_bytes <= size + 1500


def test_layers_that_are_never_run_cost_nothing():
    class WithSpare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = plain_cnn()

        def forward(self, x):
            return self.used(x)

    model = WithSpare()
    before = stats(model, torch.zeros(1, 3, 32, 32))
    model.spare = nn.Conv2d(3, 64, 5)  # as GoogLeNet's auxiliary heads in evaluation
    after = stats(model, torch.zeros(1, 3, 32, 32))
    assert (after.int8_bytes, after.params) == (before.int8_bytes, before.params)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_the_prediction_is_not_exceeded_and_near(name, tmp_path):
    from export import convert, export_onnx

    torch.manual_seed(0)
    build, side = NETS[name]
    model = build().eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)  # as if trained: a file stores equal buffers once
    x = torch.randn(8, 3, side, side)
    onnx = export_onnx(model, x[:1], tmp_path / "net.onnx")
    calibration = np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())
    size = convert(onnx, tmp_path, ("int8",), calibration)["int8"].stat().st_size
    assert size <= stats(model, x[:1]).int8_bytes <= 1.03 * size
