"""What a population of a core starts from, so that it stands where the model starts when its first input arrives.

A population acts `latency` columns later than the model, and its constant current and leak act in those columns too.
So it starts at what those columns turn into the model's start: with u_j = a^j u_0 and v_j = b v_(j-1) + u_j + bias,
a, b the decays of the core. Rounding is what remains; it is told where the start lies out of reach.
"""

from __future__ import annotations

import numpy as np

from ..ir.diagnostics import Diagnostics
from ..ir.integer.network import LARGEST_MEMBRANE, IntegerPopulation
from ..ir.nodes import Array

__all__ = ["chip_start"]

_MOST = float(LARGEST_MEMBRANE)
_FORGETS = 1 / 4096
"""What a membrane keeps of a column that is to keep nothing."""


def chip_start(population: IntegerPopulation, u: Array, v: Array, latency: int, threshold: bool,
               faults: Diagnostics) -> tuple[Array | None, Array | None]:
    """u0 and v0, int64, or None for zeros. `u`, `v`: (n,), in the numbers of the core, what is wanted after `latency`
    columns without input; `threshold`: the population must not spike before that."""
    alpha, beta = (4095 - population.du) / 4096, (4096 - population.dv) / 4096
    bias = np.zeros(population.n) if population.bias is None else (
        population.bias.astype(np.float64) * 2**population.bias_exponent)
    beta = 0.0 if beta <= _FORGETS else beta
    u0 = u / alpha**latency if alpha else np.zeros_like(u)
    v0 = v.astype(np.float64) if beta else np.zeros_like(u)
    for column in range(latency, 0, -1) if beta else ():
        v0 = (v0 - bias - u0 * alpha**column) / beta
    # The core tests its threshold after each column; a membrane that would have to start above it starts below.
    highest = np.full(population.n, _MOST)
    if threshold:
        slack = float(population.threshold << 6)
        for column in range(1, latency + 1):
            free = sum(beta**(column - each) * (bias + u0 * alpha**each) for each in range(1, column + 1))
            if beta:
                highest = np.minimum(highest, (slack - free) / beta**column)
            elif alpha:  # the membrane is held in the current
                u0 = np.minimum(u0, (slack - bias) / alpha**column)
    limited = np.clip(v0, -_MOST, np.maximum(highest, -_MOST))
    limited_u = np.clip(u0, 1 - 2.0**23, 2.0**23 - 1)
    missed = np.abs(limited - v0) * beta**latency + np.abs(limited_u * alpha**latency - u)
    if (missed > 0.5).any():
        worst = int(missed.argmax())
        off = missed[worst] / max(1, population.threshold << 6)
        faults.add("SC323", "a strong constant current acts on the chip before the first input comes",
                   node=population.name, value=f"off by {off:.2g} thresholds at the start, neuron {worst}",
                   severity="warning", remedy="It passes with the first spikes; compare the outputs.")
    whole_u, whole_v = (np.trunc(each).astype(np.int64) for each in (limited_u, np.floor(limited)))
    return whole_u if whole_u.any() else None, whole_v if whole_v.any() else None
