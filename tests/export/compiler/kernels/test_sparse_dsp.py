"""dsp/sparse.c on the emulated Cortex-M4 against a plain numpy loop: equal bytes."""

import numpy as np
import pytest

from export.compiler.emulator.calls import Board
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.kernels.oracle import fast_table, pack_sparse, random_channels, requantise

GUARD = 8
SHAPES = [(1, 1, 0), (3, 2, 0.5), (9, 5, 0.7), (40, 7, 0.8), (256, 4, 0.9), (33, 6, 1.0), (400, 3, 0.99), (180, 2, 0)]
"""inputs, outputs, share of zeros"""


def add_layer(board, rng, shape, zero_point, entry_bytes):
    """A layer and a strip in memory: the address of each, and the right outputs (8 pixels, outputs)."""
    inputs, outputs, zeros = shape
    weights = rng.integers(-127, 128, (outputs, inputs)) * (rng.random((outputs, inputs)) >= zeros)
    image = rng.integers(-128, 128, (8, inputs))
    bias, multiplier, shift = random_channels(rng, outputs, inputs)
    entries, counts = pack_sparse(weights, entry_bytes)
    table = board.put(fast_table(bias, multiplier, shift))
    layer = board.struct("PPPhhi", board.put(entries), board.put(counts), table, inputs, outputs, zero_point)
    right = requantise(image @ weights.T + bias, multiplier, shift, zero_point)
    return layer, board.put(image.T.astype(np.int16)), right


@needs_emulator
@pytest.mark.parametrize(("flag", "kind"), [("-O3", "dsp"), ("-O0", "dsp"), ("-O2", "twins")])
def test_sparse_equals_a_plain_loop(flag, kind):
    rng, board, expected = np.random.default_rng(4), Board(["sparse"], (flag,), kind), []
    for entry_bytes in (3, 4):
        for shape in SHAPES:
            for pixels, zero_point in [(1, -128), (3, 5), (4, -128), (4, -3), (5, 9), (7, -128), (8, -128), (8, 127)]:
                outputs = shape[1]
                layer, strip, right = add_layer(board, rng, shape, zero_point, entry_bytes)
                image = board.put(np.zeros(pixels * outputs, np.int8), GUARD)
                board.call(f"sparse{entry_bytes}_to_image", layer, strip, pixels, image)
                expected.append((image, right[:pixels].ravel()))

                step = int(rng.choice([4, 80]))  # side by side, or in two image rows
                rows = np.full((outputs + 8, 12), 77, np.int16)
                at = board.put(rows, GUARD)
                board.call(f"sparse{entry_bytes}_to_rows", layer, strip, pixels, at + 4, 12, step)
                flat = rows.reshape(-1)
                for c in range(outputs):
                    for i in range(4 if pixels <= 4 else 8):
                        value = int(right[i, c]) - zero_point if i < pixels else 0
                        flat[12 * c + 2 + (i if i < 4 else step + i - 4)] = value
                expected.append((at, rows))
    board.run()
    for address, values in expected:
        np.testing.assert_array_equal(board.get(address, GUARD), values)


@needs_emulator
def test_zeros_pay():
    rng, counts = np.random.default_rng(0), {}
    for zeros in (0.5, 0.75, 0.875):
        board = Board(["sparse"])
        layer, strip, _ = add_layer(board, rng, (135, 64, zeros), 3, 3)
        board.call("sparse3_to_image", layer, strip, 8, board.put(np.zeros(512, np.int8)))
        counts[zeros] = board.run()[0] / (135 * 64 * 8)
    assert counts[0.5] < 0.95
    assert counts[0.75] < 0.53
    assert counts[0.875] < 0.32
