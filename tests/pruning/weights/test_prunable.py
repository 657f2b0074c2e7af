"""Recurrent and attention layers: masked, kept, clustered and counted like the others."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.prune import l1_unstructured

from pruning import (
    ConstantSparsity,
    MagnitudePruner,
    PruningError,
    WeightClusterer,
    ZeroKeeper,
    prunable_weights,
    stats,
)
from pruning.weights.masks import apply_masks, make_masks


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(8, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.other = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
        self.cell = nn.LSTMCell(8, 4)
        self.norm = nn.LayerNorm(4)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.gru(self.lstm(x)[0])  # (B, T, 8)
        y = self.other(self.attention(y, y, y)[0], x, x)[0]
        return self.last(self.norm(self.cell(y[:, -1])[0]))


def sequence() -> Sequence:
    torch.manual_seed(0)
    return Sequence()


X = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(1))


def test_every_matrix_is_prunable_and_no_bias():
    model = sequence()
    wanted = {name for name, parameter in model.named_parameters() if parameter.dim() == 2}
    assert set(prunable_weights(model)) == wanted
    assert len(wanted) == 8 + 2 + 2 + 4 + 2 + 1  # lstm, gru, attentions, cell, last
    assert set(prunable_weights(model, include=["gru"])) == {"gru.weight_ih_l0", "gru.weight_hh_l0"}
    assert set(prunable_weights(model, include=["attention"])) == {
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    }
    projected = nn.LSTM(6, 8, proj_size=4)
    assert list(prunable_weights(projected)) == ["weight_ih_l0", "weight_hh_l0", "weight_hr_l0"]


@pytest.mark.parametrize("scope", ["layer", "global", "erk", "1x4"])
def test_masks_hold_through_training(scope):
    model = sequence()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    pruner = MagnitudePruner(model, ConstantSparsity(0.75, begin_step=0, frequency=1), scope)
    for _ in range(3):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        pruner.step(optimizer)
    weights = prunable_weights(model)
    assert pruner.sparsity() == pytest.approx(0.75, abs=0.01)
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    assert zeros == sum(int((~mask).sum()) for mask in pruner.masks.values())
    with torch.no_grad():  # LSTM and GRU compute with the masked weights, not with copies
        before = model(X)
        for name, mask in pruner.masks.items():
            model.get_parameter(name).add_((~mask).to(weights[name].dtype))
        assert not torch.allclose(model(X), before)


def test_zeros_are_counted_kept_and_clustered():
    model = sequence()
    scores = {name: weight.detach().abs() for name, weight in prunable_weights(model).items()}
    masks = make_masks(scores, 0.5)
    apply_masks(model, masks)
    gone = sum(int((~mask).sum()) for mask in masks.values())
    counts = stats(model, X)
    assert counts.params - counts.nonzeros == gone + sum(int((p == 0).sum()) for n, p in model.named_parameters()
                                                        if n not in masks)  # fmt: skip
    keeper, clusterer = ZeroKeeper(model), WeightClusterer(model, clusters=4)
    with torch.no_grad():
        for weight in prunable_weights(model).values():
            weight.add_(0.1)
    clusterer.step()
    keeper.step()
    for name, weight in prunable_weights(model).items():
        assert torch.equal(weight == 0, ~masks[name]), name
        assert len(weight.unique()) <= 4, name


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("way", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm, None])
def test_a_weight_that_is_made_of_others_is_refused_by_name(way):
    layer = nn.Linear(8, 8)
    made = way(layer) if way else l1_unstructured(layer, "weight", 0.5)
    model = nn.Sequential(nn.Linear(8, 8), made)
    for pruner in (lambda: MagnitudePruner(model, ConstantSparsity(0.5, 0)), lambda: WeightClusterer(model)):
        with pytest.raises(PruningError, match=r"The layer '1' makes its weight of other parameters: .* or exclude it"):
            pruner()
    WeightClusterer(model, exclude=["1"])
