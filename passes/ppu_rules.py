"""From a learning rule to what a plasticity processor computes at the end of a sample (`ir/analog/plastic.py`).

The processor never sees a spike: it reads what sensors and counters have collected. So of a rule's terms

    at a post spike, x1                causal sensors, if x1 is a trace of spikes with a time constant
    at a pre spike, y1                 acausal sensors, likewise
    at a post or pre spike alone       the counters of targets and sources
    t, d at the end of a sample        the sum of what was written to the tag, which is one of the above
    a trace without decay, at the end  the counters
    e, r, w at the end                 third factors and the weight

What is multiplied by w at a spike is multiplied by the weight as it is at the end of the sample. Sensors pair nearest
neighbours only. A gate of the membrane is either replaced by the target's spikes, or read some times in a sample, which
loses when it was open. Each of these is told of (SC363); what has no such form is refused (SC360), all at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, exp, floor, log2
from typing import Literal

from ..ir.analog.plastic import (
    LARGEST,
    LARGEST_WEIGHT,
    MOST_MANTISSA,
    MOST_SHIFT,
    WORD,
    PlasticityProgram,
    PlasticTerm,
)
from ..ir.diagnostics import Diagnostics
from ..ir.learning.continuous import Act, Continuous, Product, continuous_rule
from ..ir.learning.rule import Factor, Gate, LearningRule, Term, Trace
from ..ir.learning.terms import term_text

__all__ = ["GateReads", "PpuChoices", "PpuRule", "make_ppu_rule", "nearest_coefficient"]

_MOST_FRACTION = 8
_KEPT = 0.75
"""Of a tag that decays, what has to be left at the end of a sample to be taken for all of it."""
_REMEDY = "docs/plasticity-processor.md says which rules of the library run, and how."
_COUNTERS = {"post": "rate", "pre": "source_rate"}
_SENSORS = {"post": "causal", "pre": "acausal"}


@dataclass(frozen=True, slots=True)
class GateReads:
    """How the membrane is read for a gate: `reads` times a sample; it is `rest` LSB at 0 of the model and `per_unit`
    LSB more for each unit."""

    reads: int = 8
    rest: float = 80.0
    per_unit: float = 70.0


@dataclass(frozen=True, slots=True)
class PpuChoices:
    """`amplitude`: LSB that a pair at no distance leaves in a sensor. `both`: whether the sensors of both rows of a
    signed weight are read. `gate`: None: the target's spikes stand for a gate. `factor_range`, `reward_range`: of e and
    of r, the magnitudes that 127 stands for. `counters`: an error that is the spikes counted less those wanted is
    computed by the processor, from its counters."""

    amplitude: float = 2.0
    both: bool = True
    gate: GateReads | None = None
    factor_range: float = 16.0
    reward_range: float = 1.0
    counters: bool = False


@dataclass(frozen=True, slots=True)
class PpuRule:
    """`program`; `tau`: seconds of the model, of the causal and the acausal sensors; `third`: what the program reads as
    the error."""

    program: PlasticityProgram
    tau: tuple[float, float]
    third: Literal["factor", "error", "none"]


@dataclass(frozen=True)
class _Collected:
    """What a tag, or a weight, takes: a coefficient times names of `ir/analog/plastic.py`, with the traces' impulses in
    the coefficient."""

    coefficient: float
    factors: tuple[str, ...]


def make_ppu_rule(rule: LearningRule, *, projection: str, lsb: float, choices: PpuChoices, seed: int, tau_mem: float,
                  threshold: float, output: bool, faults: Diagnostics, rate: float = 1.0,
                  speed_up: float = 1000.0) -> PpuRule | None:
    """The program of one projection.

    Args:
        lsb: what one unit of its weights on the chip is in the model.
        tau_mem: of its target's neurons, s; threshold: of these, for a gate; output: whether they are the labels'.
        faults: takes what cannot be (SC360), a coefficient out of range (SC361), and warnings of what is otherwise
            (SC363).
        rate: what updates of weights are multiplied by; of 0 no weight changes.
        speed_up: seconds of the model for one of the chip.

    Returns:
        None where it cannot be.
    """
    before = len(faults.errors)
    reader = _Reader(rule, projection, lsb, choices, tau_mem, output, faults)
    reader.settings()
    found = reader.collected()
    if len(faults.errors) > before:
        return None
    fraction, terms = reader.terms([_Collected(rate * each.coefficient, each.factors) for each in found if rate])
    low, high = -LARGEST_WEIGHT, LARGEST_WEIGHT
    if rule.bounds is not None:
        low, high = max(low, ceil(rule.bounds[0] / lsb - 1e-9)), min(high, floor(rule.bounds[1] / lsb + 1e-9))
    if low > high:
        reader.refuse("no weight of the chip is within the rule's bounds", f"bounds {rule.bounds}", f"{lsb:g} a unit",
                      "Widen the bounds, or hold weights more finely.")
    if len(faults.errors) > before:
        return None
    duration = sum(each.duration for each in rule.phases if each.noise is None)
    program = PlasticityProgram(
        terms, fraction, low, high, choices.both, seed=seed, period=duration / speed_up,
        **reader.gate_numbers(threshold))
    observed = program.observed
    return PpuRule(program, (reader.taus.get("causal", tau_mem), reader.taus.get("acausal", tau_mem)),
                   "error" if "error" in observed else "factor" if "factor" in observed else "none")


def nearest_coefficient(value: float) -> tuple[int, int]:
    """Odd mantissa of four bits and shift such that mantissa 2^-shift is next to `value`, which is not 0."""
    exponent = floor(log2(abs(value)))
    mantissa, shift = round(abs(value) * 2.0 ** (3 - exponent)), 3 - exponent  # 8..16
    while mantissa % 2 == 0:
        mantissa, shift = mantissa // 2, shift - 1
    return (mantissa if value > 0 else -mantissa), shift


class _Reader:
    def __init__(self, rule: LearningRule, projection: str, lsb: float, choices: PpuChoices, tau_mem: float,
                 output: bool, faults: Diagnostics) -> None:
        self.rule, self.projection, self.lsb, self.choices, self.faults = rule, projection, lsb, choices, faults
        self.tau_mem, self.output = tau_mem, output
        self.read: Continuous = continuous_rule(rule, Diagnostics())
        self.taus: dict[str, float] = {}
        self.told: set[str] = set()
        self.gate: Gate | None = None

    def refuse(self, message: str, value: str, limit: str | None = None, remedy: str = _REMEDY) -> None:
        self.faults.add("SC360", f"{message} on the plasticity processor", node=self.projection, value=value,
                        limit=limit, remedy=remedy)

    def approximate(self, message: str, value: str, remedy: str | None = None) -> None:
        if message not in self.told:
            self.told.add(message)
            self.faults.add("SC363", message, node=self.projection, value=value, severity="warning", remedy=remedy)

    # ---- the rule as a whole ----------------------------------------------------------------------------------------
    def settings(self) -> None:
        rule = self.rule
        awake = [each for each in rule.phases if each.noise is None]
        if rule.units != "model":
            self.refuse("weights and times are the model's", f"units '{rule.units}'", "model")
        if rule.bias:
            self.refuse("biases do not learn", "bias", "weights", "Feed an input that always spikes.")
        if len(awake) != 1 or any(each.every != 1 for each in awake):
            self.refuse("a sample has one phase, which counters and sensors are read after",
                        ", ".join(each.name for each in awake) or "none", "1")
        if any(each.inject for each in awake):
            self.refuse("the error is no current into the membrane", "inject", "0")
        if any(each.every for each in rule.updates):
            self.refuse("there are no columns to update in every so many of them", "every", "0")
        for each in rule.variables:
            if isinstance(each, Trace) and (each.of != "spikes" or each.phases):
                self.refuse("sensors and counters follow spikes, in all of a sample", each.name, "of spikes")
        self._error()

    def _error(self) -> None:
        error, feedback = self.rule.error, self.rule.feedback
        if error is not None and error.code in ("trace", "local"):
            self.refuse("the host computes an error of the outputs' spike counts", f"error '{error.code}'",
                        "softmax, count, spike, reward")
        if error is not None and error.margin:
            self.refuse("an error is fed back whatever it is", f"margin {error.margin:g}", "0")
        if error is not None and error.dendrite_tau is not None:
            self.refuse("a dendrite sums over the sample", f"dendrite_tau {error.dendrite_tau:g}", "no decay")
        if feedback is not None and feedback.kind in ("learned", "kolen_pollack"):
            self.refuse("feedback is of the host, and does not learn", f"feedback '{feedback.kind}'",
                        "fixed, transposed, none", "Use transposed feedback: the processor reads the weights.")
        if feedback is not None and feedback.path != "direct":
            self.refuse("feedback runs from the outputs to every layer", f"path '{feedback.path}'", "direct")

    # ---- what a sample collects -------------------------------------------------------------------------------------
    def collected(self) -> list[_Collected]:
        """Of the weight."""
        tags: dict[str, list[_Collected]] = {"t": [], "d": []}
        for act in self.read.acts:
            if act.variable != "w":
                tags[act.variable] += self._at_spike(act)
        for flow in self.read.flows:
            if flow.variable == "w":
                self.refuse("a weight does not change in every step", self._text(flow.product, "step"))
            else:
                tags[flow.variable] += self._gated(flow.product)
        for (variable, _), leak in self.read.leaks.items():
            self._leak(variable, leak)
        found: list[_Collected] = []
        for act in self.read.acts:
            if act.variable == "w":
                found += self._at_end(act, tags) if act.when == "sample" else self._at_spike(act)
        if not found and not self.faults.errors:
            self.refuse("nothing changes a weight", self.rule.name)
        return found

    def _leak(self, variable: str, leak: float) -> None:
        duration = sum(each.duration for each in self.rule.phases if each.noise is None)
        kept = exp(-leak * duration)
        if variable == "w":
            self.refuse("a weight does not decay in every step", f"-{leak * self.rule.interval:g}*w",
                        None, "Let it decay at the end of a sample.")
        elif kept < _KEPT:
            self.refuse("what sensors have collected does not decay", f"{100 * kept:.0f} % of {variable} is left",
                        f"{100 * _KEPT:.0f} % at the end of a sample", "Let the tag decay more slowly.")
        else:
            self.approximate("what sensors have collected does not decay", f"{100 * kept:.0f} % of {variable} is left")

    def _at_spike(self, act: Act) -> list[_Collected]:
        product, text = act.product, self._text(act.product, act.when)
        if act.when not in _SENSORS or product.signs:
            self.refuse("the processor is told of no " + (
                "sign" if product.signs else "error spike" if act.when == "error" else "spikes at one instant"), text)
            return []
        traces = [name for name in product.variables if name != "w"]
        weight = ("weight",) * (len(product.variables) - len(traces))
        if any(name in ("t", "d", "e", "r") for name in traces) or len(weight) > 1 or (
                weight and act.variable != "w"):
            self.refuse("sensors multiply two spikes, no tag, error or power of the weight", text)
            return []
        if weight:
            self.approximate("the weight in a product is that at the end of the sample", text)
        scale = act.product.coefficient * self.lsb ** len(weight)
        if not traces:
            return [_Collected(scale, (_COUNTERS[act.when], *weight))]
        if len(traces) > 1:
            self.refuse("a sensor pairs two spikes, no three", text, "one trace")
            return []
        (name,) = traces
        if name in self.read.gates:
            if act.when == "post" or self.read.gates[name].shape != "box":
                self.refuse("a gate is a box, at the source's spikes", text)
                return []
            return self._gate(_Collected(scale, weight), self.read.gates[name], None, text)
        trace = self.read.traces[name]
        if (act.when == "post") != name.startswith("x"):
            self.refuse("a sensor pairs a spike of the source with one of the target", text)
            return []
        return self._sensed(scale, trace, act.when, weight, text)

    def _sensed(self, scale: float, trace: Trace, when: str, weight: tuple[str, ...], text: str) -> list[_Collected]:
        name = _SENSORS[when]
        tau = self.tau_mem if isinstance(trace.tau, str) else trace.tau
        if tau is None or tau <= 0:
            self.refuse("a sensor's trace decays", text, "a trace with a time constant")
            return []
        if self.taus.setdefault(name, tau) != tau:
            self.refuse(f"all {name} sensors have one time constant", text, f"{self.taus[name]:g} s")
            return []
        self.approximate("sensors pair a spike with its nearest neighbour, where the rule takes all pairs", text)
        return [_Collected(scale * trace.impulse, (name, *weight))]

    def _gated(self, product: Product) -> list[_Collected]:
        """A tag that takes a trace of the source through a gate, at all times."""
        text = self._text(product, "step")
        gates = [self.read.gates[name] for name in product.variables if name in self.read.gates]
        traces = [self.read.traces[name] for name in product.variables if name in self.read.traces]
        if len(product.variables) != 2 or len(gates) != 1 or len(traces) != 1 or product.signs or (
                not traces[0].name.startswith("x") or gates[0].shape != "box"):
            self.refuse("a tag takes pairs of spikes, or a trace of the source through a box gate", text)
            return []
        return self._gate(_Collected(product.coefficient, ()), gates[0], traces[0], text)

    def _gate(self, taken: _Collected, gate: Gate, trace: Trace | None, text: str) -> list[_Collected]:
        """`trace` None: at the source's spikes."""
        tau = self.tau_mem if trace is None or isinstance(trace.tau, str) or trace.tau is None else trace.tau
        scale = taken.coefficient * gate.height
        if self.choices.gate is None:
            self.approximate("the target's spikes stand for the gate: each counts as one step of an open one", text,
                             "Read the membrane: choices with `gate`.")
            spikes = Trace("x1", tau, 1.0 if trace is None else trace.impulse)
            return self._sensed(scale, spikes, "post", taken.factors, text)
        self.approximate("the source's spikes times how often the gate was found open, whenever each was", text)
        if trace is not None:
            scale *= trace.impulse * tau / self.rule.interval
        if self.gate not in (None, gate):
            self.refuse("one gate is read", text, "1")
            return []
        self.gate = gate
        return [_Collected(scale / self.choices.gate.reads, ("gate", "source_rate", *taken.factors))]

    def gate_numbers(self, threshold: float) -> dict[str, int]:
        """Of the program, if it has one."""
        reads, gate = self.choices.gate, self.gate
        if reads is None or gate is None:
            return {}
        centre = threshold if gate.centre is None else gate.centre
        return {"reads": reads.reads, "centre": min(255, max(0, round(reads.rest + reads.per_unit * centre))),
                "width": min(255, round(reads.per_unit * gate.width))}

    def _at_end(self, act: Act, tags: Mapping[str, list[_Collected]]) -> list[_Collected]:
        product, text = act.product, self._text(act.product, "sample")
        if product.signs:
            self.refuse("a term is a product, without a sign", text)
            return []
        found = [_Collected(product.coefficient, ())]
        for name in sorted(product.variables, key=lambda each: each not in ("e", "r")):
            parts = tags[name] if name in tags else self._value(name, text)
            found = [_Collected(one.coefficient * two.coefficient, (*one.factors, *two.factors))
                     for one in found for two in parts]
        return found

    def _value(self, name: str, text: str) -> list[_Collected]:
        choices, error = self.choices, self.rule.error
        if name == "w":
            return [_Collected(self.lsb, ("weight",))]
        if name == "r":
            return [_Collected(choices.reward_range / 127, ("reward",))]
        if name == "e":
            counted = (choices.counters and self.output and error is not None and error.code == "spike"
                       and not error.spikes and not error.start)
            return [_Collected(1.0, ("error",))] if counted else [
                _Collected(choices.factor_range / 127, ("factor",))]
        trace = self.read.traces.get(name)
        if trace is not None and trace.tau is None:
            return [_Collected(trace.impulse, ("source_rate" if name.startswith("x") else "rate",))]
        self.refuse("at the end of a sample there are counts of spikes, no trace that decays, spike or gate", text,
                    "a trace without a time constant")
        return []

    # ---- numbers ----------------------------------------------------------------------------------------------------
    def terms(self, collected: list[_Collected]) -> tuple[int, tuple[PlasticTerm, ...]]:
        """In whole numbers, with as many bits of the sum below a unit of the weight as there is room for; a fault
        (SC361) for each term that they do not hold."""
        for fraction in range(_MOST_FRACTION, -1, -1):
            found = [self._term(each, fraction) for each in collected]
            if fraction == 0 or all(term.shift >= 0 for term in found):
                break
        for each, term in zip(collected, found, strict=True):
            if not 0 <= term.shift <= MOST_SHIFT:
                text = "*".join((f"{each.coefficient:.3g}", *each.factors))
                self.faults.add(
                    "SC361", "a coefficient is out of the range of the plasticity processor", node=self.projection,
                    value=f"{text} takes a shift of {term.shift}", limit=f"0..{MOST_SHIFT}",
                    remedy=f"{'Lower' if term.shift < 0 else 'Raise'} the rate of the rule, or the amplitude of the "
                           "sensors and the ranges of e and r the other way.")
        return fraction, tuple(found)

    def _term(self, collected: _Collected, fraction: int) -> PlasticTerm:
        value = collected.coefficient / self.lsb * 2.0**fraction
        for name in collected.factors:
            value /= self.choices.amplitude if name in ("causal", "acausal") else 1.0
        mantissa, shift = nearest_coefficient(value)
        downs: list[int] = []
        most = 1
        for number, size in enumerate((*(self._largest(name) for name in collected.factors), abs(mantissa))):
            if number:
                downs.append(next(down for down in range(16) if -(-most // 2**down) * size <= WORD))
                most = -(-most // 2 ** downs[-1])
            most *= size
        shift -= sum(downs)
        while shift < 0 and abs(mantissa) * 2 <= MOST_MANTISSA and most * 2 <= WORD:
            mantissa, shift, most = mantissa * 2, shift + 1, most * 2
        return PlasticTerm(mantissa, shift, collected.factors, tuple(downs))

    def _largest(self, name: str) -> int:
        return self.choices.gate.reads if name == "gate" and self.choices.gate is not None else LARGEST[name]

    def _text(self, product: Product, when: str) -> str:
        factors = (*(Factor(name) for name in product.variables),
                   *(Factor(name, sign=True) for name in product.signs))
        return f"{when}: {term_text(Term(product.coefficient, factors))}"
