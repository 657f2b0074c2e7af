"""dsp/convert.c on the emulated Cortex-M4: what goes into tiles, strips and rows, against numpy."""

import numpy as np
import pytest

from export.compiler.emulator.calls import Board
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.kernels.oracle import to_even, to_tile

GUARD = 8
pytestmark = needs_emulator
CHANNELS = [1, 2, 3, 4, 5, 7, 8, 9, 14, 27]


def pixels_of_tile(tile: np.ndarray, pixels: int) -> np.ndarray:
    """(pairs, 4, 2) -> (pixels, channels)"""
    return tile.transpose(1, 0, 2).reshape(4, -1)[:pixels]


def test_tiles_and_strips_hold_the_image():
    rng, board, expected = np.random.default_rng(5), Board(["convert"]), []
    for channels in CHANNELS:
        for pixels in range(1, 9):
            image = rng.integers(-128, 128, (pixels, channels)).astype(np.int8)
            source = board.put(image)
            strip = board.put(np.zeros((channels, 8), np.int16), GUARD)
            board.call("widen_strip", source, channels, pixels, strip)
            expected.append((strip, lambda got, n=pixels: got.T[:n], image))
            if pixels <= 4:
                tile = board.put(np.zeros((-(-channels // 2), 4, 2), np.int16), GUARD)
                board.call("widen_tile", source, channels, pixels, tile)
                expected.append((tile, lambda got, n=pixels: pixels_of_tile(got, n), to_even(image, 1)))
                back = board.put(np.zeros_like(image), GUARD)
                board.call("narrow_tile", board.put(to_tile(np.resize(image, (4, channels)))), channels, pixels, back)
                expected.append((back, lambda got: got, image))
    board.run()
    for address, view, right in expected:
        np.testing.assert_array_equal(view(board.get(address, GUARD)), right)


def test_spread_row_centres_and_leaves_the_padding():
    rng, board, expected = np.random.default_rng(6), Board(["convert"]), []
    for channels, width, zero_point in [(1, 1, 0), (3, 5, -128), (4, 8, 127), (9, 7, 3)]:
        image = rng.integers(-128, 128, (width, channels)).astype(np.int8)
        rows = np.full((channels, width + 4), 77, np.int16)
        at = board.put(rows, GUARD)
        board.call("spread_row", board.put(image), channels, width, zero_point, at, width + 4)
        rows[:, 2 : 2 + width] = image.T.astype(np.int16) - zero_point
        expected.append((at, rows))
    board.run()
    for address, right in expected:
        np.testing.assert_array_equal(board.get(address, GUARD), right)


@pytest.mark.parametrize("kind", ["dsp", "portable"])
def test_gathered_windows_are_those_of_a_padded_image(kind):
    rng, board, expected = np.random.default_rng(7), Board(["convert"], kind=kind), []
    cases = [
        ((3, 3), (1, 1), (1, 1), 16),
        ((3, 3), (2, 2), (0, 0), 3),
        ((3, 3), (2, 2), (1, 1), 3),
        ((1, 1), (2, 2), (0, 0), 5),
    ]
    cases += [((3, 3), (1, 1), (1, 1), 3), ((3, 9), (1, 1), (1, 1), 1), ((1, 3), (1, 1), (0, 1), 3)]
    cases += [((5, 3), (1, 2), (2, 1), 1), ((2, 4), (1, 1), (0, 1), 2), ((7, 7), (1, 1), (3, 3), 3)]
    for (size_y, size_x), (stride_y, stride_x), (top, left), inputs in cases:
        height, width, zero_point = 5, 6, int(rng.integers(-128, 128))
        image = rng.integers(-128, 128, (height, width, inputs)).astype(np.int8)
        numbers = (height, width, inputs, size_y, size_x, stride_y, stride_x, top, left, zero_point)
        gather, source = board.struct("hhhBBBBBBb", *numbers), board.put(image)
        padded = np.pad(image, ((top, 7), (left, 7), (0, 0)), constant_values=zero_point)
        for y, x, pixels in [(0, 0, 2), (1, 1, 1), (1, 0, 3), (0, 0, 4), (2, 2, 4)]:
            windows = []
            for i in range(pixels):
                first, column = y * stride_y, (x + i) * stride_x
                windows.append(padded[first : first + size_y, column : column + size_x].ravel())
            values = size_y * size_x * inputs
            if any(len(w) < values for w in windows):
                continue
            tile = board.put(np.zeros((-(-values // 2), 4, 2), np.int16), GUARD)
            board.call("gather_tile", gather, source, y, x, pixels, tile)
            expected.append((tile, pixels, to_even(np.array(windows), 1)))
    board.run()
    for tile, pixels, right in expected:
        np.testing.assert_array_equal(pixels_of_tile(board.get(tile, GUARD), pixels), right)
