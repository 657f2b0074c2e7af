"""The child process of export.convert.tflite: ONNX files in, TensorFlow Lite files out.

It runs as a program of its own (`python -P export/convert/worker.py request.json`), because onnx2tf reseeds every
random generator, TensorFlow and timm abort in one process, and the memory goes back to the system when it ends. The
request is a JSON list, since TensorFlow takes longer to start than to convert:

    [{"onnx": PATH, "out_dir": DIR, "log": PATH, "formats": ["fp32", ...], "calibration": PATH.npy or null,
      "range_quantile": 0.99 or null, "ranges": PATH.npz or null, "output_range": [low, high] or null}, ...]

The files are out_dir/FORMAT.tflite. The answer to each is out_dir/answer.json: {"seconds": {step: s},
"peak_rss_bytes": n, "converter_bytes": {format: n}} (sizes with tensor names) and, where there is an int8 file,
"calibration": {"samples": n, "range_quantile": q, "output_range": [low, high], "deviation": {q: of the output},
"known": n, "unknown": n} (the last two count activations by where their range is from); or {"error": message}. Where
one fails, the others are converted.
What is printed meanwhile goes to `log`. The import is counted for the first one.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

from export.convert.dead_channels import settle_dead_channels
from export.convert.int8_ranges import (
    Seen,
    activation_ranges,
    deviation_by_quantile,
    held_out,
    known_ranges,
    look,
    quantize,
)

ONNX2TF_SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"
QUANTILE = 0.99
"""Where nothing can be measured: close to the best rule with SiLU and with ReLU6."""
FEWEST_TO_CHOOSE = 16
"""With fewer samples the choice would be a throw of dice."""
USUAL_SAMPLES = 32
"""Enough for the median of what an activation reaches."""
DENSE_BASE = {"sparse": "fp32", "dynamic_sparse": "dynamic", "int8_sparse": "int8"}


def flatten_channels_last(onnx_path: str) -> None:
    """Rewrite `Gemm(Flatten(x))` to flatten x (1, C, H, W) in the order H, W, C, with the weights reordered to match.

    TensorFlow holds x as (1, H, W, C): without this it would need a TRANSPOSE before the flattening.
    """
    onnx: Any = importlib.import_module("onnx")  # a type checker would take the onnx.py beside this file
    graph = (model := onnx.shape_inference.infer_shapes(onnx.load(onnx_path))).graph
    shapes = {info.name: [d.dim_value for d in info.type.tensor_type.shape.dim] for info in graph.value_info}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    consumers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)

    for position, node in reversed(list(enumerate(graph.node))):
        shape = shapes.get(node.input[0], []) if node.op_type in ("Flatten", "Reshape") else []
        users = consumers.get(node.output[0], [])
        if len(shape) != 4 or shape[2] * shape[3] == 1 or len(users) != 1 or users[0].op_type != "Gemm":
            continue
        (gemm,) = users
        weight = weights.get(gemm.input[1])
        transposed = any(attribute.name == "transB" and attribute.i == 1 for attribute in gemm.attribute)
        if weight is None or not transposed or shapes.get(node.output[0]) != [1, int(np.prod(shape))]:
            continue
        columns = onnx.numpy_helper.to_array(weight).reshape(-1, *shape[1:])  # (K, C, H, W)
        reordered = columns.transpose(0, 2, 3, 1).reshape(len(columns), -1)  # (K, H * W * C)
        flat = node.output[0]  # of this node alone: another one may flatten the same map, or share the weights
        channels_last, new_weight = f"{flat}_nhwc", f"{weight.name}_{flat}_nhwc"
        graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(reordered), new_weight))
        graph.node.insert(
            position, onnx.helper.make_node("Transpose", [node.input[0]], [channels_last], perm=[0, 2, 3, 1])
        )
        node.input[0] = channels_last
        gemm.input[1] = new_weight
    onnx.save(model, onnx_path)


def build_saved_model(onnx_path: str, out_dir: Path) -> str:
    """Rebuild the ONNX graph (NCHW) as a TensorFlow one (NHWC) and save it; returns the folder of the saved model."""
    import onnx2tf
    import tensorflow as tf

    flatten_channels_last(onnx_path)
    # onnx2tf downloads this sample file, which nothing here uses, unless the working folder has it.
    np.save(out_dir / ONNX2TF_SAMPLE, np.zeros((20, 128, 128, 3), np.float32))
    try:
        model = onnx2tf.convert(
            input_onnx_file_path=onnx_path,
            output_folder_path=str(out_dir / "onnx2tf"),
            not_use_onnxsim=True,
            disable_model_save=True,  # it would also write two TFLite files of its own
            verbosity="error",
        )
    except SystemExit as error:  # onnx2tf prints the reason to the log, then exits
        raise ValueError("onnx2tf cannot convert this graph (an operator it does not know?)") from error

    # A bare tf.Module without autograph: saving the Keras model itself takes 30 s more for an EfficientNet-B0.
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.float32, name="input")]  # pyright: ignore[reportOptionalSubscript]
    module: Any = tf.Module()
    module.serve = tf.function(lambda x: model(x), input_signature=signature, autograph=False)
    module.kept_variables = model.variables
    saved_model = str(out_dir / "saved_model")
    tf.saved_model.save(module, saved_model, signatures=module.serve.get_concrete_function())
    return saved_model


def float_converter(saved_model: str, fmt: str) -> Any:
    """A converter for a format without calibration: fp32, fp16 or dynamic."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
    converter.exclude_conversion_metadata = True  # versions of the tools, in every file
    if fmt != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if fmt == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    return converter


