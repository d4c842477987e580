"""Reward-modulated STDP: Izhikevich, Cerebral Cortex 17:2443 (2007)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import Error, LearningRule, Phase, Trace, Update
from ..learning.terms import terms
from .numbers import column_decay

__all__ = ["reward_stdp"]


def reward_stdp(*, rate: float = 0.01, plus: float = 1.0, minus: float = 1.05, tau_plus: float = 0.02,
                tau_minus: float = 0.02, tau_tag: float = 1.0, dt: float = 1e-3, duration: float = 0.1,
                bounds: tuple[float, float] | None = (0.0, 1.0)) -> LearningRule:
    """Pair STDP writes a tag, which decays with `tau_tag`; at the end of a sample the weight takes `rate` times the tag
    times the reward, less its running mean. `dt`: of the column in which the tag decays.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    lost = 1 - column_decay("reward_stdp", dt, tau_tag, "tau_tag")
    return verify_rule(LearningRule(
        "reward_stdp", "Izhikevich: Cerebral Cortex 17:2443 (2007)",
        (Update("t", "post", terms("plus*x1", plus=plus)), Update("t", "pre", terms("-minus*y1", minus=minus)),
         Update("t", "step", terms("-lost*t", lost=lost)), Update("w", "sample", terms("rate*r*t", rate=rate))),
        (Trace("x1", tau_plus), Trace("y1", tau_minus)), Error("reward"),
        phases=(Phase("present", duration, teach=True),), bounds=bounds, interval=dt,
    ))
