import copy

import pytest
import torch
from torch import nn

from pruning.channels.graph import trace
from pruning.channels.groups import kept_positions
from pruning.channels.importance import make_importance
from pruning.channels.observed import HessianImportance, SensitivityImportance
from pruning.channels.pruner import prune_channels
from pruning.channels.surgery import apply_widths, keep_channels, widths
from pruning.channels.target import Criteria, Target
from pruning.errors import PruningError
from pruning.second_order import diagonal_hessian
from tests.small_nets import X, images, small_net


def conv_group(weight):
    model = nn.Sequential(nn.Conv2d(1, len(weight), 1, bias=False), nn.Conv2d(len(weight), 1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(weight).view(-1, 1, 1, 1))
        model[1].weight.fill_(0.0)
    return model, trace(model, torch.zeros(1, 1, 4, 4)).groups[0]


@pytest.mark.parametrize(("name", "power"), [("magnitude", 2), ("l1", 1)])
def test_norms_by_hand(name, power):
    _, group = conv_group([1.0, -2.0, 3.0])
    expected = torch.tensor([1.0, 2.0, 3.0]) ** power
    torch.testing.assert_close(make_importance(name)(group), expected / expected.mean())


def test_lamp_by_hand():
    _, group = conv_group([1.0, 2.0, 3.0])
    halves = torch.tensor([1.0, 4.0, 9.0]) / 2  # the mean over two layers, of which one is zero
    torch.testing.assert_close(make_importance("lamp")(group), halves / torch.tensor([7.0, 6.5, 4.5]))


def test_batch_norm_scale_by_hand():
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.5, -2.0, 0.5]))
    group = trace(model, torch.zeros(1, 1, 4, 4)).groups[0]
    torch.testing.assert_close(make_importance("bn_scale")(group), torch.tensor([0.5, 2.0, 0.5]))


def test_fpgm_drops_the_filter_nearest_to_all_others():
    _, group = conv_group([0.0, 5.0, 10.0])
    assert int(make_importance("fpgm")(group).argmin()) == 1


def test_taylor_by_hand():
    model, group = conv_group([1.0, 2.0, 3.0])
    model[0].weight.grad = torch.tensor([3.0, 0.0, -2.0]).view(3, 1, 1, 1)
    model[1].weight.grad = torch.zeros(1, 3, 1, 1)
    expected = torch.tensor([3.0, 0.0, 6.0])
    torch.testing.assert_close(make_importance("taylor")(group), expected / expected.mean())


def test_random_follows_its_seed_and_draws_anew_each_time():
    _, group = conv_group([1.0, 2.0, 3.0])
    score = make_importance("random", 1)
    assert not torch.equal(score(group), score(group))
    assert torch.equal(make_importance("random", 1)(group), make_importance("random", 1)(group))
    assert not torch.equal(make_importance("random", 1)(group), make_importance("random", 2)(group))


def test_hessian_by_hand():
    """A linear net: the output's second derivative by a weight is its input's mean square, for random directions."""
    model, _ = conv_group([1.0, -2.0, 3.0])
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([2.0, 0.5, 0.0]).view(1, 3, 1, 1))
    model.append(nn.AdaptiveAvgPool2d(1))
    group = trace(model, torch.zeros(1, 1, 4, 4)).groups[0]
    x = torch.rand(70, 1, 4, 4)
    hessian = diagonal_hessian(model, x)
    first, second = model[0].weight.detach().flatten(), model[1].weight.detach().flatten()
    by_hand = (hessian["0.weight"].flatten() * first**2 + hessian["1.weight"].flatten() * second**2) / 2
    scores = HessianImportance(model, x)(group)
    torch.testing.assert_close(scores, by_hand)
    assert scores[2] == 0
    assert scores[1] > 0


