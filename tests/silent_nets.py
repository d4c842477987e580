"""Networks whose labels are silent at first: of linear neurons, and of such as have no membrane to push."""

from __future__ import annotations

import numpy as np

import spikec


def made(kind: str, recurrent: bool = False, readout: bool = False) -> spikec.Builder:
    net, draw = spikec.Builder(), np.random.default_rng(3)

    def layer(name: str, size: int) -> spikec.Handle:
        if kind == "theta":
            return net.theta(name, size, tau=20e-3)
        if kind == "lif":
            return net.cubalif(name, size, tau_mem=20e-3, tau_syn=10e-3)
        spikes = {} if readout and name == "label" else {"threshold": "v > 1", "reset": "v = 0"}
        return net.equations(name, size, "dv/dt = (i - v)/tau\ndi/dt = -i/tau_s", receive="i", tau=20e-3, tau_s=10e-3,
                             **spikes)

    hidden, label = layer("hidden", 8), layer("label", 3)
    net.connect(net.input("in", 4), hidden, weight=draw.uniform(0, 1.5, (8, 4)))
    net.connect(hidden, label, weight=draw.uniform(-0.1, 0.1, (3, 8)))
    if recurrent:
        net.connect(label, label, weight=np.zeros((3, 3)))
    net.output("out", label)
    return net


def theta() -> spikec.Builder:
    return made("theta")


def equations() -> spikec.Builder:
    return made("equations")


def shown() -> spikec.Builder:
    return made("equations", readout=True)


def lif() -> spikec.Builder:
    return made("lif")
