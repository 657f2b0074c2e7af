"""Does the exported file still compute what torch computes, and if not, from which layer on?"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import ExportError
from export.files import write_text, write_whole
from export.run.runtime import load_runtime

DEVIATIONS, ARRAYS = EVIDENCE = ("parity.json", "parity.npz")
"""Files that a refused export leaves."""
FORBIDDEN_IN_INT8 = ("QUANTIZE", "DEQUANTIZE", "TRANSPOSE")


class ParityError(ExportError):
    """An exported file deviates from torch by more than was allowed; the message names the evidence."""

    def __init__(self, message: str, deviations: Mapping[str, Deviation], failed: Sequence[str]) -> None:
        super().__init__(message)
        self.deviations = dict(deviations)
        """Of every format."""
        self.failed = list(failed)
        """The formats that deviate too far."""


@dataclass(frozen=True)
class Deviation:
    """How far a file's outputs lie from torch's, in the units of the output."""

    max: float
    """Largest absolute deviation over all samples and outputs."""
    mean: float
    """Mean absolute deviation."""
    mean_per_output: list[float]
    """Mean absolute deviation of each output."""
    n: int
    """Samples compared."""


@dataclass(frozen=True)
class LayerDeviation:
    """How far a layer of the int8 file lies from the same layer of the float one, errors of earlier layers included."""

    index: int
    """Position in the int8 file, from 0."""
    operator: str
    """TensorFlow Lite's name, such as CONV_2D."""
    shape: tuple[int, ...]
    """Shape of the layer's output."""
    relative_error: float
    """Root mean square of (int8 - float) over that of float."""


def operators(path: str | Path) -> list[str]:
    """The operators of a .tflite, in the order they run, such as ["CONV_2D", "MEAN", "CONV_2D", "RESHAPE"]."""
    return [op["op_name"] for op in _op_details(_open_all_tensors(path))]


