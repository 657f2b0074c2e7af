"""Cameras in the network, opened again when they fail, a Raspberry Pi's own (a stub), and rates."""

import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hpe.cli.main import main
from hpe.inference import app, cameras
from hpe.inference.app import PredictOptions, run_predict
from hpe.inference.cameras import NewestFrames, camera_name, network_frames, open_camera, parse_camera
from hpe.inference.live.server import LivePage
from hpe.inference.rates import FRAMES_NOW, RateCounter
from hpe.inference.sources import Frame, SourceError, Stream, paced
from tests.drawn_faces import MODEL, picture
from tests.hpe.inference.frames import seen


class Capture:
    """A network camera: True is a frame that it gives, False one that fails; `opens` whether it opens at all."""

    def __init__(self, *frames, opens=True):
        self.frames, self.opens, self.released = list(frames), opens, False

    def isOpened(self):
        return self.opens

    def read(self):
        good = self.frames.pop(0) if self.frames else False
        return good, np.zeros((4, 4, 3), np.uint8) if good else None

    def get(self, key):
        return 0.0

    def release(self):
        self.released = True


def test_what_camera_may_name():
    assert parse_camera("0") == 0
    for text in ("pi", "pi:1", "/dev/video2", "rtsp://me:secret@house/s?token=1", "HTTP://house/m"):
        assert parse_camera(text) == text
    for bad in ("-1", "one", "ftp://house/x", "pip", "", "rtsp://me:secret@[::1/x"):
        with pytest.raises(SourceError, match="give a number") as caught:
            parse_camera(bad)
        assert "secret" not in str(caught.value)
    assert camera_name("rtsp://me:secret@house:554/s?token=1") == "rtsp://house:554/s"
    assert camera_name(2) == "camera 2"


def test_a_network_camera_is_opened_again():
    pytest.importorskip("cv2")
    first = Capture(True, False, True, *[False] * 9)
    others = [Capture(opens=False), Capture(True, True)]
    every, said, pauses = [first, *others], [], []
    later = iter([*others, *(Capture(opens=False) for _ in range(9))])
    frames = network_frames(first, lambda: next(later), "rtsp://house", said.append, pauses.append)
    assert [next(frames).index for _ in range(4)] == [0, 1, 2, 3]
    assert pauses == [1, 2]
    with pytest.raises(SourceError, match="rtsp://house gives no more pictures, and does not open again"):
        list(frames)
    assert pauses[2:] == [1, 2, 4, 8, 8, 8]
    assert said == ["rtsp://house gives no more pictures; opening it again"] * 2
    assert all(capture.released for capture in every)


def test_a_camera_that_does_not_open_is_one_message_without_the_password(capsys, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "VideoCapture", lambda *given: Capture(opens=False))
    with pytest.raises(SystemExit):
        main(["predict", "--camera", "rtsp://me:secret@house/s", "--model", str(MODEL)])
    err = capsys.readouterr().err
    assert "rtsp://house/s does not open; is it on" in err
    assert "secret" not in err


def test_who_is_slow_misses_frames_and_gets_the_newest():
    taken, go_on = threading.Event(), threading.Event()

    def frames():
        yield Frame(0, 0.0, None)
        assert taken.wait(60)
        for index in range(1, 8):
            yield Frame(index, 0.0, None)
        go_on.set()

    newest = NewestFrames(frames())
    seen_by = newest.frames()
    assert next(seen_by).index == 0
    taken.set()
    assert go_on.wait(60)
    assert next(seen_by).index == 7
    assert list(seen_by) == []
    newest.close()

    def broken():
        yield Frame(0, 0.0, None)
        raise SourceError("gone")

    with pytest.raises(SourceError, match="gone"):
        list(NewestFrames(broken()).frames())


def test_the_live_page_of_one_predict_is_the_camera_of_another():
    pytest.importorskip("cv2")
    shown = picture((40, 60, 160))
    going = threading.Event()

    def show(page):
        index = 0
        while not going.wait(0.02):
            page(replace(seen(index, faces=0), pixels=shown))
            index += 1

    rows = []
    with LivePage(":0") as page:
        thread = threading.Thread(target=show, args=(page,))
        thread.start()
        try:
            outcome = run_predict(MODEL, [page.url + "picture.mjpg"], PredictOptions(frames=3), rows.append, len)
        finally:
            going.set()
            thread.join()
    assert outcome.faults == []
    assert len(rows) == 3
    assert {row["face"] for row in rows} == {0}
    assert rows[0]["source"] == page.url + "picture.mjpg"


