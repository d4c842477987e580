"""What the stand-ins simulate: current-based neurons by forward Euler on a grid, in whatever units they are given."""

from __future__ import annotations

import numpy as np


class Layer:
    """`n` neurons in `samples` runs at once. All settings are numbers or (n,). `late`: the membrane takes the current
    as it was before this step's input (hxtorch's LIF), else as it is after it (its EventPropLIF)."""

    def __init__(self, samples, n, dt, leak, tau_mem, tau_syn, threshold=None, reset=None, refractory=0.0, late=False):
        self.dt, self.leak, self.tau_mem, self.tau_syn = dt, leak, tau_mem, tau_syn
        self.threshold, self.reset, self.late = threshold, reset, late
        self.held = np.broadcast_to(np.rint(np.asarray(refractory) / dt), (n,))
        self.v = np.zeros((samples, n)) + leak
        self.i = np.zeros((samples, n))
        self.wait = np.zeros((samples, n))

    def step(self, arrived):
        """One step with what arrives in it, (samples, n); gives the spikes at its end."""
        before = self.i
        self.i = self.i * (1 - self.dt / self.tau_syn) + arrived
        current = before if self.late else self.i
        self.v = self.v + self.dt / self.tau_mem * (self.leak - self.v + current)
        if self.threshold is None:
            return np.zeros(self.v.shape, bool)
        waits = self.wait > 0
        self.v = np.where(waits, self.reset, self.v)
        self.wait = self.wait - waits
        fired = ~waits & (self.v > self.threshold)
        self.v = np.where(fired, self.reset, self.v)
        self.wait = np.where(fired, self.held, self.wait)
        return fired
