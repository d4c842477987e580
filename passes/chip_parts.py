"""A network that is larger than an analog chip, cut into parts that run on it one after the other; spikes that an
earlier run recorded are replayed into the next (brainscales2-demos, ts_13-network_partitioning).

Populations of a loop run together. Others are cut between neurons wherever a chip is full. What runs together takes no
spikes of each other but within a loop, so that all sources of a neuron come to it over the chip's links alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx
import numpy as np

from ..ir.analog.chip import AnalogChip
from ..ir.analog.schedule import Part, Run, Schedule
from ..ir.diagnostics import Diagnostics, DoesNotFitError
from ..ir.network import Network
from .circuits import Places, circuits_each, fan_in_of

__all__ = ["check_schedule", "cut_into_runs", "places_of"]


def cut_into_runs(network: Network, chip: AnalogChip, rows: Mapping[str, int]) -> Schedule:
    """Runs are filled one by one. What is ready, that is takes spikes of earlier runs and inputs alone, goes onto the
    chip in the order of what still hangs on it: the runs, then the circuits, of the longest path that begins with it.

    Raises:
        DoesNotFitError: a neuron has more inputs than can be merged (SC374); a loop, or a single neuron with the delays
            of its inputs, takes more circuits than the chip has (SC375).
    """
    faults = Diagnostics()
    each = circuits_each(network, chip, rows, faults)
    _check_sizes(network, chip, each, faults)
    faults.raise_if_errors(DoesNotFitError)
    left = {name: network.size(name) for name in network.populations}
    runs: list[Run] = []
    while any(left.values()):
        filling = _Filling(network, chip.circuits, each)
        ready = [component for component in _by_urgency(network, chip, each, left)
                 if any(left[name] for name in component)
                 and not any(left[source] for source in _before(network, component))]
        for component in ready:
            for name, count in filling.take(component, left).items():
                left[name] -= count
        runs.append(filling.run())
    return Schedule(chip.circuits, tuple(runs))


def places_of(network: Network, schedule: Schedule) -> Places:
    """Where each neuron lies, and in which run."""
    neurons, runs = dict(schedule.place_of), dict(schedule.run_of)
    for name in network.populations.keys() - neurons.keys():  # populations of no neurons
        neurons[name], runs[name] = np.zeros((0, 1), np.int64), np.zeros(0, np.int64)
    return Places(neurons, schedule.relays_of, runs)


def check_schedule(network: Network, chip: AnalogChip, rows: Mapping[str, int], schedule: Schedule) -> None:
    """Counts again, from the schedule alone: each neuron in one run, each source in an earlier one or in its loop, no
    circuit twice in a run, none beyond the chip, enough inputs for every neuron, and what is sent is what is wanted.

    Raises:
        DoesNotFitError: naming each fault (SC376).
    """
    faults = Diagnostics()
    _check_neurons(network, chip, rows, schedule, faults)
    for number, run in enumerate(schedule.runs):
        _check_circuits(chip, run, number, faults)
        _check_sources(network, schedule, number, faults)
    if schedule.circuits != chip.circuits:
        faults.add("SC376", "the schedule is one for another chip", value=schedule.circuits, limit=str(chip.circuits))
    faults.raise_if_errors(DoesNotFitError)


class _Filling:
    """A run in the making: circuits from 0 on."""

    def __init__(self, network: Network, circuits: int, each: Mapping[str, int]) -> None:
        self.network, self.circuits, self.each = network, circuits, each
        self.parts: list[tuple[str, int, int]] = []  # population, first neuron and the one after the last

    @property
    def free(self) -> int:
        taken = sum((last - first) * self.each[name] for name, first, last in self.parts)
        return self.circuits - taken - sum(_relays(self.network, name) for name, _, _ in self.parts)

    def take(self, component: tuple[str, ...], left: Mapping[str, int]) -> dict[str, int]:
        """As many neurons as fit, of a loop all or none, by population."""
        if _is_loop(self.network, component):
            needed = sum(left[name] * self.each[name] + _relays(self.network, name) for name in component)
            taken = {name: left[name] for name in component} if needed <= self.free else {}
        else:
            (name,) = component
            taken = {name: max(0, min(left[name], (self.free - _relays(self.network, name)) // self.each[name]))}
        taken = {name: count for name, count in taken.items() if count}
        for name, count in taken.items():
            first = self.network.size(name) - left[name]
            self.parts.append((name, first, first + count))
        return taken

    def run(self) -> Run:
        parts, place, here = [], 0, {name for name, _, _ in self.parts}
        for name, first, last in sorted(self.parts, key=lambda each: [*self.network.populations].index(each[0])):
            size = (last - first) * self.each[name]
            parts.append(Part(name, np.arange(first, last), np.arange(place, place + size).reshape(last - first, -1)))
            place += size
        relays, onto = {}, [one for one in self.network.projections if one.target in here]
        for one in onto:
            if one.delay is not None:
                relays[one.name] = np.arange(place, place + self.network.size(one.source))
                place += len(relays[one.name])
        wanted = {one.source for one in onto} - here
        return Run(tuple(parts), {one.name: one.target for one in onto}, relays, tuple(
            name for name in (*self.network.inputs, *self.network.populations) if name in wanted))


def _check_sizes(network: Network, chip: AnalogChip, each: Mapping[str, int], faults: Diagnostics) -> None:
    """Reports what cannot be cut, and is larger than the chip (SC375)."""
    for component in network.schedule:
        loop = _is_loop(network, component)
        takes = {name: each[name] * (network.size(name) if loop else min(1, network.size(name))) for name in component}
        takes |= {one.name: network.size(one.source) for name in component for one in network.incoming[name]
                  if one.delay is not None and network.size(name)}
        if (total := sum(takes.values())) > chip.circuits:
            what = "a loop, which cannot be cut," if loop else "a neuron with the delays of its inputs"
            faults.add("SC375", f"{what} takes more circuits than the chip has", node=", ".join(component),
                       value=f"{total}: " + ", ".join(f"{name} {count}" for name, count in takes.items()),
                       limit=f"{chip.circuits} ({chip.figures['neurons.circuits'].source})",
                       remedy="Use fewer neurons or inputs.")


def _by_urgency(network: Network, chip: AnalogChip, each: Mapping[str, int],
                left: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Components of the network, those first on which the most hangs; then in the network's order. `left`: neurons
    that are in no run yet."""
    hangs: dict[str, tuple[float, int]] = {}
    for component in reversed(network.schedule):
        runs, circuits = max((hangs[one.target] for one in network.projections
                              if one.source in component and one.target not in component), default=(0.0, 0))
        own = sum(each[name] * left[name] for name in component)
        hangs |= dict.fromkeys(component, (runs + max(1.0, own / chip.circuits), circuits + own))
    return sorted(network.schedule, key=lambda component: hangs[component[0]], reverse=True)


