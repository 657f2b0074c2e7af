"""The child process of export.convert.tflite: one ONNX file in, TensorFlow Lite files out.

It runs as a program of its own (`python -P export/convert/worker.py request.json`), because onnx2tf reseeds every
random generator, TensorFlow and timm abort in one process, and the memory goes back to the system when it ends. It
imports nothing of this package. The request, JSON:

    {"onnx": PATH, "out_dir": DIR, "formats": ["fp32", ...], "calibration": PATH.npy or null, "range_quantile": 0.95}

The files are out_dir/FORMAT.tflite. The answer is out_dir/answer.json: {"seconds": {step: s}, "peak_rss_bytes": n,
"converter_bytes": {format: n}} (sizes with tensor names) and, where there is an int8 file,
"calibration": {"samples": n, "range_quantile": q}; or {"error": sentence}.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ONNX2TF_SAMPLE = "calibration_image_sample_data_20x128x128x3_float32.npy"
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
        channels_last, new_weight = f"{node.input[0]}_nhwc", f"{weight.name}_nhwc"
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


def convert_int8(saved_model: str, samples: np.ndarray, quantile: float) -> bytes:
    """The full int8 TFLite file. `samples`: float32 (N, H, W, C)."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    converter = float_converter(saved_model, "int8")
    converter.representative_dataset = lambda: [[samples[:1]]]  # only to have a model with fields for ranges
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_calibrate_only = True
    calibrated = with_ranges(converter.convert(), samples, quantile)
    # Per-tensor weights in dense layers: the Arduino libraries compute per-channel ones wrongly; as accurate.
    return mlir_quantize(  # pyright: ignore
        calibrated,
        input_data_type=tf.int8,  # pyright: ignore
        output_data_type=tf.int8,  # pyright: ignore
        disable_per_channel_for_dense_layers=True,  # pyright: ignore
    )


def with_ranges(model: bytes, samples: np.ndarray, quantile: float) -> bytes:
    """A float model with the range of every activation, as `activation_ranges` has it, in its quantisation fields.

    TensorFlow's own calibration takes the extremes of all samples, and sees the result of an addition in the memory of
    its input, since kernels add in place. Here every tensor is kept in a memory of its own.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    ranges = activation_ranges(model, samples, quantile)
    tree = flatbuffer_utils.convert_bytearray_to_object(model)
    for index, (low, high) in ranges.items():
        quantization: Any = tree.subgraphs[0].tensors[index].quantization  # pyright: ignore
        quantization.min, quantization.max = [low], [high]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def activation_ranges(model: bytes, samples: np.ndarray, quantile: float) -> dict[int, tuple[float, float]]:
    """Tensor -> (lowest, highest) value of it that int8 has to hold.

    The highest value in each sample is taken first, and of these the quantile over the samples, so that a few samples
    with values far beyond all others (some nets have them, 50 times the usual) saturate instead of making the steps
    coarse for all. The lowest likewise. The model's input and output keep the extremes of all samples.
    """
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
    tensors = list(dict.fromkeys([*ends, *made]))
    lows, highs = np.empty((len(samples), len(tensors))), np.empty((len(samples), len(tensors)))
    for row, sample in enumerate(samples):
        interpreter.set_tensor(source["index"], sample[None])
        interpreter.invoke()
        for column, index in enumerate(tensors):
            values = interpreter.get_tensor(index)
            lows[row, column], highs[row, column] = values.min(), values.max()
    low, high = np.quantile(lows, 1 - quantile, axis=0), np.quantile(highs, quantile, axis=0)
    low[: len(ends)], high[: len(ends)] = lows[:, : len(ends)].min(axis=0), highs[:, : len(ends)].max(axis=0)
    return {index: (float(low[i]), float(high[i])) for i, index in enumerate(tensors)}


def convert_formats(saved_model: str, request: dict[str, Any], lap: Any) -> None:
    """Write every format asked for. A sparse one is its dense base re-encoded, as EXPERIMENTAL_SPARSITY does."""
    from tensorflow.lite.python.convert import mlir_sparsify

    samples = np.load(request["calibration"]) if request["calibration"] else None
    formats: list[str] = request["formats"]
    dense: dict[str, bytes] = {}
    for fmt in formats:
        base = DENSE_BASE.get(fmt, fmt)
        if base not in dense:
            if base == "int8":
                assert samples is not None
                dense[base] = convert_int8(saved_model, samples, request["range_quantile"])
            else:
                dense[base] = float_converter(saved_model, base).convert()
        content = dense[base] if fmt == base else mlir_sparsify(dense[base])
        Path(request["out_dir"], f"{fmt}.tflite").write_bytes(content)  # pyright: ignore[reportArgumentType]
        lap(fmt)


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Do the request; return the answer."""
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(step: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[step] = round(now - clock, 3)
        clock = now

    import onnx2tf  # noqa: F401
    import tensorflow as tf  # noqa: F401

    lap("import")
    saved_model = build_saved_model(request["onnx"], Path(request["out_dir"]))
    lap("onnx2tf")
    convert_formats(saved_model, request, lap)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    answer: dict[str, Any] = {"seconds": seconds, "peak_rss_bytes": peak if sys.platform == "darwin" else peak * 1024}
    sizes = {fmt: Path(request["out_dir"], f"{fmt}.tflite").stat().st_size for fmt in request["formats"]}
    answer["converter_bytes"] = sizes
    if any(fmt.startswith("int8") for fmt in request["formats"]):
        samples = len(np.load(request["calibration"], mmap_mode="r"))
        answer["calibration"] = {"samples": samples, "range_quantile": request["range_quantile"]}
    return answer


def main() -> int:
    request = json.loads(Path(sys.argv[1]).read_text())
    os.chdir(request["out_dir"])
    try:
        answer = run(request)
    except Exception as error:
        import traceback

        traceback.print_exc()  # to the log
        answer = {"error": f"{type(error).__name__}: {error}"}
    Path("answer.json").write_text(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
