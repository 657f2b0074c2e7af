"""Both engines side by side: figures that agree with the compiler's and the planner's, and which engine is taken."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from export import compile_model
from export.compiler.emulator.model import run_model
from export.compiler.limits import most_flash
from export.compiler.size import compiled_size
from export.errors import ExportError
from export.micro.boards import BOARDS
from export.micro.engines import choose_engine, engine_costs
from export.micro.footprint import footprint
from export.micro.interpreter import interpreter_footprint
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.nets import Net

ROOT = Path(__file__).resolve().parents[3]
RELU6 = ROOT / "tests" / "data" / "tiny_relu6_nose.tflite"
SILU = ROOT / "tests" / "data" / "tiny_silu_se.tflite"
RELEASES = ROOT / "hpe" / "model" / "releases"
KEYS = {"flash_bytes", "ram_bytes", "cycles", "ms", "ms_range", "fits", "reasons", "source"}
MCUS = [name for name, board in BOARDS.items() if not board.is_linux]

pytestmark = pytest.mark.usefixtures("without_wheel")


@pytest.mark.parametrize("board", BOARDS)
def test_every_board_has_its_engines(board):
    costs = engine_costs(RELU6, board, count_code=False)
    assert list(costs) == (["c", "tflm"] if board in MCUS else ["litert"])
    for cost in costs.values():
        assert cost.keys() == KEYS
        assert cost["fits"]
        assert 0 < cost["ms_range"][0] < cost["ms_range"][1]
        assert cost["ms"] == pytest.approx(cost["cycles"] / BOARDS[board].clock_mhz / 1000, abs=0.01)
    json.dumps(costs)


def test_the_interpreters_figures_are_the_planners():
    cost, weighed = engine_costs(SILU, "nano33ble", False)["tflm"], interpreter_footprint(SILU, "nano33ble")
    board = BOARDS["nano33ble"]
    assert cost["flash_bytes"] == weighed.flash_bytes - board.core_flash_bytes
    assert cost["ram_bytes"] == weighed.reserved_arena_bytes
    assert cost["ms_range"] == weighed.latency_ms_range


@pytest.mark.parametrize("path", [RELU6, SILU, RELEASES / "b0-tiny.tflite"], ids=lambda path: path.stem)
def test_the_figures_of_c_are_the_compilers(path, tmp_path):
    compiled, size = compile_model(path, tmp_path), compiled_size(path, count_code=False)
    assert size.ram_bytes == compiled.ram_bytes
    assert size.flash_bytes - size.code_bytes == compiled.flash_bytes
    assert not size.code_is_counted


@needs_emulator
@pytest.mark.parametrize("path", [RELU6, SILU, RELEASES / "b0-tiny.tflite"], ids=lambda path: path.stem)
def test_flash_is_what_the_linker_gets(path, tmp_path):
    compiled = compile_model(path, tmp_path, "model")
    run = run_model(compiled, [bytes(64 * 64 * 3)])
    counted, estimated = compiled_size(path), compiled_size(path, count_code=False)
    assert counted.code_is_counted
    assert (counted.flash_bytes, counted.ram_bytes) == (run.flash_bytes, run.ram_bytes)
    assert estimated.code_bytes == pytest.approx(counted.code_bytes, rel=0.25)
    assert 0 <= most_flash(compiled.steps) - counted.flash_bytes <= 0.6 * counted.code_bytes


def test_without_the_cross_compiler_code_is_estimated(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "of code estimated" in engine_costs(ROOT / "tests/data/tiny_relu6_se.tflite", "nano33ble")["c"]["source"]


def test_c_is_taken_for_the_nano_and_the_reason_is_told():
    answer = footprint(RELU6, "nano33ble")
    assert answer.fits
    assert answer.engine == "c"
    assert "where TensorFlow Lite Micro takes" in answer.why
    assert answer.verdict.startswith("fits the Arduino Nano 33 BLE Sense")
    assert answer.advice == []
    json.dumps(answer.to_json())
    assert footprint(RELU6, "pi4").engine == "litert"


def test_the_only_engine_that_fits_is_taken(monkeypatch):
    """RAM for the buffer, none for the arena; then for neither."""
    board = BOARDS["nano33ble"]
    costs = engine_costs(RELU6, "nano33ble")
    assert costs["c"]["ram_bytes"] < costs["tflm"]["ram_bytes"]
    others = board.core_ram_bytes + board.frame_bytes
    monkeypatch.setitem(BOARDS, "nano33ble", replace(board, ram_bytes=others + costs["c"]["ram_bytes"]))
    answer = footprint(RELU6, "nano33ble")
    assert answer.engine == "c"
    assert "TensorFlow Lite Micro does not fit: RAM is" in answer.why
    monkeypatch.setitem(BOARDS, "nano33ble", replace(board, ram_bytes=others + costs["c"]["ram_bytes"] - 1))
    answer = footprint(RELU6, "nano33ble")
    assert (answer.fits, answer.engine) == (False, None)
    assert "compiled C: RAM is 1 bytes short; TensorFlow Lite Micro: RAM is" in answer.verdict
    assert answer.advice[0].startswith("Compiled C: bring its buffer from")
    assert len(answer.advice) == 2


def test_what_one_engine_refuses_the_other_may_take(tmp_path):
    net = Net(0)
    x = net.tensor([1, 4, 4, 4], 0.05)
    y = net.op("PRELU", [x, net.tensor([1, 1, 4], 0.02, data=net.rng.integers(0, 9, (1, 1, 4)).astype("int8"))],
               net.tensor([1, 4, 4, 4], 0.05))  # fmt: skip
    path = tmp_path / "prelu.tflite"
    path.write_bytes(net.finish(x, y))
    answer = footprint(path, "nano33ble")
    assert answer.engine == "tflm"
    assert answer.engines["c"]["flash_bytes"] is None
    assert "PRELU" in answer.why


def test_the_faster_of_two_engines_that_fit_is_taken():
    slow = {"fits": True, "ms": 9.0, "ram_bytes": 5, "reasons": [], "source": ""}
    assert choose_engine({"c": slow, "tflm": {**slow, "ms": 8.0}})[0] == "tflm"
    assert choose_engine({"c": slow, "tflm": {**slow, "ms": 8.0, "fits": False}})[0] == "c"
    assert choose_engine({"c": {**slow, "fits": False}})[0] is None


def test_an_unknown_board_is_refused():
    with pytest.raises(ExportError, match="abacus"):
        engine_costs(RELU6, "abacus")
