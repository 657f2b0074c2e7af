"""The ranges of an int8 file's activations, in the child process of export.convert.tflite: which values each must hold.

From quantiles of what the float model computes on calibration samples, by the rule that was measured to deviate least;
from training that has learnt them; and, for the output, from what is known of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MOVING = ("PAD", "RESHAPE", "TRANSPOSE", "MAX_POOL_2D", "AVERAGE_POOL_2D", "SQUEEZE", "SLICE", "STRIDED_SLICE")
"""Operators whose result has the scale of what they are given."""
SAME = 1e-3
"""Fingerprints nearer than this are of one tensor: float32 sums in another order differ by 1e-5."""
QUANTILES = (0.95, 0.99, 0.999, 1.0)
"""Rules for int8 ranges that are tried; the last one is min-max."""
HELD_OUT = 4
"""One sample in this many measures a rule and sets no range meanwhile."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a float model computed on the calibration samples."""

    tensors: list[int]
    """Input, output, then the other activations."""
    lows: np.ndarray
    """(samples, tensors)"""
    highs: np.ndarray
    outputs: np.ndarray
    """(samples, K)"""

    def of(self, samples: np.ndarray) -> Seen:
        """The same on some of the samples; `samples` is a mask (samples,)."""
        return Seen(self.tensors, self.lows[samples], self.highs[samples], self.outputs[samples])


