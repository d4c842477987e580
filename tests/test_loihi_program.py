"""Programs for Loihi: where the numbers of a model fit a core they spike as the reference does, and elsewhere rounding
is all that differs; what cannot be held is told; folders, streams, calibration and Lava keep every bit."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lava_here import lava_python
from loihi_models import GRID, graph_of, integrators, layers, raster_of, whole
from strategies import discretizations, graphs, stimuli

import spikec
from spikec import BadInputError, Discretization, Graph, SpikecError, SpikecWarning, UnsupportedError
from spikec.ir import nodes as ir
from spikec.ir.integer.step import simulate_integer
from spikec.ir.step import simulate_step
from spikec.targets.loihi.program import LoihiProgram


@pytest.fixture
def without_lava(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons leave Lava out, which takes seconds in each; enough others have it."""
    monkeypatch.setenv("SPIKEC_LAVA_PYTHON", "/absent")


def exact(graph: Graph, raster: Any, **options: Any) -> LoihiProgram:
    """Compiles without a warning, and holds every spike to the reference on the model's grid."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpikecWarning)
        program = spikec.compile(graph, "loihi2", **options)
    found = spikec.validate(program, graph, raster)
    assert found.verdict == "spike-exact", str(found)
    assert found.exact is not None
    assert found.exact.ok
    assert sum(each.spikes_a for each in found.layers) > 50
    return program


def leaky(rng: np.random.Generator, n: int = 30, inputs: int = 25, grid: Discretization = GRID,
          **changes: Any) -> Graph:
    """One layer with a current, and a readout."""
    facts = {"tau_mem": np.full(n, 10e-3), "tau_syn": np.full(n, 4e-3), "r": np.full(n, 4.0), "v_leak": np.full(n, 0.1),
             "reset": "zero"} | changes
    nodes = {"in": ir.Input(shape=(inputs,)), "fc": ir.Linear(weight=rng.normal(0.3, 1.0, (n, inputs)) * 2e-3),
             "n": ir.CubaLIF(shape=(n,), **facts), "fc2": ir.Linear(weight=rng.normal(0, 1.0, (5, n)) * 3e-3),
             "o": ir.LI(shape=(5,), tau=np.full(5, 20e-3), r=np.ones(5)), "out": ir.Output(shape=(5,))}
    edges = (("in", "fc"), ("fc", "n"), ("n", "fc2"), ("fc2", "o"), ("o", "out"))
    return Graph(nodes, edges, grid)


def spikes_of(inputs: int = 25, samples: int = 4, steps: int = 150, rate: float = 0.2, seed: int = 9) -> Any:
    return (np.random.default_rng(seed).random((samples, steps, inputs)) < rate) * 1.0


def raster_of_events(events: Any, steps: int, n: int, dt: float = GRID.dt) -> Any:
    found = np.zeros((events.batch, steps, n))
    sample = np.repeat(np.arange(events.batch), np.diff(events.offsets))
    found[sample, np.rint(events.times / dt).astype(int) - 1, events.indices] = 1
    return found


def test_a_bias_and_a_start_act_as_in_the_model_though_each_layer_is_later() -> None:
    rng = np.random.default_rng(1)
    parts = layers([whole(rng, 20, 12), whole(rng, 15, 20), whole(rng, 8, 15)])
    for number, n in enumerate((20, 15, 8)):
        parts["nodes"][f"fc{number}"] = ir.Affine(weight=parts["nodes"][f"fc{number}"].weight,
                                                  bias=1e3 * rng.integers(-3, 12, n) / 64)
        parts["nodes"][f"n{number}"] = integrators(n, v0=rng.integers(-40, 60, n) / 64)
    program = exact(graph_of(parts), raster_of(rng, 12))
    assert program.run(raster_of(rng, 12)).latency == {"n0": 1, "n1": 2, "n2": 3, "out": 3}
    assert any(each.v0 is not None for each in program.quantised.network.populations.values())


def test_a_threshold_that_is_reached_fires_where_the_grid_says_so() -> None:
    rng = np.random.default_rng(2)
    raster = raster_of(rng, 12)
    weights = [whole(rng, 20, 12, most=30), whole(rng, 8, 20, most=30)]
    results = []
    for fires in ("above", "at"):
        program = exact(graph_of(layers(weights, Discretization(1e-3, fires=fires))), raster)
        results.append(len(program.run(raster).spikes["n0"]))
    assert results[0] < results[1]


def test_neurons_of_different_time_constants_are_split_and_come_back_in_order() -> None:
    rng = np.random.default_rng(3)
    graph = leaky(rng, tau_mem=rng.choice([8e-3, 10e-3, 14e-3], 30), tau_syn=rng.choice([3e-3, 5e-3], 30))
    program = spikec.compile(graph, "loihi2")
    assert len(program.split.parts["n"]) == 6
    raster = spikes_of()
    result, reference = program.run(raster, probes={"n.v": None}, drain=True), simulate_step(graph, raster)
    late = result.latency["n"]
    mine = raster_of_events(result.spikes["n"], 150 + program.latency, 30)[:, late:late + 150]
    expected = reference.spikes["n"]
    assert np.corrcoef(mine.sum(1).reshape(-1), expected.sum(1).reshape(-1))[0, 1] > 0.99
    before = np.logical_and.accumulate((expected == 0) & (mine == 0), axis=1)
    membrane = result.probes["n.v"][:, late:late + 150]
    assert np.abs(membrane - reference.voltage["n"])[before].max() < 0.1  # thresholds


def test_too_many_time_constants_share_their_means_and_say_so() -> None:
    graph = leaky(np.random.default_rng(4), tau_mem=np.linspace(6e-3, 20e-3, 30))
    with pytest.warns(SpikecWarning, match="SC323"):
        program = spikec.compile(graph, "loihi2")
    assert len(program.split.parts["n"]) == 16


def test_a_reset_by_subtraction_changes_nothing_where_no_membrane_is_left_and_else_is_told() -> None:
    rng = np.random.default_rng(5)
    raster = raster_of(rng, 12)
    parts = layers([whole(rng, 20, 12)], Discretization(1e-3, integrator="euler"))
    # The core keeps a 4096th of a membrane that keeps nothing: sums of weights stay away from the threshold.
    node = ir.LIF(shape=(20,), tau=np.full(20, 1e-3), r=np.full(20, 1e-3), v_threshold=np.full(20, 1 + 1 / 128),
                  reset="subtract")
    exact(graph_of({**parts, "nodes": parts["nodes"] | {"n0": node}}), raster)
    graph = leaky(rng, reset="subtract")
    with pytest.warns(SpikecWarning, match="SC322"):
        found = spikec.validate(spikec.compile(graph, "loihi2"), graph, spikes_of())
    assert found.exact is not None
    assert found.exact.ok
    assert found.drift > 0


@pytest.mark.usefixtures("without_lava")
@pytest.mark.parametrize("spike", ["delta", "box"])
@pytest.mark.parametrize("integrator", ["exact", "decay", "euler", "semi"])
@pytest.mark.parametrize("reset", ["same", "next"])
def test_a_membrane_without_a_current_is_reset_by_subtraction(integrator: Any, spike: Any, reset: Any) -> None:
    """As snnTorch's Leaky is: most spikes fall in their very column, and none is lost for good."""
    rng, n = np.random.default_rng(16), 20
    grid = Discretization(1e-3, integrator=integrator, spike=spike, reset=reset)
    node = ir.LIF(shape=(n,), tau=np.full(n, 10e-3), r=np.ones(n), v_threshold=np.full(n, 0.7), reset="subtract")
    weight = rng.normal(0.1, 0.3, (n, 12)) * (10 if spike == "box" else 0.01)
    nodes = {"in": ir.Input(shape=(12,)), "fc": ir.Affine(weight=weight, bias=rng.normal(0, 0.3, n)), "n": node,
             "out": ir.Output(shape=(n,))}
    graph = Graph(nodes, (("in", "fc"), ("fc", "n"), ("n", "out")), grid)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpikecWarning)
        program = spikec.compile(graph, "loihi2")
    found = spikec.validate(program, "reference", raster_of(rng, 12))
    (layer,) = found.layers
    assert layer.spikes_b > 1000
    assert layer.drift < 0.01
    assert layer.agree > 0.93 * layer.spikes_b
    assert found.exact is not None
    assert found.exact.ok


