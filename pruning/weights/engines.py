"""Which zeros an inference engine skips, and from how many on that pays: masks that make a network faster.

- pi: XNNPACK, which runs TensorFlow Lite's float models on Arm. Its sparse kernels are for 1x1 convolutions with
  more than two thirds zeros: below that in all of them together it computes densely. They work on images in another
  layout (NCHW), so every other layer must have a kernel for that, too, or all stays dense: see `closed_doors`. XNNPACK,
  src/subgraph.c, xnn_check_nchw_compatibility and xnn_subgraph_rewrite_for_nchw; the same conditions in words in
  TensorFlow's tensorflow/lite/delegates/xnnpack/README.md, "Sparse Inference".
- mcu: the C that `export.compiler` writes. Its sparse kernels are for 1x1 convolutions on more than one pixel; on a
  Cortex-M4 they pay from 51 to 55 % zeros on, on maps of at most 4 pixels from 61 to 66 %
  (benchmarks/results/sparse_curve_qemu-mps2-an386_202611.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning.errors import PruningError
from pruning.layout import is_point
from pruning.modes import evaluating
from pruning.weights.masks import is_depthwise

ENGINES = ("pi", "mcu")
PI_LEAST = 0.67
"""XNNPACK asks for more than two thirds, and takes the sparse kernels then, whether they are faster or not."""
PI_PAYS = 0.75
"""From here on they take fewer instructions than the dense ones, for an EfficientNet-B0 on images of 64x64: each kept
weight is loaded for few pixels there (benchmarks/results/emulated_pi_speed_cortex-a72_202611.md)."""
MCU_LEAST, MCU_LEAST_SMALL, SMALL_MAP = 0.55, 0.66, 4
"""On a map of up to SMALL_MAP pixels the sparse kernel has half the pixels to share an entry among."""
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.ConvTranspose2d)
"""What XNNPACK's sparse layout has no kernel for."""


@dataclass(frozen=True)
class Call:
    """A layer as it was called on the example."""

    name: str
    module: nn.Module
    inputs: tuple[int, ...]
    """Shape of its input."""
    outputs: tuple[int, ...]


def zeros_for(engine: str, model: nn.Module, example_input: Tensor) -> dict[str, float]:
    """The weights whose zeros an engine skips, by name, and for each the least share of zeros from which that pays.

    It is a `policy` for `prunable_weights` and `MagnitudePruner`. The model is run once on the example, (B, C, H, W)
    on any device, in evaluation mode.

    Raises:
        PruningError: for an unknown engine, or where the model has nothing that it could skip.
    """
    if engine not in ENGINES:
        raise PruningError(f"Unknown engine {engine!r}: use one of {', '.join(ENGINES)}.")
    policy = {}
    for call in layer_calls(model, example_input):
        if not is_point(call.module):
            continue
        pixels = math.prod(call.outputs[2:])
        if engine == "pi":
            policy[f"{call.name}.weight"] = PI_LEAST
        elif pixels > 1:
            policy[f"{call.name}.weight"] = MCU_LEAST_SMALL if pixels <= SMALL_MAP else MCU_LEAST
    if not policy:
        raise PruningError(f"The model has no 1x1 convolution whose zeros the engine {engine!r} could skip.")
    return policy


def closed_doors(model: nn.Module, example_input: Tensor) -> list[str]:
    """Why XNNPACK would compute this model densely whatever its zeros: each layer and the remedy; empty where it opens.

    Modules are looked at, as they are called on the example (B, C, H, W); what a model does in functions alone (a
    torch.cat, padding of its own) is not seen. `export.sparse_speed` checks the exported file, which is the last word.
    """
    calls = list(layer_calls(model, example_input))
    reasons = [f"{call.name}: {reason}" for call in calls if (reason := _obstacle(call.module))]
    convolutions = [call for call in calls if isinstance(call.module, nn.Conv2d)]
    if not reasons and not any(_is_door(call.module) for call in convolutions):
        reasons.append("no first 3x3 convolution of stride 2 on 3 channels with padding 1: begin the model with one")
    if not convolutions:
        return reasons
    last = convolutions[-1].outputs
    after = calls[calls.index(convolutions[-1]) + 1 :]
    flat = next((call for call in after if isinstance(call.module, nn.Linear)), None)
    if flat is not None and flat.inputs[-1] != last[1]:
        reasons.append(f"{flat.name}: reads a flattened map of {last[2]}x{last[3]}; average it over the pixels first")
    return reasons


def layer_calls(model: nn.Module, example_input: Tensor) -> list[Call]:
    """Convolutions, pools and dense layers in the order in which they are called; the model stays as it was."""
    calls: list[Call] = []
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear, *POOLS))]
    handles = [_watch(name, module, calls) for name, module in layers]
    try:
        with evaluating(model), torch.no_grad():
            model(example_input.to(next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _watch(name: str, module: nn.Module, calls: list[Call]) -> torch.utils.hooks.RemovableHandle:
    def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append(Call(name, module, tuple(inputs[0].shape), tuple(output.shape)))

    return module.register_forward_hook(note)


def _obstacle(module: nn.Module) -> str:
    """Why XNNPACK's sparse layout has no kernel for a layer, with the remedy; "" where it has."""
    if isinstance(module, POOLS):
        return f"{type(module).__name__} has no kernel there; take a strided convolution"
    if not isinstance(module, nn.Conv2d) or is_point(module) or _is_door(module):
        return ""
    what = f"a {module.kernel_size[0]}x{module.kernel_size[1]} convolution of stride {module.stride[0]}"
    if max(module.dilation) > 1:
        return f"{what} is dilated; take dilation 1"
    if is_depthwise(module) and module.out_channels == module.in_channels:
        square = module.kernel_size in ((3, 3), (5, 5)) and module.stride in ((1, 1), (2, 2))
        half = module.kernel_size[0] // 2
        if square and module.padding == (half, half):
            return ""
        if square:
            return f"{what} is padded by {_shown(module.padding)}; pad it by {half} on each side"
        return f"a depthwise {what[2:]} is neither 3x3 nor 5x5 of stride 1 or 2"
    if module.groups == 1 and module.kernel_size == (3, 3) and module.stride == (2, 2) and module.in_channels == 3:
        return f"{what} is padded by {_shown(module.padding)}; pad it by 1 on each side"
    return f"{what} is neither 1x1, depthwise nor the first one on 3 channels; use inverted residual blocks"


def _is_door(module: nn.Module) -> bool:
    """The convolution from which XNNPACK goes over to its sparse layout."""
    return (
        isinstance(module, nn.Conv2d)
        and (module.kernel_size, module.stride, module.padding) == ((3, 3), (2, 2), (1, 1))
        and (module.groups, module.in_channels, max(module.dilation)) == (1, 3, 1)
    )


def _shown(padding: str | Sequence[int]) -> str:
    return f"'{padding}'" if isinstance(padding, str) else str(padding[0])
