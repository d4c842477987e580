"""Neurons onto the cores of DYNAP-SE2, and the tags that their events go by.

A core's 256 neurons share its currents, so neurons come together that want the same (`Currents.alike`), in the order of
the network. An event has a tag; a neuron's synapse listens for one tag. A neuron sends its events to at most four
places, each some cores of one chip; one is taken where the neuron is watched. Every tag stands for one source only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, DoesNotFitError
from ...ir.network import Conv, Network, Projection, Sparse
from ...ir.nodes import Array
from ...passes.algebra import as_sparse, rows_of
from .limits import CHIPS, CLOCK_TAG, CORES, DESTINATIONS, NEURONS, SYNAPSES, TAGS
from .units import Currents, Operating, currents_of

__all__ = ["Placement", "Watch", "ends", "place"]

Watch = Literal["outputs", "all"]
"""Which neurons the board's computer hears: those that an output shows, or all."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Placement:
    """`network`: the lowered one, its stencils unrolled. `core` and `slot`, by population (n,): the core of each
    neuron, counted through all chips, and its place there. `tags`, by input or population: the tag of each source's
    events, -1 where none hears them. `watch_tags`, by population: the tag that the computer knows a neuron by, or -1.
    `first`: of each core in use, population and neuron of its first neuron, whose currents it has."""

    network: Network
    currents: Mapping[str, Currents]
    operating: Operating
    core: Mapping[str, Array]
    slot: Mapping[str, Array]
    tags: Mapping[str, Array]
    watch_tags: Mapping[str, Array]
    first: tuple[tuple[str, int], ...]

    @property
    def cores(self) -> int:
        return len(self.first)


def ends(projection: Projection) -> tuple[Array, Array]:
    """Target and source of every weight, in the order of the weights read row by row."""
    connection = projection.connection
    if isinstance(connection, Sparse):
        return rows_of(connection), np.asarray(connection.indices)
    rows, columns = np.indices(connection.weight.shape).reshape(2, -1)
    return rows, columns


def place(network: Network, *, chips: int = 1, watch: Watch = "outputs", operating: Operating | None = None,
          diagnostics: Diagnostics | None = None) -> Placement:
    """Where everything of a lowered network lies.

    Args:
        chips: of the board that may be used, 1..4.
        watch: which neurons the board's computer hears.
        operating: currents that the model leaves open.
        diagnostics: collects warnings (SC355).

    Raises:
        BadInputError: `chips` or `watch` is not one of those (SC533).
        UnsupportedError: the circuits cannot do it (SC352).
        DoesNotFitError: more synapses than a neuron has (SC350), more cores, destinations or tags than there are
            (SC351); all at once.
    """
    if chips not in range(1, int(CHIPS.value) + 1):
        raise BadInputError(Diagnostic("SC533", "there are not so many chips on a board", value=str(chips),
                                       limit="1..4"))
    if watch not in ("outputs", "all"):
        raise BadInputError(Diagnostic("SC533", "watch is 'outputs' or 'all'", value=repr(watch)))
    network = replace(network, projections=tuple(
        replace(each, connection=as_sparse(each.connection, network.size(each.source)))
        if isinstance(each.connection, Conv) else each for each in network.projections))
    operating = operating or Operating()
    currents = currents_of(network, operating, diagnostics)
    faults = Diagnostics()
    core, slot, first = _onto_cores(network, currents)
    most = chips * int(CORES.value)
    if len(first) > most:
        faults.add("SC351", "the network needs more cores than there are", value=f"{len(first)} cores",
                   limit=f"{most} cores of {NEURONS.value:g} neurons, {chips} chips",
                   remedy="Give more chips (up to 4), or a smaller network, or the neurons fewer time constants.")
    _check_fan_in(network, faults)
    watched = set(network.outputs.values()) if watch == "outputs" else set(network.populations)
    heard = _check_destinations(network, core, watched, faults)
    tags, watch_tags = _tags(network, heard, watched, faults)
    faults.raise_if_errors(DoesNotFitError)
    return Placement(network=network, currents=currents, operating=operating, core=core, slot=slot, tags=tags,
                     watch_tags=watch_tags, first=tuple(first))


