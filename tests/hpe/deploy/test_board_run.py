import zlib

import numpy as np
import pytest
from cobs import cobs

from hpe.data.faces import load_faces
from hpe.deploy.board_link import LinkError
from hpe.deploy.board_run import run_inputs, run_serial
from tests.conftest import TINY_DATA


class Board:
    """A board that answers every whole frame with a fixed pose."""

    def __init__(self):
        self.images = []
        self.lines = []

    in_waiting = 0

    def write(self, data):
        content = cobs.decode(data.strip(b"\0"))
        assert int.from_bytes(content[-4:], "little") == zlib.crc32(content[:-4])
        self.images.append(np.frombuffer(content[:-5], np.uint8).reshape(64, 64, 3))
        self.lines.append(b"1.50,-2.00,3.25,812345,%d\n" % content[-5])
        return len(data)

    def read(self, size):
        return self.lines.pop(0) if self.lines else b""

    def reset_input_buffer(self):
        self.lines.clear()

    def close(self):
        self.closed = True


def test_sends_the_standard_crops_and_measures_the_answers():
    board, lines = Board(), []
    metrics = run_serial(board, TINY_DATA, None, 6, report=lines.append)
    faces = load_faces(TINY_DATA)
    np.testing.assert_array_equal(np.stack(board.images), faces.images[:6, 8:72, 8:72])
    assert lines == ["1.50,-2.00,3.25,812345"] * 6
    assert metrics is not None
    expected = np.abs(np.array([1.5, -2.0, 3.25]) - faces.pose_deg[:6]).mean()
    assert metrics.mean_deg == pytest.approx(expected, rel=1e-5)
    assert board.closed


def test_needs_one_source():
    with pytest.raises(LinkError, match="--data SPEC, --camera N and --inputs FILE"):
        run_serial(Board(), None, None, 1)


@pytest.mark.parametrize("count", [0, -1])
def test_counts_that_send_nothing_are_refused(count, tmp_path):
    np.save(tmp_path / "inputs.npy", np.zeros((3, 5), np.int8))
    with pytest.raises(LinkError, match=f"--count {count} .*give 1 or more"):
        run_serial(Board(), TINY_DATA, None, count)
    with pytest.raises(LinkError, match=f"--count {count} .*give 1 or more"):
        run_inputs(AnyBoard(), tmp_path / "inputs.npy", count)


class AnyBoard(Board):
    """A board with some other model: it answers with label and value."""

    def write(self, data):
        content = cobs.decode(data.strip(b"\0"))
        self.images.append(content[:-5])
        self.lines += [b"# model ready\r\n", b"a dog, or so,0.75,812345,%d\r\n" % content[-5]]
        return len(data)


def test_sends_the_inputs_of_any_model(tmp_path):
    inputs = np.random.default_rng(0).integers(-128, 128, (3, 5, 7), dtype=np.int8)
    np.save(tmp_path / "inputs.npy", inputs)
    board, lines = AnyBoard(), []
    run_inputs(board, tmp_path / "inputs.npy", 2, report=lines.append)
    assert board.images == [x.tobytes() for x in inputs[:2]]
    assert lines == ["a dog, or so,0.75,812345"] * 2


class ImageBoard(AnyBoard):
    """A board whose sketch takes the bytes of an image."""

    def write(self, data):
        content = cobs.decode(data.strip(b"\0"))
        if int.from_bytes(content[-4:], "little") == zlib.crc32(content[:-4]):
            return super().write(data)
        self.lines.append(b"# error: the frame holds int8, this sketch takes uint8\r\n")
        return len(data)


def test_int8_is_not_answered_by_a_sketch_that_takes_images(tmp_path):
    values, lines = np.random.default_rng(0).integers(0, 127, (3, 5, 7), dtype=np.int8), []
    np.save(tmp_path / "inputs.npy", values)
    with pytest.raises(LinkError, match=r"this sketch takes uint8.*as its README says"):
        run_inputs(ImageBoard(), tmp_path / "inputs.npy", 2, report=lines.append)
    assert lines == []
    np.save(tmp_path / "inputs.npy", values.view(np.uint8))
    run_inputs(ImageBoard(), tmp_path / "inputs.npy", 2, report=lines.append)
    assert len(lines) == 2


@pytest.mark.parametrize("content", [np.zeros((3, 4)), np.zeros(5, np.int8), np.array([{}], dtype=object), None])
def test_inputs_that_are_none_are_refused(content, tmp_path):
    path = tmp_path / "inputs.npy"
    if content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(LinkError, match=r"--inputs .*inputs.npy"):
        run_inputs(AnyBoard(), path, 2)
