import pytest
import torch

from hpe.data.sampling import MOST, epoch_order, pose_weights


def poses(n=4000, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([18.0, 8.0, 8.0])


def test_without_balance_every_face_is_visited_once():
    order = epoch_order(poses(100), 0.0, torch.Generator().manual_seed(1))
    assert sorted(order.tolist()) == list(range(100))


def test_the_same_generator_gives_the_same_order():
    first, second = (epoch_order(poses(100), 1.0, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("angle", [0, 1, 2])
def test_rare_poses_come_more_often_and_more_so_with_balance(angle):
    pose = poses()
    wide = pose[:, angle].abs() > 2 * pose[:, angle].std()
    shares = [wide.float().mean().item()]
    for balance in (0.5, 1.0, 2.0):
        weights = pose_weights(pose, balance)
        shares.append((weights[wide].sum() / weights.sum()).item())
    assert shares == sorted(shares)
    assert shares[-1] > 1.5 * shares[0]


def test_no_face_fills_the_epoch():
    pose = torch.cat([torch.zeros(999, 3), torch.full((1, 3), 60.0)])
    weights = pose_weights(pose, 3.0)
    assert weights.max() <= MOST
    assert weights[:999].max() == weights[:999].min()


def test_equal_poses_have_equal_weights_one():
    assert torch.allclose(pose_weights(torch.zeros(10, 3), 1.0), torch.ones(10))
