"""What a network of graded synapses does, and what of a loss reaches its parameters: the oracle of `runtime/graded`.

Plain numpy and scipy's DOP853 at a relative tolerance of 1e-12. It shares no formula with the engine beyond the gate:
the equations are those that the node kinds state, in v and s themselves,

    tau dv/dt = f(v, I),    tau_syn ds/dt = -s + g(v) dv/dt,    I = r (W s + U x + bias),

with x linear between its samples, and the gradient is that of Huh & Sejnowski: with the adjoints p_v, p_s backwards in
time and p = p_v + g p_s / tau_syn (the derivative of the gate cancels in it),

    -dp/dt = (df/dv) p / tau - (g / tau_syn) dp_s/dt,
    -dp_s/dt = -p_s / tau_syn + W' (r df/dI p / tau),    dL/dW = integral of (r df/dI p / tau) s',  and so on.

A loss of the currents at samples t_k gives p_s a jump dL/ds(t_k), and p the jump g / tau_syn of that. An impulse of
weight w moves V = tan(v / 2) (or v itself) by r w / tau at once, and s by what the gate lets through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from ..events import Events
from ..network import Dense, Sparse
from ..nodes import Array
from .gate import PEAK, charge, distance, opening
from .network import GradedNetwork

__all__ = ["GradedTrace", "currents_gradient", "simulate_graded"]

_OPTIONS: dict[str, Any] = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}


@dataclass(frozen=True, slots=True)
class GradedTrace:
    """`currents`, `membranes`: (batch, samples, n) by population, at the samples of the input, after the impulses of
    that instant. `outputs`: the same by output. `spikes`: upward passages of the middle of the gate, by population."""

    currents: Mapping[str, Array]
    membranes: Mapping[str, Array]
    outputs: Mapping[str, Array]
    spikes: Mapping[str, Events]


def simulate_graded(network: GradedNetwork, signals: Mapping[str, Any], dt: float, samples: int | None = None,
                    ) -> GradedTrace:
    """The network over a batch.

    `signals`: by input, (batch, samples, channels), at 0, dt, 2 dt, …; or `Events`, impulses, then with the number of
    `samples` where no input has any. `dt`: seconds.
    """
    system = _System(network, signals, dt, samples)
    runs = [_Run(system, sample) for sample in range(system.batch)]
    membranes = np.stack([run.v for run in runs])
    currents = np.stack([run.s for run in runs])
    shown = {name: system.readouts[name] @ currents[..., None] for name in network.outputs}
    return GradedTrace(
        {name: currents[..., part] for name, part in network.span.items()},
        {name: membranes[..., part] for name, part in network.span.items()},
        {name: each[..., 0] + np.asarray(network.offsets.get(name, 0.0)) for name, each in shown.items()},
        {name: Events.from_samples([run.spikes_of(part) for run in runs]) for name, part in network.span.items()},
    )


def currents_gradient(network: GradedNetwork, signals: Mapping[str, Any], dt: float,
                      slopes: Array) -> dict[str, Array]:
    """The gradient of a loss of the currents, whose derivatives `slopes` (batch, samples, n) are given, neurons in the
    network's order: with respect to `recurrent` (n, n), `drive` (batch, samples, n) of the current I at the samples,
    `tau`, `tau_syn`, `zone` and `start`, (n,) each; `start` is that of v0. Signals only, no impulses."""
    system = _System(network, signals, dt, None)
    total: dict[str, Array] = {}
    for sample in range(system.batch):
        for name, value in _Run(system, sample, dense=True).backward(slopes[sample]).items():
            if name == "drive":
                total[name] = np.concatenate([total[name], value[None]]) if name in total else value[None]
            else:
                total[name] = total.get(name, 0.0) + value
    return total


class _System:
    """The network as matrices, and what drives it."""

    def __init__(self, network: GradedNetwork, signals: Mapping[str, Any], dt: float, samples: int | None) -> None:
        self.network, self.dt, n = network, dt, network.n
        self.circle = _joined(network, lambda each: np.full(each.n, each.circle))
        self.tau, self.tau_syn, self.zone, self.r, self.v0, self.bias = (
            _joined(network, lambda each, name=name: np.asarray(getattr(each, name)))
            for name in ("tau", "tau_syn", "zone", "r", "v0", "bias"))
        self.middle = _joined(network, lambda each: np.full(each.n, pi) if each.v_gate is None
                              else np.asarray(each.v_gate))
        self.leak = _joined(network, lambda each: np.zeros(each.n) if each.v_leak is None else np.asarray(each.v_leak))
        sizes = {name: network.size(name) for name in network.inputs}
        self.recurrent = np.zeros((n, n))
        inward = {name: np.zeros((n, size)) for name, size in sizes.items()}
        self.readouts = {name: np.zeros((network.size(name), n)) for name in network.outputs}
        for each in network.projections:
            matrix = _matrix(each.connection, network.size(each.target), network.size(each.source))
            if each.target in network.outputs:
                self.readouts[each.target][:, network.span[each.source]] += matrix
            elif each.source in network.inputs:
                inward[each.source][network.span[each.target]] += matrix
            else:
                self.recurrent[network.span[each.target], network.span[each.source]] += matrix
        analog = {name: np.asarray(given, dtype=np.float64) for name, given in signals.items()
                  if not isinstance(given, Events)}
        self.events = {name: given for name, given in signals.items() if isinstance(given, Events)}
        self.inward = inward
        self.samples = samples if samples is not None else next(iter(analog.values())).shape[1]
        self.batch = next(iter(each.shape[0] for each in analog.values()), None) or (
            next(iter(self.events.values())).batch)
        drive = sum((given.reshape(*given.shape[:2], -1) @ inward[name].T for name, given in analog.items()),
                    np.zeros((self.batch, self.samples, n)))
        self.drive: Array = self.r * (drive + self.bias)

    def gate(self, v: Array) -> Array:
        return np.asarray(opening(self._from_middle(v), self.zone))

    def passed(self, v: Array) -> Array:
        """Charge that the gate lets through on the way to v, up to a constant."""
        turns = np.where(self.circle, distance(v - self.middle)[1], 0.0)
        return np.asarray(charge(self._from_middle(v), self.zone) + turns)

    def gate_wider(self, v: Array) -> Array:
        """dg/dzone."""
        u = (2 * self._from_middle(v) / self.zone).clip(-1, 1) ** 2
        return np.asarray(PEAK / self.zone**2 * (1 - u) ** 3 * (9 * u - 1))

    def _from_middle(self, v: Array) -> Array:
        x = v - self.middle
        return np.where(self.circle, distance(x)[0], x)

    def rate(self, v: Array, current: Array) -> Array:
        """f."""
        return np.where(self.circle, (1 - np.cos(v)) + (1 + np.cos(v)) * current, self.leak - v + current)

    def rate_by_v(self, v: Array, current: Array) -> Array:
        return np.where(self.circle, np.sin(v) * (1 - current), -1.0)

    def rate_by_current(self, v: Array) -> Array:
        return np.where(self.circle, 1 + np.cos(v), 1.0)


class _Run:
    """One sample."""

    def __init__(self, system: _System, sample: int, dense: bool = False) -> None:
        self.system, self.drive = system, system.drive[sample]
        self.pieces: list[Any] = []
        self.passages: list[tuple[float, int]] = []
        n, dt = system.network.n, system.dt
        impulses = self._impulses(sample)
        stops = sorted({*(k * dt for k in range(system.samples)), *impulses})
        y = np.concatenate([system.v0, np.zeros(n)])
        shown = []
        for number, time in enumerate(stops):
            if time in impulses:
                y = self._jump(y, impulses[time])
            interval = round(time / dt)
            if time == interval * dt:
                shown.append(y)
            if number + 1 < len(stops):
                y = self._piece(y, time, stops[number + 1], dense)
        states = np.stack(shown)
        self.v, self.s = states[:, :n], states[:, n:]

    def _impulses(self, sample: int) -> dict[float, Array]:
        """What V moves by, (n,), at each instant."""
        found: dict[float, Array] = {}
        end = (self.system.samples - 1) * self.system.dt
        for name, events in self.system.events.items():
            for time, index in zip(*events.sample(sample), strict=True):
                if time <= end:
                    move = self.system.r / self.system.tau * self.system.inward[name][:, index]
                    found[float(time)] = found.get(float(time), 0.0) + move
        return found

    def _jump(self, y: Array, move: Array) -> Array:
        system, n = self.system, len(y) // 2
        v = y[:n]
        turns = distance(v)[1]
        angle = v - 2 * pi * turns
        after = np.where(system.circle, 2 * pi * turns + 2 * np.arctan(np.tan(angle / 2) + move), v + move)
        s = y[n:] + (system.passed(after) - system.passed(v)) / system.tau_syn
        return np.concatenate([after, s])

    def _current(self, time: float, s: Array) -> Array:
        k = min(max(int(np.floor(time / self.system.dt + 1e-9)), 0), len(self.drive) - 2)
        share = time / self.system.dt - k
        drive = (1 - share) * self.drive[k] + share * self.drive[k + 1]
        return np.asarray(drive + self.system.r * (self.system.recurrent @ s))

    def _flow(self, time: float, y: Array) -> Array:
        system, n = self.system, len(y) // 2
        v, s = y[:n], y[n:]
        speed = system.rate(v, self._current(time, s)) / system.tau
        return np.concatenate([speed, (-s + system.gate(v) * speed) / system.tau_syn])

    def _piece(self, y: Array, begin: float, end: float, dense: bool) -> Array:
        n = len(y) // 2
        middle = (begin + end) / 2
        k = int(np.floor(middle / self.system.dt)) * self.system.dt

        def flow(time: float, state: Array) -> Array:
            return self._flow(min(max(time, k), np.nextafter(k + self.system.dt, 0.0)), state)

        solved = solve_ivp(flow, (begin, end), y, dense_output=True, **_OPTIONS)
        if dense:
            self.pieces.append((begin, end, solved.sol))
        after: Array = solved.y[:, -1]
        start, stop = (self._gone_by(each[:n]) for each in (y, after))
        for neuron in np.flatnonzero(start < stop):
            low, high = begin, end
            for _ in range(60):
                mid = (low + high) / 2
                if self._gone_by(solved.sol(mid)[:n])[neuron] > start[neuron]:
                    high = mid
                else:
                    low = mid
            self.passages.append((high, int(neuron)))
        return after

    def _gone_by(self, v: Array) -> Array:
        """How often the middle of the gate lies behind v."""
        x = v - self.system.middle
        return np.where(self.system.circle, np.floor(x / (2 * pi)), np.where(x >= 0, 0.0, -1.0))

    def spikes_of(self, part: slice) -> tuple[Array, Array]:
        found = [(time, neuron - part.start) for time, neuron in self.passages if part.start <= neuron < part.stop]
        return np.array([time for time, _ in found]), np.array([neuron for _, neuron in found], dtype=np.int64)

    def backward(self, slopes: Array) -> dict[str, Array]:
        system, n, dt = self.system, self.system.network.n, self.system.dt
        p, p_s = np.zeros(n), np.zeros(n)
        grads = {"recurrent": np.zeros((n, n)), "drive": np.zeros_like(self.drive), "tau": np.zeros(n),
                 "tau_syn": np.zeros(n), "zone": np.zeros(n)}
        for k in range(len(slopes) - 1, 0, -1):
            p_s = p_s + slopes[k]
            p = p + system.gate(self.v[k]) / system.tau_syn * slopes[k]
            begin, end, path = self.pieces[k - 1]
            y = np.concatenate([p, p_s, np.zeros(n * n + 5 * n)])

            def back(past: float, y: Array, end: float = end, path: Any = path, k: int = k) -> Array:
                return self._back(end - past, y, path, (end - past) / dt - (k - 1))

            y = solve_ivp(back, (0.0, end - begin), y, **_OPTIONS).y[:, -1]
            p, p_s = y[:n], y[n:2 * n]
            grads["recurrent"] += y[2 * n:2 * n + n * n].reshape(n, n)
            rest = y[2 * n + n * n:].reshape(5, n)
            for name, row in zip(("tau", "tau_syn", "zone"), rest, strict=False):
                grads[name] += row
            grads["drive"][k - 1] += rest[3]
            grads["drive"][k] += rest[4]
        # v0 moves v alone, since s starts at zero: p_v = p - g p_s / tau_syn. The sample at 0 shows s = 0.
        return grads | {"start": p - system.gate(self.v[0]) * p_s / system.tau_syn}

    def _back(self, time: float, y: Array, path: Any, share: float) -> Array:
        """What p, p_s and the gradients grow by, backwards."""
        system, n = self.system, self.system.network.n
        p, p_s = y[:n], y[n:2 * n]
        v, s = path(time)[:n], path(time)[n:]
        k = round(time / system.dt - share)
        drive = (1 - share) * self.drive[k] + share * self.drive[k + 1]
        current = drive + system.r * (system.recurrent @ s)
        gate, speed = system.gate(v), system.rate(v, current) / system.tau
        reaching = system.rate_by_current(v) / system.tau * p
        p_s_grows = -p_s / system.tau_syn + system.recurrent.T @ (system.r * reaching)
        p_grows = system.rate_by_v(v, current) / system.tau * p + gate / system.tau_syn * p_s_grows
        of_syn = -(-s + gate * speed) / system.tau_syn**2 * p_s
        of_zone = system.gate_wider(v) * speed / system.tau_syn * p_s
        return np.concatenate([
            p_grows, p_s_grows, np.outer(system.r * reaching, s).reshape(-1), -speed / system.tau * p, of_syn, of_zone,
            (1 - share) * reaching, share * reaching])


def _joined(network: GradedNetwork, of: Any) -> Array:
    return np.concatenate([of(network.populations[name]) for name in network.order])


def _matrix(connection: Any, n_target: int, n_source: int) -> Array:
    if isinstance(connection, Dense):
        return np.asarray(connection.weight)
    if not isinstance(connection, Sparse):
        raise TypeError(type(connection).__name__)
    found = np.zeros((n_target, n_source))
    rows = np.repeat(np.arange(n_target), np.diff(connection.indptr))
    found[rows, connection.indices] = np.asarray(connection.weight)
    return found
