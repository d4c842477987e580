"""Graded synapses: the engine against the reference, its gradients against the paper's adjoint and against differences,
and what does not depend on neighbours, threads and pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graded_nets import DT, graph, signals

import spikec
from spikec import Events
from spikec.ir.graded.gate import TURN, charge, opening
from spikec.ir.graded.reference import currents_gradient, simulate_graded
from spikec.runtime.graded.losses import IntegratedSquaredError
from spikec.runtime.threads import get_threads, set_threads

EVERYTHING = ("weight", "bias", "tau", "tau_syn", "zone", "r", "v0", "v_leak", "v_gate")


def impulses() -> Events:
    return Events.from_samples([([0.0, 0.003, 0.0031, 0.01], [0, 1, 0, 1]), ([0.0052, 0.0052], [1, 1])])


def test_a_gate_lets_the_charge_one_through():
    x = np.linspace(-2, 2, 4001)
    np.testing.assert_allclose(charge(np.array([-1.0, -0.5, 0.0, 0.5, 1.0]), 1.0), [0, 0, 0.5, 1, 1], atol=1e-15)
    np.testing.assert_allclose(np.gradient(charge(x, 1.3), x)[1:-1], opening(x, 1.3)[1:-1], atol=2e-5)
    assert (opening(x[np.abs(x) >= 0.65], 1.3) == 0).all()


@pytest.mark.parametrize("given", ["signals", "impulses"])
def test_currents_and_spikes_are_those_of_the_reference(given):
    program = spikec.compile(graph())
    stimulus = {"in": signals() if given == "signals" else impulses()}
    wanted = simulate_graded(program.network, stimulus, DT, 21)
    found = program.run(stimulus, dt=DT, duration=0.02, tolerance=1e-10, membranes=True)
    for name in ("theta", "line"):
        assert wanted.currents[name].max() > 10
        np.testing.assert_allclose(found.currents[name], wanted.currents[name], atol=2e-7)
        turned = np.asarray(found.membranes[name]) - wanted.membranes[name]
        turned -= TURN * np.round(turned / TURN) if name == "theta" else 0
        np.testing.assert_allclose(turned, 0, atol=1e-8)
        assert found.spikes[name].indices.tolist() == wanted.spikes[name].indices.tolist()
        np.testing.assert_allclose(found.spikes[name].times, wanted.spikes[name].times, atol=1e-10)
    assert len(found.spikes["theta"]) > 4
    np.testing.assert_allclose(found.signals["out"], wanted.outputs["out"], atol=1e-8)


def test_the_error_falls_with_the_fifth_power_of_the_step():
    """The order that the smooth gate keeps: 10^5 times less tolerance costs about 10 times as many steps."""
    program = spikec.compile(graph(leaky=0))
    best = program.run(signals(), dt=DT, tolerance=1e-13)
    found = {tolerance: program.run(signals(), dt=DT, tolerance=tolerance) for tolerance in (1e-7, 1e-11)}
    wrong = {tolerance: float((run.currents["theta"] - best.currents["theta"]).abs().max())
             for tolerance, run in found.items()}
    order = np.log(wrong[1e-7] / wrong[1e-11]) / np.log(found[1e-11].steps / found[1e-7].steps)
    assert order > 4.5
    assert wrong[1e-7] < 1e-4


def test_gradients_are_those_of_the_papers_adjoint():
    program = spikec.compile(graph(n=3, leaky=2, bias=2.5))
    given = signals(batch=1, samples=11)
    n = program.network.n
    slopes = np.random.default_rng(3).normal(0, 1e-3, (1, 11, n))
    wanted = currents_gradient(program.network, {"in": given}, DT, slopes)
    module = program.module(dtype=torch.float64, train=EVERYTHING, tolerance=1e-11)
    out = module(given, dt=DT)
    currents = torch.cat([out.signal(name) for name in program.network.order], 2)
    (currents * torch.from_numpy(slopes)).sum().backward()
    gradient = {name: each.grad.numpy() for name, each in module.named_parameters() if each.grad is not None}
    theta, line = slice(0, 3), slice(3, 5)
    wide = wanted["drive"].sum((0, 1))
    pairs = {
        "recurrent.weight": wanted["recurrent"][theta, theta], "on.weight": wanted["recurrent"][line, theta],
        "back.weight": wanted["recurrent"][theta, line], "theta.tau": wanted["tau"][theta],
        "line.tau": wanted["tau"][line], "theta.tau_syn": wanted["tau_syn"][theta],
        "theta.zone": wanted["zone"][theta], "line.zone": wanted["zone"][line], "theta.v0": wanted["start"][theta],
        "inward.bias": 1.2 * wide[theta], "line.v_leak": wide[line],
        "inward.weight": 1.2 * np.einsum("bti,btc->ic", wanted["drive"], given)[theta],
    }
    for name, value in pairs.items():
        assert np.abs(value).max() > 0, name
        np.testing.assert_allclose(gradient[name], value, atol=1e-6 * np.abs(value).max(), err_msg=name)


@pytest.mark.parametrize("given", ["signals", "impulses"])
def test_gradients_are_those_of_differences(given):
    program = spikec.compile(graph())
    module = program.module(dtype=torch.float64, train=EVERYTHING, tolerance=1e-12)
    stimulus = torch.from_numpy(signals()).requires_grad_() if given == "signals" else impulses()
    draw = torch.Generator().manual_seed(0)
    wanted = torch.randn(2, 21, 2, generator=draw, dtype=torch.float64)
    loss = IntegratedSquaredError(activity=1e-4)

    def value() -> torch.Tensor:
        return loss(module(stimulus, dt=DT, duration=0.02), wanted).value

    value().backward()
    checked = dict(module.named_parameters()) | ({"signals": stimulus} if given == "signals" else {})
    for name, parameter in checked.items():
        way = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        step = 1e-4 * float(parameter.detach().abs().mean()) or 1e-4
        base, around = parameter.detach().clone(), []
        with torch.no_grad():
            for k in (-2, -1, 1, 2):
                parameter.copy_(base + k * step * way)
                around.append(value().item())
            parameter.copy_(base)
        difference = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * step)
        rounding = 2e-15 * value().item() / step
        assert abs(difference - float((parameter.grad * way).sum())) <= 1e-6 * abs(difference) + rounding, name


def gated(kind: str, zone: float, seed: int, tolerance: float | None = None):
    """A recurrent network whose neurons share a zone, as a module, and a loss of it."""
    rng = np.random.default_rng(seed)
    net = spikec.Builder()
    middle = {"v_gate": 0.5} if kind == "graded_li" else {}
    h = getattr(net, kind)("h", 4, tau=5e-3, tau_syn=np.linspace(6e-3, 14e-3, 4), zone=zone, **middle)
    source = net.input("in", 2)
    net.connect(source, h, weight=rng.normal(0.5, 0.5, (4, 2)), bias=rng.uniform(0.1, 0.4, 4), name="inward")
    net.connect(h, h, weight=rng.normal(0, 0.02, (4, 4)), name="recurrent")
    net.output("out", net.linear("readout", h, weight=rng.normal(0, 0.01, (2, 4))))
    settings = {} if tolerance is None else {"tolerance": tolerance}
    module = spikec.compile(net).module(dtype=torch.float64, train=("weight", "bias", "h.tau", "h.tau_syn"), **settings)
    given, wanted = rng.normal(0.5, 0.8, (2, 41, 2)), torch.from_numpy(rng.normal(0, 1, (2, 41, 2)))
    loss = IntegratedSquaredError(activity=1e-4)
    return module, lambda: loss(module(given, dt=DT), wanted).value


@pytest.mark.parametrize("zone", [2.0, 0.5, 0.2, 0.05])
@pytest.mark.parametrize("kind", ["graded_theta", "graded_li"])
def test_default_steps_give_gradients_of_narrow_gates_too(kind, zone):
    """Those of the differential equations, as a tolerance of 1e-12 has them."""
    for seed in (0, 1, 2):
        found = []
        for tolerance in (None, 1e-12):
            module, value = gated(kind, zone, seed, tolerance)
            value().backward()
            found.append({name: each.grad for name, each in module.named_parameters() if each.grad is not None})
        for name, wanted in found[1].items():
            assert (found[0][name] - wanted).abs().max() < 2e-5 * wanted.abs().max(), (seed, name)


@pytest.mark.parametrize(("kind", "zone"), [("graded_li", 0.4), ("graded_theta", 0.5)])
def test_default_steps_give_gradients_of_time_constants(kind, zone):
    """Steps move with these, and differences hold none: those here are of steps so fine that it does not matter."""
    module, value = gated(kind, zone, 0)
    value().backward()
    module.tolerance = 1e-12
    for name in ("h.tau", "h.tau_syn"):
        parameter = module.get_parameter(name)
        base, around = parameter.detach().clone(), []
        with torch.no_grad():
            for k in (-2, -1, 1, 2):
                parameter.copy_(base * (1 + k * 1e-4))
                around.append(value().item())
            parameter.copy_(base)
        difference = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * 1e-4)
        assert abs(difference - float((parameter.grad * base).sum())) <= 3e-6 * abs(difference), name


def test_a_stream_goes_on_as_one_long_run_would():
    program = spikec.compile(graph())
    given = signals()
    whole = program.run(given, dt=DT, tolerance=1e-10)
    first = program.run(given[:, :11], dt=DT, tolerance=1e-10)
    second = program.run(given[:, 10:], dt=DT, tolerance=1e-10, state=first.state)
    np.testing.assert_allclose(second.signals["out"], whole.signals["out"][:, 10:], atol=1e-9)
    assert len(first.spikes["theta"]) + len(second.spikes["theta"]) == len(whole.spikes["theta"])


def test_neither_neighbours_nor_threads_change_a_bit():
    program = spikec.compile(graph())
    given = signals(batch=19)
    module = program.module(dtype=torch.float64, train=EVERYTHING)
    before, found = get_threads(), []
    for threads in (1, 3):
        set_threads(threads)
        try:
            module.zero_grad()
            out = module(given, dt=DT)
            out.signal("out").square().sum().backward()
        finally:
            set_threads(before)
        found.append([out.signal("out").detach(), *(each.grad.clone() for each in module.parameters())])
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))
    assert torch.equal(program.run(given[11:12], dt=DT).signals["out"][0], found[0][0][11])
    mixed = Events.from_samples([([0.0043], [0]), *[((), ())] * 7])
    beside = program.run(mixed, dt=DT, duration=0.02).signals["out"]
    alone = program.run(mixed.take(np.array([3])), dt=DT, duration=0.02).signals["out"]
    assert torch.equal(alone[0], beside[3])


def test_a_graded_passage_is_smooth_where_a_spike_appears():
    """A membrane that turns back within its gate sends a part of a pulse: from none to a whole one no jump, where
    spikes are counted 0 or 1."""
    net = spikec.Builder()
    source = net.input("in", 1)
    neuron = net.graded_li("h", 1, tau=5e-3, tau_syn=1e-2, zone=1.0)
    net.connect(source, neuron, weight=[[1.0]], name="w")
    net.output("out", neuron)
    heights = np.linspace(0.1, 3.0, 291)
    pulse = np.where(np.arange(31) < 6, heights[:, None], 0.0)
    out = spikec.compile(net).run(pulse[..., None], dt=DT, tolerance=1e-9)
    peak = out.currents["h"][..., 0].numpy().max(1)
    fired = np.diff(out.spikes["h"].offsets)
    assert set(fired) == {0, 1}
    assert peak[0] < 1e-3 * peak.max()
    assert np.abs(np.diff(peak)).max() < 0.02 * peak.max()
    assert ((peak > 0.1 * peak.max()) & (fired == 0)).sum() > 5


def test_training_writes_back_to_the_graph():
    program = spikec.compile(graph(leaky=0))
    module = program.module(dtype=torch.float64)
    loss, given, wanted = IntegratedSquaredError(activity=1e-6), signals(), torch.zeros(2, 21, 2)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    values = []
    for _ in range(15):
        value = loss(module(given, dt=DT), wanted).value
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.5 * values[0]
    again = program.recompile(module.to_graph()).run(given, dt=DT).signals["out"]
    assert torch.allclose(again, module(given, dt=DT).signal("out"), atol=1e-12)
