"""An ONNX file as plain data, read with distrust.

The bytes of the protobuf are walked once before they are parsed, so that a small file cannot unfold into a large one;
sizes of tensors are compared with the bytes that are there before anything is allocated; data outside the file are
read from files of the same folder only. Field numbers come from the descriptors of the `onnx` package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ....ir.diagnostics import Diagnostics
from ....ir.nodes import Array
from ....ir.paths import found_file

__all__ = ["LARGEST_FILE", "Contents", "OnnxLimits", "TensorReader", "read_model"]


@dataclass(frozen=True, slots=True)
class OnnxLimits:
    """What one file may hold: `data` bytes in it and in the files of its external data together (a protobuf has less
    than 2 GiB), `outline` bytes in it beside the raw data of tensors, `fields` of its messages, `depth` of nested
    messages, `nodes` once functions are written out, `folded` bytes of constants that are computed from others."""

    data: int = 1 << 33
    outline: int = 1 << 29
    fields: int = 4_000_000
    depth: int = 64
    nodes: int = 200_000
    folded: int = 1 << 33


LARGEST_FILE = (1 << 31) - 1
LEFT_IN_FILE = 1 << 12
"""Bytes of a tensor from which on they are read from the file straight into the array."""

Place = tuple[int, int]
"""Where bytes lie in a file: offset and number."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A parsed file. `places`: of the raw data of large initializers, by number, which `model` does not hold."""

    model: onnx.ModelProto
    places: Mapping[int, Place]


def read_model(path: str | Path, limits: OnnxLimits, faults: Diagnostics) -> Contents | None:
    """The model in the file, parsed; None where there is none, and `faults` then say why."""
    try:
        if not found_file(path, "SC203", faults):
            return None
        size, limit = Path(path).stat().st_size, min(limits.data, LARGEST_FILE)
        if size > limit:
            faults.add("SC204", f"'{path}' is too large", value=f"{size} bytes", limit=f"{limit} bytes",
                       remedy="Save the weights as external data.")
            return None
        with open(path, "rb") as stream:
            outline = _Outline(stream, size, limits)
            data = outline.model()
        _Walk(data, limits).message(0, len(data), onnx.ModelProto.DESCRIPTOR, 0)
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except (_Damage, DecodeError, OSError, ValueError) as error:
        too_large = isinstance(error, _Excess)
        faults.add("SC204" if too_large else "SC203", f"'{path}' cannot be read as ONNX: {error}",
                   remedy=None if too_large else "Is it an ONNX file, and complete?")
        return None
    if not model.HasField("graph"):
        faults.add("SC205", f"'{path}' holds no graph", remedy="Is it an ONNX file, and complete?")
        return None
    return Contents(model, outline.places)


class _Damage(Exception):
    """The bytes are no protobuf."""


class _Excess(_Damage):
    """They unfold into more than the limits allow."""


class _Outline:
    """The file without the raw data of its large initializers, and where these lie."""

    def __init__(self, stream: BinaryIO, size: int, limits: OnnxLimits) -> None:
        self.stream, self.size, self.limits, self.left = stream, size, limits, limits.outline
        self.places: dict[int, Place] = {}
        self.initializers = 0

    def model(self) -> bytes:
        return self._message(self.size, {_field(onnx.ModelProto, "graph"): self._graph})

    def _graph(self, end: int) -> bytes:
        return self._message(end, {_field(onnx.GraphProto, "initializer"): self._tensor})

    def _tensor(self, end: int) -> bytes:
        content = self._message(end, {_field(onnx.TensorProto, "raw_data"): self._raw})
        self.initializers += 1
        return content

    def _raw(self, end: int) -> bytes:
        start = self.stream.tell()
        self.places.pop(self.initializers, None)  # the last of several counts
        if end - start < LEFT_IN_FILE:
            return self._kept(end)
        self.places[self.initializers] = (start, end - start)
        self.stream.seek(end)
        return b""

    def _kept(self, end: int) -> bytes:
        length = end - self.stream.tell()
        self.left -= length
        if self.left < 0:
            raise _Excess(f"it has more than {self.limits.outline} bytes beside the raw data of its tensors")
        return self.stream.read(length)

    def _message(self, end: int, inner: Mapping[int, Callable[[int], bytes]]) -> bytes:
        """The fields up to `end`, those in `inner` by these functions."""
        parts = []
        while (at := self.stream.tell()) < end:
            key, head = self._varint(end)
            if key & 7 == 2:
                length, size = self._varint(end)
                start = at + len(head) + len(size)
                if length > end - start:
                    raise _Damage("it is cut off, or damaged")
                content = inner.get(key >> 3, self._kept)(start + length)
                parts += [head, _varint_bytes(len(content)), content]
            else:
                parts += [head, self._varint(end)[1] if key & 7 == 0 else self.stream.read(_FIXED.get(key & 7, 0))]
                if key & 7 not in (0, *_FIXED):
                    raise _Damage("it is damaged, or of another format")
        if self.stream.tell() != end:
            raise _Damage("it is cut off, or damaged")
        return b"".join(parts)

    def _varint(self, end: int) -> tuple[int, bytes]:
        value, read = 0, b""
        while len(read) < 10 and self.stream.tell() < end:
            byte = self.stream.read(1)
            if not byte:
                break
            value |= (byte[0] & 127) << (7 * len(read))
            read += byte
            if byte[0] < 128:
                return value, read
        raise _Damage("it is cut off, or damaged")


