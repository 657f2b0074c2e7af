"""`hpe demo`: the whole way on synthetic heads. Prune both ways, recover, export, evaluate, time, compare.

It starts from the released b0; where that is not released, it trains a network first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hpe.deploy.bench import run_bench
from hpe.deploy.evaluate import run_evaluate
from hpe.deploy.export import ExportJob, export_all
from hpe.deploy.footprint import run_footprint
from hpe.inference.predictor import load_predictor
from hpe.io.errors import ConfigError
from hpe.io.files import read_json, write_whole
from hpe.model.cards import cards
from hpe.model.config import ModelConfig
from hpe.pose.crop import centre_crop
from hpe.study.report import Row, print_table, write_report
from hpe.training.augment import AugmentConfig
from hpe.training.config import Recipe, TrainConfig
from hpe.training.pruning_config import ChannelConfig, MaskConfig, PruneConfig
from hpe.training.runs import run_prune, run_train

START = "b0"
"""The released model that is pruned."""
TRAIN_DATA = "synthetic:easy:2560:1"
TEST_DATA = "synthetic:easy:512:2"
SHOWN = 16
"""Test heads on the page."""
VARY = replace(AugmentConfig.off(), flip=0.5, shift=0.03)
"""So short a training has little to fear from its own pictures."""
NO_FACE = 0.1
"""Images without a face, where the network also says whether there is one."""
FIRST = TrainConfig(epochs=6, batch_size=64, lr=2e-3, lr_schedule="onecycle")
"""Where no b0 is released."""
RECOVER = TrainConfig(epochs=4, batch_size=64, lr=1e-3, lr_schedule="onecycle")
"""Pruning takes the first half, the rest recovers. Half as many epochs do for half of the weights."""
FREQUENCY = 8
"""Steps between two pruning steps."""
BOARD = "nano33ble"
"""What the page weighs the models against."""
TOLERANCE_DEG = 10.0
"""Int8 may deviate this far here: so short a training leaves ranges that quantise badly, which the table then shows."""
SPARSE = {"sparse-50": 0.5, "sparse-87": 0.875}
"""Unstructured runs: name and sparsity."""
MASKS = MaskConfig(scope="erk")
CHANNELS = ChannelConfig(importance="lamp", ranking="global")
"""Both take mostly from the last stages, which at 64x64 hold most of the weights and see 2x2 pixels."""


def run_demo(out: Path, report: Callable[[str], None] = print) -> list[Row]:
    """Make four models in OUT/runs and compare them; writes OUT/report.html and prints its table. Returns the rows.

    Dense; half and seven eighths of the weights masked; and channels removed until the int8 file is as large as the
    87.5 % sparse one is after gzip.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: not empty; give another --out, or delete the folder first")
    started = time.perf_counter()
    runs = [out / "runs" / "dense"]
    dense = _make_dense(runs[0], report)
    vary = _variation(dense)
    for number, (name, sparsity) in enumerate(SPARSE.items(), 2):
        report(f"{number}/4 {name}: {sparsity:.1%} of the weights masked, polynomial schedule, from the dense model")
        train = RECOVER if sparsity > 0.5 else replace(RECOVER, epochs=RECOVER.epochs // 2)
        prune = PruneConfig(
            "magnitude", final_sparsity=sparsity, end_epoch=train.epochs // 2, frequency=FREQUENCY, masks=MASKS
        )
        runs.append(out / "runs" / name)
        run_prune(dense, runs[-1], prune, _recipe(train, vary), report=report)
    first = ExportJob(dense, TRAIN_DATA, None if dense == runs[0] else runs[0])
    _measure([first, *(ExportJob(run, TRAIN_DATA) for run in runs[1:])], report)
    budget = read_json(runs[-1] / "result.json")["files"]["model_int8.tflite"]["gzip_bytes"]
    report(
        f"4/4 channels: whole channels removed until the int8 file is about {budget / 1e6:.2f} MB, as sparse-87 gzipped"
    )
    runs.append(out / "runs" / "channels")
    end = RECOVER.epochs // 2
    prune = PruneConfig("channel", target_int8_bytes=budget, end_epoch=end, frequency=FREQUENCY, channels=CHANNELS)
    run_prune(dense, runs[-1], prune, _recipe(RECOVER, vary), report=report)
    _measure([ExportJob(runs[-1], TRAIN_DATA)], report)
    run_bench([run / f"model_{kind}.tflite" for run in runs for kind in ("fp32", "int8")], seconds=1.0)

    trained = sum(read_json(run / "result.json").get("train_seconds", 0.0) for run in runs)
    note = (
        f"Trained for {trained / 60:.1f} minutes in all, on synthetic heads: a demonstration that everything works, "
        "not a model to use. Every number was measured on this machine just now."
    )
    sheet = _sheet(runs[-1] / "model_int8.tflite", out / "samples.png")
    pictures = {"Test heads: true pose (thin), pose by the int8 channel-pruned model (thick)": sheet}
    (rows,) = write_report(runs, out, pictures, note).values()
    print_table(rows, f"Test data: {TEST_DATA}")
    minutes = (time.perf_counter() - started) / 60
    report(f"{note}\n{minutes:.1f} minutes in all. Open {out / 'report.html'}")
    return rows


def _recipe(train: TrainConfig, vary: AugmentConfig) -> Recipe:
    return Recipe(TRAIN_DATA, TEST_DATA, train=train, augment=vary)


def _variation(start: Path) -> AugmentConfig:
    """How the training images of the network of `start` vary."""
    from hpe.model.net import load_model

    return replace(VARY, no_face=NO_FACE) if load_model(start).config.locate else VARY


def _make_dense(run: Path, report: Callable[[str], None]) -> Path:
    """The network that is then pruned: a released model, or the run RUN, which is made."""
    if START in cards():
        report(f"1/4 dense: the released {START}, as it is")
        return Path(START)
    report(f"1/4 dense: {START} is not released; an EfficientNet-B0 from scratch on {TRAIN_DATA}")
    run_train(run, ModelConfig(act="relu6"), _recipe(FIRST, VARY), report=report)
    return run


def _measure(jobs: list[ExportJob], report: Callable[[str], None]) -> None:
    """Export networks, evaluate their float and int8 files on the test data, and weigh these against a board."""
    for files in export_all(jobs, tolerance_deg=TOLERANCE_DEG, report=report):
        for path in (files["fp32"], files["int8"]):
            metrics = run_evaluate(path, TEST_DATA)
            report(f"  {path.parent.name}/{path.name}: {metrics.mean_deg:.2f} deg")
        run_footprint(files["int8"], BOARD)


def _sheet(model: Path, out: Path) -> Path:
    """Test heads with the true pose as thin axes and the model's as thick ones."""
    from hpe.data.faces import load_faces
    from hpe.pose.overlay import contact_sheet

    faces = load_faces(TEST_DATA)
    crops = centre_crop(faces.images[:SHOWN])
    sheet = contact_sheet(crops, faces.pose_deg[:SHOWN], load_predictor(model)(crops))
    return write_whole(out, sheet.save)
