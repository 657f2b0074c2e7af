"""Transfer learning with pruning by place: which part of a net may be pruned, at what cost in accuracy?

    uv run python -m benchmarks.fashion_mnist [--width 1.0] [--images 60000] [--out FOLDER/NAME]

A torchvision MobileNetV2 whose classifier gives way to pooling, Dense 128, dropout and Dense 10, on Fashion-MNIST:

1. the base stays frozen, the head is trained;
2. the head is pruned from 0 to 50 % on the polynomial schedule;
3. the base is set free and fine-tuned, with nothing more pruned: what the next stages are to be compared with;
4. the middle blocks of the base are pruned from 0 to 50 % while the net is fine-tuned;
5. the residual block that adds least is dropped, and the net is fine-tuned again.

After each stage the net becomes an int8 TensorFlow Lite file. Where there is no network, clothes are drawn instead, in
the same files as Fashion-MNIST; where there are no ImageNet weights (they exist for --width 1.0 only), the base is
first trained on the same images. The table says which it was. Nothing here is about heads: `pruning` takes any net.
"""

import argparse
import gzip
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torchvision.datasets import FashionMNIST

from benchmarks.drawn_clothes import write_drawn_clothes
from hpe.io.environment import environment
from hpe.io.files import write_csv, write_text
from hpe.io.markdown import markdown_table
from pruning import MagnitudePruner, PolynomialDecay, drop_blocks, reestimate_norms, stats

MIDDLE = [f"base.{i}" for i in range(7, 14)]
"""MobileNetV2's blocks of 64 and 96 channels (before the width is scaled)."""
FINAL_SPARSITY = 0.5
NOTE = (
    "Each row goes on from the one above it and trains for as many epochs more, which raises the accuracy whatever is\n"
    "pruned. Zeros shorten the compressed file alone; a dropped block shortens file and time."
)
CACHE = Path.home() / ".cache" / "fashion_mnist"
BATCH = 64


