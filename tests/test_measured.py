"""Chip in the loop: exact gradients of the nominal model at spikes that an outside program measured."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from engine_nets import DURATION, make, stimulus
from torch import Tensor

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError
from spikec.ir.events import Events
from spikec.ir.graph import Graph
from spikec.ir.network import Network
from spikec.runtime.engine import Engine
from spikec.runtime.measured import MeasuredModule

pytestmark = pytest.mark.usefixtures("one_thread")
Measured = Mapping[str, Events]


def event_engine(network: Network, events: Measured, duration: float) -> Measured:
    """The event engine as the outside program."""
    result = Engine(network).run(dict(events), duration)
    return {name: result.spikes[name] for name, each in network.populations.items() if each.spiking}


def measured(graph: Graph, forward: Any = event_engine, guard: float = 1e-6, **options: Any) -> MeasuredModule:
    return MeasuredModule(graph, spikec.compile(graph).network, forward, torch.float64, guard=guard, **options)


def every_loss(out: Any, graph: Graph, seed: int = 0) -> Tensor:
    """All that outputs offer, with fixed random weights: of spiking nodes times, first times and membranes, of readouts
    maxima and integrals."""
    rng = torch.Generator().manual_seed(seed)

    def weighted(value: Tensor) -> Tensor:
        weight = torch.randn(value.shape, generator=rng, dtype=torch.float64)
        return (weight * torch.where(torch.isfinite(value), value, 0)).sum()

    total = torch.zeros((), dtype=torch.float64)
    for name, node in graph.nodes.items():
        if isinstance(node, ir.SPIKING):
            total = total + 20 * weighted(out.spike_times(name, 12)) + 10 * weighted(out.first_spike(name))
            total = total + 0.3 * weighted(out.voltage(name, [0.2 * DURATION, 0.5 * DURATION]))
        elif isinstance(node, ir.READOUTS):
            total = total + weighted(out.voltage_max(name)) + 30 * weighted(out.voltage_integral(name))
            total = total + 30 * weighted(out.voltage_integral(name, decay=0.03))
    return total


def gradients(module: torch.nn.Module, graph: Graph, events: Events,
              loss: Callable[[Any, Graph], Tensor] = every_loss) -> tuple[dict[str, Tensor], Any]:
    """Of the loss, by every parameter and input time; and the outputs."""
    for parameter in module.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None
    times = torch.tensor(events.times, requires_grad=True)
    out = module(Events(times, events.indices, events.offsets), duration=DURATION)
    loss(out, graph).backward()
    found = {name: each.grad for name, each in module.named_parameters() if each.grad is not None}
    assert times.grad is not None
    return {**found, "times": times.grad}, out


def distance(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """Largest deviation, in units of the largest gradient of the same parameter."""
    assert found.keys() == wanted.keys()
    return max(float((found[name] - wanted[name]).abs().max() / (wanted[name].abs().max() + 1e-6)) for name in wanted)


NETS: dict[str, dict[str, Any]] = {
    "feedforward": {},
    "recurrent": {"recurrent": True},
    "delays": {"delay": "synapse", "recurrent": True},
    "delays of inputs": {"delay": "source"},
    "sparse": {"wires": "sparse", "delay": "synapse", "recurrent": True},
    "convolution": {"wires": "conv", "recurrent": True},
    "readout": {"readout": True, "recurrent": True},
    "refractory": {"refractory": 2e-3, "recurrent": True, "readout": True},
    "sparse refractory": {"refractory": 2e-3, "wires": "sparse", "delay": "source"},
    "subtracting": {"reset": "subtract", "readout": True},
    "boxes": {"box": True, "recurrent": True, "readout": True},
    "started above": {"v0": 1.6, "readout": True},
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("net", NETS)
def test_spikes_of_the_event_engine_give_the_gradients_of_its_module(net: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(net)])
    graph = make("CubaLIF", rng, **NETS[net])
    events = stimulus(12 if net == "convolution" else 6, rng)
    wanted, plain = gradients(spikec.compile(graph).module(dtype=torch.float64), graph, events)
    found, out = gradients(measured(graph), graph, events)
    assert distance(found, wanted) < 1e-9
    assert out.total_spikes("hidden") == plain.total_spikes("hidden") > 10
    assert torch.equal(out.events("hidden").times, plain.events("hidden").times)
    assert torch.equal(out.spike_count("hidden"), plain.spike_count("hidden"))


@pytest.mark.parametrize("wires", ["dense", "conv"])
@pytest.mark.parametrize("kind", ["LIF", "IF"])
@pytest.mark.parametrize("reset", ["v_reset", "subtract"])
def test_spikes_that_sit_on_inputs_are_told_from_crossings(kind: str, reset: str, wires: str) -> None:
    """Delta synapses with a constant current: some spikes move with their inputs, others with the current."""
    rng = np.random.default_rng(5)
    graph = make(kind, rng, wires=wires, reset=reset, delay="source", recurrent=True)
    events = stimulus(12 if wires == "conv" else 6, rng)
    with pytest.warns(spikec.SpikecWarning, match="SC411"):
        plain = spikec.compile(graph).module(dtype=torch.float64)
    with pytest.warns(spikec.SpikecWarning, match="SC411"):
        module = measured(graph)
    wanted, _ = gradients(plain, graph, events)
    assert distance(gradients(module, graph, events)[0], wanted) < 1e-9


def test_losses_on_pushes_and_counts_see_the_measured_spikes() -> None:
    rng = np.random.default_rng(2)
    graph, events = make("CubaLIF", rng), stimulus(6, rng)

    def loss(out: Any, _: Graph) -> Tensor:
        errors = (out.spike_count("last") - 2)[:, :, None]
        times = out.spike_times("last", 12)
        pushed = (out.push("hidden") * torch.arange(5)).sum() + out.push("last").sum()
        return 10 * (errors * torch.where(torch.isfinite(times), times, 0)).sum() + pushed

    wanted, _ = gradients(spikec.compile(graph).module(dtype=torch.float64), graph, events, loss)
    assert distance(gradients(measured(graph), graph, events, loss)[0], wanted) < 1e-9


def on_a_grid(dt: float) -> Callable[..., Measured]:
    """The event engine whose spikes are rounded up to columns."""

    def forward(network: Network, events: Measured, duration: float) -> Measured:
        found = {}
        for name, each in event_engine(network, events, duration).items():
            late = np.minimum(np.ceil(each.times / dt) * dt, duration)
            pieces = [(late[a:b], each.indices[a:b]) for a, b in zip(each.offsets, each.offsets[1:], strict=False)]
            found[name] = Events.from_samples(pieces)
        return found

    return forward


@pytest.mark.parametrize("net", ["feedforward", "recurrent", "delays", "readout"])
def test_on_finer_grids_gradients_come_to_the_exact_ones(net: str) -> None:
    rng = np.random.default_rng(7)
    graph, events = make("CubaLIF", rng, **NETS[net]), stimulus(6, rng)
    wanted, _ = gradients(spikec.compile(graph).module(dtype=torch.float64), graph, events)
    far = [distance(gradients(measured(graph, on_a_grid(dt)), graph, events)[0], wanted) for dt in (1e-6, 1e-8, 1e-10)]
    assert far[0] > far[1] > far[2]
    assert far[2] < 1e-5
    assert far[0] / far[2] > 1e3  # first order: 10,000 times finer is about as many times nearer


def altered(change: Callable[[np.random.Generator, Any, Any, int, float], tuple[Any, Any]]) -> Callable[..., Measured]:
    def forward(network: Network, events: Measured, duration: float) -> Measured:
        rng = np.random.default_rng(0)
        return {name: Events.from_samples([change(rng, *each.sample(number), network.size(name), duration)
                                           for number in range(each.batch)])
                for name, each in event_engine(network, events, duration).items()}

    return forward


CHANGES: dict[str, Callable[..., tuple[Any, Any]]] = {
    "silent": lambda rng, times, indices, n, end: (times[:0], indices[:0]),
    "missing": lambda rng, times, indices, n, end: (times[::2], indices[::2]),
    "surplus": lambda rng, times, indices, n, end: (
        np.append(times, [*rng.uniform(0, end, 9), 0.0, 0.0, end]), np.append(indices, rng.integers(0, n, 12))),
    "others": lambda rng, times, indices, n, end: (rng.uniform(0, end, 30), rng.integers(0, n, 30)),
    "twice at one instant": lambda rng, times, indices, n, end: (np.repeat(times, 2), np.repeat(indices, 2)),
    "together": lambda rng, times, indices, n, end: (np.full(n, end / 2), np.arange(n)),
}


@pytest.mark.parametrize("net", ["feedforward", "recurrent", "refractory", "sparse refractory", "boxes", "convolution"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_chip_of_its_own_mind_gives_finite_gradients(net: str, change: str) -> None:
    rng = np.random.default_rng(11)
    graph = make("CubaLIF", rng, **NETS[net])
    events = stimulus(12 if net == "convolution" else 6, rng)
    found, out = gradients(measured(graph, altered(CHANGES[change]), guard=0.1), graph, events)
    assert all(bool(torch.isfinite(each).all()) for each in found.values())
    # a recurrent network whose spikes are made up has no reason not to be chaotic
    assert max(float(each.abs().max()) for each in found.values()) < (1e13 if change == "others" else 1e8)
    if change == "silent":
        assert out.total_spikes("hidden") == out.grazing == 0
    if change == "others":
        assert out.grazing > 0


def test_the_guard_bounds_what_a_spike_below_threshold_passes_on() -> None:
    """One input, one spike where the nominal membrane is on its way down: dt/dw = -k(t - s) / slope, slope guarded."""
    graph = Graph({"in": ir.Input(shape=(1,)), "fc": ir.Linear(weight=np.array([[1.0]])),
                   "cell": ir.CubaLIF(shape=(1,), tau_mem=2.0, tau_syn=1.0, w_in=1.0, v_threshold=1.0),
                   "out": ir.Output(shape=(1,))}, (("in", "fc"), ("fc", "cell"), ("cell", "out")))
    events, duration, late = Events.from_samples([([0.0], [0])]), 10.0, 4.0
    spike = Events.from_samples([([late], [0])])
    for guard in (0.1, 0.5, 1.0):
        module = measured(graph, lambda *_: {"cell": spike}, guard)
        out = module(events, duration=duration)
        out.first_spike("cell").sum().backward()
        kernel, drive = np.exp(-late / 2) - np.exp(-late), np.exp(-late) / 2
        assert drive < 1.0 / 2.0  # at its threshold the membrane falls
        slope = max(guard * drive, guard * 0.5, guard / duration)
        assert out.grazing == 1
        assert np.isclose(module.get_parameter("fc.weight").grad.item(), -kernel / slope, rtol=1e-12)


def test_an_input_of_the_same_instant_comes_before_the_spike() -> None:
    """On a chip's grid the input that makes a neuron fire has the time of the spike: its current counts in dV/dt."""
    graph = Graph({"in": ir.Input(shape=(2,)), "fc": ir.Linear(weight=np.array([[1.0, 3.0]])),
                   "cell": ir.CubaLIF(shape=(1,), tau_mem=2.0, tau_syn=1.0, w_in=1.0, v_threshold=1.0),
                   "out": ir.Output(shape=(1,))}, (("in", "fc"), ("fc", "cell"), ("cell", "out")))
    events = Events.from_samples([([0.0, 1.0], [0, 1])])
    module = measured(graph, lambda *_: {"cell": Events.from_samples([([1.0], [0])])}, 0.01)
    module(events, duration=2.0).first_spike("cell").sum().backward()
    kernel, slope = np.exp(-0.5) - np.exp(-1.0), (np.exp(-1.0) + 3.0 - 1.0) / 2
    found = module.get_parameter("fc.weight").grad.numpy()
    assert np.allclose(found, [[-kernel / slope, 0.0]], rtol=1e-12)


