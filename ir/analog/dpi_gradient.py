"""The exact gradient of spike times of DPI neurons with respect to weights, at given spikes: the adjoint over events.

Between two spikes of a neuron its membrane is one smooth equation, du/dt = F(u, I_in) (`ir/analog/dpi.py`), from its
release at s, at the dark current, to its spike at t. With sigma(x) the integral of dF/du from s to x, what an inflow
dI(x) does to u(t) is the integral of p(x) dI(x), p(x) = exp(sigma(t) - sigma(x)) dF/dI_in; a synapse that a source at
x0 with weight w opens has dI(x) = exp(-(x - x0) / tau) dw, and w exp(-(x - x0) / tau) / tau dx0, beside the change of F
at x0, which comes later by dx0; where the inflow is cut off, or the membrane held at the dark current, that is less.
The spike moves by -du / (du/dt), and so does what follows from it: the neuron's release, and all that hears it. Spikes
are gone through from the last to the first, as in Wunderlich & Pehle (Sci Rep 11:12829, 2021).

Spikes may be measured on a chip: then the membrane is taken to be at its threshold where its neuron fires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from ..diagnostics import Diagnostics
from ..events import Events
from ..nodes import Array
from .dpi import DpiNetwork, DpiPopulation, check_dpi
from .dpi_run import Synapses, checked_inputs, dormand_prince

__all__ = ["dpi_gradients"]

_CLOSE = 1e-13


@dataclass(slots=True, eq=False)
class _Heard:
    """What a neuron hears, by time: `spikes` is the number of the spike among all of a sample, -1 for an input's."""

    times: Array
    weights: Array
    projections: Array
    sources: Array
    spikes: Array


def dpi_gradients(network: DpiNetwork, inputs: Mapping[str, Events], spikes: Mapping[str, Events],
                  slopes: Mapping[str, Array], duration: float, *, tolerance: float = 1e-11,
                  guard: float = 1e-6) -> dict[str, Array]:
    """By projection, the derivatives of a loss with respect to its weights, in the shape of the weights.

    Args:
        network: see `DpiNetwork`.
        inputs: spikes by input.
        spikes: of every population, as `simulate_dpi` has them or as they were measured.
        slopes: by population, the derivative of the loss with respect to the time of each of those spikes; populations
            without do not count.
        duration: seconds; inputs after it are ignored.
        tolerance: of a step, as of `simulate_dpi`.
        guard: of 1 / tau_mem, the least du/dt at a spike that is divided by; where it is less, that is taken.

    Raises:
        BadInputError: the network, the events or a number is malformed (SC103, SC104, SC107, SC131, SC403, SC405).
    """
    check_dpi(network)
    given = checked_inputs(network, inputs, duration, tolerance)
    faults = Diagnostics()
    for name in network.populations:
        if name not in spikes:
            faults.add("SC403", "the spikes of a population are missing", node=name)
        elif name in slopes and np.shape(slopes[name]) != (len(spikes[name]),):
            faults.add("SC107", "slopes are one number a spike", node=name, value=np.shape(slopes[name]),
                       limit=(len(spikes[name]),))
    batches = {each.batch for each in (*given.values(), *spikes.values())}
    if len(batches) > 1:
        faults.add("SC403", "inputs and spikes differ in the number of samples", value=sorted(batches))
    faults.raise_if_errors()
    fired = {name: spikes[name].checked(network.size(name), name).numpy() for name in network.populations}
    found = {each.name: np.zeros(np.shape(each.weight)) for each in network.projections}
    for sample in range(batches.pop()):
        _Sample(network, {name: each.sample(sample) for name, each in given.items()},
                {name: each.sample(sample) for name, each in fired.items()},
                {name: np.asarray(slopes[name], np.float64)[int(each.offsets[sample]):int(each.offsets[sample + 1])]
                 if name in slopes else np.zeros(len(each.sample(sample)[0])) for name, each in fired.items()},
                duration, tolerance, guard).go_back(found)
    return found