def quantize(model: bytes, ranges: dict[int, tuple[float, float]]) -> bytes:
    """The full int8 file of a float model, its activations in these ranges."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    # Per-tensor weights in dense layers: the Arduino libraries compute per-channel ones wrongly; as accurate.
    return mlir_quantize(  # pyright: ignore
        with_ranges(model, ranges),
        input_data_type=tf.int8,  # pyright: ignore
        output_data_type=tf.int8,  # pyright: ignore
        disable_per_channel_for_dense_layers=True,  # pyright: ignore
    )


def held_out(samples: np.ndarray) -> np.ndarray:
    """The samples that measure rules and set no range: a mask (samples,)."""
    return np.arange(len(samples)) % HELD_OUT == HELD_OUT - 1


def deviation_by_quantile(
    model: bytes, samples: np.ndarray, seen: Seen, apart: np.ndarray, output: dict[int, tuple[float, float]]
) -> dict[str, float]:
    """Quantile -> how far the int8 output is from the float one, in the mean over the samples `apart`, a mask.

    The others set the ranges, so that a rule is chosen by what it has not seen. They must set those of the file as
    well: a single sample with values far beyond all others makes another file of the same rule.
    """
    import tensorflow as tf

    found = {}
    for quantile in QUANTILES:
        content = quantize(model, activation_ranges(seen.of(~apart), quantile) | output)
        interpreter = tf.lite.Interpreter(  # XNNPACK refuses some scales, in a net that hardly answers
            model_content=content,
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        distances = []
        for sample, expected in zip(samples[apart], seen.outputs[apart], strict=True):
            scale, zero_point = source["quantization"]
            steps = np.clip(np.round(sample / scale) + zero_point, -128, 127).astype(np.int8)
            interpreter.set_tensor(source["index"], steps[None])
            interpreter.invoke()
            scale, zero_point = result["quantization"]
            raw = interpreter.get_tensor(result["index"]).astype(np.float64).ravel()
            distances.append(np.abs((raw - zero_point) * scale - expected).mean())
        found[str(quantile)] = round(float(np.mean(distances)), 5)
    return found


def with_ranges(model: bytes, ranges: dict[int, tuple[float, float]]) -> bytes:
    """A float model with the range of every activation in its quantisation fields, where the quantiser looks."""
    from tensorflow.lite.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(model)
    for index, (low, high) in ranges.items():
        quantization: Any = tree.subgraphs[0].tensors[index].quantization  # pyright: ignore
        quantization.min, quantization.max = [low], [high]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def activation_ranges(seen: Seen, quantile: float) -> dict[int, tuple[float, float]]:
    """Tensor -> (lowest, highest) value of it that int8 has to hold.

    The highest value in each sample is taken first, and of these the quantile over the samples, so that a few samples
    with values far beyond all others (some nets have them, 50 times the usual) saturate instead of making the steps
    coarse for all. The lowest likewise. The model's input and output keep the extremes of all samples.
    """
    low, high = np.quantile(seen.lows, 1 - quantile, axis=0), np.quantile(seen.highs, quantile, axis=0)
    low[:2], high[:2] = seen.lows[:, :2].min(axis=0), seen.highs[:, :2].max(axis=0)  # input and output
    return {index: (float(low[i]), float(high[i])) for i, index in enumerate(seen.tensors)}


def look(model: bytes, samples: np.ndarray) -> Seen:
    """Run a float model on the samples.

    TensorFlow's own calibration takes the extremes of all samples, and sees the result of an addition in the memory of
    its input, since kernels add in place. Here every tensor is kept in a memory of its own.
    """
    interpreter, tensors = watched(model)
    lows, highs = np.empty((len(samples), len(tensors))), np.empty((len(samples), len(tensors)))
    outputs = []
    for row, sample in enumerate(samples):
        for column, values in enumerate(tensor_values(interpreter, tensors, sample)):
            lows[row, column], highs[row, column] = values.min(), values.max()
        outputs.append(interpreter.get_tensor(tensors[1]).ravel().copy())
    return Seen(tensors, lows, highs, np.array(outputs))


def known_ranges(model: bytes, samples: np.ndarray, path: str) -> dict[int, tuple[float, float]]:
    """Tensor -> the range given for the activation that has its values, and of what only moves such a tensor's values.

    Nothing but the values tells which tensor is which: the graph was rebuilt twice, in another layout. Their extremes,
    mean and root mean square for each sample are independent of the layout.
    """
    with np.load(path) as file:
        limits = file["limits"]
        given = [file[str(i)] for i in range(len(limits))]
    interpreter, tensors = watched(model)
    count = len(given[0])
    values = [tensor_values(interpreter, tensors, sample) for sample in samples[:count]]
    prints = [fingerprint(np.stack([row[i].ravel() for row in values])) for i in range(len(tensors))]
    wanted = [fingerprint(value.reshape(count, -1)) for value in given]
    pairs = [(distance(a, b), i, j) for i, a in enumerate(prints) for j, b in enumerate(wanted)]
    found: dict[int, tuple[float, float]] = {}
    taken: set[int] = set()
    for apart, i, j in sorted(pairs):
        if apart < SAME and tensors[i] not in found and j not in taken:
            found[tensors[i]] = (float(limits[j, 0]), float(limits[j, 1]))
            taken.add(j)
    if len(taken) < len(given) / 2:
        raise ValueError(f"{len(given) - len(taken)} of the {len(given)} given ranges belong to no tensor of this net")
    for op in interpreter._get_ops_details():
        source, result = int(op["inputs"][0]), int(op["outputs"][0])
        if op["op_name"] in MOVING and source in found:
            found[result] = found[source]
    return found


def fingerprint(values: np.ndarray) -> np.ndarray:
    """(n, size) values -> (n, 5): what tells a tensor from others, in any layout."""
    x = values.astype(np.float64)
    size = np.full(len(x), x.shape[1])
    return np.stack([size, x.min(1), x.max(1), x.mean(1), np.sqrt((x * x).mean(1))], 1)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """How far two fingerprints are apart, in units of the largest value; infinite where the sizes differ."""
    if (a[:, 0] != b[:, 0]).any():
        return float("inf")
    return float(np.abs(a[:, 1:] - b[:, 1:]).max() / max(np.abs(b[:, 1:]).max(), 1e-12))


def watched(model: bytes) -> tuple[Any, list[int]]:
    """An interpreter that keeps every tensor, and the tensors that hold activations: input, output, then the others."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    ends = [source["index"], result["index"]]
    made = [int(index) for op in interpreter._get_ops_details() for index in op["outputs"]]
    return interpreter, list(dict.fromkeys([*ends, *made]))


def tensor_values(interpreter: Any, tensors: list[int], sample: np.ndarray) -> list[np.ndarray]:
    """What each tensor holds for one sample (H, W, C)."""
    interpreter.set_tensor(tensors[0], sample[None])
    interpreter.invoke()
    return [interpreter.get_tensor(index) for index in tensors]
