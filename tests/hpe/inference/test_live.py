"""The server of the live page: what it answers, to whom, and that no client holds up the loop."""

import http.client
import io
import json
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hpe.cli.main import main
from hpe.inference.live import server
from hpe.inference.live.newest import LONGEST_PX
from hpe.inference.live.server import LiveError, LivePage, parse_address
from tests.drawn_faces import MODEL, picture, video
from tests.hpe.inference.frames import seen


@pytest.fixture
def page():
    asked = []
    with LivePage("127.0.0.1:0", lambda: asked.append(1)) as running:
        running.asked = asked
        yield running


def port_of(page: LivePage) -> int:
    return int(page.url.rstrip("/").rpartition(":")[2])


def ask(page, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def next_event(answer) -> tuple[str, dict]:
    """Kind and JSON of the next event; signs of life are passed over."""
    kind = "message"
    while True:
        line = answer.readline().decode()
        assert line, "the stream is over"
        if line.startswith("event: "):
            kind = line[7:].strip()
        elif line.startswith("data: "):
            return kind, json.loads(line[6:])


def next_picture(answer) -> Image.Image:
    """The next part of a multipart stream, up to the head of the one after it."""
    content = b""
    while not content.endswith(b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n") or not content.startswith(b"\xff"):
        content = (content + answer.read(1)).removeprefix(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n")
    return Image.open(io.BytesIO(content))


def test_addresses():
    assert parse_address(":8080") == ("127.0.0.1", 8080)
    assert parse_address("0.0.0.0:80") == ("0.0.0.0", 80)
    assert parse_address("[::1]:8080") == ("::1", 8080)
    for bad in ("8080", "localhost", "a:b", ":99999"):
        with pytest.raises(LiveError, match=r"give :8080 for this machine alone"):
            parse_address(bad)


def test_a_port_that_is_taken_and_an_address_that_is_not_ours(page):
    with pytest.raises(LiveError, match=f"port {port_of(page)} is taken, perhaps by another hpe predict"):
        LivePage(f":{port_of(page)}")
    with pytest.raises(LiveError, match="this machine has no such address"):
        LivePage("203.0.113.7:8080")


def test_the_page_needs_nothing_from_elsewhere(page):
    whole = b""
    scripts = (("/page.js", "text/javascript"), ("/stream.js", "text/javascript"))
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), *scripts):
        answer = ask(page, path)
        assert (answer.status, answer.headers.get_content_type()) == (200, kind)
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        whole += answer.read()
    assert b"http://" not in whole
    assert b"https://" not in whole
    assert ask(page, "/../pyproject.toml").status == 404


def test_numbers_and_pictures_come_to_several_clients(page):
    page(seen(0, faces=2))
    events, others, pictures = ask(page, "/events"), ask(page, "/events"), ask(page, "/picture.mjpg")
    for frame in (1, 2):
        first = next_event(events)[1]
        assert first == next_event(others)[1]
        assert [face["yaw_deg"] for face in first["faces"]] == [frame - 1, frame + 9]
        page(seen(frame, faces=2))
    drawn = next_picture(pictures)
    assert drawn.size == (160, 120)
    assert (np.asarray(drawn) != 90).any()


def test_a_large_picture_is_shrunk(page):
    pictures = ask(page, "/picture.mjpg")
    page(seen(size=(1920, 1080)))
    assert next_picture(pictures).size == (LONGEST_PX, 540)


def test_only_this_machine_and_only_this_page(page):
    assert ask(page, "/", Host=f"evil.example:{port_of(page)}").status == 403
    assert ask(page, "/neutral", "POST", Host=f"localhost:{port_of(page)}", Origin="http://evil.example").status == 403
    assert page.asked == []
    assert ask(page, "/neutral", "POST", Host=f"127.0.0.1:{port_of(page)}", Origin=page.url.rstrip("/")).status == 204
    assert page.asked == [1]
    assert ask(page, "/other", "POST").status == 404


def test_too_many_viewers_are_told_so(page, monkeypatch):
    monkeypatch.setattr(server, "CLIENTS", 2)
    held = [ask(page, "/events") for _ in range(2)]
    assert ask(page, "/").status == 503
    assert len(held) == 2


def test_a_client_that_never_reads_holds_up_nobody_and_sees_the_newest_frame_next(page):
    stuck = socket.create_connection(("127.0.0.1", port_of(page)))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.sendall(f"GET /picture.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{port_of(page)}\r\n\r\n".encode())
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    events = ask(page, "/events")
    for frame in range(300):  # far more than any buffer between the two holds
        page(replace(seen(frame), pixels=noise))
    while next_event(events)[1]["frame"] < 299:
        pass
    assert page._newest.after(299, 0)[0] == 300
    stuck.close()


def test_the_end_is_told_and_nobody_is_waited_for(monkeypatch):
    monkeypatch.setattr(server, "FAREWELL_S", 60.0)
    with LivePage(":0") as page:
        events, pictures = ask(page, "/events"), ask(page, "/picture.mjpg")
        page(seen(7))
        assert next_event(events)[1]["frame"] == 7
        next_picture(pictures)
    assert next_event(events) == ("end", {})
    assert pictures.read() == b""
    assert not [thread for thread in threading.enumerate() if thread.name == "live page" and thread.is_alive()]
    with LivePage(f":{port_of(page)}"):  # the port is free again
        pass


def test_predict_serves_while_it_follows_a_video(tmp_path, capsys):
    """A port that is taken costs nothing; pictures alone are not served; the page ends with the video."""
    pytest.importorskip("cv2")
    given = ["--model", str(MODEL), "--quiet"]
    with LivePage(":0") as taken, pytest.raises(SystemExit):
        main(["predict", str(video(tmp_path / "v.avi", 3)), "--serve", f":{port_of(taken)}", *given])
    assert "is taken" in capsys.readouterr().err
    Image.fromarray(picture((40, 60, 160))).save(tmp_path / "a.png")
    with pytest.raises(SystemExit):
        main(["predict", str(tmp_path / "a.png"), "--serve", ":0", *given])
    assert "--serve is for a video or a camera" in capsys.readouterr().err
    main(["predict", str(tmp_path / "v.avi"), "--serve", ":0", "--model", str(MODEL)])
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("live page: http://127.0.0.1:")
    assert sum("face 0" in line for line in out) == 3