def main() -> None:
    facts = environment()
    out = Path(__file__).parent / "results" / f"fashion_mnist_{platform.machine()}_{time.strftime('%Y%m')}"
    show_defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(
        description="Transfer learning with pruning by place: MobileNetV2 on Fashion-MNIST, as int8 files.",
        formatter_class=show_defaults,
    )
    parser.add_argument("--images", type=int, default=4000, help="training images; a quarter as many test images")
    parser.add_argument("--size", type=int, default=48, help="side that the images are scaled to, in pixels")
    parser.add_argument("--width", type=float, default=0.35, help="width of MobileNetV2; 1.0 takes ImageNet weights")
    parser.add_argument("--epochs", type=int, default=4, help="of each stage")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and drawn images")
    parser.add_argument("--data", type=Path, default=CACHE, help="where the images are kept")
    parser.add_argument("--out", type=Path, default=out, help="the table is written to OUT.csv and OUT.md")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    source, train_set, test_set = load_clothes(options.data, options.images, options.images // 4, options.seed)
    train_set, test_set = prepare(train_set, options.size), prepare(test_set, options.size)
    net, pretrained = build(options.width)
    weights = "ImageNet weights" if pretrained else "base first trained on the same images"
    about = (
        f"{source}; {weights}; {options.images} training images of {options.size}x{options.size}, "
        f"width {options.width}, {options.epochs} epochs a stage, seed {options.seed}; "
        f"{', '.join(f'{name} {value}' for name, value in facts.items())}; milliseconds of one image on one thread"
    )
    print(about, flush=True)
    rows, files = [], []
    with tempfile.TemporaryDirectory() as folder:
        for stage in run_stages(net, train_set, options.epochs, pretrain=not pretrained):
            files.append(int8_file(net, train_set, Path(folder) / f"stage{len(files)}"))
            rows.append({"stage": stage, **measure(net, files[-1], test_set)})
            print(f"{stage}: {rows[-1]['accuracy_percent']} % right", flush=True)
            write_table(rows, about, options.out)
        for row, ms in zip(rows, milliseconds(files), strict=True):
            row["int8_ms"] = ms
    write_table(rows, about, options.out)
    print(Path(f"{options.out}.md").read_text())


Labelled = tuple[Tensor, Tensor]
"""Images and classes: uint8 (N, 28, 28) as stored, float32 (N, 1, S, S) in -1 to 1 once prepared; int64 (N,)."""


# The net and its stages


class TransferNet(nn.Module):
    """A convolutional base, then pooling, Dense 128, dropout, Dense 10."""

    def __init__(self, base: nn.Module, channels: int):
        super().__init__()
        self.base = base
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, 128),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(128, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images -> (B, 10) logits."""
        return self.head(self.base(images))


def build(width: float) -> tuple[TransferNet, bool]:
    """The net, and whether its base has ImageNet weights."""
    models = torchvision.models
    pretrained = False
    net = models.mobilenet_v2(width_mult=width)
    if width == 1.0:
        try:
            net.load_state_dict(models.MobileNet_V2_Weights.IMAGENET1K_V2.get_state_dict())
            pretrained = True
        except URLError:
            print("No network: ImageNet weights cannot be had.")
    net = TransferNet(net.features, net.last_channel)
    return net.to(memory_format=torch.channels_last), pretrained  # pyright: ignore[reportCallIssue]


def run_stages(net: TransferNet, train_set: Labelled, epochs: int, pretrain: bool):
    """Yields the name of each stage once the net has gone through it."""
    steps = epochs * (len(train_set[0]) // BATCH)
    if pretrain:
        train(net, train_set, epochs)
        for layer in (net.head[2], net.head[5]):
            layer.reset_parameters()  # pyright: ignore[reportCallIssue]
    net.base.requires_grad_(False)
    train(net, train_set, epochs)
    yield "frozen base, dense head"
    head = MagnitudePruner(net, decay(steps), include=["head"])
    train(net, train_set, epochs, [head])
    yield f"head {FINAL_SPARSITY:.0%} zeros"
    net.base.requires_grad_(True)
    train(net, train_set, epochs, [head])
    yield "and base fine-tuned"
    middle = MagnitudePruner(net, decay(steps), include=MIDDLE, depthwise=False)
    train(net, train_set, epochs, [head, middle])
    yield f"and middle blocks {FINAL_SPARSITY:.0%} zeros"
    dropped = drop_blocks(net, as_rgb(train_set[0][:BATCH]), count=1)
    train(net, train_set, epochs, [head, middle])
    yield f"and {dropped[0]} dropped"


def decay(steps: int) -> PolynomialDecay:
    """From 0 to FINAL_SPARSITY over the first two thirds of the steps, in about twenty."""
    frequency = max(1, steps // 30)
    end = max(frequency, steps * 2 // 3 // frequency * frequency)
    return PolynomialDecay(0.0, FINAL_SPARSITY, 0, end, frequency=frequency)


def train(net: TransferNet, train_set: Labelled, epochs: int, pruners: Sequence[MagnitudePruner] = ()) -> None:
    """Adam on cross-entropy; a base that is frozen keeps its batch-norm statistics, a free one has them measured last.

    In so short a training the moving averages lag after the weights, and a deep net multiplies what they are off by.
    """
    images, classes = train_set
    frozen = not any(parameter.requires_grad for parameter in net.base.parameters())
    wanted = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(wanted, lr=1e-3)
    net.train()
    net.base.train(not frozen)
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for batch in order[: len(order) // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(as_rgb(images[batch])), classes[batch]).backward()
            optimizer.step()
            for pruner in pruners:
                pruner.step(optimizer)
    if not frozen:
        shuffled = images[torch.randperm(len(images))]
        reestimate_norms(net, (as_rgb(batch) for batch in shuffled.split(BATCH)))
    net.eval()


# What is measured


def int8_file(net: TransferNet, train_set: Labelled, folder: Path) -> Path:
    """The net as an int8 TensorFlow Lite file in a new folder, calibrated on the first training images."""
    from export import convert, export_onnx

    folder.mkdir()
    images = as_rgb(train_set[0][:100])
    onnx = export_onnx(net, images[:1], folder / "net.onnx")
    return convert(onnx, folder, ("int8",), channels_last(images))["int8"]


def measure(net: TransferNet, file: Path, test_set: Labelled) -> dict[str, float | int]:
    """Accuracy in torch and of the int8 file, counts and sizes."""
    from export import load_runtime

    images, classes = as_rgb(test_set[0]), test_set[1]
    with torch.no_grad():
        logits = torch.cat([net(batch) for batch in images.split(500)])  # (N, 10)
    counts = stats(net, images[:1])
    int8_logits = torch.from_numpy(np.asarray(load_runtime(file)(channels_last(images))))  # (N, 10)
    content = file.read_bytes()
    return {
        "accuracy_percent": percent(logits, classes),
        "int8_accuracy_percent": percent(int8_logits, classes),
        "params": counts.params,
        "nonzeros": counts.nonzeros,
        "macs": counts.macs,
        "int8_bytes": len(content),
        "int8_gzip_bytes": len(gzip.compress(content, mtime=0)),
    }


def milliseconds(files: Sequence[Path]) -> list[float]:
    """Median milliseconds of one image on one thread, for each file; the files take turns."""
    from export import load_runtime, measure_latency

    table = measure_latency([load_runtime(file, threads=1) for file in files], seconds=5)
    return [round(row["median_ms"], 3) for row in table]


def percent(logits: Tensor, classes: Tensor) -> float:
    """Share of (N, 10) logits whose largest is at the (N,) class, in percent."""
    return round(100 * float((logits.argmax(1) == classes).float().mean()), 2)


def write_table(rows: list[dict], about: str, out: Path) -> None:
    """OUT.csv and OUT.md, each written whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    table = markdown_table(list(rows[0]), [list(map(str, row.values())) for row in rows])
    lines = ["# Fashion-MNIST: pruning by place", "", about + ".", "", table, "", NOTE, ""]
    write_csv(f"{out}.csv", rows)
    write_text(f"{out}.md", "\n".join(lines))


# Images


def load_clothes(root: Path, train: int, test: int, seed: int) -> tuple[str, Labelled, Labelled]:
    """Fashion-MNIST, downloaded where it can be, else drawn; and which of the two it is."""
    try:
        source, sets = "Fashion-MNIST", [FashionMNIST(str(root), split, download=True) for split in (True, False)]
    except (RuntimeError, URLError):
        root = root / f"drawn_{train}_{test}_{seed}"
        if not (root / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").exists():
            write_drawn_clothes(root, train, test, seed)
        source, sets = "Drawn clothes (no network)", [FashionMNIST(str(root), split) for split in (True, False)]
    train_set, test_set = ((s.data[:n], s.targets[:n].long()) for s, n in zip(sets, (train, test), strict=True))
    return source, train_set, test_set


def prepare(labelled: Labelled, size: int) -> Labelled:
    """uint8 (N, 28, 28) -> float32 (N, 1, size, size) from -1 to 1."""
    images = labelled[0][:, None].float() / 127.5 - 1
    return nn.functional.interpolate(images, size=(size, size), mode="bilinear"), labelled[1]


def as_rgb(images: Tensor) -> Tensor:
    """(N, 1, S, S) -> (N, 3, S, S)."""
    return images.expand(-1, 3, -1, -1)


def channels_last(images: Tensor) -> np.ndarray:
    """(N, C, S, S) -> (N, S, S, C)."""
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


if __name__ == "__main__":
    main()
