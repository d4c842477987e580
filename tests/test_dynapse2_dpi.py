"""DPI neurons: the oracle against another integrator and its own order, the kernel against the oracle, and how far the
linear regime is from either."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from spikec.ir.analog.dpi import DpiNetwork, DpiPopulation, DpiProjection, linear_error
from spikec.ir.analog.dpi_run import simulate_dpi
from spikec.ir.diagnostics import BadInputError
from spikec.ir.dormand_prince import NODES, STAGES
from spikec.ir.events import Events
from spikec.runtime import threads
from spikec.runtime.analog.dpi import run_dpi

integrate = pytest.importorskip("scipy.integrate")
QUICK = hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
PICO = 1e-12


def neurons(n: int = 1, **values: float | np.ndarray) -> DpiPopulation:
    """Those of DynapSim's defaults, but for what is given."""
    leak = 0.025 / 0.705 * 3 * PICO / 20e-3
    numbers = {"tau_mem": 20e-3, "tau_exc": 10e-3, "tau_inh": 10e-3, "gain": 4 * leak, "leak": leak, "dc": 0.0,
               "dark": 0.5 * PICO, "threshold": 100e-9, "refractory": 1e-3, "feedback": 0.5 * PICO / leak,
               "exponent": 0.705 / 1.705, "surge": 0.0, "surge_at": 0.0, "surge_width": 0.0} | values
    return DpiPopulation(**{name: np.broadcast_to(value, n).astype(np.float64) for name, value in numbers.items()})


def network_of(population: DpiPopulation, weight: np.ndarray, recurrent: np.ndarray | None = None) -> DpiNetwork:
    paths = [DpiProjection(name="in", source="in", target="a", weight=weight)]
    if recurrent is not None:
        paths.append(DpiProjection(name="own", source="a", target="a", weight=recurrent))
    return DpiNetwork(inputs={"in": (weight.shape[1],)}, populations={"a": population}, projections=tuple(paths))


def random_network(seed: int, surge: bool) -> tuple[DpiNetwork, Events]:
    """Two layers, the first recurrent, every number of every neuron drawn."""
    random = np.random.default_rng(seed)

    def layer(n: int) -> DpiPopulation:
        plain = neurons(n)
        drawn = {name: getattr(plain, name) * random.lognormal(0, 0.2, n) for name in DpiPopulation.__slots__}
        drawn["tau_inh"] = drawn["tau_inh"] * random.uniform(0.3, 2, n)
        drawn["dc"] = random.normal(0, 2 * PICO, n)
        if surge:
            drawn |= {"feedback": np.zeros(n), "surge": random.uniform(1, 20, n), "surge_at": np.full(n, 0.5e-9),
                      "surge_width": np.full(n, 0.1e-9), "threshold": np.full(n, 1e-9)}
        return DpiPopulation(**drawn)

    sizes = {"in": 5, "a": 6, "b": 4}
    paths = []
    for source, target, mean in (("in", "a", 60), ("a", "a", -10), ("a", "b", 80), ("in", "b", 30)):
        shape = sizes[target], sizes[source]
        weight = random.normal(mean * PICO, 100 * PICO, shape) * (random.random(shape) < 0.7)
        paths.append(DpiProjection(name=f"{source}{target}", source=source, target=target, weight=weight))
    events = Events.from_samples([(random.uniform(0, 0.1, 30), random.integers(0, 5, 30)) for _ in range(2)])
    return DpiNetwork(inputs={"in": (5,)}, populations={"a": layer(6), "b": layer(4)}, projections=tuple(paths)), events


def slope(neuron: DpiPopulation, flows: float, u: float) -> float:
    """The equation as published, of the current itself, divided by it."""
    current = np.exp(min(u, 0.0))  # a trial step may go far beyond the threshold
    gain, leak = neuron.gain[0], neuron.leak[0]
    feedback = neuron.feedback_at(np.array([current]))[0]
    rate = (gain / leak * (flows - leak) + feedback * (current + gain) - current) / (1 + gain / current)
    return float(rate / neuron.tau_mem[0] / current)


