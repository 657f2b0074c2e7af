"""What a model costs: parameters, multiply-accumulates, and an estimate of its int8 TFLite file.

The estimate was fitted to four int8 files of pruned EfficientNet-B0s (61 to 246 operators, 0.41 to 0.60 MB, made by
onnx2tf and the TFLite converter). It is within 1 % of each once equal buffers, which the converter stores once, are
counted apart; a file with many equal buffers (an untrained net: all biases are zero) is smaller than estimated. Tensor
names, which no interpreter needs, are not counted (they take about 40 bytes for each of 2 tensors a layer and 1 an
operator). A trained EfficientNet-B0 without names has 4,859,792 bytes; the estimate is 4,861,694.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

QUANTISATION_BYTES = 12  # a float32 scale and an int64 zero point
BIAS_BYTES = 4  # int32
TENSOR_BYTES = 123  # a tensor's own record and a share of its operator's

COUNTED_TYPES = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm)

# Autograd nodes that become no operator in TFLite: batch-norm folds into the convolution, clipping into its output.
FREE_OPERATIONS = (
    "AccumulateGrad",
    "BatchNorm",
    "Relu",
    "Hardtanh",
    "Clamp",
    "View",
    "Alias",
    "Clone",
    "ToCopy",
    "TBackward",
)


@dataclass(frozen=True)
class Cost:
    """Size and work of a model for one input."""

    params: int = 0
    macs: int = 0
    """Multiply-accumulates of convolutions and dense layers."""
    int8_bytes: int = 0
    """Estimated size of the int8 TFLite file."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs, self.int8_bytes + other.int8_bytes)


@dataclass(frozen=True)
class Layer:
    """A convolution, dense or batch-norm layer, as far as its cost goes."""

    kind: str
    """conv, dense or norm; a depthwise kernel is a conv with one input a group."""
    out: int
    inputs: int
    groups: int
    kernel: int
    """Weights for each pair of input and output channel."""
    positions: int
    """Outputs a channel for one input, over all calls."""
    bias: bool
    affine: bool = True

    def cost(self, out: int, inputs: int) -> Cost:
        """The cost with other numbers of output and input channels."""
        if self.kind == "norm":
            return Cost(2 * out * self.affine, 0, 0)
        groups = out if self.groups == self.inputs > 1 else self.groups
        weights = out * (out if groups == out > 1 else inputs) // groups * self.kernel
        scales = out if self.kind == "conv" else 1  # the dense layers of an int8 file are quantised per tensor
        int8_bytes = weights + BIAS_BYTES * out + 2 * QUANTISATION_BYTES * scales + 2 * TENSOR_BYTES
        return Cost(weights + out * self.bias, weights * self.positions, int8_bytes)


def count_layers(model: nn.Module, example_input: Tensor) -> dict[str, Layer]:
    """Every convolution, dense and batch-norm layer that the model runs, by name; the model must be in eval mode."""
    positions: dict[str, int] = {}
    handles = []
    batch = example_input.shape[0]
    for name, module in model.named_modules():
        if isinstance(module, COUNTED_TYPES):

            def count(module: nn.Module, _: tuple, output: Tensor, name: str = name) -> None:
                spatial = output.numel() // (output.shape[-1] if isinstance(module, nn.Linear) else output.shape[1])
                positions[name] = positions.get(name, 0) + spatial // batch

            handles.append(module.register_forward_hook(count))
    try:
        with torch.no_grad():
            model(example_input)
    finally:
        for handle in handles:
            handle.remove()
    modules = dict(model.named_modules())
    return {name: describe(modules[name], count) for name, count in positions.items()}


def describe(module: nn.Module, positions: int) -> Layer:
    """The layer record of a module that is evaluated at so many positions."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return Layer("norm", module.num_features, module.num_features, 1, 1, positions, False, module.affine)
    if isinstance(module, nn.Linear):
        return Layer("dense", module.out_features, module.in_features, 1, 1, positions, module.bias is not None)
    assert isinstance(module, nn.modules.conv._ConvNd)
    kernel = int(torch.Size(module.kernel_size).numel())
    if module.transposed:  # each input position, not each output position, meets the whole kernel
        positions = positions // int(torch.Size([int(s) for s in module.stride]).numel())
    return Layer(
        "conv", module.out_channels, module.in_channels, module.groups, kernel, positions, module.bias is not None
    )


def fixed_cost(model: nn.Module, layers: dict[str, Layer], outputs: Sequence[Tensor]) -> Cost:
    """What no width changes: parameters of other layers, and the operators' own bytes.

    Args:
        outputs: what the model gave for one input, with its autograd graph.
    """
    counted = sum(layer.cost(layer.out, layer.inputs).params for layer in layers.values())
    others = sum(parameter.numel() for parameter in model.parameters()) - counted
    return Cost(others, 0, others + _operators(outputs) * (TENSOR_BYTES + QUANTISATION_BYTES))


def _operators(outputs: Sequence[Tensor]) -> int:
    """About how many operators the TFLite file will have: the autograd graph, without what folds away."""
    nodes = [tensor.grad_fn for tensor in outputs]
    seen = set()
    count = 0
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name()
        if not any(free in name for free in FREE_OPERATIONS):
            count += 2 if "Silu" in name else 1  # SiLU is a sigmoid and a product there
        nodes += [upstream for upstream, _ in node.next_functions]
    return count
