"""What an ONNX file of spikec says of the graph that it computes: its text form, in the metadata of the model.

    spikec.format   version of this description
    spikec.graph    the text form
    spikec.dtype    float64 or float32, of the arithmetic
    spikec.shows    "membranes" where these are outputs too
    spikec.array/K  an array that the text refers to and the model does not compute with, base64

Arrays that the model computes with are its initializers of the same name.
"""

from __future__ import annotations

import base64
import sys
from typing import Any

import numpy as np

from ....ir.graph import Graph
from ....ir.text import to_arrays, to_text
from .emitter import DType, Emitter

__all__ = ["ARRAY", "DTYPE", "FORMAT", "GRAPH", "SHOWS", "VERSION", "description"]

VERSION = "1"
FORMAT, GRAPH, DTYPE, SHOWS, ARRAY = "spikec.format", "spikec.graph", "spikec.dtype", "spikec.shows", "spikec.array/"


def description(graph: Graph, out: Emitter, dtype: DType, membranes: bool) -> dict[str, str]:
    """The metadata of the model of a graph."""
    arrays = {key: array for key, array in to_arrays(graph).items() if key not in out.parameters}
    return {
        FORMAT: VERSION, GRAPH: to_text(graph), DTYPE: dtype, SHOWS: "membranes" if membranes else "outputs",
        **{f"{ARRAY}{key}": base64.b64encode(_little(array).tobytes()).decode() for key, array in arrays.items()},
    }


def _little(array: Any) -> Any:
    return array.astype(array.dtype.newbyteorder("<")) if sys.byteorder == "big" else np.ascontiguousarray(array)
