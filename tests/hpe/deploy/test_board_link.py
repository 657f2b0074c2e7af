"""The PC's side of the serial line, against the sketch itself compiled for this computer, and against odd ports."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export.micro.sketch import write_arduino
from hpe.deploy.board_link import LinkError, Reading, SerialLink, encode_frame, open_port, parse_line
from tests.sketches import SETTINGS, SILU, build_sketch

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


class Pipe:
    """A program's standard input and output as a port; `harm` may change what is sent."""

    def __init__(self, program: Path, harm=lambda count, data: data):
        self.process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.harm, self.writes = harm, 0

    def write(self, data: bytes, /) -> int:
        self.writes += 1
        self.stdin.write(self.harm(self.writes, data))
        self.stdin.flush()
        return len(data)

    def readline(self) -> bytes:
        return self.stdout.readline()

    def close(self) -> None:
        self.stdin.close()
        self.process.wait(timeout=20)
        self.stdout.close()


class Silent:
    """A port on which nothing ever comes, or always the same lines."""

    def __init__(self, *lines: bytes):
        self.lines = list(lines)

    def write(self, data: bytes, /) -> int:
        return len(data)

    def readline(self) -> bytes:
        return self.lines.pop(0) if self.lines else b""

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("board") / "head_pose"
    write_arduino(SILU, folder, "nano33ble", SETTINGS)
    return build_sketch(folder, SILU, camera=False)


def test_board_answers_each_image(board: Path):
    with SerialLink(Pipe(board)) as link:
        readings = list(link.predict_all(IMAGES))
    assert len(readings) == 3
    assert len(set(readings)) == 3
    assert link.messages[0].startswith("head_pose ready")


def test_damaged_frame_is_sent_again(board: Path):
    def flip_a_bit_of_the_second(count: int, data: bytes) -> bytes:
        return data[:100] + bytes([data[100] ^ 4]) + data[101:] if count == 2 else data

    with SerialLink(Pipe(board)) as link:
        wanted = [(r.yaw_deg, r.pitch_deg, r.roll_deg) for r in link.predict_all(IMAGES)]
    with SerialLink(Pipe(board, flip_a_bit_of_the_second)) as link:
        found = [(r.yaw_deg, r.pitch_deg, r.roll_deg) for r in link.predict_all(IMAGES)]
        assert link.port.writes == 4  # pyright: ignore[reportAttributeAccessIssue]
    assert found == wanted
    assert "error: a frame arrived damaged" in link.messages


def test_silent_board_is_told_with_its_last_message():
    link = SerialLink(Silent(b"# error: no OV7675 camera answers\r\n"), answer_timeout_s=0.01, attempts=2)
    with pytest.raises(LinkError, match=r"did not answer 2 frames.*no OV7675"):
        link.predict(IMAGES[0])


def test_noise_on_the_line_is_passed_over():
    link = SerialLink(Silent(b"\xff\x00garbage\r\n", b"1.00,2.0", b"-1.50,20.25,0.00,412345\r\n"))
    assert link.predict(IMAGES[0]) == Reading(-1.5, 20.25, 0.0, 412345)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"1.00,2.00,3.00,4",
        b"1.00,2.00,3.00\r\n",
        b"# 1.00,2.00,3.00,4\r\n",
        b"nan,2.00,3.00,4\r\n",
        b"x1.00,2.00,3.00,4\n",
    ],
)
def test_lines_that_are_no_readings(line: bytes):
    assert parse_line(line) is None


def test_frame_layout():
    frame = encode_frame(np.zeros((64, 64, 3), np.uint8))
    assert frame[:8] == b"HPF1\x00\x30\x00\x00"  # 12,288 bytes
    assert len(frame) == 12 + 64 * 64 * 3
    with pytest.raises(ValueError, match="square RGB"):
        encode_frame(np.zeros((64, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="float32"):
        encode_frame(np.zeros((64, 64, 3), np.float32))


def test_missing_port_is_one_sentence():
    pytest.importorskip("serial")
    with pytest.raises(LinkError, match="is the board plugged in"):
        open_port("/dev/there-is-no-such-port")
