"""A pruner says when its model's parameters are no longer the optimiser's, or its own."""

from functools import partial

import pytest
import torch

from pruning.channels.growing import GrowingRegPruner
from pruning.channels.pruner import ChannelPruner, prune_channels
from pruning.channels.target import Target
from pruning.errors import PruningError
from pruning.parameters import CHECK_EVERY, check_optimizer
from pruning.schedule import ConstantSparsity
from pruning.weights.clustering import WeightClusterer
from pruning.weights.frozen import ZeroKeeper
from pruning.weights.magnitude import MagnitudePruner
from tests.small_nets import X, small_net

NEVER = ConstantSparsity(0.5, 10**9)
PRUNERS = {
    "magnitude": lambda model: MagnitudePruner(model, NEVER),
    "zeros": ZeroKeeper,
    "clusters": WeightClusterer,
    "channels": lambda model: ChannelPruner(model, X, NEVER),
    "growing": lambda model: GrowingRegPruner(model, X, Target(ratio=0.5), (0, 10**9)),
}


@pytest.mark.parametrize("name", PRUNERS)
def test_an_optimizer_that_holds_cut_parameters_is_refused(name):
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters())
    prune_channels(model, X, Target(ratio=0.5))  # without the optimiser
    with pytest.raises(PruningError, match=r"optimizer lacks \d+ of the model's parameters \(stem.0.weight"):
        PRUNERS[name](model).step(optimizer)


@pytest.mark.parametrize("name", ["channels", "growing"])
def test_what_cuts_needs_the_optimizer(name):
    with pytest.raises(TypeError, match="optimizer"):
        PRUNERS[name](small_net()).step()


def test_it_is_told_in_the_middle_of_training_too():
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters())
    pruner = MagnitudePruner(model, NEVER)
    pruner.step(optimizer)
    prune_channels(model, X, Target(ratio=0.5), optimizer=optimizer)
    for _ in range(CHECK_EVERY - 1):
        pruner.step(optimizer)
    with pytest.raises(PruningError, match=r"stem.0.weight was replaced after this pruner was made"):
        pruner.step(optimizer)


@pytest.mark.parametrize("name", ["magnitude", "zeros", "clusters"])
def test_a_shared_weight_may_be_named_by_its_second_layer(name):
    first, second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    second.weight = first.weight
    torch.nn.init.zeros_(second.weight[0])
    model = torch.nn.Sequential(first, second)
    kinds = {"magnitude": partial(MagnitudePruner, schedule=NEVER), "zeros": ZeroKeeper, "clusters": WeightClusterer}
    kinds[name](model, include=("1",)).step(torch.optim.Adam(model.parameters()))


def test_honest_optimizers_pass():
    model, other = small_net(), torch.nn.Linear(2, 2)
    check_optimizer(model, torch.optim.SGD(model.head.parameters(), lr=0.1))  # trains a part
    check_optimizer(model, torch.optim.SGD([*model.parameters(), *other.parameters()], lr=0.1))  # and another model
    model.blocks.requires_grad_(False)
    wanted = [*model.stem.parameters(), *model.head.parameters(), *other.parameters()]
    check_optimizer(model, torch.optim.SGD(wanted, lr=0.1))  # the rest is frozen
