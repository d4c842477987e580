"""Facts for diagnostics: whether a value is a number at all, or the length of a time step, and which element of an
array is the first at fault."""

from __future__ import annotations

from math import inf
from typing import Any, TypeGuard

import numpy as np

from .diagnostics import Diagnostics
from .nodes import Array

__all__ = ["check_dt", "first_event", "first_of", "is_number", "is_whole"]


def is_number(value: Any) -> TypeGuard[int | float]:
    """A real number, NaN and infinity among them; a truth value is none."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_whole(value: Any) -> TypeGuard[int]:
    """A whole number by its type; a truth value is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_dt(dt: Any, code: str, faults: Diagnostics, node: str | None = None) -> None:
    """Reports a `dt` that is no length of a time step, under the `code` of the place where it was given."""
    if not (is_number(dt) and 0 < dt < inf):
        faults.add(code, "dt must be positive, one finite number of seconds", node=node, value=repr(dt)[:80],
                   limit="> 0 s", remedy="A step of a millisecond is dt=1e-3.")


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
