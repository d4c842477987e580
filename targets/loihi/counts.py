"""Spikes and operations of a run, under the names and with the meaning of NeuroBench 2.3 (neurobench/metrics/).

All are means over samples, as there. `SynapticOperations`: a spike that meets a weight that is not zero, of inputs too;
biases are none. They are `Effective_MACs` in the columns in which a projection takes graded spikes and any sample of
the run sends it something else than -1, 0 or 1, else `Effective_ACs`; `Dense` counts every synapse in every column.
`ActivationSparsity`: share of neurons and columns without a spike. `MembraneUpdates`: neurons and columns after which
the membrane is another than before, the first column counting whole. `ParameterCount`: weights, delays and biases that
are stored; `Footprint`: their bytes in the fields of the chip, where NeuroBench has those of the tensors.
`ConnectionSparsity`: share of weights that are zero, of a sparse matrix also those that are not stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...ir.integer.inputs import Rasters, check_rasters
from ...ir.integer.network import IntegerConv, IntegerNetwork
from ...ir.integer.step import IntegerResult
from ...ir.nodes import Array
from .operations import Synapses

__all__ = ["Activity", "Counts", "PopulationCounts", "ProjectionCounts"]

_DELAY_BITS, _BIAS_BITS, _EXPONENT_BITS = 6, 13, 3
_PART = 1 << 24
"""Membranes compared at once."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Activity:
    """What inputs and populations send in a run of `steps` columns: `spikes` (n,) a sample. `graded` (n,): by input,
    those of them in columns with values beyond -1, 0 and 1. `updates` (n,) a sample: membranes that change, by
    population, where the run kept its membranes."""

    samples: int
    steps: int
    spikes: Mapping[str, Array]
    graded: Mapping[str, Array] = field(default_factory=dict)
    updates: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, network: IntegerNetwork, inputs: Rasters, result: IntegerResult) -> Activity:
        """The activity of a run whose result has the spikes of all populations.

        Raises:
            BadInputError: a raster is malformed (SC403).
        """
        steps = next((each.shape[1] for each in result.spikes.values()), 0)
        rasters, batch, _ = check_rasters(network, inputs, steps)
        spikes = {name: np.count_nonzero(raster[:, :steps], axis=(0, 1)) / max(batch, 1)
                  for name, raster in rasters.items()}
        spikes |= {name: each.sum(axis=(0, 1), dtype=np.int64) / max(batch, 1)
                   for name, each in result.spikes.items()}
        graded = {name: np.count_nonzero(raster[:, :steps][:, beyond], axis=(0, 1)) / max(batch, 1)
                  for name, raster in rasters.items()
                  if (beyond := (np.abs(raster[:, :steps].astype(np.int64)) > 1).any(axis=(0, 2))).any()}
        updates = {name: _changes(v) / max(batch, 1) for name, v in result.v.items()}
        return cls(samples=batch, steps=steps, spikes=spikes, graded=graded, updates=updates)

    @classmethod
    def joined(cls, parts: Sequence[Activity]) -> Activity:
        """The activity of runs of the same network over parts of a batch."""
        total = sum(each.samples for each in parts)
        kinds = {kind: {name: sum(getattr(each, kind).get(name, 0.0) * (each.samples / max(total, 1)) for each in parts)
                        for name in dict.fromkeys(key for each in parts for key in getattr(each, kind))}
                 for kind in ("spikes", "graded", "updates")}
        return cls(samples=total, steps=parts[0].steps if parts else 0, **kinds)

    @classmethod
    def of_rates(cls, network: IntegerNetwork, rates: Mapping[str, Array]) -> Activity:
        """One column at these rates (n,), spikes a column; what has none is silent."""
        names = (*network.inputs, *network.populations)
        return cls(samples=0, steps=1, spikes={
            name: np.asarray(rates[name], dtype=np.float64) if name in rates else np.zeros(network.size(name))
            for name in names})


@dataclass(frozen=True, slots=True)
class PopulationCounts:
    """`spikes` a sample; `rate`: spikes a neuron and column; `silent`: neurons that never fire; `busiest`: the highest
    rate of one neuron. `membrane_updates`: None of an input, and where the membranes of the run are not known."""

    name: str
    neurons: int
    spikes: float
    rate: float
    busiest: float
    silent: int
    activation_sparsity: float
    membrane_updates: float | None


