"""Whether a value is of the type that a node kind, or another dataclass of the IR, declares for it.

Python does not enforce annotations, and graphs come from files and from users: `checks` reports what does not
conform, and every later rule may then rely on the types.
"""

from __future__ import annotations

import types
import typing
from dataclasses import fields
from math import prod
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from .nodes import Array

__all__ = ["MAX_SIZE", "conforms", "expected", "hints", "is_shape", "malformed", "stored"]

MAX_SIZE = 2**31 - 1
"""Elements that one node may have in or out: an index of any of them fits 32 bits."""


def conforms(value: Any, hint: Any) -> bool:
    """Whether `value` is what the annotation `hint` says. numpy's integers and floats count as Python's, integers
    count as floats, and bool is no number."""
    origin = get_origin(hint)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if origin in (Union, types.UnionType):
        return any(conforms(value, option) for option in get_args(hint))
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        items = get_args(hint)
        if items[-1] is Ellipsis:
            return all(conforms(item, items[0]) for item in value)
        return len(value) == len(items) and all(map(conforms, value, items))
    if hint is bool:
        return isinstance(value, (bool, np.bool_))
    if hint is int:
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if hint is float:
        return conforms(value, int) or isinstance(value, (float, np.floating))
    return isinstance(value, origin or hint)


_HINTS: dict[type[Any], dict[str, Any]] = {}


def hints(kind: type[Any]) -> dict[str, Any]:
    """The annotations of a dataclass of the IR, evaluated once."""
    if kind not in _HINTS:
        _HINTS[kind] = typing.get_type_hints(kind)
    return _HINTS[kind]


def malformed(item: Any) -> dict[str, Any]:
    """The settings of a node (or the fields of another dataclass) that are not of their declared type, by name."""
    declared = hints(type(item))
    return {
        entry.name: getattr(item, entry.name)
        for entry in fields(item)
        if not entry.metadata.get("param") and not conforms(getattr(item, entry.name), declared[entry.name])
    }


def expected(kind: type, name: str) -> str:
    """The declared type of a field, for a message."""
    return _spelled(hints(kind)[name])


def is_shape(value: Any) -> bool:
    """Whether `value` is a shape of one sample: positive sizes, at least one axis, at most `MAX_SIZE` elements."""
    return conforms(value, tuple[int, ...]) and bool(value) and min(value) > 0 and prod(map(int, value)) <= MAX_SIZE


def stored(array: Array) -> Array:
    """The elements that `array` has in memory: axes along which it is only spread are cut to length one. What holds
    for all of these holds for all of `array`, at the cost of the parameters that were really given."""
    return array[(*(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides), ...)]


def _spelled(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(repr(argument) for argument in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_spelled(argument) for argument in arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return f"a tuple of {_spelled(arguments[0])}"
    if origin is tuple:
        return f"({', '.join(_spelled(argument) for argument in arguments)})"
    return "None" if hint is type(None) else getattr(origin or hint, "__name__", str(hint))
