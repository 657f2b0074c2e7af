"""Your own network, from training to a microcontroller: torchvision's MobileNetV2 on generated images.

    python benchmarks/examples/own_model.py OUT [--width 0.35] [--side 32] [--epochs 8] [--board nano33ble]

It finds where in an image a bright spot lies. It is trained, then pruned in both ways (masks; channels), trained on
with the rounding of int8, exported, compiled to plain C (OUT/firmware), weighed against a board, and evaluated as the
file that would run there. It knows nothing of head poses: what it shows is how `pruning` and `export`, by their public
names, serve any torch model.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from export import (
    BOARDS,
    Conversion,
    check_int8_graph,
    compile_model,
    convert_all,
    export_onnx,
    footprint,
    load_runtime,
)
from pruning import (
    ChannelPruner,
    Criteria,
    MagnitudePruner,
    PolynomialDecay,
    SensitivityImportance,
    ZeroKeeper,
    learnt_activations,
    quantisation_aware,
    stats,
)

Data = tuple[Tensor, Tensor]
"""Images (N, 3, side, side) and where their spots are (N, 2)."""
BATCH = 32


def spots(count: int, side: int, seed: int) -> Data:
    """Noisy images with a bright spot each, and where it lies, from -1 to 1."""
    generator = torch.Generator().manual_seed(seed)
    where = torch.rand(count, 2, generator=generator) * 1.6 - 0.8  # (N, 2)
    axis = torch.linspace(-1, 1, side)
    across = (axis - where[:, :1]).square()  # (N, side)
    down = (axis - where[:, 1:]).square()
    spot = torch.exp(-(down[:, :, None] + across[:, None]) / 0.05)  # (N, side, side)
    return torch.randn(count, 3, side, side, generator=generator) * 0.2 + 2 * spot[:, None], where


def network(width: float, stages: list[list[int]] | None = None) -> nn.Module:
    """A MobileNetV2 with two outputs; its ReLU6 costs nothing on a microcontroller.

    Args:
        stages: [expansion, channels, blocks, stride] of each stage; the usual seven where absent.
    """
    torch.manual_seed(0)
    model = mobilenet_v2(num_classes=2, width_mult=width, inverted_residual_setting=stages)
    head = model.classifier[1]
    assert isinstance(head, nn.Linear)
    nn.init.normal_(head.weight, std=0.01)
    return model


def train(model: nn.Module, data: Data, epochs: int, pruner: Any = None, view: nn.Module | None = None) -> None:
    """A plain loop of one's own; the one line for pruning follows `optimizer.step()`."""
    images, where = data
    computes = model if view is None else view
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    steps = epochs * (len(images) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    computes.train()
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for batch in order[: len(order) // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            nn.functional.smooth_l1_loss(computes(images[batch]), where[batch], beta=0.1).backward()
            optimizer.step()
            if pruner is not None:
                pruner.step(optimizer)
            rate.step()
    computes.eval()
    model.eval()


@torch.no_grad()
def error(predict: Callable[[Tensor], Tensor], data: Data) -> float:
    """Mean absolute error, in units of half the image."""
    return float((predict(data[0]) - data[1]).abs().mean())


def on_device(file: Path) -> Callable[[Tensor], Tensor]:
    """What the file computes, for images as torch has them."""
    runtime = load_runtime(file)
    return lambda images: torch.from_numpy(runtime(images.permute(0, 2, 3, 1).contiguous().numpy()))


def both_ways(dense: nn.Module, data: Data, epochs: int) -> dict[str, nn.Module]:
    """The trained network pruned by each family to half of what it was, while it trains on."""
    images = data[0]
    steps = epochs * (len(images) // BATCH)
    schedule = PolynomialDecay(0.0, 0.5, begin_step=0, end_step=steps // 2, frequency=max(1, steps // 4))
    masked, cut = copy.deepcopy(dense), copy.deepcopy(dense)
    train(masked, data, epochs, MagnitudePruner(masked, schedule, scope="global"))
    criteria = Criteria(importance=SensitivityImportance(cut, images[:64]), ranking="global", round_to=4)
    pruner = ChannelPruner(cut, images[:1], schedule, criteria, "int8_bytes", lambda: images[:256].split(BATCH))
    train(cut, data, epochs, pruner)
    return {"masks": masked, "channels": cut}


def main(out: Path, dense: nn.Module, side: int, epochs: int, board: str, count: int = 1024) -> list[dict[str, Any]]:
    """Everything, in order; one row per network.

    Args:
        dense: your network: images (B, 3, side, side) -> (B, 2).
        count: training images.
    """
    data, test = spots(count, side, seed=1), spots(128, side, seed=2)
    example, calibration = data[0][:1], data[0][:100].permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, C)
    train(dense, data, epochs)
    models = {"dense": dense, **both_ways(dense, data, epochs)}
    conversions = []
    for name, model in models.items():
        view = quantisation_aware(model, example)
        train(model, data, max(1, epochs // 4), ZeroKeeper(model), view)
        onnx = export_onnx(model, example, out / f"{name}.onnx")
        ranges = learnt_activations(view, data[0][:2])  # int8 ranges as they were trained with
        conversions.append(Conversion(onnx, out, ("int8",), calibration, ranges=ranges))
    rows = []
    for (name, model), files in zip(models.items(), convert_all(conversions), strict=True):
        check_int8_graph(files["int8"])
        answer, counts = footprint(files["int8"], board), stats(model, example)
        row = {"network": name, "error": error(model, test), "int8_error": error(on_device(files["int8"]), test)}
        row |= {"macs": counts.macs, "sparsity": counts.sparsity, "predicted_bytes": counts.int8_bytes}
        compiled = compile_model(files["int8"], out / "firmware", name)  # NAME.c and NAME.h: no library needed
        row |= {"bytes": answer.model_bytes, "ram_bytes": compiled.ram_bytes, "fits": answer.fits}
        row |= {"engine": answer.engine, "ms": answer.engines[answer.engine or "c"]["ms"]}
        print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
        rows.append(row)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the files")
    parser.add_argument("--width", type=float, default=0.35, help="width of the MobileNetV2")
    parser.add_argument("--side", type=int, default=32, help="pixels of an image's side")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the images per stage")
    parser.add_argument("--board", default="nano33ble", choices=sorted(BOARDS), help="where it should run")
    given = parser.parse_args()
    main(given.out, network(given.width), given.side, given.epochs, given.board)
