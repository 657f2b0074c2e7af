import json

import pytest

from hpe.io.files import merge_result, read_json, write_csv, write_json, write_whole


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = write_json(tmp_path / "a.json", {"old": 1})

    def broken(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, broken)
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


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


def test_csv_has_a_header_and_one_line_a_row(tmp_path):
    path = write_csv(tmp_path / "t.csv", [{"a": 1, "b": "x,y"}, {"a": 2, "b": ""}])
    assert path.read_text() == 'a,b\n1,"x,y"\n2,\n'


def test_csv_of_unequal_rows_leaves_gaps(tmp_path):
    path = write_csv(tmp_path / "t.csv", [{"a": 1}, {"b": 2, "a": 3}])
    assert path.read_text() == "a,b\n1,\n3,2\n"
