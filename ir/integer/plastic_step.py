"""The meaning of a plastic network, column by column: plain numpy, the oracle of the emulator.

Of one stream: what comes later depends on what was learnt before. `ir/integer/plastic.py` says what a column is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..nodes import Array
from .inputs import Rasters, check_rasters
from .learning_numbers import Rounding
from .learning_step import LearningState, learning_step
from .network import IntegerPopulation, IntegerProjection
from .plastic import (
    ASLEEP,
    CLEAR,
    LARGEST_REWARD,
    MARK,
    MIRROR,
    TEACH,
    UPDATE,
    LearningNeuron,
    PlasticNetwork,
)
from .plastic_checks import verify_plastic
from .plastic_signals import Signals, check_signals, said
from .plastic_state import PlasticState, check_plastic_state, first_plastic_state, numbered
from .state import IntegerState
from .step import activation, integrate_lif, weights_by_delay, wrap

__all__ = ["PlasticRecords", "PlasticResult", "simulate_plastic"]

LARGEST = 127
"""What y1 .. y3 and N hold."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PlasticRecords:
    """After each column: by population (time, n), `v` after the reset and `error` E; by plastic
    projection (time, post, pre), `weight` and `tag`."""

    v: Mapping[str, Array]
    error: Mapping[str, Array]
    weight: Mapping[str, Array]
    tag: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PlasticResult:
    """`spikes`: by population (time, n) int8, what its somas sent; `state`: from which a run goes on; `records`, where
    they were asked for."""

    spikes: Mapping[str, Array]
    state: PlasticState
    records: PlasticRecords | None = None


def simulate_plastic(plastic: PlasticNetwork, inputs: Rasters, signals: Signals | None = None,
                     state: PlasticState | None = None, *, rounding: Rounding = "lava", steps: int | None = None,
                     learning: bool = True, record: bool = False) -> PlasticResult:
    """Runs a plastic network over one stream.

    Args:
        plastic: a legal plastic network.
        inputs: by input, (time, n) or (time, *shape), whole numbers.
        signals: what columns are, teachers and noise; None: none of it.
        state: where an earlier run ended; None: before the first column.
        rounding: with Lava's random numbers, or with numbers of one's own for each synapse and neuron.
        steps: columns; None: as many as the longest raster or signal has.
        learning: False: weights, tags, traces, dendrites and their counters stay as they are, no column of
            `signals` counts, and error spikes that are under way wait.
        record: whether the result tells all columns.

    Raises:
        BadInputError: the network (SC101 to SC149), a raster, a signal or the state (SC403) is malformed.
    """
    signals = Signals() if signals is None else signals
    verify_plastic(plastic)
    given = {name: np.asarray(raster)[None] for name, raster in inputs.items()}
    longest = max([said(signals), *(each.shape[1] for each in given.values() if each.ndim > 1)])
    rasters, _, columns = check_rasters(plastic.network, given, longest if steps is None else steps)
    control, reward, told = check_signals(plastic, signals, columns)
    start = first_plastic_state(plastic) if state is None else check_plastic_state(plastic, state)
    run = _Run(plastic, start, rounding, columns, learning)
    for column in range(columns):
        sent = {name: raster[0, column] for name, raster in rasters.items() if column < raster.shape[1]}
        run.column(column, sent, int(control[column]) if learning else 0,
                   {name: told[name][column] if name in told else reward[column] for name in plastic.neurons})
        if record:
            run.note()
    return PlasticResult(spikes=run.spikes, state=run.end(), records=run.records() if record else None)