@dataclass(frozen=True, slots=True)
class ProjectionCounts:
    """Operations a sample. `synapses`: with a weight that is not zero; `weights`: numbers that are stored."""

    name: str
    source: str
    target: str
    weights: int
    synapses: int
    connection_sparsity: float
    effective_acs: float
    effective_macs: float
    dense: float

    @property
    def effective(self) -> float:
        return self.effective_acs + self.effective_macs


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A sample is `steps` columns. `samples`: over which it is a mean; 0: by rates, and for one column. `arriving` (n,)
    by population: operations a sample at each neuron. `activity`: what was counted."""

    samples: int
    steps: int
    inputs: tuple[PopulationCounts, ...]
    populations: tuple[PopulationCounts, ...]
    projections: tuple[ProjectionCounts, ...]
    parameter_count: int
    footprint: int
    connection_sparsity: float
    arriving: Mapping[str, Array]
    activity: Activity

    @classmethod
    def count(cls, network: IntegerNetwork, activity: Activity) -> Counts:
        """Counts of a network with this activity."""
        arriving = {name: np.zeros(population.n) for name, population in network.populations.items()}
        projections = []
        zeros = stored = 0
        for each in network.projections:
            sizes = network.size(each.source), network.size(each.target)
            sent = activity.spikes[each.source]
            graded = activity.graded.get(each.source) if each.message_bits else None
            there = Synapses.of(each)
            taken = there.operations(sent)
            arriving[each.target] += taken
            macs = float(there.operations(graded).sum()) if graded is not None else 0.0
            possible = there.dense(*sizes)
            weights = there.there.size if isinstance(each.connection, IntegerConv) else possible
            zero = weights - there.nonzero
            zeros, stored = zeros + zero, stored + weights
            projections.append(ProjectionCounts(
                name=each.name, source=each.source, target=each.target, weights=int(each.connection.weight.size),
                synapses=there.count, connection_sparsity=zero / max(weights, 1),
                effective_acs=float(taken.sum()) - macs, effective_macs=macs, dense=float(possible * activity.steps)))
        parameters, bits = _parameters(network)
        return cls(
            samples=activity.samples, steps=activity.steps,
            inputs=tuple(_row(name, activity) for name in network.inputs),
            populations=tuple(_row(name, activity) for name in network.populations),
            projections=tuple(projections), parameter_count=parameters, footprint=bits,
            connection_sparsity=round(zeros / max(stored, 1), 4), arriving=arriving, activity=activity)

    @property
    def synaptic_operations(self) -> dict[str, float]:
        """`Effective_MACs`, `Effective_ACs` and `Dense` a sample."""
        return _synaptic(self.projections)

    @property
    def effective(self) -> float:
        """Operations a sample, of both kinds."""
        return sum(each.effective for each in self.projections)

    @property
    def spikes(self) -> float:
        """Of populations, a sample."""
        return sum(each.spikes for each in self.populations)

    @property
    def neurons(self) -> int:
        """Of all populations."""
        return sum(each.neurons for each in self.populations)

    @property
    def neuron_updates(self) -> float:
        """Neurons times columns: what the chip goes through, whether a membrane changes or not."""
        return float(self.steps * self.neurons)

    @property
    def activation_sparsity(self) -> float:
        """Share of neurons and columns without a spike."""
        return 1 - self.spikes / self.neuron_updates if self.neuron_updates else 0.0

    @property
    def membrane_updates(self) -> float | None:
        """A sample; None where the membranes of the run are not known."""
        known = [each.membrane_updates for each in self.populations]
        return None if None in known else sum(each for each in known if each is not None)

    def as_dict(self) -> dict[str, Any]:
        """NeuroBench's names for the whole, by population and by projection, as plain values."""
        return {
            "samples": self.samples, "steps": self.steps,
            "ParameterCount": self.parameter_count, "Footprint": self.footprint,
            "ConnectionSparsity": self.connection_sparsity, "ActivationSparsity": self.activation_sparsity,
            "SynapticOperations": self.synaptic_operations, "MembraneUpdates": self.membrane_updates,
            "NeuronUpdates": self.neuron_updates, "Spikes": self.spikes,
            "inputs": {each.name: asdict(each) for each in self.inputs},
            "populations": {each.name: asdict(each) | {"SynapticOperations": _synaptic(
                [way for way in self.projections if way.target == each.name])} for each in self.populations},
            "projections": {each.name: asdict(each) for each in self.projections},
        }


def _synaptic(projections: Any) -> dict[str, float]:
    return {"Effective_MACs": sum(each.effective_macs for each in projections),
            "Effective_ACs": sum(each.effective_acs for each in projections),
            "Dense": sum(each.dense for each in projections)}


def _changes(v: Array) -> Array:
    """(n,): over samples and columns, how often the membrane changes."""
    batch, steps, n = v.shape
    found = np.full(n, batch if steps else 0, dtype=np.int64)
    part = max(1, _PART // max(1, steps * n))
    for first in range(0, batch if steps > 1 else 0, part):
        found += np.count_nonzero(v[first:first + part, 1:] != v[first:first + part, :-1], axis=(0, 1))
    return found


def _row(name: str, activity: Activity) -> PopulationCounts:
    sent = activity.spikes[name]
    rates = sent / max(activity.steps, 1)
    updates = float(activity.updates[name].sum()) if name in activity.updates else None
    rate = float(rates.mean()) if len(rates) else 0.0
    return PopulationCounts(name=name, neurons=len(sent), spikes=float(sent.sum()), rate=rate,
                            busiest=float(rates.max(initial=0.0)), silent=int(np.count_nonzero(sent == 0)),
                            activation_sparsity=1 - rate, membrane_updates=updates)


def _parameters(network: IntegerNetwork) -> tuple[int, int]:
    """Numbers that are stored, and their bytes in the fields of the chip."""
    count = size = 0
    for each in network.projections:
        weights = int(each.connection.weight.size)
        delays = 0 if each.delay is None else int(each.delay.size)
        count += weights + delays
        size += (weights * each.weight_bits + 7) // 8 + (delays * _DELAY_BITS + 7) // 8
    for population in network.populations.values():
        if population.bias is not None:
            count += population.n
            size += (population.n * (_BIAS_BITS + _EXPONENT_BITS) + 7) // 8
    return count, size
