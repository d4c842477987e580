"""Surrogate online error-triggered learning: Stewart, Orchard, Shrestha, Neftci, arXiv 2008.01151 (2020)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import Error, Feedback, Gate, LearningRule, Phase, Tau, Trace, Update
from ..learning.terms import terms

__all__ = ["soel"]


def soel(*, rate: float = 1e-3, width: float = 1.0, tau_syn: float | None = 0.005, tau_mem: Tau = "tau_mem",
         threshold: float = 1.0, period: int = 2, duration: float = 0.05, start: float = 0.0) -> LearningRule:
    """The last layer alone learns, and only when its error is large: interneurons sum what an output fires too often or
    too seldom (the teacher fires every `period` steps), and at each of their ternary spikes, beyond `threshold`,
    dw = -rate e x y1, with the trace x of the source (filtered by `tau_syn`, if it is not None, then by `tau_mem`) and
    a box gate y1 of the membrane.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    once, twice = (Trace("x1", tau_mem),), (Trace("x1", tau_syn), Trace("x2", tau_mem, of="x1"))
    change = terms("-rate*e*x1*y1" if tau_syn is None else "-rate*e*x2*y1", rate=rate)
    return verify_rule(LearningRule(
        "soel", "Stewart, Orchard, Shrestha, Neftci: arXiv 2008.01151 (2020)",
        (Update("w", "error", change),), (*(once if tau_syn is None else twice), Gate("y1", "box", width)),
        Error("spike", spikes=True, threshold=threshold, start=start, dendrite_tau=0.0, period=period),
        Feedback("none"), (Phase("present", duration, teach=True),),
    ))
