"""Files of events and rasters that commands take as the input of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...ir.diagnostics import BadInputError, Diagnostic

__all__ = ["read_input"]


def read_input(file: Path, inputs: tuple[str, ...]) -> tuple[Any, int]:
    """Events by input node, or a raster, and the number of samples.

    Raises:
        BadInputError: the file is neither (SC550), or malformed (SC523, SC524).
    """
    from ...ir.event_files import read_events
    from ..stimulus import read_raster

    if file.suffix == ".npy":
        raster: np.ndarray = read_raster(file)
        return raster, len(raster) if raster.ndim else 0
    if file.suffix != ".npz":
        raise BadInputError(Diagnostic("SC550", f"'{file}' is no input of a run", value=file.suffix or "no suffix",
                                       limit=".npz of events, .npy of a raster"))
    events = read_events(file, inputs)
    return events, next(iter(events.values())).batch
