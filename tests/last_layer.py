"""TensorFlow Lite Micro against LiteRT's reference kernels, to the byte, and what is known of the last dense layer.

Their FULLY_CONNECTED scale the same sum by the same fixed-point number, but LiteRT's rounds once and TensorFlow Lite
Micro's (like CMSIS-NN) twice: where the sum ends just below a half, the outputs lie one step apart, about once in 8,000
outputs of a B0 (2^-13 at a scale of 2^-12). No choice of scales avoids it. All other kernels agree.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from export.flatbuffer import Tensor, read_model
from export.micro import run_micro
from export.runtime import load_runtime


def assert_same_bytes(path: Path, inputs: np.ndarray, folder: Path) -> np.ndarray:
    """Both give the same bytes up to the last layer, int8 inputs (N, H, W, C); and there each rounds as it is known to.

    Writes a model into `folder`. Returns TensorFlow Lite Micro's outputs, int8 (N, K).
    """
    shortened = without_last_layer(path, folder / f"{path.stem}_features.tflite")
    features = load_runtime(shortened, reference_kernels=True).invoke_raw(inputs)  # (N, C)
    np.testing.assert_array_equal(run_micro(shortened, inputs), features)
    once, twice = (dense_by_hand(path, features, roundings) for roundings in (1, 2))  # (N, K) each
    np.testing.assert_array_equal(load_runtime(path, reference_kernels=True).invoke_raw(inputs), once)
    found = run_micro(path, inputs)
    np.testing.assert_array_equal(found, twice)
    steps = np.abs(once.astype(np.int64) - twice)
    assert steps.max() <= 1
    assert steps.sum() <= max(1, 0.005 * steps.size)  # where the two roundings part
    return found


def without_last_layer(path: Path, out: Path) -> Path:
    """The model with the input of its last operator, a FULLY_CONNECTED, as its output."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    graph = tree.subgraphs[0]
    graph.outputs = [int(graph.operators.pop().inputs[0])]
    tree.signatureDefs = []  # it names the old output
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    out.write_bytes(bytes(builder.Output()))
    return out


def dense_by_hand(path: Path, features: np.ndarray, roundings: int) -> np.ndarray:
    """What the last FULLY_CONNECTED makes of int8 (N, C): int8 (N, K).

    The sum is scaled by a 32-bit fraction m and a power of two 2^-s. With 2 roundings, as in gemmlowp: that of
    sum * m / 2^31 to a whole number, then that of the rest; with 1, of the exact product (halves up).
    """
    model = read_model(path)
    op = model.ops[-1]
    assert op.name == "FULLY_CONNECTED"
    source, weights, bias, result = (model.tensors[i] for i in (*op.inputs, op.outputs[0]))
    kernel = _values(weights, np.int8).reshape(weights.shape)  # (K, C)
    total = (features.astype(np.int64) - source.zero_point) @ kernel.T + _values(bias, np.int32)  # (N, K)
    fraction, exponent = math.frexp(source.scale * weights.scale / result.scale)
    multiplier, shift = round(fraction * 2**31), -exponent  # real = multiplier / 2^31 / 2^shift
    product = total * multiplier
    if roundings == 2:
        whole = (product + 2**30) >> 31
        scaled = _round_away(whole, shift)
    else:
        scaled = (product + (1 << (30 + shift))) >> (31 + shift)
    return np.clip(scaled + result.zero_point, -128, 127).astype(np.int8)


def _round_away(values: np.ndarray, bits: int) -> np.ndarray:
    """values / 2^bits to the nearest, halves away from 0."""
    return np.sign(values) * ((np.abs(values) + (1 << (bits - 1))) >> bits)


def _values(tensor: Tensor, dtype: type) -> np.ndarray:
    assert tensor.data is not None
    return tensor.data.view(dtype).astype(np.int64)
