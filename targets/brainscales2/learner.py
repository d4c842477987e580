"""Learning by the plasticity processors of BrainScaleS-2, modelled: a chip runs a sample, its sensors and counters are
read, and a program of whole numbers (`ir/analog/plastic.py`) changes the weights.

The chip is a callable (`runtime/analog/emulator.py` has one) that is given weights and spikes and gives the spikes of
all populations. What its correlation sensors would have collected is computed from these spikes
(`ir/analog/correlation.py`). Third factors are of the host. Samples are taken one after the other.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...ir.analog.correlation import READ_NOISE, CorrelationSensors, Trains, collected, trains_of
from ...ir.analog.network import codes_of
from ...ir.analog.plastic import (
    LARGEST_WEIGHT,
    Observed,
    PlasticityProgram,
    PlasticTerm,
    baseline_of,
    gate_of,
    updated,
)
from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning, UnsupportedError
from ...ir.events import Events
from ...ir.graph import Graph
from ...ir.learning.continuous import MOST_REWARDS
from ...ir.learning.rule import LearningRule
from ...ir.learning.wiring import Link, check_feedback, links_of, transposed
from ...ir.network import Network
from ...ir.nodes import Array
from ...passes.ppu_rules import PpuChoices, PpuRule, make_ppu_rule
from ...runtime.engine import Engine
from ...runtime.learning.arguments import Rest, check_seed, checked_rate, checked_rates, require_samples
from ...runtime.learning.learner import Answer, LearningFigures
from ...runtime.learning.states import require_state
from ...runtime.learning.watch import warn_of_no_input
from .learner_report import PlasticRow, PpuLearnerReport
from .plasticity_limits import RANGES
from .ppu_kernel import kernel_text
from .third_factor import summed_error, wanted_spikes

__all__ = ["Measure", "PpuLearner", "Reads"]

Measure = Callable[[Mapping[str, Array], Mapping[str, Events], float], Mapping[str, Events]]
"""Weights in steps (n_target, n_source) by projection, input spikes, a duration; seconds on the chip. Gives the spikes
of every population, and may give those of the inputs as they went in."""
Reads = Callable[[Mapping[str, Array], Mapping[str, Events], float, Array], tuple[Mapping[str, Events],
                                                                                  Mapping[str, Array]]]
"""The same with times at which membranes are read, and, beside the spikes, by population (times, n) whole LSB."""


_LEVEL = 1e-9
"""Relative slack at the ends of a range."""


@dataclass(frozen=True, slots=True, eq=False)
class _Plastic:
    """A projection that learns: `sensors` of its excitatory and inhibitory rows; `baseline` (2, n_target)."""

    link: Link
    rule: PpuRule
    sensors: tuple[CorrelationSensors, CorrelationSensors]
    baseline: Array


class PpuLearner:
    """See `Learner`. Codes are signed weights in steps, w+ less w-.

    Args:
        graph, network: the model, and the same lowered.
        measure: the chip.
        step: by projection that learns, what a step of its weights is in the model.
        output, projections, seed: as of other learners; `seed` is also that of the rounding.
        chip: which chip's sensors these are, by their mismatch; None: ideal ones.
        reads: the chip, where the rule has a gate that membranes are read for.
        codes: weights in steps of projections that do not learn; None: the nearest, in one row a source.
        noise: whether reads of sensors are noisy; None: where sensors deviate.
        speed_up: seconds of the model for one of the chip.

    Raises:
        BadInputError: there is no such output or projection, or the seed is no whole number (SC403).
        UnsupportedError: naming each projection that cannot learn (SC515), and each part of the rule that a plasticity
            processor cannot say (SC360, SC361).
        DoesNotFitError: a projection has more sources or targets than there are rows and columns (SC362).
    """

    def __init__(self, graph: Graph, network: Network, rule: LearningRule, measure: Measure,
                 step: Mapping[str, float | Array], *, output: str | None = None,
                 projections: Iterable[str] | None = None, seed: int = 0, chip: int | None = 0,
                 choices: PpuChoices | None = None, reads: Reads | None = None,
                 codes: Mapping[str, Array] | None = None, noise: bool | None = None,
                 speed_up: float = 1000.0) -> None:
        faults = Diagnostics()
        check_seed(seed, faults)
        faults.raise_if_errors()
        self.rule, self.seed, self.choices = rule, int(seed), choices or PpuChoices()
        self.speed_up = speed_up
        self._graph, self._measure, self._reads, self._engine = graph, measure, reads, Engine(network)
        self._links = links_of(graph, rule, output, projections)
        check_feedback(self._links, rule, faults)
        self._step = {each.name: _one_step(each.name, step, faults) for each in self._links.plastic()}
        faults.raise_if_errors(UnsupportedError)
        self.codes = {each.name: self._coded(each) for each in self._links.plastic()}
        self._feedback = self._first_feedback()
        self._ranges = {link.name: self._range(link) for link in self._links.plastic()}
        self._rate = 1.0
        rules = self._rules_at(1.0, faults)
        faults.raise_if_errors(UnsupportedError)
        for each in faults.found:
            warnings.warn(str(each), SpikecWarning, stacklevel=2)
        random = np.random.default_rng([self.seed, 2])
        noisy = chip is not None if noise is None else noise
        self._plastic = [self._sensed(number, link, rules[link.name], chip, noisy, random)
                         for number, link in enumerate(self._links.plastic())]
        self._fixed = {name: np.asarray(each) for name, each in (
            self._static_codes(step) if codes is None else codes).items() if name not in self.codes}
        self.kernels()  # whether it fits is seen at once
        self._duration = sum(each.duration for each in rule.phases if each.noise is None)
        self._rest = Rest(self._duration)
        self.seen, self.updates, self.reward = 0, 0, 0.0
        self._forget()

    # ---- learning ---------------------------------------------------------------------------------------------------
    @property
    def rate(self) -> float:
        """See `Learner`; the coefficients are the nearest that the processor's program holds."""
        return self._rate

    @rate.setter
    def rate(self, value: float) -> None:
        rate = checked_rate(value)
        if rate != self._rate:
            faults = Diagnostics()
            rules = self._rules_at(rate, faults)
            faults.raise_if_errors(UnsupportedError)
            self._plastic = [replace(each, rule=rules[each.link.name]) for each in self._plastic]
            self._rate = rate

    def check_rates(self, rates: Iterable[float]) -> None:
        """See `Learner.check_rates` (SC361)."""
        faults = Diagnostics()
        for rate in dict.fromkeys(checked_rates(rates)):
            found = Diagnostics()
            self._rules_at(rate, found)
            faults.extend(replace(each, message=f"at the rate {rate:g}: {each.message}") for each in found.errors)
        faults.raise_if_errors(UnsupportedError)

    def learn(self, events: Any, labels: Array) -> Answer:
        """See `Learner.learn`: each sample meets the weights that the one before it has left."""
        samples = self._samples(events)
        if self.seen == 0:
            warn_of_no_input({str(number): each for number, sample in enumerate(samples) for each in sample.values()})
        given = self._labels(labels, len(samples))
        found, sizes = [], []
        before, runs, figures = self.state(), self.runs, copy.deepcopy(self._noted)
        try:
            for sample, label in zip(samples, given, strict=True):
                trains, gates = self._run(sample)
                found.append(self._answered(trains))
                sizes.append(self._update(trains, gates, int(label), int(found[-1][1])))
                self._note(trains)
        except BaseException:  # of a batch that the chip does not get to the end of, nothing is learnt
            self.load(before)
            self.runs, self._noted = runs, figures
            raise
        return self._joined(found, sizes)

    def answer(self, events: Any) -> Answer:
        """See `Learner.answer`."""
        return self._joined([self._answered(self._run(sample)[0]) for sample in self._samples(events)], [])

    def report(self) -> PpuLearnerReport:
        """What the rule has become, and where the weights stand; `print` shows it, `as_dict` is for machines."""
        faults, rows, kernels = Diagnostics(), [], self.kernels()
        self._rules_at(self.rate or 1.0, faults)
        for each in self._plastic:
            link, program, codes = each.link, each.rule.program, self.codes[each.link.name]
            ends = (codes <= program.low) | (codes >= program.high)
            rows.append(PlasticRow(
                link.name, link.source, link.target, codes.size, tuple(map(_term_text, program.terms)), each.rule.tau,
                program.low, program.high, float(np.mean(self._step[link.name])), float(ends.mean()),
                len(kernels[link.name].encode())))
        return PpuLearnerReport(self.rule.name, self.seen, self._duration / self.speed_up, tuple(rows),
                                tuple(str(each) for each in faults.found))

    def _update(self, trains: Mapping[str, Trains], gates: Mapping[str, Array], label: int, predicted: int) -> float:
        links, size, reward = self._links, 0.0, 0
        factors: dict[str, Array] = {}
        wanted: Array | None = None
        error = self.rule.error
        self.seen += 1
        if error is not None and error.code == "reward":
            got = float(predicted == label)
            reward = _whole((got - self.reward) / self.choices.reward_range)
            self.reward += (got - self.reward) / min(self.seen, MOST_REWARDS)
            size = abs(got - self.reward)
        elif error is not None:
            out = trains[links.output]
            told = summed_error(self.rule, out.times, out.neurons, label, out.n)
            size, factors[links.output] = told.size, told.summed
            wanted = wanted_spikes(self.rule, label, out.n)
            for name, matrix in self._feedback_now().items():
                factors[name] = matrix @ told.summed
        random = np.random.default_rng([self.seed, 3, self.seen])
        for each in self._plastic:
            self._change(each, trains, gates, factors, wanted, reward, random)
        self.updates += 1
        return size

    def _change(self, each: _Plastic, trains: Mapping[str, Trains], gates: Mapping[str, Array],
                factors: Mapping[str, Array], wanted: Array | None, reward: int, random: np.random.Generator) -> None:
        link, program = each.link, each.rule.program
        pre, post = trains[link.source], trains[link.target]
        reads = np.zeros((2, 2, post.n, pre.n), dtype=np.int64)  # by row of the pair, then branch
        if program.observed & {"causal", "acausal"}:
            for row, sensors in enumerate(each.sensors if program.both else each.sensors[:1]):
                reads[row] = sensors.read(collected(sensors, pre, post), random)
                for branch, name in enumerate(("causal", "acausal")):
                    if name in program.observed:
                        self._tell_full(f"{name} {link.name}", float((reads[row, branch] == 0).mean())
                                        / (2 if program.both else 1))
        factor = None
        if link.target in factors:
            factor = np.rint(127 * factors[link.target] / self._ranges[link.name]).clip(-128, 127).astype(np.int64)
            self._tell_full(f"factor {link.name}", float((np.abs(factor) >= 127).mean()))
        observed = Observed(
            causal=reads[:, 0], acausal=reads[:, 1], baseline=each.baseline, rate=post.counts.clip(0, 255),
            wanted=wanted if link.target == self._links.output else None,
            source_rate=pre.counts.clip(0, 255), factor=factor, reward=reward,
            gate=gate_of(program, gates[link.target]) if "gate" in program.observed else None)
        before = self.codes[link.name]
        if program.terms:
            self.codes[link.name], _ = updated(program, before, observed, self.updates)
        self._changed[link.name] += float((self.codes[link.name] != before).mean())

    # ---- the chip ---------------------------------------------------------------------------------------------------
    def _run(self, sample: Mapping[str, Events]) -> tuple[dict[str, Trains], Mapping[str, Array]]:
        """One sample on the chip: spikes in seconds of the model, of inputs and populations; membranes, where asked."""
        speed = self.speed_up
        codes = {**self._fixed, **self.codes}
        given = {name: Events(each.times / speed, each.indices, each.offsets) for name, each in sample.items()}
        gates: Mapping[str, Array] = {}
        duration = self._duration / speed
        if self._reads is not None and any("gate" in each.rule.program.observed for each in self._plastic):
            count = max(each.rule.program.reads for each in self._plastic)
            spikes, gates = self._reads(codes, given, duration, (1 + np.arange(count)) * duration / count)
        else:
            spikes = self._measure(codes, given, duration)
        shown = {**given, **spikes}
        found = {}
        for name in self._links.sizes:
            if name not in shown:
                raise BadInputError(Diagnostic("SC486", "the chip gives no spikes of a population", node=name,
                                               value=", ".join(sorted(spikes)) or "nothing"))
            found[name] = trains_of(np.asarray(shown[name].times, dtype=np.float64) * speed,
                                    np.asarray(shown[name].indices), self._links.sizes[name])
        return found, gates

    def _samples(self, events: Any) -> list[dict[str, Events]]:
        inputs = {name: Events(each.times.numpy(), each.indices.numpy(), each.offsets.numpy())
                  for name, each in self._engine.inputs(events).items()}
        self._rest.tell(events)
        batch = next(iter(inputs.values())).batch
        require_samples(batch)
        found = []
        for number in range(batch):
            parts = {}
            for name, each in inputs.items():
                start, stop = each.offsets[number:number + 2]
                times = each.times[start:stop]
                kept = times <= self._duration
                parts[name] = Events(times[kept], each.indices[start:stop][kept],
                                     np.array([0, int(kept.sum())], dtype=np.int64))
            found.append(parts)
        return found

    def _answered(self, trains: Mapping[str, Trains]) -> tuple[Array, int, dict[str, int]]:
        """Counts of the output; the one that fired most, of several the one that fired first; spikes by population."""
        out = trains[self._links.output]
        first = np.full(out.n, np.inf)
        some = out.counts > 0
        first[some] = out.times[out.offsets[:-1][some]]
        best = np.lexsort((first, -out.counts))[0]
        return out.counts, int(best), {name: len(trains[name].times) for name in self._links.order}

    def _joined(self, found: list[tuple[Array, int, dict[str, int]]], sizes: list[float]) -> Answer:
        spikes = {name: sum(each[2][name] for each in found) for name in self._links.order}
        errors = {"error": float(np.mean(sizes))} if sizes and self.rule.error is not None else {}
        return Answer(np.stack([each[0] for each in found]), np.array([each[1] for each in found]), spikes, errors)

    def _labels(self, labels: Any, batch: int) -> Array:
        given, n_out = np.asarray(labels), self._links.sizes[self._links.output]
        if given.shape != (batch,) or given.dtype.kind not in "iu" or not ((given >= 0) & (given < n_out)).all():
            raise BadInputError(Diagnostic(
                "SC506", "labels are whole numbers, one a sample, that the output has neurons for",
                value=f"{given.dtype} {given.shape}", limit=f"({batch},), 0..{n_out - 1}"))
        return given.astype(np.int64)

    # ---- what is made once ------------------------------------------------------------------------------------------
    def _coded(self, link: Link) -> Array:
        node: Any = self._graph.nodes[link.name]
        return np.asarray(codes_of(np.asarray(node.weight, dtype=np.float64), self._step[link.name],
                                   LARGEST_WEIGHT)).astype(np.int64)

    def _static_codes(self, step: Mapping[str, Any]) -> dict[str, Array]:
        found = {}
        for link in self._links.links:
            if not link.plastic:
                node: Any = self._graph.nodes[link.name]
                each = np.broadcast_to(np.asarray(step[link.name], dtype=np.float64), node.weight.shape[:1])[:, None]
                found[link.name] = np.asarray(codes_of(np.asarray(node.weight, dtype=np.float64), each,
                                                       LARGEST_WEIGHT)).astype(np.int64)
        return found

    def _sensed(self, number: int, link: Link, rule: PpuRule, chip: int | None, noise: bool,
                random: np.random.Generator) -> _Plastic:
        shape = self._links.sizes[link.target], self._links.sizes[link.source]
        amplitude = self.choices.amplitude
        pair = [CorrelationSensors.ideal(*shape, amplitude, rule.tau) if chip is None
                else CorrelationSensors.drawn(*shape, amplitude, rule.tau, (chip, number, row)) for row in range(2)]
        # Both rows of a column end at one channel of the converter.
        pair = [replace(each, baseline=pair[0].baseline, noise=READ_NOISE if noise else 0.0) for each in pair]
        return _Plastic(link, rule, (pair[0], pair[1]), baseline_of(pair[0].read_empty(random)))

    def _rules_at(self, rate: float, faults: Diagnostics) -> dict[str, PpuRule]:
        found = {}
        for number, link in enumerate(self._links.plastic()):
            node: Any = self._graph.nodes[link.target]
            tau = np.asarray(getattr(node, "tau_mem", getattr(node, "tau", 1.0)), dtype=np.float64)
            made = make_ppu_rule(
                self.rule, projection=link.name, lsb=self._step[link.name], output=link.target == self._links.output,
                choices=replace(self.choices, factor_range=self._ranges[link.name]), tau_mem=float(tau.mean()),
                threshold=float(np.asarray(node.v_threshold).mean()), rate=rate, faults=faults, speed_up=self.speed_up,
                seed=(self.seed + 0x9E3779B9 * number) % 2**32)
            if made is not None:
                found[link.name] = made
                self._check(link, made, faults)
        return found

    def _check(self, link: Link, made: PpuRule, faults: Diagnostics) -> None:
        observed = made.program.observed
        low, high, source = RANGES["tau"]
        for name, of_model in zip(("causal", "acausal"), made.tau, strict=True):
            tau = of_model / self.speed_up
            if name in observed and not low * (1 - _LEVEL) <= tau <= high * (1 + _LEVEL):
                faults.add("SC361", f"the time constant of the {name} sensors is out of their range", node=link.name,
                           value=f"{tau * 1e6:.3g} us on the chip",
                           limit=f"{low * 1e6:g}..{high * 1e6:g} us ({source})",
                           remedy="Change the time constant of the rule's trace.")
        low, high, source = RANGES["amplitude"]
        if observed & {"causal", "acausal"} and not low <= self.choices.amplitude <= high:
            faults.add("SC361", "the amplitude of the sensors is out of their range", node=link.name,
                       value=f"{self.choices.amplitude:g} LSB", limit=f"{low:g}..{high:g} LSB ({source})",
                       remedy="Choose another amplitude.")
        if "gate" in observed and self._reads is None:
            faults.add("SC360", "membranes of this chip are not read, and the gate needs them on the plasticity "
                       "processor", node=link.name, remedy="Give `reads`, or choices without a gate.")

    def _range(self, link: Link) -> float:
        """Of e, what 127 stands for: of a hidden layer, times the largest of its feedback at the start."""
        matrix = self._feedback.get(link.target)
        largest = 1.0 if matrix is None else float(np.abs(matrix).max()) or 1.0
        return self.choices.factor_range * largest

    def _first_feedback(self) -> dict[str, Array]:
        feedback, found = self.rule.feedback, {}
        if feedback is None or feedback.kind == "none" or self.rule.error is None or self.rule.error.code == "reward":
            return {}
        for number, name in enumerate(self._links.hidden):
            same = self._product(name)
            if feedback.kind == "fixed":
                draw = np.random.default_rng([self.seed, number])
                same = np.asarray(draw.normal(0.0, feedback.scale * float(same.std()), same.shape))
            found[name] = same
        return found

    def _feedback_now(self) -> dict[str, Array]:
        feedback = self.rule.feedback
        if feedback is not None and feedback.kind == "transposed":
            self._feedback = {name: self._product(name) for name in self._feedback}
        return self._feedback

    def _product(self, name: str) -> Array:
        """What B of a hidden layer stands for."""
        weights = {link.name: np.asarray(self._graph.nodes[link.name].weight, dtype=np.float64)  # type: ignore[attr-defined]
                   for link in self._links.links} | self.weights
        return np.ascontiguousarray(transposed(self._links, weights, name, False))

    # ---- what it knows of itself ------------------------------------------------------------------------------------
    @property
    def weights(self) -> dict[str, Array]:
        """(n_target, n_source) by projection that learns, in the units of the model."""
        return {name: codes * self._step[name] for name, codes in self.codes.items()}

    @property
    def programs(self) -> dict[str, PlasticityProgram]:
        """What the processor runs, by projection that learns."""
        return {each.link.name: each.rule.program for each in self._plastic}

    def kernels(self) -> dict[str, str]:
        """By projection that learns, the C++ of its rule; see `kernel_text`."""
        return {each.link.name: kernel_text(each.rule.program, self._links.sizes[each.link.target],
                                            self._links.sizes[each.link.source], number=number, rule=self.rule.name)
                for number, each in enumerate(self._plastic)}

    def figures(self) -> LearningFigures:
        """See `Learner.figures`. `saturated_traces`: of sensors, the share of reads at the end of their range, of third
        factors that of neurons at theirs."""
        samples, links = max(1, self._learnt), self._links
        found = LearningFigures(
            {each.link.name: float(np.isin(self.codes[each.link.name],
                                           (each.rule.program.low, each.rule.program.high)).mean())
             for each in self._plastic},
            {name: total / samples for name, total in self._changed.items()},
            {name: float(np.linalg.norm(each)) for name, each in self.weights.items()},
            {name: total / (samples * self._duration * links.sizes[name]) for name, total in self._spikes.items()},
            {name: total / samples for name, total in self._full.items()})
        self._forget()
        return found

    def state(self) -> dict[str, Array]:
        """See `Learner.state`."""
        found = {f"codes {name}": each.copy() for name, each in self.codes.items()}
        found |= {f"feedback {name}": each.copy() for name, each in self._feedback.items()}
        return found | {"seen": np.array(self.seen), "updates": np.array(self.updates), "rate": np.array(self.rate),
                        "reward": np.array(self.reward)}

    def load(self, state: Mapping[str, Array]) -> None:
        """See `Learner.load`."""
        require_state(state, self.state())
        for name in self.codes:
            self.codes[name] = np.array(state[f"codes {name}"], dtype=np.int64)
        for name in self._feedback:
            self._feedback[name] = np.array(state[f"feedback {name}"], dtype=np.float64)
        self.rate = float(state["rate"])
        self.seen, self.updates, self.reward = int(state["seen"]), int(state["updates"]), float(state["reward"])
        self._forget()

    def to_graph(self) -> Graph:
        """See `Learner.to_graph`."""
        nodes: Any = self._graph.nodes
        return self._graph.with_nodes({name: replace(nodes[name], weight=each.astype(nodes[name].weight.dtype))
                                       for name, each in self.weights.items()})

    @property
    def runs(self) -> int:
        """How many the chip has made that draws its noise anew for each, where it says so; else 0."""
        return int(getattr(self._measure, "runs", 0))

    @runs.setter
    def runs(self, value: int) -> None:
        counting: Any = self._measure
        if hasattr(counting, "runs"):
            counting.runs = value

    @property
    def _noted(self) -> tuple[Any, ...]:
        return self._learnt, self._spikes, self._changed, self._full

    @_noted.setter
    def _noted(self, noted: tuple[Any, ...]) -> None:
        self._learnt: int
        self._spikes: dict[str, float]
        self._changed: dict[str, float]
        self._full: dict[str, float]
        self._learnt, self._spikes, self._changed, self._full = noted

    def _forget(self) -> None:
        self._noted = 0, dict.fromkeys(self._links.order, 0.0), dict.fromkeys(self.codes, 0.0), {}

    def _note(self, trains: Mapping[str, Trains]) -> None:
        self._learnt += 1
        for name in self._spikes:
            self._spikes[name] += len(trains[name].times)

    def _tell_full(self, name: str, share: float) -> None:
        self._full[name] = self._full.get(name, 0.0) + share


def _whole(value: float) -> int:
    return int(np.clip(np.rint(127 * value), -128, 127))


def _one_step(name: str, step: Mapping[str, Any], faults: Diagnostics) -> float:
    if name not in step:
        faults.add("SC515", "its weights are folded with others on the chip", node=name, value=", ".join(sorted(step)),
                   remedy="Let it take spikes and feed one population, without a node between them.")
        return 1.0
    given = np.atleast_1d(np.asarray(step[name], dtype=np.float64))
    if np.ptp(given) > 0.01 * np.abs(given).max():
        faults.add("SC515", "weights onto all neurons of a population have one step where they learn", node=name,
                   value=f"{given.min():.4g}..{given.max():.4g}", remedy="Make their thresholds and gains alike.")
    return float(given.mean())


def _term_text(term: PlasticTerm) -> str:
    return " · ".join([f"{term.mantissa} 2^-{term.shift}", *term.factors])
