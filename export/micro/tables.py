"""Checked access to the tables of a flatbuffer: every offset and every vector is held against the bytes there are."""

from __future__ import annotations

import struct

import numpy as np

from export.errors import ModelFileError


class Reader:
    """The file's bytes with checked access. `budget` bounds all vector reads together: vectors may be shared in a
    hostile file, and following one huge vector from many tables would never end."""

    def __init__(self, data: bytes):
        self.data = data
        self.budget = 16 * len(data) + 1024

    def number(self, fmt: str, at: int) -> int:
        try:
            if at < 0:
                raise ModelFileError(f"an offset points before the file ({at})")
            return struct.unpack_from("<" + fmt, self.data, at)[0]
        except struct.error:
            raise ModelFileError(
                f"an offset points past its end (byte {at} of {len(self.data)}), as in a truncated one"
            ) from None

    def spend(self, amount: int) -> None:
        self.budget -= amount
        if self.budget < 0:
            raise ModelFileError("its tables refer to far more data than the file has")


class Table:
    """A flatbuffer table: field i is read through the vtable, each step checked."""

    def __init__(self, reader: Reader, at: int):
        reader.spend(4)
        self.reader, self.at = reader, at
        self.vtable = at - reader.number("i", at)
        self.fields = (reader.number("H", self.vtable) - 4) // 2

    def _field_at(self, i: int) -> int:
        """File position of field i, or 0 where the table leaves it out."""
        if i >= self.fields:
            return 0
        offset = self.reader.number("H", self.vtable + 4 + 2 * i)
        return self.at + offset if offset else 0

    def number(self, i: int, fmt: str, default: int = 0) -> int:
        at = self._field_at(i)
        return self.reader.number(fmt, at) if at else default

    def table(self, i: int) -> Table | None:
        at = self._field_at(i)
        return Table(self.reader, at + self.reader.number("I", at)) if at else None

    def _vector(self, i: int, item_bytes: int) -> tuple[int, int]:
        """(position of item 0, count) of the vector in field i; (0, 0) where it is left out."""
        at = self._field_at(i)
        if not at:
            return 0, 0
        at += self.reader.number("I", at)
        count = self.reader.number("I", at)
        if count * item_bytes > len(self.reader.data) - at - 4:
            raise ModelFileError(
                f"a list claims {count} items of {item_bytes} bytes at byte {at} of {len(self.reader.data)}"
            )
        return at + 4, count

    def array(self, i: int, dtype: str) -> np.ndarray:
        """The vector of numbers in field i, as a view into the file."""
        start, count = self._vector(i, np.dtype(dtype).itemsize)
        return np.frombuffer(self.reader.data, dtype, count, start) if count else np.zeros(0, dtype)

    def ints(self, i: int) -> tuple[int, ...]:
        values = self.array(i, "<i4")
        self.reader.spend(values.nbytes)
        return tuple(values.tolist())

    def text(self, i: int) -> str:
        values = self.array(i, "u1")
        self.reader.spend(values.nbytes)
        return values.tobytes().decode("utf-8", "replace")

    def tables(self, i: int) -> list[Table]:
        start, count = self._vector(i, 4)
        self.reader.spend(4 * count)
        positions = range(start, start + 4 * count, 4)
        return [Table(self.reader, at + self.reader.number("I", at)) for at in positions]