def test_an_integrator_that_is_reset_by_subtraction_leaks_and_says_so() -> None:
    rng = np.random.default_rng(17)
    parts = layers([rng.normal(0.1, 0.3, (20, 12))])
    parts["nodes"]["n0"] = ir.IF(shape=(20,), r=np.ones(20), reset="subtract")
    graph = graph_of(parts)
    with pytest.warns(SpikecWarning, match="leaks"):
        found = spikec.validate(spikec.compile(graph, "loihi2"), "reference", raster_of(rng, 12))
    assert found.layers[0].spikes_b > 500
    assert found.drift < 0.06


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_what_the_chip_cannot_do_is_told_node_by_node(target: str) -> None:
    graph = leaky(np.random.default_rng(6), refractory=np.full(30, 3e-3), v_min=np.full(30, -1.0))
    with pytest.raises(UnsupportedError) as caught:
        spikec.compile(graph, target)
    assert {each.code for each in caught.value.diagnostics} == {"SC324"}
    assert caught.value.diagnostics[0].node == "n"
    with pytest.raises(BadInputError, match="SC403"):
        spikec.compile(Graph(graph.nodes, graph.edges), target)


def test_the_longest_delay_is_that_of_the_chip() -> None:
    rng = np.random.default_rng(7)
    for target, columns, fits in (("loihi1", 62, True), ("loihi1", 63, False), ("loihi2", 63, True)):
        parts = layers([whole(rng, 6, 5)])
        parts["nodes"]["late"] = ir.Delay(delay=np.full(6, columns * 1e-3))
        parts["edges"] = [("in", "fc0"), ("fc0", "late"), ("late", "n0"), ("n0", "out")]
        if fits:
            assert spikec.compile(graph_of(parts), target).latency >= 0
        else:
            with pytest.raises(UnsupportedError, match="delay"):
                spikec.compile(graph_of(parts), target)