def transposed_net(groups):
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 16, 3, groups=groups),
        nn.ReLU(),
        nn.Conv2d(16, 4, 1),
    )
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_hessian_scores_of_transposed_convolutions_sum_what_goes_with_a_channel(groups):
    model, x = transposed_net(groups), images(batch=6)
    importance = HessianImportance(model, x)
    graph = trace(model, x[:1])
    scored = copy.deepcopy(model)  # with the scores of its weights for weights
    scored.load_state_dict(importance.scores())
    for group in graph.groups:
        for unit, score in enumerate(importance(group)):
            cut = copy.deepcopy(scored)
            keep_channels(cut, kept_positions([group], [torch.arange(group.size) == unit], graph.layers))
            gone = sum(p.sum() for p in scored.parameters()) - sum(p.sum() for p in cut.parameters())
            torch.testing.assert_close(score, gone.detach(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("kind", [SensitivityImportance, HessianImportance])
@pytest.mark.parametrize("groups", [2, 4])
def test_transposed_convolutions_in_groups_are_cut_in_all_groups_alike(kind, groups):
    model, x = transposed_net(groups), images(batch=6)
    report = prune_channels(model, x[:1], Target(ratio=0.5), Criteria(importance=kind(model, x), ranking="global"))
    assert model[2].out_channels == model[2].weight.shape[1] * groups < 16
    assert report.after.params == sum(p.numel() for p in model.parameters())
    again = transposed_net(groups)
    apply_widths(again, widths(model))
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)


def test_a_score_that_cannot_judge_transposed_groups_says_so():
    with pytest.raises(PruningError, match="take another one"):
        prune_channels(transposed_net(2), images()[:1], Target(ratio=0.5))


def test_hessian_scores_follow_pruning_and_training():
    model = small_net()
    importance = HessianImportance(model, images())
    for ratio in (0.25, 0.25):
        prune_channels(model, X, Target(ratio=ratio), Criteria(importance=importance))
        with torch.no_grad():
            model.stem[0].weight.add_(0.1)
    group = trace(model, X).groups[0]
    assert torch.equal(importance(group), HessianImportance(model, images())(group))
    assert model(images()).shape == (4, 3)


@pytest.mark.parametrize("kind", [SensitivityImportance, HessianImportance])
def test_scores_follow_an_optimiser_that_counts_no_versions(kind):
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    importance, group = kind(model, images()), trace(model, X).groups[0]
    before = importance(group)
    model(images()).square().mean().backward()
    optimizer.step()
    after = importance(trace(model, X).groups[0])
    assert not torch.equal(after, before)
    assert torch.equal(after, kind(model, images())(trace(model, X).groups[0]))


def test_sensitivity_by_hand():
    """A linear net: a channel's part in each output is its activation times the weight that reads it."""
    model, _ = conv_group([1.0, -2.0, 3.0])
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([2.0, 0.5, 0.0]).view(1, 3, 1, 1))
    model.append(nn.AdaptiveAvgPool2d(1))
    group = trace(model, torch.zeros(1, 1, 4, 4)).groups[0]
    x = torch.rand(70, 1, 4, 4)
    directions = [torch.randn(64, 1, 1, 1, generator=(g := torch.Generator().manual_seed(0)))]
    directions.append(torch.randn(6, 1, 1, 1, generator=g))
    part = x.mean((1, 2, 3))[:, None] * torch.tensor([2.0, -1.0, 0.0]) * torch.cat(directions)[:, 0, 0]
    kilomacs = 2 * 16 / 1000  # a channel is made and read by one multiplication at each of 16 positions
    change = part.square().mean(0)
    torch.testing.assert_close(SensitivityImportance(model, x)(group), change)
    torch.testing.assert_close(SensitivityImportance(model, x, {"macs": 1000})(group), change / kilomacs)
    both = SensitivityImportance(model, x, {"macs": 1000, "params": 10})(group)
    torch.testing.assert_close(both, change / (kilomacs + 2 / 10))


class Twice(nn.Module):
    """The same layers on an image and on its double."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        return self.layers(x) + self.layers(2 * x)


def test_sensitivity_sums_over_the_calls_of_a_layer():
    model, _ = conv_group([1.0, -2.0, 3.0])
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([2.0, 0.5, 1.0]).view(1, 3, 1, 1))
    x = torch.rand(7, 1, 4, 4)
    scores = []
    for net, given in ((Twice(model), x), (model, 3 * x)):  # alike, since the layers are linear
        scores.append(SensitivityImportance(net, given)(trace(net, torch.zeros(1, 1, 4, 4)).groups[0]))
    torch.testing.assert_close(*scores)


def test_sensitivity_judges_a_channel_once_and_leaves_the_model_as_it_was():
    model = small_net().train()
    importance = SensitivityImportance(model, images())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graph = trace(model, X)
    scores = [importance(group) for group in graph.groups]
    assert all(score.isfinite().all() and (score >= 0).all() for score in scores)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    norm = "blocks.0.depthwise.1"
    silent = next(group for group in graph.groups if any(slot.layer == norm for slot in group.slots))
    with torch.no_grad():
        model.blocks[0].depthwise[1].weight[3] = model.blocks[0].depthwise[1].bias[3] = 0.0  # the norm after it
    assert importance(silent)[3] == 0


def test_the_least_sensitive_channels_cost_least():
    """Half the MACs by sensitivity move the output less than by chance."""
    moved = {}
    for name in ("sensitivity", "random"):
        model = small_net().eval()
        with torch.no_grad():
            before = model(images())
            importance = (
                SensitivityImportance(model, images(), {"macs": 10**6})
                if name == "sensitivity"
                else make_importance(name)
            )
        prune_channels(model, X, Target(ratio=0.4), Criteria(importance=importance, ranking="global"))
        with torch.no_grad():
            moved[name] = float((model.eval()(images()) - before).abs().mean())
    assert moved["sensitivity"] < moved["random"]


class Residual(nn.Module):
    """Two blocks whose sums are made in place, or not."""

    def __init__(self, in_place):
        super().__init__()
        torch.manual_seed(0)
        self.in_place = in_place
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.norms[0](self.convs[0](x)).relu()
        for conv, norm in zip(self.convs[1:], self.norms[1:], strict=True):
            y = norm(conv(x))
            if self.in_place:
                y += x
            else:
                y = y + x
            x = y.relu()
        return self.head(x.mean((2, 3)))


def test_sensitivity_is_that_of_the_norms_whether_or_not_a_sum_is_made_in_place():
    found = []
    for in_place in (False, True):
        net = Residual(in_place)
        (group,) = [group for group in trace(net, X).groups if group.size == 8][:1]
        found.append(SensitivityImportance(net, images(16))(group))
    torch.testing.assert_close(*found)


def test_hessian_scores_of_a_net_in_half_precision():
    net = small_net().to(torch.bfloat16)
    group = trace(net, X.to(torch.bfloat16)).groups[0]
    assert torch.isfinite(HessianImportance(net, images(4).to(torch.bfloat16))(group)).all()


def test_scores_that_look_at_images_say_what_they_need_of_the_model():
    class Answers(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_net()

        def forward(self, x):
            return {"pose": self.net(x)}

    net = Answers()
    group = trace(net, X).groups[0]
    for importance in (SensitivityImportance(net, images(4)), HessianImportance(net, images(4))):
        with pytest.raises(PruningError, match=r"gives a dict; .* wrap it in a module"):
            importance(group)
