"""What the operators of an int8 TFLite file take, without the layers' weights: read from the autograd graph."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

QUANTISATION_BYTES = 12  # a float32 scale and an int64 zero point
TENSOR_BYTES = 104 + 16  # a tensor's own record with a share of its operator's, and a shape of four sides
ACTIVATION_BYTES = TENSOR_BYTES + QUANTISATION_BYTES
SMALL_CONSTANT_BYTES = TENSOR_BYTES + 32  # axes, shapes, paddings
FILE_BYTES = 600 + 3 * SMALL_CONSTANT_BYTES  # header, signature, operator codes; axes and paddings, which are shared

# Autograd nodes that become no operator in TFLite: batch-norm folds into the convolution, clipping into its output.
FREE_OPERATIONS = ("AccumulateGrad", "Relu", "Hardtanh", "Clamp", "Alias", "Clone", "ToCopy", "TBackward", "Permute")

# Other nodes: how many activations and how many small constants they become. Not listed: one, and a constant where one
# of its operands is none of the graph's.
OPERATIONS = {
    "Silu": (2, 0),  # a sigmoid and a product
    "Hardsigmoid": (3, 3),
    "Hardswish": (1, 0),
    "ConstantPad": (1, 0),
    "Gelu": (5, 4),
    "Mean": (1, 0),
    "AdaptiveAvgPool2D": (1, 0),
    "View": (1, 1),
    "Squeeze": (1, 1),
    "MaxPool": (2, 1),  # with padding, which needs an operator of its own
    "AvgPool2D": (2, 1),
    "Convolution": (1, 0),  # its constants are counted with the layer
    "Addmm": (2, 1),  # a convolution there, and a reshape
}


def operator_bytes(outputs: Sequence[Tensor]) -> int:
    """About what the file's operators take.

    Args:
        outputs: what the model gave for one input, with its autograd graph.
    """
    total = 0
    for node in _nodes(outputs):
        activations, constants = _tensors_of(node)
        total += activations * ACTIVATION_BYTES + constants * SMALL_CONSTANT_BYTES
    return total


def reached_parameters(outputs: Sequence[Tensor]) -> set[Tensor]:
    """The parameters that the outputs depend on."""
    return {node.variable for node in _nodes(outputs) if hasattr(node, "variable")}


def _nodes(outputs: Sequence[Tensor]) -> Iterator[Any]:
    """Every node of the autograd graph, once."""
    nodes: list[Any] = [tensor.grad_fn for tensor in outputs]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        nodes += [upstream for upstream, _ in node.next_functions]


def _tensors_of(node: Any) -> tuple[int, int]:
    """How many activations and small constants an autograd node becomes."""
    name = node.name()
    before = [upstream.name() if upstream is not None else "" for upstream, _ in node.next_functions]
    if "BatchNorm" in name:
        folds = any(layer in before[0] for layer in ("Convolution", "Addmm", "Mm"))
        return (0, 0) if folds else (2, 2)
    for known, tensors in OPERATIONS.items():
        if known in name:
            return tensors
    if any(free in name for free in FREE_OPERATIONS):
        return (0, 0)
    return (1, int("" in before))
