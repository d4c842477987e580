"""Cores onto the mesh, so that packets take few hops: along a Hilbert curve first, then by exchanges."""

from __future__ import annotations

import numpy as np

from ...ir.chip import Chip
from ...ir.nodes import Array
from ...runtime.mapping import MappingKernel

__all__ = ["placed", "places_of"]

_WORK = 3e7
"""Links that are looked at, about."""
_MOST = 20_000
"""Tries of a core."""
_NEARBY = 8
"""Places along the curve that count as near."""


def places_of(chip: Chip, chips: int) -> Array:
    """(places, 6): chip, x, y and number of each core of so many chips, and its router's x and y on the mesh of all,
    along a Hilbert curve over that mesh."""
    columns = chip.columns(chips)
    width, height = chip.width.value, chip.height.value
    each = [(number, x, y, core, *chip.router(number, x, y, columns))
            for number in range(chips) for y in range(height) for x in range(width)
            for core in range(chip.at_router.value) if (y * width + x) * chip.at_router.value + core < chip.cores.value]
    places = np.array(each, dtype=np.int64)
    return places[np.argsort(_along_curve(places[:, 4], places[:, 5]), kind="stable")]


def _along_curve(x: Array, y: Array) -> Array:
    """The distance of each point along a Hilbert curve."""
    bits = max(int(x.max()), int(y.max()), 1).bit_length()
    x, y, distance = x.copy(), y.copy(), np.zeros(len(x), dtype=np.int64)
    for bit in range(bits - 1, -1, -1):
        right, up = x >> bit & 1, y >> bit & 1
        distance += (3 * right ^ up) << 2 * bit
        flipped = (up == 0) & (right == 1)
        x, y = np.where(flipped, (1 << bit) - 1 - (x & (1 << bit) - 1), x), np.where(
            flipped, (1 << bit) - 1 - (y & (1 << bit) - 1), y)
        x, y = np.where(up == 0, y, x), np.where(up == 0, x, y)
    return distance


def placed(between: Array, places: Array, seed: int) -> Array:
    """(cores,): the row of `places` that each core takes. `between` (cores, cores): packets from one to another, the
    cores in an order in which neighbours have to do with each other."""
    cores = len(between)
    both = between + between.T
    np.fill_diagonal(both, 0.0)
    start, end = np.nonzero(both)
    holder = np.full(len(places), -1)
    holder[:cores] = np.arange(cores)
    kernel = MappingKernel(seed)
    links = np.bincount(start, minlength=cores)
    kernel.set(n_cores=cores, n_places=len(places), place=np.arange(cores), holder=holder, place_x=places[:, 4],
               place_y=places[:, 5], link_begin=np.concatenate([[0], np.cumsum(links)]), link_core=end,
               link_rate=both[start, end], nearby=_NEARBY,
               sweeps=round(min(_WORK / max(1.0, float(links.mean())), _MOST * (cores - 1))),
               heat=float(both.sum()) / max(1, cores))
    kernel.call("arrange")
    return kernel["place"]
