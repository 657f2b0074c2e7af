from itertools import pairwise

import pytest
import torch

from hpe.training.schedules import Plateau, one_cycle


def adam(lr):
    return torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(schedule, optimizer, steps):
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_one_cycle_is_torchs_linear_rise_and_cosine_fall():
    optimizer = adam(0.3)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.04, total_iters=15)
    expected = rates(rise, optimizer, 15)
    optimizer = adam(0.3)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=85)
    expected += rates(fall, optimizer, 86)
    assert [one_cycle(step, 0.3, 100) for step in range(101)] == pytest.approx(expected, abs=1e-9)


def test_one_cycle_rises_to_the_peak_and_ends_at_zero():
    found = [one_cycle(step, 1.0, 100) for step in range(101)]
    assert found.index(max(found)) == 15
    assert max(found) == pytest.approx(1.0)
    assert found[-1] == pytest.approx(0.0, abs=1e-9)
    assert all(a > b for a, b in pairwise(found[15:]))


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_plateau_lowers_the_rate_as_torch_does(patience):
    optimizer = adam(1e-3)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, min_lr=3e-4)
    plateau = Plateau(1e-3)
    for error in (5.0, 4.0, 4.1, 4.2, 4.3, 3.9, 4.0, 4.0, 4.0, 4.0, 3.89999, 4.0, 4.0, 4.0, 4.0, 4.0):
        plateau.look(error, patience, 0.5, 3e-4)
        oracle.step(error)
        assert plateau.lr == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateau_starts_anew_where_the_network_was_changed():
    plateau = Plateau(1e-3)
    plateau.look(1.0, 0, 0.5, 0.0)
    plateau.forget()
    plateau.look(9.0, 0, 0.5, 0.0)
    assert (plateau.lr, plateau.best, plateau.stalled) == (1e-3, 9.0, 0)
