"""NIR files of other writers: the published ones, those of old versions, nested graphs."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from nir_files import CHAIN, ROOT, chain_parts, written_file

from spikec.compiler.frontends.nir.reader import from_nir
from spikec.ir import nodes
from spikec.ir.diagnostics import BadInputError, SpikecWarning
from spikec.ir.graph import Discretization
from spikec.ir.shapes import infer_shapes

needs_data = pytest.mark.skipif(not os.environ.get("SPIKEC_DATA") or not ROOT.is_dir(),
                                reason="SPIKEC_DATA does not name a folder with nir_models")
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


def test_scalar_parameters_take_the_shape_around_them(tmp_path: Path) -> None:
    scalar = {"type": "LIF", "tau": 1e-2, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0}
    graph = from_nir(written_file(tmp_path / "a.nir", chain_parts(cells=scalar), CHAIN))
    assert graph.nodes["cells"].shape == (3,)
    np.testing.assert_array_equal(graph.nodes["cells"].tau, np.full(3, 1e-2))
    single = {key: value if key == "type" else [value] for key, value in scalar.items()}
    with pytest.warns(SpikecWarning, match="spread over the neurons"):
        graph = from_nir(written_file(tmp_path / "b.nir", chain_parts(cells=single), CHAIN))
    assert graph.nodes["cells"].shape == (3,)


def test_a_scalar_neuron_between_scalar_neurons_is_refused(tmp_path: Path) -> None:
    scalar = {"type": "I", "r": 1.0}
    parts = {"in": {"type": "Input", "shape": [2]}, "a": scalar, "b": scalar, "out": {"type": "Output", "shape": [2]}}
    path = written_file(tmp_path / "a.nir", parts, [("in", "a"), ("a", "b"), ("b", "out")])
    assert from_nir(path).nodes["b"].shape == (2,)
    with pytest.raises(BadInputError, match="number is unknown"):
        from_nir(written_file(tmp_path / "b.nir", {"a": scalar, "b": scalar}, [("a", "b"), ("b", "a")]))


def test_missing_fields_of_old_files_get_their_defaults(tmp_path: Path) -> None:
    cells = {"type": "CubaLIF", **{key: np.full(3, 0.5, np.float32) for key in
                                   ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold")}}
    node = from_nir(written_file(tmp_path / "a.nir", chain_parts(cells=cells), CHAIN)).nodes["cells"]
    np.testing.assert_array_equal(node.v_reset, np.zeros(3, np.float32), strict=True)
    np.testing.assert_array_equal(node.w_in, np.ones(3, np.float32), strict=True)


def _flattened(**flatten: Any) -> dict[str, Any]:
    return {"in": {"type": "Input", "shape": [2, 3, 4]}, "flat": {"type": "Flatten", **flatten},
            "fc": {"type": "Linear", "weight": np.ones((1, 24))}, "out": {"type": "Output", "shape": [1]}}


FLAT = [("in", "flat"), ("flat", "fc"), ("fc", "out")]


def test_flatten_with_a_batch_axis_is_put_right_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(SpikecWarning, match="batch axis"):
        graph = from_nir(written_file(tmp_path / "a.nir", _flattened(start_dim=1, end_dim=-1), FLAT))
    assert graph.nodes["flat"].start_dim == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = from_nir(written_file(tmp_path / "b.nir", _flattened(start_dim=0, end_dim=-1), FLAT))
    assert graph.nodes["flat"].start_dim == 0


def test_flatten_that_fits_literally_stays(tmp_path: Path) -> None:
    parts = _flattened(start_dim=1, end_dim=2)
    parts["fc"] = {"type": "Scale", "scale": np.ones((2, 12))}
    parts["out"] = {"type": "Output", "shape": [2, 12]}
    assert from_nir(written_file(tmp_path / "a.nir", parts, FLAT)).nodes["flat"].start_dim == 1


def test_nested_graphs_become_flat(tmp_path: Path) -> None:
    inner = {
        "nodes": {"input": {"type": "Input", "shape": [3]}, "lif": chain_parts()["cells"],
                  "w": {"type": "Linear", "weight": np.ones((3, 3))}, "output": {"type": "Output", "shape": [3]}},
        "edges": [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")],
    }
    graph = from_nir(written_file(tmp_path / "a.nir", chain_parts(cells=inner), CHAIN))
    assert set(graph.nodes) == {"in", "fc", "cells.lif", "cells.w", "out"}
    assert set(graph.edges) == {("in", "fc"), ("fc", "cells.lif"), ("cells.lif", "cells.w"), ("cells.w", "cells.lif"),
                                ("cells.lif", "out")}
    deeper = {"nodes": {"input": inner["nodes"]["input"], "core": inner, "output": inner["nodes"]["output"]},
              "edges": [("input", "core"), ("core", "output"), ("input", "output")]}
    graph = from_nir(written_file(tmp_path / "b.nir", chain_parts(cells=deeper), CHAIN))
    assert {("fc", "cells.core.lif"), ("cells.core.lif", "out"), ("fc", "out")} <= set(graph.edges)


@pytest.mark.parametrize(("inner_edges", "end", "what"), [
    ([("lif", "output")], "input", "leads nowhere"), ([("input", "lif")], "output", "nothing is fed")])
def test_no_edge_of_a_nested_graph_disappears(inner_edges: Any, end: str, what: str, tmp_path: Path) -> None:
    inner = {"nodes": {"input": {"type": "Input", "shape": [3]}, "lif": chain_parts()["cells"],
                       "output": {"type": "Output", "shape": [3]}}, "edges": inner_edges}
    with pytest.raises(BadInputError, match=f"SC211 at 'cells.{end}'.*{what}"):
        from_nir(written_file(tmp_path / "a.nir", chain_parts(cells=inner), [*CHAIN, ("fc", "out")]))


def test_padding_may_be_a_word_in_bytes(tmp_path: Path) -> None:
    conv = {"type": np.bytes_("Conv2d"), "weight": np.ones((1, 1, 3, 3)), "stride": 1, "dilation": [1, 1], "groups": 1,
            "padding": np.bytes_("same")}
    parts = {"in": {"type": "Input", "shape": [1, 5, 5]}, "c": conv, "out": {"type": "Output", "shape": [1, 5, 5]}}
    node = from_nir(written_file(tmp_path / "a.nir", parts, [("in", "c"), ("c", "out")])).nodes["c"]
    assert node.padding == "same"
    assert node.stride == (1, 1)
    assert node.bias is None


def test_a_time_step_in_the_metadata_is_kept_and_never_used(tmp_path: Path) -> None:
    path = written_file(tmp_path / "a.nir", chain_parts(), CHAIN, dt=1e-4)
    with pytest.warns(SpikecWarning, match="SC210"):
        graph = from_nir(path)
    assert graph.discretization is None
    assert graph.metadata["dt"] == 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert from_nir(path, discretization=Discretization(1e-4)).discretization == Discretization(1e-4)
