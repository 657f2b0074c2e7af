"""How fast training images are augmented: TrainAugment on one CPU core, and on the GPU if there is one.

    python benchmarks/augmentation.py [--out benchmarks/results/augmentation_<hardware>_<yyyymm>.csv]

Times batches of random stored crops with the default AugmentConfig, then each step alone, so that a slow one is seen.
On the CPU one thread runs and its CPU seconds count, so that other programs disturb little; on the GPU it is elapsed
time. Best of five repeats.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import torch

from hpe.io.files import write_csv
from hpe.pose.crop import BASE_K, STORED_SIZE
from hpe.training.augment import AugmentConfig, TrainAugment

BATCH = 128
REPEATS = 5
SECONDS = 0.5


def images_per_second(run: Callable[[], object], device: torch.device, batch: int = BATCH) -> float:
    """The best rate of REPEATS measurements of about SECONDS each."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time

    def timed(count: int) -> float:
        start = clock()
        for _ in range(count):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - start

    timed(3)
    count = max(1, int(SECONDS / max(timed(3) / 3, 1e-6)))
    return batch * count / min(timed(count) for _ in range(REPEATS))


def one_step(name: str) -> AugmentConfig:
    """Only the named step switched on, as strong as by default."""
    off = {field.name: BASE_K if field.name == "k_max" else 0.0 for field in fields(AugmentConfig)}
    return AugmentConfig(**(off | {name: getattr(AugmentConfig(), name)}))


def measure(device: torch.device, threads: int) -> list[dict[str, object]]:
    """One row for the default configuration, one for none, one for each step alone."""
    torch.set_num_threads(threads)
    generator = torch.Generator(device).manual_seed(0)
    shape = (BATCH, STORED_SIZE, STORED_SIZE, 3)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=device, generator=generator)
    pose_deg = torch.rand(BATCH, 3, device=device, generator=generator) * 60 - 30
    configs = {"default": AugmentConfig(), "nothing": AugmentConfig.off()}
    configs |= {field.name: one_step(field.name) for field in fields(AugmentConfig)}
    rows = []
    for name, config in configs.items():
        augment = TrainAugment(config)
        rate = images_per_second(lambda augment=augment: augment(images, pose_deg, generator), device)
        where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
        row = {"steps": name, "images_per_s": round(rate), "device": device.type, "hardware": where}
        rows.append(row | {"threads": threads, "batch": BATCH, "torch": torch.__version__})
        print(f"{name:14} {rate:12,.0f} images/s  ({device.type}, {threads} thread)")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the rows to this csv")
    out = parser.parse_args().out
    rows = measure(torch.device("cpu"), threads=1)
    if torch.cuda.is_available():
        rows += measure(torch.device("cuda"), threads=1)
    if out:
        write_csv(out, rows)


if __name__ == "__main__":
    main()
