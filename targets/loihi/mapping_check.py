"""A mapping held against its network and the chip, by nothing that made it: every synapse is listed, every load counted
and every packet walked over the mesh again.

The two sides share the meaning of the network (`ir/integer/network.py`, `ir/integer/plastic.py`) and of the chip
(`ir/chip.py`), no code of the mapping's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...ir.chip import RESOURCES, Chip
from ...ir.diagnostics import BadInputError, Diagnostics
from ...ir.integer.learning import IntegerRule
from ...ir.integer.network import IntegerConv, IntegerDense, IntegerNetwork, IntegerProjection, IntegerSparse
from ...ir.integer.plastic import PlasticNetwork
from ...ir.mapping import ChipMapping
from ...ir.nodes import Array

__all__ = ["CheckedMapping", "check_mapping", "verify_mapping"]

_PART = 1 << 22
"""Synapses that are looked at together, about."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CheckedMapping:
    """What was found: `loads` (cores,) by resource; `packets` between cores and their `hops`, for one spike of each
    neuron at its rate; `links`: packets over each link, by the routers (x, y) at its two ends."""

    loads: Mapping[str, Array]
    packets: float
    hops: float
    links: Mapping[tuple[tuple[int, int], tuple[int, int]], float]


def verify_mapping(network: IntegerNetwork | PlasticNetwork, mapping: ChipMapping,
                   rates: Mapping[str, Array] | None = None) -> CheckedMapping:
    """What `check_mapping` finds.

    Raises:
        BadInputError: with every fault at once.
    """
    faults = Diagnostics()
    found = check_mapping(network, mapping, faults, rates)
    faults.raise_if_errors(BadInputError)
    if found is None:
        raise BadInputError(*faults.found)
    return found


def check_mapping(network: IntegerNetwork | PlasticNetwork, mapping: ChipMapping, faults: Diagnostics,
                  rates: Mapping[str, Array] | None = None) -> CheckedMapping | None:
    """Reports cores that lie nowhere or on one place, neurons that lie on no core or on several (SC332), loads other
    than those claimed (SC333), and loads beyond a limit (SC334). None where places or neurons are at fault."""
    before = len(faults.errors)
    learns = network if isinstance(network, PlasticNetwork) else PlasticNetwork(network=network, rules={}, neurons={})
    network = learns.network
    _places(mapping, faults)
    where = _neurons(learns, mapping, faults)
    if len(faults.errors) > before:
        return None
    loads = {name: np.zeros(len(mapping.cores), dtype=np.int64) for name in RESOURCES}
    _of_neurons(learns, mapping, loads)
    reached: dict[str, list[Array]] = {name: [] for name in network.populations}
    formats: set[tuple[int, tuple[object, ...]]] = set()
    traces: set[tuple[int, float, float]] = set()
    for projection in (*network.projections, *learns.feedback, *_signals(learns)):
        cores = _of_projection(learns, mapping.chip, projection, where, loads, reached, formats)
        if projection.name in learns.rules:
            rule = learns.rules[projection.name]
            traces.update((core, rule.traces[name].impulse, rule.traces[name].tau)
                          for name in ("x1", "x2") if name in rule.traces and _reads(rule, name) for core in cores)
    for kind, found in (("synapse_formats", formats), ("trace_formats", traces)):
        for core, *_ in found:
            loads[kind][core] += 1
    _compare(mapping, loads, faults)
    return _walk(network, mapping, where, loads, reached, rates or {})


def _places(mapping: ChipMapping, faults: Diagnostics) -> None:
    chip = mapping.chip
    seen: dict[tuple[int, int, int, int], int] = {}
    for number, core in enumerate(mapping.cores):
        place = (core.chip, core.x, core.y, core.core)
        ends = (chip.chips, chip.width.value, chip.height.value, chip.at_router.value)
        if not all(0 <= at < end for at, end in zip(place, ends, strict=True)):
            faults.add("SC332", f"core {number} lies outside the chips", value=place, limit=f"below {ends}")
        if place in seen:
            faults.add("SC332", f"cores {seen[place]} and {number} lie at one place", value=place)
        seen[place] = number
    for number in range(chip.chips):
        used = sum(core.chip == number for core in mapping.cores)
        if used > chip.cores.value:
            faults.add("SC332", f"chip {number} has fewer cores than are used", value=used, limit=chip.cores.value)


