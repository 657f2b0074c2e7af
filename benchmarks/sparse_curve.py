"""Zeros against instructions and flash on an emulated Cortex-M4: single 1x1 layers, and a whole network.

    python benchmarks/sparse_curve.py --out benchmarks/results

Layers: shapes of the network's own 1x1 convolutions, with random weights of which a random share is zero; the dense
kernel against both sparse ones (two entries in 3 bytes, an entry in 4), widening of the input image included. Network:
in each 1x1 convolution the weights of least magnitude are set to zero; the compiler chooses a kernel for each layer.
Instructions are exact; they do not depend on the values.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from export.compiler import compile_model
from export.compiler.emulator.calls import Board
from export.compiler.emulator.model import run_model
from export.compiler.fast import pack_dense
from export.compiler.sparse_weights import pack_sparse
from export.micro.flatbuffer import Model, Tensor, parse_model
from hpe.io.environment import environment
from hpe.io.files import write_csv, write_text, write_whole
from hpe.io.markdown import markdown_table
from hpe.model.zoo import resolve_model

PRUNED = Path(__file__).resolve().parents[1] / "tests" / "data" / "micro" / "relu6_pruned.tflite"
"""A trained head-pose network of 4 MMAC."""
SHARES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.875, 0.9, 0.95)
"""Shares of zeros that are measured."""
SPARSE = ("sparse3", "sparse4")
MOST_INPUTS = 256
"""Of a layer that sparse3 can take without any zeros."""
RECORD_BYTES = 8
"""Bias, multiplier and shift of a channel."""


@dataclass(frozen=True)
class Options:
    """Zeros against instructions and flash on an emulated Cortex-M4."""

    model: tyro.conf.Positional[str] = str(PRUNED)
    """A full-int8 .tflite file, or the name of a released model."""
    layers: int = 8
    """How many of its 1x1 shapes are measured one by one."""
    out: Path | None = None
    """Folder for sparse_curve_qemu-mps2-an386_<yyyymm>.{csv,md,png}."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    measure(options.model, options.layers, options.out)


def measure(name: str, count: int, out: Path | None) -> None:
    """Measure, print, and write into `out`."""
    path = resolve_model(name)
    data = path.read_bytes()
    layers = [row for shape in point_shapes(parse_model(data), count) for row in layer_rows(*shape)]
    network = network_rows(data)
    report = markdown(path.name, layers, network)
    print(report)
    if out:
        stem = out / f"sparse_curve_qemu-mps2-an386_{time.strftime('%Y%m')}"
        write_csv(f"{stem}.csv", [*layers, *network])
        write_text(f"{stem}.md", report)
        plot(layers, network, Path(f"{stem}.png"))


def points(model: Model) -> list[tuple[Tensor, Tensor]]:
    """Weights and output of each 1x1 convolution that reads an image of more than one pixel."""
    pairs = []
    for op in model.ops:
        weights, output = model.tensors[op.inputs[1]] if len(op.inputs) > 1 else None, model.tensors[op.outputs[0]]
        is_point = op.name == "CONV_2D" and weights is not None and weights.shape[1:3] == (1, 1)
        if is_point and np.prod(output.shape[1:3]) > 1:
            pairs.append((weights, output))
    return pairs


def point_shapes(model: Model, count: int) -> list[tuple[int, int, int]]:
    """(inputs, outputs, pixels) of `count` 1x1 convolutions, spread over the sizes of their inputs.

    Not of those with more inputs than the kernel with two entries in 3 bytes counts.
    """
    shapes = {(w.shape[3], w.shape[0], int(np.prod(out.shape[1:3]))) for w, out in points(model)}
    shapes = sorted(shape for shape in shapes if shape[0] <= MOST_INPUTS)
    places = np.linspace(0, len(shapes) - 1, min(count, len(shapes))).round().astype(int)
    return [shapes[i] for i in places]


