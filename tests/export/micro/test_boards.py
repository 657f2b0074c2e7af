"""`interpreter_footprint`: what it adds up, what it refuses, and what it advises."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from export.errors import ExportError
from export.micro.arena import CORTEX_M, plan_arena
from export.micro.boards import BOARDS, OPS, find_board, planned_limits
from export.micro.flatbuffer import read_model
from export.micro.interpreter import interpreter_footprint, unsupported_ops
from export.micro.latency import MARGIN, latency_ms_range, op_macs

DATA = Path(__file__).resolve().parents[2] / "data"
REFERENCE = DATA / "micro"
SHARED = Path(__file__).resolve().parents[4] / "shared"
RELU6 = DATA / "tiny_relu6_nose.tflite"
SILU = DATA / "tiny_silu_se.tflite"

pytestmark = pytest.mark.usefixtures("without_wheel")
# Milliseconds at 64 MHz from instructions counted on an emulated Cortex-M4: newest kernels at -O2, Arduino library at
# -Os; LOGISTIC from a table in the first row.
COUNTED_MS = {
    "silu_se": (820, 1100),
    "hswish_se": (700, 1020),
    "relu6_se": (530, 760),
    "relu6_nose": (320, 410),
    "relu6_pruned": (342, 481),
    "relu6_small": (None, 394),
}


def test_sums_add_up():
    result = interpreter_footprint(RELU6, "nano33ble")
    board = BOARDS["nano33ble"]
    assert result.model_bytes == RELU6.stat().st_size
    assert result.flash_bytes == result.model_bytes + result.kernels_bytes + board.core_flash_bytes
    assert result.ram_bytes == result.reserved_arena_bytes + board.frame_bytes + board.core_ram_bytes
    assert result.arena_bytes == plan_arena(read_model(RELU6), CORTEX_M).arena_bytes
    assert result.fits
    assert result.advice == []
    assert result.verdict.startswith("fits the Arduino Nano 33 BLE Sense")
    assert result.ops == {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 2, "ADD": 1, "MEAN": 1, "FULLY_CONNECTED": 1}


def test_macs_by_hand():
    # stem 32*32*8*27, expand 32*32*16*8, depthwise 32*32*16*25, project 32*32*8*16, depthwise 16*16*8*9,
    # expand 16*16*24*8, dense 24*3
    wanted = 221184 + 131072 + 409600 + 131072 + 18432 + 49152 + 72
    model = read_model(RELU6)
    assert sum(op_macs(model, op) for op in model.ops) == wanted
    assert interpreter_footprint(RELU6, "pi4").macs == wanted


COUNTED_INSTRUCTIONS = {"pretrainedResnet_quant": 29.87e6, "vww_96_int8": 24.10e6}
CYCLES = 1.235
"""An instruction of TensorFlow Lite Micro, as counted for relu6_pruned."""


def range_of(file: Path) -> tuple[float, float]:
    if not file.exists():
        pytest.skip(f"{file} is not here")
    return latency_ms_range(read_model(file), BOARDS["nano33ble"])


@pytest.mark.parametrize("name", COUNTED_MS)
def test_counted_times_lie_inside_the_range(name: str):
    least, most = range_of(REFERENCE / f"{name}.tflite")
    newest, arduino = COUNTED_MS[name]
    assert least < (newest or arduino) <= arduino < most
    assert newest is None or newest / least < MARGIN * 1.04
    assert most / arduino < MARGIN * (1.15 if name == "relu6_nose" else 1.04)


@pytest.mark.parametrize("name", COUNTED_INSTRUCTIONS)
def test_so_do_those_of_networks_that_were_not_fitted(name: str):
    least, most = range_of(SHARED / "reference" / "mlperf_tiny" / f"{name}.tflite")
    assert least < COUNTED_INSTRUCTIONS[name] * CYCLES / 64_000 < most


def test_the_margin_of_the_sketch_is_part_of_the_ram():
    """A model that fits as planned, and not with what the sketch sets aside."""
    planned = interpreter_footprint(RELU6, "nano33ble")
    assert planned.reserved_arena_bytes == math.ceil(planned.arena_bytes * 1.03 / 16) * 16
    tight = replace(BOARDS["nano33ble"], ram_bytes=planned.ram_bytes - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BOARDS, "nano33ble", tight)
        answer = interpreter_footprint(RELU6, "nano33ble")
    assert tight.ram_bytes > planned.arena_bytes + tight.frame_bytes + tight.core_ram_bytes
    assert not answer.fits
    assert "RAM is 1 bytes short" in answer.verdict


def test_the_margin_covers_what_the_arduino_library_takes():
    answer = interpreter_footprint(REFERENCE / "relu6_pruned.tflite", "nano33ble")
    assert answer.arena_bytes == 82_384
    assert answer.arena_bytes < 83_044 <= answer.reserved_arena_bytes == 84_864


def test_a_mean_that_rescales_is_noted_where_an_arduino_library_runs_it():
    model = read_model(SILU)
    (mean, *_) = [op for op in model.ops if op.name == "MEAN"]
    assert model.tensors[mean.inputs[0]].scale != model.tensors[mean.outputs[0]].scale
    assert "MEAN rescales in float" in interpreter_footprint(SILU, "nano33ble").notes[0]
    assert interpreter_footprint(SILU, "nano33ble").fits  # a note is no reason against it
    assert interpreter_footprint(SILU, "pi4").notes == interpreter_footprint(SILU, "esp32-s3").notes == []


def test_each_board_is_offered_a_library_that_compiles_for_it():
    assert "Arduino_TensorFlowLite" in BOARDS["nano33ble"].library
    for name in ("portenta-h7", "rp2040"):
        assert BOARDS[name].library == "Chirale_TensorFLowLite"


def test_reference_models_on_the_nano():
    assert interpreter_footprint(REFERENCE / "relu6_nose.tflite", "nano33ble").fits
    result = interpreter_footprint(REFERENCE / "silu_se.tflite", "nano33ble")
    assert not result.fits
    assert "RAM is" in result.verdict
    assert "prune channels" in result.advice[0]
    assert result.macs == 3_502_816
    assert 68_000 <= result.kernels_bytes <= 167_000


def test_planned_limits_leave_room_for_what_a_file_turns_out_to_need():
    limits = planned_limits(BOARDS["nano33ble"])
    assert limits == {"int8_bytes": 983_040 - 110_000 - 167_000, "macs": 3_956_363}  # 0.34 s of 64 MHz, 5.5 cycles each
    for file in (RELU6, SILU):
        result = interpreter_footprint(file, "nano33ble")
        assert result.flash_bytes - result.model_bytes + limits["int8_bytes"] <= result.flash_limit_bytes


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"board": "nano33ble"}, ["fits the Arduino Nano 33 BLE Sense"]),
        ({"board": "crowded"}, ["does not fit", "- Compiled C: bring its buffer from", "- Bring the arena from"]),
        ({"macs": 4_000_000}, []),
        ({}, []),
        ({"int8_bytes": RELU6.stat().st_size}, ["bytes, 0.0% below the target of"]),
        ({"int8_bytes": 2 * RELU6.stat().st_size}, ["bytes, 50.0% below the target of"]),
        ({"int8_bytes": 5_000}, ["6,336 bytes, 26.7% above the target of 5,000", "--target-int8-bytes 3945."]),
        ({"cycles": 10**9, "int8_bytes": 10_000}, ["6,336 bytes, 36.6% below", "cycles, 99.7% below the target of"]),
        ({"cycles": 1_000}, ["above the target of 1,000", "- Prune again with --target-cycles "]),
    ],
)
def test_an_export_says_whether_it_meets_what_an_ancestor_was_pruned_for(tmp_path, monkeypatch, target, words):
    from hpe.deploy.target import report_target

    crowded = replace(BOARDS["nano33ble"], name="crowded", core_ram_bytes=220_000)
    monkeypatch.setitem(BOARDS, "crowded", crowded)
    config = {"command": "finetune", "lineage": {"family": "channel", "target": target}}
    (tmp_path / "result.json").write_text(json.dumps({"id": "x", "config": config}))
    lines: list[str] = []
    report_target(tmp_path, RELU6, lines.append)
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))


def test_too_little_memory_is_told_with_the_bytes_that_would_do(monkeypatch: pytest.MonkeyPatch):
    small = replace(BOARDS["nano33ble"], flash_bytes=230_000, ram_bytes=150_000)
    monkeypatch.setitem(BOARDS, "nano33ble", small)
    result = interpreter_footprint(SILU, "nano33ble")
    assert not result.fits
    room = result.model_bytes - (result.flash_bytes - small.flash_bytes)
    assert (f"to {room:,} bytes" in result.advice[0]) == (room > 0)
    arena_room = int(result.arena_bytes - (result.ram_bytes - small.ram_bytes) / 1.03)
    assert f"to {arena_room:,} bytes" in result.advice[1]
    assert "32x32" in result.advice[1]


def test_per_channel_dense_layer_is_named(tmp_path: Path):
    pytest.importorskip("tflite_micro")
    from tests.tiny_models import Graph

    graph = Graph(0)
    x = graph.tensor([1, 4], 0.1)
    y = graph.dense(x, 3)
    quantization = graph.graph.tensors[graph.graph.operators[0].inputs[1]].quantization
    quantization.scale, quantization.zeroPoint = [0.1, 0.2, 0.3], [0, 0, 0]
    path = tmp_path / "per_channel.tflite"
    path.write_bytes(graph.finish(x, y))
    assert "per-channel" in unsupported_ops(read_model(path))[0]
    assert not interpreter_footprint(path, "nano33ble").fits
    assert interpreter_footprint(path, "pi4").fits  # LiteRT computes it rightly


def test_op_that_the_library_lacks_is_named(tmp_path: Path):
    pytest.importorskip("tflite_micro")
    from tests.tiny_models import Graph

    graph = Graph(0)
    x = graph.tensor([1, 8], 0.1)
    path = tmp_path / "odd.tflite"
    path.write_bytes(graph.finish(x, graph.op("MATRIX_DIAG", [x], graph.tensor([1, 8], 0.1))))
    result = interpreter_footprint(path, "nano33ble")
    assert result.unsupported_ops == ["MATRIX_DIAG (not in the board's library)"]
    assert "MATRIX_DIAG" in result.verdict


def test_unknown_board_lists_the_known():
    with pytest.raises(ExportError, match="nano33ble, nano33ble-rev2, portenta-h7, rp2040, esp32-s3"):
        find_board("arduino-uno")


@pytest.mark.parametrize("board", BOARDS)
def test_every_board_takes_the_small_model(board: str):
    result = interpreter_footprint(RELU6, board)
    assert result.fits
    least, most = result.latency_ms_range
    assert 0 < least < most


def test_op_table_is_sane():
    for name, op in OPS.items():
        assert op.method.startswith("Add"), name
        assert op.cycles[0] <= op.cycles[1], name
