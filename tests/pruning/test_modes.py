"""What is set for a look at a model is as before after it, an error or not."""

import pytest
from torch import nn

from pruning.modes import all_gradients, evaluating


def net():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()))
    model[1].eval()
    model[0].weight.requires_grad_(False)
    return model


@pytest.mark.parametrize("fails", [False, True])
def test_modes_and_gradients_come_back(fails):
    model = net()
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    assert len(set(modes)) == len(set(flags)) == 2
    try:
        with evaluating(model), all_gradients(model):
            assert not any(module.training for module in model.modules())
            assert all(parameter.requires_grad for parameter in model.parameters())
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
