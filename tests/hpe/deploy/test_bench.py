"""Timing: what is reported, how the machine is read, and where the figures go."""

import csv
import json

import pytest

from hpe.cli.main import main
from hpe.deploy import bench
from hpe.deploy.bench import machine_state, memory_bytes, run_bench, throttled, write_bench
from hpe.io.errors import ConfigError
from hpe.io.files import read_json
from tests.drawn_faces import MODEL

REPORTED = {"init_ms", "first_ms", "warmup_ms", "avg_ms", "min_ms", "max_ms", "std_ms", "median_ms", "runs"}
REPORTED |= {"seconds", "valid", "load_memory_bytes", "peak_memory_bytes", "threads", "kernels"}


def test_models_take_turns_and_short_runs_are_called_short():
    other = MODEL.with_name("tiny_silu_se.tflite")
    lines = []
    table = run_bench([MODEL, other], seconds=0.05, report=lines.append)
    assert list(table) == [str(MODEL), str(other)]
    for row in table.values():
        assert row.keys() >= REPORTED
        assert row["min_ms"] <= row["median_ms"] <= row["max_ms"]
        assert row["min_ms"] <= row["avg_ms"] <= row["max_ms"]
        assert row["runs"] * row["avg_ms"] == pytest.approx(row["seconds"] * 1e3)
        assert row["kernels"] == "xnnpack"
        assert not row["valid"]
        assert row["peak_memory_bytes"] > 1e6
    assert lines == ["0.05 s a model is short: from 10 s on a figure counts"]


def test_xnnpack_can_be_turned_off(capsys):
    main(["bench", str(MODEL), "--seconds", "0.02", "--no-xnnpack"])
    assert "1 thread(s), builtin" in capsys.readouterr().out


def test_reports_get_the_time_of_one_thread_with_xnnpack(tmp_path):
    file = tmp_path / "model_int8.tflite"
    file.write_bytes(MODEL.read_bytes())
    (tmp_path / "result.json").write_text("{}")
    for options in ({}, {"xnnpack": False}):
        run_bench([file], seconds=0.02, **options)
    (latency,) = read_json(tmp_path / "result.json")["latency"].values()
    assert (latency["threads"], latency["kernels"]) == (1, "xnnpack")


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_no_time_at_all_is_refused(seconds):
    with pytest.raises(ConfigError, match="--seconds"):
        run_bench([MODEL], seconds=seconds)


def test_ten_seconds_are_valid(monkeypatch):
    monkeypatch.setattr(bench, "in_turns", lambda runtimes, seconds: [[1.0, 3.0]] * len(runtimes))
    lines = []
    (row,) = run_bench([MODEL], seconds=10.0, report=lines.append).values()
    assert row["valid"]
    assert (row["avg_ms"], row["std_ms"], row["runs"]) == (2.0, 1.0, 2)
    assert lines == []


def test_temperature_and_throttling_are_read_where_told(tmp_path, monkeypatch):
    for name, text in (("thermal_zone0", "48312\n"), ("thermal_zone1", "51000\n"), ("thermal_zone2", "asleep")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "temp").write_text(text)
    monkeypatch.setattr(bench, "THERMAL", tmp_path)
    monkeypatch.setattr(bench.shutil, "which", lambda name: None)
    assert machine_state() == {"temperature_c": 51.0}
    monkeypatch.setattr(bench, "THERMAL", tmp_path / "absent")
    assert machine_state() == {}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("throttled=0x0\n", "no"),
        ("throttled=0x4", "throttled"),
        ("throttled=0x50005", "under-voltage, throttled"),
        ("throttled=0x80002", "clock capped, soft temperature limit earlier"),
    ],
)
def test_a_pis_throttling_in_words(answer, words):
    assert throttled(answer) == words


def test_memory_is_told():
    assert 1e6 < memory_bytes()["resident"] <= memory_bytes()["peak"]


def test_files_are_named_by_hardware(tmp_path, capsys):
    main(["bench", str(MODEL), "--seconds", "0.02", "--out", str(tmp_path), "--json", str(tmp_path / "t.json")])
    assert "median" in capsys.readouterr().out
    (path,) = tmp_path.glob("bench_*.csv")
    with path.open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["model"] == str(MODEL)
    assert {"processor", "commit", "python", "numpy"} <= row.keys()
    assert " " not in path.name
    assert json.loads((tmp_path / "t.json").read_text())[str(MODEL)]["runs"] == int(row["runs"])
    table = {"m": {"avg_ms": 1.0}}
    assert write_bench(table, tmp_path / "mine.csv") == tmp_path / "mine.csv"


def test_a_run_folder_is_told_what_to_do(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="hpe export"):
        run_bench([tmp_path / "run"])
    (tmp_path / "run" / "model_int8.tflite").write_bytes(MODEL.read_bytes())
    assert list(run_bench([tmp_path / "run"], seconds=0.02)) == [str(tmp_path / "run")]


def test_short_measurements_are_marked_in_the_table_and_threads_are_capped(capsys, tmp_path):
    import os

    main(["bench", str(MODEL), "--seconds", "0.02", "--threads", "100000", "--json", str(tmp_path / "t.json")])
    out = capsys.readouterr().out
    assert "runs); short: does not count" in out
    (row,) = json.loads((tmp_path / "t.json").read_text()).values()
    assert not row["valid"]
    assert 1 <= row["threads"] <= (os.cpu_count() or 1)
    with pytest.raises(RuntimeError, match="give 1 or more"):
        run_bench([MODEL], threads=0)
