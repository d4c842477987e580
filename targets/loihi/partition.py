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
_PARTS = 12
"""A unit of the coarsest level takes such a part of a core, at most, or holds two units of the finest."""
_COARSEST = 16
"""Units are joined no more where so few are left."""
_WORK = 4e7
"""Cores of bundles that are looked at, about, where there are many of them; what fits a cache is looked at faster."""
_LARGE, _QUICK = 5e5, 2.0
_FEWEST, _MOST, _MOST_BULKY = 4, 300, 3000
"""Sweeps of a level."""
_ALIKE = 0.94
"""Ends of bundles that are left where units are joined in pairs; more, and joining them is of no use."""
_SMALL = 1000
"""Units that are few enough to grow cores of them one by one."""
_HEATS = (0.03, 0.1, 0.2, 0.05)
"""The first temperatures of attempts, of the packets that have to do with a unit."""
_FEW, _ATTEMPTS, _APART = 2000, 16, 1000
"""Units that several attempts have in all, and the most attempts; what their seeds differ by."""
_BULKY = 16
"""Neurons of a unit, on average, that make it hard to move: only then are there several attempts, and many sweeps."""


def fill_in_order(units: Units, chip: Chip, limits: Mapping[str, int], cores: int) -> Array | None:
    """(units,): the core of each, core after core in the order in which units are; None where `cores` are too few."""
    return _laid("fill", units, chip, limits, cores, 0)


