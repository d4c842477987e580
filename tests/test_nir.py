"""NIR in and out, against the `nir` package itself, the published files, and files that mean harm."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hypothesis.extra.numpy as hnp
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikec.compiler.frontends.builder import Builder
from spikec.compiler.frontends.nir_file import Limits
from spikec.compiler.frontends.nir_reader import from_nir
from spikec.compiler.frontends.nir_writer import to_nir
from spikec.ir import nodes
from spikec.ir.diagnostics import BadInputError, SpikecError, SpikecWarning, UnsupportedError
from spikec.ir.graph import Discretization, Graph, same_graph, same_node
from spikec.ir.shapes import infer_shapes

ROOT = Path(os.environ.get("SPIKEC_DATA", "")) / "nir_models"
needs_data = pytest.mark.skipif(not os.environ.get("SPIKEC_DATA") or not ROOT.is_dir(),
                                reason="SPIKEC_DATA does not name a folder with nir_models")
within_tmp = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# ---- round trips

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


def _rich() -> Graph:
    """Everything that NIR lacks and the metadata can hold."""
    net = Builder(Discretization(1e-3, spike="box", integrator="euler", reset="next", delay=2, unit="ms"))
    x = net.input("in", 3)
    a = net.lif("a", 4, tau=1e-2, refractory=[1e-3, 0, 0, 2e-3], reset="subtract", v0=0.25)
    b = net.cubalif("b", 2, tau_mem=1e-2, tau_syn=5e-3, reset="zero", v_reset=-1.0)
    net.connect(x, a, weight=np.ones((4, 3)), delay=np.arange(12.0).reshape(4, 3) * 1e-3, name="slow")
    net.connect(a, b, weight=([1, 0, 1], [0, 3, 2], np.float32([1.5, 0.0, 2.5])), delay=[1e-3, 2e-3, 3e-3],
                bias=[0.5, 0.25], name="few")
    net.connect(b, b, weight=([1], [0], [3.0]), name="back")
    net.output("out", b)
    own = Discretization(1e-3, integrator="semi", fires="at", delay=2)
    net.replace("b", replace(net.node("b"), v_min=np.full(2, -3.0), grid=own))
    return net.build()


def test_extensions_keep_what_nir_lacks(tmp_path: Path) -> None:
    graph = _rich()
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
        to_nir(_rich(), tmp_path / "a.nir")
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
    path = _file(tmp_path / "a.nir", _chain(), CHAIN, **{"spikec.discretization.dt": 1e-3})
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


# ---- files of others

EXPECTED = {
    "01_lif/lif_norse.nir": {"0": ((1,), (1,)), "1": ((1,), (1,))},
    "01_lif/lif_rockpool.nir": {"1_LIFNeuronTorch": ((1,), (1,)), "output": ((1,), (1,))},
    "01_lif/debug_spike_representation/two_lif_neurons.nir": {"lif2": ((1,), (1,))},
    "02_cnn/cnn_sinabs.nir": {"0": ((2, 34, 34), (16, 16, 16)), "4": ((16, 16, 16), (16, 8, 8)),
                              "7": ((8, 8, 8), (8, 4, 4)), "8": ((8, 4, 4), (128,)), "12": ((10,), (10,))},
    "03_rnn/braille_noDelay_bias_zero.nir": {"lif1.lif": ((38,), (38,)), "fc2": ((38,), (7,))},
    "03_rnn/braille_noDelay_noBias_subtract.nir": {"lif1.w_rec": ((40,), (40,)), "lif2": ((7,), (7,))},
}


@needs_data
@pytest.mark.parametrize("name", EXPECTED)
def test_published_files_have_the_right_shapes(name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = from_nir(ROOT / name)
    known, faults = infer_shapes(graph)
    assert not faults
    for node, shapes in EXPECTED[name].items():
        assert known[node] == shapes
    assert len(caught) == (1 if "rockpool" in name else 0)
    assert graph.discretization is None
    assert next(iter(graph.nodes)) in graph.inputs


@needs_data
@pytest.mark.parametrize("name", [name for name in EXPECTED if "rockpool" not in name])
def test_published_files_agree_with_the_nir_package(name: str) -> None:
    graph, other = from_nir(ROOT / name), nir.read(ROOT / name)
    assert graph.nodes.keys() == other.nodes.keys()
    for key, node in graph.nodes.items():
        for field, value in nodes.params(node).items():
            if hasattr(other.nodes[key], field):
                np.testing.assert_array_equal(value, getattr(other.nodes[key], field), strict=True)


@needs_data
@pytest.mark.parametrize("name", ["bias_zero", "noBias_subtract"])
def test_published_malformed_files_are_told_apart(name: str) -> None:
    with pytest.raises(BadInputError) as caught:
        from_nir(ROOT / f"03_rnn/extras/braille_noDelay_{name}_subgraph.nir")
    assert [found.code for found in caught.value.diagnostics] == ["SC101"] * 4
    assert all(found.value == "lif1.lif" for found in caught.value.diagnostics)


def _file(path: Path, parts: dict[str, dict[str, Any]], edges: list[tuple[str, str]], **metadata: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["version"] = "0.2.0"
        _graph(file.create_group("node"), parts, edges)
        for key, value in metadata.items():
            file[f"node/metadata/{key}"] = value
    return path


def _graph(group: h5py.Group, parts: dict[str, Any], edges: list[tuple[str, str]]) -> None:
    group["type"] = "NIRGraph"
    group.create_dataset("edges", data=np.array(edges, dtype=object), dtype=h5py.string_dtype())
    for name, fields in parts.items():
        inner = group.create_group(f"nodes/{name}")
        if "nodes" in fields:
            _graph(inner, fields["nodes"], fields["edges"])
            continue
        for key, value in fields.items():
            inner[key] = value


def _chain(**changes: Any) -> dict[str, dict[str, Any]]:
    parts = {
        "in": {"type": "Input", "shape": [2]}, "fc": {"type": "Linear", "weight": np.ones((3, 2))},
        "cells": {"type": "LIF", "tau": np.full(3, 1e-2), "r": np.ones(3), "v_leak": np.zeros(3),
                  "v_threshold": np.ones(3)},
        "out": {"type": "Output", "shape": [3]},
    }
    return {**parts, **changes}


CHAIN = [("in", "fc"), ("fc", "cells"), ("cells", "out")]


def test_scalar_parameters_take_the_shape_around_them(tmp_path: Path) -> None:
    scalar = {"type": "LIF", "tau": 1e-2, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0}
    graph = from_nir(_file(tmp_path / "a.nir", _chain(cells=scalar), CHAIN))
    assert graph.nodes["cells"].shape == (3,)
    np.testing.assert_array_equal(graph.nodes["cells"].tau, np.full(3, 1e-2))
    single = {key: value if key == "type" else [value] for key, value in scalar.items()}
    with pytest.warns(SpikecWarning, match="spread over the neurons"):
        graph = from_nir(_file(tmp_path / "b.nir", _chain(cells=single), CHAIN))
    assert graph.nodes["cells"].shape == (3,)


def test_a_scalar_neuron_between_scalar_neurons_is_refused(tmp_path: Path) -> None:
    scalar = {"type": "I", "r": 1.0}
    parts = {"in": {"type": "Input", "shape": [2]}, "a": scalar, "b": scalar, "out": {"type": "Output", "shape": [2]}}
    assert from_nir(_file(tmp_path / "a.nir", parts, [("in", "a"), ("a", "b"), ("b", "out")])).nodes["b"].shape == (2,)
    with pytest.raises(BadInputError, match="number is unknown"):
        from_nir(_file(tmp_path / "b.nir", {"a": scalar, "b": scalar}, [("a", "b"), ("b", "a")]))


def test_missing_fields_of_old_files_get_their_defaults(tmp_path: Path) -> None:
    cells = {"type": "CubaLIF", **{key: np.full(3, 0.5, np.float32) for key in
                                   ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold")}}
    node = from_nir(_file(tmp_path / "a.nir", _chain(cells=cells), CHAIN)).nodes["cells"]
    np.testing.assert_array_equal(node.v_reset, np.zeros(3, np.float32), strict=True)
    np.testing.assert_array_equal(node.w_in, np.ones(3, np.float32), strict=True)


def _flattened(**flatten: Any) -> dict[str, Any]:
    return {"in": {"type": "Input", "shape": [2, 3, 4]}, "flat": {"type": "Flatten", **flatten},
            "fc": {"type": "Linear", "weight": np.ones((1, 24))}, "out": {"type": "Output", "shape": [1]}}


FLAT = [("in", "flat"), ("flat", "fc"), ("fc", "out")]


def test_flatten_with_a_batch_axis_is_put_right_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(SpikecWarning, match="batch axis"):
        graph = from_nir(_file(tmp_path / "a.nir", _flattened(start_dim=1, end_dim=-1), FLAT))
    assert graph.nodes["flat"].start_dim == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = from_nir(_file(tmp_path / "b.nir", _flattened(start_dim=0, end_dim=-1), FLAT))
    assert graph.nodes["flat"].start_dim == 0


def test_flatten_that_fits_literally_stays(tmp_path: Path) -> None:
    parts = _flattened(start_dim=1, end_dim=2)
    parts["fc"] = {"type": "Scale", "scale": np.ones((2, 12))}
    parts["out"] = {"type": "Output", "shape": [2, 12]}
    assert from_nir(_file(tmp_path / "a.nir", parts, FLAT)).nodes["flat"].start_dim == 1


def test_nested_graphs_become_flat(tmp_path: Path) -> None:
    inner = {
        "nodes": {"input": {"type": "Input", "shape": [3]}, "lif": _chain()["cells"],
                  "w": {"type": "Linear", "weight": np.ones((3, 3))}, "output": {"type": "Output", "shape": [3]}},
        "edges": [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")],
    }
    graph = from_nir(_file(tmp_path / "a.nir", _chain(cells=inner), CHAIN))
    assert set(graph.nodes) == {"in", "fc", "cells.lif", "cells.w", "out"}
    assert set(graph.edges) == {("in", "fc"), ("fc", "cells.lif"), ("cells.lif", "cells.w"), ("cells.w", "cells.lif"),
                                ("cells.lif", "out")}
    deeper = {"nodes": {"input": inner["nodes"]["input"], "core": inner, "output": inner["nodes"]["output"]},
              "edges": [("input", "core"), ("core", "output"), ("input", "output")]}
    graph = from_nir(_file(tmp_path / "b.nir", _chain(cells=deeper), CHAIN))
    assert {("fc", "cells.core.lif"), ("cells.core.lif", "out"), ("fc", "out")} <= set(graph.edges)


@pytest.mark.parametrize(("inner_edges", "end", "what"), [
    ([("lif", "output")], "input", "leads nowhere"), ([("input", "lif")], "output", "nothing is fed")])
def test_no_edge_of_a_nested_graph_disappears(inner_edges: Any, end: str, what: str, tmp_path: Path) -> None:
    inner = {"nodes": {"input": {"type": "Input", "shape": [3]}, "lif": _chain()["cells"],
                       "output": {"type": "Output", "shape": [3]}}, "edges": inner_edges}
    with pytest.raises(BadInputError, match=f"SC211 at 'cells.{end}'.*{what}"):
        from_nir(_file(tmp_path / "a.nir", _chain(cells=inner), [*CHAIN, ("fc", "out")]))


def test_padding_may_be_a_word_in_bytes(tmp_path: Path) -> None:
    conv = {"type": np.bytes_("Conv2d"), "weight": np.ones((1, 1, 3, 3)), "stride": 1, "dilation": [1, 1], "groups": 1,
            "padding": np.bytes_("same")}
    parts = {"in": {"type": "Input", "shape": [1, 5, 5]}, "c": conv, "out": {"type": "Output", "shape": [1, 5, 5]}}
    node = from_nir(_file(tmp_path / "a.nir", parts, [("in", "c"), ("c", "out")])).nodes["c"]
    assert node.padding == "same"
    assert node.stride == (1, 1)
    assert node.bias is None


def test_a_time_step_in_the_metadata_is_kept_and_never_used(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.nir", _chain(), CHAIN, dt=1e-4)
    with pytest.warns(SpikecWarning, match="SC210"):
        graph = from_nir(path)
    assert graph.discretization is None
    assert graph.metadata["dt"] == 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert from_nir(path, discretization=Discretization(1e-4)).discretization == Discretization(1e-4)


# ---- files that are malformed, or mean harm

def _broken(name: str, **fields: Any) -> Callable[[Path], Path]:
    return lambda folder: _file(folder / "a.nir", _chain(**{name: fields}), CHAIN)


def _edit(change: Callable[[h5py.File, Path], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = _file(folder / "a.nir", _chain(), CHAIN)
        with h5py.File(path, "r+") as file:
            change(file, folder)
        return path

    return make


def _soft(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    file["node/nodes/fc/weight"] = h5py.SoftLink("/node/nodes/cells/tau")


def _external_link(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    with h5py.File(folder / "other.h5", "w") as other:
        other["weight"] = np.ones((3, 2))
    file["node/nodes/fc/weight"] = h5py.ExternalLink(str(folder / "other.h5"), "weight")


def _external_storage(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    (folder / "secret").write_bytes(bytes(48))
    file["node/nodes/fc"].create_dataset("weight", (3, 2), "f8", external=[(str(folder / "secret"), 0, 48)])


def _virtual(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    layout = h5py.VirtualLayout((3, 2), "f8")
    layout[...] = h5py.VirtualSource(str(folder / "x.h5"), "w", shape=(3, 2))
    file["node/nodes/fc"].create_virtual_dataset("weight", layout)


def _circle(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/cells"]
    file["node/nodes/cells"] = file["node"]


def _huge(file: h5py.File, folder: Path) -> None:
    del file["node/nodes/fc/weight"]
    file["node/nodes/fc"].create_dataset("weight", (1 << 20, 1 << 20), "f8", chunks=(1, 1 << 10), compression="gzip")


def _deep(folder: Path) -> Path:
    inner: dict[str, Any] = _chain()["cells"]
    ends = {"i": {"type": "Input", "shape": [3]}, "o": {"type": "Output", "shape": [3]}}
    for _ in range(30):
        inner = {"nodes": {**ends, "x": inner}, "edges": [("i", "x"), ("x", "o")]}
    return _file(folder / "a.nir", _chain(cells=inner), CHAIN)


def _bytes(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "a.nir").write_bytes(content)
        return folder / "a.nir"

    return make


LIF_FIELDS = {key: value for key, value in _chain()["cells"].items() if key != "type"}
MALFORMED: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "empty": ("SC203", _bytes(b"")),
    "text": ("SC203", _bytes(b"not HDF5 at all" * 100)),
    "absent": ("SC203", lambda folder: folder / "absent.nir"),
    "a folder": ("SC203", lambda folder: folder),
    "no node": ("SC205", _edit(lambda file, folder: file.move("node", "edon"))),
    "no nodes": ("SC205", _edit(lambda file, folder: file["node"].pop("nodes"))),
    "no edges": ("SC205", _edit(lambda file, folder: file["node"].pop("edges"))),
    "no type": ("SC205", _edit(lambda file, folder: file["node/nodes/fc"].pop("type"))),
    "no tau": ("SC205", _edit(lambda file, folder: file["node/nodes/cells"].pop("tau"))),
    "type is a number": ("SC206", _broken("fc", type=3, weight=np.ones((3, 2)))),
    "type is empty": ("SC206", _broken("fc", type="", weight=np.ones((3, 2)))),
    "type is unknown": ("SC207", _broken("fc", type="Izhikevich", weight=np.ones((3, 2)))),
    "root is a node of a graph": ("SC205", _edit(lambda file, folder: (file["node"].pop("type"),
                                                            file["node"].create_dataset("type", data="LIF")))),
    "weight is text": ("SC206", _broken("fc", type="Linear", weight="heavy")),
    "weight is complex": ("SC206", _broken("fc", type="Linear", weight=np.ones((3, 2), complex))),
    "weight is a vector": ("SC206", _broken("fc", type="Linear", weight=np.ones(6))),
    "weight is a record": ("SC206", _broken("fc", type="Linear", weight=np.zeros((3, 2), [("a", "f8")]))),
    "weight is empty": ("SC107", _broken("fc", type="Linear", weight=np.ones((0, 2)))),
    "weight is NaN": ("SC104", _broken("fc", type="Linear", weight=np.full((3, 2), np.nan))),
    "bias too short": ("SC107", _broken("fc", type="Affine", weight=np.ones((3, 2)), bias=np.ones(2))),
    "tau negative": ("SC103", _broken("cells", type="LIF", **{**LIF_FIELDS, "tau": np.full(3, -1.0)})),
    "parameters disagree": ("SC107", _broken("cells", type="LIF", **{**LIF_FIELDS, "r": np.ones(2)})),
    "shape negative": ("SC102", _broken("in", type="Input", shape=[-2])),
    "shape absurd": ("SC102", _broken("in", type="Input", shape=[1 << 40, 1 << 40])),
    "shape fractional": ("SC206", _broken("in", type="Input", shape=[1.5])),
    "shape enormous": ("SC206", _broken("in", type="Input", shape=np.ones(1000, np.int64))),
    "edge to nowhere": ("SC101", lambda folder: _file(folder / "a.nir", _chain(), [*CHAIN, ("in", "ghost")])),
    "edge twice": ("SC108", lambda folder: _file(folder / "a.nir", _chain(), [*CHAIN, CHAIN[0]])),
    "edges are numbers": ("SC206", _edit(lambda file, folder: (file["node"].pop("edges"), file["node"].create_dataset(
        "edges", data=np.ones((3, 2)))))),
    "soft link": ("SC208", _edit(_soft)),
    "external link": ("SC208", _edit(_external_link)),
    "external storage": ("SC208", _edit(_external_storage)),
    "virtual data": ("SC208", _edit(_virtual)),
    "nested in a circle": ("SC211", _edit(_circle)),
    "nested too deep": ("SC211", _deep),
    "a terabyte": ("SC204", _edit(_huge)),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_named(case: str, tmp_path: Path) -> None:
    code, make = MALFORMED[case]
    path = make(tmp_path)
    with pytest.raises(BadInputError) as caught:
        from_nir(path)
    assert code in {found.code for found in caught.value.diagnostics}


def test_every_fault_of_a_file_is_reported_at_once(tmp_path: Path) -> None:
    parts = _chain(fc={"type": "Linear"}, cells={"type": "Quadratic"}, out={"type": "Output", "shape": "three"})
    with pytest.raises(BadInputError) as caught:
        from_nir(_file(tmp_path / "a.nir", parts, [*CHAIN, ("nobody", "out")]))
    assert [found.code for found in caught.value.diagnostics] == ["SC207", "SC205", "SC206", "SC101"]


def test_the_limits_hold(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.nir", _chain(), CHAIN)
    from_nir(path, limits=Limits(data=1000, nodes=5, edges=3))
    for limits in (Limits(data=100), Limits(nodes=3), Limits(edges=2)):
        with pytest.raises(BadInputError, match="SC204"):
            from_nir(path, limits=limits)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (0, 8), (1, 1 << 63), (1, (1 << 64) - 16), (7, 1 << 20)])
def test_a_heap_without_end_is_not_walked(index: int, size: int, tmp_path: Path) -> None:
    """The HDF5 library would not come back from some of these."""
    path = _file(tmp_path / "a.nir", _chain(), CHAIN)
    content = bytearray(path.read_bytes())
    for heap in (at for at in range(len(content)) if content[at:at + 4] == b"GCOL"):
        content[heap + 16:heap + 18] = index.to_bytes(2, "little")
        content[heap + 24:heap + 32] = size.to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="SC203"):
        from_nir(path)


@pytest.mark.parametrize("length", [1, 9, 1 << 16, (1 << 32) - 1])
def test_a_text_of_another_length_than_its_own_is_not_allocated(length: int, tmp_path: Path) -> None:
    path = _file(tmp_path / "a.nir", _chain(), CHAIN)
    with h5py.File(path) as file:
        at = file["node/nodes/fc/type"].id.get_offset()
    content = bytearray(path.read_bytes())
    assert int.from_bytes(content[at:at + 4], "little") == len("Linear")
    content[at:at + 4] = length.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="SC203 at 'fc'"):
        from_nir(path)


def test_a_file_behind_a_user_block_is_read(tmp_path: Path) -> None:
    plain = _file(tmp_path / "a.nir", _chain(), CHAIN)
    with h5py.File(plain) as source, h5py.File(tmp_path / "b.nir", "w", userblock_size=512) as target:
        source.copy("node", target)
    assert same_graph(from_nir(tmp_path / "b.nir"), from_nir(plain))


def test_texts_of_fixed_length_are_read(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.nir", _chain(), CHAIN)
    expected = from_nir(path)
    with h5py.File(path, "r+") as file:
        del file["node/edges"], file["node/nodes/fc/type"]
        file["node/edges"] = np.array(CHAIN, dtype="S8")
        file["node/nodes/fc/type"] = np.bytes_("Linear")
    assert same_graph(from_nir(path), expected)


def test_one_group_linked_many_times_is_not_read_without_end(tmp_path: Path) -> None:
    """Hard links can make a small file an exponentially large tree."""
    path = tmp_path / "a.nir"
    with h5py.File(path, "w") as file:
        previous = file.create_group("base")
        _graph(previous, {"x": {"type": "Input", "shape": [1]}}, [])
        for level in range(12):
            group = file.create_group(f"level{level}")
            _graph(group, {}, [])
            group.create_group("nodes")
            for copy in range(10):
                group[f"nodes/n{copy}"] = previous
            previous = group
        file["node"] = previous
    with pytest.raises(BadInputError, match="SC204"):
        from_nir(path, limits=Limits(nodes=200))


@pytest.fixture(scope="module")
def real_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    source = ROOT / "03_rnn/braille_noDelay_bias_zero.nir"
    if os.environ.get("SPIKEC_DATA") and source.is_file():
        return source.read_bytes()
    path = tmp_path_factory.mktemp("nir") / "a.nir"
    to_nir(_rich(), path, extensions=True)
    return path.read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_a_graph_or_a_diagnostic(data: st.DataObject, real_file: bytes, tmp_path: Path) -> None:
    content = bytearray(real_file)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))):]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] = data.draw(st.integers(0, 255))
    (tmp_path / "a.nir").write_bytes(bytes(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        try:
            found: Any = from_nir(tmp_path / "a.nir", limits=Limits(data=1 << 24)).nodes
        except SpikecError as error:
            found = error.diagnostics
    assert found


FUZZ = """
import faulthandler, random, resource, sys, time, warnings
faulthandler.enable()
from spikec.compiler.frontends.nir_file import Limits
from spikec.compiler.frontends.nir_reader import from_nir
from spikec.ir.diagnostics import SpikecError

warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
source, path, count = open(sys.argv[1], "rb").read(), sys.argv[2], int(sys.argv[3])
dice, refused = random.Random(20260101), 0
for number in range(count):
    content = bytearray(source)
    if number % 4 == 0:
        del content[number * len(source) // count:]
    elif number % 4 == 1:
        at = dice.randrange(len(content))
        content[at:at + dice.choice((0, 1, 8))] = dice.randbytes(dice.choice((0, 1, 8, 64)))
    for _ in range(dice.choice((1, 2, 4, 16)) if number % 4 > 1 else 0):
        at, width = dice.randrange(len(content)), dice.choice((1, 2, 4, 8))
        content[at:at + width] = dice.choice((b"\\xff" * width, bytes(width), dice.randbytes(width)))
    with open(path, "wb") as file:
        file.write(content)
    start = time.process_time()
    try:
        from_nir(path, limits=Limits(data=1 << 26))
    except SpikecError as error:
        refused += 1
        assert all(found.code.startswith("SC") and str(found) for found in error.diagnostics)
    assert time.process_time() - start < 5, number
print(refused)
"""


@pytest.mark.parametrize("layout", ["earliest", "latest"])
def test_mutated_files_cost_neither_crash_nor_memory_nor_time(layout: str, tmp_path: Path) -> None:
    """In a process of its own, with bounded memory: the HDF5 library is C."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        to_nir(_rich(), tmp_path / "a.nir", extensions=True)
    if layout == "latest":
        with h5py.File(tmp_path / "a.nir") as old, h5py.File(tmp_path / "b.nir", "w", libver="latest") as new:
            old.copy("node", new)
        (tmp_path / "b.nir").replace(tmp_path / "a.nir")
    run = subprocess.run([sys.executable, "-c", FUZZ, tmp_path / "a.nir", tmp_path / "c.nir", "150"],
                         capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout) > 40
