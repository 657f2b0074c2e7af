"""dsp/dense.c on the emulated Cortex-M4 against a plain numpy loop: equal bytes."""

import numpy as np
import pytest

from export.compiler.emulator.calls import Board
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.kernels.oracle import (
    fast_table,
    pack_dense,
    random_channels,
    requantise,
    to_even,
    to_tile,
)

GUARD = 8
SHAPES = [(1, 1), (2, 1), (3, 2), (7, 4), (8, 3), (9, 5), (10, 6), (13, 14), (32, 20), (99, 7), (135, 3), (300, 5)]


def add_case(board: Board, rng: np.random.Generator, inputs: int, outputs: int, zero_point: int):
    """Put a layer and a tile into memory; returns the address of its struct, that of the tile and the right outputs."""
    weights = rng.integers(-127, 128, (outputs, inputs))
    image = rng.integers(-128, 128, (4, inputs))
    bias, multiplier, shift = random_channels(rng, outputs, inputs)
    table = board.put(to_even(fast_table(bias, multiplier, shift), 0, repeat=True))
    layer = board.struct("PPhhi", board.put(pack_dense(weights)), table, inputs, outputs, zero_point)
    return layer, board.put(to_tile(image)), requantise(image @ weights.T + bias, multiplier, shift, zero_point)


@needs_emulator
@pytest.mark.parametrize(("flag", "kind"), [("-O3", "dsp"), ("-O0", "dsp"), ("-O2", "twins")])
def test_dense_equals_a_plain_loop(flag, kind):
    rng, board, expected = np.random.default_rng(1), Board(["dense"], (flag,), kind), []
    for inputs, outputs in SHAPES:
        for pixels, zero_point in [(1, -128), (2, 3), (3, -128), (3, -9), (4, -128), (4, 17), (4, 127)]:
            layer, tile, right = add_case(board, rng, inputs, outputs, zero_point)
            image = board.put(np.zeros(pixels * outputs, np.int8), GUARD)
            board.call("dense_to_image", layer, tile, pixels, image)
            expected.append((image, right[:pixels].ravel()))

            rows = np.full((outputs, 10), 77, np.int16)  # two pixels before and four after must stay as they are
            at = board.put(rows, GUARD)
            board.call("dense_to_rows", layer, tile, pixels, at + 4, 10)
            rows[:, 2:6] = 0
            rows[:, 2 : 2 + pixels] = (right[:pixels].astype(np.int16) - zero_point).T
            expected.append((at, rows))
    board.run()
    for address, values in expected:
        np.testing.assert_array_equal(board.get(address, GUARD), values)


def pack_clustered(weights: np.ndarray) -> np.ndarray:
    """int8 (outputs, inputs) -> tables and codes, as kernels/clustered.h says."""
    packed = []
    for first, second in zip(*(to_even(weights, 0)[i::2] for i in (0, 1)), strict=True):
        tables = [sorted(set(row.tolist())) for row in (first, second)]
        codes = [tables[0].index(a) | tables[1].index(b) << 4 for a, b in zip(first, second, strict=True)]
        packed += [value & 0xFF for table in tables for value in [*table, *[99] * (16 - len(table))]]
        packed += [*codes, *[0] * (len(codes) % 2)]
    return np.array(packed, np.uint8)


@needs_emulator
@pytest.mark.parametrize(("flag", "kind"), [("-O3", "dsp"), ("-O0", "dsp"), ("-O2", "portable")])
def test_clustered_equals_a_plain_loop(flag, kind):
    rng, board, expected = np.random.default_rng(5), Board(["dense", "clustered"], (flag,), kind), []
    for inputs, outputs in [(1, 1), (2, 3), (9, 5), (33, 4), (256, 3)]:
        for pixels, zero_point in [(1, -128), (3, 4), (4, -128), (4, -9)]:
            table = rng.integers(-127, 128, (outputs, 16))
            weights = np.take_along_axis(table, rng.integers(0, 16, (outputs, inputs)), 1)
            values = rng.integers(-128, 128, (4, inputs))
            bias, multiplier, shift = random_channels(rng, outputs, inputs)
            channels = board.put(to_even(fast_table(bias, multiplier, shift), 0, repeat=True))
            layer = board.struct("PPhhi", board.put(pack_clustered(weights)), channels, inputs, outputs, zero_point)
            tile = board.put(to_tile(values))
            right = requantise(values @ weights.T + bias, multiplier, shift, zero_point)
            image = board.put(np.zeros(pixels * outputs, np.int8), GUARD)
            board.call("clustered_to_image", layer, tile, pixels, image)
            expected.append((image, right[:pixels].ravel()))
            rows = np.full((outputs, 10), 77, np.int16)
            at = board.put(rows, GUARD)
            board.call("clustered_to_rows", layer, tile, pixels, at + 4, 10)
            rows[:, 2:6] = 0
            rows[:, 2 : 2 + pixels] = (right[:pixels].astype(np.int16) - zero_point).T
            expected.append((at, rows))
    board.run()
    for address, numbers in expected:
        np.testing.assert_array_equal(board.get(address, GUARD), numbers)


@needs_emulator
def test_dense_takes_less_than_one_instruction_a_multiplication_in_wide_layers():
    board = Board(["dense"])
    layer, tile, _ = add_case(board, np.random.default_rng(0), 135, 64, -4)
    board.call("dense_to_image", layer, tile, 4, board.put(np.zeros(256, np.int8)))
    (count,) = board.run()
    assert count < 0.9 * 135 * 64 * 4
