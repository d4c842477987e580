"""Linear maps between flat signals: what a chain of stateless nodes amounts to.

A map is one of the network's connections, or `Diagonal` (element by element), or None (nothing happens). `compose`
gives the map of one after the other and keeps the compact form wherever that is exact: a stencil after a stencil stays
a stencil, a dense matrix after a pool stays dense. All arithmetic goes through `ir.derived.apply`, so that every weight
remembers the parameters that it came from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from ..ir.derived import apply
from ..ir.network import Connection, Conv, Dense, Sparse
from ..ir.nodes import Array
from .stencils import apply_stencil, compose_stencils, input_channels, stencil_paths, stencil_product, unroll

__all__ = [
    "MAX_SYNAPSES", "Diagonal", "Map", "TooLargeError", "apply_map", "as_sparse", "compose", "expand", "plus",
    "rows_of", "scale_inputs", "scale_outputs",
]

MAX_SYNAPSES = 2**28
"""Entries that one composed matrix may have; 2 GiB of float64."""


class TooLargeError(Exception):
    """A composed matrix would have `entries` entries, more than `MAX_SYNAPSES`."""

    def __init__(self, entries: int) -> None:
        super().__init__(f"{entries} entries")
        self.entries = entries


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Diagonal:
    """y = weight * x, element by element: `weight` (channels,) has one value for each entry of x's first axis, and
    `inner` elements of x share it."""

    weight: Array
    inner: int = 1

    def spread(self) -> Diagonal:
        """The same with one value for each element."""
        if self.inner == 1:
            return self
        index = np.repeat(np.arange(len(self.weight)), self.inner)
        return Diagonal(weight=apply("take", self.weight, static=(index,)))


Map = Connection | Diagonal | None


def rows_of(sparse: Sparse) -> Array:
    """The row of every entry."""
    rows: Array = np.repeat(np.arange(len(sparse.indptr) - 1), np.diff(sparse.indptr))
    return rows


def plus(one: Array | None, other: Array | None) -> Array | None:
    """The sum, where None stands for nothing."""
    if one is None or other is None:
        return other if one is None else one
    return apply("add", one, other)


def compose(first: Map, second: Map, n_source: int) -> Map:
    """The map that does `first`, which reads `n_source` elements, and then `second`.

    Raises:
        TooLargeError: where the result has no compact form and more than `MAX_SYNAPSES` entries.
    """
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, Diagonal):
        return _diagonals(first, second) if isinstance(second, Diagonal) else scale_inputs(first, second)
    if isinstance(second, Diagonal):
        return scale_outputs(first, second)
    match first, second:
        case Conv(), Conv():
            _limit(stencil_product(first, second))
            stencil = compose_stencils(first, second)
            return stencil if stencil is not None else _sparse_product(first, second, n_source)
        case _, Dense():
            return _dense_after(first, second, n_source)
        case Dense(), _:
            matrix = _as_matrix(second, len(first.weight))
            _limit(len(matrix) * n_source)
            return Dense(weight=apply("matmul", matrix, first.weight))
        case _:
            return _sparse_product(first, second, n_source)


def _diagonals(first: Diagonal, second: Diagonal) -> Diagonal:
    if first.inner != second.inner:
        first, second = first.spread(), second.spread()
    return replace(first, weight=apply("multiply", second.weight, first.weight))


def expand(first: Connection, second: Connection, n_source: int) -> tuple[Sparse, Array, Array]:
    """Both in turn, with one entry for every path from source to target, paths of one pair side by side; and the
    entries of the two maps (as `as_sparse` orders them) that each path takes."""
    one, other = as_sparse(first, n_source), as_sparse(second, _targets(first))
    counts = np.diff(one.indptr)[other.indices]
    total = int(counts.sum())
    _limit(total)
    entry_second = np.repeat(np.arange(len(other.indices)), counts)
    within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    entry_first = np.asarray(one.indptr)[other.indices][entry_second] + within
    rows, columns = rows_of(other)[entry_second], one.indices[entry_first]
    order = np.lexsort((columns, rows))
    entry_first, entry_second = entry_first[order], entry_second[order]
    weight = apply(
        "multiply",
        apply("take", other.weight, static=(entry_second,)),
        apply("take", one.weight, static=(entry_first,)),
    )
    indptr = np.searchsorted(rows[order], np.arange(len(other.indptr)))
    return Sparse(indptr=indptr, indices=columns[order], weight=weight), entry_first, entry_second


def scale_inputs(diagonal: Diagonal, second: Connection) -> Connection:
    """`diagonal`, then `second`; the same form unless a stencil's channels are scaled unevenly."""
    match second:
        case Conv() if len(diagonal.weight) == second.input_shape[0]:
            factor = apply("take", diagonal.weight, static=(input_channels(second)[:, :, None, None],))
        case Conv():
            return scale_inputs(diagonal, as_sparse(second, prod(second.input_shape)))
        case Dense():
            factor = apply("reshape", diagonal.spread().weight, static=((1, -1),))
        case Sparse():
            factor = apply("take", diagonal.spread().weight, static=(second.indices,))
    return replace(second, weight=apply("multiply", second.weight, factor))


