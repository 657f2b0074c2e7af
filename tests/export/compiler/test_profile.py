"""What the profile says: sums that agree with the compiled model, and instructions near those that are counted."""

import json
import re

import pytest

from export.compiler import compile_model, explorer_data, profile_model
from export.compiler.emulator.model import run_model
from export.micro.flatbuffer import read_model
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.host import RELEASES, ROOT

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


@needs_emulator
@pytest.mark.parametrize("path", [*TINY, RELEASES / "b0-tiny.tflite"], ids=lambda path: path.stem)
def test_the_estimate_is_near_the_count(path, tmp_path):
    compiled = compile_model(path, tmp_path)
    counted = run_model(compiled, [bytes(compiled.input_bytes)]).instructions[0]
    estimated = sum(row["instructions"] for row in compiled.to_json()["steps"])
    assert estimated == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize("name", ["dense", "sparse4", "depthwise"])
def test_a_model_that_is_named_as_a_kernel_gets_another_name(name, tmp_path):
    assert compile_model(TINY[0], tmp_path, name).name == f"model_{name}"
