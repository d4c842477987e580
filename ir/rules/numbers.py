"""What the library's rules compute of their arguments: decays of one column."""

from __future__ import annotations

from math import exp, inf
from typing import Any

from ..diagnostics import BadInputError, Diagnostic
from ..facts import is_number

__all__ = ["column_decay", "one_of"]


def column_decay(rule: str, dt: Any, tau: Any, name: str = "tau") -> float:
    """exp(-dt/tau).

    Raises:
        BadInputError: one of them is no positive number of seconds (SC153).
    """
    for argument, value in (("dt", dt), (name, tau)):
        if not (is_number(value) and 0 < value < inf):
            raise BadInputError(Diagnostic("SC153", f"this form of the rule needs {argument} as a number", node=rule,
                                           value=repr(value)[:80], limit="> 0 s",
                                           remedy=f"{argument}=1e-3 is a millisecond."))
    return exp(-dt / tau)


def one_of(rule: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuses a choice that is none of `choices`.

    Raises:
        BadInputError: SC111.
    """
    if value not in choices:
        raise BadInputError(Diagnostic("SC111", f"{name} has no such choice", node=rule, value=repr(value)[:80],
                                       limit=", ".join(map(repr, choices))))