class _Run:
    """One run, and where it stands."""

    def __init__(self, plastic: PlasticNetwork, start: PlasticState, rounding: Rounding, columns: int,
                 learning: bool) -> None:
        self.plastic, self.rounding, self.columns, self.learns = plastic, rounding, columns, learning
        network = plastic.network
        self.now = {name: (start.network.u[name][0].astype(np.int64), start.network.v[name][0].astype(np.int64))
                    for name in network.populations}
        self.arriving = {}
        for name, under_way in start.network.under_way.items():
            self.arriving[name] = np.zeros((columns + under_way.shape[1], network.size(name)), dtype=np.int64)
            self.arriving[name][:under_way.shape[1]] = under_way[0]
        self.b, self.error, self.balance, self.count, self.trace = (
            {name: each.astype(np.int64) for name, each in arrays.items()}
            for arrays in (start.arriving, start.error, start.balance, start.count, start.trace))
        self.learning: dict[str, LearningState] = dict(start.learning)
        self.spikes = {name: np.zeros((columns, network.size(name)), dtype=np.int8) for name in network.populations}
        self.static = {each.name: weights_by_delay(each) for each in network.projections
                       if each.name not in plastic.rules}
        self.static |= {each.name: weights_by_delay(each) for each in plastic.feedback
                        if each.name not in plastic.rules}
        self.notes: list[tuple[dict[str, Array], ...]] = []

    def column(self, column: int, inputs: Mapping[str, Array], control: int, told: Mapping[str, Array]) -> None:
        plastic, sent = self.plastic, {name: each.astype(np.int64) for name, each in inputs.items()}
        says: dict[str, tuple[Array, Array, Array]] = {}
        errors: dict[str, Array] = {}
        for name, population in plastic.network.populations.items():
            arrived = self.arriving[name][column] if len(self.arriving[name]) > column else np.int64(0)
            u, before = integrate_lif(population, *self.now[name], wrap(np.asarray(arrived), 32))
            fired = before > population.threshold << 6
            self.now[name] = u, np.where(fired, 0, before)
            sent[name] = fired.astype(np.int64)
            if self.learns and name in plastic.neurons:
                says[name], errors[name] = self._learning_neurons(
                    name, population, plastic.neurons[name], before, sent[name], control, told[name])
                if control & ASLEEP and plastic.neurons[name].error == "dendrite":
                    sent[name] = told[name]
            self.spikes[name][column] = sent[name]
        for each in plastic.network.projections:
            if each.source in sent:
                for delay, arrives in self._arrivals(each, sent[each.source]):
                    self.arriving[each.target][column + 1 + delay] += arrives
        if not self.learns:
            return
        for name in self.b:
            self.b[name] = np.zeros_like(self.b[name])
        for each in plastic.feedback:
            for _, arrives in self._arrivals(each, errors[each.source]):
                self.b[each.target] = wrap(self.b[each.target] + arrives, 32)
        self._learn(sent, errors, says, control)
        for name, neuron in plastic.neurons.items():
            if neuron.holds:
                self.error[name] = np.zeros_like(self.error[name])
            if control & (UPDATE | CLEAR):
                for held in (self.error, self.balance, self.trace):
                    held[name] = np.zeros_like(held[name])
            if control & (UPDATE | CLEAR | MIRROR):
                self.count[name] = np.zeros_like(self.count[name])

    def _learning_neurons(self, name: str, population: IntegerPopulation, neuron: LearningNeuron, v: Array,
                          fired: Array, control: int, told: Array) -> tuple[tuple[Array, Array, Array], Array]:
        """What the neurons say to their forward synapses, y1 .. y3, and their error spikes."""
        gate = np.where(np.abs(v - (population.threshold << 6)) < neuron.gate_width << 6, neuron.gate_value, 0)
        q = np.zeros_like(fired)
        if neuron.error == "teacher":
            balance = self.balance[name] + (fired - told if control & TEACH else 0)
            q = np.where(balance >= neuron.error_threshold, 1, np.where(balance <= -neuron.error_threshold, -1, 0))
            self.balance[name] = balance - q * neuron.error_threshold
        self.error[name] = wrap(self.error[name] + {"teacher": q, "dendrite": self.b[name], "reward": told}[
            neuron.error], 24)
        if control & ASLEEP and neuron.error != "reward":
            counted = fired if neuron.error == "teacher" else told
            self.count[name] = np.clip(self.count[name] + neuron.count_step * counted, -LARGEST, LARGEST)
        if control & UPDATE or neuron.holds:
            up, down = (np.minimum(np.maximum(each, 0) >> neuron.shift << neuron.gain, LARGEST)
                        for each in (self.error[name], -self.error[name]))
        else:
            up, down = np.zeros_like(v), np.zeros_like(v)
        marks = np.full_like(v, MARK if control & (UPDATE | CLEAR) else 0)
        if neuron.error == "reward":
            rewards = np.minimum(up, LARGEST_REWARD) - np.minimum(down, LARGEST_REWARD)
            up, down = marks + rewards * bool(control & UPDATE), marks
        elif neuron.says_spikes:
            gate = marks
        if neuron.trace_impulse:
            left = self.trace[name] * (4096 - neuron.trace_decay) >> 12
            self.trace[name] = np.where(fired, np.minimum(left + (neuron.trace_impulse << 6), LARGEST << 6), left)
            gate = self.trace[name] >> 6
        return (gate, up, down), 2 * self.count[name] if control & MIRROR else q

    def _arrivals(self, projection: IntegerProjection, sent: Array) -> list[tuple[int, Array]]:
        """What spikes of a column bring, by delay."""
        if projection.source in self.plastic.neurons:
            projection = replace(projection, message_bits=8)  # they have a sign, or a value
        if projection.name in self.learning:
            held = {0: self.learning[projection.name].weight}
        else:
            held = self.static[projection.name]
        return [(delay, activation(projection, weight, sent[None])[0]) for delay, weight in held.items()]

    def _learn(self, sent: Mapping[str, Array], errors: Mapping[str, Array],
               says: Mapping[str, tuple[Array, Array, Array]], control: int) -> None:
        feedback = {each.name for each in self.plastic.feedback}
        for name, (number, projection) in numbered(self.plastic).items():
            if name not in self.learning:
                continue
            state, (n_post, n_pre) = self.learning[name], projection.connection.weight.shape
            pre = sent.get(projection.source, np.zeros(n_pre, dtype=np.int64))
            post, y = sent[projection.target], None
            if projection.target in says:
                y0, nothing = int(bool(control & (UPDATE | CLEAR))), np.zeros(n_post, dtype=np.int64)
                y = np.stack(says[projection.target])
                if not self.plastic.neurons[projection.target].says_spikes or name in feedback:
                    post = np.full(n_post, y0)
                if name in feedback:
                    pre, counted = errors[projection.source], self.count[projection.target] * bool(control & MIRROR)
                    y = np.stack([nothing, np.maximum(counted, 0), np.maximum(-counted, 0)])
            self.learning[name] = learning_step(self.plastic.rules[name], state, pre, post, y, self.rounding,
                                                sign=projection.sign, projection=number)

    def end(self) -> PlasticState:
        late = {name: len(each) - self.columns for name, each in self.arriving.items()}
        return PlasticState(
            network=IntegerState(
                u={name: u[None].astype(np.int32) for name, (u, _) in self.now.items()},
                v={name: v[None].astype(np.int32) for name, (_, v) in self.now.items()},
                under_way={name: wrap(each[len(each) - late[name]:], 32).astype(np.int32)[None]
                           for name, each in self.arriving.items()}),
            arriving=self.b, error=self.error, balance=self.balance, count=self.count, trace=self.trace,
            learning=self.learning)

    def note(self) -> None:
        self.notes.append((
            {name: v for name, (_, v) in self.now.items()}, dict(self.error),
            {name: each.weight for name, each in self.learning.items()},
            {name: each.tag for name, each in self.learning.items()}))

    def records(self) -> PlasticRecords:
        def stacked(place: int) -> dict[str, Array]:
            names: Iterable[str] = self.notes[0][place] if self.notes else ()
            return {name: np.stack([each[place][name] for each in self.notes]) for name in names}

        return PlasticRecords(v=stacked(0), error=stacked(1), weight=stacked(2), tag=stacked(3))
