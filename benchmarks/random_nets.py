"""Small random networks of IF, LIF and CubaLIF neurons, for checks of gradients; those of other kinds are in
`random_flows` and `random_graded`.

Weights are drawn in units of the threshold, so that layers fire a few times whatever the time constants. Where the
input moves the membrane itself (LIF and IF with impulses), it is inhibitory and a constant current drives the neurons:
their spikes are then smooth crossings, the only ones with a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import spikec
from spikec.ir.nodes import IF, LIF, Affine, CubaLI, CubaLIF, Input, Linear, Neuron, Node, Output

Array = np.ndarray[Any, np.dtype[Any]]
DURATION = 60e-3
BOX = 1e-3
KINDS = ("CubaLIF", "CubaLIF, box", "LIF, box", "IF, box", "LIF, current", "IF, current")
RATIOS = (1.0, 2.0, 1.3, 3.0, 4.5)
"""tau_mem / tau_syn: both closed forms and three others; for the kinds that have two time constants."""


@dataclass(frozen=True)
class Case:
    """`graph` and input events; `shown`: the spiking populations, hidden first. `units`: of the states at the end that
    are seen too. `pseudospikes`: whether those of the last population are seen."""

    graph: spikec.Graph
    events: spikec.Events
    shown: tuple[str, ...]
    readout: bool
    duration: float = DURATION
    units: Mapping[str, float] = field(default_factory=dict)
    pseudospikes: bool = False


def draw(kind: str, ratio: float, recurrent: bool, seed: int) -> Case:
    """4-5-3 with 3 samples; every second net ends in a readout, half have delays, biases, a refractory period, and
    parameters that differ from neuron to neuron."""
    rng = np.random.default_rng([seed, KINDS.index(kind), RATIOS.index(ratio), int(recurrent)])
    readout = kind.startswith("CubaLIF") and rng.random() < 0.5
    delays, biases, held = rng.random(3) < 0.5
    sizes = 4, 5, 3
    hidden = _neuron(kind, ratio, sizes[1], rng, held)
    last = _neuron(kind, ratio, sizes[2], rng, held)
    if readout:
        last = CubaLI(shape=last.shape, v0=last.v0, r=last.r, tau_mem=last.tau_mem, tau_syn=last.tau_syn,
                      v_leak=last.v_leak, w_in=last.w_in)
    nodes: dict[str, Node] = {
        "in": Input(shape=(sizes[0],)), "fc1": _connection(kind, hidden, sizes[0], 4.0, rng, delays, biases),
        "hidden": hidden, "fc2": _connection(kind, last, sizes[1], 2.0, rng, delays, biases), "last": last,
        "out": Output(shape=(sizes[2],)),
    }
    edges = [("in", "fc1"), ("fc1", "hidden"), ("hidden", "fc2"), ("fc2", "last"), ("last", "out")]
    if recurrent:
        nodes["rec"] = _connection(kind, hidden, sizes[1], 2.0, rng, True, False, strength=0.4)
        edges += [("hidden", "rec"), ("rec", "hidden")]
    grid = spikec.Discretization(BOX, spike="box") if "box" in kind else None
    samples = []
    for _ in range(3):
        count = 4 * sizes[0]
        samples.append((rng.uniform(0, 0.7 * DURATION, count), rng.integers(0, sizes[0], count)))
    return Case(spikec.Graph(nodes, tuple(edges), grid), spikec.Events.from_samples(samples),
                ("hidden",) if readout else ("hidden", "last"), readout)


def _neuron(kind: str, ratio: float, size: int, rng: np.random.Generator, held: bool) -> Any:
    def around(low: float, high: float) -> Array:
        return rng.uniform(low, high, size)

    common = {
        "shape": (size,), "r": around(0.7, 1.4), "v_threshold": around(0.8, 1.2), "v_reset": around(-0.3, 0.1),
        "refractory": np.full(size, 2e-3 if held else 0.0), "v0": around(0.0, 0.3),
    }
    if kind.startswith("IF"):
        return IF(**common)
    leak = around(-0.1, 0.2)
    if kind.startswith("LIF"):
        return LIF(**common, tau=around(10e-3, 25e-3), v_leak=leak)
    tau_syn = around(4e-3, 10e-3)
    return CubaLIF(**common, tau_syn=tau_syn, tau_mem=ratio * tau_syn, v_leak=leak, w_in=around(0.7, 1.4) * tau_syn)


def _connection(kind: str, target: Neuron, sources: int, spikes: float, rng: np.random.Generator, delayed: bool,
                biased: bool, strength: float = 1.0) -> Node:
    """Weights such that the target sees about `strength` times 2 thresholds from `spikes` spikes of each source."""
    size = target.shape[0]  # type: ignore[index]
    effect = _effect(kind, target)
    draw_from = (-0.5, -0.05) if "current" in kind else (-0.3, 1.3)
    weight = strength * rng.uniform(*draw_from, (size, sources)) * (2.0 / (0.5 * sources * min(spikes, 2.0)))
    weight = weight / effect[:, None]
    delay = rng.uniform(0.5e-3, 5e-3, (size, sources)) if delayed else None
    settings: dict[str, Any] = {"weight": weight, "delay": delay}
    if "current" in kind and strength == 1.0:
        settings["bias"] = rng.uniform(1.5, 2.5, size) * _constant_for_threshold(target)
    elif biased:
        settings["bias"] = rng.uniform(-0.1, 0.3, size) * _constant_for_threshold(target)
    return Affine(**settings) if "bias" in settings else Linear(**settings)


def _effect(kind: str, node: Neuron) -> Array:
    """Membrane that one input spike of weight 1 gives, roughly; per neuron."""
    if isinstance(node, CubaLI):
        apart = np.where(node.tau_mem == node.tau_syn, 1.001, node.tau_mem / node.tau_syn)
        top = node.r * node.w_in / node.tau_syn * apart ** (-apart / (apart - 1))
        return np.asarray(top * (BOX if "box" in kind else 1.0))
    charge = BOX if "box" in kind else 1.0
    return np.asarray(node.r * charge / (node.tau if isinstance(node, LIF) else 1.0))


def _constant_for_threshold(node: Neuron) -> Array:
    """The constant input that would just hold the membrane at the threshold (IF: reach it in 15 ms)."""
    if isinstance(node, CubaLIF | CubaLI):
        return np.asarray(1.0 / (node.r * node.w_in))
    return np.asarray(1.0 / (node.r if isinstance(node, LIF) else 15e-3 * node.r))


def from_rest(case: Case) -> Case:
    """The same net without initial voltages, leaks and biases: its spikes are due to its inputs alone."""
    nodes: dict[str, Node] = {}
    for name, node in case.graph.nodes.items():
        if isinstance(node, CubaLI):
            zero = np.zeros(node.shape)  # type: ignore[arg-type]
            nodes[name] = replace(node, v0=zero, v_leak=zero)
        else:
            nodes[name] = Linear(weight=node.weight, delay=node.delay) if isinstance(node, Affine) else node
    return replace(case, graph=spikec.Graph(nodes, case.graph.edges, case.graph.discretization))
