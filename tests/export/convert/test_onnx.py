"""export_onnx: the file computes what torch computes, or there is no file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from export import ExportError, export_onnx, load_runtime
from export.convert.worker import flatten_channels_last
from tests.exported import SIZE, exported, tiny_net

X = torch.zeros(1, 3, SIZE, SIZE)


def test_outputs_are_those_of_torch():
    made = exported()
    np.testing.assert_allclose(load_runtime(made.onnx)(made.samples), made.expected, atol=1e-4)


def test_file_is_self_contained_opset_18_with_a_batch_of_one():
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported().onnx, load_external_data=False)
    onnx.checker.check_model(model)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
    assert not any(tensor.data_location for tensor in model.graph.initializer)
    (source,) = model.graph.input
    assert [side.dim_value for side in source.type.tensor_type.shape.dim] == [1, 3, SIZE, SIZE]


def test_batch_norm_is_folded_and_channels_last_weights_leave_no_gather():
    onnx = pytest.importorskip("onnx")
    operators = {node.op_type for node in onnx.load(exported().onnx).graph.node}
    assert not operators & {"BatchNormalization", "Gather", "Transpose"}


def test_callers_model_is_left_as_it_is(tmp_path):
    net = tiny_net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    export_onnx(net, X, tmp_path / "new" / "tiny.onnx")
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["tiny.onnx"]


class TwoOutputs(nn.Module):
    def forward(self, x):
        return x.mean(), x.std()


class Branching(nn.Module):
    def forward(self, x):
        return x.mean((1, 2, 3)) if x.sum() > 0 else x.std((1, 2, 3))


@pytest.mark.parametrize("model", [TwoOutputs(), Branching()])
def test_what_cannot_be_exported_leaves_the_old_file(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what was there")
    with pytest.raises(ExportError) as caught:
        export_onnx(model, X, path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_strays_from_torch_is_refused(tmp_path, monkeypatch):
    class Noisy(nn.Module):
        calls = 0

        def forward(self, x):
            Noisy.calls += 1  # a constant to the exporter
            return x.mean((1, 2, 3), keepdim=True).flatten(1) + float(Noisy.calls)

    with pytest.raises(ExportError, match="differs from torch"):
        export_onnx(Noisy(), X, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_file_tells_nothing_of_the_machine_and_comes_out_the_same_again(tmp_path):
    net = tiny_net()
    first, second = (export_onnx(net, X, tmp_path / name).read_bytes() for name in ("a.onnx", "b.onnx"))
    assert first == second
    assert str(Path(__file__).parents[3]).encode() not in first
    assert b"site-packages" not in first


def test_flattened_maps_that_share_weights_or_a_source_keep_their_order(tmp_path):
    """As shared heads have it: one weight on maps of two shapes, and one map flattened by two nodes."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(0)
    shapes = {"m": [1, 2, 3, 3], "n": [1, 3, 3, 2]}
    nodes = [helper.make_node("Relu", [f"x_{name}"], [name]) for name in shapes]
    for branch, (source, weight) in enumerate([("m", "a"), ("n", "a"), ("m", "b"), ("n", "b"), ("m", "b")]):
        nodes += [
            helper.make_node("Flatten", [source], [f"flat_{branch}"]),
            helper.make_node("Gemm", [f"flat_{branch}", weight, "zero"], [f"y_{branch}"], transB=1),
        ]
    nodes.append(helper.make_node("Concat", [f"y_{branch}" for branch in range(5)], ["y"], axis=1))
    ends = [helper.make_tensor_value_info(f"x_{name}", kind, shape) for name, shape in shapes.items()]
    weights = {name: rng.normal(size=(3, 18)).astype(np.float32) for name in "ab"} | {"zero": np.zeros(3, np.float32)}
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", ends, [helper.make_tensor_value_info("y", kind, [1, 15])], constants)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    feed = {f"x_{name}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}

    def run() -> np.ndarray:
        onnx.checker.check_model(onnx.load(path), full_check=True)
        return runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed)[0]

    wanted = run()
    flatten_channels_last(str(path))
    assert sum(node.op_type == "Transpose" for node in onnx.load(path).graph.node) == 5
    np.testing.assert_allclose(run(), wanted, rtol=1e-5, atol=1e-5)
