"""The learner of a chip: samples one after the other, through the learning engine's own arithmetic.

A batch is only a stretch of the stream: every sample meets the weights that the one before it has left. The weights of
the model are laid out anew for learning, with room to grow; between runs they are whole numbers in the learner's
state, and `to_graph` says what they are in the model.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, DoesNotFitError, SpikecWarning, UnsupportedError
from ...ir.graph import Graph
from ...ir.integer.learning import IntegerFactor, IntegerProduct, IntegerRule
from ...ir.integer.learning_numbers import Rounding
from ...ir.integer.learning_step import OF_SIGN
from ...ir.integer.plastic import LARGEST_REWARD
from ...ir.integer.plastic_signals import Signals
from ...ir.learning.continuous import MOST_REWARDS
from ...ir.learning.layout import LearningLayout
from ...ir.learning.rule import LearningRule
from ...ir.mapping import ChipMapping
from ...ir.nodes import Array
from ...passes.plastic import ChipChoices, Plastic, make_plastic
from ...passes.scales import ScalePlan
from ...runtime.learning.arguments import Rest, checked_rate, checked_rates, require_samples
from ...runtime.learning.learner import Answer, LearningFigures
from ...runtime.learning.states import require_state
from ...runtime.plastic.engine import PlasticEngine, PlasticRun, PlasticStream
from .learner_figures import Tally, stands_for
from .learner_report import LearnerReport
from .learning_state import pack_state, unpack_state
from .map_network import fill_network, map_network
from .mapping_check import verify_mapping
from .sample_stream import Stream, sample_stream

if TYPE_CHECKING:
    from ..lava.plastic_program import PlasticLavaProgram
    from .program import LoihiProgram

__all__ = ["LoihiLearner"]

_COPIED_EVERY = 16
"""Samples between two copies of the transposed weights into the feedback, where that is asked for."""
_OTHER_RATE = "Change the rate of the rule, of the projection (`rates`) or of the schedule."
_MANTISSA = 254
"""The largest weight of either sign that is even."""


class LoihiLearner:
    """See `Learner`; `LoihiProgram.learner` makes it. `stream`: the network that learns, as it stands; `built`: what it
    was built of, in the chip's numbers, at the rate of the last batch; `rounding`: "lava", one random number for all
    synapses of a projection, or "synapse", one for each; `reward`: the mean of the rewards so far; `rewards`: what the
    samples of the last batch were told, (batch,) whole numbers."""

    def __init__(self, program: LoihiProgram, rule: LearningRule, layout: LearningLayout, seed: int,
                 rounding: Rounding, choices: ChipChoices) -> None:
        self.program, self.rule, self.seed, self.rounding, self.choices = program, rule, seed, rounding, choices
        self.names = tuple(each.name for each in layout.plastic)
        self.output = layout.output
        faults = Diagnostics()
        for name in dict.fromkeys([*(each.target for each in layout.plastic), layout.output]):
            if len(program.split.parts.get(name, (name,))) > 1:
                faults.add("SC515", "a population with several time constants is several on the chip, and does not "
                           "learn", node=name, remedy="Give its neurons one time constant.")
        for name in self.names:
            node: Any = program.graph.nodes[name]
            if not np.any(node.weight):
                faults.add("SC515", "every weight is zero: there is no scale to hold what they will become in",
                           node=name, remedy="Start from small random weights.")
        faults.raise_if_errors(UnsupportedError)
        self.quantised = program.with_plan(_learning_plan(program, self.names, choices))
        self._rate = self._built_at = 1.0
        told = Diagnostics()
        self.built, self.engine = self._engine_at(1.0, told)
        for each in told.found:
            warnings.warn(str(each), SpikecWarning, stacklevel=3)
        self._require_room()
        self.stream: PlasticStream = self.engine.begin()
        self.seen = self.slept = 0
        self.reward, self.rewards = 0.0, np.zeros(0, dtype=np.int64)
        self._tally = Tally()
        dt = self.built.network.network.dt
        self._rest = Rest(self.built.columns.shown * dt, dt)

    @property
    def weights(self) -> dict[str, Array]:
        """(post, pre) by projection that learns, in the units of the model."""
        return {name: self.stream.weights(name) / self.built.weights[name] for name in self.names}

    @property
    def rate(self) -> float:
        """What updates of weights are multiplied by; the coefficients are the nearest that the engine holds, which the
        next batch is learnt with."""
        return self._rate

    @rate.setter
    def rate(self, value: float) -> None:
        self._rate = checked_rate(value)

    def check_rates(self, rates: Iterable[float]) -> None:
        """See `Learner.check_rates`."""
        faults = Diagnostics()
        for rate in dict.fromkeys(checked_rates(rates)):
            try:
                self._engine_at(rate, Diagnostics())
            except UnsupportedError as error:
                faults.extend(replace(each, message=f"at the rate {rate:g}: {each.message}")
                              for each in error.diagnostics)
        faults.raise_if_errors(UnsupportedError)

    @property
    def plastic(self) -> Plastic:
        """The network in the chip's numbers, at the rate as it is now.

        Raises:
            UnsupportedError: the learning engine does not hold the rate (SC336).
        """
        if self._rate != self._built_at:
            made, engine = self._engine_at(self._rate, Diagnostics())
            stream = engine.begin(self.stream.state())
            self._tally.take(self.stream)
            self.built, self.engine, self.stream, self._built_at = made, engine, stream, self._rate
        return self.built

    def learn(self, events: Any, labels: Array) -> Answer:
        """See `Learner.learn`."""
        rasters, batch = self._rasters(events)
        marks, plastic = self._labels(labels, batch), self.plastic
        transposed = self.rule.feedback is not None and self.rule.feedback.kind == "transposed"
        answers = []
        for start in range(0, batch, _COPIED_EVERY if transposed else batch):
            stop = start + _COPIED_EVERY if transposed else batch
            if transposed:
                self._copy_transposed()
            part = {name: each[start:stop] for name, each in rasters.items()}
            stream = sample_stream(plastic, part, marks[start:stop], before=self.seen, slept=self.slept,
                                   seed=self.seed)
            answers.append(self._rewarded(stream, marks) if plastic.reward
                           else self._run(self.stream, stream, learning=True))
            self.seen, self.slept = self.seen + len(marks[start:stop]), self.slept + stream.sleeps
        answer = _joined(answers)
        self._tally.add(answer.spikes, batch)
        return answer

    def answer(self, events: Any) -> Answer:
        """See `Learner.answer`. The stream that learns stays where it is."""
        rasters, _ = self._rasters(events)
        aside = self.engine.begin(self.stream.state())
        return self._run(aside, sample_stream(self.built, rasters, None), learning=False)

    def figures(self) -> LearningFigures:
        """See `Learner.figures`."""
        return self._tally.figures(self)

    def state(self) -> dict[str, Array]:
        """See `Learner.state`."""
        return {**pack_state(self.stream.state()), "seen": np.array(self.seen), "slept": np.array(self.slept),
                "reward": np.array(self.reward), "rate": np.array(self.rate)}

    def load(self, state: Mapping[str, Array]) -> None:
        """See `Learner.load`."""
        require_state(state, self.state())
        self.rate = float(state["rate"])
        self.stream = self.engine.begin(unpack_state(self.stream.state(), state))
        self.seen, self.slept, self.reward = int(state["seen"]), int(state["slept"]), float(state["reward"])
        self._tally = Tally()

    def lava(self) -> PlasticLavaProgram:
        """What it runs as a program for Lava, which learns there; it begins from the weights of the model."""
        from ..lava.plastic_program import PlasticLavaProgram

        return PlasticLavaProgram(self.plastic.network)

    def rasters(self, events: Any, labels: Array | None,
                rewards: Array | None = None) -> tuple[dict[str, Array], Signals, Array]:
        """What `learn` of these samples, or with labels None `answer`, gives the network next: by input (time, n), the
        signals, and (batch, 2) the columns of each sample; for `PlasticLavaProgram.run`. Which `rewards` (batch,) they
        bring only a run can tell."""
        rasters, batch = self._rasters(events)
        stream = sample_stream(self.plastic, rasters, None if labels is None else self._labels(labels, batch),
                               before=self.seen, slept=self.slept, seed=self.seed)
        course, size = stream.course, self.plastic.network.network.size
        reward = np.zeros(course.columns, dtype=np.int64)
        if rewards is not None:
            told = np.asarray(rewards)
            if not self.plastic.reward or told.shape != (batch,) or told.dtype.kind not in "iu":
                raise BadInputError(Diagnostic("SC403", "rewards are whole numbers, one for each sample",
                                               value=f"{told.dtype}{told.shape}",
                                               limit=f"({batch},)" if self.plastic.reward else "the rule has none"))
            reward[stream.windows[:, 1]] = told
        inputs, teacher, noise = ({name: each.raster(size(name)) for name, each in lists.items()}
                                  for lists in (course.inputs, course.teacher, course.noise))
        return inputs, Signals(control=course.control, reward=reward, teacher=teacher, noise=noise), stream.windows

    def to_graph(self) -> Graph:
        """See `Learner.to_graph`: compiled again on `plan`, it has the very weights of the chip, but for the lowest
        bit, which a synapse that learns has and one that does not learn has not."""
        changed: dict[str, Any] = {}
        for name, weight in self.weights.items():
            node: Any = self.program.graph.nodes[name]
            changed[name] = replace(node, weight=weight.astype(node.weight.dtype))
        return self.program.graph.with_nodes(changed)

    @property
    def plan(self) -> ScalePlan:
        """The scales that it learns on."""
        return self.quantised.plan

    @cached_property
    def mapping(self) -> ChipMapping:
        """Which neurons lie on which core of the program's chip, with all that learning takes there; checked."""
        network, program = self.plastic.network, self.program
        mapping = map_network(network, program.chip, program.rates, program.options.seed)
        verify_mapping(network, mapping, program.rates)
        return mapping

    def report(self) -> LearnerReport:
        """What learning takes of the chip, and what of it the chip could not run; `print` shows it, `as_dict` is for
        machines."""
        return LearnerReport.of(self)

    def _require_room(self) -> None:
        """Whether it fits at all is seen at once; who goes where, when it is asked for."""
        try:
            fill_network(self.built.network, self.program.chip)
        except DoesNotFitError:
            _ = self.mapping  # neurons in a better order may fit

    def _engine_at(self, rate: float, faults: Diagnostics) -> tuple[Plastic, PlasticEngine]:
        """At a rate of zero: the network of a rate of one, without what changes the weights."""
        made = make_plastic(self.quantised, self.rule, self.names, self.output, seed=self.seed, choices=self.choices,
                            rate=rate or 1.0, diagnostics=faults)
        if not rate:
            rules = {name: _without_weights(rule) if name in self.names else rule
                     for name, rule in made.network.rules.items()}
            made = replace(made, network=replace(made.network, rules=rules))
        try:
            return made, PlasticEngine(made.network, self.rounding, self.output)
        except BadInputError as error:
            raise UnsupportedError(*(replace(each, code="SC336", remedy=_OTHER_RATE) for each in error.diagnostics)
                                   ) from error

    def _rasters(self, events: Any) -> tuple[dict[str, Array], int]:
        duration = self.built.columns.shown * self.built.network.network.dt
        rasters, _, batch = self.program.inputs.rasters(events, duration)
        self._rest.tell(events)
        require_samples(batch)
        return rasters, batch

    def _labels(self, labels: Any, batch: int) -> Array:
        marks, most = np.asarray(labels), self.built.network.network.size(self.output)
        if marks.shape != (batch,) or marks.dtype.kind not in "iu" or (batch and not (
                marks.min() >= 0 and marks.max() < most)):
            raise BadInputError(Diagnostic("SC506", "a label is the number of an output neuron, one for each sample",
                                           value=f"{marks.dtype}{marks.shape}", limit=f"({batch},), 0..{most - 1}"))
        return marks

    def _run(self, stream: PlasticStream, given: Stream, learning: bool) -> Answer:
        before = stream.spikes()
        found = stream.run(given.course, given.windows, learning=learning)
        return Answer(counts=found.counts, predictions=_predicted(found),
                      spikes={name: count - before[name] for name, count in stream.spikes().items()})

    def _rewarded(self, given: Stream, labels: Array) -> Answer:
        """Sample after sample: only when its columns are over is its reward known, which its update is told."""
        before, found, rewards = self.stream.spikes(), list[PlasticRun](), list[int]()
        for course, window in given.samples():
            reward = np.zeros(course.columns, dtype=np.int64)
            reward[:1] = rewards[-1:] or 0
            found.append(self.stream.run(replace(course, reward=reward), window))
            if len(window):
                got = float(_predicted(found[-1])[0] == labels[len(rewards)])
                rewards.append(round(LARGEST_REWARD * (got - self.reward)))
                self.reward += (got - self.reward) / min(self.seen + len(rewards), MOST_REWARDS)
        self.rewards = np.array(rewards)
        return Answer(counts=np.concatenate([each.counts for each in found]),
                      predictions=np.concatenate([_predicted(each) for each in found]),
                      spikes={name: count - before[name] for name, count in self.stream.spikes().items()})

    def _copy_transposed(self) -> None:
        """Feedback that is a copy of the transposed weights: a baseline, which no chip does by itself."""
        low, high = OF_SIGN["mixed"]
        for population, name in self.built.feedback.items():
            self.stream.set_weights(name, np.clip(np.rint(stands_for(self, population)), low, high).astype(np.int64))


