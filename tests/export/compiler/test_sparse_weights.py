"""Sparse weights come back as they were, whatever their gaps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.compiler.sparse_weights import pack_sparse, sparse3_entries


def unpacked(stream: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The bytes of sparse3, read as kernels/sparse.h describes them."""
    matrix, at = np.zeros(shape, np.int8), 0
    signed = stream.view(np.int8)
    for row in matrix:
        left, place = int(stream[at]), int(stream[at + 1])
        row[place] = signed[at + 2]
        at += 3
        if left % 2:
            place += int(stream[at]) + 1
            row[place] = signed[at + 1]
            at += 2
        for _ in range(left // 2):
            place += int(stream[at + 1] & 15) + 1
            row[place] = signed[at]
            place += int(stream[at + 1] >> 4) + 1
            row[place] = signed[at + 2]
            at += 3
    assert at == len(stream) - 1  # one byte more, which the kernel reads and drops
    return matrix


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1 << 32), inputs=st.integers(1, 700), share=st.floats(0, 1))
def test_pairs_of_entries_hold_every_weight(seed, inputs, share):
    dice = np.random.default_rng(seed)
    matrix = dice.integers(-128, 128, (3, inputs)).astype(np.int8)
    matrix[dice.random(matrix.shape) < max(share, 1 - 200 / inputs)] = 0
    stream, counts = pack_sparse(matrix, "sparse3")
    np.testing.assert_array_equal(unpacked(stream, matrix.shape), matrix)
    assert counts.size == 0
    entries = sparse3_entries(matrix)
    assert entries is not None
    assert np.count_nonzero(matrix) <= entries <= np.count_nonzero(matrix) + 3 + 3 * inputs / 16


@pytest.mark.parametrize(("nonzeros", "fits"), [(256, True), (257, False)])
def test_an_output_of_too_many_weights_is_left_to_entries_of_a_word(nonzeros, fits):
    matrix = np.ones((1, nonzeros), np.int8)
    assert (sparse3_entries(matrix) == nonzeros) == fits
    entries, counts = pack_sparse(matrix, "sparse4")
    assert entries.dtype == np.uint32
    assert counts.tolist() == [nonzeros]