def _signals(learns: PlasticNetwork) -> Iterator[IntegerProjection]:
    """What tells learning neurons from outside: five bits to all, and seven of a reward; a teacher's or, where feedback
    onto them learns, noise to each."""
    for name, neuron in learns.neurons.items():
        n = learns.network.populations[name].n
        for told, bits in (("control", 5), ("reward", 7)):
            if told == "control" or neuron.error == "reward":
                yield IntegerProjection(
                    name=f"{told} of {name}", source="", target=name, weight_bits=1, sign="excitatory",
                    connection=IntegerDense(weight=np.ones((n, bits), dtype=np.int64)))
        if neuron.error == "teacher" or any(
                each.target == name and each.name in learns.rules for each in learns.feedback):
            own = IntegerSparse(indptr=np.arange(n + 1), indices=np.arange(n), weight=np.ones(n, dtype=np.int64))
            yield IntegerProjection(name=f"told to {name}", source="", target=name, connection=own, weight_bits=1,
                                    sign="excitatory")


def _reads(rule: IntegerRule, variable: str) -> bool:
    return any(factor.variable == variable for product in (*rule.dw, *rule.dt, *rule.dd) for factor in product.factors)


def _compartments(learns: PlasticNetwork, chip: Chip, name: str) -> int:
    return len(chip.learning.compartments[learns.neurons[name].error]) if name in learns.neurons else 1


def _neurons(learns: PlasticNetwork, mapping: ChipMapping, faults: Diagnostics) -> dict[str, tuple[Array, Array]]:
    """By population: the core of each neuron, and its first compartment there."""
    found = {name: (np.full(each.n, -1), np.zeros(each.n, dtype=np.int64))
             for name, each in learns.network.populations.items()}
    for number, content in enumerate(mapping.cores):
        first = 0
        for name, neurons in content.parts.items():
            if name not in found:
                faults.add("SC332", f"core {number} holds a population that the network has not", node=name)
                continue
            cores, compartments = found[name]
            if neurons.size and not (neurons.min() >= 0 and neurons.max() < len(cores)):
                faults.add("SC332", f"core {number} holds neurons that the population has not", node=name,
                           value=(int(neurons.min()), int(neurons.max())), limit=f"0 to {len(cores) - 1}")
                continue
            if len(set(neurons.tolist())) < len(neurons) or (cores[neurons] >= 0).any():
                faults.add("SC332", f"core {number} holds neurons that lie elsewhere too", node=name)
            cores[neurons] = number
            many = _compartments(learns, mapping.chip, name)
            compartments[neurons] = range(first, first + many * len(neurons), many)
            first += many * len(neurons)
        if not first:
            faults.add("SC332", f"core {number} holds no neuron")
    for name, (cores, _) in found.items():
        if (cores < 0).any():
            faults.add("SC332", "neurons lie on no core", node=name,
                       value=f"{int((cores < 0).sum())}, the first of them {int(np.argmax(cores < 0))}")
    return found


def _of_neurons(learns: PlasticNetwork, mapping: ChipMapping, loads: Mapping[str, Array]) -> None:
    for number, content in enumerate(mapping.cores):
        held = [learns.network.populations[name] for name, neurons in content.parts.items() if len(neurons)]
        loads["neurons"][number] = sum(_compartments(learns, mapping.chip, name) * len(neurons)
                                       for name, neurons in content.parts.items())
        decays, thresholds = {(each.du, each.dv) for each in held}, {each.threshold for each in held}
        for each in held:
            if each.name in learns.neurons:  # a dendrite keeps what it sums, and has the largest threshold
                decays.add((4095, 0))
                thresholds.add(2**17 - 1)
                if learns.neurons[each.name].error == "teacher":
                    thresholds.add(learns.neurons[each.name].error_threshold)
        loads["compartment_formats"][number] = len(decays)
        loads["threshold_formats"][number] = len(thresholds)


