"""dsp/mean.c on the emulated Cortex-M4 against numpy, at counts where 16-bit sums are full."""

import numpy as np

from export.compiler.emulator.calls import Board
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.kernels.oracle import requantise

GUARD = 8


@needs_emulator
def test_mean_equals_a_plain_sum():
    rng, board, expected = np.random.default_rng(12), Board(["mean"]), []
    for outer, count, inner in [(1, 1, 1), (2, 3, 5), (1, 256, 4), (1, 257, 9), (1, 1024, 8), (3, 16, 7)]:
        for fill in (-128, 127, None):
            shape = (outer, count, inner)
            values = np.full(shape, fill) if fill is not None else rng.integers(-128, 128, shape)
            zero_in, zero_out, multiplier, shift = -5, 9, 1500000011, int(np.log2(count))
            sums = values.sum(axis=1) - zero_in * count
            right = requantise(sums, np.full(inner, multiplier), np.full(inner, shift), zero_out)
            numbers = (outer, count, inner, zero_in * count, multiplier, shift, zero_out)
            out = board.put(np.zeros((outer, inner), np.int8), GUARD)
            board.call("mean", board.struct("7i", *numbers), board.put(values.astype(np.int8)), out)
            expected.append((out, right))
    board.run()
    for address, right in expected:
        np.testing.assert_array_equal(board.get(address, GUARD), right)
