"""What a layer takes, for pruning to a latency: cycles of a Cortex-M4, or nanoseconds by a table of `hpe bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.compiler.predict import Shape, layer_cycles
from export.errors import ExportError
from export.run.layer_table import LayerTable, read_table
from hpe.io.errors import ConfigError
from hpe.model.net import HeadPoseNet, example_input
from hpe.training.pruning_config import PruneConfig
from pruning.channels.graph import traced_cost

if TYPE_CHECKING:
    from pruning.channels.costs import Layer, Price


NS_PER_MS = 1_000_000
GATED_MARGIN = 1.01
"""Networks with squeeze-excitation are predicted at 0.993 to 1.03 of the compiled file's cost, others at 1.0000."""


def make_price(network: HeadPoseNet, prune: PruneConfig) -> Price | None:
    """The price of layers that the config's target asks for; None where it is not of latency.

    Raises:
        ConfigError: if --latency-table is no such table.
    """
    if prune.target_cycles is not None:
        return cortex_m4_price(network)
    if prune.latency_table is None:
        return None
    try:
        return table_price(network, read_table(prune.latency_table))
    except ExportError as error:
        raise ConfigError(f"--latency-table {error}") from None


def network_latency(network: HeadPoseNet, price: Price) -> int:
    """Of the network as it is, in the unit of the price."""
    _, run, _ = traced_cost(network, example_input())
    return round(sum(price(name, layer, layer.out, layer.inputs) for name, layer in run.layers.items()))


def cortex_m4_price(network: HeadPoseNet) -> Price:
    """(name, layer, outputs, inputs) -> cycles of the layer in the C that `hpe compile` writes of the int8 file."""
    traits = _traits(network)
    margin = GATED_MARGIN if network.config.se else 1.0

    def price(name: str, layer: Layer, outputs: int, inputs: int) -> float:
        if layer.kind == "norm":
            return 0.0  # folds into the convolution
        return margin * layer_cycles(_shape(layer, outputs, inputs, traits.get(name, {})))

    return price


def table_price(network: HeadPoseNet, table: LayerTable) -> Price:
    """(name, layer, outputs, inputs) -> nanoseconds of the layer in LiteRT, with what follows it."""
    traits = _traits(network)

    def price(name: str, layer: Layer, outputs: int, inputs: int) -> float:
        if layer.kind == "norm":
            return 0.0
        shape = _shape(layer, outputs, inputs, traits.get(name, {}))
        return table.layer_ns(shape) + (table.fixed_ns if name == "backbone.conv_stem" else 0)

    return price


def _shape(layer: Layer, outputs: int, inputs: int, traits: dict[str, bool]) -> Shape:
    depthwise = layer.groups == layer.inputs > 1
    if depthwise:
        kind = "depthwise"
    elif layer.kind == "dense" or layer.image_in == (1, 1):
        kind = "vector"
    else:
        kind = "point" if layer.kernel == 1 else "windows"
    side = round(layer.kernel**0.5)
    return Shape(kind, inputs, outputs, layer.image_in, layer.image_out, side, pads=layer.pads, **traits)


def _traits(network: HeadPoseNet) -> dict[str, dict[str, bool]]:
    """What the compiler fuses into each layer of an EfficientNet, by the layer's name."""
    relu = network.config.act == "relu6"
    act = {"relu": relu, "table": not relu}
    traits = {"backbone.conv_stem": act | {"first": True}, "backbone.conv_head": act | {"first": True, "alone": True}}
    traits["backbone.conv_head"]["averaged"] = network.config.head == "gap"
    for name, block in network.backbone.named_modules(prefix="backbone"):
        if not hasattr(block, "conv_dw"):
            continue
        gated = hasattr(block.se, "conv_reduce")
        project = "conv_pwl" if hasattr(block, "conv_pwl") else "conv_pw"
        if project == "conv_pwl":
            traits[f"{name}.conv_pw"] = act | {"first": True}
        traits[f"{name}.conv_dw"] = act | {"gated": gated}
        traits[f"{name}.{project}"] = {"added": bool(block.has_skip), "first": gated, "alone": gated}
        traits[f"{name}.{project}"]["strided"] = block.conv_dw.stride[0] > 1
        traits[f"{name}.se.conv_reduce"] = traits[f"{name}.se.conv_expand"] = {"table": True}
    return traits
