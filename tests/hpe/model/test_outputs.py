"""Outputs beyond the three angles: their meaning, and networks that get them later."""

import copy

import numpy as np
import pytest
import torch

from hpe.model.config import ModelConfig
from hpe.model.extension import add_outputs
from hpe.model.net import build_model, load_model, outputs_of, predict_all, save_checkpoint
from hpe.model.outputs import output_count, output_names, output_parts, read_outputs
from hpe.model.simplify import simplified
from pruning.channels.pruner import prune_channels
from pruning.channels.target import Target

SMALL = ModelConfig(act="relu6", se=False, width=0.25)
IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("locate", "spread", "count"), [(0, 0, 3), (1, 0, 7), (0, 1, 6), (1, 1, 10)])
def test_the_number_of_outputs_tells_what_they_are(locate, spread, count):
    assert output_count(bool(locate), bool(spread)) == count == len(output_names(count))
    assert output_parts(count) == (bool(locate), bool(spread))
    assert output_names(count)[:3] == ["yaw", "pitch", "roll"]


def test_another_number_is_refused():
    with pytest.raises(ValueError, match="4 outputs"):
        read_outputs(np.zeros((2, 4)))


def test_readings():
    outputs = np.zeros((2, 10), np.float32)
    outputs[0] = [10, -5, 3, 30, -60, 300 * np.log(1.2), 20, 0, 30 * np.log(2), -30]
    reading = read_outputs(outputs)
    np.testing.assert_allclose(reading.pose_deg[0], [10, -5, 3])
    np.testing.assert_allclose(reading.place, [[0.1, -0.2, 1.2], [0, 0, 1]], rtol=1e-6)
    np.testing.assert_allclose(reading.face, [1 / (1 + np.exp(-2)), 0.5])
    np.testing.assert_allclose(reading.spread_deg, [[2, 4, 2 / np.e], [2, 2, 2]], rtol=1e-6)
    alone = read_outputs(outputs[:, :3])
    assert alone.place is alone.face is alone.spread_deg is None
    wild = read_outputs(np.full((1, 10), 1e9))
    assert np.isfinite(wild.place).all()
    assert np.isfinite(wild.spread_deg).all()


@pytest.mark.parametrize("head", ["gap", "paper"])
@torch.no_grad()
def test_a_pruned_network_gets_outputs_and_keeps_what_it_answers(head, tmp_path):
    model = build_model(ModelConfig(act="relu6", se=False, width=0.25, head=head)).eval()
    prune_channels(model, torch.zeros(1, 3, 64, 64), Target(ratio=0.3))
    model.eval()
    before = model(IMAGES)
    add_outputs(model, locate=False, spread=True)
    model.last_layer.bias[3:] = torch.tensor([0.1, 0.2, 0.3])
    add_outputs(model, locate=True, spread=False)
    after = model(IMAGES)
    torch.testing.assert_close(after[:, :3], before, rtol=0, atol=1e-5)  # a wider layer may sum in another order
    torch.testing.assert_close(after[:, 3:], torch.tensor([[0.0, 0, 0, 0, 3, 6, 9]]).expand(3, 7), rtol=0, atol=0.5)
    assert bool((model.last_layer.weight[3:] != 0).all())  # fine-tuning keeps zeros
    biased = copy.deepcopy(model)
    biased.last_layer.weight[3:] = 0
    torch.testing.assert_close(biased(IMAGES)[:, 3:], torch.tensor([[0.0, 0, 0, 0, 3, 6, 9]]).expand(3, 7))
    save_checkpoint(model, tmp_path)
    assert torch.equal(load_model(tmp_path)(IMAGES), after)
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(predict_all(model, crops), outputs_of(model, crops)[:, :3])
    same = copy.deepcopy(model)
    assert add_outputs(model, locate=True, spread=True) is model
    assert torch.equal(model(IMAGES), same(IMAGES))


@torch.no_grad()
def test_the_simple_form_mirrors_the_shift_too():
    """With kernels that are symmetric up and down, mirrored ones give the mirror image's answers, shift x negated."""
    model = build_model(ModelConfig(act="relu6", width=0.25, locate=True, spread=True)).eval()
    model.last_layer.weight.normal_(0, 0.1)
    small = simplified(model, IMAGES)
    signs = torch.tensor([-1.0, 1, -1, -1, 1, 1, 1, 1, 1, 1])
    torch.testing.assert_close(small.last_layer.weight, model.last_layer.weight * signs[:, None])
    assert small(IMAGES).shape == (3, 10)
