"""Populations whose neurons differ in their time constants, split into parts that a core can hold.

A core has one pair of decays for a population (Lava's LIF takes scalars; lava-nc/lava#819). Neurons of the same decays,
rounded to 12 bits, become one part; where there are more pairs than `MOST_PARTS`, neurons of neighbouring ones share
their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..ir.derived import apply
from ..ir.diagnostics import Diagnostics
from ..ir.grid import Discretization
from ..ir.network import Connection, Dense, Network, Population, Projection, Sparse
from ..ir.nodes import Array
from .algebra import as_sparse
from .chip_law import decay_codes

__all__ = ["MOST_PARTS", "SplitNetwork", "split_populations"]

MOST_PARTS = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitNetwork:
    """`parts`: for each population that was split, by name of a part, the neurons (k,) that it holds, ascending."""

    network: Network
    parts: Mapping[str, Mapping[str, Array]]

    def whole(self, name: str, values: Mapping[str, Array]) -> Array:
        """What each part of a population has along its last axis, in the order of the population's neurons."""
        if name not in self.parts:
            return values[name]
        pieces = {part: values[part] for part in self.parts[name]}
        first = next(iter(pieces.values()))
        joined = np.empty((*first.shape[:-1], sum(len(each) for each in self.parts[name].values())), first.dtype)
        for part, piece in pieces.items():
            joined[..., self.parts[name][part]] = piece
        return joined


def split_populations(network: Network, grids: Mapping[str, Discretization], faults: Diagnostics) -> SplitNetwork:
    """`grids`: by population. What is merged is told (SC323, a warning)."""
    parts: dict[str, dict[str, Array]] = {}
    taken = {*network.inputs, *network.populations}
    for name, population in network.populations.items():
        groups = _groups(population, grids[name], faults)
        if len(groups) > 1:
            parts[name] = {}
            for number, index in enumerate(groups):
                part = f"{name}.{number}"
                while part in taken:
                    part += "_"
                taken.add(part)
                parts[name][part] = index
    if not parts:
        return SplitNetwork(network=network, parts={})
    populations: dict[str, Population] = {}
    for name, population in network.populations.items():
        populations |= ({part: _part(population, part, index) for part, index in parts[name].items()}
                        if name in parts else {name: population})
    projections = [piece for each in network.projections for piece in _pieces(network, each, parts)]
    outputs: dict[str, str] = {}
    for output, name in network.outputs.items():
        outputs |= ({f"{output}.{number}": part for number, part in enumerate(parts[name])} if name in parts
                    else {output: name})
    return SplitNetwork(network=replace(network, populations=populations, projections=tuple(projections),
                                        outputs=outputs, schedule=()), parts=parts)


def _groups(population: Population, grid: Discretization, faults: Diagnostics) -> list[Array]:
    codes = decay_codes(population, grid)
    found, place = np.unique(codes, axis=0, return_inverse=True)
    place = place.reshape(-1)
    if len(found) <= MOST_PARTS:
        return [np.flatnonzero(place == number) for number in range(len(found))]
    order = np.lexsort((codes[:, 0], codes[:, 1]))
    groups = [np.sort(each) for each in np.array_split(order, MOST_PARTS)]
    worst = max(float(np.abs(codes[each] - codes[each].mean(0)).max()) for each in groups)
    faults.add("SC323", "the neurons have more different decays than a chip is given populations for; those of "
               "neighbouring decays share their mean", node=population.name,
               value=f"{len(found)} pairs, off by {worst / 4096:.2%} of the state a column at most",
               limit=f"{MOST_PARTS} pairs", severity="warning", remedy="Give the neurons fewer time constants.")
    return groups


def _part(population: Population, name: str, index: Array) -> Population:
    taken: dict[str, Any] = {
        each.name: apply("take", value, static=(index,)) for each in fields(population)
        if isinstance(value := getattr(population, each.name), np.ndarray)}
    return replace(population, name=name, shape=(len(index),), **taken)


def _pieces(network: Network, projection: Projection, parts: Mapping[str, Mapping[str, Array]]) -> list[Projection]:
    if projection.target not in parts and projection.source not in parts:
        return [projection]
    targets: Mapping[str, Array | None] = parts.get(projection.target) or {projection.target: None}
    sources: Mapping[str, Array | None] = parts.get(projection.source) or {projection.source: None}
    found: list[Projection] = []
    for target, rows in targets.items():
        for source, columns in sources.items():
            connection, kept = _cut(projection.connection, network.size(projection.source), rows, columns)
            delay = projection.delay
            if delay is not None:
                index = columns if projection.delay_per == "source" else kept
                delay = delay if index is None else apply("take", delay, static=(index,))
                if projection.delay_per == "synapse" and isinstance(connection, Dense):
                    delay = apply("reshape", delay, static=(connection.weight.shape,))
            found.append(replace(projection, name=f"{projection.name}.{len(found)}", source=source, target=target,
                                 connection=connection, delay=delay))
    return found


def _cut(connection: Connection, n_source: int, rows: Array | None, columns: Array | None) -> tuple[Connection, Array]:
    """The part of a connection, and where its weights stood among all weights, flat."""
    if isinstance(connection, Dense):
        n_target = len(connection.weight)
        every = np.arange(n_target), np.arange(n_source)
        grid = np.ix_(every[0] if rows is None else rows, every[1] if columns is None else columns)
        kept = np.ravel_multi_index(np.broadcast_arrays(*grid), (n_target, n_source))
        weight = apply("reshape", apply("take", connection.weight, static=(kept.reshape(-1),)), static=(kept.shape,))
        return Dense(weight=weight), kept.reshape(-1)
    sparse = as_sparse(connection, n_source)
    indptr, indices = np.asarray(sparse.indptr), np.asarray(sparse.indices)
    row = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    new_row, new_column = _places(rows, len(indptr) - 1), _places(columns, n_source)
    kept = np.flatnonzero((new_row[row] >= 0) & (new_column[indices] >= 0))
    counts = np.bincount(new_row[row[kept]], minlength=len(indptr) - 1 if rows is None else len(rows))
    return Sparse(indptr=np.append(0, np.cumsum(counts)), indices=new_column[indices[kept]],
                  weight=apply("take", sparse.weight, static=(kept,))), kept


def _places(chosen: Array | None, n: int) -> Array:
    """(n,): the place of each among the chosen, -1 for the others."""
    places = np.full(n, -1, dtype=np.int64)
    chosen = np.arange(n) if chosen is None else chosen
    places[chosen] = np.arange(len(chosen))
    return places
