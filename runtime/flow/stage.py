"""The event loop of flows as a torch function: a component whose neurons are of one dynamics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...ir.diagnostics import BadInputError, Diagnostic, Diagnostics, UnsupportedError
from ...ir.flow.courses import LARGEST
from ...ir.flow.flow import Dynamics
from ...ir.network import Network
from ..arenas import empty, room, zeros
from ..jit import KernelError
from ..loop_kernels import MAX_PROJECTIONS
from ..signals import FlowState, Spikes, SweepResult
from ..threads import run_tasks
from ..wires import make_wire, place_wire, waves
from .derived import MOST_STEPS, NoNumberError
from .faults import DIVERGED, GONE, SHIFT, STIFF, STUCK
from .kernels import FlowArguments, flow_library, flow_source
from .values import FlowValues

__all__ = ["FlowCall", "FlowStage"]

_Made = TypeVar("_Made")
_FAULT_LOG, _FAULT_QUEUE, _FAULT_CYCLE, _FAULT_LIMIT = 1, 2, 4, 8
_ENTRY_BYTES = 40
_LOST = (
    (DIVERGED << SHIFT, "SC441", "a state grows beyond all bounds", f"{LARGEST:g}",
     "Look at the equations, the parameters and the weights: below the threshold every state should stay finite. In "
     "training, a smaller lr."),
    (GONE << SHIFT, "SC441", "a state or its rate is no number", None,
     "Look for the root or logarithm of what becomes negative, or for a division by zero."),
    (STIFF << SHIFT, "SC442", "a state changes too fast to be followed in steps",
     f"{MOST_STEPS} steps from one event to the next",
     "Time scales are too far apart, or a rate grows beyond all bounds, as that of a quotient near zero or of a neuron "
     "that runs away. In training, a smaller lr."),
    (STUCK << SHIFT, "SC137", "the reset does not lower the level that the threshold compares", None,
     "The neuron would stay above its threshold: let the reset bring it below where the threshold is by then."),
)
"""By fault of a run: code, message, limit, remedy."""
_MOST_RECORD = 1 << 28
"""Bytes that all samples may keep of the ways of their neurons for the reverse pass, which otherwise goes them anew."""


class FlowStage:
    """One component of the schedule whose neurons are flows. Populations are numbered through; see `Loop`.

    Raises:
        UnsupportedError: its neurons are of several dynamics, or some are no flows (SC440); spikes are currents of some
            length (SC444).
    """

    def __init__(self, network: Network, component: tuple[str, ...], incoming: tuple[int, ...], box: float) -> None:
        self.component = component
        self.limit = 1 << 24
        populations = [network.populations[name] for name in component]
        self.dynamics = _common_dynamics(network, component, box)
        self.sizes = [population.n for population in populations]
        firsts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).tolist()
        self.firsts = dict(zip(component, firsts, strict=True))
        self.n = sum(self.sizes)
        self.burst = max(4096, 1024 * self.n)
        projections = [network.projections[number] for number in incoming]
        if len(projections) > MAX_PROJECTIONS:
            raise BadInputError(Diagnostic("SC404", "too many projections into one component", node=component[0],
                                           value=str(len(projections)), limit=str(MAX_PROJECTIONS)))
        self.wires = tuple(make_wire(each, self.firsts, network, 0) for each in projections)
        self.feeds_itself = any(wire.source in component for wire in self.wires)
        self.queues = self.feeds_itself or any(wire.delay_per for wire in self.wires)

        def spread(values: Sequence[Any], dtype: torch.dtype) -> Tensor:
            parts = zip(self.sizes, values, strict=True)
            return torch.cat([torch.full((size,), value, dtype=dtype) for size, value in parts])

        self.spiking = spread([population.spiking for population in populations], torch.uint8)
        self.population = spread(range(len(component)), torch.int64)
        self.wave = spread(waves(component, projections), torch.int64)
        self.population_first = torch.tensor(firsts, dtype=torch.int64)
        self.refractory = torch.cat([
            torch.zeros(population.n, dtype=torch.float64) if population.refractory is None
            else torch.from_numpy(np.array(population.refractory, dtype=np.float64)) for population in populations])
        self.holds = bool((self.refractory > 0).any())
        self.followed = self.dynamics.name == "equations"
        self._log_capacity = self._queue_capacity = self._record_capacity = 0

    @property
    def limits(self) -> str:
        """How many spikes there may be."""
        return f"{self.limit} spikes a sample, {self.burst} within a thousandth of the run"

    def source(self, dtype: torch.dtype, uniform: bool) -> str:
        """The text of its kernels: they compute in float64, whatever the engine does."""
        return self.made(flow_source)

    def made(self, make: Callable[[Dynamics, bool], _Made]) -> _Made:
        """What is made of the dynamics.

        Raises:
            BadInputError: a part of the equations is no finite real number (SC133).
        """
        try:
            return make(self.dynamics, self.holds)
        except NoNumberError:
            raise BadInputError(Diagnostic(
                "SC133", "a part of the equations is no finite real number, whatever the states are",
                node=self.component[0], remedy="Look for a division by zero, as 1/(v - v), for the root or logarithm "
                "of a negative number, or for constants whose product is beyond 1e300.")) from None

    def run(self, external: Mapping[str, Spikes], history: Mapping[str, Spikes], weights: Sequence[Tensor],
            delays: Sequence[Tensor | None], values: Sequence[FlowValues], duration: float, *, batch: int,
            states: Sequence[FlowState] | None = None, probe_times: Tensor | None = None,
            shown: str = "v") -> dict[str, SweepResult]:
        """Spikes, and the state `shown` ("v": the one that the dynamics show) at `probe_times`, of every population of
        the component over [0, duration] s."""
        slots = [name for name in external if name not in self.component]
        returning = [name for name in self.component if name in history]
        sources = [external[name] for name in slots] + [history[name] for name in returning]
        parameters = torch.cat([each.parameters for each in values], 1)
        start = torch.cat([each.start for each in values], 1)
        given = (*(source.times for source in sources), *delays, *(weight.to(torch.float64) for weight in weights),
                 parameters, start)
        trained = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in given)
        state = shown if shown in self.dynamics.states else self.dynamics.shown
        call = FlowCall(self, slots, returning, sources, duration, batch, states, probe_times, state, trained)
        outcome = _FlowFunction.apply(call, len(sources), *given)
        *times, probes, ends = outcome
        results = {}
        for number, name in enumerate(self.component):
            part = slice(self.firsts[name], self.firsts[name] + self.sizes[number])
            indices, offsets = call.spikes[number]
            results[name] = SweepResult(
                Spikes(times[number], indices, offsets), None if probe_times is None else probes[:, :, part],
                None, None, None, _Part(call, part, number), call.truncated, ends[:, :, part])
        return results


def _common_dynamics(network: Network, component: tuple[str, ...], box: float) -> Dynamics:
    """What all neurons of a component are."""
    faults = Diagnostics()
    found: dict[Dynamics, str] = {}
    for name in component:
        flow = network.populations[name].flow
        if flow is None:
            faults.add("SC440", "neurons of a cycle are all stated by the same equations, or all linear", node=name,
                       value=network.populations[name].kind, remedy="Write all of them as Equations.")
        else:
            found.setdefault(flow.dynamics, name)
    if len(found) > 1:
        faults.add("SC440", "neurons of a cycle are all stated by the same equations, or all linear",
                   node=", ".join(found.values()), value=f"{len(found)} dynamics",
                   remedy="Let them have one text; parameters may differ from neuron to neuron.")
    if box > 0:
        faults.add("SC444", "neurons stated by equations take spikes as impulses", node=component[0],
                   value=f"box of {box:g} s", remedy="Use Discretization(spike='delta'), or no grid.")
    faults.raise_if_errors(UnsupportedError)
    return next(iter(found))


class _Part:
    """The end of a run, of one population of the component."""

    def __init__(self, call: FlowCall, part: slice, number: int) -> None:
        self.call, self.part, self.number = call, part, number

    def grazing(self) -> int:
        """Number of smooth crossings of this population whose slope is below the guard."""
        return int(self.call.buffers["grazed"][:, self.number].sum())

    def ending(self) -> FlowState:
        return FlowState(self.call.buffers["ends"][:, :, self.part].contiguous(),
                         self.call.buffers["hold_end"][:, self.part].contiguous())


class FlowCall:
    """One evaluation: the log that the forward pass leaves for the reverse one."""

    def __init__(self, stage: FlowStage, slots: list[str], returning: list[str], sources: list[Spikes], duration: float,
                 batch: int, states: Sequence[FlowState] | None, probe_times: Tensor | None, shown: str,
                 trained: bool) -> None:
        self.stage, self.sources, self.duration, self.batch = stage, sources, duration, batch
        self.states, self.probe_times, self.shown = states, probe_times, shown
        self.slot = {name: number for number, name in enumerate(slots)}
        self.history = {name: len(slots) + number for number, name in enumerate(returning)}
        self.kernels = stage.made(flow_library)
        self.arguments = FlowArguments()
        self.buffers: dict[str, Tensor] = {}
        self.spikes: list[tuple[Tensor, Tensor]] = []
        self.truncated = False
        self.records = trained and stage.followed

    def set(self, **values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, Tensor):
                self.buffers[name] = value
                value = value.data_ptr()
            setattr(self.arguments, name, value)

    def place(self, field: str, number: int, value: Tensor | None) -> None:
        """One entry of an array field."""
        if value is not None:
            self.buffers[f"{field}{number}"] = value
        getattr(self.arguments, field)[number] = None if value is None else value.data_ptr()

    def run_workers(self, entry: str, workers: int) -> None:
        """Runs a kernel, a sample or ("backward") a chunk of samples a worker."""
        run_tasks(getattr(self.kernels, entry), self.arguments, workers)

    def most(self, name: str) -> int:
        """The largest number of a buffer, 0 where it is empty."""
        return int(self.buffers[name].max()) if self.buffers[name].numel() else 0

    def lay_out(self, delays: Sequence[Tensor | None], weights: Sequence[Tensor], parameters: Tensor,
                start: Tensor) -> tuple[Tensor, Tensor]:
        """Gives the kernels all that does not depend on what happens; returns room for probes and ends."""
        stage, batch, n = self.stage, self.batch, self.stage.n
        probes = 0 if self.probe_times is None else len(self.probe_times)
        shape = batch, len(start), n
        probed, ends = torch.zeros(batch, probes, n, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
        if self.states is not None:
            self.set(hold_start=torch.cat([state.hold for state in self.states], 1).contiguous())
            start = torch.cat([state.states for state in self.states], 2)
        self.set(
            batch=batch, n=n, slots=len(self.sources), projections=len(stage.wires), populations=len(stage.component),
            n_probes=probes, shown=stage.dynamics.states.index(self.shown), fresh=int(self.states is None),
            limit=stage.limit, burst=stage.burst,
            duration=self.duration, window=1e-3 * self.duration, parameters=parameters.detach().contiguous(),
            all_spiking=int(bool(stage.spiking.all())), start=start.detach().contiguous(), spiking=stage.spiking,
            refractory=stage.refractory,
            population=stage.population, population_first=stage.population_first, wave=stage.wave, ends=ends,
            hold_end=torch.empty(batch, n, dtype=torch.float64))
        if probes:
            self.set(probes=probed, probe_times=self.probe_times)
        first = 0
        for number, source in enumerate(self.sources):
            for field, value in (("times", source.times.detach()), ("indices", source.indices),
                                 ("offsets", source.offsets)):
                self.place(field, number, value)
            self.arguments.slot_first[number] = first
            first += len(source.times)
        for number, wire in enumerate(stage.wires):
            place_wire(self, stage.firsts, stage.component, number, wire, weights[number], delays[number])
        return probed, ends

    def forward(self) -> list[Tensor]:
        """The log, again with more room where there was too little, and the spikes in order."""
        stage, batch = self.stage, self.batch
        events = max((int(source.offsets.diff().max()) for source in self.sources if batch), default=0)
        # other threads may run the same stage: what it remembers is read once
        log_capacity = stage._log_capacity or 2 * events * max(1, len(stage.wires)) + 4 * stage.n + 64
        queue_capacity = stage._queue_capacity or (4 * events + 4 * stage.n + 64 if stage.queues else 1)
        most = _MOST_RECORD // (8 * max(1, batch))
        record_capacity = min(stage._record_capacity or 32 * log_capacity, most) if self.records else 0
        names = ("log_counts", "faults", "fault_neurons", "trace_counts", "spike_counts", "record_counts")
        counters = torch.zeros(len(names) + len(stage.component), batch, dtype=torch.int64)
        self.set(**{name: counters[number] for number, name in enumerate(names)},
                 grazed=counters[len(names):].view(batch, len(stage.component)),
                 fault_times=torch.zeros(batch, dtype=torch.float64))
        while True:
            try:
                log = room(batch * log_capacity * _ENTRY_BYTES, torch.device("cpu"))
                record = empty((batch, record_capacity), torch.float64, torch.device("cpu"))
            except (RuntimeError, MemoryError) as error:
                raise KernelError(Diagnostic(
                    "SC423", "there is no memory for the spikes and arrivals of these samples", node=stage.component[0],
                    value=f"{batch * log_capacity * _ENTRY_BYTES / 2**30:.1f} GiB",
                    remedy="Run fewer samples at once, or a shorter time; look for runaway activity.")) from error
            self.set(log=log, log_capacity=log_capacity, queue_capacity=queue_capacity, record=record,
                     record_capacity=record_capacity, recorded=int(self.records))
            self.run_workers("forward", batch)
            seen = int(np.bitwise_or.reduce(self.buffers["faults"].numpy(), initial=0))
            self._raise_faults(seen)
            if not seen & (_FAULT_LOG | _FAULT_QUEUE):
                needed = self.most("record_counts")
                if not self.records or needed <= record_capacity:
                    break
                if needed > most:
                    self.records = False
                    self.set(record=self.buffers["record"][:, :0], recorded=0)
                    break
                record_capacity = needed
            if seen & _FAULT_LOG:
                log_capacity = max(2 * log_capacity, self.most("log_counts") + 64)
            if seen & _FAULT_QUEUE:
                queue_capacity *= 4
        longest = self.most("log_counts")
        stage._log_capacity = max(stage._log_capacity, longest + longest // 4 + 16)
        stage._queue_capacity = max(stage._queue_capacity, queue_capacity)
        if self.records:
            stage._record_capacity = max(stage._record_capacity, needed + needed // 4)
        self.truncated = bool(seen & _FAULT_LIMIT)
        return self._pack()

    def _raise_faults(self, seen: int) -> None:
        stage = self.stage
        if seen & _FAULT_CYCLE:
            raise UnsupportedError(Diagnostic(
                "SC401", "a neuron would fire twice at one instant", node=stage.component[0],
                remedy="Give a connection of the cycle a delay, or the neuron a refractory period."))
        for fault, code, message, limit, remedy in _LOST:
            if seen & fault:
                samples = torch.nonzero(self.buffers["faults"] & fault).reshape(-1)
                neuron = int(self.buffers["fault_neurons"][samples[0]])
                name = stage.component[int(stage.population[neuron])]
                raise BadInputError(Diagnostic(code, message, node=name,
                                               value=f"neuron {neuron - stage.firsts[name]}, sample {int(samples[0])}, "
                                               f"t = {float(self.buffers['fault_times'][samples[0]]):g} s",
                                               limit=limit, remedy=remedy))

    def _pack(self) -> list[Tensor]:
        """Spikes of each population, by sample and (time, neuron); where each spike of the log went."""
        batch, populations = self.batch, len(self.stage.component)
        counts = self.buffers["spike_counts"]
        total = int(counts.sum())
        places = torch.zeros(batch, populations, dtype=torch.int64)
        if populations > 1:
            self.set(places=places, ranks=torch.empty(1, dtype=torch.int64), spike_times=None)
            self.run_workers("pack", batch)
        else:
            places[:, 0] = counts
        ends = places.t().reshape(-1).cumsum(0)
        firsts = torch.cat([ends.new_zeros(1), ends])[:-1]
        self.set(places=places, ranks=torch.empty(total, dtype=torch.int64), firsts=firsts.contiguous(),
                 rank_firsts=counts.cumsum(0) - counts, spike_times=torch.empty(total, dtype=torch.float64),
                 spike_neurons=torch.empty(total, dtype=torch.int64))
        self.run_workers("pack", batch)
        found = []
        bounds = torch.cat([ends.new_zeros(1), ends])
        for number in range(populations):
            offsets = bounds[number * batch:(number + 1) * batch + 1]
            first, last = int(offsets[0]), int(offsets[-1])
            self.spikes.append((self.buffers["spike_neurons"][first:last], offsets - first))
            found.append(self.buffers["spike_times"][first:last])
        return found

    def backward(self, count: int, needs: Sequence[bool], g_times: Sequence[Tensor | None], g_probes: Tensor | None,
                 g_ends: Tensor | None) -> tuple[Any, ...]:
        batch, n = self.batch, self.stage.n
        wires, device = len(self.stage.wires), torch.device("cpu")
        needs_times, needs_delays = needs[:count], needs[count:count + wires]
        needs_weights, (needs_parameters, needs_start) = needs[count + wires:count + 2 * wires], needs[-2:]
        heaviest = max((int(self.arguments.p_weights[number]) for number in range(wires)), default=1)
        # as many chunks of samples as the memory for their weight gradients is worth, a power of two
        chunks = 1 << (max(1, min(batch, 16, max(2, (1 << 19) // max(1, heaviest)))).bit_length() - 1)
        joined = [torch.zeros(len(indices), dtype=torch.float64) if g is None else g
                  for g, (indices, _) in zip(g_times, self.spikes, strict=True)]
        self.set(chunks=chunks, g_times=torch.cat([*joined, torch.zeros(1, dtype=torch.float64)]),
                 longest_log=self.most("log_counts"), most_spikes=self.most("spike_counts"),
                 trace_capacity=self.most("trace_counts"))
        for name, value in (("g_probes", g_probes), ("g_ends", g_ends)):
            if value is not None and value.numel():
                self.set(**{name: value.to(torch.float64).contiguous()})
        origins = torch.zeros(sum(len(source.times) for source in self.sources) + 1, dtype=torch.float64)
        if any(needs_times):
            self.set(g_origins=origins)
        g_weights: list[Tensor | None] = []
        g_delays: list[Tensor | None] = []
        for number in range(wires):
            shape = self.buffers[f"weights{number}"].shape
            g_weights.append(zeros((chunks, *shape), torch.float64, device) if needs_weights[number] else None)
            g_delays.append(zeros((chunks, *self.buffers[f"p_delays{number}"].shape), torch.float64, device)
                            if needs_delays[number] else None)
            self.place("g_weights", number, g_weights[-1])
            self.place("g_delays", number, g_delays[-1])
        columns = self.buffers["parameters"].shape[0]
        g_parameters = torch.zeros(chunks, columns, n, dtype=torch.float64)
        g_start = torch.zeros_like(self.buffers["ends"])
        if needs_parameters and columns:
            self.set(g_parameters=g_parameters)
        if needs_start:
            self.set(g_start=g_start)
        self.run_workers("backward", chunks)
        split = origins[:-1].split([len(source.times) for source in self.sources])
        delays = [None if g is None else g.sum(0).t() if g.dim() == 3 else g.sum(0) for g in g_delays]
        return (
            *(each if needed else None for each, needed in zip(split, needs_times, strict=True)), *delays,
            *(None if g is None else g[0] if chunks == 1 else g.sum(0) for g in g_weights),
            g_parameters.sum(0) if needs_parameters else None,
            g_start.sum(0) if needs_start and self.states is None else None)


class _FlowFunction(torch.autograd.Function):
    """Inputs after `count` (the number of event sources): times of each, delays and weights of each projection, then
    parameters and start. Outputs: spike times of each population, probes, ends (batch, states, n)."""

    @staticmethod
    def forward(ctx: Any, call: FlowCall, count: int, *tensors: Any) -> tuple[Tensor, ...]:
        wires = len(call.stage.wires)
        delays, weights = tensors[count:count + wires], tensors[count + wires:count + 2 * wires]
        probed, ends = call.lay_out(delays, weights, *tensors[-2:])
        times = call.forward()
        ctx.call, ctx.count = call, count
        ctx.set_materialize_grads(False)
        # what is given back points to this call, and the call must not point back: both would outlive their last user
        return (*(each.detach() for each in times), probed.detach(), ends.detach())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        *g_times, g_probes, g_ends = gradients
        return (None, None, *ctx.call.backward(ctx.count, ctx.needs_input_grad[2:], g_times, g_probes, g_ends))
