"""Which cores the axons of a network reach, and what their synapses take there.

An axon is one neuron's (or one input channel's) by one projection. Its spike goes once to every core on which it has a
synapse: there it is one input axon, and at its own core one output axon for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.chip import RESOURCES, Chip, SynapseMemory
from ..ir.integer.network import IntegerConv, IntegerDense, IntegerNetwork, IntegerProjection, IntegerSparse
from ..ir.nodes import Array
from .learning_costs import CoreCosts, Mapped
from .stencils import stencil_window

__all__ = ["Reached", "bits_of_axons", "core_loads", "destinations", "distinct", "stencil_bits", "stencil_edges",
           "synapse_format", "synapse_width"]


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """The axons of one projection: `source` (k,) reaches `core` (k,) by `synapses` (k,) of its synapses."""

    projection: IntegerProjection
    source: Array
    core: Array
    synapses: Array


def destinations(network: IntegerNetwork, core_of: Mapping[str, Array]) -> Iterator[Reached]:
    """By projection. `core_of`: by population, (n,), the number of the core of each neuron."""
    for each in network.projections:
        yield Reached(each, *_reached(each, core_of[each.target], network.size(each.source)))


def _reached(projection: IntegerProjection, core_of: Array, n_source: int) -> tuple[Array, Array, Array]:
    connection = projection.connection
    if isinstance(connection, IntegerDense):
        cores, counts = np.unique(core_of, return_counts=True)
        source = np.arange(n_source)
        return np.repeat(source, len(cores)), np.tile(cores, n_source), np.tile(counts, n_source)
    n_cores = int(core_of.max()) + 1
    if isinstance(connection, IntegerSparse):
        rows = np.repeat(np.arange(len(core_of)), np.diff(connection.indptr))
        keys, counts = distinct(np.asarray(connection.indices, dtype=np.int64) * n_cores + core_of[rows])
        return keys // n_cores, keys % n_cores, counts
    place, neuron, _ = stencil_edges(connection)
    keys, counts = distinct(place * n_cores + core_of[neuron])
    source = stencil_sources(connection, keys // n_cores)
    per_group = connection.input_shape[0] // connection.groups
    return source.ravel(), np.repeat(keys % n_cores, per_group), np.repeat(counts, per_group)


def distinct(keys: Array) -> tuple[Array, Array]:
    """The different values, ascending, and how often each occurs."""
    ordered = np.sort(keys)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[:len(ordered)])
    return ordered[starts], np.diff(np.concatenate([starts, [len(ordered)]]))


def stencil_edges(conv: IntegerConv) -> tuple[Array, Array, Array]:
    """What reads what, for one channel of each group: the place that is read, group * plane + position, the flat index
    of the neuron that reads it, and the tap."""
    positions, inside = stencil_window(conv)
    features, taps = conv.output_shape[0], positions.shape[1]
    plane_in, plane_out = (shape[1] * shape[2] for shape in (conv.input_shape, conv.output_shape))
    position, tap = np.nonzero(inside)
    group = np.arange(features) // (features // conv.groups)
    place = group[:, None] * plane_in + positions[position, tap]
    neuron = np.arange(features)[:, None] * plane_out + position
    return place.ravel(), neuron.ravel(), np.broadcast_to(tap % taps, place.shape).ravel()


def stencil_sources(conv: IntegerConv, place: Array) -> Array:
    """(places, channels of a group): the flat indices of the source's neurons at these places."""
    plane, per_group = conv.input_shape[1] * conv.input_shape[2], conv.input_shape[0] // conv.groups
    group, position = place // plane, place % plane
    sources: Array = (group[:, None] * per_group + np.arange(per_group)) * plane + position[:, None]
    return sources


def synapse_width(projection: IntegerProjection, memory: SynapseMemory, costs: CoreCosts) -> int:
    """Bits of one synapse: weight, delay, tags, and the index of its neuron, which an axon needs not that reaches all
    compartments of a part."""
    delay = 0 if projection.delay is None or not projection.delay.size else int(projection.delay.max()).bit_length()
    index = 0 if _reaches_all(projection, costs) else memory.index_bits
    return memory.width(projection.weight_bits) + delay + costs.bits.get(projection.name, 0) + index


def _reaches_all(projection: IntegerProjection, costs: CoreCosts) -> bool:
    return isinstance(projection.connection, IntegerDense) and costs.compartments.get(projection.target, 1) == 1


def synapse_format(projection: IntegerProjection, memory: SynapseMemory, costs: CoreCosts) -> tuple[object, ...]:
    """What synapses share that are stored in one format."""
    return (projection.sign, projection.exponent, projection.message_bits, synapse_width(projection, memory, costs),
            _reaches_all(projection, costs), costs.kind.get(projection.name))


