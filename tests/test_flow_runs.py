"""Runs of neurons that are stated by equations, through the whole engine: against the linear kinds, against the exact
reference, in pieces, on several threads; what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_flow_engine import DURATION, Problem, check_differences, make, stimulus

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, SpikecError, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.ir.graph import Graph
from spikec.ir.network import Network
from spikec.runtime.engine import Engine
from spikec.runtime.threads import get_threads, set_threads

SHORT = 0.08
CUBA = "dv/dt = (i - v)/tau_mem (unless refractory)\ndi/dt = -i/tau_syn"
LIF = "dv/dt = (drive - v)/tau_mem (unless refractory)"


def chain(neuron: ir.Node, weight: Any, back: Any = None, delay: Any = None, wires: str = "dense") -> Graph:
    """in -> neuron -> out, with a recurrence of weights `back`."""
    weight = np.asarray(weight, dtype=np.float64)

    def wired(weight: Any, delay: Any = None) -> ir.Node:
        if wires == "dense":
            return ir.Linear(weight=weight, delay=delay)
        kept = np.ones(weight.shape, dtype=bool)
        kept[0, -1] = False
        return ir.SparseLinear(size=weight.shape, indptr=np.concatenate([[0], np.cumsum(kept.sum(1))]),
                               indices=np.nonzero(kept)[1], weight=weight[kept],
                               delay=None if delay is None else delay[kept])

    nodes: dict[str, ir.Node] = {"in": ir.Input(shape=(weight.shape[1],)), "fc": wired(weight), "q": neuron,
                                 "out": ir.Output(shape=(len(weight),))}
    edges = [("in", "fc"), ("fc", "q"), ("q", "out")]
    if back is not None:
        nodes["back"] = wired(back, delay)
        edges += [("q", "back"), ("back", "q")]
    return Graph(nodes=nodes, edges=edges)


def cuba(equations: bool, refractory: float) -> ir.Node:
    """The same neurons as a linear kind and as a text."""
    if not equations:
        return ir.CubaLIF(shape=(5,), tau_mem=0.02, tau_syn=0.008, r=1.0, v_leak=0.0, w_in=0.05, v_threshold=0.5,
                          v_reset=0.1, refractory=refractory, reset="v_reset")
    return ir.Equations(
        shape=(5,), equations=CUBA, threshold="v > theta", reset="v = v_reset", receive="i += k*w",
        refractory=refractory,
        values={"tau_mem": 0.02, "tau_syn": 0.008, "theta": 0.5, "v_reset": 0.1, "k": 0.05 / 0.008})


def short_stimulus(seed: int, events: int = 40) -> Events:
    rng = np.random.default_rng(seed)
    times = np.concatenate([np.sort(rng.uniform(0, 0.06, events)) for _ in range(2)])
    return Events(times, rng.integers(0, 6, 2 * events), np.array([0, events, 2 * events]))


@pytest.mark.parametrize("refractory", [0.0, 0.003])
@pytest.mark.parametrize(("recurrent", "wires"), [(False, "dense"), (True, "dense"), (True, "sparse")])
def test_a_text_of_cuba_lif_is_cuba_lif(recurrent: bool, wires: str, refractory: float) -> None:
    """Spikes, voltages and all gradients are those of the loop of linear neurons."""
    rng = np.random.default_rng(1)
    weight = rng.uniform(-0.2, 1.0, (5, 6)) * 0.5
    back, delay = (weight[:, :5] * 0.15, rng.uniform(1e-3, 3e-3, (5, 5))) if recurrent else (None, None)
    events, found = short_stimulus(2), []
    for equations in (False, True):
        graph = chain(cuba(equations, refractory), weight, back, delay, wires)
        module = spikec.compile(graph).module(dtype=torch.float64)
        for name, each in module.named_parameters():
            each.requires_grad_("delay" in name or "weight" in name)
        times = torch.tensor(events.times, requires_grad=True)
        out = module(Events(times, events.indices, events.offsets), duration=SHORT)
        spikes = out.events("q")
        loss = (spikes.times * torch.linspace(1, 2, len(spikes.times))).sum()
        (loss + out.voltage("q", [0.0, 0.01, 0.05]).sum()).backward()
        found.append((spikes.times.detach(), spikes.indices, times.grad,
                      *(each.grad for each in module.parameters() if each.requires_grad)))
    assert len(found[0][0]) > 30
    for linear, text in zip(*found, strict=True):
        torch.testing.assert_close(text, linear, rtol=1e-9, atol=1e-10)


def test_spikes_that_impulses_trigger_are_those_of_lif() -> None:
    """A delta synapse lifts the membrane over its threshold: spikes sit on inputs, and so do their gradients."""
    rng = np.random.default_rng(4)
    weight, back, delay = rng.uniform(0.1, 0.5, (5, 6)), rng.uniform(-0.1, 0.3, (5, 5)), np.full((5, 5), 2e-3)
    events, found = short_stimulus(6), []
    for node in (
        ir.LIF(shape=(5,), tau=0.02, r=0.02, v_leak=0.0, v_threshold=0.5, v_reset=0.0, refractory=1e-3, v0=0.1),
        ir.Equations(shape=(5,), equations=LIF, threshold="v > theta", reset="v = 0", receive="v += w", refractory=1e-3,
                     values={"tau_mem": 0.02, "theta": 0.5, "drive": 0.0, "v0": 0.1}),
    ):
        engine = Engine(spikec.compile(chain(node, weight, back, delay)).network)
        times = torch.tensor(events.times, requires_grad=True)
        inputs = engine.inputs(Events(times, events.indices, events.offsets))
        spikes = engine.evaluate(engine.constants(torch.float64), inputs, SHORT).spikes["q"]
        (spikes.times * torch.linspace(1, 2, len(spikes.times))).sum().backward()
        found.append((spikes.times.detach(), spikes.indices, times.grad))
    assert len(found[0][0]) > 30
    for linear, text in zip(*found, strict=True):
        torch.testing.assert_close(text, linear, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", ["QIF", "Theta"])
def test_the_exact_reference(kind: str) -> None:
    rng = np.random.default_rng(21)
    graph, events = make(kind, rng, recurrent=True, delay="source"), stimulus(rng, 6)
    found = spikec.compile(graph).run(events, duration=DURATION, probes={"hidden.v": [0.5, 1.7]})
    meant = simulate_exact(graph, events, DURATION, probes={"hidden.v": [0.5, 1.7]})
    for name in ("hidden", "last"):
        np.testing.assert_array_equal(found.spikes[name].indices, meant.spikes[name].indices)
        np.testing.assert_allclose(found.spikes[name].times, meant.spikes[name].times, rtol=0, atol=1e-8)
    np.testing.assert_allclose(np.arctan(found.probes["hidden.v"]), np.arctan(meant.probes["hidden.v"]), atol=1e-7)
    assert len(found.spikes["hidden"].times) >= 5


@pytest.mark.parametrize("kind", ["QIF", "Theta", "Equations"])
def test_a_stream_in_pieces_is_one_long_run(kind: str) -> None:
    rng = np.random.default_rng(8)
    if kind == "Equations":
        weight = rng.uniform(-0.2, 1.0, (5, 6)) * 0.5
        graph = chain(cuba(True, 0.004), weight, weight[:, :5] * 0.4, rng.uniform(1e-3, 3e-3, (5, 5)))
        events, duration, name = short_stimulus(3), SHORT, "q"
    else:
        graph, events = make(kind, rng, delay="synapse", recurrent=True), stimulus(rng, 6)
        duration, name = DURATION, "hidden"
    program = spikec.compile(graph)
    whole = program.run(events, duration=duration).spikes[name]
    pieces: list[list[np.ndarray[Any, Any]]] = [[], []]
    indices: list[list[np.ndarray[Any, Any]]] = [[], []]
    state, begin = None, 0.0
    for end in (0.3 * duration, 0.55 * duration, duration):
        part = _between(events, begin, end)
        result = program.run(part, duration=end - begin, state=state)
        state, spikes = result.state, result.spikes[name]
        for sample in range(2):
            rows = slice(int(spikes.offsets[sample]), int(spikes.offsets[sample + 1]))
            pieces[sample].append(spikes.times[rows] + begin)
            indices[sample].append(spikes.indices[rows])
        begin = end
    joined = np.concatenate([np.concatenate(each) for each in pieces])
    assert len(joined) == len(whole.times) > 2
    np.testing.assert_array_equal(np.concatenate([np.concatenate(each) for each in indices]), whole.indices)
    np.testing.assert_allclose(joined, whole.times, rtol=0, atol=1e-9)


def _between(events: Events, begin: float, end: float) -> Events:
    """The events after `begin`, up to `end`, counted from `begin`."""
    times, rows, offsets = [], [], [0]
    for sample in range(len(events.offsets) - 1):
        part = slice(int(events.offsets[sample]), int(events.offsets[sample + 1]))
        here = (events.times[part] > begin) & (events.times[part] <= end)
        times.append(events.times[part][here] - begin)
        rows.append(events.indices[part][here])
        offsets.append(offsets[-1] + int(here.sum()))
    return Events(np.concatenate(times), np.concatenate(rows), np.array(offsets))


@pytest.mark.parametrize("kind", ["QIF", "Theta"])
def test_any_number_of_threads_gives_the_same_bits(kind: str) -> None:
    rng = np.random.default_rng(9)
    graph, events = make(kind, rng, recurrent=True, n=20), stimulus(rng, 6, batch=7)
    before, found = get_threads(), []
    for threads in (1, 3):
        set_threads(threads)
        try:
            problem = Problem(graph, events)
            gradients, _ = problem.gradients()
            found.append([problem.loss()[0].detach(), *gradients.values()])
        finally:
            set_threads(before)
    for one, three in zip(*found, strict=True):
        assert torch.equal(one, three)


@pytest.mark.parametrize("kind", ["QIF", "Theta"])
def test_inputs_of_one_instant_are_taken_as_listed(kind: str) -> None:
    """Their sum arrives at once. Their times have gradients of their own: an input that comes a little later than the
    others is the last of them, and all together move the spikes by as much as all together are moved."""
    rng = np.random.default_rng(12)
    graph = make(kind, rng)
    times = np.array([0.0, 0.4, 0.4, 0.4, 0.9])
    events = Events(times, np.array([0, 1, 2, 3, 4]), np.array([0, 5]))
    problem = Problem(graph, events)
    found, counts = problem.gradients()

    def loss(shift: np.ndarray[Any, Any]) -> float:
        with torch.no_grad():
            problem.times.data = torch.tensor(times + shift)
            value, here = problem.loss()
        assert here == counts
        return float(value)

    step = 1e-6
    last, together = np.array([0, 0, 0, 1, 0.0]), np.array([0, 1, 1, 1, 0.0])
    later = (loss(2 * step * last) - loss(0 * last)) / (2 * step)
    assert found["times"][3].item() == pytest.approx(later, rel=1e-3)  # one-sided: of first order
    both = (loss(step * together) - loss(-step * together)) / (2 * step)
    assert found["times"][1:4].sum().item() == pytest.approx(both, rel=1e-6, abs=1e-7)


def test_gradients_of_equations() -> None:
    """A neuron that is no linear one, recurrent: the Izhikevich neuron in seconds and its own units."""
    rng = np.random.default_rng(14)
    text = "dv/dt = (0.04*v**2 + 5*v + 140 - u + i)/t0\ndu/dt = a*(b*v - u)/t0\ndi/dt = -i/tau"
    node = ir.Equations(shape=(3,), equations=text, threshold="v > peak", reset="v = c; u += d", receive="i += w",
                        values={"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0, "t0": 1e-3, "tau": 5e-3, "peak": 30.0,
                                "v0": -70.0, "u0": -14.0})
    graph = chain(node, rng.uniform(10, 25, (3, 6)), rng.uniform(-4, 6, (3, 3)), rng.uniform(1e-3, 2e-3, (3, 3)))
    problem = Problem(graph, short_stimulus(3, 12), SHORT)
    check_differences(problem, relative=1e-6, tolerance=5e-6, most=3)


def test_divergence_names_the_neuron() -> None:
    node = ir.Equations(shape=(3,), equations="dv/dt = v**2/t0", threshold="v > 1e15", reset="v = 0", receive="v += w",
                        values={"t0": 1.0})
    graph = chain(node, np.array([[0.0], [2.0], [0.0]]))
    with pytest.raises(BadInputError) as refusal:
        spikec.compile(graph).run(Events(np.array([0.1]), np.array([0]), np.array([0, 1])), duration=3.0)
    (found,) = refusal.value.diagnostics
    assert (found.code, found.node, found.value) == ("SC441", "q", "neuron 1, sample 0, t = 0.6 s")


def refused(network: Network, code: str) -> None:
    with pytest.raises(SpikecError) as refusal:
        Engine(network)
    assert {found.code for found in refusal.value.diagnostics} == {code}


def test_what_no_kernel_runs_is_refused() -> None:
    rng = np.random.default_rng(2)
    network = spikec.compile(make("Theta", rng, last="QIF")).network
    one = ("hidden", "last")
    refused(replace(network, schedule=(one,)), "SC440")  # as if they were in one cycle
    mixed = spikec.compile(make("Theta", rng, last="LIF")).network
    refused(replace(mixed, schedule=(one,)), "SC440")
    box = spikec.Discretization(dt=1e-3, spike="box")
    refused(replace(network, discretization=box), "SC444")


def test_a_network_that_fires_by_itself_needs_a_duration() -> None:
    rng = np.random.default_rng(2)
    events = stimulus(rng, 6)
    with pytest.raises(BadInputError, match="SC402"):
        spikec.compile(make("Theta", rng)).run(events)
    graph = make("QIF", rng)
    silent = spikec.compile(graph).run(events)
    long = spikec.compile(graph).run(events, duration=200.0)
    np.testing.assert_array_equal(silent.spikes["last"].times, long.spikes["last"].times)
    running = graph.with_nodes({"hidden": replace(graph.nodes["hidden"], v0=np.full(4, 1.1))})
    with pytest.raises(BadInputError, match="SC402"):
        spikec.compile(running).run(events)


def test_questions_that_have_no_answer() -> None:
    rng = np.random.default_rng(2)
    out = spikec.compile(make("Theta", rng, last="LI")).module()(stimulus(rng, 6), duration=1.0)
    for ask, code in ((lambda: out.voltage_max("hidden"), "SC409"), (lambda: out.end("last"), "SC409"),
                      (lambda: out.push("hidden"), "SC404")):
        with pytest.raises(BadInputError, match=code):
            ask()


def test_a_theta_neuron_that_stops_is_told() -> None:
    rng = np.random.default_rng(2)
    module = spikec.compile(make("Theta", rng)).module()
    module.get_parameter("hidden.i0").data.fill_(0.2)
    with pytest.raises(BadInputError, match="SC155"):
        module(stimulus(rng, 6), duration=1.0)


def test_they_stay_on_the_cpu() -> None:
    engine = Engine(spikec.compile(make("Theta", np.random.default_rng(2))).network)
    with pytest.raises(UnsupportedError, match="SC443"):
        engine._check_device(torch.device("cuda"))


def test_runaway_activity_is_cut_off_and_told() -> None:
    """An excitation without delay that feeds itself."""
    node = ir.Theta(shape=(2,), tau=1.0)
    engine = Engine(spikec.compile(chain(node, np.eye(2), np.array([[0.0, 1e6], [1e6, 0.0]]),
                                         np.full((2, 2), 1e-7))).network)
    kernel: Any = engine.stages[0].kernel
    kernel.limit = 50
    with pytest.warns(spikec.SpikecWarning, match="SC408"):
        result = engine.run(Events(np.array([0.0]), np.array([0]), np.array([0, 1])), duration=10.0)
    assert result.truncated
    assert len(result.spikes["q"].times) == 50
