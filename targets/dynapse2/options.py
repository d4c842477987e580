"""What can be chosen when a model is compiled for DYNAP-SE2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from ...ir.diagnostics import Diagnostics
from ...ir.facts import is_number, is_whole
from ..options import check_flags, check_seed, options_of
from .limits import CHIPS
from .place import Watch

__all__ = ["PUBLISHED_CV", "Dynapse2Options"]

PUBLISHED_CV = 0.1
"""Coefficient of variation of a parameter (rockpool 3.1.0, transform/mismatch.py: a deviation of 30 % at three standard
deviations)."""
_MOST_CV = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynapse2Options:
    """`chips`: of the board that may be used. `watch`: which neurons the board's computer hears; with "outputs", only
    the emulated chip can be in the loop of a network with hidden layers. `seed`: the serial number of the emulated
    chip. `mismatch`: whether its circuits deviate; `cv`: the coefficient of variation of each of their numbers, in the
    place of the published one (0.2 is this project's choice of a larger one). `noise`: whether runs differ. `feedback`:
    whether membranes have the positive feedback that DynapSim gives them."""

    chips: int = 1
    watch: Watch = "all"
    seed: int = 0
    mismatch: Literal["none", "published"] = "published"
    cv: float | None = None
    noise: bool = True
    feedback: bool = True

    @property
    def deviation(self) -> float:
        """The coefficient of variation of the emulated chip."""
        if self.mismatch == "none":
            return 0.0
        return PUBLISHED_CV if self.cv is None else self.cv

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Options by name.

        Raises:
            BadInputError: naming every option that is unknown or out of range (SC533).
        """
        faults = Diagnostics()
        found = options_of(cls, given, "dynapse2", faults)
        if not (is_whole(found.chips) and 1 <= found.chips <= CHIPS.value):
            faults.add("SC533", "there are not so many chips on a board", value=repr(found.chips)[:80],
                       limit=f"1..{CHIPS.value:g}")
        check_seed(found, faults)
        for name, known in (("watch", ("outputs", "all")), ("mismatch", ("none", "published"))):
            if getattr(found, name) not in known:
                faults.add("SC533", f"{name} is not known", value=repr(getattr(found, name))[:80],
                           limit=", ".join(known))
        if found.cv is not None and not (is_number(found.cv) and 0 <= found.cv <= _MOST_CV):
            faults.add("SC533", "cv is a coefficient of variation", value=repr(found.cv)[:80], limit=f"0..{_MOST_CV}")
        if found.cv is not None and found.mismatch == "none":
            faults.add("SC533", "cv is how circuits deviate, and mismatch says that they do not", value=repr(found.cv),
                       remedy="Leave out cv, or mismatch.")
        check_flags(found, ("noise", "feedback"), faults)
        faults.raise_if_errors()
        # numbers of numpy become plain ones: what runs is what a saved folder says
        return replace(found, chips=int(found.chips), seed=int(found.seed),
                       cv=None if found.cv is None else float(found.cv))