def _without_weights(rule: IntegerRule) -> IntegerRule:
    """A rule that leaves the weights as they are. One has a product at least: a tag that nothing raises is cleared."""
    cleared = IntegerProduct(-1, 0, "u", (IntegerFactor("t"),))
    return replace(rule, dw=(), dt=rule.dt if rule.dt or rule.dd else (cleared,))


def _learning_plan(program: LoihiProgram, names: Sequence[str], choices: ChipChoices) -> ScalePlan:
    """Thresholds so that the largest weight onto a population that learns is a mantissa of 254 / headroom, exponents
    of zero; the others as they are."""
    thresholds, exponents = dict(program.plan.thresholds), dict(program.plan.exponents)
    records = program.quantised.projections
    for target in dict.fromkeys(each.target for each in program.quantised.network.projections if each.name in names):
        onto = [each for each in program.quantised.lowered.projections if each.target == target and each.name in names]
        # Largest weight in thresholds, of the program's own scale.
        most = max(float(np.abs(np.asarray(each.connection.weight) * records[each.name].factor[:, None]).max())
                   for each in onto) / program.plan.thresholds[target]
        thresholds[target] = float(max(1, min(round(_MANTISSA / (choices.headroom * most)), 8192)))
        thresholds[target] = choices.thresholds.get(target, thresholds[target])
        exponents.update({each.name: 0 for each in onto})
    return ScalePlan(thresholds, exponents)


def _predicted(run: PlasticRun) -> Array:
    """By window. A tie goes to the neuron whose membrane is the highest at the end."""
    found: Array = np.lexsort((run.membranes, run.counts), axis=1)[:, -1]
    return found


def _joined(answers: Sequence[Answer]) -> Answer:
    spikes: dict[str, int] = {}
    for answer in answers:
        for name, count in answer.spikes.items():
            spikes[name] = spikes.get(name, 0) + count
    return Answer(counts=np.concatenate([each.counts for each in answers]),
                  predictions=np.concatenate([each.predictions for each in answers]), spikes=spikes)