def convert_int8(saved_model: str, request: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The full int8 TFLite file, and what its ranges are from."""
    import tensorflow as tf

    converter = float_converter(saved_model, "int8")
    samples = np.load(request["calibration"])  # float32 (N, H, W, C)
    converter.representative_dataset = lambda: [[samples[:1]]]  # only to have a model with fields for ranges
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_calibrate_only = True
    model = converter.convert()
    seen = look(model, samples)
    known = known_ranges(model, samples, request["ranges"]) if request["ranges"] else {}
    if not known:  # learnt ranges are of the channels as they were
        model = settled(model, seen)
    output = {} if request["output_range"] is None else {seen.tensors[1]: tuple(request["output_range"])}
    quantile, facts = request["range_quantile"], {}
    if quantile is None and (known or len(samples) < FEWEST_TO_CHOOSE):
        quantile = QUANTILE
    elif quantile is None:
        apart = held_out(samples)
        facts["deviation"] = deviation_by_quantile(model, samples, seen, apart, output)
        quantile = float(min(facts["deviation"], key=facts["deviation"].__getitem__))
        seen = seen.of(~apart)  # what was measured is what is written
    ranges = activation_ranges(seen, quantile) | known | output
    facts |= {"samples": len(seen.outputs), "range_quantile": quantile, "output_range": ranges[seen.tensors[1]]}
    if known:
        facts |= {"known": len(known), "unknown": len(ranges) - len(known)}
    return quantize(model, ranges), facts


def settled(model: bytes, seen: Seen) -> bytes:
    """The file with its dead channels settled, within what its activations reach in the median sample."""
    return settle_dead_channels(model, dict(zip(seen.tensors, np.median(seen.highs, axis=0).tolist(), strict=True)))


def convert_formats(saved_model: str, request: dict[str, Any], lap: Any) -> dict[str, Any]:
    """Write every format asked for; what int8 ranges are from. A sparse one is its dense base re-encoded, as
    EXPERIMENTAL_SPARSITY does."""
    from tensorflow.lite.python.convert import mlir_sparsify

    formats: list[str] = request["formats"]
    dense: dict[str, bytes] = {}
    origins: dict[str, Any] = {}
    for fmt in formats:
        base = DENSE_BASE.get(fmt, fmt)
        if base not in dense:
            if base == "int8":
                dense[base], origins = convert_int8(saved_model, request)
            else:
                dense[base] = float_converter(saved_model, base).convert()
            if base == "dynamic" and request["calibration"]:
                dense[base] = settled(dense[base], look(dense[base], np.load(request["calibration"])[:USUAL_SAMPLES]))
        content = dense[base] if fmt == base else mlir_sparsify(dense[base])
        Path(request["out_dir"], f"{fmt}.tflite").write_bytes(content)  # pyright: ignore[reportArgumentType]
        lap(fmt)
    return origins


class Clock:
    """Seconds of each step since the one before, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = round(now - self.last, 3)
        self.last = now


def convert_one(request: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Do one request; return the answer."""
    saved_model = build_saved_model(request["onnx"], Path(request["out_dir"]))
    clock.lap("onnx2tf")
    origins = convert_formats(saved_model, request, clock.lap)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    answer: dict[str, Any] = {"seconds": clock.seconds}
    answer["peak_rss_bytes"] = peak if sys.platform == "darwin" else peak * 1024
    sizes = {fmt: Path(request["out_dir"], f"{fmt}.tflite").stat().st_size for fmt in request["formats"]}
    answer["converter_bytes"] = sizes
    return answer | ({"calibration": origins} if origins else {})


def print_to(log: str) -> None:
    """Let all that this process prints, TensorFlow's C++ too, go to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(log, "a") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)


def answer_to(request: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """The answer to a request, or the error; what failed goes to the log in full."""
    try:
        import onnx2tf  # noqa: F401
        import tensorflow as tf

        if "import" not in clock.seconds:
            clock.lap("import")
        tf.keras.backend.clear_session()  # pyright: ignore  # names count up from one model to the next
        return convert_one(request, clock)
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> int:
    clock = Clock()
    failed = 0
    for request in json.loads(Path(sys.argv[1]).read_text()):
        print_to(request["log"])
        os.chdir(request["out_dir"])
        answer = answer_to(request, clock)
        Path("answer.json").write_text(json.dumps(answer))
        failed += "error" in answer
        clock = Clock()
        clock.seconds["import"] = 0.0
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
