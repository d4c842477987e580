"""spikec's own small networks: every neuron on every grid, through the builder, the files, and the targets."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import spikec
from spikec.ir import nodes
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.ir.text import read, write

from .case import DT, HIDDEN, INPUTS, OUTPUTS, STEPS, Array, Trace
from .compare import Compared, compared
from .suite import Row, exact, said
from .targets import on_clock, on_nir, on_onnx, on_reference, shown

KINDS = ("IF", "LIF", "CubaLIF", "StepNeuron")
READOUTS = ("I", "LI", "CubaLI")
EXACT_STEPS = 20
"""Steps of the runs in continuous time, whose reference is slow."""
TIME = 1e-9
"""Seconds that spikes of the event target may be off the reference in continuous time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """`settings`: what is particular about it. `continuous`: whether its run in continuous time is compared, too; that
    is the same for all grids that have the same kind of spikes."""

    kind: str
    settings: str
    graph: spikec.Graph
    continuous: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        node = self.graph.nodes[self.graph.inputs[0]]
        shape: tuple[int, ...] = node.shape  # type: ignore[attr-defined]
        return shape


def neuron(kind: str, shape: tuple[int, ...], rng: np.random.Generator, **settings: Any) -> nodes.Neuron:
    """A neuron node with parameters of its own for each neuron; an impulse of 1 moves its membrane by about 1, or, in
    the end, its current."""
    values: dict[str, Any] = {"shape": shape}
    if kind == "StepNeuron":
        kept = rng.uniform(0.6, 0.95, (2, *shape))
        zero, one = np.zeros(shape), np.ones(shape)
        return nodes.StepNeuron(
            shape=shape, a=np.array([[kept[0], zero], [zero, kept[1]]]), b=np.array([one, zero]),
            reset_c=np.array([-0.5 * one, zero]), spike_c=np.array([zero, 0.3 * one]),
            v_threshold=rng.uniform(0.8, 1.2, shape), threshold_gain=np.array([zero, one]), **settings)
    if kind in ("LI", "LIF"):
        tau = rng.uniform(6e-3, 20e-3, shape)
        values |= {"tau": tau, "r": tau, "v_leak": rng.uniform(-0.1, 0.1, shape)}
    if kind in ("CubaLI", "CubaLIF"):
        tau_mem, tau_syn = rng.uniform(8e-3, 20e-3, shape), rng.uniform(3e-3, 6e-3, shape)
        values |= {"tau_mem": tau_mem, "tau_syn": tau_syn, "w_in": tau_syn, "r": tau_mem / tau_syn}
    if kind in ("IF", "LIF", "CubaLIF"):
        values |= {"v_threshold": rng.uniform(0.8, 1.2, shape)}
        if settings.get("reset") == "v_reset":
            values["v_reset"] = rng.uniform(-0.3, 0.2, shape)
    return getattr(nodes, kind)(**(values | settings))  # type: ignore[no-any-return]


def chain(kind: str, grid: spikec.Discretization, topology: str = "feedforward", readout: str | None = None,
          **settings: Any) -> spikec.Graph:
    """Two layers of neurons; the second may be a readout."""
    rng = np.random.default_rng(len(kind) + 10 * len(topology))
    gain = 1 / grid.dt if grid.spike == "box" else 1.0  # a box of height w is an impulse of w dt
    net = spikec.Builder(discretization=grid)

    def weight(*sizes: int) -> Array:
        found: Array = gain * rng.normal(0.25, 0.6, sizes)
        return found

    if topology == "image":
        source = net.input("in", (2, 4, 4))
        drive = net.conv2d("conv", source, weight=0.5 * weight(2, 2, 3, 3), padding=1)
        first = net.add("hidden", neuron(kind, drive.shape, rng, **settings), drive)
        flat = net.flatten("flat", net.sum_pool2d("pool", first, 2))
        drive = net.linear("fc", flat, weight=0.5 * weight(OUTPUTS, flat.shape[0]))
    else:
        source = net.input("in", INPUTS)
        bias = rng.uniform(-5.0, 20.0, HIDDEN) * (1 if grid.spike == "delta" else 1.0)
        drive = net.linear("fc1", source, weight=weight(HIDDEN, INPUTS), bias=bias if topology == "bias" else None)
        first = net.add("hidden", neuron(kind, (HIDDEN,), rng, **settings), drive)
        if topology == "recurrent":
            net.connect(first, first, weight=-0.5 * np.abs(weight(HIDDEN, HIDDEN)), name="back")
        delay = grid.dt * rng.integers(0, 5, (OUTPUTS, HIDDEN)) if topology == "delays" else None
        drive = net.linear("fc2", first, weight=weight(OUTPUTS, HIDDEN), delay=delay)
    last = net.add("label", neuron(readout or kind, (OUTPUTS,), rng, **({} if readout else settings)), drive)
    net.output("out", last)
    return net.build()


def grids() -> Iterator[tuple[str, spikec.Discretization]]:
    """Every meaning of a step."""
    for integrator, spike in itertools.product(("exact", "decay", "euler", "semi"), ("delta", "box")):
        grid = spikec.Discretization(DT, spike=spike, integrator=integrator)  # type: ignore[arg-type]
        yield f"{integrator}, {spike}", grid
    plain = spikec.Discretization(DT, integrator="decay")
    yield "decay, delta, reset next", replace(plain, reset="next")
    yield "exact, box, reset next", spikec.Discretization(DT, spike="box", reset="next")
    yield "decay, delta, fires at", replace(plain, fires="at")
    yield "decay, delta, delay 2", replace(plain, delay=2)


