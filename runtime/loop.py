"""The event loop as a torch function: recurrent components, and connections that are sparse, convolutional or delayed
synapse by synapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ir.diagnostics import BadInputError, Diagnostic, UnsupportedError
from ..ir.network import Network
from .cells import Cell, cell_kind
from .jit import KernelError
from .loop_kernels import LOOP_CELL, LOOP_GRADIENTS, MAX_PROJECTIONS, LoopArguments, loop_library, loop_source
from .signals import GRAZING, Played, Spikes, State, SweepResult, count_grazing
from .threads import run_tasks
from .wires import Wire, make_wire, place_wire, waves

__all__ = ["CALLS", "Loop", "LoopCall"]

CALLS: dict[str, type[LoopCall]] = {}
"""How a loop runs, by type of device; devices other than the host add theirs (see `gpu`)."""

_ENTRY = np.dtype([("time", "f8"), ("origin", "i8"), ("j", "f8"), ("u", "f8"), ("what", "i4"), ("index", "i4"),
                   ("projection", "i4"), ("sign", "i4"), ("synapse", "i8")])
_SMOOTH = 1
_MOVES = {"j": 0, "u": 1, "c": 2}
_FAULT_LOG, _FAULT_QUEUE, _FAULT_CYCLE, _FAULT_LIMIT = 1, 2, 4, 8


class Loop:
    """One component of the schedule. Populations are numbered through; see `Sweep` for what a run takes and gives."""

    def __init__(self, network: Network, component: tuple[str, ...], incoming: tuple[int, ...], box: float) -> None:
        self.box, self.component = box, component
        self.limit = 1 << 24
        populations = [network.populations[name] for name in component]
        for population in populations:
            if population.kind == "flow":
                raise UnsupportedError(Diagnostic(
                    "SC440", "spikes of neurons that are stated by equations cannot be played", node=population.name,
                    remedy="Use LIF, CubaLIF or IF."))
        sizes = [population.n for population in populations]
        self.firsts = dict(zip(component, np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist(), strict=True))
        self.sizes, self.n = sizes, sum(sizes)
        self.burst = max(4096, 1024 * self.n)
        if len(incoming) > MAX_PROJECTIONS:
            raise BadInputError(Diagnostic("SC404", "too many projections into one component", node=component[0],
                                           value=str(len(incoming)), limit=str(MAX_PROJECTIONS)))
        kinds = {name: cell_kind(network.populations[name], network.discretization) for name in component}
        projections = [network.projections[number] for number in incoming]
        self.wires = tuple(make_wire(each, self.firsts, network, _MOVES[kinds[each.target]]) for each in projections)
        self.has_c = any(kind == "c" for kind in kinds.values())
        self.dense = all(kind == "j" for kind in kinds.values()) and all(
            wire.kind == 0 and wire.delay_per < 2 for wire in self.wires) and all(each.spiking for each in populations)

        def spread(values: list[Any], dtype: torch.dtype) -> Tensor:
            parts = zip(sizes, values, strict=True)
            return torch.cat([torch.full((size,), value, dtype=dtype) for size, value in parts])

        self.spiking = spread([population.spiking for population in populations], torch.uint8)
        self._subtracting = [population.reset == "subtract" for population in populations]
        self.subtract = spread(self._subtracting, torch.uint8)
        self.moves_u = spread([kinds[name] == "u" for name in component], torch.uint8)
        self.population = spread(list(range(len(component))), torch.int64)
        self.wave = spread(waves(component, projections), torch.int64)
        self.population_first = torch.tensor(list(self.firsts.values()), dtype=torch.int64)
        self.refractory = torch.cat([
            torch.zeros(population.n, dtype=torch.float64) if population.refractory is None
            else torch.from_numpy(np.array(population.refractory, dtype=np.float64)) for population in populations])
        self._log_capacity = self._queue_capacity = 0
        self._wires: dict[torch.device, tuple[Wire, ...]] = {}

    def wires_on(self, device: torch.device) -> tuple[Wire, ...]:
        """The projections with their layouts on a device."""
        if device not in self._wires:
            self._wires[device] = tuple(
                replace(wire, **{name: value.to(device) for name in ("indptr", "indices", "order", "geometry")
                                 if (value := getattr(wire, name)) is not None}) for wire in self.wires)
        return self._wires[device]

    @property
    def limits(self) -> str:
        """How many spikes there may be."""
        return f"{self.limit} spikes a sample, {self.burst} within the shortest time constant"

    def source(self, dtype: torch.dtype, uniform: bool) -> str:
        """The text of its kernels for the CPU; whether rates are uniform they see for themselves."""
        return loop_source("c", dtype, self.dense)

    def _stays_above(self, cells: Sequence[Cell], states: Sequence[State] | None) -> bool:
        """Whether a neuron may stay above its threshold after a spike, so that inputs make it fire again: only the loop
        that looks at who is reached can tell. Inputs of the other loop move no voltage, so its neurons start there."""
        if states is not None:
            return any(bool((state.u > cell.theta).any()) for state, cell in zip(states, cells, strict=True))
        return any(subtract and bool((cell.u0 - cell.drop > cell.theta).any())
                   for cell, subtract in zip(cells, self._subtracting, strict=True))

    def run(self, external: Mapping[str, Spikes], history: Mapping[str, Spikes], weights: Sequence[Tensor],
            delays: Sequence[Tensor | None], cells: Sequence[Cell], duration: float, *, batch: int,
            states: Sequence[State] | None = None, probe_times: Tensor | None = None, want_highest: bool = False,
            want_integral: bool = False, integral_decay: float | None = None,
            played: Played | None = None) -> dict[str, SweepResult]:
        """Spikes and voltages of every population of the component over [0, duration] s. The highest voltage and the
        integral are those of readouts. `played`: when its neurons fire, whatever their membranes say."""
        slots = [name for name in external if name not in self.component]
        returning = [name for name in self.component if name in history]
        sources = [external[name] for name in slots] + [history[name] for name in returning]
        like = cells[0].a
        dense = self.dense and not self._stays_above(cells, states)
        call = CALLS[like.device.type](self, slots, returning, sources, duration, batch, states, probe_times, like,
                                       dense)
        if want_highest:
            call.set(highest_slopes=call.empty(), highest_times=call.empty(torch.float64))
        call.want_highest, call.want_integral, call.played = want_highest, want_integral, played
        call.set(integral_rate=0.0 if integral_decay is None else 1.0 / integral_decay)
        packed = [torch.cat(each) for each in zip(*(cell.differentiable() for cell in cells), strict=True)]
        times = [source.times for source in sources]
        outcome = _LoopFunction.apply(call, len(sources), *times, *delays, *weights, *packed)
        *times, probes, highest, integral = outcome
        results = {}
        for number, name in enumerate(self.component):
            first, size = self.firsts[name], self.sizes[number]
            part = slice(first, first + size)
            indices, offsets = call.populations[number]
            results[name] = SweepResult(
                Spikes(times[number], indices, offsets), None if probe_times is None else probes[:, :, part],
                highest[:, part] if want_highest else None,
                call.buffers["highest_times"][:, part] if want_highest else None,
                integral[:, part] if want_integral else None, _Part(call, part, number), call.truncated)
        return results


@dataclass(frozen=True, slots=True)
class _Part:
    """The end of a run, of one population of the component."""

    call: LoopCall
    part: slice
    number: int

    def grazing(self) -> int:
        """Number of smooth crossings of this population whose slope is below the guard."""
        call = self.call
        log = call.on_host("log").view(_ENTRY).reshape(call.batch, call.arguments.log_capacity)
        used = np.arange(log.shape[1]) < call.on_host("log_counts")[:, None]
        crossings = log[used & (log["what"] == _SMOOTH)]
        mine = crossings[call.loop.population.numpy()[crossings["index"]] == self.number]
        neurons = torch.from_numpy(mine["index"].astype(np.int64))
        rates = {name: call.buffers[name].cpu().to(torch.float64)[neurons]
                 for name in ("a", "rho", "theta", "least_slope")}
        return count_grazing(rates, torch.from_numpy(mine["j"].copy()), call.arguments.grazing)

    def ending(self) -> State:
        ends = ("u_end", "j_end", "c_end", "hold_end")
        return State(*(self.call.buffers[key][:, self.part].contiguous() for key in ends))


class LoopCall:
    """One evaluation: the log that the forward pass leaves for the reverse one. This one runs on the host; what another
    machine does differently are `prepare` and `run_workers` (see `gpu.DeviceLoop`)."""

    def __init__(self, loop: Loop, slots: list[str], returning: list[str], sources: list[Spikes], duration: float,
                 batch: int, states: Sequence[State] | None, probe_times: Tensor | None, like: Tensor,
                 dense: bool) -> None:
        self.loop, self.sources, self.duration, self.batch, self.dense = loop, sources, duration, batch, dense
        self.states, self.probe_times, self.dtype, self.device = states, probe_times, like.dtype, like.device
        self.slot = {name: number for number, name in enumerate(slots)}
        self.history = {name: len(slots) + number for number, name in enumerate(returning)}
        self.prepare()
        self.arguments = LoopArguments()
        self.buffers: dict[str, Tensor] = {}
        self.populations: list[tuple[Tensor, Tensor]] = []
        self.truncated = self.want_highest = self.want_integral = False
        self.played: Played | None = None

    def empty(self, dtype: torch.dtype | None = None) -> Tensor:
        """Room for a number of every neuron and sample."""
        return torch.empty(self.batch, self.loop.n, dtype=dtype or self.dtype, device=self.device)

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.zeros(*shape, dtype=dtype or self.dtype, device=self.device)

    def on_host(self, name: str) -> np.ndarray[Any, Any]:
        """What a buffer holds."""
        array: np.ndarray[Any, Any] = self.buffers[name].cpu().numpy()
        return array

    def prepare(self) -> None:
        """Makes the kernels ready."""
        self.kernels = loop_library(self.dtype, self.dense)

    def record_bytes(self) -> list[int]:
        """Sizes of the kernels' records."""
        library = loop_library(self.dtype, self.dense)
        return [library.record_bytes(which) for which in range(5)]

    def run_workers(self, entry: str, workers: int) -> None:
        """Runs a kernel, a sample ("forward") or a chunk of samples ("backward") a worker."""
        run_tasks(getattr(self.kernels, entry), self.arguments, workers)

    def set(self, **values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, Tensor):
                self.buffers[name] = value = value.to(self.device)
                value = value.data_ptr()
            setattr(self.arguments, name, value)

    def place(self, field: str, number: int, value: Tensor | None) -> None:
        """One entry of an array field."""
        if value is not None:
            self.buffers[f"{field}{number}"] = value = value.to(self.device)
        getattr(self.arguments, field)[number] = None if value is None else value.data_ptr()

    def start(self) -> None:
        """State at the beginning, from a former run or from rest."""
        batch, n = self.batch, self.loop.n
        if self.states is None:
            rest = {name: self.buffers[name].expand(batch, n).contiguous() for name in ("u0", "j0")}
            self.set(u_start=rest["u0"], j_start=rest["j0"], c_start=self.zeros(batch, n),
                     hold_start=self.zeros(batch, n, dtype=torch.float64) - 1.0)
        else:
            joined = {name: torch.cat([getattr(state, name) for state in self.states], 1).contiguous()
                      for name in ("u", "j", "c", "hold")}
            self.set(**{f"{name}_start": value for name, value in joined.items()})

    def play(self, played: Played) -> None:
        """Lays out spikes that take the place of crossings: by sample, time and wave."""
        neurons = torch.cat([each.indices + first for each, first in
                             zip(played.spikes, self.loop.firsts.values(), strict=True)]).cpu().numpy()
        times = torch.cat([each.times.detach() for each in played.spikes]).cpu().numpy()
        samples = np.concatenate([np.repeat(np.arange(self.batch), each.offsets.diff().cpu().numpy())
                                  for each in played.spikes])
        order = np.lexsort((neurons, self.loop.wave.cpu().numpy()[neurons], times, samples))
        offsets = np.searchsorted(samples[order], np.arange(self.batch + 1)).astype(np.int64)
        held = {name: self.buffers[name] for name in ("a", "theta", "reset")}
        least = (held["theta"] - held["reset"]).abs() / self.duration if self.duration > 0 else held["a"] * 0
        most = len(times) + 1
        self.set(
            played=1, grazing=played.guard, limit=most, burst=most,
            least_slope=played.guard * torch.maximum(held["a"] * held["theta"].abs(), least),
            played_times=torch.from_numpy(times[order]).to(self.device),
            played_neurons=torch.from_numpy(neurons[order].astype(np.int32)).to(self.device),
            played_offsets=torch.from_numpy(offsets).to(self.device))


