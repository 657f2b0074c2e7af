"""The arena planner against the real interpreter on this host, and against figures measured on a Cortex-M4."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from export.errors import ModelFileError
from export.micro.arena import CORTEX_M, HOST, MCU_32, _Buffer, place_greedily, plan_arena
from export.micro.flatbuffer import parse_model, read_model
from export.micro.tflm import has_micro, micro_arena

DATA = Path(__file__).resolve().parents[2] / "data"
REFERENCE = DATA / "micro"
MODELS = sorted(DATA.glob("tiny_*.tflite")) + sorted(REFERENCE.glob("*.tflite"))
NAMES = ["silu_se", "hswish_se", "relu6_se", "relu6_nose"]

needs_micro = pytest.mark.skipif(not has_micro(), reason="the tflite-micro wheel is not installed (Linux, Python 3.12)")


@needs_micro
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_plan_is_that_of_the_real_interpreter(path: Path):
    plan, real = plan_arena(read_model(path), HOST), micro_arena(path)
    assert plan.activations_bytes == real.activations_bytes  # to the byte: the same placement
    assert plan.persistent_bytes == pytest.approx(real.persistent_bytes, rel=0.01)
    assert plan.arena_bytes == pytest.approx(real.arena_bytes, rel=0.03)


@needs_micro
@pytest.mark.parametrize("ops", [2, 9, 17])
def test_plan_of_a_network_cut_short(ops: int, tmp_path: Path):
    # The tensors after the cut stay in the file and no op touches them, which is a placement of its own kind.
    import flatbuffers
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((DATA / "tiny_silu_se.tflite").read_bytes(), 0)
    graph = model.subgraphs[0]
    graph.operators = graph.operators[:ops]
    graph.outputs = list(graph.operators[-1].outputs)
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "cut.tflite"
    path.write_bytes(bytes(builder.Output()))
    plan, real = plan_arena(read_model(path), HOST), micro_arena(path)
    assert plan.activations_bytes == real.activations_bytes
    assert plan.arena_bytes == pytest.approx(real.arena_bytes, rel=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_cortex_m4_figures_are_met(name: str):
    measured = json.loads((REFERENCE / "cortex_m4.json").read_text())["models"][f"{name}.tflite"]
    plan = plan_arena(read_model(REFERENCE / f"{name}.tflite"), CORTEX_M)
    assert plan.activations_bytes == measured["activations_bytes"]
    assert plan.persistent_bytes == pytest.approx(measured["persistent_bytes"], rel=0.01)
    assert plan.arena_bytes == pytest.approx(measured["arena_bytes"], rel=0.03)


def test_pointer_size_and_kernels_change_the_bookkeeping_only():
    model = read_model(DATA / "tiny_relu6_se.tflite")
    host, cortex, other = (plan_arena(model, target) for target in (HOST, CORTEX_M, MCU_32))
    assert cortex.persistent_bytes < host.persistent_bytes
    assert other.activations_bytes <= cortex.activations_bytes  # CMSIS-NN asks for scratch buffers


def test_activations_hold_all_that_is_alive_at_the_peak():
    model = read_model(DATA / "tiny_silu_se.tflite")
    plan = plan_arena(model)
    op = model.ops[plan.peak_op]
    alive = {i for i in (*op.inputs, *op.outputs) if not model.tensors[i].is_constant}
    assert plan.activations_bytes >= sum(model.tensors[i].size_bytes for i in alive)
    assert plan.largest_activation_bytes == 16384  # 32 x 32 x 16


def test_placement_is_never_below_the_peak_nor_above_the_sum():
    rng = np.random.default_rng(0)
    for _ in range(50):
        first = rng.integers(0, 20, 30)
        buffers = [
            _Buffer(int(size), int(f), int(f + length))
            for size, f, length in zip(16 * rng.integers(1, 40, 30), first, rng.integers(0, 6, 30), strict=True)
        ]
        peak = max(sum(b.size_bytes for b in buffers if b.first <= t <= b.last) for t in range(26))
        assert peak <= place_greedily(buffers) <= sum(b.size_bytes for b in buffers)


def test_placement_by_hand():
    # Largest first at 0; the one that outlives it goes after it; the small one fills the place that comes free.
    assert place_greedily([_Buffer(64, 0, 1), _Buffer(32, 1, 3), _Buffer(48, 2, 3)]) == 96
    assert place_greedily([]) == 0


def test_too_many_tensors_are_refused_at_once():
    with pytest.raises(ModelFileError, match="no microcontroller"):
        place_greedily([_Buffer(16, 0, 1)] * 6000)


def test_planning_tables_are_a_floor_for_tiny_tensors():
    if not has_micro():
        pytest.skip("the tflite-micro wheel, which writes the test model, is not installed")
    from tests.tiny_models import logistic_net

    plan = plan_arena(parse_model(logistic_net(0.05, 0)), HOST)
    assert plan.arena_bytes >= plan.activations_bytes + plan.persistent_bytes