class _Sample:
    def __init__(self, network: DpiNetwork, inputs: Mapping[str, tuple[Array, Array]],
                 fired: Mapping[str, tuple[Array, Array]], slopes: Mapping[str, Array], duration: float,
                 tolerance: float, guard: float) -> None:
        self.network, self.tolerance, self.guard = network, tolerance, guard
        names = tuple(network.populations)
        self.times = np.concatenate([np.empty(0), *(fired[name][0] for name in names)])
        self.owners = [(name, int(index)) for name in names for index in fired[name][1]]
        self.slopes = np.concatenate([np.empty(0), *(slopes[name] for name in names)])
        first = dict(zip(names, np.cumsum([0, *(len(fired[name][0]) for name in names)]), strict=False))
        self.sent: dict[str, tuple[Array, Array, Array]] = {}
        for name, (times, indices) in inputs.items():
            kept = times <= duration
            self.sent[name] = times[kept], indices[kept], np.full(int(kept.sum()), -1)
        for name, (times, indices) in fired.items():
            self.sent[name] = times, indices, first[name] + np.arange(len(times))
        self.hears: dict[tuple[str, int], _Heard] = {}

    def go_back(self, found: Mapping[str, Array]) -> None:
        """Adds the derivatives of this sample."""
        order = np.argsort(self.times, kind="stable")[::-1]
        before: dict[tuple[str, int], int] = {}
        previous = np.full(len(order), -1)
        for number in order[::-1].tolist():
            previous[number] = before.get(self.owners[number], -1)
            before[self.owners[number]] = number
        for number in order.tolist():
            if self.slopes[number] != 0:
                self._through(number, int(previous[number]), found)

    def _heard(self, name: str, neuron: int) -> _Heard:
        if (name, neuron) not in self.hears:
            parts: list[list[Array]] = [[np.empty(0)] for _ in range(5)]
            for place, each in enumerate(self.network.projections):
                if each.target == name:
                    times, indices, spikes = self.sent[each.source]
                    row = np.asarray(each.weight, np.float64)[neuron][indices]
                    for part, values in zip(parts, (times, row, np.full(len(times), place), indices, spikes),
                                            strict=True):
                        part.append(values)
            times, weights, places, sources, spikes = (np.concatenate(part) for part in parts)
            order = np.argsort(times, kind="stable")
            self.hears[name, neuron] = _Heard(times[order], weights[order], *(
                each[order].astype(np.int64) for each in (places, sources, spikes)))
        return self.hears[name, neuron]

    def _through(self, number: int, previous: int, found: Mapping[str, Array]) -> None:
        """Hands the derivative with respect to one spike's time on to what it follows from."""
        name, index = self.owners[number]
        population = self.network.populations[name]
        neuron = DpiPopulation(**{each.name: np.asarray(getattr(population, each.name), np.float64)[index:index + 1]
                                  for each in fields(DpiPopulation)})
        end, heard = float(self.times[number]), self._heard(name, index)
        start = float(self.times[previous]) + float(neuron.refractory[0]) if previous >= 0 else 0.0
        count = int(np.searchsorted(heard.times, end))
        course = _Course(neuron, heard, start, self.tolerance)
        inside, jumps = course.to(end, count)
        flow = float(course.flows(end))
        rate = float(neuron.gain[0] * max(flow, neuron.dark[0]) / (
            neuron.leak[0] * (neuron.threshold[0] + neuron.gain[0])) - 1 + neuron.feedback_at(neuron.threshold)[0])
        rate = max(rate, self.guard) / float(neuron.tau_mem[0])
        pull = -self.slopes[number] / rate
        excites = heard.weights[:count] >= 0
        tau = np.where(excites, neuron.tau_exc[0], neuron.tau_inh[0])
        for place, projection in enumerate(self.network.projections):
            if projection.target != name:
                continue
            of_it = heard.projections[:count] == place
            np.add.at(found[projection.name], (index, heard.sources[:count][of_it]), pull * inside[of_it])
        moved = pull * (heard.weights[:count] * inside / tau - jumps)
        from_neurons = heard.spikes[:count] >= 0
        np.add.at(self.slopes, heard.spikes[:count][from_neurons], moved[from_neurons])
        if previous >= 0:
            self.slopes[previous] -= pull * course.release
        self.slopes[number] = 0.0


