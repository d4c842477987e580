"""Small networks of every make for the engine's tests, and the comparison of a run with the reference meaning."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

import spikec
from spikec.ir import nodes as ir
from spikec.ir.events import Events
from spikec.ir.exact import ExactResult, simulate_exact
from spikec.ir.graph import Discretization, Graph

KINDS = ("CubaLIF", "LIF", "IF")
DURATION = 0.06
BOX = Discretization(dt=2e-3, spike="box")


def neuron(
    kind: str,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    ratio: float | None = None,
    spread: bool = True,
    **settings: Any,
) -> ir.Neuron:
    """A spiking neuron node with threshold near 1. `spread`: each neuron has its own parameters."""

    def around(low: float, high: float) -> Any:
        return rng.uniform(low, high, shape) if spread else np.full(shape, rng.uniform(low, high))

    values: dict[str, Any] = {"shape": shape, "r": around(0.7, 1.5), "v_threshold": around(0.8, 1.2)}
    if kind == "CubaLIF":
        values["tau_syn"] = around(4e-3, 8e-3)
        values["tau_mem"] = values["tau_syn"] * (around(1.3, 3.5) if ratio is None else ratio)
        values["w_in"] = values["tau_syn"] * 1.2
    if kind == "LIF":
        values["tau"] = around(10e-3, 25e-3)
    if kind != "IF":
        values["v_leak"] = around(-0.1, 0.2)
    if settings.get("reset") == "v_reset":
        values["v_reset"] = around(-0.3, 0.3)
    return getattr(ir, kind)(**(values | settings))


def unit(node: Any, box: float = 0.0) -> np.ndarray[Any, Any]:
    """The weight that moves a membrane by about one threshold, by neuron."""
    if isinstance(node, ir.CubaLI):
        size = 2.2 * node.tau_mem / (node.r * node.w_in) * (1 / box if box else 1.0)
    else:
        size = (node.tau if isinstance(node, ir.LI) else 1.0) / node.r * (1 / box if box else 1.0)
    return np.asarray(size).reshape(-1)


def make(
    kind: str,
    rng: np.random.Generator,
    *,
    wires: str = "dense",
    recurrent: bool = False,
    delay: str = "none",
    box: bool = False,
    reset: str = "v_reset",
    refractory: float = 0.0,
    ratio: float | None = None,
    bias: bool = True,
    readout: bool = False,
    spread: bool = True,
    n: int = 5,
    n_in: int = 6,
    v0: float = 0.0,
) -> Graph:
    """in -> `wires` -> hidden (-> recurrence) -> dense -> out. `delay`: none, source or synapse, of the first
    connection; recurrence of neurons with delta synapses always has a delay."""
    dt = BOX.dt if box else 0.0
    shape, entry = ((2, 4), (2, 6)) if wires == "conv" else ((n,), (n_in,))
    hidden = neuron(kind, shape, rng, ratio, spread, reset=reset, refractory=refractory, v0=v0)
    size, sources = int(np.prod(shape)), int(np.prod(entry))
    scale = unit(hidden, dt)
    current = None
    if bias:
        held = unit(hidden, 1.0) if kind == "IF" else 1.0 / np.asarray(hidden.r).reshape(-1)
        held = held / np.asarray(hidden.w_in).reshape(-1) if kind == "CubaLIF" else held
        current = held * rng.uniform(-0.2, 1.8 if kind == "LIF" else 1.2, size) * (25.0 if kind == "IF" else 1.0)
    nodes: dict[str, ir.Node] = {"in": ir.Input(shape=entry)}
    chain = ["in"]

    def then(name: str, node: ir.Node) -> None:
        nodes[name] = node
        chain.append(name)

    drawn = rng.uniform(-0.2, 1.0, (size, sources)) * scale[:, None] * 0.7
    if wires == "conv":
        if delay == "source":
            then("wait", ir.Delay(delay=rng.uniform(1e-3, 5e-3, entry)))
        weight = rng.uniform(-0.2, 1.0, (2, 2, 3)) * scale.mean() * 0.7
        then("fc", ir.Conv1d(weight=weight, input_shape=6, bias=None if current is None else current[:2]))
        if delay == "synapse":
            then("wait", ir.Delay(delay=rng.uniform(1e-3, 5e-3, shape)))
    else:
        if delay == "source":
            then("wait", ir.Delay(delay=rng.uniform(1e-3, 5e-3, entry)))
        late = rng.uniform(0, 5e-3, (size, sources)) if delay == "synapse" else None
        if wires == "sparse":
            kept = rng.random((size, sources)) < 0.7
            then(
                "fc",
                ir.SparseLinear(
                    size=(size, sources),
                    indptr=np.concatenate([[0], np.cumsum(kept.sum(1))]),
                    indices=np.nonzero(kept)[1],
                    weight=drawn[kept],
                    bias=current,
                    delay=None if late is None else late[kept],
                ),
            )
        elif current is not None:
            then("fc", ir.Affine(weight=drawn, bias=current, delay=late))
        else:
            then("fc", ir.Linear(weight=drawn, delay=late))
    then("hidden", hidden)
    edges = []
    if recurrent:
        late = np.full((size, size), 1.3e-3) if kind != "CubaLIF" and not box else None
        weight = rng.normal(-0.1, 0.25, (size, size)) * scale[:, None]
        if wires == "conv":
            image = rng.normal(-0.1, 0.25, (2, 2, 3)) * scale.mean()
            nodes["loop"] = ir.Conv1d(weight=image, input_shape=4, padding=1)
            nodes["later"] = ir.Delay(delay=1.3e-3)
            edges += [("hidden", "loop"), ("loop", "later"), ("later", "hidden")]
        else:
            nodes["loop"] = ir.Linear(weight=weight, delay=late)
            edges += [("hidden", "loop"), ("loop", "hidden")]
    if wires == "conv":
        then("flat", ir.Flatten())
    if readout:
        out: ir.Neuron = ir.CubaLI(shape=(3,), tau_mem=20e-3, tau_syn=10e-3, w_in=10e-3, v_leak=0.1)
    else:
        out = neuron("CubaLIF", (3,), rng)
    then("fc2", ir.Linear(weight=rng.uniform(-0.1, 1.0, (3, size)) * unit(out, dt)[:, None] * 0.6))
    then("last", out)
    then("out", ir.Output(shape=(3,)))
    edges += list(pairwise(chain))
    return Graph(nodes, tuple(edges), BOX if box else None)


def stimulus(
    channels: int, rng: np.random.Generator, batch: int = 2, per_sample: int = 14, until: float = 0.8 * DURATION
) -> Events:
    return Events.from_samples(
        [(rng.uniform(0, until, per_sample), rng.integers(0, channels, per_sample)) for _ in range(batch)]
    )


def same_spikes(found: Events, wanted: Events, label: str = "", within: float = 1e-9) -> None:
    """The same spikes in the same order; those that coincide within rounding may be swapped."""
    assert list(found.offsets) == list(wanted.offsets), f"{label}: {np.diff(found.offsets)} {np.diff(wanted.offsets)}"
    for sample in range(found.batch):
        times, indices = found.sample(sample)
        other_times, other_indices = wanted.sample(sample)
        if len(times) == 0:
            continue
        assert (np.diff(times) >= 0).all(), label
        assert (np.diff(indices)[np.diff(times) == 0] > 0).all(), label
        order, other = np.lexsort((times, indices)), np.lexsort((other_times, other_indices))
        assert (indices[order] == other_indices[other]).all(), label
        assert np.abs(times[order] - other_times[other]).max() < within, label
        swapped = indices != other_indices
        gaps = np.minimum(np.abs(np.diff(times, append=np.inf)), np.abs(np.diff(times, prepend=-np.inf)))
        assert (gaps[swapped] < 1e-12).all(), label


def same_run(found: Any, wanted: ExactResult, label: str = "") -> None:
    """Spikes to 1e-9 s, voltages to 1e-8."""
    for name, spikes in found.spikes.items():
        same_spikes(spikes, wanted.spikes[name], f"{label} {name}")
    assert set(found.probes) == set(wanted.probes)
    for name, voltage in found.probes.items():
        assert np.abs(voltage - wanted.probes[name].reshape(voltage.shape)).max(initial=0) < 1e-8, f"{label} {name}"
    for name, (highest, when) in found.voltage_max.items():
        value, time = (each.reshape(highest.shape) for each in wanted.voltage_max[name])
        assert np.abs(highest - value).max(initial=0) < 1e-8, f"{label} {name}"
        flat = np.abs(when - time) > 1e-5  # a flat top: the same height at another time
        assert np.abs(highest - value)[flat].max(initial=0) < 1e-9, f"{label} {name}"


def conforms(
    graph: Graph, events: Events | Mapping[str, Events], duration: float = DURATION, grid: Any = None, label: str = ""
) -> Any:
    """Runs both and compares them; the engine's result."""
    names = [name for name, node in graph.nodes.items() if isinstance(node, ir.Neuron)]
    times = np.linspace(0, duration, 7) if grid is None else grid
    probes = {f"{name}.v": times for name in names}
    found = spikec.compile(graph).run(events, duration=duration, probes=probes)
    same_run(found, simulate_exact(graph, events, duration, probes), label)
    assert not found.truncated
    return found
