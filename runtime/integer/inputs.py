"""What a run of a model on a chip's grid is given, as the rasters of whole numbers that the chip takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...ir.diagnostics import Diagnostics
from ...ir.graph import Discretization, Graph
from ...ir.nodes import Array
from ...ir.shapes import Shapes
from ..clock.inputs import signals_of

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
            BadInputError: as `signals_of`; values that are no spikes, or more than a message holds (SC405).
        """
        signals, steps, batch = signals_of(self, given, duration, dt, torch.float64, torch.device("cpu"))
        faults, rasters = Diagnostics(), {}
        for name in self.graph.inputs:
            n = int(np.prod(self.shapes[name].output, dtype=np.int64))
            if name not in signals:
                rasters[name] = np.zeros((batch, steps, n), dtype=np.uint8)
                continue
            values = signals[name].dense(torch.float64, batch).reshape(steps, batch, n).transpose(0, 1).numpy()
            bits = self.message_bits.get(name, 0)
            most = (1 << bits) - 1 if bits else 1
            wrong = (values != np.rint(values)) | (np.abs(values) > most) | ((values < 0) if not bits else False)
            if wrong.any():
                faults.add("SC405", "the chip takes spikes, at most one of a channel and column", node=name,
                           value=f"{values[wrong][0]:g}", limit=f"whole numbers up to ±{most}" if bits else "0 or 1",
                           remedy="Encode values as spikes, or compile for loihi2 with message_bits={"
                                  f"'{name}': bits}} for graded ones.")
            rasters[name] = values.astype(np.int32 if bits else np.uint8)
        faults.raise_if_errors()
        return rasters, steps, batch