def test_inputs_may_be_seen_later_than_they_were_sent() -> None:
    """Gradients are those at the times at which they were seen, and pass to the times at which they were sent."""
    rng = np.random.default_rng(3)
    graph, events = make("CubaLIF", rng, recurrent=True), stimulus(6, rng)
    late = Events(events.times + 1e-3, events.indices, events.offsets)

    def forward(network: Network, given: Measured, duration: float) -> Measured:
        seen = {"in": Events(given["in"].times + 1e-3, given["in"].indices, given["in"].offsets)}
        return {**event_engine(network, seen, duration), **seen}

    wanted, _ = gradients(spikec.compile(graph).module(dtype=torch.float64), graph, late)
    assert distance(gradients(measured(graph, forward), graph, events)[0], wanted) < 1e-9
    fewer = events.take(np.arange(2), np.arange(len(events)) > 0)
    with pytest.raises(BadInputError, match="in the same order"):
        measured(graph, lambda *whole: {**event_engine(*whole), "in": fewer})(events, duration=DURATION)


BAD: dict[str, tuple[Any, str]] = {
    "not a number": (Events(np.array([0.01, np.nan]), np.array([0, 1]), np.array([0, 1, 2])), "SC485"),
    "unsorted": (Events(np.array([0.02, 0.01]), np.array([0, 1]), np.array([0, 2, 2])), "SC485"),
    "negative": (Events(np.array([-0.01]), np.array([0]), np.array([0, 1, 1])), "SC485"),
    "index": (Events(np.array([0.01]), np.array([5]), np.array([0, 1, 1])), "SC485"),
    "late": (Events(np.array([DURATION * 1.01]), np.array([0]), np.array([0, 1, 1])), "SC485"),
    "offsets": (Events(np.array([0.01]), np.array([0]), np.array([0, 3, 1])), "SC485"),
    "batch": (Events(np.array([0.01]), np.array([0]), np.array([0, 1])), "SC486"),
    "raster": (np.zeros((2, 5, 5)), "SC486"),
}


