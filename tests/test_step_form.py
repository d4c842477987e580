"""The linear form of a neuron against `simulate_step`, which states the same equations directly."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikec import Discretization, Graph
from spikec.ir import nodes as ir
from spikec.ir.checks import check
from spikec.ir.step import simulate_step
from spikec.ir.step_form import StepForm, step_form

N, STEPS, DT = 6, 60, 1e-3
GRIDS = [
    Discretization(DT, spike=spike, integrator=integrator, reset=reset, fires=fires, spikes=spikes)
    for spike in ("delta", "box") for integrator in ("exact", "euler", "semi", "decay")
    for reset, fires, spikes in (("same", "above", "one"), ("next", "above", "one"), ("same", "at", "one"),
                                 ("same", "at", "many"))
]


def run(form: StepForm, arrived: Any, bias: Any) -> tuple[Any, Any]:
    """Spikes and membrane (batch, time, n) of the form, written down as its docstring says."""
    states = [np.zeros(arrived[:, 0].shape) for _ in range(form.states)]
    states[0] = states[0] + form.v0
    value = lambda entry: 0.0 if entry is None else entry  # noqa: E731
    over = lambda voltage, bound: voltage >= bound if form.at else voltage > bound  # noqa: E731
    fired = (over(states[0], form.threshold) * 1.0 if form.resets_late and form.threshold is not None
             else np.zeros_like(states[0]))
    left = np.where(fired > 0, form.rest, 0) if form.rest is not None else np.zeros_like(states[0])
    before = np.zeros_like(states[0])
    spikes, voltage = [], []
    for column in range(arrived.shape[1]):
        x = before if form.lag else arrived[:, column]
        before = arrived[:, column]
        held = states[0] + (fired * (sum(value(form.reset_a[0][j]) * states[j] for j in range(form.states))
                                     + value(form.reset_c[0]) + value(form.spike_c[0])) if form.resets_late else 0.0)
        f = fired
        if form.late_above:
            f = over(states[0], form.threshold + sum(value(form.gain[j]) * states[j] for j in range(form.states))) * 1.0
        new = []
        for i in range(form.states):
            total = (value(form.b[i]) + f * value(form.late_b[i])) * x
            total = total + (value(form.d[i]) + f * value(form.late_d[i])) * bias
            total = total + value(form.c[i]) + f * value(form.late_c[i])
            for j in range(form.states):
                total = total + (value(form.a[i][j]) + f * value(form.late_a[i][j])) * states[j]
            new.append(total)
        new[0] = np.where(left > 0, held, new[0])
        n = np.zeros_like(new[0])
        if form.threshold is not None:
            bound = form.threshold + sum(value(form.gain[j]) * new[j] for j in range(form.states))
            n = np.where(over(new[0], bound) & (left == 0), np.floor(new[0] / bound) if form.many else 1.0, 0.0)
            if form.rest is not None:
                left = np.where(n > 0, form.rest, np.maximum(left - 1, 0))
            fired = (n > 0) * 1.0
            if not form.resets_late:
                new = [each + fired * (sum(value(form.reset_a[i][j]) * new[j] for j in range(form.states))
                                       + value(form.reset_c[i])) + n * value(form.spike_c[i])
                       + f * value(form.late_after[i])
                       for i, each in enumerate(new)]
        if form.v_min is not None:
            new[0] = np.maximum(new[0], form.v_min)
        states = new
        spikes.append(n)
        voltage.append(states[0])
    return np.stack(spikes, 1), np.stack(voltage, 1)


def neuron(kind: str, rng: Any, reset: str, refractory: float, v_min: float | None) -> Any:
    tau = rng.uniform(3e-3, 2e-2, N)
    common: dict[str, Any] = {"shape": (N,), "r": rng.uniform(0.5, 2, N), "v0": rng.uniform(-0.2, 1.6, N)}
    if kind.endswith("F"):
        common |= {"v_threshold": rng.uniform(0.5, 1.2, N), "v_reset": rng.uniform(-0.3, 0.2, N), "reset": reset,
                   "refractory": np.where(np.arange(N) % 2, refractory, 0.0), "v_min": v_min}
    if kind in ("LI", "LIF"):
        common |= {"tau": tau, "v_leak": rng.uniform(-0.1, 0.3, N)}
    if kind in ("CubaLI", "CubaLIF"):
        common |= {"tau_mem": tau, "tau_syn": np.where(np.arange(N) == 2, tau, rng.uniform(1e-3, 1e-2, N)),
                   "w_in": rng.uniform(0.5, 2, N) * 4e-3, "v_leak": rng.uniform(-0.1, 0.3, N)}
    return getattr(ir, kind)(**common)


def graph_of(node: Any, grid: Discretization, weight: Any, bias: Any) -> Graph:
    nodes = {"in": ir.Input(shape=weight.shape[1:]), "fc": ir.Affine(weight=weight, bias=bias), "n": node,
             "out": ir.Output(shape=(N,))}
    return Graph(nodes, (("in", "fc"), ("fc", "n"), ("n", "out")), grid)


@pytest.mark.parametrize("kind", ["I", "LI", "CubaLI", "IF", "LIF", "CubaLIF"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_every_kind_on_every_grid(kind: str, grid: Discretization) -> None:
    if not kind.endswith("F") and (grid.reset, grid.fires) != ("same", "above"):
        pytest.skip("a readout has no threshold")
    rng = np.random.default_rng(zlib.crc32(f"{kind} {grid}".encode()))
    fired = 0
    for reset, refractory, v_min in (("v_reset", 0.0, None), ("zero", 3e-3, -0.4), ("subtract", 0.0, -0.3),
                                     ("subtract", 2e-3, None)):
        node = neuron(kind, rng, reset, refractory, v_min if kind.endswith("F") else None)
        # A spike moves V by w r (integrator) or w r / tau (leaky) as an impulse, by dt of that as a box.
        scale = 1.0 if "Cuba" in kind else 0.4 if kind in ("I", "IF") else 5e-3
        scale = scale / (DT if grid.spike == "box" else 1.0)
        weight, bias = rng.normal(0.3, 1.0, (N, 4)) * scale, rng.normal(0, 1, N) * 0.2
        raster = (rng.random((2, STEPS, 4)) < 0.3) * 1.0
        reference = simulate_step(graph_of(node, grid, weight, bias), raster)
        spikes, voltage = run(step_form(node, grid), raster @ weight.T, bias)
        np.testing.assert_allclose(voltage, reference.voltage["n"], atol=1e-11)
        if kind.endswith("F"):
            np.testing.assert_array_equal(spikes, reference.spikes["n"])
            fired += int(spikes.sum())
    assert fired > 10 or not kind.endswith("F")


def lif_as_step_neuron(node: ir.LIF, grid: Discretization) -> ir.StepNeuron:
    beta = np.exp(-grid.dt / node.tau)
    return ir.StepNeuron(shape=node.shape, v0=node.v0, a=beta[None, None], b=((1 - beta) * node.r)[None],
                         c=((1 - beta) * node.v_leak)[None], v_threshold=node.v_threshold,
                         spike_c=-node.v_threshold[None])


def test_a_neuron_stated_on_the_grid_is_what_it_states() -> None:
    grid = Discretization(DT, spike="box", integrator="decay")
    rng = np.random.default_rng(1)
    node = neuron("LIF", rng, "subtract", 0.0, None)
    weight, bias = rng.normal(1.0, 4.0, (N, 4)), rng.normal(0, 0.2, N)
    raster = (rng.random((2, STEPS, 4)) < 0.3) * 1.0
    plain = simulate_step(graph_of(node, grid, weight, bias), raster)
    stated = lif_as_step_neuron(node, grid)
    again = simulate_step(graph_of(stated, grid, weight, bias), raster)
    np.testing.assert_allclose(again.voltage["n"], plain.voltage["n"], atol=1e-12)
    np.testing.assert_array_equal(again.spikes["n"], plain.spikes["n"])
    assert plain.spikes["n"].sum() > 10
    form = run(step_form(stated, grid), raster @ weight.T, bias)
    np.testing.assert_allclose(form[1], plain.voltage["n"], atol=1e-12)


def all_terms(rng: np.random.Generator, late: str = "fired") -> dict[str, Any]:
    """Fields of a StepNeuron of three states, in which nothing is zero."""
    states = 3
    fields: dict[str, Any] = {name: rng.normal(0, 0.3, (states, states, N)) for name in ("a", "late_a", "reset_a")}
    fields |= {name: rng.normal(0, 0.3, (states,)) for name in
               ("b", "c", "late_b", "late_c", "late_after", "reset_c", "spike_c", "threshold_gain")}
    return fields | {"b": np.array([1.0, 0.5, 0.2]), "late": late}


@pytest.mark.parametrize("late", ["fired", "above"])
def test_a_neuron_with_all_terms(late: str) -> None:
    rng = np.random.default_rng(2)
    fields = all_terms(rng, late)
    for grid in (Discretization(DT), Discretization(DT, fires="at"), Discretization(DT, spikes="many")):
        node = ir.StepNeuron(shape=(N,), v_threshold=0.4, v_min=-0.8, v0=0.1, **fields)
        raster = (rng.random((2, STEPS, 4)) < 0.3) * 1.0
        weight, bias = rng.normal(0.3, 1.0, (N, 4)), rng.normal(0, 0.2, N)
        if grid.spikes == "many":
            node = ir.StepNeuron(shape=(N,), v_threshold=0.4, v_min=-0.8, **{
                name: value for name, value in fields.items() if name != "threshold_gain"})
        reference = simulate_step(graph_of(node, grid, weight, bias), raster)
        spikes, voltage = run(step_form(node, grid), raster @ weight.T, bias)
        np.testing.assert_allclose(voltage, reference.voltage["n"], atol=1e-11)
        np.testing.assert_array_equal(spikes, reference.spikes["n"])
        assert spikes.sum() > 10


def test_what_a_membrane_left_above_the_threshold_does() -> None:
    """By hand: 0.5 comes in each column; a membrane left above 1 is 1 lower in the next test alone."""
    node = ir.StepNeuron(shape=(N,), v0=2.25, a=np.ones((1, 1)), b=np.ones(1), v_threshold=1.0, spike_c=[-1.0],
                         late_c=[-1.0], late_after=[1.0], late="above")
    grid = Discretization(DT)
    found = simulate_step(graph_of(node, grid, np.full((N, 1), 0.5), np.zeros(N)), np.ones((1, 4, 1)))
    # 2.25 > 1: 1.75 > 1 spikes, 1.75 is left; 1.25 spikes, 1.25 is left; 0.75 does not, 1.75 is left; 1.25 spikes
    np.testing.assert_array_equal(found.voltage["n"][0, :, 0], [1.75, 1.25, 1.75, 1.25])
    np.testing.assert_array_equal(found.spikes["n"][0, :, 0], [1, 1, 0, 1])
    for given, code in (({"late": "early"}, "SC111 at 'n': late is malformed"),
                        ({"late_after": [1.0, 1.0]}, "SC107 at 'n': late_after")):
        wrong = graph_of(replace(node, **given), grid, np.ones((N, 1)), np.zeros(N))  # type: ignore[arg-type]
        assert code in " ".join(map(str, check(wrong)))


def test_what_is_wrong_with_a_grid_of_its_own_is_told() -> None:
    grid = Discretization(DT)
    node = ir.LIF(shape=(N,), tau=0.01, grid=Discretization(2 * DT, spikes="many", reset="next"), v_min=1.5)
    found = [str(fault) for fault in check(graph_of(node, grid, np.ones((N, 4)), np.zeros(N)))]
    assert any("SC116 at 'n'" in text and "same step" in text for text in found)
    assert any("SC116 at 'n'" in text and "dt=0.002" in text for text in found)
    assert any("SC103 at 'n': v_min" in text for text in found)
    stated = ir.StepNeuron(shape=(N,), a=np.ones((2, 2)), b=np.ones(3))
    found = [str(fault) for fault in check(graph_of(stated, grid, np.ones((N, 4)), np.zeros(N)).replace(
        discretization=None))]
    assert any("SC107 at 'n': b" in text for text in found)
    assert any("SC116 at 'n'" in text and "needs one" in text for text in found)
