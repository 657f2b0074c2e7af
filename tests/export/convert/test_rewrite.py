"""Dense layers as convolutions: the same bytes as before, and the same in every interpreter."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from export.convert.rewrite import dense_as_convolutions
from export.micro.arena import HOST, plan_arena
from export.micro.flatbuffer import read_model
from export.micro.tflm import has_micro, micro_arena, run_micro
from export.run.runtime import load_runtime

pytestmark = pytest.mark.skipif(not has_micro(), reason="the tflite-micro wheel is not installed (Linux, Python 3.12)")

if has_micro():
    from tests.tiny_models import Graph

TINY = sorted((Path(__file__).resolve().parents[2] / "data").glob("tiny_*.tflite"))


def dense(graph: Graph, x: int, outputs: int, bias: bool = True) -> int:
    """A dense layer on the last dimension of (1, ..., C), of any rank."""
    columns = int(np.prod(graph.shape(x)))
    weights = graph.rng.integers(-127, 128, (outputs, columns)).astype(np.int8)
    inputs = [x, graph.tensor([outputs, columns], 0.01, 0, data=weights)]
    if bias:
        values = graph.rng.integers(-500, 500, outputs, dtype=np.int32)
        inputs.append(graph.tensor([outputs], 0.01 * graph.scale(x), 0, "INT32", values))
    y = graph.tensor([1, outputs], graph.scale(x) * 0.37 * np.sqrt(columns), -7)
    return graph.op("FULLY_CONNECTED", inputs, y, graph.schema.FullyConnectedOptionsT(), version=4)


def reshape(graph: Graph, x: int, shape: list[int]) -> int:
    constant = graph.tensor([len(shape)], kind="INT32", data=np.array(shape, np.int32))
    y = graph.tensor(shape, graph.scale(x), graph.graph.tensors[x].quantization.zeroPoint[0])
    return graph.op("RESHAPE", [x, constant], y)


def mean_net(g: Graph, x: int) -> int:
    return dense(g, g.mean(x, keep_dims=False), 64)


def paper_net(g: Graph, x: int) -> int:
    flat = reshape(g, x, [1, int(np.prod(g.shape(x)))])
    return dense(g, dense(g, dense(g, flat, 40), 20), 3)


def plain_net(g: Graph, x: int) -> int:
    return dense(g, x, 32, bias=False)  # straight from the image


def two_readers_net(g: Graph, x: int) -> int:
    pooled = g.mean(x, keep_dims=False)
    return g.add(dense(g, pooled, 16), dense(g, pooled, 16))


def branching_net(g: Graph, x: int) -> int:
    first = dense(g, g.mean(x, keep_dims=False), 16)
    return g.add(dense(g, first, 16), first)  # `first` is read as it was, too


NETS = {
    mean_net: ["MEAN", "CONV_2D", "RESHAPE"],
    paper_net: ["RESHAPE", "CONV_2D", "CONV_2D", "CONV_2D", "RESHAPE"],
    plain_net: ["RESHAPE", "CONV_2D", "RESHAPE"],
    two_readers_net: ["MEAN", "RESHAPE", "CONV_2D", "RESHAPE", "RESHAPE", "CONV_2D", "RESHAPE", "ADD"],
    branching_net: ["MEAN", "CONV_2D", "RESHAPE", "RESHAPE", "CONV_2D", "RESHAPE", "ADD"],
}


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.__name__)
def test_convolutions_compute_what_the_dense_layers_did(net, tmp_path: Path):
    """The same bytes in TensorFlow Lite Micro as before; and now also in LiteRT, where one in a thousand was off."""
    g = Graph(0)
    x = g.tensor([1, 4, 4, 16], 0.05, 3)
    before, after = tmp_path / "dense.tflite", tmp_path / "convolutions.tflite"
    before.write_bytes(g.finish(x, net(g, x)))
    after.write_bytes(dense_as_convolutions(before.read_bytes()))
    assert [op.name for op in read_model(after).ops] == NETS[net]
    assert read_model(after).output.shape == read_model(before).output.shape

    inputs = np.random.default_rng(0).integers(-128, 128, (200, 4, 4, 16), dtype=np.int8)
    wanted = run_micro(before, inputs)
    np.testing.assert_array_equal(run_micro(after, inputs), wanted)
    np.testing.assert_array_equal(load_runtime(after, reference_kernels=True).invoke_raw(inputs), wanted)
    assert len(np.unique(wanted)) > 100
    assert load_runtime(after).kernels == "xnnpack"
    plan, real = plan_arena(read_model(after), HOST), micro_arena(after)
    assert plan.activations_bytes == real.activations_bytes
    assert plan.persistent_bytes == pytest.approx(real.persistent_bytes, abs=16)


@pytest.mark.parametrize(("axes", "shape"), [([1, 3], [1, 4, 6, 6]), ([2, 3], [1, 6, 4, 6]), ([-2, 1], [1, 4, 6, 6])])
def test_a_mean_over_other_axes_is_flattened(axes: list[int], shape: list[int], tmp_path: Path):
    """What it leaves may be as long as there are channels, and is none the less no pixel."""
    g = Graph(0)
    x = g.tensor(shape, 0.05, 3)
    constant = g.tensor([2], kind="INT32", data=np.array(axes, np.int32))
    pooled = g.op("MEAN", [x, constant], g.tensor([1, 6], 0.03, 2), g.schema.ReducerOptionsT(), version=2)
    before, after = tmp_path / "dense.tflite", tmp_path / "convolutions.tflite"
    before.write_bytes(g.finish(x, dense(g, pooled, 8)))
    after.write_bytes(dense_as_convolutions(before.read_bytes()))
    inputs = np.random.default_rng(0).integers(-128, 128, (20, *shape[1:]), dtype=np.int8)
    found = load_runtime(after, reference_kernels=True).invoke_raw(inputs)
    assert np.abs(found.astype(int) - load_runtime(before, reference_kernels=True).invoke_raw(inputs)).max() <= 1
    assert len(np.unique(found)) > 20


def test_dense_layers_themselves_differ_between_the_interpreters(tmp_path: Path):
    """The reason for all this; once it fails, the kernels agree and dense layers may stay what they are."""
    g = Graph(0)
    x = g.tensor([1, 1, 1, 64], 0.05, 3)
    path = tmp_path / "dense.tflite"
    path.write_bytes(g.finish(x, dense(g, x, 512)))
    inputs = np.random.default_rng(0).integers(-128, 128, (200, 1, 1, 64), dtype=np.int8)
    once, twice = load_runtime(path, reference_kernels=True).invoke_raw(inputs), run_micro(path, inputs)
    steps = np.abs(once.astype(np.int64) - twice)
    assert steps.max() == 1
    assert 0 < np.mean(steps) < 0.005


def test_layers_that_share_their_weights_stay(tmp_path: Path):
    g = Graph(0)
    x = g.tensor([1, 4, 4, 16], 0.05, 3)
    pooled = g.mean(x, keep_dims=False)
    first = dense(g, pooled, 8)
    inputs = g.graph.operators[-1].inputs
    second = g.op("FULLY_CONNECTED", inputs, g.tensor([1, 8], 0.1), g.schema.FullyConnectedOptionsT(), version=4)
    path = tmp_path / "after.tflite"
    path.write_bytes(dense_as_convolutions(g.finish(x, g.add(first, second))))
    assert [op.name for op in read_model(path).ops] == ["MEAN", "FULLY_CONNECTED", "FULLY_CONNECTED", "ADD"]


@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_codes_of_operators_that_are_gone_are_dropped(path: Path):
    import tflite_micro.tensorflow.lite.micro.python.schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(dense_as_convolutions(path.read_bytes()), 0)
    assert {code.builtinCode for code in tree.operatorCodes} == {
        tree.operatorCodes[op.opcodeIndex].builtinCode for op in tree.subgraphs[0].operators
    }
    counts = Counter(code.builtinCode for code in tree.operatorCodes)
    assert set(counts.values()) == {1}
    assert schema.BuiltinOperator.FULLY_CONNECTED not in counts
