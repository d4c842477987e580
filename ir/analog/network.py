"""An analog program: the numbers that a chip's circuits are set to, and where on the chip they lie, in which run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..nodes import Array
from .schedule import Schedule

__all__ = ["AnalogNetwork", "AnalogPopulation", "AnalogProjection", "codes_of"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AnalogPopulation:
    """`n` neurons, each of `circuits` circuits that are merged; all arrays are (n,).

    Time constants and `refractory` are seconds on the chip; `leak`, `reset` and `threshold` steps of its readout (None
    of what does not spike). `place` (n, circuits): the circuits of each neuron, numbered over the chip. `span`: model
    volts from rest to threshold. `run` (n,): the run that each neuron is in; None where there is one run alone.
    """

    name: str
    n: int
    circuits: int
    spiking: bool
    tau_mem: Array
    tau_syn: Array
    leak: Array
    span: Array
    place: Array
    reset: Array | None = None
    threshold: Array | None = None
    refractory: Array | None = None
    run: Array | None = None

    def of(self, neurons: Array) -> AnalogPopulation:
        """Some of its neurons alone."""
        values: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        kept: dict[str, Any] = {name: value[neurons] for name, value in arrays.items()}
        return replace(self, n=len(neurons), **kept)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AnalogProjection:
    """`codes` (n_target, n_source), int32: signed weights in steps, spread over `rows` rows a source, whose largest
    magnitude is that many times the chip's. `step` (n_target,): model weight of one step. `delay` (n_source,): seconds
    on the chip, made by a neuron for each axon, which lies in the circuits `relays` (n_source,), in several runs (those
    that its target is in, n_source); None without."""

    name: str
    source: str
    target: str
    codes: Array
    step: Array
    rows: int
    clipped: int
    delay: Array | None = None
    relays: Array | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class AnalogNetwork:
    """`inputs`: channels by name. `speed_up`: model time over chip time. `full_scale`: what the largest weight of one
    row adds to the synaptic current, in distances from rest to threshold. `schedule`: the runs of a network that is
    larger than the chip; None where all of it is there at a time."""

    chip: str
    inputs: Mapping[str, int]
    populations: Mapping[str, AnalogPopulation]
    projections: tuple[AnalogProjection, ...]
    speed_up: float
    full_scale: float
    schedule: Schedule | None = None

    @property
    def taken(self) -> Array:
        """The circuits of neurons, ascending; those of several runs are there several times."""
        places = [each.place.reshape(-1) for each in self.populations.values()]
        return np.sort(np.concatenate(places)) if places else np.zeros(0, np.int64)

    @property
    def used(self) -> int:
        """Circuits that are taken, by neurons and by what stands for delays, over all runs."""
        return len(self.taken) + sum(each.relays.size for each in self.projections if each.relays is not None)

    def in_run(self, number: int) -> AnalogNetwork:
        """What is on the chip in one run: a network of its own, whose inputs are all that is sent to the chip. Of what
        was cut off its projections say nothing."""
        if self.schedule is None:
            return self
        run = self.schedule.runs[number]
        neurons = {part.population: part.neurons for part in run.parts}
        sizes = {**self.inputs, **{name: each.n for name, each in self.populations.items()}}
        return replace(
            self, inputs={name: sizes[name] for name in run.sources}, schedule=None,
            populations={name: self.populations[name].of(which) for name, which in neurons.items()},
            projections=tuple(replace(each, codes=each.codes[neurons[each.target]], clipped=0,
                                      step=each.step[neurons[each.target]], relays=run.relays.get(each.name))
                              for each in self.projections if each.target in neurons))


def codes_of(weight: Any, step: Any, most: int) -> Any:
    """Weights (…, n_target in the first place) in steps: the nearest, halves away from zero, cut off at `most`. For
    numpy arrays and torch tensors alike."""
    steps = weight / step
    rounded = (abs(steps) + 0.5).floor() if hasattr(steps, "floor") else np.floor(np.abs(steps) + 0.5)
    sign = steps.sign() if hasattr(steps, "sign") else np.sign(steps)
    return (sign * rounded).clip(-most, most)
