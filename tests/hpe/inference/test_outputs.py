"""What predict writes: nothing of the user's is overwritten, and no row is lost however the call ends."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpe.cli.main import main
from hpe.inference.app import PredictOptions, run_predict
from hpe.inference.outputs import COLUMNS, STANDARD_OUTPUT, DrawnNames, OutputError, RowFile, save_drawn, shown
from tests.drawn_faces import MODEL, picture

ROOT = Path(__file__).resolve().parents[3]


def run(capsys, *arguments):
    try:
        main(["predict", *[str(argument) for argument in arguments], "--model", str(MODEL)])
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    output = capsys.readouterr()
    return code, output.out, output.err


def crop(path: Path) -> Path:
    Image.fromarray(picture((0, 0, 64), size=(64, 64))).save(path)
    return path


def row(number: int) -> dict:
    return dict.fromkeys(COLUMNS, number)


# Names


def test_a_picture_in_the_folder_of_drawings_is_never_overwritten(capsys, tmp_path):
    source, other = crop(tmp_path / "a.png"), crop(tmp_path / "b.png")
    Image.fromarray(picture((0, 0, 64), size=(64, 64))).save(tmp_path / "b.jpg")
    before = source.read_bytes(), other.read_bytes()
    code, out, _ = run(capsys, source, tmp_path / "b.jpg", "--crops", "--draw", tmp_path)
    assert code == 0
    assert (source.read_bytes(), other.read_bytes()) == before  # b.png is no source, and was not drawn by us
    assert "a.png: drawn as" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.png.png", "b.jpg", "b.jpg.png", "b.png"]


def test_outputs_of_equal_stems_have_names_of_their_own(tmp_path):
    for folder in ("x", "y", "z"):
        (tmp_path / folder).mkdir()
        crop(tmp_path / folder / "a.png")
    sources = [tmp_path / folder / "a.png" for folder in ("x", "y", "z")]
    options = PredictOptions(crops=True, draw=tmp_path / "out")
    lines = []
    for _ in range(2):  # the second call writes over what the first one drew, and nothing more
        assert run_predict(MODEL, sources, options=options, report=lines.append).rows == 3
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.png", "a.png", "a.png.png"]
    assert sum("drawn as" in line for line in lines) == 4


def test_names_that_are_free(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"mine")
    crop(tmp_path / "photo.png")
    save_drawn(Image.new("RGB", (4, 4)), tmp_path / "drawn.png")
    save_drawn(Image.new("RGB", (4, 4)), tmp_path / "source.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "drawn.png")
    (tmp_path / "folder.png").mkdir()
    names = DrawnNames(tmp_path, [tmp_path / "source.png"])
    expected = {"photo.jpg": "photo.jpg.png", "drawn.jpg": "drawn.png", "source.png": "source.png.png"}
    expected |= {"link.jpg": "link.jpg.png", "folder.jpg": "folder.jpg.png", "DRAWN.jpg": "DRAWN.jpg.png"}
    for source, name in expected.items():
        assert names.choose(Path(source), ".png").name == name
    assert names.choose(Path("camera-0"), ".mp4").name == "camera-0.mp4"
    (tmp_path / "camera-0.mp4").touch()
    assert DrawnNames(tmp_path, []).choose(Path("camera-0"), ".mp4").name == "camera-0-2.mp4"
    assert names.choose(Path("clip.avi"), ".mp4").name == "clip.avi.mp4"
    with pytest.raises(OutputError, match="this is a file; give a folder"):
        DrawnNames(tmp_path / "clip.mp4", [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--csv", "a.png"], "--csv a.png would overwrite a.png, which is read"),
        (["--json", "link.png"], "--json link.png would overwrite a.png, which is read"),
        (["--boxes", "b.csv", "--jsonl", "b.csv"], "--jsonl b.csv would overwrite b.csv, which is read"),
        (["--csv", "r", "--json", "./r"], "--json r would overwrite what --csv writes"),
        (["--csv", "-", "--jsonl", "-"], "--jsonl - would overwrite what --csv writes"),
        (["--json", "-"], "--json - is no file; --jsonl - writes faces to standard output"),
        (["--json", "b.csv/out.json"], "--json b.csv/out.json: cannot be written (File exists); give another name"),
        (["--json", "pipe"], "--json pipe: cannot be written (it is a folder, a pipe or a device, not a file)"),
        (
            ["--json", "."],
            "--json .: cannot be written (it is a folder, a pipe or a device, not a file); give another name",
        ),
    ],
)
def test_a_table_over_an_input_or_another_table_is_refused(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    crop(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "b.csv").write_text("file,x,y,w,h\na.png,0,0,64,64\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    os.mkfifo(tmp_path / "pipe")
    code, out, err = run(capsys, "a.png", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    (tmp_path / "pipe").unlink()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_names_with_line_breaks_stay_on_one_line(capsys, tmp_path):
    odd = crop(tmp_path / "two\nlines\x1b[31m.png")
    (tmp_path / "bad\n.jpg").write_text("no picture")
    code, out, err = run(capsys, odd, tmp_path / "bad\n.jpg", "--crops", "--csv", tmp_path / "rows.csv")
    assert code == 1
    assert (len(out.splitlines()), len(err.splitlines())) == (1, 1)
    assert "two\\nlines\\x1b[31m.png: yaw" in out
    with (tmp_path / "rows.csv").open(newline="") as stream:
        assert [line["source"] for line in csv.DictReader(stream)] == [str(odd)]
    assert shown("\udcff") == "\\udcff"


def test_a_name_that_is_no_unicode(capsys, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.png"
    try:
        Path(os.fsdecode(path)).touch()
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    crop(tmp_path / "a.png").rename(os.fsdecode(path))
    outputs = ["--csv", tmp_path / "r.csv", "--jsonl", tmp_path / "r.jsonl"]
    code, out, err = run(capsys, os.fsdecode(path), "--crops", *outputs)
    assert (code, err) == (0, "")
    assert "\\udcff.png: yaw" in out
    assert "\\udcff.png" in (tmp_path / "r.csv").read_text()


# Rows


def test_rows_are_there_as_soon_as_they_are_written(tmp_path):
    with RowFile(tmp_path / "r.csv", as_json=False) as table, RowFile(tmp_path / "r.jsonl", as_json=True) as lines:
        for number in range(3):
            table.write(row(number))
            lines.write(row(number))
            assert (tmp_path / "r.csv").read_text().count("\n") == number + 2
            assert json.loads((tmp_path / "r.jsonl").read_text().splitlines()[-1]) == row(number)


def test_a_call_that_fails_leaves_an_older_table_alone(capsys, tmp_path):
    crop(tmp_path / "a.png")
    (tmp_path / "r.csv").write_text("old")
    with pytest.raises(SystemExit):
        main(["predict", str(tmp_path / "a.png"), "--model", "absent.tflite", "--csv", str(tmp_path / "r.csv")])
    assert (tmp_path / "r.csv").read_text() == "old"
    with RowFile(tmp_path / "r.csv", as_json=False):
        pass  # no face anywhere is a result, too
    assert (tmp_path / "r.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_rows_on_standard_output_are_alone_there(capsys, tmp_path):
    crop(tmp_path / "a.png")
    code, out, err = run(capsys, tmp_path / "a.png", "--crops", "--csv", "-")
    assert (code, len(out.splitlines())) == (0, 2)
    assert next(csv.DictReader(out.splitlines()))["face"] == "0"
    assert "a.png: yaw" in err
    code, out, _ = run(capsys, tmp_path / "a.png", "--crops", "--jsonl", "-")
    assert json.loads(out).keys() == set(COLUMNS)


def test_a_full_disk_leaves_whole_rows(tmp_path):
    """A child that may write 2,000 bytes into a file: the system refuses the rest, as a full disk does."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from hpe.inference.outputs import COLUMNS, RowFile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "with RowFile(Path(sys.argv[1]), sys.argv[1].endswith('l')) as rows:\n"
        "    for number in range(1000):\n"
        "        rows.write(dict.fromkeys(COLUMNS, number))\n"
    )
    for name in ("r.csv", "r.jsonl"):
        done = subprocess.run([sys.executable, "-c", code, tmp_path / name], capture_output=True, text=True, cwd=ROOT)
        assert "OutputError" in done.stderr
        assert f"{name}: File too large; the rows up to here are whole" in done.stderr
        text = (tmp_path / name).read_text()
        assert 1500 < len(text) <= 2000
        assert text.endswith("\n")
        last = text.splitlines()[-1]
        number = json.loads(last)["face"] if name == "r.jsonl" else int(last.split(",")[0])
        assert number == text.count("\n") - (1 if name == "r.jsonl" else 2)


