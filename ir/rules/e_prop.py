"""e-prop of leaky integrate-and-fire neurons: Bellec et al., Nature Communications 11:3625 (2020)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import Error, Gate, LearningRule, Phase, Tau, Trace, Update
from ..learning.terms import terms
from .feedback import FeedbackName, feedback_by_name, sleep
from .numbers import column_decay

__all__ = ["e_prop"]


def e_prop(*, rate: float = 5e-3, width: float = 1.0, height: float = 0.3, tau: Tau = "tau_mem", tau_out: float = 0.02,
           dt: float = 1e-3, feedback: FeedbackName = "fixed", duration: float = 0.02, start: float = 0.0,
           sleep_rate: float = 1e-3, sleep_duration: float = 0.05, sleep_every: int = 16, sleep_samples: int = 16,
           decay: float = 1e-3, scale: float = 1.0, bias: bool = False) -> LearningRule:
    """dw = -rate L F(psi z) in every column: the learning signal L is fed back from the outputs (softmax of their
    counts less the label), psi the pseudo-derivative (`height`, `width`: a triangle about the threshold), z the trace
    of the source's spikes with the target's time constant, and F the low-pass filter of the readout, `tau_out`, over
    columns of `dt`.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    k = column_decay("e_prop", dt, tau_out, "tau_out")
    return verify_rule(LearningRule(
        "e_prop", "Bellec et al.: Nature Communications 11:3625 (2020)",
        (Update("t", "step", terms("x1*y1 - lost*t", lost=1 - k)),
         Update("w", "step", terms("-rate*e*x1*y1 - rate*k*e*t", rate=rate, k=k))),
        (Trace("x1", tau), Gate("y1", "triangle", width, height=height)),
        Error("softmax", start=start, dendrite_tau=0.0),
        feedback_by_name("e_prop", feedback, rate=sleep_rate, decay=decay, scale=scale),
        (Phase("present", duration, teach=True),
         *sleep(feedback, duration=sleep_duration, every=sleep_every, samples=sleep_samples)),
        interval=dt, bias=bias,
    ))
