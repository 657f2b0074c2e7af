"""How layers hold their weights, and which of them are matrices."""

from typing import Any

from torch import Tensor, nn

MAKE_PLAIN = (
    "make it plain by parametrize.remove_parametrizations, nn.utils.remove_weight_norm or nn.utils.prune.remove"
)
"""What to do with a layer that makes its weight of other parameters."""


def by_output(layer: Any, weight: Tensor) -> Tensor:
    """Weights with the output channels first, and such weights as the layer holds them: a transposed convolution has
    (C, C'/groups, ...)."""
    if not getattr(layer, "transposed", False):
        return weight
    return weight.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)


def is_point(module: nn.Module) -> bool:
    """A 1x1 convolution that reads each pixel once, and all of its channels."""
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride == (1, 1)
        and module.groups == 1
        and module.padding in ((0, 0), "valid", "same")
    )
