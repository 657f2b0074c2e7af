"""What predict draws of a video: it can be played and loses no frame, however the call ends."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpe.inference import annotation
from hpe.inference.app import PredictOptions, run_predict
from hpe.inference.outputs import OutputError
from hpe.inference.seen import Seen
from tests.drawn_faces import MODEL, drawn_name, frames_of, picture, video

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_loses_no_row_and_closes_the_video(tmp_path, number, code):
    """The child is sent the signal by itself after its fifth row, so that no clock is involved."""
    pytest.importorskip("cv2")
    video(tmp_path / "clip.avi")
    program = (
        "import os, signal, sys; from hpe.cli.main import main; from hpe.inference import outputs\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup\n"
        "write, rows = outputs.RowFile.write, []\n"
        "def counted(self, row):\n"
        "    write(self, row)\n"
        "    rows.append(row)\n"
        f"    len(rows) == 5 and os.kill(os.getpid(), {int(number)})\n"
        "outputs.RowFile.write = counted\n"
        "main(sys.argv[1:])\n"
    )
    outputs = ["--csv", tmp_path / "r.csv", "--json", tmp_path / "r.json", "--draw", tmp_path / "out"]
    outputs += ["--serve", ":0", "--neutral", "0.2"]
    command = [sys.executable, "-c", program, "predict", tmp_path / "clip.avi", "--model", MODEL, *outputs]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    with (tmp_path / "r.csv").open() as stream:
        assert [line["frame"] for line in csv.DictReader(stream)] == ["0", "1", "2", "3", "4"]
    assert len(json.loads((tmp_path / "r.json").read_text())["faces"]) == 5
    assert [path.name for path in (tmp_path / "out").iterdir()] == [drawn_name("clip")]
    assert frames_of(tmp_path / "out" / drawn_name("clip")) == 4


def test_a_disk_that_fills_up_ends_the_video_while_its_index_fits(tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    free = iter([1 << 30] * 6 + [1 << 20] * 99)
    usage = annotation.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(annotation.shutil, "disk_usage", lambda path: usage._replace(free=next(free)))
    rows = []
    options = PredictOptions(draw=tmp_path / "out")
    outcome = run_predict(MODEL, [video(tmp_path / "clip.avi")], options=options, write=rows.append, report=len)
    assert len(outcome.faults) == 1
    assert "the disk is nearly full; the video ends here" in outcome.faults[0]
    assert (outcome.rows, len(rows), frames_of(tmp_path / "out" / drawn_name("clip"))) == (7, 7, 6)


def test_a_video_of_odd_size_loses_no_row_and_no_column(tmp_path):
    cv2 = pytest.importorskip("cv2")
    shades = np.add.outer(np.arange(61), np.arange(83))[..., None].repeat(3, 2).astype(np.uint8)
    path = tmp_path / drawn_name("odd")
    with annotation.VideoFile(path, 10.0) as sink:
        for frame in range(3):
            sink(Seen("clip", frame, frame / 10, shades, (), 0.0))
    capture = cv2.VideoCapture(str(path))
    frame = capture.read()[1]
    capture.release()
    assert frame.shape == (62, 84, 3)
    np.testing.assert_allclose(frame[:61, :83], shades, atol=12)


@pytest.mark.parametrize(
    ("times_s", "shown"),
    [
        ([5.0, 5.1, 5.2], [0, 1, 2]),
        ([5.0, 5.32, 5.4], [0, 0, 0, 1, 2]),  # slower than the rate: each stays until the next
        ([5.0, 5.04, 5.05, 5.1, 5.2], [0, 3, 4]),  # faster
        ([5.0, 3605.0], [0] * 10 + [1]),  # an hour's pause
    ],
)
def test_frames_stand_in_a_drawn_video_at_their_time(tmp_path, monkeypatch, times_s, shown):
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(annotation, "STILL_S", 1.0)
    path = tmp_path / drawn_name("clip")
    with annotation.VideoFile(path, 10.0) as sink:
        for i, time_s in enumerate(times_s):
            sink(Seen("clip", i, time_s, np.full((64, 64, 3), 40 + 40 * i, np.uint8), (), 0.0))
    capture = cv2.VideoCapture(str(path))
    levels = [frame.mean() for whole, frame in iter(capture.read, (False, None)) if whole]
    capture.release()
    assert [round((level - 40) / 40) for level in levels] == shown


def test_a_video_that_opencv_cannot_open_leaves_no_file(tmp_path, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    annotation.video_format()
    monkeypatch.setattr(annotation, "open_writer", lambda *given: cv2.VideoWriter())
    with (
        pytest.raises(OutputError, match="OpenCV cannot write a video there"),
        annotation.VideoFile(tmp_path / "v.webm", 10.0) as sink,
    ):
        sink(Seen("clip", 0, 0.0, picture(), (), 0.0))
    assert list(tmp_path.iterdir()) == []


def test_a_second_video_does_not_replace_the_first(tmp_path):
    pytest.importorskip("cv2")
    lines = []
    options = PredictOptions(draw=tmp_path, frames=2)
    for name in ("clip.avi", "clip.avi"):
        run_predict(MODEL, [video(tmp_path / name)], options=options, report=lines.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["clip.avi", drawn_name("clip.avi"), drawn_name("clip")]
    )
    assert "drawn as" in lines[-1]
