"""A configuration of DYNAP-SE2 held against its network and the chip, by nothing that made it: every event is sent
again, to whatever synapse has its tag where it arrives, and every load is counted.

The two sides share the numbers of the chip (`limits.py`) and of its bias generator (`bias.py`), no code of the
placement, and no bookkeeping: what is read is `config.json` as parsed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...ir.diagnostics import BadInputError, Diagnostics
from ...ir.network import Network, Sparse
from ...ir.nodes import Array
from .bias import COARSE, FINE, current_of
from .limits import (
    AMPA,
    CHIPS,
    CLOCK_TAG,
    CORES,
    DESTINATIONS,
    GABA,
    NEURONS,
    OUTSIDE,
    REACH,
    SYNAPSES,
    TAGS,
)

__all__ = ["CheckedConfiguration", "verify_configuration"]

Address = tuple[int, int, int]
"""Chip, core, neuron."""
Pair = tuple[tuple[str, int], tuple[str, int]]
"""Source and its index, population and its neuron."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CheckedConfiguration:
    """What was found: the most synapses and destinations that any neuron has, tags in use, neurons of each core by
    (chip, core); and every synapse, amperes by ((source, index), (population, neuron)), less what inhibits."""

    synapses: int
    destinations: int
    tags: int
    neurons: Mapping[tuple[int, int], int]
    amperes: Mapping[Pair, float]


def verify_configuration(document: Mapping[str, Any], model: Network, network: Network,
                         where: Mapping[str, tuple[Array, Array]]) -> CheckedConfiguration:
    """Counts and follows everything.

    Args:
        document: `config.json`, parsed.
        model: the lowered network that was placed: which neurons may share a core.
        network: what the cores are to hold, as `effective_network` has it: which synapses there are, not how strong.
        where: by population, the core of each neuron, counted through all chips, and its place there.

    Raises:
        BadInputError: with every fault: numbers out of the chip's range, neurons at one place, neurons of one core that
            want other currents, synapses that are missing or heard in vain, events that nothing hears (SC354).
    """
    faults = Diagnostics()
    owner = _owners(network, where, faults)
    listens: dict[Address, list[tuple[int, float]]] = {}
    sends: dict[Address, list[Mapping[str, Any]]] = {}
    for chip in document["chips"]:
        for core in chip["cores"]:
            place = (chip["chip"], core["core"])
            if not (0 <= place[0] < CHIPS.value and 0 <= place[1] < CORES.value):
                faults.add("SC354", "a core lies outside the board", value=place)
            levels = _levels(core["parameters"], place, faults)
            for neuron in core["neurons"]:
                address = (*place, neuron["neuron"])
                if address in listens:
                    faults.add("SC354", "a neuron stands there twice", value=address)
                if address not in owner:
                    faults.add("SC354", "a neuron is set that the network does not have", value=address)
                listens[address] = list(_listens(neuron["synapses"], levels, address, faults))
                sends[address] = list(neuron["destinations"].values())
                _check_destinations(sends[address], address, faults)
    for address in owner.keys() - listens.keys():
        faults.add("SC354", "a neuron of the network is not set", value=address)
    _check_shared(model, where, faults)
    amperes = _followed(document, listens, sends, owner, faults)
    _compare(network, amperes, faults)
    tags = _check_tags(document, sends, owner, faults)
    faults.raise_if_errors(BadInputError)
    return CheckedConfiguration(
        synapses=max(map(len, listens.values()), default=0), destinations=max(map(len, sends.values()), default=0),
        tags=tags, neurons=Counter((chip, core) for chip, core, _ in listens),
        amperes={pair: sum(each) for pair, each in amperes.items()})


