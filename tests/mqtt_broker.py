"""A broker as small as can be: it takes connections of MQTT 3.1.1 and keeps what is published."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

CONNECT, CONNACK, PUBLISH, DISCONNECT = 1, 2, 3, 14


class FakeBroker:
    """A context manager; `code` is the answer to a CONNECT, 0 where it is welcome."""

    def __init__(self, code: int = 0, port: int = 0) -> None:
        self.code = code
        self.messages: list[tuple[str, Any]] = []
        """Topic, and the JSON that was published."""
        self.connects: list[bytes] = []
        self.changed = threading.Condition()
        self.server = socket.create_server(("127.0.0.1", port))
        self.port = self.server.getsockname()[1]
        self.clients: list[socket.socket] = []

    def __enter__(self) -> FakeBroker:
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.close()
        self.drop()

    def drop(self) -> None:
        """Close all connections."""
        for client in self.clients:
            client.shutdown(socket.SHUT_RDWR)
            client.close()
        self.clients.clear()

    def wait_for(self, condition: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 60)

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            self.clients.append(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        stream = client.makefile("rb")
        try:
            while head := stream.read(1):
                body = stream.read(self.length(stream))
                with self.changed:
                    self.take(client, head[0] >> 4, body)
                    self.changed.notify_all()
        except (OSError, ValueError):
            return

    def take(self, client: socket.socket, kind: int, body: bytes) -> None:
        if kind == CONNECT:
            self.connects.append(body)
            client.sendall(bytes([CONNACK << 4, 2, 0, self.code]))
        elif kind == PUBLISH:
            size = int.from_bytes(body[:2], "big")
            self.messages.append((body[2 : 2 + size].decode(), json.loads(body[2 + size :])))

    @staticmethod
    def length(stream: Any) -> int:
        """The number of seven bits a byte that says how much follows."""
        value, shift = 0, 0
        while True:
            byte = stream.read(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