def with_zeros(data: bytes, share: float) -> bytes:
    """A .tflite file with that share of each 1x1 convolution's weights set to zero, the least in magnitude first."""
    model, changed = parse_model(data), bytearray(data)
    start = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    for weights, _ in points(model):
        assert weights.data is not None
        at = weights.data.__array_interface__["data"][0] - start
        values = np.frombuffer(changed, np.int8, weights.elements, at).copy()
        order = np.argsort(np.abs(values.astype(int)), kind="stable")
        values[order[: round(share * len(values))]] = 0
        changed[at : at + len(values)] = values.tobytes()
    return bytes(changed)


def layer_rows(inputs: int, outputs: int, pixels: int) -> list[dict[str, Any]]:
    """Instructions of a 1x1 layer by kernel and share of zeros."""
    rng, board, cases = np.random.default_rng(0), Board(["convert", "dense", "sparse"]), []
    image = board.put(rng.integers(-128, 128, (8, inputs)).astype(np.int8))
    buffer, out = board.put(np.zeros((inputs + 1) * 8, np.int16)), board.put(np.zeros(8 * outputs, np.int8))
    channels = board.put(np.tile(np.array([1 << 30, 9], np.int32), (outputs + 1, 1)))
    some = min(pixels, 8)
    for share in SHARES:
        weights = (rng.integers(1, 128, (outputs, inputs)) * (rng.random((outputs, inputs)) >= share)).astype(np.int8)
        struct = board.struct("PPhhi", board.put(pack_dense(weights)), channels, inputs, outputs, 3)
        begun = len(board.calls)
        for _ in range(0, some, 4):
            board.call("widen_tile", image, inputs, 4, buffer)
            board.call("dense_to_image", struct, buffer, 4, out)
        dense_bytes = (outputs + outputs % 2) * (inputs + inputs % 2)
        cases.append((share, "dense", begun, len(board.calls), dense_bytes))
        for kind in SPARSE:
            entries, counts = pack_sparse(weights, kind)
            tables = (board.put(entries), board.put(counts), channels)
            begun = len(board.calls)
            board.call("widen_strip", image, inputs, some, buffer)
            board.call(f"{kind}_to_image", board.struct("PPPhhi", *tables, inputs, outputs, 3), buffer, some, out)
            cases.append((share, kind, begun, len(board.calls), entries.nbytes + counts.nbytes))
    counted = board.run()
    return [
        {
            "what": f"{inputs} -> {outputs}, {pixels} pixels",
            "zeros": share,
            "kernel": kernel,
            "instructions": sum(counted[begun:end]) * pixels // some,
            "flash_bytes": flash + outputs * RECORD_BYTES,
            "macs": inputs * outputs * pixels,
        }
        for share, kernel, begun, end, flash in cases
    ]


def network_rows(data: bytes) -> list[dict[str, Any]]:
    """Instructions and flash of the whole network by the share of zeros in its 1x1 layers."""
    rows = []
    for share in SHARES:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "network.tflite")
            file.write_bytes(with_zeros(data, share))
            model = compile_model(file, folder)
            run = run_model(model, [bytes(model.input_bytes)])
        sparse = sum("sparse" in step.kernel for step in model.steps)
        rows.append(
            {
                "what": "network",
                "zeros": share,
                "kernel": f"{sparse} steps with a sparse kernel",
                "instructions": run.instructions[0],
                "flash_bytes": run.flash_bytes,
                "macs": model.macs,
            }
        )
    return rows


def break_even(rows: list[dict[str, Any]], kernel: str) -> float | None:
    """The share of zeros from which a sparse kernel takes fewer instructions than the dense one; None: never."""
    cost = {name: np.array([r["instructions"] for r in rows if r["kernel"] == name]) for name in ("dense", kernel)}
    difference = cost[kernel] - cost["dense"]
    for i in range(1, len(SHARES)):
        if difference[i] <= 0 < difference[i - 1]:
            part = difference[i - 1] / (difference[i - 1] - difference[i])
            return SHARES[i - 1] + part * (SHARES[i] - SHARES[i - 1])
    return None


