"""SuperSpike: Zenke, Ganguli, Neural Computation 30:1514 (2018)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import Error, Gate, LearningRule, Phase, Tau, Trace, Update
from ..learning.terms import terms
from .feedback import FeedbackName, feedback_by_name, sleep
from .numbers import column_decay

__all__ = ["superspike"]


def superspike(*, rate: float = 1e-3, width: float = 1.0, tau_rise: float = 0.005, tau_decay: float = 0.01,
               tau_syn: Tau = 0.005, tau_mem: Tau = "tau_mem", dt: float = 1e-3, period: int = 2,
               feedback: FeedbackName = "fixed", duration: float = 0.05, start: float = 0.0, sleep_rate: float = 1e-3,
               sleep_duration: float = 0.05, sleep_every: int = 16, sleep_samples: int = 16, decay: float = 1e-3,
               scale: float = 1.0) -> LearningRule:
    """dw = -rate e (alpha * (sigma'(V) PSP)) in every column: e is the van Rossum error, trace of the output's spikes
    less that of a teacher's, who fires every `period` steps; sigma' the slope of a fast sigmoid of the membrane; PSP
    the source's spikes filtered by `tau_syn`, then `tau_mem`; alpha the filter by `tau_rise`, then `tau_decay`, over
    columns of `dt`, kept in the synapse's two tags.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    rise = 1 - column_decay("superspike", dt, tau_rise, "tau_rise")
    fall = 1 - column_decay("superspike", dt, tau_decay, "tau_decay")
    return verify_rule(LearningRule(
        "superspike", "Zenke, Ganguli: Neural Computation 30:1514 (2018)",
        (Update("t", "step", terms("rise*x2*y1 - rise*t", rise=rise)),
         Update("d", "step", terms("fall*t - fall*d", fall=fall)),
         Update("w", "step", terms("-rate*e*d", rate=rate))),
        (Trace("x1", tau_syn), Trace("x2", tau_mem, of="x1"), Gate("y1", "fast_sigmoid", width)),
        Error("trace", start=start, tau=tau_decay, dendrite_tau=0.0, period=period),
        feedback_by_name("superspike", feedback, rate=sleep_rate, decay=decay, scale=scale),
        (Phase("present", duration, teach=True),
         *sleep(feedback, duration=sleep_duration, every=sleep_every, samples=sleep_samples)),
        interval=dt,
    ))
