"""dsp/elementwise.c on the emulated Cortex-M4 against plain numpy, at every pair of int8 values that matters."""

import numpy as np

from export.compiler.emulator.calls import Board
from tests.export.compiler.emulated import needs_emulator
from tests.export.compiler.kernels.oracle import high_product, rounding_shift

GUARD = 8
pytestmark = needs_emulator
EXACT = (1 << 30, 0)
"""The factor 1/2 of the input with the larger scale."""


def added(a, b, zeros, factors, low, high):
    """TFLite's ADD on int8 arrays."""
    (x, y), (zero_a, zero_b, zero_out) = (v.astype(np.int64) for v in (a, b)), zeros
    (m_a, s_a), (m_b, s_b), (m, s) = factors
    total = rounding_shift(high_product((x - zero_a) << 20, m_a), s_a)
    total = total + rounding_shift(high_product((y - zero_b) << 20, m_b), s_b)
    scaled = rounding_shift(high_product(total << max(-s, 0), m), max(s, 0))
    return np.clip(scaled + zero_out, low, high).astype(np.int8)


def multiplied(a, b, zeros, multiplier, shift, low, high):
    product = (a.astype(np.int64) - zeros[0]) * (b.astype(np.int64) - zeros[1])
    scaled = rounding_shift(high_product(product << max(-shift, 0), multiplier), max(shift, 0))
    return np.clip(scaled + zeros[2], low, high).astype(np.int8)


def test_add_equals_the_reference_in_place_and_at_its_edges():
    rng, board, expected = np.random.default_rng(8), Board(["elementwise"]), []
    other, out = (1518500250, 1), (1400000011, 18)
    cases = [(EXACT, other, out), (other, EXACT, out), (EXACT, EXACT, out), (EXACT, ((1 << 31) - 1, 22), (1 << 30, 19))]
    cases += [
        (other, other, out),
        (EXACT, (1 << 30, 25), out),
        (EXACT, other, (1 << 30, 0)),
        (EXACT, other, (1 << 30, 23)),
    ]
    for factors in cases:
        for zeros, low, high in [((3, -7, -5), -128, 127), ((-128, 127, -128), -128, 127), ((0, 0, 10), 10, 99)]:
            for count in (1, 3, 1031):
                a, b = rng.integers(-128, 128, (2, count)).astype(np.int8)
                a[:3], b[:3] = [-128, 127, -128][:count], [-128, 127, 127][:count]
                numbers = [value for zero, factor in zip(zeros, factors, strict=True) for value in (zero, *factor)]
                struct = board.struct("11i", *numbers, low, high)
                right = added(a, b, zeros, factors, low, high)
                for place in range(3):  # into memory of its own, over a, over b
                    first, second = board.put(a, GUARD), board.put(b, GUARD)
                    at = [board.put(np.zeros_like(a), GUARD), first, second][place]
                    board.call("add_images", struct, first, second, at, count)
                    expected.append((at, right))
                early = board.put(np.concatenate([np.zeros(5, np.int8), a]), GUARD)  # output 5 bytes before a
                board.call("add_images", struct, early + 5, board.put(b), early, count)
                expected.append((early, right))
    board.run()
    for address, right in expected:
        np.testing.assert_array_equal(board.get(address, GUARD)[: len(right)], right)


def test_multiplication_and_gates_equal_the_reference():
    rng, board, expected = np.random.default_rng(9), Board(["elementwise"]), []
    for multiplier, shift in [(1400000011, 7), ((1 << 31) - 1, 1), (1 << 30, 22), (1 << 30, 0), (1300000000, -1)]:
        for zeros, low, high in [((3, -7, -5), -128, 127), ((-128, 127, -128), -128, 127), ((0, 0, 10), 10, 99)]:
            a, b = rng.integers(-128, 128, (2, 77)).astype(np.int8)
            struct = board.struct("7i", *zeros, multiplier, shift, low, high)
            first = board.put(a, GUARD)
            board.call("multiply_images", struct, first, board.put(b), first, 77)
            expected.append((first, multiplied(a, b, zeros, multiplier, shift, low, high)))
            image = a.reshape(7, 11)
            at = board.put(image, GUARD)
            board.call("gate_image", struct, at, board.put(b[:11]), at, 7, 11)
            gated = multiplied(image, b[:11], zeros, multiplier, shift, low, high)
            expected.append((at, gated))
            for early in (1, 5, 80):  # the output covers a part of the input, or none of it
                at = board.put(np.concatenate([np.zeros(early, np.int8), a]), GUARD)
                board.call("gate_image", struct, at + early, board.put(b[:11]), at, 7, 11)
                expected.append((at, gated.ravel()))
    board.run()
    for address, right in expected:
        np.testing.assert_array_equal(board.get(address, GUARD)[: len(right)], right)


def test_tables_are_looked_up_in_images_and_rows():
    rng, board = np.random.default_rng(10), Board(["elementwise"])
    table, values = (rng.integers(-128, 128, n).astype(np.int8) for n in (256, 1031))
    image = board.put(values, GUARD)
    board.call("lookup", board.put(table), image, image, len(values))
    wide, rows = rng.integers(-255, 256, 511).astype(np.int16), rng.integers(-255, 256, (3, 12)).astype(np.int16)
    at = board.put(rows, GUARD)
    board.call("lookup_rows", board.put(wide) + 2 * 255, at, 3, 7, 12)
    board.run()
    np.testing.assert_array_equal(board.get(image, GUARD), table[values.astype(int) + 128])
    rows[:, 2:9] = wide[rows[:, 2:9].astype(int) + 255]
    np.testing.assert_array_equal(board.get(at, GUARD), rows)


def test_add_takes_sixteen_instructions_a_value():
    board = Board(["elementwise"])
    struct = board.struct("11i", 3, *EXACT, -7, 1518500250, 1, -5, 1400000011, 18, -128, 127)
    image = board.put(np.zeros(4000, np.int8))
    board.call("add_images", struct, image, image, image, 4000)
    assert board.run()[0] < 16 * 4000
