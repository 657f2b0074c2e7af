"""The PC's side of a serial line to a board that runs arduino/head_pose: images go out, poses come back.

An image travels as a frame: b"HPF1", payload length and CRC-32 of the payload (32 bits each, little endian), then the
RGB bytes row by row. The board answers each with a line "yaw,pitch,roll,latency_us"; lines that begin with '#' are
messages. A frame that arrives damaged is sent again.
"""

from __future__ import annotations

import re
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

MAGIC = b"HPF1"
BAUD = 115200
"""Boards with native USB ignore it."""
_READING = re.compile(rb"(-?\d{1,5}\.\d\d),(-?\d{1,5}\.\d\d),(-?\d{1,5}\.\d\d),(\d{1,10})")


class LinkError(RuntimeError):
    """The board cannot be reached, or does not answer as arduino/head_pose does; the message says what to check."""


@dataclass(frozen=True)
class Reading:
    """One answer of the board: the pose in degrees, and the microseconds that the model took."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    latency_us: int


class Port(Protocol):
    """What a link needs of a serial port; `serial.Serial` has it."""

    def write(self, data: bytes, /) -> int | None: ...
    def readline(self) -> bytes:
        """The next line with its end; b"" or a part of it where none came within the port's time-out."""
        ...

    def close(self) -> None: ...


def encode_frame(image: np.ndarray) -> bytes:
    """The frame that carries an RGB image, uint8 (S, S, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 3:
        raise ValueError(f"A frame carries a square RGB image, uint8 (S, S, 3), not {image.dtype} {image.shape}.")
    payload = np.ascontiguousarray(image).tobytes()
    return MAGIC + struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


def parse_line(line: bytes) -> Reading | None:
    """The reading in a line from the board; None for a message, noise or a line cut short."""
    match = _READING.fullmatch(line.strip(b"\r\n"))
    if match is None or not line.endswith(b"\n"):
        return None
    yaw, pitch, roll = (float(group) for group in match.groups()[:3])
    return Reading(yaw, pitch, roll, int(match.group(4)))


def open_port(name: str, timeout_s: float = 0.5) -> Port:
    """Opens a serial port by name (/dev/ttyACM0, COM3). LinkError where it is missing or busy, or without pyserial."""
    try:
        import serial
    except ImportError:
        raise LinkError("`hpe serial` needs pyserial: pip install 'head-pose-edge[serial]'.") from None
    try:
        return serial.Serial(name, BAUD, timeout=timeout_s, write_timeout=5)
    except (OSError, ValueError) as error:  # serial.SerialException is an OSError
        raise LinkError(f"The serial port {name} cannot be opened ({error}); is the board plugged in?") from error


class SerialLink:
    """Sends images to a board and returns its readings. Closes the port at the end of a `with` block."""

    def __init__(self, port: Port, answer_timeout_s: float = 10.0, attempts: int = 3):
        self.port = port
        self.answer_timeout_s = answer_timeout_s
        self.attempts = attempts
        self.messages: list[str] = []
        """What the board said in lines that begin with '#', without the '#'."""

    def predict(self, image: np.ndarray) -> Reading:
        """The board's reading of an RGB image, uint8 (S, S, 3), S as the board's model wants.

        Raises:
            LinkError: no answer after `attempts` tries of `answer_timeout_s` each; the board's last message is quoted.
        """
        frame = encode_frame(image)
        for _ in range(self.attempts):
            self._write(frame)
            reading = self._await_reading()
            if reading is not None:
                return reading
        said = f" Its last message: {self.messages[-1]}." if self.messages else ""
        raise LinkError(
            f"The board did not answer {self.attempts} frames; does it run arduino/head_pose with serial frames?{said}"
        )

    def predict_all(self, images: Iterable[np.ndarray]) -> Iterator[Reading]:
        """The readings of many images, one after another."""
        for image in images:
            yield self.predict(image)

    def close(self) -> None:
        self.port.close()

    def __enter__(self) -> SerialLink:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _await_reading(self) -> Reading | None:
        """The next reading; None when the time is up or the board reports a fault, so that the frame is sent again."""
        end = time.monotonic() + self.answer_timeout_s
        while time.monotonic() < end:
            line = self._readline()
            reading = parse_line(line)
            if reading is not None:
                return reading
            if line.startswith(b"#"):
                message = line[1:].decode("ascii", "replace").strip()
                self.messages.append(message)
                if message.startswith("error"):
                    return None
        return None

    def _write(self, data: bytes) -> None:
        try:
            self.port.write(data)
        except OSError as error:
            raise LinkError(f"The board went away while an image was sent ({error}); plug it in again.") from error

    def _readline(self) -> bytes:
        try:
            return self.port.readline()
        except OSError as error:
            raise LinkError(f"The board went away ({error}); plug it in again.") from error
