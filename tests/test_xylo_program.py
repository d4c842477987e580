"""Programs for Xylo: numbers are as near to the model's as their fields allow, spikes drift little, layers act when
they are said to; what the chip cannot do is told at once; folders, streams, xylosim and the commands keep every bit."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_commands import say, say_json
from hypothesis import given, settings
from hypothesis import strategies as st
from xylo_nets import GRID, TAUS, events_of, model

import spikec
from spikec import BadInputError, Discretization, Events, Graph, SpikecWarning, Trainer, UnsupportedError
from spikec.compiler.pipeline import lower
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import Diagnostics, DoesNotFitError, SpikecError
from spikec.ir.event_files import write_events
from spikec.passes.quantise_xylo import quantise_xylo
from spikec.passes.state_delays import StateDelays
from spikec.runtime.xylo.engine import XyloEngine
from spikec.targets.xylo.limits import VARIANTS
from spikec.targets.xylo.program import XyloProgram

XYLOSIM = "the vendor's simulator is not installed"
LAGGING = replace(GRID, integrator="euler")


def compiled(graph: Graph, **options: Any) -> XyloProgram:
    """Compiles without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpikecWarning)
        return spikec.compile(graph, "xylo", **options)


def told(act: Callable[[], object]) -> list[str]:
    """Codes of the warnings, in order."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", SpikecWarning)
        act()
    return [str(each.message)[:5] for each in found]


def refused(graph: Graph, **options: Any) -> set[tuple[str, str | None]]:
    """Code and node of every fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        with pytest.raises(SpikecError) as error:
            spikec.compile(graph, "xylo", **options)
    return {(each.code, each.node) for each in error.value.diagnostics}


def with_nodes(graph: Graph, **nodes: ir.Node) -> Graph:
    return graph.replace(nodes={**graph.nodes, **nodes})


@given(seed=st.integers(0, 2**32 - 1), layers=st.integers(1, 3), recurrent=st.booleans(), memory=st.integers(1, 6),
       current=st.integers(1, 6), scale=st.floats(0.05, 20))
@settings(max_examples=25)
def test_numbers_are_as_near_as_their_fields_allow(seed: int, layers: int, recurrent: bool, memory: int, current: int,
                                                   scale: float) -> None:
    """Time constants of a power of two of steps have their shifts; each weight is within half of the smallest step of
    its matrix of what the neuron's scale makes of it, unless it is the largest there is; so is each threshold."""
    rng = np.random.default_rng(seed)
    graph = model(rng, (6, *[9] * layers, 4), recurrent=recurrent, scale=scale,
                  taus=(2.0**memory * 1e-3, 2.0**current * 1e-3))
    network = lower(StateDelays().run(graph))
    made = quantise_xylo(network, GRID, diagnostics=Diagnostics())
    chip, shifts = made.network, dict(zip(("in", "rec", "out"), made.plan.shifts, strict=True))
    assert (chip.hidden.dash_mem == memory).all() and (chip.hidden.dash_syn == current).all()
    for name, each in made.populations.items():
        population, block = network.populations[name], chip.hidden if each.block == "hidden" else chip.outputs
        assert each.misfit.max() < 1e-9
        exact = each.scale * np.asarray(population.v_threshold)
        assert np.abs(block.threshold[each.place] - exact).max() <= 0.5
        assert not block.bias[each.place].any()
    for projection in network.projections:
        target = made.populations[projection.target]
        name = "in" if projection.source == "in" else "rec" if target.block == "hidden" else "out"
        rows = made.layout.inputs[projection.source] if name == "in" else made.layout.hidden[projection.source]
        held = getattr(chip, f"w_{name}")[rows, target.place].T * 2.0 ** shifts[name]
        wanted = np.asarray(projection.connection.weight) * target.factor[:, None]  # type: ignore[union-attr]
        off = np.abs(held - wanted)
        assert ((off <= 0.5 * 2.0 ** shifts[name] + 1e-9) | (np.abs(held) == 127 * 2.0 ** shifts[name])).all()
        assert ((np.abs(held) < 127 * 2.0 ** shifts[name]) | (off < 0.2 * np.abs(wanted))).all(), "little is cut off"


