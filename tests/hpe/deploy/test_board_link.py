"""The PC's side of the serial line, against the sketch itself compiled for this computer, and against odd ports."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs

from export.micro.sketch import write_arduino, write_model_sketch
from hpe.deploy.board_link import (
    LONGEST_LINE,
    LinkError,
    SerialLink,
    encode_frame,
    encode_values,
    open_port,
    parse_answer,
    parse_line,
)
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

    in_waiting = 0

    def read(self, size: int, /) -> bytes:
        return self.stdout.read1(size)

    def reset_input_buffer(self) -> None:
        pass

    def close(self) -> None:
        self.stdin.close()
        self.process.wait(timeout=20)
        self.stdout.close()


class Silent:
    """A port on which nothing ever comes, or always the same lines."""

    def __init__(self, *lines: bytes):
        self.lines = list(lines)
        self.in_waiting = 0

    def write(self, data: bytes, /) -> int:
        return len(data)

    def read(self, size: int, /) -> bytes:
        return self.lines.pop(0) if self.lines else b""

    def reset_input_buffer(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("board") / "head_pose"
    write_arduino(SILU, folder, "nano33ble", SETTINGS, "tflm")
    return build_sketch(folder, SILU, camera=False)


def test_board_answers_each_image(board: Path):
    with SerialLink(Pipe(board)) as link:
        readings = list(link.predict_all(IMAGES))
    assert len(readings) == 3
    assert len(set(readings)) == 3
    assert link.messages[0].startswith("head_pose ready")


def test_board_with_any_model_answers_each_input(tmp_path: Path):
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    write_model_sketch(SILU, tmp_path / "any", "nano33ble", {}, "tflm")
    program = build_sketch(tmp_path / "any", SILU, camera=False)
    with SerialLink(Pipe(program, lambda count, data: b"noise" * (count == 2) + data)) as link:
        answers = [link.ask(image.view(np.int8)) for image in IMAGES]
    assert [answer.outputs.count(",") for answer in answers] == [2, 2, 2]
    assert len({answer.outputs for answer in answers}) == 3
    assert "model ready" in link.messages[0]
    said = r"did not answer 1 frames.*another size than the model's input"
    with (
        SerialLink(Pipe(program), answer_timeout_s=5, attempts=1) as link,
        pytest.raises(LinkError, match=said),
    ):
        link.ask(np.zeros(9, np.int8))


@pytest.mark.parametrize(
    ("line", "outputs"),
    [
        (b"0.25,-1.5,12,7\r\n", "0.25,-1.5"),
        ("größer, oder so,0.75,12,7\n".encode(), "größer, oder so,0.75"),
        (b"1e-12,12,7\r\n", "1e-12"),
        (b"# 0.25,12,7\r\n", None),
        (b"0.25,12,7", None),
        (b"12,7\r\n", None),
    ],
)
def test_answers_of_any_model(line: bytes, outputs: str | None):
    answer = parse_answer(line)
    assert (answer and answer.outputs) == outputs
    assert answer is None or (answer.latency_us, answer.frame) == (12, 7)


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


def answered(link: SerialLink, pose: bytes) -> bytes:
    """The line with which a board answers the next frame of `link`."""
    return pose + b",412345,%d\r\n" % ((link._sequence + 1) % 256)


def test_noise_on_the_line_is_passed_over():
    port = Silent(b"\xff\x00garbage\r\n", b"1.00,2.0")
    link = SerialLink(port)
    port.lines += [b"0\n", answered(link, b"-1.50,20.25,0.00")]
    reading = link.predict(IMAGES[0])
    assert (reading.yaw_deg, reading.pitch_deg, reading.roll_deg, reading.latency_us) == (-1.5, 20.25, 0.0, 412345)


def test_an_answer_that_comes_late_is_not_taken_for_the_next():
    port = Silent()
    link = SerialLink(port, answer_timeout_s=0.01, attempts=1)
    late = answered(link, b"1.00,0.00,0.00")
    with pytest.raises(LinkError, match="did not answer"):
        link.predict(IMAGES[0])
    port.lines += [late, answered(link, b"2.00,0.00,0.00")]
    assert link.predict(IMAGES[1]).yaw_deg == 2.0


def test_every_image_gets_its_own_answer_when_one_was_answered_twice(board: Path):
    with SerialLink(Pipe(board)) as link:
        wanted = [(r.yaw_deg, r.pitch_deg, r.roll_deg) for r in link.predict_all(IMAGES)]
    twice = Pipe(board, lambda count, data: data + data if count == 1 else data)
    with SerialLink(twice) as link:
        assert [(r.yaw_deg, r.pitch_deg, r.roll_deg) for r in link.predict_all(IMAGES)] == wanted


def test_a_port_that_never_ends_a_line_does_not_hang():
    port = Silent()
    port.read = lambda size: b"x"  # pyright: ignore[reportAttributeAccessIssue]
    link = SerialLink(port, answer_timeout_s=0.02, attempts=1)
    with pytest.raises(LinkError, match="did not answer 1 frames"):
        link.predict(IMAGES[0])
    assert len(link._received) <= LONGEST_LINE


def test_an_answer_that_lost_its_head_is_passed_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hpe.deploy.board_link.LONGEST_ANSWER", 100)
    port = Silent()
    link = SerialLink(port, answer_timeout_s=5, attempts=1)
    port.lines += [b"0.25," * 30, b"0.25," * 3, answered(link, b"0.5"), answered(link, b"0.75,1.5")]
    assert link.ask(IMAGES[0]).outputs == "0.75,1.5"


def test_all_outputs_of_a_large_model_are_an_answer():
    port, outputs = Silent(), ",".join(["-0.125"] * 20_000)
    link = SerialLink(port, answer_timeout_s=5, attempts=1)
    line = answered(link, outputs.encode())
    port.lines += [line[at : at + 1000] for at in range(0, len(line), 1000)]
    assert link.ask(IMAGES[0]).outputs == outputs


def test_opening_forgets_what_came_before():
    port = Silent(b"old")
    port.reset_input_buffer = port.lines.clear  # pyright: ignore[reportAttributeAccessIssue]
    SerialLink(port)
    assert port.lines == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"1.00,2.00,3.00,4,5",
        b"1.00,2.00,3.00,4\r\n",
        b"# 1.00,2.00,3.00,4,5\r\n",
        b"nan,2.00,3.00,4,5\r\n",
        b"x1.00,2.00,3.00,4,5\n",
    ],
)
def test_lines_that_are_no_readings(line: bytes):
    assert parse_line(line) is None


def test_frame_layout():
    image = np.zeros((64, 64, 3), np.uint8)
    frame = encode_frame(image, 7)
    assert frame[0] == frame[-1] == 0
    assert 0 not in frame[1:-1]
    content = cobs.decode(frame[1:-1])
    assert content[:-4] == image.tobytes() + b"\x07"
    assert int.from_bytes(content[-4:], "little") == zlib.crc32(content[:-4])
    with pytest.raises(ValueError, match="square RGB"):
        encode_frame(np.zeros((64, 32, 3), np.uint8), 0)
    with pytest.raises(ValueError, match="float32"):
        encode_frame(np.zeros((64, 64, 3), np.float32), 0)
    with pytest.raises(ValueError, match="int8 or uint8, not float32"):
        encode_values(np.zeros(3, np.float32), 0)


def test_a_frame_tells_int8_from_the_bytes_of_an_image():
    values = np.arange(6, dtype=np.uint8)
    image, whole = (cobs.decode(encode_values(v, 7)[1:-1]) for v in (values, values.view(np.int8)))
    assert image[:-4] == whole[:-4] == values.tobytes() + b"\x07"
    assert int.from_bytes(image[-4:], "little") == zlib.crc32(image[:-4])
    assert int.from_bytes(whole[-4:], "little") == zlib.crc32(b"int8" + whole[:-4])


@pytest.mark.parametrize(("image", "holds", "takes"), [(True, "int8", "uint8"), (False, "uint8", "int8")])
def test_a_sketch_refuses_inputs_of_the_other_type(image: bool, holds: str, takes: str, tmp_path: Path):
    """Also when it has run for long, so that nobody sees its first line, which names the type, too."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    settings = {"mean": [0.5] * 3, "std": [0.25] * 3} if image else {}
    write_model_sketch(SILU, tmp_path / "any", "nano33ble", settings, "tflm")
    program = build_sketch(tmp_path / "any", SILU, camera=False)
    with SerialLink(Pipe(program)) as link:
        assert link.ask(IMAGES[0].view(takes)).outputs
        assert f"input {IMAGES[0].size} {takes}, outputs 3" in link.messages[0]
        with pytest.raises(LinkError, match=rf"the frame holds {holds}, this sketch takes {takes}\): send that type"):
            link.ask(IMAGES[1].view(holds))
        assert link.ask(IMAGES[2].view(takes)).outputs
    readme = (tmp_path / "any" / "README.md").read_text()
    assert f"({takes}: this sketch refuses {holds};" in readme
    assert ("the CRC-32 of the letters `int8` and both" in readme) == (takes == "int8")


def test_missing_port_is_one_message():
    pytest.importorskip("serial")
    with pytest.raises(LinkError, match="is the board plugged in"):
        open_port("/dev/there-is-no-such-port")
