"""One sample of the continuous-time reference under way: the instants, in order, and what happens at each (`exact`
says the rules)."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

import numpy as np

from .diagnostics import Diagnostic, UnsupportedError
from .flow.run import Flows
from .membranes import Membranes
from .nodes import Array
from .wiring import Wiring

__all__ = ["Kind", "Run"]

Kind = Literal["impulse", "box end", "release"]
Arrivals = list[tuple[Array, Array]]  # neurons, numbered through, and what each of them gets
_NOBODY = np.empty(0, dtype=np.int64)


class Run:
    """One sample, from t = 0 to `end`. `expect` and `send` what comes from outside, then `play` once.

    Attributes, for all neurons numbered through: `membranes`, the state; `flows`, that of neurons of free form;
    `boxes`, how many are open; `spikes`, (time, element) by neuron node; `highest` and `highest_at`, the maximum of V
    of readouts so far and its first time; `probed`, (times, n) by probe; `due`, what is still to come, by time.
    """

    def __init__(self, wiring: Wiring, membranes: Membranes, flows: Flows, boxes: Array, end: float,
                 probes: Mapping[str, Array]):
        self.wiring, self.membranes, self.boxes, self.end, self.probes = wiring, membranes, boxes, end, probes
        self.flows = flows
        grid = wiring.graph.discretization
        self.box = grid.dt if grid is not None and grid.spike == "box" else None
        self.wave = np.empty(wiring.size, dtype=np.int64)
        for number, names in enumerate(wiring.waves):
            for name in names:
                self.wave[wiring.span[name]] = number
        self.owner = np.repeat(np.arange(len(wiring.neurons)),
                               [wiring.span[name].stop - wiring.span[name].start for name in wiring.neurons])
        self.queue: list[float] = []
        self.due: dict[float, dict[Kind, Arrivals]] = {}
        self.below = membranes.voltage <= membranes.threshold
        self.turning = membranes.turning(np.arange(wiring.size))
        self.fired_at = np.full(wiring.size, -np.inf)
        self.spikes: dict[str, list[tuple[float, int]]] = {name: [] for name in wiring.neurons}
        self.highest, self.highest_at = membranes.voltage.copy(), np.zeros(wiring.size)
        self.probed = {probe: np.zeros((len(times), len(self._watched(probe)))) for probe, times in probes.items()}

    def expect(self, time: float, kind: Kind, index: Array, amount: Array) -> None:
        """Something that happens to the neurons `index` at `time`."""
        if time not in self.due:
            self.due[time] = defaultdict(list)
            heapq.heappush(self.queue, time)
        self.due[time][kind].append((index, amount))

    def send(self, source: str, element: int, time: float) -> Arrivals:
        """A spike of an input or a neuron node: what arrives later is expected, what arrives now is returned."""
        sent = self.wiring.impulses(source, element)
        for delay in np.unique(sent.delays[sent.delays > 0]):
            chosen = sent.delays == delay
            self.expect(time + float(delay), "impulse", sent.indices[chosen], sent.weights[chosen])
        at_once = sent.delays == 0
        return [(sent.indices[at_once], sent.weights[at_once])] if at_once.any() else []

    def play(self, from_rest: bool) -> None:
        """Everything until `end`. `from_rest`: a membrane that starts above its threshold fires at t = 0."""
        now = 0.0
        if from_rest:
            above = self.membranes.spiking & ~self.below
            self._instant(now, tested=np.flatnonzero(above | self.flows.above(np.arange(self.wiring.size))))
        while True:
            soonest = self.queue[0] if self.queue else np.inf
            time, crossing = self._first_crossing(now, min(soonest, self.end))
            if not len(crossing):
                if soonest > self.end:
                    break
                time = soonest
            self._record(now, time)
            self._instant(time, crossing)
            now = time
        self._record(now, np.inf)
        self._move(np.arange(self.wiring.size), self.end)
        self._settle(np.arange(self.wiring.size))

    def _first_crossing(self, now: float, stop: float) -> tuple[float, Array]:
        """The first time in [now, stop] at which neurons pass their thresholds smoothly, and whose; or nobody."""
        return self.flows.first_crossing(now, *self._first_of_membranes(now, stop))

    def _first_of_membranes(self, now: float, stop: float) -> tuple[float, Array]:
        """The same of the linear ones.

        V has at most one turning point, so it is monotone on [now, turning] and on [turning, stop].
        """
        membranes = self.membranes
        index = np.flatnonzero(membranes.spiking & ~membranes.held)
        first, last = now - membranes.since[index], stop - membranes.since[index]
        middle = np.clip(self.turning[index], first, last)
        courses = membranes.at(np.tile(index, 3), np.concatenate([first, middle, last]))[0]
        starts, turns, ends = courses.reshape(3, -1)
        threshold = membranes.threshold[index]
        # Kept, not only computed: of two crossings a rounding error apart, the second is not lost.
        self.below[index] |= starts <= threshold
        early = self.below[index] & (turns > threshold)
        late = (turns <= threshold) & (ends > threshold)
        pieces = [(first[n], middle[n]) if early[n] else (middle[n], last[n]) for n in np.flatnonzero(early | late)]
        crossing = index[early | late]
        if not len(crossing):
            return stop, _NOBODY
        times = np.array([
            membranes.since[neuron] + membranes.crossing(neuron, low, high)
            for neuron, (low, high) in zip(crossing, pieces, strict=True)
        ]).clip(now, stop)
        return float(times.min()), crossing[times == times.min()]

    def _instant(self, time: float, crossing: Array = _NOBODY, tested: Array = _NOBODY) -> None:
        """All that happens at `time`: `crossing` neurons fire, `tested` ones do if they are above threshold after what
        arrives, as does everyone at whom something arrives."""
        due = self.due.pop(time, {})
        if due:
            heapq.heappop(self.queue)
        for index, _ in due.get("release", ()):
            self._move(index, time)
            self.membranes.held[index] = False
            self._settle(index)
        for index, amount in due.get("box end", ()):
            self._move(np.unique(index), time)
            np.add.at(self.membranes.drive, index, -amount)
            np.add.at(self.boxes, index, -1)
            self.membranes.drive[self.boxes == 0] = 0.0
            self._settle(np.unique(index))
        arriving = list(due.get("impulse", ()))
        for wave in range(len(self.wiring.waves)):
            forced, others = (index[self.wave[index] == wave] for index in (crossing, tested))
            while len(forced) or len(others) or any((self.wave[index] == wave).any() for index, _ in arriving):
                index, amount = _joined(arriving)
                here = self.wave[index] == wave
                arriving = [(index[~here], amount[~here])]
                arriving += self._react(time, index[here], amount[here], forced, others)
                forced = others = _NOBODY

    def _react(self, time: float, index: Array, amount: Array, forced: Array, tested: Array) -> Arrivals:
        """Sums the impulses, tests the thresholds once, and returns what the spikes cause at this same instant."""
        membranes = self.membranes
        touched, inverse = np.unique(np.concatenate([index, forced, tested]), return_inverse=True)
        total = np.bincount(inverse[:len(index)], amount, minlength=len(touched))
        self._move(touched, time)
        membranes.voltage[forced] = membranes.threshold[forced]
        if self.box is None:
            membranes.kick(touched, total)
            self.flows.kick(touched, total)
        elif len(index):
            membranes.drive[touched] += total
            np.add.at(self.boxes, index, 1)
            self.expect(time + self.box, "box end", index, amount)
        above = membranes.spiking[touched] & ~membranes.held[touched] & (
            membranes.voltage[touched] > membranes.threshold[touched])
        firing = touched[above | self.flows.above(touched) | np.isin(touched, forced)]
        self._note_highest(touched, membranes.voltage[touched], time)
        caused = self._fire(firing, time)
        self._settle(touched)
        return caused

    def _fire(self, firing: Array, time: float) -> Arrivals:
        membranes = self.membranes
        again = firing[self.fired_at[firing] == time]
        if len(again):
            name, element = self._named(int(again[0]))
            raise UnsupportedError(Diagnostic(
                "SC401", f"neuron {element} would fire twice at one instant", node=name, value=f"t = {time!r} s",
                remedy="Give the cycle a delay, or the neuron a refractory period.",
            ))
        self.fired_at[firing] = time
        membranes.reset(firing)
        self.flows.fire(firing)
        resting = firing[membranes.refractory[firing] > 0]
        membranes.held[resting] = True
        for neuron in resting:
            self.expect(time + float(membranes.refractory[neuron]), "release", np.array([neuron]), np.zeros(1))
        caused = []
        for neuron in firing:
            name, element = self._named(int(neuron))
            self.spikes[name].append((time, element))
            caused += self.send(name, element, time)
        return caused

    def _settle(self, index: Array) -> None:
        """What follows from a changed state: on which side of the threshold, and when V turns."""
        self.below[index] = self.membranes.voltage[index] <= self.membranes.threshold[index]
        self.turning[index] = self.membranes.turning(index)
        self.flows.settle(index)

    def _move(self, index: Array, time: float) -> None:
        """Advances neurons to `time`; of readouts, notes the highest V on the way. `_settle` has to follow."""
        membranes = self.membranes
        shown = index[~membranes.spiking[index]]
        if len(shown):
            since, elapsed = membranes.since[shown], time - membranes.since[shown]
            turn = np.clip(self.turning[shown], 0.0, elapsed)
            self._note_highest(shown, membranes.at(shown, turn)[0], since + turn)
        membranes.advance(index, time)
        self._note_highest(shown, membranes.voltage[shown], time)
        for neuron in self.flows.mine(shown):
            value, when = self.flows.highest(neuron, time)
            self._note_highest(np.array([neuron]), np.array([value]), when)
        self.flows.advance(index, time)

    def _note_highest(self, index: Array, voltage: Array, time: Array | float) -> None:
        more = voltage > self.highest[index]
        self.highest[index] = np.where(more, voltage, self.highest[index])
        self.highest_at[index] = np.where(more, time, self.highest_at[index])

    def _record(self, now: float, until: float) -> None:
        """The probes in [now, until): V or I after what happened at `now`."""
        for probe, times in self.probes.items():
            index = self._watched(probe)
            for number in np.flatnonzero((times >= now) & (times < until)):
                self.probed[probe][number] = self._shown(index, float(times[number]), probe.rpartition(".")[2])

    def _shown(self, index: Array, time: float, quantity: str) -> Array:
        if len(index) and next(self.flows.mine(index[:1]), None) is not None:
            return np.array([self.flows.shown(neuron, time, quantity) for neuron in index.tolist()])
        return self.membranes.at(index, time - self.membranes.since[index])[0 if quantity == "v" else 1]

    def _watched(self, probe: str) -> Array:
        span = self.wiring.span[probe.rpartition(".")[0]]
        return np.arange(span.start, span.stop)

    def _named(self, neuron: int) -> tuple[str, int]:
        name = self.wiring.neurons[self.owner[neuron]]
        return name, neuron - self.wiring.span[name].start


def _joined(arriving: Arrivals) -> tuple[Array, Array]:
    return (np.concatenate([_NOBODY, *(index for index, _ in arriving)]),
            np.concatenate([np.empty(0), *(amount for _, amount in arriving)]))
