"""What a user can say about how a model becomes a program for Loihi."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ...ir.diagnostics import Diagnostics
from ...ir.facts import is_number, is_whole
from ...passes.scales import METHODS, Method
from ..options import check_seed, options_of

__all__ = ["LoihiOptions"]

MOST_CHIPS = 2048
"""More than the 1,152 of the largest system (Hala Point, eenewseurope.com)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoihiOptions:
    """`method`: how scales are chosen, of `passes.scales.METHODS`; `percentile`: of the method of that name.
    `calibration`: data, as `run` takes them, with `duration` where they are events: how often neurons spike and how far
    their states go is measured on them. `message_bits`: by input whose spikes carry values (loihi2 only).
    `weight_bits`: of each weight, 8 at most; fewer take less of a core's memory. `chips`: on how many the program may
    be placed. `seed`: of the placement."""

    method: Method = "mse"
    percentile: float = 99.9
    calibration: Any = None
    duration: float | None = None
    message_bits: Mapping[str, int] = field(default_factory=dict)
    weight_bits: int = 8
    chips: int = 1
    seed: int = 0

    @classmethod
    def of(cls, target: str, inputs: tuple[str, ...], given: Mapping[str, Any]) -> Self:
        """Options by name.

        Raises:
            BadInputError: naming every option that is unknown or out of range (SC533).
        """
        faults = Diagnostics()
        found = options_of(cls, given, target, faults)
        if found.method not in METHODS:
            faults.add("SC533", "method is not known", value=repr(found.method), limit=", ".join(METHODS))
        if not (is_number(found.percentile) and 50 <= found.percentile <= 100):
            faults.add("SC533", "percentile is out of range", value=repr(found.percentile), limit="50..100")
        if not (is_whole(found.weight_bits) and 1 <= found.weight_bits <= 8):
            faults.add("SC533", "weight_bits is out of range", value=repr(found.weight_bits), limit="1..8")
        if not (is_whole(found.chips) and 1 <= found.chips <= MOST_CHIPS):
            faults.add("SC533", "chips is out of range", value=repr(found.chips), limit=f"1..{MOST_CHIPS}")
        check_seed(found, faults)
        _check_messages(found.message_bits, target, inputs, faults)
        faults.raise_if_errors()
        return found


def _check_messages(given: Any, target: str, inputs: tuple[str, ...], faults: Diagnostics) -> None:
    if not isinstance(given, Mapping):
        faults.add("SC533", "message_bits are numbers by input", value=type(given).__name__,
                   remedy="Give message_bits={'INPUT': bits}.")
        return
    if given and target == "loihi1":
        faults.add("SC533", "spikes of Loihi 1 carry no values", value=", ".join(map(str, given)),
                   remedy="Compile for loihi2, or encode values as spikes.")
    for name, bits in given.items():
        if name not in inputs:
            faults.add("SC533", "message_bits names no input", value=str(name), limit=", ".join(inputs))
        if not (is_whole(bits) and 0 <= bits <= 24):
            faults.add("SC533", "message_bits is out of range", node=str(name), value=repr(bits), limit="0..24")
