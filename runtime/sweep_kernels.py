"""The texts and libraries of the feedforward kernels, and the arguments they take."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch

from . import jit
from .cells import CellKind
from .event_lists import EVENTS, MAX_SOURCES, RECORDS

__all__ = ["SweepArguments", "lanes_of", "sweep_library", "sweep_source", "sweep_variables"]

_P = MAX_SOURCES
_SWEEP: jit.Fields = (
    ("int64_t", "batch", 0), ("int64_t", "n", 0), ("int64_t", "blocks", 0), ("int64_t", "capacity", 0),
    ("int64_t", "limit", 0), ("int64_t", "n_probes", 0), ("int64_t", "fresh", 0), ("int64_t", "subtract", 0),
    ("int64_t", "want_highest", 0), ("int64_t", "want_rates", 0), ("int64_t", "chunks", 0), ("int64_t", "events", 0),
    ("int64_t", "longest", 0), ("int64_t", "start_stride", 0), ("int64_t", "failed", 0),
    ("int64_t", "rows", _P),
    ("double", "integral_rate", 0), ("double", "grazing", 0),
    ("const real *", "a", 0), ("const real *", "b", 0), ("const real *", "rho", 0), ("const real *", "gain", 0),
    ("const real *", "theta", 0), ("const real *", "reset", 0), ("const real *", "drop", 0),
    ("const real *", "refractory", 0),
    ("const real *", "u_start", 0), ("const real *", "j_start", 0), ("const real *", "c_start", 0),
    ("const double *", "hold_start", 0),
    ("real *", "u_end", 0), ("real *", "j_end", 0), ("real *", "c_end", 0), ("double *", "hold_end", 0),
    *EVENTS,
    ("real *", "event_em", 0), ("real *", "event_es", 0), ("real *", "event_k", 0), ("real *", "event_bound", 0),
    ("real *", "event_of_u", 0), ("real *", "event_of_j", 0),
    ("const real *", "weights", _P), *RECORDS, ("real *", "record_j", 0), ("real *", "record_u", 0),
    ("int64_t *", "record_begins", 0),
    ("uint8_t *", "truncated", 0),
    ("real *", "probes", 0), ("real *", "highest", 0), ("real *", "highest_slopes", 0),
    ("double *", "highest_times", 0),
    ("real *", "integral", 0),
    ("const double *", "g_times", 0), ("const real *", "g_probes", 0), ("const real *", "g_highest", 0),
    ("const real *", "g_integral", 0), ("const real *", "g_u_end", 0),
    ("real *", "g_weights", _P), ("real *", "g_events", 0),
    ("real *", "g_u_start", 0), ("real *", "g_j_start", 0), ("real *", "g_c_start", 0),
    ("real *", "g_a", 0), ("real *", "g_b", 0), ("real *", "g_rho", 0), ("real *", "g_gain", 0),
    ("real *", "g_theta", 0), ("real *", "g_reset", 0), ("real *", "g_drop", 0), ("real *", "traces", 0),
)
SweepArguments = jit.arguments_type(_SWEEP)
_REALS = {torch.float32: "float", torch.float64: "double"}


def sweep_source(machine: str, dtype: torch.dtype, lanes: int, cell: CellKind, spiking: bool, uniform: bool,
                 refractory: bool) -> str:
    """The text of the kernels of one kind of population."""
    return jit.render("sweep.jinja", **sweep_variables(machine, dtype, lanes, cell, spiking, uniform, refractory))


def sweep_variables(machine: str, dtype: torch.dtype, lanes: int, cell: CellKind, spiking: bool, uniform: bool,
                    refractory: bool) -> dict[str, Any]:
    """What the template of the sweep is rendered with, by itself or as a part of another."""
    return {"machine": machine, "real": _REALS[dtype], "lanes": lanes, "cell": cell, "spiking": spiking,
            "uniform": uniform, "refractory": refractory, "fields": jit.structure(_SWEEP), "max_sources": MAX_SOURCES}


@functools.cache
def sweep_library(dtype: torch.dtype, lanes: int, cell: CellKind, spiking: bool, uniform: bool,
                  refractory: bool) -> ctypes.CDLL:
    return jit.compile_c(sweep_source("c", dtype, lanes, cell, spiking, uniform, refractory))


def lanes_of(n: int, dtype: torch.dtype) -> int:
    """Neurons a block: up to six cache lines of state, so that latencies overlap, in blocks of about equal size."""
    line = 64 // dtype.itemsize
    lines = max(1, -(-n // line))
    return line * -(-lines // -(-lines // 6))
