"""The noise of a sleep in continuous time: Poisson spikes of both signs."""

from __future__ import annotations

import numpy as np

from .rule import Phase

__all__ = ["Spike", "noise_spikes"]

Spike = tuple[float, str, int, int]
"""When, from which population or input, which neuron, and with what sign."""


def noise_spikes(phase: Phase, interval: float, n: int, source: str, draw: np.random.Generator) -> list[Spike]:
    """Poisson spikes of both signs of `n` neurons over a phase, of one rate that is drawn first."""
    low, high = (phase.noise.low, phase.noise.high) if phase.noise is not None else (0.0, 0.0)
    rate = draw.uniform(low, high) / interval
    found: list[Spike] = []
    for sign in (1, -1):
        total = int(draw.poisson(rate * phase.duration * n))
        times, neurons = draw.uniform(0.0, phase.duration, total), draw.integers(0, n, total)
        found += [(float(time), source, int(neuron), sign) for time, neuron in zip(times, neurons, strict=True)]
    return sorted(found)
