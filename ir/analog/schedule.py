"""How a network that is larger than a chip runs on it: in parts, one run after the other; what an earlier run recorded
is replayed into the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..nodes import Array

__all__ = ["Part", "Run", "Schedule"]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Neurons of one population that run together. `neurons` (k,): which, ascending; `place` (k, circuits of one
    neuron): the circuits of each, numbered over the chip."""

    population: str
    neurons: Array
    place: Array


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What is on the chip at a time. `projections`: by name, the population of this run that they lead to; `relays`: of
    those with delays, (n_source,), the circuits that stand for them. `sources`: inputs, and populations of earlier
    runs, whose spikes are sent to the chip."""

    parts: tuple[Part, ...]
    projections: Mapping[str, str]
    relays: Mapping[str, Array]
    sources: tuple[str, ...]

    @property
    def neurons(self) -> int:
        return sum(len(each.neurons) for each in self.parts)

    @property
    def circuits(self) -> int:
        """That are taken, by neurons and by what stands for delays."""
        return sum(each.place.size for each in self.parts) + sum(each.size for each in self.relays.values())


@dataclass(frozen=True, eq=False)
class Schedule:
    """The runs in order, each on a chip of `circuits`. Every neuron is in one of them. A population that takes spikes
    of another is in a later run than all of its neurons; populations that form a loop are in one run, whole."""

    circuits: int
    runs: tuple[Run, ...]

    @cached_property
    def run_of(self) -> Mapping[str, Array]:
        """By population, (n,): the number of the run that each neuron is in."""
        found: dict[str, Array] = {}
        for name, parts in self._parts.items():
            found[name] = np.empty(sum(len(part.neurons) for _, part in parts), np.int64)
            for number, part in parts:
                found[name][part.neurons] = number
        return found

    @cached_property
    def place_of(self) -> Mapping[str, Array]:
        """By population, (n, circuits of one neuron), on the chip in the neuron's run."""
        found: dict[str, Array] = {}
        for name, parts in self._parts.items():
            every = np.concatenate([part.neurons for _, part in parts])
            found[name] = np.concatenate([part.place for _, part in parts])[np.argsort(every)]
        return found

    @cached_property
    def relays_of(self) -> Mapping[str, Array]:
        """By projection with delays, (runs that its target is in, n_source)."""
        names = dict.fromkeys(name for run in self.runs for name in run.relays)
        return {name: np.stack([run.relays[name] for run in self.runs if name in run.relays]) for name in names}

    @cached_property
    def _parts(self) -> Mapping[str, list[tuple[int, Part]]]:
        found: dict[str, list[tuple[int, Part]]] = {}
        for number, run in enumerate(self.runs):
            for part in run.parts:
                found.setdefault(part.population, []).append((number, part))
        return found
