"""Unstructured and structured pruning on equal terms: one dense network, one recipe, the same bytes.

    uv run python benchmarks/pruning_study.py --dense runs/dense --data csv:faces@train --val csv:faces@val \\
        --test csv:faces@test --out runs/study

For each share of weights that masks remove (50, 75, 87.5 %) the masked int8 file, after gzip, sets a budget of bytes;
channels are then removed until the int8 file is no larger, and a narrower B0 is trained from scratch to the same size,
for as many epochs as the dense network and its recovery had together. Random masks and random channels are controls;
`erk`, `lamp` and `sensitivity` ask what a better spread over the layers brings to either family.

Stages of each rival, each in a folder of its own under --out, so that an interrupted study goes on where it stopped:
once       pruned one-shot; error as it is, and with batch-norm statistics re-estimated
tuned      pruned on its schedule while training goes on (a narrow net: trained from scratch), by the labels
distilled  the same, by labels and dense teacher
qat        distilled, then trained on with the rounding of int8; control: trained on as long without
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from hpe.data.faces import load_faces
from hpe.deploy.evaluate import evaluate, run_evaluate
from hpe.deploy.export import run_export
from hpe.deploy.samples import random_crops
from hpe.io.configs import run_id, to_dict
from hpe.io.environment import commit, processor
from hpe.io.files import read_json, write_csv, write_json, write_text
from hpe.model.config import ModelConfig
from hpe.model.lineage import Lineage
from hpe.model.net import HeadPoseNet, build_model, example_input, load_model, predict_all
from hpe.model.preprocess import preprocess_torch
from hpe.training.config import (
    ChannelConfig,
    DistillConfig,
    FinetuneConfig,
    MaskConfig,
    PruneConfig,
    Recipe,
    TrainConfig,
)
from hpe.training.pruners import make_pruner
from hpe.training.runs import run_finetune, run_prune, run_train
from pruning.channels.norms import reestimate_norms
from pruning.stats import stats

SHARES = {"50": 0.5, "75": 0.75, "87": 0.875}
MASKS = {
    "polynomial": MaskConfig(),
    "constant": MaskConfig(),
    "erk": MaskConfig(scope="erk"),
    "random": MaskConfig(score="random"),
}
"""Rivals that mask weights: per layer, by magnitude, on the polynomial schedule, unless the name says otherwise."""
CHANNELS = {
    "channel": ChannelConfig(),
    "lamp": ChannelConfig(importance="lamp", ranking="global"),
    "sensitivity": ChannelConfig(importance="sensitivity", ranking="global"),
    "random_channel": ChannelConfig(importance="random"),
}
"""Rivals that remove channels: by group magnitude, ranked within each group, unless their name says otherwise."""
KINDS = (*MASKS, *CHANNELS, "width")
STAGES = ("tuned", "distilled", "qat")
LEGEND = """\
- `_deg`: mean absolute error on the test data over yaw, pitch and roll, in degrees; `_int8_deg`: of the int8 file.
- `once`: pruned one-shot from the dense network; `once_new_norms`: with batch-norm statistics re-estimated.
- `tuned`: pruned on its schedule while training goes on, by the labels (`width`: trained from scratch).
- `distilled`: the same, with the dense network as teacher.
- `control`, `qat`: `distilled`, trained on as long without and with the rounding of int8.
- `int8_size_bytes` of all rivals but masks keep within what one-stroke masks leave after gzip -9.
"""
NORM_IMAGES = 512
"""Training faces from which batch-norm statistics are re-estimated after one-shot pruning."""


@dataclass(frozen=True)
class Study:
    """What is compared, on what, for how long."""

    dense: Path
    """Run folder of the dense network that everything starts from."""
    data: str
    """Data to train on, as in `hpe train`."""
    val: str
    """Data to watch."""
    test: str
    """Data of the table; looked at once a cell."""
    out: Path
    """Folder of the study."""
    results: Path | None = None
    """Also write the table here: a path without its ending, as benchmarks/results/pruning_study_HARDWARE_YYYYMM."""
    kinds: tuple[str, ...] = KINDS
    """Which rivals."""
    shares: tuple[str, ...] = tuple(SHARES)
    """At which shares of masked weights."""
    stages: tuple[str, ...] = STAGES
    """Which stages each of these rivals goes through; what was finished before stands in the table too. None: only the
    table is made."""
    epochs: int = 4
    """Epochs of pruning and recovery, of each stage."""
    qat_epochs: int = 1
    """Epochs of quantisation-aware training, and of its control."""
    lr: float = 1e-3
    """Peak of the 1cycle rate; a fifth of it for the last stage."""
    frequency: int = 10
    """Steps between two pruning steps."""

    def recipe(self, distill: bool, epochs: int, lr: float) -> Recipe:
        """The one recipe of all stages."""
        train = TrainConfig(epochs=epochs, lr=lr, lr_schedule="onecycle")
        teacher = DistillConfig(self.dense) if distill else DistillConfig()
        return Recipe(self.data, self.val, train=train, distill=teacher)

    def prune_config(self, kind: str, share: str) -> PruneConfig:
        """The pruning of a rival. Channels get the bytes that the polynomial masks leave after gzip."""
        if kind in CHANNELS:
            return PruneConfig(
                "channel", target_int8_bytes=self.budget(share), frequency=self.frequency, channels=CHANNELS[kind]
            )
        schedule = "constant" if kind == "constant" else "polynomial"
        return PruneConfig(
            "magnitude", schedule, final_sparsity=SHARES[share], frequency=self.frequency, masks=MASKS[kind]
        )

    def budget(self, share: str) -> int:
        """Bytes of the int8 file of a masked network after gzip -9; the masks are cut one-shot from the dense."""
        folder = self.out / f"budget-{share}"
        if not (folder / "result.json").exists():
            network = self.pruned_once(PruneConfig("magnitude", final_sparsity=SHARES[share], frequency=1))
            save(network, folder, self.data)
        if "files" not in read_json(folder / "result.json"):
            run_export(folder, self.data, ("int8",), tolerance_deg=180.0)
        return read_json(folder / "result.json")["files"]["model_int8.tflite"]["gzip_bytes"]

    def pruned_once(self, prune: PruneConfig) -> HeadPoseNet:
        """The dense network pruned one-shot."""
        network = load_model(self.dense)
        once = replace(prune, schedule="constant", frequency=1, begin_epoch=0, end_epoch=1)
        make_pruner(network, once, 1, 1, load_faces(self.data)).step(torch.optim.SGD(network.parameters(), lr=0.0))
        return network


def save(network: HeadPoseNet, folder: Path, data: str) -> None:
    """A run folder of a network that was not trained here."""
    from hpe.model.net import save_checkpoint

    save_checkpoint(network, folder)
    config = {"command": "prune", "data": data, "lineage": to_dict(Lineage("magnitude"))}
    write_json(folder / "config.json", config)
    write_json(folder / "result.json", {"id": run_id(config), "config": config})


def narrow(bytes_allowed: int, like: ModelConfig) -> ModelConfig:
    """The widest scaled B0 whose int8 file is estimated at no more bytes."""
    low, high = 1, 100  # hundredths; low fits
    while high - low > 1:
        middle = (low + high) // 2
        counts = stats(build_model(replace(like, width=middle / 100)), example_input())
        low, high = (middle, high) if counts.int8_bytes <= bytes_allowed else (low, middle)
    return replace(like, width=low / 100)


def rival(study: Study, kind: str, share: str) -> dict[str, Any]:
    """One row of the table; stages that are finished are not run again."""
    folder = study.out / f"{kind}-{share}"
    stage = Stage(folder)
    row: dict[str, Any] = {"rival": kind, "masked_share": SHARES[share]}
    start = from_nothing(study, share) if kind == "width" else from_dense(study, study.prune_config(kind, share))
    if kind == "width":
        row["width"] = narrow(study.budget(share), load_model(study.dense).config).width
    else:
        row |= once(study, folder / "once.json", study.prune_config(kind, share))
    for name in ("tuned", "distilled"):
        if name in study.stages:
            stage(name, lambda out, name=name: start(out, name == "distilled"))
    last = study.recipe(True, study.qat_epochs, study.lr / 5)
    if "qat" in study.stages:
        for name in ("control", "qat"):
            tune = FinetuneConfig(qat=name == "qat")
            stage(name, lambda out, tune=tune: run_finetune(folder / "distilled", out, tune, last, started(out)))
    return row | measured(folder, study.test)


Start = Callable[[Path, bool], Path]
"""(folder of a stage, whether the dense network teaches) -> the folder, trained."""


def from_dense(study: Study, prune: PruneConfig) -> Start:
    """Pruned while training goes on."""

    def start(out: Path, distill: bool) -> Path:
        recipe = study.recipe(distill, study.epochs, study.lr)
        return run_prune(study.dense, out, prune, recipe, started(out))

    return start


def from_nothing(study: Study, share: str) -> Start:
    """A narrow net, trained for as many epochs as the dense network and its recovery had together."""
    dense_epochs = read_json(study.dense / "result.json")["config"]["train"]["epochs"]

    def start(out: Path, distill: bool) -> Path:
        model = narrow(study.budget(share), load_model(study.dense).config)
        return run_train(out, model, study.recipe(distill, dense_epochs + study.epochs, study.lr), started(out))

    return start


def started(out: Path) -> bool:
    """Whether the run was begun before, and is to be resumed."""
    return (out / "config.json").exists()


def measured(folder: Path, test: str) -> dict[str, Any]:
    """Errors of all finished stages of a rival, and what the last one weighs."""
    row: dict[str, Any] = {}
    done = [name for name in ("tuned", "distilled", "control", "qat") if (folder / name / "result.json").exists()]
    for name in done:
        row |= {f"{name}_deg": error(folder / name, test), f"{name}_int8_deg": error(int8(folder / name), test)}
    if done:
        row |= weight(folder / done[-1])
    return row


def weight(run: Path) -> dict[str, int]:
    """What a run weighs: parameters, MACs and bytes."""
    result = read_json(run / "result.json")
    row = {name: result[name] for name in ("params", "nonzeros", "macs")}
    return row | {f"int8_{name}": result["files"]["model_int8.tflite"][name] for name in ("size_bytes", "gzip_bytes")}


class Stage:
    """Runs a stage of a rival into a folder named after it, unless it is finished."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, run: Callable[[Path], Path]) -> None:
        out = self.folder / name
        if not (out / "result.json").exists():
            print(f"{out}", flush=True)
            run(out)


