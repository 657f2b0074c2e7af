"""`hpe predict` over pictures, folders, videos and cameras: what is written, and what is said of bad input."""

import csv
import json
import signal

import numpy as np
import pytest
from PIL import Image

from hpe.cli.main import main
from hpe.inference import detector
from hpe.inference.app import PredictOptions, run_predict
from hpe.inference.sources import PATIENCE, SourceError, parse_box, read_boxes, video_frames
from hpe.io.errors import ConfigError
from tests.drawn_faces import MODEL, drawn_name, frames_of, picture, video


def run(capsys, *arguments):
    try:
        main(["predict", *[str(argument) for argument in arguments], "--model", str(MODEL)])
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    output = capsys.readouterr()
    return code, output.out, output.err


def quiet(line):
    pass


class Capture:
    """A reader that gives frames (H, W, 3), or fails where there is None."""

    def __init__(self, frames, rate=10.0):
        self.frames, self.rate, self.released = list(frames), rate, False
        self.count = len(self.frames)

    def get(self, key):
        return self.rate if key == 5 else float(self.count)

    def read(self):
        frame = self.frames.pop(0) if self.frames else None
        return frame is not None, frame

    def release(self):
        self.released = True


def test_pictures_with_several_faces_are_listed_and_drawn(capsys, tmp_path):
    pytest.importorskip("cv2")
    (tmp_path / "in").mkdir()
    Image.fromarray(picture((40, 60, 160), (300, 120, 110))).save(tmp_path / "in" / "two.png")
    Image.fromarray(picture((40, 60, 160))).save(tmp_path / "in" / "two.bmp")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    wanted = ["--draw", tmp_path / "out", "--csv", tmp_path / "p.csv", "--json", tmp_path / "p.json"]
    code, out, err = run(capsys, tmp_path / "in", *wanted)
    assert (code, err) == (0, "")
    assert "two.png face 1: yaw" in out
    with (tmp_path / "p.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["face"] for row in rows] == ["0", "0", "1"]
    result = json.loads((tmp_path / "p.json").read_text())
    assert result["faults"] == []
    assert {"x", "y", "w", "h", "yaw_deg", "pitch_deg", "roll_deg", "find_ms", "model_ms"} <= result["faces"][0].keys()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["two.png", "two.png.png"]
    with Image.open(tmp_path / "out" / "two.png.png") as drawn:
        assert drawn.size == (480, 320)
        assert (np.asarray(drawn) != picture((40, 60, 160), (300, 120, 110))).any()


def test_given_boxes_and_crops_need_no_opencv(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    Image.fromarray(picture((40, 60, 160))).save(tmp_path / "a.png")
    code, _, _ = run(capsys, tmp_path / "a.png", "--box", "60,100,110,100", "--json", tmp_path / "a.json")
    assert code == 0
    (row,) = json.loads((tmp_path / "a.json").read_text())["faces"]
    assert (row["x"], row["y"], row["w"], row["h"]) == (60, 100, 110, 100)
    (tmp_path / "boxes.csv").write_text("file,x,y,w,h\na.png,60,100,110,100\na.png,5,5,50,50\n")
    code, out, _ = run(capsys, tmp_path / "a.png", "--boxes", tmp_path / "boxes.csv")
    assert code == 0
    assert "face 1" in out
    code, _, _ = run(capsys, tmp_path / "a.png", "--crops", "--draw", tmp_path / "drawn")
    assert code == 0
    with Image.open(tmp_path / "drawn" / "a.png") as drawn:
        assert drawn.size == (320, 320)
    code, _, err = run(capsys, tmp_path / "a.png")
    assert code == 2
    assert ".[vision]" in err


def test_a_bad_picture_costs_only_itself(capsys, tmp_path):
    pytest.importorskip("cv2")
    Image.fromarray(picture((40, 60, 160))).save(tmp_path / "good.png")
    Image.fromarray(picture()).save(tmp_path / "empty.png")
    (tmp_path / "text.jpg").write_text("no picture")
    code, out, err = run(capsys, tmp_path / "text.jpg", tmp_path / "empty.png", tmp_path / "good.png")
    assert code == 1
    assert "good.png: yaw" in out
    assert "text.jpg: the image cannot be decoded" in err
    assert "empty.png: no face found; name it with --box" in err
    code, _, err = run(capsys, tmp_path / "empty.png")
    assert code == 2
    assert "Traceback" not in err


def test_an_empty_folder_costs_only_itself(capsys, tmp_path):
    (tmp_path / "nothing").mkdir()
    Image.fromarray(picture((0, 0, 64), size=(64, 64))).save(tmp_path / "a.png")
    code, out, err = run(capsys, tmp_path / "nothing", tmp_path / "a.png", "--crops")
    assert code == 1
    assert "a.png: yaw" in out
    assert "nothing: this folder holds no picture and no video" in err
    code, _, err = run(capsys, tmp_path / "nothing")
    assert (code, "Traceback" in err) == (2, False)


def test_a_video_is_followed_smoothed_and_drawn(tmp_path):
    pytest.importorskip("cv2")
    lines = []
    options = PredictOptions(draw=tmp_path / "out")
    rows, raw = [], []
    outcome = run_predict(
        MODEL, [video(tmp_path / "clip.avi")], options=options, write=rows.append, report=lines.append
    )
    assert (outcome.rows, outcome.faults) == (12, [])
    assert {row["face"] for row in rows} == {0}
    assert [row["frame"] for row in rows] == list(range(12))
    assert rows[5]["time_s"] == pytest.approx(0.5)
    assert rows[11]["x"] - rows[0]["x"] == pytest.approx(22, abs=8)
    assert "12 frames, 0 of them unreadable" in lines[-1]
    assert "median of finding" in lines[-1]
    options = PredictOptions(smooth=False)
    run_predict(MODEL, [tmp_path / "clip.avi"], options=options, write=raw.append, report=quiet)
    assert [row["x"] for row in raw] == [row["x"] for row in rows]
    yaws = np.array([[row["yaw_deg"] for row in result] for result in (raw, rows)])
    assert np.abs(np.diff(yaws[1])).sum() < np.abs(np.diff(yaws[0])).sum()
    assert frames_of(tmp_path / "out" / drawn_name("clip")) == 12
    assert [path.name for path in (tmp_path / "out").iterdir()] == [drawn_name("clip")]


def test_a_video_goes_on_after_a_bad_frame():
    pytest.importorskip("cv2")
    whole = picture((40, 60, 160))
    frames = list(video_frames(Capture([whole, None, np.zeros((0, 0, 3), np.uint8), whole, None])))
    assert [frame.pixels is None for frame in frames] == [False, True, True, False]  # the last is just the end
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3])
    np.testing.assert_array_equal(frames[0].pixels, whole[..., ::-1])


