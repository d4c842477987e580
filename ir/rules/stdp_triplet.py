"""Triplet STDP: Pfister, Gerstner, Journal of Neuroscience 26:9673 (2006)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import LearningRule, Phase, Trace, Update
from ..learning.terms import terms

__all__ = ["stdp_triplet"]


def stdp_triplet(*, pair_plus: float = 0.0, pair_minus: float = 7e-3, triplet_plus: float = 6.5e-3,
                 triplet_minus: float = 0.0, tau_plus: float = 0.0168, tau_minus: float = 0.0337, tau_x: float = 0.101,
                 tau_y: float = 0.125, duration: float = 0.1,
                 bounds: tuple[float, float] | None = (0.0, 1.0)) -> LearningRule:
    """With r1, r2 = x1, x2 the traces of the source and o1, o2 = y1, y2 those of the target: at a spike of the target
    dw = r1 (pair_plus + triplet_plus o2), at one of the source dw = -o1 (pair_minus + triplet_minus r2), with r2 and o2
    as they were before the spike: less the impulse of 1 that it brings.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    grows = terms("pair*x1 + triplet*x1*(y2 - 1)", pair=pair_plus, triplet=triplet_plus)
    falls = terms("-pair*y1 - triplet*y1*(x2 - 1)", pair=pair_minus, triplet=triplet_minus)
    return verify_rule(LearningRule(
        "stdp_triplet", "Pfister, Gerstner: Journal of Neuroscience 26:9673 (2006)",
        (Update("w", "post", grows), Update("w", "pre", falls)),
        (Trace("x1", tau_plus), Trace("x2", tau_x), Trace("y1", tau_minus), Trace("y2", tau_y)),
        phases=(Phase("present", duration),), bounds=bounds,
    ))
