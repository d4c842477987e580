"""The projections of an integer network the other way, in real numbers: what gradients of weights and of the spikes of
a source need.

A drive is (time, batch, n_target): the gradient with respect to what arrives in each column. A spike of column t
arrives in column t + shift, shift = 1 + delay; synapses of one delay are one `_Part`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...ir.integer.network import IntegerConv, IntegerDense, IntegerProjection, IntegerSparse, held_weight
from ...ir.nodes import Array
from ..clock.engine import SPARSE
from ..clock.lists import SpikeLists, lists_of
from ..clock.scan import sums_by_spikes

__all__ = ["Sent", "Transposed"]

_FULL = 1 << 24
"""Elements up to which a sparse matrix is computed with as a full one."""


@dataclass(eq=False)
class Sent:
    """What a source sent over a batch: `raster` (batch, columns, n), flags or whole numbers. `graded`: the numbers
    count; else what is not zero is a spike."""

    raster: Array
    graded: bool
    dtype: torch.dtype
    device: torch.device

    @property
    def columns(self) -> int:
        return int(self.raster.shape[1])

    @cached_property
    def lists(self) -> SpikeLists | None:
        """Rows are columns by samples; None where so much is sent that a matrix product is faster."""
        flags = lists_of(self._numbers, time_first=False, flags=not self.graded)
        return flags if flags.entries <= SPARSE * self.raster.size else None

    @cached_property
    def dense(self) -> Tensor:
        """(columns, batch, n)."""
        return self._numbers.transpose(0, 1).to(self.dtype)

    @cached_property
    def _numbers(self) -> Tensor:
        raster = self.raster
        if self.graded:
            return torch.from_numpy(np.ascontiguousarray(raster)).to(self.device, self.dtype)
        flags = raster if raster.dtype in (np.uint8, np.bool_) else raster != 0
        return torch.from_numpy(np.ascontiguousarray(flags).view(np.uint8)).to(self.device)


class _Matrix(Protocol):
    """Synapses of one delay."""

    def back(self, drive: Tensor, into: Tensor) -> None:
        """Adds to `into` (rows, n_source) what `drive` (rows, n_target) makes there."""

    def outer(self, sent: Sent, columns: int, drive: Tensor) -> Tensor:
        """Sums over rows of what was sent in the first `columns` times `drive` (columns, batch, n_target), of each
        synapse."""


@dataclass(frozen=True, slots=True)
class _Part:
    """`chosen`: which of the weights, a mask (dense) or flat places (sparse); None: all."""

    shift: int
    matrix: _Matrix
    chosen: Tensor | None


class Transposed:
    """`unit` (n_target,): what one arriving unit is worth; weights are in these units here."""

    def __init__(self, projection: IntegerProjection, unit: Array, n_source: int, dtype: torch.dtype,
                 device: torch.device) -> None:
        weight = held_weight(projection).astype(np.float64) * 2.0**projection.exponent
        self.parts = list(_parts(projection, weight, unit, n_source, dtype, device))
        self.shape = weight.shape
        self.dtype, self.device = dtype, device

    def back(self, drive: Tensor, into: Tensor) -> None:
        """Adds the gradients of the source's spikes to `into` (time, batch, n_source)."""
        steps, batch, n = drive.shape
        for part in self.parts:
            if (count := steps - part.shift) > 0:
                part.matrix.back(drive[part.shift:].reshape(count * batch, n), into[:count].view(count * batch, -1))

    def back_column(self, column: int, drive: Tensor, into: Tensor) -> None:
        """The same of one column, `drive` (batch, n_target)."""
        for part in self.parts:
            if column >= part.shift:
                part.matrix.back(drive, into[column - part.shift])

    def weight(self, sent: Sent, drive: Tensor) -> Tensor:
        """In the layout of the weights, d/d(weight): over all columns, what arrived times the drive."""
        total: Tensor | None = None
        for part in self.parts:
            columns = min(sent.columns, len(drive) - part.shift)
            if columns <= 0 or not drive.shape[1]:
                continue
            found = part.matrix.outer(sent, columns, drive[part.shift:part.shift + columns])
            if part.chosen is None:
                return found
            if total is None:
                total = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
            if part.chosen.dtype is torch.bool:
                total += found * part.chosen
            else:
                total[part.chosen] = found
        return torch.zeros(self.shape, dtype=self.dtype, device=self.device) if total is None else total


def _parts(projection: IntegerProjection, weight: Array, unit: Array, n_source: int,
           dtype: torch.dtype, device: torch.device) -> Iterator[_Part]:
    connection, delay = projection.connection, projection.delay

    def moved(array: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device=device)

    def real(chosen: Array | None) -> Tensor:
        every = weight * unit[:, None]
        return moved(every if chosen is None else np.where(chosen, every, 0)).to(dtype)

    for each in [0] if delay is None else np.unique(delay):
        chosen = None if delay is None or (delay == each).all() else delay == each
        shift = 1 + int(each)
        if isinstance(connection, IntegerDense):
            yield _Part(shift, _Dense((len(unit), n_source), partial(real, chosen)),
                        None if chosen is None else moved(chosen))
        elif isinstance(connection, IntegerSparse):
            rows = np.repeat(np.arange(len(connection.indptr) - 1), np.diff(connection.indptr))
            places = np.arange(len(rows)) if chosen is None else np.flatnonzero(chosen)
            row, column = rows[places], np.asarray(connection.indices)[places].astype(np.int64)
            matrix = _scattered(row, column, weight[places] * unit[row], (len(unit), n_source), dtype, device)
            yield _Part(shift, matrix, None if chosen is None else moved(places))
        else:
            yield _Part(shift, _Stencil(connection, moved(weight).to(dtype), moved(unit).to(dtype)), None)


