"""Lowering: a network does to impulses and constants exactly what its model graph does, and knows how it came about."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import graphs
from transfer import FREQUENCIES, graph_bias, graph_transfer, network_transfer

from spikec.compiler.pipeline import lower
from spikec.ir import nodes as ir
from spikec.ir.derived import Derived, evaluate, expr_of
from spikec.ir.diagnostics import UnsupportedError
from spikec.ir.graph import Discretization, Graph
from spikec.ir.network import Conv, Dense, Network, Sparse
from spikec.ir.shapes import infer_shapes
from spikec.passes import algebra
from spikec.passes.lower import Lower
from spikec.passes.manager import PassManager

RNG = np.random.default_rng(7)
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # torch's note on how it pads unevenly, which is what is compared here.
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths"),
]


def assert_same_meaning(graph: Graph, network: Network) -> None:
    for s in FREQUENCIES:
        wanted, got = graph_transfer(graph, s), network_transfer(network, s)
        assert got.keys() == wanted.keys()
        for pair in wanted:
            np.testing.assert_allclose(got[pair], wanted[pair], rtol=1e-10, atol=1e-12 * np.abs(wanted[pair]).max())
    for name, bias in graph_bias(graph).items():
        np.testing.assert_allclose(network.populations[name].bias, bias, rtol=1e-10, atol=1e-13)


def chain(*nodes: ir.Node, shape: tuple[int, ...], name: str = "node") -> Graph:
    """input -> nodes -> IF -> output."""
    named = {"input": ir.Input(shape=shape)} | {f"{name}{i}": node for i, node in enumerate(nodes)}
    edges = list(zip(named, list(named)[1:], strict=False))
    size = infer_shapes(Graph(named, tuple(edges)))[0][list(named)[-1]].output
    edges += [(list(named)[-1], "if"), ("if", "output")]
    return Graph({**named, "if": ir.IF(shape=size), "output": ir.Output(shape=size)}, tuple(edges))


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


# ---- random graphs


@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_random_graphs_keep_their_meaning(graph: Graph) -> None:
    assert_same_meaning(graph, lower(graph))


@st.composite
def stateless_chains(draw: st.DrawFn) -> Graph:
    """Several stateless nodes in a row, with nothing between them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape: tuple[int, ...] = (draw(st.sampled_from([1, 2, 4])), draw(st.integers(4, 8)), draw(st.integers(4, 8)))
    start, found = shape, []
    for _ in range(draw(st.integers(1, 4))):
        node = draw_image_node(draw, rng, shape) if len(shape) == 3 else draw_flat_node(draw, rng, shape[0])
        found.append(node)
        before = Graph({"i": ir.Input(shape=shape), "n": node}, (("i", "n"),))
        shape = infer_shapes(before)[0]["n"].output
    return chain(*found, shape=start)


