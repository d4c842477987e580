"""The clock engine against the discretised reference, against torch's own autograd, and against itself."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import DURATION, graphs
from test_step_form import all_terms, graph_of, neuron

import spikec
from spikec import BadInputError, Discretization, Events, Graph, UnsupportedError, errors
from spikec.ir import nodes as ir
from spikec.ir.step import simulate_step
from spikec.ir.step_form import step_form
from spikec.runtime.clock.surrogates import SURROGATES
from spikec.runtime.clock.units import bias_units

DT = 1e-3
FLOAT64 = torch.float64


def compared(graph: Graph, raster: Any, atol: float = 1e-10) -> int:
    """Holds a run on `clock` to the reference; gives the number of spikes."""
    reference = simulate_step(graph, raster)
    program = spikec.compile(graph, target="clock")
    result = program.run(raster, probes={f"{name}.v": None for name in reference.voltage})
    for name, voltage in reference.voltage.items():
        shown = result.probes[f"{name}.v"]
        np.testing.assert_allclose(shown, voltage.reshape(shown.shape), atol=atol * max(1.0, np.abs(voltage).max()))
    total = 0
    for name, spikes in reference.spikes.items():
        batch, columns = spikes.shape[:2]
        flat = spikes.reshape(batch, columns, -1)
        sample, column, index = np.nonzero(flat)
        repeats = flat[sample, column, index].astype(int)
        expected = Events((np.repeat(column, repeats) + 1) * graph.discretization.dt, np.repeat(index, repeats),
                          np.searchsorted(np.repeat(sample, repeats), np.arange(batch + 1)))
        np.testing.assert_array_equal(result.spikes[name].indices, expected.indices)
        np.testing.assert_array_equal(result.spikes[name].offsets, expected.offsets)
        np.testing.assert_allclose(result.spikes[name].times, expected.times, rtol=1e-12)
        total += int(spikes.sum())
    return total


CASES = [
    ("CubaLIF", Discretization(DT), "zero", 3e-3, None),
    ("CubaLIF", Discretization(DT, integrator="semi", spike="box"), "v_reset", 0.0, None),
    ("CubaLIF", Discretization(DT, integrator="exact", spike="box", reset="next"), "subtract", 2e-3, None),
    ("LIF", Discretization(DT, integrator="decay", reset="next"), "subtract", 0.0, None),
    ("LIF", Discretization(DT, integrator="decay", reset="next"), "zero", 2e-3, -0.3),
    ("LIF", Discretization(DT, integrator="euler", fires="at"), "subtract", 0.0, -0.2),
    ("IF", Discretization(DT, spikes="many"), "subtract", 0.0, -0.5),
    ("CubaLI", Discretization(DT, integrator="euler"), "", 0.0, None),
    ("I", Discretization(DT, spike="box"), "", 0.0, None),
]


@pytest.mark.parametrize(("kind", "grid", "reset", "refractory", "v_min"), CASES, ids=str)
def test_kinds_and_grids(kind: str, grid: Discretization, reset: str, refractory: float, v_min: float | None) -> None:
    rng = np.random.default_rng(5)
    node = neuron(kind, rng, reset, refractory, v_min)
    scale = 1.0 if "Cuba" in kind else 0.4 if kind in ("I", "IF") else 5e-3
    scale = scale / (DT if grid.spike == "box" else 1.0)
    graph = graph_of(node, grid, rng.normal(0.3, 1.0, (6, 4)) * scale, rng.normal(0, 0.2, 6))
    assert compared(graph, (rng.random((3, 50, 4)) < 0.3) * 1.0) > 10 or not kind.endswith("F")


FIRST = {"a": [[0.9]], "b": [1.0], "late_c": [-0.5], "late_after": [0.5], "spike_c": [-0.5]}
"""What snnTorch does at a threshold of 0.5 where a reset is in the step of the spike."""
STATED: dict[str, Any] = {
    "all terms": lambda rng, late: all_terms(rng, late),
    "given back": lambda rng, late: FIRST | {"late": late},
    "given back, a state more": lambda rng, late: {
        "a": [[0.9, 0.8], [0.0, 0.8]], "b": [1.0, 1.0], "late_c": [-0.5, 0.0], "late_after": [0.5, 0.2],
        "spike_c": [-0.5, 0.0], "late": late},
    "after the test alone": lambda rng, late: {"a": [[0.7]], "b": [1.0], "late_after": [-0.3], "late": late},
}


def stated(fields: str, late: str, grid: Discretization, threshold: float, recurrent: bool = False) -> Graph:
    """Neurons that are stated on the grid, behind weights, some of which begin above their thresholds."""
    rng = np.random.default_rng(8)
    given = STATED[fields](rng, late)
    if grid.spikes == "many":
        given.pop("threshold_gain", None)
    node = ir.StepNeuron(shape=(6,), v_threshold=threshold, v0=np.linspace(-0.5, 2.0, 6), v_min=-0.8, **given)
    graph = graph_of(node, grid, rng.normal(0.4, 1.2, (6, 4)), rng.normal(0, 0.2, 6))
    return graph if not recurrent else graph.with_nodes({"rec": ir.Linear(weight=rng.normal(0, 0.4, (6, 6)))}).replace(
        edges=(*graph.edges, ("n", "rec"), ("rec", "n")))


@pytest.mark.parametrize("fields", STATED)
@pytest.mark.parametrize("late", ["fired", "above"])
def test_what_neurons_do_late(fields: str, late: str) -> None:
    """Against the reference, over the whole and as a stream of two parts."""
    raster = (np.random.default_rng(1).random((3, 60, 4)) < 0.4) * 1.0
    for grid, threshold, recurrent in (
            (Discretization(DT), 0.5, True), (Discretization(DT), -0.25, True),
            (Discretization(DT, fires="at"), 0.5, True), (Discretization(DT, spikes="many"), 0.5, False)):
        graph = stated(fields, late, grid, threshold, recurrent)
        assert compared(graph, raster) > 10
        program = spikec.compile(graph, target="clock")
        whole = program.run(raster, probes={"n.v": None})
        one = program.run(raster[:, :23], probes={"n.v": None})
        two = program.run(raster[:, 23:], probes={"n.v": None}, state=one.state)
        parts = np.concatenate([one.probes["n.v"], two.probes["n.v"]], 1)
        np.testing.assert_array_equal(parts, whole.probes["n.v"])


def test_a_readout_is_never_late() -> None:
    node = ir.StepNeuron(shape=(6,), a=[[0.9]], b=[1.0], late_a=[[0.1]], late_b=[0.2], late_after=[3.0], late="above")
    compared(graph_of(node, Discretization(DT), np.ones((6, 4)), np.zeros(6)), np.ones((1, 5, 4)))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_random_graphs_run_as_the_reference_says(data: st.DataObject) -> None:
    grid = data.draw(st.sampled_from([
        Discretization(DT), Discretization(DT, integrator="decay", reset="next"),
        Discretization(DT, integrator="euler", spike="box", delay=2)]))
    graph = data.draw(graphs(discretization=grid))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    columns = round(DURATION / DT)
    raster = {name: (rng.random((2, columns, *graph.nodes[name].shape)) < 0.1) * 1.0 for name in graph.inputs}
    try:
        simulate_step(graph, raster)
    except UnsupportedError:
        with pytest.raises(UnsupportedError):
            spikec.compile(graph, target="clock")
        return
    compared(graph, raster)


# Gradients

class _Heaviside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Any, at: bool, slope: Any) -> Any:
        ctx.save_for_backward(u)
        ctx.slope = slope
        return ((u >= 0) if at else (u > 0)).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        (u,) = ctx.saved_tensors
        return gradient * ctx.slope(u), None, None


SLOPES = {
    "fast_sigmoid": lambda u, w: 1 / (1 + w * u.abs()) ** 2,
    "atan": lambda u, w: w / 2 / (1 + (np.pi / 2 * w * u) ** 2),
    "sigmoid": lambda u, w: w * torch.sigmoid(w * u) * (1 - torch.sigmoid(w * u)),
    "triangle": lambda u, w: w * torch.clamp(1 - w * u.abs(), min=0),
    "exponential": lambda u, w: torch.exp(-w * u.abs()),
    "box": lambda u, w: (u.abs() < w / 2).to(u.dtype) / w,
    "straight_through": lambda u, w: torch.ones_like(u),
}


def unrolled(form: Any, arrived: Any, bias: Any, own: Any, detach: bool, slope: Any) -> tuple[Any, Any]:
    """Spikes and membranes (time, batch, n) of a form, by torch operations alone, one column after the other."""
    value = lambda entry: 0.0 if entry is None else entry  # noqa: E731
    kinds = range(form.states)
    bound = lambda s: form.threshold + sum(value(form.gain[j]) * s[j] for j in kinds)  # noqa: E731
    states = [torch.zeros_like(arrived[0]) for _ in kinds]
    states[0] = states[0] + form.v0
    spikes = torch.zeros_like(arrived[0])
    if form.resets_late:
        spikes = ((states[0] > form.threshold) * 1.0).detach()
    all_spikes, all_voltage = [], []
    before = torch.zeros_like(arrived[0])
    for now in arrived:
        total = now if own is None else now + spikes @ own.t()
        x, before = (before, total) if form.lag else (total, before)
        f = spikes.detach() if detach else spikes
        if form.late_above:
            f = ((states[0] >= bound(states)) if form.at else (states[0] > bound(states))).to(states[0]).detach()
        new = [sum((value(form.a[i][j]) + f * value(form.late_a[i][j])) * states[j] for j in kinds)
               + (value(form.b[i]) + f * value(form.late_b[i])) * x
               + (value(form.d[i]) + f * value(form.late_d[i])) * bias
               + value(form.c[i]) + f * value(form.late_c[i]) for i in kinds]
        if form.threshold is not None:
            spikes = _Heaviside.apply(new[0] - bound(new), form.at, slope)
            n = spikes.detach() if detach else spikes
            if not form.resets_late:
                new = [each + n * (sum(value(form.reset_a[i][j]) * new[j] for j in kinds) + value(form.reset_c[i])
                                   + value(form.spike_c[i])) + f * value(form.late_after[i])
                       for i, each in enumerate(new)]
        if form.v_min is not None:
            new[0] = torch.maximum(new[0], torch.as_tensor(form.v_min))
        states = new
        all_spikes.append(spikes)
        all_voltage.append(new[0])
    return torch.stack(all_spikes), torch.stack(all_voltage)


GRADIENTS = [
    ("LIF", Discretization(DT, integrator="decay", reset="next"), "subtract", True, "fast_sigmoid", False),
    ("LIF", Discretization(DT, integrator="decay", reset="next"), "zero", False, "atan", False),
    ("CubaLIF", Discretization(DT, integrator="semi"), "v_reset", False, "sigmoid", True),
    ("CubaLIF", Discretization(DT), "subtract", True, "exponential", False),
    ("CubaLIF", Discretization(DT, integrator="euler", spike="box"), "zero", True, "triangle", True),
    ("IF", Discretization(DT, fires="at"), "subtract", False, "straight_through", False),
    ("LIF", Discretization(DT, integrator="exact", spike="box"), "subtract", False, "box", False),
]


@pytest.mark.parametrize(("kind", "grid", "reset", "detach", "surrogate", "recurrent"), GRADIENTS, ids=str)
def test_gradients_are_those_of_torch(kind: str, grid: Discretization, reset: str, detach: bool, surrogate: str,
                                      recurrent: bool) -> None:
    rng = np.random.default_rng(3)
    scale = (1.0 if "Cuba" in kind else 0.4 if kind == "IF" else 5e-3) / (DT if grid.spike == "box" else 1.0)
    node = neuron(kind, rng, reset, 0.0, -0.4)
    graph = graph_of(node, grid, rng.normal(0.3, 1.0, (6, 4)) * scale, rng.normal(0, 0.2, 6))
    if recurrent:
        graph = graph.with_nodes({"rec": ir.Linear(weight=rng.normal(0, 0.5, (6, 6)) * scale)}).replace(
            edges=(*graph.edges, ("n", "rec"), ("rec", "n")))
    raster = (rng.random((3, 30, 4)) < 0.3) * rng.choice([1.0, 0.7], (3, 30, 4))
    w_spikes, w_voltage = rng.normal(size=(30, 3, 6)), rng.normal(size=(30, 3, 6))
    names = [f"n.{name}" for name in ir.params(node) if name not in ("refractory",)]
    module = spikec.compile(graph, target="clock").module(
        FLOAT64, train=("weight", "bias", *names), surrogate=surrogate, detach_reset=detach)
    out = module(raster, record=("n",))
    loss = (out.spikes("n").transpose(0, 1) * torch.from_numpy(w_spikes)).sum() + (
        out.voltage("n").transpose(0, 1) * torch.from_numpy(w_voltage)).sum()
    loss.backward()

    mine = {label: torch.from_numpy(np.array(value)).requires_grad_() for label, value in
            (*((f"n.{name}", value) for name, value in ir.params(node).items()),
             *((f"fc.{name}", value) for name, value in ir.params(graph.nodes["fc"]).items()))}
    if recurrent:
        mine["rec.weight"] = torch.from_numpy(np.array(graph.nodes["rec"].weight)).requires_grad_()
    form = step_form(node, grid, {name: mine[f"n.{name}"] for name in ir.params(node)}, torch)
    arrived = torch.from_numpy(raster.swapaxes(0, 1)) @ mine["fc.weight"].t()
    spikes, voltage = unrolled(form, arrived, mine["fc.bias"], mine.get("rec.weight"), detach,
                               lambda u: SLOPES[surrogate](u, SURROGATES[surrogate]))
    assert spikes.sum() > 10
    expected = (spikes * torch.from_numpy(w_spikes)).sum() + (voltage * torch.from_numpy(w_voltage)).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    expected.backward()
    for label, tensor in mine.items():
        if label in ("n.refractory", "n.v_min"):
            continue
        got, want = module.get_parameter(label).grad, tensor.grad
        if want is None or not want.abs().sum():
            assert got is None or not got.abs().sum(), label
            continue
        assert got is not None, label
        if label == "fc.bias":  # which the module holds in units of weights
            want = want / torch.from_numpy(np.array(bias_units(graph, grid)["fc", "bias"]))
        torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-8 * float(want.abs().max()), msg=label)


@pytest.mark.parametrize("fields", STATED)
@pytest.mark.parametrize("late", ["fired", "above"])
@pytest.mark.parametrize(("trained", "detach", "recurrent"), [
    ("weights", False, True), ("all", False, False), ("all", True, True)])
def test_gradients_through_what_neurons_do_late(fields: str, late: str, trained: str, detach: bool,
                                                recurrent: bool) -> None:
    raster = (np.random.default_rng(1).random((3, 30, 4)) < 0.4) * 1.0
    w_spikes, w_voltage = np.random.default_rng(2).normal(size=(2, 30, 3, 6))
    grid = Discretization(DT, fires="at" if recurrent else "above")
    graph = stated(fields, late, grid, 0.5, recurrent)
    node = graph.nodes["n"]
    names = [f"n.{name}" for name in ir.params(node)] if trained == "all" else []
    module = spikec.compile(graph, target="clock").module(FLOAT64, train=("weight", "bias", *names),
                                                          detach_reset=detach)
    out = module(raster, record=("n",))
    loss = (out.spikes("n").transpose(0, 1) * torch.from_numpy(w_spikes)).sum() + (
        out.voltage("n").transpose(0, 1) * torch.from_numpy(w_voltage)).sum()
    loss.backward()
    mine = {f"{name}.{param}": torch.from_numpy(np.array(value)).requires_grad_()
            for name, each in graph.nodes.items() for param, value in ir.params(each).items()}
    form = step_form(node, grid, {param: mine[f"n.{param}"] for param in ir.params(node)}, torch)
    arrived = torch.from_numpy(raster.swapaxes(0, 1)) @ mine["fc.weight"].t()
    spikes, voltage = unrolled(form, arrived, mine["fc.bias"], mine.get("rec.weight"), detach,
                               lambda u: SLOPES[module.surrogate.name](u, module.surrogate.sharpness))
    assert spikes.sum() > 10
    expected = (spikes * torch.from_numpy(w_spikes)).sum() + (voltage * torch.from_numpy(w_voltage)).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    expected.backward()
    for label in ("fc.weight", "fc.bias", *names, *(["rec.weight"] if recurrent else [])):
        got, want = module.get_parameter(label).grad, mine[label].grad
        assert got is not None and want is not None, label
        torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-8 * float(want.abs().max()), msg=label)


def deep_net(rng: Any, grid: Discretization, dense: bool = False) -> Graph:
    """Conv, pool, flatten, two layers with a skip connection, a readout."""
    nodes = {
        "in": ir.Input(shape=(1, 8, 8)),
        "conv": ir.Conv2d(weight=rng.normal(0, 0.6, (3, 1, 3, 3)), bias=rng.normal(0, 0.05, 3), padding=(1, 1)),
        "a": ir.LIF(shape=(3, 8, 8), tau=9e-3, r=9e-3, reset="subtract"),
        "pool": ir.SumPool2d(kernel_size=(2, 2), stride=(2, 2)), "flat": ir.Flatten(),
        "fc1": ir.Linear(weight=rng.normal(0, 0.3, (20, 48))),
        "b": ir.LIF(shape=(20,), tau=9e-3, r=9e-3, reset="subtract"),
        "fc2": ir.Linear(weight=rng.normal(0, 0.5, (20, 20))),
        "c": ir.LIF(shape=(20,), tau=9e-3, r=9e-3, reset="subtract"),
        "fc3": ir.Affine(weight=rng.normal(0, 0.5, (5, 20)), bias=rng.normal(0, 0.1, 5)),
        "o": ir.LI(shape=(5,), tau=0.02), "out": ir.Output(shape=(5,))}
    edges = (("in", "conv"), ("conv", "a"), ("a", "pool"), ("pool", "flat"), ("flat", "fc1"), ("fc1", "b"),
             ("b", "fc2"), ("fc2", "c"), ("b", "fc3"), ("c", "fc3"), ("fc3", "o"), ("o", "out"))
    return Graph(nodes, edges, grid)


def test_gradients_through_a_network_do_not_depend_on_how_it_is_run() -> None:
    """Weights that the kernels gather themselves, and dense products where an input wants its gradient."""
    rng = np.random.default_rng(1)
    graph = deep_net(rng, Discretization(DT, integrator="decay", reset="next"))
    module = spikec.compile(graph, target="clock").module(FLOAT64)
    raster = torch.from_numpy((rng.random((4, 25, 1, 8, 8)) < 0.2) * 1.0)
    found = []
    for fed in (raster, raster.clone().requires_grad_()):
        module.zero_grad()
        out = module(fed)
        (out.voltage("out") ** 2).sum().backward()
        found.append({name: each.grad.clone() for name, each in module.named_parameters() if each.grad is not None})
    assert found[0].keys() == found[1].keys() >= {"conv.weight", "conv.bias", "fc1.weight", "fc2.weight", "fc3.bias"}
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-9, atol=1e-12)
    assert fed.grad is not None and fed.grad.abs().sum() > 0


def test_a_network_of_many_parts_runs_as_the_reference_says() -> None:
    rng = np.random.default_rng(2)
    for grid in (Discretization(DT, integrator="decay", reset="next"), Discretization(DT)):
        graph = deep_net(rng, grid)
        assert compared(graph, (rng.random((3, 30, 1, 8, 8)) < 0.2) * 1.0) > 100


def test_the_gradient_of_snntorch_is_reproduced() -> None:
    snntorch = pytest.importorskip("snntorch")
    from snntorch import surrogate, utils

    torch.manual_seed(0)
    slope = surrogate.fast_sigmoid(slope=25)
    model = torch.nn.Sequential(
        torch.nn.Linear(12, 30), snntorch.Leaky(beta=0.9, spike_grad=slope, init_hidden=True),
        torch.nn.Linear(30, 4), snntorch.Leaky(beta=0.8, spike_grad=slope, init_hidden=True),
    ).double()
    with torch.no_grad():
        model[2].weight.mul_(4.0)
    graph = spikec.from_torch(model, dt=DT)
    raster = torch.from_numpy((np.random.default_rng(0).random((5, 40, 12)) < 0.4) * 1.0)
    target = torch.randn(5, 4, dtype=FLOAT64)
    module = spikec.compile(graph, target="clock").module(FLOAT64)
    count = module(raster).spike_count("3")
    ((count - target) ** 2).sum().backward()
    utils.reset(model)
    theirs = torch.zeros(5, 4, dtype=FLOAT64)
    for step in range(40):  # snnTorch's spikes are float32, whatever its weights are
        hidden = model[1](model[0](raster[:, step])).double()
        theirs = theirs + model[3](model[2](hidden)).double()
    assert theirs.sum() > 20
    torch.testing.assert_close(count, theirs)
    ((theirs - target) ** 2).sum().backward()
    for number in (0, 2):
        layer = model[number]
        mine = module.get_parameter(f"{number}.weight").grad
        wanted = layer.weight.grad  # made of float32 gradients of spikes
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


# Streams, threads, copies, files

def test_a_stream_goes_on_as_one_long_run() -> None:
    rng = np.random.default_rng(4)
    grid = Discretization(DT, integrator="exact", spike="box")
    base = deep_net(rng, grid)
    graph = base.with_nodes({
        "fc2": ir.Linear(weight=rng.normal(50, 300.0, (20, 20)), delay=rng.choice([0.0, 2e-3, 5e-3], (20, 20))),
        "conv": ir.Conv2d(weight=rng.normal(0, 300.0, (3, 1, 3, 3)), padding=(1, 1)),
        "fc1": ir.Linear(weight=rng.normal(0, 100.0, (20, 48))),
        "late": ir.Delay(delay=np.full(20, 3e-3)),
        "rec": ir.Linear(weight=rng.normal(0, 100.0, (20, 20)))}).replace(
        edges=(*(edge for edge in base.edges if edge != ("b", "fc2")), ("b", "late"), ("late", "fc2"), ("c", "rec"),
               ("rec", "c")))
    raster = (rng.random((2, 40, 1, 8, 8)) < 0.2) * 1.0
    assert compared(graph, raster) > 50
    program = spikec.compile(graph, target="clock")
    probes = {"o.v": None, "c.v": None}
    whole = program.run(raster, probes=probes)
    pieces, state = [], None
    for begin, end in ((0, 3), (3, 4), (4, 25), (25, 40)):
        part = program.run(raster[:, begin:end], probes=probes, state=state)
        state = part.state
        pieces.append(part)
    for label in probes:
        np.testing.assert_allclose(np.concatenate([each.probes[label] for each in pieces], 1), whole.probes[label],
                                   atol=1e-12)
    assert sum(len(each.spikes["c"]) for each in pieces) == len(whole.spikes["c"]) > 10


def test_threads_and_batches_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(6)
    graph = deep_net(rng, Discretization(DT, integrator="decay", reset="next"))
    module = spikec.compile(graph, target="clock").module()
    raster = ((rng.random((9, 20, 1, 8, 8)) < 0.2) * 1.0).astype(np.float32)
    found = []
    before = spikec.get_threads()
    try:
        for threads in (1, 2, 5):
            spikec.set_threads(threads)
            module.zero_grad()
            out = module(raster)
            (out.voltage("out") ** 2).sum().backward()
            grads = [each.grad for each in module.parameters() if each.grad is not None]
            found.append([out.voltage("out").detach(), *grads])
    finally:
        spikec.set_threads(before)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_events_and_rasters_are_the_same_input() -> None:
    rng = np.random.default_rng(7)
    graph = deep_net(rng, Discretization(DT, integrator="decay", reset="next"))
    raster = rng.choice([0, 0, 0, 0, 1, 2], (3, 20, 1, 8, 8))
    program = spikec.compile(graph, target="clock")
    first = program.run(raster, probes={"o.v": None})
    for fed in (Events.from_dense(raster, DT), {"in": Events.from_dense(raster, DT)}, raster.astype(np.uint8),
                  torch.from_numpy(raster), raster.reshape(3, 20, 64).astype(np.float32)):
        again = program.run(fed, duration=0.02, probes={"o.v": None})
        np.testing.assert_allclose(again.probes["o.v"], first.probes["o.v"], atol=1e-12)
    between = Events(np.array([0.0, 0.0004, 0.001, 0.0011]), np.array([0, 1, 2, 3]), np.array([0, 4]))
    dense = np.zeros((1, 20, 64))
    dense[0, 0, :3] = dense[0, 1, 3] = 1
    np.testing.assert_allclose(program.run(between, duration=0.02, probes={"o.v": None}).probes["o.v"],
                               program.run(dense, probes={"o.v": None}).probes["o.v"])


def test_a_module_behaves_as_torch_expects(tmp_path: Any) -> None:
    rng = np.random.default_rng(8)
    program = spikec.compile(deep_net(rng, Discretization(DT)), target="clock")
    raster = (rng.random((2, 20, 1, 8, 8)) < 0.2) * 1.0
    module = program.module(FLOAT64)
    twin = copy.deepcopy(module)
    with torch.no_grad():
        twin.get_parameter("fc3.weight").mul_(2.0)
    assert not torch.equal(module(raster).voltage("o"), twin(raster).voltage("o"))
    changed = program.recompile(twin.to_graph())
    changed.save(tmp_path / "net")
    loaded = spikec.load(tmp_path / "net")
    assert loaded.target == "clock"
    # not to the last bit: torch's convolutions round by where their arguments lie in memory on some processors
    np.testing.assert_allclose(loaded.run(raster, probes={"o.v": None}).probes["o.v"],
                               twin(raster).voltage("o").detach().numpy(), rtol=1e-12, atol=1e-12)
    module.load_state_dict(twin.state_dict())
    assert torch.equal(module(raster).voltage("o"), twin(raster).voltage("o"))
    assert module.float()(raster).voltage("o").dtype == torch.float32
    text = str(program.report())
    assert "StepNeuron" not in text and "Conv2d" in text and "integrator='exact'" in text


def test_training_by_surrogate_learns() -> None:
    rng = np.random.default_rng(9)
    nodes = {"in": ir.Input(shape=(10,)), "fc1": ir.Linear(weight=rng.normal(0, 0.4, (30, 10))),
             "h": ir.LIF(shape=(30,), tau=9e-3, r=9e-3, reset="subtract"), "fc2": ir.Linear(
                 weight=rng.normal(0, 0.3, (2, 30))),
             "o": ir.LIF(shape=(2,), tau=9e-3, r=9e-3, reset="subtract"), "out": ir.Output(shape=(2,))}
    graph = Graph(nodes, (("in", "fc1"), ("fc1", "h"), ("h", "fc2"), ("fc2", "o"), ("o", "out")),
                  Discretization(DT, integrator="decay", reset="next"))
    labels = rng.integers(0, 2, 200)
    rates = np.where(labels[:, None] == (np.arange(10) % 2), 0.35, 0.15)
    events = Events.from_dense((rng.random((200, 25, 10)) < rates[:, None]) * 1, DT)
    trainer = spikec.Trainer(spikec.compile(graph, target="clock"), "spike-count", lr=2e-2, epochs=10, duration=0.025,
                             progress=False, surrogate={"surrogate": "atan"})
    before = trainer.evaluate((events, labels))
    history = trainer.fit((events, labels))
    after = trainer.evaluate((events, labels))
    assert before.accuracy < 0.5 and after.accuracy > 0.9
    assert after.spikes["o"] > before.spikes["o"]
    assert history.records[-1].train.loss < history.records[0].train.loss


# What is refused

def small(**changes: Any) -> Graph:
    rng = np.random.default_rng(0)
    node = ir.LIF(shape=(6,), tau=0.01)
    return graph_of(node, Discretization(DT), rng.normal(size=(6, 4)), np.zeros(6)).replace(**changes)


def test_bad_calls_are_told_at_once() -> None:
    program = spikec.compile(small(), target="clock")
    raster = np.zeros((2, 5, 4))
    with pytest.raises(BadInputError, match=r"SC403.*grid"):
        spikec.compile(small(discretization=None), target="clock")
    with pytest.raises(UnsupportedError, match=r"SC302 at 'fc'.*convert_ann"):
        spikec.compile(small().with_nodes({"fc": ir.Relu(), "in": ir.Input(shape=(6,))}), target="clock")
    for call, match in (
        (lambda: program.run(np.zeros((2, 5, 3))), r"SC405 at 'in'.*\(2, 5, 3\).*limit: \(batch, time, 4\)"),
        (lambda: program.run(np.full((1, 2, 4), np.nan)), r"SC405 at 'in'.*finite"),
        (lambda: program.run(np.full((1, 2, 4), "x")), r"SC405"),
        (lambda: program.run({"x": raster}), r"SC405 at 'x'.*no such input"),
        (lambda: program.run(raster, dt=2e-3), r"SC403.*dt"),
        (lambda: program.run(raster, duration=-1), r"SC406"),
        (lambda: program.run(Events.from_dense(raster, DT)), r"SC402.*duration"),
        (lambda: program.run(raster, probes={"m.v": None}), r"SC407.*n\.v"),
        (lambda: program.run(raster, probes={"n.v": [0.0015]}), r"SC407 at 'n\.v'.*0\.0015"),
        (lambda: program.run(raster, state=3), r"SC403.*state"),
        (lambda: program.run(raster, speed=3), r"SC403.*speed"),
        (lambda: program.module(surrogate="sin"), r"SC412.*fast_sigmoid"),
        (lambda: program.module(train=("nothing",)), r"SC412.*nothing"),
        (lambda: program.module()(raster).voltage("n"), r"SC409 at 'n'.*record"),
        (lambda: program.module()(raster).voltage_max("n"), r"SC409 at 'n'.*readouts"),
        (lambda: program.module()(raster).spikes("nobody"), r"SC409.*nobody"),
        (lambda: spikec.Trainer(program, "spike-count", surrogate={"slope": 3}), r"SC504.*slope"),
    ):
        with pytest.raises(BadInputError, match=match):
            call()
    with pytest.raises(UnsupportedError, match=r"SC503.*exact.*surrogate"):
        spikec.Trainer(program, "spike-count", rule="exact")
    result = program.run(raster)
    with pytest.raises(BadInputError, match=r"SC403 at 'n'.*samples"):
        program.run(np.zeros((3, 5, 4)), state=result.state)
    with pytest.raises(errors.BadInputError, match="another network"):
        spikec.compile(small(discretization=Discretization(2e-3)), target="clock").run(raster, state=result.state)


def test_nothing_to_do_is_done() -> None:
    program = spikec.compile(small(), target="clock")
    assert len(program.run(np.zeros((0, 5, 4))).spikes["n"].offsets) == 1
    empty = program.run(np.zeros((2, 0, 4)), probes={"n.v": None})
    assert empty.probes["n.v"].shape == (2, 0, 6) and len(empty.spikes["n"]) == 0


def test_cycles_without_delay_and_runaway_activity_are_told() -> None:
    grid = Discretization(DT, spikes="many", spike="delta")
    node = ir.IF(shape=(6,), reset="subtract")
    graph = graph_of(node, grid, np.ones((6, 4)), np.zeros(6)).with_nodes(
        {"rec": ir.Linear(weight=np.full((6, 6), 5.0))})
    graph = graph.replace(edges=(*graph.edges, ("n", "rec"), ("rec", "n")))
    with pytest.raises(BadInputError, match=r"SC408.*spikes"):
        spikec.compile(graph, target="clock").run(np.ones((1, 60, 4)))
    instant = graph.replace(discretization=Discretization(DT, delay=0))
    for run in (lambda: simulate_step(instant, np.ones((1, 3, 4))), lambda: spikec.compile(instant, target="clock")):
        with pytest.raises(UnsupportedError, match=r"SC306 at '(n|rec)'.*delay >= 1"):
            run()
