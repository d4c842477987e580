"""The feedforward kernels as a torch function: event times and parameters in, spike times and voltages out."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from . import jit
from .cells import Cell, CellKind
from .threads import run_tasks

__all__ = ["GRAZING", "MAX_SOURCES", "Spikes", "State", "Sweep", "SweepResult"]

MAX_SOURCES = 16
GRAZING = 1e-6
"""A smooth crossing with u' below this fraction of its drive rho j counts as grazing, and its slope is taken as that."""

_P = MAX_SOURCES
_EVENTS: jit.Fields = (
    ("double *", "event_times", 0), ("int32_t *", "event_sources", 0), ("int32_t *", "event_rows", 0),
    ("int32_t *", "event_signs", 0), ("int64_t *", "event_origins", 0),
    ("const int64_t *", "event_offsets", 0), ("int64_t *", "event_counts", 0),
)
GATHER: jit.Fields = (
    ("int64_t", "batch", 0), ("int64_t", "n_sources", 0), ("int64_t", "longest", 0), ("int64_t", "n_probes", 0),
    ("int64_t", "fresh", 0), ("int64_t", "blocks", 0), ("int64_t", "events", 0), ("int64_t", "real_size", 0),
    ("double", "duration", 0), ("double", "box", 0),
    ("const double *", "times", _P), ("const int64_t *", "indices", _P), ("const int64_t *", "offsets", _P),
    ("const double *", "delays", _P), ("const double *", "probe_times", 0),
    ("const void *", "g_events", 0), ("double *", "g_origins", 0), *_EVENTS,
)
_RECORDS: jit.Fields = (
    ("double *", "record_times", 0), ("int32_t *", "record_neurons", 0), ("int32_t *", "record_events", 0),
    ("uint8_t *", "record_kinds", 0), ("int64_t *", "record_counts", 0), ("int64_t *", "record_ranks", 0),
)
PACK: jit.Fields = (
    ("int64_t", "blocks", 0), ("int64_t", "capacity", 0), *_RECORDS,
    ("int64_t *", "spike_counts", 0), ("const int64_t *", "spike_offsets", 0),
    ("double *", "spike_times", 0), ("int64_t *", "spike_indices", 0),
)
SWEEP: jit.Fields = (
    ("int64_t", "batch", 0), ("int64_t", "n", 0), ("int64_t", "blocks", 0), ("int64_t", "capacity", 0),
    ("int64_t", "limit", 0), ("int64_t", "n_probes", 0), ("int64_t", "fresh", 0), ("int64_t", "subtract", 0),
    ("int64_t", "want_highest", 0), ("int64_t", "want_rates", 0), ("int64_t", "chunks", 0), ("int64_t", "events", 0),
    ("int64_t", "longest", 0), ("int64_t", "rows", _P),
    ("double", "integral_rate", 0), ("double", "grazing", 0),
    ("const real *", "a", 0), ("const real *", "b", 0), ("const real *", "rho", 0), ("const real *", "gain", 0),
    ("const real *", "theta", 0), ("const real *", "reset", 0), ("const real *", "drop", 0),
    ("const real *", "refractory", 0),
    ("const real *", "u_start", 0), ("const real *", "j_start", 0), ("const real *", "c_start", 0),
    ("const double *", "hold_start", 0),
    ("real *", "u_end", 0), ("real *", "j_end", 0), ("real *", "c_end", 0), ("double *", "hold_end", 0),
    *_EVENTS,
    ("real *", "event_em", 0), ("real *", "event_es", 0), ("real *", "event_k", 0), ("real *", "event_bound", 0),
    ("const real *", "weights", _P), *_RECORDS, ("real *", "record_j", 0), ("real *", "record_u", 0),
    ("uint8_t *", "truncated", 0),
    ("real *", "probes", 0), ("real *", "highest", 0), ("real *", "highest_slopes", 0), ("double *", "highest_times", 0),
    ("real *", "integral", 0),
    ("const double *", "g_times", 0), ("const real *", "g_probes", 0), ("const real *", "g_highest", 0),
    ("const real *", "g_integral", 0), ("const real *", "g_u_end", 0),
    ("real *", "g_weights", _P), ("real *", "g_events", 0),
    ("real *", "g_u_start", 0), ("real *", "g_j_start", 0), ("real *", "g_c_start", 0),
    ("real *", "g_a", 0), ("real *", "g_b", 0), ("real *", "g_rho", 0), ("real *", "g_gain", 0),
    ("real *", "g_theta", 0), ("real *", "g_reset", 0), ("real *", "g_drop", 0), ("real *", "traces", 0),
)
_REALS = {torch.float32: "float", torch.float64: "double"}