def test_a_raspberry_pis_own_camera(monkeypatch):
    made = []

    class Picamera2:
        def __init__(self, number):
            self.number, self.calls = number, []
            made.append(self)
            if number > 1:
                raise IndexError("list index out of range")

        def create_video_configuration(self, **settings):
            return settings

        def configure(self, settings):
            self.settings = settings

        def start(self):
            self.calls.append("start")

        def capture_array(self, name):
            return np.full((480, 640, 3), (1, 2, 3), np.uint8)  # blue, green, red: its RGB888

        def close(self):
            self.calls.append("close")

    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=Picamera2))
    with open_camera("pi:1") as stream:
        frames = [next(stream.frames) for _ in range(2)]
        assert (stream.name, stream.stem, stream.frames_per_second) == ("camera pi:1", "camera-pi-1", cameras.PI_RATE)
    assert frames[1].pixels[0, 0].tolist() == [3, 2, 1]
    assert made[0].settings["main"] == {"size": (640, 480), "format": "RGB888"}
    assert made[0].calls == ["start", "close"]
    with pytest.raises(SourceError, match="camera pi:7 does not open"), open_camera("pi:7"):
        pass
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(SourceError, match="apt install python3-picamera2"), open_camera("pi"):
        pass


def test_a_video_is_shown_no_faster_than_it_was_filmed():
    now, waits = [0.0], []

    def sleep(seconds):
        waits.append(seconds)
        now[0] += seconds

    given = [Frame(index, index / 10, None) for index in range(4)]
    for index, frame in enumerate(paced(iter(given), lambda: now[0], sleep)):
        assert frame is given[index]
        now[0] += 0.25 if index == 1 else 0.03  # the second one takes long
    assert waits == pytest.approx([0.07])  # the others are late, and shown at once


@pytest.mark.parametrize("live", [True, False])
def test_a_camera_is_never_held_back_for_the_live_page(monkeypatch, live):
    """Its times count from when it was opened, which is some time before the first frame is asked for."""
    frames = [Frame(index, 9.0 + index, np.zeros((64, 64, 3), np.uint8)) for index in range(3)]
    stream, rows, held_back = Stream("camera", "camera", iter(frames), 30.0, live), [], []
    monkeypatch.setattr(app, "open_camera", lambda *given: nullcontext(stream))
    monkeypatch.setattr(app, "paced", lambda frames: held_back.append(frames) or frames)
    run_predict(MODEL, ["rtsp://house"], PredictOptions(crops=True, paced=True), rows.append, len)
    assert (len(rows), len(held_back)) == (3, 0 if live else 1)


@pytest.mark.parametrize("count", [0.0, 250.0])
def test_an_address_with_a_number_of_frames_is_a_file(monkeypatch, count):
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(Capture, "get", lambda self, key: count if key == cv2.CAP_PROP_FRAME_COUNT else 0.0)
    monkeypatch.setattr(Capture, "read", lambda self: (True, np.zeros((4, 4, 3), np.uint8)))
    monkeypatch.setattr(cv2, "VideoCapture", lambda *given: Capture())
    with open_camera("http://house/clip.mp4", len) as stream:
        assert stream.live == (count == 0)


def test_rates_of_camera_detector_and_network():
    now = [0.0]
    rates = RateCounter(lambda: now[0])

    def frames():
        for index in range(200):
            now[0] += 0.020  # the camera is waited for
            yield Frame(index, 0.0, np.zeros((2, 2, 3)) if index % 50 else None)

    for frame in rates.waited_for(frames()):
        if frame.pixels is not None:
            now[0] += 0.030
            rates.add(10.0 if frame.index % 2 else 0.0, 8.0, 2)  # found in every second frame, two faces each
    told = rates.now()
    assert told["camera"] == {"per_second": pytest.approx(20, abs=0.5), "ms": pytest.approx(20)}
    assert told["detector"] == {"per_second": pytest.approx(10, abs=0.5), "ms": 10}
    assert told["network"] == {"per_second": pytest.approx(40, abs=1), "ms": 4}
    assert (rates.frames, rates.unreadable) == (200, 4)
    assert rates.summary().startswith("200 frames, 4 of them unreadable, 20.")
    assert FRAMES_NOW < 196


@pytest.mark.parametrize("count", [1, FRAMES_NOW - 1, FRAMES_NOW, FRAMES_NOW + 1, 200])
def test_ten_frames_a_second_are_told_as_ten(count):
    now = [0.0]
    rates = RateCounter(lambda: now[0])
    for _ in range(count):
        now[0] += 0.1
        rates.add(2.0, 8.0, 1)
    per_second = [told["per_second"] for told in rates.now().values()]
    assert per_second == pytest.approx([10, 10, 10], abs=0.01)
