"""The membranes of many neurons between two instants: a small linear differential equation each, solved in closed form.

    cuba        I' = D (I_inf - I),  I_inf = w_in (S + b),  D = 1/tau_syn;   V' = C (v_leak - V) + C r I,  C = 1/tau_mem
    leaky       V' = C (v_leak - V) + C r (S + b),  C = 1/tau
    integrator  V' = r (S + b)

are one equation, V' = A - C V + B (I - I_inf), with I - I_inf decaying at rate D, A constant while S is, and B = 0 for
all but cuba. Its solution needs only divided differences of the exponential,
phi(x, y, t) = (e^(x t) - e^(y t)) / (x - y), written with sinh so that x = y is nothing special.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from .nodes import IF, LI, LIF, Array, CubaLI, CubaLIF, Equations, Membrane, Neuron, is_spiking

__all__ = ["Membranes", "divided_difference"]


def divided_difference(x: Array, y: Array, t: Array | float) -> Array:
    """(e^(x t) - e^(y t)) / (x - y), and t e^(x t) where x = y; for x, y <= 0 <= t; without cancellation."""
    half = 0.5 * (x - y) * t
    near = np.abs(half) < 1.0
    small = np.where(near & (half != 0), half, 1.0)
    shape = np.where(half == 0, 1.0, np.sinh(small) / small)
    apart = np.where(near, 1.0, x - y)
    return np.where(near, np.exp(0.5 * (x + y) * t) * t * shape, (np.exp(x * t) - np.exp(y * t)) / apart)


@dataclass(slots=True)
class Membranes:
    """Parameters, (n,) each, and the state at the instant `since`, of all neurons of a network.

    `base`: A without S and b. `per_input`: what a unit of S + b adds to A. `gain`: what a unit impulse adds to I (cuba)
    or to V. `level`: w_in, or 0 for all but cuba. `held`: in the refractory period, V stays.
    """

    leak: Array
    decay: Array
    coupling: Array
    base: Array
    per_input: Array
    level: Array
    gain: Array
    cuba: Array
    spiking: Array
    threshold: Array
    reset_scale: Array
    reset_to: Array
    refractory: Array
    bias: Array
    voltage: Array
    current: Array
    drive: Array
    held: Array
    since: Array

    @classmethod
    def at_rest(cls, neurons: Sequence[Neuron], bias: Array) -> Membranes:
        """All neurons of the nodes, one node after another, at t = 0: V = v0, I = 0. `bias` (n,). Neurons that are no
        `Membrane` rest for ever: of them only refractory periods are kept here."""
        columns = {name: np.concatenate([np.empty(0), *(_columns(node)[name] for node in neurons)])
                   for name in _COLUMNS}
        flags = {name: columns.pop(name) > 0 for name in ("cuba", "spiking")}
        zeros = np.zeros(len(bias))
        return cls(**columns, **flags, bias=bias, current=zeros.copy(), drive=zeros.copy(), since=zeros.copy(),
                   held=np.zeros(len(bias), dtype=bool))

    def at(self, index: Array, elapsed: Array) -> tuple[Array, Array]:
        """(V, I) of the neurons `index`, `elapsed` seconds (one per neuron) after `since`."""
        leak, decay, rest = self.leak[index], self.decay[index], self._rest(index)
        excess = self.current[index] - rest
        lost = -np.expm1(-leak * elapsed)
        voltage = (
            (1 - lost) * self.voltage[index]
            + self._pull(index) * np.where(leak == 0, elapsed, lost / np.where(leak == 0, 1.0, leak))
            + self.coupling[index] * excess * divided_difference(-leak, -decay, elapsed)
        )
        return np.where(self.held[index], self.voltage[index], voltage), rest + excess * np.exp(-decay * elapsed)

    def turning(self, index: Array) -> Array:
        """Seconds after `since` at which V' changes sign, or inf: there is at most one such time.

        V'(t) = e^(-C t) (V'(0) + B I'(0) g(t)) with g(t) = phi(C - D, 0, t), which rises from 0 without end or to a
        limit; so the sign changes where g = -V'(0) / (B I'(0)).
        """
        leak, decay = self.leak[index], self.decay[index]
        excess = self.current[index] - self._rest(index)
        slope = self._pull(index) - leak * self.voltage[index] + self.coupling[index] * excess
        pull = -self.coupling[index] * decay * excess
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = -slope / pull
            apart = leak - decay
            time = np.where(apart == 0, needed, np.log1p(apart * needed) / np.where(apart == 0, 1.0, apart))
        return np.where((needed > 0) & np.isfinite(time) & ~self.held[index], time, np.inf)

    def crossing(self, neuron: int, low: float, high: float) -> float:
        """Seconds after `since` at which V of one neuron passes its threshold, V(low) <= threshold < V(high)."""
        index = np.array([neuron])
        threshold = float(self.threshold[neuron])

        def above(elapsed: float) -> float:
            return float(self.at(index, np.array([elapsed]))[0][0]) - threshold

        return low if above(low) >= 0 else float(brentq(above, low, high, xtol=1e-300, rtol=_TIGHTEST))

    def advance(self, index: Array, time: float) -> None:
        """Moves the state of the neurons `index` to the instant `time`."""
        self.voltage[index], self.current[index] = self.at(index, time - self.since[index])
        self.since[index] = time

    def kick(self, index: Array, impulse: Array) -> None:
        """Adds the weighted impulses: to I (cuba), else to V, where a refractory membrane loses them."""
        amount = self.gain[index] * impulse
        cuba = self.cuba[index]
        self.current[index] += np.where(cuba, amount, 0.0)
        self.voltage[index] += np.where(cuba | self.held[index], 0.0, amount)

    def reset(self, index: Array) -> None:
        """What a spike does to V."""
        self.voltage[index] = self.reset_scale[index] * (self.voltage[index] - self.threshold[index]) + self.reset_to[
            index]

    def asymptote(self) -> Array:
        """V for t -> inf without further input: inf for an integrator with a positive drive."""
        everyone = np.arange(len(self.bias))
        pull = self._pull(everyone)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.where(self.leak > 0, pull / self.leak, np.sign(pull) * np.inf)
        return np.where((self.leak == 0) & (pull == 0), self.voltage, far)

    def memory(self) -> float:
        """Seconds after which e^(-t/tau) of every neuron is 0 in float64 and no refractory period is left."""
        rates = np.concatenate([self.leak[self.leak > 0], self.decay[self.decay > 0], [np.inf]])
        return 2 * 750.0 / float(rates.min()) + float(self.refractory.max(initial=0.0))

    def _rest(self, index: Array) -> Array:
        rest: Array = self.level[index] * (self.drive[index] + self.bias[index])
        return rest

    def _pull(self, index: Array) -> Array:
        pull: Array = self.base[index] + self.per_input[index] * (self.drive[index] + self.bias[index])
        return pull


_TIGHTEST = 4 * float(np.finfo(np.float64).eps)  # the smallest that brentq takes
_COLUMNS = ("leak", "decay", "coupling", "base", "per_input", "level", "gain", "cuba", "spiking", "threshold",
            "reset_scale", "reset_to", "refractory", "voltage")


def _columns(node: Neuron) -> dict[str, Array]:
    """The parameters of one neuron node in the terms of `Membranes`."""
    zero = np.zeros(int(np.prod(node.shape or ())))
    found = dict.fromkeys(_COLUMNS, zero) | {"spiking": zero + is_spiking(node)}
    if not isinstance(node, Membrane):
        refractory = _flat(node.refractory) if isinstance(node, Equations) else zero
        return found | {"threshold": zero + np.finfo(np.float64).max, "refractory": refractory,
                        "voltage": zero - (0.0 if is_spiking(node) else np.finfo(np.float64).max)}
    r = _flat(node.r)
    found["voltage"] = _flat(node.v0)
    if isinstance(node, CubaLI):
        tau_mem, tau_syn, w_in = _flat(node.tau_mem), _flat(node.tau_syn), _flat(node.w_in)
        found |= {"leak": 1 / tau_mem, "decay": 1 / tau_syn, "coupling": r / tau_mem, "level": w_in, "cuba": zero + 1,
                  "base": _flat(node.v_leak) / tau_mem, "per_input": r * w_in / tau_mem, "gain": w_in / tau_syn}
    elif isinstance(node, LI):
        tau = _flat(node.tau)
        found |= {"leak": 1 / tau, "base": _flat(node.v_leak) / tau, "per_input": r / tau, "gain": r / tau}
    else:
        found |= {"per_input": r, "gain": r}
    if isinstance(node, (IF, LIF, CubaLIF)):
        found |= {"threshold": _flat(node.v_threshold), "refractory": _flat(node.refractory)}
        found["reset_scale"] = zero + (node.reset == "subtract")
        found["reset_to"] = _flat(node.v_reset) if node.reset == "v_reset" else zero
    return found


def _flat(value: Array) -> Array:
    return np.asarray(value, dtype=np.float64).reshape(-1)
