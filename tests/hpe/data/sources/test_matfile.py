"""The .mat reader against scipy, and against damaged files, some of which scipy does not survive."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from hpe.data.sources import matfile
from hpe.data.sources.matfile import MatError, read_arrays

REAL = Path(__file__).resolve().parents[5] / "shared" / "data" / "aflw2000_mat"
ARRAYS = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "long_name_of_an_array": np.random.default_rng(0).normal(size=(2, 3, 4)),
    "small": np.array([[3]], np.int8),
    "pair": np.array([[300, -5]], np.int16),
    "unsigned": np.array([[2**31], [7]], np.uint32),
    "empty": np.zeros((0, 3)),
    "text": "hello",
    "cell": np.array([[1, "x"]], dtype=object),
    "struct": {"field": np.eye(2)},
}


def saved(**options) -> bytes:
    file = io.BytesIO()
    savemat(file, ARRAYS, **options)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_those_that_scipy_wrote(compressed):
    found = read_arrays(saved(do_compression=compressed), set(ARRAYS))
    assert set(found) == {"a", "long_name_of_an_array", "small", "pair", "unsigned", "empty"}
    for name, array in found.items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, np.asarray(ARRAYS[name], np.float64))


def test_only_the_named_arrays_are_read():
    assert set(read_arrays(saved(), {"a", "absent"})) == {"a"}


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the AFLW2000-3D pairs in {REAL}")
def test_real_files_read_as_with_scipy():
    paths = sorted(REAL.glob("*.mat"))
    assert paths
    for path in paths:
        expected = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
        found = read_arrays(path.read_bytes(), set(expected))
        assert set(found) == set(expected)
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name].astype(np.float64))


def test_big_endian_files():
    """One 1x2 double, written by hand as a big-endian machine would."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    parts = struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 2) + struct.pack(">HH4s", 1, 1, b"x\0\0\0")
    parts += struct.pack(">IIdd", 9, 16, 1.5, -2.0)
    content = header + struct.pack(">II", 14, len(parts)) + parts
    np.testing.assert_array_equal(read_arrays(content, {"x"})["x"], [[1.5, -2.0]])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "begin"),
        (b"garbage" * 100, "begin"),
        (b"MATLAB 7.3 MAT-file".ljust(128) + b"\x89HDF", "7.3"),
        (saved()[:-50], "cut short"),
        (saved(do_compression=True)[:-1], "cut short"),
    ],
)
def test_what_is_wrong_is_said(content, what):
    with pytest.raises(MatError, match=what):
        read_arrays(content, {"a"})


def compressed_matrices(count: int, inside: bytes) -> bytes:
    """A .mat of `count` compressed variables, each a matrix element with the given content."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    packed = zlib.compress(struct.pack("<II", 14, len(inside)) + inside, 9)
    return header + (struct.pack("<II", 15, len(packed)) + packed) * count


@pytest.mark.parametrize(("count", "elements"), [(3, 900_000), (1, 999_000), (300, 99_000), (2000, 0)])
def test_the_work_that_a_small_file_costs_is_bounded(monkeypatch, count, elements):
    """Elements looked at and bytes decompressed, counted: a 23 kB file could cost seconds, one of 2 MB minutes."""
    looked, unpacked = [0], [0]
    elements_of, decompress = matfile._elements, matfile._decompress

    def counted(data, order):
        for element in elements_of(data, order):
            looked[0] += 1
            yield element

    def measured(data, most):
        content = decompress(data, most)
        unpacked[0] += len(content)
        return content

    monkeypatch.setattr(matfile, "_elements", counted)
    monkeypatch.setattr(matfile, "_decompress", measured)
    with contextlib.suppress(MatError):
        read_arrays(compressed_matrices(count, struct.pack("<II", 5, 0) * elements), {"a"})
    assert unpacked[0] <= matfile.MAX_BYTES
    assert looked[0] <= 6 * matfile.MAX_VARIABLES + 6


def test_a_compression_bomb_is_refused():
    file = io.BytesIO()
    savemat(file, {"a": np.zeros((1200, 1000))}, do_compression=True)
    assert len(file.getvalue()) < 20_000
    with pytest.raises(MatError, match="more than"):
        read_arrays(file.getvalue(), {"a"})


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.booleans(), st.data())
def test_a_damaged_file_raises_mat_error_and_nothing_else(compressed, data):
    content = bytearray(saved(do_compression=compressed))
    content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 6)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrays = read_arrays(bytes(content), set(ARRAYS))
    except MatError:
        return
    assert all(array.dtype == np.float64 for array in arrays.values())
