"""One-shot pruning of a trained network, no training after it: every score, masks and channels, fitted again or not.

    uv run python benchmarks/one_shot.py [--run b0] [--data csv:faces@train] [--val csv:faces@val] [--out FOLDER]

Masks zero a share of the weights; channels go until the int8 file is predicted at what is left of its bytes. Scores and
the layer-wise reconstruction look at the same 256 training faces; Taylor and Hessian scores, which want a loss, take
the absolute error on them. Rows "Torch-Pruning" are its own scores, ranked over the whole net, cut to the same bytes.
Writes one_shot_HARDWARE_YYYYMM.csv row by row, and the table .md at the end; rows that the CSV holds already are not
measured again (`--shares` alone writes the table of what is there). A row takes 3 to 10 s of one core.
"""

from __future__ import annotations

import copy
import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
import tyro
from torch import Tensor

from hpe.data.faces import Faces, load_faces
from hpe.io.environment import commit, environment
from hpe.io.files import write_csv, write_text
from hpe.io.markdown import markdown_table
from hpe.model.net import HeadPoseNet, example_input, load_model, predict_all
from hpe.model.outputs import POSE
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import pose_metrics
from hpe.training.pruners import some_crops
from pruning.channels.importance import Importance, make_importance
from pruning.channels.observed import HessianImportance, SensitivityImportance
from pruning.channels.pruner import prune_channels
from pruning.channels.target import Criteria, Target
from pruning.reconstruct import Reconstruction
from pruning.second_order import diagonal_hessian, obd_scores
from pruning.stats import stats
from pruning.weights.masks import apply_masks, make_masks
from pruning.weights.prunable import prunable_weights

SHARES = (0.5, 0.75, 0.875)
IMAGES = 256
MASKS = ("magnitude, layer", "magnitude, erk", "magnitude, global", "OBD, layer", "OBD, erk", "OBD, global")
CHANNELS = (
    "sensitivity, knapsack", "sensitivity, global", "OBD, knapsack", "OBD, global", "lamp, global", "magnitude, local",
    "magnitude, global", "random, local", "Torch-Pruning GroupTaylor",
    "Torch-Pruning GroupHessian", "Torch-Pruning BNScale", "Torch-Pruning FPGM", "Torch-Pruning L1",
)  # fmt: skip

TORCH_PRUNING = {
    f"Torch-Pruning {score}": name
    for score, name in {"GroupTaylor": "taylor", "BNScale": "bn_scale", "FPGM": "fpgm", "L1": "l1"}.items()
}
"""Its scores that this package offers by a name."""


@dataclass(frozen=True)
class Pruned:
    """What is pruned, on what."""

    run: Path = Path("b0")
    """Run folder, or a released model that can be trained."""
    data: str = "csv:faces@train"
    """Faces that scores and reconstruction look at."""
    val: str = "csv:faces@val"
    """Faces of the error."""
    out: Path = Path("benchmarks/results")
    """Folder of the two files."""


@dataclass(frozen=True)
class OneShot(Pruned):
    """What is pruned, on what, and how much of it."""

    shares: tuple[float, ...] = SHARES
    """What goes."""


@dataclass(frozen=True)
class Bench:
    """The network and the faces."""

    network: HeadPoseNet
    looked_at: Tensor
    poses: Tensor
    """(N, 3) degrees, of the faces looked at."""
    val: Faces

    @cached_property
    def hessian(self) -> dict[str, Tensor]:
        """Its diagonal, on half of the faces looked at."""
        return diagonal_hessian(self.network, self.looked_at[::2])


def main(config: OneShot) -> None:
    facts = environment()
    hardware = "".join(c if c.isalnum() else "-" for c in str(facts["processor"]).lower())
    hardware = "-".join(part for part in hardware.split("-") if part)
    path = config.out / f"one_shot_{hardware}_{time.strftime('%Y%m')}.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    done = {(row["family"], row["score"], row["share"], row["reconstructed"]) for row in rows}
    network, faces = load_model(config.run), load_faces(config.data)
    chosen = np.linspace(0, len(faces) - 1, IMAGES).astype(int)  # as some_crops chooses
    looked_at, poses = some_crops(faces, IMAGES), torch.from_numpy(np.asarray(faces.pose_deg)[chosen]).float()
    bench = Bench(network, looked_at, poses, load_faces(config.val))
    dense, where = error(network, bench.val), f"{facts['processor']}, torch {facts['torch']}, commit {commit()}"
    for row in cells(bench, config.shares, done):
        if (row["family"], row["score"], str(row["share"]), str(row["reconstructed"])) in done:
            continue
        rows.append(row)
        print(row, flush=True)
        write_csv(path, rows)
    write_text(path.with_suffix(".md"), table(rows, dense, len(bench.val), where))


