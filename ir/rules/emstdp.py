"""EMSTDP, error-modulated STDP: Shrestha et al., arXiv 2105.03649 (2021)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import Error, LearningRule, Phase, Trace, Update
from ..learning.terms import terms
from .feedback import FeedbackName, feedback_by_name

__all__ = ["emstdp"]


def emstdp(*, rate: float = 3e-4, gain: float = 1.0, period: int = 2, feedback: FeedbackName = "fixed",
           duration: float = 0.05, scale: float = 1.0, decay: float = 1e-3,
           bounds: tuple[float, float] | None = None) -> LearningRule:
    """A sample is shown twice, freely, then with the error as a current of -`gain` times the dendrite into each neuron,
    which corrects its rate; at the end dw = rate (corrected count - free count) of the target times the source's
    corrected count. `duration`: of each phase; `period`: of the teacher's spikes, in steps.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    return verify_rule(LearningRule(
        "emstdp", "Shrestha et al.: arXiv 2105.03649 (2021)",
        (Update("w", "sample", terms("rate*x1*y1 - rate*x1*y2", rate=rate)),),
        (Trace("x1", None, phases=("corrected",)), Trace("y1", None, phases=("corrected",)),
         Trace("y2", None, phases=("free",))),
        Error("spike", dendrite_tau=0.0, period=period),
        feedback_by_name("emstdp", feedback, scale=scale, decay=decay),
        (Phase("free", duration), Phase("corrected", duration, teach=True, inject=-gain)), bounds=bounds,
    ))
