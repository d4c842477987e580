"""Every rule finds its fault, all faults come at once, and no graph makes the checks themselves fail."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import graphs

from spikec.ir import nodes as ir
from spikec.ir.checks import RULES, check, verify
from spikec.ir.diagnostics import CODES, BadInputError, SpikecError, UnsupportedError
from spikec.ir.graph import Discretization, Graph
from spikec.ir.shapes import infer_shapes
from spikec.ir.text import parse, to_text

LEGAL = Graph(
    {
        "in": ir.Input(shape=(1, 6, 6)), "conv": ir.Conv2d(weight=np.ones((2, 1, 3, 3)), bias=np.zeros(2)),
        "norm": ir.BatchNorm(mean=np.zeros(2), variance=np.ones(2), gamma=np.ones(2), beta=np.zeros(2)),
        "lif": ir.LIF(tau=0.02, shape=(2, 4, 4), refractory=1e-3), "flat": ir.Flatten(),
        "fc": ir.Affine(weight=np.ones((3, 32)), bias=np.zeros(3), delay=np.full((3, 32), 1e-3)),
        "cuba": ir.CubaLIF(tau_mem=0.02, tau_syn=0.01, shape=(3,), v_threshold=[1.0, 2.0, 3.0]),
        "loop": ir.SparseLinear(size=(3, 3), indptr=[0, 2, 2, 3], indices=[0, 2, 1], weight=[1.0, 2.0, 3.0]),
        "out": ir.Output(shape=(3,)),
    },
    (("in", "conv"), ("conv", "norm"), ("norm", "lif"), ("lif", "flat"), ("flat", "fc"), ("fc", "cuba"),
     ("cuba", "loop"), ("loop", "cuba"), ("cuba", "out")),
    Discretization(dt=1e-3), {"made": "by hand", "steps": 3, "ok": True},
)


def with_changes(**changes: dict[str, Any]) -> Graph:
    """LEGAL with fields of nodes changed."""
    return LEGAL.with_nodes({name: replace(LEGAL.nodes[name], **fields) for name, fields in changes.items()})


def with_edges(*edges: Any) -> Graph:
    return LEGAL.replace(edges=LEGAL.edges + edges)


CASES: dict[str, tuple[Graph, str, str | None, str]] = {
    # what: (graph, code, node, part of the message)
    "unknown source": (with_edges(("cubba", "out")), "SC101", None, "Is 'cuba' meant?"),
    "endpoint that is no text": (with_edges((["cuba"], "out")), "SC101", None, "names a node that does not exist"),
    "shapes of an edge": (
        with_changes(fc={"weight": np.ones((3, 31)), "delay": None}), "SC102", "fc", "gives another shape"),
    "output shape": (with_changes(out={"shape": (3, 1)}), "SC102", "out", "(value: (3,); limit: (3, 1))"),
    "negative tau": (with_changes(lif={"tau": -0.02}), "SC103", "lif", "tau must be positive (value: -0.02"),
    "one tau_syn is zero": (
        with_changes(cuba={"tau_syn": [0.1, 0.0, 0.1]}), "SC103", "cuba", "tau_syn must be positive"),
    "negative refractory": (with_changes(lif={"refractory": -1e-3}), "SC103", "lif", "refractory must not be negative"),
    "negative delay": (with_changes(fc={"delay": np.full((3, 32), -1.0)}), "SC103", "fc", "delay must not be negative"),
    "negative variance": (
        with_changes(norm={"variance": [1.0, -1.0]}), "SC103", "norm", "variance must not be negative"),
    "eps of zero": (with_changes(norm={"eps": 0.0}), "SC103", "norm", "eps must be positive"),
    "reset above threshold": (with_changes(lif={"v_reset": 1.0}), "SC103", "lif", "v_reset must be below v_threshold"),
    "zero threshold": (
        with_changes(lif={"v_threshold": 0.0, "reset": "subtract"}), "SC103", "lif", "with reset 'subtract'"),
    "threshold below zero": (
        with_changes(lif={"v_threshold": -1.0, "reset": "zero"}), "SC103", "lif", "with reset 'zero'"),
    "same with stride": (
        with_changes(conv={"padding": "same", "stride": (2, 2)}), "SC103", "conv", "no meaning with a stride"),
    "groups": (with_changes(conv={"groups": 4}), "SC103", "conv", "groups must divide the output channels"),
    "NaN weight": (
        with_changes(fc={"weight": np.full((3, 32), np.nan)}), "SC104", "fc", "weight is not finite (value: nan)"),
    "infinite bias": (with_changes(conv={"bias": [0.0, np.inf]}), "SC104", "conv", "bias is not finite (value: inf)"),
    "infinite tau": (with_changes(cuba={"tau_mem": np.inf}), "SC104", "cuba", "tau_mem is not finite"),
    "no input": (LEGAL.without(["in"]), "SC105", None, "no Input node"),
    "no output": (LEGAL.without(["out"]), "SC105", None, "no Output node"),
    "fed by nothing": (LEGAL.replace(edges=LEGAL.edges[1:]), "SC106", "conv", "nothing is fed"),
    "goes nowhere": (LEGAL.replace(edges=LEGAL.edges[:-1]), "SC106", "out", "nothing is fed"),
    "dangling": (
        LEGAL.with_nodes({"lost": ir.Linear(weight=np.ones((1, 3)))}).replace(edges=(*LEGAL.edges, ("cuba", "lost"))),
        "SC106", "lost", "goes nowhere"),
    "bias shape": (
        with_changes(fc={"bias": np.zeros(7)}), "SC107", "fc", "bias has the wrong shape (value: (7,); limit: (3,))"),
    "conv bias shape": (with_changes(conv={"bias": np.zeros((2, 1))}), "SC107", "conv", "bias has the wrong shape"),
    "delay shape": (with_changes(fc={"delay": 1e-3}), "SC107", "fc", "delay has the wrong shape"),
    "gamma shape": (with_changes(norm={"gamma": np.ones(3)}), "SC107", "norm", "gamma has the wrong shape"),
    "neuron parameter": (
        with_changes(cuba={"v_threshold": np.ones(2)}), "SC107", "cuba", "v_threshold has the wrong shape"),
    "parameters that do not broadcast": (
        LEGAL.with_nodes({"lif": ir.LIF(tau=[0.1, 0.1], r=[1.0, 1.0, 1.0])}), "SC107", "lif", "do not broadcast"),
    "CSR values": (with_changes(loop={"weight": [1.0]}), "SC107", "loop", "weight has the wrong shape"),
    "edge twice": (with_edges(("fc", "cuba")), "SC108", "cuba", "is there twice"),
    "empty name": (LEGAL.with_nodes({"": ir.Scale(scale=1.0)}), "SC109", None, "printable text"),
    "line break in a name": (LEGAL.with_nodes({"a\nb": ir.Scale(scale=1.0)}), "SC109", None, "value: 'a\\nb'"),
    "double dot": (LEGAL.with_nodes({"a..b": ir.Scale(scale=1.0)}), "SC109", None, "printable text"),
    "number as name": (LEGAL.with_nodes({3: ir.Scale(scale=1.0)}), "SC109", "3", "name is text"),
    "unknown kind": (LEGAL.with_nodes({"lif": "LIF"}), "SC110", "lif", "no node kind of spikec (value: str"),
    "stride of one number": (
        with_changes(conv={"stride": 2}), "SC111", "conv", "stride is malformed (value: 2; limit: (int, int))"),
    "unknown reset": (with_changes(lif={"reset": "hard"}), "SC111", "lif", "limit: 'zero', 'v_reset', 'subtract'"),
    "shape of text": (with_changes(out={"shape": "33"}), "SC111", "out", "shape is malformed"),
    "edge into an input": (with_edges(("cuba", "in")), "SC112", "in", "runs into an Input"),
    "edge out of an output": (with_edges(("out", "loop")), "SC112", "out", "runs out of an Output"),
    "no path": (
        LEGAL.replace(edges=tuple(edge for edge in LEGAL.edges if edge != ("fc", "cuba"))), "SC113", "out", "no path"),
    "cycle without a neuron": (with_edges(("norm", "norm")), "SC114", "norm", "cycle has no neuron"),
    "CSR rows": (with_changes(loop={"indptr": [0, 2, 3]}), "SC115", "loop", "one entry per row and one more"),
    "CSR order of rows": (with_changes(loop={"indptr": [0, 2, 1, 3]}), "SC115", "loop", "must rise from 0"),
    "CSR column": (with_changes(loop={"indices": [0, 3, 1]}), "SC115", "loop", "out of range (value: 3; limit: 0..2)"),
    "CSR order of columns": (with_changes(loop={"indices": [2, 0, 1]}), "SC115", "loop", "ascend strictly"),
    "CSR duplicate": (with_changes(loop={"indices": [2, 2, 1]}), "SC115", "loop", "sum_duplicates"),
    "dt of zero": (LEGAL.replace(discretization=Discretization(dt=0.0)), "SC116", None, "dt must be positive"),
    "dt of NaN": (LEGAL.replace(discretization=Discretization(dt=float("nan"))), "SC116", None, "dt must be positive"),
    "dt of text": (LEGAL.replace(discretization=Discretization(dt="1 ms")), "SC116", None, "dt must be positive"),
    "integrator": (
        LEGAL.replace(discretization=Discretization(dt=1.0, integrator="rk4")), "SC116", None, "'exact', 'euler'"),
    "negative step delay": (
        LEGAL.replace(discretization=Discretization(dt=1.0, delay=-1)), "SC116", None, "not be negative"),
    "nested metadata": (LEGAL.replace(metadata={"a": {"b": 1}}), "SC117", None, "metadata is flat"),
}


def test_the_legal_graph_is_legal():
    assert check(LEGAL) == []
    assert verify(LEGAL) is LEGAL


@pytest.mark.parametrize("what", CASES)
def test_each_fault_is_found_where_it_is(what):
    graph, code, node, message = CASES[what]
    hits = [found for found in check(graph) if found.code == code and message in str(found)]
    assert hits, "\n".join(map(str, check(graph)))
    assert hits[0].node == node
    assert hits[0].severity == "error"
    with pytest.raises(BadInputError, match=code):
        verify(graph)


def test_every_code_of_a_rule_has_a_case():
    assert {code for _, code, _, _ in CASES.values()} == {f"SC{number}" for number in range(101, 118)}
    assert {code for _, code, _, _ in CASES.values()} <= CODES.keys()


def test_all_faults_come_at_once():
    graph = Graph(
        {"in": ir.Input(shape=(3,)), "fc": ir.Affine(weight=np.full((2, 3), np.nan), bias=np.zeros(5)),
         "lif": ir.LIF(tau=-1.0, shape=(4,), v_reset=2.0), "out": ir.Output(shape=(4,))},
        (("in", "fc"), ("fc", "lif"), ("lif", "out"), ("lif", "nowhere")), Discretization(dt=-1.0),
    )
    with pytest.raises(BadInputError) as raised:
        verify(graph)
    assert sorted(found.code for found in raised.value.diagnostics) == [
        "SC101", "SC102", "SC103", "SC103", "SC104", "SC107", "SC116",
    ]


def test_what_leads_to_no_output_is_a_warning_only():
    nodes = {"side": ir.LIF(tau=0.1, shape=(3,)), "back": ir.Scale(scale=1.0)}
    graph = LEGAL.with_nodes(nodes).replace(edges=(*LEGAL.edges, ("cuba", "side"), ("side", "back"), ("back", "side")))
    assert {(found.code, found.node, found.severity) for found in check(graph)} == {
        ("SC106", "side", "warning"), ("SC106", "back", "warning"),
    }
    assert verify(graph) is graph


def test_parameters_spread_over_huge_shapes_cost_nothing():
    graph = LEGAL.with_nodes({"lif": ir.LIF(tau=0.02, shape=(2**15, 2**15))})
    assert {found.code for found in check(graph)} == {"SC102"}


garbage = st.sampled_from([
    None, -1, 0, 1, 2**70, 0.5, float("nan"), float("inf"), "", "same", "x", (), (1,), (0, 0), (1, 1), (-1, 2),
    (2, 2, 2), (1.5, 2), ("a", "b"), [1], {}, np.ones(2), np.full((2, 2), np.nan), np.zeros((0, 3)),
    np.array([3, 1, 2]), True, np.ones((1,) * 6), b"x", object,
])
names = st.sampled_from(["", "input", "output", "fc0", "new", "a..b", "\ud800", "x" * 300, 7, None, ("t",)])


@st.composite
def illegal_graphs(draw: st.DrawFn) -> Graph:
    """Graphs after one to four random assaults; not all of them hurt."""
    graph = draw(graphs(layers=draw(st.integers(1, 2))))
    for assault in draw(st.lists(st.sampled_from(ASSAULTS), min_size=1, max_size=4)):
        graph = assault(draw, graph)
    return graph


def _change_a_field(draw: st.DrawFn, graph: Graph) -> Graph:
    name = draw(st.sampled_from(list(graph.nodes)))
    node = graph.nodes[name]
    if not isinstance(node, ir.Node) or not fields(node):
        return graph
    try:
        changed = replace(node, **{draw(st.sampled_from([entry.name for entry in fields(node)])): draw(garbage)})
    except BadInputError:  # what is no array of numbers does not get into a node
        return graph
    return graph.with_nodes({name: changed})


def _replace_a_node(draw: st.DrawFn, graph: Graph) -> Graph:
    value = draw(garbage | st.just(ir.Output(shape=(1,))) | st.just(ir.Input(shape=())) | st.just(ir.Scale(scale=1.0)))
    return graph.with_nodes({draw(names | st.sampled_from(list(graph.nodes))): value})


def _drop_a_node(draw: st.DrawFn, graph: Graph) -> Graph:
    dropped = draw(st.sampled_from(list(graph.nodes)))
    return graph.replace(nodes={
        name: node for name, node in graph.nodes.items() if name != dropped or len(graph.nodes) == 1
    })


def _add_an_edge(draw: st.DrawFn, graph: Graph) -> Graph:
    ends = names | st.sampled_from(list(graph.nodes)) | st.just([])
    return graph.replace(edges=(*graph.edges, (draw(ends), draw(ends))))


def _drop_an_edge(draw: st.DrawFn, graph: Graph) -> Graph:
    dropped = draw(st.integers(0, 20))
    return graph.replace(edges=graph.edges[:dropped] + graph.edges[dropped + 1:])


def _spoil_the_rest(draw: st.DrawFn, graph: Graph) -> Graph:
    field = draw(st.sampled_from([entry.name for entry in fields(Discretization)]))
    record = replace(Discretization(dt=1e-3), **{field: draw(garbage)})
    return graph.replace(discretization=record, metadata={draw(names): draw(garbage)})


ASSAULTS: list[Callable[[st.DrawFn, Graph], Graph]] = [
    _change_a_field, _change_a_field, _replace_a_node, _drop_a_node, _add_an_edge, _drop_an_edge, _spoil_the_rest,
]


@given(graph=illegal_graphs())
def test_no_graph_makes_the_checks_fail(graph):
    found = check(graph)
    assert all(each.code in CODES and str(each) for each in found)
    infer_shapes(graph)
    with suppress(BadInputError):
        parse(to_text(graph))


@given(graph=graphs())
def test_legal_graphs_are_legal(graph):
    assert check(graph) == []


def test_rules_are_listed_once():
    assert len(set(RULES)) == len(RULES)


def test_an_error_says_at_least_one_thing() -> None:
    for kind in (BadInputError, SpikecError, UnsupportedError):
        with pytest.raises(TypeError, match=kind.__name__):
            kind()
