import errno
import json
import os
import subprocess
import sys

import pytest

from hpe.io import files
from hpe.io.errors import FileError
from hpe.io.files import held, merge_result, note_result, read_json, write_csv, write_json


def test_json_refuses_nan_and_names_a_damaged_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    (tmp_path / "b.json").write_text('{"half": ')
    with pytest.raises(ValueError, match=r"b\.json: not valid JSON"):
        read_json(tmp_path / "b.json")


def test_merge_keeps_other_entries(tmp_path):
    merge_result(tmp_path, "files", {"a": 1})
    merge_result(tmp_path, "files", {"b": 2})
    merge_result(tmp_path, "latency", {"a": 3})
    assert json.loads((tmp_path / "result.json").read_text()) == {"files": {"a": 1, "b": 2}, "latency": {"a": 3}}


def test_processes_that_merge_at_once_lose_nothing(tmp_path):
    code = (
        "import sys\n"
        "from hpe.io.files import merge_result\n"
        "for i in range(15):\n"
        "    merge_result(sys.argv[1], 'files', {f'{sys.argv[2]}-{i}': i})\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, tmp_path, str(n)]) for n in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    assert len(read_json(tmp_path / "result.json")["files"]) == 60
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(("text", "what"), [("[]", "the file"), ('{"files": 3}', "'files'"), ("{", "not valid JSON")])
def test_a_result_of_another_kind_is_named_and_kept(tmp_path, text, what):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(FileError, match=what):
        merge_result(tmp_path, "files", {"a": 1})
    assert (tmp_path / "result.json").read_text() == text


def test_a_note_that_cannot_be_written_is_a_line(tmp_path, monkeypatch, capsys):
    path = tmp_path / "result.json"
    note_result(tmp_path, "files", {"a": 1})
    assert read_json(path) == {"files": {"a": 1}}
    path.write_text("[]")
    note_result(tmp_path, "files", {"a": 2})
    what = f"hpe: not noted in {path} ("
    assert capsys.readouterr().err.startswith(f"{what}the file is no JSON object; ")

    def full(path, value):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(files, "write_json", full)
    path.write_text("{}")
    note_result(tmp_path, "files", {"a": 2})
    assert capsys.readouterr().err == f"{what}Read-only file system)\n"


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", tmp_path):
        with pytest.raises(FileError, match="not a file") as caught:
            read_json(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_csv_has_a_header_and_one_line_a_row(tmp_path):
    path = write_csv(tmp_path / "t.csv", [{"a": 1, "b": "x,y"}, {"a": 2, "b": ""}])
    assert path.read_text() == 'a,b\n1,"x,y"\n2,\n'


def test_csv_of_unequal_rows_leaves_gaps(tmp_path):
    path = write_csv(tmp_path / "t.csv", [{"a": 1}, {"b": 2, "a": 3}])
    assert path.read_text() == "a,b\n1,\n3,2\n"


def test_one_at_a_time_holds_a_lock_and_a_killed_one_holds_none(tmp_path):
    lock = tmp_path / "run" / ".training"
    with held(lock, "taken"):
        with pytest.raises(FileError, match="taken"), held(lock, "taken"):
            pytest.fail("held twice")
        assert lock.exists()
    assert list(lock.parent.iterdir()) == []
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom hpe.io.files import held\n"
        "with held(Path(sys.argv[1]), ''): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(lock)]).returncode == 9
    assert lock.exists()
    with held(lock, "taken"):
        pass
    assert not lock.exists()
