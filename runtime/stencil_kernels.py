"""The texts and libraries of the kernels for populations behind stencils, and the arguments they take."""

from __future__ import annotations

import ctypes
import functools

import torch

from . import jit
from .cells import CellKind
from .event_lists import EVENTS, MAX_SOURCES
from .sweep_kernels import sweep_variables

__all__ = ["StencilArguments", "stencil_library", "stencil_source"]

_P = MAX_SOURCES
_STENCIL: jit.Fields = (
    ("Args *", "sweep", 0),
    ("int64_t", "samples", 0), ("int64_t", "positions", 0), ("int64_t", "height", 0), ("int64_t", "width", 0),
    ("int64_t", "longest", 0), ("int64_t", "reach_y", 0), ("int64_t", "reach_x", 0), ("int64_t", "columns", 0),
    ("int64_t", "capacity", 0), ("int64_t", "slots", 0), ("int64_t", "slot_size", 0), ("int64_t", "failed", 0),
    ("double", "duration", 0),
    ("int64_t", "source_height", _P), ("int64_t", "source_width", _P), ("int64_t", "first_line", _P),
    ("int64_t", "first_column", _P), ("int64_t", "taps_y", _P), ("int64_t", "taps_x", _P),
    ("const int32_t *", "y_begins", 0), ("const int32_t *", "y_outputs", 0), ("const int32_t *", "y_taps", 0),
    ("const int32_t *", "x_begins", 0), ("const int32_t *", "x_outputs", 0), ("const int32_t *", "x_taps", 0),
    *EVENTS,
    ("char *", "scratch", 0), ("uint8_t *", "busy", 0),
    ("int64_t *", "sample_records", 0), ("uint8_t *", "sample_truncated", 0), ("int64_t *", "spike_offsets", 0),
    ("double *", "spike_times", 0), ("int64_t *", "spike_indices", 0), ("double *", "g_sample_events", 0),
)
StencilArguments = jit.arguments_type(_STENCIL)


def stencil_source(dtype: torch.dtype, lanes: int, cell: CellKind, spiking: bool, uniform: bool,
                   refractory: bool) -> str:
    """The text of the kernels of one kind of population, for the CPU."""
    return jit.render("stencil.jinja", stencil_fields=jit.structure(_STENCIL),
                      **sweep_variables("c", dtype, lanes, cell, spiking, uniform, refractory))


@functools.cache
def stencil_library(dtype: torch.dtype, lanes: int, cell: CellKind, spiking: bool, uniform: bool,
                    refractory: bool) -> ctypes.CDLL:
    return jit.compile_c(stencil_source(dtype, lanes, cell, spiking, uniform, refractory))