CALLS["cpu"] = LoopCall


class _LoopFunction(torch.autograd.Function):
    """Inputs after `count` (the number of event sources): times of each, delays and weights of each projection, then
    `Cell.differentiable` over the component. Outputs: spike times of each population, probes, the highest voltages, the
    integrals."""

    @staticmethod
    def forward(ctx: Any, call: LoopCall, count: int, *tensors: Any) -> tuple[Tensor, ...]:
        loop, batch, dtype = call.loop, call.batch, call.dtype
        wires = len(loop.wires)
        delays, weights = tensors[count:count + wires], tensors[count + wires:count + 2 * wires]
        cell = dict(zip((*LOOP_CELL, "u0", "j0"), tensors[count + 2 * wires:], strict=True))
        values = {name: value.detach().contiguous() for name, value in cell.items()}
        rates = torch.stack([values["a"], values["b"], values["rho"]])
        call.buffers.update(u0=values.pop("u0"), j0=values.pop("j0"))
        probes = 0 if call.probe_times is None else len(call.probe_times)
        call.set(
            **values, batch=batch, n=loop.n, slots=len(call.sources), projections=wires, n_probes=probes,
            fresh=int(call.states is None), limit=loop.limit, burst=loop.burst, window=_shortest(rates),
            uniform=int(bool((rates == rates[:, :1]).all())), has_c=int(loop.has_c),
            duration=call.duration, box=loop.box, grazing=GRAZING, least_slope=torch.zeros_like(values["a"]),
            refractory=loop.refractory.to(dtype), longest_k=_longest_k(values["a"], values["b"]),
            spiking=loop.spiking, subtract=loop.subtract, moves_u=loop.moves_u, population=loop.population,
            population_first=loop.population_first, wave=loop.wave,
            **{name: call.zeros(batch, loop.n) for name in ("u_end", "j_end", "c_end")},
            hold_end=call.zeros(batch, loop.n, dtype=torch.float64),
        )
        call.start()
        if call.played is not None:
            call.play(call.played)
        first = 0
        for number, source in enumerate(call.sources):
            arrays = {"times": source.times.detach(), "indices": source.indices, "offsets": source.offsets}
            for field, value in arrays.items():
                call.place(field, number, value)
            call.arguments.slot_first[number] = first
            first += len(source.times)
        for number, wire in enumerate(loop.wires_on(call.device)):
            place_wire(call, loop.firsts, loop.component, number, wire, weights[number], delays[number])
        probed = call.zeros(batch, probes, loop.n)
        if probes:
            call.set(probes=probed, probe_times=call.probe_times)
        highest, integral = (call.empty() if wanted else call.zeros(0)
                             for wanted in (call.want_highest, call.want_integral))
        for name, value in (("highest", highest), ("integral", integral)):
            if value.numel():
                call.set(**{name: value})
        times = _run_forward(call)
        ctx.call, ctx.count = call, count
        ctx.set_materialize_grads(False)
        return (*times, probed, highest, integral)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        return _run_backward(ctx.call, ctx.count, ctx.needs_input_grad[2:], gradients[:-3], gradients[-3:])