def _owners(network: Network, where: Mapping[str, tuple[Array, Array]],
            faults: Diagnostics) -> dict[Address, tuple[str, int]]:
    owner: dict[Address, tuple[str, int]] = {}
    for name in network.populations:
        for neuron, (core, slot) in enumerate(zip(*(part.tolist() for part in where[name]), strict=True)):
            address = (*divmod(core, int(CORES.value)), slot)
            if address in owner:
                faults.add("SC354", f"two neurons lie at one place, {owner[address]} too", node=name, value=address)
            if not 0 <= slot < NEURONS.value:
                faults.add("SC354", "a neuron lies outside its core", node=name, value=address)
            owner[address] = (name, neuron)
    return owner


def _levels(parameters: list[Mapping[str, Any]], place: tuple[int, int], faults: Diagnostics) -> list[float]:
    found = {}
    for each in parameters:
        value = each["value"]
        if not (0 <= value["coarseValue"] < COARSE and 0 <= value["fineValue"] < FINE
                and chr(value["type"]) == each["key"][-1]):
            faults.add("SC354", f"{each['key']} has a value that there is not", value=dict(value))
        else:
            found[each["key"]] = current_of(each["key"], value["coarseValue"], value["fineValue"])
    missing = [name for name in (f"SYAM_W{bit}_P" for bit in range(4)) if name not in found]
    if missing:
        faults.add("SC354", "a core has no currents for its weights", value=f"{place}: {missing}")
    return [found.get(f"SYAM_W{bit}_P", 0.0) for bit in range(4)]


def _listens(synapses: Mapping[str, Mapping[str, Any]], levels: list[float], address: Address,
             faults: Diagnostics) -> Iterator[tuple[int, float]]:
    """Tag and amperes of every synapse, less what inhibits."""
    if len(synapses) > SYNAPSES.value:
        faults.add("SC354", "a neuron has more synapses than there are", value=f"{address}: {len(synapses)}",
                   limit=f"{SYNAPSES.value:g}")
    for each in synapses.values():
        bits = [bool(each["weight"][f"value{bit}"]) for bit in range(4)]
        if each["dendrite"] not in (AMPA, GABA) or not any(bits) or not 0 <= each["tag"] < TAGS.value:
            faults.add("SC354", "a synapse is malformed", value=f"{address}: {dict(each)}")
            continue
        if each["stp"] or each["preciseDelay"] or each["mismatchedDelay"]:
            faults.add("SC354", "a synapse does what the network does not say", value=f"{address}: {dict(each)}")
        amount = sum(level for level, bit in zip(levels, bits, strict=True) if bit)
        yield each["tag"], amount if each["dendrite"] == AMPA else -amount


def _check_destinations(sends: list[Mapping[str, Any]], address: Address, faults: Diagnostics) -> None:
    if len(sends) > DESTINATIONS.value:
        faults.add("SC354", "a neuron sends to more places than it can", value=f"{address}: {len(sends)}",
                   limit=f"{DESTINATIONS.value:g}")
    for each in sends:
        if not 0 <= each["tag"] < TAGS.value or max(abs(each["xHop"]), abs(each["yHop"])) > REACH.value:
            faults.add("SC354", "a destination is out of reach", value=f"{address}: {dict(each)}")


def _check_shared(network: Network, where: Mapping[str, tuple[Array, Array]], faults: Diagnostics) -> None:
    """Neurons of one core want the same time constants and refractory periods."""
    seen: dict[int, tuple[str, int, tuple[float, ...]]] = {}
    for name, population in network.populations.items():
        for neuron, core in enumerate(where[name][0].tolist()):
            numbers = tuple(float(values[neuron]) for values in (population.tau_mem, population.tau_syn,
                                                                 population.refractory) if values is not None)
            other, index, first = seen.setdefault(core, (name, neuron, numbers))
            if any(abs(one - two) > 1e-5 * abs(two) for one, two in zip(numbers, first, strict=True)):
                faults.add("SC354", f"neuron {neuron} shares a core with neuron {index} of '{other}', whose time "
                           "constants are others", node=name, value=numbers, limit=first)


