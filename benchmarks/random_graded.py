"""Small random networks of graded synapses, for checks of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from random_nets import Array

import spikec

KINDS = ("GradedTheta", "GradedLI", "GradedTheta, GradedLI")
DT = 1e-3
INPUTS = 2


@dataclass(frozen=True)
class GradedCase:
    """`given`: signals (batch, samples, inputs), or impulses. `shown`: the populations."""

    graph: spikec.Graph
    given: Array | spikec.Events
    samples: int
    shown: tuple[str, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return (self.samples - 1) * DT


def draw(kind: str, recurrent: bool, impulses: bool, seed: int) -> GradedCase:
    """3 neurons, or 3 angles that 2 leaky ones hear; every value differs from neuron to neuron, zones from 0.1 to 2."""
    rng = np.random.default_rng([seed, KINDS.index(kind), int(recurrent), int(impulses)])
    net = spikec.Builder()
    source, n, samples = net.input("in", INPUTS), 3, 16
    first = _neurons(net, "hidden", kind == "GradedLI", n, rng)
    net.connect(source, first, weight=rng.normal(0.5, 0.7, (n, INPUTS)) * (5e-3 if impulses else 1.0),
                bias=rng.uniform(0.3, 1.5, n), name="inward")
    last, size, shown = first, n, ["hidden"]
    if "," in kind:
        last, size = _neurons(net, "line", True, 2, rng), 2
        net.connect(first, last, weight=rng.normal(0, 0.02, (2, n)), bias=rng.uniform(0.3, 0.8, 2), name="on")
        shown.append("line")
        if recurrent:
            net.connect(last, first, weight=rng.normal(0, 0.005, (n, 2)), name="back")
    if recurrent:
        net.connect(first, first, weight=rng.normal(0, 0.01, (n, n)), name="recurrent")
    net.output("out", net.linear("readout", last, weight=rng.normal(0, 0.05, (2, size)), bias=rng.normal(0, 0.1, 2)))
    given: Any = rng.normal(0.5, 0.8, (1, samples, INPUTS))
    if impulses:
        given = spikec.Events.from_samples([(rng.uniform(0, 0.8 * (samples - 1) * DT, 6), rng.integers(0, INPUTS, 6))])
    return GradedCase(net.build(), given, samples, tuple(shown))


def _neurons(net: spikec.Builder, name: str, leaky: bool, n: int, rng: np.random.Generator) -> Any:
    common = {"tau": rng.uniform(4e-3, 8e-3, n), "tau_syn": rng.uniform(5e-3, 15e-3, n), "r": rng.uniform(0.8, 1.2, n),
              "zone": np.exp(rng.uniform(np.log(0.1), np.log(2.0), n))}
    if not leaky:
        return net.graded_theta(name, n, **common, v0=rng.uniform(-1, 1, n))
    return net.graded_li(name, n, **common, v0=rng.uniform(0, 0.4, n), v_leak=rng.uniform(-0.1, 0.1, n),
                         v_gate=rng.uniform(0.4, 0.6, n))


def of_one_zone(kind: str, zone: float, seed: int) -> GradedCase:
    """4 neurons, all to all, 40 ms, 2 samples: for errors of a zone and a tolerance."""
    rng = np.random.default_rng(seed)
    net = spikec.Builder()
    common = {"tau": 5e-3, "tau_syn": np.linspace(6e-3, 14e-3, 4), "zone": zone}
    hidden = net.graded_li("hidden", 4, **common, v_gate=0.5) if kind == "GradedLI" else net.graded_theta(
        "hidden", 4, **common)
    net.connect(net.input("in", INPUTS), hidden, weight=rng.normal(0.5, 0.5, (4, INPUTS)),
                bias=rng.uniform(0.1, 0.4, 4), name="inward")
    net.connect(hidden, hidden, weight=rng.normal(0, 0.02, (4, 4)), name="recurrent")
    net.output("out", net.linear("readout", hidden, weight=rng.normal(0, 0.01, (2, 4))))
    return GradedCase(net.build(), rng.normal(0.5, 0.8, (2, 41, INPUTS)), 41, ("hidden",))
