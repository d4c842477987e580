"""What a mapping moves, and what it pays for: units of neurons that stay together, and the axons between them.

A neuron with synapses of its own is a unit. Neurons that all-to-all projections reach alike are cut into blocks, and
the image of a convolution into tiles, since they share what they read. Axons of one unit that reach the same units are
one bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ..ir.chip import RESOURCES, Chip
from ..ir.diagnostics import Diagnostics
from ..ir.integer.network import IntegerConv, IntegerDense, IntegerNetwork, IntegerProjection, IntegerSparse
from ..ir.nodes import Array
from .destinations import (
    core_loads,
    distinct,
    stencil_bits,
    stencil_edges,
    stencil_sources,
    synapse_format,
    synapse_width,
)
from .learning_costs import Mapped
from .traffic import Rates

__all__ = ["Bundles", "Units", "mapping_units"]

_SHARE = 4
"""A unit of several neurons takes at most this part of any resource of a core, so that cores can be filled."""
_BLOCK = 32
"""Most neurons of a block that all-to-all projections reach."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Bundles:
    """(a,) `source`: unit that sends, -1 an input; `axons`: how many, in `in_slots` where they end, `out_slots` where
    they begin; `rate`: spikes of all of them a column; `width`: bits of a synapse, 0 where their memory is counted with
    the units; `format`: of the synapses; `traces` (a, 2): of the sources, -1 for none. The units that bundle k reaches
    are `units[begin[k]:begin[k + 1]]`, by `synapses` an axon."""

    source: Array
    axons: Array
    in_slots: Array
    out_slots: Array
    rate: Array
    width: Array
    format: Array
    traces: Array
    begin: Array
    units: Array
    synapses: Array


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Units:
    """`unit_of`: by population, (n,), the unit of each neuron, and `place_of` its number there. (units,) `neurons`:
    compartments; `bits`: memory of stencils; `decays`, `threshold`: number of the pair of decays, of the threshold."""

    unit_of: Mapping[str, Array]
    place_of: Mapping[str, Array]
    neurons: Array
    bits: Array
    decays: Array
    threshold: Array
    bundles: Bundles

    def __len__(self) -> int:
        return len(self.neurons)


def mapping_units(what: Mapped, chip: Chip, rates: Rates | None, faults: Diagnostics) -> Units:
    """The units of a network, none of which exceeds a core.

    Reports SC330 to `faults` for each kind of resource that one neuron alone exceeds; what is returned then does not
    fit.
    """
    network, costs = what.network, what.costs
    sizes = {name: _size(what, chip, name) for name in network.populations}
    while True:
        unit_of, place_of, count = _cut(network, sizes)
        loads = core_loads(what, chip, unit_of, place_of, count)
        crowded = _crowded(network, chip, sizes, unit_of, loads)
        if not crowded:
            break
        sizes.update(crowded)
    _report(network, chip, unit_of, loads, faults)
    neurons = np.zeros(count, dtype=np.int64)
    decays, threshold = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    kinds: tuple[dict[object, int], dict[object, int]] = ({}, {})
    for name, population in network.populations.items():
        neurons += np.bincount(unit_of[name], minlength=count) * costs.compartments.get(name, 1)
        decays[unit_of[name]] = kinds[0].setdefault((population.du, population.dv), len(kinds[0]))
        threshold[unit_of[name]] = kinds[1].setdefault(population.threshold, len(kinds[1]))
    bits = np.zeros(count, dtype=np.int64)
    for each in network.projections:
        if isinstance(each.connection, IntegerConv):
            bits += stencil_bits(each, unit_of[each.target], place_of[each.target], count, chip.memory, costs)
    return Units(unit_of=unit_of, place_of=place_of, neurons=neurons, bits=bits, decays=decays, threshold=threshold,
                 bundles=_bundles(what, chip, unit_of, rates))


def _size(what: Mapped, chip: Chip, name: str) -> tuple[int, int, int]:
    """Channels, height and width of a unit: of an image, or (1, 1, neurons)."""
    network, single = what.network, what.costs.single
    touching = [each for each in network.projections if name in (each.source, each.target) and each.name not in single]
    written = [each.connection for each in network.incoming[name] if isinstance(each.connection, IntegerConv)]
    if written:
        return _tile(written[0], chip)
    if all(isinstance(each.connection, IntegerDense) for each in touching):
        return 1, 1, _BLOCK
    return 1, 1, 1


