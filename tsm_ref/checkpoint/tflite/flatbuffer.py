"""Tables, vectors and texts of a flatbuffer, no offset of which is believed.

A flatbuffer is read in place: a table says by offsets where its fields are, and a field where what
it refers to is. The accessors of the `flatbuffers` package follow every offset (and negative ones
from the end of the file), so each is checked here before it is followed. Nothing is followed by
itself: a caller takes one step at a time, so offsets that run in circles cost no more than others.

Source: the internals page of the FlatBuffers documentation (little endian; a table begins with the
distance to its vtable, which holds its own size, that of the table, and the place of each field).
"""

import struct
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import CheckpointError

Array = NDArray[Any]

__all__ = ["Table", "root"]

SIZES = {"b": 1, "B": 1, "?": 1, "H": 2, "h": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}
"""The sizes of scalars by their letters in `struct`."""


def damaged(what: str) -> NoReturn:
    """Raise the `CheckpointError` of a flatbuffer that is not one."""
    raise CheckpointError(f"the file is cut off or damaged: {what}")


def root(data: bytes) -> "Table":
    r"""The table that a buffer begins with.

    >>> root(b"\xff\xff\xff\x7fTFL3")
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: the file is cut off or damaged: a table lies outside of it
    """
    return Table(data, _scalar(data, "I", 0))


def _scalar(data: bytes, letter: str, place: int) -> Any:
    if not 0 <= place <= len(data) - SIZES[letter]:
        damaged("a number lies outside of it")
    return struct.unpack_from("<" + letter, data, place)[0]


class Table:
    """One table; its fields are numbered in the order of the schema."""

    def __init__(self, data: bytes, place: int) -> None:
        if not 0 <= place <= len(data) - 4:
            damaged("a table lies outside of it")
        self._data, self._place = data, place
        self._fields = place - _scalar(data, "i", place)
        if not 0 <= self._fields <= len(data) - 4:
            damaged("the fields of a table lie outside of it")
        self._count, self._size = struct.unpack_from("<HH", data, self._fields)
        if self._fields + self._count > len(data) or place + self._size > len(data):
            damaged("a table reaches past its end")

    def _field(self, number: int, size: int) -> int:
        """Where a field stands; -1 where the table has none."""
        entry = 4 + 2 * number
        if entry + 2 > self._count:
            return -1
        place = int(_scalar(self._data, "H", self._fields + entry))
        if not place:
            return -1
        if place < 4 or place + size > self._size:
            damaged("a field lies outside of its table")
        return self._place + place

    def number(self, number: int, letter: str, default: Any = 0) -> Any:
        """A scalar field, or its default."""
        place = self._field(number, SIZES[letter])
        return default if place < 0 else _scalar(self._data, letter, place)

    def table(self, number: int) -> "Table | None":
        """A table that a field refers to."""
        place = self._referred(number)
        return None if place < 0 else Table(self._data, place)

    def tables(self, number: int) -> Iterator["Table"]:
        """The tables of a vector, one after the other."""
        start, count = self._vector(number, 4)
        for place in range(start, start + 4 * count, 4):
            yield Table(self._data, place + _scalar(self._data, "I", place))

    def length(self, number: int) -> int:
        """How many tables a vector holds."""
        return self._vector(number, 4)[1]

    def array(self, number: int, dtype: str) -> Array | None:
        """The scalars of a vector, without a copy; None where the field is absent."""
        if self._referred(number) < 0:
            return None
        kind = np.dtype(dtype)
        start, count = self._vector(number, kind.itemsize)
        return np.frombuffer(self._data, kind, count, start)

    def text(self, number: int) -> str:
        """A text; empty where the field is absent."""
        start, count = self._vector(number, 1)
        return self._data[start : start + count].decode("utf-8", "replace")

    def _referred(self, number: int) -> int:
        place = self._field(number, 4)
        return place if place < 0 else place + int(_scalar(self._data, "I", place))

    def _vector(self, number: int, size: int) -> tuple[int, int]:
        """Where the first element of a vector stands, and how many there are."""
        place = self._referred(number)
        if place < 0:
            return 0, 0
        count = int(_scalar(self._data, "I", place))
        if place + 4 + count * size > len(self._data):
            damaged(f"a list of {count} reaches past its end")
        return place + 4, count
