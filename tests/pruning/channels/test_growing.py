import math

import pytest
import torch

from pruning.channels.growing import FADE, GrowingRegPruner
from pruning.channels.target import Criteria, Target
from tests.small_nets import X, images, params, small_net


def run(model, pruner, steps, first=0, lr=0.0):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    removed = []
    for step in range(first, first + steps):
        optimizer.zero_grad()
        model(images(step)).square().mean().mul(1e-4).backward()
        optimizer.step()
        removed.append(pruner.step(optimizer))
    return removed


def test_doomed_channels_fade_and_are_then_cut_without_changing_the_output():
    model = small_net()
    pruner = GrowingRegPruner(model, X, Target(ratio=0.5), steps=(2, 202))
    before = model.stem[0].weight.detach().clone()
    assert not any(run(model, pruner, 201))
    faded = (model.stem[0].weight / before).abs().mean((1, 2, 3))
    assert sorted(round(f, 2) for f in faded.tolist()) == [0.0] * 8 + [1.0] * 8
    assert faded.min().item() == pytest.approx(math.exp(-FADE), rel=0.7)
    output = model(images())
    assert run(model, pruner, 3, first=201) == [True, False, False]
    assert model.stem[0].out_channels == 8
    torch.testing.assert_close(model(images()), output, rtol=1e-3, atol=1e-2)


def test_it_resumes_and_meets_a_target():
    limit = params(small_net()) // 2

    def build():
        model = small_net()
        return model, GrowingRegPruner(model, X, Target(params=limit), (0, 20), Criteria(min_channels=1))

    model, pruner = build()
    run(model, pruner, 10)
    again, pruner_again = build()
    again.load_state_dict(model.state_dict())
    pruner_again.load_state_dict(pruner.state_dict())
    run(model, pruner, 12, first=10)
    run(again, pruner_again, 12, first=10)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert 0.97 * limit <= params(model) <= limit


def test_bad_settings_are_refused_at_once():
    with pytest.raises(ValueError, match="steps are"):
        GrowingRegPruner(small_net(), X, Target(ratio=0.5), (5, 5))
    with pytest.raises(ValueError, match="cannot be reached"):
        GrowingRegPruner(small_net(), X, Target(params=10), (0, 5))
