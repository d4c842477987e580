"""One sample, or one stretch of noise, of the reference for learning in continuous time (`learning_exact` says what it
means): instants in order, closed forms between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, expm1, sinh
from math import prod as product_of

import numpy as np
from scipy.optimize import brentq

from ..membranes import Membranes
from ..nodes import Array
from .continuous import Continuous, Product, phases_of
from .courses import Course
from .noise import Spike
from .rule import Gate, LearningRule, Phase
from .synapses import gate_value
from .wiring import Link, Links

__all__ = ["Plastic", "Sample"]

_TIGHTEST = 4 * float(np.finfo(np.float64).eps)


@dataclass(slots=True)
class Plastic:
    """A plastic projection: `rates` of its traces, 1/s; values of its variables now; `taken`: what w took in
    this sample."""

    link: Link
    rates: Mapping[str, float]
    x: dict[str, Array]
    y: dict[str, Array]
    tags: dict[str, Array]
    taken: Array


@dataclass
class Sample:
    """`weights` are written to where `online`, with `rate` times what the projections take. `feedback` by population,
    (n, n_out), direct. `spikes`: what happened, (time, population, neuron)."""

    links: Links
    continuous: Continuous
    membranes: Membranes
    span: Mapping[str, slice]
    weights: dict[str, Array]
    plastic: Sequence[Plastic]
    feedback: Mapping[str, Array]
    label: int
    online: bool
    rate: float = 1.0
    now: float = 0.0
    spikes: list[tuple[float, str, int]] = field(default_factory=list)
    error_spikes: list[tuple[float, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n_out = self.links.sizes[self.links.output]
        self.counts, self.err = np.zeros(n_out), np.zeros(n_out)
        self.inter = np.zeros((2, n_out))
        self.dendrite = {name: np.zeros(self.links.sizes[name]) for name in (*self.links.hidden, self.links.output)}
        self.opened = {name: np.zeros(self.links.sizes[name], dtype=bool) for name in self.links.order}
        self.answer, self.membrane = np.zeros(n_out), np.zeros(n_out)
        self.noise_from: str | None = None
        size = len(self.membranes.voltage)
        self.release = np.full(size, np.inf)
        self.levels = [self.membranes.threshold]
        for gate in self.gates:
            centre = self.membranes.threshold if gate.centre is None else np.full(size, gate.centre)
            self.levels += [centre - gate.width, centre + gate.width]
        self.above = np.array([self.membranes.voltage > level for level in self.levels])

    @property
    def rule(self) -> LearningRule:
        return self.continuous.rule

    @property
    def gates(self) -> list[Gate]:
        return [gate for gate in self.continuous.gates.values() if gate.shape == "box"]

    # ---- phases -----------------------------------------------------------------------------------------------------
    def play(self, phase: Phase, given: Sequence[Spike], noise_from: str | None = None) -> None:
        """A phase: `given` are what comes from outside, seconds from its start on, in order."""
        begin, end, before = self.now, self.now + phase.duration, self.counts.copy()
        self.phase, self.noise_from = phase, noise_from
        waiting: list[Spike] = [(begin + time, source, neuron, sign) for time, source, neuron, sign in given
                                if time <= phase.duration]
        teaches = phase.teach and self.rule.error is not None
        teaching = [begin + self.rule.error.start] if teaches and self.rule.error else []
        teaching = [time for time in teaching if time <= end]
        teacher = self._teacher(begin, end) if teaches else []
        self._set_error(False)
        self.injected: list[tuple[float, Array]] = []
        self._inject()
        while True:
            due = [each[0] for each in waiting[:1]] + teaching[:1] + teacher[:1]
            due += [until for until, _ in self.injected[:1]]
            stop = min([*due, float(self.release.min(initial=np.inf)), self._error_due(), end])
            time, crossing = self._first_passing(stop)
            self._flow(time)
            arriving = [each for each in waiting if each[0] <= time]
            waiting = waiting[len(arriving):]
            freed = self.release <= time
            self.membranes.held[freed], self.release[freed] = False, np.inf
            if teaching and teaching[0] <= time:
                teaching = []
                self.err_on = True
            taught = bool(teacher) and teacher[0] <= time
            teacher = teacher[taught:]
            self._instant(arriving, crossing, taught)
            if time >= end:
                break
        if phase.inject == 0.0 or all(each.inject for each in phases_of(self.rule, False)):
            self.answer = self.answer + self.counts - before
            self.membrane = self.membranes.voltage[self.span[self.links.output]].copy()

    @property
    def prediction(self) -> int:
        """The output that fired most while nothing was injected; of several, the one of the highest membrane then."""
        best = np.flatnonzero(self.answer == self.answer.max())
        return int(best[np.argmax(self.membrane[best])])

    def _teacher(self, begin: float, end: float) -> list[float]:
        error = self.rule.error
        if error is None or error.code not in ("spike", "trace"):
            return []
        times, number = [], 0
        while (time := begin + error.start + (number * error.period + 1) * self.rule.interval) <= end:
            times.append(time)
            number += 1
        return times

    # ---- neurons ----------------------------------------------------------------------------------------------------
    def _first_passing(self, stop: float) -> tuple[float, list[tuple[int, int]]]:
        """The first time in (now, stop] at which membranes leave the side of a level on which they are, and which
        (level, neuron) do; or `stop` and none."""
        members = self.membranes
        everyone = np.arange(len(members.voltage))
        span = stop - self.now
        turn = np.clip(members.turning(everyone), 0.0, span)
        middle, last = members.at(everyone, turn)[0], members.at(everyone, np.full(len(everyone), span))[0]
        found: list[tuple[float, int, int]] = []
        for number, level in enumerate(self.levels):
            side = np.where(self.above[number], -1.0, 1.0)
            first_piece, second = side * (middle - level) > 0, side * (last - level) > 0
            for neuron in np.flatnonzero((first_piece | second) & ~members.held):
                pieces = (0.0, turn[neuron]) if first_piece[neuron] else (turn[neuron], span)
                found.append((self._passing(int(neuron), float(level[neuron]), float(side[neuron]), *pieces), number,
                              int(neuron)))
        if not found:
            return stop, []
        first = min(each[0] for each in found)
        return self.now + first, [(number, neuron) for time, number, neuron in found if time == first]

    def _passing(self, neuron: int, level: float, side: float, low: float, high: float) -> float:
        members = self.membranes
        leak, decay = float(members.leak[neuron]), float(members.decay[neuron])
        total = float(members.drive[neuron] + members.bias[neuron])
        excess = float(members.coupling[neuron] * (members.current[neuron] - members.level[neuron] * total))
        pull = float(members.base[neuron] + members.per_input[neuron] * total)
        start, half = float(members.voltage[neuron]), 0.5 * (decay - leak)

        def over(s: float) -> float:
            kept, x = exp(-leak * s), half * s
            both = exp(-0.5 * (leak + decay) * s) * s * (sinh(x) / x if x else 1.0) if abs(x) < 1.0 else (
                (kept - exp(-decay * s)) / (2 * half))
            return side * (kept * start + pull * (-expm1(-leak * s) / leak if leak else s) + excess * both - level)

        return low if over(low) >= 0 else float(brentq(over, low, high, xtol=1e-300, rtol=_TIGHTEST))

    def _instant(self, arriving: Sequence[Spike], crossing: Sequence[tuple[int, int]], taught: bool) -> None:
        members, fired_now = self.membranes, {}
        for number, neuron in crossing:
            members.voltage[neuron] = self.levels[number][neuron]
            self.above[number][neuron] ^= True
        forced = {neuron for number, neuron in crossing if number == 0 and self.above[0][neuron]}
        sent: dict[str, Array] = {}
        for _, source, element, sign in arriving:
            sent.setdefault(source, np.zeros(self.links.sizes[source]))[element] += sign
        if self.online:
            self._clip_before_use(sent)
        before_reset = members.voltage.copy()
        for name in self.links.order:
            if self.noise_from is not None and name not in self.links.downstream(self.noise_from):
                continue
            span = self.span[name]
            index = np.arange(span.start, span.stop)
            reached = np.zeros(len(index), dtype=bool)
            for link in self.links.links:
                if link.target == name and link.source in sent:
                    members.kick(index, self.weights[link.name] @ sent[link.source])
                    reached |= True
            voltage = members.voltage[index]
            firing = (voltage > members.threshold[index]) & reached & ~members.held[index]
            firing |= np.isin(index, list(forced))
            before_reset[index] = voltage
            if firing.any():
                fired = index[firing]
                fired_now[name] = sent[name] = firing.astype(float)
                if self.online:
                    self._clip_before_use({name: sent[name]})
                self.spikes += [(self.now, name, int(each - span.start)) for each in fired]
                members.reset(fired)
                resting = fired[members.refractory[fired] > 0]
                members.held[resting] = True
                self.release[resting] = self.now + members.refractory[resting]
        if self.noise_from is None:
            self._spike_traces(sent, fired_now)
        moved = [members.voltage > level for level in self.levels]
        jumped = np.zeros(len(members.voltage), dtype=bool)
        for name, span in self.span.items():
            if name in fired_now or any(each.target == name and each.source in sent for each in self.links.links):
                jumped[span] = True
        for number, side in enumerate(moved):
            self.above[number] = np.where(jumped, side, self.above[number])
        self._note_open()
        back = self._errors(fired_now, taught)
        if self.noise_from is None:
            self._act(sent, fired_now, back, before_reset)
        self._inject()

    def _spike_traces(self, sent: Mapping[str, Array], fired: Mapping[str, Array]) -> None:
        for each in self.plastic:
            for name, trace in self.continuous.traces.items():
                if trace.of != "spikes" or (trace.phases and self.phase.name not in trace.phases):
                    continue
                if name[0] == "x" and each.link.source in sent:
                    each.x[name] = each.x[name] + trace.impulse * sent[each.link.source]
                elif name[0] == "y" and each.link.target in fired:
                    each.y[name] = each.y[name] + trace.impulse * fired[each.link.target]

    def _open(self, number: int, span: slice) -> Array:
        """Whether the membranes are within box number `number`."""
        within: Array = self.above[1 + 2 * number] & ~self.above[2 + 2 * number]
        return within[span]

    def _note_open(self) -> None:
        for name, span in self.span.items() if self.gates else ():
            self.opened[name] |= self._open(0, span)

    # ---- errors -----------------------------------------------------------------------------------------------------
    def _set_error(self, on: bool) -> None:
        self.err_on = on
        self._renew_error()

    @property
    def _impulses(self) -> bool:
        """Whether errors come as spikes."""
        error = self.rule.error
        return error is not None and (error.spikes or error.code == "spike")

    def _renew_error(self) -> None:
        error = self.rule.error
        self.err = np.zeros_like(self.counts)
        if error is None or not self.err_on:
            return
        if error.code == "softmax":
            shifted = np.exp(self.counts - self.counts.max())
            self.err = shifted / shifted.sum()
            self.err[self.label] -= 1.0
        elif error.code == "count":
            awake = sum(phase.duration for phase in self.rule.phases if phase.noise is None) / self.rule.interval
            self.err = (self.counts - np.where(np.arange(len(self.counts)) == self.label, error.high,
                                               error.low)) / awake
        self.err[np.abs(self.err) <= error.margin] = 0.0

    def _error_due(self) -> float:
        """When an error interneuron reaches its threshold."""
        error = self.rule.error
        if error is None or not error.spikes or error.code == "spike":
            return np.inf
        slope = np.array([self.err, -self.err]) / self.rule.interval
        with np.errstate(divide="ignore", invalid="ignore"):
            wait = np.where(slope > 0, np.maximum(error.threshold - self.inter, 0.0) / slope, np.inf)
        return self.now + float(wait.min())

    def _errors(self, fired: Mapping[str, Array], taught: bool) -> Array:
        """Counts, err, and what comes back; the error spikes of this instant."""
        error, output = self.rule.error, self.links.output
        out = fired.get(output, np.zeros_like(self.counts))
        self.counts += out
        back = np.zeros_like(self.counts)
        if error is None or self.noise_from is not None:
            return back
        if error.code == "spike":
            back = out * self.err_on
            back[self.label] -= taught
        if error.spikes:
            if error.code == "spike":
                self.inter += np.array([back, -back])
                due = (self.inter > error.threshold) & (back != 0)
                self.inter[due] -= error.threshold
            else:
                due = self.inter >= error.threshold * (1 - 1e-12)
                self.inter[due] = 0.0
            back = due[0].astype(float) - due[1]
        self.error_spikes += [(self.now, int(each), int(back[each])) for each in np.flatnonzero(back)]
        self._renew_error()
        if self._impulses and (back.any() or error.dendrite_tau == 0.0):
            self._feed(back, error.dendrite_tau == 0.0)
        elif not self._impulses and error.dendrite_tau == 0.0 and self.err_on:
            self._feed(self.err, True)
        return back

    def _feed(self, back: Array, instead: bool) -> None:
        if instead and self._impulses and back.any():
            self.injected.append((self.now + self.rule.interval, back))
        for name in self.dendrite:
            given = back if name == self.links.output else self._matrix(name) @ back
            self.dendrite[name] = given if instead else self.dendrite[name] + given

    def _matrix(self, name: str) -> Array:
        if self.rule.feedback is None or self.rule.feedback.path == "layered" or name not in self.feedback:
            return np.zeros((self.links.sizes[name], len(self.counts)))
        return self.feedback[name]

    def _inject(self) -> None:
        """The current of dendrites; an error spike that none of them holds is one for an interval."""
        self.injected = [each for each in self.injected if each[0] > self.now]
        instead = self._impulses and self.rule.error is not None and self.rule.error.dendrite_tau == 0.0
        for name, dendrite in self.dendrite.items():
            if instead:
                back = np.sum([each for _, each in self.injected], axis=0) if self.injected else 0.0 * self.counts
                dendrite = back if name == self.links.output else self._matrix(name) @ back
            self.membranes.drive[self.span[name]] = self.phase.inject * dendrite

    # ---- between instants -------------------------------------------------------------------------------------------
    def _flow(self, time: float) -> None:
        """Everything up to `time`."""
        length = time - self.now
        if self.noise_from is None:
            for each in self.plastic:
                self._integrate(each, length)
        error = self.rule.error
        if error is not None and error.spikes:
            self.inter += np.array([self.err, -self.err]) * (length / self.rule.interval)
        for name in self.dendrite:
            self.dendrite[name] = self._dendrite(name).at(length)
        self.membranes.advance(np.arange(len(self.membranes.voltage)), time)
        self.now = time

    def _dendrite(self, name: str) -> Course:
        error = self.rule.error
        value = self.dendrite[name]
        if error is None or error.dendrite_tau == 0.0:
            return Course.decaying(value)
        rate = 0.0 if error.dendrite_tau is None else 1.0 / error.dendrite_tau
        course = Course.decaying(value, rate)
        if not self._impulses:
            given = self.err if name == self.links.output else self._matrix(name) @ self.err
            course = course.plus(Course.decaying(given / self.rule.interval).followed(rate))
        return course

    def _integrate(self, each: Plastic, length: float) -> None:
        courses = self._courses(each)
        flows = [flow for flow in self.continuous.flows if self.phase.name in flow.phases]
        follows = any("d" in flow.product.variables for flow in flows if flow.variable == "t")
        order = ("d", "t") if follows else ("t", "d")
        for name in (*order, "w"):
            total = Course()
            for flow in flows:
                if flow.variable == name:
                    total = total.plus(_multiplied(flow.product, courses).times(1.0 / self.rule.interval))
            if name == "w":
                self._take(each, total.integral(length))
            else:
                leak = self.continuous.leaks.get((name, self.phase.name), 0.0)
                courses[name] = Course.decaying(each.tags[name], leak).plus(total.followed(leak))
        for name in ("t", "d"):
            each.tags[name] = np.broadcast_to(courses[name].at(length), each.taken.shape).copy()
        for name in each.x:
            each.x[name] = courses[name].at(length)[0]
        for name in each.y:
            each.y[name] = courses[name].at(length)[:, 0]

    def _courses(self, each: Plastic) -> dict[str, Course]:
        """Of all that varies, from now on; sources along the second axis, targets along the first."""
        found: dict[str, Course] = {}
        for name in sorted((*each.x, *each.y)):
            trace, rate = self.continuous.traces[name], each.rates[name]
            value = each.x[name][None, :] if name[0] == "x" else each.y[name][:, None]
            found[name] = Course.decaying(value, rate)
            if trace.of != "spikes" and not (trace.phases and self.phase.name not in trace.phases):
                followed = found[trace.of].times(trace.impulse / self.rule.interval).followed(rate)
                found[name] = found[name].plus(followed)
        for number, gate in enumerate(self.gates):
            within = self._open(number, self.span[each.link.target])
            found[gate.name] = Course.decaying(gate.height * within[:, None])
        dendrite = self.dendrite.get(each.link.target, np.zeros(self.links.sizes[each.link.target]))
        if each.link.target in self.dendrite:
            course = self._dendrite(each.link.target)
            found["e"] = Course({key: np.asarray(value)[:, None] for key, value in course.terms.items()})
        else:
            found["e"] = Course.decaying(dendrite[:, None])
        found["sign e"] = Course.decaying(np.sign(dendrite)[:, None])
        return found

    # ---- instants ---------------------------------------------------------------------------------------------------
    def _act(self, sent: Mapping[str, Array], fired: Mapping[str, Array], back: Array, before_reset: Array) -> None:
        for each in self.plastic:
            if not back.any() and each.link.source not in sent and each.link.target not in fired:
                continue
            pre = sent.get(each.link.source, np.zeros(self.links.sizes[each.link.source]))
            post = fired.get(each.link.target, np.zeros(self.links.sizes[each.link.target]))
            if each.link.target == self.links.output:
                struck = np.abs(np.sign(back))
            else:
                struck = np.full(len(post), float(back.any() and each.link.target in self.feedback))
            factor = {"pre": np.broadcast_to(pre[None, :], each.taken.shape),
                      "post": np.broadcast_to(post[:, None], each.taken.shape), "pair": np.outer(post, pre),
                      "error": np.broadcast_to(struck[:, None], each.taken.shape)}
            self.apply(each, factor, before_reset, 0.0)

    def apply(self, each: Plastic, factor: Mapping[str, Array], voltage: Array, reward: float) -> None:
        """The updates whose moment is in `factor`, (n_target, n_source): how often it came; of what was before."""
        values = self._values(each, voltage, reward)
        taken = {name: np.zeros_like(each.taken) for name in ("w", "t", "d")}
        touched = np.zeros(each.taken.shape, dtype=bool)
        for act in self.continuous.acts:
            if act.when in factor and (act.when == "sample" or self.phase.name in act.phases):
                found = act.product.coefficient * product_of(
                    [values[name] for name in act.product.variables] + [np.sign(values[name]) for name in
                                                                        act.product.signs], start=1.0)
                taken[act.variable] = taken[act.variable] + factor[act.when] * found
                touched |= (factor[act.when] != 0) & (act.variable == "w")
        for name in ("t", "d"):
            each.tags[name] = each.tags[name] + taken[name]
        self._take(each, taken["w"])
        if self.online and self.rule.bounds is not None:
            weights = self.weights[each.link.name]
            weights[touched] = np.clip(weights[touched], *self.rule.bounds)

    def _values(self, each: Plastic, voltage: Array, reward: float) -> dict[str, Array]:
        values = {name: value[None, :] for name, value in each.x.items()}
        values |= {name: value[:, None] for name, value in each.y.items()}
        values |= {"t": each.tags["t"], "d": each.tags["d"], "w": self.weights[each.link.name], "r": np.array(reward)}
        span = self.span[each.link.target]
        dendrite = self.dendrite.get(each.link.target)
        values["e"] = np.zeros((span.stop - span.start, 1)) if dendrite is None else dendrite[:, None]
        for gate in self.continuous.gates.values():
            values[gate.name] = gate_value(gate, voltage[span], self.membranes.threshold[span])[:, None]
        return values

    def _take(self, each: Plastic, amount: Array) -> None:
        each.taken += amount
        if self.online:
            self.weights[each.link.name] += self.rate * amount

    def _clip_before_use(self, sent: Mapping[str, Array]) -> None:
        if self.rule.bounds is None or not any(flow.variable == "w" for flow in self.continuous.flows):
            return
        for each in self.plastic:
            if each.link.source in sent:
                used, weights = sent[each.link.source] != 0, self.weights[each.link.name]
                weights[:, used] = np.clip(weights[:, used], *self.rule.bounds)


def _multiplied(product: Product, courses: Mapping[str, Course]) -> Course:
    found = Course.decaying(product.coefficient)
    for name in product.variables:
        found = found.times(courses[name])
    for name in product.signs:
        found = found.times(courses[f"sign {name}"])
    return found
