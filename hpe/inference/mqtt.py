"""Poses to an MQTT broker: one JSON message per frame (paho-mqtt, the extra `mqtt`)."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from hpe.inference.seen import Seen, message
from hpe.inference.sources import without_user
from hpe.io.errors import HpeError, install

PORTS = {"mqtt": 1883, "mqtts": 8883}
PASSWORD = "HPE_MQTT_PASSWORD"
"""Where the password may stand instead of in the URL, which every user of the machine can see."""
REPLY_S = 10.0
"""How long the broker may take to answer at the start."""
FAREWELL_S = 2.0
"""How long it may take to send the last messages at the end."""
UNSENT = 20
"""Messages that may wait for a slow broker; further ones are dropped."""


class MqttError(HpeError, RuntimeError):
    """The broker cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Broker:
    """Where messages go."""

    host: str
    port: int
    topic: str
    tls: bool = False
    user: str | None = None
    password: str | None = None


def parse_broker(url: str) -> Broker:
    """`mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC`; mqtts is MQTT over TLS."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:  # brackets that do not close, or a port that is no number
        parts, port = urlsplit(""), 0
    topic = unquote(parts.path.lstrip("/"))
    if parts.scheme not in PORTS or not parts.hostname or not port or not topic or {"+", "#"} & set(topic):
        shown = without_user(url)
        raise MqttError(f"--mqtt {shown}: give mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC; + and # are no topic")
    password = unquote(parts.password) if parts.password else os.environ.get(PASSWORD)
    user = unquote(parts.username) if parts.username else None
    return Broker(parts.hostname, port, topic, parts.scheme == "mqtts", user, password if user else None)


class MqttSink:
    """A context manager and sink that publishes every frame to a broker.

    The broker must answer at the start: MqttError otherwise. Later a lost connection is told and taken up again;
    what comes in between is dropped, and nothing waits for the broker.
    """

    def __init__(self, broker: Broker, report: Callable[[str], object] = print) -> None:
        self._broker, self._report = broker, report
        self._name = f"MQTT broker {broker.host}:{broker.port}"
        self._answered = threading.Event()
        self._refused: str | None = None
        self._connected, self._closing, self._reconnected = False, False, False
        self._unsent: deque[Any] = deque()
        self._client = self._new_client()

    def __enter__(self) -> MqttSink:
        try:
            self._client.connect(self._broker.host, self._broker.port)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MqttError(f"{self._name} cannot be reached ({reason}); is it running? --mqtt names it") from None
        self._client.loop_start()
        answered = self._answered.wait(REPLY_S)
        if not answered or self._refused is not None:
            self._end()
            reason = f"refuses: {self._refused}" if answered else f"does not answer in {REPLY_S:.0f} s"
            raise MqttError(f"{self._name} {reason}; --mqtt mqtt://USER:PASSWORD@HOST/TOPIC names user and password")
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def __call__(self, seen: Seen) -> None:
        if self._reconnected:  # what waited for the lost connection is gone
            self._reconnected = False
            self._unsent.clear()
        while self._unsent and self._unsent[0].is_published():
            self._unsent.popleft()
        if self._connected and len(self._unsent) < UNSENT:
            sent = self._client.publish(self._broker.topic, json.dumps(message(seen)))
            if sent.rc == 0:
                self._unsent.append(sent)

    def _new_client(self) -> Any:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise MqttError(f"--mqtt needs paho-mqtt: {install('mqtt')}") from None
        client = Client(CallbackAPIVersion.VERSION2)
        client.reconnect_delay_set(1, 30)
        client.connect_timeout = REPLY_S
        if self._broker.tls:
            client.tls_set()
        if self._broker.user is not None:
            client.username_pw_set(self._broker.user, self._broker.password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        return client

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        """In the client's thread, at each answer of the broker."""
        again = self._answered.is_set()
        if reason.is_failure:
            self._refused = str(reason)
        else:
            self._reconnected, self._connected = True, True
            if again:
                self._report(f"{self._name} is back")
        self._answered.set()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._connected and not self._closing:
            self._report(f"{self._name} is gone ({reason}); frames are dropped until it is back")
        self._connected = False

    def _end(self) -> None:
        self._closing = True
        self._client.disconnect()
        stop = threading.Thread(target=self._client.loop_stop, daemon=True)  # waits until all is sent
        stop.start()
        stop.join(FAREWELL_S)
