"""How fast this machine trains a run of a study: its settings on standard input, the figures on standard output."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from hpe.io.configs import from_dict
from hpe.io.errors import HpeError
from hpe.study.planned import RunSettings

STEPS = 6
"""Optimiser steps that are timed, after two that are not."""


def speed(settings: RunSettings) -> dict[str, float]:
    """images_per_s of training, images an epoch, and params."""
    import torch

    from hpe.data.faces import load_faces
    from hpe.model.net import build_model
    from hpe.training.augment import TrainAugment
    from hpe.training.loop import choose_device, steps_per_epoch
    from hpe.training.losses import supervised
    from hpe.training.start import check_inputs
    from hpe.training.state import TrainState

    recipe = settings.recipe
    check_inputs(recipe)
    faces = load_faces(recipe.data, skip_bad=recipe.skip_bad)
    size, device = recipe.train.batch_size, choose_device(recipe.train.device)
    steps_per_epoch(len(faces), size)
    network: Any = build_model(settings.model).to(device)
    state, vary = TrainState(network, None, recipe.train, 1000), TrainAugment(recipe.augment, network.config.locate)
    generator = torch.Generator(device).manual_seed(0)
    images = torch.from_numpy(faces.images[:size]).to(device)  # (B, 80, 80, 3)
    poses = torch.from_numpy(faces.pose_deg[:size]).to(device)  # (B, 3)
    network.train()
    started = 0.0
    for step in range(2 + STEPS):
        if step == 2:
            started = time.perf_counter()
        inputs, targets = vary(images, poses, generator)
        loss, _ = supervised(network, inputs, targets)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        state.optimizer.step()
        state.after_step()
        loss.item()  # waits for a GPU
    seconds = time.perf_counter() - started
    params = sum(parameter.numel() for parameter in network.parameters())
    return {"images_per_s": STEPS * size / seconds, "images": len(faces), "params": params}


if __name__ == "__main__":
    import torch

    torch.set_num_threads(int(sys.argv[1]))
    try:
        print(json.dumps(speed(from_dict(RunSettings, json.load(sys.stdin)))))
    except HpeError as problem:
        sys.exit(str(problem))
