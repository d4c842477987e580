"""What goes into a run of an integer network: one raster of whole numbers by input, checked against the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..diagnostics import Diagnostics
from ..facts import first_of, is_whole
from ..nodes import Array
from .network import IntegerNetwork

__all__ = ["Rasters", "check_rasters"]

Rasters = Mapping[str, Any]
"""By input: (batch, time, n) or (batch, time, *shape), integers or truth values."""


def check_rasters(network: IntegerNetwork, inputs: Rasters, steps: int | None) -> tuple[dict[str, Array], int, int]:
    """The rasters as (batch, time, n), the size of the batch, and the number of columns to run: `steps`, else the
    longest raster's. A raster that ends earlier is silent from there on.

    Raises:
        BadInputError: with every fault at once (SC403).
    """
    faults = Diagnostics()
    if steps is not None and not (is_whole(steps) and steps >= 0):
        faults.add("SC403", "steps is a whole number of columns", value=repr(steps)[:80], limit=">= 0")
    for name in sorted(set(network.inputs).symmetric_difference(inputs)):
        message = "no raster is given for an input" if name in network.inputs else "a raster is given for no input"
        faults.add("SC403", message, node=name, limit=", ".join(network.inputs))
    rasters = {name: raster for name, given in inputs.items() if name in network.inputs
               and (raster := _raster(network, name, given, faults)) is not None}
    if len(batches := {len(raster) for raster in rasters.values()}) > 1:
        faults.add("SC403", "inputs have different numbers of samples", value=sorted(batches))
    if steps is None and not rasters and not faults.errors:
        faults.add("SC403", "without inputs, the number of columns is to be said", remedy="Give steps=.")
    faults.raise_if_errors()
    longest = max((raster.shape[1] for raster in rasters.values()), default=0)
    return rasters, batches.pop() if batches else 1, longest if steps is None else int(steps)


def _raster(network: IntegerNetwork, name: str, given: Any, faults: Diagnostics) -> Array | None:
    raster, shape, n = np.asarray(given), network.inputs[name], network.size(name)
    if raster.dtype.kind not in "iub":
        faults.add("SC403", "a raster holds whole numbers", node=name, value=raster.dtype,
                   remedy="Round values first, if that is what is meant.")
        return None
    if raster.ndim < 3 or raster.shape[2:] not in ((n,), shape):
        faults.add("SC403", "a raster is (batch, time, *shape of its input)", node=name, value=raster.shape,
                   limit=("batch", "time", *shape))
        return None
    raster = raster.reshape(*raster.shape[:2], n)
    bits = min((each.message_bits for each in network.projections if each.source == name and each.message_bits),
               default=0)
    # unsigned ones have no negative values to look at, and the least signed one has no magnitude of its own type
    if bits and raster.size and (outside := (raster >= 1 << bits) | (raster <= -(1 << bits))).any():
        faults.add("SC403", "a graded spike does not fit its message", node=name,
                   value=first_of(raster, outside, "sample", "column", "channel"), limit=f"magnitude < 2^{bits}")
        return None
    return raster