@pytest.mark.parametrize("tau", [1.5, 3.0, 5.7, 11.3, 23.0, 100.0])
def test_shifts_give_the_response_that_is_nearest(tau: float) -> None:
    """No other pair of shifts, at whatever gain, is nearer to the model's response to one spike."""
    graph = model(np.random.default_rng(0), taus=(tau * 1e-3, 8e-3))
    network = lower(StateDelays().run(graph))
    made = quantise_xylo(network, GRID, diagnostics=Diagnostics())
    found = made.populations["n0"]

    def response(kept: float, held: float) -> Any:
        v, i, values = 0.0, 1.0, []
        for _ in range(1200):
            i *= held
            v = kept * v + i
            values.append(v)
        return np.array(values)

    wanted = response(1 - 1 / tau, 1 - 1 / 8)
    misfits = {}
    for memory in range(9):
        for current in range(1, 9):
            other = response(1 - 2.0**-memory, 1 - 2.0**-current)
            gain = (wanted @ other) / (other @ other)
            misfits[memory, current] = np.linalg.norm(wanted - gain * other) / np.linalg.norm(wanted)
    shifts = int(made.network.hidden.dash_mem[0]), int(made.network.hidden.dash_syn[0])
    assert found.misfit[0] == pytest.approx(misfits[shifts], abs=1e-3)
    assert misfits[shifts] == pytest.approx(min(misfits.values()), abs=1e-9)