def markdown(name: str, layers: list[dict[str, Any]], network: list[dict[str, Any]]) -> str:
    """Break-even and cost of each layer, then the network."""
    facts = environment()
    shown = (0.5, 0.75, 0.875)
    head = (
        "layer",
        "break-even, 1.5-byte entries",
        "4-byte",
        *(f"cost at {s:.1%} zeros" for s in shown),
        "flash at 87.5 %",
    )
    rows = []
    for what in dict.fromkeys(row["what"] for row in layers):
        own = [row for row in layers if row["what"] == what]
        ends = [break_even(own, kernel) for kernel in SPARSE]
        of = {(row["zeros"], row["kernel"]): row for row in own}
        costs = [of[s, "sparse3"]["instructions"] / of[s, "dense"]["instructions"] for s in shown]
        flash = of[0.875, "sparse3"]["flash_bytes"] / of[0.875, "dense"]["flash_bytes"]
        cells = ["never" if end is None else f"{end:.0%}" for end in ends]
        rows.append((what, *cells, *(f"{cost:.2f}" for cost in costs), f"{flash:.2f}"))
    table = markdown_table(head, rows)
    body = []
    for row in network:
        of_dense = [row[key] / network[0][key] for key in ("instructions", "flash_bytes")]
        cells = (f"{row['instructions']:,}", f"{of_dense[0]:.2f}", f"{row['flash_bytes']:,}", f"{of_dense[1]:.2f}")
        body.append((f"{row['zeros']:.1%}", *cells, row["kernel"].split()[0]))
    second = markdown_table(("zeros", "instructions", "of dense", "flash (bytes)", "of dense", "sparse steps"), body)
    return (
        f"# Zeros against time and flash on a Cortex-M4\n\n`python benchmarks/sparse_curve.py` of {name}: "
        f"qemu-system-arm mps2-an386, gcc -O2, instructions (not cycles); commit {facts['commit']}. Weights random, "
        "seed 0; the network's zeros are its weights of least magnitude, not retrained.\n\n"
        "## 1x1 layers\n\nCost and flash: the sparse kernel with two entries in 3 bytes, as a share of the dense "
        f"one's; flash with {RECORD_BYTES} bytes of constants per output channel.\n\n{table}\n\n"
        f"## {name}\n\nZeros in each 1x1 convolution; the compiler chooses a kernel for each layer; flash is code "
        f"and constants.\n\n{second}\n"
    )


def plot(layers: list[dict[str, Any]], network: list[dict[str, Any]], path: Path) -> None:
    """Left: layers against their dense kernel. Right: the network's instructions and flash."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    zeros = 100 * np.array(SHARES)
    for what in dict.fromkeys(row["what"] for row in layers):
        own = [row for row in layers if row["what"] == what]
        cost = {k: np.array([r["instructions"] for r in own if r["kernel"] == k]) for k in ("dense", "sparse3")}
        left.plot(zeros, cost["sparse3"] / cost["dense"], marker=".", label=what)
    left.axhline(1, color="#808890", linewidth=1)
    left.set(
        xlabel="zeros (%)",
        ylabel="instructions, sparse / dense",
        ylim=(0, 1.9),
        title="1x1 layers, two entries in 3 bytes",
    )
    left.legend(frameon=False, fontsize=8)
    right.plot(zeros, [row["instructions"] / 1e6 for row in network], marker=".", color="#2f6f9f")
    right.set(
        xlabel="zeros in the 1x1 layers (%)", ylabel="million instructions", ylim=(0, None), title="whole network"
    )
    flash = right.twinx()
    flash.plot(zeros, [row["flash_bytes"] / 1000 for row in network], marker=".", color="#c2703d")
    flash.set(ylim=(0, None))
    flash.set_ylabel("flash (kB)", color="#c2703d")
    for axis in (left, right):
        axis.grid(alpha=0.25)
        axis.spines[["top"]].set_visible(False)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=130))


if __name__ == "__main__":
    main()
