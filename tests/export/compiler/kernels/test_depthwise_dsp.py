"""dsp/depthwise.c on the emulated Cortex-M4 against a plain numpy loop: equal bytes."""

import numpy as np
import pytest

from export.compiler.emulator.calls import Board
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.kernels.oracle import (
    depthwise_row,
    fast_table,
    pack_depthwise,
    random_channels,
    requantise,
    row_stride,
    to_even,
)

GUARD = 8
pytestmark = needs_emulator
BUILDS = pytest.mark.parametrize(
    ("flags", "kind"),
    [(("-O3",), "dsp"), (("-O0",), "dsp"), (("-O2", "-DDEPTHWISE_IN_C"), "dsp"), (("-O2",), "portable")],
    ids=["O3", "O0", "in C", "portable"],
)


class Layer:
    """A random layer and input rows in a board's memory."""

    def __init__(self, board, rng, shape, count, zero_points):
        self.size, self.stride, self.pad_left, self.width = shape
        self.count, (self.zero_in, self.zero_point) = count, zero_points
        self.outputs = max(1, (self.width + 2 * self.pad_left - self.size) // self.stride + 1)
        self.weights = rng.integers(-127, 128, (count, self.size, self.size))
        self.bias, self.multiplier, self.shift = random_channels(rng, count, 2)
        stride = row_stride(self.width, self.outputs, self.size, self.stride, self.pad_left)
        self.rows = rng.integers(-128, 128, (self.size, count, self.width)) - self.zero_in
        memory = np.zeros((self.size, count, stride), np.int16)
        memory[:, :, 2 : 2 + self.width] = self.rows
        self.row_addresses = [board.put(row) for row in memory]
        packed = board.put(pack_depthwise(self.weights, self.stride, self.pad_left))
        table = board.put(fast_table(self.bias * (2 if self.size == 3 else 1), self.multiplier, self.shift))
        numbers = (count, self.outputs, stride, self.size, self.stride, self.pad_left, self.zero_point)
        self.address = board.struct("PPhhhBBBxxxi", packed, table, *numbers)

    def row(self, board, first, rows_in):
        """The address of a list of input rows, and the int8 outputs (outputs, channels)."""
        given = board.put(np.array(self.row_addresses[first : first + rows_in], np.uint32))
        sums = depthwise_row(
            self.rows[first : first + rows_in], self.weights, first, self.stride, self.pad_left, self.outputs
        )
        return given, requantise(sums + self.bias, self.multiplier, self.shift, self.zero_point)


def shapes():
    """(size, stride, pad_left, width): what SAME and symmetric padding give, then the rare ones."""
    for width in (4, 7, 8, 13):
        yield from [(3, 1, 1, width), (3, 2, 0, width), (3, 2, 1, width), (5, 1, 2, width), (5, 2, 1, width)]
        yield from [(5, 2, 2, width), (5, 2, 0, width), (3, 1, 0, width), (3, 1, 2, width), (5, 1, 1, width)]
    yield from [(3, 1, 1, 1), (3, 2, 1, 1), (5, 1, 2, 2), (5, 2, 2, 3)]


@BUILDS
def test_depthwise_rows_equal_a_plain_loop(flags, kind):
    rng, board, expected = np.random.default_rng(2), Board(["depthwise"], flags, kind), []
    for shape in shapes():
        size = shape[0]
        for count, zero_points in [(1, (0, -128)), (4, (-128, -5)), (5, (7, 100))]:
            layer = Layer(board, rng, shape, count, zero_points)
            for first, rows_in in [(0, size), (1, size - 1), (size // 2, size // 2 + 1), (0, 1), (0, size - 1)]:
                given, right = layer.row(board, first, rows_in)
                groups = -(-layer.outputs // 4)
                tiles = np.zeros((groups, -(-count // 2), 4, 2), np.int16)
                at = board.put(tiles, GUARD)
                board.call("depthwise_to_tiles", layer.address, given, first, rows_in, at)
                expected.append((at, "tiles", right, 0))
                for group in (0, 1):
                    at = board.put(np.full((-(-(group + groups) // 2), count, 8), 77, np.int16), GUARD)
                    board.call("depthwise_to_strips", layer.address, given, first, rows_in, at, group)
                    expected.append((at, "strips", right, group))
    board.run()
    for address, layout, right, group in expected:
        got = board.get(address, GUARD)
        if layout == "tiles":  # (groups, pairs, 4, 2) -> (pixels, channels)
            pixels = got.transpose(0, 2, 1, 3).reshape(len(got) * 4, -1)[: len(right)]
            np.testing.assert_array_equal(pixels, to_even(right, 1))
        else:  # (strips, channels, 8) -> (pixels, channels)
            pixels = got.transpose(0, 2, 1).reshape(len(got) * 8, -1)
            np.testing.assert_array_equal(pixels[4 * group : 4 * group + len(right)], right)
            assert (pixels[: 4 * group] == 77).all()


@BUILDS
def test_map4_equals_a_plain_loop(flags, kind):
    rng, board, expected = np.random.default_rng(3), Board(["depthwise"], flags, kind), []
    for count, zero_in, zero_point in [(1, 0, -128), (2, -128, 9), (7, 100, -30)]:
        weights, values = rng.integers(-127, 128, (count, 3, 3)), rng.integers(-128, 128, (count, 2, 2)) - zero_in
        bias, multiplier, shift = random_channels(rng, count, 1)
        table = board.put(fast_table(bias, multiplier, shift))
        packed = np.append(weights[:, :, [0, 2, 1]].astype(np.int8).ravel(), np.int8(77))
        layer = board.struct("PPhxxi", board.put(packed), table, count, zero_point)
        tile = board.put(np.full((-(-count // 2), 4, 2), 77, np.int16), GUARD)
        board.call("depthwise_map4", layer, board.put(values.astype(np.int16)), tile)
        padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
        sums = np.array([(padded[:, y : y + 3, x : x + 3] * weights).sum((1, 2)) for y in (0, 1) for x in (0, 1)])
        expected.append((tile, to_even(requantise(sums + bias, multiplier, shift, zero_point), 1)))
    board.run()
    for tile, right in expected:
        np.testing.assert_array_equal(board.get(tile, GUARD).transpose(1, 0, 2).reshape(4, -1), right)
