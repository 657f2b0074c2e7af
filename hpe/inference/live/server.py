"""The live page: a small HTTP server (standard library) for a picture (MJPEG) and numbers (server-sent events).

The frame loop only leaves each frame in a Newest; drawing, encoding and sending are done in a thread per client, which
takes the newest frame when it has sent the last. So a slow client misses frames, and holds up nobody.
"""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from hpe.inference.live.newest import Newest
from hpe.inference.seen import Seen, message
from hpe.io.errors import HpeError

FOLDER = Path(__file__).parent / "page"
FILES = {"/": ("page.html", "text/html"), "/page.css": ("page.css", "text/css"),
         "/page.js": ("page.js", "text/javascript"), "/stream.js": ("stream.js", "text/javascript")}  # fmt: skip
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
CLIENTS = 32
"""Connections at a time; a page has two."""
PATIENCE_S = 10.0
"""A client that takes nothing for so long is let go."""
SILENCE_S = 5.0
"""Where no frame comes, a sign of life is sent this often."""
SEND_BUFFER_BYTES = 1 << 16
"""What the system keeps for a client: little, so that a slow one sees the newest frame, not old ones."""
FAREWELL_S = 1.0
"""How long clients have at the end to take the last event."""


class LiveError(HpeError, RuntimeError):
    """The page cannot be served; the message says what to give."""


def parse_address(text: str) -> tuple[str, int]:
    """`:PORT` (this machine only), `HOST:PORT` or `[IPV6]:PORT` to host and port."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise LiveError(f"--serve {text}: give :8080 for this machine alone, 0.0.0.0:8080 for the network")
    return host.strip("[]") or LOOPBACK[0], int(port)


class LivePage:
    """A context manager and sink that shows every frame to whoever looks at `url`.

    `again` is called when a viewer asks for a new neutral look. LiveError where the address cannot be had.
    """

    def __init__(self, address: str, again: Callable[[], object] | None = None) -> None:
        self._newest = Newest()
        host, port = parse_address(address)
        try:
            self._server = _Server((host, port), self._newest, again)
        except OSError as error:
            raise LiveError(f"--serve {address}: {_reason(error, port)}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="live page", daemon=True)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}/"

    def __enter__(self) -> LivePage:
        self._thread.start()
        return self

    def __call__(self, seen: Seen) -> None:
        self._newest.put(seen)

    def __exit__(self, *error: object) -> None:
        self._newest.end()
        self._server.say_farewell()
        self._server.shutdown()
        self._server.server_close()


def _reason(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken, perhaps by another hpe predict; give another one, or :0 for any that is free"
    if error.errno == errno.EACCES:
        return f"port {port} is not for users; give one above 1023"
    return f"this machine has no such address ({error.strerror}); give :{port} or 0.0.0.0:{port}"


class _Server(ThreadingHTTPServer):
    """Threads for clients, counted; none is waited for at the end beyond FAREWELL_S."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], newest: Newest, again: Callable[[], object] | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.newest, self.again = newest, again
        self.local = address[0] in LOOPBACK
        self._clients = 0
        self._left = threading.Condition()
        super().__init__(address, _Client)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer would ask for the machine's name in the network, which may take long
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._left:
            self._clients += 1
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._left:
                self._clients -= 1
                self._left.notify_all()

    @property
    def full(self) -> bool:
        return self._clients > CLIENTS

    def say_farewell(self) -> None:
        """Wait until the clients have taken the end, but not for slow ones."""
        with self._left:
            self._left.wait_for(lambda: self._clients == 0, FAREWELL_S)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no error."""


class _Client(BaseHTTPRequestHandler):
    server: _Server  # type: ignore[assignment]
    timeout = PATIENCE_S

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        super().setup()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not self._allowed():
            return
        if path in FILES:
            name, kind = FILES[path]
            self._answer(f"{kind}; charset=utf-8", (FOLDER / name).read_bytes())
        elif path == "/picture.mjpg":
            self._send_pictures()
        elif path == "/events":
            self._send_events()
        else:
            self._refuse(404, "there is only /")

    def do_POST(self) -> None:
        if not self._allowed():
            return
        origin = self.headers.get("Origin")
        if self.path != "/neutral" or self.server.again is None:
            self._refuse(404, "there is no such thing to do")
        elif origin is not None and urlsplit(origin).netloc != self.headers.get("Host"):
            self._refuse(403, "asked by another page")
        else:
            self.server.again()
            self._answer("text/plain", b"", 204)

    def _allowed(self) -> bool:
        """Whether there is room, and the client means this machine: a page elsewhere may let its name point here."""
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if self.server.full:
            self._refuse(503, "too many viewers")
        elif self.server.local and host not in LOOPBACK:
            self._refuse(403, "served to this machine alone, as localhost or 127.0.0.1")
        else:
            return True
        return False

    def _send_pictures(self) -> None:
        """MJPEG: the head of the next part follows each picture at once, since browsers show it only then."""
        self._begin("multipart/x-mixed-replace; boundary=frame")
        head = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n"
        self.wfile.write(head)
        count, over = 0, False
        while not over:
            over = self.server.newest.over
            count, seen = self.server.newest.after(count, SILENCE_S)
            if seen is not None:
                self.wfile.write(self.server.newest.jpeg(count, seen) + b"\r\n" + head)

    def _send_events(self) -> None:
        """A JSON object for each frame, at last the event `end`."""
        self._begin("text/event-stream; charset=utf-8")
        count, over = 0, False
        while not over:
            over = self.server.newest.over
            count, seen = self.server.newest.after(count, SILENCE_S)
            event = ": no frame" if seen is None else f"data: {json.dumps(message(seen))}"
            self.wfile.write(f"{event}\n\n".encode())
        self.wfile.write(b"event: end\ndata: {}\n\n")

    def _begin(self, kind: str, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **HEADERS}.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, kind: str, content: bytes, status: int = 200) -> None:
        self._begin(kind, status, len(content))
        self.wfile.write(content)

    def _refuse(self, status: int, why: str) -> None:
        self._answer("text/plain; charset=utf-8", f"{why}\n".encode(), status)

    def version_string(self) -> str:
        return "hpe"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Silence: standard error is for what the user must know."""
