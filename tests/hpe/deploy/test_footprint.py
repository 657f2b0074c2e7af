"""`hpe footprint` notes what a run's int8 file takes on a board."""

import shutil

import pytest

from export import engine_costs
from hpe.cli.main import main
from hpe.deploy.footprint import FACTS, run_footprint
from hpe.io.files import read_json, write_json
from hpe.model.zoo import INT8
from tests.sketches import SILU


@pytest.fixture
def run(tmp_path):
    write_json(tmp_path / "result.json", {"id": "some run"})
    for name in (INT8, "other.tflite"):
        shutil.copy(SILU, tmp_path / name)
    return tmp_path


def test_a_runs_int8_file_is_noted_by_board_and_engine(run):
    run_footprint(run / INT8, "nano33ble")
    main(["footprint", str(run / INT8), "--board", "pi4"])
    result = read_json(run / "result.json")
    assert result["id"] == "some run"
    assert result["footprint"].keys() == {"nano33ble", "pi4"}
    costs = engine_costs(run / INT8, "nano33ble")
    for engine, facts in result["footprint"]["nano33ble"].items():
        assert {name: facts[name] for name in FACTS} == {name: costs[engine][name] for name in FACTS}


def test_other_files_leave_the_result_as_it_is(run):
    run_footprint(run / "other.tflite", "nano33ble")
    assert read_json(run / "result.json") == {"id": "some run"}
