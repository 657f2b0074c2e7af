"""Further outputs for a network that was trained without them (`hpe finetune --locate --spread`)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from hpe.model.net import HeadPoseNet
from hpe.model.outputs import PLACE, POSE, output_count

SMALL = 1e-3
"""Standard deviation of the new weights, a tenth of those of a trained last layer."""


@torch.no_grad()
def add_outputs(model: HeadPoseNet, locate: bool, spread: bool) -> HeadPoseNet:
    """Let a network also locate the face, or tell spreads, in place; what it answers already stays, to the bit.

    What it answers anew is near zero for every image: the face is where it should be, the spread is 2 degrees. Its
    weights are small, but not zero: fine-tuning keeps zeros, which stand for pruned weights.
    """
    config = replace(model.config, locate=locate or model.config.locate, spread=spread or model.config.spread)
    if config == model.config:
        return model
    old = model.last_layer
    new = nn.Linear(old.in_features, output_count(config.locate, config.spread)).to(old.weight.device)
    new.weight.copy_(torch.empty(new.weight.shape).normal_(std=SMALL, generator=torch.Generator().manual_seed(0)))
    nn.init.zeros_(new.bias)
    moved = PLACE if config.locate and not model.config.locate else 0  # spreads stand last
    rows = [row + (moved if row >= POSE else 0) for row in range(old.out_features)]
    new.weight[rows] = old.weight
    new.bias[rows] = old.bias
    model.head[-1] = new.train(old.training)
    model.config = config
    return model
