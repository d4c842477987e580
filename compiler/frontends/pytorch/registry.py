"""Which module classes of which framework spikec understands.

A class is known by its qualified name, so no framework is imported but the one that the model uses. Each framework has
a file with a table `LEAVES`; `FRAMEWORKS` says which, `register` adds to them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ....ir.diagnostics import Diagnostics

if TYPE_CHECKING:
    from .conversion import Conversion

__all__ = ["FRAMEWORKS", "Layout", "Leaf", "leaf_of", "qualified_name", "register"]

Layout = Literal["step", "time_first", "batch_first", "folded"]
"""One step (B, ...), or a whole sequence: (T, B, ...), (B, T, ...), (B * T, ...)."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What to do with a module class.

    `convert(conversion, module, name, arguments)` adds nodes and returns what the module returns: a `Signal`, a `State`
    or a tuple of them. `advance(module, value, state)`, of modules with a state, runs one time step from `state` (None
    at the start) and returns what the module gives and the next state; the check after an import uses it.
    `time(module)`, of neurons, is the layout that it takes (`Layout`); modules without a state take any, and say None.
    """

    convert: Callable[[Conversion, Any, str, tuple[Any, ...]], Any]
    advance: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None
    time: Callable[[Any], Layout | None] | None = None


FRAMEWORKS: Mapping[str, str] = {"torch": ".layers", "snntorch": ".snntorch_neurons", "norse": ".norse_neurons",
                                  "spikingjelly": ".spikingjelly_neurons", "sinabs": ".sinabs_neurons",
                                  "rockpool": ".rockpool_neurons"}
"""Top-level package of a class -> the file here that has its `LEAVES`."""

_registered: dict[str, Leaf] = {}


def register(name: str, leaf: Leaf) -> None:
    """Makes `from_torch` understand the module class with this qualified name, as `package.module.Class`.

    Raises:
        BadInputError: `name` is no such name, or `leaf` no `Leaf` of functions (SC220).
    """
    faults = Diagnostics()
    given: Any = leaf  # whatever a caller without a type checker hands over
    if not isinstance(name, str) or "." not in name or not all(name.split(".")):
        faults.add("SC220", "a converter is registered for the qualified name of a class", value=repr(name)[:80],
                   remedy="Give it as text: 'package.module.Class'; of a class C, f'{C.__module__}.{C.__qualname__}'.")
    if not isinstance(given, Leaf):
        faults.add("SC220", "a converter is no Leaf", value=type(given).__name__, remedy="Give Leaf(convert).")
    else:
        for part in ("convert", "advance", "time"):
            value = getattr(given, part)
            if not (callable(value) or (value is None and part != "convert")):
                faults.add("SC220", f"{part} of a converter is no function", value=repr(value)[:80],
                           remedy="Give Leaf(convert); advance and time may be left out.")
    faults.raise_if_errors()
    _registered[name] = leaf


def qualified_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def leaf_of(module: Any) -> Leaf | None:
    """The entry for a module: that of its class, or of the nearest base whose `forward` it has not replaced."""
    for kind in type(module).__mro__:
        if getattr(kind, "forward", None) is not type(module).forward:
            return None
        leaf = _table(kind).get(qualified_name(kind)) or _registered.get(qualified_name(kind))
        if leaf is not None:
            return leaf
    return None


def _table(kind: type) -> Mapping[str, Leaf]:
    package = kind.__module__.partition(".")[0]
    if package not in FRAMEWORKS:
        return {}
    leaves: Mapping[str, Leaf] = importlib.import_module(FRAMEWORKS[package], __package__).LEAVES
    return leaves
