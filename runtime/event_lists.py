"""The kernels on event lists of the CPU: what arrives is merged, what fires is put in order."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import jit
from .threads import check_memory, run_tasks

__all__ = ["EVENTS", "MAX_SOURCES", "RECORDS", "GatherArguments", "PackArguments", "event_source", "first_spikes",
           "run_chain", "run_events"]

MAX_SOURCES = 16
_P = MAX_SOURCES
_LINKS = 4

EVENTS: jit.Fields = (
    ("double *", "event_times", 0), ("int32_t *", "event_sources", 0), ("int32_t *", "event_rows", 0),
    ("int32_t *", "event_signs", 0), ("int64_t *", "event_origins", 0),
    ("const int64_t *", "event_offsets", 0), ("int64_t *", "event_counts", 0),
)
_GATHER: jit.Fields = (
    ("int64_t", "batch", 0), ("int64_t", "n_sources", 0), ("int64_t", "longest", 0), ("int64_t", "n_probes", 0),
    ("int64_t", "fresh", 0), ("int64_t", "blocks", 0), ("int64_t", "events", 0), ("int64_t", "real_size", 0),
    ("int64_t", "failed", 0), ("double", "duration", 0), ("double", "box", 0),
    ("const double *", "times", _P), ("const int64_t *", "indices", _P), ("const int64_t *", "offsets", _P),
    ("const double *", "delays", _P), ("const double *", "probe_times", 0),
    ("const void *", "g_events", 0), ("double *", "g_origins", 0), *EVENTS,
)
RECORDS: jit.Fields = (
    ("double *", "record_times", 0), ("int32_t *", "record_neurons", 0), ("int32_t *", "record_events", 0),
    ("uint8_t *", "record_kinds", 0), ("int64_t *", "record_counts", 0), ("int64_t *", "record_ranks", 0),
)
_PACK: jit.Fields = (
    ("int64_t", "batch", 0), ("int64_t", "blocks", 0), ("int64_t", "capacity", 0), ("int64_t", "failed", 0),
    ("int64_t", "most", 0), ("int64_t", "cut", 0), ("int64_t", "total", 0), ("int64_t", "longest", 0), *RECORDS,
    ("const uint8_t *", "truncated", 0),
    ("int64_t *", "spike_offsets", 0), ("double *", "spike_times", 0), ("int64_t *", "spike_indices", 0),
)
_FIRST: jit.Fields = (
    ("int64_t", "n", 0), ("int64_t", "total", 0), ("const double *", "spike_times", 0),
    ("const int64_t *", "spike_indices", 0), ("const int64_t *", "spike_offsets", 0), ("double *", "first", 0),
    ("int64_t *", "picked", 0),
)
_CHAIN: jit.Fields = (("int64_t", "links", 0), ("void *", "entries", _LINKS), ("void *", "arguments", _LINKS))
GatherArguments, PackArguments = jit.arguments_type(_GATHER), jit.arguments_type(_PACK)
_FirstArguments, _ChainArguments = jit.arguments_type(_FIRST), jit.arguments_type(_CHAIN)


def event_source() -> str:
    """The text of the kernels that merge and sort events."""
    return jit.render("events.jinja", gather_fields=jit.structure(_GATHER), pack_fields=jit.structure(_PACK),
                      first_fields=jit.structure(_FIRST), chain_fields=jit.structure(_CHAIN))


@functools.cache
def _library() -> ctypes.CDLL:
    return jit.compile_c(event_source())


def run_events(entry: str, arguments: ctypes.Structure, tasks: int) -> None:
    """A kernel of event lists over `tasks` samples."""
    run_tasks(getattr(_library(), entry), arguments, tasks)


def run_chain(links: Sequence[tuple[Any, ctypes.Structure]], tasks: int) -> None:
    """Kernels one after the other on each sample, while what one leaves for the next is near, in one go: handing them
    out costs once. A link is a kernel, by name where it is one of event lists, and its arguments."""
    chain = _ChainArguments()
    chain.links = len(links)
    for number, (entry, arguments) in enumerate(links):
        function = getattr(_library(), entry) if isinstance(entry, str) else entry
        chain.entries[number] = ctypes.cast(function, ctypes.c_void_p)
        chain.arguments[number] = ctypes.addressof(arguments)
    run_tasks(_library().chain, chain, tasks)
    for _, arguments in links:
        check_memory(arguments)


def first_spikes(times: Tensor, indices: Tensor, offsets: Tensor, n: int) -> Tensor:
    """(batch, n): when each neuron fires first, +inf where it does not; differentiable, on the CPU."""
    first: Tensor = _FirstSpikes.apply(times, indices, offsets, n)
    return first


class _FirstSpikes(torch.autograd.Function):
    """Gradients of infinite entries are dropped, NaN included."""

    @staticmethod
    def forward(ctx: Any, times: Tensor, indices: Tensor, offsets: Tensor, n: int) -> Tensor:
        batch = len(offsets) - 1
        first = times.new_empty((batch, n))
        ctx.picked, ctx.total = indices.new_empty((batch, n)), len(times)
        arguments = _FirstArguments(n, len(times), times.data_ptr(), indices.data_ptr(), offsets.data_ptr(),
                                    first.data_ptr(), ctx.picked.data_ptr())
        run_events("first_spikes", arguments, batch)
        return first

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        sums = np.zeros(ctx.total + 1)
        sums[ctx.picked.numpy()] = gradient.numpy()  # a spike is picked once at most; silence picks what is cut off
        return torch.from_numpy(sums[:-1]), None, None, None
