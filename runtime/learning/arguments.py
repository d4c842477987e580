"""What learners of every target are given beside the network: a seed, rates, batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning
from ...ir.events import Events
from ...ir.facts import is_number, is_whole

__all__ = ["Rest", "check_seed", "checked_rate", "checked_rates", "require_samples"]

_MOST_SEED = (1 << 63) - 1
"""That a state holds."""


def check_seed(seed: Any, faults: Diagnostics) -> None:
    """Reports a seed that is no whole number, or out of range (SC403)."""
    if not (is_whole(seed) and 0 <= seed <= _MOST_SEED):
        faults.add("SC403", "the seed of a learner is a whole number", value=repr(seed)[:80], limit="0..2^63-1")


def checked_rate(rate: Any) -> float:
    """The rate, if a learner can be set to it.

    Raises:
        BadInputError: it is no finite number >= 0 (SC403).
    """
    return checked_rates([rate])[0]


def checked_rates(rates: Iterable[Any]) -> tuple[float, ...]:
    """The rates, if a learner can be set to each of them.

    Raises:
        BadInputError: naming all that are no finite numbers >= 0 (SC403).
    """
    given, faults = list(rates), Diagnostics()
    for rate in given:
        if not (is_number(rate) and 0 <= rate < inf):
            faults.add("SC403", "the rate of a learner multiplies its updates of weights", value=repr(rate)[:80],
                       limit="a finite number >= 0")
    faults.raise_if_errors()
    return tuple(map(float, given))


def require_samples(batch: int) -> None:
    """Whether there is something to learn from, or to answer.

    Raises:
        BadInputError: the batch is empty (SC505).
    """
    if not batch:
        raise BadInputError(Diagnostic("SC505", "there are no samples", value="0", remedy="Give one sample at least."))


class Rest:
    """What samples hold beyond the last phase of a rule, which no learner is shown: told of the first batch that has
    any (SC405, a warning). `duration`: of a sample, s; `dt`: of a raster's column, s; None: nothing comes as one."""

    def __init__(self, duration: float, dt: float | None = None) -> None:
        self.duration, self.dt, self.told = duration, dt, False

    def tell(self, given: Any) -> None:
        """Warns once. `given`: as learners take it, by input or as it is."""
        if self.told:
            return
        lost = sum(self._lost(each) for each in (given.values() if isinstance(given, Mapping) else (given,)))
        self.told = lost > 0
        if self.told:
            warnings.warn(str(Diagnostic(
                "SC405", "a sample of the rule is over before all is shown", severity="warning",
                value=f"{lost:,.0f} events or values later", limit=f"{self.duration:g} s, all phases awake",
                remedy="Give the rule a longer phase (duration=…), or shorter samples.")), SpikecWarning, stacklevel=4)

    def _lost(self, given: Any) -> float:
        if isinstance(given, Events):
            return float((given.times >= self.duration * (1 + 1e-9)).sum())
        if self.dt is None or getattr(given, "ndim", 0) < 2:
            return 0.0
        return float((given[:, round(self.duration / self.dt):] != 0).sum())