def bits_of_axons(synapses: Array, width: int, memory: SynapseMemory) -> Array:
    """The memory of axons with so many synapses each."""
    full, rest = synapses // memory.group, synapses % memory.group
    of_group = -(-(memory.group * width + memory.header) // memory.word)
    bits: Array = (full * of_group + np.where(rest > 0, -(-(rest * width + memory.header) // memory.word), 0))
    return bits * memory.word


def stencil_bits(projection: IntegerProjection, part_of: Array, place_of: Array, parts: int,
                 memory: SynapseMemory, costs: CoreCosts) -> Array:
    """(parts,): the memory of a stencil whose neurons lie in `part_of` (n,), at compartment `place_of` (n,) there.

    Axons share their synapses where these have the same weights at the same distances, whatever the first compartment:
    it is the axon that says it. So a part that is a block of the image costs little more than its kernel."""
    conv = projection.connection
    if not isinstance(conv, IntegerConv):
        raise TypeError("no stencil")
    place, neuron, tap = stencil_edges(conv)
    part, compartment = part_of[neuron], place_of[neuron]
    order = np.lexsort((place, part))
    part, place, compartment = part[order], place[order], compartment[order]
    weight = ((neuron // (conv.output_shape[1] * conv.output_shape[2])) * prod_taps(conv) + tap)[order]
    new = np.concatenate([[True], (part[1:] != part[:-1]) | (place[1:] != place[:-1])])
    starts = np.flatnonzero(new)
    axon = np.cumsum(new) - 1
    distance = compartment - np.minimum.reduceat(compartment, starts)[axon]
    mixed = _mix(_mix(distance.astype(np.uint64)) ^ weight.astype(np.uint64))
    pattern = np.add.reduceat(mixed, starts)
    synapses = np.diff(np.concatenate([starts, [len(part)]]))
    different = np.lexsort((pattern, part[starts]))
    kept = np.concatenate([[True], (np.diff(part[starts][different]) != 0) | (
        pattern[different][1:] != pattern[different][:-1])])
    chosen = different[kept]
    per_channel = bits_of_axons(synapses[chosen], synapse_width(projection, memory, costs), memory)
    bits = np.bincount(part[starts][chosen], per_channel, parts).astype(np.int64)
    total: Array = bits * (conv.input_shape[0] // conv.groups)  # channels have weights of their own
    return total


def prod_taps(conv: IntegerConv) -> int:
    return int(conv.weight.shape[2] * conv.weight.shape[3])


def _mix(values: Array) -> Array:
    """Numbers of 64 bits that look random, by splitmix64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = values ^ (values >> np.uint64(31))
    return mixed


def core_loads(what: Mapped, chip: Chip, core_of: Mapping[str, Array], place_of: Mapping[str, Array],
               cores: int) -> dict[str, Array]:
    """(cores,) by resource. `core_of`, `place_of`: by population, (n,), the core and first compartment of each
    neuron."""
    network, costs = what.network, what.costs
    loads = {name: np.zeros(cores, dtype=np.int64) for name in RESOURCES}
    kinds: dict[str, dict[object, int]] = {name: {} for name in RESOURCES if name.endswith("formats")}
    used: dict[str, list[Array]] = {name: [] for name in kinds}

    def note(resource: str, kind: object, present: Array) -> None:
        used[resource].append(kinds[resource].setdefault(kind, len(kinds[resource])) * cores + present)

    for name, population in network.populations.items():
        counts = np.bincount(core_of[name], minlength=cores)
        loads["neurons"] += counts * costs.compartments.get(name, 1)
        present = np.flatnonzero(counts)
        for decays in {(population.du, population.dv)}.union(costs.decays.get(name, ())):
            note("compartment_formats", decays, present)
        for threshold in {population.threshold}.union(costs.thresholds.get(name, ())):
            note("threshold_formats", threshold, present)
    for reached in destinations(network, core_of):
        each = reached.projection
        axons = np.bincount(reached.core, minlength=cores)
        loads["in_axons"] += axons * costs.in_slots.get(each.name, 1)
        if each.source in network.populations:
            sent = np.bincount(core_of[each.source][reached.source], minlength=cores)
            loads["out_axons"] += sent * costs.out_slots.get(each.name, 1)
        if isinstance(each.connection, IntegerConv):
            loads["synapse_bits"] += stencil_bits(each, core_of[each.target], place_of[each.target], cores, chip.memory,
                                                  costs)
        else:
            bits = bits_of_axons(reached.synapses, synapse_width(each, chip.memory, costs), chip.memory)
            loads["synapse_bits"] += np.bincount(reached.core, bits, cores).astype(np.int64)
        note("synapse_formats", synapse_format(each, chip.memory, costs), np.flatnonzero(axons))
        for trace in costs.traces.get(each.name, ()):
            note("trace_formats", trace, np.flatnonzero(axons))
    for name, keys in used.items():
        if keys:
            loads[name] = np.bincount(np.unique(np.concatenate(keys)) % cores, minlength=cores)
    return loads
