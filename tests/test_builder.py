"""The builder: what it makes, and what it says about wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec.compiler.frontends.builder import Builder, Handle
from spikec.compiler.frontends.initialisers import normal, uniform
from spikec.ir.diagnostics import BadInputError
from spikec.ir.graph import Discretization, same_graph
from spikec.ir.nodes import LIF, Affine, CubaLIF, Linear, SparseLinear


def _small() -> tuple[Builder, Handle, Handle]:
    net = Builder()
    return net, net.input("in", 4), net.lif("hidden", 3, tau=10e-3)


def _finished(net: Builder, last: Handle) -> object:
    net.output("out", last)
    return net.build()


def test_two_layers_by_hand() -> None:
    net = Builder(Discretization(1e-3), metadata={"made by": "hand"})
    x = net.input("in", 5)
    hidden = net.cubalif("hidden", 4, tau_mem=20e-3, tau_syn=[5e-3, 6e-3, 7e-3, 8e-3])
    label = net.cubali("label", 2, tau_mem=20e-3, tau_syn=5e-3)
    x.connect(hidden, weight=normal(0.5, 0.1, seed=1), name="fc1").connect(
        label, weight=uniform(-1, 1, seed=2), bias=0.5)
    net.connect(hidden, hidden, weight=np.zeros((4, 4)), delay=2e-3, name="rec")
    net.output("out", label)
    graph = net.build()
    assert list(graph.nodes) == ["in", "hidden", "label", "fc1", "hidden_label", "rec", "out"]
    assert set(graph.edges) == {("in", "fc1"), ("fc1", "hidden"), ("hidden", "hidden_label"), ("hidden_label", "label"),
                                ("hidden", "rec"), ("rec", "hidden"), ("label", "out")}
    node = graph.nodes["hidden"]
    assert isinstance(node, CubaLIF)
    np.testing.assert_array_equal(node.w_in, node.tau_syn)
    np.testing.assert_array_equal(node.tau_syn, [5e-3, 6e-3, 7e-3, 8e-3])
    np.testing.assert_array_equal(node.tau_mem, [20e-3] * 4)
    np.testing.assert_array_equal(graph.nodes["fc1"].weight, np.random.default_rng(1).normal(0.5, 0.1, (4, 5)))
    np.testing.assert_array_equal(graph.nodes["hidden_label"].weight, np.random.default_rng(2).uniform(-1, 1, (2, 4)))
    assert type(graph.nodes["fc1"]) is Linear
    assert type(graph.nodes["hidden_label"]) is Affine
    np.testing.assert_array_equal(graph.nodes["hidden_label"].bias, [0.5, 0.5])
    np.testing.assert_array_equal(graph.nodes["rec"].delay, np.full((4, 4), 2e-3))
    assert graph.discretization == Discretization(1e-3)
    assert graph.metadata == {"made by": "hand"}


def test_the_same_calls_make_the_same_graph() -> None:
    def build(seed: int) -> object:
        net, x, hidden = _small()
        return _finished(net, x.connect(hidden, weight=normal(0, 1, seed=seed)))

    assert same_graph(build(3), build(3))
    assert not same_graph(build(3), build(4))


def test_a_convolutional_net_has_torch_shapes() -> None:
    torch = pytest.importorskip("torch")
    net = Builder()
    x = net.input("in", (2, 11, 9))
    conv = net.conv2d("conv", x, weight=uniform(-1, 1, seed=0), channels=4, kernel_size=(3, 5), stride=(2, 1),
                      padding=(1, 2), groups=2, bias=0.1)
    cells = net.if_("cells", conv.shape, v_threshold=0.5)
    net.connect(conv, cells)
    pool = net.sum_pool2d("pool", cells, 2)
    flat = net.flatten("flat", net.delay("late", pool, 1e-3))
    out = net.lif("last", 3, tau=5e-3)
    flat.connect(out, weight=normal(0, 1))
    graph = _finished(net, out)
    reference = torch.nn.Conv2d(2, 4, (3, 5), (2, 1), (1, 2), groups=2)(torch.zeros(1, 2, 11, 9))
    assert conv.shape == tuple(reference.shape[1:])
    assert pool.shape == tuple(torch.nn.AvgPool2d(2)(reference).shape[1:])
    assert graph.nodes["conv"].weight.shape == (4, 1, 3, 5)
    assert graph.nodes["flat_last"].weight.shape == (3, int(np.prod(pool.shape)))


def test_one_dimensional_and_elementwise_nodes() -> None:
    net = Builder()
    x = net.input("in", (2, 20))
    conv = net.conv1d("conv", x, weight=normal(0, 1), channels=3, kernel_size=5, stride=2)
    normed = net.batch_norm("norm", net.scale("scale", conv, 2.0), mean=0.0, variance=1.0)
    cells = net.lif("cells", normed.shape, tau=1e-2)
    net.connect(normed, cells)
    graph = _finished(net, net.threshold("sharp", net.delay("late", cells, 1e-3), 0.5))
    assert conv.shape == (3, 8)
    assert graph.nodes["scale"].scale.shape == (3, 8)
    assert graph.nodes["norm"].gamma.shape == (3,)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_sparse_weights_are_the_matrix_they_describe(data: st.DataObject) -> None:
    n_out, n_in = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    cells = data.draw(st.lists(st.tuples(st.integers(0, n_out - 1), st.integers(0, n_in - 1)), unique=True, min_size=1))
    rows, columns = (np.array([cell[axis] for cell in cells]) for axis in (0, 1))
    values, delays = np.arange(1.0, len(cells) + 1), np.arange(len(cells)) * 1e-3
    net = Builder()
    x, y = net.input("in", n_in), net.lif("cells", n_out, tau=1e-2)
    net.connect(x, y, weight=(rows, columns, values), delay=delays, name="w")
    node = _finished(net, y).nodes["w"]
    assert isinstance(node, SparseLinear)
    for given_values, held in ((values, node.weight), (delays, node.delay)):
        expected = scipy.sparse.csr_matrix((given_values + 1, (rows, columns)), shape=(n_out, n_in))
        expected.sort_indices()
        np.testing.assert_array_equal(node.indptr, expected.indptr)
        np.testing.assert_array_equal(node.indices, expected.indices)
        np.testing.assert_array_equal(held + 1, expected.data)
    again = Builder()
    x, y = again.input("in", n_in), again.lif("cells", n_out, tau=1e-2)
    again.connect(x, y, weight=scipy.sparse.coo_array((values, (rows, columns)), shape=(n_out, n_in)), delay=delays,
                  name="w")
    assert same_graph(_finished(again, y), net.build())


def _wrong(net: Builder, x: Handle, hidden: Handle) -> dict[str, object]:
    other = Builder()
    stranger = other.input("in", 4)
    image = net.input("image", (1, 5, 5))
    return {
        "a dense weight is": lambda: net.connect(x, hidden, weight=np.zeros((4, 3))),
        "numbers": lambda: net.connect(x, hidden, weight="heavy"),
        "more than once": lambda: net.connect(x, hidden, weight=([0, 0], [1, 1], [1.0, 2.0])),
        "row index": lambda: net.connect(x, hidden, weight=([3], [0], [1.0])),
        "column index": lambda: net.connect(x, hidden, weight=([0], [-1], [1.0])),
        "whole numbers": lambda: net.connect(x, hidden, weight=([0.5], [0], [1.0])),
        "differ in length": lambda: net.connect(x, hidden, weight=([0], [0, 1], [1.0])),
        "'bias' has the wrong shape": lambda: net.connect(x, hidden, weight=np.zeros((3, 4)), bias=[1.0, 2.0]),
        "'delay' has the wrong shape": lambda: net.connect(x, hidden, weight=np.zeros((3, 4)), delay=np.zeros((4, 3))),
        "carries no bias": lambda: net.connect(x, hidden, bias=1.0),
        "one row for each": lambda: net.connect(x, hidden, weight=scipy.sparse.eye_array(4)),
        "one column for each": lambda: net.connect(x, hidden, weight=scipy.sparse.eye_array(3)),
        "already a node": lambda: net.lif("hidden", 3, tau=1e-2),
        "another builder": lambda: net.connect(stranger, hidden, weight=np.zeros((3, 4))),
        "returned": lambda: net.connect("in", hidden, weight=np.zeros((3, 4))),
        "1 to 255 characters": lambda: net.input("", 3),
        "without empty parts": lambda: net.input("a..b", 3),
        "name is text": lambda: net.scale(["scale"], x, 2.0),
        "padding is malformed": lambda: net.conv2d("conv", image, weight=np.zeros((1, 1, 3, 3)), padding="foo"),
        "stride is malformed": lambda: net.conv1d("conv", net.input("line", (1, 9)), weight=np.zeros((1, 1, 3)),
                                                  stride="foo"),
        "reset is malformed": lambda: net.lif("other", 3, tau=1e-2, reset="late"),
        "do not broadcast together": lambda: net.add("other", LIF(tau=[1.0, 2.0], r=[1.0, 2.0, 3.0]), x),
        "tau must be positive": lambda: net.lif("other", 3, tau=-1e-2),
        "tau_syn must be positive": lambda: net.cubali("other", 3, tau_mem=1e-2, tau_syn=[1e-2, 0.0, 1e-2]),
        "tau is not finite": lambda: net.theta("other", 3, tau=np.nan),
        "v_reset must be below v_threshold": lambda: net.if_("other", 3, v_reset=1.0),
        "refractory must not be negative": lambda: net.equations(
            "other", 3, "dv/dt = -v", threshold="v > 1", reset="v = 0", receive="v", refractory=-1e-3),
        "delay must not be negative": lambda: net.delay("other", x, -1e-3),
        "variance must not be negative": lambda: net.batch_norm("norm", x, mean=0.0, variance=-1.0),
        "weight is not finite": lambda: net.connect(x, hidden, weight=np.full((3, 4), np.nan), name="fc"),
        "bias is not finite": lambda: net.linear("fc", x, weight=np.ones((3, 4)), bias=np.inf),
        "its own .value: shape": lambda: net.equations("other", 3, "dv/dt = -v/shape", receive="v", shape=1.0),
        "its own .value: name": lambda: net.equations("other", 3, "dv/dt = -v/name", receive="v", name=1.0),
        "'threshold' is text": lambda: net.equations("other", 3, "dv/dt = -v/threshold", receive="v", threshold=0.5),
        "do not name .value: name": lambda: net.equations("other", 3, spikec.equations.adex(), name=1.0),
        "no node kind": lambda: net.add("other", object(), x),
        "groups is a positive": lambda: net.conv2d("conv", image, weight=normal(0, 1), channels=1, kernel_size=3,
                                                   groups="all"),
        "'weight' cannot be drawn": lambda: net.conv2d("conv", image, weight=normal(0, 1), channels=10**12,
                                                       kernel_size=3),
        "sizes are positive": lambda: net.linear("fc", x, weight=normal(0, 1), n_out=-1),
        "`n_out` is a positive": lambda: net.linear("fc", x, weight=([0], [1], [1.0]), n_out=10**12),
        "'eps' must be a number": lambda: net.batch_norm("norm", x, mean=0.0, variance=1.0, eps="small"),
        "no node of this name": lambda: net.handle(["hidden"]),
        "positive whole": lambda: net.input("empty", 0),
        "'tau' has the wrong shape": lambda: net.lif("other", 3, tau=[1e-2, 2e-2]),
        "'in' gives another shape than 'fc' takes": lambda: net.add("fc", Linear(weight=np.zeros((3, 5))), x),
        "'hidden' gives another shape than 'cells' takes": lambda: net.add("cells", LIF(shape=(4,), tau=1e-2), hidden),
        "one axis": lambda: net.connect(image, hidden, weight=np.zeros((3, 25))),
        "needs `channels`": lambda: net.conv2d("conv", image, weight=normal(0, 1)),
        "larger than the padded input": lambda: net.conv2d("conv", image, weight=np.zeros((1, 1, 9, 9))),
        "a pair": lambda: net.sum_pool2d("pool", image, (2, 2, 2)),
        "name axes": lambda: net.flatten("flat", image, 1, 5),
        "standard deviation": lambda: normal(0, -1),
        "upper end": lambda: uniform(1, 0),
        "must be finite": lambda: normal(float("nan"), 1),
    }


@pytest.mark.parametrize("message", sorted(_wrong(*_small())))
def test_wrong_arguments_are_named_at_once(message: str) -> None:
    net, x, hidden = _small()
    call = _wrong(net, x, hidden)[message]
    with pytest.raises(BadInputError, match=message) as caught:
        call()
    assert all(found.code.startswith(("SC1", "SC2")) for found in caught.value.diagnostics)


def test_a_failed_call_leaves_nothing_behind() -> None:
    net, x, hidden = _small()
    with pytest.raises(BadInputError):
        net.connect(x, hidden, weight=np.zeros((4, 3)), name="fc")
    net.connect(x, hidden, weight=np.ones((3, 4)), name="fc")
    assert list(_finished(net, hidden).nodes) == ["in", "hidden", "fc", "out"]


def test_build_reports_every_fault_of_the_network_together() -> None:
    net = Builder()
    x = net.input("in", 2)
    hidden = net.add("hidden", LIF(shape=(2,), tau=-1.0))  # what is given whole is looked at as a whole
    net.connect(net.add("fc", Linear(weight=[[np.nan, 1.0], [0.0, 1.0]]), x), hidden)
    with pytest.raises(BadInputError) as caught:
        net.build()
    codes = {found.code for found in caught.value.diagnostics}
    assert {"SC103", "SC104", "SC105"} <= codes


def test_compile_builds_a_builder_and_refuses_what_is_no_graph() -> None:
    net, x, hidden = _small()
    net.connect(x, hidden, weight=np.ones((3, 4)))
    net.output("out", hidden)
    assert same_graph(spikec.compile(net).graph, net.build())
    for wrong in (torch.nn.Linear(2, 2), "model.nir", None):
        with pytest.raises(BadInputError, match=r"SC232.*from_torch.*from_nir"):
            spikec.compile(wrong)  # type: ignore[arg-type]
