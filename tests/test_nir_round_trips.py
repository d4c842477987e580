"""What NIR has comes back exactly; what it lacks is named, or kept as an extension."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hypothesis.extra.numpy as hnp
import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nir_files import CHAIN, chain_parts, rich_graph, within_tmp, written_file

from spikec.compiler.frontends.builder import Builder
from spikec.compiler.frontends.nir.reader import from_nir
from spikec.compiler.frontends.nir.writer import to_nir
from spikec.ir import nodes
from spikec.ir.diagnostics import BadInputError, SpikecWarning, UnsupportedError
from spikec.ir.graph import Discretization, Graph, same_graph, same_node

finite = st.floats(-10, 10, width=32)
positive = st.floats(2**-6, 1, width=32)
dtypes = st.sampled_from([np.float32, np.float64])


def _arrays(shape: tuple[int, ...], elements: st.SearchStrategy[float] = finite) -> st.SearchStrategy[Any]:
    return dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shape, elements=elements))


@st.composite
def _neurons(draw: st.DrawFn, shape: tuple[int, ...]) -> nodes.Neuron:
    kind = draw(st.sampled_from((*nodes.READOUTS, *nodes.SPIKING)))
    values = {}
    for name in nodes.param_names(kind):
        if name in ("v0", "refractory", "v_reset", "v_min"):
            continue
        values[name] = draw(_arrays(shape, positive))
    if kind in nodes.SPIKING:
        values["v_threshold"] = values["v_threshold"] + 1
        values["v_reset"] = np.zeros_like(values["v_threshold"]) + draw(st.sampled_from([0.0, 0.5]))
    return kind(shape=shape, **values)


@st.composite
def _vector_graphs(draw: st.DrawFn) -> Graph:
    """Input -> (Linear | Affine) -> (Scale | Delay | Threshold) -> neurons -> Output, with recurrence."""
    n_in, n = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    weight = draw(_arrays((n, n_in)))
    bias = draw(st.none() | _arrays((n,)))
    first = nodes.Linear(weight=weight) if bias is None else nodes.Affine(weight=weight, bias=bias)
    middle = draw(st.sampled_from(["scale", "delay", "threshold"]))
    kind = {"scale": nodes.Scale, "delay": nodes.Delay, "threshold": nodes.Threshold}[middle]
    parts: dict[str, nodes.Node] = {
        "z_in": nodes.Input(shape=(n_in,)), "fc": first, "mid": kind(**{middle: draw(_arrays((n,), positive))}),
        "10": draw(_neurons((n,))), "rec.w": nodes.Linear(weight=draw(_arrays((n, n)))),
        "out": nodes.Output(shape=(n,)),
    }
    order = draw(st.permutations(list(parts)))
    edges = [("z_in", "fc"), ("fc", "mid"), ("mid", "10"), ("10", "rec.w"), ("rec.w", "10"), ("10", "out")]
    metadata = draw(st.dictionaries(st.sampled_from(["author", "10/note", "fc/k"]),
                                    st.one_of(st.integers(-9, 9), finite, st.booleans(), st.just("text"))))
    return Graph({name: parts[name] for name in order}, tuple(draw(st.permutations(edges))), None, metadata)


@st.composite
def _image_graphs(draw: st.DrawFn) -> Graph:
    """Input -> Conv2d -> neurons -> pool -> Flatten -> Linear -> Output, and a Conv1d net."""
    groups = draw(st.sampled_from([1, 2]))
    if draw(st.booleans()):
        conv: nodes.Node = nodes.Conv1d(
            weight=draw(_arrays((2, 2 // groups, 3))), bias=draw(_arrays((2,))), input_shape=9,
            stride=draw(st.integers(1, 2)), padding=draw(st.sampled_from([0, 1, "valid"])), groups=groups)
        parts = {"in": nodes.Input(shape=(2, 9)), "conv": conv}
    else:
        conv = nodes.Conv2d(
            weight=draw(_arrays((2, 2 // groups, 3, 2))), bias=draw(_arrays((2,))), input_shape=(9, 8),
            stride=draw(st.sampled_from([(1, 1), (2, 1)])), padding=draw(st.sampled_from([(0, 1), (1, 1), "valid"])),
            dilation=draw(st.sampled_from([(1, 1), (1, 2)])), groups=groups)
        parts = {"in": nodes.Input(shape=(2, 9, 8)), "conv": conv}
    net = Builder()
    last = net.add("in", parts["in"])
    last = net.add("conv", conv, last)
    cells = net.add("cells", draw(_neurons(last.shape)))
    last = net.connect(last, cells)
    if len(last.shape) == 3:
        pool = nodes.SumPool2d if draw(st.booleans()) else nodes.AvgPool2d
        last = net.add("pool", pool(kernel_size=(2, 2), stride=(2, 1), padding=(1, 0)), last)
    last = net.flatten("flat", last, draw(st.integers(0, 1)))
    net.output("out", last)
    return net.build()


@within_tmp
@given(graph=st.one_of(_vector_graphs(), _image_graphs()))
def test_what_nir_has_comes_back_exactly(graph: Graph, tmp_path: Path) -> None:
    to_nir(graph, tmp_path / "a.nir")
    assert same_graph(from_nir(tmp_path / "a.nir"), graph)


@within_tmp
@given(graph=st.one_of(_vector_graphs(), _image_graphs()))
def test_the_nir_package_reads_what_is_written(graph: Graph, tmp_path: Path) -> None:
    to_nir(graph, tmp_path / "a.nir")
    read = nir.read(tmp_path / "a.nir", type_check=False)
    assert read.nodes.keys() == graph.nodes.keys()
    assert set(read.edges) == set(graph.edges)
    for name, node in graph.nodes.items():
        other = read.nodes[name]
        assert type(other).__name__ == type(node).__name__
        for key, value in nodes.params(node).items():
            if hasattr(other, key):
                np.testing.assert_array_equal(getattr(other, key), value, strict=key != "w_in")  # nir widens w_in
        if isinstance(node, nodes.Input):
            np.testing.assert_array_equal(other.input_type["input"], node.shape)
        if isinstance(node, nodes.Conv2d):
            assert tuple(other.stride) == node.stride
            assert tuple(other.input_shape) == node.input_shape
            assert int(other.groups) == node.groups
            assert (other.padding if isinstance(node.padding, str) else tuple(other.padding)) == node.padding
        if isinstance(node, nodes.SumPool2d):
            assert tuple(other.kernel_size) == node.kernel_size


@within_tmp
@given(graph=_vector_graphs())
def test_the_nir_package_accepts_the_types_of_a_vector_net(graph: Graph, tmp_path: Path) -> None:
    to_nir(graph, tmp_path / "a.nir")
    nir.read(tmp_path / "a.nir", type_check=True)


@within_tmp
@given(graph=st.one_of(_vector_graphs(), _image_graphs()))
def test_what_the_nir_package_writes_is_read(graph: Graph, tmp_path: Path) -> None:
    to_nir(graph, tmp_path / "a.nir")
    nir.write(tmp_path / "b.nir", nir.read(tmp_path / "a.nir", type_check=False))
    read = from_nir(tmp_path / "b.nir")
    assert read.nodes.keys() == graph.nodes.keys()
    assert set(read.edges) == set(graph.edges)
    for name, node in graph.nodes.items():
        other = read.nodes[name]
        if hasattr(node, "w_in"):  # nir widens it to float64 where another parameter is
            np.testing.assert_array_equal(other.w_in, node.w_in)
            other = replace(other, w_in=node.w_in)
        assert same_node(other, node)
    assert dict(read.metadata) == dict(graph.metadata)


def test_extensions_keep_what_nir_lacks(tmp_path: Path) -> None:
    graph = rich_graph()
    with pytest.warns(SpikecWarning) as caught:
        to_nir(graph, tmp_path / "a.nir", extensions=True)
    told = "".join(str(each.message) for each in caught)
    assert all(part in told for part in ("v0, refractory, reset", "v_min", "delay", "no time grid"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same_graph(from_nir(tmp_path / "a.nir"), graph)
    dense = nir.read(tmp_path / "a.nir").nodes["few"]
    np.testing.assert_array_equal(dense.weight, np.float32([[0, 0, 0, 0], [1.5, 0, 2.5, 0]]))
    other = Discretization(5e-4)
    with pytest.warns(SpikecWarning, match="SC210.*another discretization"):
        read = from_nir(tmp_path / "a.nir", discretization=other)
    assert read.discretization == other
    assert read.nodes["b"].grid is None


def test_a_convolution_without_bias_comes_back_without(tmp_path: Path) -> None:
    net = Builder()
    net.output("out", net.conv2d("c", net.input("in", (1, 4, 4)), weight=np.ones((1, 1, 2, 2))))
    graph = net.build()
    to_nir(graph, tmp_path / "a.nir", extensions=True)
    assert same_graph(from_nir(tmp_path / "a.nir"), graph)
    to_nir(graph, tmp_path / "a.nir")
    np.testing.assert_array_equal(from_nir(tmp_path / "a.nir").nodes["c"].bias, [0.0])


def test_without_extensions_every_loss_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as caught:
        to_nir(rich_graph(), tmp_path / "a.nir")
    lost = {found.node: found.value for found in caught.value.diagnostics}
    assert lost == {"a": "v0, refractory, reset", "b": "v_min", "slow": "delay", "few": "delay"}
    assert not list(tmp_path.iterdir())


def test_a_grid_is_kept_and_told(tmp_path: Path) -> None:
    net = Builder(Discretization(1e-3, spike="box", integrator="semi", fires="at", delay=3))
    net.output("out", net.scale("s", net.input("in", 1), 2.0))
    with pytest.warns(SpikecWarning, match="SC209.*no time grid"):
        to_nir(net.build(), tmp_path / "a.nir")
    assert same_graph(from_nir(tmp_path / "a.nir"), net.build().with_nodes({"s": nodes.Scale(scale=[2.0])}))
    metadata = nir.read(tmp_path / "a.nir").metadata
    assert metadata["spikec.discretization.dt"] == 1e-3
    assert metadata["spikec.discretization.spike"] == "box"


@pytest.mark.parametrize(("field", "value"), [
    ("dt", np.nan), ("dt", "soon"), ("dt", [1.0, 2.0]), ("delay", 1.5), ("spike", "bolt"), ("colour", "red"),
    ("integrator", 3), ("dt", -1.0)])
def test_a_grid_that_was_tampered_with_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    path = written_file(tmp_path / "a.nir", chain_parts(), CHAIN, **{"spikec.discretization.dt": 1e-3})
    assert from_nir(path).discretization == Discretization(1e-3)
    with h5py.File(path, "r+") as file:
        file["node/metadata"].pop(f"spikec.discretization.{field}", None)
        file[f"node/metadata/spikec.discretization.{field}"] = value
    with pytest.raises(BadInputError, match=r"SC206|SC116"):
        from_nir(path)


def test_kinds_and_names_that_nir_cannot_hold(tmp_path: Path) -> None:
    net = Builder(metadata={"in/x/y": 1, "nobody/x": 2, "spikec.x": 3})
    state = nodes.StepNeuron(shape=(1,), a=np.ones((1, 1)), b=np.ones(1), v_threshold=1.0)
    pool = net.max_pool2d("a/b", net.batch_norm("norm", net.input("in", (1, 4, 4)), mean=0.0, variance=1.0), 2)
    rectified = net.add("relu", nodes.Relu(), net.flatten("flat", pool))
    net.output("out", net.add("state", state, net.linear("fc", rectified, weight=np.ones((1, 4)))))
    with pytest.raises(UnsupportedError) as caught:
        to_nir(net.build(Discretization(1e-3)), tmp_path / "a.nir")
    message = str(caught.value)
    for part in ("no Relu", "on a grid", "no BatchNorm", "no MaxPool2d", "'/'", "in/x/y", "nobody/x", "spikec.x"):
        assert part in message


@pytest.mark.parametrize(("kernel", "groups"), [((3, 3), 1), ((3, 2), 1), ((3, 3), 2)])
def test_what_the_nir_package_infers_wrongly_is_told(kernel: tuple[int, int], groups: int, tmp_path: Path) -> None:
    net = Builder()
    weight = np.ones((2, 2 // groups, *kernel), np.float32)
    conv = nodes.Conv2d(weight=weight, bias=np.zeros(2, np.float32), groups=groups)
    net.output("out", net.add("c", conv, net.input("in", (2, 6, 6))))
    wrong = groups != 1 or kernel[0] != kernel[1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        to_nir(net.build(), tmp_path / "a.nir")
    assert len([each for each in caught if "type_check=False" in str(each.message)]) == wrong
    nir.read(tmp_path / "a.nir", type_check=False)
    if not wrong:
        nir.read(tmp_path / "a.nir")
        return
    with pytest.raises(ValueError, match="mismatch"):
        nir.read(tmp_path / "a.nir")
