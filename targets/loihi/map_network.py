"""Integer network -> mapping: its neurons on the cores of chips, with few packets between cores and few hops."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ir.chip import RESOURCES, Chip
from ...ir.diagnostics import BadInputError, Diagnostics, DoesNotFitError
from ...ir.integer.network import IntegerNetwork
from ...ir.integer.plastic import PlasticNetwork
from ...ir.mapping import ChipMapping, CoreContent
from ...ir.nodes import Array
from ...passes.destinations import core_loads, destinations
from ...passes.learning_costs import CoreCosts, Mapped, mapped
from ...passes.mapping_units import Units, mapping_units
from ...passes.traffic import Rates
from .partition import fill_in_order, partition
from .place import placed, places_of

__all__ = ["fill_network", "map_network"]

_ATTEMPTS = 8
_SPARE = 16
"""More chips than are there are tried up to so many times as many, to say how many it takes."""


def map_network(network: IntegerNetwork | PlasticNetwork, chip: Chip, rates: Rates | None = None, seed: int = 0,
                diagnostics: Diagnostics | None = None) -> ChipMapping:
    """Where the neurons of a legal network go; of one that learns, with its feedback and all that learning takes.

    Args:
        chip: with the number of chips that may be used (`dataclasses.replace(chip, chips=4)`).
        rates: by input or population, (n,), spikes a column, as calibration data show them; without them all send
            alike.
        seed: the same gives the same.

    Raises:
        BadInputError: SC335, rates are malformed.
        DoesNotFitError: SC330, a neuron alone exceeds a core; SC331, the network needs more cores than there are.
    """
    faults = Diagnostics() if diagnostics is None else diagnostics
    what = mapped(network, chip)
    return _laid(what, chip, _units(what, chip, rates, faults), seed, faults, by_order=False)


def fill_network(network: IntegerNetwork | PlasticNetwork, chip: Chip) -> ChipMapping:
    """The plain mapping to compare with: neurons in their order fill core after core, cores lie in the order of their
    numbers.

    Raises:
        DoesNotFitError: as `map_network`.
    """
    faults = Diagnostics()
    what = mapped(network, chip)
    return _laid(what, chip, _units(what, chip, None, faults), 0, faults, by_order=True)


def _units(what: Mapped, chip: Chip, rates: Rates | None, faults: Diagnostics) -> Units:
    network = what.network
    for name, each in (rates or {}).items():
        known = name in network.inputs or name in network.populations
        values = np.asarray(each)
        if not known or values.size != network.size(name) or not np.isfinite(values).all() or (values < 0).any():
            faults.add("SC335", "rates are one number >= 0 for each channel or neuron", node=name, value=values.shape,
                       limit=(network.size(name),) if known else "an input or a population")
    faults.raise_if_errors(BadInputError)
    units = mapping_units(what, chip, rates, faults)
    faults.raise_if_errors(DoesNotFitError)
    return units


def _laid(what: Mapped, chip: Chip, units: Units, seed: int, faults: Diagnostics, by_order: bool) -> ChipMapping:
    limits = {name: limit.value for name, limit in chip.limits.items()}
    allowed = {name: limit - what.costs.reserved.get(name, 0) for name, limit in limits.items()}
    cores = chip.chips * chip.cores.value

    def lay(most: int) -> Array | None:
        return (fill_in_order(units, chip, allowed, most) if by_order else partition(units, chip, allowed, most, seed))

    for _ in range(_ATTEMPTS):
        core = lay(cores)
        if core is None:
            core = lay(cores * _SPARE)  # to say how many it takes
        if core is None:
            break
        core_of = {name: core[unit] for name, unit in units.unit_of.items()}
        parts = _parts(core_of, units)
        place_of = _compartments(core_of, parts, what.costs)
        loads = core_loads(what, chip, core_of, place_of, int(core.max()) + 1)
        over = {name: int(load.max()) for name, load in loads.items() if load.max() > limits[name]}
        if over:  # tiles of an image that lie on one core share less memory than was counted on
            for name, most in over.items():
                allowed[name] = min(allowed[name] * limits[name] // most, allowed[name] * 9 // 10)
            continue
        used = int(core.max()) + 1
        if used > cores:
            _too_many(chip, loads, used, faults)
            break
        return _content(chip, parts, loads, _places(what.network, chip, core_of, used, seed, by_order))
    if not faults.errors:
        _too_many(chip, None, None, faults)
    faults.raise_if_errors(DoesNotFitError)
    raise DoesNotFitError(*faults.found)


def _too_many(chip: Chip, loads: Mapping[str, Array] | None, used: int | None, faults: Diagnostics) -> None:
    cores = chip.chips * chip.cores.value
    what, many = "cores", f"more than {cores * _SPARE} cores"
    if loads is not None and used is not None:
        tightest = max(RESOURCES, key=lambda name: float(np.mean(loads[name])) / chip.limits[name].value)
        full = round(100 * float(np.mean(loads[tightest])) / chip.limits[tightest].value)
        what, many = RESOURCES[tightest], f"{used} cores, {full} % of whose {RESOURCES[tightest]} are used on average"
    chips = None if used is None else -(-used // chip.cores.value)
    faults.add("SC331", f"the network needs more cores than there are on {chip.chips} {chip.name} "
               f"chip{'s' if chip.chips > 1 else ''}", value=many, limit=f"{cores} cores",
               remedy=(f"Allow {chips} chips, or make the network smaller: it is {what} that run out." if chips else
                       "Make the network smaller."))


def _parts(core_of: Mapping[str, Array], units: Units) -> list[dict[str, Array]]:
    """By core and population, the neurons that lie there: unit by unit, in the order that a unit has."""
    count = max(int(core.max()) for core in core_of.values()) + 1
    parts: list[dict[str, Array]] = [{} for _ in range(count)]
    for name, core in core_of.items():
        order = np.lexsort((units.place_of[name], units.unit_of[name], core))
        ends = np.searchsorted(core[order], np.arange(count + 1))
        for number in np.unique(core):
            parts[number][name] = order[ends[number]:ends[number + 1]]
    return parts


def _compartments(core_of: Mapping[str, Array], parts: list[dict[str, Array]], costs: CoreCosts) -> dict[str, Array]:
    """By population, (n,): the first compartment of each neuron."""
    places = {name: np.zeros(len(core), dtype=np.int64) for name, core in core_of.items()}
    for part in parts:
        first = 0
        for name, neurons in part.items():
            many = costs.compartments.get(name, 1)
            places[name][neurons] = first + many * np.arange(len(neurons))
            first += many * len(neurons)
    return places


def _places(network: IntegerNetwork, chip: Chip, core_of: Mapping[str, Array], used: int, seed: int,
            by_order: bool) -> Array:
    """(cores, 4): chip, x, y and number of each core."""
    chips = -(-used // chip.cores.value)
    places = places_of(chip, chips)
    if by_order:
        return places[np.lexsort((places[:, 3], places[:, 1], places[:, 2], places[:, 0]))][:used]
    between = np.zeros(used * used)
    for each in destinations(network, core_of):
        if each.projection.source in network.populations:
            between += np.bincount(core_of[each.projection.source][each.source] * used + each.core,
                                   minlength=used * used)
    return places[placed(between.reshape(used, used), places, seed)]


def _content(chip: Chip, parts: list[dict[str, Array]], loads: Mapping[str, Array], places: Array) -> ChipMapping:
    return ChipMapping(chip=chip, cores=tuple(
        CoreContent(parts=part, chip=int(place[0]), x=int(place[1]), y=int(place[2]), core=int(place[3]),
                    loads={name: int(loads[name][number]) for name in RESOURCES})
        for number, (part, place) in enumerate(zip(parts, places, strict=True))))
