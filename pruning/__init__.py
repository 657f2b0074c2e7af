"""Unstructured and structured pruning of any torch model, on the same schedules and to the same targets."""

from pruning.blocks import drop_blocks, residual_blocks
from pruning.channels import ChannelPruner, PruneReport, apply_widths, prune_channels, widths
from pruning.cluster import WeightClusterer
from pruning.growing import GrowingRegPruner
from pruning.magnitude import MagnitudePruner
from pruning.masks import apply_masks, make_masks, prunable_weights, rewind
from pruning.norms import reestimate_norms
from pruning.observed import AttentionImportance, SensitivityImportance
from pruning.qat import quantisation_aware
from pruning.schedule import ConstantSparsity, PolynomialDecay
from pruning.stats import ModelStats, sparsity_histogram, stats, stats_table

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
