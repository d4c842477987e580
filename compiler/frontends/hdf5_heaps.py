"""A look at an HDF5 file's global heaps, where its texts lie, before the HDF5 library reads them.

The library walks a heap from object to object by their stated sizes, and does not come back from one that states none
(HDF5 2.0). Layout: HDF5 File Format Specification, III.E "Disk Format: Level 1E - Global Heap".
"""

from __future__ import annotations

import mmap
from pathlib import Path

__all__ = ["heaps_end"]

_SIGNATURE = b"GCOL\x01"
_HEADER = 16
_SMALLEST = 4096


def heaps_end(path: str | Path) -> bool:
    """Whether every walk over a global heap of the file comes to its end. Reads the file once, allocates nothing.

    Raises:
        OSError, ValueError: the file cannot be read, or is empty.
    """
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_SIGNATURE)
        while start >= 0:
            size = _number(content, start + 8, 8)
            if _SMALLEST <= size <= len(content) - start and not _ends(content, start, size):
                return False
            start = content.find(_SIGNATURE, start + 1)
    return True


def _ends(content: mmap.mmap, start: int, size: int) -> bool:
    at = _HEADER
    while at + _HEADER <= size:
        index, stated = _number(content, start + at, 2), _number(content, start + at + 8, 8)
        # Object 0 is the free space and counts its own header; all others are padded to eight bytes.
        taken = stated if index == 0 else _HEADER + (stated + 7) // 8 * 8
        if not _HEADER <= taken <= size - at:
            return False
        at += taken
    return True


def _number(content: mmap.mmap, at: int, size: int) -> int:
    return int.from_bytes(content[at:at + size], "little")
