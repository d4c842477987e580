"""Texts of variable length in an HDF5 file, read from the file's bytes.

The HDF5 library trusts what a damaged file states of them: it allocates whatever length a reference names, and walks a
global heap without end where an object has no size (HDF5 2.0). Here, every number is checked against the file first.
Layout: HDF5 File Format Specification, III.E "Disk Format: Level 1E - Global Heap" and IV.A.2.d, variable length.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from math import prod
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import h5py

__all__ = ["Texts"]

REFERENCE = 16
_HEAP_HEADER = 16
_OBJECT_HEADER = 16
_NOWHERE = (0, (1 << 64) - 1)


class _Object(NamedTuple):
    start: int
    size: int


class Texts:
    """The texts of an open file. A context manager: it maps the file while it lives."""

    def __init__(self, stream: BinaryIO) -> None:
        self.content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self.heaps: dict[int, dict[int, _Object]] = {}

    def __enter__(self) -> Texts:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.content.close()

    def of(self, data: h5py.Dataset, limit: int) -> Iterator[bytes]:
        """The texts of a dataset of variable-length texts, in C order, one after another.

        Raises:
            ValueError: a text is longer than `limit`, or lies outside the file, or the dataset is stored in pieces.
        """
        file: Any = data.file.id
        if data.id.get_create_plist().get_layout() != h5py.h5d.CONTIGUOUS:
            raise ValueError("texts of variable length are read from contiguous storage only")
        if file.get_create_plist().get_sizes()[0] != 8:
            raise ValueError("the file has addresses that are not of eight bytes")
        base = int(data.file.userblock_size)
        start = data.id.get_offset()
        for number in range(prod(data.shape)):
            if start is None:
                yield b""
                continue
            at = start + number * REFERENCE
            length, address, index = self._number(at, 4), self._number(at + 4, 8), self._number(at + 12, 4)
            if length == 0 or address in _NOWHERE:
                yield b""
                continue
            if length > limit:
                raise ValueError(f"a text of {length} bytes, where {limit} are the limit")
            found = self._heap(base + address).get(index)
            if found is None or found.size != length:
                raise ValueError("a text that is not where the file says")
            yield self.content[found.start:found.start + length]

    def _heap(self, address: int) -> dict[int, _Object]:
        """The objects of the global heap at `address`, by index."""
        if address not in self.heaps:
            if self.content[address:address + 5] != b"GCOL\x01":
                raise ValueError("a text in a heap that is none")
            size = self._number(address + 8, 8)
            if size > len(self.content) - address:
                raise ValueError("a heap that is longer than the file")
            self.heaps[address] = dict(self._objects(address, size))
        return self.heaps[address]

    def _objects(self, address: int, size: int) -> Iterator[tuple[int, _Object]]:
        at, end = address + _HEAP_HEADER, address + size
        while at + _OBJECT_HEADER <= end:
            index, stated = self._number(at, 2), self._number(at + 8, 8)
            if index == 0:
                return  # the free space, which is last
            if stated > end - at - _OBJECT_HEADER:
                raise ValueError("a heap with an object that is longer than itself")
            yield index, _Object(at + _OBJECT_HEADER, stated)
            at += _OBJECT_HEADER + (stated + 7) // 8 * 8

    def _number(self, at: int, size: int) -> int:
        if at + size > len(self.content):
            raise ValueError("a text outside the file")
        return int.from_bytes(self.content[at:at + size], "little")