@dataclass(eq=False)
class _Dense:
    """`make` gives (n_target, n_source) when something goes back, which nothing does to an input."""

    size: tuple[int, int]
    make: Callable[[], Tensor]

    @cached_property
    def weight(self) -> Tensor:
        return self.make()

    def back(self, drive: Tensor, into: Tensor) -> None:
        into.addmm_(drive, self.weight)

    def outer(self, sent: Sent, columns: int, drive: Tensor) -> Tensor:
        rows, (n_target, n_source) = columns * drive.shape[1], self.size
        flat, lists = drive.reshape(rows, n_target), sent.lists
        if lists is None:
            return (sent.dense[:columns].reshape(rows, n_source).t() @ flat).t()
        cut = SpikeLists(lists.begins[:rows], lists.ends[:rows], lists.indices, lists.values, lists.n, lists.entries,
                         lists.grouped)
        like = flat.new_empty((n_target, n_source)).t()
        return sums_by_spikes(cut, flat, like).t()


@dataclass(frozen=True, slots=True)
class _Scattered:
    """Synapses at `row` (targets) and `column` (sources) of a matrix that is small enough to be full."""

    full: _Dense
    row: Tensor
    column: Tensor

    def back(self, drive: Tensor, into: Tensor) -> None:
        self.full.back(drive, into)

    def outer(self, sent: Sent, columns: int, drive: Tensor) -> Tensor:
        return self.full.outer(sent, columns, drive)[self.row, self.column]


@dataclass(frozen=True, slots=True)
class _Single:
    """At most one synapse a target, and a source."""

    row: Tensor
    column: Tensor
    weight: Tensor

    def back(self, drive: Tensor, into: Tensor) -> None:
        into[:, self.column] += drive[:, self.row] * self.weight

    def outer(self, sent: Sent, columns: int, drive: Tensor) -> Tensor:
        return (sent.dense[:columns, :, self.column] * drive[:, :, self.row]).sum((0, 1))


@dataclass(frozen=True, slots=True)
class _Sparse:
    """`pattern`: zeros at the synapses, (n_target, n_source), CSR; `turned`: the weights, (n_source, n_target)."""

    pattern: Tensor
    turned: Tensor

    def back(self, drive: Tensor, into: Tensor) -> None:
        into += (self.turned @ drive.t()).t()

    def outer(self, sent: Sent, columns: int, drive: Tensor) -> Tensor:
        flat = drive.reshape(columns * drive.shape[1], -1)
        found: Tensor = torch.sparse.sampled_addmm(self.pattern, flat.t().contiguous(),
                                                   sent.dense[:columns].reshape(len(flat), -1), beta=0.0)
        return found.values()


def _scattered(row: Array, column: Array, weight: Array, size: tuple[int, int], dtype: torch.dtype,
               device: torch.device) -> _Matrix:
    """Synapses in CSR's order."""
    if len(np.unique(row)) == len(row) == len(np.unique(column)):
        return _Single(torch.from_numpy(row).to(device), torch.from_numpy(column).to(device),
                       torch.from_numpy(weight).to(device, dtype))
    if size[0] * size[1] <= _FULL:
        def full() -> Tensor:
            matrix = np.zeros(size)
            matrix[row, column] = weight
            return torch.from_numpy(matrix).to(device, dtype)

        return _Scattered(_Dense(size, full), *(torch.from_numpy(each).to(device) for each in (row, column)))

    def csr(rows: Array, columns: Array, values: Array, shape: tuple[int, int]) -> Tensor:
        starts = np.searchsorted(rows, np.arange(shape[0] + 1))
        first, second, third = (torch.from_numpy(each).to(device) for each in (starts, columns, values))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(first, second, third, shape, check_invariants=False).to(dtype)

    order = np.lexsort((row, column))
    return _Sparse(csr(row, column, np.zeros(len(row)), size),
                   csr(column[order], row[order], weight[order], (size[1], size[0])))


@dataclass(frozen=True, slots=True)
class _Stencil:
    """`unit` (n_target,)."""

    conv: IntegerConv
    weight: Tensor
    unit: Tensor

    def back(self, drive: Tensor, into: Tensor) -> None:
        into += self._reverse(drive * self.unit, None)[0].flatten(1)

    def outer(self, sent: Sent, columns: int, drive: Tensor) -> Tensor:
        flat = drive.reshape(columns * drive.shape[1], -1)
        return self._reverse(flat, sent.dense[:columns].reshape(len(flat), -1))[1]

    def _reverse(self, drive: Tensor, sent: Tensor | None) -> tuple[Tensor, Tensor]:
        conv, rows = self.conv, len(drive)
        given = drive.new_empty((1,)).expand(rows, *conv.input_shape) if sent is None else sent.view(
            rows, *conv.input_shape)
        found: Any = torch.ops.aten.convolution_backward(
            drive.reshape(rows, *conv.output_shape), given, self.weight, None, conv.stride, conv.padding, conv.dilation,
            False, (0, 0), conv.groups, (sent is None, sent is not None, False))
        return found[0], found[1]