def check_int8_graph(path: str | Path) -> list[str]:
    """The operators of a full-int8 .tflite that is fit for a microcontroller.

    Raises:
        ExportError: an operator works on floats, or is a QUANTIZE, DEQUANTIZE or TRANSPOSE; the message lists them.
    """
    interpreter = _open_all_tensors(path)
    dtype = {tensor["index"]: np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    ops = _op_details(interpreter)
    faults = []
    for position, op in enumerate(ops):
        ends = [dtype[index] for index in (*op["inputs"], *op["outputs"]) if index >= 0]
        if op["op_name"] in FORBIDDEN_IN_INT8 or any(name.startswith("float") for name in ends):
            faults.append(f"{op['op_name']} at {position} ({', '.join(sorted(set(ends)))})")
    if faults:
        raise ExportError(f"{path} is not a clean int8 graph of {len(ops)} operators: {'; '.join(faults[:8])}.")
    return [op["op_name"] for op in ops]


def measure_deviation(path: str | Path, samples: np.ndarray, expected: np.ndarray) -> Deviation:
    """Run a .onnx or .tflite on samples, float32 (N, H, W, C), and compare with torch's outputs, float32 (N, K)."""
    return _deviation(load_runtime(path)(samples), expected)


def check_parity(
    files: Mapping[str, Path],
    samples: np.ndarray,
    expected: np.ndarray,
    tolerance: Mapping[str, float],
    evidence_dir: str | Path,
) -> dict[str, Deviation]:
    """Compare every format with torch on the same samples; fail above the tolerance and keep what shows it.

    Args:
        files: format -> .onnx or .tflite, as convert returns it.
        samples: float32 (N, H, W, C), normalised as in training; real ones.
        expected: torch's outputs on them, float32 (N, K).
        tolerance: format -> largest mean absolute deviation allowed, in output units. Others are only measured.
        evidence_dir: where a failure leaves parity.json (deviations, and the layers of the int8 file where a float
            one is there too) and parity.npz (samples, expected, one array of outputs for each format).

    Returns:
        format -> Deviation.

    Raises:
        ParityError: a format deviates too far; the message names formats, first deviating layer and evidence.
    """
    outputs = {fmt: load_runtime(path)(samples) for fmt, path in files.items()}  # (N, K) each
    deviations = {fmt: _deviation(output, expected) for fmt, output in outputs.items()}
    # "not <=", so that a NaN fails
    failed = [fmt for fmt, limit in tolerance.items() if fmt in files and not deviations[fmt].mean <= limit]
    if not failed:
        for name in EVIDENCE:  # of an export that was refused before
            (Path(evidence_dir) / name).unlink(missing_ok=True)
        return deviations

    evidence: dict[str, Any] = {
        "failed": {fmt: {"mean": deviations[fmt].mean, "allowed": tolerance[fmt]} for fmt in failed},
        "deviations": {fmt: dataclasses.asdict(deviation) for fmt, deviation in deviations.items()},
    }
    where = ""
    if "int8" in failed and "fp32" in files:
        layers = layer_deviations(files["fp32"], files["int8"], samples)
        evidence["int8_layers"] = [dataclasses.asdict(layer) for layer in layers]
        found = first_deviating(layers)
        where = f" int8 first deviates at layer {found.index} ({found.operator})." if found else ""
    report = _keep_evidence(Path(evidence_dir), evidence, {"samples": samples, "expected": expected, **outputs})
    numbers = ", ".join(f"{fmt} by {deviations[fmt].mean:.3g} (allowed {tolerance[fmt]:.3g})" for fmt in failed)
    message = f"Exported files differ from torch on {len(samples)} samples: {numbers}.{where} See {report}."
    raise ParityError(message, deviations, failed)


def layer_deviations(float_path: str | Path, int8_path: str | Path, samples: np.ndarray) -> list[LayerDeviation]:
    """Compare an int8 .tflite with its float one layer by layer, on at most 32 samples, float32 (N, H, W, C).

    Layers are matched by their order, operator and output shape, a dense layer with the 1 x 1 convolution that it is in
    int8; what has no partner is left out.
    """
    plain, quantized = _open_all_tensors(float_path), _open_all_tensors(int8_path)
    pairs = _match_layers(plain, quantized)
    scales = {tensor["index"]: tensor["quantization"] for tensor in quantized.get_tensor_details()}
    runtime = load_runtime(int8_path)
    error = np.zeros(len(pairs))  # sums of squares
    power = np.zeros(len(pairs))
    for sample in np.asarray(samples[:32], np.float32):
        _run(plain, sample[None])
        _run(quantized, runtime.quantize(sample[None]))
        for row, (_, float_tensor, int8_tensor) in enumerate(pairs):
            scale, zero_point = scales[int8_tensor]
            real = plain.get_tensor(float_tensor).astype(np.float64)
            raw = quantized.get_tensor(int8_tensor).astype(np.float64).reshape(real.shape)
            restored = (raw - zero_point) * scale
            error[row] += np.square(restored - real).sum()
            power[row] += np.square(real).sum()
    ops = _op_details(quantized)
    relative = np.sqrt(error / np.maximum(power, 1e-30))
    return [
        LayerDeviation(index, ops[index]["op_name"], tuple(plain.get_tensor(tensor).shape), float(value))
        for (index, tensor, _), value in zip(pairs, relative, strict=True)
    ]


def first_deviating(layers: list[LayerDeviation]) -> LayerDeviation | None:
    """The first layer from which the relative error stays above 10 % to the end; None where it ends below."""
    found = None
    for layer in reversed(layers):
        if layer.relative_error <= 0.1:
            break
        found = layer
    return found


def _deviation(actual: np.ndarray, expected: np.ndarray) -> Deviation:
    if actual.shape != expected.shape:
        raise ValueError(f"The file gives outputs of shape {actual.shape}, torch {expected.shape}.")
    distance = np.abs(actual.astype(np.float64) - expected)  # (N, K)
    per_output = [float(value) for value in distance.mean(axis=0)]
    return Deviation(float(distance.max()), float(distance.mean()), per_output, len(distance))


def _keep_evidence(folder: Path, report: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    write_whole(folder / ARRAYS, lambda path: np.savez_compressed(path, **arrays))  # type: ignore[arg-type]
    return write_text(folder / DEVIATIONS, json.dumps(report, indent=2) + "\n")  # which may hold NaN


def _open_all_tensors(path: str | Path) -> Any:
    """A LiteRT interpreter on the built-in kernels (so that no delegate hides operators) that keeps every tensor."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no model file {path}.")
    try:
        interpreter = Interpreter(
            model_content=path.read_bytes(),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"{path} is not a TensorFlow Lite model that runs here: {reason}") from error
    return interpreter


def _op_details(interpreter: Any) -> list[dict[str, Any]]:
    """[{"op_name", "inputs", "outputs"}, ...]: LiteRT has no public call for it."""
    return interpreter._get_ops_details()


def _match_layers(plain: Any, quantized: Any) -> list[tuple[int, int, int]]:
    """(layer of the int8 graph, output tensor in the float graph, output tensor in the int8 graph) for each match."""
    float_ops, int8_ops = _op_details(plain), _op_details(quantized)
    float_keys, int8_keys = _layer_keys(plain, float_ops), _layer_keys(quantized, int8_ops)
    blocks = difflib.SequenceMatcher(None, float_keys, int8_keys, autojunk=False).get_matching_blocks()
    return [
        (block.b + step, int(float_ops[block.a + step]["outputs"][0]), int(int8_ops[block.b + step]["outputs"][0]))
        for block in blocks
        for step in range(block.size)
    ]


def _layer_keys(interpreter: Any, ops: list[dict[str, Any]]) -> list[tuple[str, tuple[int, ...]]]:
    """Operator and output shape, alike for a dense layer and for the 1 x 1 convolution that it is in int8."""
    shape = {
        tensor["index"]: tuple(int(side) for side in tensor["shape"] if side != 1)
        for tensor in interpreter.get_tensor_details()
    }
    names = ("CONV_2D" if op["op_name"] == "FULLY_CONNECTED" else op["op_name"] for op in ops)
    return [(name, shape[op["outputs"][0]]) for name, op in zip(names, ops, strict=True)]


def _run(interpreter: Any, image: np.ndarray) -> None:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
