"""Which channels go first, under each ranking, by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pruning.channels.allocation import rank
from pruning.channels.graph import trace
from pruning.channels.target import Criteria


def three_layers():
    """Two groups of the same build (conv, conv after it) and one of another (dense after it)."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    graph = trace(model, torch.zeros(1, 3, 8, 8))
    return replace(graph, groups=sorted(graph.groups, key=lambda group: group.name))


LOW, MIDDLE, HIGH = torch.tensor([1.0, 2, 3, 4]), torch.tensor([5.0, 6, 7, 8]), torch.tensor([9.0, 10, 11, 12])


@pytest.mark.parametrize(
    ("ranking", "removed"),
    [
        ("local", [2, 2, 2]),  # half of each
        ("global", [3, 3, 0]),  # the lowest six of twelve, but one of each stays
        ("isomorphic", [3, 1, 2]),  # the first two are alike and compete; the third is ranked on its own
    ],
)
def test_rankings_by_hand(ranking, removed):
    graph = three_layers()
    assert [group.name for group in graph.groups] == ["0", "1", "2"]
    ranked = rank(graph, [LOW, MIDDLE, HIGH], Criteria(ranking=ranking, min_channels=1))
    assert ranked.removals(0.5) == removed
    assert ranked.removals(0.0) == [0, 0, 0]
    assert ranked.removals(1.0) == [3, 3, 3]


def test_a_ratio_is_of_the_first_widths():
    graph = three_layers()
    ranked = rank(graph, [LOW, MIDDLE, HIGH], Criteria(min_channels=1), first_sizes={"0": 8, "1": 4, "2": 5})
    assert ranked.removals(0.5) == [0, 2, 1]  # 4 of 8 have gone already; 2.5 of 5 rounds to 2, of which 1 has gone


def test_predicted_costs_are_those_of_the_cut_net():
    graph = three_layers()
    before, after = graph.cost(), graph.cost([1, 2, 3])
    assert before.params == (3 * 4 * 9 + 4) + 2 * (4 * 4 * 9 + 4) + (4 * 2 + 2)
    assert after.params == (3 * 3 * 9 + 3) + (3 * 2 * 9 + 2) + (2 * 1 * 9 + 1) + (1 * 2 + 2)
    assert after.macs == (3 * 3 * 9 + 3 * 2 * 9 + 2 * 1 * 9) * 64 + 2
