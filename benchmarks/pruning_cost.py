"""What pruning costs beside training: masks as a share of a step, a mask update, a channel-pruning step.

    uv run python benchmarks/pruning_cost.py [--batch 128] [--repeats 10]

EfficientNet-B0, 64x64 images, random data, Adam. Prints a markdown table; the medians of the repeats count.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from pruning.channels import ChannelPruner
from pruning.magnitude import MagnitudePruner
from pruning.schedule import ConstantSparsity


def main() -> None:
    parser = argparse.ArgumentParser(description="What pruning costs beside training.")
    parser.add_argument("--batch", type=int, default=128, help="images a training step")
    parser.add_argument("--repeats", type=int, default=10, help="timed runs of each step")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build(device)
    images = torch.randn(options.batch, 3, 64, 64, device=device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    step_ms = median_ms(lambda: train_step(model, optimizer, images), options.repeats)
    print(f"device {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, batch {options.batch}\n")
    print("| what | ms | share of a step |\n|---|---|---|")
    print(f"| training step | {step_ms:.1f} | |")
    never = ConstantSparsity(0.5, 10**9)
    for scope in ("layer", "global"):
        pruner = MagnitudePruner(copy.deepcopy(model), never, scope=scope)
        ms = median_ms(lambda p=pruner: p.update_masks(0.5), options.repeats)
        print(f"| mask update, scope {scope} | {ms:.1f} | |")
    masks_ms = median_ms(MagnitudePruner(model, never).step, 10 * options.repeats)
    print(f"| masks re-applied | {masks_ms:.2f} | {100 * masks_ms / step_ms:.2f} % |")
    example = images[:1]
    for measure in ("channels", "macs"):
        runs = []
        for _ in range(3):
            pruner = ChannelPruner(copy.deepcopy(model), example, never, measure=measure)
            runs.append(timed_ms(lambda p=pruner: p.prune_to(0.5)))
        print(f"| channel-pruning step, measure {measure} | {statistics.median(runs):.0f} | |")
    pruner = ChannelPruner(model, example, never)
    for sparsity in (0.25, 0.5, 0.75):
        pruner.prune_to(sparsity, optimizer)
        ms = median_ms(lambda: train_step(model, optimizer, images), options.repeats)
        print(f"| training step, {sparsity:.0%} of the channels gone | {ms:.1f} | {100 * ms / step_ms:.0f} % |")


def build(device: torch.device) -> nn.Module:
    """EfficientNet-B0 with three outputs, as the study trains it."""
    import timm

    torch.manual_seed(0)
    return timm.create_model("efficientnet_b0", num_classes=3).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor) -> None:
    """Forward, backward and optimiser step on images (B, 3, 64, 64)."""
    optimizer.zero_grad(set_to_none=True)
    model(images).abs().mean().backward()
    optimizer.step()


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Median time of a run after one for warming up."""
    run()
    return statistics.median(timed_ms(run) for _ in range(repeats))


def timed_ms(run: Callable[[], object]) -> float:
    """Milliseconds of one run, the accelerator's work included."""
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
