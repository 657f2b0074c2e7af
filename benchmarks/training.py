"""Images a second of `hpe train` against the bare forward-backward-step loop, in one run, epochs taken in turns.

    python benchmarks/training.py [--out FILE.csv] [--steps N] [--rounds N] [--threads N] [--device cpu|cuda]

The bare loop feeds one batch again and again: no data, no augmentation, no average, no log. Ratios are what counts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hpe.data.faces import Faces
from hpe.io.environment import environment
from hpe.io.files import write_csv
from hpe.model.config import ModelConfig
from hpe.model.net import build_model
from hpe.training.augment import AugmentConfig
from hpe.training.config import TrainConfig
from hpe.training.loop import Lesson, choose_device, fit
from hpe.training.losses import pose_loss
from hpe.training.state import TrainState


def bare_loop(config: TrainConfig, steps: int) -> float:
    """Images a second of nothing but forward, backward and Adam's step."""
    device = choose_device(config.device)
    model = build_model(ModelConfig()).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)
    images = torch.randn(config.batch_size, 3, 64, 64, device=device).contiguous(memory_format=torch.channels_last)
    poses = torch.randn(config.batch_size, 3, device=device)
    started = 0.0
    for step in range(-3, steps):
        if step == 0:
            _finish(device)
            started = time.perf_counter()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            outputs = model(images)
        loss = pose_loss(outputs.float(), poses)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    _finish(device)
    return steps * config.batch_size / (time.perf_counter() - started)


def real_training(config: TrainConfig, steps: int, augment: AugmentConfig) -> float:
    """Images a second of `fit`, the second of two epochs, on random pixels."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (steps * config.batch_size, 80, 80, 3), np.uint8)
    faces = Faces(images, generator.uniform(-40, 40, (len(images), 3)).astype(np.float32), [""] * len(images))
    state = TrainState(build_model(ModelConfig()).to(choose_device(config.device)), None, config, steps)
    with tempfile.TemporaryDirectory() as folder:
        result = fit(state, Lesson(faces, augment=augment), Path(folder), report=lambda line: None)
    return result.history[-1]["images_per_s"]


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    config = TrainConfig(epochs=2, device=options.device)
    plain = replace(config, ema=0.0)
    kinds = {"bare loop": [], "hpe train": [], "hpe train, no augmentation, no average": []}
    for number in range(options.rounds):
        kinds["bare loop"].append(bare_loop(config, options.steps))
        kinds["hpe train"].append(real_training(config, options.steps, AugmentConfig()))
        kinds["hpe train, no augmentation, no average"].append(real_training(plain, options.steps, AugmentConfig.off()))
        print(f"round {number + 1}/{options.rounds}:", {name: round(values[-1], 1) for name, values in kinds.items()})
    bare = statistics.median(kinds["bare loop"])
    facts = environment()
    rows = [
        {
            "what": name,
            "images_per_s": round(statistics.median(values), 1),
            "share_of_bare": round(statistics.median(values) / bare, 3),
            "rounds": options.rounds,
            "steps": options.steps,
            "batch": config.batch_size,
            "threads": torch.get_num_threads(),
            "processor": facts["processor"],
            "torch": torch.__version__,
            "commit": facts["commit"],
        }
        for name, values in kinds.items()
    ]
    for row in rows:
        print(f"{row['what']:<42} {row['images_per_s']:8.1f} images/s  {row['share_of_bare']:.3f} of bare")
    if options.out:
        write_csv(options.out, rows)
        print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
