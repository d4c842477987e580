"""The meaning of a model graph in continuous time: the oracle of every target. Plain numpy, float64, no grid.

Between instants every neuron is a linear differential equation, solved by `membranes`; an instant is when something
reaches a neuron, a refractory period or a box ends, or a membrane passes its threshold, found by root finding on the
monotone pieces of its course. What happens at one instant (`exact_run`):

- all impulses that reach a neuron are summed, then its threshold is tested once (V > v_threshold); a membrane that
  passes its threshold smoothly at this very instant fires too;
- neuron nodes are taken in the order in which spikes without delay reach them; on a cycle without delay, in rounds: all
  that is there, then what these spikes cause, and so on. A neuron that would fire twice at one instant is an error;
- a membrane left above its threshold by a subtractive reset fires again only at its next input, or when it has been
  below;
- the refractory period is [spike, spike + refractory): V stays, I goes on, impulses to V are lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .diagnostics import Diagnostics, UnsupportedError
from .events import Events
from .exact_run import Kind, Run
from .flow.checks import check_currents
from .flow.flow import dynamics_of
from .flow.run import Flows
from .graph import Graph
from .membranes import Membranes
from .nodes import Array, FlowNeuron, Neuron, is_spiking
from .wiring import Wiring

__all__ = ["ExactResult", "ExactState", "simulate_exact"]


@dataclass(frozen=True, slots=True, eq=False)
class ExactState:
    """Where a run ended: to be given to the next run, whose t = 0 is this instant. Every array is (batch, n), all
    neurons numbered through in the order of the graph's nodes.

    `drive`: the sum of the open boxes, and `boxes` their number. `held`: in the refractory period. `pending`, one entry
    a sample: (time, kind, neurons, amounts) of what is yet to come. `flows`, one entry a sample: states of the neurons
    of free form, those of `QIF` and `Theta` by their angle.
    """

    voltage: Array
    current: Array
    drive: Array
    boxes: Array
    held: Array
    pending: tuple[tuple[tuple[float, Kind, Array, Array], ...], ...]
    flows: tuple[tuple[tuple[float, ...], ...], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ExactResult:
    """`spikes` by spiking node; `probes` by 'node.v', 'node.i' and so on, (batch, times, *shape); `voltage_max` by
    readout node: (maximum over the run, its first time), each (batch, *shape). Output nodes are names of what they
    show."""

    spikes: Mapping[str, Events]
    probes: Mapping[str, Array]
    voltage_max: Mapping[str, tuple[Array, Array]]
    state: ExactState
    duration: float


def simulate_exact(
    graph: Graph,
    events: Events | Mapping[str, Events],
    duration: float | None = None,
    probes: Mapping[str, Any] | None = None,
    state: ExactState | None = None,
) -> ExactResult:
    """Simulates a model graph in continuous time.

    Args:
        graph: a legal model graph. Its discretisation says whether a spike is an impulse or a box of length dt.
        events: of the one input node, or by input node; inputs that are not named stay silent.
        duration: seconds; spikes up to and at it count, input events after it are ignored. May be left out only where
            the network falls silent after its input.
        probes: times in [0, duration] by 'node.v' (membrane) or 'node.i' (synaptic current), of `Equations` any state.
            At an instant, the value after it.
        state: of an earlier result: this run goes on where that one ended.

    Raises:
        BadInputError: the graph (SC101 to SC117), the events or the probes (SC403, SC405) are malformed, or `duration`
            is missing (SC402).
        UnsupportedError: the graph has no meaning in continuous time (SC139, SC302 to SC304, SC306), a neuron would
            fire twice at one instant (SC401), or equations diverge or are too stiff (SC138).
    """
    wiring = Wiring(graph)
    wiring.refuse_in_continuous_time()
    faults = Diagnostics()
    _check_currents(wiring)
    inputs = _inputs(wiring, events, faults)
    end = _end(wiring, inputs, duration, state, faults)
    asked = {probe: _times(wiring, probe, times, end, faults) for probe, times in (probes or {}).items()}
    batch = _batch(inputs, state, faults)
    faults.raise_if_errors()
    runs = [_played(wiring, inputs, sample, end, asked, state) for sample in range(batch)]
    return _gathered(wiring, runs, end)


def _played(
    wiring: Wiring, inputs: Mapping[str, Events], sample: int, end: float, asked: Mapping[str, Array],
    state: ExactState | None,
) -> Run:
    membranes, boxes = _at_rest(wiring), np.zeros(wiring.size, dtype=np.int64)
    if state is not None:
        membranes = replace(membranes, **{
            name: getattr(state, name)[sample].copy() for name in ("voltage", "current", "drive", "held")
        })
        boxes = state.boxes[sample].copy()
    flows = Flows(wiring, membranes.held, None if state is None else state.flows[sample])
    run = Run(wiring, membranes, flows, boxes, end, asked)
    for name, given in inputs.items():
        times, elements = given.sample(sample)
        for time, element in zip(times.tolist(), elements.tolist(), strict=True):
            if time <= end:
                for index, amount in run.send(name, element, time):
                    run.expect(time, "impulse", index, amount)
    for time, kind, index, amount in state.pending[sample] if state is not None else ():
        run.expect(time, kind, index, amount)
    run.play(from_rest=state is None)
    return run


def _at_rest(wiring: Wiring) -> Membranes:
    nodes = wiring.graph.nodes
    return Membranes.at_rest([node for name in wiring.neurons if isinstance(node := nodes[name], Neuron)],
                             wiring.constant)


def _check_currents(wiring: Wiring) -> None:
    faults = Diagnostics()
    for name in wiring.neurons:
        check_currents(name, wiring.graph.nodes[name], wiring.constant[wiring.span[name]], faults)
    faults.raise_if_errors(UnsupportedError)


def _inputs(wiring: Wiring, events: Events | Mapping[str, Events], faults: Diagnostics) -> dict[str, Events]:
    names = wiring.graph.inputs
    if isinstance(events, Events):
        if len(names) != 1:
            faults.add("SC403", "the network has several inputs", value=", ".join(names),
                       remedy="Give the events as a dict by input node.")
            return {}
        events = {names[0]: events}
    found = {}
    for name, given in events.items():
        if name not in names:
            faults.add("SC403", "there is no such input", node=name, limit=", ".join(names))
        else:
            size = int(np.prod(wiring.shapes[name].output))
            found[name] = given.checked(size, name).numpy()
    return found


def _batch(inputs: Mapping[str, Events], state: ExactState | None, faults: Diagnostics) -> int:
    sizes = {given.batch for given in inputs.values()} | ({len(state.pending)} if state is not None else set())
    if len(sizes) > 1:
        faults.add("SC403", "inputs and state differ in the number of samples", value=sorted(sizes))
    return min(sizes, default=1)


def _end(
    wiring: Wiring, inputs: Mapping[str, Events], duration: float | None, state: ExactState | None, faults: Diagnostics
) -> float:
    if duration is not None:
        if not (np.isfinite(duration) and duration >= 0):
            faults.add("SC403", "duration must be finite and not negative", value=duration)
        return float(duration)
    membranes = _at_rest(wiring)
    restless = np.flatnonzero(membranes.spiking & (membranes.asymptote() > membranes.threshold))
    for name in wiring.neurons:
        if any(wiring.span[name].start <= neuron < wiring.span[name].stop for neuron in restless):
            faults.add("SC402", "the network fires without input: duration is needed", node=name,
                       remedy="State duration in seconds.")
    for name in wiring.neurons:
        if isinstance(wiring.graph.nodes[name], FlowNeuron):
            faults.add("SC402", "these neurons may go on without end: duration is needed", node=name,
                       remedy="State duration in seconds.")
    if wiring.recurrent:
        faults.add("SC402", "the network has a cycle and may fire without end: duration is needed",
                   remedy="State duration in seconds.")
    last = max((float(given.times.max()) for given in inputs.values() if len(given)), default=0.0)
    if state is not None:
        last = max((time for sample in state.pending for time, *_ in sample), default=last)
    grid = wiring.graph.discretization
    return last + wiring.longest_delay + len(wiring.neurons) * (membranes.memory() + (grid.dt if grid else 0.0))


def _times(wiring: Wiring, probe: str, times: Any, end: float, faults: Diagnostics) -> Array:
    name, _, quantity = probe.rpartition(".")
    array = np.asarray(times, dtype=np.float64).reshape(-1)
    node = wiring.graph.nodes.get(name)
    known = ("v", *dynamics_of(node, False).states) if isinstance(node, FlowNeuron) else ("v", "i")
    if name not in wiring.span or quantity not in known:
        faults.add("SC403", "a probe is '<neuron node>.v' or '<neuron node>.i'", value=probe,
                   limit=", ".join(known))
    elif not ((array >= 0) & (array <= end)).all():
        faults.add("SC403", "probe times lie in [0, duration]", node=name, value=array, limit=end)
    return array


def _gathered(wiring: Wiring, runs: list[Run], end: float) -> ExactResult:
    nodes, shape = wiring.graph.nodes, {name: wiring.shapes[name].output for name in wiring.neurons}
    spikes = {
        name: Events.from_samples([
            ([time for time, _ in run.spikes[name]], [element for _, element in run.spikes[name]]) for run in runs
        ])
        for name in wiring.neurons if is_spiking(nodes[name])
    }
    highest = {
        name: (
            np.array([run.highest[wiring.span[name]] for run in runs]).reshape(-1, *shape[name]),
            np.array([run.highest_at[wiring.span[name]] for run in runs]).reshape(-1, *shape[name]),
        )
        for name in wiring.neurons if not is_spiking(nodes[name])
    }
    for output, name in wiring.shown_by.items():
        if name in spikes:
            spikes[output] = spikes[name]
        else:
            highest[output] = highest[name]
    probes = {
        probe: np.array([run.probed[probe] for run in runs]).reshape(
            len(runs), len(times), *shape[probe.rpartition(".")[0]])
        for probe, times in (runs[0].probes.items() if runs else ())
    }
    return ExactResult(spikes, probes, highest, _state(wiring, runs, end), end)


def _state(wiring: Wiring, runs: list[Run], end: float) -> ExactState:
    def stack(*arrays: Array) -> Array:
        return np.array(arrays).reshape(len(runs), wiring.size)

    return ExactState(
        voltage=stack(*(run.membranes.voltage for run in runs)),
        current=stack(*(run.membranes.current for run in runs)),
        drive=stack(*(run.membranes.drive for run in runs)),
        boxes=stack(*(run.boxes for run in runs)).astype(np.int64),
        held=stack(*(run.membranes.held for run in runs)).astype(bool),
        pending=tuple(
            tuple((time - end, kind, index, amount) for time, kinds in run.due.items()
                  for kind, found in kinds.items() for index, amount in found)
            for run in runs
        ),
        flows=tuple(run.flows.states for run in runs),
    )
