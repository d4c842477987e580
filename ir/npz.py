"""Reading and writing `.npz` files safely: no pickle, and every size is checked against the bytes that are there
before anything is allocated. Written files are the same bytes for the same arrays, and appear whole or not at all."""

from __future__ import annotations

import io
import os
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from .diagnostics import BadInputError, Diagnostic, Diagnostics
from .nodes import Array
from .paths import path_of

__all__ = ["pack_npz", "read_array", "read_npz", "write_atomically", "write_npz"]

LIMIT = 1 << 34
"""Bytes that one file may unpack to, unless the caller says otherwise."""


def read_npz(source: str | Path | bytes, name: str | None = None, limit: int = LIMIT) -> dict[str, Array]:
    """The arrays of an `.npz` file, or of its bytes. `name`: what diagnostics call it.

    Raises:
        BadInputError: naming every fault: no path (SC525), not readable, no zip, damaged, object arrays, more than
            `limit` bytes (SC523).
    """
    if not isinstance(source, bytes):
        source = path_of(source, "an .npz file")
    label = name or ("npz data" if isinstance(source, bytes) else str(source))
    faults = Diagnostics()
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > limit:
                faults.add("SC523", f"'{label}' unpacks to too many bytes", value=total, limit=limit)
                members = []
            for member in members:
                key = member.filename.removesuffix(".npy")
                if key in arrays:
                    faults.add("SC523", f"'{label}' holds the array '{key}' twice")
                try:
                    with archive.open(member) as stream:
                        arrays[key] = read_array(stream, member.file_size)
                # zipfile says NotImplementedError of a compression or an encryption that it does not know
                except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
                    faults.add("SC523", f"the array '{key}' of '{label}' cannot be read: {error}")
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:
        faults.add("SC523", f"'{label}' cannot be read as an .npz file: {error}")
    faults.raise_if_errors()
    return arrays


def read_array(stream: IO[bytes], size: int) -> Array:
    """One array in npy format (1.0 or 2.0) from `size` bytes.

    Raises:
        ValueError: the header is malformed, or does not fit `size`, or the array holds objects.
        EOFError: fewer bytes than `size`.
    """
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"npy version {version} is unknown")
    shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never read")
    expected = prod(shape) * dtype.itemsize
    if any(extent < 0 for extent in shape) or expected > size:
        raise ValueError(f"its header speaks of {expected} bytes where the file has {size}")
    content = stream.read(expected + 1)
    if len(content) != expected:
        raise EOFError(f"{len(content)} bytes where {expected} were expected")
    array = np.frombuffer(bytearray(content), dtype=dtype)
    return array.reshape(shape, order="F" if fortran else "C")


def pack_npz(arrays: Mapping[str, Array]) -> bytes:
    """The bytes of an `.npz` file; equal arrays make equal bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # its default date makes the bytes repeatable
            with archive.open(member, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
    return stream.getvalue()


def write_npz(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Writes arrays under their names, atomically.

    Raises:
        BadInputError: no path (SC525), or the file cannot be written (SC522); what was there before stays.
    """
    write_atomically(path, pack_npz(arrays))


def write_atomically(path: str | Path, data: bytes) -> None:
    """Writes a temporary file beside `path`, and puts it in place when it is whole and on the disk.

    Raises:
        BadInputError: no path (SC525), or the file cannot be written (SC522); what was there before stays.
    """
    target = path_of(path, "a file to write")
    if not target.name:
        raise BadInputError(Diagnostic("SC522", f"'{target}' is a folder, not a file", remedy="Name a file in it."))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            with open(temporary, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BadInputError(Diagnostic("SC522", f"'{target}' cannot be written: {error.strerror or error}",
                                       remedy="Nothing was changed; free space or pick another place.")) from error
