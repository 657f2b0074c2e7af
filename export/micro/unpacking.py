"""Operators that only unpack weights which a file stores sparsely or in fewer bits."""

from __future__ import annotations

from export.micro.flatbuffer import Model

UNPACKING = ("DENSIFY", "DEQUANTIZE")


def unpacked(model: Model) -> dict[int, int]:
    """Tensor with unpacked weights -> the constant of the file that they come from.

    LiteRT and XNNPACK unpack once, on loading. TensorFlow Lite Micro has no DENSIFY, and runs a DEQUANTIZE each time.
    """
    sources: dict[int, int] = {}
    for op in model.ops:
        if op.name not in UNPACKING or not op.inputs or not op.outputs:
            continue
        source = sources.get(op.inputs[0], op.inputs[0])
        if source >= 0 and model.tensors[source].is_constant:
            sources[op.outputs[0]] = source
    return sources