@pytest.mark.parametrize("integrator", ["semi", "decay", "euler", "exact"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_spikes_drift_little_from_the_model_s_and_layers_act_when_they_are_said_to(integrator: Any,
                                                                                   recurrent: bool) -> None:
    rng = np.random.default_rng(4)
    graph = model(rng, (10, 20, 20, 5), recurrent=recurrent, grid=replace(GRID, integrator=integrator), scale=1.2)
    events = events_of(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)  # of recurrent steps, where the model's take two
        program = spikec.compile(graph, "xylo", calibration=events)
    found = spikec.validate(program, graph, events)
    assert found.verdict == "within drift", str(found)
    assert found.exact is not None
    assert found.exact.ok
    assert all(each.spikes_a > 50 for each in found.layers)
    lags = integrator in ("euler", "exact")
    assert [program.latency_of(name) for name in ("n0", "n1", "n2")] == ([0, 0, 0] if lags else [0, 1, 2])
    assert program.quantised.layout.input_delay == lags
    if integrator != "semi" or recurrent:
        return
    # Most spikes of a feed-forward net come in the very column that the latency says, and few in the ones beside it.
    result = program.run(events, drain=True)
    exact = spikec.ir.step.simulate_step(graph, {"in": events.astype(np.float64)})
    steps = events.shape[1]
    for name, late in (("n0", 0), ("n1", 1), ("n2", 2)):
        raster = np.zeros((len(events), steps + program.latency, 20 if name != "n2" else 5))
        each = result.spikes[name]
        sample = np.repeat(np.arange(each.batch), np.diff(each.offsets))
        np.add.at(raster, (sample, np.rint(each.times / GRID.dt).astype(int) - 1, each.indices), 1)
        alike = [float((raster[:, shift:shift + steps - 4] * exact.spikes[name][:, :steps - 4]).sum())
                 for shift in range(5)][:late + 2]
        assert int(np.argmax(alike)) == late


def test_calibration_finds_room_for_what_comes() -> None:
    """Of faint input, numbers grow; of strong input, nothing is cut off that is without it."""
    rng = np.random.default_rng(0)
    graph, events = model(rng, scale=2.0), events_of(rng, rate=6.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        blind, seeing, faint = (spikec.compile(graph, "xylo", **options) for options in (
            {}, {"calibration": events}, {"calibration": events_of(rng, rate=0.01)}))
    assert "SC347" in told(lambda: blind.run(events))
    assert "SC347" not in told(lambda: seeing.run(events))
    assert (faint.quantised.network.hidden.threshold > 2 * seeing.quantised.network.hidden.threshold).all()
    assert (faint.quantised.network.hidden.threshold > blind.quantised.network.hidden.threshold).all()


def test_a_readout_is_a_membrane_in_units_of_the_model() -> None:
    rng = np.random.default_rng(2)
    graph, events = model(rng, readout=True), events_of(rng)
    program = compiled(graph, calibration=events)
    result = program.run(events, drain=True, probes={"n1.v": None})
    exact = spikec.ir.step.simulate_step(graph, {"in": events.astype(np.float64)})
    late, steps = program.latency_of("n1"), events.shape[1]
    membrane = result.probes["n1.v"][:, late:late + steps]
    wanted = exact.voltage["n1"]
    assert np.abs(membrane - wanted).max() < 0.1 * np.abs(wanted).max()
    assert np.allclose(result.voltage_max["out"][0], membrane.max(1), atol=1e-9)


def test_a_constant_current_settles_where_the_model_s_does() -> None:
    rng = np.random.default_rng(5)
    graph = model(rng, (4, 6, 3), bias=4.0, scale=0.0)
    codes = told(lambda: spikec.compile(graph, "xylo"))
    assert set(codes) == {"SC345"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        program = spikec.compile(graph, "xylo")
    silent = np.zeros((1, 400, 4), dtype=np.uint8)
    found = program.run(silent, probes={"n0.v": None}).probes["n0.v"][0, -1]
    wanted = spikec.ir.step.simulate_step(graph, {"in": silent.astype(np.float64)}).voltage["n0"][0, -1]
    assert (wanted > 0.005).all()
    assert np.abs(found - wanted).max() < 0.05 * wanted.max()


@pytest.mark.parametrize(("change", "code", "node"), [
    ({"reset": "zero"}, "SC324", "n0"), ({"refractory": 3e-3}, "SC324", "n0"), ({"v_min": -1.0}, "SC324", "n0"),
    ({"tau_mem": 0.4e-3}, "SC341", "n0"), ({"tau_syn": 0.3e-3}, "SC341", "n0"),
], ids=lambda value: str(value))
def test_a_neuron_that_the_chip_has_not_is_refused(change: dict[str, Any], code: str, node: str) -> None:
    graph = model(np.random.default_rng(0))
    assert (code, node) in refused(with_nodes(graph, n0=replace(graph.nodes["n0"], **{
        name: value if isinstance(value, str) else np.full(24, value) for name, value in change.items()})))


def test_what_has_no_place_on_the_chip_is_refused() -> None:
    rng = np.random.default_rng(0)
    graph = model(rng)
    assert ("SC324", "n0") in refused(with_nodes(graph, n0=ir.LIF(shape=(24,), tau=10e-3)))
    assert ("SC324", "w0") in refused(with_nodes(graph, w0=replace(graph.nodes["w0"], delay=np.full((24, 10), 2e-3))))
    for sizes in ((17, 8, 3), (10, 8, 9)):
        with pytest.raises(DoesNotFitError, match="SC340"):
            spikec.compile(model(rng, sizes), "xylo")
    assert ("SC343", "out") in refused(model(rng, (10, 8))), "inputs feed no outputs"
    both = graph.replace(nodes={**graph.nodes, "inner": ir.Output(shape=(24,))}, edges=(*graph.edges, ("n0", "inner")))
    assert ("SC343", "inner") in refused(both), "24 neurons that feed others are no outputs"
    assert refused(graph.replace(discretization=None)) == {("SC403", None)}


def test_everything_that_there_is_too_little_of_is_told_at_once() -> None:
    """80 neurons, all to all, have more synapses each than one may have; another variant has them."""
    graph = model(np.random.default_rng(0), (10, 80, 5), recurrent=True)
    with pytest.raises(DoesNotFitError) as error:
        spikec.compile(graph, "xylo")
    assert [each.code for each in error.value.diagnostics] == ["SC340", "SC340"], "of neurons and of inputs"
    assert error.value.diagnostics[0].node == "n0"
    program = compiled(graph, variant="imu")
    assert program.report().variant == "imu"
    big = model(np.random.default_rng(0), (10, 300, 300, 5))
    assert refused(big, variant="imu") == {("SC340", None)}, "600 hidden neurons"
    assert len(refused(big)) == 2, "and their synapses"


def test_a_weight_that_rounds_to_nothing_takes_no_synapse() -> None:
    graph = model(np.random.default_rng(0), (10, 80, 5), recurrent=True)
    loop = np.array(graph.nodes["r0"].weight)  # type: ignore[union-attr]
    kept = np.random.default_rng(1).random(loop.shape) < 0.3
    entry = np.array(graph.nodes["w0"].weight)  # type: ignore[union-attr]
    entry[60:] = 0.0
    program = compiled(with_nodes(graph, r0=ir.Linear(weight=loop * kept), w0=ir.Linear(weight=entry)))
    used = {each.what: each.used for each in program.report().uses}
    assert used["synapses of one hidden neuron"] < 64
    assert used["synapses of one input channel"] <= 60


def test_paths_of_other_lengths_are_told() -> None:
    """A connection past a layer acts a column sooner; past two, it is refused."""
    rng = np.random.default_rng(0)

    def past(layers: int) -> Graph:
        graph = model(rng, (10, 12, 12, 12, 4))
        skip = ir.Linear(weight=rng.normal(0, 0.1, (12, 10)))
        return graph.replace(nodes={**graph.nodes, "skip": skip},
                             edges=(*graph.edges, ("in", "skip"), ("skip", f"n{layers}")))

    assert told(lambda: spikec.compile(past(1), "xylo")) == ["SC344"]
    assert {code for code, _ in refused(past(2))} == {"SC344"}
    loop = model(rng, recurrent=True, grid=LAGGING)
    assert told(lambda: spikec.compile(loop, "xylo")) == ["SC344"], "in the model a recurrent spike takes two columns"


def test_spikes_of_one_step_are_told() -> None:
    rng = np.random.default_rng(0)
    once = replace(GRID, spikes="one")
    hot, events = model(rng, grid=once, scale=8.0), events_of(rng)
    program = spikec.compile(hot, "xylo", calibration=events)
    assert "SC346" in told(lambda: program.run(events))
    many = spikec.compile(hot.replace(discretization=GRID), "xylo", calibration=events)
    assert "SC346" in told(lambda: many.run(events)), "an output fires once"


def test_options_are_looked_at() -> None:
    graph = model(np.random.default_rng(0))
    for options in ({"variant": "video"}, {"chips": 2}, {"duration": 1.0}, {"variant": 3}):
        with pytest.raises(BadInputError, match="SC533"):
            spikec.compile(graph, "xylo", **options)
    program = compiled(graph)
    with pytest.raises(BadInputError, match="SC403"):
        program.run(np.zeros((1, 3, 10)), backend="chip")
    with pytest.raises(BadInputError, match="SC405"):
        program.run(-np.ones((1, 3, 10)))
    with pytest.raises(BadInputError, match="SC405"):
        program.run(np.full((1, 3, 10), 16))
    with pytest.raises(BadInputError, match="SC412"):
        program.module(gradient="surrogate")


def test_every_limit_has_a_source() -> None:
    for chip in VARIANTS.values():
        limits = [getattr(chip, name) for name in chip.__dataclass_fields__ if name != "name"]
        assert all(each.source and each.unit and each.value > 0 for each in limits)
    assert {name: chip.synapses for name, chip in VARIANTS.items()} == {
        "audio2": 32_000, "audio3": 32_000, "imu": 31_744}


@pytest.mark.parametrize("grid", [GRID, LAGGING], ids=["at once", "a column later"])
def test_a_stream_in_parts_is_the_whole(grid: Discretization) -> None:
    rng = np.random.default_rng(1)
    program, events = spikec.compile(model(rng, recurrent=True, grid=grid), "xylo"), events_of(rng, steps=60)
    whole = program.run(events, probes={"n0.v": None})
    first = program.run(events[:, :23], probes={"n0.v": None})
    then = program.run(events[:, 23:], probes={"n0.v": None}, state=first.state)
    assert np.array_equal(np.concatenate([first.probes["n0.v"], then.probes["n0.v"]], 1), whole.probes["n0.v"])
    assert len(first.spikes["out"]) + len(then.spikes["out"]) == len(whole.spikes["out"]) > 20
    with pytest.raises(BadInputError, match="another network or batch"):
        program.run(events[:2], state=first.state)


def test_xylosim_is_a_backend() -> None:
    pytest.importorskip("xylosim.v2", reason=XYLOSIM)
    rng = np.random.default_rng(1)
    program, events = spikec.compile(model(rng, recurrent=True, grid=LAGGING), "xylo"), events_of(rng, samples=2)
    mine, theirs = (program.run(events, drain=True, probes={"n1.v": None}, backend=backend)
                    for backend in ("emulator", "xylosim"))
    assert np.array_equal(mine.probes["n1.v"], theirs.probes["n1.v"])
    for name, each in mine.spikes.items():
        assert np.array_equal(each.times, theirs.spikes[name].times)
        assert np.array_equal(each.indices, theirs.spikes[name].indices)


def test_without_xylosim_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xylosim.v2", None)
    graph = model(np.random.default_rng(0))
    program = compiled(graph)
    with pytest.raises(UnsupportedError, match=r"SC532.*xylosim"):
        program.run(np.zeros((1, 3, 10)), backend="xylosim")
    found = spikec.validate(program, graph, "random:0.1:40")
    assert "xylosim was left out" in str(found)


def test_a_folder_is_the_program_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    events = events_of(rng)
    program = compiled(model(rng, recurrent=True), calibration=events, variant="audio2")
    program.save(tmp_path / "net")
    again = spikec.load(tmp_path / "net")
    assert isinstance(again, XyloProgram)
    assert str(again.report()) == str(program.report())
    assert json.dumps(again.report().as_dict()) == json.dumps(program.report().as_dict())
    result, other = program.run(events), again.run(events)
    assert np.array_equal(result.spikes["out"].times, other.spikes["out"].times)
    again.save(tmp_path / "other")
    for path in (tmp_path / "net").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes(), path.name
    copy = pickle.loads(pickle.dumps(program))
    assert np.array_equal(copy.run(events).spikes["out"].times, result.spikes["out"].times)
    assert "not run on silicon" in (tmp_path / "net" / "README.md").read_text()


@pytest.mark.parametrize("name", ["spec.npz", "program.py", "xylo_config.json", "README.md", "scales.npz", "plan.json"])
def test_a_folder_that_was_changed_is_refused(name: str, tmp_path: Path) -> None:
    from spikec.targets.artefact import write_artefact

    program = compiled(model(np.random.default_rng(0)))

    def fill(place: Path) -> None:
        program._fill(place)
        content = (place / name).read_bytes()
        (place / name).write_bytes(content.replace(b"audio3", b"audio2") if name.endswith("json") else
                                   content[:-1] + b"x")

    write_artefact(tmp_path / "net", "xylo", fill)
    with pytest.raises(BadInputError):
        spikec.load(tmp_path / "net")


@pytest.mark.parametrize("variant", ["audio3", "imu"])
def test_the_generated_program_runs_by_itself(variant: str, tmp_path: Path) -> None:
    pytest.importorskip("xylosim.v2", reason=XYLOSIM)
    rng = np.random.default_rng(6)
    graph = model(rng, recurrent=True, grid=LAGGING, bias=0.001)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        program = spikec.compile(graph, "xylo", variant=variant)
    program.save(tmp_path / "net")
    events = events_of(rng, samples=2)
    np.save(tmp_path / "in.npy", events)
    done = subprocess.run([sys.executable, "-I", str(tmp_path / "net" / "program.py"), "--input",
                           str(tmp_path / "in.npy"), "--output", str(tmp_path / "out.npz")], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as found:
        late = program.quantised.layout.input_delay
        given = np.pad(events, ((0, 0), (late, 0), (0, 0)))
        expected = program.engine.run(given, states=("hidden", "outputs"))
        for name, wanted in (("spikes", expected.spikes["outputs"]), ("hidden_spikes", expected.spikes["hidden"]),
                             ("v", expected.v["outputs"]), ("hidden_v", expected.v["hidden"]),
                             ("i", expected.i["outputs"]), ("hidden_i", expected.i["hidden"])):
            assert np.array_equal(found[name], wanted), name
        assert found["spikes"].sum() > 0
    with np.load(tmp_path / "net" / "spec.npz") as spec:
        assert spec["weights_in"].shape == (10, 24, 1 if variant == "imu" else 2)


def test_no_text_of_the_user_s_is_in_the_generated_program() -> None:
    graph = model(np.random.default_rng(0))
    new = {name: f"os_system_{name}" for name in graph.nodes}
    renamed = Graph({new[name]: node for name, node in graph.nodes.items()},
                    tuple((new[source], new[target]) for source, target in graph.edges), graph.discretization)
    mine, theirs = compiled(graph).files(), compiled(renamed).files()
    assert mine["program.py"] == theirs["program.py"]
    assert mine["spec.npz"] == theirs["spec.npz"]
    assert b"os_system_n0" in theirs["xylo_config.json"]


ONCE = Discretization(dt=1e-3, integrator="semi")


def net(recurrent: bool = False, seed: int = 0, grid: Discretization = ONCE, hidden: int = 20) -> Graph:
    """2 inputs and a bias - hidden - 2 outputs, one spike time an output."""
    rng = np.random.default_rng(seed)
    taus = {"tau_mem": TAUS[0], "tau_syn": TAUS[1], "w_in": TAUS[1], "reset": "subtract"}
    nodes: dict[str, ir.Node] = {
        "in": ir.Input(shape=(3,)), "fc1": ir.Linear(weight=rng.normal(2.0, 0.9, (hidden, 3))),
        "hidden": ir.CubaLIF(shape=(hidden,), **taus),
        "fc2": ir.Linear(weight=rng.normal(40.0, 4.0, (2, hidden)) / hidden),
        "label": ir.CubaLIF(shape=(2,), **taus), "out": ir.Output(shape=(2,))}
    edges = [("in", "fc1"), ("fc1", "hidden"), ("hidden", "fc2"), ("fc2", "label"), ("label", "out")]
    if recurrent:
        nodes["loop"] = ir.Linear(weight=rng.normal(-0.1, 0.2, (hidden, hidden)))
        edges += [("hidden", "loop"), ("loop", "hidden")]
    return Graph(nodes, tuple(edges), grid)


def task(samples: int, seed: int = 0) -> tuple[Events, np.ndarray[Any, Any]]:
    """Two times and a bias; the label is which of the two comes first."""
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, 20e-3, (samples, 2))
    full = np.concatenate([times, np.zeros((samples, 1))], 1)
    return Events.from_samples([(each, np.arange(3)) for each in full]), times.argmin(1)


DURATION = 60e-3


def accuracy(program: XyloProgram, data: tuple[Events, np.ndarray[Any, Any]]) -> float:
    events, labels = data
    found = program.run(events, DURATION, drain=True).spikes["out"]
    first = np.full((found.batch, 2), np.inf)
    np.minimum.at(first, (np.repeat(np.arange(found.batch), np.diff(found.offsets)), found.indices), found.times)
    return float(((first.argmin(1) == labels) & np.isfinite(first.min(1))).mean())


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("integrator", ["semi", "exact"])
def test_in_the_loop_spikes_are_the_program_s_in_the_time_of_the_model(recurrent: bool, integrator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        program = spikec.compile(net(recurrent, grid=Discretization(dt=1e-3, integrator=integrator)), "xylo")
        events, _ = task(16)
        out = program.module()(events, duration=DURATION)
        result = program.run(events, DURATION, drain=True)
    for name in ("hidden", "label"):
        times = result.spikes[name].times - program.latency_of(name) * 1e-3
        kept = (times > 0) & (times < DURATION + 0.5e-3)
        found = out.events(name)
        assert len(found.times) > 50
        assert np.allclose(found.times.detach(), times[kept], rtol=0, atol=1e-12)
        assert np.array_equal(found.indices, result.spikes[name].indices[kept])


def gradients(module: torch.nn.Module, events: Events) -> dict[str, torch.Tensor]:
    module.zero_grad()
    times = module(events, duration=DURATION).first_spike("out").flatten()
    signs = torch.linspace(-1, 1, len(times), dtype=torch.float64)
    (signs * torch.where(torch.isfinite(times), times, 0)).sum().backward()
    return {name: each.grad.clone() for name, each in module.named_parameters() if each.grad is not None}


def test_gradients_are_near_those_of_the_event_target() -> None:
    """Times differ by columns and by what numbers are rounded to; in most samples gradients hardly do."""
    fine = net(seed=2, grid=Discretization(dt=250e-6, integrator="semi", spikes="many"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        event = spikec.compile(fine).module(torch.float64)
        chip = spikec.compile(fine, "xylo").module(torch.float64)
        events, _ = task(8, seed=4)
        alike = []
        for sample in range(events.batch):
            wanted, found = (gradients(module, events.take([sample])) for module in (event, chip))
            assert found.keys() == wanted.keys() == {"fc1.weight", "fc2.weight"}
            alike.append([float(torch.nn.functional.cosine_similarity(found[name].flatten(), each.flatten(), dim=0))
                          for name, each in wanted.items()])
    assert np.median(alike, axis=0).min() > 0.9


def test_training_in_the_loop_makes_the_program_right() -> None:
    data, held_out = task(320), task(200, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        program = spikec.compile(net(), "xylo")
        before = accuracy(program, held_out)
        trainer = Trainer(program, "first-spike", lr=0.02, epochs=8, batch_size=32, duration=DURATION, progress=False)
        trainer.fit(data)
        assert isinstance(trainer.program, XyloProgram)
        after = accuracy(trainer.program, held_out)
    assert trainer.program.plan is program.plan or trainer.program.plan.shifts == program.plan.shifts
    assert before < 0.75
    assert after > 0.85


def test_a_chip_of_the_user_s_is_in_the_loop() -> None:
    """It is given the numbers and counts that the emulator is; what it gives malformed, late or not at all is told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        program = spikec.compile(net(), "xylo")
    events, _ = task(5)
    calls: list[tuple[int, ...]] = []

    def measure(network: Any, counts: Any) -> Any:
        calls.append(counts.shape)
        return XyloEngine(network).run(counts).spikes

    mine, own = (program.module(measure=each)(events, duration=DURATION) for each in (measure, None))
    assert torch.equal(mine.first_spike("label"), own.first_spike("label")) and len(calls) == 1
    trainer = Trainer(program, "first-spike", lr=0.02, epochs=1, duration=DURATION, progress=False, measure=measure,
                      time_limit=60)
    trainer.fit(task(5))
    assert len(calls) == 2
    for wrong in (None, {"hidden": np.zeros((5, 3, 2), int)}, {"hidden": np.zeros(3), "outputs": np.zeros(3)}):
        with pytest.raises(BadInputError, match="SC485"):
            program.module(measure=lambda *_, wrong=wrong: wrong)(events, duration=DURATION)  # type: ignore[misc]

    def broken(*_: Any) -> Any:
        raise OSError("no board")

    with pytest.raises(SpikecError, match=r"SC377.*no board"):
        program.module(measure=broken)(events, duration=DURATION)
    with pytest.raises(BadInputError, match="SC403"):
        program.module(measure=3)  # type: ignore[arg-type]


def test_several_spikes_of_a_step_have_a_gradient() -> None:
    graph = net(grid=replace(GRID, spikes="many"))
    loud = with_nodes(graph, fc1=ir.Linear(weight=3 * np.abs(np.asarray(graph.nodes["fc1"].weight))))  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        program = spikec.compile(loud, "xylo")
        events, _ = task(4)
        assert int(program.engine.run(program.inputs.counts(
            program.quantised.layout.inputs, events, DURATION)[0]).spikes["hidden"].max()) > 1
        module = program.module(torch.float64)
        times = module(events, duration=DURATION).spike_times("label", 6)
        torch.where(torch.isfinite(times), times, 0).sum().backward()
    found = {name: each.grad for name, each in module.named_parameters() if each.grad is not None}
    assert len(found) == 2
    assert all(bool(torch.isfinite(each).all()) and float(each.abs().max()) > 0 for each in found.values())


def test_a_time_constant_that_has_changed_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        module = spikec.compile(net(), "xylo").module(train=("weight", "tau_mem"))
    with torch.no_grad():
        module.get_parameter("hidden.tau_mem").mul_(2.0)
    with pytest.raises(BadInputError, match="SC488"):
        module(task(2)[0], duration=DURATION)


MODEL = """
import numpy as np
from spikec import Builder, Discretization

def make():
    draw = np.random.default_rng(0)
    net = Builder(Discretization(dt=1e-3, integrator="semi", spikes="many"))
    taus = {"tau_mem": 16e-3, "tau_syn": 8e-3, "w_in": 8e-3, "reset": "subtract"}
    source = net.input("in", 5)
    hidden = net.cubalif("hidden", 12, **taus)
    digit = net.cubalif("digit", 3, **taus)
    net.connect(source, hidden, weight=draw.normal(0.4, 0.3, (12, 5)))
    net.connect(hidden, digit, weight=draw.normal(0.25, 0.2, (3, 12)))
    net.output("out", digit)
    return net.build()
"""


def test_the_commands_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(MODEL)
    rng = np.random.default_rng(0)
    events = Events.from_samples([(np.sort(rng.uniform(0, 40e-3, 20)), rng.integers(0, 5, 20)) for _ in range(30)])
    write_events("in.npz", {"in": events})
    np.savez("labelled.npz", times=events.times, indices=events.indices, offsets=events.offsets,
             labels=rng.integers(0, 3, 30))
    code, compiled_as = say_json(capsys, "compile", "net.py:make", "-t", "xylo", "-o", "net", "--variant", "audio2")
    assert (code, compiled_as["report"]["variant"]) == (0, "audio2")
    code, ran = say_json(capsys, "run", "net", "-i", "in.npz", "--duration", "0.05", "--drain")
    assert code == 0
    assert ran["spikes"]["out"] > 0
    assert ran["latency"]["out"] == 1
    code, compared = say_json(capsys, "validate", "net", "--against", "reference", "--data", "random:0.1:60")
    assert (code, compared["verdict"], compared["exact"]["ok"]) == (0, "within drift", True)
    code, out, _ = say(capsys, "inspect", "net.py:make", "-t", "xylo")
    assert (code, "takes this model" in out, "Of the chip" in out) == (0, True, True)
    code, out, _ = say(capsys, "report", "net")
    assert (code, "not run on silicon" in out) == (0, True)
    code, out, _ = say(capsys, "train", "net.py:make", "-t", "xylo", "--data", "labelled.npz", "-o", "trained",
                       "--epochs", "1", "--duration", "0.05")
    assert (code, "wrote trained" in out) == (0, True), out
    assert isinstance(spikec.load("trained"), XyloProgram)
    assert say(capsys, "compile", "net.py:make", "-t", "xylo", "-o", "net", "--variant", "video")[0] == 4
    assert say(capsys, "compile", "net.py:make", "-t", "xylo", "-o", "net", "--chips", "2")[0] == 4