def once(study: Study, note: Path, prune: PruneConfig) -> dict[str, float]:
    """Test error right after one-shot pruning, and with batch-norm statistics re-estimated; kept in `note`."""
    if not note.exists():
        network = study.pruned_once(prune)
        test = load_faces(study.test)
        before = evaluate(lambda crops: predict_all(network.eval(), crops), test).mean_deg
        crops = torch.from_numpy(np.ascontiguousarray(random_crops(load_faces(study.data), NORM_IMAGES)))
        reestimate_norms(network, [preprocess_torch(batch) for batch in crops.split(128)], keep_function=False)
        after = evaluate(lambda crops: predict_all(network.eval(), crops), test).mean_deg
        write_json(note, {"once_deg": before, "once_new_norms_deg": after})
    return read_json(note)


def int8(run: Path) -> Path:
    """The int8 file of a run; made where it is missing."""
    if not (run / "model_int8.tflite").exists():
        run_export(run, formats=("int8",), tolerance_deg=180.0)
    return run / "model_int8.tflite"


def error(model: Path, test: str) -> float:
    """Mean absolute error on the test data, in degrees; read where it was measured before."""
    run = model if model.is_dir() else model.parent
    name = "model.safetensors" if model.is_dir() else model.name
    known = read_json(run / "result.json").get("evaluations", {}).get(f"{name} on {test}")
    return known["mae_deg"]["mean"] if known else run_evaluate(model, test).mean_deg


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as markdown."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in rows:
        cells = (f"{cell:.2f}" if name.endswith("_deg") and cell != "" else f"{cell}" for name, cell in row.items())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def in_order(row: dict[str, Any]) -> dict[str, Any]:
    """The row with all columns, those it lacks empty."""
    stages = ("tuned", "distilled", "control", "qat")
    errors = ("once_deg", "once_new_norms_deg", *(f"{stage}{kind}_deg" for stage in stages for kind in ("", "_int8")))
    weights = ("params", "nonzeros", "macs", "int8_size_bytes", "int8_gzip_bytes")
    return {name: row.get(name, "") for name in ("rival", "masked_share", "width", *errors, *weights)}


