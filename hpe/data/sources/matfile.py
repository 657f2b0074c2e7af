"""Reads numeric arrays from MATLAB .mat files (level 5, what `save` writes up to -v7).

scipy.io.loadmat ends the whole process (segmentation fault) on some files that are cut short or altered; here every
length is checked, and the worst that a file can do is to raise MatError. Format: MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from itertools import islice

import numpy as np

from hpe.io.errors import HpeError

HEADER_BYTES = 128
MAX_BYTES = 8_000_000
"""A file whose variables are larger together, once decompressed, is refused."""
MAX_VARIABLES = 1_000
"""So is one with more variables; real ones have about ten."""

INT8, UINT8, INT16, UINT16, INT32, UINT32, SINGLE, DOUBLE, INT64, UINT64 = 1, 2, 3, 4, 5, 6, 7, 9, 12, 13
MATRIX, COMPRESSED = 14, 15
DTYPES = {
    INT8: "i1",
    UINT8: "u1",
    INT16: "i2",
    UINT16: "u2",
    INT32: "i4",
    UINT32: "u4",
    SINGLE: "f4",
    DOUBLE: "f8",
    INT64: "i8",
    UINT64: "u8",
}
NUMERIC_CLASSES = range(6, 16)
"""Array classes from double to uint64; the others (cell, struct, object, char, sparse) are skipped."""


class MatError(HpeError, ValueError):
    """The file is no .mat of level 5, or is damaged."""


def read_arrays(content: bytes, names: Collection[str]) -> dict[str, np.ndarray]:
    """The real numeric arrays with the given names, as float64 in their own shape; others are skipped."""
    if content[:4] == b"\x89HDF" or b"MATLAB 7.3" in content[:HEADER_BYTES]:
        raise MatError("it is a version 7.3 file; save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:HEADER_BYTES])
    if order is None:
        raise MatError("it does not begin like a .mat file")
    arrays: dict[str, np.ndarray] = {}
    left = MAX_BYTES
    for number, (kind, data) in enumerate(_elements(content[HEADER_BYTES:], order)):
        if number == MAX_VARIABLES:
            raise MatError(f"it has more than {MAX_VARIABLES:,} variables")
        if kind == COMPRESSED:
            decompressed = _decompress(data, left)
            left -= len(decompressed)
            kind, data = next(_elements(decompressed, order))
        if kind == MATRIX:
            name, array = _matrix(data, order, names)
            if array is not None:
                arrays[name] = array
    return arrays


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The (type, content) pairs that make up `data`."""
    position = 0
    while position + 8 <= len(data):
        word, size = struct.unpack_from(order + "II", data, position)
        if word >> 16:  # a small element keeps its size in the upper half and its content in the second word
            kind, size, start, end = word & 0xFFFF, word >> 16, position + 4, position + 8
            if size > 4:
                raise MatError("an element has an impossible size")
        else:
            kind, start = word, position + 8
            end = start + size if kind == COMPRESSED else start + (size + 7) // 8 * 8
        if start + size > len(data):
            raise MatError("it is cut short")
        yield kind, data[start : start + size]
        position = end


def _decompress(data: bytes, most: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, max(most, 1))  # 0 would mean no limit
    except zlib.error as error:
        raise MatError(f"its compressed data are damaged ({error})") from None
    if stream.unconsumed_tail:
        raise MatError(f"its variables have more than {MAX_BYTES:,} bytes")
    if not stream.eof or len(content) < 8:
        raise MatError("its compressed data are cut short")
    return content


def _matrix(data: bytes, order: str, names: Collection[str]) -> tuple[str, np.ndarray | None]:
    """Name and content of a matrix element; None where it is not wanted or no real numeric array."""
    parts = list(islice(_elements(data, order), 4))  # an array may claim a million more
    if len(parts) < 3 or len(parts[0][1]) < 4 or parts[1][0] != INT32 or len(parts[1][1]) % 4:
        return "", None  # classes of objects that have no such head
    (_, flags), (_, dimensions), (_, label), *values = parts
    name = label.decode("latin-1")
    array_class = struct.unpack_from(order + "I", flags)[0] & 0xFF
    if name not in names or array_class not in NUMERIC_CLASSES or not values:
        return name, None
    kind, raw = values[0]
    if kind not in DTYPES:
        raise MatError(f"{name} has the unknown number type {kind}")
    dtype = np.dtype(order + DTYPES[kind])
    shape = tuple(np.frombuffer(dimensions, order + "i4").tolist())
    count = len(raw) // dtype.itemsize
    if len(raw) % dtype.itemsize or any(side < 0 for side in shape) or _product(shape) != count:
        raise MatError(f"{name} does not have as many numbers as its shape says")
    try:
        return name, np.frombuffer(raw, dtype).astype(np.float64).reshape(shape, order="F")
    except ValueError as error:  # more dimensions than numpy has, or impossible ones
        raise MatError(f"{name} has a shape that cannot be ({error})") from None


def _product(shape: tuple[int, ...]) -> int:
    result = 1
    for side in shape:
        result *= side
    return result