def scale_outputs(first: Connection, diagonal: Diagonal) -> Connection:
    """`first`, then `diagonal`; likewise."""
    match first:
        case Conv() if len(diagonal.weight) == first.output_shape[0]:
            factor = apply("reshape", diagonal.weight, static=((-1, 1, 1, 1),))
        case Conv():
            return scale_outputs(as_sparse(first, prod(first.input_shape)), diagonal)
        case Dense():
            factor = apply("reshape", diagonal.spread().weight, static=((-1, 1),))
        case Sparse():
            factor = apply("take", diagonal.spread().weight, static=(rows_of(first),))
    return replace(first, weight=apply("multiply", first.weight, factor))


def as_sparse(connection: Connection | Diagonal, n_source: int) -> Sparse:
    """The same map as a CSR matrix."""
    match connection:
        case Sparse():
            return connection
        case Diagonal():
            weight = connection.spread().weight
            return Sparse(indptr=np.arange(len(weight) + 1), indices=np.arange(len(weight)), weight=weight)
        case Conv():
            _limit(stencil_paths(connection))
            indptr, indices, entries = unroll(connection)
            return Sparse(indptr=indptr, indices=indices, weight=apply("take", connection.weight, static=(entries,)))
        case Dense(weight=weight):
            n_target = len(weight)
            return Sparse(
                indptr=np.arange(n_target + 1) * n_source,
                indices=np.tile(np.arange(n_source), n_target),
                weight=apply("reshape", weight, static=((-1,),)),
            )


def apply_map(linear: Map, signal: Array) -> Array:
    """The map applied to a flat constant signal."""
    match linear:
        case None:
            return signal
        case Diagonal():
            return apply("multiply", linear.spread().weight, signal)
        case Dense(weight=weight):
            return apply("matmul", weight, signal)
        case Conv():
            return apply_stencil(linear, signal)
        case Sparse():
            products = apply("multiply", linear.weight, apply("take", signal, static=(linear.indices,)))
            return apply("segment_sum", products, static=(rows_of(linear), len(linear.indptr) - 1))


def _dense_after(first: Connection, second: Dense, n_source: int) -> Dense:
    _limit(len(second.weight) * n_source)
    if isinstance(first, Dense):
        return Dense(weight=apply("matmul", second.weight, first.weight))
    sparse = as_sparse(first, n_source)
    if np.bincount(sparse.indices, minlength=n_source).max(initial=0) != 1:
        return Dense(weight=apply("matmul", second.weight, _as_matrix(sparse, n_source)))
    # Every source reaches one element at most (a pool without overlap): columns are copied, not multiplied out.
    row, entry, reached = np.zeros(n_source, np.int64), np.zeros(n_source, np.int64), np.zeros(n_source)
    row[sparse.indices] = rows_of(sparse)
    entry[sparse.indices] = np.arange(len(sparse.indices))
    reached[sparse.indices] = 1.0
    columns = apply("columns", second.weight, static=(row,))
    factor = apply("multiply", apply("take", sparse.weight, static=(entry,)), reached)
    return Dense(weight=apply("multiply", columns, factor))


def _sparse_product(first: Connection, second: Connection, n_source: int) -> Sparse:
    paths, _, _ = expand(first, second, n_source)
    keys, place = np.unique(rows_of(paths) * n_source + paths.indices, return_inverse=True)
    n_target = len(paths.indptr) - 1
    return Sparse(
        indptr=np.searchsorted(keys, np.arange(n_target + 1) * n_source),
        indices=keys % n_source,
        weight=apply("segment_sum", paths.weight, static=(place, len(keys))),
    )


def _as_matrix(connection: Connection, n_source: int) -> Array:
    if isinstance(connection, Dense):
        return connection.weight
    n_target = _targets(connection)
    _limit(n_target * n_source)
    sparse = as_sparse(connection, n_source)
    place = rows_of(sparse) * n_source + sparse.indices
    flat = apply("segment_sum", sparse.weight, static=(place, n_target * n_source))
    return apply("reshape", flat, static=((n_target, n_source),))


def _targets(connection: Connection) -> int:
    match connection:
        case Dense(weight=weight):
            return len(weight)
        case Sparse(indptr=indptr):
            return len(indptr) - 1
        case Conv(output_shape=shape):
            return prod(shape)


def _limit(entries: int) -> None:
    if entries > MAX_SYNAPSES:
        raise TooLargeError(entries)
