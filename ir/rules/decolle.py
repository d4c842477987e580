"""DECOLLE, deep continuous local learning: Kaiser, Mostafa, Neftci, Frontiers in Neuroscience 14:424 (2020)."""

from __future__ import annotations

from ..learning.checks import verify_rule
from ..learning.rule import Error, Feedback, Gate, LearningRule, Phase, Tau, Trace, Update
from ..learning.terms import terms

__all__ = ["decolle"]


def decolle(*, rate: float = 1e-3, width: float = 1.0, tau_syn: Tau = 0.005, tau_mem: Tau = "tau_mem",
            tau_readout: float = 0.002, duration: float = 0.05, start: float = 0.01, scale: float = 1.0,
            bias: bool = False) -> LearningRule:
    """dw = -rate e x2 y1 in every column, with an error e of each layer by itself: what a fixed random readout makes of
    its spikes' trace (`tau_readout`), less the label, and back by the same readout. x2: the source's spikes filtered by
    `tau_syn`, then `tau_mem`; y1: a box gate of the membrane.

    Raises:
        BadInputError: an argument is wrong; all of them (SC111, SC150 to SC153).
    """
    return verify_rule(LearningRule(
        "decolle", "Kaiser, Mostafa, Neftci: Frontiers in Neuroscience 14:424 (2020)",
        (Update("w", "step", terms("-rate*e*x2*y1", rate=rate)),),
        (Trace("x1", tau_syn), Trace("x2", tau_mem, of="x1"), Gate("y1", "box", width)),
        Error("local", start=start, tau=tau_readout, dendrite_tau=0.0),
        Feedback("fixed", scale=scale), (Phase("present", duration, teach=True),), bias=bias,
    ))
