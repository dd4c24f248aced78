"""A reader of FlatBuffers, as far as TFLite's files need it: tables, vectors, numbers and texts.

A table begins with a signed offset back to its vtable: the sizes of both, then for each field its place in the table,
0 where the field has its default. Vectors and texts begin with their length. Numbers are little-endian.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FlatTable:
    """A table in a buffer.

    Attributes:
        data: The whole file.
        place: Where the table begins, bytes.
    """

    data: bytes
    place: int

    @classmethod
    def root(cls, data: bytes) -> "FlatTable":
        """Return the table that a file is.

        Args:
            data: The whole file.
        """
        return cls(data, _unpack("<I", data, 0))

    def number(self, field: int, form: str = "i", default: int = 0) -> int:
        """Return a number or truth value.

        Args:
            field: Number of the field.
            form: Its type as `struct` writes it.
            default: What it is where the file leaves it out.
        """
        place = self._find(field)
        return default if place is None else _unpack(f"<{form}", self.data, place)

    def numbers(self, field: int, dtype: str = "<i4") -> NDArray[Any]:
        """Return a vector of numbers, empty where the file leaves it out.

        Args:
            field: Number of the field.
            dtype: NumPy type of its elements.
        """
        start, count = self._vector(field)
        return np.frombuffer(self.data, dtype, count, start)

    def text(self, field: int) -> str:
        """Return a text, empty where the file leaves it out.

        Args:
            field: Number of the field.
        """
        return self.numbers(field, "u1").tobytes().decode()

    def table(self, field: int) -> "FlatTable | None":
        """Return a table within this one, None where the file leaves it out.

        Args:
            field: Number of the field.
        """
        place = self._find(field)
        return None if place is None else FlatTable(self.data, self._follow(place))

    def tables(self, field: int) -> list["FlatTable"]:
        """Return a vector of tables.

        Args:
            field: Number of the field.
        """
        start, count = self._vector(field)
        return [FlatTable(self.data, self._follow(start + 4 * i)) for i in range(count)]

    def _find(self, field: int) -> int | None:
        vtable = self.place - _unpack("<i", self.data, self.place)
        slot = 4 + 2 * field
        if slot >= _unpack("<H", self.data, vtable):
            return None
        offset = _unpack("<H", self.data, vtable + slot)
        return self.place + offset if offset else None

    def _vector(self, field: int) -> tuple[int, int]:
        place = self._find(field)
        if place is None:
            return 0, 0
        start = self._follow(place)
        return start + 4, _unpack("<I", self.data, start)

    def _follow(self, place: int) -> int:
        return place + _unpack("<I", self.data, place)


def _unpack(form: str, data: bytes, place: int) -> int:
    return int(struct.unpack_from(form, data, place)[0])
