"""States of a core stay within 24 bits, or it is told; weights of sources that are silent in the data are kept; as many
spikes by other neurons are no agreement."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from loihi_models import raster_of

import spikec
from spikec import BadInputError, Discretization, Graph, SpikecWarning
from spikec.ir import nodes as ir
from spikec.ir.step import simulate_step

GRID = Discretization(1e-3, integrator="decay", reset="next")


def one_layer(weight: Any, beta: float = 0.9, **changes: Any) -> Graph:
    """As snnTorch's Leaky, which is reset by subtraction."""
    n, inputs = weight.shape
    node = ir.LIF(shape=(n,), tau=np.full(n, -1e-3 / np.log(beta)), r=np.full(n, -1e-3 / np.log(beta)),
                  **{"reset": "subtract"} | changes)
    nodes = {"in": ir.Input(shape=(inputs,)), "fc": ir.Linear(weight=weight), "n": node, "out": ir.Output(shape=(n,))}
    return Graph(nodes, (("in", "fc"), ("fc", "n"), ("n", "out")), GRID)


def spikes(program: Any, raster: Any) -> int:
    return len(program.run(raster).spikes["n"])


@pytest.mark.parametrize("mean", [-0.3, -0.1, 0.3])
@pytest.mark.parametrize("beta", [0.9, 0.99])
def test_no_current_wraps_around(mean: float, beta: float) -> None:
    rng = np.random.default_rng(1)
    graph = one_layer(rng.normal(mean, 0.1, (20, 100)), beta)
    raster = (rng.random((2, 80, 100)) < 0.3) * 1.0
    expected = int(simulate_step(graph, raster).spikes["n"].sum())
    for options in ({}, {"calibration": raster}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpikecWarning)
            program = spikec.compile(graph, "loihi2", **options)
        assert abs(spikes(program, raster) - expected) <= 0.02 * expected + 1
    assert program.calibration is not None
    assert all(max(peaks) < 0.98 * 2**23 for peaks in program.calibration.peaks.values())


def test_a_current_that_could_wrap_around_is_told_where_no_data_say_more() -> None:
    weight = np.full((3, 100), -3.0)
    with pytest.warns(SpikecWarning, match="SC325"):
        spikec.compile(one_layer(weight), "loihi2")
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpikecWarning)
        spikec.compile(one_layer(weight), "loihi2", calibration=raster_of(np.random.default_rng(0), 100))


def test_a_readout_that_is_clipped_is_told_when_it_runs() -> None:
    nodes = {"in": ir.Input(shape=(4,)), "fc": ir.Linear(weight=np.ones((2, 4))), "o": ir.I(shape=(2,), r=np.ones(2)),
             "out": ir.Output(shape=(2,))}
    graph = Graph(nodes, (("in", "fc"), ("fc", "o"), ("o", "out")), GRID)
    long = np.ones((1, 500, 4))
    program = spikec.compile(graph, "loihi2")
    with pytest.warns(SpikecWarning, match="SC325"):
        program.run(long)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpikecWarning)
        wide = spikec.compile(graph, "loihi2", calibration=long)
        membrane = wide.run(long, probes={"o.v": None}).probes["o.v"]
    np.testing.assert_allclose(membrane[0, -1], 4 * 499, rtol=0.01)


def test_weights_of_sources_that_are_silent_in_the_data_are_kept() -> None:
    rng = np.random.default_rng(2)
    weight = rng.normal(0, 0.02, (10, 40))
    weight[:, 0] = 1.5
    silent = raster_of(rng, 40)
    silent[:, :, 0] = 0
    for data in (silent, 0 * silent):
        program = spikec.compile(one_layer(weight), "loihi2", calibration=data)
        record, projection = program.quantised.projections["fc"], program.quantised.network.projections[0]
        held = projection.connection.weight[:, 0] * 2.0**record.exponent / record.factor
        np.testing.assert_allclose(held, 1.5, rtol=0.02)


def test_as_many_spikes_of_other_neurons_are_a_mismatch() -> None:
    rng = np.random.default_rng(3)
    weight = rng.normal(0.1, 0.3, (20, 12))
    program = spikec.compile(one_layer(weight), "loihi2")
    raster = raster_of(rng, 12)
    assert spikec.validate(program, "reference", raster).ok
    found = spikec.validate(program, one_layer(weight[::-1].copy()), raster)
    assert abs(found.layers[0].spikes_a - found.layers[0].spikes_b) < 0.02 * found.layers[0].spikes_a
    assert found.verdict == "differs"


@pytest.mark.parametrize("method", ["mse", "minmax", "percentile"])
@pytest.mark.parametrize("value", [0.0, 1e-310, 5e-324])
def test_weights_that_are_next_to_nothing(method: Any, value: float) -> None:
    program = spikec.compile(one_layer(np.full((3, 4), value)), "loihi2", method=method)
    assert spikes(program, np.ones((1, 20, 4))) == 0


@pytest.mark.parametrize("value", [1e30, 1e300])
def test_weights_beyond_all_others_are_told(value: float) -> None:
    weight = np.random.default_rng(4).normal(0, 0.2, (6, 8))
    weight[0, 0] = value
    with pytest.warns(SpikecWarning, match="SC326"):
        spikec.compile(one_layer(weight, reset="zero"), "loihi2")


def test_more_chips_than_there_are_anywhere_are_refused() -> None:
    with pytest.raises(BadInputError, match="chips"):
        spikec.compile(one_layer(np.ones((2, 2))), "loihi2", chips=10**9)


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_one_source_too_many_does_not_fit_either_chip(target: str) -> None:
    with pytest.raises(spikec.DoesNotFitError, match="4097"):
        spikec.compile(one_layer(np.full((1, 4097), 1e-3), reset="zero"), target)
