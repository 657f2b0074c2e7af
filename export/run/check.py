"""Is a .tflite file safe to run in this process? Decided from its graph where every operator is one we can follow.

LiteRT believes much of what a file says: a changed index or shape ends in a crash or takes gigabytes. The reader
(export.micro.flatbuffer) has checked offsets, indices and the sizes of constants before this; here the shape and type
of every tensor must follow from the graph's input, each tensor must be written before it is read, and the whole must
be of a plausible size. Where that holds, the file runs in this process; anything else in a child (export.run.child).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from export.errors import ModelFileError
from export.micro.flatbuffer import Model, Op, Tensor

MAX_ACTIVATION_BYTES = 1 << 28
"""All activations together, none sharing memory; a larger model runs in a child."""
MAX_TENSOR_BYTES = 1 << 30
"""No tensor of a network for one image comes near."""
MAX_MACS = 10**11
"""Multiply-accumulates of one run: some ten seconds on a slow machine."""
MAX_WINDOW = 1 << 16
"""The longest stride, or side of a dilated window, that is plausible."""
FLOAT, INT8 = "FLOAT32", "INT8"
Shape = tuple[int, ...]
Rule = Callable[[Op, list[Tensor], Tensor], "str | None"]


def check_sizes(model: Model) -> Model:
    """The model; ModelFileError if one of its tensors is larger than any network has."""
    for tensor in model.tensors:
        if tensor.size_bytes > MAX_TENSOR_BYTES:
            size = f"tensor {tensor.index} of shape {list(tensor.shape)} takes {tensor.size_bytes:,} bytes"
            raise ModelFileError(f"{model.path} is a damaged .tflite file: {size}. Export it again.")
    return model


def doubt(model: Model) -> str | None:
    """Why the graph cannot be shown to be safe, naming the first operator in doubt; None where it can."""
    if model.subgraphs != 1:
        return f"it has {model.subgraphs} subgraphs"
    if any(tensor.is_sparse or tensor.is_variable for tensor in model.tensors):
        return "it has sparse or variable tensors"
    activations = [tensor for tensor in model.tensors if not tensor.is_constant]
    if sum(tensor.size_bytes for tensor in activations) > MAX_ACTIVATION_BYTES:
        return "its activations take more memory than is plausible"
    written = set(model.inputs)
    if any(model.tensors[index].is_constant for index in written):
        return "an input is a constant"
    for op in model.ops:
        reason = _doubt_op(model, op, written)
        if reason:
            return f"op {op.index} ({op.name}): {reason}"
        written.update(op.outputs)
    if sum(_macs(model, op) for op in model.ops) > MAX_MACS:
        return "it computes longer than is plausible"
    missing = [index for index in model.outputs if index not in written]
    return f"output {missing[0]} is never computed" if missing else None


def _doubt_op(model: Model, op: Op, written: set[int]) -> str | None:
    rule = RULES.get(op.name)
    if rule is None:
        return "not an operator that is checked here"
    if len(op.outputs) != 1 or op.outputs[0] in written or model.tensors[op.outputs[0]].is_constant:
        return "its output is not a tensor of its own"
    if -1 in op.inputs[:-1]:
        return "an input is left out"
    inputs = [model.tensors[index] for index in op.inputs if index >= 0]
    if any(tensor.index not in written and not tensor.is_constant for tensor in inputs):
        return "an input is read before it is written"
    output = model.tensors[op.outputs[0]]
    if any(side < 1 for tensor in (*inputs, output) for side in tensor.shape):
        return "a tensor without elements"
    return rule(op, inputs, output)


def _macs(model: Model, op: Op) -> int:
    """Multiply-accumulates of a layer with weights, at most (a depthwise one takes far fewer)."""
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    kernel, output = model.tensors[op.inputs[1]], model.tensors[op.outputs[0]]
    return output.elements * kernel.elements // output.shape[-1]


def _same_kind(*tensors: Tensor) -> bool:
    """All float32, or all int8 with one scale and a zero point that int8 can hold."""
    if all(tensor.type == FLOAT for tensor in tensors):
        return True
    return all(
        tensor.type == INT8
        and tensor.scales.size == tensor.zero_points.size == 1
        and tensor.scale > 0
        and -128 <= tensor.zero_point <= 127
        for tensor in tensors
    )


def _weights(op: Op, inputs: list[Tensor], output: Tensor, axis: int) -> str | None:
    """Types, scales and bias of a layer whose kernel has its output channels along `axis`."""
    image, kernel = inputs[:2]
    if len(inputs) > 3 or not _same_kind(image, output):
        return "types or quantisation do not go together"
    channels = kernel.shape[axis]
    bias = inputs[2] if len(inputs) == 3 else None
    if bias is not None and bias.shape != (channels,):
        return f"a bias of shape {list(bias.shape)} for {channels} channels"
    if image.type == FLOAT and bias is not None and bias.type != FLOAT:
        return "a bias of another type than the input"
    if image.type == FLOAT and kernel.type == FLOAT:
        return None
    if kernel.type != INT8 or not kernel.is_constant or kernel.zero_points.any():
        return "weights that are not constant int8 around zero"
    if image.type == INT8 and bias is not None and (bias.type != "INT32" or not bias.is_constant):
        return "a bias that is not constant int32"
    scales = kernel.scales.size
    if not (kernel.scales > 0).all() or scales != kernel.zero_points.size or scales not in (1, channels):
        return f"{scales} scales for {channels} channels"
    if scales > 1 and kernel.quantized_dimension % len(kernel.shape) != axis % len(kernel.shape):
        return "scales along another dimension than the output channels"
    return None


def _window(op: Op, image: Shape, height: int, width: int) -> tuple[int, int] | None:
    """Height and width that a window of that size leaves of `image`, NHWC; None where the options make no sense."""
    sides = []
    for axis, size, letter in ((1, height, "h"), (2, width, "w")):
        stride, dilation = int(op.options[f"stride_{letter}"]), int(op.options.get(f"dilation_{letter}", 1))
        if not (0 < stride <= MAX_WINDOW and dilation > 0 and size > 0 and size * dilation <= MAX_WINDOW):
            return None
        room = image[axis] if op.options["padding"] == "SAME" else image[axis] - (size - 1) * dilation
        sides.append(-(-room // stride))
    return (sides[0], sides[1]) if min(sides) > 0 else None


def _convolution(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    image, kernel = inputs[0].shape, inputs[1].shape
    if len(image) != 4 or len(kernel) != 4 or kernel[3] != image[3]:
        return f"a kernel of shape {list(kernel)} on {list(image)}"
    left = _window(op, image, kernel[1], kernel[2])
    if left is None or output.shape != (image[0], *left, kernel[0]):
        return f"an output of shape {list(output.shape)}"
    return _weights(op, inputs, output, axis=0)


def _depthwise(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    image, kernel = inputs[0].shape, inputs[1].shape
    if len(image) != 4 or len(kernel) != 4 or kernel[0] != 1 or kernel[3] != image[3] * op.options["depth_multiplier"]:
        return f"a kernel of shape {list(kernel)} on {list(image)}"
    left = _window(op, image, kernel[1], kernel[2])
    if left is None or output.shape != (image[0], *left, kernel[3]):
        return f"an output of shape {list(output.shape)}"
    return _weights(op, inputs, output, axis=3)


def _dense(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    image, kernel = inputs[:2]
    if len(kernel.shape) != 2 or not image.shape or image.shape[-1] != kernel.shape[1]:
        return f"weights of shape {list(kernel.shape)} on {list(image.shape)}"
    if output.shape not in ((*image.shape[:-1], kernel.shape[0]), (image.elements // kernel.shape[1], kernel.shape[0])):
        return f"an output of shape {list(output.shape)}"
    return _weights(op, inputs, output, axis=0)


def _pool(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    image = inputs[0].shape
    left = _window(op, image, int(op.options["filter_h"]), int(op.options["filter_w"])) if len(image) == 4 else None
    if left is None or output.shape != (image[0], *left, image[3]):
        return f"an output of shape {list(output.shape)}"
    return None if len(inputs) == 1 and _same_kind(inputs[0], output) else "types or quantisation do not go together"


def _pairwise(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    if len(inputs) != 2 or not _same_kind(*inputs, output):
        return "types or quantisation do not go together"
    if max(len(tensor.shape) for tensor in inputs) > 4:
        return "more than four dimensions"
    try:
        together = np.broadcast_shapes(inputs[0].shape, inputs[1].shape)
    except ValueError:
        together = None
    is_sum = op.name != "MUL" and output.type == "INT8"
    if is_sum and not 2 * max(tensor.scale for tensor in inputs) < (1 << 20) * output.scale:
        return "scales too far apart for a sum"  # LiteRT aborts
    return None if output.shape == together else f"an output of shape {list(output.shape)}"


def _elementwise(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    if len(inputs) != 1 or not _same_kind(inputs[0], output):
        return "types or quantisation do not go together"
    return None if output.shape == inputs[0].shape else f"an output of shape {list(output.shape)}"


def _softmax(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    beta = op.options["beta"]
    if inputs[0].type == "INT8" and not (beta < np.inf and beta * inputs[0].scale * (1 << 26) > 1):
        return f"beta {beta:g} with an input scale of {inputs[0].scale:g}"  # LiteRT aborts
    return _elementwise(op, inputs, output) if inputs[0].shape else "a tensor without dimensions"


def _dequantize(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    """A float16 constant made float32."""
    if len(inputs) != 1 or inputs[0].type != "FLOAT16" or not inputs[0].is_constant or output.type != FLOAT:
        return "not the float32 of a float16 constant"
    return None if output.shape == inputs[0].shape else f"an output of shape {list(output.shape)}"


def _mean(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    axes = _constant(inputs)
    image = inputs[0].shape
    if axes is None or not all(-len(image) <= axis < len(image) for axis in axes):
        return "axes that the input does not have"
    gone = {axis % len(image) for axis in axes}
    if len(gone) != len(axes) or not 1 <= len(axes) <= 4:
        return "axes that are named twice, or none"
    kept = tuple(1 if axis in gone else side for axis, side in enumerate(image))
    dropped = tuple(side for axis, side in enumerate(image) if axis not in gone)
    if output.shape not in (kept, dropped):
        return f"an output of shape {list(output.shape)}"
    return None if _same_kind(inputs[0], output) else "types or quantisation do not go together"


def _pad(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    amounts, image = _constant(inputs), inputs[0].shape
    if amounts is None or inputs[1].shape != (len(image), 2) or not 1 <= len(image) <= 4 or min(amounts) < 0:
        return "amounts that do not go with the input"
    padded = tuple(side + amounts[2 * i] + amounts[2 * i + 1] for i, side in enumerate(image))
    if output.shape != padded:
        return f"an output of shape {list(output.shape)}"
    same = inputs[0].scale == output.scale and inputs[0].zero_point == output.zero_point
    return None if _same_kind(inputs[0], output) and same else "types or quantisation do not go together"


def _reshape(op: Op, inputs: list[Tensor], output: Tensor) -> str | None:
    wanted = _constant(inputs)
    if wanted is None or len(wanted) != len(output.shape) or output.elements != inputs[0].elements:
        return "a shape that is not the output's"
    if any(side not in (-1, real) for side, real in zip(wanted, output.shape, strict=True)) or wanted.count(-1) > 1:
        return "a shape that is not the output's"
    return None if _same_kind(inputs[0], output) else "types or quantisation do not go together"


def _constant(inputs: list[Tensor]) -> list[int] | None:
    """The int32 numbers of the second and last input, None where it is no such constant."""
    if len(inputs) != 2 or inputs[1].data is None or inputs[1].type != "INT32" or len(inputs[1].shape) > 2:
        return None
    if inputs[1].elements > 16 or inputs[1].elements != math.prod(inputs[1].shape):
        return None
    return np.frombuffer(inputs[1].data.tobytes(), "<i4").tolist()


RULES: dict[str, Rule] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
    "DEQUANTIZE": _dequantize,
    **dict.fromkeys(("ADD", "SUB", "MUL"), _pairwise),
    **dict.fromkeys(("LOGISTIC", "HARD_SWISH", "TANH", "RELU", "RELU6"), _elementwise),
}
"""What an operator's output must be, for those that image networks of this kind are made of."""
