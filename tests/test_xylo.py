"""Xylo's integers: what a network means is what xylosim computes, all states of all neurons, where sums are cut off
too; the emulator is that, for any number of threads and cut anywhere; and what is no such network is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xylo_nets import numbers

import spikec
from spikec import BadInputError
from spikec.ir.integer.xylo import LARGEST_STATE, XyloNetwork, XyloNeurons, check_xylo, verify_xylo
from spikec.ir.integer.xylo_step import BLOCKS, XyloResult, simulate_xylo
from spikec.runtime.xylo.engine import XyloEngine
from spikec.targets.xylo.simulator import simulate_xylosim

SHOWN = ("i", "v", "spikes")


def events_of(rng: np.random.Generator, network: XyloNetwork, samples: int = 2, steps: int = 60) -> Any:
    return rng.poisson(rng.choice([0.05, 0.5, 6.0]), (samples, steps, network.n_in))


def assert_same(one: XyloResult, other: XyloResult) -> None:
    for what in SHOWN:
        for block in BLOCKS:
            assert np.array_equal(getattr(one, what)[block], getattr(other, what)[block]), (what, block)


def one_neuron(**changes: Any) -> XyloNeurons:
    facts = {"dash_mem": 4, "dash_syn": 3, "threshold": 100, "bias": 0} | changes
    return XyloNeurons(**{name: np.array([value]) for name, value in facts.items()})


def chain(weight: int, **changes: Any) -> XyloNetwork:
    """An input, a hidden neuron, an output."""
    return XyloNetwork(w_in=np.array([[weight]]), w_rec=np.array([[0]]), w_out=np.array([[100]]),
                       hidden=one_neuron(**changes), outputs=one_neuron())


@pytest.mark.parametrize("extreme", [False, True])
@given(seed=st.integers(0, 2**32 - 1), recurrent=st.booleans(), bias=st.booleans(), alias=st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_state_is_that_of_xylosim(extreme: bool, seed: int, recurrent: bool, bias: bool, alias: bool) -> None:
    pytest.importorskip("xylosim.v2", reason="the vendor's simulator is not installed")
    rng = np.random.default_rng(seed)
    network = numbers(rng, extreme=extreme, recurrent=recurrent, bias=bias, alias=alias)
    events = events_of(rng, network)
    assert_same(simulate_xylo(network, events), simulate_xylosim(network, events))


@pytest.mark.parametrize("extreme", [False, True])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 70), alias=st.booleans())
@settings(max_examples=25, deadline=None)
def test_the_emulator_is_the_oracle(extreme: bool, seed: int, n: int, alias: bool) -> None:
    rng = np.random.default_rng(seed)
    network = numbers(rng, extreme=extreme, alias=alias, n=n, n_in=int(rng.integers(1, 20)))
    events = events_of(rng, network, samples=3)
    expected, found = simulate_xylo(network, events), XyloEngine(network).run(events, states=BLOCKS)
    assert_same(expected, found)
    assert expected.clipped == found.clipped


@pytest.mark.parametrize("shift", [0, 8])
def test_the_emulator_is_the_oracle_where_few_synapses_are_there(shift: int) -> None:
    """Rows of which few entries are not zero are added entry by entry, as long as nothing can be cut off."""
    rng = np.random.default_rng(shift)
    network = numbers(rng, n=300, n_in=12, alias=False, bias=False)
    network = replace(network, hidden=replace(network.hidden, threshold=np.full(300, 300), dash_mem=np.full(300, 3),
                                              dash_syn=np.full(300, 2)))
    network = replace(network, w_in=network.w_in * (rng.random((12, 300)) < 0.1), shift_in=shift,
                      w_rec=network.w_rec * (rng.random((300, 300)) < 0.05), shift_rec=shift // 2)
    events = rng.poisson(0.2, (2, 100, 12))
    expected, found = simulate_xylo(network, events), XyloEngine(network).run(events, states=BLOCKS)
    assert_same(expected, found)
    assert expected.clipped == found.clipped
    assert (expected.clipped["hidden"] > 0) == (shift > 0)
    assert expected.spikes["hidden"].sum() > 1000


def test_random_networks_are_put_to_the_test() -> None:
    """The others would say nothing of networks that are silent, or in which no sum is ever cut off."""
    spikes, several, clipped, lowest = 0, 0, 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        network = numbers(rng, extreme=seed % 2 == 1)
        found = simulate_xylo(network, events_of(rng, network))
        spikes += int(found.spikes["hidden"].sum())
        several += int((found.spikes["hidden"] > 1).sum())
        clipped += sum(found.clipped.values())
        lowest += int((found.v["hidden"] == -LARGEST_STATE - 1).sum())
    assert min(spikes, several, clipped, lowest) > 1000


@pytest.mark.usefixtures("one_thread")
def test_threads_and_cuts_change_nothing() -> None:
    rng = np.random.default_rng(3)
    network = numbers(rng)
    engine, events = XyloEngine(network), events_of(rng, network, samples=9, steps=50)
    whole = engine.run(events, states=BLOCKS)
    spikec.set_threads(4)
    assert_same(whole, engine.run(events, states=BLOCKS))
    first = engine.run(events[:, :17], states=BLOCKS)
    then = engine.run(events[:, 17:], first.state, states=BLOCKS)
    oracle = simulate_xylo(network, events[:, 17:], simulate_xylo(network, events[:, :17]).state)
    assert_same(then, oracle)
    for what in SHOWN:
        for block in BLOCKS:
            parts = np.concatenate([getattr(first, what)[block], getattr(then, what)[block]], 1)
            assert np.array_equal(parts, getattr(whole, what)[block])
    for key in SHOWN:
        for block in BLOCKS:
            assert np.array_equal(getattr(then.state, key)[block], getattr(oracle.state, key)[block])


def test_a_current_decays_in_the_column_in_which_it_arrives() -> None:
    found = simulate_xylo(chain(80, dash_syn=2, threshold=30000), np.array([[[1], [0], [0], [0]]]))
    assert found.i["hidden"][0, :, 0].tolist() == [60, 45, 34, 26]
    assert found.v["hidden"][0, :, 0].tolist() == [60, 102, 130, 148], "60, 60 - 3 + 45, 102 - 6 + 34, 130 - 8 + 26"


def test_what_is_small_decays_by_one() -> None:
    found = simulate_xylo(chain(3, dash_syn=4, threshold=30000), np.array([[[1], [0], [0], [0]]]))
    assert found.i["hidden"][0, :, 0].tolist() == [2, 1, 0, 0]
    down = simulate_xylo(chain(-3, dash_syn=4, threshold=30000), np.array([[[1], [0], [0], [0]]]))
    assert down.i["hidden"][0, :, 0].tolist() == [-2, -1, 0, 0]


def test_a_hidden_neuron_fires_as_often_as_its_threshold_fits_and_an_output_once() -> None:
    network = replace(chain(127, dash_syn=15, threshold=40), w_out=np.array([[127]]))
    found = simulate_xylo(network, np.array([[[1], [0], [0]]]))
    assert found.spikes["hidden"][0, 0, 0] == 3, "127 - 1 is three times 40"
    assert found.v["hidden"][0, 0, 0] == 6
    assert found.spikes["outputs"][0, :, 0].tolist() == [0, 1, 1], "a column later, and once"
    assert found.v["outputs"][0, 1, 0] > 100
    most = simulate_xylo(chain(127, dash_syn=15, threshold=1), np.array([[[15]]]))
    assert most.spikes["hidden"][0, 0, 0] == 31


def test_an_alias_fires_too() -> None:
    two = XyloNeurons(**{name: np.array([value] * 2) for name, value in (
        ("dash_mem", 4), ("dash_syn", 15), ("threshold", 50), ("bias", 0))})
    for of, to in ((0, 1), (1, 0)):
        alias = np.full(2, -1)
        alias[of] = to
        w_in = np.zeros((1, 2), dtype=np.int64)
        w_in[0, of] = 120
        network = XyloNetwork(w_in=w_in, w_rec=np.zeros((2, 2), dtype=np.int64), alias=alias, hidden=two,
                              w_out=np.zeros((2, 1), dtype=np.int64), outputs=one_neuron())
        assert simulate_xylo(network, np.array([[[1]]])).spikes["hidden"][0, 0].tolist() == [2, 2]


def test_more_than_15_events_are_15() -> None:
    network = chain(2, threshold=30000)
    assert_same(simulate_xylo(network, np.array([[[200], [1]]])), simulate_xylo(network, np.array([[[15], [1]]])))


def test_every_fault_of_a_network_is_told() -> None:
    network = numbers(np.random.default_rng(0), alias=False)
    faults = spikec.ir.diagnostics.Diagnostics()
    check_xylo(replace(
        network, w_in=network.w_in[:, :-1], w_rec=network.w_rec + 200, shift_out=9, dt=0.0,
        hidden=replace(network.hidden, threshold=np.zeros_like(network.hidden.threshold)),
        outputs=replace(network.outputs, dash_syn=network.outputs.dash_syn * 0.5),
        alias=np.arange(network.hidden.n)), faults)
    assert [(each.code, each.node) for each in faults.found] == [
        ("SC348", "w_in"), ("SC140", "w_rec"), ("SC140", "hidden.threshold"), ("SC348", "outputs.dash_syn"),
        ("SC140", "shift_out"), ("SC140", "dt"), ("SC348", "alias")]
    with pytest.raises(BadInputError, match="SC140 at 'shift_in'"):
        verify_xylo(replace(network, shift_in=-1))


@pytest.mark.parametrize("events", [np.zeros((2, 5)), np.zeros((1, 5, 7)), np.zeros((1, 5, 6), dtype=int),
                                    -np.ones((1, 5, 7), dtype=int)], ids=["axes", "floats", "channels", "negative"])
def test_what_is_no_events_is_told(events: Any) -> None:
    network = numbers(np.random.default_rng(0))
    for run in (lambda: simulate_xylo(network, events), lambda: XyloEngine(network).run(events)):
        with pytest.raises(BadInputError, match="SC403"):
            run()


def test_a_state_of_another_batch_and_a_block_that_is_not_there_are_told() -> None:
    network = numbers(np.random.default_rng(0))
    engine, events = XyloEngine(network), np.zeros((2, 3, 7), dtype=int)
    state = engine.run(events).state
    with pytest.raises(BadInputError, match="another network or batch"):
        engine.run(events[:1], state)
    with pytest.raises(BadInputError, match="not that of a former result"):
        simulate_xylo(network, events, "state")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="no such block"):
        engine.run(events, spikes=["middle"])
