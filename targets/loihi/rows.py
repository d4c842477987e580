"""The rows of a report on a program for Loihi: layers, scales, cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np

from ...ir.integer.network import LARGEST_MEMBRANE, IntegerConv, IntegerNetwork
from ...ir.mapping import ChipMapping
from ...passes.quantise import Quantised
from .counts import Counts
from .flows import Flows

__all__ = ["LAVA_COLUMNS", "CoreRow", "LayerRow", "PopulationRow", "ProjectionRow", "core_rows", "layer_rows",
           "letters", "population_rows", "projection_rows"]

LAVA_COLUMNS: Mapping[str, str] = {
    "in_axons": "AxonIn", "compartment_formats": "NeuronGr", "neurons": "Neurons", "synapse_bits": "Synapses",
    "out_axons": "AxonMap", "threshold_formats": "Vth", "synapse_formats": "SynFmt",
}
"""Resources of a core under the names of Lava's compiler for Loihi 2, where it has one. Its AxonMem is not modelled."""



@dataclass(frozen=True, slots=True)
class LayerRow:
    """One projection, or an input: what Lava's layer table says, height and width of its output, and, in columns, the
    longest delay of a synapse beyond the one that each takes."""

    name: str
    source: str
    type: str
    width: int
    height: int
    channels: int
    kernel: str
    stride: str
    padding: str
    dilation: str
    groups: int | None
    delay: int


@dataclass(frozen=True, slots=True)
class PopulationRow:
    """`scale`: v of the core for a unit of V, least and largest. `du`, `dv`: of 4096; decays a column as the model has
    them and as the core has them, None without a current. `latency`: columns. `peaks`:
    the largest magnitudes of u and v that data showed, as shares of their registers; None without data."""

    name: str
    neurons: int
    threshold: int
    scale: tuple[float, float]
    dv: int
    membrane: tuple[float, float]
    du: int
    current: tuple[float, float] | None
    bias_exponent: int | None
    latency: int
    peaks: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class ProjectionRow:
    """`factor`: of what arrives, for a unit of weight, least and largest. `sqnr`: decibels; None where nothing is
    rounded."""

    name: str
    source: str
    target: str
    weights: int
    sign: str
    weight_bits: int
    message_bits: int
    exponent: int
    factor: tuple[float, float]
    saturated: float
    sqnr: float | None


@dataclass(frozen=True, slots=True)
class CoreRow:
    """`parts`: neurons by population. `loads`: by resource of `ir.chip.RESOURCES`. `activity`: a column's synaptic
    operations and updates of neurons, spikes sent to other cores and spikes received from them and from inputs, under
    the names of Lava's profiler; None where no rates are known."""

    chip: int
    x: int
    y: int
    core: int
    parts: dict[str, int]
    loads: dict[str, int]
    activity: dict[str, float] | None

    @property
    def label(self) -> str:
        return " + ".join(self.parts)

    @property
    def place(self) -> str:
        return f"{self.chip}:{self.x},{self.y}.{self.core}"


def layer_rows(network: IntegerNetwork) -> tuple[LayerRow, ...]:
    """Inputs, then projections in order."""
    rows = [LayerRow(name, "", "Input", *_image(shape), "", "", "", "", None, 0)
            for name, shape in network.inputs.items()]
    for each in network.projections:
        connection = each.connection
        delay = 0 if each.delay is None or not each.delay.size else int(each.delay.max())
        kind = type(connection).__name__.removeprefix("Integer")
        place = _image(network.populations[each.target].shape)
        if isinstance(connection, IntegerConv):
            rows.append(LayerRow(
                each.target, each.source, kind, *place, _pair(connection.weight.shape[2:]), _pair(connection.stride),
                _pair(connection.padding), _pair(connection.dilation), connection.groups, delay))
        else:
            rows.append(LayerRow(each.target, each.source, kind, *place, "", "", "", "", None, delay))
    return tuple(rows)


def population_rows(quantised: Quantised,
                    peaks: Mapping[str, tuple[float, float]] | None) -> tuple[PopulationRow, ...]:
    """`peaks`: by population, the largest magnitudes of u and v, in the numbers of the chip."""
    rows = []
    for name, population in quantised.network.populations.items():
        record = quantised.populations[name]
        rows.append(PopulationRow(
            name=name, neurons=population.n, threshold=population.threshold, scale=_range(record.scale),
            dv=population.dv, membrane=record.membrane, du=population.du, current=record.current,
            bias_exponent=None if population.bias is None else population.bias_exponent, latency=record.latency,
            peaks=None if peaks is None else (peaks[name][0] / LARGEST_MEMBRANE, peaks[name][1] / LARGEST_MEMBRANE)))
    return tuple(rows)


def projection_rows(quantised: Quantised) -> tuple[ProjectionRow, ...]:
    rows = []
    for each in quantised.network.projections:
        record = quantised.projections[each.name]
        rows.append(ProjectionRow(
            name=each.name, source=each.source, target=each.target, weights=int(each.connection.weight.size),
            sign=each.sign, weight_bits=each.weight_bits, message_bits=each.message_bits, exponent=each.exponent,
            factor=_range(record.factor), saturated=record.saturated,
            sqnr=float(record.sqnr) if isfinite(record.sqnr) else None))
    return tuple(rows)


def core_rows(mapping: ChipMapping, flows: Flows, counts: Counts | None) -> tuple[CoreRow, ...]:
    """In the order of the mapping."""
    matrix = flows.matrix(len(mapping.cores))
    sent, received = matrix.sum(axis=1), matrix.sum(axis=0) + flows.entering
    rows = []
    for number, core in enumerate(mapping.cores):
        parts = {name: len(indices) for name, indices in core.parts.items()}
        activity = None if counts is None else {
            "syn_ops": sum(float(counts.arriving[name][kept].sum()) for name, kept in core.parts.items())
            / max(counts.steps, 1),
            "dendrite_updates": float(sum(parts.values())), "axon_out": float(sent[number]),
            "spikes_in": float(received[number])}
        rows.append(CoreRow(core.chip, core.x, core.y, core.core, parts, dict(core.loads), activity))
    return tuple(rows)


def letters(cores: tuple[CoreRow, ...]) -> dict[str, str]:
    """One letter for each set of populations that cores hold, the most common first; # for those beyond 52."""
    sets = Counter(core.label for core in cores)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return {label: alphabet[number] if number < len(alphabet) else "#" for number, (label, _) in
            enumerate(sets.most_common())}


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Width, height and channels, as Lava counts them."""
    if len(shape) == 3:
        return shape[2], shape[1], shape[0]
    return (shape[1], 1, shape[0]) if len(shape) == 2 else (1, 1, prod(shape))


def _pair(pair: Any) -> str:
    return ",".join(str(int(each)) for each in pair)


def _range(values: Any) -> tuple[float, float]:
    array = np.asarray(values, dtype=np.float64)
    return (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
