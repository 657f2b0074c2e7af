"""Channels without inputs are settled: the same function in float, and an int8 file that keeps near it."""

import numpy as np
import pytest
import torch
from torch import nn

from export import Conversion, convert, convert_all, export_onnx, load_runtime
from export.convert.dead_channels import settle_dead_channels
from export.convert.rewrite import parse

SIZE = 16
DEAD = [1, 4, 5]


def net(activation: nn.Module, channels: int = 8, biases: tuple[float, ...] = (0.01, 0.03, 0.02)) -> nn.Module:
    """1x1, activation, padded depthwise, pool, dense; what reads the dead channels multiplies by hundreds."""
    torch.manual_seed(0)
    pointwise, depthwise = nn.Conv2d(3, channels, 1), nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    with torch.no_grad():
        pointwise.weight[DEAD] = 0
        pointwise.bias[DEAD] = torch.tensor(biases)
        depthwise.weight[DEAD] *= 300
        inside = activation(pointwise.bias[DEAD]) * depthwise.weight[DEAD].sum((1, 2, 3))
        depthwise.bias[DEAD] = 0.3 - inside  # as after a batch-norm: small where nothing is padded
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)
    return nn.Sequential(pointwise, activation, depthwise, activation, *head).eval()


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.ReLU6(), nn.Hardswish()], ids=["silu", "relu6", "hardswish"])
def test_a_dead_channel_costs_no_precision_in_int8(activation, tmp_path):
    model, rng = net(activation), np.random.default_rng(0)
    samples = rng.normal(0, 1, (40, SIZE, SIZE, 3)).astype(np.float32)
    export_onnx(model, torch.zeros(1, 3, SIZE, SIZE), tmp_path / "net.onnx")
    files = convert(tmp_path / "net.onnx", tmp_path, ("fp32", "int8"), samples[:20])
    expected = load_runtime(files["fp32"])(samples[20:])
    np.testing.assert_allclose(load_runtime(files["int8"], reference_kernels=True)(samples[20:]), expected, atol=0.02)

    model_bytes = files["fp32"].read_bytes()
    tensors = range(len(parse(model_bytes).subgraphs[0].tensors))
    (tmp_path / "settled.tflite").write_bytes(settled := settle_dead_channels(model_bytes, dict.fromkeys(tensors, 2.0)))
    assert settled != model_bytes
    np.testing.assert_allclose(load_runtime(tmp_path / "settled.tflite")(samples[20:]), expected, atol=1e-4)
    weights = [w for w in constants(settled) if w.ndim == 4 and w.shape[0] == 1]
    largest = np.abs(weights[0]).max((0, 1, 2))
    assert largest.max() < 5 * np.median(largest)  # they were hundreds


@pytest.mark.parametrize("biases", [(0.01, 0.03, 0.02), (-0.01, 0.03, -0.04)], ids=["positive", "negative"])
def test_a_dead_channel_costs_no_precision_in_a_dynamic_range_file(biases, tmp_path):
    """With the 1,024 weights or more that the converter makes int8; of smaller tensors it leaves float32."""
    model, rng = net(nn.SiLU(), channels=128, biases=biases), np.random.default_rng(0)
    samples = rng.normal(0, 1, (40, SIZE, SIZE, 3)).astype(np.float32)
    export_onnx(model, torch.zeros(1, 3, SIZE, SIZE), onnx := tmp_path / "net.onnx")
    without = Conversion(onnx, tmp_path / "without", ("fp32", "dynamic"))
    given = Conversion(onnx, tmp_path / "given", ("dynamic", "dynamic_sparse"), samples[:20])
    unsettled, settled = convert_all([without, given])
    expected = load_runtime(unsettled["fp32"])(samples[20:])

    def loss(path):
        return np.abs(load_runtime(path)(samples[20:]) - expected).max()

    before = loss(unsettled["dynamic"])
    assert before > 0.02
    assert max(loss(settled["dynamic"]), loss(settled["dynamic_sparse"])) < before / 10


def constants(content: bytes) -> list[np.ndarray]:
    """The float constants of a file."""
    tree = parse(content)
    tensors = [(tensor, tree.buffers[tensor.buffer].data) for tensor in tree.subgraphs[0].tensors]
    return [
        np.frombuffer(bytes(data), np.float32).reshape(t.shape)
        for t, data in tensors
        if data is not None and t.type == 0
    ]


def test_a_file_without_such_channels_stays_as_it_is(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.Conv2d(4, 4, 3, padding=1, groups=4)).eval()
    export_onnx(model, torch.zeros(1, 3, SIZE, SIZE), tmp_path / "net.onnx")
    content = convert(tmp_path / "net.onnx", tmp_path, ("fp32",))["fp32"].read_bytes()
    assert settle_dead_channels(content, dict.fromkeys(range(20), 2.0)) is content
