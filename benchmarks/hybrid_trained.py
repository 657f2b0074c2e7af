"""Channels, then zeros in what stays, against channels alone at equal flash and at equal cycles, all trained on.

    uv run python benchmarks/hybrid_trained.py [--run b0] [--seeds 0 1 2] [--epochs 4] [--work FOLDER] [--out FOLDER]

The networks are those of benchmarks/hybrid.py with three quarters of zeros: cut at once and fitted. Then each is
trained for as long, with `--run` as its teacher, and what the C from its full-int8 file takes is counted on the trained
one. Writes hybrid_trained_cortex-m4_YYYYMM.{csv,md}. What is finished in WORK is not done again. Some seven minutes of
one core for each network and seed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import tyro

from benchmarks.hybrid import FLASH, Bench, bytes_to_flash, compiled_sizes, limits_of
from benchmarks.one_shot import IMAGES, Pruned
from hpe.data.faces import load_faces
from hpe.io.configs import to_dict
from hpe.io.environment import commit
from hpe.io.files import read_json, write_csv, write_text
from hpe.io.markdown import markdown_table
from hpe.model.net import load_model, save_checkpoint
from hpe.training.augment import AugmentConfig
from hpe.training.config import DistillConfig, Recipe, TrainConfig
from hpe.training.pruners import some_crops
from hpe.training.runs import run_to_end
from hpe.training.start import Request, is_finished
from pruning.weights.frozen import ZeroKeeper

ZEROS = 0.75
NAMES = {"hybrid": "channels and zeros", "flash": "channels at its flash", "cycles": "channels at its cycles"}


@dataclass(frozen=True)
class Trained(Pruned):
    """What is pruned, on what, and how it is trained then."""

    count: int = 8000
    """Faces of `data` to train on, the same for all."""
    epochs: int = 4
    """Over these faces."""
    seeds: tuple[int, ...] = (0,)
    """One training each; the cut is the same."""
    work: Path = Path("runs/hybrid")
    """Folder of the networks."""


def main(options: Trained) -> None:
    faces = load_faces(options.data)
    bench = Bench(load_model(options.run), some_crops(faces, IMAGES), load_faces(options.val))
    write_pruned(options.work / "pruned", bench)
    errors: dict[tuple[int, str], list[float]] = {(aim, family): [] for aim in FLASH for family in NAMES}
    for seed in options.seeds:
        for (aim, family), found in errors.items():
            found.append(trained(f"{aim}-{family}", options, seed))
            print(f"{NAMES[family]}, {aim:,}: {found[-1]:.2f} degrees (seed {seed})", flush=True)
    first = options.work / f"seed-{options.seeds[0]}"
    networks = [load_model(first / f"{aim}-{family}") for aim, family in errors]
    rows = []
    for (aim, family), size in zip(errors, compiled_sizes(networks, bench.looked_at), strict=True):
        found = errors[aim, family]
        spread = round(stdev(found), 3) if len(found) > 1 else ""
        row = {"aim": aim, "family": family, **size, "val_deg": round(mean(found), 3), "spread_deg": spread}
        rows.append(row | {"n": len(found)})
    stem = options.out / f"hybrid_trained_cortex-m4_{time.strftime('%Y%m')}"
    write_csv(f"{stem}.csv", rows)
    about = f"{options.run.name}, then {options.epochs} epochs of {options.count:,} faces; {len(bench.val)} validation"
    write_text(f"{stem}.md", table(rows, f"{about} faces; torch {torch.__version__}, commit {commit()}"))


def write_pruned(folder: Path, bench: Bench) -> None:
    """FOLDER/AIM-FAMILY for each flash aimed at, unless all are there: the hybrid, and what equals it, untrained."""
    names = [f"{aim}-{family}" for aim in FLASH for family in NAMES]
    if not all((folder / name / "model.safetensors").exists() for name in names):
        plain, hybrids = [bench.channels(aim) for aim in FLASH], [bench.hybrid(aim, ZEROS) for aim in FLASH]
        sizes = compiled_sizes([*plain, *hybrids], bench.looked_at)
        flash_of = bytes_to_flash(plain, [size["flash_bytes"] for size in sizes[: len(plain)]])
        for aim, hybrid, size in zip(FLASH, hybrids, sizes[len(plain) :], strict=True):
            save_checkpoint(hybrid, folder / f"{aim}-hybrid")
            for family, limit in limits_of(size, flash_of).items():
                save_checkpoint(bench.cut(**limit)[0], folder / f"{aim}-{family}")


def trained(name: str, options: Trained, seed: int) -> float:
    """The validation error in degrees after training, zeros and widths kept; the network is left in WORK/seed-SEED."""
    network, out = load_model(options.work / "pruned" / name), options.work / f"seed-{seed}" / name
    train = TrainConfig(
        epochs=options.epochs, batch_size=64, lr=1e-3, lr_schedule="onecycle", ema=0.998, pose_balance=1.0, seed=seed
    )
    recipe = Recipe(
        f"{options.data}#{options.count}",
        options.val,
        train=train,
        augment=AugmentConfig(no_face=0.1 if network.config.locate else 0.0),
        distill=DistillConfig(options.run, teacher_offline=True),
    )
    request = Request(out, {"command": "finetune", "model": to_dict(network.config)}, recipe, resume=True, report=print)
    if not is_finished(request):
        run_to_end(request, network, load_faces(recipe.data), ZeroKeeper(network))
    return read_json(out / "result.json")["val"]["mae_deg"]["mean"]


def table(rows: list[dict[str, Any]], about: str) -> str:
    """Markdown: a line for each network."""
    cells = []
    for row in rows:
        spread = f" +- {row['spread_deg']:.2f}" if row["spread_deg"] != "" else ""
        error = f"{row['val_deg']:.2f}{spread} (n = {row['n']})"
        cells.append([NAMES[row["family"]], f"{row['flash_bytes'] / 1000:.0f}", f"{row['cycles'] / 1e6:.2f}", error])
    lines = [
        "# Channels and zeros, against channels alone, on a Cortex-M4, after training",
        "",
        f"`python benchmarks/hybrid_trained.py`: {about}.",
        f"Hybrids have {ZEROS:.0%} zeros in their 1x1 convolutions. Flash with code; cycles by the cost model.",
        "",
        markdown_table(("network", "flash, KB", "Mcycles", "error, degrees"), cells),
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(tyro.cli(Trained))
