"""Small random networks of QIF and theta neurons and of neurons written as text, for checks of gradients.

Weights are drawn in units of what makes a neuron of its kind fire a few times. Values of all parameters differ from
neuron to neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from random_nets import Array, Case

import spikec
from spikec import equations
from spikec.ir.nodes import QIF, Affine, CubaLI, Equations, FlowNeuron, Input, Linear, Node, Output, Theta

SIZES = 3, 4, 2
SAMPLES = 2
SPREAD = 0.1
"""Of the parameters of texts, from neuron to neuron, relative to the published values."""


@dataclass(frozen=True)
class Kind:
    """`record`: a text with its values, None where the kind is built in. `weight`: of an impulse, such that a few make
    a spike; `units` of the states; `duration`, seconds; `constant`: a constant current that is felt, 0 where there can
    be none; `loop`: weights of the recurrence, relative; `held`: whether it knows a refractory period. `low`, `high`:
    of weights, relative."""

    weight: float
    units: Mapping[str, float]
    duration: float
    record: Mapping[str, Any] | None = None
    constant: float = 0.0
    loop: float = 0.2
    held: bool = False
    low: float = 0.3
    high: float = 1.7
    pseudospikes: bool = False


_V_I = {"v": 1.0, "i": 1.0}
KINDS: dict[str, Kind] = {
    "QIF": Kind(3.0, {"v": 1.0}, 0.1, low=-0.3),
    "theta": Kind(0.7, {"v": 1.0}, 0.1, constant=0.2, low=-0.8, loop=0.4),
    "QIF, pseudospikes": Kind(2.0, {}, 0.05, low=-0.5, pseudospikes=True),
    "theta, pseudospikes": Kind(0.7, {}, 0.05, constant=0.2, low=-0.8, pseudospikes=True),
    "AdEx": Kind(1.2e-9, {"v": 10e-3, "u": 1e-10, "i": 1e-9}, 0.08, equations.adex(), 1e-8, held=True),
    "Izhikevich": Kind(12.0, {"v": 10e-3, "u": 1.0, "i": 1.0}, 0.08, equations.izhikevich(), 100.0),
    "adaptive LIF": Kind(4.0, _V_I | {"a": 0.2}, 0.08, equations.adaptive_lif(), 30.0, held=True),
    "resonate and fire": Kind(0.8, {"x": 1.0, "y": 1.0}, 0.06, equations.resonate_and_fire(), 30.0, low=-1.0),
    "CubaLIF as text": Kind(4.0, _V_I, 0.08, equations.cubalif(), 30.0, held=True),
    "LIF as text": Kind(-0.2, {"v": 1.0}, 0.08, equations.lif(v_leak=1.6), 10.0, held=True, low=0.1, high=1.0),
    "QIF as text": Kind(3.0, _V_I, 0.1, equations.qif(), 30.0),
}


def draw(name: str, recurrent: bool, seed: int) -> Case:
    """3-4-2 with 2 samples of 12 impulses; half of the nets have delays, constant currents or a refractory period where
    there can be any, or end in a readout."""
    kind = KINDS[name]
    rng = np.random.default_rng([seed, list(KINDS).index(name), int(recurrent)])
    delayed, biased, held, readout = rng.random(4) < 0.5
    delayed, readout = delayed and not kind.pseudospikes, readout and not kind.pseudospikes
    sources, n, outputs = SIZES
    hidden, last = (_neuron(name, kind, size, rng, bool(held)) for size in (n, outputs))
    nodes: dict[str, Node] = {
        "in": Input(shape=(sources,)), "fc1": _connection(kind, n, sources, rng, bool(delayed), bool(biased)),
        "hidden": hidden, "fc2": _connection(kind, outputs, n, rng, bool(delayed), bool(biased)), "last": last,
        "out": Output(shape=(outputs,)),
    }
    if readout:
        nodes["fc2"] = Linear(weight=rng.uniform(-1, 1, (outputs, n)),
                              delay=rng.uniform(0.5e-3, 5e-3, (outputs, n)) if delayed else None)
        tau_syn = rng.uniform(4e-3, 10e-3, outputs)
        nodes["last"] = CubaLI(shape=(outputs,), tau_mem=rng.uniform(10e-3, 20e-3, outputs), tau_syn=tau_syn,
                               w_in=tau_syn, r=rng.uniform(0.7, 1.4, outputs), v_leak=rng.uniform(-0.1, 0.1, outputs),
                               v0=rng.uniform(0, 0.2, outputs))
    edges = [("in", "fc1"), ("fc1", "hidden"), ("hidden", "fc2"), ("fc2", "last"), ("last", "out")]
    if recurrent:
        nodes["rec"] = Linear(weight=rng.normal(0, abs(kind.loop * kind.weight), (n, n)),
                              delay=rng.uniform(0.5e-3, 5e-3, (n, n)))
        edges += [("hidden", "rec"), ("rec", "hidden")]
    samples = [(rng.uniform(0, 0.8 * kind.duration, 12), rng.integers(0, sources, 12)) for _ in range(SAMPLES)]
    return Case(spikec.Graph(nodes, tuple(edges)), spikec.Events.from_samples(samples),
                ("hidden",) if readout else ("hidden", "last"), bool(readout), kind.duration, kind.units,
                kind.pseudospikes)


def _neuron(name: str, kind: Kind, size: int, rng: np.random.Generator, held: bool) -> FlowNeuron:
    if kind.record is None:
        common = {"shape": (size,), "tau": rng.uniform(15e-3, 25e-3, size)}
        if name.startswith("QIF"):
            return QIF(**common, v0=rng.uniform(-0.5, 0.6, size))
        return Theta(**common, i0=rng.uniform(0.6, 1.4, size), v0=rng.uniform(0.0, 1.0, size))
    texts = {key: value for key, value in kind.record.items() if isinstance(value, str)}
    values: dict[str, Array] = {key: value * rng.uniform(1 - SPREAD, 1 + SPREAD, size)
                                for key, value in kind.record.items() if isinstance(value, float)}
    for state, unit in kind.units.items():
        start = values.get(f"{state}0", np.zeros(size))
        values[f"{state}0"] = start + 0.1 * unit * rng.uniform(-1, 1, size)
    return Equations(shape=(size,), **texts, refractory=np.full(size, 2e-3 if held and kind.held else 0.0),
                     values=values)


def _connection(kind: Kind, size: int, sources: int, rng: np.random.Generator, delayed: bool, biased: bool) -> Node:
    weight = kind.weight * rng.uniform(kind.low, kind.high, (size, sources))
    delay = rng.uniform(0.5e-3, 5e-3, (size, sources)) if delayed else None
    if biased and kind.constant:
        return Affine(weight=weight, delay=delay, bias=kind.constant * rng.uniform(-1, 1, size))
    return Linear(weight=weight, delay=delay)
