"""From what a config says to what `pruning` does: pruners, dropped blocks, rewound weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpe.data.faces import Faces
from hpe.io.errors import ConfigError
from hpe.model.net import HeadPoseNet, example_input, load_model
from hpe.model.preprocess import preprocess_torch
from hpe.pose.crop import centre_crop
from hpe.training.config import Recipe
from hpe.training.latency import make_price
from hpe.training.pruning_config import PruneConfig
from hpe.training.targets import channel_limits, ranking_of, round_to_of
from hpe.training.timing import settled
from hpe.training.zeros import KeepingZeros, check_masked_parent
from pruning.blocks import drop_blocks
from pruning.channels.growing import GrowingRegPruner
from pruning.channels.importance import Importance
from pruning.channels.observed import HessianImportance, SensitivityImportance
from pruning.channels.pruner import ChannelPruner
from pruning.channels.target import Criteria, Target
from pruning.errors import PruningError
from pruning.hybrid import HybridPruner
from pruning.schedule import ConstantSparsity, PolynomialDecay, Schedule
from pruning.weights.engines import closed_doors, zeros_for
from pruning.weights.magnitude import MagnitudePruner
from pruning.weights.masks import rewind, share_of_zeros
from pruning.weights.prunable import prunable_weights

if TYPE_CHECKING:
    from torch import Tensor

    from hpe.training.state import Pruner

LOOKED_AT = 64
"""Faces by which the blocks that add least are found."""

LOOKED_AT_BY_SCORES = 256
"""Faces by which channels are ranked, and to which the rest is fitted: a mean of squares needs more."""


NORM_BATCHES = 8
"""Training batches on which batch-norms are re-estimated after channels were cut."""


def make_pruner(
    network: HeadPoseNet,
    prune: PruneConfig,
    epochs: int,
    steps: int,
    faces: Faces | None = None,
    recipe: Recipe | None = None,
) -> Pruner:
    """The pruner of a config: epochs become optimiser steps, `steps` of them an epoch.

    `faces` are what some rankings look at; the others need none. By the `recipe` random scores are seeded, and batches
    of these faces are drawn on which batch-norms are re-estimated after each cut; without it they stay.

    Raises:
        ConfigError: if the config does not suit the network or the length of the run.
    """
    prune = settled(prune, epochs, steps)
    try:
        if prune.method == "magnitude":
            seed = 0 if recipe is None else recipe.train.seed
            return _mask_pruner(network, prune, make_schedule(prune, steps), seed)
        if prune.method == "hybrid":
            return _hybrid_pruner(network, prune, steps, faces, recipe)
        return _channel_pruner(network, prune, steps, faces, recipe)
    except PruningError as error:
        raise ConfigError(str(error)) from error


def make_schedule(prune: PruneConfig, steps: int, final: float | None = None) -> Schedule:
    """The schedule of a settled config in optimiser steps; `final` takes the place of its final sparsity.

    The last step is rounded down to a pruning step, so that the final sparsity is met.
    """
    assert prune.end_epoch is not None
    assert prune.frequency is not None
    final = prune.final_sparsity if final is None else final
    begin, span = prune.begin_epoch * steps, (prune.end_epoch - prune.begin_epoch) * steps
    end = begin + span // prune.frequency * prune.frequency
    if prune.schedule == "constant":
        return ConstantSparsity(final, begin, end, prune.frequency)
    return PolynomialDecay(prune.initial_sparsity, final, begin, end, frequency=prune.frequency)


def _mask_pruner(network: HeadPoseNet, prune: PruneConfig, schedule: Schedule, seed: int) -> Pruner:
    masks, places = prune.masks, _places(network, prune)
    pruner = MagnitudePruner(network, schedule, masks.scope, score=masks.score, seed=seed, **places)
    return KeepingZeros(network, pruner)


def _places(network: HeadPoseNet, prune: PruneConfig) -> dict[str, Any]:
    """Which weights the config allows to be masked, as `prunable_weights` takes it."""
    masks = prune.masks
    places = {"include": masks.include, "exclude": masks.exclude, "depthwise": masks.depthwise}
    return places | ({} if masks.zeros_for is None else {"policy": engine_policy(network, prune)})


def engine_policy(network: HeadPoseNet, prune: PruneConfig) -> dict[str, float]:
    """The weights whose zeros make the network faster for --zeros-for, and the least share of zeros of each.

    Raises:
        ConfigError: if the network's form keeps the engine from its sparse kernels, or the zeros would be too few.
    """
    masks = prune.masks
    assert masks.zeros_for is not None
    doors = closed_doors(network, example_input()) if masks.zeros_for == "pi" else []
    if doors:
        more = f" (and {len(doors) - 1} more)" if len(doors) > 1 else ""
        raise ConfigError(
            f"--zeros-for pi: XNNPACK would compute this network densely: {doors[0]}{more}. "
            "`hpe finetune RUN --simplify --simplify-for pi` gives it that padding; a head that flattens needs "
            "`hpe train --head gap`"
        )
    policy = zeros_for(masks.zeros_for, network, example_input())
    chosen = prunable_weights(network, masks.include, masks.exclude, policy=policy)
    layer = max(chosen, key=lambda name: policy[name])
    if prune.final_sparsity < policy[layer]:
        raise ConfigError(
            f"--final-sparsity {prune.final_sparsity}: {layer.removesuffix('.weight')} gains from "
            f"{policy[layer]} zeros on; give that or more, or leave such layers out with --exclude"
        )
    return policy


def _channel_pruner(
    network: HeadPoseNet, prune: PruneConfig, steps: int, faces: Faces | None, recipe: Recipe | None
) -> Pruner:
    channels, price, limits = prune.channels, make_price(network, prune), channel_limits(network, prune)
    shares = {name: 1 - limit / now for name, (limit, now) in limits.items()}
    limits = {name: limit for name, (limit, _) in limits.items()}
    final = max(shares.values(), default=prune.final_sparsity)
    seed = 0 if recipe is None else recipe.train.seed
    criteria = Criteria(
        importance=_importance(network, prune, limits, faces),
        ranking=ranking_of(prune),
        round_to=round_to_of(prune),
        min_channels=channels.min_channels,
        ignored=channels.ignored,
        seed=seed,
        price=price,
    )
    if channels.grow:
        assert prune.end_epoch is not None
        target = Target(**limits) if limits else Target(ratio=final)
        first_and_last = prune.begin_epoch * steps, prune.end_epoch * steps
        return KeepingZeros(network, GrowingRegPruner(network, example_input(), target, first_and_last, criteria))
    if prune.initial_sparsity > final:
        raise ConfigError(
            f"--initial-sparsity {prune.initial_sparsity} is more than the target takes ({final:.3f}): "
            "removed channels do not come back"
        )
    measure = {name: share / final for name, share in shares.items()} or "channels"
    schedule = make_schedule(prune, steps, final)
    batches = None if faces is None or recipe is None else partial(training_batches, faces, recipe)
    fit_on = some_crops(faces, LOOKED_AT_BY_SCORES) if channels.reconstruct and faces is not None else None
    pruner = ChannelPruner(network, example_input(), schedule, criteria, measure, batches, fit_on)
    return KeepingZeros(network, pruner)


def _hybrid_pruner(
    network: HeadPoseNet, prune: PruneConfig, steps: int, faces: Faces | None, recipe: Recipe | None
) -> Pruner:
    """Channels until the middle of the schedule, masks from there on."""
    assert prune.end_epoch is not None
    middle = (prune.begin_epoch + prune.end_epoch) // 2
    if middle == prune.begin_epoch:
        raise ConfigError(f"--method hybrid needs two epochs of pruning or more; raise --end-epoch ({prune.end_epoch})")
    channels = _channel_pruner(network, replace(prune, end_epoch=middle), steps, faces, recipe)
    then = replace(prune, begin_epoch=0, end_epoch=prune.end_epoch - middle)
    seed = 0 if recipe is None else recipe.train.seed
    return HybridPruner(channels, lambda: _mask_pruner(network, then, make_schedule(then, steps), seed), middle * steps)


def _importance(
    network: HeadPoseNet, prune: PruneConfig, limits: dict[str, int], faces: Faces | None
) -> str | Importance:
    """A name that `pruning` knows, or what looks at faces."""
    channels = prune.channels
    if channels.importance not in ("sensitivity", "hessian"):
        return channels.importance
    if faces is None:
        raise ConfigError(f"--importance {channels.importance} looks at faces, and none were given")
    crops = some_crops(faces, LOOKED_AT_BY_SCORES)
    if channels.importance == "hessian":
        return HessianImportance(network, crops)
    if ranking_of(prune) == "knapsack":  # weighs by costs itself
        return SensitivityImportance(network, crops)
    return SensitivityImportance(network, crops, limits, make_price(network, prune))


def training_batches(faces: Faces, recipe: Recipe) -> Iterator[Tensor]:
    """Whole batches of inputs float32 (B, 3, 64, 64), drawn and augmented as in training; at each call the same."""
    import numpy as np
    import torch

    from hpe.data.sampling import epoch_order
    from hpe.training.augment import TrainAugment

    generator = torch.Generator().manual_seed(recipe.train.seed)
    poses = torch.from_numpy(np.asarray(faces.pose_deg, dtype=np.float32))  # (N, 3) degrees
    vary = TrainAugment(recipe.augment, locate=True)  # whether it does or not, the images are the same
    order = epoch_order(poses, recipe.train.pose_balance, generator)
    size = min(recipe.train.batch_size, len(order))
    for batch in order.split(size)[: min(NORM_BATCHES, len(order) // size)]:
        yield vary(torch.from_numpy(np.asarray(faces.images[batch.numpy()])), poses[batch], generator)[0]


def check_network(network: HeadPoseNet, prune: PruneConfig) -> None:
    """Refuse what does not suit the network, before any data are read: patterns, its zeros, a target that is met."""
    try:
        if prune.method in ("magnitude", "hybrid"):
            check_masked_parent(prune, share_of_zeros(prunable_weights(network, **_places(network, prune))))
        if prune.method in ("channel", "hybrid"):
            channel_limits(network, prune)
    except PruningError as error:
        raise ConfigError(str(error)) from error


def drop_least_blocks(network: HeadPoseNet, faces: Faces, count: int) -> list[str]:
    """Drop the residual blocks that add least on some faces, in place; returns their names."""
    return drop_blocks(network, some_crops(faces), count=count)


def some_crops(faces: Faces, count: int = LOOKED_AT) -> Tensor:
    """`count` faces, evenly spread over the data, as the network takes them: float32 (count, 3, 64, 64)."""
    import numpy as np
    import torch

    chosen = np.linspace(0, len(faces) - 1, min(count, len(faces))).astype(int)
    return preprocess_torch(torch.from_numpy(centre_crop(faces.images[chosen])))


def rewind_to(network: HeadPoseNet, run: Path) -> None:
    """Give a masked network the weights of run `run`, masked as it is; the two must be of one architecture."""
    masks = {name: weight != 0 for name, weight in prunable_weights(network, depthwise=True).items()}
    parent = load_model(run)
    forms = [replace(model.config, pretrained=False) for model in (parent, network)]
    shapes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in (parent, network)]
    if forms[0] != forms[1] or shapes[0] != shapes[1]:
        raise ConfigError(f"--rewind-to {run}: not of the pruned run's architecture; give a run that it came from")
    rewind(network, parent.state_dict(), masks)
