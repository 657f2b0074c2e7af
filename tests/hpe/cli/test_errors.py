"""What ends in one message and exit code 2, and what keeps its traceback."""

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from export.errors import ExportError, ModelFileError
from hpe.cli import main as cli
from hpe.cli.main import main
from hpe.data.spec import DataError
from hpe.io.errors import ConfigError, HpeError
from pruning.errors import PruningError
from tests.conftest import TINY_DATA
from tests.hpe.cli.command import run

CARRIERS = {"BadItem"}
"""Exceptions that never leave their package."""


def ending_with(monkeypatch, error: BaseException):
    """Let `hpe demo` raise."""

    def handler():
        raise error

    known = cli.commands()
    monkeypatch.setattr(cli, "commands", lambda: {**known, "demo": handler})


@pytest.mark.parametrize(
    ("module", "extra"), [("timm", "train"), ("onnx2tf", "export"), ("cv2", "vision"), ("cobs", "serial")]
)
def test_a_missing_extra_is_named(capsys, monkeypatch, module, extra):
    ending_with(monkeypatch, ModuleNotFoundError(f"No module named {module!r}", name=module))
    code, _, err = run(capsys, "demo")
    assert code == 2
    assert f"pip install '.[{extra}]' in a clone" in err


@pytest.mark.parametrize("kind", [ConfigError, ExportError, PruningError, DataError, ModelFileError])
def test_what_we_explain_is_one_line_and_a_traceback_on_demand(capsys, monkeypatch, kind):
    ending_with(monkeypatch, kind("file, fault, remedy"))
    assert run(capsys, "demo") == (2, "", "hpe: file, fault, remedy\n")
    monkeypatch.setenv("HPE_DEBUG", "1")
    with pytest.raises(kind):
        main(["demo"])


@pytest.mark.parametrize(
    "bug", [ValueError("ours"), RuntimeError("torch's"), KeyError("x"), ModuleNotFoundError(name="hpe.x")]
)
def test_a_bug_keeps_its_traceback(monkeypatch, bug):
    ending_with(monkeypatch, bug)
    with pytest.raises(type(bug)):
        main(["demo"])


def test_all_our_errors_have_a_base_that_is_caught():
    for root, base in (("hpe", HpeError), ("export", ExportError), ("pruning", PruningError)):
        package = importlib.import_module(root)
        for found in pkgutil.walk_packages(package.__path__, f"{root}."):
            if found.name.endswith("__main__") or found.name == "export.convert.worker":
                continue
            for value in vars(importlib.import_module(found.name)).values():
                ours = inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == found.name
                assert not ours or issubclass(value, (base, OSError)) or value.__name__ in CARRIERS, value


def test_errors_are_explained_where_there_is_no_torch(tmp_path):
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'timm', 'torch_pruning', 'tensorflow', 'onnx'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from hpe.cli.main import main; main(sys.argv[1:])"
    )
    for words, message in ((["footprint", "absent.tflite"], "absent.tflite"), (["export", "b0", "--out", "o"], "'.[")):
        done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert message in done.stderr


def test_windows_is_told_what_is_supported(capsys, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    code, _, err = run(capsys, "models")
    assert code == 2
    assert "Linux and macOS are supported" in err


def test_no_name_of_the_parser_is_in_a_message(capsys):
    for arguments in (["prune", "b0", "--method", "channel", "--final-sparsity", "1.5"], ["train", "--lr", "-1"]):
        code, _, err = run(capsys, *arguments, "--data", "csv:x", "--out", "o")
        assert code == 2
        assert err.startswith(f"hpe: {arguments[-2]} is {float(arguments[-1])}; it must")
    code, _, err = run(capsys, "prune", "b0", "--out", "o", "--data", "csv:x", "--methd", "channel")
    assert code == 2
    assert "hpe prune --help" in err
    assert "tyro" not in err


def test_a_closed_pipe_ends_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "hpe.cli", "models"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to /dev/full")
@pytest.mark.parametrize("words", [["models"], ["--help"]])
def test_a_full_standard_output_is_one_message(words):
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        line = [sys.executable, "-m", "hpe.cli", *words]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert (done.returncode, done.stderr) == (2, "hpe: standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "absent", "--data", "csv:x"], "absent: no such model"),
        (["evaluate", __file__, "--data", TINY_DATA], "not a model this program knows"),
        (["train", "--data", "csv:absent", "--out", "o"], "absent"),
        (["train", "--data", "png:absent", "--out", "o"], "no data specification"),
        (["train", "--data", TINY_DATA, "--out", "o", "--epochs", "0"], "--epochs"),
        (["report", "absent", "--out", "o"], "no result.json"),
        (["export", "absent"], "absent: no such run"),
        (["bench", "absent.tflite"], "absent.tflite"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []  # a failed command leaves nothing
