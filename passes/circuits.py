"""Which circuits of an analog chip each neuron takes: several, merged, where it has more inputs than one can take; and
one for each axon with a delay, whose neuron passes spikes on later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np

from ..ir.analog.chip import AnalogChip
from ..ir.diagnostics import Diagnostics, DoesNotFitError
from ..ir.network import Network
from ..ir.nodes import Array

__all__ = ["Places", "check_places", "circuits_each", "circuits_taken", "fan_in_of", "place_circuits"]


@dataclass(frozen=True, eq=False)
class Places:
    """`neurons`: by population, (n, circuits of one neuron); `relays`: by projection with delays, (n_source,). Of a
    network in several runs `runs`, by population, (n,), and `relays` (runs that the target is in, n_source)."""

    neurons: Mapping[str, Array]
    relays: Mapping[str, Array]
    runs: Mapping[str, Array] | None = None


def fan_in_of(network: Network, name: str, rows: Mapping[str, int]) -> int:
    """Signed inputs of a neuron of a population: its sources, each over its rows."""
    return sum(network.size(each.source) * rows[each.name] for each in network.incoming[name])


def circuits_each(network: Network, chip: AnalogChip, rows: Mapping[str, int], faults: Diagnostics) -> dict[str, int]:
    """Circuits of one neuron, by population: c = ceil(N / fan-in) of them for a neuron of N signed inputs
    (BrainScaleS-2: brainscales2-demos, ts_13-network_partitioning). Reports every population whose neurons need more
    than can be merged (SC374)."""
    merged = int(chip["neurons.merged"])
    needed = {name: max(1, ceil(fan_in_of(network, name, rows) / chip.fan_in)) for name in network.populations}
    for name, circuits in needed.items():
        if circuits > merged:
            faults.add("SC374", "a neuron has more inputs than the circuits that can be merged take", node=name,
                       value=f"{fan_in_of(network, name, rows)} signed inputs, {circuits} circuits",
                       limit=f"{chip.fan_in} a circuit, {merged} circuits",
                       remedy="Give it fewer inputs, or fewer rows a source.")
    return needed


def circuits_taken(network: Network, each: Mapping[str, int]) -> dict[str, int]:
    """Circuits of every population, and of every projection with delays. `each`: of one neuron."""
    takes = {name: circuits * network.size(name) for name, circuits in each.items()}
    return takes | {one.name: network.size(one.source) for one in network.projections if one.delay is not None}


def place_circuits(network: Network, chip: AnalogChip, rows: Mapping[str, int]) -> Places:
    """Circuits in the order of populations and neurons, then of delays.

    Raises:
        DoesNotFitError: as `circuits_each` reports; or the chip has too few (SC375), with what each takes.
    """
    faults = Diagnostics()
    needed = circuits_each(network, chip, rows, faults)
    takes = circuits_taken(network, needed)
    if (total := sum(takes.values())) > chip.circuits:
        faults.add("SC375", "the network takes more circuits than the chip has",
                   value=f"{total}: " + ", ".join(f"{name} {count}" for name, count in takes.items()),
                   limit=f"{chip.circuits} ({chip.figures['neurons.circuits'].source})",
                   remedy="Use fewer neurons or inputs, or let it run in parts: partition=True.")
    faults.raise_if_errors(DoesNotFitError)
    free = iter(np.split(np.arange(total), np.cumsum([*takes.values()])[:-1]))
    neurons = {name: next(free).reshape(network.size(name), circuits) for name, circuits in needed.items()}
    return Places(neurons, {each.name: next(free) for each in network.projections if each.delay is not None})


def check_places(network: Network, chip: AnalogChip, rows: Mapping[str, int], places: Places) -> None:
    """Counts again, from the places alone: no circuit twice, none beyond the chip, enough inputs for every neuron.

    Raises:
        DoesNotFitError: naming each fault (SC376).
    """
    faults = Diagnostics()
    every = [*places.neurons.items(), *places.relays.items()]
    taken = np.concatenate([each.reshape(-1) for _, each in every]) if every else np.zeros(0, int)
    found, times = np.unique(taken, return_counts=True)
    for circuit in found[times > 1][:8]:
        faults.add("SC376", "a circuit is two neurons'", value=int(circuit),
                   node=", ".join(name for name, each in every if circuit in each))
    if taken.size and not (taken.min() >= 0 and taken.max() < chip.circuits):
        faults.add("SC376", "a circuit is not on the chip", value=f"{taken.min()}..{taken.max()}",
                   limit=f"0..{chip.circuits - 1}")
    for name, each in places.neurons.items():
        inputs = sum(network.size(one.source) * rows[one.name] for one in network.projections if one.target == name)
        if each.shape[0] != network.size(name) or each.shape[1] * chip.fan_in < inputs:
            faults.add("SC376", "a population's neurons have too few circuits", node=name, value=str(each.shape),
                       limit=f"{network.size(name)} neurons, {inputs} signed inputs")
    for one in network.projections:
        if one.delay is not None and (one.name not in places.relays
                                      or len(places.relays[one.name]) != network.size(one.source)):
            faults.add("SC376", "an axon with a delay has no neuron for it", node=one.name)
    faults.raise_if_errors(DoesNotFitError)
