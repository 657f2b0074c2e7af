import json

import pytest
import torch
import torchvision
from torch import nn

from pruning.channels.pruner import prune_channels, widths
from pruning.channels.target import Target
from pruning.errors import PruningError
from pruning.quantise.qat import (
    FakeQuantise,
    activation_grid,
    folded,
    quantisation_aware,
    quantise_weight,
    round_sigmoid,
)
from pruning.quantise.ranges import learnt_activations, learnt_ranges, set_ranges
from pruning.schedule import ConstantSparsity
from pruning.weights.magnitude import MagnitudePruner
from tests.small_nets import X, images, params, small_net


def roundings(view):
    return [name for name, module in view.named_modules() if isinstance(module, FakeQuantise)]


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0.0, 25.5, 0.1, -128),
        (-12.8, 12.7, 0.1, 0),
        (-25.5, 0.0, 0.1, 127),
        (2.0, 25.5, 0.1, -128),
        (-5.1, 20.4, 0.1, -77),
    ],
)
def test_the_grid_of_activations_by_hand(low, high, scale, zero_point):
    found, zero = activation_grid(torch.tensor(low), torch.tensor(high))
    assert float(found) == pytest.approx(scale)
    assert int(zero) == zero_point


def test_an_activation_is_rounded_as_the_specification_says():
    module = FakeQuantise()
    x = torch.linspace(-1.0, 3.0, 1001, requires_grad=True)
    rounded = module(x)
    scale, zero = 4.0 / 255, round(-128 + 1.0 / (4.0 / 255))
    by_hand = (torch.clamp(torch.round(x.detach() / scale) + zero, -128, 127) - zero) * scale
    torch.testing.assert_close(rounded.detach(), by_hand)
    assert float(module.eval()(torch.zeros(1))) == 0.0
    rounded.sum().backward()
    assert x.grad is not None
    assert float(x.grad[500]) == 1.0  # straight through
    outside = torch.tensor([9.0], requires_grad=True)
    module(outside).sum().backward()
    assert outside.grad is not None
    assert float(outside.grad) == 0.0


def test_ranges_move_in_training_only():
    module = FakeQuantise()
    module(torch.tensor([-1.0, 1.0]))
    module(torch.tensor([-2.0, 1.0]))
    assert module.range.tolist() == pytest.approx([-1.02, 1.0])
    module.eval()(torch.tensor([-50.0, 50.0]))
    assert module.range.tolist() == pytest.approx([-1.02, 1.0])


def test_a_sigmoid_has_its_fixed_grid():
    x = torch.tensor([0.0, 0.25 + 1e-3, 0.999, 1.0])
    torch.testing.assert_close(round_sigmoid(x), torch.tensor([0.0, 64 / 256, 255 / 256, 255 / 256]))


@pytest.mark.parametrize(
    ("layer", "axis"),
    [
        (nn.Conv2d(4, 6, 3), 0),
        (nn.Conv2d(6, 6, 3, groups=6), 0),
        (nn.ConvTranspose2d(4, 6, 3), 1),
        (nn.Linear(4, 6), None),
    ],
    ids=["conv", "depthwise", "transposed", "dense"],
)
def test_weights_are_symmetric_per_channel_and_dense_ones_per_tensor(layer, axis):
    weight = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
    weight.flatten()[::3] = 0.0
    rounded = quantise_weight(layer, weight)
    others = [d for d in range(weight.dim()) if d != axis]
    scale = weight.abs().amax(others, keepdim=True) / 127 if axis is not None else weight.abs().max() / 127
    torch.testing.assert_close(rounded, torch.round(weight / scale) * scale)
    assert (rounded[weight == 0] == 0).all()
    assert quantise_weight(layer, torch.zeros_like(weight)).eq(0).all()


def test_a_grouped_transposed_convolution_is_rounded_as_its_groups_are():
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(6, 4, 3, groups=2, bias=False)
    groups = layer.weight.detach().chunk(2)  # each (3, 2, 3, 3)
    alone = [quantise_weight(nn.ConvTranspose2d(3, 2, 3), weight) for weight in groups]
    torch.testing.assert_close(quantise_weight(layer, layer.weight), torch.cat(alone))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("kind", ["plain", "grouped", "transposed", "grouped transposed"])
