"""Weights that a file packs: on Linux they are unpacked once, on loading; on a microcontroller at each inference."""

import numpy as np
import pytest

from export.micro.arena import CORTEX_M, LITERT, plan_arena
from export.micro.boards import BOARDS
from export.micro.flatbuffer import parse_model
from export.micro.interpreter import interpreter_footprint
from export.micro.latency import board_cycles
from export.micro.unpacking import unpacked
from tests.tiny_models import Graph

WEIGHTS = 32 * 16 * 4
"""Bytes of the dense layer's weights as floats."""


def dense_layer(*unpacking: str) -> bytes:
    """Of 16 inputs and 32 outputs in float; its weights pass through these operators first."""
    graph = Graph(0)
    x = graph.tensor([1, 16], kind="FLOAT32")
    values = np.arange(32 * 16).reshape(32, 16) % 7
    if unpacking:
        weights = graph.tensor([32, 16], kind="FLOAT16", data=values.astype(np.float16))
        for name in unpacking:
            kind = "FLOAT32" if name == unpacking[-1] else "FLOAT16"
            weights = graph.op(name, [weights], graph.tensor([32, 16], kind=kind))
    else:
        weights = graph.tensor([32, 16], kind="FLOAT32", data=values.astype(np.float32))
    out = graph.tensor([1, 32], kind="FLOAT32")
    return graph.finish(x, graph.op("FULLY_CONNECTED", [x, weights], out, graph.schema.FullyConnectedOptionsT()))


PACKED = [("DEQUANTIZE",), ("DENSIFY", "DEQUANTIZE")]


@pytest.mark.parametrize("unpacking", PACKED)
def test_unpacked_weights_come_from_a_constant_of_the_file(unpacking):
    model = parse_model(dense_layer(*unpacking))
    sources = unpacked(model)
    assert sources == {op.outputs[0]: model.ops[0].inputs[0] for op in model.ops[:-1]}
    assert all(model.tensors[i].is_constant for i in sources.values())


def test_a_dequantize_of_what_is_computed_unpacks_nothing():
    graph = Graph(0)
    x = graph.tensor([1, 16], 0.1)
    model = parse_model(graph.finish(x, graph.op("DEQUANTIZE", [x], graph.tensor([1, 16], kind="FLOAT32"))))
    assert unpacked(model) == {}
    assert board_cycles(model, BOARDS["pi4"])[0] > 0


@pytest.mark.parametrize("unpacking", PACKED)
def test_on_linux_they_cost_no_time_and_no_activations(unpacking):
    packed, dense = (parse_model(dense_layer(*names)) for names in (unpacking, ()))
    assert board_cycles(packed, BOARDS["pi4"]) == board_cycles(dense, BOARDS["pi4"])
    plan = plan_arena(packed, LITERT)
    assert plan.activations_bytes == plan_arena(dense, LITERT).activations_bytes == 64 + 128
    assert plan.largest_activation_bytes == 128


def test_on_linux_they_are_in_memory_beside_the_file(tmp_path):
    packed, dense = tmp_path / "packed.tflite", tmp_path / "dense.tflite"
    packed.write_bytes(dense_layer("DEQUANTIZE"))
    dense.write_bytes(dense_layer())
    found, plain = (interpreter_footprint(path, "pi4") for path in (packed, dense))
    grown = (found.ram_bytes - found.arena_bytes) - (plain.ram_bytes - plain.arena_bytes)
    assert grown == WEIGHTS + packed.stat().st_size - dense.stat().st_size


def test_a_microcontroller_computes_them_each_time_into_a_buffer():
    packed, dense = parse_model(dense_layer("DEQUANTIZE")), parse_model(dense_layer())
    assert plan_arena(packed, CORTEX_M).activations_bytes == 64 + 128 + WEIGHTS
    assert board_cycles(packed, BOARDS["nano33ble"])[0] > board_cycles(dense, BOARDS["nano33ble"])[0]


def test_times_of_a_float_file_on_linux_are_noted_as_those_of_int8(tmp_path):
    float_file, int8_file = tmp_path / "float.tflite", tmp_path / "int8.tflite"
    float_file.write_bytes(dense_layer("DEQUANTIZE"))
    graph = Graph(0)
    x = graph.tensor([1, 16], 0.1)
    int8_file.write_bytes(graph.finish(x, graph.dense(x, 3)))
    (note,) = interpreter_footprint(float_file, "pi4").notes
    assert "as for int8 and without regard to zeros" in note
    assert "`hpe bench`" in note
    assert interpreter_footprint(int8_file, "pi4").notes == []