def test_a_neuron_fires_where_another_integrator_says() -> None:
    """DOP853 on the equation as it is published, from spike to spike."""
    neuron = neurons(dc=90 * PICO, tau_inh=4e-3)
    network = network_of(neuron, np.array([[900 * PICO, -600 * PICO]]))
    inputs = [(0.004, 0), (0.007, 1), (0.011, 0), (0.02, 0), (0.0213, 1), (0.03, 0)]
    ours = simulate_dpi(network, {"in": Events.from_samples([zip(*inputs, strict=True)])}, 0.12)["a"].times

    def flows(time: float, begin: float) -> float:
        total = 90 * PICO
        for at, channel in inputs:
            if at <= begin:
                total += (900 * np.exp(-(time - at) / 10e-3), -600 * np.exp(-(time - at) / 4e-3))[channel] * PICO
        return max(total, 0.5 * PICO)

    def fires(_: float, u: np.ndarray) -> float:
        return float(u[0] - np.log(100e-9))

    fires.terminal = True  # type: ignore[attr-defined]
    time, u, found = 0.0, np.log(0.5 * PICO), []
    while time < 0.12:
        stop = min([at for at, _ in inputs if at > time] + [0.12])
        done = integrate.solve_ivp(lambda t, y, begin=time: [slope(neuron, flows(t, begin), y[0])], (time, stop), [u],
                                   events=fires, method="DOP853", rtol=1e-12, atol=1e-13)
        time, u = float(done.t[-1]), float(done.y[0, -1])
        if done.status == 1:
            found.append(time)
            time, u = time + 1e-3, np.log(0.5 * PICO)
    assert len(ours) == len(found) > 2
    np.testing.assert_allclose(ours, found, rtol=0, atol=1e-10)


def test_the_method_is_of_fifth_order() -> None:
    """The conditions on its numbers for order five that a smooth problem shows: the error of exp(t) over one step."""
    errors = []
    for length in (0.2, 0.1):
        slopes: list[float] = []
        reached = 1.0
        for weights in STAGES:
            reached = 1.0 + length * sum(w * k for w, k in zip(weights, slopes, strict=True))
            slopes.append(reached)
        errors.append(abs(reached - np.exp(length)))
    assert 5.7 < np.log2(errors[0] / errors[1]) < 6.3
    assert [round(sum(weights), 12) for weights in STAGES] == [round(node, 12) for node in NODES]


@pytest.mark.parametrize("surge", [False, True])
def test_the_oracle_converges(surge: bool) -> None:
    network, events = random_network(3, surge)
    best = simulate_dpi(network, {"in": events}, 0.12, tolerance=1e-12)
    assert len(best["a"]) > 5 and len(best["b"]) > 5
    for tolerance in (1e-6, 1e-8):
        found = simulate_dpi(network, {"in": events}, 0.12, tolerance=tolerance)
        for name, each in best.items():
            np.testing.assert_array_equal(found[name].indices, each.indices)
            assert np.abs(found[name].times - each.times).max() < 200 * tolerance