def test_folding_equals_convolution_then_norm(kind, bias, affine):
    torch.manual_seed(0)
    make = nn.ConvTranspose2d if "transposed" in kind else nn.Conv2d
    conv = make(3, 6, 3, groups=3 if "grouped" in kind else 1, bias=bias)
    norm = nn.BatchNorm2d(6, affine=affine).eval()
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    nn.init.normal_(norm.running_mean)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    weight, shift = folded(conv, norm)
    apply = nn.functional.conv_transpose2d if conv.transposed else nn.functional.conv2d
    given = apply(images(), weight, shift, groups=conv.groups)
    torch.testing.assert_close(given, norm(conv(images())), rtol=1e-4, atol=1e-5)


def test_the_view_rounds_where_tflite_does():
    """One scale for the input and for each operator: 4 layers, mean, SiLU's and the gate's products, sum, ..."""
    view = quantisation_aware(small_net(), X)
    per_block = 5 + 2 + 1 + 1 + 1  # convolutions, SiLU products, mean, gate's product, residual sum
    assert len(roundings(view)) == 1 + 1 + 2 * per_block + 2  # input, stem, blocks, dense layers (the last one scaled)
    sigmoids = [node for node in view.graph.nodes if node.target is round_sigmoid]
    assert len(sigmoids) == 2 * 3
    mobilenet = quantisation_aware(torchvision.models.mobilenet_v2(num_classes=3), torch.zeros(1, 3, 32, 32))
    assert len(roundings(mobilenet)) == 1 + 52 + 10 + 1 + 1  # input, convolutions with ReLU6 fused, sums, pool, dense


def test_a_pool_keeps_the_scale_of_its_input():
    view = quantisation_aware(nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d(2)), X).train()
    view(images())
    pooled = view.eval()(images(1))
    (name,) = [name for name in roundings(view) if name != "round_input_1"]
    rounding = view.get_submodule(name)
    assert isinstance(rounding, FakeQuantise)
    torch.testing.assert_close(rounding.round(pooled), pooled)
    assert len(roundings(view)) == 2


def test_training_the_view_trains_the_model_and_keeps_masks_widths_and_statistics():
    model = small_net()
    prune_channels(model, X, Target(ratio=0.25))
    shape, count, names = widths(model), params(model), list(model.state_dict())
    pruner = MagnitudePruner(model, ConstantSparsity(0.5, 0))
    pruner.step()
    view = quantisation_aware(model, X).train()
    optimizer = torch.optim.Adam(view.parameters(), lr=1e-3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for seed in range(2):
        optimizer.zero_grad()
        view(images(seed)).square().mean().backward()
        optimizer.step()
        pruner.step(optimizer)
    assert {id(p) for p in view.parameters()} == {id(p) for p in model.parameters()}
    assert list(model.state_dict()) == names
    assert (widths(model), params(model)) == (shape, count)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == ("running" in name or "num_batches" in name), name
    for name, mask in pruner.masks.items():
        assert (model.get_parameter(name)[~mask] == 0).all()


def test_the_view_is_near_the_model_and_leaves_its_modes():
    model = small_net()
    model.stem.train()
    view = quantisation_aware(model, X)
    assert model.stem.training
    assert not model.blocks.training
    model.eval()
    view.train()(images(1, batch=64))
    view.eval()
    difference = (view(images()) - model(images())).abs().mean() / model(images()).std()
    assert 0 < difference < 0.1


def test_ranges_are_saved_apart():
    view = quantisation_aware(small_net(), X).train()
    view(images())
    ranges = json.loads(json.dumps(learnt_ranges(view)))
    assert len(ranges) == len(roundings(view))
    again = quantisation_aware(small_net(), X)
    with pytest.raises(PruningError, match="no data yet"):
        learnt_ranges(again)
    set_ranges(again, ranges)
    assert torch.equal(again.eval()(images(1)), view.eval()(images(1)))
    with pytest.raises(PruningError, match="of another network"):
        set_ranges(again, {name: ranges[name] for name in list(ranges)[1:]})


def test_learnt_activations_are_those_of_the_float_network():
    model = small_net()
    view = quantisation_aware(model, X).train()
    view(images())
    found = learnt_activations(view, images(5, batch=2))
    assert [[low, high] for _, low, high in found] == list(learnt_ranges(view).values())
    assert view.training
    model.eval()
    with torch.no_grad():
        expected = [images(5, batch=2), model.stem(images(5, batch=2)), model(images(5, batch=2))]
    for (values, _, _), wanted in zip([found[0], found[1], found[-1]], expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(values), wanted, rtol=1e-4, atol=1e-4)


def test_the_int8_file_computes_what_quantisation_aware_training_computed(tmp_path):
    """Unaided: trained, exported, and LiteRT's reference kernels compared with the view's own forward."""
    from export import convert, export_onnx, load_runtime

    model = small_net()
    view = quantisation_aware(model, X).train()
    optimizer = torch.optim.Adam(view.parameters(), lr=1e-4)
    for seed in range(5):
        optimizer.zero_grad()
        (view(images(seed, batch=32)) - images(seed, batch=32).amax((2, 3))).square().mean().backward()
        optimizer.step()
    for module in view.modules():  # far from what calibration would find
        if isinstance(module, FakeQuantise):
            module.range.mul_(0.9)
    view.eval()
    samples = images(7, batch=20)
    calibration = samples.permute(0, 2, 3, 1).contiguous().numpy()
    onnx = export_onnx(model, X, tmp_path / "net.onnx")
    ranges = learnt_activations(view, samples[:2])
    file = convert(onnx, tmp_path, ("int8",), calibration, ranges=ranges)["int8"]
    answer = json.loads((tmp_path / "net_convert.log").read_text().splitlines()[-1])["calibration"]
    assert answer["known"] >= len(ranges)

    x = images(3, batch=32)  # (32, 3, 16, 16)
    runtime = load_runtime(file, reference_kernels=True)
    outputs = torch.from_numpy(runtime(x.permute(0, 2, 3, 1).contiguous().numpy()))  # (32, 3)
    low, high = list(learnt_ranges(view).values())[-1]
    steps = (outputs - view(x).detach()) / ((high - low) / 255)
    assert len(outputs.unique()) > 20
    assert steps.abs().mean() < 0.5
    assert steps.abs().max() < 1.01


def test_a_lone_batch_norm_is_refused():
    with pytest.raises(ValueError, match="'1' does not directly follow"):
        quantisation_aware(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)), X)


