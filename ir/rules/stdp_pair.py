"""Pair STDP: Song, Miller, Abbott, Nature Neuroscience 3:919 (2000)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import LearningRule, Phase, Trace, Update
from ..learning.terms import terms

__all__ = ["stdp_pair"]


def stdp_pair(*, rate: float = 0.01, depression: float = 1.05, tau_plus: float = 0.02, tau_minus: float = 0.02,
              duration: float = 0.1, bounds: tuple[float, float] | None = (0.0, 1.0)) -> LearningRule:
    """At a spike of the target the weight grows by `rate` times the trace of the source (`tau_plus`); at a spike of the
    source it falls by `rate * depression` times the trace of the target (`tau_minus`). All pairs count.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    return verify_rule(LearningRule(
        "stdp_pair", "Song, Miller, Abbott: Nature Neuroscience 3:919 (2000)",
        (Update("w", "post", terms("rate*x1", rate=rate)),
         Update("w", "pre", terms("-rate*depression*y1", rate=rate, depression=depression))),
        (Trace("x1", tau_plus), Trace("y1", tau_minus)), phases=(Phase("present", duration),), bounds=bounds,
    ))
