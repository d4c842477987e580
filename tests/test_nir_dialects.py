"""NIR files as their writers of all versions lay them out, and what becomes of each."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch

from spikec.compiler.frontends.nir.reader import from_nir
from spikec.ir import nodes
from spikec.ir.diagnostics import BadInputError, SpikecWarning
from spikec.ir.graph import Discretization, Graph
from spikec.ir.step import simulate_step

ROOT = Path(os.environ.get("SPIKEC_DATA", "")) / "nir_models"
needs_data = pytest.mark.skipif(not os.environ.get("SPIKEC_DATA") or not ROOT.is_dir(),
                                reason="SPIKEC_DATA does not name a folder with nir_models")
Parts = dict[str, Any]


def _values(*shape: int, value: float = 0.5) -> Any:
    return np.full(shape, value, np.float32)


# ---- every primitive, as each release of the nir package wrote it

NEURONS: Parts = {
    "I": {"r": _values(3)}, "IF": {"r": _values(3), "v_threshold": _values(3)},
    "LI": {"tau": _values(3), "r": _values(3), "v_leak": _values(3)},
    "LIF": {"tau": _values(3), "r": _values(3), "v_leak": _values(3), "v_threshold": _values(3)},
    "CubaLI": {"tau_mem": _values(3), "tau_syn": _values(3), "r": _values(3), "v_leak": _values(3),
               "w_in": _values(3)},
    "CubaLIF": {"tau_mem": _values(3), "tau_syn": _values(3), "r": _values(3), "v_leak": _values(3),
                "v_threshold": _values(3)},
}
VECTORS: Parts = {
    "Linear": {"weight": _values(3, 3)}, "Affine": {"weight": _values(3, 3), "bias": _values(3)},
    "Scale": {"scale": _values(3)}, "Delay": {"delay": _values(3)}, "Threshold": {"threshold": _values(3)}, **NEURONS,
}
CONV2D: Parts = {"weight": _values(2, 1, 3, 3), "stride": 1, "padding": [1, 1], "dilation": 1, "groups": 1,
                 "bias": _values(2)}
IMAGES: Parts = {  # fields, shape in, shape out
    "Conv1d": ({"weight": _values(2, 1, 3), "stride": 1, "padding": 1, "dilation": 1, "groups": 1, "bias": _values(2)},
               (1, 5), (2, 5)),
    "Conv2d": (CONV2D, (1, 5, 5), (2, 5, 5)),
    "SumPool2d": ({"kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0]}, (1, 4, 4), (1, 2, 2)),
    "AvgPool2d": ({"kernel_size": [2, 2], "stride": [2, 2], "padding": [0, 0]}, (1, 4, 4), (1, 2, 2)),
    "Flatten": ({"start_dim": 0, "end_dim": -1, "input_type": [1, 2, 2]}, (1, 2, 2), (4,)),
}


def _write(path: Path, version: str | None, graph: Parts, compressed: bool = False, texts: str = "variable") -> Path:
    """A file as nir wrote it: `compressed` from 1.0.3 on."""
    with h5py.File(path, "w") as file:
        if version is not None:
            file["version"] = version
        _put(file.create_group("node"), {"type": "NIRGraph", **graph}, compressed, texts)
    return path


def _put(group: h5py.Group, values: Parts, compressed: bool, texts: str) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _put(group.create_group(key), value, compressed, texts)
        elif key == "edges":
            kind = h5py.string_dtype() if texts == "variable" else "S20"
            group.create_dataset(key, data=np.array(value, dtype=object if texts == "variable" else "S20"), dtype=kind)
        elif isinstance(value, str):
            group[key] = value if texts == "variable" else np.bytes_(value)
        elif isinstance(value, np.ndarray) and value.ndim and compressed:
            group.create_dataset(key, data=value, compression="gzip")
        else:
            group[key] = value


def _chain(kind: str, fields: Parts, given: tuple[int, ...] = (3,), gives: tuple[int, ...] = (3,)) -> Parts:
    return {"edges": [("input", "0"), ("0", "output")], "nodes": {
        "0": {"type": kind, **fields}, "input": {"type": "Input", "shape": np.array(given)},
        "output": {"type": "Output", "shape": np.array(gives)}}}


def _quiet(path: Path) -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return from_nir(path)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "1.0.0", "1.0.8"])
@pytest.mark.parametrize("kind", [*VECTORS, *IMAGES])
def test_every_primitive_of_every_version(kind: str, version: str, tmp_path: Path) -> None:
    fields, given, gives = IMAGES[kind] if kind in IMAGES else (VECTORS[kind], (3,), (3,))
    compressed = version == "1.0.8"
    if compressed and kind in ("IF", "LIF", "CubaLIF"):
        fields = {**fields, "v_reset": _values(3, value=0.25)}
    if compressed and kind in ("Conv1d", "Conv2d"):
        fields = {**fields, "input_shape": 5 if kind == "Conv1d" else np.array([5, 5])}
    graph = _quiet(_write(tmp_path / "a.nir", version, _chain(kind, fields, given, gives), compressed))
    node = graph.nodes["0"]
    assert type(node).__name__ == kind
    for name, value in fields.items():
        if name in nodes.params(node):
            np.testing.assert_array_equal(getattr(node, name), value, strict=True)
    if kind in ("IF", "LIF", "CubaLIF"):
        np.testing.assert_array_equal(node.v_reset, _values(3, value=0.25 if compressed else 0.0), strict=True)
        assert node.reset == "v_reset"
    if kind == "CubaLIF":
        np.testing.assert_array_equal(node.w_in, np.ones(3), strict=False)


def test_a_file_without_a_version_and_one_of_the_future(tmp_path: Path) -> None:
    assert "0" in _quiet(_write(tmp_path / "a.nir", None, _chain("Linear", VECTORS["Linear"]))).nodes
    with pytest.warns(SpikecWarning, match=r"SC203.*newer NIR"):
        from_nir(_write(tmp_path / "b.nir", "2.1", _chain("Linear", VECTORS["Linear"])))


def test_what_the_first_current_based_neurons_left_out(tmp_path: Path) -> None:
    """0.1 wrote w_in as one number beside arrays, and scalars without axes as they were."""
    graph = _quiet(_write(tmp_path / "a.nir", "0.1.0", _chain("CubaLIF", {**NEURONS["CubaLIF"], "w_in": 2.0})))
    np.testing.assert_array_equal(graph.nodes["0"].w_in, np.full(3, 2.0))
    single = {key: np.float32(0.5) for key in NEURONS["LIF"]}
    graph = _quiet(_write(tmp_path / "b.nir", "0.1.0", _chain("LIF", single)))
    assert graph.nodes["0"].shape == (3,)


@pytest.mark.parametrize("kind", [*VECTORS, "Conv2d", "Flatten"])
def test_a_file_that_holds_one_node(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    extra = {"Conv2d": {**CONV2D, "input_shape": [5, 5]}, "Flatten": IMAGES["Flatten"][0]}
    with h5py.File(path, "w") as file:
        file["version"] = "0.2.0"
        _put(file.create_group("node"), {"type": kind, **(extra.get(kind) or VECTORS[kind])}, False, "variable")
    if kind == "Flatten":
        with pytest.raises(BadInputError, match="SC105"):
            from_nir(path)
        return
    with pytest.warns(SpikecWarning, match="single node"):
        graph = from_nir(path)
    name = kind.lower()
    assert graph.edges == ((f"input_{name}", name), (name, f"output_{name}"))


def test_a_graph_without_ends_gets_them_and_says_so(tmp_path: Path) -> None:
    graph = {"edges": [("a", "b"), ("b", "w"), ("w", "b")], "nodes": {
        "a": {"type": "Linear", **VECTORS["Linear"]}, "b": {"type": "LIF", **NEURONS["LIF"]},
        "w": {"type": "Linear", **VECTORS["Linear"]}}}
    with pytest.raises(BadInputError, match=r"SC105: the graph has no Output"):
        from_nir(_write(tmp_path / "a.nir", "0.1.0", graph))  # a cycle: nothing says where its output is
    graph["edges"] = [("a", "b")]
    graph["nodes"].pop("w")
    with pytest.warns(SpikecWarning) as caught:
        found = from_nir(_write(tmp_path / "b.nir", "0.1.0", graph))
    assert [str(each.message)[:5] for each in caught] == ["SC105", "SC105"]
    assert list(found.nodes) == ["input_a", "a", "b", "output_b"]


@pytest.mark.parametrize(("given", "gives"), [((1, 4), (1, 3)), ((7, 2, 4), (7, 2, 3)), ((4,), (1, 1, 3))])
def test_axes_of_batch_and_time_are_left_out_and_told(given: Any, gives: Any, tmp_path: Path) -> None:
    graph = _chain("Linear", {"weight": _values(3, 4)}, given, gives)
    with pytest.warns(SpikecWarning, match="SC102"):
        found = from_nir(_write(tmp_path / "a.nir", "1.0.4", graph))
    assert found.nodes["input"].shape == (4,)
    assert found.nodes["output"].shape == (3,)


def test_an_input_that_fits_no_way_stays_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="SC102 at '0'"):
        from_nir(_write(tmp_path / "a.nir", "1.0.4", _chain("Linear", {"weight": _values(3, 4)}, (4, 2))))


def test_metadata_of_any_kind_do_not_hide_a_graph(tmp_path: Path) -> None:
    graph = _chain("Linear", VECTORS["Linear"])
    graph["metadata"] = {"note": "x", "nested": {"a": 1}, "many": np.arange(3), "complex": np.complex64(1j)}
    graph["nodes"]["0"]["metadata"] = {"half": np.float16(0.5)}
    with pytest.warns(SpikecWarning) as caught:
        found = from_nir(_write(tmp_path / "a.nir", "1.0.5", graph))
    assert dict(found.metadata) == {"note": "x", "0/half": 0.5}
    told = "".join(str(each.message) for each in caught)
    assert all(name in told for name in ("nested", "many", "complex"))


def test_shapes_beside_the_parameters_are_passed_over(tmp_path: Path) -> None:
    fields = {**VECTORS["Linear"], "input_type": {"input": [3]}, "output_type": {"output": [3]}}
    assert "0" in _quiet(_write(tmp_path / "a.nir", "1.0.1", _chain("Linear", fields))).nodes


def test_nested_graphs_whose_ends_have_other_names(tmp_path: Path) -> None:
    inner = {"type": "NIRGraph", "edges": [("i", "lif"), ("lif", "lin"), ("lin", "lif"), ("lif", "o")], "nodes": {
        "i": {"type": "Input", "shape": [3]}, "lif": {"type": "LIF", **NEURONS["LIF"]},
        "lin": {"type": "Linear", **VECTORS["Linear"]}, "o": {"type": "Output", "shape": [3]}}}
    graph = _chain("Linear", {})
    graph["nodes"]["0"] = inner
    found = _quiet(_write(tmp_path / "a.nir", "0.2.0", graph))
    assert set(found.edges) == {("input", "0.lif"), ("0.lif", "0.lin"), ("0.lin", "0.lif"), ("0.lif", "output")}


RELATIVES: Parts = {
    "lava-dl": {"layer": {"0": {"type": np.array([b"input"]), "shape": [1, 2, 3]}}, "simulation": {"Ts": 1}},
    "NIRGraphData": {"nodes": {"lif": {"observables": {}}}},
    "Keras": {"model_weights": {"dense": {"kernel": _values(2, 2)}}},
    "no NIR graph": {"anything": 1},
}


@pytest.mark.parametrize("kind", RELATIVES)
def test_other_files_of_the_field_are_known(kind: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "network.net", "w") as file:
        _put(file, RELATIVES[kind], False, "variable")
    with pytest.raises(BadInputError, match=f"SC205.*{kind}"):
        from_nir(tmp_path / "network.net")


def test_data_recorded_from_a_graph_are_no_graph(tmp_path: Path) -> None:
    observed = nir.EventData(idx=np.zeros((1, 3), int), time=np.ones((1, 3)), n_neurons=2, t_max=4.0)
    nir.write_data(tmp_path / "a.nir", nir.NIRGraphData({"lif": nir.NIRNodeData({"spikes": observed})}))
    with pytest.raises(BadInputError, match="NIRGraphData"):
        from_nir(tmp_path / "a.nir")


# ---- what the frameworks' own exporters write

def _exported(name: str, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = globals()[f"_{name}"]()
    nir.write(path, graph, **({} if name != "norse" else {"compression": None}))


def _snntorch() -> Any:
    import snntorch
    from snntorch.export_nir import export_to_nir

    model = torch.nn.Sequential(torch.nn.Linear(8, 5), snntorch.RLeaky(beta=0.9, linear_features=5, init_hidden=True),
                                torch.nn.Linear(5, 3), snntorch.Synaptic(
                                    alpha=torch.full((3,), 0.8), beta=torch.full((3,), 0.9), threshold=torch.ones(3),
                                    init_hidden=True))
    return export_to_nir(model, torch.randn(8))


def _norse() -> Any:
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    return norse.to_nir(norse.SequentialState(torch.nn.Linear(8, 5), norse.LIFCell(), torch.nn.Linear(5, 3),
                                              norse.LIFBoxCell()), torch.randn(1, 8))


def _sinabs() -> Any:
    layers = pytest.importorskip("sinabs.layers", reason="sinabs is not installed")
    from sinabs.nir import to_nir

    model = torch.nn.Sequential(torch.nn.Linear(8, 5), layers.IAFSqueeze(batch_size=1), torch.nn.Linear(5, 3),
                                layers.LIFSqueeze(tau_mem=torch.full((3,), 10.0), spike_threshold=torch.ones(3),
                                                  batch_size=1))
    return to_nir(model, torch.rand(4, 8))


def _spikingjelly() -> Any:
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed")
    from spikingjelly.activation_based import layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    model = torch.nn.Sequential(layer.Conv2d(1, 2, 3, bias=False), neuron.IFNode(), layer.AvgPool2d(2), layer.Flatten(),
                                layer.Linear(18, 3), neuron.LIFNode(tau=2.0))
    return export_to_nir(model, torch.rand(1, 1, 8, 8))


EXPORTS = {
    "snntorch": (("Affine", "LIF", "Affine", "Affine", "CubaLIF"), 0),
    "norse": (("Affine", "CubaLIF", "Affine", "LIF"), 2),
    "sinabs": (("Affine", "IF", "Affine", "LIF"), 0),
    "spikingjelly": (("Conv2d", "IF", "AvgPool2d", "Flatten", "Affine", "LIF"), 0),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_exports_of_frameworks_come_in(name: str, tmp_path: Path) -> None:
    pytest.importorskip("nirtorch", reason="the exporters need nirtorch")
    _exported(name, tmp_path / "a.nir")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = from_nir(tmp_path / "a.nir")
    kinds, told = EXPORTS[name]
    assert tuple(type(node).__name__ for node in graph.nodes.values())[1:-1] == kinds
    assert len([each for each in caught if issubclass(each.category, SpikecWarning)]) == told
    grid = Discretization(1e-4, spike="box", integrator="semi")
    raster = np.ones((1, 50, *graph.nodes[graph.inputs[0]].shape))
    assert simulate_step(graph, raster, grid).spikes[graph.outputs[0]].shape[:2] == (1, 50)


# ---- the published graphs, beside the framework that read them in the paper

BOX = Discretization(1e-4, spike="box", integrator="semi")


@needs_data
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_the_published_neuron_is_norses(rate: float) -> None:
    """As in docs/importing.md."""
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    path = ROOT / "01_lif/lif_norse.nir"
    raster = (np.random.default_rng(0).random((5000, 1)) < rate).astype(np.float32)
    model, state, spikes, membrane = norse.from_nir(nir.read(path), dt=1e-4), None, [], []
    with torch.no_grad():
        for column in torch.from_numpy(raster)[:, None]:
            out, state = model(column, state)
            spikes.append(out.numpy().copy())
            membrane.append(state.state["1"][0].v.numpy().copy())
    found = simulate_step(from_nir(path, discretization=BOX), raster[None].astype(float))
    np.testing.assert_array_equal(found.spikes["output"][0], np.array(spikes)[:, 0])
    np.testing.assert_allclose(found.voltage["output"][0], np.array(membrane).reshape(-1, 1), atol=1e-6)
    assert np.sum(spikes) >= 4
    other = from_nir(path, discretization=Discretization(1e-4))
    assert simulate_step(other, raster[None].astype(float)).spikes["output"].sum() > np.sum(spikes) * 2


@needs_data
def test_the_examples_of_the_documentation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("norse.torch", reason="norse is not installed")
    text = (Path(__file__).parents[1] / "docs/importing.md").read_text()
    text = text[text.index("\n## NIR"):].split("\n## ")[1]
    blocks = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    (printed,) = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(ROOT)
    for block in blocks:
        exec(compile(block, "importing.md", "exec"), {})
    assert capsys.readouterr().out == printed
    assert len(blocks) == 2


@needs_data
def test_the_published_recurrent_network_is_norses() -> None:
    """The one without biases: Norse's import applies a bias of recurrent weights one step late."""
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    path = ROOT / "03_rnn/braille_noDelay_noBias_subtract.nir"
    raster = (np.random.default_rng(0).random((256, 12)) < 0.2).astype(np.float32)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model, state, spikes = norse.from_nir(nir.read(path), dt=1e-4), None, []
        for column in torch.from_numpy(raster):
            out, state = model(column, state)
            spikes.append(out.numpy().copy())
    found = simulate_step(from_nir(path, discretization=BOX), raster[None].astype(float))
    np.testing.assert_array_equal(found.spikes["output"][0], np.array(spikes))
    assert np.sum(spikes) > 10


@needs_data
def test_the_published_image_network_is_sinabs(tmp_path: Path) -> None:
    """sinabs fires many spikes a step, subtracts, and clips: none of which a NIR file says."""
    sinabs = pytest.importorskip("sinabs.nir", reason="sinabs is not installed")
    path = ROOT / "02_cnn/cnn_sinabs.nir"
    graph = from_nir(path, discretization=Discretization(1.0, spikes="many"))
    graph = graph.with_nodes({name: replace(node, reset="subtract", v_min=-node.v_threshold)
                              for name, node in graph.nodes.items() if isinstance(node, nodes.IF)})
    raster = (np.random.default_rng(0).random((12, 2, 34, 34)) < 0.1).astype(np.float32)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model = sinabs.from_nir(nir.read(path), batch_size=1)
        out = model(torch.from_numpy(raster))
    found = simulate_step(graph, raster[None].astype(float))
    np.testing.assert_array_equal(found.spikes["output"][0], (out[0] if isinstance(out, tuple) else out).numpy())
    assert found.spikes["output"].sum() > 0
