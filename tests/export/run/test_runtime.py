"""load_runtime: the same call for every format, TFLite's own rounding, one message on a bad file."""

import subprocess
import sys

import numpy as np
import pytest

from export import FORMATS, ExportError, load_runtime
from tests.crafted import custom_operator_model, quantize_model, two_input_model
from tests.exported import SIZE, exported


@pytest.mark.parametrize("fmt", ["onnx", "fp32", "int8"])
def test_batches_are_rows_of_single_images(fmt):
    made = exported()
    runtime = load_runtime({**made.files, "onnx": made.onnx}[fmt])
    assert (runtime.input_shape, runtime.output_size) == ((SIZE, SIZE, 3), 3)
    together = runtime(made.samples[:3])
    assert (together.shape, together.dtype) == ((3, 3), np.float32)
    np.testing.assert_array_equal(together, np.concatenate([runtime(sample[None]) for sample in made.samples[:3]]))
    assert runtime(made.samples[:0]).shape == (0, 3)


def test_fixed_batch_of_one_is_what_other_shapes_are_checked_against():
    runtime = load_runtime(exported().files["fp32"])
    for shape in [(SIZE, SIZE, 3), (1, 3, SIZE, SIZE), (1, SIZE, SIZE, 1)]:
        with pytest.raises(ValueError, match=r"\(N, 32, 32, 3\)"):
            runtime(np.zeros(shape, np.float32))


def test_float_call_of_an_int8_file_is_quantize_raw_dequantize():
    made = exported()
    runtime = load_runtime(made.files["int8"])
    raw = runtime.invoke_raw(runtime.quantize(made.samples))
    assert raw.dtype == np.int8
    by_hand = (raw.astype(np.float64) - runtime.output_zero_point) * runtime.output_scale
    np.testing.assert_allclose(runtime(made.samples), by_hand, rtol=1e-6)


def test_invoke_raw_is_for_int8_only():
    made = exported()
    with pytest.raises(ExportError, match="float"):
        load_runtime(made.files["fp32"]).invoke_raw(np.zeros((1, SIZE, SIZE, 3), np.int8))
    with pytest.raises(ValueError, match="int8"):
        load_runtime(made.files["int8"]).invoke_raw(made.samples)


@pytest.mark.parametrize(("scale", "zero_point"), [(0.5, 3), (0.0186, -14), (1.0, 0)])
def test_quantize_is_that_of_the_reference_kernel(scale, zero_point, tmp_path):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    halves = np.arange(-300, 300) * 0.5 * scale
    near_halves = np.nextafter(np.arange(-5, 5, dtype=np.float32) + np.float32(0.5), np.float32(0)) * np.float32(scale)
    random = np.random.default_rng(0).normal(size=2000)
    values = np.concatenate([halves, near_halves, random, [0.0, -0.0, 1e6, -1e6]]).astype(np.float32)
    path = quantize_model(tmp_path / "quantize.tflite", scale, zero_point, len(values))
    reference = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    reference.set_tensor(0, values.reshape(1, 1, -1, 1))
    reference.invoke()

    runtime = load_runtime(exported().files["int8"])
    runtime.input_scale, runtime.input_zero_point = scale, zero_point
    np.testing.assert_array_equal(runtime.quantize(values), reference.get_tensor(1).ravel())


def test_kernels_are_named_and_agree_within_a_few_steps():
    made = exported()
    fast = load_runtime(made.files["int8"])
    exact = load_runtime(made.files["int8"], reference_kernels=True)
    assert (fast.kernels, exact.kernels) == ("xnnpack", "reference")
    steps = fast.invoke_raw(fast.quantize(made.samples)).astype(int) - exact.invoke_raw(exact.quantize(made.samples))
    assert np.abs(steps).max() <= 4


def test_xnnpack_can_be_left_out():
    made = exported()
    fast, plain = (load_runtime(made.files["fp32"], xnnpack=wanted) for wanted in (True, False))
    assert (fast.kernels, plain.kernels) == ("xnnpack", "builtin")
    np.testing.assert_allclose(plain(made.samples), fast(made.samples), atol=1e-4)


def test_sparse_int8_file_falls_back_to_kernels_that_take_it():
    made = exported()
    sparse, dense = load_runtime(made.files["int8_sparse"]), load_runtime(made.files["int8"], reference_kernels=True)
    assert sparse.kernels == "builtin"
    assert np.abs(sparse(made.samples) - dense(made.samples)).max() <= 4 * dense.output_scale


@pytest.mark.parametrize("fmt", ["onnx", *FORMATS])
def test_truncated_or_overwritten_file_is_one_message(fmt, tmp_path):
    made = exported()
    source = {**made.files, "onnx": made.onnx}[fmt]
    content = source.read_bytes()
    noise = np.random.default_rng(0).bytes(4096)
    for damaged in [b"", content[:7], content[: len(content) // 2], content[:-1000], noise, noise + content[4096:]]:
        path = tmp_path / f"damaged{source.suffix}"
        path.write_bytes(damaged)
        with pytest.raises(ExportError, match="damaged") as caught:
            load_runtime(path)
        assert "\n" not in str(caught.value)


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(ExportError, match="2 inputs"):
        load_runtime(two_input_model(tmp_path / "two.tflite"))
    with pytest.raises(ExportError, match="Nonsense"):
        load_runtime(custom_operator_model(tmp_path / "custom.tflite"))
    with pytest.raises(ExportError, match="float32 input and int8 output"):
        load_runtime(quantize_model(tmp_path / "mixed.tflite", 0.5, 0, 4))
    with pytest.raises(FileNotFoundError, match=r"absent\.tflite"):
        load_runtime(tmp_path / "absent.tflite")
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(ExportError, match=r"neither \.onnx nor \.tflite"):
        load_runtime(tmp_path / "model.pt")


def test_onnx_with_two_inputs_or_a_free_batch(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT

    def save(name, inputs, shape):
        ends = [helper.make_tensor_value_info(end, FLOAT, shape) for end in ["x", "y", "z"]]
        node = helper.make_node("Max", ["x", "y"][:inputs], ["z"])
        graph = helper.make_graph([node], "graph", ends[:inputs], ends[2:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    with pytest.raises(ExportError, match="2 inputs"):
        load_runtime(save("two.onnx", 2, [1, 3, 4, 4]))
    with pytest.raises(ExportError, match=r"\(1, C, H, W\)"):
        load_runtime(save("free.onnx", 1, ["n", 3, 4, 4]))
    with pytest.raises(ExportError, match=r"\(1, C, H, W\)"):
        load_runtime(save("flat.onnx", 1, [1, 3]))


def test_running_a_tflite_file_loads_neither_torch_nor_tensorflow():
    path = exported().files["int8"]
    code = (
        "import sys, numpy as np; from export.run.runtime import load_runtime\n"
        f"load_runtime({str(path)!r})(np.zeros((1, {SIZE}, {SIZE}, 3), np.float32))\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "tensorflow", "onnx", "onnxruntime", "scipy"} & set(loaded)
