"""convert: every format from one child process, whole files or none, sizes, metadata."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from export import (
    FORMATS,
    Conversion,
    ExportError,
    conversion_answer,
    convert,
    convert_all,
    export_onnx,
    file_sizes,
    load_runtime,
    read_metadata,
    write_metadata,
)
from export.convert import tflite
from export.convert.rewrite import strip_names
from export.files import MACHINE
from tests.exported import SIZE, TINY_OPERATORS, exported

CALIBRATION = np.zeros((2, SIZE, SIZE, 3), np.float32)


def noted():
    """What the converter wrote down of the conversion that all tests share."""
    return json.loads((exported().folder / "tiny_convert.log").read_text().splitlines()[-1])


def parse(path):
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(path.read_bytes())


def test_one_file_for_each_format_named_after_the_onnx_file():
    made = exported()
    assert {fmt: path.name for fmt, path in made.files.items()} == {fmt: f"tiny_{fmt}.tflite" for fmt in FORMATS}
    names = {path.name for path in made.folder.iterdir()}
    assert names == {"tiny.onnx", "tiny_convert.log", *(f"tiny_{fmt}.tflite" for fmt in FORMATS)}


@pytest.mark.parametrize(
    ("fmt", "atol"), [("fp32", 1e-5), ("sparse", 1e-5), ("fp16", 3e-3), ("dynamic", 0.1), ("int8", 0.3)]
)
def test_outputs_stay_near_torch(fmt, atol):
    made = exported()
    np.testing.assert_allclose(load_runtime(made.files[fmt])(made.samples), made.expected, atol=atol)


@pytest.mark.parametrize(("sparse", "dense"), [("sparse", "fp32"), ("int8_sparse", "int8")])
def test_sparse_file_is_smaller_and_computes_the_same(sparse, dense):
    files, samples = exported().files, exported().samples
    assert file_sizes(files[sparse])["size_bytes"] < file_sizes(files[dense])["size_bytes"]
    outputs = [load_runtime(files[fmt], reference_kernels=True)(samples) for fmt in (sparse, dense)]
    np.testing.assert_array_equal(*outputs)


def test_sizes_of_formats_are_in_order():
    size = {fmt: file_sizes(path)["size_bytes"] for fmt, path in exported().files.items()}
    assert size["fp32"] > size["fp16"] > size["dynamic"]
    assert size["int8"] < size["fp16"]


def test_gzip_bytes_are_near_those_of_the_gzip_program():
    path = exported().files["int8"]
    sizes = file_sizes(path)
    assert sizes["size_bytes"] == path.stat().st_size
    if shutil.which("gzip") is None:
        pytest.skip("no gzip program here")
    packed = subprocess.run(["gzip", "-9", "-n", "-c", str(path)], capture_output=True, check=True).stdout
    assert sizes["gzip_bytes"] == pytest.approx(len(packed), rel=0.02)  # zlib splits its blocks elsewhere


@pytest.mark.parametrize("fmt", FORMATS)
def test_shipped_file_has_no_tensor_names(fmt):
    assert not any(tensor.name for tensor in parse(exported().files[fmt]).subgraphs[0].tensors)


@pytest.mark.parametrize("fmt", FORMATS)
def test_weights_are_aligned_to_16_bytes(fmt):
    content = exported().files[fmt].read_bytes()
    for buffer in parse(exported().files[fmt]).buffers:
        if buffer.data is not None and len(buffer.data) >= 64:
            positions = [
                position
                for position in range(0, len(content), 16)
                if content.startswith(buffer.data.tobytes(), position)
            ]
            assert positions


def test_stripping_names_changes_no_output(tmp_path):
    import flatbuffers

    made = exported()
    named = parse(made.files["int8"])
    for index, tensor in enumerate(named.subgraphs[0].tensors):
        tensor.name = f"layer/with/a/long/name/{index}"
    builder = flatbuffers.Builder(1024)
    builder.Finish(named.Pack(builder), file_identifier=b"TFL3")
    path = tmp_path / "named.tflite"
    path.write_bytes(bytes(builder.Output()))
    stripped = tmp_path / "stripped.tflite"
    stripped.write_bytes(strip_names(path.read_bytes()))
    assert stripped.stat().st_size < path.stat().st_size - 500
    both = [load_runtime(file, reference_kernels=True)(made.samples) for file in (path, stripped)]
    np.testing.assert_array_equal(*both)


def test_dense_weights_are_per_tensor_and_convolutions_per_channel():
    graph = parse(exported().files["int8"]).subgraphs[0]
    weights = [graph.tensors[operator.inputs[1]] for operator in graph.operators if len(operator.inputs) == 3]
    *convolutions, dense = [(tuple(tensor.shape), len(tensor.quantization.scale)) for tensor in weights]
    assert dense == ((3, 1, 1, 128), 1)  # a convolution, see test_rewrite.py
    assert all(scales in (shape[0], shape[3]) and scales > 1 for shape, scales in convolutions)


def test_ranges_are_quantiles_of_each_samples_extremes():
    """By hand, from the float file: the branch before the sum has its own range, not the sum's; some samples may
    saturate, by the rule that was chosen, but not at the network's end. Every fourth sample measured the rules, and
    sets no range."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    made = exported()
    plain = Interpreter(
        str(made.files["fp32"]),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    plain.allocate_tensors()
    position = TINY_OPERATORS.index("ADD")
    branch, total, last = (plain._get_ops_details()[i]["outputs"][0] for i in (position - 1, position, -1))
    values = {index: [] for index in (branch, total, last)}
    for sample in made.calibration[np.arange(len(made.calibration)) % 4 != 3]:
        plain.set_tensor(plain.get_input_details()[0]["index"], sample[None])
        plain.invoke()
        for index, seen in values.items():
            seen.append(plain.get_tensor(index).ravel())
    lows = {index: np.min(seen, axis=1) for index, seen in values.items()}
    highs = {index: np.max(seen, axis=1) for index, seen in values.items()}

    chosen = noted()["calibration"]["range_quantile"]
    graph = parse(made.files["int8"]).subgraphs[0]
    for index, place in ((branch, position - 1), (total, position)):
        quantization = graph.tensors[graph.operators[place].outputs[0]].quantization
        wanted = np.quantile(highs[index], chosen) - np.quantile(lows[index], 1 - chosen)
        assert 255 * quantization.scale[0] == pytest.approx(wanted, rel=1e-3)
    quantization = graph.tensors[graph.outputs[0]].quantization
    assert 255 * quantization.scale[0] == pytest.approx(highs[last].max() - lows[last].min(), rel=1e-3)


def test_the_rule_for_ranges_is_the_one_that_deviates_least():
    found = noted()["calibration"]
    assert found["samples"] == 75
    assert set(found["deviation"]) == {"0.95", "0.99", "0.999", "1.0"}
    assert found["deviation"][str(found["range_quantile"])] == min(found["deviation"].values())


def test_a_known_output_range_and_a_fixed_rule_reach_the_file(tmp_path):
    """The output's step is that of the given range; values beyond saturate at its ends, the others stay."""
    made = exported()
    low, high = np.quantile(made.expected, (0.2, 0.8)).tolist()
    job = Conversion(made.onnx, tmp_path, ("int8",), made.calibration, range_quantile=1.0, output_range=(low, high))
    (files,) = convert_all([job])
    outputs = load_runtime(files["int8"])(made.samples)
    step = (high - low) / 255
    inside = (made.expected > low) & (made.expected < high)
    assert np.abs(outputs - np.clip(made.expected, low, high)).max() < 0.3
    assert inside.any()
    assert low - step <= outputs.min() <= low + 0.3
    assert high - 0.3 <= outputs.max() <= high + step
    assert conversion_answer(job)["calibration"] == {
        "samples": 100,
        "range_quantile": 1.0,
        "output_range": pytest.approx([low, high]),
    }


@pytest.mark.parametrize("wrong", [(1.0, 1.0), (2.0, -2.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_an_output_range_that_is_none_is_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match="output_range"):
        convert_all([Conversion(exported().onnx, tmp_path, ("int8",), CALIBRATION, output_range=wrong)])


def test_log_ends_with_times_and_peak_memory():
    answer = noted()
    assert set(answer["seconds"]) == {"import", "onnx2tf", *FORMATS}
    assert 1e8 < answer["peak_rss_bytes"] < 2e9
    assert set(answer["converter_bytes"]) == set(FORMATS)
    assert answer["converter_bytes"]["fp32"] > file_sizes(exported().files["fp32"])["size_bytes"]


@pytest.mark.parametrize(
    ("formats", "calibration", "message"),
    [
        (("fp32", "fp8"), None, "fp8"),
        ((), None, "choose from"),
        (("int8",), None, "needs calibration"),
        (("int8_sparse",), None, "needs calibration"),
        (("int8",), CALIBRATION.transpose(0, 3, 1, 2), "calibration has shape"),
        (("int8",), CALIBRATION[:0], "calibration has shape"),
        (("int8",), CALIBRATION + np.nan, "not finite"),
    ],
)
def test_bad_requests_are_refused_before_the_wait(formats, calibration, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert(exported().onnx, tmp_path, formats, calibration)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("quantile", [0.4, 1.1, float("nan")])
def test_a_quantile_that_is_none_is_refused(quantile, tmp_path):
    with pytest.raises(ValueError, match="range_quantile"):
        convert(exported().onnx, tmp_path, ("int8",), CALIBRATION, range_quantile=quantile)
    assert not list(tmp_path.iterdir())


def test_file_that_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ExportError, match=r"model\.onnx"):
        convert(tmp_path / "model.onnx", tmp_path, ("fp32",))
    with pytest.raises(FileNotFoundError):
        convert(tmp_path / "absent.onnx", tmp_path, ("fp32",))


ANSWERS_WITH_AN_ERROR = """
import json, pathlib, sys
(request,) = json.loads(pathlib.Path(sys.argv[1]).read_text())
folder = pathlib.Path(request["out_dir"])
(folder / "fp32.tflite").write_bytes(b"half of it")
(folder / "answer.json").write_text(json.dumps({"error": "ValueError: no such\\noperator"}))
print("what the converter said")
sys.exit(1)
"""


@pytest.mark.parametrize(
    ("worker", "timeout_s", "message"),
    [
        ("import time; print('at work', flush=True); time.sleep(60)", 1.0, "longer than 1 s"),
        (ANSWERS_WITH_AN_ERROR, 60.0, "no such operator"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 60.0, "code -9"),
    ],
)
def test_failed_conversion_keeps_the_old_file_and_the_log(worker, timeout_s, message, tmp_path, monkeypatch):
    (tmp_path / "worker.py").write_text(worker)
    monkeypatch.setattr(tflite, "WORKER", tmp_path / "worker.py")
    out = tmp_path / "out"
    out.mkdir()
    (out / "tiny_fp32.tflite").write_bytes(b"what was there")
    with pytest.raises(ExportError, match=message) as caught:
        convert(exported().onnx, out, ("fp32",), timeout_s=timeout_s)
    assert "tiny_convert.log" in str(caught.value)
    assert sorted(path.name for path in out.iterdir()) == ["tiny_convert.log", "tiny_fp32.tflite"]
    assert (out / "tiny_fp32.tflite").read_bytes() == b"what was there"


def other_net() -> torch.nn.Module:
    torch.manual_seed(1)
    layers = torch.nn.Conv2d(3, 8, 3, stride=4), torch.nn.ReLU6(), torch.nn.Flatten(), torch.nn.Linear(8 * 8 * 8, 3)
    return torch.nn.Sequential(*layers)


def test_several_models_in_one_process_are_those_converted_alone(tmp_path, monkeypatch):
    """Of three models the second cannot be converted: the third and the first are, byte for byte as alone."""
    made = exported()
    other = export_onnx(other_net(), torch.zeros(1, 3, SIZE, SIZE), tmp_path / "other.onnx")
    alone = convert(other, tmp_path / "alone", ("int8",), made.calibration)["int8"].read_bytes()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(other.read_bytes())
    started = []
    whole = tflite._run_worker

    def spoil(requests, folder, timeout_s):
        started.append(len(requests))
        Path(requests[1]["onnx"]).write_bytes(b"no model any more")
        return whole(requests, folder, timeout_s)

    monkeypatch.setattr(tflite, "_run_worker", spoil)
    out = tmp_path / "out"
    conversions = [Conversion(onnx, out, ("int8",), made.calibration) for onnx in (other, broken, made.onnx)]
    with pytest.raises(ExportError, match=r"broken\.onnx failed: .*broken_convert\.log"):
        convert_all(conversions)
    assert started == [3]
    assert (out / "other_int8.tflite").read_bytes() == alone
    assert (out / "tiny_int8.tflite").read_bytes() == made.files["int8"].read_bytes()
    logs = {path.name: json.loads(path.read_text().splitlines()[-1]) for path in out.glob("*.log")}
    assert "error" in logs["broken_convert.log"]
    assert "Traceback" in (out / "broken_convert.log").read_text()
    assert logs["tiny_convert.log"]["seconds"]["import"] == 0
    assert sorted(path.suffix for path in out.iterdir()) == [".log", ".log", ".log", ".tflite", ".tflite"]


def test_conversions_that_would_write_the_same_files_are_refused(tmp_path):
    onnx = exported().onnx
    with pytest.raises(ValueError, match="same files"):
        convert_all([Conversion(onnx, tmp_path, ("fp32",)), Conversion(onnx, tmp_path / ".", ("fp16",))])
    assert convert_all([]) == []


def test_metadata_comes_back(tmp_path):
    model = tmp_path / "model_int8.tflite"
    assert read_metadata(model) == {}
    metadata = {"input": {"height": 64}, "output": ["yaw", "pitch", "roll"]}
    assert write_metadata(model, metadata) == tmp_path / "model_int8.json"
    assert read_metadata(model) == metadata
    for damaged in ["{", "[]"]:
        (tmp_path / "model_int8.json").write_text(damaged)
        with pytest.raises(ExportError, match=r"model_int8\.json"):
            read_metadata(model)


def test_what_a_killed_conversion_left_goes_with_the_next_one(tmp_path, monkeypatch):
    (tmp_path / "worker.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(tflite, "WORKER", tmp_path / "worker.py")
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale = tmp_path / "out" / f".convert.{ended.pid}@{MACHINE}.abc"
    stale.mkdir(parents=True)
    (stale / "model.onnx").write_bytes(b"some megabytes")
    with pytest.raises(ExportError, match="code -9"):
        convert(exported().onnx, tmp_path / "out", ("fp32",))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tiny_convert.log"]
