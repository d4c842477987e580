"""Quantised network + learning rule -> plastic network: rules in chip numbers, learning neurons, feedback, schedule.

What a sample is in columns, T of them shown, D the columns until the error of an output has reached every dendrite:

    0 .. T-1           input spikes; the teacher's come as late as the outputs' do
    T .. T+D+gap-1     nothing: what is under way arrives, traces and membranes decay
    then one           UPDATE: w takes its update, the tag and the error are cleared; a reward is told
    every n-th time    a sleep: CLEAR, S columns of noise (ASLEEP), one more, MIRROR, CLEAR, and a gap
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, exp, log, log2

import numpy as np

from ..ir.diagnostics import Diagnostics, UnsupportedError
from ..ir.integer.learning import LIMITS, LONGEST_TAU, PRE_TRACES, IntegerRule, IntegerTrace
from ..ir.integer.network import IntegerDense, IntegerProjection
from ..ir.integer.plastic import LARGEST_REWARD, LearningNeuron, PlasticNetwork
from ..ir.integer.plastic_checks import FIELDS
from ..ir.learning.rule import Factor, Feedback, Gate, LearningRule, Noise, Term, Trace, Update
from ..ir.nodes import Array
from .plastic_checks import OnChip, check_on_chip
from .plastic_rules import ChipScales, coefficient_of, integer_rule
from .quantise import Quantised

__all__ = ["ChipChoices", "Plastic", "SampleColumns", "make_plastic"]

_ONE = 6
"""Bits that an error of one spike is shifted left by: as far as a trace holds it."""
_LEFT = 0.5
"""Of a trace, when the next sample begins: more is told."""
_OPEN = 8
"""What an open gate says beside a trace: it makes up for the bits that the engine drops of a product of two traces."""


@dataclass(frozen=True, slots=True)
class ChipChoices:
    """How a rule of the model is held in whole numbers; None: chosen here. `impulse`: of x1. `tag_shift`: bits that the
    tag leaves out of the product of trace and gate. `error_shift`: bits that a dendrite's error leaves out, by
    population; below zero, bits that it is shifted left by. `gap`: silent columns before an update, beyond those that
    what is under way takes. `headroom`: what weights may grow to, in largest initial weights. `thresholds`: by
    population, the whole number that its threshold becomes, in the place of what `headroom` gives. `rates`: by
    projection, what its updates of weights are multiplied by."""

    impulse: int | None = None
    tag_shift: int | None = None
    error_shift: Mapping[str, int] = field(default_factory=dict)
    gap: int = 4
    headroom: float = 4.0
    thresholds: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleColumns:
    """Columns of a sample: `shown`; `late`: by which the outputs' spikes come later than the input's; `teach_from`,
    `teach_every`: of the teacher, in columns of the sample; `update`: the column of the update; `sleep`: columns of
    noise, of rate `noise`, after every `sleep_every`-th sample, 0 for none; `gap` after it."""

    shown: int
    late: int
    teach_from: int
    teach_every: int
    update: int
    sleep: int = 0
    sleep_every: int = 1
    noise: Noise | None = None
    gap: int = 0

    @property
    def columns(self) -> int:
        """Of a sample, without a sleep."""
        return self.update + 1

    @property
    def sleep_columns(self) -> int:
        """CLEAR, noise, one for the last spikes to arrive, MIRROR, CLEAR, gap."""
        return self.sleep + 4 + self.gap if self.sleep else 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Plastic:
    """`weights`: by plastic projection, what a weight of the model is on the chip. `feedback`: by population, its
    projection. `output`: the population with the labels' neurons. `error`: whether there is a teacher; `reward`:
    whether there is a reward, told in the columns of updates."""

    network: PlasticNetwork
    columns: SampleColumns
    weights: Mapping[str, float]
    feedback: Mapping[str, str]
    output: str
    error: bool
    reward: bool = False


def make_plastic(quantised: Quantised, rule: LearningRule, learning: Sequence[str], output: str, *, seed: int = 0,
                 choices: ChipChoices | None = None, rate: float = 1.0,
                 diagnostics: Diagnostics | None = None) -> Plastic:
    """The plastic network of `rule` on the projections `learning`, of a network whose labels are told by the population
    `output`. `rate`: what updates of weights are multiplied by.

    Raises:
        UnsupportedError: what the learning engine cannot say or hold (SC515, SC516, SC336), all at once; warnings
            (SC337) are added to `diagnostics`.
    """
    faults = Diagnostics() if diagnostics is None else diagnostics
    maker = _Maker(quantised, rule, tuple(learning), output, seed, choices or ChipChoices(), rate, faults)
    made = maker.plastic()
    faults.raise_if_errors(UnsupportedError)
    return made


class _Maker:
    def __init__(self, quantised: Quantised, rule: LearningRule, learning: tuple[str, ...], output: str, seed: int,
                 choices: ChipChoices, rate: float, faults: Diagnostics) -> None:
        self.quantised, self.rule, self.learning, self.output = quantised, rule, learning, output
        self.seed, self.choices, self.rate, self.faults = seed, choices, rate, faults
        self.network = quantised.network
        self.on = OnChip.of(rule)
        self.by_name = {each.name: each for each in self.network.projections}
        beside = [term for update in rule.updates for term in update.terms
                  if {"x1", "x2"} & {each.variable for each in term.factors}]
        self.open = 1 if self.on.chip or not beside else _OPEN
        self.tag_shift: dict[str, int] = {}
        self.error_shift: dict[str, int] = {}

    def plastic(self) -> Plastic:
        check_on_chip(self.rule, [self.by_name[name] for name in self.learning],
                      {name: self.quantised.projections[name].factor for name in self.learning}, self.output,
                      self.faults)
        self.faults.raise_if_errors(UnsupportedError)
        targets = list(dict.fromkeys(self.by_name[name].target for name in self.learning))
        columns = self._columns(targets)
        self._tell_long_traces(columns)
        learnt = {name: self._mixed(self.by_name[name]) for name in self.learning}
        self._fit_shifts(targets, columns)
        neurons = {name: self._neuron(name, columns) for name in targets} if self.on.three else {}
        hidden = [name for name in targets if name != self.output] if self.rule.error and not self.on.rewarded else []
        feedback = [self._feedback(name) for name in hidden]
        rules = {name: self._forward(name, columns, neurons) for name in self.learning}
        if self.rule.feedback is not None and self.rule.feedback.kind == "learned":
            rules |= {each.name: self._mirror(each, self.rule.feedback, neurons) for each in feedback}
        network = replace(self.network, projections=tuple(learnt.get(each.name, each)
                                                          for each in self.network.projections))
        return Plastic(
            network=PlasticNetwork(network=network, feedback=tuple(feedback), rules=rules, neurons=neurons),
            columns=columns, weights={name: self._weight_scale(name) for name in self.learning},
            feedback={each.target: each.name for each in feedback}, output=self.output,
            error=self.rule.error is not None and not self.on.rewarded, reward=self.on.rewarded)

    # What a sample is.

    def _columns(self, targets: Sequence[str]) -> SampleColumns:
        awake = [each for each in self.rule.phases if each.noise is None]
        asleep = next((each for each in self.rule.phases if each.noise is not None), None)
        shown = sum(self._steps(each.duration) for each in awake)
        late = {name: record.latency for name, record in self.quantised.populations.items()}
        teach = next((each for each in awake if each.teach), None)
        before = sum(self._steps(each.duration) for each in awake[:awake.index(teach)]) if teach else 0
        error = self.rule.error
        start = self._steps(error.start) if error is not None else 0
        under_way = late[self.output] + 2  # the error of the last output spike reaches the dendrites a column later
        learns = self.rule.feedback is not None and self.rule.feedback.kind == "learned"
        sleeps = asleep if learns else None
        columns = SampleColumns(
            shown=shown, late=late[self.output], teach_from=late[self.output] + before + start,
            teach_every=error.period if error is not None else 1, update=shown + under_way + self.choices.gap,
            sleep=self._steps(sleeps.duration) if sleeps is not None else 0,
            sleep_every=sleeps.every if sleeps is not None else 1, noise=sleeps.noise if sleeps is not None else None,
            gap=self.choices.gap)
        # The engine counts the columns of the stream, so that samples are as long as keeps its count theirs.
        whole = 2 ** max((each.every for each in self.rule.updates), default=0)
        return replace(columns, update=columns.update + -columns.columns % whole,
                       gap=columns.gap + -columns.sleep_columns % whole)

    def _tell_long_traces(self, columns: SampleColumns) -> None:
        """A stream has no beginning but its first: what a sample has left of a trace, the next one has."""
        silent = columns.columns - columns.shown
        for each in self.rule.variables:
            tau = max(self._tau(each, self.by_name[name].target) for name in self.learning) if isinstance(
                each, Trace) else 0.0
            if tau and exp(-silent / tau) > _LEFT:
                self.faults.add("SC516", "a trace goes on from sample to sample, where the rule has it start at zero",
                                node=self.rule.name, severity="warning",
                                value=f"{each.name}: {exp(-silent / tau):.0%} is left after {silent} columns",
                                limit=f"{_LEFT:.0%}", remedy=f"Choose `gap={self.choices.gap + ceil(2 * tau)}`."
                                if tau < LONGEST_TAU else "Give it a time constant, and choose `gap`.")

    def _steps(self, duration: float) -> int:
        return round(duration if self.on.chip else duration / self.network.dt)

    # Neurons and synapses.

    def _mixed(self, projection: IntegerProjection) -> IntegerProjection:
        """Weights of either sign, whatever they begin as."""
        return replace(projection, sign="mixed")

    def _weight_scale(self, name: str) -> float:
        record = self.quantised.projections[name]
        return 1.0 if self.on.chip else float(record.factor.mean()) / 2.0**record.exponent

    def _neuron(self, name: str, columns: SampleColumns) -> LearningNeuron:
        gate = next((each for each in self.rule.variables if isinstance(each, Gate)), None)
        scale = 1.0 if self.on.chip else float(self.quantised.populations[name].scale.mean()) / 64
        error, shift = self.rule.error, self.error_shift[name]
        own = next((each for each in self.rule.variables if isinstance(each, Trace) and each.name == "y1"), None)
        trace = IntegerTrace(0, 0) if own is None else self._trace(own, name, columns)
        return LearningNeuron(
            error="reward" if self.on.rewarded else "teacher" if name == self.output else "dendrite",
            gate_width=max(1, round((gate.width if gate is not None else 1.0) * scale)),
            gate_value=self.open, shift=max(shift, 0), gain=max(-shift, 0),
            count_step=self._count_step(name, columns),
            says_spikes=self.on.tells_spikes, holds=self.on.holds, trace_impulse=round(trace.impulse),
            trace_decay=round(4096 * (1 - exp(-1 / trace.tau))) if trace.tau else 4096,
            error_threshold=max(1, round(error.threshold)) if error is not None and error.spikes else 1)

    def _fit_shifts(self, targets: Sequence[str], columns: SampleColumns) -> None:
        """Tags and errors keep as many bits as fit; then fewer, where a coefficient would be below what the engine
        holds: tags first, whose rounding is at random, then errors."""
        for name in targets:
            self.error_shift[name] = self._error_shift(name, columns)
        for name in self.learning:
            traces, target = self._traces(name, columns), self.by_name[name].target
            self.tag_shift[name] = self._tag_shift(traces, columns)
            if self.on.chip:
                continue
            scales = self._scales(name, traces, self.error_shift.get(target, 0))
            short = max((_bits_short(term, update.variable, scales, self._rate(name)) for update in self._awake()
                         for term in update.terms if update.variable == "w"), default=0)
            if self.choices.tag_shift is None and short > 0:
                most = int(log2(max(_largest(traces.get("x1", IntegerTrace(1, 0.0))), 1)))
                extra = max(0, min(short, most - self.tag_shift[name]))
                self.tag_shift[name] += extra
                short -= extra
            if target not in self.choices.error_shift and short > 0 and self.rule.error and not self.on.rewarded:
                self.error_shift[target] += max(0, min(short, FIELDS["shift"][1] - self.error_shift[target]))

    def _error_shift(self, name: str, columns: SampleColumns) -> int:
        if name in self.choices.error_shift:
            return self.choices.error_shift[name]
        if self.on.chip or self.rule.error is None or self.on.rewarded:
            return 0
        if name == self.output and self.on.holds:
            return -_ONE  # an error spike a column at most
        if name == self.output or self.on.holds:
            # All teacher's spikes without one of the output's.
            return -int(log2(127 * self.rule.error.period / columns.shown)) if columns.shown < 127 else 0
        # Three standard deviations of a sum of as many error spikes as come in half of the columns.
        most = 3 * self._feedback_deviation(name) * (columns.shown / 2) ** 0.5
        return max(0, round(log2(max(most, 1) / 127)))

    def _count_step(self, name: str, columns: SampleColumns) -> int:
        """Three standard deviations of a neuron's noise fill the trace; the counts of outputs are as they are."""
        if columns.noise is None or name == self.output or self.on.chip:
            return 1
        most = 3 * (2 * columns.sleep * columns.noise.high) ** 0.5
        return int(2 ** max(0, min(6, int(log2(127 / most)))))

    def _feedback_deviation(self, name: str) -> float:
        """Of feedback weights of a random start: that of the weights whose transpose they stand for."""
        onto = [self.by_name[each] for each in self.learning if self.by_name[each].target == self.output]
        weight = np.concatenate([each.connection.weight.reshape(-1) for each in onto]) if onto else np.ones(1)
        scale = self.rule.feedback.scale if self.rule.feedback is not None else 1.0
        return scale * float(weight.std())

    def _feedback(self, name: str) -> IntegerProjection:
        feedback = self.rule.feedback or Feedback("fixed")
        n, n_out = self.network.size(name), self.network.size(self.output)
        onto = next((self.by_name[each] for each in self.learning if self.by_name[each].target == self.output
                     and self.by_name[each].source == name), None)
        weight: Array
        if onto is not None and (feedback.kind == "transposed" or feedback.start == "transposed"):
            weight = onto.connection.weight.T.copy()
        elif feedback.kind == "none":
            weight = np.zeros((n, n_out), dtype=np.int64)
        else:
            # A whole number of even mantissas, uniform, so that none is cut off.
            width = self._feedback_deviation(name) * 3**0.5
            random = np.random.default_rng([self.seed, *name.encode()])
            weight = 2 * np.rint(random.uniform(-width, width, (n, n_out)) / 2).astype(np.int64)
        return IntegerProjection(name=f"feedback.{name}", source=self.output, target=name, sign="mixed",
                                 connection=IntegerDense(weight=np.clip(weight, -256, 254)), message_bits=8)

    # Rules.

    def _forward(self, name: str, columns: SampleColumns, neurons: Mapping[str, LearningNeuron]) -> IntegerRule:
        traces, target = self._traces(name, columns), self.by_name[name].target
        return integer_rule(self._awake(), self._scales(name, traces, self.error_shift.get(target, 0)), name,
                            three_factor=target in neurons, seed=self._seed(name), rate=self._rate(name),
                            faults=self.faults)

    def _rate(self, name: str) -> float:
        return self.rate * self.choices.rates.get(name, 1.0)

    def _traces(self, name: str, columns: SampleColumns) -> dict[str, IntegerTrace]:
        return {each.name: self._trace(each, self.by_name[name].target, columns) for each in self.rule.variables
                if isinstance(each, Trace)}

    def _scales(self, name: str, traces: Mapping[str, IntegerTrace], error_shift: int) -> ChipScales:
        """What a variable of the model is multiplied by on the chip."""
        gated = "y0" if not self.on.tells_spikes else "y3" if self.on.rewarded else "y1"
        kept = {key: each for key, each in traces.items() if not self.on.three or key in PRE_TRACES}
        if self.on.chip:
            return ChipScales({}, kept, gated=gated)
        by_name = {"w": self._weight_scale(name)}
        by_name |= {each.name: traces[each.name].impulse / each.impulse for each in self.rule.variables
                    if isinstance(each, Trace)}
        by_name |= {each.name: self.open / each.height for each in self.rule.variables if isinstance(each, Gate)}
        by_name["e"] = self._error_scale(self.by_name[name].target) / 2.0**error_shift
        by_name["r"] = LARGEST_REWARD / 2.0**error_shift
        by_name["t"] = by_name["d"] = by_name.get("x1", 1.0) / 2.0 ** self.tag_shift[name]
        largest = {each.name: self.open for each in self.rule.variables if isinstance(each, Gate)}
        if self.on.holds and self.by_name[name].target == self.output:
            largest |= dict.fromkeys(("y2", "y3"), max(1, int(2.0**-error_shift)))
        return ChipScales(by_name, kept, gated=gated, largest=largest)

    def _awake(self) -> list[Update]:
        """The updates of a sample, and what makes tags zero for the next one."""
        asleep = {each.name for each in self.rule.phases if each.noise is not None}
        found = [each for each in self.rule.updates if not each.phases or set(each.phases) - asleep]
        for tag in ("t", "d"):
            cleared = Term(-1.0, (Factor(tag),))
            of_tag = [each for each in found if each.variable == tag]
            if of_tag and not any(each.when == "sample" and cleared in each.terms for each in of_tag):
                found.append(Update(tag, "sample", (cleared,)))
        return found

    def _error_scale(self, population: str) -> float:
        """What an error of one is in a dendrite: of an output a spike, of a hidden neuron a weight of feedback, which
        is held as the weights that it stands for."""
        if population == self.output or self.on.chip:
            return 1.0
        onto = [name for name in self.learning if self.by_name[name].target == self.output]
        return self._weight_scale(onto[0]) if onto else 1.0

    def _trace(self, trace: Trace, target: str, columns: SampleColumns) -> IntegerTrace:
        tau = self._tau(trace, target)
        if self.on.chip:
            return IntegerTrace(trace.impulse, tau)
        summed = columns.shown if tau >= LONGEST_TAU else 1 / (1 - exp(-1 / tau)) if tau else 1.0
        impulse = self.choices.impulse if self.choices.impulse is not None and trace.name == "x1" else max(
            16, int(127 / summed))
        return IntegerTrace(min(impulse, 127), tau)

    def _tau(self, trace: Trace, target: str) -> float:
        """Columns."""
        record = self.quantised.populations[target]
        if trace.tau is None:
            return LONGEST_TAU
        if isinstance(trace.tau, str):
            decays = record.membrane if trace.tau == "tau_mem" else record.current or record.membrane
            return 0.0 if decays[1] <= 0 else -1 / log(decays[1])
        return trace.tau if self.on.chip else trace.tau / self.network.dt

    def _tag_shift(self, traces: Mapping[str, IntegerTrace], columns: SampleColumns) -> int:
        if self.choices.tag_shift is not None:
            return self.choices.tag_shift
        return ceil(log2(columns.shown * _largest(traces.get("x1", IntegerTrace(1, 0.0))) / 255))

    def _mirror(self, projection: IntegerProjection, feedback: Feedback,
                neurons: Mapping[str, LearningNeuron]) -> IntegerRule:
        """x1 is the output's count, y1 the noise, of which y2 and y3 tell the parts; both are whole numbers already."""
        scale = 1.0 if self.on.chip else self._error_scale(projection.target)
        step = neurons[projection.target].count_step
        return integer_rule(
            [Update(each.variable, "pre", each.terms) for each in feedback.updates],
            ChipScales({"w": scale, "y1": step}, {"x1": IntegerTrace(0, LONGEST_TAU)}), projection.name,
            three_factor=True, graded=True, seed=self._seed(projection.name), signed="y1", faults=self.faults)

    def _seed(self, name: str) -> int:
        """Of the rounding of each projection, its own."""
        return int(np.random.default_rng([self.seed, *name.encode()]).integers(1 << 31))



def _largest(trace: IntegerTrace) -> float:
    """What a trace comes to of a spike in every column."""
    return min(127.0, trace.impulse / (1 - exp(-1 / trace.tau)) if trace.tau else trace.impulse)


def _bits_short(term: Term, variable: str, scales: ChipScales, rate: float) -> int:
    """By how many bits a coefficient is below what the engine holds."""
    wanted = abs(coefficient_of(term, variable, scales, rate))
    return ceil(LIMITS["exponent"][0] - log2(wanted)) if wanted else 0
