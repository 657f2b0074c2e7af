"""Pruning and quantisation of any torch model: masks or channels, on the same schedules and to the same targets.

While training, one call after each `optimizer.step()`:

    pruner = MagnitudePruner(model, PolynomialDecay(0.0, 0.875, begin_step=0, end_step=2000))  # masks
    pruner = ChannelPruner(model, x, PolynomialDecay(...), Criteria(ranking="global"), measure="macs")  # surgery
    pruner = MagnitudePruner(model, PolynomialDecay(...), "erk", policy=zeros_for("pi", model, x))  # zeros that pay
    ...
    optimizer.step()
    pruner.step(optimizer)

At once: `prune_channels(model, x, Target(macs=3_500_000), Criteria(round_to=4))`; `drop_blocks(model, x, count=1)`.
Afterwards: `Reconstruction` fits what is left to the dense net's layers, without training; `reestimate_norms`;
`ZeroKeeper` or `WeightClusterer` while training on; `quantisation_aware` training, whose `learnt_activations` an int8
export takes. `HybridPruner` masks what channel pruning left. `stats` counts; `widths` and `apply_widths` let a cut net
be rebuilt from a state dict without pickle. What the caller can fix is a PruningError.
"""

from pruning.blocks import drop_blocks, residual_blocks
from pruning.channels.growing import GrowingRegPruner
from pruning.channels.norms import reestimate_norms
from pruning.channels.observed import HessianImportance, SensitivityImportance
from pruning.channels.pruner import ChannelPruner, PruneReport, apply_widths, prune_channels, widths
from pruning.channels.target import Criteria, Target
from pruning.errors import PruningError
from pruning.hybrid import HybridPruner
from pruning.quantise.qat import quantisation_aware
from pruning.quantise.ranges import learnt_activations, learnt_ranges, set_ranges
from pruning.reconstruct import Reconstruction
from pruning.schedule import ConstantSparsity, PolynomialDecay
from pruning.second_order import diagonal_hessian, obd_scores
from pruning.stats import ModelStats, sparsity_histogram, stats, stats_table
from pruning.weights.clustering import WeightClusterer
from pruning.weights.engines import closed_doors, zeros_for
from pruning.weights.frozen import ZeroKeeper
from pruning.weights.magnitude import MagnitudePruner
from pruning.weights.masks import apply_masks, make_masks, rewind
from pruning.weights.prunable import prunable_weights

__all__ = [
    "ChannelPruner",
    "ConstantSparsity",
    "Criteria",
    "GrowingRegPruner",
    "HessianImportance",
    "HybridPruner",
    "MagnitudePruner",
    "ModelStats",
    "PolynomialDecay",
    "PruneReport",
    "PruningError",
    "Reconstruction",
    "SensitivityImportance",
    "Target",
    "WeightClusterer",
    "ZeroKeeper",
    "apply_masks",
    "apply_widths",
    "closed_doors",
    "diagonal_hessian",
    "drop_blocks",
    "learnt_activations",
    "learnt_ranges",
    "make_masks",
    "obd_scores",
    "prunable_weights",
    "prune_channels",
    "quantisation_aware",
    "reestimate_norms",
    "residual_blocks",
    "rewind",
    "set_ranges",
    "sparsity_histogram",
    "stats",
    "stats_table",
    "widths",
    "zeros_for",
]
