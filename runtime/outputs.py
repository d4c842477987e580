"""What a run gives back, and what a module's forward pass can be asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics
from ..ir.events import Events
from ..ir.network import Network
from .event_lists import first_spikes
from .pseudospikes import with_pseudospikes
from .signals import FlowState, Spikes, State

if TYPE_CHECKING:
    from .engine import Activity

__all__ = ["Outputs", "Result", "RunState", "asked", "form_of", "probe_times", "probed", "probes_of"]

S = TypeVar("S", State, FlowState)


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a stream stands: the state of every population, and `history`, spikes (times below 0) still under way.
    `form`: of the network that it belongs to, as `form_of` gives it."""

    populations: Mapping[str, State | FlowState]
    history: Mapping[str, Spikes]
    form: tuple[Any, ...]

    def of(self, names: Sequence[str], kind: type[S]) -> list[S]:
        """The states of populations that are of one kind."""
        return [each for name in names if isinstance(each := self.populations[name], kind)]

    def to(self, device: torch.device) -> RunState:
        """The same on a device."""
        return RunState({name: state.on(device) for name, state in self.populations.items()},
                        {name: spikes.to(device) for name, spikes in self.history.items()}, self.form)


def form_of(network: Network) -> tuple[Any, ...]:
    """What two networks must have in common for the state of one to mean anything to the other: all but the values of
    parameters."""
    grid = network.discretization
    return (
        None if grid is None or grid.spike != "box" else grid.dt,
        *sorted((name, each.kind, each.n, each.spiking, each.reset,
                 () if each.flow is None else each.flow.dynamics.states)
                for name, each in network.populations.items()),
        *sorted((each.source, each.target, each.delay is None) for each in network.projections),
    )


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """`spikes`: `Events` by output and by population. `probes`: (batch, times, n) by label. `voltage_max`: for each
    readout, its highest voltage and when, (batch, n) each. `state`: to go on from, as the target keeps it.
    `duration` s. `truncated`: whether spikes were cut off. `grazing`: crossings whose slope was below the guard.
    `latency`: columns that a chip's axons owe, by output and population; none elsewhere. `links`: of an emulated
    chip whose links have a clock, `Links`: how many events were sent to it, came late, and were lost; else None."""

    spikes: Mapping[str, Events]
    probes: Mapping[str, np.ndarray[Any, Any]]
    voltage_max: Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]
    state: Any
    duration: float
    truncated: bool
    grazing: int
    latency: Mapping[str, int] = field(default_factory=dict)
    links: Any = None

    def __repr__(self) -> str:
        """Names and sizes; the arrays are there to be asked for."""
        probes = {label: values.shape for label, values in self.probes.items()}
        highest = {label: voltage.shape for label, (voltage, _) in self.voltage_max.items()}
        return (f"Result(duration={self.duration:g}, spikes={dict(self.spikes)}, probes={probes}, "
                f"voltage_max={highest}, truncated={self.truncated}, grazing={self.grazing})")


