"""The event engine on neurons that are no linear equation: spikes against published values and an integrator, gradients
against central differences, streams, threads, refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import spikec
from spikec.ir import nodes as ir
from spikec.ir.events import Events
from spikec.ir.graph import Graph

pytestmark = pytest.mark.usefixtures("one_thread")
DURATION = 2.5


def flow_neuron(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> ir.FlowNeuron:
    if kind == "QIF":
        return ir.QIF(shape=shape, tau=rng.uniform(0.5, 0.8, shape), v0=rng.uniform(-0.5, 0.6, shape))
    return ir.Theta(shape=shape, tau=rng.uniform(0.6, 0.9, shape), i0=rng.uniform(0.6, 1.4, shape),
                    v0=rng.uniform(0.0, 1.0, shape))


def drawn(kind: str, shape: tuple[int, ...], rng: np.random.Generator, fan: int) -> np.ndarray[Any, Any]:
    """Weights: currents of a QIF neuron must come to a few units for it to fire."""
    return rng.uniform(-1.0, 3.0, shape) * (4.0 / fan if kind == "QIF" else 1.5 / fan)


def make(kind: str, rng: np.random.Generator, wires: str = "dense", delay: str = "none", recurrent: bool = False,
         bias: bool = False, last: str | None = None, n: int = 4, n_in: int = 6) -> Graph:
    """in -> `wires` -> hidden (-> recurrence) -> dense -> last (kind `last`, else that of hidden)."""
    shape, entry = ((2, 4), (2, 6)) if wires == "conv" else ((n,), (n_in,))
    size, sources = int(np.prod(shape)), int(np.prod(entry))
    nodes: dict[str, ir.Node] = {"in": ir.Input(shape=entry)}
    chain = ["in"]
    edges: list[tuple[str, str]] = []

    def then(name: str, node: ir.Node) -> None:
        nodes[name] = node
        edges.append((chain[-1], name))
        chain.append(name)

    weight = drawn(kind, (size, sources), rng, sources)
    current = rng.uniform(-0.2, 0.4, size) if bias else None
    late = rng.uniform(0.05, 0.4, (size, sources)) if delay == "synapse" else None
    if delay == "source":
        then("wait", ir.Delay(delay=rng.uniform(0.05, 0.4, entry)))
    if wires == "conv":
        then("fc", ir.Conv1d(weight=drawn(kind, (2, 2, 3), rng, 2), input_shape=6,
                             bias=None if current is None else current[:2]))
    elif wires == "sparse":
        kept = rng.random((size, sources)) < 0.7
        then("fc", ir.SparseLinear(size=(size, sources), indptr=np.concatenate([[0], np.cumsum(kept.sum(1))]),
                                   indices=np.nonzero(kept)[1], weight=weight[kept], bias=current,
                                   delay=None if late is None else late[kept]))
    elif current is not None:
        then("fc", ir.Affine(weight=weight, bias=current, delay=late))
    else:
        then("fc", ir.Linear(weight=weight, delay=late))
    then("hidden", flow_neuron(kind, shape, rng))
    if recurrent:
        nodes["back"] = ir.Linear(weight=drawn(kind, (size, size), rng, 2 * size),
                                  delay=rng.uniform(0.05, 0.3, (size, size)))
        edges += [("hidden", "back"), ("back", "hidden")]
    if wires == "conv":
        then("flat", ir.Flatten())
    then("fc2", ir.Linear(weight=drawn(last or kind, (3, size), rng, size)))
    if last == "LI":
        then("last", ir.CubaLI(shape=(3,), tau_mem=0.7, tau_syn=0.3, r=1.0, v_leak=0.0, w_in=0.3))
    elif last == "LIF":
        then("last", ir.CubaLIF(shape=(3,), tau_mem=0.7, tau_syn=0.3, r=3.0, v_leak=0.0, w_in=1.0, v_threshold=0.2))
    else:
        then("last", flow_neuron(last or kind, (3,), rng))
    then("out", ir.Output(shape=(3,)))
    return Graph(nodes=nodes, edges=edges)


def stimulus(rng: np.random.Generator, n_in: int, batch: int = 2, events: int = 9) -> Events:
    samples = []
    for _ in range(batch):
        times = np.sort(rng.uniform(0.0, 0.8 * DURATION, events))
        samples.append((times, rng.integers(0, n_in, events)))
    offsets = np.concatenate([[0], np.cumsum([len(times) for times, _ in samples])])
    return Events(np.concatenate([times for times, _ in samples]), np.concatenate([rows for _, rows in samples]),
                  offsets)


class Problem:
    """A network, its input, and a loss through spike times, voltages and end states with fixed random weights."""

    def __init__(self, graph: Graph, events: Events, duration: float = DURATION) -> None:
        self.graph, self.events, self.duration = graph, events, duration
        self.module = spikec.compile(graph).module(dtype=torch.float64)
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_("refractory" not in name)
        self.times = torch.tensor(events.times, requires_grad=True)

    def loss(self) -> tuple[Tensor, tuple[int, ...]]:
        draw = torch.Generator().manual_seed(1)

        def weighted(value: Tensor) -> Tensor:
            weight = torch.randn(value.shape, generator=draw, dtype=torch.float64)
            return (weight * torch.where(torch.isfinite(value), value, 0)).sum()

        out = self.module(Events(self.times, self.events.indices, self.events.offsets), duration=self.duration)
        total, counts = torch.zeros((), dtype=torch.float64), []
        probed = [part * self.duration for part in (0.0, 0.31, 0.77, 1.0)]
        for name, node in self.graph.nodes.items():
            if ir.is_spiking(node):
                total = total + weighted(out.spike_times(name, 12))
                counts += out.spike_count(name).int().reshape(-1).tolist()
            if isinstance(node, ir.FlowNeuron):
                total = total + weighted(out.voltage(name, probed).atan())
                for value in out.end(name).values():
                    total = total + weighted(value.atan())
            elif isinstance(node, ir.READOUTS) and not ir.is_spiking(node):
                total = total + weighted(out.voltage_max(name)) + weighted(out.voltage(name, probed))
        return total, tuple(counts)

    def tensors(self) -> dict[str, Tensor]:
        trained = {name: each for name, each in self.module.named_parameters() if each.requires_grad}
        return {**trained, "times": self.times}

    def gradients(self) -> tuple[dict[str, Tensor], tuple[int, ...]]:
        loss, counts = self.loss()
        loss.backward()
        return {name: torch.zeros_like(each) if each.grad is None else each.grad
                for name, each in self.tensors().items()}, counts


def check_differences(problem: Problem, relative: float = 1e-6, tolerance: float = 2e-7, most: int = 60) -> None:
    """Every gradient against central differences of a relative step; at most `most` entries of a tensor."""
    found, counts = problem.gradients()
    assert sum(counts) > 0
    for name, tensor in problem.tensors().items():
        flat = tensor.data.view(-1) if tensor.is_contiguous() else tensor.data.t().reshape(-1)
        grad = found[name] if tensor.is_contiguous() else found[name].t()
        view = tensor.data if tensor.is_contiguous() else tensor.data.t()
        checked = 0
        for entry in range(0, len(flat), max(1, len(flat) // most)):
            place = np.unravel_index(entry, view.shape)
            kept = float(view[place])
            sides, step = [], relative * (abs(kept) or 1.0)
            for sign in (1, -1):
                view[place] = kept + sign * step
                with torch.no_grad():
                    sides.append(problem.loss())
            view[place] = kept
            if any(side[1] != counts for side in sides):
                continue
            difference = float(sides[0][0] - sides[1][0]) / (2 * step)
            assert float(grad[place]) == pytest.approx(difference, rel=tolerance, abs=tolerance * 5), (name, place)
            checked += 1
        assert checked or not len(flat), name


@pytest.mark.parametrize(
    ("weight", "time", "slope"),
    [(3.0, 2.374077680281, -1.623516981002), (4.0, 1.538970890562, -0.457474045791),
     (9.0, 0.741494871392, -0.061059500641)])
def test_published_values_of_qif(weight: float, time: float, slope: float) -> None:
    """Case 4 of the reference: 12 digits of the closed form, as the authors' code has them."""
    graph = Graph(nodes={"in": ir.Input(shape=(1,)), "fc": ir.Linear(weight=np.array([[weight]])),
                         "q": ir.QIF(shape=(1,), tau=1.0), "out": ir.Output(shape=(1,))},
                  edges=[("in", "fc"), ("fc", "q"), ("q", "out")])
    module = spikec.compile(graph).module(dtype=torch.float64)
    first = module(one_event(), duration=3.0).first_spike("q")
    first.sum().backward()
    assert first.item() == pytest.approx(time, abs=1e-12)
    assert float(module.get_parameter("fc.weight").grad) == pytest.approx(slope, abs=2e-12)


