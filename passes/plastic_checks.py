"""What of a learning rule the learning engine of a chip cannot say, and what it does otherwise than the rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..ir.diagnostics import Diagnostics
from ..ir.integer.network import IntegerDense, IntegerProjection
from ..ir.learning.rule import Error, Feedback, Gate, LearningRule, Trace
from ..ir.nodes import Array
from ..ir.rules.catalogue import RULES

__all__ = ["OnChip", "check_on_chip"]

FEWER = "Learn fewer layers (projections=…), or take fixed feedback."
REMEDY = "`spikec rules` says which targets run which rule."


@dataclass(frozen=True)
class OnChip:
    """How a rule is held on the chip. `chip`: it is in the chip's own numbers; `three`: with a third factor, which
    learning neurons tell; `tells_spikes`: the target's spikes are read beside that; `rewarded`: the third factor is a
    reward; `holds`: dendrites hold one column."""

    chip: bool
    three: bool
    tells_spikes: bool
    rewarded: bool
    holds: bool

    @classmethod
    def of(cls, rule: LearningRule) -> OnChip:
        three = rule.error is not None or any(isinstance(each, Gate) for each in rule.variables)
        used = {factor.variable for update in rule.updates for term in update.terms for factor in term.factors}
        return cls(chip=rule.units == "chip", three=three,
                   tells_spikes=three and ("y0" in used or any(each.when == "post" for each in rule.updates)),
                   rewarded=rule.error is not None and rule.error.code == "reward",
                   holds=rule.error is not None and rule.error.dendrite_tau == 0.0)


def check_on_chip(rule: LearningRule, learning: Sequence[IntegerProjection], factors: Mapping[str, Array], output: str,
                  faults: Diagnostics) -> None:
    """Adds what cannot be (SC515 of projections, SC516 of the rule), and warnings of what is otherwise. `factors`: by
    projection, what the weights of each target neuron were multiplied by; `output`: the population that is labelled."""
    _Check(rule, OnChip.of(rule), learning, factors, output, faults).all()


@dataclass(frozen=True)
class _Check:
    rule: LearningRule
    on: OnChip
    learning: Sequence[IntegerProjection]
    factors: Mapping[str, Array]
    output: str
    faults: Diagnostics

    def all(self) -> None:
        self.projections()
        self.variables()
        self.weights()
        self.phases()
        if self.rule.error is not None:
            self.error(self.rule.error)
            if self.rule.feedback is not None:
                self.feedback(self.rule.feedback)

    def projections(self) -> None:
        for each in self.learning:
            if not isinstance(each.connection, IntegerDense):
                self.faults.add("SC515", "only dense projections learn on this chip", node=each.name,
                                remedy="Leave it out of `projections`.")
            elif each.delay is not None:
                self.faults.add("SC515", "a projection with delays does not learn on this chip", node=each.name,
                                remedy="Leave it out of `projections`. Of two projections between the same neurons one "
                                       "is delayed.")
            factor = self.factors[each.name]
            if np.ptp(factor) > 0.01 * np.abs(factor).max(initial=0):
                self.faults.add("SC515", "neurons of a population that learns have one threshold", node=each.name,
                                value=f"{factor.min():.4g}..{factor.max():.4g}", remedy="Make their thresholds alike.")

    def variables(self) -> None:
        on, add = self.on, self.refuse
        told = () if not on.three else ("y2", "y3") if on.rewarded or not on.tells_spikes else ("y1", "y2", "y3")
        for each in self.rule.variables:
            if isinstance(each, Gate) and (each.shape != "box" or each.name != "y1" or each.centre is not None):
                add("a learning neuron says a box about its threshold, as y1", f"{each.name}: {each.shape}", "box")
            if isinstance(each, Trace) and (each.of != "spikes" or each.phases):
                add("a trace of the learning engine follows spikes, in all phases", each.name, "of spikes")
            if isinstance(each, Trace) and each.name in told:
                add("with an error or a gate, y2 and y3 tell the error, and y1 tells the end of a sample where y0 is "
                    "the target's spike and there is no reward: they are no traces", each.name,
                    ", ".join(name for name in ("x1", "x2", "y1") if name not in told))
        if not on.three and any(each.variable != "w" for each in self.rule.updates):
            add("without an error or a gate nothing tells the end of a sample, at which tags begin anew", "t or d",
                "w alone")
        if on.tells_spikes and not on.rewarded and any(isinstance(each, Gate) for each in self.rule.variables):
            add("y1 is the gate or tells the end of a sample, not both, where y0 is the target's spike",
                "y0 and a gate", "one of them")

    def weights(self) -> None:
        bounds = self.rule.bounds
        if self.rule.bias:
            self.refuse("biases do not learn on the chip", "bias", "weights", "Feed an input that always spikes.")
        if bounds is not None and (bounds[0] > -256 or bounds[1] < 255) and self.on.chip:
            self.refuse("weights are clipped to what they are held in", f"bounds {bounds}", "-256..255")
        if bounds is not None and not self.on.chip:
            self.warn("weights are clipped to the nine bits that hold them, not to the rule's bounds",
                      f"bounds {bounds}", "-256..255 of the chip's weights",
                      "Choose `headroom` so that the chip's range is the rule's.")

    def phases(self) -> None:
        phases, add = self.rule.phases, self.refuse
        awake = [each.name for each in phases if each.noise is None]
        if len(awake) > 1:
            add("a sample has one phase without noise", ", ".join(awake), "1")
        if any(each.noise is not None and each.samples != 1 for each in phases):
            add("a sleep is one sample of noise", "samples", "1", "Sleep more often: `every`.")
        if any(each.noise is not None and each.noise.held for each in phases):
            add("noise is drawn anew in every column", "held", "not held")
        if any(each.inject for each in phases):
            add("the error is no current into the soma", "inject", "0")

    def error(self, error: Error) -> None:
        add = self.refuse
        if error.code not in ("spike", "reward"):
            add("error neurons are told by spikes: those of the output less those of a teacher", f"code {error.code}",
                "code spike or reward", "Use Error('spike'), as the library's rules for this chip do.")
        if error.margin:
            add("an error spike has no margin", f"margin {error.margin}", "0", "Use `threshold`.")
        if error.spikes and (error.threshold < 1 or error.threshold != round(error.threshold)):
            add("an error neuron counts spikes", f"threshold {error.threshold}", "a whole number")
        if error.dendrite_tau not in (None, 0.0):
            add("a dendrite sums over a sample, or holds one column", f"dendrite_tau {error.dendrite_tau}",
                "None or 0.0")

    def feedback(self, feedback: Feedback) -> None:
        add = self.refuse
        if feedback.path != "direct":
            add("feedback runs from the outputs to every layer", f"path {feedback.path}", "direct")
        if feedback.kind == "kolen_pollack":
            add("the source of feedback synapses is an error spike, whose sign their learning does not see",
                "kolen_pollack", "learned, fixed", "Use learned feedback (sleep).")
        asleep = {each.name for each in self.rule.phases if each.noise is not None}
        if feedback.kind == "learned" and (feedback.traces or not asleep or any(
                each.when != "sample" or not asleep.issuperset(each.phases) for each in feedback.updates)):
            add("feedback learns at the end of a sleep, from counts of the noise and of the outputs' spikes",
                "traces, or updates in other phases", "a phase with noise, updates of `sample` in it")
        hidden = {each.target for each in self.learning} - {self.output}
        if feedback.kind == "learned" and len(hidden) > 1:
            add("one hidden layer has learnt feedback on this chip", ", ".join(sorted(hidden)), "1",
                FEWER)
        before = {each.source for each in self.learning if each.target == self.output}
        far = sorted(hidden - before)
        if far and "transposed" in (feedback.kind, feedback.start):
            add("weights are copied to the feedback of layers that project to the output itself", ", ".join(far),
                ", ".join(sorted(hidden & before)) or "none", FEWER)

    def refuse(self, message: str, value: str, limit: str, remedy: str = REMEDY) -> None:
        name = self.rule.name
        if name in RULES:
            remedy += (f" The library's own form for a chip: `spikec rules {name} --target loihi2`, or "
                       f"rule_named('{name}', 'loihi2').")
        self.faults.add("SC516", f"{message} on this chip", node=name, value=value, limit=limit, remedy=remedy)

    def warn(self, message: str, value: str, limit: str, remedy: str) -> None:
        self.faults.add("SC516", message, node=self.rule.name, value=value, limit=limit, severity="warning",
                        remedy=remedy)
