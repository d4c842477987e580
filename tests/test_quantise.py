"""Quantising for a Loihi core: where the numbers of a model fit the core exactly, the integer network spikes as the
reference does, each population its latency later; where they do not, rounding is all that differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from loihi_models import graph_of, integrators, layers, raster_of, whole

from spikec import Discretization, Graph, SpikecError
from spikec.compiler.pipeline import lower
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import Diagnostics
from spikec.ir.integer.step import simulate_integer
from spikec.ir.step import simulate_step
from spikec.passes.quantise import Quantised, quantise
from spikec.passes.split_populations import split_populations
from spikec.passes.state_delays import StateDelays


def quantised(graph: Graph) -> Quantised:
    assert graph.discretization is not None
    grid, faults = graph.discretization, Diagnostics()
    split = split_populations(lower(StateDelays().run(graph)), dict.fromkeys(graph.nodes, grid), faults)
    return quantise(split.network, grid, diagnostics=faults)


def compared(graph: Graph, raster: Any) -> int:
    """Holds the integer network to the reference, spike for spike; gives the number of spikes."""
    found = quantised(graph)
    reference = simulate_step(graph, raster)
    steps = raster.shape[1]
    latest = max(each.latency for each in found.populations.values())
    result = simulate_integer(found.network, {graph.inputs[0]: raster.astype(int)}, steps + latest)
    total = 0
    for name, each in found.populations.items():
        expected = reference.spikes[name].reshape(len(raster), steps, -1)
        np.testing.assert_array_equal(result.spikes[name][:, each.latency:each.latency + steps], expected)
        assert not result.spikes[name][:, :each.latency].any()
        total += int(expected.sum())
    assert all(each.sqnr == np.inf for each in found.projections.values())
    return total


@pytest.mark.parametrize("integrator", ["exact", "decay", "euler", "semi"])
def test_integrators_spike_as_the_reference_does(integrator: Any) -> None:
    rng = np.random.default_rng(1)
    parts = layers([whole(rng, 20, 12), whole(rng, 8, 20)], Discretization(1e-3, integrator=integrator))
    assert compared(graph_of(parts), raster_of(rng, 12)) > 200


def test_ways_of_different_length_meet_in_the_same_column() -> None:
    rng = np.random.default_rng(2)
    parts = layers([whole(rng, 20, 12), whole(rng, 15, 20), whole(rng, 8, 15)])
    parts["nodes"] |= {"skip": ir.Linear(weight=whole(rng, 8, 12)), "late": ir.Delay(delay=np.full(8, 3e-3))}
    parts["edges"] += [("in", "skip"), ("skip", "late"), ("late", "n2")]
    graph = graph_of(parts)
    assert compared(graph, raster_of(rng, 12)) > 200
    found = quantised(graph)
    assert {name: each.latency for name, each in found.populations.items()} == {"n0": 1, "n1": 2, "n2": 3}


def test_recurrence_takes_its_one_column() -> None:
    rng = np.random.default_rng(3)
    parts = layers([whole(rng, 10, 12)])
    parts["nodes"]["own"] = ir.Linear(weight=whole(rng, 10, 10, most=20))
    parts["edges"] += [("n0", "own"), ("own", "n0")]
    assert compared(graph_of(parts), raster_of(rng, 12)) > 100


def test_a_cycle_that_is_faster_than_the_chip_is_told() -> None:
    rng = np.random.default_rng(4)
    parts = layers([whole(rng, 6, 5), whole(rng, 6, 6)])
    parts["nodes"]["back"] = ir.Linear(weight=whole(rng, 6, 6, most=20))
    parts["edges"] += [("n1", "back"), ("back", "n0")]
    graph = graph_of(parts)
    with pytest.raises(SpikecError) as caught:
        quantised(graph)
    assert [each.code for each in caught.value.diagnostics] == ["SC320"]
    slower = graph.replace(discretization=Discretization(1e-3, delay=2))
    assert compared(slower, raster_of(rng, 5)) > 50


def test_convolutions() -> None:
    rng = np.random.default_rng(5)
    conv = ir.Conv2d(weight=whole(rng, 4, 2, 3, 3, most=30), stride=(2, 1), padding=(1, 0), dilation=(1, 2),
                     input_shape=(7, 8))
    shape = (4, 4, 4)
    nodes = {"in": ir.Input(shape=(2, 7, 8)), "conv": conv,
             "n0": ir.IF(shape=shape, r=np.ones(shape), reset="zero"), "flat": ir.Flatten(),
             "fc": ir.Linear(weight=whole(rng, 5, 64, most=20)), "n1": integrators(5), "out": ir.Output(shape=(5,))}
    edges = [("in", "conv"), ("conv", "n0"), ("n0", "flat"), ("flat", "fc"), ("fc", "n1"), ("n1", "out")]
    grid = Discretization(1.0)
    graph = Graph(nodes, tuple(edges), grid)
    raster = (rng.random((2, 60, 2, 7, 8)) < 0.2) * 1.0
    assert compared(graph, raster) > 200


@pytest.mark.parametrize(("integrator", "lag"), [("decay", 0), ("semi", 0), ("euler", 1), ("exact", 1)])
def test_currents_and_leaks_are_rounded_and_nothing_else(integrator: Any, lag: int) -> None:
    rng = np.random.default_rng(6)
    n = 30
    neuron = ir.CubaLIF(shape=(n,), tau_mem=np.full(n, 10e-3), tau_syn=np.full(n, 4e-3), r=np.full(n, 4.0),
                        v_threshold=rng.uniform(0.5, 2.0, n), v_reset=np.full(n, -0.5), v0=np.full(n, -0.5),
                        v_leak=np.full(n, -0.2))
    nodes = {"in": ir.Input(shape=(25,)), "fc": ir.Linear(weight=rng.normal(0.3, 1.0, (n, 25)) * 2e-3), "n": neuron,
             "out": ir.Output(shape=(n,))}
    graph = Graph(nodes, (("in", "fc"), ("fc", "n"), ("n", "out")), Discretization(1e-3, integrator=integrator))
    raster = (rng.random((4, 300, 25)) < 0.3) * 1.0
    found = quantised(graph)
    record = found.populations["n"]
    assert record.latency == 1 - lag
    result = simulate_integer(found.network, {"in": raster.astype(int)}, 300 + record.latency)
    reference = simulate_step(graph, raster)
    mine, theirs = result.spikes["n"][:, record.latency:][:, :300], reference.spikes["n"]
    assert theirs.sum() > 500
    either = (mine > 0) | (theirs > 0)
    assert ((mine > 0) & (theirs > 0))[either].mean() > 0.85
    # Until the first spike of a neuron has differed, membranes differ by rounding alone.
    alike = np.logical_and.accumulate(mine == theirs, axis=1)
    membrane = result.v["n"][:, record.latency:][:, :300] / record.scale + record.offset
    difference = np.abs(membrane - reference.voltage["n"])[alike].max()
    assert difference < 0.03 * np.abs(reference.voltage["n"]).max()
    assert all(each.sqnr > 35 for each in found.projections.values())


def test_what_a_core_cannot_hold_is_told_at_once() -> None:
    rng = np.random.default_rng(7)
    n = 6
    neuron = ir.LIF(shape=(n,), tau=np.full(n, 10e-3), r=np.ones(n), refractory=np.full(n, 3e-3),
                    v_threshold=np.ones(n), reset="zero")
    nodes = {"in": ir.Input(shape=(4,)), "fc": ir.Linear(weight=rng.normal(size=(n, 4))), "n": neuron,
             "out": ir.Output(shape=(n,))}
    graph = Graph(nodes, (("in", "fc"), ("fc", "n"), ("n", "out")), Discretization(1e-3, spikes="many"))
    with pytest.raises(SpikecError) as caught:
        quantised(graph)
    assert [each.code for each in caught.value.diagnostics] == ["SC321"] * 2
    told = " ".join(each.message for each in caught.value.diagnostics)
    assert all(word in told for word in ("at most once a column", "refractory"))


def test_a_constant_current_beyond_the_bias_is_told() -> None:
    parts = layers([np.ones((3, 2))])
    parts["nodes"]["fc0"] = ir.Affine(weight=np.ones((3, 2)), bias=np.array([0.0, 1e8, 0.0]))
    with pytest.raises(SpikecError) as caught:
        quantised(graph_of(parts))
    assert caught.value.diagnostics[0].code == "SC321"
    assert "neuron 1" in str(caught.value.diagnostics[0].value)


