"""Networks of graded synapses for tests: theta neurons, all to all, and leaky ones that hear them and answer."""

from __future__ import annotations

import numpy as np

import spikec

DT = 1e-3


def graph(seed: int = 0, n: int = 4, leaky: int = 3, inputs: int = 2, bias: float = 0.5) -> spikec.Graph:
    """A few spikes a neuron within 20 ms of `signals`."""
    draw = np.random.default_rng(seed)
    net = spikec.Builder()
    source = net.input("in", inputs)
    theta = net.graded_theta("theta", n, tau=draw.uniform(4e-3, 8e-3, n), tau_syn=draw.uniform(5e-3, 2e-2, n), r=1.2,
                             zone=draw.uniform(0.6, 2.0, n), v0=draw.uniform(-1, 1, n))
    net.connect(source, theta, weight=draw.normal(0, 1, (n, inputs)), bias=draw.normal(bias, 0.3, n), name="inward")
    net.connect(theta, theta, weight=draw.normal(0, 0.01, (n, n)), name="recurrent")
    parts = [net.linear("of_theta", theta, weight=draw.normal(0, 0.02, (2, n)), bias=[0.1, 0.2])]
    if leaky:
        line = net.graded_li("line", leaky, tau=5e-3, tau_syn=1e-2, zone=0.7, v_gate=0.5, v_leak=0.1)
        net.connect(theta, line, weight=draw.normal(0, 0.02, (leaky, n)), name="on")
        net.connect(line, theta, weight=draw.normal(0, 0.005, (n, leaky)), name="back")
        parts.append(net.linear("of_line", line, weight=draw.normal(0, 0.02, (2, leaky))))
    out = net.output("out", parts[0])
    for part in parts[1:]:
        net.connect(part, out)
    return net.build()


def signals(seed: int = 1, batch: int = 2, samples: int = 21, inputs: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 1.0, (batch, samples, inputs))
