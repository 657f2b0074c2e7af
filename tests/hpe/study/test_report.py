import json
from pathlib import Path

import pytest

from hpe.io.configs import to_dict
from hpe.io.errors import FileError
from hpe.io.files import read_json
from hpe.model.lineage import Lineage
from hpe.study.plots_pareto import plot_pareto
from hpe.study.report import print_table as print_rows
from hpe.study.report import write_report
from hpe.study.report_rows import make_rows, plain_groups, pruned_to
from hpe.study.report_tables import COLUMNS, models_table
from hpe.study.results import ReportError, read_results

SPEC = "synthetic:easy:8:0"


def result(mae_float=5.0, mae_int8=5.5, size=2_000_000, lineage=None, data=SPEC):
    """What a finished run's result.json holds."""
    config = {"command": "finetune", "data": "synthetic:easy:9:9", "lineage": to_dict(lineage or Lineage())}
    evaluations = {
        "a": {"file": "model.safetensors", "data": data, "mae_deg": {"mean": mae_float}},
        "b": {"file": "model_int8.tflite", "data": data, "mae_deg": {"mean": mae_int8}},
    }
    files = {"model_int8.tflite": {"size_bytes": size, "gzip_bytes": size // 2}}
    counts = {"params": 1000, "nonzeros": 900, "macs": 5000}
    return {"id": "x", "config": config, **counts, "evaluations": evaluations, "files": files}


def table_rows(results, spec):
    """Rows of runs outside of a study."""
    return make_rows(plain_groups(results), spec)


@pytest.fixture
def save(tmp_path):
    """Makes a run folder of a result."""

    def make(name, values):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(values))
        return tmp_path / name

    return make


def test_rows_hold_what_was_measured_and_none_for_the_rest(save):
    run = save("small", result(lineage=Lineage("channel", target={"macs": 4000})))
    (row,) = table_rows(read_results([run]), SPEC)
    assert (row["model"], row["family"], row["float_mae_deg"], row["int8_mae_deg"]) == ("small", "channel", 5.0, 5.5)
    assert (row["int8_mb"], row["int8_gzip_mb"], row["fp32_mb"], row["int8_ms"]) == (2.0, 1.0, None, None)
    assert set(COLUMNS) <= set(row)
    line = "| small | channel | 4,000 macs | 1 | 5.00 (n = 1) | 5.50 (n = 1) | 2.00 | 1.00 | - | - | - | - | 5,000 |"
    assert line in models_table([row]).markdown()


def test_only_litert_on_one_thread_is_tabled(save):
    values = result()
    values["evaluations"]["c"] = values["evaluations"]["b"] | {"engine": "c", "mae_deg": {"mean": 99.0}}
    (row,) = table_rows(read_results([save("small", values)]), SPEC)
    assert row["int8_mae_deg"] == 5.5


def test_the_machine_that_timed_is_named_not_the_one_that_trained(save, tmp_path):
    latency = {"model_int8.tflite": {"median_ms": 9.0, "valid": True, "processor": "Pi"}}
    runs = [save("small", result() | {"latency": latency, "environment": {"processor": "Xeon"}})]
    write_report(runs, tmp_path / "one")
    assert "A computer like the one that measured (Pi)" in (tmp_path / "one" / "report.html").read_text()
    other = {"model_int8.tflite": latency["model_int8.tflite"] | {"processor": "Other Pi"}}
    runs.append(save("other", result() | {"latency": other}))
    runs.append(save("third", result() | {"latency": latency}))
    (rows,) = write_report(runs, tmp_path / "two").values()
    assert {row["model"]: row["int8_ms"] for row in rows} == {"small": 9.0, "other": None, "third": 9.0}
    told = "times measured on: Pi; those of Other Pi are left out"
    assert told in (tmp_path / "two" / "report.md").read_text()


def test_a_run_is_named_by_its_folder_and_by_its_own_seed(save, monkeypatch, capsys):
    run = save("[late]", result() | {"study": {"row": "r", "family": "dense", "role": "row", "seed": 3}})
    monkeypatch.chdir(run)
    (row,) = table_rows(read_results([Path()]), SPEC)
    assert (row["model"], row["seeds"]) == ("[late]", [3])
    print_rows([row], "[title]")
    assert {"[late]", "[title]"} <= set(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("lineage", "words"),
    [
        (Lineage(), None),
        (Lineage("block"), None),
        (Lineage("magnitude", 0.875), "87.5% sparsity"),
        (Lineage("channel", target={"int8_bytes": 600_000}), "600,000 int8 bytes"),
        (Lineage("channel+magnitude", 0.5, {"board": "nano33ble"}), "nano33ble"),
    ],
)
def test_what_the_network_was_pruned_to_is_told(lineage, words):
    assert pruned_to(lineage) == words


@pytest.mark.parametrize(
    ("name", "title"),
    [("dense", "dense"), ("magnitude", "unstructured"), ("channel", "structured"), ("block", "whole blocks"),
     ("channel+magnitude", "both")],
)  # fmt: skip
def test_every_family_is_in_the_plot(save, tmp_path, name, title):
    rows = table_rows(read_results([save("one", result(lineage=Lineage(name)))]), SPEC)
    svg = plot_pareto(rows, tmp_path / "p", "int8 file (MB)", lambda row: row["int8_mb"])
    assert f">{title}</text>" in svg
    assert "<title>one: 5.50 degrees, n = 1; int8 file (MB): 2</title>" in svg
    assert (tmp_path / "p.png").exists()


def test_latencies_of_short_benches_are_marked(save, tmp_path, capsys):
    values = result() | {"latency": {"model_int8.tflite": {"median_ms": 1.25, "valid": False}}}
    values["latency"]["model_fp32.tflite"] = {"median_ms": 2.5, "valid": True}
    run = save("one", values)
    ((row,),) = write_report([run], tmp_path / "out").values()
    assert (row["int8_ms"], row["int8_ms_short"], row["fp32_ms_short"]) == (1.25, True, False)
    assert "| 1.25 (short) | 2.50 |" in (tmp_path / "out" / "report.md").read_text()
    assert "<td>1.25 (short)</td>" in (tmp_path / "out" / "report.html").read_text()
    print_rows([row], "Data")
    out = capsys.readouterr().out
    assert "1.25*" in out
    assert "2.50*" not in out
    assert "*: timed for less than 10 seconds" in out


def test_the_printed_table_shows_every_column_in_80(save, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    values = result(11.71, 12.68, 4_850_000)
    values["files"]["model_fp32.tflite"] = {"size_bytes": 16_000_000, "gzip_bytes": 13_540_000}
    values["latency"] = {f"model_{kind}.tflite": {"median_ms": 13.25, "valid": False} for kind in ("int8", "fp32")}
    print_rows(table_rows(read_results([save("sparse-87", values)]), SPEC), "Data")
    out = capsys.readouterr().out
    assert "…" not in out
    assert all(number in out for number in ("11.71", "12.68", "4.85", "2.42", "16.00", "13.54", "13.25*"))


def test_one_table_for_each_data_set(save, tmp_path):
    runs = [save(name, result(data=data)) for name, data in (("one", SPEC), ("two", "csv:<faces>@test"))]
    tables = write_report(runs, tmp_path / "out")
    assert [rows[1]["float_mae_deg"] for rows in tables.values()] == [None, 5.0]
    made = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"report.html", "report.md", "report.tex", "table_1.csv", "table_2.csv", "models_1.csv"} <= made
    assert {"int8_bytes_1.png", "int8_bytes_2.svg", "macs_1.svg"} <= made
    assert "csv:&lt;faces&gt;@test" in (tmp_path / "out" / "report.html").read_text()


def test_pictures_and_a_note_are_on_the_page(save, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    out = Path("out")  # as `hpe demo` gives it
    out.mkdir()
    Image.new("RGB", (4, 4)).save(out / "samples.png")
    write_report([save("one", result())], out, {"Test <heads>": out / "samples.png"}, "A note & more.")
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64") == 1
    assert 'alt="Test &lt;heads&gt;"' in page
    assert "<p>A note &amp; more.</p>" in page
    assert "![Test <heads>](samples.png)" in (out / "report.md").read_text()


def test_a_folder_that_is_no_run_and_a_run_without_errors_are_named(save, tmp_path):
    with pytest.raises(ReportError, match=r"no result\.json"):
        write_report([tmp_path], tmp_path / "out")
    with pytest.raises(ReportError, match="hpe evaluate"):
        write_report([save("bare", result() | {"evaluations": {}})], tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "RunResult is null; it must be an object"),
        ({"macs": "many"}, 'macs is "many"; it must be a whole number'),
        ({"params": True}, "params is true; it must be a whole number"),
        ({"config": []}, r"config is \[\]; it must be an object"),
        ({"config": {"command": "train", "data": "x"}}, "config: lineage is missing"),
        (
            {"config": {"command": "train", "lineage": {"target": {"macs": [1]}}}},
            r"config\.lineage\.target\.macs is \[1\]",
        ),
        ({"evaluations": {"a": {"file": "f", "data": "d", "mae_deg": 3.0}}}, r"evaluations\.a\.mae_deg is 3.0"),
        ({"files": {"f": {"size_bytes": 3}}}, r"files\.f: gzip_bytes is missing"),
        ({"latency": {"f": {"median_ms": None, "valid": True}}}, r"latency\.f\.median_ms is null"),
        ({"environment": ["linux"]}, "environment is"),
    ],
)
def test_a_result_of_wrong_types_is_one_message_that_names_the_key(save, tmp_path, change, message):
    run = save("bad", None if change is None else result() | change)
    with pytest.raises(FileError, match=rf"bad/result\.json: {message}"):
        write_report([run], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_key_that_is_missing_is_named(save, tmp_path):
    values = result()
    del values["nonzeros"]
    with pytest.raises(FileError, match="nonzeros is missing"):
        write_report([save("bad", values)], tmp_path / "out")
    run = save("cut", values)
    (run / "result.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        read_json(run / "result.json")