def _onto_cores(network: Network, currents: Mapping[str, Currents]) -> tuple[
        dict[str, Array], dict[str, Array], list[tuple[str, int]]]:
    core = {name: np.zeros(each.n, dtype=np.int64) for name, each in network.populations.items()}
    slot = {name: np.zeros(each.n, dtype=np.int64) for name, each in network.populations.items()}
    first: list[tuple[str, int]] = []
    open_core: dict[tuple[float, ...], tuple[int, int]] = {}
    for name, wanted in currents.items():
        for neuron, row in enumerate(wanted.alike.tolist()):
            number, used = open_core.get(tuple(row), (-1, int(NEURONS.value)))
            if used == NEURONS.value:
                number, used = len(first), 0
                first.append((name, neuron))
            core[name][neuron], slot[name][neuron] = number, used
            open_core[tuple(row)] = number, used + 1
    return core, slot, first


def _check_fan_in(network: Network, faults: Diagnostics) -> None:
    for name, incoming in network.incoming.items():
        synapses = np.zeros(network.size(name), dtype=np.int64)
        for each in incoming:
            rows, _ = ends(each)
            synapses += np.bincount(rows[np.asarray(each.connection.weight).reshape(-1) != 0], minlength=len(synapses))
        if synapses.max(initial=0) > SYNAPSES.value:
            worst = int(synapses.argmax())
            faults.add("SC350", f"neuron {worst} listens to more synapses than there are", node=name,
                       value=f"{synapses[worst]} synapses; {(synapses > SYNAPSES.value).sum()} neurons have too many",
                       limit=f"{SYNAPSES.value:g} of a neuron", remedy="Prune the weights: zeros take no synapse.")


def _check_destinations(network: Network, core: Mapping[str, Array], watched: set[str],
                        faults: Diagnostics) -> dict[str, Array]:
    """By input or population, whether each source is heard at all."""
    reached = {name: np.zeros((network.size(name), int(CHIPS.value)), dtype=bool)
               for name in (*network.inputs, *network.populations)}
    heard = {name: np.zeros(network.size(name), dtype=bool) for name in reached}
    for each in network.projections:
        rows, columns = ends(each)
        kept = np.asarray(each.connection.weight).reshape(-1) != 0
        chip = core[each.target][rows[kept]] // int(CORES.value)
        heard[each.source][columns[kept]] = True
        within = chip < int(CHIPS.value)
        reached[each.source][columns[kept][within], chip[within]] = True
    for name in network.populations:
        places = reached[name].sum(1) + (name in watched)
        if places.max(initial=0) > DESTINATIONS.value:
            worst = int(places.argmax())
            faults.add("SC351", f"neuron {worst} sends its events to more places than it can", node=name,
                       value=f"{places[worst]} places{', one of them to be watched' if name in watched else ''}",
                       limit=f"{DESTINATIONS.value:g}",
                       remedy='Take fewer chips, or watch="outputs"; an output that feeds nothing has room.')
    return heard


def _tags(network: Network, heard: Mapping[str, Array], watched: set[str],
          faults: Diagnostics) -> tuple[dict[str, Array], dict[str, Array]]:
    """Sources from below, the watched from above; the tag of the board's clock goes to no watched neuron, and to a
    source only where no other is left."""
    inputs = sum(network.size(name) for name in network.inputs)
    neurons = sum(each.n for each in network.populations.values())
    needed = inputs + 2 * neurons
    if needed > TAGS.value:
        faults.add("SC351", "the network needs more tags than there are",
                   value=f"{needed}: {inputs} inputs, and two for each of {neurons} neurons", limit=f"{TAGS.value:g}",
                   remedy="Take fewer inputs or neurons.")
        return {}, {}
    watching = sum(network.size(name) for name in watched)
    free = [*range(CLOCK_TAG - watching), CLOCK_TAG]
    tags, given = {}, 0
    for name, each in heard.items():
        tags[name] = np.full(len(each), -1, dtype=np.int64)
        used = np.ones_like(each) if name in network.inputs else each
        tags[name][used] = free[given:given + int(used.sum())]
        given += int(used.sum())
    watch_tags, last = {}, CLOCK_TAG
    for name, population in network.populations.items():
        watch_tags[name] = np.full(population.n, -1, dtype=np.int64)
        if name in watched:
            watch_tags[name][:] = np.arange(last - population.n, last)
            last -= population.n
    return tags, watch_tags
