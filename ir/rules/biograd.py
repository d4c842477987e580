"""BioGrad: Tang, Kumar, Polykretis, Michmizos, arXiv 2110.14092 (2021)."""

from __future__ import annotations

from typing import Literal

from ..learning.checks import verify_rule
from ..learning.rule import Error, Gate, LearningRule, Phase, Tau, Trace, Update
from ..learning.terms import terms
from .feedback import FeedbackName, feedback_by_name, sleep
from .numbers import column_decay, one_of

__all__ = ["biograd"]


def biograd(*, rate: float = 1e-3, width: float = 1.0, eligibility: Literal["pre", "spike", "exact"] = "pre",
            feedback: FeedbackName = "sleep", path: Literal["direct", "layered"] = "direct", tau: Tau = "tau_mem",
            dt: float | None = None, duration: float = 0.02, start: float = 0.005,
            error: Literal["softmax", "count", "spike"] = "softmax", slope: float = 1.0, spikes: bool = True,
            threshold: float = 1.0, period: int = 2, sleep_rate: float = 1e-3, sleep_decay: float | None = None,
            oja: int = 1, sleep_duration: float = 0.05, sleep_every: int = 16, sleep_samples: int = 16,
            sleep_noise: tuple[float, float] = (0.1, 0.9), sleep_held: bool = False, decay: float = 1e-3,
            scale: float = 1.0, bias: bool = False) -> LearningRule:
    """dw = -rate E G at the end of a sample: E, the error dendrite, has summed ternary error spikes; the tag G, pre
    trace times box gate (`eligibility="pre"`), the gate at the source's spikes (`"spike"`), or dV/dw times it
    (`"exact"`, for membranes that are reset to zero).

    With k = exp(-dt/tau), of a column, the exact one is G := G + (k d + x0) h, d := (k d + x0)(1 - s - v h); it needs
    `tau` and `dt` as numbers. `width`: of the gate h about the threshold. `start`: seconds without error. `error`: the
    paper's is `softmax`, of `slope` times the counts; `period`: of the teacher of `spike`. `threshold`: of the error
    interneurons; `spikes=False` feeds the error itself back. `sleep_…` and `oja`: of feedback by sleep, see
    `feedback_by_name`, `sleep_noise` and `sleep_held` its `Noise`; `decay`: by Kolen-Pollack, which with several hidden
    layers needs `path="layered"`. `scale`: see `Feedback`.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    one_of("biograd", "eligibility", eligibility, ("pre", "spike", "exact"))
    gate = Gate("y1", "box", width)
    variables: tuple[Trace | Gate, ...] = (Trace("x1", tau), gate)
    tags: tuple[Update, ...] = (Update("t", "step", terms("x1*y1")),)
    if eligibility == "spike":
        variables, tags = (gate,), (Update("t", "pre", terms("y1")),)
    if eligibility == "exact":
        k = column_decay("biograd", dt, tau)
        variables = (gate, Gate("y2", "membrane"))
        tags = (
            Update("t", "step", terms("k*d*y1 + x0*y1", k=k)),
            Update("d", "step", terms("-lost*d - k*d*y0 - k*d*y1*y2 + x0 - x0*y0 - x0*y1*y2", lost=1 - k, k=k)),
        )
    return verify_rule(LearningRule(
        "biograd", "Tang, Kumar, Polykretis, Michmizos: BioGrad, arXiv 2110.14092 (2021)",
        (*tags, Update("w", "sample", terms("-rate*e*t", rate=rate))), variables,
        Error(error, spikes=spikes, threshold=threshold, start=start, period=period, slope=slope),
        feedback_by_name("biograd", feedback, path=path, rate=sleep_rate, oja=oja, oja_rate=sleep_decay, decay=decay,
                         scale=scale),
        (Phase("present", duration, teach=True),
         *sleep(feedback, duration=sleep_duration, every=sleep_every, samples=sleep_samples, noise=sleep_noise,
                held=sleep_held)),
        bias=bias,
    ))