_FIXED = {1: 8, 5: 4}


def _field(message: Any, name: str) -> int:
    return int(message.DESCRIPTOR.fields_by_name[name].number)


def _varint_bytes(value: int) -> bytes:
    read = b""
    while value > 127:
        read, value = read + bytes([value & 127 | 128]), value >> 7
    return read + bytes([value])


class _Walk:
    """One pass over the wire format (https://protobuf.dev/programming-guides/encoding), counting fields."""

    def __init__(self, data: bytes, limits: OnnxLimits) -> None:
        self.data, self.limits, self.left = data, limits, limits.fields
        self.inner: dict[Any, Mapping[int, Any]] = {}

    def message(self, at: int, end: int, descriptor: Any, depth: int) -> None:
        if depth > self.limits.depth:
            raise _Excess(f"messages are nested deeper than {self.limits.depth}")
        inner = self._inner(descriptor)
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise _Excess(f"it has more than {self.limits.fields} fields")
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if wire == 0:
                _, at = self._varint(at, end)
                continue
            if wire == 2:
                length, at = self._varint(at, end)
                if length > end - at:
                    raise _Damage("it is cut off, or damaged")
                if number in inner:
                    self._inner_value(at, at + length, inner[number], depth)
                at += length
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
                if at > end:
                    raise _Damage("it is cut off, or damaged")
            else:
                raise _Damage("it is damaged, or of another format")

    def _inner_value(self, at: int, end: int, descriptor: Any, depth: int) -> None:
        """A message, or text where there is no descriptor: the parser hands out text that is no UTF-8 as bytes."""
        if descriptor is not None:
            self.message(at, end, descriptor, depth + 1)
            return
        try:
            self.data[at:end].decode()
        except UnicodeDecodeError as error:
            raise _Damage("a text in it is not UTF-8") from error

    def _inner(self, descriptor: Any) -> Mapping[int, Any]:
        """The fields of a message that are messages, by number, and those that are text (None)."""
        name = descriptor.full_name
        if name not in self.inner:
            self.inner[name] = {field.number: field.message_type for field in descriptor.fields
                                if field.message_type or field.type == field.TYPE_STRING}
        return self.inner[name]

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
        raise _Damage("it is cut off, or damaged")


# Bytes of an element, how they lie in `raw_data`, and the field that holds elements where there are no bytes.
_BRAIN = onnx.TensorProto.BFLOAT16
_TYPES: Mapping[int, tuple[int, str, str]] = {
    onnx.TensorProto.FLOAT: (4, "<f4", "float_data"), onnx.TensorProto.DOUBLE: (8, "<f8", "double_data"),
    onnx.TensorProto.FLOAT16: (2, "<f2", "int32_data"), _BRAIN: (2, "<u2", "int32_data"),
    onnx.TensorProto.INT8: (1, "<i1", "int32_data"), onnx.TensorProto.UINT8: (1, "<u1", "int32_data"),
    onnx.TensorProto.INT16: (2, "<i2", "int32_data"), onnx.TensorProto.UINT16: (2, "<u2", "int32_data"),
    onnx.TensorProto.INT32: (4, "<i4", "int32_data"), onnx.TensorProto.UINT32: (4, "<u4", "uint64_data"),
    onnx.TensorProto.INT64: (8, "<i8", "int64_data"), onnx.TensorProto.UINT64: (8, "<u8", "uint64_data"),
    onnx.TensorProto.BOOL: (1, "|b1", "int32_data"),
}
_INTERNAL, _EXTERNAL = 0, 1


