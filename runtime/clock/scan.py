"""One population over all columns of a batch, as a differentiable function: forward by the kernel, backward by its
reverse with the surrogate gradient.

Sources whose spikes are lists are gathered within the kernel, row by row of weights; all else arrives as a dense drive.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .. import jit
from ..arenas import empty, zeros
from ..threads import run_tasks
from .cell import Cell
from .lists import SpikeLists, lists_of, sums_of_groups, turned
from .surrogates import Surrogate

__all__ = ["Scanned", "Start", "Want", "clock_source", "clock_text", "runs_on_host", "scan", "sums_by_spikes"]

MAX_SOURCES = 8
"""Sources gathered within the kernel; more are summed into the drive."""
_MOST_LANES = 512
"""Bytes of a block of neurons: eight registers of 64 bytes."""
_REGISTER = 64
_MOST_TOGETHER = 16
"""Samples of a task: what is recorded of them in one column lies side by side. Of the batch alone, never of threads."""
_INDICES = 512
"""INDICES of the kernels."""
_THREADS = 128
"""Of a block on a GPU."""
HOSTS = frozenset({"cpu"})
"""Kinds of devices whose kernels are C's."""
_REALS = {torch.float32: "float", torch.float64: "double"}


def runs_on_host(device: torch.device) -> bool:
    """Whether kernels for a device run on the host's cores."""
    return device.type in HOSTS


@dataclass(frozen=True, slots=True)
class Start:
    """Where a population stands before a column: `states` (K, batch, n); `fired` in the column before, 0 or 1,
    `lagged` input and `left` columns of rest, (batch, n); `past` (delay, batch, n), own spikes still under way."""

    states: Tensor
    fired: Tensor
    lagged: Tensor
    left: Tensor
    past: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """What a scan is asked for. `train`: whether gradients may be asked for; `show`: the membrane after each column."""

    train: bool
    show: bool
    surrogate: Surrogate


@dataclass(frozen=True, slots=True)
class Scanned:
    """`flags` (time, batch, n): the spikes as uint8, or counts where there may be many; `carrier`: zeros of the same
    shape without memory, which carry the gradient of the spikes; `shown` (time, batch, n); `end`."""

    flags: Tensor
    carrier: Tensor
    shown: Tensor | None
    end: Start


@dataclass(slots=True)
class _Plan:
    """One call of the kernels, whatever torch need not know of."""

    cell: Cell
    names: tuple[str, ...]
    lists: tuple[SpikeLists, ...]
    steps: int
    batch: int
    n: int
    delay: int
    want: Want
    start: Start
    dtype: torch.dtype
    flags: Tensor = field(init=False)
    after: tuple[Tensor, Tensor, Tensor, Tensor | None] = field(init=False)
    """`fired`, `lagged`, `left` and `past` at the end. Not the states: they are an output of the function, which would
    then hold itself, and all that it recorded, until the next collection of garbage."""

    @property
    def recurrent(self) -> bool:
        return self.delay > 0


