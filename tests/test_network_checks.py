"""The lowered level: what is legal, what is found, how it is shown. Networks are made by hand, without the passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikec.ir.diagnostics import BadInputError
from spikec.ir.graph import Discretization
from spikec.ir.network import Conv, Dense, Network, Population, Projection, Sparse
from spikec.ir.network_checks import check_network, verify_network


def population(name: str, kind: str, shape: tuple[int, ...], spiking: bool = True, **changes: Any) -> Population:
    n = int(np.prod(shape))
    full = {"r": 1.0, "bias": 0.0, "v0": 0.0}
    if kind != "integrator":
        full |= {"tau_mem": 0.02, "v_leak": 0.0}
    if kind == "cuba":
        full |= {"tau_syn": 0.01, "w_in": 0.01}
    if spiking:
        full |= {"v_threshold": 1.0, "v_reset": 0.0, "refractory": 0.0}
    arrays = {name: np.full(n, value) for name, value in full.items()} | changes
    return Population(name=name, kind=kind, shape=shape, spiking=spiking, **arrays)


CONV = Conv(weight=np.linspace(-1, 1, 18).reshape(2, 1, 3, 3), input_shape=(1, 4, 4), output_shape=(2, 2, 2))
LEGAL = Network(
    inputs={"x": (1, 4, 4)},
    populations={
        "a": population("a", "leaky", (2, 2, 2)), "b": population("b", "cuba", (2,), v0=np.array([0.0, 0.5])),
        "c": population("c", "cuba", (2,)), "y": population("y", "leaky", (3,), spiking=False),
    },
    projections=(
        Projection(name="xa", source="x", target="a", connection=CONV),
        Projection(name="ab", source="a", target="b", connection=Dense(weight=np.linspace(0, 1, 16).reshape(2, 8)),
                   delay=np.full(8, 1e-3)),
        Projection(name="bc", source="b", target="c", connection=Dense(weight=np.ones((2, 2)))),
        Projection(name="cb", source="c", target="b", delay=np.array([1e-3, 2e-3]), delay_per="synapse",
                   connection=Sparse(indptr=np.arange(3), indices=np.array([1, 0]), weight=np.array([0.5, -0.5]))),
        Projection(name="by", source="b", target="y", connection=Dense(weight=np.ones((3, 2)))),
    ),
    outputs={"out": "y"}, discretization=Discretization(dt=1e-3), schedule=(("a",), ("b", "c"), ("y",)),
)


def with_population(which: str, **changes: Any) -> Network:
    return replace(LEGAL, populations={**LEGAL.populations, which: replace(LEGAL.populations[which], **changes)})


def with_projection(which: str, **changes: Any) -> Network:
    return replace(LEGAL, projections=tuple(
        replace(each, **changes) if each.name == which else each for each in LEGAL.projections
    ))


def with_conv(**changes: Any) -> Network:
    return with_projection("xa", connection=replace(CONV, **changes))


CASES: dict[str, tuple[Network, str, str | None, str]] = {
    "listed under another name": (with_population("a", name="b"), "SC109", "a", "under another name"),
    "projections of one name": (with_projection("bc", name="cb"), "SC109", "cb", "share a name"),
    "input and population of one name": (
        replace(LEGAL, inputs={"x": (1, 4, 4), "a": (1,)}), "SC109", "a", "share a name"),
    "input without axes": (replace(LEGAL, inputs={"x": (16,), "z": ()}), "SC102", "z", "shape is positive"),
    "empty population": (with_population("a", shape=(0,)), "SC102", "a", "shape is positive"),
    "output of nothing": (replace(LEGAL, outputs={"out": "z"}), "SC101", "out", "does not exist"),
    "no output": (replace(LEGAL, outputs={}), "SC105", None, "no output"),
    "kind": (with_population("a", kind="izhikevich"), "SC130", "a", "unknown"),
    "reset": (with_population("a", reset="soft"), "SC130", "a", "unknown"),
    "parameter missing": (with_population("b", tau_syn=None), "SC130", "b", "tau_syn is missing"),
    "parameter of another kind": (with_population("a", w_in=np.ones(8)), "SC130", "a", "w_in has no meaning here"),
    "threshold of a readout": (with_population("y", v_threshold=np.ones(3)), "SC130", "y", "no meaning here"),
    "parameter shape": (with_population("a", r=np.ones(7)), "SC107", "a", "r has the wrong shape"),
    "parameter type": (with_population("a", r=np.ones(8, np.float32)), "SC107", "a", "float32"),
    "NaN": (with_population("a", bias=np.full(8, np.nan)), "SC104", "a", "bias is not finite"),
    "tau": (with_population("b", tau_mem=np.array([0.1, 0.0])), "SC103", "b", "tau_mem must be positive"),
    "refractory": (with_population("b", refractory=np.array([0.1, -0.1])), "SC103", "b", "must not be negative"),
    "reset above threshold": (with_population("b", v_reset=np.array([0.1, 1.0])), "SC103", "b", "below v_threshold"),
    "source": (with_projection("ab", source="z"), "SC101", "ab", "does not exist (value: z)"),
    "target is an input": (with_projection("ab", target="x"), "SC101", "ab", "does not exist (value: x)"),
    "readout as source": (with_projection("by", source="y", connection=Dense(weight=np.ones((3, 3)))),
                          "SC131", "by", "a readout sends no spikes"),
    "dense shape": (
        with_projection("bc", connection=Dense(weight=np.ones((2, 3)))), "SC107", "bc", "limit: a float (2, 2)"),
    "infinite weight": (with_projection("bc", connection=Dense(weight=np.full((2, 2), np.inf))), "SC104", "bc", "inf"),
    "sparse rows": (with_projection("cb", connection=Sparse(
        indptr=np.array([0, 2]), indices=np.array([0, 1]), weight=np.ones(2))), "SC115", "cb", "one entry per row"),
    "sparse values": (with_projection("cb", connection=Sparse(
        indptr=np.array([0, 1, 2]), indices=np.array([0, 1]), weight=np.ones(3))),
        "SC107", "cb", "weight has the wrong"),
    "stencil size": (with_conv(output_shape=(2, 2, 3)), "SC102", "xa", "not those of source and target"),
    "stencil kernel": (with_conv(weight=np.ones((2, 2, 3, 3))), "SC107", "xa", "weight has the wrong shape"),
    "stencil groups": (with_conv(groups=2), "SC131", "xa", "groups divide the channels"),
    "stencil stride": (with_conv(stride=(0, 1)), "SC131", "xa", "are positive"),
    "delay shape": (with_projection("ab", delay=np.ones(2)), "SC107", "ab", "delay has the wrong shape"),
    "negative delay": (with_projection("ab", delay=np.full(8, -1.0)), "SC103", "ab", "must not be negative"),
    "stencil delay per synapse": (
        with_projection("xa", delay=np.ones(16), delay_per="synapse"), "SC131", "xa", "no stencil"),
    "dt": (replace(LEGAL, discretization=Discretization(dt=0.0)), "SC116", None, "dt must be positive"),
    "schedule lacks one": (replace(LEGAL, schedule=(("a",), ("b", "c"))), "SC132", None, "every population once"),
    "schedule cuts a cycle": (
        replace(LEGAL, schedule=(("a",), ("b",), ("c",), ("y",))), "SC132", None, "not a strongly"),
    "schedule joins too much": (replace(LEGAL, schedule=(("a", "b", "c"), ("y",))), "SC132", None, "not a strongly"),
    "schedule out of order": (
        replace(LEGAL, schedule=(("b", "c"), ("a",), ("y",))), "SC132", "b", "'a', which feeds it"),
}


def test_the_legal_network_is_legal():
    assert check_network(LEGAL) == []
    assert verify_network(replace(LEGAL, schedule=())) is not LEGAL


@pytest.mark.parametrize("what", CASES)
def test_each_fault_is_found_where_it_is(what):
    network, code, node, message = CASES[what]
    hits = [found for found in check_network(network) if found.code == code and message in str(found)]
    assert hits, "\n".join(map(str, check_network(network)))
    assert hits[0].node == node
    with pytest.raises(BadInputError, match=code):
        verify_network(network)


def test_what_it_looks_like(golden):
    golden("network.txt", str(LEGAL))
