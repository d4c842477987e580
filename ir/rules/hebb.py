"""Hebb's rule, for spikes: Gerstner, Kistler, Biological Cybernetics 87:404 (2002)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import LearningRule, Phase, Trace, Update
from ..learning.terms import terms

__all__ = ["hebb"]


def hebb(*, rate: float = 1e-3, tau: float = 0.02, duration: float = 0.1,
         bounds: tuple[float, float] | None = (0.0, 1.0)) -> LearningRule:
    """At a spike of the target the weight grows by `rate` times the trace of the source; `bounds` alone hold it.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    return verify_rule(LearningRule(
        "hebb", "Gerstner, Kistler: Biological Cybernetics 87:404 (2002)",
        (Update("w", "post", terms("rate*x1", rate=rate)),), (Trace("x1", tau),),
        phases=(Phase("present", duration),), bounds=bounds,
    ))
