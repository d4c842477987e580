"""Facts for diagnostics: whether a value is a number at all, and which element of an array is the first at fault."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

from .nodes import Array

__all__ = ["first_event", "first_of", "is_number", "is_whole"]


def is_number(value: Any) -> TypeGuard[int | float]:
    """A real number, NaN and infinity among them; a truth value is none."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_whole(value: Any) -> TypeGuard[int]:
    """A whole number by its type; a truth value is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def first_of(values: Array, bad: Array, *axes: str) -> str:
    """The first element of `values`, in C-order, where `bad` is true, and its place by the names of the `axes`; the
    last name is that of all further axes together: `sample 2, channel (0, 5): nan`."""
    at = tuple(int(each) for each in np.unravel_index(int(np.argmax(bad)), bad.shape))
    last = len(axes) - 1
    places = [*at[:last], at[last] if len(at) == len(axes) else at[last:]]
    where = ", ".join(f"{axis} {place}" for axis, place in zip(axes, places, strict=True))
    return f"{where}: {values[at]}"


def first_event(values: Array, bad: Array, offsets: Array) -> str:
    """The same of values (total,) of events, whose samples begin at `offsets`: `sample 2, position 0: -1.0`."""
    at = int(np.argmax(bad))
    sample = int(np.searchsorted(offsets, at, side="right")) - 1
    return f"sample {sample}, position {at - int(offsets[sample])}: {values[at]}"
