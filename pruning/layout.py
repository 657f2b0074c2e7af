"""How layers hold their weights."""

from typing import Any

from torch import Tensor


def by_output(layer: Any, weight: Tensor) -> Tensor:
    """Weights with the output channels first, and such weights as the layer holds them: a transposed convolution has
    (C, C'/groups, ...)."""
    if not getattr(layer, "transposed", False):
        return weight
    return weight.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
