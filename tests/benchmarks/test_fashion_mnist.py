"""The parts of the transfer-learning example; its conversion to TensorFlow Lite is tested with export."""

import gzip

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST

from benchmarks.drawn_clothes import draw_garment, write_drawn_clothes
from benchmarks.fashion_mnist import FINAL_SPARSITY, MIDDLE, build, decay, prepare, run_stages, write_table
from pruning import prunable_weights


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    root = tmp_path_factory.mktemp("clothes")
    write_drawn_clothes(root, train=128, test=40, seed=3)
    return root


def test_torchvision_reads_the_drawn_files(clothes):
    train, test = (FashionMNIST(str(clothes), split) for split in (True, False))
    assert train.data.shape == (128, 28, 28)
    assert test.data.shape == (40, 28, 28)
    assert set(train.targets.tolist()) == set(range(10))
    image, label = train[5]
    assert image.size == (28, 28)
    assert label == int(train.targets[5])
    packed = gzip.decompress((clothes / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte.gz").read_bytes())
    assert packed[:16] == bytes([0, 0, 8, 3, 0, 0, 0, 40, 0, 0, 0, 28, 0, 0, 0, 28])
    assert np.array_equal(np.frombuffer(packed, np.uint8, offset=16).reshape(40, 28, 28), test.data.numpy())


@pytest.mark.parametrize("label", range(10))
def test_garments_vary_and_follow_their_seed(label):
    first, again, other = (draw_garment(label, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.2
    assert 0.05 < (first > 60).mean() < 0.7


def test_the_stages_prune_where_they_say(clothes):
    torch.manual_seed(0)
    train = FashionMNIST(str(clothes))
    net, pretrained = build(0.1)
    assert not pretrained
    base = {name: value.clone() for name, value in net.base.state_dict().items()}
    stages = run_stages(net, prepare((train.data, train.targets), 32), epochs=2, pretrain=False)

    def zeros(places):
        tensors = prunable_weights(net, include=places).values()
        return sum(int((t == 0).sum()) for t in tensors) / sum(t.numel() for t in tensors)

    assert "dense head" in next(stages)
    assert zeros(["head"]) < 0.01
    assert next(stages) == "head 50% zeros"
    assert zeros(["head"]) == pytest.approx(FINAL_SPARSITY, abs=0.01)
    assert all(torch.equal(value, base[name]) for name, value in net.base.state_dict().items())  # statistics too
    assert "fine-tuned" in next(stages)
    assert any(not torch.equal(value, base[name]) for name, value in net.base.state_dict().items())
    assert zeros(MIDDLE) < 0.01
    assert zeros(["head"]) == pytest.approx(FINAL_SPARSITY, abs=0.01)
    assert "middle" in next(stages)
    assert zeros(MIDDLE) == pytest.approx(FINAL_SPARSITY, abs=0.01)
    assert zeros(["head"]) == pytest.approx(FINAL_SPARSITY, abs=0.01)
    before = sum(p.numel() for p in net.parameters())
    assert "dropped" in next(stages)
    assert sum(p.numel() for p in net.parameters()) < before
    assert next(stages, None) is None


@pytest.mark.parametrize("steps", [1, 2, 7, 252, 3748])
def test_the_schedule_reaches_its_end_on_a_pruning_step(steps):
    schedule = decay(steps)
    assert schedule.should_prune(schedule.end_step)
    assert schedule.end_step <= steps
    assert schedule.sparsity(schedule.end_step) == FINAL_SPARSITY


def test_the_table_is_written_whole(tmp_path):
    write_table([{"stage": "dense", "accuracy_percent": 90.0}], "drawn clothes", tmp_path / "deep" / "table")
    assert (tmp_path / "deep" / "table.csv").read_text() == "stage,accuracy_percent\ndense,90.0\n"
    assert "| dense | 90.0 |" in (tmp_path / "deep" / "table.md").read_text()
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["table.csv", "table.md"]