@pytest.mark.parametrize("fault", BAD)
def test_malformed_spikes_are_named(fault: str) -> None:
    rng = np.random.default_rng(0)
    graph, events = make("CubaLIF", rng), stimulus(6, rng)
    given, code = BAD[fault]
    module = measured(graph, lambda *whole: {**event_engine(*whole), "hidden": given})
    with pytest.raises(BadInputError) as error:
        module(events, duration=DURATION)
    assert [each.code for each in error.value.diagnostics] == [code]
    assert error.value.diagnostics[0].node == "hidden"


def test_an_answer_without_a_population_or_of_no_kind_is_refused() -> None:
    rng = np.random.default_rng(0)
    graph, events = make("CubaLIF", rng), stimulus(6, rng)
    for answer in ({}, None):
        with pytest.raises(BadInputError, match="SC486"):
            measured(graph, lambda *_, kept=answer: kept)(events, duration=DURATION)
    for wrong in ({"guard": 0.0}, {"guard": float("nan")}, {"forward": "chip"}):
        with pytest.raises(BadInputError, match="SC487"):
            measured(graph, **wrong)
    with pytest.raises(BadInputError, match="SC403"):
        measured(graph)(events, duration=DURATION, state=spikec.compile(graph).run(events, duration=DURATION).state)


