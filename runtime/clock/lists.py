"""What is not zero in rows of a dense array, as lists: where few neurons fire, weights are gathered by them.

Spikes beside each other often fire together, and even where they do not, one row of sums serves a whole group: with
lists of groups of four, and a table of the sums of each group's weights (`sums_of_groups`), a quarter of all rows is
the most that is ever gathered (the method of four Russians: Arlazarov et al. 1970).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import jit
from ..arenas import empty
from ..threads import run_tasks

__all__ = ["CODES", "GROUP", "SpikeLists", "Turned", "lists_of", "lists_source", "sums_of_groups", "sums_source",
           "turned"]

GROUP = 4
"""Neighbours of a group."""
CODES = 1 << GROUP
"""Rows of the table for a group: one for each set of its members."""
_ENOUGH_ROWS = 512
"""Rows from which on the table of sums is worth the making."""
_MOST_GROUPED = 1024
"""Of a source; its table, of 512 bytes a row and block of neurons, is then 2 MiB, which second-level caches hold."""

_FIELDS: jit.Fields = (
    ("int64_t", "batch", 0), ("int64_t", "n", 0), ("int64_t", "sample_stride", 0), ("int64_t", "column_stride", 0),
    ("int64_t", "n_rows", 0), ("const item *", "dense", 0), ("int64_t *", "begins", 0), ("int64_t *", "ends", 0),
    ("int32_t *", "indices", 0), ("item *", "values", 0), ("int64_t *", "starts", 0), ("int32_t *", "by_index", 0),
    ("item *", "values_by_index", 0),
)
_SUMS_FIELDS: jit.Fields = (
    *(("int64_t", name, 0) for name in ("n_source", "n", "source_stride", "neuron_stride", "lanes")),
    ("const item *", "weight", 0), ("item *", "table", 0),
)
_ITEMS = {torch.uint8: "uint8_t", torch.int16: "int16_t", torch.float32: "float", torch.float64: "double"}


@dataclass(frozen=True, slots=True)
class SpikeLists:
    """Row r = column * batch + sample holds `indices[begins[r]:ends[r]]`, ascending, int32, of `n`; `values` beside
    them, or None where all are one. `begins`, `ends` (columns * batch,) int64. `entries`: of all rows together.
    `grouped`: an index is CODES * group + a bit for each member of the group, the first the lowest."""

    begins: Tensor
    ends: Tensor
    indices: Tensor
    values: Tensor | None
    n: int
    entries: int
    grouped: bool = False

    @property
    def table(self) -> int:
        """Rows that indices speak of."""
        return -(-self.n // GROUP) * CODES if self.grouped else self.n

    def dense(self, dtype: torch.dtype) -> Tensor:
        """(columns * batch, n); what is listed several times counts as often."""
        device, lengths = self.begins.device, self.ends - self.begins
        row = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
        first = torch.repeat_interleave(self.begins - (lengths.cumsum(0) - lengths), lengths)
        index = self.indices[torch.arange(len(row), device=device) + first].long()
        values = torch.ones(len(row), device=device) if self.values is None else self.values
        if self.grouped:
            entry, member = ((index % CODES)[:, None] >> torch.arange(GROUP, device=device) & 1).nonzero(as_tuple=True)
            row, index, values = row[entry], index[entry] // CODES * GROUP + member, values[entry]
        full = torch.zeros((len(lengths), self.n), dtype=dtype, device=device)
        return full.index_put_((row, index), values.to(dtype), accumulate=True)


@dataclass(frozen=True, slots=True)
class Turned:
    """Lists the other way: index i stands in the rows `rows[starts[i]:starts[i + 1]]`, ascending, with `values`."""

    starts: Tensor
    rows: Tensor
    values: Tensor | None


def lists_source(item: str) -> str:
    """The text of the kernels that make lists of `item`s."""
    return jit.render("clock_lists.jinja", item=item)


@functools.cache
def _library(item: str) -> Any:
    return jit.compile_c(lists_source(item))


def lists_of(dense: Tensor, time_first: bool, flags: bool, may_group: bool = True) -> SpikeLists:
    """Of (time, batch, n) or (batch, time, n), contiguous along n. `flags`: all that is not zero is one. `may_group`:
    whoever reads them knows groups."""
    if dense.device.type != "cpu":
        return _on_device(dense if time_first else dense.transpose(0, 1), flags)
    columns, batch = dense.shape[:2] if time_first else dense.shape[1::-1]
    strides = dense.stride() if time_first else (dense.stride(1), dense.stride(0))
    rows, n = columns * batch, dense.shape[2]
    arguments = jit.arguments_type(_FIELDS)(batch, n, strides[1], strides[0], rows, dense.data_ptr())
    library = _library(_ITEMS[dense.dtype])
    if may_group and rows >= _ENOUGH_ROWS and n <= _MOST_GROUPED:
        groups = -(-n // GROUP)
        begins = _evenly(columns, batch, groups, strides[1] < strides[0])
        ends = torch.empty(rows, dtype=torch.int64)
        indices = empty((rows * groups,), torch.int32, dense.device)
        _point(arguments, begins=begins, ends=ends, indices=indices)
        run_tasks(library.group, arguments, rows)
        if ends.numpy().min() >= 0:
            entries = int((ends.numpy() - begins.numpy()).sum())
            return SpikeLists(begins, ends, indices, None, n, entries, grouped=True)
    bounds = torch.zeros(rows + 1, dtype=torch.int64)
    begins, ends = bounds[:-1], bounds[1:]
    _point(arguments, begins=begins, ends=ends)
    run_tasks(library.count, arguments, rows)
    np.cumsum(bounds.numpy(), out=bounds.numpy())
    indices = empty((int(bounds[-1]),), torch.int32, dense.device)
    values = None if flags else empty(indices.shape, dense.dtype, dense.device)
    _point(arguments, indices=indices, values=values)
    run_tasks(library.fill, arguments, rows)
    return SpikeLists(begins, ends, indices, values, n, len(indices))


@functools.lru_cache(8)
def _evenly(columns: int, batch: int, room: int, time_first: bool) -> Tensor:
    """Where each row begins, with the same room for each, in the order of what they are made of."""
    rows = torch.arange(columns * batch) * room
    return rows if time_first else rows.view(batch, columns).T.flatten()


def turned(lists: SpikeLists) -> Turned:
    """The lists by index."""
    if lists.begins.device.type != "cpu":
        index, order = torch.sort(lists.indices, stable=True)
        numbers = torch.arange(len(lists.begins), device=index.device, dtype=torch.int32)
        row = torch.repeat_interleave(numbers, lists.ends - lists.begins)[order]
        starts = torch.searchsorted(index, torch.arange(lists.n + 1, device=index.device, dtype=torch.int32))
        return Turned(starts, row, None if lists.values is None else lists.values[order])
    device = lists.begins.device
    starts = torch.zeros(lists.table + 1, dtype=torch.int64)
    row = empty((lists.entries,), torch.int32, device)
    values = None if lists.values is None else empty(row.shape, lists.values.dtype, device)
    arguments = jit.arguments_type(_FIELDS)(n=lists.table, n_rows=len(lists.begins))
    _point(arguments, begins=lists.begins, ends=lists.ends, indices=lists.indices, values=lists.values, starts=starts,
           by_index=row, values_by_index=values)
    item = "uint8_t" if lists.values is None else _ITEMS[lists.values.dtype]
    run_tasks(_library(item).turn, arguments, 1)
    return Turned(starts, row, values)


def sums_source(real: str) -> str:
    """The text of the kernel that sums weights of groups."""
    return jit.render("clock_sums.jinja", real=real)


@functools.cache
def _sums(real: str) -> Any:
    return jit.compile_c(sums_source(real)).sums


def sums_of_groups(weight: Tensor, blocks: int, lanes: int) -> Tensor:
    """(n_source, n) -> (blocks, groups * CODES, lanes): the sums of the weights of each set of members of a group."""
    groups = -(-len(weight) // GROUP)
    table = empty((blocks, groups * CODES, lanes), weight.dtype, weight.device)
    arguments = jit.arguments_type(_SUMS_FIELDS)(*weight.shape, *weight.stride(), lanes, weight.data_ptr(),
                                                 table.data_ptr())
    run_tasks(_sums(_ITEMS[weight.dtype]), arguments, blocks * groups)
    return table


def _point(arguments: Any, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        setattr(arguments, name, 0 if tensor is None else tensor.data_ptr())


def _on_device(dense: Tensor, flags: bool) -> SpikeLists:
    flat = dense.reshape(-1, dense.shape[2])
    row, index = torch.nonzero(flat, as_tuple=True)
    bounds = torch.searchsorted(row, torch.arange(len(flat) + 1, device=dense.device))
    return SpikeLists(bounds[:-1], bounds[1:], index.to(torch.int32), None if flags else flat[row, index],
                      dense.shape[2], len(index))
