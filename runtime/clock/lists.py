"""What is not zero in rows of a dense array, as lists: where few neurons fire, weights are gathered by them."""

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

__all__ = ["SpikeLists", "Turned", "lists_of", "lists_source", "turned"]

_FIELDS: jit.Fields = (
    ("int64_t", "batch", 0), ("int64_t", "n", 0), ("int64_t", "sample_stride", 0), ("int64_t", "column_stride", 0),
    ("int64_t", "n_rows", 0), ("const item *", "dense", 0), ("int64_t *", "rows", 0), ("int32_t *", "indices", 0),
    ("item *", "values", 0), ("int64_t *", "starts", 0), ("int32_t *", "by_index", 0), ("item *", "values_by_index", 0),
)
_ITEMS = {torch.uint8: "uint8_t", torch.float32: "float", torch.float64: "double"}


@dataclass(frozen=True, slots=True)
class SpikeLists:
    """Row r = column * batch + sample holds `indices[rows[r]:rows[r + 1]]`, ascending, int32, of `n`; `values` beside
    them, or None where all are one. `rows` (columns * batch + 1,) int64."""

    rows: Tensor
    indices: Tensor
    values: Tensor | None
    n: int

    def __len__(self) -> int:
        return len(self.indices)

    def dense(self, dtype: torch.dtype) -> Tensor:
        """(columns * batch, n); what is listed several times counts as often."""
        row = torch.repeat_interleave(torch.arange(len(self.rows) - 1, device=self.rows.device), self.rows.diff())
        values = torch.ones(len(self), device=row.device) if self.values is None else self.values
        full = torch.zeros((len(self.rows) - 1, self.n), dtype=dtype, device=row.device)
        return full.index_put_((row, self.indices.long()), values.to(dtype), accumulate=True)


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


def lists_of(dense: Tensor, time_first: bool, flags: bool) -> SpikeLists:
    """Of (time, batch, n) or (batch, time, n), contiguous along n. `flags`: all that is not zero is one."""
    if dense.device.type != "cpu":
        return _on_device(dense if time_first else dense.transpose(0, 1), flags)
    columns, batch = dense.shape[:2] if time_first else dense.shape[1::-1]
    strides = dense.stride() if time_first else (dense.stride(1), dense.stride(0))
    rows = torch.zeros(columns * batch + 1, dtype=torch.int64)
    n = dense.shape[2]
    arguments = jit.arguments_type(_FIELDS)(batch, n, strides[1], strides[0], columns * batch, dense.data_ptr(),
                                            rows.data_ptr())
    library = _library(_ITEMS[dense.dtype])
    run_tasks(library.count, arguments, columns * batch)
    np.cumsum(rows.numpy(), out=rows.numpy())
    indices = empty((int(rows[-1]),), torch.int32, dense.device)
    values = None if flags else empty(indices.shape, dense.dtype, dense.device)
    arguments.indices, arguments.values = indices.data_ptr(), 0 if values is None else values.data_ptr()
    run_tasks(library.fill, arguments, columns * batch)
    return SpikeLists(rows, indices, values, n)


def turned(lists: SpikeLists) -> Turned:
    """The lists by index."""
    if lists.rows.device.type != "cpu":
        index, order = torch.sort(lists.indices, stable=True)
        numbers = torch.arange(len(lists.rows) - 1, device=index.device, dtype=torch.int32)
        row = torch.repeat_interleave(numbers, lists.rows.diff())[order]
        starts = torch.searchsorted(index, torch.arange(lists.n + 1, device=index.device, dtype=torch.int32))
        return Turned(starts, row, None if lists.values is None else lists.values[order])
    starts = torch.zeros(lists.n + 1, dtype=torch.int64)
    row = empty((len(lists),), torch.int32, lists.rows.device)
    values = None if lists.values is None else empty((len(lists),), lists.values.dtype, lists.rows.device)
    arguments = jit.arguments_type(_FIELDS)(0, lists.n, 0, 0, len(lists.rows) - 1, 0, lists.rows.data_ptr(),
                                            lists.indices.data_ptr())
    arguments.starts, arguments.by_index = starts.data_ptr(), row.data_ptr()
    if lists.values is not None and values is not None:
        arguments.values, arguments.values_by_index = lists.values.data_ptr(), values.data_ptr()
    item = "uint8_t" if lists.values is None else _ITEMS[lists.values.dtype]
    run_tasks(_library(item).turn, arguments, 1)
    return Turned(starts, row, values)


def _on_device(dense: Tensor, flags: bool) -> SpikeLists:
    flat = dense.reshape(-1, dense.shape[2])
    row, index = torch.nonzero(flat, as_tuple=True)
    rows = torch.searchsorted(row, torch.arange(len(flat) + 1, device=dense.device))
    return SpikeLists(rows, index.to(torch.int32), None if flags else flat[row, index], dense.shape[2])
