"""Oja's rule, for spikes: Oja, Journal of Mathematical Biology 15:267 (1982)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import LearningRule, Phase, Trace, Update
from ..learning.terms import terms

__all__ = ["oja"]


def oja(*, rate: float = 1e-3, decay: float = 1.0, tau: float = 0.02, duration: float = 0.1,
        bounds: tuple[float, float] | None = None) -> LearningRule:
    """dw = rate y (x - decay y w), with y the target's spikes: at each, the trace of the source less `decay` times that
    of the target times the weight.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    return verify_rule(LearningRule(
        "oja", "Oja: Journal of Mathematical Biology 15:267 (1982)",
        (Update("w", "post", terms("rate*x1 - rate*decay*y1*w", rate=rate, decay=decay)),),
        (Trace("x1", tau), Trace("y1", tau)), phases=(Phase("present", duration),), bounds=bounds,
    ))
