"""The text and library of the event loop of flows, and the arguments it takes."""

from __future__ import annotations

import ctypes
import functools

from ...ir.flow.courses import LARGEST
from ...ir.flow.flow import Dynamics
from .. import jit
from ..loop_kernels import MAX_PROJECTIONS
from .derived import fragment
from .faults import DIVERGED, GONE, NO_MEMORY, SHIFT, STIFF, STUCK
from .values import columns_of

__all__ = ["FlowArguments", "dynamics_text", "flow_library", "flow_source"]

_P = MAX_PROJECTIONS
_FLOW: jit.Fields = (
    *(("int64_t", name, 0) for name in (
        "batch", "n", "slots", "projections", "populations", "n_probes", "shown", "fresh", "limit", "burst",
        "log_capacity", "queue_capacity", "trace_capacity", "longest_log", "most_spikes", "chunks", "all_spiking",
        "record_capacity", "recorded", "failed")),
    ("double", "duration", 0), ("double", "box", 0), ("double", "window", 0),
    *(("const double *", name, 0) for name in ("parameters", "start", "refractory", "hold_start")),
    ("const uint8_t *", "spiking", 0),
    *(("const int64_t *", name, 0) for name in ("population", "population_first", "wave")),
    ("double *", "ends", 0), ("double *", "hold_end", 0),
    ("const double *", "times", _P), ("const int64_t *", "indices", _P), ("const int64_t *", "offsets", _P),
    ("int64_t", "slot_first", _P),
    *(("int64_t", name, _P) for name in (
        "p_kinds", "p_moves", "p_slot", "p_history", "p_population", "p_first", "p_targets", "p_delay_per", "p_weights",
        "p_n_delays")),
    ("const int64_t *", "p_indptr", _P), ("const int64_t *", "p_indices", _P), ("const int64_t *", "p_order", _P),
    ("const int64_t *", "p_geometry", _P), ("const double *", "p_delays", _P), ("const double *", "weights", _P),
    ("const double *", "probe_times", 0), ("double *", "probes", 0),
    ("void *", "log", 0), ("double *", "record", 0), ("double *", "fault_times", 0),
    *(("int64_t *", name, 0) for name in (
        "log_counts", "faults", "fault_neurons", "trace_counts", "spike_counts", "record_counts", "grazed", "places",
        "ranks")),
    ("const int64_t *", "firsts", 0), ("const int64_t *", "rank_firsts", 0),
    ("double *", "spike_times", 0), ("int64_t *", "spike_neurons", 0),
    ("const double *", "g_times", 0), ("const double *", "g_probes", 0), ("const double *", "g_ends", 0),
    ("double *", "g_origins", 0), ("double *", "g_weights", _P), ("double *", "g_delays", _P),
    ("double *", "g_parameters", 0), ("double *", "g_start", 0),
)
FlowArguments = jit.arguments_type(_FLOW)


def dynamics_text(dynamics: Dynamics) -> str:
    """The text of a dynamics, as flow.jinja takes it."""
    if dynamics.name == "theta":
        return jit.render("flow_theta.jinja")
    if dynamics.name == "qif":
        return jit.render("flow_qif.jinja")
    return fragment(dynamics)


@functools.lru_cache(maxsize=256)
def flow_source(dynamics: Dynamics, holds: bool) -> str:
    """The text of the event loop for neurons of one dynamics; `holds`: some have a refractory period."""
    held = tuple(dynamics.states.index(name) for name in dynamics.held)
    return jit.render("flow.jinja", fields=jit.structure(_FLOW), dynamics=dynamics_text(dynamics),
                      states=len(dynamics.states), parameters=columns_of(dynamics), held=held, holds=holds,
                      limit=LARGEST, shift=SHIFT, diverged=DIVERGED, no_memory=NO_MEMORY, stuck=STUCK,
                      lost=DIVERGED | STIFF | GONE | STUCK)


@functools.lru_cache(maxsize=256)
def flow_library(dynamics: Dynamics, holds: bool) -> ctypes.CDLL:
    """The loop of `flow_source`, compiled.

    Raises:
        KernelError: as `jit.compile_c`.
    """
    return jit.compile_c(flow_source(dynamics, holds))