class Outputs:
    """The forward pass of a module: spikes are there, voltages are computed when asked for. Names are neuron nodes, or
    output nodes. All tensors are differentiable once, and (batch, neuron) in C-order over the node's shape.

    Raises:
        BadInputError: from each method, where no node has the name, or it has no such quantity (SC409).
    """

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's output nodes."""
        return tuple(self._activity.engine.network.outputs)

    @property
    def duration(self) -> float:
        """Seconds simulated."""
        return self._activity.duration

    @property
    def truncated(self) -> bool:
        """Whether any population's spikes were cut off at the limit of the buffer."""
        return any(result.truncated for result in self._activity.results.values())

    @property
    def grazing(self) -> int:
        """Number of smooth crossings whose slope was below the guard, a millionth of the drive."""
        return sum(result.end.grazing() for result in self._activity.results.values())

    def events(self, name: str) -> Events:
        """The spikes of a population; their times are differentiable."""
        spikes = self._spikes(name)
        return Events(spikes.times, spikes.indices, spikes.offsets)

    def total_spikes(self, name: str) -> int:
        """Spikes of all samples and neurons: the length of a list, which costs nothing."""
        return len(self._spikes(name).times)

    def spike_count(self, name: str) -> Tensor:
        """(batch, n) float64; no gradient flows through a count."""
        keys, n = self._keys(name)
        return torch.bincount(keys, minlength=self._activity.batch * n).view(-1, n).to(torch.float64)

    def first_spike(self, name: str) -> Tensor:
        """(batch, n) float64 seconds, +inf where silent."""
        spikes = self._spikes(name)
        if spikes.times.device.type == "cpu":
            n = self._activity.engine.network.populations[self._population(name)].n
            return first_spikes(spikes.times, spikes.indices, spikes.offsets, n)
        keys, n = self._keys(name)
        total = len(keys)
        first = keys.new_full((self._activity.batch * n,), total)
        first.scatter_reduce_(0, keys, torch.arange(total, device=keys.device), "amin")
        picked: Tensor = _Pick.apply(spikes.times, first)
        return picked.view(-1, n)

    def spike_times(self, name: str, k: int) -> Tensor:
        """(batch, n, k) float64 seconds: the first `k` > 0 spikes of each neuron, +inf where there are fewer. Any other
        k is SC403."""
        if not isinstance(k, int | np.integer) or k < 1:
            raise BadInputError(Diagnostic("SC403", "k is the number of spikes of each neuron", node=name,
                                           value=repr(k), limit="a whole number above 0"))
        spikes = self._spikes(name)
        keys, n = self._keys(name)
        total, cells = len(keys), self._activity.batch * n
        order = torch.argsort(keys, stable=True)
        sorted_keys = keys[order]
        starts = torch.searchsorted(sorted_keys, torch.arange(cells, device=keys.device))
        rank = torch.arange(total, device=keys.device) - starts[sorted_keys]
        kept = rank < k
        slots = keys.new_full((cells * k,), total)
        slots[sorted_keys[kept] * k + rank[kept]] = order[kept]
        picked: Tensor = _Pick.apply(spikes.times, slots)
        return picked.view(-1, n, k)

    def pseudospike_times(self, name: str, k: int = 1) -> Tensor:
        """(batch, n, k) float64 seconds: the first `k` > 0 spikes of each neuron, where there are fewer followed by
        pseudospikes, which are later than the end of the run, and finite.

        Of `QIF` and `Theta` neurons that none but these and inputs feed, without cycles and without delays between
        them. Pseudospikes are those of Klos & Memmesheimer (Phys Rev Lett 2025, arXiv 2309.14523). At the end T every
        neuron goes on by itself, with an input from r: the part of its period that each neuron before it has behind it.
        A spike that leaves through T has r = 1 where it was a pulse before, and r = 0, so all times are continuous in
        all parameters.

        Theta, of the period P = pi tau / R, R^2 = i0 - 1/4:
            V = V(T) + sum w r,  a = arctan2(R, V - 1/2),  r = 1 - a / pi,  t = T + (m + a / pi) P,  m = 0, 1, ...
        QIF, with the current as it is at T, brought above zero, R^2 = 10 log(1 + exp(I / 10)):
            I = I(T) + sum w (r + 2 c / tau),  V = V(T) - sum w c / tau,  a, r and t as above;
            of the neurons before, c = r^2 d exp(-2 d / tau), d = a tau / R.

        A spike of the output leaves through T smoothly. So does one of a hidden neuron that feeds QIF neurons; that is
        what c is for, which is not in the paper: to first order, a pulse at T + d has not yet moved V, and has decayed
        less. Where it feeds theta neurons, its own time has no gradient any more beyond T: these times are continuous
        only, as they are wherever two pulses to one neuron change places.

        Raises:
            BadInputError: k is no such number (SC403).
            UnsupportedError: there are other neurons, cycles or delays (SC445).
        """
        population = self._population(name)
        ordinary = self.first_spike(name)[..., None] if k == 1 else self.spike_times(name, k)
        return with_pseudospikes(ordinary, self._activity, population)

    def voltage_max(self, name: str) -> Tensor:
        """(batch, n): the highest voltage of a readout over the duration, that at t = 0 included. A spiking node has
        none (SC409): its membrane ends at the threshold."""
        population = self._readout(name)
        return self._from_rest(population, self._activity.readout(population, want_highest=True).highest)

    def voltage_integral(self, name: str, decay: float | None = None) -> Tensor:
        """(batch, n): the integral over the duration of a readout's V(t) exp(-t / decay), membrane units times
        seconds; `decay` in seconds, None for no exponential, any other than a positive number is SC403."""
        if decay is not None and not (isinstance(decay, int | float | np.number) and 0 < decay < math.inf):
            raise BadInputError(Diagnostic("SC403", "decay is a time constant", node=name, value=repr(decay),
                                           limit="a finite number of seconds above 0, or None"))
        population = self._readout(name)
        result = self._activity.readout(population, want_integral=True, integral_decay=decay)
        rate = 0.0 if decay is None else 1.0 / decay
        whole = self.duration if rate == 0.0 else -np.expm1(-rate * self.duration) / rate
        return asked(result.integral) + self._activity.values.cell(population)[0].rest * whole

    def voltage(self, name: str, times: Any) -> Tensor:
        """(batch, times, n): the membrane of any neuron node at `times`, seconds within the duration (SC407); as
        `<node>.<state>`, any state of one that is stated by equations."""
        network = self._activity.engine.network
        nodes = {*network.outputs, *network.populations}
        found = probed(network, name) if isinstance(name, str) and name not in nodes else None
        population, state = (self._population(name), "v") if found is None else found
        faults = Diagnostics()
        wanted = probe_times(times, self.duration, name, faults)
        faults.raise_if_errors()
        return self._activity.voltage(population, wanted, state)

    def end(self, name: str) -> dict[str, Tensor]:
        """(batch, n) float64 of each state of neurons that are stated by equations, at the end of the run. Others have
        `voltage` (SC409)."""
        population = self._population(name)
        flow = self._activity.engine.network.populations[population].flow
        if flow is None:
            raise BadInputError(Diagnostic("SC409", "the states of these neurons have no names", node=name,
                                           remedy="Ask for `voltage` at the end of the run."))
        if population not in self._activity.results:
            self._activity.results[population] = self._activity.readout(population)
        ends = asked(self._activity.results[population].ends)
        return {state: ends[:, number] for number, state in enumerate(flow.dynamics.states)}

    def push(self, name: str) -> Tensor:
        """(batch, n), zero in value; its gradient is that of the highest voltage that the neuron would reach without a
        threshold. Subtracted from a loss it raises the membranes of silent neurons, which have no spike to learn by."""
        highest = self._activity.free(self._population(name), want_highest=True).highest
        return asked(highest) - asked(highest).detach()

    def _from_rest(self, population: str, u: Tensor | None) -> Tensor:
        return asked(u) + self._activity.values.cell(population)[0].rest

    def _population(self, name: str) -> str:
        network = self._activity.engine.network
        population = network.outputs.get(name, name)
        if population not in network.populations:
            known = ", ".join([*network.outputs, *network.populations])
            raise BadInputError(Diagnostic("SC409", f"there is no neuron or output node '{name}'",
                                           remedy=f"Nodes: {known}."))
        return population

    def _readout(self, name: str) -> str:
        population = self._population(name)
        if self._activity.engine.network.populations[population].kind == "flow":
            raise BadInputError(Diagnostic("SC409", "maximum and integral of the voltage are those of linear readouts",
                                           node=name, remedy="Use LI, CubaLI or I as the output, or `voltage` at given "
                                           "times, or `end`."))
        if self._activity.engine.network.populations[population].spiking:
            raise BadInputError(Diagnostic("SC409", "maximum and integral of the voltage are those of readouts",
                                           node=name, remedy="Use LI, CubaLI or I as the output, or `voltage` at "
                                           "given times."))
        return population

    def _spikes(self, name: str) -> Spikes:
        population = self._population(name)
        if population not in self._activity.spikes:
            raise BadInputError(Diagnostic("SC409", "a readout has no spikes", node=name,
                                           remedy="Ask for `voltage_max`, `voltage_integral` or `voltage`."))
        return self._activity.spikes[population]

    def _keys(self, name: str) -> tuple[Tensor, int]:
        """For each spike, sample * n + neuron."""
        spikes = self._spikes(name)
        n = self._activity.engine.network.populations[self._population(name)].n
        numbers = torch.arange(self._activity.batch, device=spikes.offsets.device)
        samples = torch.repeat_interleave(numbers, spikes.offsets.diff())
        return samples * n + spikes.indices, n