def _before(network: Network, component: tuple[str, ...]) -> set[str]:
    """Populations of which a component takes spikes, without its own."""
    return {one.source for name in component for one in network.incoming[name]
            if one.source in network.populations and one.source not in component}


def _is_loop(network: Network, component: tuple[str, ...]) -> bool:
    return len(component) > 1 or any(one.source == component[0] for one in network.incoming[component[0]])


def _relays(network: Network, name: str) -> int:
    """Circuits that the delays of a population's inputs take in each run that it is in."""
    return sum(network.size(one.source) for one in network.incoming[name] if one.delay is not None)


def _check_neurons(network: Network, chip: AnalogChip, rows: Mapping[str, int], schedule: Schedule,
                   faults: Diagnostics) -> None:
    parts = [part for run in schedule.runs for part in run.parts]
    for name in {part.population for part in parts} - network.populations.keys():
        faults.add("SC376", "a run has neurons of a population that there is not", node=name)
    for name, population in network.populations.items():
        own = [part for part in parts if part.population == name]
        neurons = np.concatenate([np.zeros(0, np.int64), *(part.neurons for part in own)])
        if not np.array_equal(np.sort(neurons), np.arange(population.n)):
            faults.add("SC376", "each neuron is to be in one run", node=name, value=f"{len(neurons)} in the runs",
                       limit=f"{population.n} neurons")
        inputs, merged = fan_in_of(network, name, rows), int(chip["neurons.merged"])
        for part in own:
            deep = part.place.ndim == 2 and part.place.shape[0] == len(part.neurons)
            if not (deep and part.place.shape[1] * chip.fan_in >= inputs and 1 <= part.place.shape[1] <= merged):
                faults.add("SC376", "neurons have too few circuits, or too many", node=name,
                           value=str(part.place.shape), limit=f"{inputs} signed inputs, {merged} merged circuits")


