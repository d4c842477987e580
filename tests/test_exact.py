"""The continuous-time reference against published numbers, closed forms, the matrix exponential and identities."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from spikec.ir.diagnostics import BadInputError, UnsupportedError
from spikec.ir.events import Events
from spikec.ir.exact import ExactResult, simulate_exact
from spikec.ir.graph import Discretization, Graph
from spikec.ir.membranes import Membranes, divided_difference
from spikec.ir.nodes import (
    IF,
    LI,
    LIF,
    Affine,
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    CubaLI,
    CubaLIF,
    Delay,
    Flatten,
    I,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Output,
    Scale,
    SparseLinear,
    SumPool2d,
    Threshold,
)
from spikec.ir.stateless import through

PAPER = {"tau_mem": 2.0, "tau_syn": 1.0}  # V' as in the published cases: w_in = tau_syn


def network(*layers: tuple[str, Node], inputs: int, extra: tuple[tuple[str, str], ...] = (), **options: Any) -> Graph:
    """in -> layers in a chain -> out; `extra` edges."""
    last = layers[-1][1]
    nodes = {"in": Input(shape=(inputs,)), **dict(layers), "out": Output(shape=last.shape)}
    names = list(nodes)
    return Graph(nodes, (*pairwise(names), *extra), **options)


def one(neuron: Node, weights: Any, **options: Any) -> Graph:
    weights = np.atleast_1d(np.asarray(weights, dtype=float))
    return network(("fc", Linear(weight=weights[None])), ("n", neuron), inputs=len(weights), **options)


def events(times: Any) -> Events:
    return Events.from_samples([(times, np.arange(len(times)))])


def times(result: ExactResult, node: str = "out") -> np.ndarray[Any, Any]:
    return np.asarray(result.spikes[node].times)


def fires(neuron: Node, weights: Any, at: Any, duration: float = 50.0, **options: Any) -> np.ndarray[Any, Any]:
    return times(simulate_exact(one(neuron, weights, **options), events(at), duration))


# --- the published cases -------------------------------------------------------------------------------------------

def single_input_times(w: float, count: int) -> np.ndarray[Any, Any]:
    """tau_mem = 2, tau_syn = 1, threshold 1, reset to 0, one input w at 0: with y = e^(-t/2), V = w (y - y^2) - sum of
    e^(-(t - t_k)/2) over earlier spikes, so each spike is a root of a quadratic in y."""
    found: list[float] = []
    linear = w
    for _ in range(count):
        y = (linear + np.sqrt(linear**2 - 4 * w)) / (2 * w)
        found.append(-2 * np.log(y))
        linear -= 1 / y
    return np.array(found)


@pytest.mark.parametrize(("w", "count", "last", "slope"), [
    (5.0, 1, 0.647014262315, -0.247213595500), (12.0, 4, 1.294860802385, -0.272436679261),
    (30.0, 13, 2.410131605588, -0.442306349581),
])
def test_one_input(w: float, count: int, last: float, slope: float) -> None:
    neuron = CubaLIF(shape=(1,), **PAPER)
    found = fires(neuron, w, [0.0])
    assert found == pytest.approx(single_input_times(w, count), abs=1e-12)
    assert found[-1] == pytest.approx(last, abs=1e-10)
    step = 1e-6
    derivative = (fires(neuron, w + step, [0.0])[-1] - fires(neuron, w - step, [0.0])[-1]) / (2 * step)
    assert derivative == pytest.approx(slope, rel=1e-8)


def test_three_inputs_and_their_derivatives() -> None:
    neuron, at, w = CubaLIF(shape=(1,), **PAPER), np.array([0.0, 0.5, 1.2]), np.array([4.0, 6.0, -1.5])
    assert fires(neuron, w, at) == pytest.approx([0.586060794134, 0.917331857932, 1.864726291047], abs=1e-10)
    step, unit = 1e-6, np.eye(3)
    by_weight = [(fires(neuron, w + step * e, at)[2] - fires(neuron, w - step * e, at)[2]) / (2 * step) for e in unit]
    assert by_weight == pytest.approx([-1.515702051164, -1.442839734729, -1.065089663795], rel=1e-7)
    shifted = at + 0.1  # from rest, so that no input has a negative time
    by_time = [(fires(neuron, w, shifted + step * e)[2] - fires(neuron, w, shifted - step * e)[2]) / (2 * step)
               for e in unit]
    assert by_time == pytest.approx([-0.27096568465, 2.498271099341, -1.227305414691], rel=1e-7)
    assert len(fires(neuron, [4.0, 6.0, -1.7], at)) == 2


@pytest.mark.parametrize(("eps", "slope"), [(1e-2, -2.240068), (1e-4, -24.74878), (1e-6, -249.7499)])
def test_grazing(eps: float, slope: float) -> None:
    neuron, w, step = CubaLIF(shape=(1,), **PAPER), 4 * (1 + eps), 1e-3 * eps
    derivative = (fires(neuron, w + step, [0.0])[0] - fires(neuron, w - step, [0.0])[0]) / (2 * step)
    assert derivative == pytest.approx(slope, rel=1e-5)
    assert fires(neuron, w, [0.0])[0] == pytest.approx(single_input_times(w, 1)[0], abs=1e-14 / eps)
    assert len(fires(neuron, 4 * (1 - eps), [0.0])) == 0


GENERAL = {"shape": (1,), "r": 1.5, "v_leak": 0.2, "v_reset": -0.3, "tau_mem": 1.7, "tau_syn": 0.8, "w_in": 0.7}


def chain_of_two(w: Any, between: float, at: Any) -> ExactResult:
    graph = network(("fc", Linear(weight=[list(w)])), ("a", CubaLIF(**GENERAL)), ("ab", Linear(weight=[[between]])),
                    ("b", CubaLIF(**GENERAL)), inputs=4)
    return simulate_exact(graph, events(at), 6.0)


def test_chain_with_general_parameters() -> None:
    w, between, at = np.array([2.2, 1.9, 2.5, 1.1]), 3.1, np.array([0.0, 0.4, 0.9, 1.5])
    found = chain_of_two(w, between, at)
    assert times(found, "a") == pytest.approx([0.674289893183, 1.287844686525, 2.148434562049], abs=1e-10)
    assert times(found) == pytest.approx([1.305274895002, 1.869567244471, 2.463743456714], abs=1e-10)

    def slope(w_step: Any = 0.0, between_step: float = 0.0, time_step: Any = 0.0) -> float:
        one_side, other = (chain_of_two(w + h * w_step, between + h * between_step, at + h * time_step)
                           for h in (1e-6, -1e-6))
        return float(sum(times(one_side) - times(other)) + 0.5 * sum(times(one_side, "a") - times(other, "a"))) / 2e-6

    unit = np.eye(4)
    assert [slope(w_step=e) for e in unit] == pytest.approx(
        [-1.739691911665, -1.569036296326, -1.088346774592, -0.542350333273], rel=1e-7)
    assert slope(between_step=1.0) == pytest.approx(-1.178826223154, rel=1e-7)
    assert [slope(time_step=e) for e in unit[1:]] == pytest.approx(
        [1.664082206352, 1.871841153374, 0.385781881573], rel=1e-7)


# --- the solution of the membrane equation ---------------------------------------------------------------------------

@pytest.mark.parametrize("tau_mem", [1e-3, 4.9e-3, 5e-3, 5e-3 * (1 + 1e-13), 1e-2, 0.3])
@pytest.mark.parametrize("elapsed", [0.0, 1e-9, 2e-3, 0.05])
def test_membranes_equal_the_matrix_exponential(tau_mem: float, elapsed: float) -> None:
    node = CubaLI(shape=(1,), tau_mem=tau_mem, tau_syn=5e-3, r=1.3, v_leak=-0.4, w_in=0.7, v0=0.3)
    membranes = Membranes.at_rest([node], np.array([0.2]))
    membranes.current[:], membranes.drive[:] = 1.7, 0.5
    with mpmath.workdps(40):
        leak, decay, late = 1 / mpmath.mpf(tau_mem), 1 / mpmath.mpf(5e-3), mpmath.mpf(elapsed)
        rate = mpmath.matrix([[-leak, leak * 1.3, -leak * 0.4], [0, -decay, decay * 0.7 * (0.5 + 0.2)], [0, 0, 0]])
        wanted = [float(each) for each in mpmath.expm(rate * late) * mpmath.matrix([0.3, 1.7, 1])]
    got = membranes.at(np.array([0]), np.array([elapsed]))
    assert [float(got[0][0]), float(got[1][0])] == pytest.approx(wanted[:2], rel=1e-12, abs=1e-13)


def test_divided_difference_is_continuous() -> None:
    ratios = 1 + np.array([0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3])
    found = divided_difference(-ratios, np.array(-1.0), np.array(2.0))
    assert found == pytest.approx(2 * np.exp(-2) * (1 - (ratios - 1) + 2 / 3 * (ratios - 1) ** 2), rel=1e-9)
    assert np.isfinite(divided_difference(np.array([-1e6, 0.0]), np.array([0.0, -1e-9]), np.array(1e4))).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_turning_point_is_where_the_slope_changes_sign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    node = CubaLI(shape=(200,), tau_mem=rng.uniform(1, 3, 200), tau_syn=rng.uniform(1, 3, 200), v0=rng.normal(size=200),
                  v_leak=rng.normal(size=200))
    membranes = Membranes.at_rest([node], np.zeros(200))
    membranes.current[:] = rng.normal(0, 3, 200)
    everyone, grid = np.arange(200), np.linspace(0, 12, 4001)
    course = np.array([membranes.at(everyone, np.full(200, t))[0] for t in grid])
    turns = np.abs(np.diff(np.sign(np.diff(course, axis=0)), axis=0)).argmax(axis=0)
    has_one = (np.diff(np.sign(np.diff(course, axis=0)), axis=0) != 0).any(axis=0)
    turning = membranes.turning(everyone)
    assert has_one.sum() > 50
    assert np.abs(turning[has_one] - grid[turns[has_one] + 1]).max() < 2 * grid[1]
    assert (turning[~has_one] > 11.99).sum() + (turning[~has_one] < 0.01).sum() == (~has_one).sum()


# --- single neurons --------------------------------------------------------------------------------------------------

def test_constant_drive_has_the_textbook_period() -> None:
    tau, threshold, drive, rest = 0.02, 1.0, 1.8, 3e-3
    neuron = LIF(shape=(1,), tau=tau, r=2.0, v_threshold=threshold, refractory=rest)
    graph = network(("fc", Affine(weight=[[1.0]], bias=[drive / 2])), ("n", neuron), inputs=1)
    found = times(simulate_exact(graph, {}, 0.1))
    rise = tau * np.log(drive / (drive - threshold))
    assert found == pytest.approx([rise + k * (rise + rest) for k in range(len(found))], abs=1e-14)
    assert len(found) == int((0.1 - rise) / (rise + rest)) + 1


def test_impulses_at_one_instant_are_summed_then_tested_once() -> None:
    neuron = LIF(shape=(1,), tau=0.01, r=0.01)
    assert len(fires(neuron, [0.6, 0.6], [1.0, 1.0])) == 1
    assert len(fires(neuron, [0.6, 0.6], [1.0, 2.0])) == 0
    assert len(fires(neuron, [1.5, -0.6], [1.0, 1.0])) == 0
    assert len(fires(neuron, [1.0], [1.0])) == 0  # not above
    assert fires(IF(shape=(1,)), [0.6, 0.6], [1.0, 2.0]) == pytest.approx([2.0])


@pytest.mark.parametrize(("reset", "after"), [("zero", 0.0), ("v_reset", -0.5), ("subtract", 1.5)])
def test_reset_rules_on_a_jump(reset: Any, after: float) -> None:
    neuron = IF(shape=(1,), reset=reset, v_reset=-0.5)
    result = simulate_exact(one(neuron, [2.5, 0.0, 0.1]), events([1.0, 2.0, 3.0]), 5.0, {"n.v": [0.9, 1.0, 1.5, 3.0]})
    second = [3.0] if reset == "subtract" else []  # still above threshold: fires at its next input
    assert list(times(result)) == [1.0, *second]
    assert result.probes["n.v"].reshape(-1) == pytest.approx([0.0, after, after, after + 0.1 - len(second)])


def test_refractory_period_holds_the_membrane_and_loses_impulses() -> None:
    neuron = LIF(shape=(1,), tau=1.0, refractory=0.5)
    result = simulate_exact(one(neuron, [2.0, 5.0, 0.5]), events([1.0, 1.4, 1.6]), 3.0, {"n.v": [1.2, 1.45, 1.6, 2.0]})
    assert list(times(result)) == [1.0]
    assert result.probes["n.v"].reshape(-1) == pytest.approx([0, 0, 0.5, 0.5 * np.exp(-0.4)])
    cuba = CubaLIF(shape=(1,), tau_mem=2.0, tau_syn=1.0, refractory=0.3)
    first, second = fires(cuba, 30.0, [0.0])[:2]
    assert first == pytest.approx(single_input_times(30.0, 1)[0])
    # the current goes on: the second is the first of an input 30 e^(-(first + 0.3)) at first + 0.3
    assert second == pytest.approx(first + 0.3 + single_input_times(30.0 * np.exp(-(first + 0.3)), 1)[0], abs=1e-12)


def test_a_start_above_threshold_fires_at_zero() -> None:
    assert list(fires(LIF(shape=(1,), tau=1.0, v0=1.5), 0.0, [0.5])) == [0.0]
    assert list(fires(LIF(shape=(1,), tau=1.0, v0=1.5), -0.6, [0.0])) == []  # what arrives at 0 counts first


def test_a_box_is_a_current_for_dt() -> None:
    dt, tau, w = 0.5, 1.0, 3.0
    grid = Discretization(dt, spike="box")
    graph = one(LIF(shape=(1,), tau=tau), w, discretization=grid)
    result = simulate_exact(graph, events([0.2]), 4.0)
    assert times(result) == pytest.approx([0.2 + tau * np.log(w / (w - 1))], abs=1e-14)
    readout = one(LI(shape=(1,), tau=tau), w, discretization=grid)
    result = simulate_exact(readout, events([0.2]), 4.0, {"n.v": [0.1, 0.4, 0.7, 2.0]})
    top = w * (1 - np.exp(-dt))
    assert result.probes["n.v"].reshape(-1) == pytest.approx(
        [0, w * (1 - np.exp(-0.2)), top, top * np.exp(-1.3)], abs=1e-14)
    highest, when = result.voltage_max["out"]
    assert (highest[0, 0], when[0, 0]) == pytest.approx((top, 0.7), abs=1e-14)


def test_the_maximum_of_a_readout() -> None:
    tau_mem, tau_syn, w = 0.02, 0.005, 1.4
    node = CubaLI(shape=(1,), tau_mem=tau_mem, tau_syn=tau_syn, w_in=tau_syn)
    highest, when = simulate_exact(one(node, w), events([0.01]), 0.2).voltage_max["out"]
    peak = tau_mem * tau_syn / (tau_mem - tau_syn) * np.log(tau_mem / tau_syn)
    height = w * tau_syn / (tau_mem - tau_syn) * (np.exp(-peak / tau_mem) - np.exp(-peak / tau_syn))
    assert (highest[0, 0], when[0, 0]) == pytest.approx((height, 0.01 + peak), abs=1e-13)
    result = simulate_exact(one(I(shape=(1,), v0=-1.0), [2.0, -3.0]), events([1.0, 2.0]), 5.0)
    assert (result.voltage_max["n"][0][0, 0], result.voltage_max["n"][1][0, 0]) == (1.0, 1.0)


# --- networks --------------------------------------------------------------------------------------------------------

def recurrent(seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> tuple[Graph, Events]:
    rng = np.random.default_rng(seed)
    size, channels = 7, 5
    nodes = {
        "in": Input(shape=(channels,)),
        "fc": Linear(weight=scale * rng.normal(0.9, 0.8, (size, channels)),
                     delay=rng.uniform(0, 2e-3, (size, channels))),
        "n": CubaLIF(shape=(size,), tau_mem=rng.uniform(10e-3, 20e-3, size), tau_syn=5e-3, w_in=5e-3,
                     refractory=rng.uniform(0, 2e-3, size), v_threshold=np.full(size, 0.3 * scale)),
        "rec": Linear(weight=scale * rng.normal(0, 0.3, (size, size))),
        "late": Delay(delay=rng.uniform(0, 3e-3, size)),
        "out": Output(shape=(size,)),
    }
    edges = (("in", "fc"), ("fc", "n"), ("n", "rec"), ("rec", "late"), ("late", "n"), ("n", "out"))
    return Graph(nodes, edges), Events.from_samples([
        (shift + rng.uniform(0, 0.03, 12), rng.integers(0, channels, 12)) for _ in range(2)
    ])


def test_shift_and_scale() -> None:
    base = simulate_exact(*recurrent(), duration=0.05).spikes["n"]
    assert len(base) > 40
    shifted = simulate_exact(*recurrent(shift=0.01), duration=0.06).spikes["n"]
    assert shifted.times - 0.01 == pytest.approx(base.times, abs=1e-12)
    scaled = simulate_exact(*recurrent(scale=7.0), duration=0.05).spikes["n"]
    assert scaled.times == pytest.approx(base.times, abs=1e-12)
    assert (scaled.indices == base.indices).all()


def test_two_runs_are_one_long_run() -> None:
    graph, given = recurrent()
    graph = graph.replace(discretization=Discretization(1e-3, spike="box")).with_nodes(
        {"n": CubaLIF(shape=(7,), tau_mem=15e-3, tau_syn=5e-3, v_threshold=2e-2, refractory=1.5e-3)})
    whole = simulate_exact(graph, given, 0.05)
    cut, samples = 0.021, [given.sample(number) for number in range(2)]
    first = simulate_exact(graph, given, cut)
    rest = Events.from_samples([(t[t > cut] - cut, i[t > cut]) for t, i in samples])
    second = simulate_exact(graph, rest, 0.05 - cut, state=first.state)
    for sample in range(2):
        early, late = first.spikes["n"].sample(sample), second.spikes["n"].sample(sample)
        joined = np.concatenate([early[0], late[0] + cut])
        assert len(early[0]) > 10
        assert len(late[0]) > 10
        assert joined == pytest.approx(whole.spikes["n"].sample(sample)[0], abs=1e-12)
    assert second.state.voltage == pytest.approx(whole.state.voltage, abs=1e-11)


def test_delays_shift_and_sparse_equals_dense() -> None:
    weight, delay = np.array([[5.0, 0.0], [0.0, 7.0]]), np.array([[0.3, 0.0], [0.0, 0.1]])
    neuron = CubaLIF(shape=(2,), **PAPER)
    sparse = SparseLinear(size=(2, 2), indptr=(0, 1, 2), indices=(0, 1), weight=[5.0, 7.0], delay=[0.3, 0.1])
    plain, dense, csr, node = (
        simulate_exact(network(*front, ("n", neuron), inputs=2), events([0.0, 0.2]), 9.0).spikes["n"]
        for front in ((("fc", Linear(weight=weight)),), (("fc", Linear(weight=weight, delay=delay)),),
                      (("fc", sparse),), (("fc", Linear(weight=weight)), ("d", Delay(delay=[0.3, 0.1]))))
    )
    for late in (dense, csr, node):
        for index, shift in ((0, 0.3), (1, 0.1)):
            assert late.times[late.indices == index] == pytest.approx(plain.times[plain.indices == index] + shift)


def test_a_spike_without_delay_acts_at_its_own_instant() -> None:
    neuron = LIF(shape=(1,), tau=1.0)
    nodes = {"in": Input(shape=(1,)), "a": neuron, "b": neuron, "out": Output(shape=(1,)),
             "half": Scale(scale=[0.6]), "ab": Scale(scale=[0.6]), "ina": Scale(scale=[2.0])}
    edges = (("in", "half"), ("half", "b"), ("in", "ina"), ("ina", "a"), ("a", "ab"), ("ab", "b"), ("b", "out"))
    assert list(times(simulate_exact(Graph(nodes, edges), events([1.0]), 2.0))) == [1.0]


def test_firing_twice_at_one_instant_is_refused() -> None:
    graph = network(("n", LIF(shape=(1,), tau=1.0)), inputs=1, extra=(("n", "n"),)).with_nodes(
        {"n": LIF(shape=(1,), tau=1.0, r=2.0)})
    with pytest.raises(UnsupportedError, match="SC401"):
        simulate_exact(graph, events([1.0]), 2.0)
    resting = graph.with_nodes({"n": LIF(shape=(1,), tau=1.0, r=2.0, refractory=0.1)})
    assert list(times(simulate_exact(resting, events([1.0]), 2.0))) == [1.0]


def test_the_batch_is_independent_samples() -> None:
    graph, given = recurrent()
    both = simulate_exact(graph, given, 0.05).spikes["n"]
    for number in range(2):
        alone = simulate_exact(graph, Events.from_samples([given.sample(number)]), 0.05).spikes["n"]
        assert (alone.times == both.sample(number)[0]).all()


def test_duration_is_asked_for_where_it_is_needed() -> None:
    driven = network(("fc", Affine(weight=[[1.0]], bias=[2.0])), ("n", LIF(shape=(1,), tau=1.0)), inputs=1)
    loop, given = recurrent()
    for graph, fed in ((driven, events([0.0])), (loop, given)):
        with pytest.raises(BadInputError, match="SC402"):
            simulate_exact(graph, fed)
    quiet = one(CubaLIF(shape=(1,), **PAPER), 12.0)
    assert len(times(simulate_exact(quiet, events([0.0])))) == 4


def test_what_has_no_meaning_is_refused_with_a_remedy() -> None:
    spiking, image = {"shape": (1, 4, 4), "tau": 1.0}, Input(shape=(1, 4, 4))
    graph = Graph(
        {"in": image, "n": LIF(**spiking), "max": MaxPool2d(kernel_size=(2, 2), stride=(2, 2)),
         "step": Threshold(threshold=[0.5]), "read": LI(shape=(1, 2, 2), tau=1.0),
         "again": LIF(shape=(1, 2, 2), tau=1.0), "out": Output(shape=(1, 2, 2))},
        (("in", "n"), ("n", "max"), ("max", "step"), ("step", "read"), ("read", "again"), ("again", "out")))
    with pytest.raises(UnsupportedError) as refusal:
        simulate_exact(graph, {}, 1.0)
    assert {(fault.code, fault.node) for fault in refusal.value.diagnostics} == {
        ("SC302", "max"), ("SC302", "step"), ("SC304", "read")}
    assert all(fault.remedy for fault in refusal.value.diagnostics)


def test_arguments_are_checked_together() -> None:
    with pytest.raises(BadInputError) as refusal:
        simulate_exact(one(LIF(shape=(1,), tau=1.0), 1.0), {"out": events([0.0])}, -1.0, {"n.x": [0.0]})
    assert [fault.code for fault in refusal.value.diagnostics] == ["SC403"] * 3


# --- the nodes without state, against torch --------------------------------------------------------------------------

RNG = np.random.default_rng(7)
IMAGE = RNG.normal(size=(2, 4, 9, 8))
CONVOLUTION = {"weight": RNG.normal(size=(6, 2, 3, 2)), "bias": RNG.normal(size=6), "groups": 2}


def tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(array))


@pytest.mark.parametrize("settings", [
    {"stride": (2, 1), "padding": (1, 0), "dilation": (2, 1)}, {"padding": "same", "dilation": (1, 2)},
    {"padding": "valid", "stride": (3, 2)},
])
def test_convolution_is_torchs(settings: dict[str, Any]) -> None:
    node = Conv2d(**CONVOLUTION, **settings)
    plain = {name: tensor(CONVOLUTION[name]) for name in ("weight", "bias")}
    wanted = torch.nn.functional.conv2d(tensor(IMAGE), groups=2, **plain, **settings)
    assert through(node, IMAGE, constant=True) == pytest.approx(wanted.numpy(), abs=1e-12)
    without = torch.nn.functional.conv2d(tensor(IMAGE), plain["weight"], groups=2, **settings)
    assert through(node, IMAGE) == pytest.approx(without.numpy(), abs=1e-12)
    line = Conv1d(weight=CONVOLUTION["weight"][:, :, 0], groups=2, stride=2, padding=1)
    wanted = torch.nn.functional.conv1d(tensor(IMAGE[:, :, 0]), plain["weight"][:, :, 0], stride=2, padding=1, groups=2)
    assert through(line, IMAGE[:, :, 0]) == pytest.approx(wanted.numpy(), abs=1e-12)


def test_pools_normalisation_and_axes_are_torchs() -> None:
    window = {"kernel_size": (3, 2), "stride": (2, 2), "padding": (1, 1)}
    mean = torch.nn.functional.avg_pool2d(tensor(IMAGE), **window).numpy()
    assert through(AvgPool2d(**window), IMAGE) == pytest.approx(mean)
    assert through(SumPool2d(**window), IMAGE) == pytest.approx(6 * mean)
    assert through(MaxPool2d(**window), IMAGE) == pytest.approx(
        torch.nn.functional.max_pool2d(tensor(IMAGE), **window).numpy())
    gamma, beta, centre, variance = RNG.normal(size=4), RNG.normal(size=4), RNG.normal(size=4), RNG.uniform(1, 2, 4)
    norm = BatchNorm(gamma=gamma, beta=beta, mean=centre, variance=variance)
    wanted = torch.nn.functional.batch_norm(tensor(IMAGE), *map(tensor, (centre, variance, gamma, beta))).numpy()
    assert through(norm, IMAGE, constant=True) == pytest.approx(wanted)
    assert through(norm, IMAGE) == pytest.approx(wanted - through(norm, 0 * IMAGE, constant=True))
    assert through(Flatten(start_dim=1), IMAGE).shape == (2, 4, 72)
    csr = SparseLinear(size=(2, 4), indptr=(0, 2, 3), indices=(0, 3, 1), weight=[1.0, 2.0, 3.0], bias=[0.5, -0.5])
    wanted = IMAGE[:, :, 0, 0] @ np.array([[1.0, 0, 0, 2], [0, 3, 0, 0]]).T
    assert through(csr, IMAGE[:, :, 0, 0]) == pytest.approx(wanted)
    assert through(csr, IMAGE[:, :, 0, 0], constant=True) == pytest.approx(wanted + np.array([0.5, -0.5]))


def test_a_convolutional_network_is_its_unrolled_matrix() -> None:
    conv = Conv2d(weight=RNG.normal(0.6, 0.4, (2, 1, 3, 3)), bias=[0.2, -0.1], padding=(1, 1))
    norm = BatchNorm(gamma=[1.2, 0.8], beta=[0.1, 0.3], mean=[0.0, 0.2], variance=[1.0, 2.0])
    front = (("conv", conv), ("norm", norm),
             ("pool", SumPool2d(kernel_size=(2, 2), stride=(2, 2))), ("flat", Flatten()))
    basis, pattern = np.eye(16).reshape(16, 1, 4, 4), np.zeros((1, 1, 4, 4))
    for _, node in front:
        basis, pattern = through(node, basis), through(node, pattern, constant=True)
    neuron = LIF(shape=(8,), tau=1.0, v_threshold=np.linspace(1.0, 3.0, 8))
    stencil = network(*front, ("n", neuron), inputs=16).with_nodes({"in": Input(shape=(1, 4, 4))})
    matrix = network(("fc", Affine(weight=basis.T, bias=pattern[0])), ("n", neuron), inputs=16)
    given = Events.from_samples([(RNG.uniform(0, 3, 40), RNG.integers(0, 16, 40))])
    one_way, other = (simulate_exact(graph, given, 4.0).spikes["n"] for graph in (stencil, matrix))
    assert len(one_way) > 10
    assert one_way.times == pytest.approx(other.times, abs=1e-12)
    assert (one_way.indices == other.indices).all()