@pytest.mark.parametrize("surge", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_kernel_is_the_oracle(seed: int, surge: bool) -> None:
    network, events = random_network(seed, surge)
    oracle = simulate_dpi(network, {"in": events}, 0.12, tolerance=1e-10)
    found = run_dpi(network, {"in": events}, 0.12)
    for name, each in oracle.items():
        np.testing.assert_array_equal(found[name].offsets, each.offsets)
        np.testing.assert_array_equal(found[name].indices, each.indices)
        np.testing.assert_allclose(found[name].times, each.times, rtol=0, atol=1e-6)


def test_threads_and_room_do_not_matter() -> None:
    network, events = random_network(5, False)
    population = network.populations["a"]
    busy = DpiNetwork(inputs=network.inputs, projections=network.projections, populations={
        **network.populations, "a": replace(population, dc=np.full(6, 2e-8), refractory=np.zeros(6))})
    runs = []
    try:
        for number in (1, 2):
            threads.set_threads(number)
            runs.append(run_dpi(busy, {"in": events}, 0.5))
    finally:
        threads.set_threads(0)
    assert np.bincount(runs[0]["a"].indices).max() > 2 * 64  # more than there is room for at first
    for name in runs[0]:
        np.testing.assert_array_equal(runs[0][name].times, runs[1][name].times)
        np.testing.assert_array_equal(runs[0][name].indices, runs[1][name].indices)
    oracle = simulate_dpi(busy, {"in": events.take([1])}, 0.05)["a"].times
    np.testing.assert_allclose(np.sort(runs[0]["a"].sample(1)[0])[:len(oracle)], oracle, rtol=0, atol=1e-6)


def courses(neuron: DpiPopulation, inputs: list[tuple[float, float]], times: np.ndarray) -> tuple[np.ndarray, ...]:
    """The current without a threshold, and that of the linear membrane, which starts at the dark current too."""
    tau, tau_syn = neuron.tau_mem[0], neuron.tau_exc[0]

    def flows(time: float, begin: float) -> float:
        arrived = sum(height * np.exp(-(time - at) / tau_syn) for at, height in inputs if at <= begin)
        return float(neuron.dc[0] + arrived)

    real, linear = [np.log(neuron.dark[0])], [neuron.dark[0]]
    for begin, end in pairwise(times):
        done = integrate.solve_ivp(lambda t, y, start=begin: [slope(neuron, flows(t, start), y[0])], (begin, end),
                                   [real[-1]], method="RK45", rtol=1e-8, atol=1e-8)
        real.append(max(float(done.y[0, -1]), np.log(neuron.dark[0])))
        heights = sum(height * np.exp(-(begin - at) / tau_syn) for at, height in inputs if at <= begin)
        lasting, step = neuron.gain[0] / neuron.leak[0], end - begin
        rise = tau_syn / (tau_syn - tau) * (np.exp(-step / tau_syn) - np.exp(-step / tau))
        linear.append(linear[-1] * np.exp(-step / tau) + lasting * (
            heights * rise + (neuron.dc[0] - neuron.leak[0]) * -np.expm1(-step / tau)))
    return np.exp(np.array(real)), np.array(linear)


@QUICK
@hypothesis.given(st.lists(st.tuples(st.integers(0, 30), st.floats(5, 400)), min_size=1, max_size=8),
                  st.floats(1, 30), st.sampled_from([0.0, 0.01, 0.1]))
def test_the_linear_regime_is_as_near_as_it_is_said(inputs: list[tuple[int, float]], gain: float,
                                                    feedback: float) -> None:
    neuron = neurons(gain=gain * PICO, leak=20 * PICO, dc=20 * PICO, feedback=feedback, tau_mem=5e-3, tau_exc=3e-3)
    arrivals = [(at * 1e-3, height * PICO) for at, height in inputs]
    real, linear = courses(neuron, arrivals, np.arange(40) * 1e-3)
    most = max(real.max(), linear.max())
    hypothesis.assume(np.isfinite(most))  # a current that feeds itself runs away, past any threshold
    bound = linear_error(replace(neuron, threshold=np.array([most])))[0]
    assert np.abs(real - linear).max() <= bound * most * (1 + 1e-6)


def test_the_linear_regime_comes_with_the_ratio() -> None:
    """First spikes of a neuron without feedback against the linear membrane's: as the ratio rises, the error falls as
    the bound does."""
    errors = []
    for ratio in (10.0, 100.0, 1000.0):
        neuron = neurons(gain=PICO, leak=20 * PICO, dc=20 * PICO, feedback=0.0, threshold=ratio * PICO)
        height = 20 * PICO * ratio * 4  # the steady current would be four times the threshold
        fired = simulate_dpi(network_of(replace(neuron, tau_exc=np.array([1e3])), np.array([[height]])),
                             {"in": Events.from_samples([([0.0], [0])])}, 0.05)["a"].times[0]
        linear = -20e-3 * np.log1p(-(ratio - 0.5) / (4 * ratio - 0.5))
        errors.append(abs(fired - linear) / linear)
        assert errors[-1] < 2 * linear_error(neuron)[0]
    assert errors[0] > 4 * errors[1] > 16 * errors[2] and errors[2] < 0.01


def test_faults_are_told_together() -> None:
    broken = DpiNetwork(inputs={"in": (2,)}, populations={"a": neurons(2, gain=-1.0, dc=np.nan)}, projections=(
        DpiProjection(name="p", source="in", target="a", weight=np.zeros((2, 3))),
        DpiProjection(name="q", source="b", target="a", weight=np.zeros((2, 3)))))
    for run in (simulate_dpi, run_dpi):
        with pytest.raises(BadInputError) as refused:
            run(broken, {}, 1.0)
        assert sorted(each.code for each in refused.value.diagnostics) == ["SC103", "SC104", "SC107", "SC131"]
        with pytest.raises(BadInputError) as refused:
            run(network_of(neurons(), np.zeros((1, 1))), {"b": Events.from_samples([])}, np.nan, tolerance=0)
        assert sorted(each.code for each in refused.value.diagnostics) == ["SC103", "SC403", "SC403"]


def test_silence_and_nothing() -> None:
    network = network_of(neurons(), np.zeros((1, 1)))
    assert len(run_dpi(network, {}, 0.1)["a"]) == 0 and run_dpi(network, {}, 0.1)["a"].batch == 1
    empty = DpiNetwork(inputs={"in": (1,)}, populations={"a": neurons(0)}, projections=(
        DpiProjection(name="p", source="in", target="a", weight=np.zeros((0, 1))),))
    events = Events.from_samples([([0.1], [0]), ((), ())])
    assert run_dpi(empty, {"in": events}, 0.1)["a"].batch == simulate_dpi(empty, {"in": events}, 0.1)["a"].batch == 2