def partition(units: Units, chip: Chip, limits: Mapping[str, int], cores: int, seed: int) -> Array | None:
    """(units,): the core of each; None where `cores` are too few for how units are laid onto them. Few units are laid
    several times, and the best is taken.

    Args:
        limits: by resource, of a core.
        cores: the most to use.
    """
    best, least = None, np.inf
    attempts = max(1, min(_FEW // len(units), _ATTEMPTS)) if _bulky(units) else 1
    for attempt in range(attempts):
        heat = _HEATS[attempt % len(_HEATS)]
        core = _multilevel(units, chip, limits, cores, seed + attempt * _APART, heat)
        if core is None or not core.any():  # nothing, or all on one core
            return core
        packets = _packets(units, core) if attempts > 1 else 0.0
        if packets < least:
            best, least = core, packets
    return best


def _bulky(units: Units) -> bool:
    return bool(units.neurons.mean() >= _BULKY)


def _packets(units: Units, core: Array) -> float:
    """Between cores, and from inputs to cores."""
    bundles = units.bundles
    bundle_of = np.repeat(np.arange(len(bundles.source)), np.diff(bundles.begin))
    home = np.where(bundles.source < 0, -1, core[bundles.source])[bundle_of]
    there = core[bundles.units]
    keys = (bundle_of * (int(core.max()) + 1) + there)[there != home]
    return float(bundles.rate[np.unique(keys) // (int(core.max()) + 1)].sum())


def _multilevel(units: Units, chip: Chip, limits: Mapping[str, int], cores: int, seed: int,
                heat: float) -> Array | None:
    levels = [units]
    joins: list[Array] = []
    largest = _largest(units, limits)
    while len(levels[-1]) > _COARSEST:
        joined = _join(levels[-1], chip, limits, largest, seed + len(levels))
        if joined is None:
            break
        coarser = _coarser(levels[-1], joined)
        if len(levels) == 1 and _ends(coarser, units) > _ALIKE * _ends(units, units):
            break  # who is joined reaches little in common: nothing is near anything
        joins.append(joined)
        levels.append(coarser)
    core = None
    how = "grow" if joins or len(units) < _SMALL else "fill"
    for depth in range(len(levels) - 1, -1, -1):
        core = _laid(how, levels[depth], chip, limits, cores, seed) if core is None else core[joins[depth]]
        if core is not None:
            share = (len(levels[depth]) / len(units)) ** 0.5
            core = _refined(levels[depth], chip, limits, core, seed, share, heat, not depth, _bulky(units))
    return None if core is None else np.unique(core, return_inverse=True)[1].ravel()


def _ends(level: Units, units: Units) -> int:
    """Ends at this level of the bundles that say who belongs together."""
    narrow = np.diff(units.bundles.begin) <= _WIDEST
    return int(np.diff(level.bundles.begin)[narrow].sum())


def _laid(how: str, units: Units, chip: Chip, limits: Mapping[str, int], cores: int, seed: int) -> Array | None:
    """By the kernel `how`. Where later units leave earlier cores more output axons than they have, it is tried again
    with more of them kept free from the start."""
    spread = max(1.0, float(units.neurons.sum()) / limits["neurons"])
    reach = max(1.0, float(np.diff(units.bundles.begin).mean())) if len(units.bundles.source) else 1.0
    # Of `reach` units at random, so many come to cores of their own, if there are `spread` cores.
    growth = 1.4 if how == "grow" else 2.0
    parts = spread * growth ** np.arange(8)
    foresights = parts / reach * (1 - (1 - 1 / parts) ** reach)
    for foresight in ([0.0] if how == "grow" else []) + [*foresights.tolist(), 1.0]:
        kernel = _kernel(units, limits, chip, cores, seed)
        kernel.set(foresight=foresight, open=np.diff(units.bundles.begin), awaited=np.zeros(cores))
        if kernel.call(how) >= 0:
            return kernel["core"]
    return None


def _refined(units: Units, chip: Chip, limits: Mapping[str, int], core: Array, seed: int, share: float,
             heat: float, finest: bool, bulky: bool) -> Array:
    if not core.any():
        return core
    kernel = _kernel(units, limits, chip, int(core.max()) + 1, seed)
    kernel.set(laid=core)
    kernel.call("lay")
    packets = float((units.bundles.rate * np.diff(units.bundles.begin)).sum() + units.bundles.rate.sum())
    quick = min(max(_LARGE / (len(units.bundles.units) + 1), 1.0), _QUICK)
    kernel.set(work=share * quick * _WORK, sweeps=_MOST_BULKY if bulky else _MOST, fewest=_FEWEST if finest else 1,
               heat=heat * packets / len(units))
    kernel.call("refine")
    return kernel["core"]


def _largest(units: Units, limits: Mapping[str, int]) -> dict[str, int]:
    """What a unit of the coarsest level may take."""
    bundles = units.bundles
    axons = np.repeat(bundles.in_slots, np.diff(bundles.begin))
    reads = int(np.bincount(bundles.units, axons, len(units)).max())
    return {"most_neurons": min(max(limits["neurons"] // _PARTS, 2 * int(units.neurons.max())), limits["neurons"]),
            "most_reads": min(max(limits["in_axons"] // 4, 2 * reads), limits["in_axons"]),
            "most_bits": limits["synapse_bits"] // 2}


def _join(units: Units, chip: Chip, limits: Mapping[str, int], largest: Mapping[str, int], seed: int) -> Array | None:
    """(units,): the cluster of each; None where too few join."""
    kernel = _kernel(units, limits, chip, 1, seed)
    kernel.set(**largest, order=np.random.default_rng(seed).permutation(len(units)))
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
    kinds = {"n_decays": units.decays, "n_thresholds": units.threshold, "n_formats": bundles.format,
             "n_traces": bundles.traces}
    many = {name: int(kind.max(initial=0)) + 1 for name, kind in kinds.items()}
    kernel.set(
        **many, n_units=n, n_bundles=len(bundles.source), n_cores=cores, to_itself=to_itself, word=chip.memory.word,
        header=chip.memory.header, group=chip.memory.group, widest=_WIDEST,
        limits=[limits[name] for name in RESOURCE_ORDER], loads=np.zeros((cores, len(RESOURCE_ORDER))),
        neurons=units.neurons, bits=units.bits, decays=units.decays, threshold=units.threshold, begin=bundles.begin,
        pins=bundles.units, source=bundles.source, axons=bundles.axons, in_slots=bundles.in_slots,
        out_slots=bundles.out_slots, traces=bundles.traces, width=bundles.width, format=bundles.format,
        rate=_positive(bundles.rate), in_begin=_begins(bundles.units, n), in_bundle=bundle_of[by_unit],
        in_synapses=bundles.synapses[by_unit], own_begin=_begins(bundles.source[own], n), own_bundle=own,
        order=np.arange(n), cluster=np.arange(n), reached=np.zeros(len(bundles.source)), core=np.full(n, -1),
        slot_core=np.zeros(len(bundles.units)), slot_count=np.zeros(len(bundles.units)),
        decay_counts=np.zeros(cores * many["n_decays"]), threshold_counts=np.zeros(cores * many["n_thresholds"]),
        format_counts=np.zeros(cores * many["n_formats"]),
        trace_counts=np.zeros(cores * many["n_traces"]), seat=np.zeros(n),
        members=np.zeros(cores), most_members=limits["neurons"], member=np.zeros(cores * limits["neurons"]))
    return kernel


def _positive(rate: Array) -> Array:
    """What never fires still prefers to be near."""
    least: Array = np.maximum(rate, 1e-6 * max(float(rate.mean()), 1e-300) if len(rate) else 0.0)
    return least


def _begins(of: Array, n: int) -> Array:
    return np.concatenate([[0], np.cumsum(np.bincount(of, minlength=n))])
