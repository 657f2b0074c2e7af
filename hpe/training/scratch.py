"""Runs from scratch that prune on the way, and the epochs before pruning, which several such runs may share.

`run_beginning` trains the dense network for some epochs and keeps the state; runs that prune later go on from it and
end in the same bits as if each had been trained from the start.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpe.io.configs import to_dict
from hpe.io.errors import ConfigError
from hpe.io.files import write_json
from hpe.model.config import ModelConfig
from hpe.training.config import Recipe
from hpe.training.pruning_config import PruneConfig
from hpe.training.runs import run_to_end
from hpe.training.start import LAST, Report, Request, check_inputs, is_finished
from hpe.training.timing import check_epochs, settled

DONE = "done.json"
"""In the folder of a beginning: it is whole."""


def run_scratch_prune(
    out: Path,
    model: ModelConfig,
    prune: PruneConfig,
    recipe: Recipe,
    report: Report = print,
    beginning: Path | None = None,
) -> Path:
    """Train a network from scratch and prune it on the way, as the study of 2022 does; returns the run folder `out`.

    Whatever part of the run is in `out` is gone on with; else `beginning`, the state that `run_beginning` left of the
    same recipe, saves the epochs before pruning.
    """
    if prune.method == "block":
        raise ConfigError("--method block drops blocks of a trained network; give a run to start from")
    check_epochs(prune, recipe.train.epochs)
    what = {"command": "prune", "parent": None, "model": to_dict(model), "prune": to_dict(prune)}
    request = Request(out, what, recipe, True, report)

    from hpe.data.faces import load_faces
    from hpe.model.net import build_model
    from hpe.training.loop import choose_device, steps_per_epoch
    from hpe.training.pruners import check_network, make_pruner

    choose_device(recipe.train.device)
    check_inputs(recipe)
    faces = load_faces(recipe.data, skip_bad=recipe.skip_bad)
    steps = steps_per_epoch(len(faces), recipe.train.batch_size)
    prune = settled(prune, recipe.train.epochs, steps)
    request = replace(request, what=what | {"prune": to_dict(prune)})
    if is_finished(request):
        return out
    network = build_model(model, recipe.train.seed)
    check_network(network, prune)
    pruner = make_pruner(network, prune, recipe.train.epochs, steps, faces, recipe)
    return run_to_end(request, network, faces, pruner, beginning=beginning)


def run_beginning(
    out: Path, model: ModelConfig, recipe: Recipe, epochs: int, report: Report = print, earlier: Path | None = None
) -> Path:
    """Train the dense network of a recipe for its first `epochs` only; returns the file of the state.

    It goes on with what is in `out`, else from `earlier`, the state after fewer epochs.
    """
    from hpe.data.faces import load_faces
    from hpe.model.net import build_model
    from hpe.training.loop import Lesson, choose_device, fit, steps_per_epoch
    from hpe.training.state import TrainState

    state_file = out / LAST
    if (out / DONE).exists():
        return state_file
    check_inputs(recipe)
    out.mkdir(parents=True, exist_ok=True)
    faces = load_faces(recipe.data, skip_bad=recipe.skip_bad)
    val = load_faces(recipe.val, skip_bad=recipe.skip_bad) if recipe.val else None
    network = build_model(model, recipe.train.seed).to(choose_device(recipe.train.device))
    state = TrainState(network, None, recipe.train, steps_per_epoch(len(faces), recipe.train.batch_size))
    begun = state_file if state_file.exists() else earlier
    if begun is not None:
        state.load(begun)
    fit(state, Lesson(faces, val, recipe.augment), out, report, until=epochs)
    write_json(out / DONE, {"epochs": epochs})
    return state_file


def shared_epochs(prune: PruneConfig | None, epochs: int) -> int:
    """How many of a run's first epochs are those of the dense network with the same recipe.

    The pruning step at the start of epoch b comes with the last optimiser step of the epoch before. It changes nothing
    where the schedule begins at 0.
    """
    if prune is None:
        return epochs
    if prune.method == "block" or prune.masks.score == "movement" or prune.channels.grow:
        return 0
    gentle = prune.schedule == "polynomial" and prune.initial_sparsity == 0
    return prune.begin_epoch if gentle else max(0, prune.begin_epoch - 1)


def canonical(prune: PruneConfig, epochs: int) -> PruneConfig:
    """The config without what makes no difference: two runs with the same one end in the same bits.

    Masks nest and channels are cut once for a sparsity, so a constant one needs no further pruning step: its end and
    frequency say nothing. Not so in a hybrid, where masks take the place of channels in the middle. A polynomial from a
    sparsity to the same one is constant.
    """
    flat = prune.schedule == "polynomial" and prune.initial_sparsity == prune.final_sparsity and not prune.has_target
    once = flat or prune.schedule == "constant"
    if prune.method in ("block", "hybrid") or prune.channels.grow or not once:
        return prune
    return replace(prune, schedule="constant", initial_sparsity=0.0, end_epoch=epochs, frequency=1)
