"""One chip among many: what its circuits deviate by, a fixed pattern that its serial number, the seed, says.

A pattern belongs to the circuits of the chip, not to a network: two networks that take the same circuits meet the same
deviations. Numbers come from a counter-based generator keyed by (seed, quantity, circuit).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from ...ir.analog.chip import AnalogChip
from ...ir.analog.network import AnalogNetwork, AnalogPopulation, AnalogProjection
from ...ir.network import Network, Population
from ...ir.nodes import Array

__all__ = ["MISMATCHES", "POTENTIALS", "QUANTITIES", "Device", "Mismatch"]

Mismatch = Literal["none", "published", "uncalibrated", "calibrated"]
"""`published`: what was published of calibrated chips, with nothing added. `uncalibrated`: spreads as they are before
any calibration. `calibrated`: those, after a calibration has been run (`runtime/analog/calibration.py`)."""
MISMATCHES: tuple[str, ...] = get_args(Mismatch)
QUANTITIES = ("threshold", "leak", "reset", "tau_mem", "tau_syn", "gain", "weight")
POTENTIALS = ("threshold", "leak", "reset")


@dataclass(frozen=True, eq=False)
class Device:
    """A chip with its serial number. Of potentials the deviation of a circuit is a fraction of the distance from rest
    to threshold, added; of everything else a factor, log-normal, so that none is negative.

    `left`: by quantity, (circuits,), what a calibration has left of it, or (runs, circuits) where there is one for
    each run; it takes the place of the pattern.
    """

    chip: AnalogChip
    seed: int
    mismatch: Mismatch
    left: Mapping[str, Array] | None = None

    @cached_property
    def patterns(self) -> Mapping[str, Array]:
        """By quantity, (circuits,) or (runs, circuits): what is added, or the factor."""
        found = {name: self._pattern(name) for name in QUANTITIES[:-1]}
        return found if self.left is None else {**found, **self.left}

    @cached_property
    def offsets(self) -> Array:
        """(circuits,) LSB, of the converter's channels: a fixed pattern as well."""
        if self.mismatch == "none":
            return np.zeros(self.chip.circuits)
        draw = np.random.Generator(np.random.Philox(key=[self.seed, 1 << 48]))
        return np.asarray(self.chip["readout.offset"] * draw.standard_normal(self.chip.circuits))

    def of(self, name: str, population: AnalogPopulation) -> Array:
        """(n,) of the neurons of a population: that of their first circuit, in their run."""
        pattern, circuit = self.patterns[name], population.place[:, 0]
        return pattern[circuit] if pattern.ndim == 1 else pattern[population.run, circuit]

    def perturbed(self, network: Network, held: AnalogNetwork) -> Network:
        """The network that this chip is, for one that it was to be, in the chip's form. Weights are left as they are.

        The charge of a spike does not depend on the time constants: a capacitance collects it.
        """
        return replace(network, populations={name: self._population(each, held.populations[name])
                                             for name, each in network.populations.items()})

    def synapses(self, held: AnalogNetwork, number: int) -> Array | None:
        """(n_target, n_source): factors of the weights of a projection; None where all are one."""
        std, _ = self._moments("weight")
        if std == 0:
            return None
        each = held.projections[number]
        target = held.populations[each.target]
        first = sum(one.codes.shape[1] * one.rows for one in held.projections[:number] if one.target == each.target)
        rows = [self._cells(target.place[neuron], first, each) for neuron in range(target.n)]
        return np.exp(std / np.sqrt(each.rows) * np.stack(rows)) if rows else None

    def _cells(self, circuits: Array, first: int, each: AnalogProjection) -> Array:
        """(n_source,) standard normal numbers of one neuron's synapses, each its place in a circuit's column."""
        column = np.concatenate([self._generator("weight", int(one)).standard_normal(self.chip.fan_in)
                                 for one in circuits])
        return np.asarray(column[first:first + each.codes.shape[1] * each.rows:each.rows])

    def _population(self, population: Population, held: AnalogPopulation) -> Population:
        value = {name: np.asarray(getattr(population, name), np.float64)
                 for name in ("r", "w_in", "tau_mem", "tau_syn", "v_leak")}
        slow, lasting, gain = (self.of(name, held) for name in ("tau_mem", "tau_syn", "gain"))
        leak = value["v_leak"] + held.span * self.of("leak", held)
        changed = {"tau_mem": value["tau_mem"] * slow, "tau_syn": value["tau_syn"] * lasting, "r": value["r"] * slow,
                   "w_in": value["w_in"] * lasting * gain, "v_leak": leak, "v0": leak}
        if population.spiking:
            changed["v_threshold"] = np.asarray(population.v_threshold) + held.span * self.of("threshold", held)
            after = np.zeros(held.n) if population.reset == "zero" else np.asarray(population.v_reset)
            changed["v_reset"] = after + held.span * self.of("reset", held)
            # a membrane that the pattern brings to rest above its threshold would fire for ever: it is set just below
            changed["v_reset"] = np.minimum(changed["v_reset"], changed["v_threshold"] - 1e-3 * held.span)
        return replace(population, reset="v_reset" if population.spiking else population.reset, **changed)

    def _moments(self, name: str) -> tuple[float, float]:
        """Standard deviation and mean of a quantity."""
        spread = self.chip.spreads[name]
        if self.mismatch == "none":
            return 0.0, 0.0
        return (spread.std.value, spread.mean.value) if self.mismatch == "published" else (spread.before.value, 0.0)

    def _pattern(self, name: str) -> Array:
        std, mean = self._moments(name)
        numbers = self._generator(name).standard_normal(self.chip.circuits)
        return mean + std * numbers if name in POTENTIALS else (1 + mean) * np.exp(std * numbers)

    def _generator(self, name: str, circuit: int = 0) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self.seed, QUANTITIES.index(name) << 32 | circuit]))