def one_event() -> Events:
    return Events(np.array([0.0]), np.array([0]), np.array([0, 1]))


def test_a_qif_spike_disappears_at_the_end_of_time() -> None:
    """Below (pi/2)^2 there is none; just above it is late, and there is no jump."""
    least = (np.pi / 2) ** 2
    for weight, spikes in ((least - 1e-9, 0), (least + 1e-9, 1)):
        graph = Graph(nodes={"in": ir.Input(shape=(1,)), "fc": ir.Linear(weight=np.array([[weight]])),
                             "q": ir.QIF(shape=(1,), tau=1.0), "out": ir.Output(shape=(1,))},
                      edges=[("in", "fc"), ("fc", "q"), ("q", "out")])
        result = spikec.compile(graph).run(one_event())  # no duration: it falls silent
        assert len(result.spikes["out"].times) == spikes
        if spikes:
            assert result.spikes["out"].times[0] == pytest.approx(-np.log(2e-9 / np.pi**2), abs=1e-6)


def integrated(node: Any, number: int, weight: np.ndarray[Any, Any], events: Events, sample: int) -> list[float]:
    """Spike times of a neuron by DOP853, in the angle a with V = -cot a."""
    rows = slice(int(events.offsets[sample]), int(events.offsets[sample + 1]))
    tau = float(node.tau[number])
    state = np.array([np.arctan2(1.0, -float(node.v0[number])), 0.0])
    base = float(node.i0[number]) if isinstance(node, ir.Theta) else 0.0

    def rate(_: float, x: np.ndarray[Any, Any]) -> list[float]:
        s, c = np.sin(x[0]), np.cos(x[0])
        return [(c * c + c * s + (base + x[1]) * s * s) / tau, -2 * x[1] / tau]

    def fires(_: float, x: np.ndarray[Any, Any]) -> float:
        return float(x[0] - np.pi)

    fires.terminal, fires.direction = True, 1.0  # type: ignore[attr-defined]
    spikes, now = [], 0.0
    for time, row in [*zip(events.times[rows], events.indices[rows], strict=True), (DURATION, -1)]:
        while now < time:
            found = solve_ivp(rate, (now, time), state, "DOP853", events=fires, rtol=1e-13, atol=1e-14)
            now, state = float(found.t[-1]), found.y[:, -1].copy()
            if found.status == 1:
                spikes.append(now)
                state[0] = 0.0
        if row >= 0 and isinstance(node, ir.Theta):
            state[0] = np.arctan2(np.sin(state[0]), np.cos(state[0]) - weight[number, row] * np.sin(state[0]))
        elif row >= 0:
            state[1] += weight[number, row]
    return spikes


