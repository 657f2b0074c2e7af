"""The commands that make runs: train, prune, finetune, recalibrate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from hpe.cli.output import Data, Run
from hpe.io.processes import say
from hpe.model.config import ModelConfig
from hpe.training.augment import AugmentConfig
from hpe.training.config import FINETUNING_RECIPE, PRUNING_RECIPE, DistillConfig, FinetuneConfig, Recipe, TrainConfig
from hpe.training.pruning_config import PruneConfig


@dataclass(frozen=True)
class Advanced:
    """What most runs leave as it is."""

    augment: AugmentConfig = field(default_factory=AugmentConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)


@dataclass(frozen=True)
class TrainingData:
    """What is trained on."""

    data: Data
    """What to train on: csv:DIR, aflw2000:DIR, 300w-lp:DIR, biwi:DIR or synthetic:PRESET:COUNT[:SEED], an optional
    @split after a folder, several joined by +."""
    val: Annotated[str | None, arg(metavar="SPEC")] = None
    """Data to watch the error on; never trained on."""
    skip_bad: bool = False
    """Leave out samples that cannot be read instead of refusing to start."""
    resume: bool = False
    """Go on after the last whole epoch of the run in --out."""

    def recipe(self, training: TrainConfig, advanced: Advanced) -> Recipe:
        """With how it is trained."""
        return Recipe(self.data, self.val, self.skip_bad, training, advanced.augment, advanced.distill)


def train(
    out: Run,
    data: OmitArgPrefixes[TrainingData],
    training: OmitArgPrefixes[TrainConfig] = TrainConfig(),  # noqa: B008
    model: OmitArgPrefixes[ModelConfig] = ModelConfig(),  # noqa: B008
    advanced: OmitArgPrefixes[Advanced] = Advanced(),  # noqa: B008
) -> None:
    """Train a network. Example: hpe train --data csv:faces@train --val csv:faces@val --epochs 8 --out runs/dense

    Args:
        out: Folder for the run; it must be new, or an unfinished run with --resume.
    """
    from hpe.training.parallel import together
    from hpe.training.runs import run_train

    recipe = data.recipe(training, advanced)
    with together(out) as place:
        run_train(place, model, recipe, data.resume, report=say)
    say(f"done: {out}\nnext: hpe evaluate {out} --data SPEC, hpe prune {out} --method channel ..., hpe export {out}")


def prune(
    run: Positional[Run],
    out: Run,
    data: OmitArgPrefixes[TrainingData],
    prune: OmitArgPrefixes[PruneConfig],
    training: OmitArgPrefixes[TrainConfig] = PRUNING_RECIPE,
    advanced: OmitArgPrefixes[Advanced] = Advanced(),  # noqa: B008
) -> None:
    """Prune a trained network while it trains on. Example: hpe prune RUN --method channel --data SPEC --out SMALL

    Args:
        run: Folder of the network to prune, or a released model (b0, b0-nano); it stays as it is.
        out: Folder for the pruned run; it must be new, or an unfinished run with --resume.
    """
    from hpe.training.parallel import together
    from hpe.training.runs import run_prune

    recipe = data.recipe(training, advanced)
    with together(out) as place:
        run_prune(run, place, prune, recipe, data.resume, report=say)
    fits = f" (says whether it fits the {prune.target_board})" if prune.target_board else ""
    sparse = " --formats fp32,sparse,int8" if prune.masks.zeros_for == "pi" else ""
    say(f"done: {out}\nnext: hpe export {out}{sparse}{fits}, hpe evaluate {out} --data SPEC,")
    say(f"hpe report {run} {out} --out report")


def finetune(
    run: Positional[Run],
    out: Run,
    data: OmitArgPrefixes[TrainingData],
    tune: OmitArgPrefixes[FinetuneConfig] = FinetuneConfig(),  # noqa: B008
    training: OmitArgPrefixes[TrainConfig] = FINETUNING_RECIPE,
    advanced: OmitArgPrefixes[Advanced] = Advanced(),  # noqa: B008
) -> None:
    """Train a finished run further, pruned or not. Example: hpe finetune SMALL --qat --data SPEC --out SMALL-QAT

    Args:
        run: Folder of the network to start from, or a released model (b0, b0-nano); it stays as it is. What
            is zero in it stays zero.
        out: Folder for the new run; it must be new, or an unfinished run with --resume.
    """
    from hpe.training.parallel import together
    from hpe.training.runs import run_finetune

    recipe = data.recipe(training, advanced)
    with together(out) as place:
        run_finetune(run, place, tune, recipe, data.resume, report=say)
    say(f"done: {out}\nnext: hpe export {out}, hpe evaluate {out} --data SPEC, hpe report {run} {out} --out report")


def recalibrate(run: Positional[Run], data: Data, out: Run, pose_balance: float = 1.5) -> None:
    """Recalibrate the outputs: a gain and a bias for each angle, fitted on validation faces, against underestimation.

    Example: hpe recalibrate RUN --data csv:faces@val --out RECALIBRATED

    Args:
        run: Folder of a finished run, or a released model (b0-pi, b0-nano); it stays as it is.
        data: Faces that the run was not trained on. The error that is printed is cross-validated in 5 folds,
            or as many as there are persons, where the data tell fewer.
        out: Folder for the new run; it must be new.
        pose_balance: Weigh faces by the rarity of their angles to this power; 0 weighs all alike.
    """
    from hpe.training.recalibrate import run_recalibrate

    run_recalibrate(run, data, out, pose_balance, report=say)
    say(f"done: {out}\nnext: hpe export {out}, hpe evaluate {out} --data SPEC")


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "prune": prune,
    "finetune": finetune,
    "recalibrate": recalibrate,
}
