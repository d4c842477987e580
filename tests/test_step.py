"""The reference on a grid: against snnTorch, plain loops and, for dt -> 0, the continuous reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from spikec.ir.decay import leaky_from_beta, synaptic_from_alpha_beta
from spikec.ir.diagnostics import BadInputError, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.ir.graph import Discretization, Graph
from spikec.ir.nodes import (
    IF,
    LI,
    LIF,
    Affine,
    Conv2d,
    CubaLI,
    CubaLIF,
    Delay,
    I,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
)
from spikec.ir.step import simulate_step

DT = 1e-3
SPIKING = {"integrator": IF, "leaky": LIF, "cuba": CubaLIF}
SILENT = {"integrator": I, "leaky": LI, "cuba": CubaLI}


def network(front: Node, neuron: Neuron, recurrent: Node | None = None, inputs: int = 1, **options: Any) -> Graph:
    """in -> fc -> n -> out, and n -> rec -> n."""
    nodes = {"in": Input(shape=(inputs,)), "fc": front, "n": neuron, "out": Output(shape=neuron.shape)}
    edges = [("in", "fc"), ("fc", "n"), ("n", "out")]
    if recurrent is not None:
        nodes["rec"] = recurrent
        edges += [("n", "rec"), ("rec", "n")]
    return Graph(nodes, tuple(edges), **options)


# --- snnTorch --------------------------------------------------------------------------------------------------------

BATCH, STEPS, CHANNELS, SIZE = 3, 60, 10, 8
ALPHA, BETA = torch.linspace(0.5, 0.8, SIZE, dtype=torch.float64), torch.linspace(0.7, 0.95, SIZE, dtype=torch.float64)


@pytest.fixture
def snn() -> Any:
    return pytest.importorskip("snntorch", reason="snntorch is not installed")


def compare(module: Any, found: Any, grid: Discretization, refractory: float = 0.0, gain: float = 1.0) -> None:
    """Runs a snnTorch neuron and the node that `found` says it is on the same random spikes."""
    rng = np.random.default_rng(3)
    raster = (rng.random((BATCH, STEPS, CHANNELS)) < 0.15).astype(float)
    weight, bias = gain * rng.normal(0.25, 0.35, (SIZE, CHANNELS)), gain * rng.normal(0.02, 0.03, SIZE)
    module = module.double()
    theirs = []
    for column in range(STEPS):
        theirs.append([part.detach().numpy() for part in module(torch.tensor(raster[:, column] @ weight.T + bias))])
        if hasattr(module, "spk"):
            module.spk = module.spk.double()  # its surrogates give float32
    spikes, membrane = (np.stack([column[part] for column in theirs], axis=1) for part in (0, -1))

    fires = module.reset_mechanism != "none"
    reset = {"reset": module.reset_mechanism, "refractory": refractory, "v_threshold": module.threshold.item()}
    kind = (SPIKING if fires else SILENT)[found.kind]
    recurrent = getattr(module, "recurrent", None)
    graph = network(
        Affine(weight=weight, bias=bias * found.bias_scale),
        kind(shape=(SIZE,), **found.params, **(reset if fires else {})),
        recurrent and Affine(weight=recurrent.weight.detach().numpy(),
                             bias=recurrent.bias.detach().numpy() * found.bias_scale),
        inputs=CHANNELS,
    )
    result = simulate_step(graph, raster, grid)
    assert result.voltage["n"] == pytest.approx(membrane, abs=1e-9)
    if fires:
        assert (spikes.sum(axis=1) > 0).mean() > 0.4
        assert (result.spikes["out"] == spikes).all()
    if found.kind == "cuba":
        current = np.stack([column[-2] for column in theirs], axis=1)
        assert result.current["n"] == pytest.approx(current, abs=1e-9)


@pytest.mark.parametrize("spike", ["delta", "box"])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_leaky(snn: Any, spike: Any, reset: str) -> None:
    grid = Discretization(DT, spike=spike, integrator="decay", reset="next")
    module = snn.Leaky(beta=BETA, threshold=0.8, reset_mechanism=reset)
    compare(module, leaky_from_beta(BETA.numpy(), DT, spike), grid)
    unforgetting = snn.Leaky(beta=1.0, reset_mechanism=reset)
    compare(unforgetting, leaky_from_beta(np.ones(SIZE), DT, spike), grid)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_leaky_that_resets_at_once(snn: Any, reset: str) -> None:
    module = snn.Leaky(beta=BETA, threshold=1.0, reset_mechanism=reset, reset_delay=False)
    grid = Discretization(DT, integrator="decay", reset="same")
    compare(module, leaky_from_beta(BETA.numpy(), DT), grid, gain=0.3)


@pytest.mark.parametrize("spike", ["delta", "box"])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_synaptic(snn: Any, spike: Any, reset: str) -> None:
    grid = Discretization(DT, spike=spike, integrator="decay", reset="next")
    module = snn.Synaptic(alpha=ALPHA, beta=BETA, reset_mechanism=reset)
    found = synaptic_from_alpha_beta(ALPHA.numpy(), BETA.numpy(), DT, spike)
    compare(module, found, grid, refractory=DT if reset == "zero" else 0.0, gain=0.5)


@pytest.mark.parametrize("spike", ["delta", "box"])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_recurrent(snn: Any, spike: Any, reset: str) -> None:
    torch.manual_seed(1)
    grid = Discretization(DT, spike=spike, integrator="decay", reset="next", delay=1)
    refractory = DT if reset == "zero" else 0.0
    leaky = snn.RLeaky(beta=BETA, linear_features=SIZE, reset_mechanism=reset)
    compare(leaky, leaky_from_beta(BETA.numpy(), DT, spike), grid, refractory)
    synaptic = snn.RSynaptic(alpha=ALPHA, beta=BETA, linear_features=SIZE, reset_mechanism=reset)
    compare(synaptic, synaptic_from_alpha_beta(ALPHA.numpy(), BETA.numpy(), DT, spike), grid, refractory, gain=0.5)


def test_factors_without_a_time_constant_are_refused() -> None:
    for make in (lambda: leaky_from_beta(0.0, DT), lambda: leaky_from_beta([0.5, 1.0], DT),
                 lambda: leaky_from_beta(1.2, DT), lambda: leaky_from_beta(0.5, 0.0)):
        with pytest.raises(BadInputError, match="SC103"):
            make()
    with pytest.raises(BadInputError) as refusal:
        synaptic_from_alpha_beta(1.0, float("nan"), -1.0)
    assert len(refusal.value.diagnostics) == 3


# --- the update equations, by hand -----------------------------------------------------------------------------------

def test_euler_by_hand() -> None:
    dt, tau_mem, tau_syn, r, leak, w_in, w, b = 0.1, 2.0, 0.5, 1.3, 0.2, 0.7, 3.0, 0.4
    node = CubaLI(shape=(1,), tau_mem=tau_mem, tau_syn=tau_syn, r=r, v_leak=leak, w_in=w_in, v0=-0.1)
    raster = np.array([1.0, 0, 2, 0, 0]).reshape(1, 5, 1)
    for spike in ("delta", "box"):
        found = simulate_step(network(Affine(weight=[[w]], bias=[b]), node), raster,
                              Discretization(dt, spike=spike, integrator="euler"))
        v, i = -0.1, 0.0
        for column, x in enumerate(raster.ravel()):
            v, i = v + dt / tau_mem * (leak - v + r * i), i + dt / tau_syn * (w_in * b - i) + (
                w_in / tau_syn * w * x if spike == "delta" else dt / tau_syn * w_in * w * x)
            assert (found.voltage["n"][0, column, 0], found.current["n"][0, column, 0]) == pytest.approx((v, i))


def test_refractory_columns_and_reset_in_the_same_column() -> None:
    raster = np.array([1.2, 5.0, 5.0, 0.5, 0.6, 0.0]).reshape(1, 6, 1)
    node = IF(shape=(1,), refractory=2 * DT, v_reset=-0.1)
    found = simulate_step(network(Linear(weight=[[1.0]]), node), raster, Discretization(DT))
    assert found.voltage["n"].ravel() == pytest.approx([-0.1, -0.1, -0.1, 0.4, 1.0, 1.0])
    assert list(found.spikes["n"].ravel()) == [1, 0, 0, 0, 0, 0]
    late = simulate_step(network(Linear(weight=[[1.0]]), node), raster, Discretization(DT, reset="next"))
    assert late.voltage["n"].ravel() == pytest.approx([1.2, -0.1, -0.1, 0.4, 1.0, 1.0])
    assert (late.spikes["n"] == found.spikes["n"]).all()


def test_delays_are_whole_columns() -> None:
    raster = np.zeros((1, 8, 2))
    raster[0, 1] = 1.0
    weight, delay = [[1.0, 10.0], [100.0, 1000.0]], [[0.0, 2 * DT], [3 * DT, 1.1 * DT]]
    graph = network(Linear(weight=weight, delay=delay), I(shape=(2,)), inputs=2)
    found = simulate_step(graph, raster, Discretization(DT))
    jumps = np.diff(found.voltage["out"][0], axis=0, prepend=0.0)
    wanted = np.zeros((8, 2))
    wanted[1, 0], wanted[3, 0], wanted[4, 1], wanted[2, 1] = 1, 10, 100, 1000
    assert jumps == pytest.approx(wanted)


@pytest.mark.parametrize(("connection", "columns"), [
    (Linear(weight=[[1.0]]), 2), (Delay(delay=np.array([3 * DT])), 3), (Delay(delay=np.array([0.0])), 2),
])
def test_a_recurrent_edge_takes_its_columns(connection: Node, columns: int) -> None:
    """A neuron that feeds itself goes on firing: `delay` columns later, unless the cycle has a delay of its own."""
    grid = Discretization(DT, delay=2)
    graph = network(Linear(weight=[[1.5]]), IF(shape=(1,), r=1.5), connection, discretization=grid)
    raster = np.zeros((1, 12, 1))
    raster[0, 1] = 1.0
    assert list(np.flatnonzero(simulate_step(graph, raster).spikes["n"])) == list(range(1, 12, columns))


def test_two_populations_in_a_cycle_take_one_delay() -> None:
    strong = {"shape": (1,), "r": 2.0}
    graph = Graph({"out": Output(shape=(1,)), "b": IF(**strong), "a": IF(**strong), "in": Input(shape=(1,))},
                  (("in", "a"), ("a", "b"), ("b", "a"), ("b", "out")), Discretization(DT))
    raster = np.zeros((1, 6, 1))
    raster[0, 2] = 1.0
    found = simulate_step(graph, raster)
    assert list(np.flatnonzero(found.spikes["a"])) == list(np.flatnonzero(found.spikes["b"])) == [2, 3, 4, 5]


def test_max_pool_over_spikes_has_a_meaning_on_a_grid() -> None:
    raster = np.zeros((1, 1, 1, 4, 4))
    raster[0, 0, 0, 0, :2] = 1.0
    nodes = {"in": Input(shape=(1, 4, 4)), "pool": MaxPool2d(kernel_size=(2, 2), stride=(2, 2)),
             "n": I(shape=(1, 2, 2)), "out": Output(shape=(1, 2, 2))}
    graph = Graph(nodes, (("in", "pool"), ("pool", "n"), ("n", "out")), Discretization(DT))
    assert simulate_step(graph, raster).voltage["n"].ravel() == pytest.approx([1, 0, 0, 0])
    conv = Conv2d(weight=np.ones((1, 1, 3, 3)), padding=(1, 1), bias=[0.5])
    uneven = Graph({**nodes, "first": conv, "second": Conv2d(weight=np.ones((1, 1, 3, 3)), padding=(1, 1))},
                   (("in", "first"), ("first", "second"), ("second", "pool"), ("pool", "n"), ("n", "out")))
    with pytest.raises(UnsupportedError, match="SC302"):
        simulate_step(uneven, raster, Discretization(DT))


def test_faults_of_the_call_are_collected() -> None:
    graph = network(Linear(weight=[[1.0]]), I(shape=(1,)))
    with pytest.raises(BadInputError) as refusal:
        simulate_step(graph, {"n": np.zeros((1, 2, 1)), "in": np.zeros((1, 2, 3))})
    assert len(refusal.value.diagnostics) == 3


# --- the limit dt -> 0 -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["CubaLIF", "LIF"])
def test_exact_is_continuous_time_between_columns(kind: str) -> None:
    """Without threshold crossings between columns, membranes equal those of the continuous reference."""
    neuron = (CubaLI(shape=(3,), tau_mem=0.02, tau_syn=[0.02, 0.005, 0.01], v_leak=0.1) if kind == "CubaLIF"
              else LIF(shape=(3,), tau=0.02, r=0.02, refractory=0.0))
    rng = np.random.default_rng(5)
    raster = (rng.random((1, 40, 4)) < 0.2).astype(float)
    for spike in ("delta", "box"):
        if kind == "LIF" and spike == "box":
            continue
        graph = network(Affine(weight=rng.normal(0.4, 0.5, (3, 4)), bias=[0.1, 0.0, -0.1]), neuron, inputs=4,
                        discretization=Discretization(DT, spike=spike))
        columns = (np.arange(40) + 1) * DT
        wanted = simulate_exact(graph, Events.from_dense(raster, DT), 0.0405, {"n.v": columns})
        found = simulate_step(graph, raster)
        assert found.voltage["n"] == pytest.approx(wanted.probes["n.v"], abs=1e-12)
        if kind == "LIF":
            assert len(wanted.spikes["n"]) > 5
            assert (Events.from_dense(found.spikes["n"], DT).times == wanted.spikes["n"].times).all()


@pytest.mark.parametrize("integrator", ["exact", "euler", "decay"])
@pytest.mark.parametrize("spike", ["delta", "box"])
def test_a_finer_grid_comes_closer_to_continuous_time(integrator: Any, spike: Any) -> None:
    rng = np.random.default_rng(2)
    at = np.sort(rng.integers(1, 40, 12))
    channel, weight, among = rng.integers(0, 4, 12), rng.normal(4.0, 3.0, (3, 4)), rng.normal(0.0, 0.5, (3, 3))
    delay, errors = DT * np.arange(1, 10).reshape(3, 3), []
    for refine in (8, 32, 128):
        grid = Discretization(DT / refine, spike=spike, integrator=integrator)
        gain = 1.0 if spike == "delta" else refine / DT
        graph = network(
            Affine(weight=gain * weight, bias=[20.0, 50.0, 80.0]),
            CubaLIF(shape=(3,), tau_mem=0.02, tau_syn=0.005, w_in=0.005, refractory=0.002),
            Linear(weight=gain * among, delay=delay), inputs=4, discretization=grid)
        raster = np.zeros((1, 47 * refine, 4))
        np.add.at(raster, (0, at * refine - 1, channel), 1.0)
        found = Events.from_dense(simulate_step(graph, raster).spikes["n"], grid.dt)
        wanted = simulate_exact(graph, Events.from_dense(raster, grid.dt), 0.047).spikes["n"]
        assert len(found) == len(wanted) >= 12
        errors.append(np.abs(np.sort(found.times) - np.sort(wanted.times)).max())
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
