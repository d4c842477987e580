"""The texts and libraries of the event loops, and the arguments they take."""

from __future__ import annotations

import ctypes
import functools

import torch

from . import jit

__all__ = ["LOOP_CELL", "LOOP_GRADIENTS", "MAX_PROJECTIONS", "LoopArguments", "loop_library", "loop_source"]

MAX_PROJECTIONS = 64
_P = MAX_PROJECTIONS
LOOP_CELL = ("a", "b", "rho", "gain", "theta", "reset", "drop")
LOOP_GRADIENTS = tuple(f"g_{name}" for name in LOOP_CELL)
_LOOP: jit.Fields = (
    *(("int64_t", name, 0) for name in (
        "batch", "n", "slots", "projections", "n_probes", "fresh", "limit", "burst", "log_capacity", "queue_capacity",
        "trace_capacity", "scratch_bytes", "chunks", "uniform", "want_rates", "has_c", "played", "failed")),
    ("double", "duration", 0), ("double", "box", 0), ("double", "grazing", 0),
    ("double", "window", 0),
    *(("const real *", name, 0) for name in (*LOOP_CELL, "refractory", "longest_k")),
    *(("const uint8_t *", name, 0) for name in ("spiking", "subtract", "moves_u")),
    *(("const int64_t *", name, 0) for name in ("population", "population_first", "wave")),
    *(("const real *", name, 0) for name in ("u_start", "j_start", "c_start")), ("const double *", "hold_start", 0),
    *(("real *", name, 0) for name in ("u_end", "j_end", "c_end")), ("double *", "hold_end", 0),
    ("const double *", "times", _P), ("const int64_t *", "indices", _P), ("const int64_t *", "offsets", _P),
    ("int64_t", "slot_first", _P),
    *(("int64_t", name, _P) for name in (
        "p_kinds", "p_moves", "p_slot", "p_history", "p_population", "p_first", "p_targets", "p_delay_per", "p_weights",
        "p_n_delays")),
    ("const int64_t *", "p_indptr", _P), ("const int64_t *", "p_indices", _P), ("const int64_t *", "p_order", _P),
    ("const int64_t *", "p_geometry", _P), ("const double *", "p_delays", _P), ("const real *", "weights", _P),
    ("const double *", "probe_times", 0), ("real *", "probes", 0),
    ("void *", "log", 0), ("int64_t *", "log_counts", 0), ("int64_t *", "faults", 0), ("int64_t *", "trace_counts", 0),
    ("char *", "scratch", 0),
    ("int64_t *", "spike_counts", 0), ("double *", "spike_times", 0), ("int64_t *", "spike_neurons", 0),
    ("const double *", "played_times", 0), ("const int32_t *", "played_neurons", 0),
    ("const int64_t *", "played_offsets", 0), ("const real *", "least_slope", 0),
    ("const int64_t *", "spike_firsts", 0), ("const int64_t *", "spike_ranks", 0),
    ("real *", "highest", 0), ("real *", "highest_slopes", 0), ("double *", "highest_times", 0),
    ("real *", "integral", 0),
    ("double", "integral_rate", 0), ("const real *", "g_highest", 0), ("const real *", "g_integral", 0),
    ("const double *", "g_times", 0), ("const real *", "g_probes", 0), ("double *", "g_origins", 0),
    ("real *", "g_weights", _P), ("double *", "g_delays", _P),
    *(("real *", name, 0) for name in LOOP_GRADIENTS), ("real *", "g_u_start", 0), ("real *", "g_j_start", 0),
)
LoopArguments = jit.arguments_type(_LOOP)
_REALS = {torch.float32: "float", torch.float64: "double"}


def loop_source(machine: str, dtype: torch.dtype, dense: bool) -> str:
    """The text of the event loop that brings every neuron to every event (`dense`), or only those that it touches."""
    return jit.render("loop_dense.jinja" if dense else "loop_lazy.jinja", machine=machine, real=_REALS[dtype],
                      fields=jit.structure(_LOOP))


@functools.cache
def loop_library(dtype: torch.dtype, dense: bool) -> ctypes.CDLL:
    library = jit.compile_c(loop_source("c", dtype, dense))
    library.record_bytes.restype = ctypes.c_int64
    return library
