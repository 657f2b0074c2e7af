"""Which operators of a .tflite XNNPACK has kernels for in the layout NCHW (see export/run/xnnpack.py)."""

from __future__ import annotations

import numpy as np

from export.micro.flatbuffer import Model, Op, Tensor

UNARY = ("LOGISTIC", "HARD_SWISH", "RELU", "RELU6", "TANH", "ABS", "NEG", "SQUARE", "ELU", "GELU", "LEAKY_RELU")


def enters(model: Model, op: Op, weights: Tensor, pad: Op | None) -> bool:
    """The first convolution as it must be: 3x3, stride 2, 3 channels, padded by 1 on each side."""
    plain = (
        op.name == "CONV_2D" and weights.shape[1:] == (3, 3, 3) and _stride(op) == (2, 2) and _dilation(op) == (1, 1)
    )
    return plain and _padding(model, op, weights, pad) == (1, 1, 1, 1)


def obstacle(model: Model, op: Op, weights: Tensor | None, pad: Op | None) -> str:
    """Why an operator has no kernel for NCHW, and what to do; empty where it has one."""
    if not op.inputs:
        return "it has no input"
    first = model.tensors[op.inputs[0]]
    if any(not model.tensors[i].type.startswith("FLOAT") for i in op.outputs):
        return "it is not in floating point; export with --formats sparse"
    if op.name == "FULLY_CONNECTED":
        return ""
    if op.name in ("MEAN", "SUM", *UNARY):
        return "" if len(first.shape) == 4 else "it works on no image"
    if op.name in ("ADD", "MUL"):
        shapes = [model.tensors[i].shape for i in op.inputs]
        return "" if all(len(shape) == 4 for shape in shapes) else "one of its sides is no image"
    if weights is None:
        return "it has no kernel there; average over the pixels before it, or do without it"
    padding = _padding(model, op, weights, pad)
    what = f"{weights.shape[1]}x{weights.shape[2]}, stride {_stride(op)[0]}, padding {_shown(padding)}"
    wanted = "export a net with symmetric padding (hpe finetune --simplify --simplify-for pi)"
    if op.name == "CONV_2D":
        if is_point(weights, op) and padding == (0, 0, 0, 0) and weights.shape[3] == first.shape[-1]:
            return ""
        if weights.shape[1:] == (3, 3, 3) and _stride(op) == (2, 2):
            return f"{what}; it must be 1 on each side: {wanted}"
        return f"{what}, {weights.shape[3]} channels; it must be 1x1, or 3x3 of stride 2 on 3 channels"
    size = weights.shape[1]
    known = size in (3, 5) and weights.shape[2] == size and _stride(op) in ((1, 1), (2, 2)) and _dilation(op) == (1, 1)
    if not known or op.options.get("depth_multiplier", 1) not in (0, 1):
        return f"{what}; a depthwise one must be 3x3 or 5x5, of stride 1 or 2, not dilated"
    return "" if padding == (size // 2,) * 4 else f"{what}; it must be {size // 2} on each side: {wanted}"


def _padding(model: Model, op: Op, weights: Tensor, pad: Op | None) -> tuple[int, ...]:
    """(top, bottom, left, right) as XNNPACK holds it; () for TensorFlow's "same" at a stride, which it keeps so."""
    if op.options["padding"] == "SAME":
        if _stride(op) != (1, 1) or pad is not None:
            return ()
        rows, columns = ((side - 1) * step for side, step in zip(weights.shape[1:3], _dilation(op), strict=True))
        return (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
    if pad is None:
        return (0, 0, 0, 0)
    amounts = model.tensors[pad.inputs[1]]
    if amounts.data is None or amounts.type != "INT32":
        return ()
    pads = amounts.data.view("<i4").reshape(-1)
    return tuple(int(n) for n in pads[2:6]) if pads.size == 8 and not pads[[0, 1, 6, 7]].any() else ()


def _shown(padding: tuple[int, ...]) -> str:
    if not padding:
        return "SAME"
    return str(padding[0]) if len(set(padding)) == 1 else "top {}, bottom {}, left {}, right {}".format(*padding)


def _stride(op: Op) -> tuple[int, int]:
    return op.options["stride_h"], op.options["stride_w"]


def _dilation(op: Op) -> tuple[int, int]:
    return op.options["dilation_h"], op.options["dilation_w"]


def is_point(weights: Tensor, op: Op) -> bool:
    """A 1x1 convolution, or a dense layer, which XNNPACK counts among them."""
    if op.name == "FULLY_CONNECTED":
        return True
    return op.name == "CONV_2D" and weights.shape[1:3] == (1, 1) and _stride(op) == (1, 1)


def zeros_in(weights: Tensor) -> int:
    """Of a constant; one that is stored sparsely leaves out most of its zeros."""
    kinds = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT8": "<i1"}
    if weights.data is None or weights.type not in kinds:
        return 0
    whole = weights.data.size // np.dtype(kinds[weights.type]).itemsize * np.dtype(kinds[weights.type]).itemsize
    return weights.elements - int(np.count_nonzero(weights.data[:whole].view(kinds[weights.type])))