def networks() -> Iterator[Network]:
    """All of them."""
    for (text, grid), kind in itertools.product(grids(), KINDS):
        if kind == "StepNeuron" and (grid.integrator != "decay" or grid.reset != "same"):
            continue
        topology = "recurrent" if grid.delay == 2 else "feedforward"
        yield Network(kind=kind, settings=f"{text}; {topology}", graph=chain(kind, grid, topology),
                      continuous=text in ("exact, delta", "exact, box"))
    decay = spikec.Discretization(DT, integrator="decay")
    exact = spikec.Discretization(DT, spike="box")
    for kind, topology in itertools.product(KINDS, ("recurrent", "bias", "delays", "image")):
        yield Network(kind=kind, settings=f"decay, delta; {topology}", graph=chain(kind, decay, topology))
    for kind, topology in itertools.product(("LIF", "CubaLIF"), ("recurrent", "bias", "delays")):
        yield Network(kind=kind, settings=f"exact, box; {topology}", graph=chain(kind, exact, topology))
    for kind, reset in itertools.product(("IF", "LIF", "CubaLIF"), ("subtract", "v_reset")):
        yield Network(kind=kind, settings=f"decay, delta; reset {reset}", graph=chain(kind, decay, reset=reset))
    many = replace(decay, spikes="many", fires="at")
    for kind in ("IF", "LIF", "CubaLIF"):
        yield Network(kind=kind, settings="decay, delta, spikes many; reset subtract",
                      graph=chain(kind, many, reset="subtract"))
        yield Network(kind=kind, settings="decay, delta; refractory 3 ms", graph=chain(kind, decay, refractory=3e-3))
        yield Network(kind=kind, settings="decay, delta; v_min −0.2", graph=chain(kind, decay, v_min=-0.2))
    for kind in READOUTS:
        yield Network(kind=kind, settings="decay, delta; readout of LIF", graph=chain("LIF", decay, readout=kind))
        yield Network(kind=kind, settings="exact, box; readout of LIF", graph=chain("LIF", exact, readout=kind))


def raster(network: Network, steps: int) -> Array:
    """(3, steps, *shape): random spikes, a rate a sample."""
    rng = np.random.default_rng(11)
    rates = np.array([0.05, 0.2, 0.5]).reshape(-1, 1, *(1,) * len(network.shape))
    return (rng.random((3, steps, *network.shape)) < rates).astype(np.float64)


def by_text(graph: spikec.Graph, values: Array) -> Mapping[str, Trace]:
    """Written as text, read again, and run by the reference."""
    with tempfile.TemporaryDirectory() as folder:
        write(graph, Path(folder, "graph.spk"))
        return on_reference(read(Path(folder, "graph.spk")), values)


def by_onnx(graph: spikec.Graph, values: Array) -> Mapping[str, Trace]:
    """Written as ONNX, read again, and run by the reference."""
    with tempfile.TemporaryDirectory() as folder:
        spikec.to_onnx(graph, Path(folder, "graph.onnx"))
        return on_reference(spikec.from_onnx(Path(folder, "graph.onnx")), values)


WAYS: Mapping[str, Callable[[spikec.Graph, Array], Mapping[str, Trace]]] = {
    "text": by_text, "nir": on_nir, "from_onnx": by_onnx, "clock": on_clock, "onnx": on_onnx,
}
"""What has to give the numbers of the reference on the grid: files that come back, and targets."""


def in_continuous_time(graph: spikec.Graph, values: Array) -> Compared:
    """The event target beside the reference in continuous time: numbers of spikes, and their times. `membrane` is the
    largest difference of times in seconds."""
    every, outputs = shown(graph)
    dt = graph.discretization.dt if graph.discretization else DT
    duration = (values.shape[1] + 0.5) * dt
    events = Events.from_dense(values, dt)
    theirs = simulate_exact(every, events, duration=duration)
    ours = spikec.compile(every).run(events, duration=duration)
    spikes, wrong, apart = 0, 0, 0.0
    first = None
    for name, output in outputs.items():
        if output not in theirs.spikes:
            continue
        for sample in range(len(values)):
            (times, index), (other, other_index) = (
                _by_neuron(*each.spikes[output].numpy().sample(sample)) for each in (ours, theirs))
            spikes += len(other)
            if not np.array_equal(index, other_index):
                wrong += 1
                first = first or f"{name}, sample {sample}: {len(times)} spikes where the reference has {len(other)}"
            elif len(times):
                apart = max(apart, float(np.abs(times - other).max()))
    return Compared(spikes, wrong, apart, first)


def _by_neuron(times: Array, index: Array) -> tuple[Array, Array]:
    """Spikes neuron after neuron, each in the order of time."""
    order = np.lexsort((times, index))
    return times[order], index[order]


def row(network: Network, steps: int = STEPS, ways: Iterable[str] = (*WAYS, "event")) -> Row:
    """Every way beside the reference."""
    found = Row("spikec", "", network.kind, network.settings)
    values = raster(network, steps)
    theirs = on_reference(network.graph, values)
    if not any(trace.spikes is not None and trace.spikes.any() for trace in theirs.values()):
        found.failures.append("no neuron fires")
    for way in ways:
        if way != "event":
            exact(found, way, lambda way=way: compared(WAYS[way](network.graph, values), theirs))  # type: ignore[misc]
        elif network.continuous:
            _continuous(found, network)
    found.verdict = "differs" if found.failures else "equal"
    return found


def _continuous(found: Row, network: Network) -> None:
    try:
        measured = in_continuous_time(network.graph, raster(network, EXACT_STEPS))
    except spikec.SpikecError as error:
        found.targets["event"] = said(error)
        return
    found.targets["event"] = asdict(measured)
    if measured.wrong or (measured.membrane or 0.0) > TIME:
        found.failures.append(f"event: {measured.first or f'spikes are {measured.membrane:.1e} s apart'}")