def _tile(conv: IntegerConv, chip: Chip) -> tuple[int, int, int]:
    """About the largest that a core could take: where to begin."""
    size = conv.output_shape
    _, height, width = size
    axons, neurons = (chip.limits[key].value for key in ("in_axons", "neurons"))
    while height * width > 1:
        read = [min((length - 1) * step + hole * (reach - 1) + 1, most) for length, step, hole, reach, most in zip(
            (height, width), conv.stride, conv.dilation, conv.weight.shape[2:], conv.input_shape[1:], strict=True)]
        if conv.input_shape[0] * prod(read) <= axons and height * width <= neurons:
            break
        _, height, width = size = _narrower(size)
    return size


def _image(network: IntegerNetwork, name: str) -> tuple[int, int, int]:
    for each in network.incoming[name]:
        if isinstance(each.connection, IntegerConv):
            return each.connection.output_shape
    return 1, 1, network.populations[name].n


def _cut(network: IntegerNetwork,
         sizes: Mapping[str, tuple[int, int, int]]) -> tuple[dict[str, Array], dict[str, Array], int]:
    unit_of, place_of, count = {}, {}, 0
    for name in network.populations:
        image, size = _image(network, name), sizes[name]
        blocks = [-(-length // part) for length, part in zip(image, size, strict=True)]
        axes = [np.arange(length) * number // length for length, number in zip(image, blocks, strict=True)]
        inside = [np.arange(length) - np.searchsorted(axis, axis) for length, axis in zip(image, axes, strict=True)]
        lengths = [np.bincount(axis)[axis] for axis in axes]
        grid = (axes[0][:, None, None] * blocks[1] + axes[1][:, None]) * blocks[2] + axes[2]
        place = (inside[0][:, None, None] * lengths[1][:, None] + inside[1][:, None]) * lengths[2] + inside[2]
        unit_of[name], place_of[name] = grid.ravel() + count, place.ravel()
        count += prod(blocks)
    return unit_of, place_of, count


def _crowded(network: IntegerNetwork, chip: Chip, sizes: Mapping[str, tuple[int, int, int]],
             unit_of: Mapping[str, Array], loads: Mapping[str, Array]) -> dict[str, tuple[int, int, int]]:
    """Smaller sizes for populations whose units take too much of a core."""
    smaller = {}
    for name, size in sizes.items():
        if prod(size) == 1:
            continue
        units = np.unique(unit_of[name])
        most = {key: int(loads[key][units].max()) for key in RESOURCES}
        over = {key: most[key] * _SHARE > chip.limits[key].value for key in ("neurons", "out_axons", "synapse_bits")}
        if most["neurons"] * 2 * _SHARE <= chip.limits["neurons"].value:  # many weights: memory goes first
            over["synapse_bits"] = most["synapse_bits"] * 2 > chip.limits["synapse_bits"].value
        channels, height, width = size
        # Fewer channels save no input axon, and fewer positions next to no memory.
        if most["in_axons"] > chip.limits["in_axons"].value and height * width > 1:
            smaller[name] = _narrower(size)
        elif over["synapse_bits"] and channels > 1:
            smaller[name] = (-(-channels // 2), height, width)
        elif any(over.values()):
            smaller[name] = _narrower(size) if height * width > 1 else (-(-channels // 2), height, width)
    return smaller


def _narrower(size: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = size
    return (channels, -(-height // 2), width) if height >= width else (channels, height, -(-width // 2))


def _report(network: IntegerNetwork, chip: Chip, unit_of: Mapping[str, Array], loads: Mapping[str, Array],
            faults: Diagnostics) -> None:
    for name, units in unit_of.items():
        for key, what in RESOURCES.items():
            of_neurons, limit = loads[key][units], chip.limits[key]
            if of_neurons.max(initial=0) > limit.value:
                worst = int(of_neurons.argmax())
                faults.add("SC330", f"neuron {worst} alone needs more {what} than a core of {chip.name} has",
                           node=name, value=int(of_neurons[worst]), limit=f"{limit.value} {limit.unit}",
                           remedy=_REMEDIES.get(key, "Give it fewer projections of different kinds."))


_REMEDIES = {
    "in_axons": "Give it fewer sources, or sum them in a layer between: each source is an axon.",
    "out_axons": "Give it fewer targets, or let neurons between pass its spikes on.",
    "synapse_bits": "Give it fewer synapses, or fewer bits a weight.",
}


def _bundles(what: Mapped, chip: Chip, unit_of: Mapping[str, Array], rates: Rates | None) -> Bundles:
    network, costs = what.network, what.costs
    made: list[tuple[Array, ...]] = []
    formats: dict[tuple[object, ...], int] = {}
    traces: dict[object, int] = {}
    for each in network.projections:
        n = network.size(each.source)
        rate = np.ones(n) if rates is None or each.source not in rates else np.asarray(rates[each.source]).ravel()
        sender = unit_of[each.source] if each.source in unit_of else np.full(n, -1, dtype=np.int64)
        make = _of_single if each.name in costs.single else _MAKERS[type(each.connection)]
        source, axons, spikes, begin, units, synapses = make(each, sender, rate, unit_of[each.target])
        width = 0 if isinstance(each.connection, IntegerConv) else synapse_width(each, chip.memory, costs)
        number = formats.setdefault(synapse_format(each, chip.memory, costs), len(formats))
        kept = [traces.setdefault(trace, len(traces)) for trace in costs.traces.get(each.name, ())]
        alike = (np.full(len(source), value) for value in (width, number, *kept, *[-1] * (2 - len(kept))))
        made.append((source, axons, axons * costs.in_slots.get(each.name, 1),
                     axons * costs.out_slots.get(each.name, 1), spikes, *alike, np.diff(begin), units, synapses))
    columns = [np.concatenate(column) for column in zip(*made, strict=True)] if made else [np.zeros(0)] * 12
    rate = columns.pop(4)
    whole = [each.astype(np.int64) for each in columns]
    return Bundles(source=whole[0], axons=whole[1], in_slots=whole[2], out_slots=whole[3], rate=rate, width=whole[4],
                   format=whole[5], traces=np.stack(whole[6:8], axis=1),
                   begin=np.concatenate([[0], np.cumsum(whole[8])]), units=whole[9], synapses=whole[10])


_Made = tuple[Array, Array, Array, Array, Array, Array]


def _of_dense(projection: IntegerProjection, sender: Array, rate: Array, unit_of: Array) -> _Made:
    units, synapses = distinct(unit_of)
    source, member = np.unique(sender, return_inverse=True)
    return (source, np.bincount(member), np.bincount(member, rate), np.arange(len(source) + 1) * len(units),
            np.tile(units, len(source)), np.tile(synapses, len(source)))


def _of_single(projection: IntegerProjection, sender: Array, rate: Array, unit_of: Array) -> _Made:
    """Each neuron of a population is told by its own channel of an input."""
    units, member, axons = np.unique(unit_of, return_inverse=True, return_counts=True)
    return (np.full(len(units), -1), axons, np.bincount(member, rate), np.arange(len(units) + 1), units,
            np.ones(len(units), dtype=np.int64))


def _of_sparse(projection: IntegerProjection, sender: Array, rate: Array, unit_of: Array) -> _Made:
    sparse = projection.connection
    if not isinstance(sparse, IntegerSparse):
        raise TypeError("no sparse matrix")
    rows = np.repeat(np.arange(len(unit_of)), np.diff(sparse.indptr))
    many = int(unit_of.max()) + 1
    keys, synapses = distinct(np.asarray(sparse.indices, dtype=np.int64) * many + unit_of[rows])
    neurons, counts = distinct(keys // many)
    return (sender[neurons], np.ones(len(neurons), dtype=np.int64), rate[neurons],
            np.concatenate([[0], np.cumsum(counts)]), keys % many, synapses)


def _of_conv(projection: IntegerProjection, sender: Array, rate: Array, unit_of: Array) -> _Made:
    conv = projection.connection
    if not isinstance(conv, IntegerConv):
        raise TypeError("no stencil")
    place, neuron, _ = stencil_edges(conv)
    many = int(unit_of.max()) + 1
    keys, synapses = distinct(place * many + unit_of[neuron])
    places, counts = distinct(keys // many)
    first = np.concatenate([[0], np.cumsum(counts)])
    sources = stencil_sources(conv, places)
    # Neurons of one unit that are read at one place reach the same: a bundle.
    member = np.repeat(np.arange(len(places)), sources.shape[1]) * (int(sender.max()) + 2) + sender[sources.ravel()] + 1
    bundle, inverse = np.unique(member, return_inverse=True)
    at, unit = bundle // (int(sender.max()) + 2), bundle % (int(sender.max()) + 2) - 1
    reach = counts[at]
    index = np.repeat(first[at], reach) + np.arange(reach.sum()) - np.repeat(np.cumsum(reach) - reach, reach)
    return (unit, np.bincount(inverse), np.bincount(inverse, rate[sources.ravel()]),
            np.concatenate([[0], np.cumsum(reach)]), keys[index] % many, synapses[index])


_MAKERS: dict[type, Callable[[IntegerProjection, Array, Array, Array], _Made]] = {
    IntegerDense: _of_dense, IntegerSparse: _of_sparse, IntegerConv: _of_conv,
}