def _check_circuits(chip: AnalogChip, run: Run, number: int, faults: Diagnostics) -> None:
    taken = np.concatenate([np.zeros(0, np.int64), *(part.place.reshape(-1) for part in run.parts),
                            *run.relays.values()])
    if len(np.unique(taken)) != len(taken):
        faults.add("SC376", "a circuit is two neurons' in one run", value=f"run {number}",
                   node=", ".join(dict.fromkeys(part.population for part in run.parts)))
    if taken.size and not (taken.min() >= 0 and taken.max() < chip.circuits):
        faults.add("SC376", "a circuit is not on the chip", value=f"{taken.min()}..{taken.max()} in run {number}",
                   limit=f"0..{chip.circuits - 1}")


def _check_sources(network: Network, schedule: Schedule, number: int, faults: Diagnostics) -> None:
    run, loops = schedule.runs[number], _loops(network)
    if dict(run.projections) != {one.name: one.target for one in network.projections
                                 if one.target in {part.population for part in run.parts}}:
        faults.add("SC376", "the projections of a run are not those that lead to its neurons", value=f"run {number}")
    here = {part.population: len(part.neurons) for part in run.parts}
    earlier = [part.neurons for each in schedule.runs[:number] for part in each.parts]
    names = [part.population for each in schedule.runs[:number] for part in each.parts]
    wanted = set()
    for one in network.projections:
        if one.target not in here:
            continue
        if (one.delay is not None) != (one.name in run.relays) or (
                one.delay is not None and len(run.relays[one.name]) != network.size(one.source)):
            faults.add("SC376", "an axon with a delay has no neuron for it", node=one.name, value=f"run {number}")
        if one.source in loops.get(one.target, set()):
            if here.get(one.source) != network.size(one.source):
                faults.add("SC376", "populations of a loop are not in one run", node=f"{one.source}, {one.target}",
                           value=f"run {number}")
            continue
        wanted.add(one.source)
        if one.source in network.populations:
            done = sum(len(neurons) for neurons, name in zip(earlier, names, strict=True) if name == one.source)
            if done != network.size(one.source):
                faults.add("SC376", "spikes are wanted that no earlier run has recorded", node=one.source,
                           value=f"{done} of {network.size(one.source)} neurons before run {number}",
                           limit=f"all, for {one.target}")
    if wanted != set(run.sources):
        faults.add("SC376", "what is sent to a run is not what it takes", value=", ".join(sorted(run.sources)),
                   limit=", ".join(sorted(wanted)), node=f"run {number}")


def _loops(network: Network) -> dict[str, set[str]]:
    """Of each population that takes spikes of itself, on whatever way: those with which it does."""
    wires: nx.DiGraph[str] = nx.DiGraph((one.source, one.target) for one in network.projections
                                       if one.source in network.populations)
    return {name: members for members in nx.strongly_connected_components(wires) for name in members
            if len(members) > 1 or wires.has_edge(name, name)}