def _of_projection(learns: PlasticNetwork, chip: Chip, projection: IntegerProjection,
                   where: Mapping[str, tuple[Array, Array]], loads: Mapping[str, Array],
                   reached: Mapping[str, list[Array]], formats: set[tuple[int, tuple[object, ...]]]) -> set[int]:
    """Adds to `loads`, `reached` and `formats`; the cores that it comes to."""
    network, rule = learns.network, learns.rules.get(projection.name)
    cores, compartments = where[projection.target]
    many = len(loads["neurons"])
    memory = chip.memory
    stencil = isinstance(projection.connection, IntegerConv)
    everybody = isinstance(projection.connection, IntegerDense) and projection.target not in learns.neurons
    longest = int(projection.delay.max(initial=0)) if projection.delay is not None else 0
    width = next(each for each in sorted(memory.weight_bits) if each >= projection.weight_bits) + len(
        np.binary_repr(longest)) * (longest > 0) + (0 if everybody else memory.index_bits)
    slots, sent, kind = 1, 1, None
    if rule is not None:
        slots, kind = chip.learning.in_slots.value, (rule.dw, rule.dt, rule.dd, rule.decimation, rule.epoch)
        width += chip.learning.tag_bits.value * bool(rule.dt or _reads(rule, "t"))
        width += chip.learning.second_tag_bits.value * bool(rule.dd or _reads(rule, "d"))
    asleep = any(each.target == projection.source and each.name in learns.rules for each in learns.feedback)
    if asleep or any(each.name == projection.name for each in learns.feedback):
        sent = chip.learning.out_slots.value
    came: set[int] = set()
    shared: list[set[bytes]] = [set() for _ in range(many)]
    for post, pre, weight in _synapses(network, projection):
        order = np.lexsort((compartments[post], cores[post], pre))
        pre, core, place, weight = pre[order], cores[post][order], compartments[post][order], weight[order]
        ends = np.flatnonzero((np.diff(pre) != 0) | (np.diff(core) != 0)) + 1
        starts = np.concatenate([[0], ends])
        lengths = np.diff(np.concatenate([starts, [len(pre)]]))
        np.add.at(loads["in_axons"], core[starts], slots)
        if projection.source in reached:
            np.add.at(loads["out_axons"], where[projection.source][0][pre[starts]], sent)
            reached[projection.source].append(pre[starts] * many + core[starts])
        words = _words(lengths, width, memory.group, memory.header, memory.word)
        if stencil:
            for axon, (start, length) in enumerate(zip(starts, lengths, strict=True)):
                stop = start + length
                held = np.stack([place[start:stop] - place[start], weight[start:stop]]).tobytes()
                if held not in shared[core[start]]:
                    shared[core[start]].add(held)
                    loads["synapse_bits"][core[start]] += words[axon] * memory.word
        else:
            np.add.at(loads["synapse_bits"], core[starts], words * memory.word)
        there = set(core[starts].tolist())
        came |= there
        formats.update((each, (projection.sign, projection.exponent, projection.message_bits, width, everybody, kind))
                       for each in there)
    return came


def _words(synapses: Array, width: int, group: int, header: int, word: int) -> Array:
    total = np.zeros(len(synapses), dtype=np.int64)
    left = synapses.copy()
    while (left > 0).any():
        now = np.minimum(left, group)
        total += np.where(now > 0, np.ceil((now * width + header) / word).astype(np.int64), 0)
        left = left - now
    return total