def test_graded_spikes_carry_values_on_loihi_2_alone() -> None:
    rng = np.random.default_rng(8)
    graph = graph_of(layers([whole(rng, 20, 12, most=8), whole(rng, 8, 20)]))
    values = rng.integers(0, 8, (3, 100, 12)) * (rng.random((3, 100, 12)) < 0.2)
    program = exact(graph, values.astype(float), message_bits={"in": 3})
    with pytest.raises(BadInputError, match="SC405"):
        program.run(values * 2.0)
    place = "in sample 2, column 41, channel 7"
    for wrong, told in ((0.5, "takes spikes.*0.5"), (np.nan, "finite values.*nan"), (-9.0, "takes spikes.*-9")):
        given = values.astype(float)
        given[2, 41, 7] = wrong
        match = f"SC405.*{told} {place}"
        with warnings.catch_warnings(record=True) as warned, pytest.raises(BadInputError, match=match):
            program.run(given)
        assert not warned
    with pytest.raises(BadInputError, match="SC405"):
        spikec.compile(graph, "loihi2").run(values.astype(float))
    with pytest.raises(BadInputError, match="SC533"):
        spikec.compile(graph, "loihi1", message_bits={"in": 3})


def test_options_that_are_wrong_are_told_at_once() -> None:
    graph = leaky(np.random.default_rng(10))
    with pytest.raises(BadInputError) as caught:
        spikec.compile(graph, "loihi2", method="guess", percentile=101, chips=0, seed=-1, speed="high",
                       weight_bits=9, message_bits={"nobody": 3})
    assert [each.code for each in caught.value.diagnostics] == ["SC533"] * 7
    with pytest.raises(BadInputError, match="SC533"):
        spikec.compile(graph, "clock", method="mse")


