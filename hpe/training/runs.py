"""The three runs that train: from scratch, while pruning, and on from a finished run. Each fills one run folder.

RUN/config.json        what was asked for
RUN/metrics.csv        one row per epoch
RUN/model.safetensors  the weights; arch.json beside it holds the widths
RUN/ranges.json        after `hpe finetune --qat`: the learnt range of every activation, for the int8 file
RUN/result.json        what was measured, by every later step too
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpe.io.configs import run_id, to_dict
from hpe.io.environment import environment
from hpe.io.errors import ConfigError
from hpe.io.files import held, write_json
from hpe.io.processes import process_count
from hpe.model.checkpoint import checkpoint_folder
from hpe.model.config import ModelConfig
from hpe.training.config import FinetuneConfig, Recipe
from hpe.training.descent import lineage_after
from hpe.training.pruning_config import PruneConfig
from hpe.training.start import (
    LAST,
    LOCK,
    Report,
    Request,
    RunError,
    check_board,
    check_other_folder,
    clear_finished,
    clear_leftovers,
    is_finished,
    keep_schedule,
)
from hpe.training.timing import check_epochs, settled

if TYPE_CHECKING:
    import torch

    from hpe.data.faces import Faces
    from hpe.model.net import HeadPoseNet
    from hpe.training.loop import FitResult
    from hpe.training.state import Pruner

RANGES = "ranges.json"
"""What quantisation-aware training learnt beside the weights, in the run folder."""
GATE_SAMPLES = 512
"""Faces by which `--simplify` measures what squeeze-excitation lets through."""


def run_train(
    out: Path,
    model: ModelConfig,
    recipe: Recipe,
    resume: bool = False,
    report: Report = print,
    beginning: Path | None = None,
) -> Path:
    """Train a network from scratch (or ImageNet weights) by `recipe`; returns the run folder `out`.

    `beginning` is the state that `run_beginning` left of the same training: it goes on from there, to the same bits.
    """
    request = Request(out, {"command": "train", "model": to_dict(model)}, recipe, resume, report)
    if is_finished(request):
        return out

    from hpe.data.faces import load_faces
    from hpe.model.net import build_model
    from hpe.training.loop import choose_device

    choose_device(recipe.train.device)
    network = build_model(model, recipe.train.seed)
    return run_to_end(request, network, load_faces(recipe.data, skip_bad=recipe.skip_bad), beginning=beginning)


def run_prune(
    source: Path, out: Path, prune: PruneConfig, recipe: Recipe, resume: bool = False, report: Report = print
) -> Path:
    """Prune the network of run `source` while training goes on; the pruned one is kept in `out`."""
    check_other_folder(source, out)
    prune = keep_schedule(prune, out, resume)
    check_epochs(prune, recipe.train.epochs)
    request = Request(out, {"command": "prune", "parent": str(source), "prune": to_dict(prune)}, recipe, resume, report)
    if is_finished(request):
        return out
    checkpoint_folder(source)
    if prune.target_board is not None:
        check_board(prune.target_board)

    from hpe.data.faces import load_faces
    from hpe.model.net import load_model
    from hpe.training.loop import choose_device, steps_per_epoch
    from hpe.training.pruners import check_network, drop_least_blocks, make_pruner
    from pruning.weights.engines import PI_PAYS
    from pruning.weights.frozen import ZeroKeeper

    choose_device(recipe.train.device)
    network = load_model(source)
    check_network(network, prune)
    if prune.masks.zeros_for == "pi" and prune.final_sparsity < PI_PAYS:
        report(
            f"warning: below --final-sparsity {PI_PAYS} XNNPACK's sparse kernels run, but take no fewer instructions"
        )
    faces = load_faces(recipe.data, skip_bad=recipe.skip_bad)
    if prune.method == "block":
        report(f"dropped {', '.join(drop_least_blocks(network, faces, prune.blocks))}")
        pruner: Pruner = ZeroKeeper(network)
    else:
        steps = steps_per_epoch(len(faces), recipe.train.batch_size)
        prune = settled(prune, recipe.train.epochs, steps)
        pruner = make_pruner(network, prune, recipe.train.epochs, steps, faces, recipe)
    what = request.what | {"model": to_dict(network.config), "prune": to_dict(prune)}
    return run_to_end(replace(request, what=what), network, faces, pruner)


def run_finetune(
    source: Path, out: Path, tune: FinetuneConfig, recipe: Recipe, resume: bool = False, report: Report = print
) -> Path:
    """Train the network of run `source` further, its zeros and widths kept; the new one is kept in `out`."""
    check_other_folder(source, out)
    if tune.qat and recipe.distill.feature_weight:
        raise ConfigError("--feature-weight reads the float features, which --qat does not compute; leave one out")
    if tune.qat and process_count() > 1:
        raise ConfigError("--qat learns ranges from the images that a process sees; run it in one process")
    what = {"command": "finetune", "parent": str(source), "finetune": to_dict(tune)}
    request = Request(out, what, recipe, resume, report)
    if is_finished(request):
        return out
    for run in (source, tune.rewind_to):
        if run is not None:
            checkpoint_folder(run)

    from hpe.data.faces import load_faces
    from hpe.model.extension import add_outputs
    from hpe.model.net import example_input, load_model
    from hpe.model.simplify import simplified
    from hpe.training.loop import choose_device
    from hpe.training.pruners import rewind_to, some_crops
    from hpe.training.zeros import KeepingZeros
    from pruning.quantise.qat import quantisation_aware
    from pruning.weights.clustering import WeightClusterer
    from pruning.weights.frozen import ZeroKeeper

    device = choose_device(recipe.train.device)
    network = load_model(source)
    if tune.rewind_to is not None:
        rewind_to(network, tune.rewind_to)
    faces = load_faces(recipe.data, skip_bad=recipe.skip_bad)
    if tune.simplify:
        padding = "same" if tune.simplify_for == "mcu" else "symmetric"
        network = simplified(network, some_crops(faces, GATE_SAMPLES), padding)
    add_outputs(network, tune.locate, tune.spread)
    network.to(device)
    clusterer = WeightClusterer(network, tune.clusters) if tune.clusters else None
    pruner = ZeroKeeper(network) if clusterer is None else KeepingZeros(network, clusterer)
    view = quantisation_aware(network, example_input()) if tune.qat else None
    return run_to_end(replace(request, what=what | {"model": to_dict(network.config)}), network, faces, pruner, view)


def run_to_end(
    request: Request,
    network: HeadPoseNet,
    faces: Faces,
    pruner: Pruner | None = None,
    view: torch.nn.Module | None = None,
    beginning: Path | None = None,
) -> Path:
    """What all runs share: the rest of the data, the folder, the loop, the checkpoint, the result."""
    from hpe.data.faces import load_faces
    from hpe.model.net import load_model, save_checkpoint
    from hpe.training.augment import TrainAugment
    from hpe.training.distillation import relabelled_once
    from hpe.training.loop import Lesson, choose_device, fit, steps_per_epoch
    from hpe.training.losses import distilled, supervised
    from hpe.training.state import TrainState
    from pruning.quantise.ranges import learnt_ranges

    if network.config.locate and not request.recipe.augment.no_face:
        request.report("warning: without --no-face all images show a face: the score of there being one learns nothing")
    lineage = to_dict(lineage_after(request.config))
    request = replace(request, what=request.what | {"lineage": lineage})
    out, recipe, report = request.out, request.recipe, request.report
    TrainAugment(recipe.augment, network.config.locate)  # refuses what does not suit the network
    train, distill, device = recipe.train, recipe.distill, choose_device(recipe.train.device)
    steps = steps_per_epoch(len(faces), train.batch_size)
    teacher = load_model(distill.teacher) if distill.teacher is not None else None
    objective = supervised
    with _explained(out, train.batch_size), ExitStack() as stack:
        state = TrainState(network.to(device), pruner, train, steps, view)
        if teacher is not None and not distill.teacher_offline:
            objective = distilled(teacher, network, distill)
        val = load_faces(recipe.val, skip_bad=recipe.skip_bad) if recipe.val else None
        if request.resume and (out / LAST).exists():
            state.load(out / LAST)
            state.check_epochs()
            report(f"resumed after epoch {state.progress.epoch} of {train.epochs}")
        elif beginning is not None:
            state.load(beginning, unpruned=True)
            report(f"went on from {beginning} after epoch {state.progress.epoch} of {train.epochs}")
        stack.enter_context(held(out / LOCK, f"{out}: another program trains this run; give another --out"))
        clear_leftovers(out)
        write_json(out / "config.json", request.config)  # only now: nothing refuses any more
        if teacher is not None and distill.teacher_offline:
            report(f"asking {distill.teacher} about {len(faces):,} faces")
            faces = relabelled_once(faces, teacher.to(device), distill, out)
        result = fit(state, Lesson(faces, val, recipe.augment, objective), out, report)
        network.cpu()
        save_checkpoint(network, out)
        if view is not None:
            write_json(out / RANGES, learnt_ranges(view))
        write_json(out / "result.json", _summary(request.config, network, faces, result))
    clear_finished(out)
    return out


def _summary(config: dict[str, Any], network: HeadPoseNet, faces: Faces, result: FitResult) -> dict[str, Any]:
    """What result.json says of a run that has just ended."""
    from hpe.model.net import example_input
    from pruning.stats import stats

    counts = stats(network, example_input())
    return {
        "id": run_id(config),
        "config": config,
        "images": len(faces),
        "faces_sha256": faces.digest(),
        "dropped": faces.dropped,
        "params": counts.params,
        "nonzeros": counts.nonzeros,
        "macs": counts.macs,
        "train_seconds": round(result.seconds, 1),
        "processes": process_count(),
        "val": result.val.to_dict() if result.val else None,
        "environment": environment(),
    }


@contextmanager
def _explained(out: Path, batch_size: int) -> Iterator[None]:
    """Say what to do where the disk or the memory is full in the middle of a run."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise RunError(f"{out}: {os.strerror(error.errno)}; free some space, then go on with --resume") from None
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate" in str(error)):
            raise
        raise RunError(
            f"{out}: the memory is full; start again in another --out with a smaller --batch-size (now {batch_size})"
        ) from None
