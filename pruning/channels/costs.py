"""What a model costs: parameters, multiply-accumulates, and the size of its int8 TFLite file.

The size is added up from the graph, as the file is: a layer's weights (int8) and bias (int32), the scale and zero point
of each channel for both, and a record for each tensor. The records and what aligns buffers to 16 bytes were measured on
files as `export.convert` writes them, without tensor names: 99 to 102 bytes a tensor, its operator's record included.
The constants here are a little above, so that the prediction is not exceeded. It is more than the file by 0.1 % for a
trained EfficientNet-B0 (4,860,080 bytes), by 1 to 3 % for plain convolutional nets, MobileNetV2 and forms of B0 of 100
to 600 kB, by some hundred bytes for tiny ones, and by more where many buffers are equal, which a file stores once (an
untrained net: all biases are zero). Which operators there will be is read from the autograd graph (operators.py).
What the model holds but does not run (auxiliary heads) costs nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from pruning.channels.operators import (
    ACTIVATION_BYTES,
    FILE_BYTES,
    QUANTISATION_BYTES,
    TENSOR_BYTES,
    operator_bytes,
    reached_parameters,
)

BIAS_BYTES = 4  # int32

COUNTED_TYPES = (nn.modules.conv._ConvNd, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


def is_layer_norm(module: nn.Module) -> bool:
    """Whether a module is a layer norm over the channels alone."""
    return isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a batch-norm, or a layer norm over the channels alone."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) or is_layer_norm(module)


@dataclass(frozen=True)
class Cost:
    """Size and work of a model for one input."""

    params: int = 0
    macs: int = 0
    """Multiply-accumulates of convolutions and dense layers."""
    int8_bytes: int = 0
    """Predicted size of the int8 TFLite file, seldom exceeded (see above)."""
    latency: int = 0
    """Time in the unit of the `Price` that was given (cycles, nanoseconds); 0 without one."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Layer:
    """A convolution, dense or batch-norm layer, as far as its cost goes."""

    kind: str
    """conv, dense, norm, layer_norm or parameter (a bare one); a depthwise kernel is a conv with one input a group."""
    out: int
    inputs: int
    groups: int
    kernel: int
    """Weights for each pair of input and output channel; of a bare parameter, for each channel."""
    positions: int
    """Outputs a channel for one input, over all calls."""
    bias: bool
    affine: bool = True
    pads: bool = False
    """Whether TensorFlow's padding differs, so that the file pads by an operator of its own."""
    image_in: tuple[int, int] = (1, 1)
    """Height and width of its input; (1, 1) where it has none, as in a dense layer."""
    image_out: tuple[int, int] = (1, 1)
    """Height and width of its output."""
    extras: int = 0
    """Other parameters for each output channel, as the gain of a weight-standardised convolution; in no file."""

    def cost(self, out: int, inputs: int) -> Cost:
        """The cost with other numbers of output and input channels."""
        if self.kind == "norm":
            return Cost(2 * out * self.affine, 0, 0)
        if self.kind == "layer_norm":
            params = out * (self.affine + self.bias)
            return Cost(params, 0, params)
        if self.kind == "parameter":
            return Cost(out * self.kernel, 0, out * self.kernel)
        depthwise = self.groups == self.inputs > 1
        weights = (out if depthwise else out * inputs // self.groups) * self.kernel
        scales = out if self.kind == "conv" else 1  # the dense layers of an int8 file are quantised per tensor
        int8_bytes = weights + BIAS_BYTES * out + 2 * QUANTISATION_BYTES * scales + 2 * TENSOR_BYTES
        int8_bytes += self.pads * ACTIVATION_BYTES
        return Cost(weights + out * (self.bias + self.extras), weights * self.positions, int8_bytes)


Price = Callable[[str, Layer, int, int], float]
"""(name, layer, outputs, inputs) -> the time of the layer with these numbers of output and input channels."""


@dataclass(frozen=True)
class Run:
    """What a model does with one input."""

    layers: dict[str, Layer]
    """Every convolution, dense and norm layer that runs, and every bare parameter of a module that does, by name."""
    called: set[nn.Module]
    """All modules that run."""
    attention_macs: dict[str, int]
    """Of the four projections of each of torch's own attentions, which call no dense layer."""


def run_once(model: nn.Module, example_input: Tensor) -> Run:
    """Run a model, which must be in eval mode, and describe what ran."""
    positions: dict[str, int] = {}
    images: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}
    padded: set[str] = set()
    called: set[nn.Module] = set()
    attention_macs: dict[str, int] = {}
    handles = []
    batch = example_input.shape[0]
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda module, _: called.add(module)))
        if _is_counted(module):

            def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor, name: str = name) -> None:
                if isinstance(module, nn.modules.conv._ConvNd) and _pads(module, inputs[0], output):
                    padded.add(name)
                # each input position of a transposed convolution meets the whole kernel, each output position of others
                seen = inputs[0] if getattr(module, "transposed", False) else output
                spatial = seen.numel() // (seen.shape[-1] if isinstance(module, nn.Linear) else seen.shape[1])
                positions[name] = positions.get(name, 0) + spatial // batch
                images[name] = _image(inputs[0]), _image(output)

            handles.append(module.register_forward_hook(count))
        if isinstance(module, nn.MultiheadAttention):

            def project(module: Any, args: tuple, named: dict, name: str = name) -> None:
                query, key, value = attention_inputs(args, named)
                elements = 2 * query.numel() + key.numel() + value.numel()
                attention_macs[name] = attention_macs.get(name, 0) + module.embed_dim * elements // batch

            handles.append(module.register_forward_pre_hook(project, with_kwargs=True))
    try:
        with torch.no_grad():
            model(example_input)
    finally:
        for handle in handles:
            handle.remove()
    modules = dict(model.named_modules())
    layers = {name: _describe(modules[name], count, name in padded) for name, count in positions.items()}
    layers = {n: replace(layer, image_in=images[n][0], image_out=images[n][1]) for n, layer in layers.items()}
    bare = {
        name: parameter
        for name, parameter in bare_parameters(model).items()
        if model.get_submodule(name.rpartition(".")[0]) in called
    }
    layers |= {name: _describe_bare(parameter) for name, parameter in bare.items()}
    return Run(layers, called, attention_macs)