def lanes_of(n: int, dtype: torch.dtype) -> int:
    """Neurons of a block: whole registers, in blocks of about equal size."""
    register, most = _REGISTER // dtype.itemsize, _MOST_LANES // dtype.itemsize
    blocks = -(-n // most)
    return max(1, -(-n // (blocks * register))) * register


def clock_source(machine: str, dtype: torch.dtype, lanes: int, cell: Cell, grads: Sequence[str],
                 surrogate: Surrogate, training: bool, show: bool, sources: int, recurrent: bool) -> str:
    """The text of the kernels of one kind of population."""
    return clock_text(machine, dtype, lanes, cell.states, tuple(cell.terms), tuple(grads), cell.spiking, cell.at,
                      cell.many, cell.lag, cell.rest is not None, cell.late, cell.resets_late, cell.above,
                      surrogate.name, surrogate.detach_reset, training, show, sources, recurrent)


@functools.cache
def clock_text(machine: str, dtype: torch.dtype, lanes: int, states: int, terms: tuple[str, ...],
               grads: tuple[str, ...], spiking: bool, at: bool, many: bool, lag: bool, rest: bool, late: bool,
               resets_late: bool, above: bool, surrogate: str, detach: bool, training: bool, show: bool, sources: int,
               recurrent: bool) -> str:
    """The same by what the text depends on; `terms` and `grads` are names of a cell's terms."""
    return jit.render(
        "clock.jinja", machine=machine, real=_REALS[dtype], lanes=lanes, states=states, terms=list(terms),
        grads=list(grads), spiking=spiking, at=at, many=many, lag=lag, rest=rest, late=late, resets_late=resets_late,
        above=above, noted=_notes(terms, late, above), surrogate=surrogate, detach=detach, training=training,
        keep=training and _keeps(terms, grads, detach), show=show, sources=sources, recurrent=recurrent,
        fields=jit.structure(_fields(terms, grads)),
    )


@functools.cache
def _library(text: str) -> ctypes.CDLL:
    return jit.compile_c(text)


@functools.cache
def _fields(terms: tuple[str, ...], grads: tuple[str, ...]) -> jit.Fields:
    return (
        *(("int64_t", name, 0) for name in ("steps", "batch", "n", "width", "delay", "tasks", "n_source", "n_table",
                                              "grouped", "source_stride", "neuron_stride", "chunks", "together",
                                              "layer")),
        ("double", "sharpness", 0),
        ("int64_t", "sizes", MAX_SOURCES), *((f"const {kind} *", name, MAX_SOURCES) for kind, name in
          (("int64_t", "begins"), ("int64_t", "ends"), ("int32_t", "indices"), ("real", "values"),
           ("real", "weights"))),
        *(("const real *", name, 0) for name in ("drive", "own", "own_back", "state_start")),
        *(("real *", name, 0) for name in ("state", "fired", "lagged", "arrived", "trace", "shown")),
        ("int32_t *", "left", 0), ("const int32_t *", "rest", 0), ("uint8_t *", "resting", 0),
        ("uint8_t *", "noted", 0), ("spike *", "spikes", 0), ("const spike *", "past", 0),
        ("const spike *", "fired_start", 0),
        *(("real *", name, 0) for name in ("g_spikes", "g_shown", "g_drive", "g_fired", "g_weight", "costate")),
        *(("const real *", name, 0) for name in terms), *(("real *", f"g_{name}", 0) for name in grads),
    )


def _keeps(terms: Sequence[str], grads: Sequence[str], detach: bool) -> bool:
    """Whether gradients need all states and inputs, not the membrane alone: those of factors, and those that pass
    through a test or a reset where other states, or the input, have a part in it."""
    through = ("gain_", "ra_") if detach else ("gain_", "ra_", "la_")
    return any(not name.startswith(("h_", "lh_", "lz_", "theta", "rc_", "q_")) for name in grads) or any(
        (name.startswith(through) and not name.endswith("0")) or (name.startswith("lb_") and not detach)
        for name in terms)


def _notes(terms: Sequence[str], late: bool, above: bool) -> bool:
    """Whether gradients need f of each column recorded, which does not follow from the spikes of one."""
    return late and (above or any(name.startswith("lz_") for name in terms))


def scan(cell: Cell, steps: int, batch: int, drive: Tensor | None, sources: Sequence[tuple[SpikeLists, Tensor, Any]],
         own: Tensor | None, delay: int, start: Start, want: Want) -> Scanned:
    """Runs a population. `drive` (time, batch, n): what arrives besides `sources`, each lists, weight (n_source, n) and
    the carrier of the spikes' gradient or None. `own` (n, n): weights of its own spikes, which take `delay` >= 1
    columns."""
    names, tensors = tuple(cell.terms), tuple(cell.terms.values())
    plan = _Plan(cell, names, tuple(lists for lists, _, _ in sources), steps, batch, cell.v0.shape[0],
                 delay if own is not None else 0, want, start, cell.v0.dtype)
    flat: list[Any] = [drive, own, start.states]
    for _, weight, carrier in sources:
        flat += [weight, carrier]
    carrier, shown, states = _Scan.apply(plan, len(sources), *flat, *tensors)
    return Scanned(plan.flags, carrier, shown if want.show else None, Start(states, *plan.after))


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, count: int, drive: Tensor | None, own: Tensor | None, states: Tensor,
                *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        cell, want, dtype = plan.cell, plan.want, plan.dtype
        # Beside each weight stands the carrier of its source: it is there for its gradient alone.
        weights, terms = rest[0:2 * count:2], rest[2 * count:]
        needs = ctx.needs_input_grad
        grads = tuple(name for name, need in zip(plan.names, needs[5 + 2 * count:], strict=True) if need)
        training = want.train and any(needs)
        device, layout = plan.start.states.device, (plan.steps, plan.batch, plan.n)
        made: dict[str, Any] = {"dtype": dtype, "device": device}
        end = states.detach().clone()
        fired, lagged, left = (
            each.clone() if written else each for each, written in
            ((plan.start.fired, cell.late and not cell.above), (plan.start.lagged, cell.lag),
             (plan.start.left, cell.rest is not None)))
        flags = empty(layout if cell.spiking else (0,), dtype if cell.many else torch.uint8, device)
        shown = empty(layout if want.show else (0,), dtype, device)
        resting = empty(layout, torch.uint8, device) if training and cell.rest is not None else None
        noted = empty(layout, torch.uint8, device) if training and _notes(plan.names, cell.late, cell.above) else None
        arrived = torch.empty((plan.batch, plan.n), **made) if plan.recurrent else None
        drive = None if drive is None else drive.contiguous()
        past = plan.start.past
        if plan.recurrent and past is None:
            past = torch.zeros((plan.delay, plan.batch, plan.n), dtype=flags.dtype, device=device)
        call = _Call(plan, grads if training else (), training)
        keep = _keeps(plan.names, grads, want.surrogate.detach_reset)
        recorded = (cell.states + 1 if keep else 1) * call.layer
        trace = empty((recorded,), dtype, device) if training else None
        call.sources([each.detach() for each in weights])
        call.set(drive=drive, own=None if own is None else own.contiguous(), state=end, fired=fired, lagged=lagged,
                 left=left, rest=cell.rest, resting=resting, noted=noted, spikes=flags, past=past, trace=trace,
                 shown=shown, arrived=arrived)
        call.set(**{name: each.detach().contiguous() for name, each in zip(plan.names, terms, strict=True)})
        call.run("forward")
        if plan.recurrent:
            past = torch.cat([past, flags])[-plan.delay:] if past is not None else flags[-plan.delay:]
        plan.flags, plan.after = flags, (fired, lagged, left, past)
        carrier = torch.zeros(1, **made).expand(layout if cell.spiking else (0,))
        if training:
            ctx.plan, ctx.grads, ctx.count = plan, grads, count
            ctx.trace, ctx.resting, ctx.noted = trace, resting, noted
            ctx.save_for_backward(own, states, *weights, *terms)
        return carrier, shown, end

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_spikes: Tensor | None, g_shown: Tensor | None, g_end: Tensor | None) -> tuple[Any, ...]:
        plan, count, needs = ctx.plan, ctx.count, ctx.needs_input_grad
        own, states, *saved = ctx.saved_tensors
        weights, terms = saved[:count], saved[count:]
        cell, layout = plan.cell, (plan.steps, plan.batch, plan.n)
        made: dict[str, Any] = {"dtype": plan.dtype, "device": states.device}
        costate = torch.zeros_like(states) if g_end is None else g_end.clone(memory_format=torch.contiguous_format)
        if cell.spiking:
            g_spikes = torch.zeros(layout, **made) if g_spikes is None else (
                g_spikes.clone(memory_format=torch.contiguous_format) if plan.recurrent else g_spikes.contiguous())
        sums = {name: torch.zeros((plan.batch, plan.n), **made) for name in ctx.grads}
        call = _Call(plan, ctx.grads, True)
        g_drive = (zeros if cell.lag else empty)((call.layer,), plan.dtype, states.device)
        call.set(spikes=plan.flags, trace=ctx.trace, resting=ctx.resting, noted=ctx.noted, costate=costate,
                 g_drive=g_drive,
                 g_shown=None if g_shown is None or not plan.want.show else g_shown.contiguous(),
                 g_spikes=g_spikes if cell.spiking else None, state_start=states.contiguous(),
                 fired_start=plan.start.fired.to(plan.flags.dtype), g_fired=torch.zeros((plan.batch, plan.n), **made),
                 own_back=None if own is None else own.t().contiguous())
        call.set(**{name: each.contiguous() for name, each in zip(plan.names, terms, strict=True)})
        call.set(**{f"g_{name}": each for name, each in sums.items()})
        call.run("backward")
        dense = needs[2] or any(needs[6:6 + 2 * count:2])
        flat = call.in_rows(g_drive) if dense else g_drive
        given: list[Any] = [flat.view(layout) if needs[2] else None, None, costate if needs[4] else None]
        if needs[3]:
            given[1] = _own_gradient(call, plan, own, g_drive)
        for number in range(count):
            given.append(call.weight_gradient(weights[number], plan.lists[number], g_drive)
                         if needs[5 + 2 * number] else None)
            given.append(_to_source(flat, weights[number]).view(plan.steps, plan.batch, -1)
                         if needs[6 + 2 * number] else None)
        given += [sums[name].sum(0) if name in sums else None for name in plan.names]
        return (None, None, *given)


def sums_by_spikes(lists: SpikeLists, drive: Tensor, like: Tensor) -> Tensor:
    """(n_source, n), laid out as `like`: over the rows of `lists`, what arrived times `drive` (row, n), contiguous."""
    rows, n = drive.shape
    none = Cell(1, {}, drive.new_zeros(n), None, at=False, many=False, lag=False, resets_late=False, above=False)
    start = Start(drive.new_zeros((1, 1, n)), *(drive.new_zeros((1, n)) for _ in range(3)))
    # Of a population with own spikes, so that rows are in plain order.
    plan = _Plan(none, (), (lists,), rows, 1, n, 1, Want(True, False, Surrogate()), start, drive.dtype)
    return _Call(plan, (), True).weight_gradient(like, lists, drive)


def _to_source(drive: Tensor, weight: Tensor) -> Tensor:
    """(row, n_source): gradients of the spikes of a source."""
    return torch.mm(drive, weight.t(), out=empty((len(drive), len(weight)), drive.dtype, drive.device))


def _own_gradient(call: _Call, plan: _Plan, own: Tensor, g_drive: Tensor) -> Tensor:
    """Of the weights of a population's own spikes, which arrive `delay` columns late."""
    past = plan.start.past
    before = plan.flags.new_zeros((plan.delay, plan.batch, plan.n)) if past is None else past
    arriving = torch.cat([before, plan.flags])[:plan.steps]
    return call.weight_gradient(own, lists_of(arriving, time_first=True, flags=not plan.cell.many), g_drive)


class _Call:
    """The arguments of the kernels of one plan, and what keeps their tensors alive."""

    def __init__(self, plan: _Plan, grads: tuple[str, ...], training: bool) -> None:
        self.plan = plan
        device = plan.start.states.device
        self.on_host = runs_on_host(device)
        self.device = device
        lanes = lanes_of(plan.n, plan.dtype) if self.on_host else 1
        self.text = clock_source("c" if self.on_host else "cuda", plan.dtype, lanes, plan.cell, grads,
                                 plan.want.surrogate, training, plan.want.show, len(plan.lists), plan.recurrent)
        self.arguments = jit.arguments_type(tuple(_fields(plan.names, grads)))()
        self.lanes = lanes
        self.stride = max(1, plan.n) if plan.recurrent else lanes
        self.blocks = -(-plan.n // self.stride)
        self.layer = self.blocks * plan.steps * plan.batch * self.stride
        together = max(1, min(_MOST_TOGETHER, plan.batch // 8)) if self.on_host else 1
        chunks = -(-plan.batch // together)
        self.tasks = chunks * self.blocks
        self.arguments.chunks, self.arguments.together, self.arguments.layer = chunks, together, self.layer
        self.arguments.steps, self.arguments.batch, self.arguments.n = plan.steps, plan.batch, plan.n
        self.arguments.width, self.arguments.delay = self.stride, plan.delay
        self.arguments.sharpness = plan.want.surrogate.sharpness
        self.held: list[Tensor] = []

    def set(self, **tensors: Tensor | None) -> None:
        for name, tensor in tensors.items():
            if tensor is not None:
                setattr(self.arguments, name, tensor.data_ptr())
                self.held.append(tensor)

    def sources(self, weights: Sequence[Tensor]) -> None:
        for number, (lists, weight) in enumerate(zip(self.plan.lists, weights, strict=True)):
            self._source(number, begins=lists.begins, ends=lists.ends, indices=lists.indices, values=lists.values)
            if lists.grouped:
                packed = sums_of_groups(weight, self.blocks, self.stride)
            else:
                packed = weight.contiguous() if self.plan.recurrent else self._in_blocks(weight)
            self._source(number, weights=packed)
            self.arguments.sizes[number] = lists.table

    def _in_blocks(self, weight: Tensor) -> Tensor:
        """(n_source, n) -> (block, n_source, lane), padded with zeros."""
        count, n = weight.shape
        packed = empty((self.blocks, count, self.lanes), weight.dtype, weight.device)
        whole = n // self.lanes
        packed[:whole].copy_(weight[:, :whole * self.lanes].view(count, whole, self.lanes).transpose(0, 1))
        if whole < self.blocks:
            packed[whole].zero_()[:, :n - whole * self.lanes] = weight[:, whole * self.lanes:]
        return packed

    def in_rows(self, drive: Tensor) -> Tensor:
        """Gradients of the drive as (row, n)."""
        rows = self.plan.steps * self.plan.batch
        dense = drive.view(self.blocks, rows, self.stride).transpose(0, 1).reshape(rows, self.blocks * self.stride)
        return dense[:, :self.plan.n]

    def weight_gradient(self, weight: Tensor, lists: SpikeLists, drive: Tensor) -> Tensor:
        """(n_source, n), of `weight`: over all rows, what arrived times the gradient of the drive."""
        across = weight.stride(0) < weight.stride(1)  # laid out as the parameter, it becomes .grad without a copy
        gradient = empty((self.plan.n, lists.n) if across else (lists.n, self.plan.n), drive.dtype, drive.device)
        gradient = gradient.t() if across else gradient
        by_index = turned(lists)
        self._source(0, begins=by_index.starts, indices=by_index.rows, values=by_index.values)
        self.set(g_weight=gradient, g_drive=drive)
        self.arguments.n_source, self.arguments.n_table = lists.n, lists.table
        self.arguments.grouped = lists.grouped
        self.arguments.source_stride, self.arguments.neuron_stride = gradient.stride()
        indices = _INDICES if self.on_host else 1
        self.run("weights", -(-lists.table // indices) * -(-self.plan.n // self.lanes))
        return gradient

    def run(self, entry: str, tasks: int | None = None) -> None:
        tasks = self.tasks if tasks is None else tasks
        if self.on_host:
            run_tasks(getattr(_library(self.text), entry), self.arguments, tasks)
        else:
            from .. import gpu

            self.arguments.tasks = tasks
            gpu.launch(self.text, entry, (max(1, -(-tasks // _THREADS)), 1), _THREADS, self.arguments, self.device)

    def _source(self, number: int, **tensors: Tensor | None) -> None:
        for name, tensor in tensors.items():
            getattr(self.arguments, name)[number] = 0 if tensor is None else tensor.data_ptr()
            if tensor is not None:
                self.held.append(tensor)
