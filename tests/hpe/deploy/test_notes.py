"""What was measured is told, also where result.json cannot note it."""

import shutil

import pytest

from hpe.cli.main import main
from tests.drawn_faces import MODEL

COMMANDS = {
    "bench": (["--seconds", "0.02"], "median"),
    "evaluate": (["--data", "synthetic:easy:2:1"], "MAE"),
    "footprint": (["--board", "pi4"], "engine"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_that_cannot_be_noted_is_told(command, tmp_path, monkeypatch, capsys):
    def closed(run, section, entries):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hpe.io.files.merge_result", closed)
    file = tmp_path / "model_int8.tflite"
    shutil.copy(MODEL, file)
    (tmp_path / "result.json").write_text("{}")
    options, answer = COMMANDS[command]
    main([command, str(file), *options])
    output = capsys.readouterr()
    assert answer in output.out
    assert output.err == f"hpe: not noted in {tmp_path / 'result.json'} (Permission denied)\n"
