"""Shapes against torch's own layers, and what cannot have a shape."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import cases, graphs
from torch.nn import functional

from spikec.ir import nodes as ir
from spikec.ir.graph import Graph
from spikec.ir.shapes import infer_shapes, window


def shapes_of(node: ir.Node, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(input, output) of one node that is fed `shape`."""
    known, faults = infer_shapes(Graph({"in": ir.Input(shape=shape), "node": node}, (("in", "node"),)))
    assert not faults, faults
    return tuple(known["node"])


def fault_of(node: ir.Node, shape: tuple[int, ...]) -> str:
    known, faults = infer_shapes(Graph({"in": ir.Input(shape=shape), "node": node}, (("in", "node"),)))
    assert len(faults) == 1
    assert "node" not in known
    assert faults[0].node == "node"
    return str(faults[0])


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    groups=st.integers(1, 3), per_group=st.integers(1, 2), out_per_group=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 5)), image=st.tuples(st.integers(1, 11), st.integers(1, 9)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 3)) | st.sampled_from(["same", "valid"]),
    stride=pairs, dilation=pairs, stated=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_conv2d_equals_torch(groups, per_group, out_per_group, kernel, image, padding, stride, dilation, stated):
    if padding == "same":
        stride = (1, 1)
    weight = np.ones((groups * out_per_group, per_group, *kernel))
    node = ir.Conv2d(weight=weight, stride=stride, dilation=dilation, padding=padding, groups=groups,
                     input_shape=image if stated else None)
    signal = torch.arange(groups * per_group * prod(image), dtype=torch.float64).reshape(1, -1, *image)
    try:
        expected = functional.conv2d(signal, torch.from_numpy(weight.copy()), None, stride, padding, dilation, groups)
    except RuntimeError:
        assert "larger than the padded input" in fault_of(node, tuple(signal.shape[1:]))
        return
    assert shapes_of(node, tuple(signal.shape[1:])) == (signal.shape[1:], expected.shape[1:])
    # The resolved padding is torch's as well: padded by hand, the plain convolution gives the same numbers.
    top, left, bottom, right = window(node).padding
    padded = functional.pad(signal, (left, right, top, bottom))
    by_hand = functional.conv2d(padded, torch.from_numpy(weight.copy()), None, stride, 0, dilation, groups)
    assert torch.equal(by_hand, expected)


@given(
    groups=st.integers(1, 2), kernel=st.integers(1, 5), length=st.integers(1, 12), stride=st.integers(1, 3),
    dilation=st.integers(1, 3), padding=st.integers(0, 3) | st.sampled_from(["same", "valid"]), stated=st.booleans(),
)
def test_conv1d_equals_torch(groups, kernel, length, stride, dilation, padding, stated):
    if padding == "same":
        stride = 1
    weight = np.ones((2 * groups, 3, kernel))
    node = ir.Conv1d(weight=weight, stride=stride, dilation=dilation, padding=padding, groups=groups,
                     input_shape=length if stated else None)
    signal = torch.zeros(1, 3 * groups, length, dtype=torch.float64)
    try:
        expected = functional.conv1d(signal, torch.from_numpy(weight.copy()), None, stride, padding, dilation, groups)
    except RuntimeError:
        assert "larger than the padded input" in fault_of(node, tuple(signal.shape[1:]))
        return
    assert shapes_of(node, tuple(signal.shape[1:])) == (signal.shape[1:], expected.shape[1:])


@given(kernel=pairs, stride=pairs, padding=st.tuples(st.integers(0, 1), st.integers(0, 1)),
       image=st.tuples(st.integers(1, 9), st.integers(1, 9)),
       kind=st.sampled_from([ir.SumPool2d, ir.AvgPool2d, ir.MaxPool2d]))
def test_pools_equal_torch(kernel, stride, padding, image, kind):
    assume(all(2 * pad <= size for pad, size in zip(padding, kernel, strict=True)))
    node = kind(kernel_size=kernel, stride=stride, padding=padding)
    signal = torch.zeros(1, 2, *image)
    try:
        expected = functional.avg_pool2d(signal, kernel, stride, padding)
    except RuntimeError:
        assert "larger than the padded input" in fault_of(node, (2, *image))
        return
    assert shapes_of(node, (2, *image)) == ((2, *image), expected.shape[1:])


@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), first=st.integers(-5, 4),
       last=st.integers(-5, 4))
def test_flatten_equals_torch_on_one_sample(shape, first, last):
    node = ir.Flatten(start_dim=first, end_dim=last)
    try:
        expected = torch.zeros(shape).flatten(first, last)
    except (IndexError, RuntimeError):
        assert "axes of one sample" in fault_of(node, shape)
        return
    assert shapes_of(node, shape) == (shape, expected.shape)


def test_linear_and_sparse():
    assert shapes_of(ir.Linear(weight=np.ones((3, 5))), (5,)) == ((5,), (3,))
    assert shapes_of(ir.Affine(weight=np.ones((3, 5)), bias=np.ones(3)), (5,)) == ((5,), (3,))
    sparse = ir.SparseLinear(size=(3, 5), indptr=[0, 0, 0, 1], indices=[4], weight=[1.0])
    assert shapes_of(sparse, (5,)) == ((5,), (3,))


