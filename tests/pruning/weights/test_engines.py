"""Masks by engine: which weights, how many zeros in each, and what shuts XNNPACK's door."""

import pytest
import torch
from torch import nn

from export.compiler.cost import Layer, run_instructions
from pruning import ConstantSparsity, MagnitudePruner, PolynomialDecay, PruningError, closed_doors, zeros_for
from pruning.weights.engines import MCU_LEAST, MCU_LEAST_SMALL, PI_LEAST
from pruning.weights.masks import make_masks, share_of_zeros

X = torch.zeros(1, 3, 32, 32)


def mobile(stride_padding: int = 1, kernel: int = 3, pooled: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3)]
    flat = [nn.Flatten(), nn.Linear(32 * 64, 3)]
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=stride_padding),  # (8, 16, 16) with padding 1
        nn.Conv2d(8, 64, 1),
        nn.ReLU6(),
        nn.Conv2d(64, 64, kernel, stride=2, padding=kernel // 2, groups=64),
        nn.Conv2d(64, 32, 1),  # (32, 8, 8)
        *(end if pooled else flat),
    )


def test_a_policy_names_what_the_engine_skips():
    assert zeros_for("pi", mobile(), X) == {"1.weight": PI_LEAST, "4.weight": PI_LEAST}
    assert zeros_for("mcu", mobile(), X) == {"1.weight": MCU_LEAST, "4.weight": MCU_LEAST}
    small = zeros_for("mcu", mobile(), torch.zeros(1, 3, 8, 8))  # maps of 4x4 and 2x2
    assert small == {"1.weight": MCU_LEAST, "4.weight": MCU_LEAST_SMALL}
    gates = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1))
    assert list(zeros_for("mcu", gates, X)) == ["0.weight"]  # a convolution on one pixel is a dense layer there
    assert list(zeros_for("pi", gates, X)) == ["0.weight", "2.weight"]
    with pytest.raises(PruningError, match="Unknown engine 'dsp'"):
        zeros_for("dsp", mobile(), X)
    with pytest.raises(PruningError, match="no 1x1 convolution"):
        zeros_for("pi", nn.Sequential(nn.Conv2d(3, 4, 3)), X)


class Here(nn.Conv2d):
    """Takes images on its own device alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.device == self.weight.device
        return super().forward(x)


def test_the_example_goes_to_the_device_of_the_model():
    model = nn.Sequential(Here(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 1)).to("meta")
    assert list(zeros_for("mcu", model, X)) == ["1.weight"]
    assert closed_doors(model, X) == []


def test_the_model_stays_as_it_was():
    model = mobile().train()
    model[2].eval()
    zeros_for("pi", model, X)
    assert [module.training for module in model] == [True, True, False, *[True] * 5]
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (mobile(stride_padding=0), r"^0: a 3x3 convolution of stride 2 is padded by 0; pad it by 1"),
        (mobile(kernel=7), r"^3: a depthwise 7x7 convolution of stride 2 is neither 3x3 nor 5x5"),
        (mobile(pooled=False), r"^6: reads a flattened map of 8x8"),
        (nn.Sequential(nn.Conv2d(3, 8, 1), nn.AdaptiveAvgPool2d(1)), "no first 3x3 convolution"),
        (nn.Sequential(*mobile()[:3], nn.MaxPool2d(2), *mobile()[4:]), "^3: MaxPool2d"),
        (nn.Sequential(*mobile()[:3], nn.Conv2d(64, 64, 3, padding=1), *mobile()[4:]), "^3: a 3x3 .* neither 1x1"),
        (nn.Sequential(*mobile()[:3], nn.Conv2d(64, 64, 3, dilation=2, groups=64), *mobile()[4:]), "^3: .*dilated"),
    ],
)
def test_a_closed_door_names_layer_and_remedy(model, words):
    (reason,) = closed_doors(model, X)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(reason)


@pytest.mark.parametrize("kernel", [3, 5])
def test_an_open_door(kernel):
    assert closed_doors(mobile(kernel=kernel), X) == []


@pytest.mark.parametrize("scope", ["erk", "global", "layer"])
def test_each_layer_loses_its_least_share_and_the_total_is_met(scope):
    model, final = mobile(), 0.8
    with torch.no_grad():
        model[4].weight.mul_(100)  # by magnitude alone nothing of it would go
    policy = zeros_for("pi", model, X)
    pruner = MagnitudePruner(model, PolynomialDecay(0.0, final, 0, 8, frequency=1), scope, policy=policy)
    assert list(pruner.masks) == ["1.weight", "4.weight"]
    before = {name: mask.clone() for name, mask in pruner.masks.items()}
    for step in range(1, 9):
        pruner.step()
        wanted = pruner.schedule.sparsity(step)
        assert pruner.sparsity() == pytest.approx(wanted, abs=1e-3)
        for name, mask in pruner.masks.items():
            assert not (mask & ~before[name]).any(), "a dropped weight came back"
            assert 1 - mask.float().mean() >= min(PI_LEAST, wanted) - 1 / mask.numel()
        before = {name: mask.clone() for name, mask in pruner.masks.items()}
    shares = [1 - mask.float().mean().item() for mask in pruner.masks.values()]
    assert (max(shares) - min(shares) > 0.02) == (scope != "layer")


def test_a_falling_schedule_keeps_the_least_share():
    model = mobile()
    policy = zeros_for("pi", model, X)
    pruner = MagnitudePruner(model, ConstantSparsity(0.9, 0), "global", policy=policy)
    pruner.update_masks(0.9)
    for sparsity in (0.8, 0.7):
        pruner.update_masks(sparsity)
        assert pruner.sparsity() == pytest.approx(sparsity, abs=1e-3)
        assert all(1 - mask.float().mean() >= PI_LEAST - 0.002 for mask in pruner.masks.values())


def test_without_a_least_share_scopes_are_what_they_were():
    scores = {"a": torch.arange(1.0, 101).view(10, 10), "b": torch.arange(101.0, 501).view(20, 20)}
    for scope in ("erk", "global"):
        free, bound = make_masks(scores, 0.6, scope), make_masks(scores, 0.6, scope, least={"a": 0.0, "b": 0.0})
        assert all(torch.equal(free[name], bound[name]) for name in scores)
        assert share_of_zeros(free) == pytest.approx(0.6, abs=2e-3)


@pytest.mark.parametrize(
    ("inputs", "outputs", "pixels", "least"),
    [
        (20, 47, 256, MCU_LEAST),
        (37, 37, 64, MCU_LEAST),
        (48, 68, 16, MCU_LEAST),
        (64, 102, 16, MCU_LEAST),
        (112, 22, 4, MCU_LEAST_SMALL),
        (165, 82, 4, MCU_LEAST_SMALL),
    ],
)
def test_least_shares_for_a_microcontroller_are_those_of_the_compilers_cost_model(inputs, outputs, pixels, least):
    """At the least share the sparse kernel takes no more than the dense one, to 2 %; ten points of zeros earlier it
    does."""

    def sparse_over_dense(share: float) -> float:
        layer = Layer(inputs, outputs, round(inputs * outputs * (1 - share)), True, False)
        return run_instructions(layer, "sparse3", pixels) / run_instructions(layer, "dense", pixels)

    assert sparse_over_dense(least) < 1.02
    assert sparse_over_dense(least - 0.1) > 1