def test_a_video_that_cannot_be_read_on_says_so_and_one_that_ends_does_not():
    pytest.importorskip("cv2")
    whole = picture((40, 60, 160))
    broken = [frame.pixels is None for frame in video_frames(Capture([whole] + [None] * 200 + [whole]))]
    assert broken == [False] + [True] * (PATIENCE + 1)
    assert len(list(video_frames(Capture([whole, whole])))) == 2


def test_a_broken_video_and_one_without_a_face(capsys, tmp_path):
    cv2 = pytest.importorskip("cv2")
    (tmp_path / "broken.mp4").write_bytes(b"nonsense" * 100)
    code, _, err = run(capsys, tmp_path / "broken.mp4")
    assert code == 2
    assert "broken.mp4: not a video that OpenCV can read" in err
    code, _, err = run(capsys, tmp_path / "absent.mp4")
    assert "absent.mp4: no such file" in err
    writer = cv2.VideoWriter(str(tmp_path / "empty.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    writer.write(picture(size=(320, 240)))
    writer.release()
    code, _, err = run(capsys, tmp_path / "empty.avi")
    assert code == 2
    assert "empty.avi: no face found in any frame" in err


def test_a_camera_is_looked_through_until_it_is_gone(capsys, tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    whole = np.ascontiguousarray(picture((40, 60, 160))[..., ::-1])
    capture = Capture([whole, None, whole, whole])
    monkeypatch.setattr(detector.load_opencv(), "VideoCapture", lambda index: capture)
    monkeypatch.setattr(capture, "isOpened", lambda: True, raising=False)
    code, out, err = run(capsys, "--camera", 0, "--csv", tmp_path / "c.csv")
    assert code == 1  # what was seen is written all the same
    assert "camera 0 gives no more pictures" in err
    assert out.count("found in") == 3
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 4
    assert capture.released


def test_a_camera_that_is_absent_and_one_that_is_stopped(capsys, monkeypatch):
    pytest.importorskip("cv2")
    code, _, err = run(capsys, "--camera", 97)
    assert code == 2
    assert "camera 97 does not open; is it plugged in and free?" in err
    whole = picture((40, 60, 160))
    capture = Capture([whole] * 9)
    monkeypatch.setattr(detector.load_opencv(), "VideoCapture", lambda index: capture)
    monkeypatch.setattr(capture, "isOpened", lambda: True, raising=False)
    outcome = run_predict(MODEL, [0], PredictOptions(frames=2), report=quiet)
    assert (outcome.rows, outcome.faults) == (2, [])

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(capture, "read", interrupt)
    lines = []
    outcome = run_predict(MODEL, [0], report=lines.append)
    assert (outcome.faults, outcome.stopped_by) == ([], signal.SIGINT)
    assert lines == ["stopped"]


def test_messages_about_arguments(capsys, tmp_path):
    with pytest.raises(SourceError, match="or --camera N"):
        run_predict(MODEL, [])
    code, _, err = run(capsys, MODEL, "a.png")
    assert code == 2
    assert "name it with --model" in err
    assert parse_box("1,2,30,40") == (1, 2, 31, 42)
    for text in ("1,2,3", "a,b,c,d", ""):
        with pytest.raises(SourceError, match="X,Y,W,H"):
            parse_box(text)
    (tmp_path / "b.csv").write_text("file,x,y\n")
    with pytest.raises(SourceError, match="file, x, y, w, h"):
        read_boxes(tmp_path / "b.csv")
    (tmp_path / "b.csv").write_text("file,x,y,w,h\na.png,1,2,3,4\na.png,1,2,,4\n")
    with pytest.raises(SourceError, match=r"b\.csv, line 3"):
        read_boxes(tmp_path / "b.csv")
    (tmp_path / "b.csv").write_text("file,x,y,w,h\na.png,1,2,3,4\n,1,2,3,4\n")
    with pytest.raises(SourceError, match=r"b\.csv, line 3: the column file is empty"):
        read_boxes(tmp_path / "b.csv")
    (tmp_path / "b.csv").write_bytes("file,x,y,w,h\nbü.png,1,2,3,4\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"b\.csv: not a text in UTF-8"):
        read_boxes(tmp_path / "b.csv")
    for frames in (0, -1):
        with pytest.raises(ConfigError, match=f"--frames {frames}: give 1 frame or more"):
            PredictOptions(frames=frames)