def test_a_table_that_cannot_be_written_ends_the_call_with_a_message(capsys, tmp_path):
    crop(tmp_path / "a.png")
    code, _, err = run(capsys, tmp_path / "a.png", "--crops", "--csv", tmp_path)
    assert code == 2
    assert "cannot be written (Is a directory)" in err
    if Path("/dev/full").exists():
        code, _, err = run(capsys, tmp_path / "a.png", "--crops", "--csv", "/dev/full")
        assert code == 2
        assert "/dev/full: No space left on device" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to /dev/full")
def test_a_full_standard_output_costs_no_other_output(tmp_path):
    crop(tmp_path / "a.png")
    lost = "standard output: No space left on device"
    rows, lines = (["--csv", "-"], 2, f"{lost}; its last row may be cut"), ([], 1, lost)
    for flags, code, message in (rows, lines):
        words = ["a.png", "--crops", *flags, "--json", "r.json", "--model", str(MODEL)]
        line = [sys.executable, "-m", "hpe.cli", "predict", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
        with open("/dev/full", "w") as full:
            done = subprocess.run(line, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
        assert done.returncode == code
        assert done.stderr.endswith(f"hpe: {message}\n")  # LiteRT says something before
        assert "Exception" not in done.stderr
        result = json.loads((tmp_path / "r.json").read_text())
        assert (len(result["faces"]), result["faults"]) == (1, [message])


def test_a_reader_that_has_enough_of_standard_output_is_no_error_of_ours(monkeypatch):
    def closed(text):
        raise BrokenPipeError

    monkeypatch.setattr(sys.stdout, "write", closed)
    with pytest.raises(BrokenPipeError), RowFile(STANDARD_OUTPUT, as_json=True) as rows:
        rows.write(row(0))


def test_faults_are_told_also_where_the_json_cannot_be_written(capsys, tmp_path, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("hpe.cli.predict.write_result", full)
    code, _, err = run(capsys, crop(tmp_path / "a.png"), tmp_path / "absent.png", "--crops", "--json", tmp_path / "r")
    assert (code, len(err.splitlines())) == (2, 2)
    assert "absent.png: no such file" in err
    assert f"{tmp_path / 'r'}: No space left on device" in err


def test_reference_kernels_are_those_of_a_board(capsys, tmp_path):
    from export.run.runtime import load_runtime
    from hpe.inference.predictor import load_predictor
    from hpe.model.preprocess import preprocess

    pixels = picture((0, 0, 64), size=(64, 64))
    expected = load_runtime(MODEL, reference_kernels=True)(preprocess(pixels[None]))
    np.testing.assert_array_equal(load_predictor(MODEL, engine="reference")(pixels[None]), expected)
    rows = ["--jsonl", tmp_path / "r.jsonl"]
    assert run(capsys, crop(tmp_path / "a.png"), "--crops", "--reference", *rows)[0] == 0
    (line,) = (json.loads(text) for text in (tmp_path / "r.jsonl").read_text().splitlines())
    assert [line["yaw_deg"], line["pitch_deg"], line["roll_deg"]] == pytest.approx(expected[0], abs=0.005)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ValueError, match=r"engine reference is for \.tflite files"):
        load_predictor(tmp_path / "model.onnx", engine="reference")