def draw_image_node(draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, ...]) -> ir.Node:
    kind = draw(st.sampled_from(["conv", "conv", "pool", "norm", "scale", "delay", "flatten"]))
    if kind == "flatten" or min(shape[1:]) < 2:
        return ir.Flatten()
    if kind == "conv":
        groups = draw(st.sampled_from([g for g in (1, 2, 4) if shape[0] % g == 0]))
        channels = groups * draw(st.integers(1, 2))
        kernel = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        dilation = tuple(draw(st.integers(1, 2)) if 2 * (k - 1) < size else 1
                         for k, size in zip(kernel, shape[1:], strict=True))
        padding = draw(st.sampled_from(["same", (1, 1), (0, 2), (0, 0)]))
        stride = (1, 1) if padding == "same" else draw(st.sampled_from([(1, 1), (2, 1), (2, 3)]))
        kernel = tuple(k if d * (k - 1) < size else 1 for k, d, size in zip(kernel, dilation, shape[1:], strict=True))
        return ir.Conv2d(
            weight=rng.normal(size=(channels, shape[0] // groups, *kernel)), stride=stride, padding=padding,
            dilation=dilation, groups=groups, bias=rng.normal(size=channels) if draw(st.booleans()) else None)
    if kind == "pool":
        pool = draw(st.sampled_from([ir.SumPool2d, ir.AvgPool2d]))
        kernel = draw(st.sampled_from([(2, 2), (1, 2), (2, 1), (1, 1)]))
        padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
        return pool(kernel_size=kernel, stride=draw(st.sampled_from([(1, 1), (2, 2), (1, 3)])), padding=padding)
    return draw_element_wise(draw, rng, kind, shape, [(), shape, (shape[0], 1, 1), shape[1:]])


def draw_flat_node(draw: st.DrawFn, rng: np.random.Generator, size: int) -> ir.Node:
    kind = draw(st.sampled_from(["linear", "sparse", "norm", "scale", "delay"]))
    rows = draw(st.integers(1, 5))
    if kind == "linear":
        delay = rng.uniform(0, 5e-3, (rows, size)) if draw(st.booleans()) else None
        if draw(st.booleans()):
            return ir.Affine(weight=rng.normal(size=(rows, size)), bias=rng.normal(size=rows), delay=delay)
        return ir.Linear(weight=rng.normal(size=(rows, size)), delay=delay)
    if kind == "sparse":
        kept = rng.random((rows, size)) < 0.5
        return ir.SparseLinear(
            size=(rows, size), indptr=np.concatenate([[0], np.cumsum(kept.sum(1))]), indices=np.nonzero(kept)[1],
            weight=rng.normal(size=kept.sum()), bias=rng.normal(size=rows) if draw(st.booleans()) else None,
            delay=rng.uniform(0, 5e-3, kept.sum()) if draw(st.booleans()) else None)
    return draw_element_wise(draw, rng, kind, (size,), [(), (size,)])


def draw_element_wise(draw: st.DrawFn, rng: np.random.Generator, kind: str, shape: tuple[int, ...],
                      spreads: list[tuple[int, ...]]) -> ir.Node:
    if kind == "norm":
        mean, variance, gamma, beta = rng.uniform(0.2, 2.0, (4, shape[0]))
        return ir.BatchNorm(mean=mean, variance=variance, gamma=gamma, beta=beta)
    spread = draw(st.sampled_from(spreads))
    if kind == "scale":
        return ir.Scale(scale=rng.normal(size=spread))
    return ir.Delay(delay=rng.uniform(0, 5e-3, spread))


@settings(max_examples=150, deadline=None)
@given(graph=stateless_chains())
def test_random_chains_keep_their_meaning(graph: Graph) -> None:
    assert_same_meaning(graph, lower(graph))
    assert_same_meaning(graph, PassManager((Lower(tie_delays=False),)).run(graph))


# ---- what folded values know


def derived_arrays(network: Network) -> list[Derived]:
    """Every array of the network that may depend on a parameter."""
    found = [projection.connection.weight for projection in network.projections]
    found += [projection.delay for projection in network.projections]
    for population in network.populations.values():
        found += [getattr(population, name) for name in population.__slots__]
    return [array for array in found if isinstance(array, np.ndarray)]


def assert_differentiable(graph: Graph) -> None:
    """Every array of the network, evaluated on torch tensors: its value, and the derivative along a random direction
    against the difference of two networks lowered from moved parameters."""
    rng = np.random.default_rng(0)
    network = lower(graph)
    keys = [(name, param) for name, node in graph.nodes.items() for param in ir.params(node)]
    start = {key: np.array(getattr(graph.nodes[key[0]], key[1]), np.float64) for key in keys}
    direction = {key: rng.normal(size=value.shape) * np.abs(value) for key, value in start.items()}
    tensors = {key: torch.tensor(value, requires_grad=True) for key, value in start.items()}
    arrays = derived_arrays(network)
    rest = [rng.normal(size=array.shape) for array in arrays]
    total = torch.zeros((), dtype=torch.float64)
    for array, factor in zip(arrays, rest, strict=True):
        value = evaluate(expr_of(array), tensors, torch.as_tensor)
        np.testing.assert_allclose(value.detach().numpy(), np.asarray(array), rtol=1e-12, atol=1e-15)
        total = total + (value * torch.tensor(factor)).sum()
    gradients = torch.autograd.grad(total, list(tensors.values()), allow_unused=True)
    slope = sum(float((gradient * torch.tensor(direction[key])).sum())
                for key, gradient in zip(keys, gradients, strict=True) if gradient is not None)

    def moved(step: float) -> float:
        nodes = {
            name: replace(node, **{
                param: start[name, param] + step * direction[name, param] for param in ir.params(node)})
            for name, node in graph.nodes.items()
        }
        arrays = derived_arrays(lower(graph.with_nodes(nodes)))
        return sum(float((np.asarray(array) * factor).sum()) for array, factor in zip(arrays, rest, strict=True))

    step = 1e-5
    scale = sum(float(np.abs(array * factor).sum()) for array, factor in zip(arrays, rest, strict=True))
    assert slope == pytest.approx((moved(step) - moved(-step)) / (2 * step), rel=1e-6, abs=1e-8 * scale)


@settings(max_examples=25, deadline=None)
@given(graph=graphs())
def test_every_array_of_a_random_graph_can_be_differentiated(graph: Graph) -> None:
    assert_differentiable(graph)


@settings(max_examples=60, deadline=None)
@given(graph=stateless_chains())
def test_every_folded_array_can_be_differentiated(graph: Graph) -> None:
    assert_differentiable(graph)


def test_what_is_not_folded_stays_the_same_memory() -> None:
    graph = chain(ir.Affine(weight=normal(20, 30).astype(np.float32), bias=normal(20)), shape=(30,))
    weight = lower(graph).projections[0].connection.weight
    assert np.shares_memory(weight, graph.nodes["node0"].weight) and weight.dtype == np.float32


def test_folding_float32_computes_in_float64() -> None:
    scale, weight = np.float32(0.1), normal(2, 3).astype(np.float32)
    graph = chain(ir.Linear(weight=weight), ir.Scale(scale=scale), shape=(3,))
    folded = lower(graph).projections[0].connection.weight
    np.testing.assert_array_equal(folded, weight.astype(np.float64) * np.float64(scale))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_folded_arrays_are_evaluated_on_the_gpu_and_repeat_bit_by_bit() -> None:
    nodes = ir.SumPool2d(kernel_size=(2, 2), stride=(2, 2)), ir.Conv2d(weight=normal(3, 2, 3, 3))
    graph = chain(*nodes, shape=(2, 8, 8))
    weight = lower(graph).projections[0].connection.weight
    leaf = torch.tensor(np.array(graph.nodes["node1"].weight), device="cuda", requires_grad=True)

    def evaluated() -> torch.Tensor:
        return evaluate(expr_of(weight), {("node1", "weight"): leaf}, lambda value: torch.tensor(value, device="cuda"))

    np.testing.assert_allclose(evaluated().detach().cpu().numpy(), np.asarray(weight), rtol=1e-12)
    assert torch.equal(evaluated(), evaluated())


# ---- form of the result


@pytest.mark.parametrize(("nodes", "kind", "stride", "kernel"), [
    ((ir.SumPool2d(kernel_size=(2, 2), stride=(2, 2)),), Conv, (2, 2), (2, 2)),
    ((ir.AvgPool2d(kernel_size=(2, 2), stride=(2, 2)), ir.Conv2d(weight=normal(3, 2, 3, 3))), Conv, (2, 2), (6, 6)),
    ((ir.AvgPool2d(kernel_size=(2, 2), stride=(2, 2)), ir.Conv2d(weight=normal(3, 2, 3, 3), padding="same")),
     Conv, (2, 2), (6, 6)),
    ((ir.SumPool2d(kernel_size=(2, 2), stride=(1, 1)), ir.Conv2d(weight=normal(3, 2, 3, 3), padding=(1, 1))),
     Sparse, None, None),
    ((ir.Conv2d(weight=normal(4, 1, 3, 3), groups=2), ir.SumPool2d(kernel_size=(2, 2), stride=(2, 2))),
     Conv, (2, 2), (4, 4)),
    ((ir.Conv2d(weight=normal(3, 2, 1, 1)), ir.Conv2d(weight=normal(2, 3, 3, 3), dilation=(2, 2))),
     Conv, (1, 1), (3, 3)),
    ((ir.Conv2d(weight=normal(4, 1, 3, 3), groups=2), ir.Conv2d(weight=normal(2, 4, 1, 1))), Sparse, None, None),
    ((ir.Conv2d(weight=normal(2, 2, 3, 3)), ir.Scale(scale=normal(2, 1, 1))), Conv, (1, 1), (3, 3)),
    ((ir.Conv2d(weight=normal(2, 2, 3, 3)), ir.Scale(scale=normal(2, 6, 6))), Sparse, None, None),
    ((ir.SumPool2d(kernel_size=(2, 2), stride=(2, 2)), ir.Flatten(), ir.Linear(weight=normal(3, 32))),
     Dense, None, None),
    ((ir.SumPool2d(kernel_size=(2, 2), stride=(1, 1)), ir.Flatten(), ir.Linear(weight=normal(3, 98))),
     Dense, None, None),
    ((ir.Delay(delay=normal(2, 8, 8) ** 2), ir.Conv2d(weight=normal(2, 2, 3, 3))), Conv, (1, 1), (3, 3)),
    ((ir.Conv2d(weight=normal(2, 2, 3, 3)), ir.Delay(delay=normal(2, 6, 6) ** 2)), Sparse, None, None),
    ((ir.Conv2d(weight=normal(2, 2, 3, 3)), ir.Delay(delay=2e-3)), Conv, (1, 1), (3, 3)),
])
def test_the_most_compact_exact_form_is_kept(nodes, kind, stride, kernel) -> None:
    graph = chain(*nodes, shape=(2, 8, 8))
    network = lower(graph)
    connection = network.projections[0].connection
    assert type(connection) is kind
    if kind is Conv:
        assert connection.stride == stride and connection.weight.shape[2:] == kernel
    assert_same_meaning(graph, network)


def test_a_pool_whose_leftover_a_padded_convolution_would_see_is_unrolled() -> None:
    nodes = ir.SumPool2d(kernel_size=(2, 2), stride=(2, 2)), ir.Conv2d(weight=normal(3, 2, 3, 3), padding=(1, 1))
    exact, cut = chain(*nodes, shape=(2, 8, 8)), chain(*nodes, shape=(2, 9, 9))
    assert isinstance(lower(exact).projections[0].connection, Conv)
    assert isinstance(lower(cut).projections[0].connection, Sparse)
    assert_same_meaning(cut, lower(cut))


@pytest.mark.parametrize("node", [
    ir.Conv1d(weight=normal(4, 1, 3), groups=2, stride=2, padding=1, bias=normal(4)),
    ir.Conv1d(weight=normal(4, 2, 4), padding="same", dilation=2),
    ir.Conv1d(weight=normal(4, 2, 4), padding="valid", stride=3),
])
def test_conv1d_is_a_stencil_of_height_one(node: ir.Conv1d) -> None:
    graph = chain(node, shape=(2, 11))
    connection = lower(graph).projections[0].connection
    assert isinstance(connection, Conv) and connection.input_shape == (2, 1, 11)
    assert_same_meaning(graph, lower(graph))


# ---- structure


def test_edges_that_meet_are_projections_of_their_own() -> None:
    two = ir.IF(shape=(2,))
    graph = Graph(
        {"a": ir.Input(shape=(3,)), "b": ir.Input(shape=(3,)), "x": ir.Affine(weight=normal(4, 3), bias=normal(4)),
         "y": ir.Linear(weight=normal(2, 4)), "skip": ir.Linear(weight=normal(2, 3)), "n": two,
         "loop": ir.Linear(weight=normal(2, 2)), "m": two, "out": ir.Output(shape=(2,)), "o2": ir.Output(shape=(2,))},
        (("a", "x"), ("b", "x"), ("x", "y"), ("y", "n"), ("a", "skip"), ("skip", "n"), ("n", "loop"), ("loop", "n"),
         ("n", "m"), ("m", "out"), ("n", "o2")),
        Discretization(1e-3, spike="box"),
    )
    network = lower(graph)
    assert [(p.name, p.source, p.target) for p in network.projections] == [
        ("y", "a", "n"), ("y_2", "b", "n"), ("skip", "a", "n"), ("loop", "n", "n"), ("n->m", "n", "m")]
    assert network.outputs == {"out": "m", "o2": "n"} and network.inputs == {"a": (3,), "b": (3,)}
    assert network.schedule == (("n",), ("m",))
    assert network.discretization == graph.discretization
    assert_same_meaning(graph, network)


def test_inputs_reach_neurons_directly() -> None:
    graph = Graph({"i": ir.Input(shape=(2, 3)), "n": ir.LIF(shape=(2, 3), tau=0.01), "o": ir.Output(shape=(2, 3))},
                  (("i", "n"), ("n", "o")))
    network = lower(graph)
    connection = network.projections[0].connection
    assert isinstance(connection, Sparse) and list(connection.weight) == [1.0] * 6
    assert_same_meaning(graph, network)


def test_populations_carry_the_parameters_of_their_nodes() -> None:
    shape = (2, 3)
    given = {"tau_mem": normal(*shape) ** 2 + 1, "tau_syn": 0.5, "w_in": normal(*shape), "v_leak": normal(*shape),
             "r": 2.0, "v0": normal(*shape), "v_threshold": 3.0 + normal(*shape) ** 2, "v_reset": -1.0,
             "refractory": normal(*shape) ** 2}
    nodes = {"i": ir.Input(shape=shape), "n": ir.CubaLIF(shape=shape, reset="subtract", **given),
             "m": ir.LI(shape=shape, tau=normal(*shape).astype(np.float32) ** 2 + 1),
             "k": ir.IF(shape=shape, reset="zero"), "o": ir.Output(shape=shape), "o2": ir.Output(shape=shape)}
    edges = (("i", "n"), ("n", "m"), ("m", "o"), ("i", "k"), ("k", "o2"))
    found = lower(Graph(nodes, edges)).populations
    for name, value in given.items():
        np.testing.assert_array_equal(getattr(found["n"], name), np.broadcast_to(value, shape).reshape(-1))
        assert getattr(found["n"], name).dtype == np.float64
    assert [(p.kind, p.spiking, p.reset) for p in found.values()] == [
        ("cuba", True, "subtract"), ("leaky", False, "v_reset"), ("integrator", True, "zero")]
    assert found["m"].tau_mem.dtype == np.float64 and found["m"].v_threshold is None and found["m"].tau_syn is None
    assert found["k"].tau_mem is None


# ---- delays


def delays_of(graph: Graph, **options: bool) -> tuple[str, np.ndarray]:
    projection = lower(graph, **options).projections[0]
    return projection.delay_per, projection.delay


@pytest.mark.parametrize("delay", [np.full((2, 3), 4e-3), np.tile([1e-3, 2e-3, 7e-3], (2, 1))])
def test_delays_that_are_equal_for_each_source_become_one(delay: np.ndarray) -> None:
    graph = chain(ir.Linear(weight=normal(2, 3), delay=delay), shape=(3,))
    per, found = delays_of(graph)
    assert per == "source"
    np.testing.assert_array_equal(found, delay[0])
    leaf = torch.tensor(delay, requires_grad=True)
    evaluate(expr_of(found), {("node0", "delay"): leaf}, torch.as_tensor).sum().backward()
    wanted = np.full((2, 3), 0.5)  # a source's delay is the mean of its two synapses'
    np.testing.assert_allclose(leaf.grad.numpy(), wanted)
    per, found = delays_of(graph, train_delays=True)
    assert per == "synapse" and found.shape == (2, 3)


def test_delays_along_a_chain_add_up() -> None:
    before, own, after = normal(3) ** 2, normal(2, 3) ** 2, normal(2) ** 2
    graph = chain(ir.Delay(delay=before), ir.Linear(weight=normal(2, 3), delay=own), ir.Delay(delay=after), shape=(3,))
    per, found = delays_of(graph)
    assert per == "synapse"
    np.testing.assert_allclose(found, before + own + after[:, None])


def test_a_delay_of_zero_is_none() -> None:
    graph = chain(ir.Delay(delay=0.0), ir.Linear(weight=normal(2, 3), delay=np.zeros((2, 3))), shape=(3,))
    assert delays_of(graph) == ("source", None)
    per, found = delays_of(graph, train_delays=True)
    assert per == "synapse"
    np.testing.assert_array_equal(found, np.zeros((2, 3)))


# ---- what cannot be lowered


def test_what_has_no_meaning_is_reported_all_at_once() -> None:
    size = (1, 4, 4)
    graph = Graph(
        {"i": ir.Input(shape=size), "max": ir.MaxPool2d(kernel_size=(2, 2), stride=(2, 2)), "flat": ir.Flatten(),
         "n": ir.IF(shape=(4,)), "step": ir.Threshold(threshold=np.ones(4)), "ro": ir.LI(shape=(4,), tau=0.01),
         "fc": ir.Linear(weight=normal(4, 4)), "m": ir.IF(shape=(4,)), "late": ir.Delay(delay=1e-3),
         "o": ir.Output(shape=(4,)), "o2": ir.Output(shape=(4,)), "o3": ir.Output(shape=(4,))},
        (("i", "max"), ("max", "flat"), ("flat", "n"), ("n", "step"), ("step", "m"), ("n", "ro"), ("ro", "fc"),
         ("fc", "m"), ("m", "o"), ("n", "o2"), ("m", "o2"), ("m", "late"), ("late", "o3")),
    )
    with pytest.raises(UnsupportedError) as caught:
        lower(graph)
    assert {(found.code, found.node) for found in caught.value.diagnostics} == {
        ("SC302", "max"), ("SC302", "step"), ("SC304", "ro"), ("SC303", "o2"), ("SC303", "o3")}
    assert all(found.remedy for found in caught.value.diagnostics)
    assert any("lower" in note for note in caught.value.__notes__)


def test_an_output_fed_by_weights_is_refused() -> None:
    graph = Graph({"i": ir.Input(shape=(2,)), "n": ir.IF(shape=(2,)), "fc": ir.Linear(weight=normal(3, 2)),
                   "o": ir.Output(shape=(3,))}, (("i", "n"), ("n", "fc"), ("fc", "o")))
    with pytest.raises(UnsupportedError, match=r"SC303 at 'o'.*readout"):
        lower(graph)


def test_what_would_grow_too_large_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algebra, "MAX_SYNAPSES", 100)
    nodes = ir.Conv2d(weight=normal(2, 2, 3, 3)), ir.Scale(scale=normal(2, 6, 6))
    with pytest.raises(UnsupportedError, match=r"SC305 at 'node1'.*limit: "):
        lower(chain(*nodes, shape=(2, 8, 8)))


def test_a_sparse_matrix_may_span_more_pairs_than_an_index_counts() -> None:
    n = 100_000
    node = ir.SparseLinear(size=(n, n), indptr=np.minimum(np.arange(n + 1), 3), indices=(n - 1, 7, 0), weight=normal(3))
    projection = lower(chain(node, ir.Delay(delay=RNG.uniform(0, 1, n)), shape=(n,))).projections[0]
    assert projection.delay_per == "synapse" and list(projection.connection.indices) == [n - 1, 7, 0]


def test_ten_million_synapses_lower_without_copies() -> None:
    weight = np.zeros((2000, 5000), np.float32)
    weight.flags.writeable = False
    network = lower(chain(ir.Linear(weight=weight), shape=(5000,)))
    assert np.shares_memory(network.projections[0].connection.weight, weight)
    assert prod(network.projections[0].connection.weight.shape) == 10**7
