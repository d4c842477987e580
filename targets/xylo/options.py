"""What a user can say about how a model becomes a program for Xylo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ...ir.diagnostics import Diagnostics
from ...ir.facts import is_number
from ..options import options_of
from .limits import VARIANTS, XyloChip

__all__ = ["XyloOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class XyloOptions:
    """`variant`: of `VARIANTS`. `calibration`: data, as `run` takes them, with `duration` where they are events: how
    far states go is measured on them."""

    variant: str = "audio3"
    calibration: Any = None
    duration: float | None = None

    @property
    def chip(self) -> XyloChip:
        """What the variant has."""
        return VARIANTS[self.variant]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Options by name.

        Raises:
            BadInputError: naming every option that is unknown or out of range (SC533).
        """
        faults = Diagnostics()
        found = options_of(cls, given, "xylo", faults)
        if not (isinstance(found.variant, str) and found.variant in VARIANTS):
            faults.add("SC533", "there is no such variant of Xylo", value=repr(found.variant),
                       limit=", ".join(VARIANTS))
        if found.duration is not None and not (is_number(found.duration) and found.duration > 0):
            faults.add("SC533", "duration is a time in seconds", value=repr(found.duration), limit="> 0")
        elif found.duration is not None and found.calibration is None:
            faults.add("SC533", "duration is that of calibration data", remedy="Give calibration=…, or leave it out.")
        faults.raise_if_errors()
        return found