@dataclass(frozen=True, slots=True)
class Spikes:
    """Events as tensors, (total,) float64, (total,) int64, (batch + 1,) int64."""

    times: Tensor
    indices: Tensor
    offsets: Tensor


@dataclass(frozen=True, slots=True)
class State:
    """Where a run ends and the next goes on, in the engine's units: (batch, n) each. `hold`: end of the refractory
    period, relative to the start of the run."""

    u: Tensor
    j: Tensor
    c: Tensor
    hold: Tensor

    def to(self, dtype: torch.dtype) -> State:
        return State(self.u.to(dtype), self.j.to(dtype), self.c.to(dtype), self.hold)


@dataclass(slots=True)
class SweepResult:
    """What one population did. `times` is differentiable; `voltage` (batch, probes, n), `highest` and `integral`
    (batch, n) are in u, that is from `Cell.rest`, and differentiable."""

    spikes: Spikes
    probes: Tensor | None
    highest: Tensor | None
    highest_times: Tensor | None
    integral: Tensor | None
    state: State
    truncated: bool
    grazing: int


@functools.cache
def event_library() -> ctypes.CDLL:
    """Merging and sorting of events on the CPU."""
    return jit.compile_c(jit.render("events.jinja", gather_fields=jit.structure(GATHER), pack_fields=jit.structure(PACK)))


def sweep_source(machine: str, dtype: torch.dtype, lanes: int, cell: CellKind, spiking: bool, uniform: bool,
                 refractory: bool) -> str:
    """The text of the kernels of one kind of population."""
    return jit.render(
        "sweep.jinja", machine=machine, real=_REALS[dtype], lanes=lanes, cell=cell,
        spiking=spiking, uniform=uniform, refractory=refractory, fields=jit.structure(SWEEP),
    )


@functools.cache
def sweep_library(dtype: torch.dtype, lanes: int, cell: CellKind, spiking: bool, uniform: bool,
                  refractory: bool) -> ctypes.CDLL:
    return jit.compile_c(sweep_source("c", dtype, lanes, cell, spiking, uniform, refractory))


