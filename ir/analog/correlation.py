"""The correlation sensors of BrainScaleS-2's synapses: what pairs of spikes leave on two capacitors, and what is read.

Between two resets a synapse collects, of the spikes of its source (pre) and its target (post),

    c+ = sum over post spikes of  eta+ exp(-(t_post - t_pre) / tau+),   t_pre the last pre spike since the post before
    c- = sum over pre spikes of   eta- exp(-(t_pre - t_post) / tau-),   t_post the last post spike since the pre before

so a spike pairs with its nearest neighbour alone, and with none that another pair has passed over (S. Billaudelle, From
Transistors to Learning Systems, dissertation, Heidelberg 2022, as in brainscales2-demos (11e31d8), fp_brainscales.rst).
Spikes at one instant are no pair. A read is of 8 bits and falls from a baseline as the capacitor fills:

    read = clip(rint(baseline[column] - c + noise), 0, 255)

eta and tau of each synapse and branch are off by fixed factors. calix (e573081) counts a synapse as calibrated whose
values are within a factor of 2 of the median (test_correlation.py), and says that causal and acausal branches of one
synapse differ, which its calibration bits cannot mend; so here each factor is lognormal, drawn for itself, with two
standard deviations at 2, and clipped there: an assumption. So are the baseline (calix refuses one below 120), its
spread over columns (below 3 LSB, calix) and the noise of a read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from ..nodes import Array

__all__ = ["BASELINE", "LARGEST_READ", "READ_NOISE", "CorrelationSensors", "Trains", "collected", "trains_of"]

LARGEST_READ = 255
BASELINE = 180.0
"""LSB, assumed."""
SPREAD = log(2.0) / 2
"""Of the logarithm of amplitudes and time constants."""
BASELINE_SPREAD = 3.0
"""LSB, a standard deviation over columns."""
READ_NOISE = 1.0
"""LSB, a standard deviation; assumed."""


@dataclass(frozen=True, slots=True, eq=False)
class Trains:
    """Spikes of `n` neurons in one sample, neuron after neuron: `times` (total,) seconds, ascending within a neuron;
    `offsets` (n + 1,): neuron i owns `offsets[i]:offsets[i + 1]`."""

    times: Array
    offsets: Array

    @property
    def n(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> Array:
        """(n,) spikes of each neuron."""
        return np.diff(self.offsets)

    @property
    def neurons(self) -> Array:
        """(total,) whose spike each is."""
        return np.repeat(np.arange(self.n), self.counts)


def trains_of(times: Array, neurons: Array, n: int) -> Trains:
    """Of events in any order."""
    order = np.lexsort((times, neurons))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(np.asarray(neurons, dtype=np.int64), minlength=n))])
    return Trains(np.asarray(times, dtype=np.float64)[order], offsets.astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationSensors:
    """Those of one row of synapses for each source: of the causal (0) and the acausal (1) branch `amplitude` (2,
    n_target, n_source), LSB that a pair at no distance leaves, and `tau` of the same shape, seconds; `baseline` (2,
    n_target) LSB; `noise`: standard deviation of a read, LSB."""

    amplitude: Array
    tau: Array
    baseline: Array
    noise: float

    @classmethod
    def ideal(cls, n_target: int, n_source: int, amplitude: float, tau: Sequence[float]) -> CorrelationSensors:
        """All alike, without noise. `tau`: seconds, of the causal and the acausal branch."""
        return cls(np.full((2, n_target, n_source), float(amplitude)),
                   np.broadcast_to(np.asarray(tau, dtype=np.float64)[:, None, None], (2, n_target, n_source)),
                   np.full((2, n_target), BASELINE), 0.0)

    @classmethod
    def drawn(cls, n_target: int, n_source: int, amplitude: float, tau: Sequence[float],
              seed: Sequence[int]) -> CorrelationSensors:
        """Those of one chip: `seed` says which, and which of its rows."""
        random, like = np.random.default_rng(list(seed)), cls.ideal(n_target, n_source, amplitude, tau)

        def factors() -> Array:
            found: Array = np.exp(np.clip(random.normal(0.0, SPREAD, like.tau.shape), -log(2.0), log(2.0)))
            return found

        return cls(like.amplitude * factors(), like.tau * factors(),
                   like.baseline + random.normal(0.0, BASELINE_SPREAD, like.baseline.shape), READ_NOISE)

    def read(self, collected: Array, random: np.random.Generator) -> Array:
        """(2, n_target, n_source) whole numbers 0..255, of what was `collected` (LSB, as `collected` gives it)."""
        level = self.baseline[:, :, None] - collected
        if self.noise:
            level = level + random.normal(0.0, self.noise, level.shape)
        return np.asarray(np.clip(np.rint(level), 0, LARGEST_READ).astype(np.int64))

    def read_empty(self, random: np.random.Generator) -> Array:
        """What is read right after a reset, of which a chip makes its baseline."""
        return self.read(np.zeros_like(self.amplitude), random)


def collected(sensors: CorrelationSensors, pre: Trains, post: Trains) -> Array:
    """(2, n_target, n_source) LSB: c+ and c- of a sample's spikes. The capacitors themselves do not fill up; a read
    does."""
    causal = _paired(post, pre, sensors.amplitude[0].T, sensors.tau[0].T)
    acausal = _paired(pre, post, sensors.amplitude[1], sensors.tau[1])
    return np.stack([causal.T, acausal])


def _paired(late: Trains, early: Trains, amplitude: Array, tau: Array) -> Array:
    """(n_early, n_late): sums over spikes of `late`, each with the last one of each neuron of `early` since the spike
    of its own neuron before."""
    found = np.zeros((early.n, late.n))
    if not len(late.times) or not len(early.times):
        return found
    before = np.full(len(late.times), -np.inf)
    before[1:] = late.times[:-1]
    starts = late.offsets[:-1][late.counts > 0]
    before[starts] = -np.inf
    last = np.empty((early.n, len(late.times)), dtype=np.int64)
    for neuron, (start, stop) in enumerate(zip(early.offsets[:-1], early.offsets[1:], strict=True)):
        last[neuron] = start + np.searchsorted(early.times[start:stop], late.times, "left") - 1
    there = last >= early.offsets[:-1, None]
    when = np.where(there, early.times[np.maximum(last, 0)], -np.inf)
    row, spike = np.nonzero(there & (when > before))
    column = late.neurons[spike]
    value = amplitude[row, column] * np.exp((when[row, spike] - late.times[spike]) / tau[row, column])
    np.add.at(found, (row, column), value)
    return found
