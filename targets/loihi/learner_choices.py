"""How a rule is held on the chip, as a user may say it: what of it there is, and how far it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from math import inf
from typing import Any

from ...ir.diagnostics import Diagnostics
from ...ir.facts import is_number, is_whole
from ...ir.integer.plastic_checks import FIELDS
from ...ir.learning.layout import LearningLayout
from ...passes.plastic import ChipChoices

__all__ = ["chip_choices"]

_GAP = 0, 1 << 16
"""Columns, in which what decays slowest is gone."""
_HEADROOM = 1, 127
"""From which on the largest initial weight fits nine bits, and up to which it is a weight at all."""
_IMPULSE = 1, 127
"""What a trace holds at most."""
_TAG_SHIFT = -16, 16
"""Further apart than the least and the largest coefficient of the engine."""
_ERROR_SHIFT = -FIELDS["gain"][1], FIELDS["shift"][1]
"""What a learning neuron shifts by."""
_THRESHOLD = 1, (1 << 17) - 1
"""Lava's vth."""


def chip_choices(given: Mapping[str, Any], layout: LearningLayout, faults: Diagnostics) -> ChipChoices:
    """The choices by name; what is wrong of them is added to `faults` (SC533): names that `ChipChoices` has not, values
    out of range, and populations and projections that do not learn."""
    known = [each.name for each in fields(ChipChoices)]
    for name in sorted(given.keys() - set(known)):
        faults.add("SC533", "the chip has no such choice", value=name, limit=", ".join(known))
    for name, (low, high), fits in (("gap", _GAP, is_whole), ("headroom", _HEADROOM, is_number),
                                    ("impulse", _IMPULSE, is_whole), ("tag_shift", _TAG_SHIFT, is_whole)):
        value = given.get(name)
        chosen_here = value is None and name in ("impulse", "tag_shift")
        if name in given and not chosen_here and not (fits(value) and low <= value <= high):
            faults.add("SC533", f"{name} is out of range", value=repr(value)[:80],
                       limit=f"{low}..{high}" + (", whole" if fits is is_whole else ""))
    populations = list(dict.fromkeys(each.target for each in layout.plastic))
    projections = [each.name for each in layout.plastic]
    _check_table("error_shift", given, populations, _whole(_ERROR_SHIFT), "{}..{}, whole".format(*_ERROR_SHIFT), faults)
    _check_table("thresholds", given, populations, _whole(_THRESHOLD), "{}..{}, whole".format(*_THRESHOLD), faults)
    _check_table("rates", given, projections, lambda value: is_number(value) and 0 < value < inf,
                 "a finite number > 0", faults)
    return ChipChoices(**{name: value for name, value in given.items() if name in known})


def _whole(limits: tuple[int, int]) -> Callable[[Any], bool]:
    return lambda value: is_whole(value) and limits[0] <= value <= limits[1]


def _check_table(name: str, given: Mapping[str, Any], ends: list[str], fits: Callable[[Any], bool], limit: str,
                 faults: Diagnostics) -> None:
    table = given.get(name, {})
    if not isinstance(table, Mapping):
        faults.add("SC533", f"{name} are numbers by name", value=type(table).__name__,
                   remedy=f"Give {name}={{'NAME': number}}.")
        return
    for end, value in table.items():
        if end not in ends:
            faults.add("SC533", f"{name} names what does not learn", value=str(end)[:80], limit=", ".join(ends))
        if not fits(value):
            faults.add("SC533", f"{name} is out of range", node=str(end)[:80], value=repr(value)[:80], limit=limit)
