"""hpe compile, hpe profile and the engine c of hpe evaluate, as they are typed."""

import json
import shutil

import pytest

from hpe.cli.main import main
from tests.export.compiler.host import ROOT, needs

TINY = ROOT / "tests" / "data" / "tiny_relu6_nose.tflite"


def run(capsys, *arguments) -> tuple[int, str, str]:
    """Exit code, output and messages."""
    code = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_compile_writes_c_and_says_what_it_takes(capsys, tmp_path):
    arguments = ["compile", TINY, "--out", tmp_path / "c", "--name", "head", "--json", tmp_path / "sizes.json"]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert {file.name for file in (tmp_path / "c").iterdir()} == {"head.c", "head.h"}
    assert "head_run(input, output)" in out
    sizes = json.loads((tmp_path / "sizes.json").read_text())
    assert sizes["ram_bytes"] < 20_000
    assert sizes["macs"] == sum(step["macs"] for step in sizes["steps"])


def test_compile_refuses_what_does_not_fit(capsys, tmp_path):
    code, _, err = run(capsys, "compile", TINY, "--out", tmp_path / "c", "--ram", 4000)
    assert code == 2
    assert "more than the 4,000 allowed" in err
    assert not (tmp_path / "c").exists()


def test_profile_prints_a_row_for_each_step(capsys, tmp_path):
    code, out, _ = run(capsys, "profile", TINY, "--json", tmp_path / "p.json", "--explorer", tmp_path / "e.json")
    assert code == 0
    rows = json.loads((tmp_path / "p.json").read_text())
    assert len(out.splitlines()) == len(rows) + 2
    assert "main" in json.loads((tmp_path / "e.json").read_text())


@needs("cc")
@pytest.mark.parametrize("engine", ["c", "c-fine", "reference"])
def test_evaluate_by_engine(engine, capsys):
    code, out, _ = run(capsys, "evaluate", TINY, "--data", "synthetic:easy:6:1", "--engine", engine)
    assert code == 0
    assert "6 faces" in out


@pytest.mark.parametrize(
    "command",
    [["compile", "--out", "c"], ["deploy", "--out", "sketch"], ["footprint"], ["profile"]],
    ids=lambda c: c[0],
)
def test_a_run_folder_stands_for_its_int8_file(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("export.micro.interpreter.has_micro", lambda: False)
    folder = tmp_path / "run"
    folder.mkdir()
    code, _, err = run(capsys, *command, folder)
    assert (code, err) == (2, f"hpe: {folder}: no model_int8.tflite in this folder; run `hpe export {folder}` first, "
                              "or name a model file\n")  # fmt: skip
    shutil.copy(TINY, folder / "model_int8.tflite")
    code, out, _ = run(capsys, *command, folder)
    assert code == 0
    assert out
