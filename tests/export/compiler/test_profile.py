"""What the profile says: sums that agree with the compiled model, and instructions near those that are counted."""

import json
import re

import numpy as np
import pytest

from export.compiler import CompileError, Limits, compile_model, explorer_data, profile_model
from export.compiler.compile import KERNEL_NAMES
from export.compiler.emulator.model import run_model
from export.compiler.limits import most_flash
from export.compiler.size import compiled_size
from export.compiler.source import KERNELS
from export.compiler.step import STRUCT_BYTES
from export.micro.flatbuffer import read_model
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.host import RELEASES, ROOT
from tests.export.compiler.nets import Net

TINY = sorted((ROOT / "tests" / "data").glob("tiny_*.tflite"))


def test_rows_add_up_to_the_compiled_model(tmp_path):
    rows, compiled = profile_model(TINY[0]), compile_model(TINY[0], tmp_path)
    assert sum(row["macs"] for row in rows) == compiled.live_macs == compiled.macs
    assert sum(row["flash_bytes"] for row in rows) == compiled.flash_bytes
    assert max(row["ram_bytes"] for row in rows) <= compiled.ram_bytes
    assert all(row["live_channels"] == row["channels"] for row in rows)
    assert compiled.to_json()["steps"] == rows


@pytest.mark.parametrize("path", [*TINY, RELEASES / "b0-tiny.tflite"], ids=lambda path: path.stem)
def test_node_data_have_the_format_of_model_explorer(path):
    """As its documentation and its node_data_builder have it: {graph: {results: {node: {value}}, gradient, name}}."""
    text = json.dumps(explorer_data(profile_model(path)))
    (graph, data), *others = json.loads(text).items()
    assert (graph, others) == ("main", [])
    assert data.keys() == {"name", "results", "gradient"}
    numbers = {str(op.index) for op in read_model(path).ops}
    assert data["results"].keys() <= numbers  # the adapter's names of nodes
    for result in data["results"].values():
        assert result.keys() == {"value"}
        assert isinstance(result["value"], int)
    assert [item["stop"] for item in data["gradient"]] == [0, 1]
    assert all(re.fullmatch("#[0-9a-f]{6}", item["bgColor"]) for item in data["gradient"])


def test_model_explorer_reads_the_node_data():
    builder = pytest.importorskip("model_explorer.node_data_builder", reason="ai-edge-model-explorer is not installed")
    written = explorer_data(profile_model(TINY[0]))
    graphs = {}
    for name, data in written.items():
        results = {node: builder.NodeDataResult(**result) for node, result in data["results"].items()}
        gradient = [builder.GradientItem(**item) for item in data["gradient"]]
        graphs[name] = builder.GraphNodeData(**{**data, "results": results, "gradient": gradient})
    again = json.loads(builder.ModelNodeData(graphs).to_json_string())
    assert {key: again["main"][key] for key in written["main"]} == written["main"]


def test_node_data_name_the_first_operator_of_each_step():
    rows = profile_model(TINY[0])
    results = explorer_data(rows)["main"]["results"]
    assert len(results) == len(rows)
    assert results["0"] == {"value": rows[0]["instructions"]}


def test_node_data_of_a_pad_that_two_steps_read(tmp_path):
    net = Net(0)
    x = net.tensor([1, 8, 8, 4], 0.05)
    y = net.pad(x, [(1, 1), (1, 1), (0, 0)])
    a = net.window(y, (4, 3, 3, 4), depthwise=False, out=(1.0, 0), same=False)
    b = net.window(y, (1, 3, 3, 4), depthwise=True, out=(1.0, 0), same=False)
    (tmp_path / "m.tflite").write_bytes(net.finish(x, net.pairwise("ADD", a, b, (1.0, 0))))
    rows = profile_model(tmp_path / "m.tflite")
    values = {node: result["value"] for node, result in explorer_data(rows)["main"]["results"].items()}
    assert list(values.values()) == [row["instructions"] for row in rows]
    assert list(values) == ["0", "1"]  # PAD with DEPTHWISE_CONV_2D, and CONV_2D with ADD


@needs_emulator
@pytest.mark.parametrize("path", [*TINY, RELEASES / "b0-tiny.tflite"], ids=lambda path: path.stem)
def test_the_estimate_is_near_the_count(path, tmp_path):
    compiled = compile_model(path, tmp_path)
    counted = run_model(compiled, [bytes(compiled.input_bytes)]).instructions[0]
    estimated = sum(row["instructions"] for row in compiled.to_json()["steps"])
    assert estimated == pytest.approx(counted, rel=0.05)


def test_constant_tensors_are_counted_with_the_first_step_that_reads_them(tmp_path):
    net = Net(0)
    x = net.tensor([1, 16, 16, 4], 0.05)
    constant = net.tensor([1, 16, 16, 4], 0.02, data=np.full((1, 16, 16, 4), 3, np.int8))
    y = net.pairwise("MUL", net.pairwise("ADD", x, constant, (1.0, 0)), constant, (1.0, 0))
    (tmp_path / "m.tflite").write_bytes(net.finish(x, y))
    compiled = compile_model(tmp_path / "m.tflite", tmp_path)
    assert [step.flash for step in compiled.steps] == [STRUCT_BYTES["add_t"] + 1024, STRUCT_BYTES["multiply_t"]]
    assert sum(row["flash_bytes"] for row in profile_model(tmp_path / "m.tflite")) == compiled.flash_bytes
    size = compiled_size(tmp_path / "m.tflite", count_code=False)
    assert size.flash_bytes - size.code_bytes == compiled.flash_bytes
    limit = most_flash(compiled.steps)
    compile_model(tmp_path / "m.tflite", tmp_path, limits=Limits(flash=limit))
    with pytest.raises(CompileError, match=r"1 more than .* Most of it: 0 ADD \(1,068\)"):
        compile_model(tmp_path / "m.tflite", tmp_path, limits=Limits(flash=limit - 1))


def test_a_model_may_not_have_the_name_of_a_function_of_the_kernels():
    sources = "".join(path.read_text() for path in KERNELS.rglob("*.c"))
    assert set(re.findall(r"\b(\w+)_run(?:_fine)?\(", sources)) == KERNEL_NAMES
    assert not re.findall(r"\b\w+_input\(", sources)


@pytest.mark.parametrize("name", ["convert", "dense", "sparse4", "depthwise"])
def test_a_model_that_is_named_as_a_kernel_gets_another_name(name, tmp_path):
    assert compile_model(TINY[0], tmp_path, name).name == f"model_{name}"
