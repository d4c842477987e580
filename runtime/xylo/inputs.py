"""What a run of a model on Xylo is given, as the counts of events that the chip takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostics
from ...ir.integer.xylo import MOST_EVENTS
from ...ir.nodes import Array
from ..integer.inputs import ModelInputs

__all__ = ["EventCounts"]


class EventCounts(ModelInputs):
    """The inputs of a model on a grid, by `message_bits` (4, of which 0..15 are counts)."""

    def counts(self, places: Mapping[str, slice], given: Any, duration: Any = None,
               dt: Any = None) -> tuple[Array, int, int]:
        """(batch, time, channels) uint8, the number of columns, and of samples. `places`: channels of each input.

        Raises:
            BadInputError: as `ModelInputs.rasters`; a count is negative (SC405).
        """
        rasters, steps, batch = self.rasters(given, duration, dt)
        faults = Diagnostics()
        found = np.zeros((batch, steps, max((place.stop for place in places.values()), default=0)), dtype=np.uint8)
        for name, raster in rasters.items():
            if raster.min(initial=0) < 0:
                faults.add("SC405", "an input channel of Xylo takes counts of events", node=name,
                           value=int(raster.min()), limit=f"0..{MOST_EVENTS}", remedy="Encode values as events.")
            else:
                found[..., places[name]] = raster
        faults.raise_if_errors()
        return found, steps, batch
