import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruning.weights.masks import (
    apply_masks,
    erk_sparsities,
    lowest,
    make_masks,
    rewind,
    share_of_zeros,
)
from pruning.weights.prunable import prunable_weights

SCOPES = ("layer", "global", "erk", "2:4", "1x4")


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=True),
        nn.BatchNorm2d(16),
        nn.Conv2d(16, 16, 3, groups=16),
        nn.Sequential(nn.Conv2d(16, 32, 1), nn.ReLU()),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def scores_of(model):
    return {name: weight.detach().abs() for name, weight in prunable_weights(model).items()}


def test_biases_norms_and_depthwise_are_left_alone():
    assert list(prunable_weights(small_net())) == ["0.weight", "3.0.weight", "5.weight"]
    assert "2.weight" in prunable_weights(small_net(), depthwise=True)


def test_scope_by_place():
    model = small_net()
    assert list(prunable_weights(model, include=["5"])) == ["5.weight"]
    assert list(prunable_weights(model, include=["3"])) == ["3.0.weight"]
    assert list(prunable_weights(model, exclude=["3", "0"])) == ["5.weight"]
    with pytest.raises(ValueError, match="'heda' matches no module"):
        prunable_weights(model, exclude=["heda"])
    with pytest.raises(ValueError, match="Nothing to prune"):
        prunable_weights(model, include=["1"])


def test_a_shared_weight_is_pruned_once():
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    model["b"].weight = model["a"].weight
    assert list(prunable_weights(model)) == ["a.weight"]


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(0, 3), min_size=1, max_size=40), fraction=st.floats(0, 1), double=st.booleans())
def test_exactly_k_go_ties_or_not_and_the_first_of_equals(values, fraction, double):
    flat = torch.tensor(values, dtype=torch.float64 if double else torch.float32)
    k = round(fraction * len(values))
    dropped = lowest(flat, k)
    assert int(dropped.sum()) == k
    by_hand = sorted(range(len(values)), key=lambda i: (values[i], i))[:k]
    assert sorted(by_hand) == dropped.nonzero().squeeze(1).tolist()


def test_half_precision_scores_work():
    assert lowest(torch.tensor([3.0, 1.0, 2.0], dtype=torch.bfloat16), 2).tolist() == [False, True, True]


def test_nan_is_an_error_not_a_wrong_count():
    with pytest.raises(ValueError, match="NaN"):
        lowest(torch.full((4,), torch.nan), 2)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.875, 0.999])
def test_exact_counts_in_layer_and_global_scope(sparsity, constant):
    scores = scores_of(small_net())
    if constant:
        scores = {name: torch.ones_like(score) for name, score in scores.items()}
    for name, mask in make_masks(scores, sparsity).items():
        n = scores[name].numel()
        assert int(mask.sum()) == max(1, round(n * (1 - sparsity)))  # TF-MOT's rule
    total = sum(score.numel() for score in scores.values())
    masks = make_masks(scores, sparsity, "global")
    assert sum(int(mask.sum()) for mask in masks.values()) == max(3, round(total * (1 - sparsity)))
    assert all(mask.any() for mask in masks.values())


def test_the_smallest_go():
    score = torch.tensor([[4.0, 1.0], [3.0, 2.0]])
    assert make_masks({"w": score}, 0.5)["w"].tolist() == [[True, False], [True, False]]
    by_layer = {"a": torch.tensor([10.0, 11.0, 12.0]), "b": torch.tensor([1.0, 2.0, 3.0])}
    masks = make_masks(by_layer, 0.5, "global")
    assert masks["a"].tolist() == [False, True, True]
    assert masks["b"].tolist() == [False, False, True]  # one stays, or the layer would cut the net


def test_of_each_layer_the_best_weight_that_is_still_there_stays():
    before = {"a": torch.ones(3, dtype=torch.bool), "b": torch.tensor([False, True, True])}
    scores = {"a": torch.tensor([10.0, 11.0, 12.0]), "b": torch.tensor([99.0, 2.0, 1.0])}  # b's best has gone
    masks = make_masks(scores, 0.5, "global", previous=before)
    assert masks["a"].tolist() == [False, True, True]
    assert masks["b"].tolist() == [False, True, False]


@pytest.mark.parametrize("scope", SCOPES)
def test_masks_nest_as_sparsity_grows_though_weights_move(scope):
    generator = torch.Generator().manual_seed(1)
    scores = scores_of(small_net())
    before = make_masks(scores, 0.0, scope)
    for sparsity in (0.1, 0.1, 0.25, 0.4, 0.5):
        moved = {name: torch.rand(score.shape, generator=generator) for name, score in scores.items()}
        after = make_masks(moved, sparsity, scope, previous=before)
        assert all((after[name] <= before[name]).all() for name in before)
        before = after
    # 2:4: of the stem's three input channels only one goes, as the missing fourth counts as gone
    assert share_of_zeros(before) == pytest.approx(0.443 if scope == "2:4" else 0.5, abs=0.01)


