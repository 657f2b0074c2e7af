"""What pruning costs beside training: masks as a share of a step, a mask update, a channel-pruning step.

    uv run python benchmarks/pruning_cost.py [--batch 128] [--repeats 10] [--out FILE.md]

EfficientNet-B0, 64x64 images, random data, Adam. Prints a markdown table, and writes it where asked; the medians of the
repeats count. A mask update is timed from dense to 50 % and from 50 % to 60 %, on a fresh copy each time.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from hpe.io.environment import environment
from hpe.io.markdown import markdown_table
from pruning.channels.pruner import ChannelPruner
from pruning.schedule import ConstantSparsity
from pruning.weights.magnitude import MagnitudePruner


def main() -> None:
    parser = argparse.ArgumentParser(description="What pruning costs beside training.")
    parser.add_argument("--batch", type=int, default=128, help="images a training step")
    parser.add_argument("--repeats", type=int, default=10, help="timed runs of each step")
    parser.add_argument("--out", type=Path, help="also write the table to this markdown file")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build(device)
    images = torch.randn(options.batch, 3, 64, 64, device=device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    step_ms = median_ms(lambda: train_step(model, optimizer, images), options.repeats)
    rows = [("training step", step_ms)]
    rows += mask_rows(model, options.repeats)
    rows += channel_rows(model, optimizer, images, options.repeats)
    facts = environment()
    cells = []
    for what, ms in rows:
        digits = 0 if ms >= 10 else 2
        cells.append((what, f"{ms:.{digits}f}", f"{100 * ms / step_ms:.{digits}f}"))
    names = ("processor", "cores", "python", "torch", "numpy", "timm", "torch-pruning", "commit")
    lines = [
        f"EfficientNet-B0, 64x64 images, batch {options.batch}, Adam; {device}, threads {torch.get_num_threads()};"
        f" medians of {options.repeats} runs; {', '.join(f'{name} {facts[name]}' for name in names)}.",
        "",
        markdown_table(("what", "ms", "% of a training step"), cells),
    ]
    print("\n".join(lines))
    if options.out is not None:
        options.out.write_text("\n".join(["# What pruning costs a training step", "", *lines, ""]))


def mask_rows(model: nn.Module, repeats: int) -> list[tuple[str, float]]:
    """Milliseconds of mask updates, and of applying masks after an optimiser step."""
    never = ConstantSparsity(0.5, 10**9)
    rows = []
    for scope in ("layer", "global"):
        times: dict[float, list[float]] = {0.5: [], 0.6: []}
        for _ in range(repeats):
            pruner = MagnitudePruner(copy.deepcopy(model), never, scope=scope)
            for sparsity, runs in times.items():
                runs.append(timed_ms(lambda p=pruner, s=sparsity: p.update_masks(s)))
        rows += [
            (f"mask update to {sparsity:.0%}, scope {scope}", statistics.median(runs))
            for sparsity, runs in times.items()
        ]
    return [*rows, ("masks re-applied", median_ms(MagnitudePruner(copy.deepcopy(model), never).step, 10 * repeats))]


def channel_rows(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, repeats: int
) -> list[tuple[str, float]]:
    """Milliseconds of channel-pruning steps, and of a training step as the model shrinks (in place)."""
    never = ConstantSparsity(0.5, 10**9)
    rows = []
    for measure in ("channels", "macs"):
        runs = []
        for _ in range(3):
            pruner = ChannelPruner(copy.deepcopy(model), images[:1], never, measure=measure)
            runs.append(timed_ms(lambda p=pruner: p.prune_to(0.5)))
        rows.append((f"channel-pruning step, measure {measure}", statistics.median(runs)))
    pruner = ChannelPruner(model, images[:1], never)
    for sparsity in (0.25, 0.5, 0.75):
        pruner.prune_to(sparsity, optimizer)
        ms = median_ms(lambda: train_step(model, optimizer, images), repeats)
        rows.append((f"training step, {sparsity:.0%} of the channels gone", ms))
    return rows


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
