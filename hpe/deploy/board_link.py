"""The PC's side of a serial line to a board that runs a sketch of `hpe deploy`: inputs go out, answers come back.

A frame is the bytes of an input (for head poses RGB, row by row), one sequence byte, and the CRC-32 of both (little
endian; for int8 values that of the letters "int8" and both, so that a sketch never takes one type for the other), in
COBS (Cheshire & Baker 1999): zeros stand between frames only. The board answers each with a line
"yaw,pitch,roll,latency_us,frame", or "outputs,latency_us,frame", which repeats the sequence byte, so that an answer
that comes too late is known as such; lines that begin with '#' are messages. A damaged frame is sent again.
"""

from __future__ import annotations

import re
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from hpe.io.errors import HpeError, install

BAUD = 115200
"""Boards with native USB ignore it."""
_READING = re.compile(rb"(-?\d{1,5}\.\d\d),(-?\d{1,5}\.\d\d),(-?\d{1,5}\.\d\d),(\d{1,10}),(\d{1,3})")
_ANSWER = re.compile(r"([^#].*),(\d{1,10}),(\d{1,3})")
LONGEST_LINE = 512
"""More bytes than this without a line end are noise."""
LONGEST_ANSWER = 1 << 22
"""The same where a line has all outputs of a model."""
_OTHER_VALUES = "error: the frame holds"
"""How a sketch begins to say that it takes the other type: such a frame need not be sent again."""


T = TypeVar("T")
A = TypeVar("A", "Reading", "Answer")


class LinkError(HpeError, RuntimeError):
    """The board cannot be reached, or does not answer as a sketch of `hpe deploy`; the message says what to check."""


@dataclass(frozen=True)
class Reading:
    """One answer of the board: the pose in degrees, and the microseconds that the model took."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    latency_us: int
    frame: int
    """The sequence byte of the image."""


@dataclass(frozen=True)
class Answer:
    """One answer of a board that runs any model."""

    outputs: str
    """As printed: numbers with commas between them, or label and value."""
    latency_us: int
    frame: int
    """The sequence byte of the input."""


class Port(Protocol):
    """What a link needs of a serial port; `serial.Serial` has it."""

    def write(self, data: bytes, /) -> int | None: ...
    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" where none came within the port's time-out."""
        ...

    @property
    def in_waiting(self) -> int:
        """Bytes that have arrived and were not read."""
        ...

    def reset_input_buffer(self) -> None:
        """Forgets them."""
        ...

    def close(self) -> None: ...


def encode_frame(image: np.ndarray, sequence: int) -> bytes:
    """The frame that carries an RGB image, uint8 (S, S, 3), and its sequence byte."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 3:
        raise ValueError(f"A frame carries a square RGB image, uint8 (S, S, 3), not {image.dtype} {image.shape}.")
    return encode_values(image, sequence)


def encode_values(values: np.ndarray, sequence: int) -> bytes:
    """The frame that carries an input of any model, int8 or uint8 (the bytes of an image), and its sequence byte."""
    from cobs import cobs

    if values.dtype not in (np.int8, np.uint8):
        raise ValueError(f"A frame carries int8 or uint8, not {values.dtype}.")
    content = np.ascontiguousarray(values).tobytes() + bytes([sequence])
    checksum = zlib.crc32(content, zlib.crc32(b"int8") if values.dtype == np.int8 else 0)
    return b"\0" + cobs.encode(content + checksum.to_bytes(4, "little")) + b"\0"


def parse_line(line: bytes) -> Reading | None:
    """The reading in a line from the board; None for a message, noise or a line cut short."""
    match = _READING.fullmatch(line.strip(b"\r\n"))
    if match is None or not line.endswith(b"\n"):
        return None
    yaw, pitch, roll = (float(group) for group in match.groups()[:3])
    return Reading(yaw, pitch, roll, int(match.group(4)), int(match.group(5)))


def parse_answer(line: bytes) -> Answer | None:
    """The answer in a line from a board that runs any model; None for a message, noise or a line cut short."""
    match = _ANSWER.fullmatch(line.decode("utf-8", "replace").strip("\r\n"))
    if match is None or not line.endswith(b"\n"):
        return None
    return Answer(match.group(1), int(match.group(2)), int(match.group(3)))


def open_port(name: str) -> Port:
    """Opens a serial port by name (/dev/ttyACM0, COM3). LinkError where it is missing or busy, or without pyserial."""
    try:
        import cobs  # noqa: F401
        import serial
    except ImportError as error:
        raise LinkError(f"`hpe serial` needs {error.name}: {install('serial')}") from None
    try:
        return serial.Serial(name, BAUD, timeout=0.5, write_timeout=5)
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
        self._received = b""
        self._cut = False  # what was received of this line is gone
        self._sequence = secrets.randbelow(256)
        self._on_port(port.reset_input_buffer)

    def predict(self, image: np.ndarray) -> Reading:
        """The board's reading of an RGB image, uint8 (S, S, 3), S as the board's model wants.

        Raises:
            LinkError: no answer after `attempts` tries of `answer_timeout_s` each, where the board's last message is
                quoted; or its sketch takes int8, not an image.
        """
        return self._exchange(lambda sequence: encode_frame(image, sequence), parse_line, LONGEST_LINE)

    def ask(self, values: np.ndarray) -> Answer:
        """What the board answers to an input of any model, int8 or uint8 as its sketch wants. Raises as `predict`."""
        return self._exchange(lambda sequence: encode_values(values, sequence), parse_answer, LONGEST_ANSWER)

    def _exchange(self, encode: Callable[[int], bytes], parse: Callable[[bytes], A | None], longest: int) -> A:
        self._sequence = (self._sequence + 1) % 256
        frame = encode(self._sequence)
        for _ in range(self.attempts):
            self._on_port(self.port.write, frame)
            answer = self._await_answer(parse, longest)
            if answer is not None:
                return answer
        said = f" Its last message: {self.messages[-1]}." if self.messages else ""
        raise LinkError(
            f"The board did not answer {self.attempts} frames; does it run a sketch of `hpe deploy` for such "
            f"inputs, with serial frames?{said}"
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

    def _await_answer(self, parse: Callable[[bytes], A | None], longest: int) -> A | None:
        """The answer to the last frame; None when the time is up or the board reports an error: it is resent then."""
        for line in self._lines(time.monotonic() + self.answer_timeout_s, longest):
            answer = parse(line)
            if answer is not None and answer.frame == self._sequence:
                return answer
            if line.startswith(b"#"):
                message = line[1:].decode("ascii", "replace").strip()
                self.messages.append(message)
                if message.startswith(_OTHER_VALUES):
                    raise LinkError(f"The board refuses the input ({message}): send that type, as its README says.")
                if message.startswith("error"):
                    return None
        return None

    def _lines(self, end: float, longest: int) -> Iterator[bytes]:
        """Whole lines as they arrive, until the clock says `end`; one that is over `longest` bytes is left out."""
        while time.monotonic() < end:
            while b"\n" in self._received:
                line, _, self._received = self._received.partition(b"\n")
                whole, self._cut = not self._cut, False
                if whole:
                    yield line + b"\n"
            self._received += self._on_port(lambda: self.port.read(self.port.in_waiting or 1))
            if len(self._received) > longest and b"\n" not in self._received:
                self._received, self._cut = b"", True

    def _on_port(self, call: Callable[..., T], *arguments: object) -> T:
        try:
            return call(*arguments)
        except OSError as error:
            raise LinkError(f"The board went away ({error}); plug it in again.") from error
