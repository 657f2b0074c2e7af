"""Cameras: plugged in (OpenCV), in the network (RTSP, HTTP: OpenCV's FFmpeg), or a Raspberry Pi's own (Picamera2)."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from hpe.inference.detector import load_opencv
from hpe.inference.sources import (
    PATIENCE,
    Frame,
    SourceError,
    Stream,
    frames_per_second,
    read_frame,
    video_frames,
    without_user,
)

Camera = int | str
"""A number (0 is the first), a device file, a URL, or `pi` (`pi:1`: the second) for Picamera2."""
SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "srt")
REPLY_MS = 10_000
"""How long a network camera may take to open, or for a frame."""
DROPOUT = 5
"""Frames of a network camera that may fail one after the other before it is opened again."""
TRIES = 6
"""How often a network camera that is gone is opened again, after 1, 2, 4, 8, 8 and 8 seconds."""
PI_SIZE, PI_RATE = (640, 480), 30.0


def parse_camera(text: str) -> Camera:
    """What --camera names."""
    if text.isdecimal():
        return int(text)
    if re.fullmatch(r"pi(:\d+)?", text) or text.startswith("/dev/") or _is_url(text):
        return text
    urls = f"a URL ({', '.join(SCHEMES)})"
    raise SourceError(f"--camera {without_user(text)}: give a number (0 is the first), /dev/videoN, {urls}, or pi")


def _is_url(text: str) -> bool:
    try:
        urlsplit(text)
    except ValueError:  # brackets that do not close
        return False
    return "://" in text and text.partition("://")[0].lower() in SCHEMES


def camera_name(camera: Camera) -> str:
    """What messages and rows call it; a URL without user, password and query."""
    if isinstance(camera, str) and _is_url(camera):
        parts = urlsplit(camera)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"camera {camera}"


@contextmanager
def open_camera(camera: Camera, report: Callable[[str], object] = print) -> Iterator[Stream]:
    """A camera; SourceError where it does not open, and later where it gives no more pictures."""
    if isinstance(camera, str) and _is_url(camera):
        opened = _open_network(camera, report)
    elif isinstance(camera, str) and camera.startswith("pi"):
        opened = _open_pi(camera)
    else:
        opened = _open_plugged(camera)
    with opened as stream:
        yield stream


def _stream(camera: Camera, frames: Iterator[Frame], rate: float, live: bool = True) -> Stream:
    name = camera_name(camera)
    return Stream(name, re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-"), frames, rate, live)


@contextmanager
def _open_plugged(camera: Camera) -> Iterator[Stream]:
    capture = load_opencv().VideoCapture(camera)
    try:
        if not capture.isOpened():
            raise SourceError(
                f"{camera_name(camera)} does not open; is it plugged in and free? --camera 0 is the first one, "
                "--camera pi a Raspberry Pi's own"
            )
        frames = camera_frames(lambda: read_frame(capture), camera_name(camera))
        yield _stream(camera, frames, frames_per_second(capture))
    finally:
        capture.release()


def camera_frames(read: Callable[[], Any], name: str) -> Iterator[Frame]:
    """The frames of a camera as they come; SourceError when it has given none for a while."""
    start, failures, index = time.perf_counter(), 0, 0
    while True:
        pixels = read()
        failures = failures + 1 if pixels is None else 0
        if failures > PATIENCE:
            raise SourceError(f"{name} gives no more pictures; is it still plugged in?")
        yield Frame(index, time.perf_counter() - start, pixels)
        index += 1


@contextmanager
def _open_pi(camera: str) -> Iterator[Stream]:
    """Picamera2 is no extra: it comes with Raspberry Pi OS (apt), since it needs that system's libcamera."""
    try:
        from picamera2 import Picamera2
    except ImportError:
        raise SourceError(
            "--camera pi needs Picamera2: sudo apt install python3-picamera2, and an environment that sees it "
            "(python3 -m venv --system-site-packages)"
        ) from None
    try:
        device = Picamera2(int(camera.partition(":")[2] or 0))
    except (IndexError, RuntimeError) as error:
        raise SourceError(f"{camera_name(camera)} does not open ({error}); is it connected and free?") from None
    try:
        main = {"size": PI_SIZE, "format": "RGB888"}  # blue first in memory, in spite of its name
        device.configure(device.create_video_configuration(main=main, controls={"FrameRate": PI_RATE}))
        device.start()
        frames = camera_frames(lambda: device.capture_array("main")[..., ::-1], camera_name(camera))
        yield _stream(camera, frames, PI_RATE)
    finally:
        device.close()


@contextmanager
def _open_network(url: str, report: Callable[[str], object]) -> Iterator[Stream]:
    def open_capture() -> Any:
        cv2 = load_opencv()
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, REPLY_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, REPLY_MS]
        return cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)

    capture, name = open_capture(), camera_name(url)
    if not capture.isOpened():
        raise SourceError(f"{name} does not open; is it on, the address right (user:password@ before the host)?")
    rate = frames_per_second(capture)
    if capture.get(load_opencv().CAP_PROP_FRAME_COUNT) > 0:  # a file, which ends
        try:
            yield _stream(url, video_frames(capture), rate, live=False)
        finally:
            capture.release()
        return
    newest = NewestFrames(network_frames(capture, open_capture, name, report))
    try:
        yield _stream(url, newest.frames(), rate)
    finally:
        newest.close()


def network_frames(
    capture: Any,
    open_capture: Callable[[], Any],
    name: str,
    report: Callable[[str], object],
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Frame]:
    """The frames of a network camera; where it fails it is opened again, and SourceError ends it after TRIES."""
    start, index, failures, tries = time.perf_counter(), 0, 0, 0
    try:
        while True:
            pixels = read_frame(capture) if capture.isOpened() else None
            if pixels is not None:
                failures = tries = 0
                yield Frame(index, time.perf_counter() - start, pixels)
                index += 1
                continue
            failures += 1
            if capture.isOpened() and failures <= DROPOUT:
                continue
            if tries == TRIES:
                raise SourceError(f"{name} gives no more pictures, and does not open again; is it still on?")
            if tries == 0:
                report(f"{name} gives no more pictures; opening it again")
            capture.release()
            pause(min(2.0**tries, 8.0))
            tries, failures = tries + 1, 0
            capture = open_capture()
    finally:
        capture.release()


class NewestFrames:
    """Reads frames in a thread of its own and keeps the newest: who is slower misses some, and is never late."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._over, self._closed = False, False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, args=(frames,), name="camera", daemon=True)
        self._thread.start()

    def frames(self) -> Iterator[Frame]:
        """Each newest frame once; the reader's error when it has one."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frame is not None or self._over)
                frame, self._frame = self._frame, None
            if frame is not None:
                yield frame
            elif self._error is not None:
                raise self._error
            else:
                return

    def close(self) -> None:
        """Let the reader end; it may still wait for a frame, but no longer than the camera's time limit."""
        self._closed = True
        self._thread.join(timeout=1.0)

    def _read(self, frames: Iterator[Frame]) -> None:
        try:
            for frame in frames:
                with self._changed:
                    self._frame = frame
                    self._changed.notify_all()
                if self._closed:
                    break
        except Exception as error:
            self._error = error
        finally:
            frames.close()  # type: ignore[attr-defined]  # a generator, which releases the camera
            with self._changed:
                self._over = True
                self._changed.notify_all()
