"""What a run of a model on a chip's grid is given, as the rasters of whole numbers that the chip takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostics
from ...ir.events import Events
from ...ir.graph import Discretization, Graph
from ...ir.nodes import Array
from ...ir.shapes import Shapes
from ..clock.inputs import given_by_name, numbers_of, placed_events

__all__ = ["ModelInputs"]


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """The inputs of a model on a grid. `message_bits`: by input whose spikes carry values, of magnitude below 2^bits;
    a spike of the others is a one."""

    graph: Graph
    grid: Discretization
    shapes: Mapping[str, Shapes]
    message_bits: Mapping[str, int]

    def rasters(self, given: Any, duration: Any = None, dt: Any = None) -> tuple[dict[str, Array], int, int]:
        """(batch, time, n) by input, uint8 or int32, the number of columns, and of samples. `given`, `duration`, `dt`:
        as of `ClockProgram.run`. An input that nothing is given for is silent.

        Raises:
            BadInputError: as `clock.inputs.signals_of`; values that are no spikes, or more than a message holds
                (SC405).
        """
        by_name, steps, batch = given_by_name(self, given, duration, dt)
        faults, rasters = Diagnostics(), {}
        for name in self.graph.inputs:
            n = int(np.prod(self.shapes[name].output, dtype=np.int64))
            values = self._values(name, by_name.get(name), (batch, steps, n), faults)
            bits = self.message_bits.get(name, 0)
            most = (1 << bits) - 1 if bits else 1
            wrong = _wrong(values, -most if bits else 0, most)
            if wrong is not None:
                sample, column, channel = wrong
                value = float(values[wrong])
                faults.add("SC405", "the chip takes spikes, at most one of a channel and column" if isfinite(value)
                           else "a raster holds finite values", node=name,
                           value=f"{value:g} in sample {sample}, column {column}, channel {channel}",
                           limit=f"whole numbers up to ±{most}" if bits else "0 or 1",
                           remedy="Encode values as spikes, or compile for loihi2 with message_bits={"
                                  f"'{name}': bits}} for graded ones.")
            else:
                rasters[name] = values.astype(np.int32 if bits else np.uint8, copy=False)
        faults.raise_if_errors()
        return rasters, steps, batch

    def _values(self, name: str, given: Any, layout: tuple[int, int, int], faults: Diagnostics) -> Array:
        """What is given for an input, (batch, steps, n), of whatever type."""
        batch, steps, n = layout
        if given is None:
            return np.zeros(layout, dtype=np.uint8)
        if isinstance(given, Events):
            column, sample, index = placed_events(given.checked(n), steps, self.grid.dt)
            flags = np.zeros(layout, dtype=np.uint8)
            flags[sample, column, index] = 1
            if np.count_nonzero(flags) == len(index):
                return flags
            counts = np.zeros(layout, dtype=np.int32)
            np.add.at(counts, (sample, column, index), 1)
            return counts
        numbers = numbers_of(name, given, faults)
        if numbers is None:
            return np.zeros(layout, dtype=np.uint8)
        values = numbers.detach().cpu().reshape(batch, numbers.shape[1], n)[:, :steps].numpy()
        return values if values.shape[1] == steps else np.pad(values, ((0, 0), (0, steps - values.shape[1]), (0, 0)))


def _wrong(values: Array, least: int, most: int) -> tuple[int, int, int] | None:
    """Where the first value is that is no whole number, or out of range; None where there is none."""
    if values.dtype.kind == "b" or not values.size:
        return None
    if values.dtype.kind in "iu" and values.min() >= least and values.max() <= most:
        return None
    wrong = ~((values >= least) & (values <= most) & (values == np.rint(values)))  # NaN too
    if not wrong.any():
        return None
    sample, column, channel = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return int(sample), int(column), int(channel)