def _lanes(n: int, dtype: torch.dtype) -> int:
    """Neurons a block: one cache line of state at least, four at most."""
    line = 64 // dtype.itemsize
    return line * min(4, max(1, -(-n // line)))


@dataclass(slots=True)
class Sweep:
    """A feedforward population with dense inputs, ready to run.

    `rows`: number of source neurons of each projection. `uniform`: the rates are the same for all neurons.
    """

    n: int
    kind: CellKind
    spiking: bool
    subtract: bool
    rows: tuple[int, ...]
    refractory: Tensor | None
    box: float
    limit: int = 1 << 20
    _capacity: int = field(default=0, repr=False)

    def run(
        self, sources: Sequence[Spikes], weights: Sequence[Tensor], delays: Sequence[Tensor | None], cell: Cell,
        duration: float, *, uniform: bool, batch: int, probe_times: Tensor | None = None, want_highest: bool = False,
        integral_decay: float | None = None, want_integral: bool = False, state: State | None = None,
    ) -> SweepResult:
        """Spikes and voltages over [0, duration] s. `weights` (n_source, n) row-major each, all of the cell's type."""
        call = _Call(self, list(sources), duration, uniform, batch, probe_times, want_highest, want_integral,
                     0.0 if integral_decay is None else 1.0 / integral_decay, state, cell.a.dtype)
        tensors: list[Tensor | None] = [source.times for source in sources]
        tensors += [*delays, *weights, *cell.differentiable()]
        times, probes, highest, integral = _SweepFunction.apply(call, len(sources), *tensors)
        return SweepResult(
            Spikes(times, call.spike_indices, call.spike_offsets), probes if probe_times is not None else None,
            highest if want_highest else None, call.buffers.get("highest_times"), integral if want_integral else None,
            State(call.buffers["u_end"], call.buffers["j_end"], call.buffers["c_end"], call.buffers["hold_end"]),
            call.truncated, call.grazing_count,
        )


def aligned(batch: int, value: Tensor) -> Tensor:
    return value.expand(batch, value.shape[-1]).contiguous()


class _Call:
    """One evaluation: the buffers that the forward sweep leaves for the reverse one."""

    def __init__(self, sweep: Sweep, sources: list[Spikes], duration: float, uniform: bool, batch: int,
                 probe_times: Tensor | None, want_highest: bool, want_integral: bool, integral_rate: float,
                 state: State | None, dtype: torch.dtype) -> None:
        self.sweep, self.sources, self.duration, self.uniform, self.batch = sweep, sources, duration, uniform, batch
        self.probe_times, self.want_highest, self.want_integral = probe_times, want_highest, want_integral
        self.integral_rate, self.state, self.dtype = integral_rate, state, dtype
        self.buffers: dict[str, Tensor] = {}
        self.truncated, self.grazing_count = False, 0
        self.lanes = _lanes(sweep.n, dtype)
        self.blocks = -(-sweep.n // self.lanes)
        self.holds = sweep.refractory is not None
        self.library = sweep_library(dtype, self.lanes, sweep.kind, sweep.spiking, uniform, self.holds)
        self.arguments = jit.arguments_type(tuple(SWEEP))()
        self.gatherer = jit.arguments_type(tuple(GATHER))()

    def set(self, **values: Any) -> None:
        """Fills fields of the kernel's arguments; tensors are kept alive with the call."""
        for name, value in values.items():
            if isinstance(value, Tensor):
                self.buffers[name] = value
                value = value.data_ptr()
            setattr(self.arguments, name, value)

    def gather(self, delays: Sequence[Tensor | None]) -> None:
        """Merges what arrives, between a start and an end event, with the probes."""
        batch, box = self.batch, self.sweep.box
        probes = 0 if self.probe_times is None else len(self.probe_times)
        sizes = torch.full((batch,), probes + 2, dtype=torch.int64)
        for source in self.sources:
            sizes += (2 if box else 1) * source.offsets.diff()
        offsets = torch.zeros(batch + 1, dtype=torch.int64)
        torch.cumsum(sizes, 0, out=offsets[1:])
        total = int(offsets[-1])
        longest = int(sizes.max()) if batch else 0
        events = {
            "event_times": torch.empty(total, dtype=torch.float64),
            "event_sources": torch.empty(total, dtype=torch.int32), "event_rows": torch.empty(total, dtype=torch.int32),
            "event_signs": torch.empty(total, dtype=torch.int32),
            "event_origins": torch.empty(total, dtype=torch.int64),
            "event_offsets": offsets, "event_counts": torch.empty(batch, dtype=torch.int64),
        }
        self.set(**events, events=total, longest=longest)
        arguments = self.gatherer
        for name, value in events.items():
            setattr(arguments, name, value.data_ptr())
        arguments.batch, arguments.n_sources, arguments.longest = batch, len(self.sources), longest
        arguments.n_probes, arguments.fresh = probes, int(self.state is None)
        arguments.duration, arguments.box, arguments.events = self.duration, box, total
        if probes:
            arguments.probe_times = self.probe_times.data_ptr()
        for number, source in enumerate(self.sources):
            arguments.times[number] = source.times.data_ptr()
            arguments.indices[number] = source.indices.data_ptr()
            arguments.offsets[number] = source.offsets.data_ptr()
            delay = delays[number]
            if delay is not None:
                kept = delay.detach().to(torch.float64).contiguous()
                self.buffers[f"delay{number}"] = kept
                arguments.delays[number] = kept.data_ptr()
        run_tasks(event_library().gather, arguments, batch)


class _SweepFunction(torch.autograd.Function):
    """Inputs after `count` (the number of sources): times, delays and weights of each, then `Cell.differentiable`."""

    @staticmethod
    def forward(ctx: Any, call: _Call, count: int, *tensors: Tensor | None) -> tuple[Tensor, ...]:  # type: ignore[override]
        sweep, batch, dtype = call.sweep, call.batch, call.dtype
        delays, weights, cell = tensors[count:2 * count], tensors[2 * count:3 * count], tensors[3 * count:]
        call.gather(delays)
        a, b, rho, gain, theta, reset, drop, u0, j0 = (value.detach().contiguous() for value in cell)
        n, state = sweep.n, call.state
        probes = 0 if call.probe_times is None else len(call.probe_times)
        per_sample = {"dtype": dtype}
        call.set(
            batch=batch, n=n, blocks=call.blocks, limit=sweep.limit, n_probes=probes, fresh=int(state is None),
            subtract=int(sweep.subtract), want_highest=int(call.want_highest), integral_rate=call.integral_rate,
            grazing=GRAZING, a=a, b=b, rho=rho, gain=gain, theta=theta, reset=reset, drop=drop,
            u_start=aligned(batch, u0 if state is None else state.u), j_start=aligned(batch, j0 if state is None else state.j),
            c_start=torch.zeros(batch, n, dtype=dtype) if state is None else state.c.contiguous(),
            hold_start=torch.full((batch, n), -1.0, dtype=torch.float64) if state is None else state.hold.contiguous(),
            u_end=torch.empty(batch, n, **per_sample), j_end=torch.empty(batch, n, **per_sample),
            c_end=torch.zeros(batch, n, **per_sample), hold_end=torch.full((batch, n), -1.0, dtype=torch.float64),
        )
        if sweep.refractory is not None:
            call.set(refractory=sweep.refractory.to(dtype).contiguous())
        if call.uniform:
            total = call.arguments.events
            call.set(**{name: torch.empty(total, dtype=dtype) for name in ("event_em", "event_es", "event_k", "event_bound")})
        for number, weight in enumerate(weights):
            kept = weight.detach().contiguous()
            call.buffers[f"weights{number}"] = kept
            call.arguments.weights[number] = kept.data_ptr()
            call.arguments.rows[number] = kept.shape[0]
        probed, highest, integral = (torch.empty(0, dtype=dtype) for _ in range(3))
        if probes:
            probed = torch.empty(batch, probes, n, dtype=dtype)
            call.set(probes=probed)
        if call.want_highest:
            highest = torch.empty(batch, n, dtype=dtype)
            call.set(highest=highest, highest_slopes=torch.empty(batch, n, dtype=dtype),
                     highest_times=torch.empty(batch, n, dtype=torch.float64))
        if call.want_integral:
            integral = torch.zeros(batch, n, dtype=dtype)
            call.set(integral=integral)
        times = _run_forward(call) if sweep.spiking else _run_silent(call)
        ctx.call, ctx.count = call, count
        ctx.set_materialize_grads(False)
        return times, probed, highest, integral

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_times: Tensor | None, g_probes: Tensor | None, g_highest: Tensor | None,  # type: ignore[override]
                 g_integral: Tensor | None) -> tuple[Any, ...]:
        return _run_backward(ctx.call, ctx.count, ctx.needs_input_grad[2:], g_times, g_probes, g_highest, g_integral)


def _run_silent(call: _Call) -> Tensor:
    run_tasks(call.library.forward, call.arguments, call.batch)
    call.spike_indices = torch.empty(0, dtype=torch.int64)
    call.spike_offsets = torch.zeros(call.batch + 1, dtype=torch.int64)
    return torch.empty(0, dtype=torch.float64)


def _run_forward(call: _Call) -> Tensor:
    """The sweep, again with larger buffers where they were too small, and the spikes in order."""
    sweep, batch, dtype = call.sweep, call.batch, call.dtype
    segments = batch * call.blocks
    counts = torch.zeros(segments, dtype=torch.int64)
    truncated = torch.zeros(segments, dtype=torch.uint8)
    sweep._capacity = sweep._capacity or 4 * call.lanes
    while True:
        slots = segments * sweep._capacity
        call.set(
            capacity=sweep._capacity, record_times=torch.empty(slots, dtype=torch.float64),
            record_neurons=torch.empty(slots, dtype=torch.int32), record_events=torch.empty(slots, dtype=torch.int32),
            record_kinds=torch.empty(slots, dtype=torch.uint8), record_ranks=torch.empty(slots, dtype=torch.int64),
            record_j=torch.empty(slots, dtype=dtype), record_u=torch.empty(slots, dtype=dtype),
            record_counts=counts, truncated=truncated,
        )
        run_tasks(call.library.forward, call.arguments, batch)
        most = int(counts.max()) if segments else 0
        if most <= sweep._capacity:
            break
        sweep._capacity = most + most // 4
    call.truncated = bool(truncated.any())
    packer = jit.arguments_type(tuple(PACK))()
    for name in ("record_times", "record_neurons", "record_events", "record_kinds", "record_counts", "record_ranks"):
        setattr(packer, name, call.buffers[name].data_ptr())
    spike_counts = torch.empty(batch, dtype=torch.int64)
    packer.blocks, packer.capacity, packer.spike_counts = call.blocks, sweep._capacity, spike_counts.data_ptr()
    run_tasks(event_library().count_spikes, packer, batch)
    offsets = torch.zeros(batch + 1, dtype=torch.int64)
    torch.cumsum(spike_counts, 0, out=offsets[1:])
    total = int(offsets[-1])
    times, indices = torch.empty(total, dtype=torch.float64), torch.empty(total, dtype=torch.int64)
    packer.spike_offsets, packer.spike_times, packer.spike_indices = offsets.data_ptr(), times.data_ptr(), indices.data_ptr()
    run_tasks(event_library().pack, packer, batch)
    call.spike_indices, call.spike_offsets = indices, offsets
    return times


def _chunks(rows: int, n: int, batch: int, blocks: int) -> int:
    """Sample chunks of the reverse sweep: enough tasks for 16 cores, unless their weight gradients would cost more than
    they save. A function of the problem alone, so that sums do not depend on the machine."""
    return max(1, min(batch, -(-16 // blocks), (1 << 17) // max(1, rows * n)))


def _run_backward(call: _Call, count: int, needs: Sequence[bool], g_times: Tensor | None, g_probes: Tensor | None,
                  g_highest: Tensor | None, g_integral: Tensor | None) -> tuple[Any, ...]:
    sweep, batch, dtype, n = call.sweep, call.batch, call.dtype, call.sweep.n
    needs_times, needs_delays = needs[:count], needs[count:2 * count]
    needs_weights, needs_cell = needs[2 * count:3 * count], needs[3 * count:]
    chunks = _chunks(sum(sweep.rows), n, batch, call.blocks)
    want_events = any(needs_times) or any(needs_delays)
    call.set(chunks=chunks, want_rates=int(any(needs_cell)))
    if g_times is None:
        g_times = torch.zeros(len(call.spike_indices), dtype=torch.float64)
    call.set(g_times=g_times.contiguous())
    for name, value in (("g_probes", g_probes), ("g_highest", g_highest), ("g_integral", g_integral)):
        if value is not None and value.numel():
            call.set(**{name: value.to(dtype).contiguous()})
    g_weights: list[Tensor | None] = []
    for number, needed in enumerate(needs_weights):
        gradient = torch.zeros(chunks, sweep.rows[number], n, dtype=dtype) if needed else None
        call.arguments.g_weights[number] = None if gradient is None else gradient.data_ptr()
        g_weights.append(gradient)
    if want_events:
        call.set(g_events=torch.zeros(call.blocks, call.arguments.events, dtype=dtype))
    names = ("g_a", "g_b", "g_rho", "g_gain", "g_theta", "g_reset", "g_drop")
    if any(needs_cell):
        call.set(**{name: torch.zeros(chunks, n, dtype=dtype) for name in names})
        call.set(**{name: torch.zeros(batch, n, dtype=dtype) for name in ("g_u_start", "g_j_start", "g_c_start")})
    run_tasks(call.library.backward, call.arguments, call.blocks * chunks)
    g_sources, g_delays = _scatter(call, needs_times, needs_delays) if want_events else ([None] * count, [None] * count)
    cell: list[Tensor | None] = [None] * len(needs_cell)
    if any(needs_cell):
        sums = [call.buffers[name].sum(0) for name in names]
        sums += [call.buffers["g_u_start"].sum(0), call.buffers["g_j_start"].sum(0)]
        cell = [total if needed else None for total, needed in zip(sums, needs_cell, strict=True)]
    reduced = [None if gradient is None else gradient[0] if chunks == 1 else gradient.sum(0) for gradient in g_weights]
    return (None, None, *g_sources, *g_delays, *reduced, *cell)


def _scatter(call: _Call, needs_times: Sequence[bool], needs_delays: Sequence[bool]) -> tuple[list[Any], list[Any]]:
    """Gradients of merged events, as gradients of each source's times and delays."""
    sizes = [len(source.times) for source in call.sources]
    origins = torch.zeros(sum(sizes), dtype=torch.float64)
    gatherer, events = call.gatherer, call.buffers["g_events"]
    gatherer.blocks, gatherer.real_size = call.blocks, events.element_size()
    gatherer.g_events, gatherer.g_origins = events.data_ptr(), origins.data_ptr()
    run_tasks(event_library().scatter, gatherer, call.batch)
    per_source = origins.split(sizes)
    delays: list[Any] = []
    for number, (source, needed) in enumerate(zip(call.sources, needs_delays, strict=True)):
        if not needed:
            delays.append(None)
            continue
        total = torch.zeros(len(call.buffers[f"delay{number}"]), dtype=torch.float64)
        delays.append(total.index_add_(0, source.indices, per_source[number]))
    return [each if needed else None for each, needed in zip(per_source, needs_times, strict=True)], delays