@pytest.mark.parametrize("scale", [2.0, np.ones(4), np.ones((4, 1, 1)), np.ones((4, 2, 3))])
def test_elementwise_nodes_keep_the_shape(scale):
    if np.shape(scale) == (4,):
        assert "does not spread" in fault_of(ir.Scale(scale=scale), (4, 2, 3))
        return
    for node in (ir.Scale(scale=scale), ir.Delay(delay=scale), ir.Threshold(threshold=scale)):
        assert shapes_of(node, (4, 2, 3)) == ((4, 2, 3), (4, 2, 3))


@pytest.mark.parametrize(("node", "shape", "message"), [
    (ir.Linear(weight=np.ones(3)), (3,), "weight is (out, in)"),
    (ir.Linear(weight=np.ones((0, 3))), (3,), "weight is (out, in)"),
    (ir.Conv2d(weight=np.ones((2, 1, 3, 3)), padding="same", stride=(2, 1)), (1, 8, 8), "'same' has no meaning with"),
    (ir.Conv2d(weight=np.ones((2, 1, 3, 3)), groups=2), (1, 8, 8), "a convolution takes"),
    (ir.Conv2d(weight=np.ones((2, 1, 3, 3)), stride=(0, 1)), (1, 8, 8), "stride is out of range"),
    (ir.Conv2d(weight=np.ones((2, 1, 3, 3)), padding=(-1, 0)), (1, 8, 8), "padding is out of range"),
    (ir.Conv2d(weight=np.ones((2, 1, 3, 3)), groups=0), (1, 8, 8), "groups is out of range"),
    (ir.Conv1d(weight=np.ones((2, 1, 3)), dilation=0), (1, 8), "dilation is out of range"),
    (ir.Conv1d(weight=np.ones((2, 1, 3, 3))), (1, 8), "weight is (C_out, C_in/groups, K)"),
    (ir.Conv2d(weight=np.ones((2, 1, 3, 3)), input_shape=(0, 8)), (1, 8, 8), "input_shape is positive"),
    (ir.SumPool2d(kernel_size=(2, 2), stride=(2, 2), padding=(2, 0)), (1, 8, 8), "half of the kernel"),
    (ir.SumPool2d(kernel_size=(2, 2), stride=(2, 2)), (8, 8), "a pool takes"),
    (ir.LIF(tau=0.01), (3,), "at least one axis"),
    (ir.LIF(tau=0.01, shape=(3, 0)), (3,), "at least one axis"),
    (ir.LIF(tau=0.01, shape=(2**20, 2**20)), (3,), "at least one axis"),
    (ir.Conv2d(weight=np.ones((2, 1, 3, 3)), padding=(2**20, 2**20)), (1, 8, 8), "more elements than"),
])
def test_what_cannot_have_a_shape(node, shape, message):
    assert message in fault_of(node, shape)


def test_every_edge_that_disagrees_is_reported_with_a_remedy():
    graph = Graph(
        {"in": ir.Input(shape=(2, 3)), "fc": ir.Linear(weight=np.ones((4, 6))), "lif": ir.LIF(tau=0.01, shape=(5,)),
         "out": ir.Output(shape=(1, 1, 5))},
        (("in", "fc"), ("fc", "lif"), ("lif", "out")),
    )
    _, faults = infer_shapes(graph)
    assert [fault.node for fault in faults] == ["fc", "lif", "out"]
    remedies = ["Put a Flatten between them.", None, "The sizes agree: state the same axes."]
    assert [fault.remedy for fault in faults] == remedies


def test_shapes_go_around_cycles():
    graph = Graph(
        {"loop": ir.Scale(scale=0.5), "wait": ir.Delay(delay=1e-3), "lif": ir.LIF(tau=0.01, shape=(2, 3)),
         "in": ir.Input(shape=(2, 3)), "out": ir.Output(shape=(2, 3))},
        (("loop", "wait"), ("wait", "lif"), ("lif", "loop"), ("in", "lif"), ("lif", "out")),
    )
    known, faults = infer_shapes(graph)
    assert not faults
    assert list(known) == list(graph.nodes)
    assert {shape for pair in known.values() for shape in pair} == {(2, 3)}


def test_every_source_of_a_sum_must_agree():
    graph = Graph(
        {"a": ir.Input(shape=(2,)), "b": ir.Input(shape=(3,)), "sum": ir.Scale(scale=1.0)},
        (("a", "sum"), ("b", "sum")),
    )
    known, faults = infer_shapes(graph)
    assert known["sum"].input == (2,)
    assert "'b' gives another shape than 'sum' takes" in str(faults[0])


@given(graph=graphs())
def test_random_graphs_agree_on_every_edge(graph):
    known, faults = infer_shapes(graph)
    assert not faults
    assert set(known) == set(graph.nodes)
    assert all(known[source].output == known[target].input for source, target in graph.edges)


@given(case=cases())
def test_stimuli_fit_their_inputs(case):
    for name, events in case.events.items():
        events.checked(prod(case.graph.nodes[name].shape), name)
        assert len(events) == 0 or events.times.max() < case.duration


@pytest.mark.parametrize(("node", "given", "told"), [
    (ir.MaxPool2d(kernel_size=(4, 5), stride=(1, 1), padding=(1, 0)), (2, 3, 3),
     "(value: input (3, 3), padding (2, 0); limit: kernel (4, 5))"),
    (ir.Conv1d(weight=np.ones((1, 1, 3)), dilation=4, padding=1), (1, 5),
     "(value: input (5,), padding (2,); limit: kernel (9,))"),
])
def test_a_kernel_larger_than_its_input_is_told_in_numbers(node, given, told):
    assert told in fault_of(node, given)
