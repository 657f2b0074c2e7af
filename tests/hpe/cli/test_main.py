"""The commands as a script calls them: exit codes, files, message."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import TINY_DATA
from tests.face_files import csv_rows, write_csv_folder
from tests.hpe.cli.command import run

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "demo",
        "data",
        "data check",
        "data preview",
        "train",
        "prune",
        "export",
        "evaluate",
        "predict",
        "models",
        "bench",
        "report",
    ],
)
def test_every_command_has_help(capsys, command):
    code, out, _ = run(capsys, *command.split(), "--help")
    assert code == 0
    assert f"usage: hpe {command}".strip() in out


def test_the_demo_takes_as_long_as_readme_says(capsys):
    told = "about a quarter of an hour on an old machine, less on a newer one"
    assert told in " ".join((Path(__file__).parents[3] / "README.md").read_text().split())
    out = " ".join(run(capsys, "demo", "--help")[1].lower().split())
    assert all(part in out for part in ("about a quarter of an hour", "an old machine, less on a newer one"))


def test_evaluate_writes_the_contract(capsys, tiny_run, tmp_path):
    work = tmp_path / "run"
    shutil.copytree(tiny_run, work)
    code, out, _ = run(capsys, "evaluate", work, "--data", TINY_DATA, "--json", tmp_path / "out.json")
    assert code == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert result.keys() == {"mae_deg", "geodesic_deg", "n", "dropped", "skipped"}
    assert list(result["mae_deg"]) == ["yaw", "pitch", "roll", "mean"]
    assert f"{result['mae_deg']['mean']:.2f}" in out
    assert json.loads((work / "result.json").read_text())["evaluations"]


def test_train_and_resume(capsys, tmp_path):
    arguments = [
        "train",
        "--data",
        TINY_DATA,
        "--out",
        tmp_path / "r",
        "--epochs",
        1,
        "--batch-size",
        16,
        "--act",
        "relu6",
    ]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert "epoch   1/1" in out
    assert "next: hpe evaluate" in out
    code, out, _ = run(capsys, *arguments, "--resume")
    assert code == 0
    assert "this run is finished, there is nothing to resume" in out
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "holds a finished run" in err


def test_data_preview_and_check(capsys, tmp_path):
    code, out, _ = run(capsys, "data", "preview", TINY_DATA, "--out", tmp_path / "sheet.png", "--count", 9)
    assert code == 0
    assert "9 faces" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 300
    for flags in (["--out", tmp_path / "sheet"], ["--out", tmp_path / "s.xyz"], ["--out", "s.png", "--count", 0]):
        code, _, err = run(capsys, "data", "preview", TINY_DATA, *flags)
        assert (code, err.splitlines()[0].split(" ")[:2]) == (2, ["hpe:", "--count" if len(flags) > 2 else "--out"])
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "labels.csv").write_text("file,yaw,pitch,roll\nabsent.jpg,1,2,3\nalso.jpg,x,2,3\n")
    code, out, _ = run(capsys, "data", "check", f"csv:{tmp_path / 'faces'}", "--json", tmp_path / "faults.json")
    assert code == 1
    assert "absent.jpg" in out
    assert len(json.loads((tmp_path / "faults.json").read_text())["bad"]) == 2


def test_data_check_against_a_test_set(capsys, tmp_path):
    here = write_csv_folder(tmp_path / "here", csv_rows(3), size=(64, 64))
    there = write_csv_folder(tmp_path / "there", csv_rows(1), size=(64, 64))
    shutil.copyfile(here / "001.png", there / "000.png")
    arguments = ["data", "check", f"csv:{here}", "--against", f"csv:{there}", "--json", tmp_path / "pairs.json"]
    code, out, _ = run(capsys, *arguments)
    assert code == 1
    assert "001.png looks like 000.png (0 of 288 bits differ)" in out
    assert json.loads((tmp_path / "pairs.json").read_text()) == {
        "bad": [],
        "near_duplicates": [{"id": "001.png", "against": "000.png", "distance": 0, "mirrored": False}],
    }
    shutil.copyfile(here / "001.png", there / "000.png")
    (here / "001.png").unlink()
    (here / "labels.csv").write_text("file,yaw,pitch,roll\n000.png,1,2,3\n002.png,1,2,3\n")
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert "no near-duplicates" in out


def test_evaluate_says_what_was_left_out(capsys, tmp_path):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(4))
    labels = folder / "labels.csv"
    labels.write_text(labels.read_text().replace("001.png,1", "001.png,120").replace("002.png,2", "002.png,x"))
    model = DATA / "tiny_relu6_se.tflite"
    code, out, _ = run(
        capsys, "evaluate", model, "--data", f"csv:{folder}", "--skip-bad", "--json", tmp_path / "e.json"
    )
    assert code == 0
    assert "2 faces; left out: 1 beyond 99 degrees, 1 that cannot be used" in out
    found = json.loads((tmp_path / "e.json").read_text())
    assert (found["n"], found["dropped"], found["skipped"]) == (2, 1, 1)


def test_export_takes_several_runs_but_then_no_out(capsys, tmp_path):
    code, _, err = run(capsys, "export")
    assert code == 2
    assert "give at least one RUN" in err
    code, _, err = run(capsys, "export", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c")
    assert code == 2
    assert "--out takes one RUN" in err


def test_fit_says_yes_or_no_and_deploy_writes_a_sketch(capsys, tmp_path):
    tiny = tmp_path / "tiny.tflite"
    tiny.write_bytes((DATA / "tiny_relu6_se.tflite").read_bytes())
    code, out, _ = run(capsys, "footprint", tiny, "--board", "nano33ble", "--json", tmp_path / "fit.json")
    assert code == 0
    assert "fits" in out
    answer = json.loads((tmp_path / "fit.json").read_text())
    assert {"engine", "why", "engines", "macs", "ops", "fits"} <= answer.keys()
    assert {"flash_bytes", "arena_bytes", "activations_bytes"} <= answer["interpreter"].keys()
    assert "engine c: about" in out
    metadata = {"normalisation": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
    metadata["output"] = {"order": ["pitch", "yaw", "roll"], "unit": "radians"}
    tiny.with_suffix(".json").write_text(json.dumps(metadata))
    code, out, _ = run(capsys, "deploy", tiny, "--out", tmp_path / "sketch")
    assert code == 0
    settings = (tmp_path / "sketch" / "model_settings.h").read_text()
    assert "mean [0.5, 0.5, 0.5]" in settings
    assert "57.2957802f, 1, 0, 2}" in settings  # degrees per radian; where yaw, pitch and roll stand
    (tmp_path / "sketch" / "src" / "config.h").write_text("// mine")
    assert "config.h: kept as it was" in run(capsys, "deploy", tiny, "--out", tmp_path / "sketch")[1]
    common = {"sketch.ino", "model_settings.h", "README.md", "src"}
    names = {path.name for path in (tmp_path / "sketch").iterdir()}
    assert names == common | {"model.c", "model.h"}
    assert run(capsys, "deploy", tiny, "--out", tmp_path / "sketch", "--engine", "tflm")[0] == 0
    names = {path.name for path in (tmp_path / "sketch").iterdir()}
    assert names == common | {"model_data.cpp", "model_data.h", "op_resolver.h"}
    tiny.with_suffix(".json").write_text(json.dumps({"output": metadata["output"]}))
    code, _, err = run(capsys, "deploy", tiny, "--out", tmp_path / "sketch")
    assert code == 2
    assert "tiny.json: does not say how the model is fed and read" in err
    code, _, err = run(capsys, "footprint", tiny, "--board", "abacus")
    assert code == 2
    assert "nano33ble" in err


def test_deploy_asks_the_metadata_whether_a_net_is_one_for_head_poses(capsys, tmp_path):
    """All of these have three outputs and take a 64x64 RGB image."""
    tiny, labels, sketch = tmp_path / "tiny.tflite", tmp_path / "labels.txt", tmp_path / "sketch"
    tiny.write_bytes((DATA / "tiny_relu6_se.tflite").read_bytes())
    labels.write_text("cat\ndog\nnone\n")
    metadata = {"normalisation": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
    code, out, err = run(capsys, "deploy", tiny, "--out", sketch, "--labels", labels)
    assert (code, err) == (0, "")
    assert "tiny.json names no yaw, pitch and roll" in out
    settings = (sketch / "model_settings.h").read_text()
    assert '"dog"' in settings
    assert "#define SKETCH_IMAGE 0" in settings
    tiny.with_suffix(".json").write_text(json.dumps(metadata | {"output": {"order": ["cat", "dog", "none"]}}))
    assert run(capsys, "deploy", tiny, "--out", sketch)[0] == 0
    settings = (sketch / "model_settings.h").read_text()
    assert "#define SKETCH_LABELS 0" in settings
    assert "#define SKETCH_IMAGE 1" in settings
    tiny.with_suffix(".json").write_text(json.dumps({"normalisation": {"mean": [0.5]}}))
    assert "tiny.json: its normalisation needs mean and std" in run(capsys, "deploy", tiny, "--out", tmp_path / "o")[2]
    metadata["output"] = {"order": ["yaw", "pitch", "roll"], "unit": "degrees"}
    tiny.with_suffix(".json").write_text(json.dumps(metadata))
    for model in (tiny, "b0-tiny"):
        code, _, err = run(capsys, "deploy", model, "--out", tmp_path / "o", "--labels", labels)
        assert code == 2
        assert "is a head-pose net, whose sketch prints angles; leave it out" in err
    code, _, err = run(capsys, "deploy", tiny, "--out", tmp_path / "o", "--ram", 1000)
    assert code == 2
    assert "more than the 1,000 allowed. Most of it: " in err
    code, _, err = run(capsys, "deploy", tmp_path / "absent.tflite", "--out", tmp_path / "o")
    assert code == 2
    assert "absent.tflite" in err
    assert not (tmp_path / "o").exists()


def test_serial_refuses_flags_that_it_would_ignore(capsys, tmp_path):
    for flags, message in (
        (("--inputs", "a.npy", "--camera", 0), "--inputs goes alone"),
        (("--inputs", "a.npy", "--json", tmp_path / "x.json"), "--json holds the error over --data"),
        ((), "give one of --data SPEC, --camera N and --inputs FILE"),
    ):
        code, _, err = run(capsys, "serial", "--port", "/dev/there-is-no-such-port", *flags)
        assert code == 2
        assert message in err