def _followed(document: Mapping[str, Any], listens: Mapping[Address, list[tuple[int, float]]],
              sends: Mapping[Address, list[Mapping[str, Any]]], owner: Mapping[Address, tuple[str, int]],
              faults: Diagnostics) -> dict[Pair, list[float]]:
    """Every event, sent from where it begins to all that hear it: the amperes of each of their synapses."""
    hears: dict[tuple[int, int, int], list[tuple[Address, float]]] = {}
    for address, entries in listens.items():
        for tag, amount in entries:
            hears.setdefault((address[0], address[1], tag), []).append((address, amount))
    starts: list[tuple[tuple[str, int], int, list[Mapping[str, Any]]]] = [
        ((name, channel), 0, list(places.values()))
        for name, channels in document["inputs"].items() for channel, places in enumerate(channels)]
    starts += [(owner[address], address[0], places) for address, places in sends.items() if address in owner]
    found: dict[Pair, list[float]] = {}
    for source, chip, places in starts:
        for each in places:
            if (each["xHop"], each["yHop"]) == (OUTSIDE, OUTSIDE):
                continue
            reached = chip + each["xHop"]
            cores = [core for core in range(int(CORES.value)) if each["core"][f"value{core}"]]
            for core in cores:
                heard = hears.get((reached, core, each["tag"]), [])
                if not heard or each["yHop"] != 0:
                    faults.add("SC354", "an event goes where nothing hears it", node=source[0],
                               value=f"{source}: chip {reached}, core {core}, tag {each['tag']}")
                for address, amount in heard:
                    if address in owner:
                        found.setdefault((source, owner[address]), []).append(amount)
    return found


def _compare(network: Network, amperes: Mapping[Pair, list[float]], faults: Diagnostics) -> None:
    """Which synapses there are, and the direction of each."""
    wanted: dict[Pair, list[float]] = {}
    for projection in network.projections:
        weight, connection = projection.connection.weight, projection.connection
        for target in range(network.size(projection.target)):
            if isinstance(connection, Sparse):
                span = range(int(connection.indptr[target]), int(connection.indptr[target + 1]))
                entries = [(int(connection.indices[place]), float(weight[place])) for place in span]
            else:
                entries = list(enumerate(weight[target].tolist()))
            gain = network.populations[projection.target].r[target]
            inner = network.populations[projection.target].w_in
            gain = float(gain) * (1.0 if inner is None else float(inner[target]))
            for source, value in entries:
                if value != 0:
                    wanted.setdefault(((projection.source, source), (projection.target, target)), []).append(
                        value * gain)
    for pair in wanted.keys() - amperes.keys():
        faults.add("SC354", "a synapse of the network is missing", node=pair[1][0], value=pair)
    for pair, found in amperes.items():
        if pair not in wanted:
            faults.add("SC354", "an event is heard by what the network does not connect", node=pair[1][0], value=pair)
        elif sorted(each > 0 for each in found) != sorted(each > 0 for each in wanted[pair]):
            faults.add("SC354", "synapses are of another number or sign than the network's", node=pair[1][0],
                       value=f"{pair}: {len(found)}, of which {sum(each > 0 for each in found)} excite")


def _check_tags(document: Mapping[str, Any], sends: Mapping[Address, list[Mapping[str, Any]]],
                owner: Mapping[Address, tuple[str, int]], faults: Diagnostics) -> int:
    """Tags that come out say who fired; the board's own is not among them."""
    comes = Counter(each["tag"] for places in sends.values() for each in places if each["xHop"] == OUTSIDE)
    told = {each["tag"]: (each["population"], each["neuron"]) for each in document["watched"]}
    for address, places in sends.items():
        for each in places:
            if each["xHop"] == OUTSIDE and address in owner and told.get(each["tag"]) != owner[address]:
                faults.add("SC354", "a watched neuron has another's tag", value=f"{address}: tag {each['tag']}")
    for tag, count in comes.items():
        if count > 1 or tag == CLOCK_TAG:
            faults.add("SC354", "a tag that comes out stands for more than one neuron", value=tag)
    used = {each["tag"] for places in sends.values() for each in places}
    used |= {each["tag"] for channels in document["inputs"].values() for places in channels for each in places.values()}
    return len(used)
