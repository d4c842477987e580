"""How the text forms write names, settings, numbers and arrays, so that reading gives the same bits. See `text`."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from .conform import stored
from .graph import Discretization
from .nodes import Array
from .text_lexer import DTYPES, RESERVED, WORD

__all__ = ["array_text", "array_type", "compact", "is_array", "literal", "quoted", "record_text"]

INLINE = 8
"""Arrays of more distinct elements go to the sidecar."""


def record_text(record: Discretization) -> str:
    """The line that states a discretisation."""
    facts = (f"{entry.name}={literal(getattr(record, entry.name))}" for entry in fields(record))
    return f"discretization {' '.join(facts)}"


def is_array(value: Any) -> bool:
    """Whether a value is an array of a type that the text form has a name for."""
    return isinstance(value, np.ndarray) and any(value.dtype == dtype for dtype in DTYPES.values())


def compact(value: Array, shape: tuple[int, ...] | None) -> Array:
    """The smallest array that spreading over `shape` turns into `value`; `value` itself if it has another shape."""
    if not isinstance(shape, tuple) or value.shape != shape:
        return value
    kept = stored(value)
    return kept.reshape(-1)[:1].reshape(()) if kept.size and _uniform(kept) else kept


def array_text(value: Array) -> str | None:
    """An array as text, or None where it is too long, or holds a NaN that text cannot say."""
    if not _writable(value):
        return None
    if value.shape == () and value.dtype == np.float64:
        return _number(value[()])
    if value.dtype != np.int64 and value.size and _uniform(value):
        return f"{array_type(value)}({_number(stored(value).reshape(-1)[0])})"
    if value.size <= INLINE:
        return f"{array_type(value)}({', '.join(_number(item) for item in value.reshape(-1))})"
    return None


def _writable(value: Array) -> bool:
    """Whether text can say every element: a NaN has more bits than its name."""
    strange = np.isnan(stored(value)) if value.dtype.kind == "f" else np.zeros(0, bool)
    if not strange.any():
        return True
    plain = np.full(int(strange.sum()), np.nan, value.dtype)
    return plain.tobytes() == stored(value)[strange].tobytes()


def _uniform(value: Array) -> bool:
    kept = stored(value).reshape(-1)
    bits = kept.view(f"u{kept.dtype.itemsize}")
    return bool(bits[0] == bits[-1] and (bits == bits[0]).all())


def array_type(value: Array) -> str:
    """Type and shape, as `f64[2, 3]`."""
    name = next(name for name, dtype in DTYPES.items() if value.dtype == dtype)
    return f"{name}[{', '.join(map(str, value.shape))}]" if value.shape else name


def _number(value: Any) -> str:
    """The shortest text that reads back as the same bits, through a float64."""
    if isinstance(value, np.float32):
        short = str(value)
        return short if np.float32(float(short)).tobytes() == value.tobytes() else repr(float(value))
    return str(int(value)) if isinstance(value, np.integer) else repr(float(value))


def quoted(name: Any) -> str:
    """A name as the text form writes it."""
    if isinstance(name, str) and WORD.fullmatch(name) and name not in RESERVED:
        return name
    name = str(name)
    return json.dumps(name, ensure_ascii=not name.isprintable())


def literal(value: Any, words: bool = True) -> str:
    """A setting as the text form writes it; `words`: plain text stands without quotes."""
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value))
    if isinstance(value, tuple):
        items = [literal(item) for item in value]
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if isinstance(value, Discretization):
        facts = (f"{entry.name}={literal(getattr(value, entry.name))}" for entry in fields(value))
        return f"Discretization({', '.join(facts)})"
    if isinstance(value, str):
        return quoted(value) if words else json.dumps(value, ensure_ascii=not value.isprintable())
    return json.dumps(repr(value))