class Levels(nn.Module):
    """A convolution that two levels share, each with its own norm; one whose name is much like it; one in no output."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.ModuleDict({"b_c": nn.Conv2d(3, 3, 3, padding=1)})
        self.a_b = nn.ModuleDict({"c": nn.Conv2d(3, 3, 1)})
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])
        self.aside = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for norm in self.norms:
            x = norm(self.a["b_c"](x)).relu()
        self.aside(x)
        return self.a_b["c"](x).mean((2, 3))


def test_each_call_of_a_layer_has_the_norm_that_follows_it():
    torch.manual_seed(0)
    model = Levels()
    for norm, shift in zip(model.norms, (0.5, -0.5), strict=True):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.constant_(norm.bias, shift)
    view = quantisation_aware(model.eval(), X).train()
    view(images(1, batch=64))
    view.eval()
    difference = (view(images()) - model(images())).abs().mean() / model(images()).std()
    assert 0 < difference < 0.1


class Standardised(nn.Conv2d):
    """As timm's StdConv2d: its weights are standardised in each call."""

    def forward(self, input):
        weight = (self.weight - self.weight.mean((1, 2, 3), keepdim=True)) / self.weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(input, weight, self.bias)


@pytest.mark.parametrize(
    "layer", [Standardised(3, 4, 3), nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))], ids=["own", "torch's"]
)
def test_a_layer_that_makes_its_weights_of_others_is_refused_before_a_norm(layer):
    with pytest.raises(PruningError, match="'0' makes its weights of others"):
        quantisation_aware(nn.Sequential(layer, nn.BatchNorm2d(4)), X)


def test_what_cannot_be_rounded_is_refused_with_the_reason():
    class Branches(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    refused = {
        "torch.fx cannot trace this model": nn.Sequential(nn.Conv2d(3, 4, 3), Branches()),
        r"call model\.float\(\) first": small_net().to(torch.bfloat16),
        "keeps no statistics": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    }
    for reason, net in refused.items():
        net.train()
        with pytest.raises(PruningError, match=reason):
            quantisation_aware(net, X)
        assert all(module.training for module in net.modules())


def test_a_norm_over_another_side_than_the_layers_output_is_refused():
    net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    with pytest.raises(PruningError, match="does not directly follow"):
        quantisation_aware(net, torch.randn(4, 6, 6))