def test_a_falling_sparsity_gives_weights_back_and_takes_none():
    scores = {"w": torch.rand(100, generator=torch.Generator().manual_seed(0))}
    tight = make_masks(scores, 0.75)
    loose = make_masks({"w": 1 - scores["w"]}, 0.5, previous=tight)
    assert int(loose["w"].sum()) == 50
    assert (tight["w"] <= loose["w"]).all()


def test_erk_is_the_published_rule():
    shapes = {"stem": (16, 3, 1, 1), "wide": (256, 128, 1, 1), "dense": (100, 256)}
    sparsities = erk_sparsities(shapes, 0.8)
    sizes = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    kept = sum((1 - sparsities[name]) * sizes[name] for name in shapes)
    assert kept == pytest.approx(0.2 * sum(sizes.values()))
    assert sparsities["stem"] == 0.0  # its density would be above 1
    density = {name: 1 - sparsities[name] for name in ("wide", "dense")}
    raw = {name: sum(shapes[name]) / sizes[name] for name in density}
    assert density["wide"] / density["dense"] == pytest.approx(raw["wide"] / raw["dense"])
    assert erk_sparsities({"only": (4, 4)}, 0.5) == {"only": pytest.approx(0.5)}
    assert set(erk_sparsities(shapes, 0.0).values()) == {0.0}


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3, 3), (6, 10, 1, 1), (2, 3, 3, 3)])
def test_two_of_four_hold_in_every_block_of_input_channels(shape):
    score = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    mask = make_masks({"w": score}, 0.5, "2:4")["w"]
    rows = mask.movedim(1, -1).reshape(-1, shape[1])
    values = score.movedim(1, -1).reshape(-1, shape[1])
    for start in range(0, shape[1], 4):
        block = rows[:, start : start + 4]
        assert (block.sum(1) == min(2, block.shape[1])).all()
        kept = values[:, start : start + 4].masked_fill(~block, torch.inf).amin(1)
        dropped = values[:, start : start + 4].masked_fill(block, -torch.inf).amax(1)
        assert (kept >= dropped).all()


def test_a_pattern_has_a_limit():
    score = {"w": torch.rand(4, 8)}
    assert share_of_zeros(make_masks(score, 0.25, "2:4")) == 0.25
    with pytest.raises(ValueError, match=r"at most a sparsity of 0\.5"):
        make_masks(score, 0.6, "2:4")
    with pytest.raises(ValueError, match="no pattern"):
        make_masks(score, 0.5, "4:4")
    with pytest.raises(ValueError, match="Unknown scope 'rows'"):
        make_masks(score, 0.5, "rows")


def test_blocks_go_whole_and_by_their_mean():
    score = torch.tensor([[1.0, 1, 1, 1, 9, 0, 0, 0, 5, 5]])  # means 1, 2.25 and (of the last two) 5
    assert make_masks({"w": score}, 0.34, "1x4")["w"].tolist() == [[False] * 4 + [True] * 6]
    conv = torch.rand(8, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    mask = make_masks({"w": conv}, 0.5, "1x4")["w"]
    blocks = mask.movedim(1, -1).reshape(-1, 4)
    assert (blocks.all(1) | ~blocks.any(1)).all()
    assert share_of_zeros({"w": mask}) == 0.5


def test_apply_and_rewind():
    model = small_net()
    early = {name: value.clone() for name, value in model.state_dict().items()}
    masks = make_masks(scores_of(model), 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    apply_masks(model, masks)
    assert int((model[5].weight == 0).sum()) == 160
    rewind(model, early, masks)
    assert torch.equal(model[5].weight, early["5.weight"] * masks["5.weight"])
    assert torch.equal(model[0].bias, early["0.bias"])


def test_a_falling_sparsity_gives_back_the_best_of_each_pattern():
    scores = {"a": torch.tensor([[4.0, 3.0, 2.0, 1.0, 1.0, 2.0, 3.0]])}
    half = make_masks(scores, 0.5, "2:4")
    fourth = make_masks(scores, 0.25, "2:4", previous=half)
    assert half["a"].tolist() == [
        [True, True, False, False, False, True, True]
    ]  # the eighth is padding, and goes first
    assert fourth["a"].tolist() == [[True, True, True, False, True, True, True]]