def main(study: tyro.conf.OmitArgPrefixes[Study]) -> None:
    """Run what is missing of the study, and print and write its table after each rival."""
    for name, known in (("kinds", KINDS), ("shares", tuple(SHARES)), ("stages", STAGES)):
        unknown = set(getattr(study, name)) - set(known)
        if unknown:
            raise SystemExit(f"--{name} {' '.join(sorted(unknown))}: choose from {' '.join(known)}")
    rows: list[dict[str, Any]] = []
    dense = {
        "rival": "dense",
        "masked_share": 0.0,
        "tuned_deg": error(study.dense, study.test),
        "tuned_int8_deg": error(int8(study.dense), study.test),
    }
    dense |= weight(study.dense)
    for share in study.shares:
        for kind in study.kinds:
            rows.append(rival(study, kind, share))
            shown = [in_order(row) for row in (dense, *rows)]
            print(table(shown), flush=True)
            for path in (study.out / "table", *([study.results] if study.results else [])):
                write_table(path, shown, study)


def write_table(path: Path, rows: list[dict[str, Any]], study: Study) -> None:
    """PATH.csv, and PATH.md with the protocol above the same rows."""
    protocol = (
        f"Test: {study.test}. Epochs: recovery {study.epochs}, last stage {study.qat_epochs}; 1cycle, peak {study.lr}, "
        f"pruning step every {study.frequency} steps, seed 0. {processor()}, torch {torch.__version__}, {commit()}."
    )
    write_csv(f"{path}.csv", rows)
    write_text(f"{path}.md", f"{protocol}\n\n{table(rows)}\n\n{LEGEND}")


if __name__ == "__main__":
    tyro.cli(main)
