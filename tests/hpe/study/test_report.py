import json

import pytest

from hpe.study.report import COLUMNS, ReportError, markdown, pareto, print_table, table_rows, write_report


def result(mae_float, mae_int8, size, method=None, data="synthetic:easy:8:0"):
    config = {"prune": {"method": method}} if method else {}
    evaluations = {
        "a": {"file": "model.safetensors", "data": data, "mae_deg": {"mean": mae_float}},
        "b": {"file": "model_int8.tflite", "data": data, "mae_deg": {"mean": mae_int8}},
    }
    files = {"model_int8.tflite": {"size_bytes": size, "gzip_bytes": size // 2}}
    counts = {"params": 1000, "nonzeros": 900, "macs": 5000}
    return {"config": config, **counts, "evaluations": evaluations, "files": files}


def test_rows_hold_what_was_measured_and_none_for_the_rest():
    (row,) = table_rows({"small": result(5.0, 5.5, 2_000_000, "channel")}, "synthetic:easy:8:0")
    assert (row["model"], row["family"], row["float_mae_deg"], row["int8_mae_deg"]) == ("small", "channel", 5.0, 5.5)
    assert (row["int8_mb"], row["int8_gzip_mb"], row["fp32_mb"], row["int8_ms"]) == (2.0, 1.0, None, None)
    assert list(row) == list(COLUMNS)
    assert "| small | channel | 1,000 | 900 | 5,000 | - | - | 2.00 | 1.00 | 5.00 | 5.50 | - | - |" in markdown([row])


def test_the_printed_table_shows_every_column_in_80(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_table(table_rows({"sparse-87": result(11.71, 12.68, 4_850_000)}, "synthetic:easy:8:0"), "Data")
    out = capsys.readouterr().out
    assert "…" not in out
    assert all(number in out for number in ("11.71", "12.68", "4.85", "2.42"))


def test_pareto_front_by_hand():
    rows = [
        {"m": n, "x": x, "y": y} for n, x, y in [("a", 1, 9), ("b", 2, 5), ("c", 3, 6), ("d", 4, 5), ("e", None, 1)]
    ]
    assert [row["m"] for row in pareto(rows, "x", "y")] == ["a", "b"]


def test_one_table_for_each_data_set(tmp_path):
    runs = []
    for name, data in (("one", "synthetic:easy:8:0"), ("two", "csv:<faces>@test")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result(5.0, 6.0, 1000, None, data)))
        runs.append(tmp_path / name)
    tables = write_report(runs, tmp_path / "out")
    assert [rows[1]["float_mae_deg"] for rows in tables.values()] == [None, 5.0]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "pareto_1.png",
        "pareto_2.png",
        "report.html",
        "table.md",
        "table_1.csv",
        "table_2.csv",
    ]
    assert "csv:&lt;faces&gt;@test" in (tmp_path / "out" / "report.html").read_text()


def test_a_folder_that_is_no_run_and_a_run_without_errors_are_named(tmp_path):
    with pytest.raises(ReportError, match=r"no result\.json"):
        write_report([tmp_path], tmp_path / "out")
    bare = result(1.0, 1.0, 1)
    bare["evaluations"] = {}
    (tmp_path / "result.json").write_text(json.dumps(bare))
    with pytest.raises(ReportError, match="hpe evaluate"):
        write_report([tmp_path], tmp_path / "out")
