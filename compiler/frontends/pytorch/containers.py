"""Containers of frameworks whose `forward` is not traced: their children, in turn, and cycles around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conversion import Conversion, Signal
from .registry import leaf_of

__all__ = ["children_in_turn", "fed_back", "in_turn"]

_SEQUENTIAL = ("Sequential.forward", "SequentialState.forward")


def in_turn(conversion: Conversion, module: Any, path: str, value: Any, lead: int | None = None) -> Any:
    """What `module` makes of `value`, or its children one after another, where it is a sequential container. Of modules
    that return spikes and states, the spikes go on. `lead`: as for `Conversion.call`.

    Raises:
        UnsupportedError: a module has no converter.
    """
    if leaf_of(module) is None and type(module).forward.__qualname__ in _SEQUENTIAL:
        return children_in_turn(conversion, module, path, value, lead)
    returned = conversion.call(module, path, (value,), lead)
    return returned[0] if isinstance(returned, tuple) else returned


def children_in_turn(conversion: Conversion, module: Any, path: str, value: Any, lead: int | None = None) -> Any:
    """The same for the children of `module`, whatever its own `forward`."""
    for name, child in module.named_children():
        value = in_turn(conversion, child, f"{path}.{name}", value, lead)
    return value


def fed_back(conversion: Conversion, path: str, shape: tuple[int, ...], inner: Callable[[Signal], Signal]) -> Signal:
    """What `inner` makes of its own output of the step before. `shape`: of one sample of that."""
    promise = conversion.builder.promise(path, shape)
    given = inner(Signal((promise,)))
    conversion.builder.keep(promise, *given.handles)
    return given
