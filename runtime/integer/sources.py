"""What fires in each column, as the lists by which the kernels gather weights."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...ir.nodes import Array
from ..clock.lists import SpikeLists, lists_of

__all__ = ["Source"]


class Source:
    """One source over a batch: `raster` (batch, time, n), flags or, of an input, whole numbers. Lists are made once for
    each way in which they are read."""

    def __init__(self, raster: Array | Tensor, device: torch.device) -> None:
        self._raster, self._device = raster, device
        self._lists: dict[str, SpikeLists] = {}

    @property
    def columns(self) -> int:
        return int(self._raster.shape[1])

    def since(self, column: int) -> Source:
        """The same from this column on."""
        return Source(self._raster[:, column:], self._device) if column else self

    def lists(self, way: Literal["groups", "ones", "values"]) -> SpikeLists:
        """Row = column * batch + sample. `groups`: of four neighbours where that is worth it; `ones`: indices;
        `values`: indices, and int32 values beside them."""
        if way not in self._lists:
            self._lists[way] = self._with_values() if way == "values" else lists_of(
                self._flags(), time_first=False, flags=True, may_group=way == "groups")
        return self._lists[way]

    def _flags(self) -> Tensor:
        """uint8, not zero where there is a spike."""
        raster = self._raster
        if isinstance(raster, Tensor):
            return raster
        flags = raster if raster.dtype in (np.uint8, np.bool_) else raster != 0
        return torch.from_numpy(np.ascontiguousarray(flags).view(np.uint8)).to(self._device)

    def _with_values(self) -> SpikeLists:
        raster = np.asarray(self._raster.cpu() if isinstance(self._raster, Tensor) else self._raster)
        flat = raster.swapaxes(0, 1).reshape(-1, raster.shape[2])
        row, index = np.nonzero(flat)
        bounds = np.searchsorted(row, np.arange(len(flat) + 1)).astype(np.int64)
        parts = bounds[:-1], bounds[1:], index.astype(np.int32), flat[row, index].astype(np.int32)
        begins, ends, indices, values = (torch.from_numpy(each.copy()).to(self._device) for each in parts)
        return SpikeLists(begins, ends, indices, values, raster.shape[2], len(index))