def test_a_stream_in_two_parts_is_one_stream() -> None:
    rng = np.random.default_rng(11)
    program = spikec.compile(leaky(rng), "loihi2")
    raster = spikes_of()
    one = program.run(raster, probes={"o.v": None})
    first = program.run(raster[:, :60], probes={"o.v": None})
    second = program.run(raster[:, 60:], probes={"o.v": None}, state=first.state)
    np.testing.assert_array_equal(np.concatenate([first.probes["o.v"], second.probes["o.v"]], 1), one.probes["o.v"])
    assert len(first.spikes["n"]) + len(second.spikes["n"]) == len(one.spikes["n"])
    with pytest.raises(BadInputError, match="SC403"):
        program.run(raster, state="yesterday")
    with pytest.raises(BadInputError, match="SC403"):
        program.run(raster, backend="abacus")
    with pytest.raises(BadInputError, match="SC407"):
        program.run(raster, probes={"x.v": None})


def test_a_folder_is_the_program_again_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    rng, raster = np.random.default_rng(12), spikes_of()
    program = spikec.compile(leaky(rng, tau_mem=rng.choice([8e-3, 10e-3], 30)), "loihi2", calibration=raster,
                             method="percentile")
    program.save(tmp_path / "net")
    again = spikec.load(tmp_path / "net")
    assert isinstance(again, LoihiProgram)
    np.testing.assert_array_equal(again.run(raster, probes={"o.v": None}).probes["o.v"],
                                  program.run(raster, probes={"o.v": None}).probes["o.v"])
    assert again.rates is not None
    assert {"program.py", "parameters.npz", "network.json", "README.md"} <= {
        each.name for each in (tmp_path / "net").iterdir()}
    # With a manifest to match, as someone who means harm would write it.
    for name, change in (("program.py", lambda text: text + "\nimport os\n"), ("plan.json", lambda text: "{}"),
                         ("plan.json", lambda text: text.replace('"o"', '"p"'))):
        program.save(tmp_path / "net")
        file = tmp_path / "net" / name
        file.write_text(change(file.read_text()))
        _remake_manifest(tmp_path / "net")
        with pytest.raises(BadInputError, match="SC520"):
            spikec.load(tmp_path / "net")


def _remake_manifest(folder: Path) -> None:
    import hashlib

    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        data = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_calibration_data_keep_every_state_in_its_register() -> None:
    rng, raster = np.random.default_rng(13), spikes_of(rate=0.5)
    graph = leaky(rng)
    nodes = dict(graph.nodes)
    nodes["fc"] = ir.Linear(weight=rng.normal(-8, 1.0, (30, 25)) * 2e-3)
    nodes["n"] = ir.CubaLIF(shape=(30,), tau_mem=np.full(30, 60e-3), tau_syn=np.full(30, 40e-3), r=np.full(30, 90.0),
                            reset="zero")
    graph = graph.replace(nodes=nodes)
    loose, tight = spikec.compile(graph, "loihi2"), spikec.compile(graph, "loihi2", calibration=raster)
    assert tight.calibration is not None
    assert max(max(peaks) for peaks in tight.calibration.peaks.values()) < 2**23 - 1
    assert tight.plan.thresholds["n"] < loose.plan.thresholds["n"] / 2
    reference = simulate_step(graph, raster).voltage["n"]
    found = [program.run(raster, probes={"n.v": None}, drain=True).probes["n.v"][:, program.latency_of("n"):][:, :150]
             for program in (loose, tight)]
    errors = [np.abs(each - reference).max() / np.abs(reference).max() for each in found]
    assert errors[0] > 0.2  # clipped
    assert errors[1] < 0.1


@pytest.mark.parametrize("method", ["mse", "minmax", "percentile"])
def test_every_way_to_choose_scales_keeps_the_weights(method: Any) -> None:
    rng, raster = np.random.default_rng(14), spikes_of()
    program = spikec.compile(leaky(rng), "loihi2", method=method, calibration=raster)
    assert all(each.sqnr > 30 for each in program.quantised.projections.values())
    if method == "minmax":
        assert all(each.saturated < 0.01 for each in program.quantised.projections.values())