def cells(bench: Bench, shares: tuple[float, ...], done: set[tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    """A row for each way to prune, as it is and reconstructed, that is not done."""
    families = {"masks": (MASKS, masked), "channels": (CHANNELS, cut)}
    for share in shares:
        for family, (names, make) in families.items():
            for name in names:
                if {(family, name, str(share), str(again)) for again in (0, 1)} <= done:
                    continue
                yield from _pair(bench, (family, name, share), make)


def _pair(bench: Bench, cell: tuple[str, str, float], make: Callable) -> Iterator[dict[str, Any]]:
    family, name, share = cell
    network = copy.deepcopy(bench.network)
    before = Reconstruction(network, bench.looked_at)
    begin = time.process_time()
    kept = make(bench, network, name, share)
    spent = time.process_time() - begin
    counts = stats(network, example_input())
    row = {"family": family, "score": name, "share": share}
    sizes = {"params": counts.nonzeros, "macs": counts.macs, "int8_bytes": counts.int8_bytes}
    yield row | {"reconstructed": 0, "val_deg": error(network, bench.val), "cpu_s": round(spent, 1)} | sizes
    begin = time.process_time()
    before.fit(network, kept)
    spent = time.process_time() - begin
    yield row | {"reconstructed": 1, "val_deg": error(network, bench.val), "cpu_s": round(spent, 1)} | sizes


def masked(bench: Bench, network: HeadPoseNet, name: str, share: float) -> None:
    """Zero a share of the weights, in place."""
    score, scope = name.split(", ")
    weights = prunable_weights(network)
    scores = {key: weight.detach().abs() for key, weight in weights.items()}
    if score == "OBD":
        scores = obd_scores(weights, bench.hessian)
    elif score == "random":
        generator = torch.Generator().manual_seed(0)
        scores = {key: torch.rand(weight.shape, generator=generator) for key, weight in weights.items()}
    apply_masks(network, make_masks(scores, share, scope))


def cut(bench: Bench, network: HeadPoseNet, name: str, share: float) -> Any:
    """Remove channels until the int8 bytes are met, in place; returns what was kept."""
    limits = {"int8_bytes": int(stats(network, example_input()).int8_bytes * (1 - share))}
    importance, ranking = _importance(bench, network, name, limits)
    ignored = [network.last_layer]
    criteria = Criteria(importance=importance, ranking=ranking, ignored=ignored)
    return prune_channels(network, example_input(), Target(**limits), criteria).kept


def _importance(bench: Bench, network: HeadPoseNet, name: str, limits: dict[str, int]) -> tuple[str | Importance, str]:
    score, _, ranking = name.partition(", ")
    if score == "OBD":
        return HessianImportance(network, bench.looked_at[::2]), ranking
    if score == "sensitivity":
        return SensitivityImportance(network, bench.looked_at, {} if ranking == "knapsack" else limits), ranking
    if name == "Torch-Pruning GroupHessian":
        hessian = tp.importance.GroupHessianImportance()
        hessian.zero_grad()
        for loss in _loss(bench, network)[::4]:
            network.zero_grad()
            loss.backward(retain_graph=True)
            hessian.accumulate_grad(network)
        return (lambda group: group.mean_over_units(hessian(group.depgraph_group))), "global"
    if name == "Torch-Pruning GroupTaylor":
        _loss(bench, network).mean().backward()
    return make_importance(TORCH_PRUNING.get(name, score)), ranking or "global"


def _loss(bench: Bench, network: HeadPoseNet) -> Tensor:
    """(N,) absolute error of each face looked at, in degrees."""
    network.zero_grad()
    return (network(bench.looked_at)[:, :POSE] - bench.poses).abs().mean(1)


def error(network: HeadPoseNet, faces: Faces) -> float:
    """Mean absolute error in degrees."""
    predicted = predict_all(network.eval(), centre_crop(faces.images))
    return round(pose_metrics(predicted, faces.pose_deg, faces.dropped).mean_deg, 3)


def table(rows: list[dict[str, Any]], dense: float, faces: int, facts: str) -> str:
    """Markdown: a line for each score, the error before and after reconstruction at each share."""
    shares = sorted({float(row["share"]) for row in rows})
    found = {
        (row["family"], row["score"], float(row["share"]), int(row["reconstructed"])): float(row["val_deg"])
        for row in rows
    }
    lines = [
        "# One-shot pruning, no training after it",
        "",
        f"`python benchmarks/one_shot.py`: the released b0 ({dense:.2f} degrees, float) on {faces} validation faces;",
        f"one seed; {facts}. Mean absolute error in degrees, as pruned / after layer-wise reconstruction on",
        f"{IMAGES} training faces. Masks: share of the weights that are zero, depthwise kernels whole. Channels: share",
        "of the predicted int8 bytes that are gone; Torch-Pruning's scores ranked over the whole net, same bytes.",
    ]
    for family in ("masks", "channels"):
        cells = []
        names = list(dict.fromkeys(row["score"] for row in rows if row["family"] == family))
        for name in names:
            pairs = [tuple(found.get((family, name, share, again)) for again in (0, 1)) for share in shares]
            texts = [" / ".join("-" if value is None else f"{value:.2f}" for value in pair) for pair in pairs]
            cells.append((name, *texts))
        lines += ["", markdown_table((family, *(f"{share:.1%} gone" for share in shares)), cells)]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(tyro.cli(OneShot))
