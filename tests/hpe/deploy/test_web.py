"""The page of `hpe web` in a real Chromium: what it says is what the sketch of a board says."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from hpe.cli.main import main
from hpe.deploy.sketch import run_deploy
from hpe.deploy.web.build import page_text, write_web_page
from hpe.io.errors import ConfigError
from hpe.pose.overlay import axis_ends
from tests.browser import CHROMIUM, open_browser
from tests.sketches import build_c_sketch, film

MODEL = "b0-nano-locate"
WIDTH, HEIGHT = 160, 120
POSE = (20.0, 0.0, 0.0)
VIEWS = [(1280, False), (1280, True), (390, False), (390, True)]

needs_clang = pytest.mark.skipif(
    shutil.which("clang") is None or shutil.which("wasm-ld") is None, reason="clang and lld are not installed"
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (Debian's package has this name)"
)
needs_compilers = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("g++") is None, reason="gcc and g++ are not installed"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What `hpe web b0-nano-locate` writes."""
    file = tmp_path_factory.mktemp("web") / "face.html"
    main(["web", MODEL, "--out", str(file)])
    return file


@pytest.fixture(scope="module")
def heads():
    """A synthetic head of POSE with its surroundings for a frame of 160 x 120 and for one of 640 x 480: uint8."""
    pytest.importorskip("numba")
    from dataclasses import replace

    from hpe.synthetic.presets import PRESETS
    from hpe.synthetic.scene import Scene

    head = replace(Scene.draw(3, 0, PRESETS["easy"]), pose_deg=np.array(POSE))
    return head.paint(64, 28), head.paint(240, 120)


def frame_with(head, x, y, width=WIDTH, height=HEIGHT):
    """A grey frame uint8 (height, width, 3) with the head's picture from x, y on."""
    frame = np.full((height, width, 3), 128, np.uint8)
    frame[y : y + len(head), x : x + len(head)] = head
    return frame


@pytest.fixture(scope="module")
def browser(tmp_path_factory, heads):
    """Chromium with a camera that shows the large head."""
    folder = tmp_path_factory.mktemp("camera")
    picture = io.BytesIO()
    Image.fromarray(frame_with(heads[1], 80, 0, 640, 480)).save(picture, "jpeg", quality=95)
    (folder / "camera.mjpeg").write_bytes(picture.getvalue() * 4)
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
             f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}")  # fmt: skip
    with open_browser(folder / "profile", *flags) as opened:
        yield opened


@needs_clang
@needs_chromium
@needs_compilers
def test_the_page_says_what_the_sketch_says(browser, page, heads, tmp_path):
    folder = tmp_path / "head_pose"
    run_deploy(MODEL, folder, "nano33ble", "c")
    empty = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    moving = [frame_with(heads[0], x, 0) for x in (10, 10, 12, 15, 19, 30)]
    frames = [empty, *[moving[0]] * 8, *moving, empty, empty]
    lines = film(build_c_sketch(folder, "-DHEAD_POSE_CAMERA=1"), tmp_path, frames)
    printed = {int(row[4]): row[:3] for row in (line.split(",") for line in lines if not line.startswith("#"))}
    assert len(printed) >= len(moving)

    browser.show(page, 1280, dark=False)
    browser.wait_for("element('state').textContent == 'ready'")
    told = {}
    for number, frame in enumerate(frames):
        pixels = np.dstack([frame, np.full((HEIGHT, WIDTH), 255, np.uint8)]).ravel().tolist()
        seen = browser.value(f"follow(new Uint8Array({pixels}), {WIDTH}, {HEIGHT})")
        if seen["verdict"] == "face":
            told[number] = [f"{seen[angle]:.2f}" for angle in ("yaw", "pitch", "roll")]
    assert told == printed
    assert seen["verdict"] == "no face" or seen["verdict"] == "searching"
    assert browser.errors == []


@needs_clang
@needs_chromium
def test_the_page_follows_the_face_before_the_camera(browser, page, tmp_path):
    browser.show(page, 1280, dark=False)
    browser.wait_for("element('state').textContent == 'ready'")
    browser.picture(tmp_path / "ready.png")
    browser.value("element('camera').click()")
    browser.wait_for("element('state').textContent == 'face' && frameNumber > 20")
    shown = browser.value("[...document.querySelectorAll('.face dd')].map(cell => cell.firstChild.textContent)")
    angles = [float(text.rstrip("°").replace("\u2212", "-")) for text in shown]
    np.testing.assert_allclose(angles, POSE, atol=12)
    assert browser.value("[...document.querySelectorAll('[data-rate] td')].every(cell => cell.textContent)")
    yellow = (
        "(() => { const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "let count = 0; for (let i = 0; i < data.length; i += 4)"
        "count += Math.min(data[i], data[i + 1]) > data[i + 2] + 60; return count; })()"
    )
    browser.wait_for(f"{yellow} > 200")  # the box
    for width, dark in VIEWS:
        browser.resize(width, dark)
        browser.wait_for(f"innerWidth == {width}")
        assert browser.value("document.documentElement.scrollWidth") <= width
        browser.picture(tmp_path / f"{width}-{'dark' if dark else 'light'}.png")
    assert browser.value("fetch('data:,').then(() => 'sent', () => 'refused')") == "refused"
    assert browser.errors == []


@needs_clang
@needs_chromium
def test_axes_are_those_of_the_drawn_pictures(browser, page):
    browser.show(page, 1280, dark=False)
    for pose in ((0, 0, 0), (30, -20, 10), (-75, 40, -60)):
        np.testing.assert_allclose(browser.value(f"axisEnds(...{list(pose)})"), axis_ends(pose), atol=1e-12)


@needs_clang
@needs_chromium
def test_ten_pictures_a_second_are_told_as_ten(browser, page):
    browser.show(page, 1280, dark=False)
    browser.wait_for("element('state').textContent == 'ready'")
    for count in (2, 10, 11, 12, 30):
        told = browser.value(
            f"(() => {{ frames = []; let told; for (let n = 0; n < {count}; ++n)"
            " told = rates({ start: 100 * n, end: 100 * n + 40, looks: 2 }); return told; })()"
        )
        assert told["camera"] == {"per_second": pytest.approx(10, abs=0.01), "ms": 60}
        assert told["network"] == {"per_second": pytest.approx(20, abs=0.01), "ms": 20}
    assert browser.errors == []


@needs_clang
def test_the_page_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert "src=" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert page.stat().st_size < 400_000


def test_a_note_stays_text():
    assert "</script><b>" not in page_text({"note": "</script><b>"})


def test_a_model_that_finds_no_face_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"b0-nano does not say where the face is.*b0-nano-locate"):
        write_web_page("b0-nano", tmp_path / "face.html")
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        write_web_page(MODEL, tmp_path / "face")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_compiler_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs clang.*apt install clang lld"):
        write_web_page(MODEL, tmp_path / "face.html")