def attention_inputs(args: tuple, named: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of a call of nn.MultiheadAttention."""
    given = dict(zip(("query", "key", "value"), args, strict=False)) | dict(named)
    return given["query"], given["key"], given["value"]


def bare_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that belong to no layer of torch.nn, by name: scales, tokens, embeddings of positions."""
    return {
        f"{name}.{key}" if name else key: parameter
        for name, module in model.named_modules()
        if not isinstance(module, COUNTED_TYPES) and not type(module).__module__.startswith("torch.nn")
        for key, parameter in module.named_parameters(recurse=False)
    }


def channel_dim(parameter: Tensor) -> int:
    """The side of a bare parameter that goes with channels: the last one longer than 1, as Torch-Pruning has it."""
    return max((dim for dim, size in enumerate(parameter.shape) if size > 1), default=0)


def _describe_bare(parameter: nn.Parameter) -> Layer:
    channels = parameter.shape[channel_dim(parameter)] if parameter.dim() else 1
    return Layer("parameter", channels, channels, 1, parameter.numel() // max(channels, 1), 1, False)


def _is_counted(module: nn.Module) -> bool:
    return isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) or is_norm(module)


def _image(x: Tensor) -> tuple[int, int]:
    """Height and width of (B, C, H, W); (1, 1) of anything else."""
    return (x.shape[2], x.shape[3]) if x.dim() == 4 else (1, 1)


def _pads(conv: nn.modules.conv._ConvNd, x: Tensor, output: Tensor) -> bool:
    """Whether a convolution pads as neither of TensorFlow's ways does: not at all, or "same", the odd one last."""
    if conv.transposed or isinstance(conv.padding, str):
        return False
    sides = zip(x.shape[2:], output.shape[2:], conv.kernel_size, conv.stride, conv.dilation, conv.padding, strict=True)
    for size, out, kernel, stride, dilation, padding in sides:
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        same = out == -(-size // stride) and total == 2 * padding
        if padding and not same:
            return True
    return False


def _describe(module: nn.Module, positions: int, pads: bool) -> Layer:
    """The layer record of a module that is evaluated at N positions."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return Layer("norm", module.num_features, module.num_features, 1, 1, positions, False, module.affine)
    if isinstance(module, nn.LayerNorm):
        size, affine, bias = module.normalized_shape[0], module.elementwise_affine, module.bias is not None
        return Layer("layer_norm", size, size, 1, 1, positions, bias, affine)
    if isinstance(module, nn.Linear):
        return Layer("dense", module.out_features, module.in_features, 1, 1, positions, module.bias is not None)
    assert isinstance(module, nn.modules.conv._ConvNd)
    kernel = int(torch.Size(module.kernel_size).numel())
    bias = module.bias is not None
    out, inputs = module.out_channels, module.in_channels
    own = sum(p.numel() for name, p in module.named_parameters(recurse=False) if name not in ("weight", "bias"))
    extras = own // out if own % out == 0 else 0
    return Layer("conv", out, inputs, module.groups, kernel, positions, bias, pads=pads, extras=extras)


def fixed_cost(model: nn.Module, run: Run, outputs: Sequence[Tensor]) -> Cost:
    """What no width changes: parameters of other layers, torch's own attentions, and the operators' own bytes.

    Args:
        outputs: what the model gave for one input, with its autograd graph.
    """
    counted = sum(layer.cost(layer.out, layer.inputs).params for layer in run.layers.values())
    others = sum(parameter.numel() for parameter in used_parameters(model, run, outputs).values()) - counted
    int8_bytes = others + FILE_BYTES + ACTIVATION_BYTES + operator_bytes(outputs)
    return Cost(others, sum(run.attention_macs.values()), int8_bytes)


def used_parameters(model: nn.Module, run: Run, outputs: Sequence[Tensor]) -> dict[str, nn.Parameter]:
    """The parameters that the outputs depend on, or whose module ran, by name."""
    reached = reached_parameters(outputs)
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter in reached or model.get_submodule(name.rpartition(".")[0]) in run.called
    }