@pytest.mark.usefixtures("without_lava")
def test_fewer_bits_keep_less_of_the_weights_and_take_less_memory() -> None:
    rng, sqnr, memory = np.random.default_rng(18), [], []
    graph = leaky(rng, n=400)
    for bits in (8, 6, 4, 2):
        program = spikec.compile(graph, "loihi2", weight_bits=bits)
        assert spikec.validate(program, "reference", spikes_of(samples=1, steps=40)).exact.ok
        sqnr.append(program.quantised.projections["fc"].sqnr)
        memory.append(sum(core.loads["synapse_bits"] for core in program.mapping.cores))
    assert 9 < min(-np.diff(sqnr)) < max(-np.diff(sqnr)) < 15  # decibels: 6 a bit
    assert memory == sorted(memory, reverse=True)
    assert memory[-1] < 0.8 * memory[0]


def test_mse_is_never_worse_than_the_others() -> None:
    for seed in range(4):
        graph = leaky(np.random.default_rng(seed))
        errors = {}
        for method in ("mse", "minmax", "percentile"):
            found = spikec.compile(graph, "loihi2", method=method).quantised
            errors[method] = sum(10 ** (-each.sqnr / 10) for each in found.projections.values())
        assert errors["mse"] <= 1.001 * min(errors.values())


def test_lava_runs_the_same_program() -> None:
    lava_python()
    rng, raster = np.random.default_rng(15), spikes_of(samples=2, steps=60)
    program = spikec.compile(leaky(rng), "loihi2")
    mine = program.run(raster, probes={"n.v": None, "o.v": None})
    lava = program.run(raster, probes={"n.v": None, "o.v": None}, backend="lava")
    for label in ("n.v", "o.v"):
        np.testing.assert_array_equal(mine.probes[label], lava.probes[label])
    np.testing.assert_array_equal(mine.spikes["n"].times, lava.spikes["n"].times)
    with pytest.raises(BadInputError, match="SC403"):
        program.run(raster, state=mine.state, backend="lava")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_models_either_run_as_they_mean_or_are_refused(data: st.DataObject) -> None:
    """The emulator is the integer network; the first layer, whose input is the model's own, follows the model's
    membrane until a spike differs."""
    graph = data.draw(graphs(discretization=data.draw(discretizations())))
    grid = graph.discretization
    assert grid is not None
    duration = 40 * grid.dt
    events = data.draw(stimuli(graph, duration=duration, grid=grid.dt))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            program = spikec.compile(graph, "loihi2")
        except SpikecError as error:
            refused = error.diagnostics
        else:
            refused = ()
    if refused:
        assert all(each.remedy for each in refused)
        return
    result = program.run(events, duration, probes={f"{name}.v": None for name in program.network.populations})
    rasters, steps, _ = program.inputs.rasters(events, duration)
    names = tuple(program.quantised.network.populations)
    emulated = program.engine.run(rasters, steps, states=names)
    meant = simulate_integer(program.quantised.network, rasters, steps)
    for name in names:
        np.testing.assert_array_equal(emulated.v[name], meant.v[name])
        np.testing.assert_array_equal(emulated.spikes[name], meant.spikes[name])
    if any(issubclass(each.category, SpikecWarning) for each in caught):
        return
    shapes = program.inputs.shapes
    reference = simulate_step(graph, {name: raster.reshape(*raster.shape[:2], *shapes[name].output)
                                      for name, raster in rasters.items()})
    for name, incoming in program.network.incoming.items():
        if any(each.source in program.network.populations for each in incoming):
            continue
        late = result.latency[name]
        voltage = reference.voltage[name].reshape(len(result.probes[f"{name}.v"]), steps, -1)[:, :steps - late]
        mine = result.probes[f"{name}.v"][:, late:]
        spiking = program.network.populations[name].spiking
        fired = np.zeros(voltage.shape, bool)
        if spiking:
            chip = raster_of_events(result.spikes[name], steps, voltage.shape[2], grid.dt)[:, late:]
            fired = (reference.spikes[name].reshape(voltage.shape[0], steps, -1)[:, :steps - late] > 0) | (chip > 0)
        quiet = np.logical_and.accumulate(~fired, axis=1)
        threshold = np.max(np.asarray(program.network.populations[name].v_threshold)) if spiking else 1.0
        size = max(np.abs(voltage[quiet]).max(initial=0.0), threshold)
        assert np.abs(mine - voltage)[quiet].max(initial=0.0) < 0.1 * size