class _Course:
    """One neuron from its release on: u, sigma, and the integrals J of exp(-sigma) dF/dI_in exp(-(x - s) / tau) for the
    exciting and the inhibiting synapse. `release`: what a later release would take from u at the end."""

    def __init__(self, neuron: DpiPopulation, heard: _Heard, start: float, tolerance: float) -> None:
        self.neuron, self.heard, self.start, self.tolerance = neuron, heard, start, tolerance
        self.floor = np.log(neuron.dark)
        self.release, self.held_until = 0.0, start

    def flows(self, time: float) -> float:
        """What flows in just before `time`, before it is cut off."""
        before = self.heard.times < time
        weights, ages = self.heard.weights[before], time - self.heard.times[before]
        tau = np.where(weights >= 0, self.neuron.tau_exc[0], self.neuron.tau_inh[0])
        return float(self.neuron.dc[0] + (weights * np.exp(-ages / tau)).sum())

    def to(self, end: float, count: int) -> tuple[Array, Array]:
        """Of each of the first `count` arrivals, what u at the end owes to its inflow, for one ampere; and what it owes
        to the change of du/dt at its instant, where that comes after the release."""
        neuron, times = self.neuron, self.heard.times[:count]
        weights = self.heard.weights[:count]
        at = int(np.searchsorted(times, self.start, side="right"))
        ages = self.start - times[:at]
        self.synapses = Synapses(
            np.array([(np.maximum(weights[:at], 0) * np.exp(-ages / neuron.tau_exc[0])).sum()]),
            np.array([(np.maximum(-weights[:at], 0) * np.exp(-ages / neuron.tau_inh[0])).sum()]), neuron)
        state = np.array([self.floor[0], 0.0, 0.0, 0.0])
        reached = np.zeros((count, 4))
        changes = np.zeros(count)
        time, self.step, first = self.start, float(neuron.tau_mem[0]) / 10, True
        while time < end:
            stop = min(float(times[at]) if at < count else end, end)
            while time < stop:
                time, state = self._piece(state, time, stop, first)
                first = False
            while at < count and times[at] <= time:
                reached[at] = state
                before = self._rate(state[0])
                amount = float(weights[at])
                self.synapses.exciting = self.synapses.exciting + max(amount, 0.0)
                self.synapses.inhibiting = self.synapses.inhibiting + max(-amount, 0.0)
                changes[at] = self._rate(state[0]) - before
                at += 1
        reached[times <= self.held_until] = 0.0  # the integrals begin where it was held last
        excites = weights >= 0
        tau, column = np.where(excites, neuron.tau_exc[0], neuron.tau_inh[0]), np.where(excites, 2, 3)
        with np.errstate(over="ignore"):
            whole = np.exp(state[1])
            inside = whole * (state[column] - reached[np.arange(count), column]) * np.exp((times - self.start) / tau)
        jumps = np.where(times >= self.held_until, np.exp(state[1] - reached[:, 1]) * changes, 0.0)
        self.release *= whole
        return inside, jumps

    def _rate(self, u: float) -> float:
        """du/dt, of a membrane that is held at the dark current none."""
        each = self.neuron
        current = np.exp(np.array([u]))
        flow = np.maximum(each.dark, each.dark + self.synapses.beyond(each.dark, 0.0))
        rate = each.gain * flow / (each.leak * (current + each.gain)) - 1 + each.feedback_at(current)
        return 0.0 if u <= self.floor[0] + _CLOSE and rate[0] <= 0 else float(rate[0] / each.tau_mem[0])

    def _piece(self, state: Array, time: float, stop: float, first: bool) -> tuple[float, Array]:
        """To `stop`, or to where the equations change."""
        each, span = self.neuron, stop - time
        lift = (1 - each.feedback_at(each.dark)) * each.leak * (each.dark + each.gain) / each.gain
        span = min(self.synapses.next_passage(each.dark, span), self.synapses.next_passage(lift, span))
        cut = bool(self.synapses.beyond(each.dark, span / 2)[0] < 0)
        lifted = bool(max(float(each.dark[0]), float(each.dark[0] + self.synapses.beyond(each.dark, span / 2)[0]))
                      > lift[0])
        since = time - self.start

        def slope(seconds: float, now: Array) -> Array:
            current = np.exp(np.minimum(now[:1], np.log(each.threshold) + 1.0))
            flow = each.dark if cut else each.dark + self.synapses.beyond(each.dark, seconds)
            below = each.leak * (current + each.gain)
            rate = (each.gain * flow / below - 1 + each.feedback_at(current)) / each.tau_mem
            inner = (-each.gain * flow * each.leak * current / below**2 + self._feedback_slope(current)) / each.tau_mem
            reach = 0.0 if cut else float((each.gain / below / each.tau_mem)[0]) * np.exp(-now[1])
            age = since + seconds
            return np.array([rate[0], inner[0], reach * np.exp(-age / each.tau_exc[0]),
                             reach * np.exp(-age / each.tau_inh[0])])

        if first and lifted and self.start > 0:
            self.release = float(slope(0.0, state)[0])
        if not lifted and state[0] <= self.floor[0] + _CLOSE:
            state = np.array([self.floor[0], 0.0, 0.0, 0.0])  # how it came here does not matter any more
            self.release, self.held_until = 0.0, time + span
        else:
            done = 0.0
            while done < span * (1 - 1e-15):
                length = min(self.step, span - done)
                scale = np.array([1.0, 1.0, *(1 / np.maximum(np.abs(state[2:]), 1e-3 * float(each.tau_mem[0])
                                                             * self._scale()))])
                after, _, _, _ = dormand_prince(slope, done, state, length)
                half, _, _, _ = dormand_prince(slope, done, state, length / 2)
                half, _, _, _ = dormand_prince(slope, done + length / 2, half, length / 2)
                error = float((np.abs(half - after) * scale).max()) / 31
                if error > self.tolerance and length > 1e-12 * float(each.tau_mem[0]):
                    self.step = length * max(0.2, 0.9 * (self.tolerance / error) ** (1 / 6))
                    continue
                if length == self.step:
                    self.step = length * min(4.0, 0.9 * (self.tolerance / max(error, 1e-300)) ** (1 / 6))
                state, done = half, done + length
                if state[0] < self.floor[0]:  # it lands, and is held there
                    state[0] = self.floor[0]
                    break
            if done < span * (1 - 1e-15):
                span = done
        self.synapses.exciting, self.synapses.inhibiting = self.synapses.after(span)
        return (stop if time + span >= stop else time + span), state

    def _scale(self) -> float:
        return float(1 / (self.neuron.leak[0] * self.neuron.tau_mem[0]))

    def _feedback_slope(self, current: Array) -> Array:
        """d f / d ln I."""
        each = self.neuron
        found = each.feedback * each.exponent * (current / each.dark) ** each.exponent
        if each.surge[0] != 0:
            high = 1 / (1 + np.exp(np.minimum((each.surge_at - current) / each.surge_width, 700.0)))
            found = found + each.surge * high * (1 - high) * current / each.surge_width
        slope: Array = found
        return slope
