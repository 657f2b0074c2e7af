"""Channels, then zeros in what stays, for the compiler's sparse kernels: better than channels alone, on equal terms?

    uv run python benchmarks/hybrid.py [--run b0] [--data csv:faces@train] [--val csv:faces@val] [--out FOLDER]

No training: channels by knapsack over sensitivity, zeros in 1x1 convolutions by Optimal Brain Damage over the whole
net, what is left fitted on 256 training faces after each (benchmarks/one_shot.py has all scores; these two are its
best). Each network becomes a full-int8 file, and `compiled_size` says what the C from it takes on a Cortex-M4: flash
with code, and cycles by the cost model. Then channels alone are cut to the very flash, and to the very cycles, of each
hybrid: their bytes in the compiled C go by a line through three of them. Writes hybrid_cortex-m4_YYYYMM.{csv,md}.
Some 25 minutes of one core.
"""

from __future__ import annotations

import copy
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from benchmarks.one_shot import IMAGES, Pruned, error
from export.compiler.size import compiled_size
from export.convert.onnx import export_onnx
from export.convert.tflite import Conversion, convert_all
from hpe.data.faces import Faces, load_faces
from hpe.io.environment import commit
from hpe.io.files import write_csv, write_text
from hpe.io.markdown import markdown_table
from hpe.model.net import HeadPoseNet, example_input, load_model
from hpe.training.latency import cortex_m4_price, network_latency
from hpe.training.pruners import some_crops
from pruning.channels.observed import SensitivityImportance
from pruning.channels.pruner import prune_channels
from pruning.channels.target import Criteria, Target
from pruning.reconstruct import Kept, Reconstruction
from pruning.second_order import diagonal_hessian, obd_scores
from pruning.stats import stats
from pruning.weights.engines import zeros_for
from pruning.weights.masks import apply_masks, make_masks
from pruning.weights.prunable import prunable_weights

FLASH = (120_000, 250_000, 400_000)
"""Budgets that the networks aim at, roughly: rivals are cut to what the hybrids really take."""
ZEROS = (0.66, 0.75, 0.875)
"""Shares of the 1x1 convolutions' weights; the sparse kernels pay from 0.55 on, on the smallest maps from 0.66."""
CODE_BYTES, POINT_SHARE, ENTRY_BYTES = 12_000, 0.94, 1.5
"""For aiming only: code of the kernels, the 1x1 convolutions' share of the bytes, flash of a weight that stays."""


@dataclass(frozen=True)
class Bench:
    """The network before pruning, and the faces."""

    network: HeadPoseNet
    looked_at: Tensor
    """(IMAGES, 3, 64, 64), normalised."""
    val: Faces

    @cached_property
    def dense(self) -> Reconstruction:
        return Reconstruction(self.network, self.looked_at)

    def cut(self, **limits: int) -> tuple[HeadPoseNet, Kept]:
        """A copy with channels removed to the limits (`int8_bytes`, `latency` in cycles), fitted."""
        network = copy.deepcopy(self.network)
        criteria = Criteria(
            importance=SensitivityImportance(network, self.looked_at),
            ranking="knapsack",
            round_to=4,
            ignored=[network.last_layer],
            price=cortex_m4_price(network),
        )
        kept = prune_channels(network, example_input(), Target(**limits), criteria).kept
        self.dense.fit(network, kept)
        return network, kept

    def channels(self, flash: int) -> HeadPoseNet:
        """Channels alone, aimed at some bytes of flash."""
        return self.cut(int8_bytes=flash - CODE_BYTES // 2)[0]

    def hybrid(self, flash: int, share: float) -> HeadPoseNet:
        """Channels and then a share of zeros, aimed at some bytes of flash."""
        kept_bytes = 1 - POINT_SHARE + POINT_SHARE * (1 - share) * ENTRY_BYTES
        return self.zeroed(*self.cut(int8_bytes=round((flash - CODE_BYTES) / kept_bytes)), share)

    def zeroed(self, network: HeadPoseNet, kept: Kept, share: float) -> HeadPoseNet:
        """The cut network with a share of its 1x1 convolutions' weights zero, fitted, in place."""
        policy = zeros_for("mcu", network, example_input())
        weights = prunable_weights(network, policy=policy)
        scores = obd_scores(weights, diagonal_hessian(network, self.looked_at[::2]))
        apply_masks(network, make_masks(scores, share, "global", least=policy))
        self.dense.fit(network, kept)
        return network


def main(options: Pruned) -> None:
    faces = load_faces(options.data)
    bench = Bench(load_model(options.run), some_crops(faces, IMAGES), load_faces(options.val))
    rows, networks = [], []
    for flash in FLASH:
        networks.append(bench.channels(flash))
        rows.append({"family": "channels", "aim": flash, "zeros": 0.0})
        for share in ZEROS:
            networks.append(bench.hybrid(flash, share))
            rows.append({"family": "hybrid", "aim": flash, "zeros": share})
    for row, size in zip(rows, compiled_sizes(networks, bench.looked_at), strict=True):
        row.update(size)
    for row, network in zip(rows, networks, strict=True):
        row |= {"macs": stats(network, example_input()).macs, "val_deg": error(network, bench.val)}
        print(row, flush=True)
    plain = [(network, row["flash_bytes"]) for network, row in zip(networks, rows, strict=True) if not row["zeros"]]
    flash_of = bytes_to_flash(*map(list, zip(*plain, strict=True)))
    for row in rows:
        if row["family"] == "hybrid":
            row |= rivals(bench, row, flash_of)
            print(row, flush=True)
    stem = options.out / f"hybrid_cortex-m4_{time.strftime('%Y%m')}"
    write_csv(f"{stem}.csv", rows)
    about = f"{options.run.name} ({error(bench.network, bench.val):.2f} degrees) on {len(bench.val)} validation faces"
    write_text(f"{stem}.md", table(rows, f"{about}; one seed; torch {torch.__version__}, commit {commit()}"))


def compiled_sizes(networks: list[HeadPoseNet], images: Tensor) -> list[dict[str, int]]:
    """Flash and cycles of the C from each network's full-int8 file."""
    calibration = np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))  # (N, 64, 64, 3)
    with tempfile.TemporaryDirectory() as name:
        conversions = []
        for i, network in enumerate(networks):
            folder = Path(name) / str(i)
            folder.mkdir()
            onnx = export_onnx(network, example_input(), folder / "model.onnx")
            conversions.append(Conversion(onnx, folder, ("int8",), calibration))
        sizes = [compiled_size(files["int8"]) for files in convert_all(conversions)]
    return [{"flash_bytes": size.flash_bytes, "cycles": round(size.cycles)} for size in sizes]


