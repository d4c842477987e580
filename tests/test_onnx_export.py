"""Spiking networks as ONNX models: what runtimes make of them is what `simulate_step` says, and they come back."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from strategies import any_graphs, graphs

import spikec
from spikec import BadInputError, Discretization, UnsupportedError
from spikec.compiler.frontends.builder import Builder
from spikec.ir import nodes as ir
from spikec.ir.graph import Graph, same_graph
from spikec.ir.shapes import infer_shapes
from spikec.ir.stateless import through
from spikec.ir.step import simulate_step

try:
    import onnxruntime
except ImportError:
    onnxruntime = None

GRID = Discretization(1e-3)
FEW = settings(max_examples=15, deadline=None,
               suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
COLUMNS = 20
ROOT = Path(os.environ.get("SPIKEC_DATA", "")) / "nir_models"
needs_data = pytest.mark.skipif(not os.environ.get("SPIKEC_DATA") or not ROOT.is_dir(),
                                reason="SPIKEC_DATA does not name a folder with nir_models")


def rasters(graph: Graph, seed: int = 0, batch: int = 2, columns: int = COLUMNS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: (rng.random((batch, columns, *graph.nodes[name].shape)) < 0.3).astype(float) for name in graph.inputs}


def by_reference(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip([end.name for end in model.graph.output], ReferenceEvaluator(model).run(None, given), strict=True))


def by_runtime(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [end.name for end in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


ENGINES = [by_reference, *([by_runtime] if onnxruntime is not None else [])]
"""What executes models; ONNX Runtime is optional."""


def exported(graph: Graph, path: Path, **options: Any) -> onnx.ModelProto:
    spikec.to_onnx(graph, path, **options)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model


def on_the_brink(graph: Graph, wanted: Any) -> bool:
    """Whether some membrane comes so close to its threshold that rounding decides."""
    loose = graph.with_nodes({name: replace(node, v_threshold=node.v_threshold * (1 + 1e-9))
                              for name, node in graph.nodes.items() if getattr(node, "v_threshold", None) is not None})
    again = simulate_step(loose, rasters(graph))
    return any((again.spikes[name] != wanted.spikes[name]).any() for name in wanted.spikes)


def agree(graph: Graph, model: onnx.ModelProto, given: dict[str, np.ndarray], wanted: Any,
          tolerance: float = 1e-9) -> None:
    """Every engine gives the spikes of the reference, and its membranes."""
    for engine in ENGINES:
        found = engine(model, given)
        for name in found:
            shown = name.removesuffix(".membrane")
            assert shown in graph.outputs
            if shown == name and name in wanted.spikes:
                np.testing.assert_array_equal(found[name], wanted.spikes[name], err_msg=name)
            else:
                np.testing.assert_allclose(found[name], wanted.voltage[shown], rtol=tolerance, atol=tolerance,
                                           err_msg=name)


def small(grid: Discretization, *neurons: ir.Neuron, recurrent: bool = True, gain: float = 1.0) -> Graph:
    """One layer of each of the neurons, side by side; those of the first are called `cells`."""
    rng = np.random.default_rng(1)
    net = Builder(grid)
    x = net.input("in", 4)
    for number, neuron in enumerate(neurons):
        (size,), label = neuron.shape, str(number or "")
        cells = net.add(f"cells{label}", neuron)
        net.connect(x, cells, weight=gain * rng.uniform(-0.3, 1.0, (size, 4)), bias=gain * rng.uniform(0, 0.05, size),
                    name=f"fc{label}")
        if recurrent:
            net.connect(cells, cells, weight=gain * rng.uniform(-0.5, 0.3, (size, size)), name=f"back{label}")
        net.output(f"out{label}", cells)
    return net.build()


def grids() -> list[Discretization]:
    every = [Discretization(1e-3, spike=spike, integrator=integrator, reset=reset)
             for spike in ("delta", "box") for integrator in ("exact", "euler", "semi", "decay")
             for reset in ("same", "next")]
    return [*every, Discretization(1e-3, fires="at", delay=3), Discretization(1e-3, spikes="many", spike="box")]


def neurons(reset: str) -> list[ir.Neuron]:
    common: dict[str, Any] = {"shape": (5,), "reset": reset, "v_threshold": np.linspace(0.4, 0.9, 5), "v_reset": -0.1,
                              "v0": np.linspace(0.0, 1.2, 5), "refractory": np.array([0, 0, 1e-3, 2e-3, 3e-3])}
    return [
        ir.IF(r=0.9, **common), ir.LIF(tau=8e-3, r=8e-3, v_leak=0.1, v_min=-0.2, **common),
        ir.CubaLIF(tau_mem=9e-3, tau_syn=np.linspace(3e-3, 9e-3, 5), r=3.0, w_in=4e-3, **common),
    ]


@pytest.mark.parametrize("grid", grids(), ids=lambda grid: "-".join(map(str, (
    grid.spike, grid.integrator, grid.reset, grid.fires, grid.spikes))))
def test_every_grid_and_reset_gives_the_numbers_of_the_reference(grid: Discretization, tmp_path: Path) -> None:
    for reset in ("zero", "v_reset", "subtract"):
        if grid.spikes == "many" and reset != "subtract":
            continue
        graph = small(grid, *neurons(reset), gain=700.0 if grid.spike == "box" else 1.0)
        model = exported(graph, tmp_path / "net.onnx", membranes=True)
        wanted = simulate_step(graph, rasters(graph))
        assert min(wanted.spikes[name].sum() for name in graph.outputs) > 20
        assert not on_the_brink(graph, wanted)
        agree(graph, model, rasters(graph), wanted)
        assert same_graph(spikec.from_onnx(tmp_path / "net.onnx"), graph)


def test_functions_can_be_written_out(tmp_path: Path) -> None:
    graph = small(GRID, neurons("subtract")[1])
    model = exported(graph, tmp_path / "net.onnx")
    plain = onnx.inliner.inline_local_functions(model)
    assert [function.domain for function in model.functions] == ["ai.spikec.snn"]
    assert not plain.functions
    wanted = simulate_step(graph, rasters(graph))
    agree(graph, plain, rasters(graph), wanted)


def step_neuron() -> ir.StepNeuron:
    """Two states, an adaptive threshold, late and immediate effects of a spike."""
    return ir.StepNeuron(
        shape=(5,), v0=0.1, a=[[0.9, 0.1], [0.0, 0.8]], b=[0.7, 0.1], c=[0.01, 0.0], late_a=[[-0.2, 0.0], [0.0, 0.1]],
        late_b=[-0.1, 0.0], late_c=[0.0, 0.02], reset_a=[[-0.5, 0.0], [0.0, 0.0]], reset_c=[0.05, 0.0],
        spike_c=[-0.1, 0.3], v_threshold=np.linspace(0.5, 0.9, 5), threshold_gain=[0.0, 0.4], v_min=-0.3)


@pytest.mark.parametrize("neuron", [
    step_neuron(), replace(step_neuron(), v_threshold=None),
    replace(step_neuron(), a=np.linspace(-0.2, 0.9, 20).reshape(2, 2, 5), spike_c=np.full((2, 5), -0.2)),
    replace(step_neuron(), late="above", late_after=[0.2, -0.1]), replace(step_neuron(), late_after=[0.2, 0.0]),
    ir.StepNeuron(shape=(5,), v0=np.linspace(-0.5, 2.0, 5), a=[[0.9]], b=[1.0], late_c=[-0.5], late_after=[0.5],
                  spike_c=[-0.5], v_threshold=0.5, late="above"),
    ir.StepNeuron(shape=(5,), a=[[0.9]], b=[1.0], late_after=[0.5], v_threshold=-0.1, spike_c=[-0.7], late="above"),
    ir.StepNeuron(shape=(5,), a=np.zeros((2, 2)), b=[1.0, 0.0], c=[0.0, 0.3], v_threshold=0.8)])
def test_neurons_stated_on_the_grid(neuron: ir.StepNeuron, tmp_path: Path) -> None:
    graph = small(GRID, neuron, recurrent=neuron.v_threshold is not None)
    model = exported(graph, tmp_path / "net.onnx", membranes=neuron.v_threshold is not None)
    wanted = simulate_step(graph, rasters(graph))
    agree(graph, model, rasters(graph), wanted)
    assert same_graph(spikec.from_onnx(tmp_path / "net.onnx"), graph)


def test_neurons_with_grids_of_their_own(tmp_path: Path) -> None:
    graph = small(GRID, ir.LIF(shape=(5,), tau=5e-3, r=5e-3, v_threshold=0.7,
                               grid=replace(GRID, integrator="euler", reset="next")))
    model = exported(graph, tmp_path / "net.onnx", membranes=True)
    agree(graph, model, rasters(graph), simulate_step(graph, rasters(graph)))
    assert same_graph(spikec.from_onnx(tmp_path / "net.onnx"), graph)


def test_several_inputs_and_outputs_of_one_kind_share_a_function(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    net = Builder(GRID)
    one, two = net.input("one", 3), net.input("two", 2)
    first, second = net.lif("first", 4, tau=1e-2, r=1e-2), net.lif("second", 4, tau=2e-2, r=2e-2)
    for source in (one, two):
        net.connect(source, first, weight=rng.normal(size=(4, source.shape[0])))
    net.connect(first, second, weight=rng.normal(size=(4, 4)))
    readout = net.integrator("readout", 2)
    net.connect(second, readout, weight=rng.normal(size=(2, 4)))
    for name, source in (("a", first), ("b", second), ("c", readout)):
        net.output(name, source)
    graph = net.build()
    model = exported(graph, tmp_path / "net.onnx")
    assert [function.name for function in model.functions] == ["LIF", "I"]
    agree(graph, model, rasters(graph), simulate_step(graph, rasters(graph)))
    assert same_graph(spikec.from_onnx(tmp_path / "net.onnx"), graph)


def test_thresholds_maxima_and_delays_between_neurons(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    net = Builder(GRID)
    x = net.input("in", (2, 6, 6))
    top = net.max_pool2d("max", x, 3, 2, 1)
    over = net.threshold("over", net.scale("scale", top, rng.uniform(0.5, 1.5, (2, 3, 3))), 0.8)
    late = net.delay("late", over, rng.uniform(0, 4e-3, (2, 3, 3)))
    cells = net.lif("cells", 4, tau=1e-2, r=1e-2, v_threshold=0.3)
    net.connect(net.flatten("flat", late), cells, weight=(np.repeat([0, 1, 2, 3], 5), np.arange(20) % 18,
                                                          rng.normal(size=20)), delay=rng.uniform(0, 2e-3, 20))
    net.output("out", cells)
    graph = net.build()
    model = exported(graph, tmp_path / "net.onnx", membranes=True)
    wanted = simulate_step(graph, rasters(graph))
    assert wanted.spikes["out"].sum() > 5
    agree(graph, model, rasters(graph), wanted)
    assert same_graph(spikec.from_onnx(tmp_path / "net.onnx"), graph)


@FEW
@given(graph=graphs(discretization=GRID), grid=st.sampled_from(grids()[:16]))
def test_random_networks(graph: Graph, grid: Discretization, tmp_path: Path) -> None:
    graph = graph.replace(discretization=grid)
    model = exported(graph, tmp_path / "net.onnx", membranes=True)
    given = rasters(graph)
    wanted = simulate_step(graph, given)
    if not on_the_brink(graph, wanted):
        agree(graph, model, given, wanted)
    assert same_graph(spikec.from_onnx(tmp_path / "net.onnx"), graph)


@FEW
@given(graph=any_graphs())
def test_odd_names_single_precision_and_metadata_come_back(graph: Graph, tmp_path: Path) -> None:
    graph = graph.replace(discretization=graph.discretization or GRID)
    if graph.discretization.delay < 1:
        graph = graph.replace(discretization=replace(graph.discretization, delay=1))
    spikec.to_onnx(graph, tmp_path / "net.onnx", dtype="float32")
    assert same_graph(spikec.from_onnx(tmp_path / "net.onnx"), graph)


def test_single_precision(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    net = Builder(replace(GRID, integrator="decay"))
    x = net.input("in", (1, 8, 8))
    conv = net.conv2d("conv", x, weight=rng.normal(size=(4, 1, 3, 3)).astype(np.float32), stride=2, padding=1)
    cells = net.if_("cells", (4, 4, 4), v_threshold=1.1)
    conv.connect(cells)
    net.output("out", cells)
    graph = net.build()
    model = exported(graph, tmp_path / "net.onnx", dtype="float32", membranes=True)
    (scan,) = (node for node in model.graph.node if node.op_type == "Scan")
    assert "Conv" in {node.op_type for attribute in scan.attribute for node in attribute.g.node}
    given = {name: array.astype(np.float32) for name, array in rasters(graph).items()}
    wanted = simulate_step(graph, given)
    agree(graph, model, given, wanted, tolerance=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_network_without_neurons_is_a_plain_model(dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    net = Builder()
    x = net.input("in", (2, 7, 7))
    h = net.conv2d("conv", x, weight=rng.normal(size=(4, 1, 3, 3)), groups=2, bias=rng.normal(size=4), padding="same")
    h = net.add("norm", ir.BatchNorm(mean=rng.normal(size=4), variance=rng.uniform(0.5, 2, 4), gamma=rng.normal(size=4),
                                     beta=rng.normal(size=4)), h)
    h = net.avg_pool2d("pool", net.add("relu", ir.Relu(ceiling=2.0), h), 2)
    h = net.max_pool2d("max", net.sum_pool2d("sum", h, 2, 1, 1), 2, 1)
    h = net.linear("fc", net.flatten("flat", h), weight=rng.normal(size=(3, 36)), bias=rng.normal(size=3))
    net.output("out", h)
    graph = net.build()
    model = exported(graph, tmp_path / "net.onnx", dtype=dtype)
    value = rng.normal(size=(3, 2, 7, 7))
    given = {"in": value.astype(dtype)}
    for name in ("conv", "norm", "relu", "pool", "sum", "max", "flat", "fc"):
        value = through(graph.nodes[name], value, constant=True)
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    for engine in ENGINES:
        np.testing.assert_allclose(engine(model, given)["out"], value, atol=tolerance)
    if dtype == "float32":  # made of what every tool knows
        del model.metadata_props[:]
        onnx.save(model, tmp_path / "plain.onnx")
        plain = spikec.from_onnx(tmp_path / "plain.onnx")
        spikec.to_onnx(plain, tmp_path / "again.onnx")
        (again,) = by_reference(onnx.load(tmp_path / "again.onnx"), {"in": given["in"].astype(float)}).values()
        np.testing.assert_allclose(again, value, atol=1e-4)
    assert same_graph(spikec.from_onnx(tmp_path / "net.onnx"), graph)


def test_an_imported_network_is_converted_and_exported(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    net = Builder()
    x = net.input("in", 6)
    h = net.add("relu", ir.Relu(), net.linear("fc1", x, weight=rng.normal(size=(8, 6)), bias=rng.normal(size=8)))
    net.output("out", net.linear("fc2", h, weight=rng.normal(size=(3, 8))))
    spikec.to_onnx(net.build(), tmp_path / "ann.onnx", dtype="float32")
    spiking = spikec.convert_ann(spikec.from_onnx(tmp_path / "ann.onnx"), rng.random((16, 6)), steps=16).graph
    model = exported(spiking, tmp_path / "snn.onnx")
    wanted = simulate_step(spiking, rasters(spiking))
    assert sum(spikes.sum() for spikes in wanted.spikes.values()) > 20
    agree(spiking, model, rasters(spiking), wanted)


@needs_data
@pytest.mark.parametrize("name", ["01_lif/lif_norse", "02_cnn/cnn_sinabs", "03_rnn/braille_noDelay_bias_zero",
                                  "03_rnn/braille_noDelay_noBias_subtract"])
def test_public_graphs(name: str, tmp_path: Path) -> None:
    box = not name.startswith("02")
    grid = Discretization(1e-4, spike="box" if box else "delta", integrator="euler" if box else "exact")
    graph = spikec.from_nir(ROOT / f"{name}.nir", grid)
    model = exported(graph, tmp_path / "net.onnx", membranes=True)
    given = rasters(graph, batch=1)
    wanted = simulate_step(graph, given)
    assert sum(spikes.sum() for spikes in wanted.spikes.values()) > 0
    agree(graph, model, given, wanted)
    assert same_graph(spikec.from_onnx(tmp_path / "net.onnx"), graph)


# ---- what is refused

def test_a_network_without_a_grid_is_refused(tmp_path: Path) -> None:
    graph = small(GRID, neurons("zero")[0]).replace(discretization=None)
    with pytest.raises(BadInputError, match="SC403"):
        spikec.to_onnx(graph, tmp_path / "net.onnx")
    spikec.to_onnx(graph, tmp_path / "net.onnx", GRID)
    assert spikec.from_onnx(tmp_path / "net.onnx").discretization == GRID


@pytest.mark.parametrize(("graph", "code"), [
    (small(replace(GRID, delay=0), neurons("zero")[0]), "SC306"),
    (small(GRID, neurons("zero")[0]).with_nodes(
        {"fc": ir.Linear(weight=np.ones((5, 4)), delay=np.full((5, 4), 1e6))}), "SC209"),
])
def test_what_a_model_cannot_hold_is_refused(graph: Graph, code: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=code):
        spikec.to_onnx(graph, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Graph, Path]:
    graph = small(GRID, replace(neurons("subtract")[1], v_threshold=np.linspace(0.5, 1.0, 5)))
    spikec.to_onnx(graph, tmp_path / "net.onnx")
    return graph, tmp_path / "net.onnx"


def change_weight(model: onnx.ModelProto) -> None:
    tensor = next(each for each in model.graph.initializer if each.name.endswith("/a0_0"))
    tensor.raw_data = (onnx.numpy_helper.to_array(tensor) * 1.001).tobytes()


def change_text(model: onnx.ModelProto) -> None:
    entry = next(each for each in model.metadata_props if each.key == "spikec.graph")
    entry.value = entry.value.replace("tau=0.008", "tau=0.009")


def change_body(model: onnx.ModelProto) -> None:
    node = next(each for each in model.functions[0].node if each.op_type == "Greater")
    node.op_type = "GreaterOrEqual"


def change_edge(model: onnx.ModelProto) -> None:
    scan = next(each for each in model.graph.node if each.op_type == "Scan")
    node = next(each for each in scan.attribute[0].g.node if each.op_type == "Gemm")
    node.op_type = "Add"


def add_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3), "more"))


def drop_constant(model: onnx.ModelProto) -> None:
    del model.graph.initializer[0]


def change_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 17


@pytest.mark.parametrize("change", [
    change_weight, change_text, change_body, change_edge, add_constant, change_opset])
def test_a_file_that_computes_something_else_than_it_says_is_refused(
        stored: tuple[Graph, Path], change: Any) -> None:
    model = onnx.load(stored[1])
    change(model)
    onnx.save(model, stored[1])
    with pytest.raises(BadInputError, match="SC242"):
        spikec.from_onnx(stored[1])


def describe(model: onnx.ModelProto, **entries: str) -> None:
    known = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {**known, **{key.replace("_", ".", 1): text for key, text in entries.items()}})


@pytest.mark.parametrize(("text", "code"), [
    ("", "SC120"), ("spikec-graph 1\nin = Input(shape=(4,))\nout = Output(shape=(4,))\n\nin -> gone\n", "SC1"),
    ("spikec-graph 1\nin = Input(shape=(99999999999,))\nout = Output(shape=(99999999999,))\n\nin -> out\n", "SC1"),
    ("spikec-graph 1\nin = Input(shape=(2000000000,))\nif = IF(shape=(2000000000,))\n"
     "out = Output(shape=(2000000000,))\n\nin -> if -> out\n", "SC204"),
    ("spikec-graph 1\nin = Input(shape=(40000,))\nfc = Linear(weight=f64[40000, 40000](0.5))\n"
     "if = IF(shape=(40000,))\nout = Output(shape=(40000,))\n\nin -> fc -> if -> out\n", "SC204"),
    ("spikec-graph 1\nin = Input(shape=(4,))\nfc = Linear(weight=@other f64[4, 4])\nout = Output(shape=(4,))\n\n"
     "in -> fc -> out\n", "SC121"),
    ("spikec-graph 1\nin = Input(shape=(4,))\nfc = Linear(weight=f64[4, 4](nan))\nif = IF(shape=(4,))\n"
     "out = Output(shape=(4,))\n\nin -> fc -> if -> out\n", "SC104"),
])
def test_a_hostile_description_is_a_diagnostic(stored: tuple[Graph, Path], text: str, code: str) -> None:
    model = onnx.load(stored[1])
    describe(model, spikec_graph=text)
    onnx.save(model, stored[1])
    with pytest.raises(BadInputError, match=code):
        spikec.from_onnx(stored[1])


def test_a_damaged_array_of_the_description_is_a_diagnostic(stored: tuple[Graph, Path]) -> None:
    model = onnx.load(stored[1])
    keys = [entry.key for entry in model.metadata_props if entry.key.startswith("spikec.array/")]
    assert not keys, "small arrays stand in the text"
    graph = small(GRID, ir.LIF(shape=(30,), tau=np.linspace(5e-3, 9e-3, 30), r=1e-2))
    spikec.to_onnx(graph, stored[1])
    assert same_graph(spikec.from_onnx(stored[1]), graph)
    model = onnx.load(stored[1])
    entry = next(each for each in model.metadata_props if each.key == "spikec.array/cells.tau")
    for text in ("§", base64.b64encode(bytes(16)).decode()):
        entry.value = text
        onnx.save(model, stored[1])
        with pytest.raises(BadInputError, match=r"SC240 at 'cells.tau'"):
            spikec.from_onnx(stored[1])


def test_a_version_of_the_description_that_is_not_known_is_told(stored: tuple[Graph, Path]) -> None:
    model = onnx.load(stored[1])
    describe(model, spikec_format="7")
    onnx.save(model, stored[1])
    with pytest.raises(BadInputError, match="SC241"):
        spikec.from_onnx(stored[1])


def test_a_scan_without_description_is_refused(stored: tuple[Graph, Path]) -> None:
    model = onnx.load(stored[1])
    del model.metadata_props[:]
    onnx.save(model, stored[1])
    with pytest.raises(UnsupportedError, match=r"SC226.*Scan.*to_onnx"):
        spikec.from_onnx(stored[1])


def test_shapes_of_the_ends_are_stated(stored: tuple[Graph, Path]) -> None:
    graph, path = stored
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    shapes = {end.name: [axis.dim_param or axis.dim_value for axis in end.type.tensor_type.shape.dim]
              for end in (*model.graph.input, *model.graph.output)}
    known = infer_shapes(graph)[0]
    assert shapes == {name: ["batch", "time", *known[name].output] for name in ("in", "out")}
