"""Spikes and signals of a stream as lists by column: what a raster of many samples would not fit in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.nodes import Array

__all__ = ["SpikeList"]


@dataclass(frozen=True, slots=True, eq=False)
class SpikeList:
    """In column t: `channels[begins[t]:begins[t + 1]]`, ascending, with their `values`, none of them zero; None: all 1.
    `begins` (columns + 1,) int64, `channels` and `values` int32."""

    begins: Array
    channels: Array
    values: Array | None = None

    @property
    def columns(self) -> int:
        return len(self.begins) - 1

    def raster(self, n: int) -> Array:
        """(columns, n) int64."""
        found = np.zeros((self.columns, n), dtype=np.int64)
        column = np.repeat(np.arange(self.columns), np.diff(self.begins))
        found[column, self.channels] = 1 if self.values is None else self.values
        return found

    def part(self, start: int, stop: int) -> SpikeList:
        """The columns from `start` to `stop`."""
        first, last = int(self.begins[start]), int(self.begins[stop])
        return SpikeList(self.begins[start:stop + 1] - first, self.channels[first:last],
                         None if self.values is None else self.values[first:last])

    @classmethod
    def of_raster(cls, raster: Any) -> SpikeList:
        """`raster`: (columns, n) whole numbers."""
        values = np.asarray(raster)
        columns, channels = np.nonzero(values)
        found = values[columns, channels]
        return cls(_begins(columns, len(values)), channels.astype(np.int32),
                   None if (found == 1).all() else found.astype(np.int32))

    @classmethod
    def of_sorted(cls, columns: Any, channels: Any, length: int, values: Any = None) -> SpikeList:
        """Events by column, and by channel within one, each channel once."""
        return cls(_begins(np.asarray(columns), length), np.asarray(channels).astype(np.int32),
                   None if values is None else np.asarray(values).astype(np.int32))

    @classmethod
    def of_events(cls, columns: Any, channels: Any, length: int, values: Any = None) -> SpikeList:
        """Events in any order, `columns` below `length`, no channel twice in a column."""
        at = np.asarray(columns)
        order = np.lexsort((np.asarray(channels), at))
        return cls(_begins(at, length), np.asarray(channels)[order].astype(np.int32),
                   None if values is None else np.asarray(values)[order].astype(np.int32))


def _begins(columns: Array, length: int) -> Array:
    return np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=length))]).astype(np.int64)
