"""The event engine: a network's components in topological order, each by the kernel that suits it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ir.derived import evaluate, expr_of, leaves
from ..ir.diagnostics import BadInputError, Diagnostic, Diagnostics, SpikecWarning, UnsupportedError
from ..ir.events import Events
from ..ir.facts import check_dt
from ..ir.network import Conv, Dense, Network, Population
from . import jit
from .cells import Cell, cell_kind, make_cell
from .event_lists import MAX_SOURCES, event_source
from .flow.stage import FlowStage
from .flow.values import FlowValues, arrays_of, falls_silent, flow_values, slowest_of
from .loop import Loop
from .outputs import Result, RunState, asked, form_of
from .parameter_checks import check_delay, check_flow, check_population, check_refractory, check_weight
from .pending import join, under_way
from .requests import check_duration, check_probes, check_state, raster
from .signals import FlowState, Spikes, State, SweepResult, cut_off
from .stencil import Stencil, stencil_of, sweeps_stencils
from .sweep import Sweep
from .threads import get_threads, pool_source

__all__ = ["Activity", "Engine", "Stage", "Values"]

_CELL_FIELDS = ("r", "bias", "v0", "tau_mem", "tau_syn", "v_leak", "w_in", "v_threshold", "v_reset")


@dataclass(frozen=True, slots=True)
class Stage:
    """One component of the schedule, and the kernel that runs it."""

    populations: tuple[str, ...]
    projections: tuple[int, ...]
    kernel: Sweep | Loop | FlowStage


class Values:
    """The arrays of a network as tensors, from constants or from the parameters of a module, kept until those change.

    `parameters[node, param]` stand for the leaves of derived arrays; without them, every array is a constant.

    Raises:
        BadInputError: from each method, where a parameter is NaN, infinite or out of its range (SC103, SC104), a
            theta neuron does not oscillate (SC155), or one cannot change (SC412). While a GPU trains, weights and
            delays are not looked at: it would have to wait.
    """

    def __init__(self, network: Network, dtype: torch.dtype,
                 parameters: Mapping[tuple[str, str], Tensor] | None = None) -> None:
        self.network, self.dtype, self.parameters = network, dtype, parameters or {}
        self.device = next((tensor.device for tensor in self.parameters.values()), torch.device("cpu"))
        self._kept: dict[Any, tuple[list[Tensor], Any]] = {}
        self._used: dict[Any, list[tuple[str, str]]] = {}

    def weight(self, number: int) -> Tensor:
        """Of projection `number`, in the type of the engine; dense ones by rows of sources, (n_source, n_target)."""
        projection = self.network.projections[number]
        connection, key = projection.connection, ("weight", number)

        def make() -> Tensor:
            value = self._value(connection.weight).to(self.dtype)
            if self._looks:
                check_weight(value, projection.name, lambda: self._made_from(key))
            return value.t().contiguous() if isinstance(connection, Dense) else value.contiguous()

        weight: Tensor = self._keep(key, (connection.weight,), make)
        return weight

    def delay(self, number: int) -> Tensor | None:
        """Of projection `number`, float64 seconds."""
        projection, key = self.network.projections[number], ("delay", number)
        delay = projection.delay
        if delay is None:
            return None

        def make() -> Tensor:
            value = self._value(delay).to(torch.float64).contiguous()
            if self._looks:
                check_delay(value, projection.name, lambda: self._made_from(key))
            return value

        seconds: Tensor = self._keep(key, (delay,), make)
        return seconds

    def cell(self, name: str) -> tuple[Cell, bool]:
        """Of a population, in the type of the engine, and whether its rates are uniform."""
        population, key = self.network.populations[name], ("cell", name)
        arrays = {each: getattr(population, each) for each in _CELL_FIELDS if getattr(population, each) is not None}
        self._same_refractory(population)

        def make() -> tuple[Cell, bool]:
            values = {each: self._value(array).to(torch.float64) for each, array in arrays.items()}
            if self.parameters:
                check_population(population, values, lambda: self._made_from(key))
            cell = make_cell(population, values, cell_kind(population, self.network.discretization)).to(self.dtype)
            rates = torch.stack([cell.a.detach(), cell.b.detach(), cell.rho.detach()])
            return cell, bool((rates == rates[:, :1]).all())

        cell: tuple[Cell, bool] = self._keep(key, tuple(arrays.values()), make)
        return cell

    def flow(self, name: str) -> FlowValues:
        """Of a population that is stated by equations, float64."""
        population, key = self.network.populations[name], ("flow", name)
        flow = population.flow
        arrays = {} if flow is None else arrays_of(flow)
        self._same_refractory(population)

        def make() -> FlowValues:
            values = {each: self._value(array).to(torch.float64) for each, array in arrays.items()}
            if self.parameters:
                check_flow(population, values, lambda: self._made_from(key))
            return flow_values(population, values)

        columns: FlowValues = self._keep(key, tuple(arrays.values()), make)
        return columns

    def rest(self, name: str) -> Tensor | float:
        """What the voltages of a kernel are counted from, membrane units."""
        return 0.0 if self.network.populations[name].kind == "flow" else self.cell(name)[0].rest

    def _same_refractory(self, population: Population) -> None:
        refractory, key = population.refractory, ("refractory", population.name)
        if refractory is not None and self.parameters:
            self._keep(key, (refractory,), lambda: check_refractory(
                self._value(refractory), _tensor(np.asarray(refractory)), population.name,
                lambda: self._made_from(key)))

    @property
    def _looks(self) -> bool:
        """Whether arrays that come from parameters are looked at."""
        return bool(self.parameters) and (self.device.type == "cpu" or not torch.is_grad_enabled())

    def _made_from(self, key: Any) -> dict[tuple[str, str], Tensor]:
        return {each: self.parameters[each] for each in self._used[key]}

    def _value(self, array: np.ndarray[Any, Any]) -> Tensor:
        if not self.parameters:
            return _tensor(np.asarray(array))
        value = evaluate(expr_of(array), self.parameters, lambda constant: _tensor(constant).to(self.device))
        return value if isinstance(value, Tensor) else _tensor(value).to(self.device)

    def _keep(self, key: Any, arrays: tuple[np.ndarray[Any, Any], ...], make: Any) -> Any:
        """What `make` gives, again only where a parameter that it is made from has changed. Their values are compared:
        a write through `.data` leaves no other trace."""
        if key not in self._used:
            self._used[key] = sorted({(leaf.node, leaf.param) for array in arrays for leaf in leaves(expr_of(array))
                                      if (leaf.node, leaf.param) in self.parameters})
        used = [self.parameters[each] for each in self._used[key]]
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in used):
            return make()
        kept = self._kept.get(key)
        if kept is None or not all(map(torch.equal, kept[0], used)):
            with torch.no_grad():
                kept = self._kept[key] = ([tensor.clone() for tensor in used], make())
        return kept[1]


@dataclass(slots=True)
class Activity:
    """What a network did over one batch: spikes of inputs and populations, and what else can be asked of it."""

    engine: Engine
    values: Values
    spikes: dict[str, Spikes]
    batch: int
    duration: float
    state: RunState | None
    results: dict[str, SweepResult] = field(default_factory=dict)

    def readout(self, name: str, **wanted: Any) -> SweepResult:
        """Population `name` once more, over the same inputs, for what `wanted` asks (see `Sweep.run`)."""
        return self.engine.stage_run(self.engine.stage_of[name], self, (name,), **wanted)[name]

    def voltage(self, name: str, times: np.ndarray[Any, Any], state: str = "v") -> Tensor:
        """The membrane (batch, times, n) of population `name` at `times`, seconds in any order; where it is stated by
        equations, any `state` of it."""
        order = np.argsort(times, kind="stable")
        grid = torch.from_numpy(times[order]).to(self.values.device)
        wanted = {"probe_times": grid} if state == "v" else {"probe_times": grid, "shown": state}
        voltage = asked(self.readout(name, **wanted).probes) + self.values.rest(name)
        return voltage[:, torch.from_numpy(np.argsort(order)).to(voltage.device)]

    def free(self, name: str, **wanted: Any) -> SweepResult:
        """As `readout`, for the membrane that a spiking population would have without its threshold."""
        return self.engine.stage_run(self.engine.free_stage(name), self, (name,), **wanted)[name]


class Engine:
    """Runs a scheduled network. Kernels are compiled when first used."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.stages = tuple(self._stage(component) for component in network.schedule)
        self.stage_of = {name: stage for stage in self.stages for name in stage.populations}
        self._constants: dict[torch.dtype, Values] = {}
        self._free: dict[str, Stage] = {}
        self._loops: dict[tuple[str, ...], Loop] = {}
        self._built: set[torch.dtype] = set()

    def constants(self, dtype: torch.dtype) -> Values:
        """The network's own arrays."""
        return self._constants.setdefault(dtype, Values(self.network, dtype))

    # ---- plan -------------------------------------------------------------------------------------------------------
    @property
    def box(self) -> float:
        """Length of a box spike in seconds, 0 for impulses."""
        grid = self.network.discretization
        return grid.dt if grid is not None and grid.spike == "box" else 0.0

    def _stage(self, component: tuple[str, ...]) -> Stage:
        incoming = tuple(number for number, each in enumerate(self.network.projections) if each.target in component)
        if any(self.network.populations[name].kind == "flow" for name in component):
            return Stage(component, incoming, FlowStage(self.network, component, incoming, self.box))
        if self._sweeps(component, incoming):
            return Stage(component, incoming, self._sweep(self.network.populations[component[0]], incoming))
        return Stage(component, incoming, Loop(self.network, component, incoming, self.box))

    def _sweeps(self, component: tuple[str, ...], incoming: tuple[int, ...]) -> bool:
        """Whether a component is one feedforward population, its inputs all dense or all stencils of one kind."""
        projections = [self.network.projections[number] for number in incoming]
        connections = [each.connection for each in projections]
        alike = all(isinstance(each, Dense) for each in connections) or sweeps_stencils(connections)
        by_source = all(each.delay is None or each.delay_per == "source" for each in projections)
        recurrent = any(each.source in component for each in projections)
        return len(component) == 1 and alike and by_source and not recurrent and len(projections) <= MAX_SOURCES

    def _sweep(self, population: Population, incoming: tuple[int, ...], spiking: bool | None = None) -> Sweep:
        fires = population.spiking if spiking is None else spiking
        projections = [self.network.projections[number] for number in incoming]
        holds = fires and population.refractory is not None and bool((np.asarray(population.refractory) > 0).any())
        common = (cell_kind(population, self.network.discretization), fires, population.reset == "subtract")
        refractory = _tensor(np.asarray(population.refractory)) if holds else None
        stencils = tuple(each.connection for each in projections if isinstance(each.connection, Conv))
        if stencils:
            return stencil_of(stencils, *common, refractory, self.box)
        rows = tuple(self.network.size(each.source) for each in projections)
        return Sweep(population.n, *common, rows, refractory, self.box)

    def _on(self, device: torch.device, stage: Stage, kernel: Sweep | Loop) -> Sweep | Loop:
        """What runs a stage on a device: a GPU loops over stencils, and loops know no free membrane (SC404)."""
        if device.type == "cpu" or not isinstance(kernel, Stencil):
            return kernel
        (name,) = stage.populations
        if kernel.spiking != self.network.populations[name].spiking:
            raise _no_free_membrane(name, "on a GPU of neurons that feed forward, dense")
        if stage.populations not in self._loops:
            self._loops[stage.populations] = Loop(self.network, stage.populations, stage.projections, self.box)
        return self._loops[stage.populations]

    def free_stage(self, name: str) -> Stage:
        """A stage for the membrane of `name` without threshold.

        Raises:
            BadInputError: the population is recurrent, or neither dense nor a convolution (SC404).
        """
        if name not in self._free:
            stage = self.stage_of[name]
            if isinstance(stage.kernel, FlowStage) or not self._sweeps(stage.populations, stage.projections):
                raise _no_free_membrane(name, "of linear neurons that feed forward, dense or convolutional")
            population = self.network.populations[name]
            sweep = self._sweep(population, stage.projections, spiking=False)
            self._free[name] = Stage(stage.populations, stage.projections, sweep)
        return self._free[name]

    def build(self, values: Values) -> None:
        """Makes the device ready; on the CPU, compiles the kernels of the network, all at the same time, once."""
        if values.device.type != "cpu":
            self._check_device(values.device)
            from . import gpu  # noqa: F401  adds its calls
            return
        if values.dtype in self._built:
            return
        texts = {event_source(), pool_source()}
        for stage in self.stages:
            flows = isinstance(stage.kernel, FlowStage)
            uniform = flows or all(values.cell(name)[1] for name in stage.populations)
            texts.add(stage.kernel.source(values.dtype, uniform))
        with ThreadPoolExecutor(get_threads()) as pool:
            list(pool.map(jit.compile_c, texts))
        self._built.add(values.dtype)

    def _check_device(self, device: torch.device) -> None:
        """Raises UnsupportedError where a population does not run on another device than the host (SC443)."""
        faults = Diagnostics()
        for name, population in self.network.populations.items():
            if population.kind == "flow":
                faults.add("SC443", "neurons stated by equations run on the CPU", node=name, value=device,
                           remedy="Leave the module there: module.to('cpu').")
        faults.raise_if_errors(UnsupportedError)

    # ---- evaluation -------------------------------------------------------------------------------------------------
    def evaluate(self, values: Values, inputs: Mapping[str, Spikes], duration: float | None,
                 state: RunState | None = None) -> Activity:
        """Spikes of every population over `duration` s, differentiable with respect to `values` and input times."""
        return self.complete(self.begin(values, inputs, duration, state))

    def begin(self, values: Values, inputs: Mapping[str, Spikes], duration: float | None,
              state: RunState | None = None) -> Activity:
        """What there is before any population has run."""
        batch = len(next(iter(inputs.values())).offsets) - 1
        faults = Diagnostics()
        check_duration(duration, faults)
        check_state(self.network, state, batch, faults)
        faults.raise_if_errors()
        self.build(values)
        limit = self.horizon(values, inputs) if duration is None else float(duration)
        here = {name: spikes.to(values.device) for name, spikes in inputs.items()}
        return Activity(self, values, here, batch, limit, None if state is None else state.to(values.device))

    def complete(self, activity: Activity) -> Activity:
        """Runs every population that spikes."""
        for stage in self.stages:
            if any(self.network.populations[name].spiking for name in stage.populations):
                for name, result in self.stage_run(stage, activity, stage.populations).items():
                    activity.spikes[name], activity.results[name] = result.spikes, result
        return activity

    def stage_run(self, stage: Stage, activity: Activity, names: tuple[str, ...],
                  **wanted: Any) -> dict[str, SweepResult]:
        """One stage over the spikes so far."""
        if isinstance(stage.kernel, FlowStage):
            return self._run_flows(stage.kernel, stage, activity, **wanted)
        values, network = activity.values, self.network
        delays = [values.delay(number) for number in stage.projections]
        weights = [values.weight(number) for number in stage.projections]
        sources = [self._with_history(activity, number) for number in stage.projections]
        common = {"batch": activity.batch, **wanted}
        kernel = self._on(values.device, stage, stage.kernel)
        if isinstance(kernel, Sweep):
            name = stage.populations[0]
            cell, uniform = values.cell(name)
            state = None if activity.state is None else activity.state.of((name,), State)[0].to(values.dtype)
            return {name: kernel.run(sources, weights, delays, cell, activity.duration, uniform=uniform, state=state,
                                     **common)}
        cells = [values.cell(name)[0] for name in stage.populations]
        states = None if activity.state is None else [
            each.to(values.dtype) for each in activity.state.of(stage.populations, State)]
        external = {network.projections[number].source: source
                    for number, source in zip(stage.projections, sources, strict=True)}
        history = {} if activity.state is None else activity.state.history
        return kernel.run(external, history, weights, delays, cells, activity.duration, states=states, **common)

    def _run_flows(self, kernel: FlowStage, stage: Stage, activity: Activity, **wanted: Any) -> dict[str, SweepResult]:
        values = activity.values
        external = {self.network.projections[number].source: self._with_history(activity, number)
                    for number in stage.projections}
        return kernel.run(
            external, {} if activity.state is None else activity.state.history,
            [values.weight(number) for number in stage.projections],
            [values.delay(number) for number in stage.projections],
            [values.flow(name) for name in stage.populations], activity.duration, batch=activity.batch,
            states=None if activity.state is None else activity.state.of(stage.populations, FlowState), **wanted)

    def _with_history(self, activity: Activity, number: int) -> Spikes:
        """The spikes of a projection's source, after those of a former run that are still under way."""
        source = self.network.projections[number].source
        spikes = activity.spikes.get(source)
        if spikes is None:
            empty = torch.zeros(activity.batch + 1, dtype=torch.int64, device=activity.values.device)
            spikes = Spikes(empty[:0].to(torch.float64), empty[:0], empty)
        if activity.state is None or source not in activity.state.history:
            return spikes
        return join(activity.state.history[source], spikes)

    def horizon(self, values: Values, inputs: Mapping[str, Spikes]) -> float:
        """A duration after which nothing more can happen, where none was given.

        Raises:
            BadInputError: the network can fire without input, or on and on (SC402).
        """
        faults = Diagnostics()
        for name, population in self.network.populations.items():
            if population.flow is not None:
                if not falls_silent(population.flow, values.flow(name)):
                    faults.add("SC402", "neurons that can fire without input need a duration", node=name,
                               remedy="Give duration=… in seconds.")
                continue
            cell, _ = values.cell(name)
            endless = population.kind == "integrator" and bool((cell.j0 != 0).any())
            if population.spiking and (endless or bool((cell.theta < 0).any()) or bool((cell.u0 > cell.theta).any())):
                faults.add("SC402", "neurons that can fire without input need a duration", node=name,
                           remedy="Give duration=… in seconds.")
        for stage in self.stages:
            if any(self.network.projections[number].source in stage.populations for number in stage.projections):
                faults.add("SC402", "a recurrent network needs a duration", node=stage.populations[0],
                           remedy="Give duration=… in seconds.")
        faults.raise_if_errors()
        last = max((float(spikes.times.detach().max()) for spikes in inputs.values() if len(spikes.times)), default=0.0)
        for stage in self.stages:
            delays = [values.delay(number) for number in stage.projections]
            last += max((float(delay.detach().max()) for delay in delays if delay is not None and len(delay)),
                        default=0.0)
            slowest = 0.0
            for name in stage.populations:
                if isinstance(stage.kernel, FlowStage):
                    slowest = max(slowest, slowest_of(values.flow(name)))
                    continue
                cell, _ = values.cell(name)
                rates = torch.cat([cell.a, cell.b]).detach()
                slowest = max(slowest, float((1 / rates[rates > 0]).max()) if bool((rates > 0).any()) else 0.0)
            last += self.box + 80 * slowest
        return last

    # ---- running ----------------------------------------------------------------------------------------------------
    def inputs(self, events: Any, dt: float | None = None) -> dict[str, Spikes]:
        """Checked input events by node, from `Events`, a dict of them, or dense rasters with `dt`."""
        given = events if isinstance(events, Mapping) else dict.fromkeys(self.network.inputs, events)
        faults = Diagnostics()
        if dt is not None:
            check_dt(dt, "SC405", faults)
            faults.raise_if_errors()
        if set(given) != set(self.network.inputs) or (not isinstance(events, Mapping) and len(self.network.inputs) > 1):
            faults.add("SC405", "input events must be given for each input node", value=sorted(map(str, given)),
                       limit=sorted(self.network.inputs))
            faults.raise_if_errors()
        checked = {}
        for name, each in given.items():
            if not isinstance(each, Events):
                if dt is None:
                    faults.add("SC405", "this is no Events, and for a dense raster dt is missing", node=name,
                               value=type(each).__name__, remedy="Give Events, or a raster with dt=… in seconds.")
                    continue
                try:
                    each = raster(each, dt, self.network.inputs[name], name)
                except BadInputError as error:
                    faults.extend(error.diagnostics)
                    continue
            try:
                each.checked(self.network.size(name), name)
            except BadInputError as error:
                faults.extend(error.diagnostics)
                continue
            checked[name] = as_spikes(each)
        if len({len(spikes.offsets) for spikes in checked.values()}) > 1:
            faults.add("SC405", "inputs differ in their number of samples",
                       value={name: len(spikes.offsets) - 1 for name, spikes in checked.items()})
        faults.raise_if_errors()
        return checked

    def run(self, events: Any, duration: float | None = None, probes: Mapping[str, Any] | None = None,
            state: RunState | None = None, dtype: torch.dtype = torch.float64, dt: float | None = None) -> Result:
        """See `Program.run`. `dtype`: of the arithmetic between events; times are float64 always.

        Raises:
            BadInputError: events, duration, probes, state or dtype are malformed (SC402, SC403, SC405 to SC407).
        """
        faults = Diagnostics()
        check_duration(duration, faults)
        wanted = check_probes(self.network, {} if probes is None else probes, duration, faults)
        if dtype not in (torch.float32, torch.float64):
            faults.add("SC403", "dtype is not one that the engine computes in", value=repr(dtype),
                       limit="torch.float32, torch.float64")
        faults.raise_if_errors()
        values = self.constants(dtype)
        with torch.no_grad():
            inputs = self.inputs(events, dt)
            activity = self.evaluate(values, inputs, duration, state)
            for name, each in self.network.populations.items():
                if not each.spiking:
                    asked_of = {} if each.kind == "flow" else {"want_highest": True}
                    activity.results[name] = activity.readout(name, **asked_of)
            seen = {label: activity.voltage(population, grid, state).numpy()
                    for label, (population, state, grid) in wanted.items()}
        shown = {**{name: name for name in self.network.populations}, **self.network.outputs}
        spikes = {label: _events(activity.results[name].spikes)
                  for label, name in shown.items() if self.network.populations[name].spiking}
        highest = {
            label: ((asked(activity.results[name].highest) + values.cell(name)[0].rest).numpy(),
                    asked(activity.results[name].highest_times).numpy())
            for label, name in shown.items() if activity.results[name].highest is not None
        }
        result = Result(spikes, seen, highest, self._end_state(activity, values), activity.duration,
                        any(each.truncated for each in activity.results.values()),
                        sum(each.end.grazing() for each in activity.results.values()))
        if result.truncated:
            cut = [name for name, each in activity.results.items() if each.truncated]
            told = cut_off(cut, self.stage_of[cut[0]].kernel.limits, self.network.discretization is not None)
            warnings.warn(str(told), SpikecWarning, stacklevel=3)
        if result.grazing:
            warnings.warn(str(Diagnostic("SC410", "spikes graze their threshold, so their times are ill-conditioned",
                                         value=str(result.grazing), remedy="Gradients through them are bounded.")),
                          SpikecWarning, stacklevel=3)
        return result

    def _end_state(self, activity: Activity, values: Values) -> RunState:
        """Membranes, currents and refractory periods at the end, and the spikes that are still under way."""
        populations = {}
        for name, result in activity.results.items():
            end = result.end.ending()
            hold = torch.where(end.hold > activity.duration, end.hold - activity.duration, -1.0)
            populations[name] = replace(end, hold=hold)
        delays: dict[str, list[Tensor]] = {}
        for number, projection in enumerate(self.network.projections):
            delay = values.delay(number)
            met = torch.zeros(1, dtype=torch.float64, device=values.device) if delay is None else delay.reshape(-1)
            delays.setdefault(projection.source, []).append(met.detach())
        history = {}
        for source, parts in delays.items():
            every = torch.cat(parts).unique()
            if source not in activity.spikes or not len(every) or float(every[-1]) + self.box <= 0:
                continue
            spikes = activity.spikes[source]
            if activity.state is not None and source in activity.state.history:
                spikes = join(activity.state.history[source], spikes)
            history[source] = under_way(spikes, activity.duration, every, self.box)
        return RunState(populations, history, form_of(self.network))


def _no_free_membrane(name: str, where: str) -> BadInputError:
    return BadInputError(Diagnostic("SC404", f"the membrane without a threshold is known {where}", node=name,
                                    remedy="Give the loss silent=None; use a readout (LI, CubaLI) for losses on "
                                    "voltages."))


def as_spikes(events: Events) -> Spikes:
    """Events as tensors; times keep their graph."""
    times, indices, offsets = (value if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value))
                               for value in (events.times, events.indices, events.offsets))
    return Spikes(times.to(torch.float64).contiguous(), indices.to(torch.int64).contiguous(),
                  offsets.to(torch.int64).contiguous())


def _events(spikes: Spikes) -> Events:
    return Events(spikes.times.detach().numpy(), spikes.indices.numpy(), spikes.offsets.numpy())


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    plain = np.asarray(array)
    if any(stride <= 0 for stride in plain.strides) or not plain.flags.writeable:
        plain = plain.copy()
    return torch.from_numpy(plain)