class TensorReader:
    """Turns tensors of one file into arrays; what is left of the limit on data goes down with each."""

    def __init__(self, path: str | Path, contents: Contents, limits: OnnxLimits, faults: Diagnostics) -> None:
        self.path, self.places = Path(path), contents.places
        self.faults = faults
        self.bytes_left = limits.data

    def initializers(self, model: onnx.ModelProto) -> dict[str, Array]:
        """The constants of a model, by name."""
        arrays: dict[str, Array] = {}
        for number, tensor in enumerate(model.graph.initializer):
            if tensor.name in arrays:
                self.faults.add("SC240", "two constants have the same name", node=tensor.name)
            array = self.array(tensor, tensor.name, self.places.get(number))
            if array is not None:
                arrays[tensor.name] = array
        return arrays

    def array(self, tensor: onnx.TensorProto, where: str, place: Place | None = None) -> Array | None:
        """The elements in the tensor's shape, half precisions as float32; None, with a fault, where the tensor is
        malformed. `where`: the name that the fault tells. `place`: of its raw data in the model's file."""
        if tensor.data_type not in _TYPES:
            self.faults.add("SC206", "a tensor of this type cannot be read", node=where,
                            value=_type_name(tensor.data_type), limit=", ".join(map(_type_name, _TYPES)))
            return None
        shape = tuple(tensor.dims)
        width, layout, field = _TYPES[tensor.data_type]
        extents = prod(max(extent, 1) for extent in shape)
        if len(shape) > 16 or any(extent < 0 for extent in shape) or extents * width > self.bytes_left:
            self.faults.add("SC204", "a tensor is too large", node=where, value=f"shape {shape[:16]}",
                            limit=f"{self.bytes_left} bytes")
            return None
        wanted = prod(shape) * width
        self.bytes_left -= wanted
        if tensor.data_location not in (_INTERNAL, _EXTERNAL):
            self.faults.add("SC206", "the place of a tensor's data is unknown", node=where, value=tensor.data_location)
            return None
        if tensor.data_location == _EXTERNAL:
            raw = self._outside(tensor, wanted, where)
            if raw is None:
                return None
        elif place is not None:
            raw = self._read(self.path, place, where) if place[1] == wanted else np.empty(place[1], np.uint8)
        elif tensor.HasField("raw_data"):
            raw = np.frombuffer(tensor.raw_data, np.uint8)
        else:
            raw = _packed(getattr(tensor, field), layout)
        if raw is None or len(raw) != wanted:
            self.faults.add("SC206", "a tensor has not the number of elements that its shape says", node=where,
                            value=f"{0 if raw is None else len(raw)} bytes", limit=f"{wanted} bytes for shape {shape}")
            return None
        return _elements(raw, tensor.data_type, layout).reshape(shape)

    def _outside(self, tensor: onnx.TensorProto, wanted: int, where: str) -> Array | None:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        file = self._inside(location)
        if file is None:
            self.faults.add("SC208", "external data lie in a file of the model's own folder, and are no link",
                            node=where, value=repr(location[:200]),
                            remedy="Put the file beside the model, or save the model as one file.")
            return None
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", wanted))
            size = file.stat().st_size
            if length != wanted or not 0 <= offset <= size - wanted:
                self.faults.add("SC206", "external data are not where the tensor says, or not as long", node=where,
                                value=f"bytes {offset} to {offset + length} of {size}", limit=f"{wanted} bytes")
                return None
        except (OSError, ValueError) as error:
            self.faults.add("SC203", f"external data cannot be read: {str(error)[:200]}", node=where,
                            value=repr(location[:200]))
            return None
        return self._read(file, (offset, wanted), where)

    def _read(self, file: Path, place: Place, where: str) -> Array | None:
        """Bytes of a file, whose size has been looked at."""
        try:
            return np.fromfile(file, np.uint8, count=place[1], offset=place[0])
        except (OSError, ValueError) as error:
            self.faults.add("SC203", f"data of a tensor cannot be read: {str(error)[:200]}", node=where)
            return None

    def _inside(self, location: str) -> Path | None:
        """The file that a location names, if it is a plain path below the model's folder."""
        parts = location.replace("\\", "/").split("/")
        if not location.isprintable() or ":" in parts[0] or not all(part not in ("", ".", "..") for part in parts):
            return None
        file = self.path.parent
        for part in parts:
            file = file / part
            if file.is_symlink():
                return None
        return file if file.is_file() else None


def _packed(values: Any, layout: str) -> Array:
    """Elements of a typed field as the bytes that `raw_data` would hold."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(layout).view(np.uint8)
    width = np.dtype(layout).itemsize
    return array.astype(np.int64 if array.dtype.kind == "i" else np.uint64).astype(f"<u{width}").view(np.uint8)


def _elements(raw: Array, kind: int, layout: str) -> Array:
    """A read-only array of the elements that lie in these bytes."""
    if kind == _BRAIN:
        array = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    elif layout == "<f2":
        array = raw.view(layout).astype(np.float32)
    else:
        array = raw.view(layout)
    array.flags.writeable = False
    return array


def _type_name(kind: int) -> str:
    names: dict[int, str] = {number: name for name, number in onnx.TensorProto.DataType.items()}
    return names.get(kind, str(kind))
