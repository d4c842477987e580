"""Units of neurons onto cores, so that few packets go between cores.

Multilevel: units are joined into larger ones, those are laid onto cores greedily, and at each level, from coarse to
fine, units move or are exchanged by what packets that saves (simulated annealing at a falling temperature, on the
connectivity metric: for each bundle its rate times the cores that it reaches beside its own). Every step keeps every
core within its limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...ir.chip import Chip
from ...ir.nodes import Array
from ...passes.destinations import distinct
from ...passes.mapping_units import Units
from ...runtime.mapping import RESOURCE_ORDER, MappingKernel

__all__ = ["fill_in_order", "partition"]

_WIDEST = 256
"""Bundles to more units than this say nothing about who belongs together."""
_COARSEST = 12
"""Units a core at the coarsest level, about."""
_WORK = 2e7
"""Ends of bundles that are looked at, about, on each level."""
_FEWEST, _MOST = 4, 100
"""Sweeps of a level."""
_HEAT = 0.03
"""The first temperature, of the packets that have to do with a unit."""


def fill_in_order(units: Units, chip: Chip, limits: Mapping[str, int], cores: int) -> Array | None:
    """(units,): the core of each, core after core in the order in which units are; None where `cores` are too few."""
    return _laid("fill", units, chip, limits, cores, 0)


def partition(units: Units, chip: Chip, limits: Mapping[str, int], cores: int, seed: int,
              effort: float = 1.0) -> Array | None:
    """(units,): the core of each; None where `cores` are too few for how units are laid onto them.

    Args:
        limits: by resource, of a core.
        cores: the most to use.
        effort: sweeps are so many times as many.
    """
    levels = [units]
    joins: list[Array] = []
    while len(levels[-1]) > _COARSEST * (int(levels[-1].neurons.sum()) // limits["neurons"] + 1):
        joined = _join(levels[-1], chip, limits, seed + len(levels))
        if joined is None:
            break
        joins.append(joined)
        levels.append(_coarser(levels[-1], joined))
    core = None
    for depth in range(len(levels) - 1, -1, -1):
        core = _laid("grow", levels[depth], chip, limits, cores, seed) if core is None else core[joins[depth]]
        if core is not None:
            core = _refined(levels[depth], chip, limits, core, seed, effort)
    return None if core is None else np.unique(core, return_inverse=True)[1].ravel()


def _laid(how: str, units: Units, chip: Chip, limits: Mapping[str, int], cores: int, seed: int) -> Array | None:
    """By the kernel `how`. Where later units leave earlier cores more output axons than they have, cores take fewer
    neurons from the start."""
    most, largest = limits["neurons"], int(units.neurons.max())
    while most >= largest:
        kernel = _kernel(units, {**limits, "neurons": most}, chip, cores, seed)
        if kernel.call(how) >= 0:
            return kernel["core"]
        most = most * 9 // 10
    return None


def _refined(units: Units, chip: Chip, limits: Mapping[str, int], core: Array, seed: int, effort: float) -> Array:
    kernel = _kernel(units, limits, chip, int(core.max()) + 1, seed)
    kernel.set(laid=core)
    kernel.call("lay")
    packets = float((units.bundles.rate * np.diff(units.bundles.begin)).sum() + units.bundles.rate.sum())
    sweeps = min(max(effort * _WORK / (len(units.bundles.units) + 1), _FEWEST), _MOST)
    kernel.set(sweeps=round(sweeps), heat=_HEAT * packets / len(units))
    kernel.call("refine")
    return kernel["core"]


def _join(units: Units, chip: Chip, limits: Mapping[str, int], seed: int) -> Array | None:
    """(units,): the cluster of each; None where too few join."""
    kernel = _kernel(units, limits, chip, 1, seed)
    kernel.set(most_neurons=limits["neurons"] // _COARSEST, most_bits=limits["synapse_bits"] // 4,
               order=np.random.default_rng(seed).permutation(len(units)))
    clusters = kernel.call("join")
    if clusters > 0.9 * len(units):
        return None
    return np.unique(kernel["cluster"], return_inverse=True)[1].ravel()


def _coarser(units: Units, joined: Array) -> Units:
    n, bundles = int(joined.max()) + 1, units.bundles
    bundle_of = np.repeat(np.arange(len(bundles.source)), np.diff(bundles.begin))
    keys = bundle_of * n + joined[bundles.units]
    order = np.argsort(keys, kind="stable")
    merged, counts = distinct(keys)
    first = np.cumsum(counts) - counts
    synapses = np.add.reduceat(bundles.synapses[order], first) if len(first) else bundles.synapses
    begin = np.concatenate([[0], np.cumsum(np.bincount(merged // n, minlength=len(bundles.source)))])
    decays, threshold = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    decays[joined], threshold[joined] = units.decays, units.threshold
    return replace(
        units, neurons=np.bincount(joined, units.neurons, n).astype(np.int64), decays=decays, threshold=threshold,
        bits=np.bincount(joined, units.bits, n).astype(np.int64),
        bundles=replace(bundles, source=np.where(bundles.source < 0, -1, joined[bundles.source]), begin=begin,
                        units=merged % n, synapses=synapses))


def _kernel(units: Units, limits: Mapping[str, int], chip: Chip, cores: int, seed: int) -> MappingKernel:
    """Ready, with nothing on any core."""
    bundles, n = units.bundles, len(units)
    kernel = MappingKernel(seed)
    bundle_of = np.repeat(np.arange(len(bundles.source)), np.diff(bundles.begin))
    by_unit = np.argsort(bundles.units, kind="stable")
    own = np.argsort(bundles.source, kind="stable")
    own = own[np.searchsorted(bundles.source[own], 0):]
    to_itself = np.zeros(len(bundles.source), dtype=np.int64)
    alike = bundles.units == bundles.source[bundle_of]
    to_itself[bundle_of[alike]] = bundles.synapses[alike]
    kinds = {"n_decays": units.decays, "n_thresholds": units.threshold, "n_formats": bundles.format}
    many = {name: int(kind.max(initial=0)) + 1 for name, kind in kinds.items()}
    kernel.set(
        **many, n_units=n, n_bundles=len(bundles.source), n_cores=cores, to_itself=to_itself, word=chip.memory.word,
        header=chip.memory.header, group=chip.memory.group, widest=_WIDEST,
        limits=[limits[name] for name in RESOURCE_ORDER], loads=np.zeros((cores, len(RESOURCE_ORDER))),
        neurons=units.neurons, bits=units.bits, decays=units.decays, threshold=units.threshold, begin=bundles.begin,
        pins=bundles.units, source=bundles.source, axons=bundles.axons, width=bundles.width, format=bundles.format,
        rate=_positive(bundles.rate), in_begin=_begins(bundles.units, n), in_bundle=bundle_of[by_unit],
        in_synapses=bundles.synapses[by_unit], own_begin=_begins(bundles.source[own], n), own_bundle=own,
        order=np.arange(n), cluster=np.arange(n), reached=np.zeros(len(bundles.source)), core=np.full(n, -1),
        slot_core=np.zeros(len(bundles.units)), slot_count=np.zeros(len(bundles.units)),
        decay_counts=np.zeros(cores * many["n_decays"]), threshold_counts=np.zeros(cores * many["n_thresholds"]),
        format_counts=np.zeros(cores * many["n_formats"]), seat=np.zeros(n),
        members=np.zeros(cores), most_members=limits["neurons"], member=np.zeros(cores * limits["neurons"]))
    return kernel


def _positive(rate: Array) -> Array:
    """What never fires still prefers to be near."""
    least: Array = np.maximum(rate, 1e-6 * max(float(rate.mean()), 1e-300) if len(rate) else 0.0)
    return least


def _begins(of: Array, n: int) -> Array:
    return np.concatenate([[0], np.cumsum(np.bincount(of, minlength=n))])
