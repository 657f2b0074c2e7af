"""The live page in a real Chromium, with a video of turning synthetic heads as the camera, and the drawn video."""

import json
import threading
from functools import partial

import numpy as np
import pytest

from hpe.cli.main import main
from hpe.inference import app
from hpe.inference.live.server import LivePage
from tests.browser import open_browser
from tests.head_video import head_video, turning

VIEWS = [(1280, False), (1280, True), (390, False), (390, True)]
RATE = 10.0
FRAMES = 40


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Two heads: one turns from right to left, the other is tilted and turns the other way."""
    pytest.importorskip("cv2", reason="needs OpenCV, the extra vision")
    poses = [turning(FRAMES), turning(FRAMES, -15, 10, 8)]
    return head_video(tmp_path_factory.mktemp("heads") / "heads.avi", poses, RATE)


class Camera:
    """Lets the frames of a video through only when they are asked for, so that no clock is involved."""

    def __init__(self):
        self.allowed = threading.Semaphore(0)

    def paced(self, frames):
        for frame in frames:
            self.allowed.acquire()
            yield frame

    def show(self, count):
        self.allowed.release(count)


@pytest.fixture
def live(heads, tmp_path, monkeypatch):
    """`hpe predict VIDEO --serve`, followed, in a thread: the page's address, the camera, and the rows."""
    camera, opened = Camera(), []
    enter = LivePage.__enter__
    ready = threading.Event()

    def noted(page):
        opened.append(page.url)
        ready.set()
        return enter(page)

    monkeypatch.setattr(LivePage, "__enter__", noted)
    monkeypatch.setattr(app, "paced", camera.paced)
    rows = tmp_path / "rows.jsonl"
    command = ["predict", str(heads), "--serve", ":0", "--model", "b0-nano", "--jsonl", str(rows), "--quiet"]
    thread = threading.Thread(target=partial(main, command), daemon=True)
    thread.start()
    assert ready.wait(120)
    yield opened[0], camera, rows
    camera.show(FRAMES)
    thread.join(120)
    assert not thread.is_alive()


def shown_angles(browser) -> list[list[float]]:
    """Yaw, pitch, roll of each face as the page has them."""
    texts = browser.value(
        "[...document.querySelectorAll('.face')].map(face => [...face.querySelectorAll('dd')].map(cell => "
        "cell.firstChild.textContent))"
    )
    return [[float(text.rstrip("°").replace("\u2212", "-")) for text in face] for face in texts]


def test_the_page_follows_faces_and_zeroes_them_on_a_neutral_look(browser, live, tmp_path):
    url, camera, rows = live
    browser.show(url, 1280, dark=False)
    browser.wait_for("element('state').textContent == 'live'")
    camera.show(15)
    browser.wait_for("element('frame').textContent.startsWith('frame 14,')")
    browser.wait_for("element('picture').naturalWidth > 0")
    last = [row for row in map(json.loads, rows.read_text().splitlines()) if row["frame"] == 14]
    told = [[row[f"{angle}_deg"] for angle in ("yaw", "pitch", "roll")] for row in last]
    assert len(told) == 2
    np.testing.assert_allclose(shown_angles(browser), told, atol=0.051)
    assert browser.value("element('faces').textContent").count("relative") == 0
    assert browser.value("[...document.querySelectorAll('[data-rate] td')].every(cell => cell.textContent)")
    yellow = (
        "(() => { const image = element('picture'), canvas = document.createElement('canvas');"
        "[canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];"
        "const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0);"
        "const data = pen.getImageData(0, 0, canvas.width, canvas.height).data; let count = 0;"
        "for (let i = 0; i < data.length; i += 4) count += Math.min(data[i], data[i + 1]) > data[i + 2] + 60;"
        "return count; })()"
    )
    browser.wait_for(f"{yellow} > 200")  # the boxes: without them it is 22
    for width, dark in VIEWS:
        browser.resize(width, dark)
        browser.wait_for(f"innerWidth == {width}")
        assert browser.value("document.documentElement.scrollWidth") <= width
        browser.picture(tmp_path / f"{width}-{'dark' if dark else 'light'}.png")
    browser.value("element('neutral').click()")
    browser.wait_for("performance.getEntriesByName(location.href + 'neutral').length == 1")
    camera.show(5)
    browser.wait_for("element('faces').textContent.includes('watching the neutral look')")
    camera.show(15)
    browser.wait_for("element('faces').textContent.split('from the neutral look').length == 3")
    camera.show(FRAMES - 35)
    browser.wait_for("element('state').textContent == 'ended'")
    assert browser.value("element('neutral').disabled")
    browser.wait_for(f"{yellow} > 200")  # the last picture stays
    last = [json.loads(line) for line in rows.read_text().splitlines()][-2:]
    assert [row["relative"] for row in last] == [1, 1]
    browser.resize(1280, dark=True)
    browser.picture(tmp_path / "ended.png")
    assert browser.errors == []


def test_two_viewers_and_one_that_comes_back(browser, live, tmp_path_factory):
    url, camera, _ = live
    with open_browser(tmp_path_factory.mktemp("second")) as second:
        for viewer in (browser, second):
            viewer.show(url, 390, dark=True)
            viewer.wait_for("element('state').textContent == 'live'")
        camera.show(3)
        for viewer in (browser, second):
            viewer.wait_for("element('frame').textContent.startsWith('frame 2,')")
    browser.value("disconnect()")
    camera.show(3)
    browser.value("connect()")
    browser.wait_for("element('frame').textContent.startsWith('frame 5,')")
    assert browser.errors == []


def test_the_drawn_video_plays_in_chromium(browser, heads, tmp_path):
    main(["predict", str(heads), "--model", "b0-nano", "--draw", str(tmp_path), "--frames", "12", "--quiet"])
    (drawn,) = tmp_path.iterdir()
    (tmp_path / "play.html").write_text(f"<!doctype html><video id=v muted src='{drawn.name}'></video>")
    browser.show(tmp_path / "play.html", 1280, dark=False)
    browser.wait_for("v.readyState >= 2 || v.error !== null")
    assert browser.value("v.error") is None
    assert browser.value("[v.videoWidth, v.videoHeight]") == [480, 240]
    assert browser.value("v.duration") == pytest.approx(12 / RATE, abs=0.11)
    browser.value("v.play()")
    browser.wait_for("v.ended")
