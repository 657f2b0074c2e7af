"""Specifications, the csv reader and the cache."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hpe.data import cache
from hpe.data.crop import crop_face
from hpe.data.faces import DataError, Faces, Part, check_data, load_faces, parse_spec
from hpe.data.sources import items as readers
from hpe.io import files
from hpe.synthetic import render
from tests.face_files import csv_rows, picture, write_csv_folder, write_mat_pair

FACES = Path(__file__).resolve().parents[4] / "shared" / "data" / "faces"


def test_specifications():
    assert parse_spec("csv:a/b@train") == [Part("csv", Path("a/b"), "train")]
    assert parse_spec("300w-lp:x+aflw2000:y") == [Part("300w-lp", Path("x")), Part("aflw2000", Path("y"))]
    mixed = parse_spec("csv:with+plus@val+synthetic:easy:12:7")
    assert mixed == [Part("csv", Path("with+plus"), "val"), Part("synthetic", preset="easy", count=12, seed=7)]
    assert parse_spec("csv:me@home/faces") == [Part("csv", Path("me@home/faces"))]
    assert parse_spec("csv:me@home/faces@test") == [Part("csv", Path("me@home/faces"), "test")]
    assert [str(part) for part in mixed] == ["csv:with+plus@val", "synthetic:easy:12:7"]


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("", "no data specification"),
        ("faces", "no data specification"),
        ("csv:", "no data specification"),
        ("png:folder", "no data specification"),
        ("csv:a@", "name the split"),
        ("synthetic:easy", "COUNT"),
        ("synthetic:easy:many", "COUNT"),
        ("synthetic:easy:-3", "COUNT"),
        ("synthetic:easy:0", "between 1 and"),
        ("synthetic:strange:5", "choose from"),
        ("synthetic:easy:5:1:2", "COUNT"),
    ],
)
def test_a_wrong_specification_says_what_to_write(spec, what):
    with pytest.raises(DataError, match=what):
        parse_spec(spec)


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=30))
def test_no_text_breaks_the_parser(text):
    for spec in (text, f"csv:{text}", f"synthetic:{text}"):
        try:
            assert parse_spec(spec)
        except DataError as error:
            assert str(error)  # noqa: PT017 - the point is that nothing else is raised


def test_csv_faces(tmp_path):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(3, person="p", spread=1.5))
    (folder / "dataset.json").write_text('{"central_crop": 0.8}')
    faces = load_faces(f"csv:{folder}")
    assert isinstance(faces, Faces)
    assert len(faces) == 3
    assert faces.images.dtype == np.uint8
    np.testing.assert_array_equal(faces.images[1], np.asarray(picture(1, (80, 80))))
    np.testing.assert_array_equal(faces.pose_deg, [[0, 0, 0], [1, -1, 0.5], [2, -2, 1]])
    assert faces.pose_deg.dtype == np.float32
    assert faces.ids == ["000.png", "001.png", "002.png"]
    np.testing.assert_array_equal(faces.extra["spread"], [1.5] * 3)
    assert faces.extra["person"].tolist() == ["p"] * 3
    assert (faces.dropped, faces.skipped) == (0, 0)


def test_csv_splits(tmp_path):
    rows = csv_rows(4)
    for row, split in zip(rows, ("train", "val", "train", ""), strict=True):
        row["split"] = split
    folder = write_csv_folder(tmp_path / "faces", rows)
    assert load_faces(f"csv:{folder}@train").ids == ["000.png", "002.png"]
    assert load_faces(f"csv:{folder}@val").ids == ["001.png"]
    assert len(load_faces(f"csv:{folder}")) == 4


def test_a_csv_box_is_cropped_by_the_rule_and_a_row_without_one_is_a_crop(tmp_path):
    rows = csv_rows(2)
    rows[0] |= {"x0": 40, "y0": 30, "x1": 80, "y1": 70}
    folder = write_csv_folder(tmp_path / "faces", rows, size=(120, 100))
    faces = load_faces(f"csv:{folder}")
    np.testing.assert_array_equal(faces.images[0], crop_face(picture(0, (120, 100)), (40, 30, 80, 70)))
    plain = np.asarray(picture(1, (120, 100)).resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(faces.images[1, 8:72, 8:72], plain)


def test_a_spreadsheets_byte_order_mark_and_spaces_are_no_obstacle(tmp_path):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(1))
    (folder / "labels.csv").write_text("\ufefffile,yaw,pitch,roll\n000.png, 5 ,-6,7\n", encoding="utf-8")
    np.testing.assert_array_equal(load_faces(f"csv:{folder}").pose_deg, [[5, -6, 7]])


def test_every_bad_row_is_listed_with_its_line(tmp_path):
    rows = csv_rows(9)
    rows[1]["yaw"] = "left"
    rows[2]["pitch"] = ""
    rows[3]["roll"] = "nan"
    rows[4]["yaw"] = 1000
    rows[5] |= {"x0": 1, "y0": 2, "x1": "", "y1": 4}
    rows[6] |= {"x0": 50, "y0": 2, "x1": 4, "y1": 4}
    folder = write_csv_folder(tmp_path / "faces", rows)
    (folder / "007.png").unlink()
    (folder / "008.png").write_bytes((folder / "008.png").read_bytes()[:200])
    labels = folder / "labels.csv"
    labels.write_text(labels.read_text() + ",1,2,3\n../elsewhere.png,1,2,3\n")
    faults = {fault.source: str(fault) for fault in check_data(f"csv:{folder}")}
    expected = {
        3: "yaw is 'left'",
        4: "pitch is ''",
        5: "roll is 'nan'",
        6: "beyond 180",
        7: "face box",
        8: "inside out",
        9: "is missing",
        10: "cannot be decoded",
        11: "file is empty",
        12: "is missing",
    }
    assert {int(source.rpartition(" ")[2]) for source in faults} == set(expected)
    for line, what in expected.items():
        assert what in faults[f"{labels}, line {line}"]
    with pytest.raises(DataError, match="10 samples cannot be used") as refusal:
        load_faces(f"csv:{folder}")
    assert "--skip-bad" in str(refusal.value)
    assert "and 5 more" in str(refusal.value)
    faces = load_faces(f"csv:{folder}", skip_bad=True)
    assert (faces.ids, faces.skipped) == (["000.png"], 10)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "column file, yaw, pitch, roll is missing"),
        ("file,yaw,pitch\n", "column roll is missing"),
        ("file,yaw,pitch,roll\n", "no rows"),
        ("file,yaw,pitch,roll,x0,y0\n", "all of the columns"),
        ("file,yaw,pitch,roll\n\x00", "no rows|csv"),
    ],
)
def test_a_labels_file_that_is_none(tmp_path, text, what):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=what):
        load_faces(f"csv:{tmp_path}")
    assert len(check_data(f"csv:{tmp_path}")) == 1


def test_a_labels_file_of_bytes(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00\x80" * 10)
    with pytest.raises(DataError, match="cannot be read as csv"):
        load_faces(f"csv:{tmp_path}")


@pytest.mark.parametrize("text", ["[]", "{", '{"central_crop": "all"}', '{"central_crop": 0}', '{"central_crop": 2}'])
def test_a_wrong_dataset_json_is_named(tmp_path, text):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(1))
    (folder / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json"):
        load_faces(f"csv:{folder}")


def test_nothing_usable_left_is_said(tmp_path):
    rows = csv_rows(2)
    rows[0]["yaw"], rows[1]["yaw"] = 120, "x"
    folder = write_csv_folder(tmp_path / "faces", rows)
    with pytest.raises(DataError, match="no usable sample is left"):
        load_faces(f"csv:{folder}", skip_bad=True)


def test_synthetic_faces_are_the_renderers():
    faces = load_faces("synthetic:easy:3:11")
    images, pose_deg = render(np.arange(3), 11, "easy", size=64, margin=8)
    np.testing.assert_array_equal(faces.images, images)
    np.testing.assert_allclose(faces.pose_deg, pose_deg, atol=1e-6)
    assert faces.ids[2] == "synthetic:easy:11:2"


def test_a_mixture_joins_its_parts(tmp_path):
    folder = write_csv_folder(tmp_path / "csv", csv_rows(2, spread=2.0, person="p"))
    write_mat_pair(tmp_path / "mat", "a", (1.0, 2.0, 3.0))
    faces = load_faces(f"csv:{folder}+aflw2000:{tmp_path / 'mat'}+synthetic:easy:1:11")
    assert faces.ids == ["000.png", "001.png", "a.jpg", "synthetic:easy:11:0"]
    assert len(faces.images) == len(faces.pose_deg) == 4
    np.testing.assert_array_equal(faces.extra["spread"], [2, 2, np.nan, np.nan])
    assert faces.extra["person"].tolist() == ["p", "p", "", ""]


@pytest.mark.skipif(not FACES.is_dir(), reason=f"needs the real faces in {FACES}")
def test_the_real_faces():
    faces = load_faces(f"csv:{FACES}@test")
    assert len(faces) == 285
    with Image.open(FACES / faces.ids[7]) as image:
        np.testing.assert_array_equal(faces.images[7], np.asarray(image))
    assert np.abs(faces.pose_deg).max() <= 99


class Interrupted(Exception):
    pass


def counted(source: readers.Source, fail_after: int = 10**9, chunk: int = 2) -> tuple[readers.Source, list[int]]:
    """The source with small chunks, and a list that grows with each chunk that is read."""
    calls: list[int] = []

    def read(items):
        if len(calls) >= fail_after:
            raise Interrupted
        calls.append(len(items))
        return source.read(items)

    return replace(source, read=read, chunk=chunk), calls


@pytest.fixture
def source(tmp_path):
    """Eight csv faces; their number of chunks (4) is too small for a pool."""
    folder = write_csv_folder(tmp_path / "faces", csv_rows(8))
    return readers.list_source(Part("csv", folder))


def test_the_cache_is_read_once_and_memory_mapped(tmp_path, source):
    first, calls = counted(source)
    built = cache.open_or_build(tmp_path / "cache", "csv:x", first, 99)
    assert calls == [2, 2, 2, 2]
    again, calls = counted(source)
    opened = cache.open_or_build(tmp_path / "cache", "csv:x", again, 99)
    assert calls == []
    assert isinstance(opened.images, np.memmap)
    np.testing.assert_array_equal(built.images, opened.images)
    assert built.ids == opened.ids


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path, source):
    whole = cache.open_or_build(tmp_path / "whole", "csv:x", counted(source)[0], 99)
    broken, calls = counted(source, fail_after=3)
    with pytest.raises(Interrupted):
        cache.open_or_build(tmp_path / "cache", "csv:x", broken, 99)
    assert len(calls) == 3
    (journal,) = (tmp_path / "cache").glob("*.partial/journal.jsonl")
    journal.write_text(journal.read_text()[:-20])  # the last line was cut short as well: that chunk is read again
    resumed, calls = counted(source)
    cached = cache.open_or_build(tmp_path / "cache", "csv:x", resumed, 99)
    assert len(calls) == 2
    np.testing.assert_array_equal(cached.images, whole.images)
    np.testing.assert_array_equal(cached.pose_deg, whole.pose_deg)
    assert cached.ids == whole.ids
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_a_damaged_cache_is_built_again(tmp_path, source):
    cache.open_or_build(tmp_path / "cache", "csv:x", source, 99)
    (images,) = (tmp_path / "cache").glob("*/images.npy")
    images.write_bytes(images.read_bytes()[:5000])
    again, calls = counted(source, chunk=source.chunk)
    assert len(cache.open_or_build(tmp_path / "cache", "csv:x", again, 99).images) == 8
    assert calls


def test_changed_data_are_read_again_and_the_old_cache_goes(tmp_path):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(3))
    spec, cache_dir = f"csv:{folder}", tmp_path / "cache"
    before = load_faces(spec, cache_dir=cache_dir)
    picture(99, (80, 80)).save(folder / "001.png")
    later = time.time_ns() + 10**9
    os.utime(folder / "001.png", ns=(later, later))
    after = load_faces(spec, cache_dir=cache_dir)
    assert (before.images[1] != after.images[1]).any()
    assert (before.images[0] == after.images[0]).all()
    write_csv_folder(folder, csv_rows(4))
    assert len(load_faces(spec, cache_dir=cache_dir)) == 4
    assert len(list(cache_dir.glob("csv-*/meta.json"))) == 1


def test_processes_read_the_same_as_one(tmp_path, source):
    alone = cache.open_or_build(tmp_path / "alone", "csv:x", source, 99)
    parallel = cache.open_or_build(tmp_path / "pool", "csv:x", replace(source, chunk=1), 99)
    np.testing.assert_array_equal(alone.images, parallel.images)
    np.testing.assert_array_equal(alone.pose_deg, parallel.pose_deg)
    assert alone.ids == parallel.ids


def test_a_script_without_a_guard_is_told_so_instead_of_waiting_for_itself(tmp_path, source):
    script = tmp_path / "script.py"
    script.write_text(
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from hpe.data import cache\n"
        "from hpe.data.sources import items\n"
        "from hpe.data.faces import Part\n"
        f"source = replace(items.list_source(Part('csv', Path({str(tmp_path / 'faces')!r}))), chunk=1)\n"
        f"cache.open_or_build(Path({str(tmp_path / 'cache')!r}), 'csv:x', source, 99)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cache.__file__).parents[2])}
    ended = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "`if __name__ == '__main__':`" in ended.stderr.splitlines()[-1]


def test_a_cache_folder_that_cannot_be_is_named(tmp_path, source):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="HPE_CACHE"):
        cache.open_or_build(tmp_path / "file" / "cache", "csv:x", source, 99)


def test_the_cache_lies_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HPE_CACHE", str(tmp_path / "here"))
    assert files.default_cache_dir() == tmp_path / "here"
    monkeypatch.delenv("HPE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.default_cache_dir() == tmp_path / ".cache" / "hpe"


def test_training_may_take_the_images_as_tensors(tmp_path, source):
    """No warning about arrays that cannot be written: the mapping is copy-on-write, and the file stays as it is."""
    torch = pytest.importorskip("torch")
    images = cache.open_or_build(tmp_path / "cache", "csv:x", source, 99).images
    before = images[0].copy()
    torch.from_numpy(images)[0] = 0
    np.testing.assert_array_equal(cache.open_or_build(tmp_path / "cache", "csv:x", source, 99).images[0], before)
