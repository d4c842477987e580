"""What a program does on calibration data: how often neurons spike, and how far their states go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...ir.diagnostics import Diagnostics
from ...ir.integer.network import LARGEST_MEMBRANE
from ...ir.nodes import Array
from ...passes.quantise import Quantised

__all__ = ["Calibration", "calibrated", "largest"]

_ROUNDS = 8
_BYTES = 1 << 28
"""Of states that are looked at at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """`rates`: spikes a column, (n,), by input and population. `peaks`: the largest magnitudes of u and of v, by
    population, in the numbers of the chip, which hold 2^23 - 1."""

    rates: Mapping[str, Array]
    peaks: Mapping[str, tuple[float, float]]


def calibrated(make: Callable[[Mapping[str, Array], Mapping[str, float]], Quantised], rasters: Mapping[str, Array],
               steps: int, faults: Diagnostics) -> tuple[Quantised, Calibration]:
    """Quantises so that no current can wrap around, looks at what the chip does, and quantises again with that, until
    no state leaves its register.

    Args:
        make: from rates, and the largest magnitude of states in thresholds, by population; both empty at first.
        faults: gets SC325 where a state still does after some rounds.
    """
    quantised = make({}, {})
    known = _measured(quantised, rasters, steps)
    for _ in range(_ROUNDS):
        ranges = {name: _range(peaks, quantised.plan.thresholds[name]) for name, peaks in known.peaks.items()}
        quantised = make(known.rates, ranges)
        known = _measured(quantised, rasters, steps)
        if not any(_is_full(peaks) for peaks in known.peaks.values()):
            return quantised, known
    for name, peaks in known.peaks.items():
        if _is_full(peaks):
            faults.add("SC325", "a state leaves its register of 24 bits on the calibration data", node=name,
                       value=f"|u| {peaks[0]:.4g}, |v| {peaks[1]:.4g}", limit=f"{LARGEST_MEMBRANE}", severity="warning",
                       remedy="Scale the inhibitory weights down; a membrane is clipped, a current wraps around.")
    return quantised, known


def _is_full(peaks: tuple[float, float]) -> bool:
    return max(peaks) >= 0.98 * LARGEST_MEMBRANE


def _range(peaks: tuple[float, float], threshold: float) -> float:
    return max(peaks) * (4.0 if _is_full(peaks) else 1.0) / (64 * threshold)


def _measured(quantised: Quantised, rasters: Mapping[str, Array], steps: int) -> Calibration:
    from ...runtime.integer.engine import IntegerEngine

    network = quantised.network
    engine = IntegerEngine(network)
    batch = max((len(raster) for raster in rasters.values()), default=1)
    late = max((each.latency for each in quantised.populations.values()), default=0)
    columns, neurons = steps + late, sum(each.n for each in network.populations.values())
    part = max(1, _BYTES // max(1, 8 * columns * neurons))
    spikes = {name: np.zeros(each.n) for name, each in network.populations.items()}
    peaks = dict.fromkeys(network.populations, (0.0, 0.0))
    for first in range(0, batch, part):
        result = engine.run({name: raster[first:first + part] for name, raster in rasters.items()}, columns,
                            states=tuple(network.populations))
        for name, (u, v) in peaks.items():
            spikes[name] += result.spikes[name].sum((0, 1), dtype=np.int64)
            peaks[name] = (max(u, largest(result.u[name])), max(v, largest(result.v[name])))
    total = max(1, batch * steps)
    rates = {name: (raster != 0).reshape(-1, raster.shape[-1]).sum(0) / total for name, raster in rasters.items()}
    return Calibration(rates | {name: counts / total for name, counts in spikes.items()}, peaks)


def largest(values: Array) -> float:
    """The largest magnitude."""
    return float(max(values.max(initial=0), -int(values.min(initial=0))))
