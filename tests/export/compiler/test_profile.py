"""What the profile says: sums that agree with the compiled model, and instructions near those that are counted."""

import pytest

from export.compiler import compile_model, explorer_data, profile_model
from export.compiler.emulator.model import run_model
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
