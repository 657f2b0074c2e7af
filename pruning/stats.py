"""Counting a model: parameters, non-zeros, multiply-accumulates, estimated int8 bytes; a table and a histogram."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pruning.channels.graph import traced_cost

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class LayerStats:
    """One layer that holds weights."""

    name: str
    kind: str
    """Class name of the module."""
    shape: tuple[int, ...]
    """Shape of its weight."""
    params: int
    nonzeros: int
    macs: int

    @property
    def sparsity(self) -> float:
        """Fraction of its parameters that is exactly zero."""
        return 1 - self.nonzeros / self.params


@dataclass(frozen=True)
class ModelStats:
    """Counts of a model for one input; what it holds but does not run (auxiliary heads) is not counted."""

    params: int
    nonzeros: int
    """Parameters that are not exactly zero."""
    macs: int
    """Multiply-accumulates of convolutions and dense layers for one input; zeros are not left out."""
    int8_bytes: int
    """Estimated size of the int8 TFLite file (see costs.py)."""
    layers: list[LayerStats]

    @property
    def sparsity(self) -> float:
        """Fraction of all parameters that is exactly zero."""
        return 1 - self.nonzeros / self.params


def stats(model: nn.Module, example_input: Tensor) -> ModelStats:
    """Count a model; it is left as it was.

    Args:
        example_input: one or more inputs, (B, C, H, W); MACs are per input.
    """
    cost, run, used = traced_cost(model, example_input)
    rows = []
    for name, module in model.named_modules():
        parameters = [p for key, p in module.named_parameters(name, recurse=False) if key in used]
        if not parameters:
            continue
        layer = run.layers.get(name)
        rows.append(
            LayerStats(
                name,
                type(module).__name__,
                tuple(parameters[0].shape),
                sum(p.numel() for p in parameters),
                sum(int(torch.count_nonzero(p)) for p in parameters),
                layer.cost(layer.out, layer.inputs).macs if layer is not None else run.attention_macs.get(name, 0),
            )
        )
    nonzeros = sum(int(torch.count_nonzero(parameter)) for parameter in used.values())
    return ModelStats(cost.params, nonzeros, cost.macs, cost.int8_bytes, rows)


def stats_table(counts: ModelStats) -> "Table":
    """The layers as a table for `rich.print`."""
    from rich.table import Table

    table = Table("layer", "type", "weight", title="Layers", show_footer=True)
    for heading in ("parameters", "non-zeros", "zeros %", "MACs"):
        table.add_column(heading, justify="right")
    for layer in counts.layers:
        shape = "x".join(str(n) for n in layer.shape)
        numbers = (f"{layer.params:,}", f"{layer.nonzeros:,}", f"{100 * layer.sparsity:.1f}", f"{layer.macs:,}")
        table.add_row(layer.name, layer.kind, shape, *numbers)
    total = (f"{counts.params:,}", f"{counts.nonzeros:,}", f"{100 * counts.sparsity:.1f}", f"{counts.macs:,}")
    for column, text in zip(table.columns, ("all", "", "", *total), strict=True):
        column.footer = text
    return table


def sparsity_histogram(counts: ModelStats, path: str | Path) -> Path:
    """Draw how many layers, and how many of their weights, have which share of zeros; writes a PNG."""
    from matplotlib.figure import Figure

    shares = [layer.sparsity * 100 for layer in counts.layers if math.prod(layer.shape) > max(layer.shape)]
    sizes = [layer.params for layer in counts.layers if math.prod(layer.shape) > max(layer.shape)]
    figure = Figure(figsize=(6, 3), layout="constrained")
    by_layer, by_weight = figure.subplots(1, 2, sharex=True)
    by_layer.hist(shares, bins=20, range=(0, 100))
    by_layer.set(xlabel="zeros in the layer (%)", ylabel="layers")
    by_weight.hist(shares, bins=20, range=(0, 100), weights=sizes)
    by_weight.set(xlabel="zeros in the layer (%)", ylabel="weights")
    figure.suptitle(f"{100 * counts.sparsity:.1f} % of {counts.params:,} parameters are zero")
    figure.savefig(path, dpi=120)
    return Path(path)
