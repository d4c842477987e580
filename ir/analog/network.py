"""An analog program: the numbers that a chip's circuits are set to, and where on the chip they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..nodes import Array

__all__ = ["AnalogNetwork", "AnalogPopulation", "AnalogProjection", "codes_of"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AnalogPopulation:
    """`n` neurons, each of `circuits` circuits that are merged; all arrays are (n,).

    Time constants and `refractory` are seconds on the chip; `leak`, `reset` and `threshold` steps of its readout (None
    of what does not spike). `place` (n, circuits): the circuits of each neuron, numbered over the chip. `span`: model
    volts from rest to threshold.
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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AnalogProjection:
    """`codes` (n_target, n_source), int32: signed weights in steps, spread over `rows` rows a source, whose largest
    magnitude is that many times the chip's. `step` (n_target,): model weight of one step. `delay` (n_source,): seconds
    on the chip, made by a neuron for each axon, which lies in the circuits `relays` (n_source,); None without."""

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
    row adds to the synaptic current, in distances from rest to threshold."""

    chip: str
    inputs: Mapping[str, int]
    populations: Mapping[str, AnalogPopulation]
    projections: tuple[AnalogProjection, ...]
    speed_up: float
    full_scale: float

    @property
    def taken(self) -> Array:
        """The circuits of neurons, ascending."""
        places = [each.place.reshape(-1) for each in self.populations.values()]
        return np.sort(np.concatenate(places)) if places else np.zeros(0, np.int64)

    @property
    def used(self) -> int:
        """Circuits that are taken, by neurons and by what stands for delays."""
        return len(self.taken) + sum(each.relays.size for each in self.projections if each.relays is not None)


def codes_of(weight: Any, step: Any, most: int) -> Any:
    """Weights (…, n_target in the first place) in steps: the nearest, halves away from zero, cut off at `most`. For
    numpy arrays and torch tensors alike."""
    steps = weight / step
    rounded = (abs(steps) + 0.5).floor() if hasattr(steps, "floor") else np.floor(np.abs(steps) + 0.5)
    sign = steps.sign() if hasattr(steps, "sign") else np.sign(steps)
    return (sign * rounded).clip(-most, most)