def _longest_k(a: Tensor, b: Tensor) -> Tensor:
    """The maximum over s of k(s): at s = ln(b/a) / (b - a); 1/a where b = 0, 1/b where a = 0, unbounded for neither."""
    low, high = torch.minimum(a, b).double(), torch.maximum(a, b).double()
    ratio = (high - low) / low.clamp(min=1e-300)
    peak = torch.where(ratio > 1e-8, torch.log1p(ratio) / (high - low).clamp(min=1e-300), 1 / high.clamp(min=1e-300))
    bound = torch.exp(-high * peak) / low.clamp(min=1e-300)  # k(peak) = exp(-high peak) / low
    bound = torch.where(low > 0, bound, torch.where(high > 0, 1 / high.clamp(min=1e-300), torch.full_like(high, 1e30)))
    return (bound * (1 + 1e-5)).clamp(max=1e30).to(a.dtype)


def _shortest(rates: Tensor) -> float:
    """The shortest time constant of rates (a, b, rho), seconds; 0 without any."""
    fastest = float(rates[:2].max()) if rates.numel() else 0.0
    return 1 / fastest if fastest > 0 else 0.0


def _run_forward(call: LoopCall) -> list[Tensor]:
    loop, batch = call.loop, call.batch
    sizes = call.record_bytes()
    events = max((int(source.offsets.diff().max()) for source in call.sources if batch), default=0)
    # other threads may run the same loop: what it remembers is read once
    log_capacity = loop._log_capacity or 4 * events * max(1, len(loop.wires)) + 4 * loop.n + 64
    queue_capacity = loop._queue_capacity or 4 * events + 4 * loop.n + 64
    while True:
        call.set(log_capacity=log_capacity, queue_capacity=queue_capacity, trace_capacity=0)
        try:
            log = torch.empty(batch * log_capacity * sizes[0], dtype=torch.uint8, device=call.device)
            times = torch.empty(batch * log_capacity, dtype=torch.float64, device=call.device)
            neurons = torch.empty(batch * log_capacity, dtype=torch.int64, device=call.device)
        except RuntimeError as error:  # torch's only word for it
            raise KernelError(Diagnostic(
                "SC423", "there is no memory for the spikes and arrivals of these samples", node=loop.component[0],
                value=f"{batch * log_capacity * (sizes[0] + 16) / 2**30:.1f} GiB",
                remedy="Run fewer samples at once, or a shorter time; look for runaway activity.")) from error
        call.set(
            **{name: call.zeros(batch, dtype=torch.int64)
               for name in ("log_counts", "faults", "trace_counts", "spike_counts")},
            log=log, spike_times=times, spike_neurons=neurons, scratch_bytes=_scratch(call, sizes, 0),
        )
        call.run_workers("forward", batch)
        seen = int(np.bitwise_or.reduce(call.on_host("faults"), initial=0))
        if seen & _FAULT_CYCLE:
            raise UnsupportedError(Diagnostic(
                "SC401", "a cycle without delay would fire a neuron twice at one instant", node=loop.component[0],
                remedy="Give a connection of the cycle a delay, or the neuron a refractory period."))
        if not seen & (_FAULT_LOG | _FAULT_QUEUE):
            break
        if seen & _FAULT_LOG:
            log_capacity = max(2 * log_capacity, int(call.buffers["log_counts"].max()) + 64)
        if seen & _FAULT_QUEUE:
            queue_capacity *= 4
    loop._log_capacity, loop._queue_capacity = log_capacity, queue_capacity
    call.truncated = bool(seen & _FAULT_LIMIT)
    return _sort_spikes(call)


