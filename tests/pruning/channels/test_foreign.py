"""Layers that other people's networks have: layer norms, gains of convolutions, what cannot be followed."""

import warnings

import pytest
import torch
import torch_pruning as tp
from torch import nn

from pruning.channels.allocation import rank
from pruning.channels.following import Follower
from pruning.channels.graph import trace
from pruning.channels.pruner import apply_widths, prune_channels, remove, widths
from pruning.channels.target import Criteria, Target, no_scores
from pruning.errors import PruningError
from pruning.stats import stats


class ChannelsLast(nn.Module):
    """A patch embedding, a layer norm over the channels, two dense layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, stride=4)
        self.norm = nn.LayerNorm(16)
        self.up, self.down = nn.Linear(16, 24), nn.Linear(24, 2)

    def forward(self, x):
        return self.down(self.up(self.norm(self.stem(x).permute(0, 2, 3, 1))).relu()).mean((1, 2))


def test_a_layer_norm_is_cut_with_its_channels_counted_and_rebuilt():
    torch.manual_seed(0)
    model, x = ChannelsLast(), torch.zeros(1, 3, 16, 16)
    before = stats(model, x).params
    report = prune_channels(model, x, Target(ratio=0.5))
    assert report.widths["stem"] == (16, 8)
    assert model.norm.normalized_shape == (8,)
    assert report.before.params == before == 3 * 16 * 16 + 16 + 2 * 16 + 16 * 24 + 24 + 24 * 2 + 2
    assert report.after.params == sum(p.numel() for p in model.parameters())
    again = ChannelsLast()
    apply_widths(again, widths(model))
    again.load_state_dict(model.state_dict())
    noise = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(noise), model(noise))


def test_the_gain_of_a_standardised_convolution_is_counted_as_it_is_cut():
    from timm.layers.std_conv import ScaledStdConv2d

    model = nn.Sequential(ScaledStdConv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
    report = prune_channels(model, torch.zeros(1, 3, 8, 8), Target(ratio=0.5))
    assert report.widths["0"] == (16, 8)
    assert report.after.params == sum(p.numel() for p in model.parameters())


@pytest.mark.filterwarnings("default:Maximum recursive depth")
def test_what_torch_pruning_cannot_follow_is_left_out_or_explained(monkeypatch):
    model, x = ChannelsLast(), torch.zeros(1, 3, 16, 16)
    follow = Follower._follow

    def breaks(self, module, *args):
        if module is model.stem:
            raise ZeroDivisionError("division by zero")
        return follow(self, module, *args)

    monkeypatch.setattr(Follower, "_follow", breaks)
    report = prune_channels(model, x, Target(ratio=0.5))
    assert "cannot follow" in report.left_out["stem"]
    assert report.widths == {"up": (24, 12)}

    def fails(*args, **named):
        raise IndexError("list index out of range")

    def recurses(*args, **named):
        warnings.warn("Maximum recursive depth reached!", stacklevel=1)
        raise AssertionError("went on")

    for broken in (fails, recurses):
        monkeypatch.setattr(tp.DependencyGraph, "build_dependency", broken)
        with pytest.raises(PruningError, match="cannot follow this model"):
            prune_channels(model, x, Target(ratio=0.5))


def build(name):
    if name.startswith("timm/"):
        import timm

        return timm.create_model(name.removeprefix("timm/"), num_classes=10)
    import torchvision

    options = {"init_weights": False, "aux_logits": True} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, num_classes=10, **options)


SMALL = (
    "alexnet", "vgg11_bn", "resnet18", "resnet50", "wide_resnet50_2", "resnext50_32x4d", "densenet121",
    "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "efficientnet_b0",
    "efficientnet_v2_s", "regnet_y_400mf", "regnet_x_400mf", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0",
    "convnext_tiny", "googlenet", "timm/cspresnet50", "timm/cspdarknet53", "timm/nf_resnet50", "timm/dm_nfnet_f0",
    "timm/ghostnet_100", "timm/mobilevit_xxs", "timm/repvgg_a0", "timm/mixnet_s", "timm/hardcorenas_a",
    "timm/fbnetc_100", "timm/lcnet_050", "timm/tinynet_e", "timm/mobilenetv4_conv_small", "timm/dla34",
    "timm/hrnet_w18_small", "timm/res2net50_26w_4s", "timm/resnest14d", "timm/seresnet18",
)  # fmt: skip
FOREIGN = dict.fromkeys(SMALL, 64) | {
    "inception_v3": 96,
    "timm/vit_tiny_patch16_224": 224,
    "swin_t": 64,
    "timm/xception41": 64,
}
"""Side of the input."""


STAYS = {
    "resnext50_32x4d": 0.257, "regnet_y_400mf": 0.257, "convnext_tiny": 0.257, "timm/mobilevit_xxs": 0.263,
    "timm/ghostnet_100": 0.691, "resnet18": 0.266, "mobilenet_v2": 0.276, "googlenet": 0.270, "alexnet": 0.264,
}  # fmt: skip
"""Share of the MACs that Torch-Pruning 1.6.1 leaves at the ratio 0.5; heads of attention by whole heads."""


@pytest.mark.slow
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_network_is_cut_within_its_targets_or_explained(name):
    """A target is met, or refused as out of reach; counts are those of the cut net; nothing else is raised."""
    torch.manual_seed(0)
    model, x = build(name).eval(), torch.randn(1, 3, FOREIGN[name], FOREIGN[name])
    try:
        graph = trace(model, x)
    except PruningError as error:
        assert "cannot follow" in str(error)  # noqa: PT017
        print(f"\n{name}: {error}")
        return
    before, ranking = graph.cost(), rank(graph, no_scores(graph), Criteria())
    half = ranking.removals(0.5)
    print(f"\n{name}: {graph.cost(half).macs / before.macs:.3f} of the MACs stay at the ratio 0.5", end="")
    for goal in ("params", "macs", "int8_bytes"):
        limit = getattr(before, goal) * 6 // 10
        try:
            share = getattr(graph.cost(Target(**{goal: limit}).removals(graph, ranking)), goal) / limit
        except PruningError as error:
            assert "cannot be reached" in str(error)  # noqa: PT017
            print(f", {goal} out of reach", end="")
            continue
        print(f", {goal} {share:.4f} of the target", end="")
        assert share <= 1
    assert graph.cost(half).macs / before.macs <= STAYS.get(name, 1) + 0.01
    report = remove(model, x, graph, no_scores(graph), half, None)
    after = stats(model, x)
    assert (after.params, after.macs) == (report.after.params, report.after.macs)
    assert model(x).shape == (1, 10)
