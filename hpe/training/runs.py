"""The three runs that train: from nothing, while pruning, and on from a finished run. Each fills one run folder.

RUN/config.json        what was asked for
RUN/metrics.csv        one row an epoch
RUN/model.safetensors  the weights; arch.json beside it holds the widths
RUN/result.json        what was measured, by every later step too
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpe.io.environment import environment
from hpe.io.files import read_json, write_json
from hpe.training.config import ConfigError, FinetuneConfig, ModelConfig, PruneConfig, Recipe, run_id, to_dict

if TYPE_CHECKING:
    import torch

    from hpe.data.faces import Faces
    from hpe.model.net import HeadPoseNet
    from hpe.training.state import Pruner

Report = Callable[[str], None]

GATE_SAMPLES = 512
"""Faces by which `--simplify` measures what squeeze-excitation lets through."""


class RunError(RuntimeError):
    """A run folder that cannot be used as asked; the message names it and the remedy."""


def run_train(out: Path, model: ModelConfig, recipe: Recipe, resume: bool = False, report: Report = print) -> Path:
    """Train a network from nothing (or ImageNet weights) by `recipe`; returns the run folder `out`."""
    from hpe.model.net import build_model

    network = build_model(model, recipe.train.seed)
    config = {"command": "train", "model": to_dict(model)}
    return _run(out, config, network, recipe, resume=resume, report=report)


def run_prune(
    source: Path, out: Path, prune: PruneConfig, recipe: Recipe, resume: bool = False, report: Report = print
) -> Path:
    """Prune the network of run `source` while training goes on; the pruned one is kept in `out`."""
    from hpe.data.faces import load_faces
    from hpe.model.net import load_model
    from hpe.training.loop import steps_per_epoch
    from hpe.training.pruners import drop_least_blocks, make_pruner

    _check_source(source, out)
    network = load_model(source)
    config = {"command": "prune", "parent": str(source), "model": to_dict(network.config), "prune": to_dict(prune)}
    faces = load_faces(recipe.data, skip_bad=recipe.skip_bad)
    if prune.method == "block":
        report(f"dropped {', '.join(drop_least_blocks(network, faces, prune.blocks))}")
        pruner = None
    else:
        steps = steps_per_epoch(len(faces), recipe.train.batch_size)
        pruner = make_pruner(network, prune, recipe.train.epochs, steps, faces)
    return _run(out, config, network, recipe, faces, pruner, resume=resume, report=report)


def run_finetune(
    source: Path, out: Path, tune: FinetuneConfig, recipe: Recipe, resume: bool = False, report: Report = print
) -> Path:
    """Train the network of run `source` further, its zeros and widths kept; the new one is kept in `out`."""
    from hpe.data.faces import load_faces
    from hpe.model.net import example_input, load_model
    from hpe.model.simplify import simplified
    from hpe.training.loop import choose_device
    from hpe.training.pruners import rewind_to, some_crops
    from pruning.quantise.qat import quantisation_aware
    from pruning.weights.clustering import WeightClusterer
    from pruning.weights.frozen import ZeroKeeper

    _check_source(source, out)
    network = load_model(source)
    if tune.qat and recipe.distill.feature_weight:
        raise ConfigError("--feature-weight reads the float features, which --qat does not compute; leave one out")
    if tune.rewind_to is not None:
        rewind_to(network, tune.rewind_to)
    faces = load_faces(recipe.data, skip_bad=recipe.skip_bad)
    if tune.simplify:
        network = simplified(network, some_crops(faces, GATE_SAMPLES))
    pruner = WeightClusterer(network, tune.clusters) if tune.clusters else ZeroKeeper(network)
    device = choose_device(recipe.train.device)
    view = quantisation_aware(network.to(device), example_input()) if tune.qat else None
    config = {"command": "finetune", "parent": str(source), "model": to_dict(network.config), "finetune": to_dict(tune)}
    return _run(out, config, network, recipe, faces, pruner, view, resume=resume, report=report)


def _check_source(source: Path, out: Path) -> None:
    if out.resolve() == source.resolve():
        raise ConfigError(f"--out {out} is the run to start from; give another folder, so that it stays as it is")


def _run(
    out: Path,
    config: dict[str, Any],
    network: HeadPoseNet,
    recipe: Recipe,
    faces: Faces | None = None,
    pruner: Pruner | None = None,
    view: torch.nn.Module | None = None,
    *,
    resume: bool,
    report: Report,
) -> Path:
    """What all runs share: the folder, the data, the loop, the checkpoint, the result."""
    from hpe.data.faces import load_faces
    from hpe.model.net import example_input, load_model, save_checkpoint
    from hpe.training.distillation import relabelled
    from hpe.training.loop import LAST, choose_device, fit
    from hpe.training.losses import distilled, supervised
    from pruning.stats import stats

    config |= to_dict(recipe)
    faces = load_faces(recipe.data, skip_bad=recipe.skip_bad) if faces is None else faces
    val = load_faces(recipe.val, skip_bad=recipe.skip_bad) if recipe.val else None
    teacher = load_model(recipe.distill.teacher) if recipe.distill.teacher is not None else None
    objective = supervised
    if teacher is not None and not recipe.distill.teacher_once:
        objective = distilled(teacher, network, recipe.distill)
    _open_run(out, config, resume)
    if teacher is not None and recipe.distill.teacher_once:
        report(f"asking {recipe.distill.teacher} about {len(faces):,} faces")
        faces = relabelled(faces, teacher.to(choose_device(recipe.train.device)), recipe.distill)
    result = fit(network, faces, val, recipe.train, out, pruner, recipe.augment, objective, view, resume, report)
    network.cpu()
    save_checkpoint(network, out)
    counts = stats(network, example_input())
    summary: dict[str, Any] = {"id": run_id(config), "config": config, "images": len(faces), "dropped": faces.dropped}
    summary |= {"params": counts.params, "nonzeros": counts.nonzeros, "macs": counts.macs}
    summary |= {"train_seconds": round(result.seconds, 1), "val": result.val.to_dict() if result.val else None}
    write_json(out / "result.json", {**summary, "environment": environment()})
    (out / LAST).unlink(missing_ok=True)
    return out


def _open_run(out: Path, config: dict[str, Any], resume: bool) -> None:
    """Start a new run folder, or go on in one; what is there is never overwritten."""
    if (out / "result.json").exists():
        raise RunError(f"{out}: holds a finished run; give another --out, or delete the folder first")
    if (out / "config.json").exists():
        if not resume:
            raise RunError(f"{out}: holds an unfinished run; go on with --resume, or give another --out")
        saved = read_json(out / "config.json")
        changed = [key for key in config if key != "train" and config[key] != saved.get(key)]
        if changed:
            raise RunError(f"{out}: --resume with another {', '.join(changed)}; config.json there says what it was")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: exists and is no run folder; give another --out")
    write_json(out / "config.json", config)
