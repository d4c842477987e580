"""What a run of a model on Xylo is given, as the counts of events that the chip takes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostics
from ...ir.facts import first_of
from ...ir.integer.xylo import MOST_EVENTS
from ...ir.nodes import Array
from ..clock.inputs import given_by_name
from ..integer.inputs import ModelInputs

__all__ = ["EventCounts"]


class EventCounts(ModelInputs):
    """The inputs of a model on a grid."""

    def counts(self, places: Mapping[str, slice], given: Any, duration: Any = None,
               dt: Any = None) -> tuple[Array, int, int]:
        """(batch, time, channels) uint8, the number of columns, and of samples. `places`: channels of each input.
        `given`, `duration`, `dt`: as of `ClockProgram.run`. An input that nothing is given for is silent.

        Raises:
            BadInputError: as `clock.inputs.signals_of`; values that are no counts of events, up to 15 (SC405).
        """
        by_name, steps, batch = given_by_name(self, given, duration, dt)
        faults = Diagnostics()
        found = np.zeros((batch, steps, max((place.stop for place in places.values()), default=0)), dtype=np.uint8)
        for name, place in places.items():
            values = self._values(name, by_name.get(name), (batch, steps, prod(self.shapes[name].output)), faults)
            legal = (values >= 0) & (values <= MOST_EVENTS) & (values == np.rint(values))  # NaN is not
            if not legal.all():
                faults.add("SC405", "an input channel of Xylo takes counts of events", node=name,
                           value=first_of(values, ~legal, "sample", "column", "channel"), limit=f"0..{MOST_EVENTS}",
                           remedy="Encode values as events, of which 15 come in a column at most.")
            else:
                found[..., place] = values
        faults.raise_if_errors()
        return found, steps, batch