def probed(network: Network, label: str) -> tuple[str, str] | None:
    """Population and state of a probe `<neuron or output node>.<state>`, or None where there is none."""
    node, _, state = label.rpartition(".")
    population = network.outputs.get(node, node)
    found = population in network.populations and state in _states_of(network, population)
    return (population, state) if found else None


def probes_of(network: Network) -> list[str]:
    """All probes of a network: of each node its membrane, where it is stated by equations any state of it."""
    nodes = {**network.outputs, **{name: name for name in network.populations}}
    return [f"{node}.{state}" for node, population in nodes.items() for state in _states_of(network, population)]


def _states_of(network: Network, population: str) -> tuple[str, ...]:
    flow = network.populations[population].flow
    return tuple(dict.fromkeys(("v", *(() if flow is None else flow.dynamics.states))))


def probe_times(times: Any, duration: float, label: str, faults: Diagnostics) -> np.ndarray[Any, Any]:
    """Times to look at a membrane at, (times,) seconds; faults are SC407."""
    try:
        grid = np.asarray(times.detach().cpu() if isinstance(times, Tensor) else times, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        faults.add("SC407", "the times to look at a membrane at are no numbers", node=label, value=repr(times)[:80])
        return np.empty(0)
    outside = ~((grid >= 0) & (grid <= duration))  # NaN is outside too
    if outside.any():
        faults.add("SC407", "a membrane is looked at outside the run", node=label,
                   value=f"t = {float(grid[outside][0])!r} s", limit=f"0..{float(duration)!r} s",
                   remedy="Give times within the duration, or a longer one.")
    return grid


def asked(tensor: Tensor | None) -> Tensor:
    """A quantity of a `SweepResult` that its run was asked for, and that is therefore there."""
    return cast(Tensor, tensor)


class _Pick(torch.autograd.Function):
    """times[slots], with +inf where a slot is len(times); gradients of infinite entries are dropped, NaN included."""

    @staticmethod
    def forward(ctx: Any, times: Tensor, slots: Tensor) -> Tensor:
        ctx.total = len(times)
        ctx.save_for_backward(slots)
        padded = torch.cat([times, times.new_full((1,), torch.inf)])
        return padded[slots]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slots,) = ctx.saved_tensors
        total = gradient.new_zeros(ctx.total + 1)
        total[slots] = gradient.reshape(-1)  # every spike is picked once at most
        return total[:-1], None
