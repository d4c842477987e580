"""What a network of DPI neurons does: the oracle of `runtime/analog/dpi.py`. Plain numpy, float64, no grid.

Between instants every synaptic current is a known exponential, and the logarithm u of each membrane current follows one
smooth equation (`ir/analog/dpi.py`). It is integrated by the 5th-order method of Dormand & Prince (J. Comput. Appl.
Math. 6:19, 1980) with steps whose estimated error of u, of the worst neuron, is below `tolerance`. An instant is an
input, the end of a refractory period, a passage of the threshold or of the dark current (found by Newton's iteration on
the length of the last step, which is made anew with each), and where the input current is cut off at the dark one or is
so no more, or lifts a membrane from there (known in closed form but for a bisection). So no step goes over a kink.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from ..diagnostics import Diagnostics
from ..dormand_prince import ERROR, NODES, STAGES
from ..events import Events
from ..nodes import Array
from .dpi import DpiNetwork, DpiPopulation, check_dpi

__all__ = ["Synapses", "checked_inputs", "dormand_prince", "simulate_dpi"]

_CLOSE = 1e-13
"""Of u: what counts as having reached a level."""
_SAME = 1e-14
"""Of the duration: instants that are nearer than this are one."""
Slope = Callable[[float, Array], Array]
"""Of seconds and u: du/dt."""


def simulate_dpi(network: DpiNetwork, inputs: Mapping[str, Events], duration: float, *,
                 tolerance: float = 1e-11) -> dict[str, Events]:
    """Spikes of every population in (0, duration] seconds, from rest: membranes at their dark current, no synaptic
    current.

    Args:
        network: see `DpiNetwork`.
        inputs: spikes by input; those after the end are ignored, inputs without are silent.
        duration: seconds.
        tolerance: of the logarithm of a membrane current, a step.

    Raises:
        BadInputError: the network, the events or a number is malformed (SC103, SC104, SC107, SC131, SC403, SC405).
    """
    check_dpi(network)
    events = checked_inputs(network, inputs, duration, tolerance)
    batch = min((each.batch for each in events.values()), default=1)
    runs = [_Run(network, {name: each.sample(number) for name, each in events.items()}, duration, tolerance).play()
            for number in range(batch)]
    return {name: Events.from_samples([run[name] for run in runs]) for name in network.populations}


def checked_inputs(network: DpiNetwork, inputs: Mapping[str, Events], duration: float,
                   tolerance: float) -> dict[str, Events]:
    """The events as numpy arrays by input, silent ones included.

    Raises:
        BadInputError: with every fault (SC103, SC403), or those of one input's events (SC103 to SC107, SC405).
    """
    faults = Diagnostics()
    if not (np.isfinite(duration) and duration > 0):
        faults.add("SC403", "duration must be finite and positive", value=duration)
    if not tolerance > 0:
        faults.add("SC103", "the tolerance must be positive", value=tolerance)
    for name in inputs:
        if name not in network.inputs:
            faults.add("SC403", "there is no such input", node=name, limit=", ".join(network.inputs))
    batches = {each.batch for each in inputs.values()}
    if len(batches) > 1:
        faults.add("SC403", "inputs differ in the number of samples", value=sorted(batches))
    faults.raise_if_errors()
    silent = Events.from_samples([((), ())] * min(batches, default=1))
    return {name: inputs.get(name, silent).checked(network.size(name), name).numpy() for name in network.inputs}


@dataclass(slots=True)
class Synapses:
    """Currents at an instant, and those some seconds later."""

    exciting: Array
    inhibiting: Array
    neurons: DpiPopulation

    def after(self, seconds: float | Array) -> tuple[Array, Array]:
        return (self.exciting * np.exp(-seconds / self.neurons.tau_exc),
                self.inhibiting * np.exp(-seconds / self.neurons.tau_inh))

    def beyond(self, level: Array, seconds: float | Array) -> Array:
        """What flows in over `level`, before it is cut off."""
        exciting, inhibiting = self.after(seconds)
        return exciting - inhibiting + self.neurons.dc - level

    def next_passage(self, level: Array, span: float) -> float:
        """Seconds to the first instant, within `span`, at which what flows in passes `level` in some neuron."""
        each = self.neurons
        with np.errstate(divide="ignore", invalid="ignore"):
            turn = (np.log(self.inhibiting / each.tau_inh) - np.log(self.exciting / each.tau_exc)) / (
                1 / each.tau_inh - 1 / each.tau_exc)
        turn = np.where(np.isfinite(turn) & (turn > 0) & (turn < span), turn, span)
        first = span
        for start, end in ((np.zeros_like(turn), turn), (turn, np.full_like(turn, span))):
            low, high = start.copy(), end.copy()
            at_low, at_high = self.beyond(level, low), self.beyond(level, high)
            passes = (at_low < 0) != (at_high < 0)
            if not passes.any():
                continue
            for _ in range(64):
                middle = (low + high) / 2
                same = (self.beyond(level, middle) < 0) == (at_low < 0)
                low, high = np.where(same, middle, low), np.where(same, high, middle)
            found = high[passes & (high > 1e-12 * span)]
            first = min(first, float(found.min(initial=span)))
        return first


class _Run:
    """One sample."""

    def __init__(self, network: DpiNetwork, inputs: Mapping[str, tuple[Array, Array]], end: float,
                 tolerance: float) -> None:
        self.names = tuple(network.populations)
        sizes = [network.populations[name].n for name in self.names]
        starts = dict(zip(self.names, np.cumsum([0, *sizes]), strict=False))
        self.owner = np.repeat(np.arange(len(sizes)), sizes)
        self.first = np.array([starts[name] for name in self.names], dtype=np.int64)
        self.neurons = DpiPopulation(**{
            each.name: np.concatenate([np.asarray(getattr(network.populations[name], each.name), dtype=np.float64)
                                       for name in self.names]) for each in fields(DpiPopulation)})
        self.n, self.end, self.tolerance = sum(sizes), end, tolerance
        self.reaches: dict[str, list[tuple[slice, Array]]] = {}
        for projection in network.projections:
            begin = int(starts[projection.target])
            self.reaches.setdefault(projection.source, []).append(
                (slice(begin, begin + network.size(projection.target)), np.asarray(projection.weight, np.float64)))
        arrivals = [(float(time), name, int(index)) for name, (times, indices) in inputs.items()
                    for time, index in zip(times, indices, strict=True) if time <= end]
        self.arrivals = sorted(arrivals, key=lambda each: each[0])
        self.floor, self.top = np.log(self.neurons.dark), np.log(self.neurons.threshold)
        self.u = self.floor.copy()
        self.synapses = Synapses(np.zeros(self.n), np.zeros(self.n), self.neurons)
        self.until = np.zeros(self.n)
        self.spikes: list[tuple[float, int]] = []
        self.step = end

    def play(self) -> dict[str, tuple[list[float], list[int]]]:
        time, at = 0.0, 0
        while True:
            while at < len(self.arrivals) and self.arrivals[at][0] <= time + _SAME * self.end:
                self._deliver(*self.arrivals[at][1:])
                at += 1
            if time >= self.end:
                break
            stop = min(self.arrivals[at][0] if at < len(self.arrivals) else self.end, self.end)
            stop = min(stop, float(self.until[self.until > time].min(initial=stop)))
            time = self._smooth_piece(time, stop)
        found: dict[str, tuple[list[float], list[int]]] = {name: ([], []) for name in self.names}
        for instant, neuron in self.spikes:
            times, indices = found[self.names[self.owner[neuron]]]
            times.append(instant)
            indices.append(neuron - int(self.first[self.owner[neuron]]))
        return found

    def _deliver(self, source: str, index: int) -> None:
        for span, weight in self.reaches.get(source, ()):
            column = weight[:, index]
            self.synapses.exciting[span] += np.maximum(column, 0.0)
            self.synapses.inhibiting[span] += np.maximum(-column, 0.0)

    def _smooth_piece(self, time: float, stop: float) -> float:
        """Goes on to `stop`, or to the first instant at which the equations change or a neuron fires; the time there.
        """
        each, span = self.neurons, stop - time
        lift = (1 - each.feedback_at(each.dark)) * each.leak * (each.dark + each.gain) / each.gain
        span = min(self.synapses.next_passage(each.dark, span), self.synapses.next_passage(lift, span))
        cut = self.synapses.beyond(each.dark, span / 2) < 0
        lifted = np.where(cut, each.dark, each.dark + self.synapses.beyond(each.dark, span / 2)) > lift
        held = (self.until > time) | ((self.u <= self.floor + _CLOSE) & ~lifted)
        self.u = np.where(held, self.floor, self.u)

        def slope(seconds: float, u: Array) -> Array:
            current = np.exp(np.minimum(u, self.top + 1.0))  # a trial step may go far beyond the threshold
            flows = np.where(cut, each.dark, each.dark + self.synapses.beyond(each.dark, seconds))
            rate = each.gain * flows / (each.leak * (current + each.gain)) - 1 + each.feedback_at(current)
            return np.where(held, 0.0, rate / each.tau_mem)

        done = 0.0
        while done < span * (1 - 1e-15):
            length = min(self.step, span - done)
            u, start, last, error = dormand_prince(slope, done, self.u, length)
            if error > self.tolerance and length > _SAME * self.end:
                self.step = length * max(0.2, 0.9 * (self.tolerance / error) ** 0.2)
                continue
            events = self._passes(u, start, last, length, held)
            if events.any():
                length, u = self._first_passage(slope, done, length, u, start, last, events)
                done += length
                self._land(u, time + done, done, held)
                return time + done
            if length == self.step:
                self.step = length * min(5.0, 0.9 * (self.tolerance / max(error, 1e-300)) ** 0.2)
            self.u, done = u, done + length
        self.synapses.exciting, self.synapses.inhibiting = self.synapses.after(span)
        return stop if span >= stop - time else time + span

    def _passes(self, u: Array, start: Array, last: Array, length: float, held: Array) -> Array:
        """Neurons that pass their threshold or their dark current within a step, there and back again included."""
        peak = (start > 0) & (last < 0) & (np.maximum(_between(self.u, u, start, last, length,
                                                               _turn(self.u, u, start, last, length)), u) > self.top)
        falls = (u < self.floor) & ((self.u > self.floor + _CLOSE) | (start < 0))
        return ~held & ((u > self.top) | peak | falls)

    def _first_passage(self, slope: Slope, done: float, length: float, u: Array, start: Array, last: Array,
                       events: Array) -> tuple[float, Array]:
        """Length of the step to the first of them, and u there."""
        target = np.where(u < self.floor, self.floor, self.top)
        low, high = np.zeros(self.n), np.full(self.n, length)
        over = np.sign(target - self.u)
        turn = _turn(self.u, u, start, last, length)
        high = np.where((u - target) * over < 0, turn, high)
        for _ in range(60):
            middle = (low + high) / 2
            below = (_between(self.u, u, start, last, length, middle) - target) * over < 0
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        first = int(np.where(events, high, np.inf).argmin())
        reach = float(high[first])
        for _ in range(8):
            found, _, rate, _ = dormand_prince(slope, done, self.u, reach)
            missing = target[first] - found[first]
            if abs(missing) < _CLOSE / 4 or rate[first] == 0:
                break
            reach = min(max(reach + missing / rate[first], reach / 2), length)
        return reach, found

    def _land(self, u: Array, time: float, elapsed: float, held: Array) -> None:
        self.synapses.exciting, self.synapses.inhibiting = self.synapses.after(elapsed)
        fired = ~held & (u >= self.top - _CLOSE)
        self.u = np.where(fired | (u <= self.floor + _CLOSE), self.floor, u)
        self.until = np.where(fired, time + self.neurons.refractory, self.until)
        for neuron in np.flatnonzero(fired):
            self.spikes.append((time, int(neuron)))
            self._deliver(self.names[self.owner[neuron]], int(neuron - self.first[self.owner[neuron]]))


def dormand_prince(slope: Slope, time: float, u: Array, length: float) -> tuple[Array, Array, Array, float]:
    """One step: u after it, the slope before and after it, and the largest estimated error."""
    slopes: list[Array] = []
    reached = u
    for node, weights in zip(NODES, STAGES, strict=True):
        reached = u + length * sum((weight * each for weight, each in zip(weights, slopes, strict=True)),
                                   start=np.zeros_like(u))
        slopes.append(slope(time + node * length, reached))
    error = length * np.abs(sum(weight * each for weight, each in zip(ERROR, slopes, strict=True)))
    return reached, slopes[0], slopes[-1], float(np.max(error, initial=0.0))


def _between(before: Array, after: Array, start: Array, last: Array, length: float, seconds: Array) -> Array:
    """u within a step, by the cubic through its ends and their slopes."""
    s = seconds / length
    return (before * (1 + 2 * s) * (1 - s) ** 2 + length * start * s * (1 - s) ** 2
            + after * s**2 * (3 - 2 * s) - length * last * s**2 * (1 - s))


def _turn(before: Array, after: Array, start: Array, last: Array, length: float) -> Array:
    """Seconds to the maximum of that cubic, where it rises first and falls at the end; else the whole step."""
    a = 3 * (2 * (before - after) + length * (start + last))
    b = 2 * (3 * (after - before) - length * (2 * start + last))
    c = length * start
    with np.errstate(divide="ignore", invalid="ignore"):
        root = 2 * c / (-b + np.sqrt(b**2 - 4 * a * c))
    rises = (start > 0) & (last < 0) & (root > 0) & (root < 1)
    return length * np.where(rises, root, 1.0)
