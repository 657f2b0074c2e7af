import torch
from torch import nn

from pruning.weights.frozen import ZeroKeeper


def test_zeros_stay_and_the_rest_goes_on():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1), nn.Flatten(), nn.Linear(32, 2))
    with torch.no_grad():
        model[0].weight[0] = 0.0
        model[1].weight[:, 1] = 0.0
        model[1].bias.zero_()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    keeper = ZeroKeeper(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(2, 4, 4, 4)).square().mean().backward()
        optimizer.step()
        assert keeper.step(optimizer) is False
    for name, parameter in model.named_parameters():
        was_zero = before[name] == 0
        if name.endswith("weight"):
            assert torch.equal(parameter == 0, was_zero), name
        assert not torch.equal(parameter, before[name]), name
    assert (model[1].bias != 0).all()  # biases are not masked, so a bias that is zero may grow
    assert keeper.state_dict() == {}


def test_a_dense_net_is_left_alone():
    model = nn.Sequential(nn.Linear(3, 2))
    weight = model[0].weight.detach().clone()
    ZeroKeeper(model).step()
    assert torch.equal(model[0].weight, weight)