def bytes_to_flash(networks: list[HeadPoseNet], flash_bytes: list[int]) -> np.poly1d:
    """The predicted bytes of a .tflite file -> flash of the C, a line through networks without zeros."""
    return np.poly1d(np.polyfit([stats(network, example_input()).int8_bytes for network in networks], flash_bytes, 1))


def limits_of(row: dict[str, Any], flash_of: np.poly1d) -> dict[str, dict[str, int]]:
    """What channels alone are cut to, to equal the flash and the cycles of `row`."""
    (file_bytes,) = (flash_of - row["flash_bytes"]).roots
    return {"flash": {"int8_bytes": round(file_bytes)}, "cycles": {"latency": row["cycles"]}}


def rivals(bench: Bench, row: dict[str, Any], flash_of: np.poly1d) -> dict[str, Any]:
    """Channels alone at a hybrid's flash, at its cycles, and at both."""
    limits = limits_of(row, flash_of)
    limits["both"] = limits["flash"] | limits["cycles"]
    found = {}
    for name, limit in limits.items():
        network, _ = bench.cut(**limit)
        found[f"at_{name}_deg"] = error(network, bench.val)
        found[f"at_{name}_flash"] = round(flash_of(stats(network, example_input()).int8_bytes))
        found[f"at_{name}_cycles"] = network_latency(network, cortex_m4_price(network))
    return found


def table(rows: list[dict[str, Any]], about: str) -> str:
    """Markdown: a line for each network."""
    head = ("zeros", "flash, KB", "Mcycles", "error", "channels at its flash", "at its cycles", "at both")
    cells = [
        (
            f"{row['zeros']:.1%}",
            f"{row['flash_bytes'] / 1000:.0f}",
            f"{row['cycles'] / 1e6:.2f}",
            f"{row['val_deg']:.2f}",
            f"{row['at_flash_deg']:.2f} ({row['at_flash_cycles'] / 1e6:.2f})",
            f"{row['at_cycles_deg']:.2f} ({row['at_cycles_flash'] / 1000:.0f})",
            f"{row['at_both_deg']:.2f}",
        )
        for row in rows
        if row["family"] == "hybrid"
    ]
    lines = [
        "# Channels and zeros, against channels alone, on a Cortex-M4",
        "",
        f"`python benchmarks/hybrid.py`: {about}. Pruned at once and fitted on {IMAGES} faces, never trained.",
        "Flash with code; cycles by the cost model of the compiler. Channels alone: in parentheses their cycles at",
        "the same flash, their flash (KB) at the same cycles.",
        "",
        markdown_table(head, cells, text=0),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(tyro.cli(Pruned))