def _scratch(call: LoopCall, sizes: Sequence[int], traced: int, spikes: int = 0) -> int:
    """Bytes of working memory of one worker: `sizes` are those of the kernel's records, `traced` stretches kept."""
    loop = call.loop
    queue, slack = sizes[1] * call.arguments.queue_capacity, 64 * 24 + 8 * (spikes + len(call.sources) + 2)
    if call.dense:
        padded = -(-loop.n // 16) * 16
        pair = (sizes[2] - 16) // 12 * 2  # twelve numbers a neuron; a stretch keeps two
        return _whole_lines(queue + padded * (sizes[2] + sizes[4]) + traced * (sizes[3] + padded * pair) + slack)
    return _whole_lines(queue + (sizes[2] + sizes[4] + 12) * loop.n + sizes[3] * traced + slack)


def _whole_lines(size: int) -> int:
    """A size in bytes, rounded up to whole cache lines, as aligned memory is asked for."""
    return -(-size // 64) * 64


def _sort_spikes(call: LoopCall) -> list[Tensor]:
    """Spikes of each population, by sample and (time, neuron); where each spike of the log went."""
    loop, batch = call.loop, call.batch
    numbers = call.on_host("spike_counts")
    firsts = np.concatenate([[0], np.cumsum(numbers)])[:-1].astype(np.int64)
    samples = np.repeat(np.arange(batch), numbers)
    # a log has far more room than spikes: they are picked by place
    places = np.arange(len(samples)) + (np.arange(batch) * call.arguments.log_capacity - firsts)[samples]
    all_times, neurons = call.on_host("spike_times")[places], call.on_host("spike_neurons")[places]
    populations = loop.population.numpy()[neurons]
    order = np.arange(len(neurons))
    # the log is in order of time already; only what fired at one instant, or several populations, need sorting
    follows = (np.diff(all_times) > 0) | (np.diff(samples) > 0) | ((np.diff(all_times) == 0) & (np.diff(neurons) > 0))
    if len(loop.component) > 1 or not follows.all():
        order = np.lexsort((neurons, all_times, samples, populations))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    call.set(spike_firsts=torch.from_numpy(firsts), spike_ranks=torch.from_numpy(ranks))
    times = []
    for number, name in enumerate(loop.component):
        mine = order[populations[order] == number] if len(loop.component) > 1 else order
        offsets = np.searchsorted(samples[mine], np.arange(batch + 1)).astype(np.int64)
        call.populations.append((torch.from_numpy(neurons[mine] - loop.firsts[name]).to(call.device),
                                 torch.from_numpy(offsets).to(call.device)))
        times.append(torch.from_numpy(all_times[mine]).to(call.device))
    return times


def _run_backward(call: LoopCall, count: int, needs: Sequence[bool], g_times: Sequence[Tensor | None],
                  g_voltages: Sequence[Tensor | None]) -> tuple[Any, ...]:
    loop, batch, dtype = call.loop, call.batch, call.dtype
    wires = len(loop.wires)
    needs_times, needs_delays = needs[:count], needs[count:count + wires]
    needs_weights, needs_cell = needs[count + wires:count + 2 * wires], needs[count + 2 * wires:]
    sizes = call.record_bytes()
    heaviest = max((int(call.arguments.p_weights[number]) for number in range(wires)), default=1)
    # as many chunks of samples as the memory for their weight gradients is worth, a power of two
    chunks = 1 << (max(1, min(batch, 16, max(2, (1 << 20) // max(1, heaviest)))).bit_length() - 1)
    rates = any(needs_cell)
    traced = 0
    if rates:
        traced = int(call.buffers["trace_counts"].max()) if call.dense and batch else _trace_length(call)
    spikes = int(call.buffers["spike_counts"].max()) if batch else 0
    joined = [call.zeros(len(indices), dtype=torch.float64) if g is None else g
              for g, (indices, _) in zip(g_times, call.populations, strict=True)]
    call.set(chunks=chunks, want_rates=int(rates), trace_capacity=traced,
             g_times=torch.cat([*joined, call.zeros(1, dtype=torch.float64)]),
             scratch_bytes=_scratch(call, sizes, traced, spikes))
    for name, value in zip(("g_probes", "g_highest", "g_integral"), g_voltages, strict=True):
        if value is not None and value.numel():
            call.set(**{name: value.to(dtype).contiguous()})
    totals = sum(len(source.times) for source in call.sources)
    origins = call.zeros(totals + 1, dtype=torch.float64)
    if any(needs_times):
        call.set(g_origins=origins)
    g_weights: list[Tensor | None] = []
    g_delays: list[Tensor | None] = []
    for number in range(wires):
        weight = call.buffers[f"weights{number}"]
        g_weights.append(call.zeros(chunks, *weight.shape) if needs_weights[number] else None)
        g_delays.append(call.zeros(chunks, *call.buffers[f"p_delays{number}"].shape, dtype=torch.float64)
                        if needs_delays[number] else None)
        call.place("g_weights", number, g_weights[-1])
        call.place("g_delays", number, g_delays[-1])
    if rates:
        call.set(**{name: call.zeros(chunks, loop.n) for name in LOOP_GRADIENTS})
        call.set(**{name: call.zeros(batch, loop.n) for name in ("g_u_start", "g_j_start")})
    call.run_workers("backward", chunks)
    split = origins[:totals].split([len(source.times) for source in call.sources])
    sums = [call.buffers[name].sum(0) for name in (*LOOP_GRADIENTS, "g_u_start", "g_j_start")] if rates else [None] * 9
    delays = [None if g is None else g.sum(0).t() if g.dim() == 3 else g.sum(0) for g in g_delays]
    return (
        None, None, *(each if needed else None for each, needed in zip(split, needs_times, strict=True)),
        *delays, *(None if g is None else g.sum(0) for g in g_weights),
        *(total if needed else None for total, needed in zip(sums, needs_cell, strict=True)),
    )


def _trace_length(call: LoopCall) -> int:
    """An upper bound on the stretches of one sample: neurons touched by each entry of its log, and once more for each
    end of a refractory period."""
    loop = call.loop
    log = call.on_host("log").view(_ENTRY).reshape(call.batch, call.arguments.log_capacity)
    fan = np.array([wire.targets if wire.indptr is None else int(wire.indptr.diff().amax()) if len(wire.indptr) > 1
                    else 0
                    for wire in loop.wires] or [0])
    longest = 0
    for sample in range(call.batch):
        entries = log[sample, :int(call.buffers["log_counts"][sample])]
        rows = entries[entries["what"] == 0]
        others = len(entries) - len(rows)
        touched_all = int((entries["what"] >= 5).sum())
        longest = max(longest, int(fan[rows["projection"]].sum()) + 3 * others + loop.n * (touched_all + 1))
    return longest
