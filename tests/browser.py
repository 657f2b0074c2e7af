"""A real Chromium without a window, driven by its DevTools protocol: what a page shows, in which size and mode."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
"""Debian's package chromium, where it is installed."""
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
         "--no-first-run", "--disable-background-networking", "--remote-debugging-port=0")  # fmt: skip
START_S = 120
"""How long a busy machine may take to start it."""


class Browser:
    """One page."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)
        self.errors: list[str] = []
        """What scripts threw."""

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command of the protocol."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=START_S))
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(answer["params"]["exceptionDetails"])[:800])
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def show(self, page: Path | str, width: int, dark: bool, height: int = 900) -> None:
        """Open a file, or an address, in a window of this width, by a reader who likes it dark or light."""
        address = page if isinstance(page, str) else page.resolve().as_uri()
        self.ask("Runtime.enable")
        self.resize(width, dark, height)
        self.ask("Page.navigate", url=address)
        self.wait_for(f"document.readyState == 'complete' && location.href == {json.dumps(address)}")

    def resize(self, width: int, dark: bool, height: int = 900) -> None:
        """Show the same page in another window."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=width < 600)  # fmt: skip
        mode = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[mode])

    def wait_for(self, expression: str) -> None:
        """Until a JavaScript expression is true."""
        end = time.monotonic() + START_S
        while not self.value(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self, out: Path) -> Path:
        """The whole page as a PNG."""
        height = self.value("Math.ceil(document.documentElement.getBoundingClientRect().height)")
        width = self.value("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        out.write_bytes(base64.b64decode(data))
        return out


@contextmanager
def open_browser(profile: Path, *flags: str) -> Iterator[Browser]:
    """Chromium with a profile folder of its own, and further flags; it ends with the block."""
    from websockets.sync.client import connect

    assert CHROMIUM is not None
    process = subprocess.Popen([CHROMIUM, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        with connect(_address(profile / "DevToolsActivePort"), max_size=None, open_timeout=START_S) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait()


def _address(note: Path) -> str:
    """Where the first page listens; Chromium notes its port in a file when it is ready."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if note.exists() and note.read_text().count("\n"):
            port = note.read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        time.sleep(0.1)
    raise TimeoutError(f"{CHROMIUM} did not start in {START_S} s")
