"""`fit`: what it adds up, what it refuses, and what it advises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from export.micro.arena import CORTEX_M, plan_arena
from export.micro.boards import BOARDS, OPS, find_board, planned_limits
from export.micro.flatbuffer import read_model
from export.micro.footprint import fit, latency_ms_range, op_macs, unsupported_ops

DATA = Path(__file__).resolve().parents[2] / "data"
REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "reference" / "micro"
RELU6 = DATA / "tiny_relu6_nose.tflite"
SILU = DATA / "tiny_silu_se.tflite"

pytestmark = pytest.mark.usefixtures("without_wheel")
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="../shared/reference/micro is not here")

# Estimated milliseconds at 64 MHz from instructions counted on an emulated Cortex-M4: newest kernels at -O2, Arduino
# library at -Os; LOGISTIC from a table in the first row.
MEASURED_MS = {"silu_se": (820, 1100), "hswish_se": (700, 1020), "relu6_nose": (320, 410)}


def test_sums_add_up():
    result = fit(RELU6, "nano33ble")
    board = BOARDS["nano33ble"]
    assert result.model_bytes == RELU6.stat().st_size
    assert result.flash_bytes == result.model_bytes + result.kernels_bytes + board.core_flash_bytes
    assert result.ram_bytes == result.arena_bytes + board.frame_bytes + board.core_ram_bytes
    assert result.arena_bytes == plan_arena(read_model(RELU6), CORTEX_M).arena_bytes
    assert result.fits
    assert result.advice == []
    assert result.verdict.startswith("fits the Arduino Nano 33 BLE Sense")
    assert result.ops == {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 2, "ADD": 1, "MEAN": 1, "FULLY_CONNECTED": 1}
    json.dumps(result.to_json())


def test_macs_by_hand():
    # stem 32*32*8*27, expand 32*32*16*8, depthwise 32*32*16*25, project 32*32*8*16, depthwise 16*16*8*9,
    # expand 16*16*24*8, dense 24*3
    wanted = 221184 + 131072 + 409600 + 131072 + 18432 + 49152 + 72
    model = read_model(RELU6)
    assert sum(op_macs(model, op) for op in model.ops) == wanted
    assert fit(RELU6, "pi4").macs == wanted


@needs_reference
@pytest.mark.parametrize("name", MEASURED_MS)
def test_time_range_holds_the_measured_ones(name: str):
    least, most = latency_ms_range(read_model(REFERENCE / f"{name}.tflite"), BOARDS["nano33ble"])
    assert least <= MEASURED_MS[name][0]
    assert most >= MEASURED_MS[name][1] - 10


@needs_reference
def test_reference_models_on_the_nano():
    assert fit(REFERENCE / "relu6_nose.tflite", "nano33ble").fits
    result = fit(REFERENCE / "silu_se.tflite", "nano33ble")
    assert not result.fits
    assert "RAM is" in result.verdict
    assert "prune channels" in result.advice[0]
    assert result.macs == 3_502_816
    assert 68_000 <= result.kernels_bytes <= 167_000


def test_planned_limits_leave_room_for_what_a_file_turns_out_to_need():
    limits = planned_limits(BOARDS["nano33ble"])
    assert limits == {"int8_bytes": 983_040 - 110_000 - 167_000, "macs": 4_032_000}  # 0.1 s of 64 MHz at 0.63 a cycle
    for file in (RELU6, SILU):
        result = fit(file, "nano33ble")
        assert result.flash_bytes - result.model_bytes + limits["int8_bytes"] <= result.flash_limit_bytes


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"board": "nano33ble"}, ["fits the Arduino Nano 33 BLE Sense"]),
        ({"board": "crowded"}, ["does not fit", "- Bring the arena from"]),
        ({"macs": 4_000_000}, []),
        ({}, []),
    ],
)
def test_an_export_says_whether_it_fits_the_board_that_an_ancestor_was_pruned_for(tmp_path, monkeypatch, target, words):
    from hpe.deploy.export import report_target_board

    crowded = replace(BOARDS["nano33ble"], name="crowded", core_ram_bytes=220_000)
    monkeypatch.setitem(BOARDS, "crowded", crowded)
    config = {"command": "finetune", "lineage": {"family": "channel", "target": target}}
    (tmp_path / "result.json").write_text(json.dumps({"id": "x", "config": config}))
    lines: list[str] = []
    report_target_board(tmp_path, RELU6, lines.append)
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))


def test_too_little_memory_is_told_with_the_bytes_that_would_do(monkeypatch: pytest.MonkeyPatch):
    small = replace(BOARDS["nano33ble"], flash_bytes=230_000, ram_bytes=150_000)
    monkeypatch.setitem(BOARDS, "nano33ble", small)
    result = fit(SILU, "nano33ble")
    assert not result.fits
    room = result.model_bytes - (result.flash_bytes - small.flash_bytes)
    assert (f"to {room:,} bytes" in result.advice[0]) == (room > 0)
    arena_room = result.arena_bytes - (result.ram_bytes - small.ram_bytes)
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
    assert not fit(path, "nano33ble").fits
    assert fit(path, "pi4").fits  # LiteRT computes it rightly


def test_op_that_the_library_lacks_is_named(tmp_path: Path):
    pytest.importorskip("tflite_micro")
    from tests.tiny_models import Graph

    graph = Graph(0)
    x = graph.tensor([1, 8], 0.1)
    path = tmp_path / "odd.tflite"
    path.write_bytes(graph.finish(x, graph.op("MATRIX_DIAG", [x], graph.tensor([1, 8], 0.1))))
    result = fit(path, "nano33ble")
    assert result.unsupported_ops == ["MATRIX_DIAG (not in the board's library)"]
    assert "MATRIX_DIAG" in result.verdict


def test_unknown_board_lists_the_known():
    with pytest.raises(ValueError, match="nano33ble, nano33ble-rev2, portenta-h7, rp2040, esp32-s3"):
        find_board("arduino-uno")


@pytest.mark.parametrize("board", BOARDS)
def test_every_board_takes_the_small_model(board: str):
    result = fit(RELU6, board)
    assert result.fits
    least, most = result.latency_ms_range
    assert 0 < least < most


def test_op_table_is_sane():
    for name, op in OPS.items():
        assert op.method.startswith("Add"), name
        assert op.cycles[0] <= op.cycles[1], name
