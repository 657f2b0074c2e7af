import json

import pytest
import torch
import torchvision
from torch import nn

from pruning.blocks import drop_blocks, residual_blocks
from pruning.channels.pruner import apply_widths, prune_channels, widths
from pruning.channels.target import Target
from tests.small_nets import X, images, params, small_net


def test_residual_blocks_are_found_by_what_they_do():
    assert list(residual_blocks(small_net(), images())) == ["blocks.0", "blocks.1"]
    model = torchvision.models.mobilenet_v2(num_classes=3)
    found = residual_blocks(model, torch.randn(2, 3, 32, 32))
    expected = [n for n, m in model.named_modules() if getattr(m, "use_res_connect", False)]
    assert list(found) == expected
    assert residual_blocks(nn.Sequential(nn.Conv2d(3, 3, 1)), images()) == {}
    assert model.training


def test_the_block_that_adds_least_goes_and_leaves_its_input():
    model = small_net()
    with torch.no_grad():
        model.blocks[1].project[1].weight.mul_(1e-4)
        model.blocks[1].project[1].bias.zero_()
        model.blocks[1].project[1].running_mean.zero_()
    before = model(images())
    optimizer = torch.optim.Adam(model.parameters())
    assert drop_blocks(model, images(), count=1, optimizer=optimizer) == ["blocks.1"]
    assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for p in model.parameters()}
    assert params(model) < params(small_net())
    torch.testing.assert_close(model(images()), before, rtol=1e-2, atol=1e-1)


def test_blocks_that_share_layers():
    model = small_net()
    model.blocks[1].expand = model.blocks[0].expand  # one part with two names
    model.blocks[1].project[0].weight = model.blocks[0].project[0].weight
    before = model(images())
    optimizer = torch.optim.Adam(model.parameters())
    assert list(residual_blocks(model, images())) == ["blocks.0", "blocks.1"]
    assert torch.equal(model(images()), before)
    drop_blocks(model, images(), names=["blocks.0"], optimizer=optimizer)
    assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for p in model.parameters()}


def test_an_optimizer_of_named_parameters_forgets_the_names_too():
    model = small_net()
    optimizer = torch.optim.Adam(model.named_parameters())
    drop_blocks(model, images(), names=["blocks.0"], optimizer=optimizer)
    (group,) = optimizer.param_groups
    assert [(n, id(p)) for n, p in zip(group["param_names"], group["params"], strict=True)] == [
        (n, id(p)) for n, p in model.named_parameters()
    ]


def test_blocks_and_channels_together_load_into_a_plain_build():
    model = small_net()
    drop_blocks(model, images(), names=["blocks.0"])
    prune_channels(model, X, Target(ratio=0.5))
    plain = small_net()
    apply_widths(plain, json.loads(json.dumps(widths(model))))
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain(images()), model(images()))


def test_bad_requests_name_the_blocks():
    with pytest.raises(ValueError, match=r"residual blocks are blocks\.0, blocks\.1"):
        drop_blocks(small_net(), images(), count=3)
    with pytest.raises(ValueError, match="'head' is no residual block"):
        drop_blocks(small_net(), images(), names=["head"])
    with pytest.raises(ValueError, match="either"):
        drop_blocks(small_net(), images())
