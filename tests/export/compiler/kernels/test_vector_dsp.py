"""dsp/vector.c on the emulated Cortex-M4 against a plain numpy loop, rounded twice and once."""

import numpy as np

from export.compiler.emulator.calls import Board
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.kernels.oracle import channel_table, random_channels, requantise

GUARD = 8


def rounded_once(sums, multiplier, shift, zero_point, low, high):
    total = sums.astype(np.int64) * multiplier + (np.int64(1) << (30 + shift))
    return np.clip((total >> (31 + shift)) + zero_point, low, high).astype(np.int8)


@needs_emulator
def test_vectors_equal_a_plain_loop():
    rng, board, expected = np.random.default_rng(11), Board(["vector"]), []
    for inputs, outputs in [(1, 1), (3, 2), (4, 3), (7, 5), (64, 10), (135, 6)]:
        for zero_point, low, high in [(-128, -128, 127), (5, -20, 90)]:
            weights, vector = rng.integers(-128, 128, (outputs, inputs)), rng.integers(-128, 128, inputs)
            bias, multiplier, shift = random_channels(rng, outputs, inputs)
            shift[rng.random(outputs) < 0.2] = -1
            numbers = (inputs, outputs, zero_point, low, high)
            table = board.put(channel_table(bias, multiplier, shift))
            layer = board.struct("PPiiiii", board.put(weights.astype(np.int8)), table, *numbers)
            source, sums = board.put(vector.astype(np.int8)), weights @ vector + bias
            twice = np.clip(requantise(sums, multiplier, shift, zero_point), low, high)
            once = rounded_once(sums, multiplier, shift, zero_point, low, high)
            for function, right in [("twice", twice), ("once", once), ("sums", sums.astype(np.int32))]:
                at = board.put(np.zeros_like(right), GUARD)
                board.call(f"vector_{function}", layer, source, at)
                expected.append((at, right))
    counts = board.run()
    for address, right in expected:
        np.testing.assert_array_equal(board.get(address, GUARD), right)
    assert counts[-1] < 2.4 * 135 * 6