def _synapses(network: IntegerNetwork, projection: IntegerProjection) -> Iterator[tuple[Array, Array, Array]]:
    """Target, source and number of the weight of every synapse; all of one source come together."""
    connection = projection.connection
    n_post = network.populations[projection.target].n
    if isinstance(connection, IntegerConv):
        yield from _taps(connection)
        return
    if isinstance(connection, IntegerDense):
        n_pre, step = connection.weight.shape[1], max(1, _PART // n_post)
        for first in range(0, n_pre, step):
            pre, post = np.meshgrid(np.arange(first, min(first + step, n_pre)), np.arange(n_post), indexing="ij")
            yield post.ravel(), pre.ravel(), np.zeros(post.size, dtype=np.int64)
        return
    indptr, indices = np.asarray(connection.indptr), np.asarray(connection.indices)
    post = np.searchsorted(indptr, np.arange(len(indices)), side="right") - 1
    if len(indices):
        yield post, indices.astype(np.int64), np.zeros(len(indices), dtype=np.int64)


def _taps(conv: IntegerConv) -> Iterator[tuple[Array, Array, Array]]:
    """One input channel after the other, as the definition of a cross-correlation says it."""
    features, per_group, tall, wide = conv.weight.shape
    channels, height, width = conv.input_shape
    _, out_height, out_width = conv.output_shape
    y, x = np.meshgrid(np.arange(out_height), np.arange(out_width), indexing="ij")
    for channel in range(channels):
        group, within = divmod(channel, per_group)
        readers = [feature for feature in range(features) if feature * conv.groups // features == group]
        found: list[tuple[Array, Array, Array]] = []
        for feature in readers:
            for row in range(tall):
                for column in range(wide):
                    down = y * conv.stride[0] - conv.padding[0] + row * conv.dilation[0]
                    right = x * conv.stride[1] - conv.padding[1] + column * conv.dilation[1]
                    inside = (down >= 0) & (down < height) & (right >= 0) & (right < width)
                    pre = (channel * height + down[inside]) * width + right[inside]
                    post = (feature * out_height + y[inside]) * out_width + x[inside]
                    weight = ((feature * per_group + within) * tall + row) * wide + column
                    found.append((post, pre, np.full(len(pre), weight)))
        post, pre, weight = (np.concatenate(each) for each in zip(*found, strict=True))
        if len(pre):
            yield post, pre, weight


def _compare(mapping: ChipMapping, loads: Mapping[str, Array], faults: Diagnostics) -> None:
    for number, core in enumerate(mapping.cores):
        for name, what in RESOURCES.items():
            found, limit = int(loads[name][number]), mapping.chip.limits[name]
            if found != core.loads.get(name):
                faults.add("SC333", f"core {number} claims other {what} than it has", value=core.loads.get(name),
                           limit=found)
            if found > limit.value:
                faults.add("SC334", f"core {number} has too many {what}" if name != "synapse_bits" else
                           f"core {number} has too much {what}", value=found, limit=f"{limit.value} {limit.unit}")


def _walk(network: IntegerNetwork, mapping: ChipMapping, where: Mapping[str, tuple[Array, Array]],
          loads: Mapping[str, Array], reached: Mapping[str, list[Array]],
          rates: Mapping[str, Array]) -> CheckedMapping:
    many = len(mapping.cores)
    between: dict[tuple[int, int], float] = {}
    for name, keys in reached.items():
        rate = np.asarray(rates[name]).ravel() if name in rates else np.ones(network.populations[name].n)
        pairs = np.unique(np.concatenate(keys)) if keys else np.zeros(0, dtype=np.int64)
        neuron, target = pairs // many, pairs % many
        source = where[name][0][neuron]
        for core in np.unique(source).tolist():
            sent = np.bincount(target[source == core], rate[neuron[source == core]], many)
            for other in np.flatnonzero(sent).tolist():
                if other != core:
                    between[core, other] = between.get((core, other), 0.0) + float(sent[other])
    links: dict[tuple[tuple[int, int], tuple[int, int]], float] = {}
    for (start, end), sent_on in between.items():
        here, there = _router(mapping, start), _router(mapping, end)
        while here != there:
            axis = 0 if here[0] != there[0] else 1
            step = 1 if there[axis] > here[axis] else -1
            onward = (here[0] + step, here[1]) if axis == 0 else (here[0], here[1] + step)
            links[here, onward] = links.get((here, onward), 0.0) + sent_on
            here = onward
    return CheckedMapping(loads=loads, packets=sum(between.values()), hops=sum(links.values()), links=links)


def _router(mapping: ChipMapping, number: int) -> tuple[int, int]:
    core, chip = mapping.cores[number], mapping.chip
    used = 1 + max(each.chip for each in mapping.cores)
    columns = min(range(1, used + 1), key=lambda n: (max(n * chip.width.value, -(-used // n) * chip.height.value), n))
    return (core.chip % columns * chip.width.value + core.x, core.chip // columns * chip.height.value + core.y)
