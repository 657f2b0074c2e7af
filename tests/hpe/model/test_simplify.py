"""The simpler form of a network, from the same weights."""

import pytest
import torch

from hpe.model.config import ModelConfig
from hpe.model.net import HeadPoseNet, build_model
from hpe.model.simplify import mean_gates, simplified
from hpe.pose.rotation import flip_pose
from pruning.channels.pruner import prune_channels
from pruning.channels.target import Target

IMAGES = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def lively(config: ModelConfig) -> HeadPoseNet:
    """A network whose batch norms hold the statistics of IMAGES and whose last layer is no longer nearly zero."""
    model = build_model(config, seed=1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        model.train()(IMAGES)
        torch.nn.init.normal_(model.last_layer.weight, generator=torch.Generator().manual_seed(2))
        model.last_layer.bias.copy_(torch.tensor([0.3, -0.2, 0.1]))
    return model.eval()


@pytest.mark.parametrize("head", ["gap", "paper"])
@torch.no_grad()
def test_same_padding_does_on_an_image_what_symmetric_padding_did_on_the_rotated_one(head):
    """Exact where the kernels are mirrored up and down as well, which `simplified` leaves out (faces stand upright)."""
    model = lively(ModelConfig(head=head, act="relu6", se=False))
    small = simplified(model, IMAGES)
    assert small.config.padding == "same"
    for module in small.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.copy_(module.weight.flip(2))
    if head == "paper":
        first = small.head[1]
        first.weight.copy_(first.weight.unflatten(1, (-1, 2, 2)).flip(2).flatten(1))
    turned = IMAGES.flip(2, 3)
    torch.testing.assert_close(small(IMAGES), flip_pose(model(turned)), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@torch.no_grad()
def test_padding_that_stays_changes_nothing_and_there_and_back_neither(padding):
    model = lively(ModelConfig(act="relu6", se=False, padding=padding))
    kept = simplified(model, IMAGES, padding)
    torch.testing.assert_close(kept(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-4)
    other = simplified(model, IMAGES, "symmetric" if padding == "same" else "same")
    assert other.config.padding != padding
    torch.testing.assert_close(simplified(other, IMAGES, padding)(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_constant_gates_are_kept_exactly():
    model = lively(ModelConfig(act="relu6", padding="same"))
    for name, module in model.named_modules():
        if name.endswith("se.conv_expand"):  # the gate is the sigmoid of its bias, whatever the image
            module.weight.zero_()
            module.bias.copy_(torch.linspace(-2, 2, len(module.bias)))
    gates = mean_gates(model, IMAGES)
    assert len(gates) == 16
    for gate in gates.values():
        torch.testing.assert_close(gate, torch.linspace(-2, 2, len(gate)).sigmoid(), rtol=1e-3, atol=1e-4)
    small = simplified(model, IMAGES)
    assert not any(name.endswith("se") and list(module.children()) for name, module in small.named_modules())
    torch.testing.assert_close(small(IMAGES), model(IMAGES), rtol=1e-3, atol=1e-2)


@torch.no_grad()
def test_a_pruned_net_keeps_its_widths_and_the_model_stays():
    model = lively(ModelConfig())
    prune_channels(model, IMAGES[:1], Target(ratio=0.5))
    model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = simplified(model, IMAGES)
    assert small(IMAGES).isfinite().all()
    assert small.backbone.conv_head.weight.shape == model.backbone.conv_head.weight.shape
    assert (small.config.act, small.config.se, small.config.padding) == ("relu6", False, "same")
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