def test_the_outside_program_sees_the_parameters_of_now() -> None:
    rng = np.random.default_rng(0)
    graph, events = make("CubaLIF", rng), stimulus(6, rng)
    seen: list[np.ndarray[Any, Any]] = []

    def forward(network: Network, *rest: Any) -> Measured:
        seen.append(np.asarray(network.projections[0].connection.weight))
        return event_engine(network, *rest)

    module = measured(graph, forward)
    twin = copy.deepcopy(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        every_loss(module(events, duration=DURATION), graph).backward()
        optimizer.step()
    twin(events, duration=DURATION)
    assert np.array_equal(seen[0], graph.nodes["fc"].weight)
    assert not np.array_equal(seen[1], seen[0])
    assert np.array_equal(seen[2], seen[0])
    assert not np.array_equal(module.to_graph().nodes["fc"].weight, graph.nodes["fc"].weight)
    assert module.state_dict().keys() == spikec.compile(graph).module().state_dict().keys()


def test_it_comes_back_from_a_pickle_of_another_process() -> None:
    rng = np.random.default_rng(0)
    graph, events = make("CubaLIF", rng), stimulus(6, rng)
    module = measured(graph)
    again = pickle.loads(pickle.dumps(module))  # as workers get it
    wanted, _ = gradients(module, graph, events)
    assert distance(gradients(again, graph, events)[0], wanted) == 0.0