@pytest.mark.parametrize("kind", ["QIF", "Theta"])
def test_spikes_are_those_of_an_integrator(kind: str) -> None:
    rng = np.random.default_rng(5)
    graph, events = make(kind, rng), stimulus(rng, 6)
    result = spikec.compile(graph).run(events, duration=DURATION)
    found, total = result.spikes["hidden"], 0
    for sample, number in itertools.product(range(2), range(4)):
        part = slice(int(found.offsets[sample]), int(found.offsets[sample + 1]))
        mine = found.times[part][found.indices[part] == number]
        expected = integrated(graph.nodes["hidden"], number, graph.nodes["fc"].weight, events, sample)
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-10)
        total += len(mine)
    assert total >= 5


@pytest.mark.parametrize("kind", ["QIF", "Theta"])
@pytest.mark.parametrize(
    ("wires", "delay", "recurrent"),
    [("dense", "none", False), ("dense", "source", False), ("dense", "synapse", False), ("dense", "none", True),
     ("sparse", "none", False), ("sparse", "synapse", True), ("conv", "source", False)])
def test_gradients_are_those_of_central_differences(kind: str, wires: str, delay: str, recurrent: bool) -> None:
    rng = np.random.default_rng(11)
    graph = make(kind, rng, wires, delay, recurrent, bias=kind == "Theta" and wires != "sparse")
    check_differences(Problem(graph, stimulus(rng, 12 if wires == "conv" else 6)))


@pytest.mark.parametrize("last", ["LI", "LIF", "QIF"])
def test_mixed_networks(last: str) -> None:
    rng = np.random.default_rng(3)
    check_differences(Problem(make("Theta", rng, last=last), stimulus(rng, 6)))
