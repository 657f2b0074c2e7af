"""Specifications, the csv reader and the cache."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hpe.data.faces import DataError, Faces, Part, check_data, load_faces, parse_spec, prepare
from hpe.inference.predictor import read_image
from hpe.pose.crop import crop_face
from hpe.synthetic import render
from tests.face_files import csv_rows, picture, png, write_csv_folder, write_mat_pair

FACES = Path(__file__).resolve().parents[4] / "shared" / "data" / "faces"


def test_specifications():
    assert parse_spec("csv:a/b@train") == [Part("csv", Path("a/b"), "train")]
    assert parse_spec("300w-lp:x+aflw2000:y") == [Part("300w-lp", Path("x")), Part("aflw2000", Path("y"))]
    mixed = parse_spec("csv:with+plus@val+synthetic:easy:12:7")
    assert mixed == [Part("csv", Path("with+plus"), "val"), Part("synthetic", preset="easy", count=12, seed=7)]
    assert parse_spec("csv:me@home/faces") == [Part("csv", Path("me@home/faces"))]
    assert parse_spec("csv:me@home/faces@test") == [Part("csv", Path("me@home/faces"), "test")]
    assert parse_spec("csv:me@home/") == [Part("csv", Path("me@home"))]
    assert [str(part) for part in mixed] == ["csv:with+plus@val", "synthetic:easy:12:7"]


def test_a_folder_whose_name_holds_an_at_sign_or_a_plus(tmp_path):
    folder = write_csv_folder(tmp_path / "a+b@home+1", csv_rows(2, split="val"))
    for spec in (f"csv:{folder}", f"csv:{folder}/", f"csv:{folder}@val", f"csv:{folder}+synthetic:easy:1:11"):
        assert len(load_faces(spec)) == 2 + ("synthetic" in spec)
        assert parse_spec("+".join(str(part) for part in parse_spec(spec))) == parse_spec(spec)
    write_csv_folder(tmp_path / "a+b", csv_rows(1, split="home+1"))
    assert len(load_faces(f"csv:{folder}")) == 1  # two meanings: the split of a folder that is there
    assert len(load_faces(f"csv:{folder}/")) == 2


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("", "no data specification"),
        ("faces", "no data specification"),
        ("csv:", "no data specification"),
        ("png:folder", "no data specification"),
        ("csv:a@", "name the split"),
        ("csv:~nobody-of-that-name/a", "no user"),
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


def test_blanks_in_the_header_are_no_obstacle(tmp_path):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(2))
    (folder / "labels.csv").write_text("file , yaw, pitch ,\troll, split\n000.png,5,-6,7,train\n001.png,1,2,3, val \n")
    assert load_faces(f"csv:{folder}@val").pose_deg.tolist() == [[1, 2, 3]]
    assert load_faces(f"csv:{folder}").pose_deg.tolist() == [[5, -6, 7], [1, 2, 3]]


def test_decimal_commas_give_no_wrong_labels(tmp_path):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(3))
    rows = "000.png,1,5,2,5,3,5\n001.png,1,2,3,,\n002.png,1.5,2.5,3.5,4\n"
    (folder / "labels.csv").write_text("file,yaw,pitch,roll\n" + rows)
    faults = check_data(f"csv:{folder}")
    assert [fault.source[-1] for fault in faults] == ["2", "4"]
    assert "7 cells under 4 columns" in faults[0].what
    assert load_faces(f"csv:{folder}", skip_bad=True).ids == ["001.png"]  # blank cells at the end are nothing
    (folder / "labels.csv").write_text("file,yaw,pitch,roll,split\n000.png,1,5,2,3,val\n001.png,1,2,3,val\n")
    with pytest.raises(DataError, match="6 cells under 5 columns"):  # and not left out as of split 3
        load_faces(f"csv:{folder}@val")


@pytest.mark.parametrize("header", ["file,yaw,pitch,roll,yaw", "file,yaw,pitch,roll, yaw "])
def test_a_doubled_column_is_refused(tmp_path, header):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(1))
    (folder / "labels.csv").write_text(f"{header}\n000.png,1,2,3,40\n")
    with pytest.raises(DataError, match="yaw more than once"):
        load_faces(f"csv:{folder}")


def test_every_bad_row_is_listed_with_its_line(tmp_path):
    rows = csv_rows(9)
    rows[1]["yaw"] = "1_5"  # 15 to Python
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
        3: "yaw is '1_5'",
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


@pytest.mark.parametrize("name", ["labels.csv", "dataset.json"])
def test_a_pipe_in_place_of_a_list_does_not_hang(tmp_path, name):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(1))
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(DataError, match="not a file"):
        load_faces(f"csv:{folder}")


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


def test_of_a_count_of_faces_nothing_was_left_out(tmp_path):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(6))
    (folder / "001.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1 sample cannot be used"):
        load_faces(f"csv:{folder}#3")
    some, both = load_faces(f"csv:{folder}#3", skip_bad=True), load_faces(f"csv:{folder}#3+csv:{folder}", skip_bad=True)
    assert (len(some), some.skipped, some.dropped) == (3, 0, 0)
    assert (len(both), both.skipped, both.dropped) == (3 + 5, 1, 0)
    (told,) = prepare(f"csv:{folder}#3")
    assert (told.spec, told.samples, len(told.faults)) == (f"csv:{folder}#3", 3, 1)  # what is wrong is the folder's
    with pytest.raises(DataError, match="there are 5 usable samples"):
        prepare(f"csv:{folder}#6")


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
    assert len(faces) == 284
    with Image.open(FACES / faces.ids[7]) as image:
        np.testing.assert_array_equal(faces.images[7], np.asarray(image))
    assert np.abs(faces.pose_deg).max() <= 99


def test_training_and_prediction_see_the_same_picture(tmp_path):
    """A photo that a phone noted as turned, and one of 16-bit grey values (which used to turn white)."""
    folder = write_csv_folder(tmp_path / "faces", csv_rows(2), size=(64, 64))
    upright, exif = picture(5, (64, 64)), Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "000.png", exif=exif)
    grey = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(grey).save(folder / "001.png")
    crops = load_faces(f"csv:{folder}").images[:, 8:72, 8:72]
    np.testing.assert_array_equal(crops[0], np.asarray(upright))
    np.testing.assert_array_equal(crops[1, :, :, 1], np.rint(grey / 257))
    for row in range(2):
        np.testing.assert_array_equal(crops[row], read_image(folder / f"{row:03d}.png"))


def test_an_image_that_hangs_or_fills_the_memory_is_a_bad_sample(tmp_path):
    folder = write_csv_folder(tmp_path / "faces", csv_rows(4))
    (folder / "000.png").write_bytes(png(9999, 9999, (b"IDAT", zlib.compress(b""))))
    for row, make in ((1, os.mkfifo), (2, os.mkdir)):
        (folder / f"{row:03d}.png").unlink()
        make(folder / f"{row:03d}.png")
    assert load_faces(f"csv:{folder}", skip_bad=True).ids == ["003.png"]
    whats = [fault.what for fault in check_data(f"csv:{folder}")]
    for what, expected in zip(whats, ("cannot hold the 9999x9999", "not a file", "not a file"), strict=True):
        assert expected in what
