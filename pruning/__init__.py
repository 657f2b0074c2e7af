"""Unstructured and structured pruning of any torch model, on the same schedules and to the same targets."""

from pruning.blocks import drop_blocks, residual_blocks
from pruning.channels.growing import GrowingRegPruner
from pruning.channels.norms import reestimate_norms
from pruning.channels.observed import AttentionImportance, SensitivityImportance
from pruning.channels.pruner import ChannelPruner, PruneReport, apply_widths, prune_channels, widths
from pruning.quantise.qat import quantisation_aware
from pruning.schedule import ConstantSparsity, PolynomialDecay
from pruning.stats import ModelStats, sparsity_histogram, stats, stats_table
from pruning.weights.clustering import WeightClusterer
from pruning.weights.magnitude import MagnitudePruner
from pruning.weights.masks import apply_masks, make_masks, prunable_weights, rewind

__all__ = [
    "AttentionImportance",
    "ChannelPruner",
    "ConstantSparsity",
    "GrowingRegPruner",
    "MagnitudePruner",
    "ModelStats",
    "PolynomialDecay",
    "PruneReport",
    "SensitivityImportance",
    "WeightClusterer",
    "apply_masks",
    "apply_widths",
    "drop_blocks",
    "make_masks",
    "prunable_weights",
    "prune_channels",
    "quantisation_aware",
    "reestimate_norms",
    "residual_blocks",
    "rewind",
    "sparsity_histogram",
    "stats",
    "stats_table",
    "widths",
]
