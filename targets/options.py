"""What options of targets have in common: names, seeds and truth values, looked at before anything is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

from ..ir.diagnostics import Diagnostics
from ..ir.facts import is_whole

__all__ = ["check_flags", "check_seed", "options_of"]

Options = TypeVar("Options")


def options_of(kind: type[Options], given: Mapping[str, Any], target: str, faults: Diagnostics) -> Options:
    """Options of a `kind`, a dataclass, as they are `given`; those that the target has not are faults (SC533), with the
    nearest that it has."""
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    for unknown in sorted(given.keys() - set(names)):
        near = get_close_matches(unknown, names, 1)
        faults.add("SC533", f"the target {target} has no option '{unknown}'", limit=", ".join(names),
                   remedy=f"Is '{near[0]}' meant?" if near else None)
    return kind(**{name: value for name, value in given.items() if name in names})


def check_seed(found: Any, faults: Diagnostics) -> None:
    """Its `seed`: what random generators take."""
    if not (is_whole(found.seed) and 0 <= found.seed < 2**63):
        faults.add("SC533", "seed is a whole number", value=repr(found.seed)[:80], limit="0..2^63 - 1")


def check_flags(found: Any, names: tuple[str, ...], faults: Diagnostics) -> None:
    """Those of `names` that are neither True nor False."""
    for name in names:
        if not isinstance(getattr(found, name), bool):
            faults.add("SC533", f"{name} is a truth value", value=repr(getattr(found, name))[:80])
