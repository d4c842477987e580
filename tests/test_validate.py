"""`spikec validate`: two models on one input, compared spike by spike."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from as_installed import ROOT
from cli_commands import MODEL, say, say_json
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec import BadInputError, Discretization, Events, Graph, UnsupportedError
from spikec.compiler.comparison import LayerPair, Recording, compare
from spikec.compiler.sides import ENGINES
from spikec.compiler.stimulus import make_stimulus
from spikec.ir import nodes as ir
from spikec.ir.event_files import write_events
from spikec.ir.step import simulate_step
from spikec.ir.text import write
from spikec.targets.registry import TARGETS

GRID = Discretization(1e-3, integrator="decay")


def network(hidden: float | list[float] = 1.0, grid: Discretization | None = GRID, *, names: tuple[str, ...] = (),
            size: int = 6) -> Graph:
    """4 inputs, `size` hidden neurons with the given thresholds, a layer of 3."""
    draw = np.random.default_rng(0)
    first, second, source, out = names or ("hidden", "digit", "in", "out")
    return Graph(
        {source: ir.Input(shape=(4,)), "w1": ir.Linear(weight=draw.normal(1.5, 1.0, (size, 4))),
         first: ir.CubaLIF(tau_mem=20e-3, tau_syn=5e-3, w_in=5e-3, v_threshold=hidden, shape=(size,)),
         "w2": ir.Linear(weight=draw.normal(1.0, 1.0, (3, size))),
         second: ir.LIF(tau=20e-3, r=20e-3, shape=(3,)), out: ir.Output(shape=(3,))},
        ((source, "w1"), ("w1", first), (first, "w2"), ("w2", second), (second, out)), grid)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with model files: `a.spk` and `b.spk` differ in one threshold."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    write(network(), tmp_path / "a.spk")
    write(network([1.0, 1.0, 1.4, 1.0, 1.0, 1.0]), tmp_path / "b.spk")
    return tmp_path


@pytest.mark.parametrize(("target_a", "target_b", "grid"), [
    ("reference", "reference", GRID), ("clock", "reference", GRID), ("event", "exact", GRID),
    ("event", "exact", None),
])
def test_a_model_equals_itself(target_a: str, target_b: str, grid: Discretization | None) -> None:
    graph = network(grid=grid)
    found = spikec.validate(graph, graph, "random:0.3:30", dt=1e-3, samples=2, target_a=target_a,
                            target_b=target_b)
    assert found.ok and found.verdict == "spike-exact"
    assert found.first is None
    assert [layer.pair.a for layer in found.layers] == ["hidden", "digit"]
    assert all(layer.agree == layer.spikes_a == layer.spikes_b > 0 for layer in found.layers)
    assert all(layer.membrane is not None and layer.membrane < 1e-9 for layer in found.layers)
    assert found.fired == 1.0


def test_the_first_divergence_is_the_earliest_differing_spike() -> None:
    one, other = network(), network([1.0, 1.0, 1.4, 1.0, 1.0, 1.0])
    raster = (np.random.default_rng(3).random((5, 60, 4)) < 0.3).astype(float)
    found = spikec.validate(one, other, raster, target_a="reference", target_b="reference")
    mine, its = simulate_step(one, raster).spikes, simulate_step(other, raster).spikes
    differs = np.argwhere(mine["hidden"] != its["hidden"])
    column = differs[:, 1].min()
    first = found.first
    assert first is not None
    assert (first.layer, first.what, first.neuron) == ("hidden", "spike", (2,))
    assert first.time == (column + 1) * 1e-3
    assert [first.sample, column, 2] in differs.tolist()
    assert not found.ok and found.verdict == "differs"
    for layer in found.layers:
        assert layer.spikes_a == mine[layer.pair.a].sum()
        assert layer.agree == np.minimum(mine[layer.pair.a], its[layer.pair.a]).sum()
        assert layer.alone_a == (mine[layer.pair.a] > its[layer.pair.a]).sum()
        voltages = [simulate_step(graph, raster).voltage[layer.pair.a] for graph in (one, other)]
        assert layer.membrane == pytest.approx(np.abs(voltages[0] - voltages[1]).max())


def matched_by_hand(a: list[float], b: list[float], tolerance: float) -> tuple[int, list[float]]:
    agree, alone, i, j = 0, [], 0, 0
    while i < len(a) or j < len(b):
        if i < len(a) and j < len(b) and abs(a[i] - b[j]) <= tolerance:
            agree, i, j = agree + 1, i + 1, j + 1
        elif j == len(b) or (i < len(a) and a[i] < b[j]):
            alone.append(a[i])
            i += 1
        else:
            alone.append(b[j])
            j += 1
    return agree, alone


times = st.lists(st.integers(0, 30).map(lambda tick: tick / 10), max_size=8).map(sorted)


@given(one=st.lists(times, min_size=3, max_size=3), other=st.lists(times, min_size=3, max_size=3),
       tolerance=st.sampled_from([0.0, 0.15, 1.05]))
@settings(max_examples=150, deadline=None)
def test_spikes_are_matched_neuron_by_neuron_in_order(
    one: list[list[float]], other: list[list[float]], tolerance: float,
) -> None:
    def recording(trains: list[list[float]]) -> Recording:
        """Three samples of a layer of five, in which neuron 3 spikes."""
        return Recording({"x": Events.from_samples([(train, [3] * len(train)) for train in trains])}, {})

    found = compare(LayerPair("x", "x", (5,), "name"), recording(one), recording(other), np.empty(0), tolerance, None)
    by_hand = [matched_by_hand(a, b, tolerance) for a, b in zip(one, other, strict=True)]
    assert found.agree == sum(agree for agree, _ in by_hand)
    alone = [time for _, times in by_hand for time in times]
    assert found.alone_a + found.alone_b == len(alone)
    assert (None if found.first is None else found.first.time) == min(alone, default=None)


def test_a_tolerance_of_time_takes_spikes_that_are_apart() -> None:
    fine = Discretization(1e-4, integrator="exact")
    options: dict[str, Any] = {"data": "random:0.05:80", "dt": 1e-3, "target_a": "event", "target_b": "reference"}
    apart = spikec.validate(network(), network(grid=fine), **options, tolerance_time=1e-9)
    assert not apart.ok
    near = spikec.validate(network(), network(grid=fine), **options)
    assert near.tolerance_time == 1e-4
    assert near.layers[0].agree > apart.layers[0].agree
    wide = compare(LayerPair("hidden", "hidden", (6,), "name"), *near.recordings, np.empty(0), 5e-4, None)
    assert wide.latest > 1e-9


def test_membranes_count_where_a_tolerance_says_so() -> None:
    readout = network()
    node = ir.LI(tau=20e-3, r=20e-3, shape=(3,))
    one = readout.with_nodes({"digit": node})
    other = readout.with_nodes({"digit": dataclasses.replace(node, tau=20.2e-3)})
    options: dict[str, Any] = {"data": "random:0.3:40", "target_a": "reference", "target_b": "reference"}
    found = spikec.validate(one, other, **options)
    assert found.tolerance_voltage == 1e-5
    assert not found.ok
    assert found.first is not None
    assert (found.first.layer, found.first.what) == ("digit", "membrane")
    raster = make_stimulus("random:0.3:40", {"in": (4,)}, 1e-3).rasters(1e-3)
    mine, its = (simulate_step(graph, raster).voltage["digit"] for graph in (one, other))
    column = int(np.argwhere(np.abs(mine - its) > 1e-5 * max(1.0, np.abs(its).max()))[:, 1].min())
    assert found.first.time == pytest.approx((column + 1) * 1e-3)
    assert [layer.fired for layer in found.layers] == [1.0, None], "readouts do not spike"
    assert found.fired == 1.0
    assert spikec.validate(one, other, **options, tolerance_voltage=1.0).ok


def test_layers_of_other_names_are_held_together_by_the_outputs() -> None:
    other = network(names=("first", "second", "source", "result"))
    found = spikec.validate(network(), other, "random:0.3:40", target_a="reference", target_b="reference")
    assert found.ok
    assert [(layer.pair.a, layer.pair.b, layer.pair.by) for layer in found.layers] == [
        ("digit", "second", "output order")]
    notes = " ".join(found.notes)
    for said in ("'digit' of A is held against 'second' of B", "'in' of A is 'source' of B", "'hidden' of A",
                 "'first' of B"):
        assert said in notes


def test_what_has_nothing_in_common_is_told() -> None:
    small = network(size=5, names=("first", "second", "in", "out"))
    wide = small.with_nodes({"in": ir.Input(shape=(7,)), "w1": ir.Linear(weight=np.ones((5, 7)))})
    with pytest.raises(BadInputError, match="SC560"):
        spikec.validate(network(), wide)
    other = small.with_nodes({"w2": ir.Linear(weight=np.ones((2, 5))), "second": ir.LIF(tau=1e-2, shape=(2,)),
                              "out": ir.Output(shape=(2,))})
    with pytest.raises(BadInputError, match="SC560"):
        spikec.validate(network(), other)


def test_each_side_runs_as_what_it_is() -> None:
    stated, free = network(), network(grid=None)
    found = spikec.validate(spikec.compile(free), free, "random:0.2:20", dt=1e-3)
    assert (found.a, found.b) == ("Program on event", "Graph on exact")
    found = spikec.validate(stated, stated, "random:0.2:20")
    assert (found.a, found.b) == ("Graph on clock", "Graph on reference")
    grid = spikec.Discretization(dt=1e-3)
    found = spikec.validate(free, stated, "random:0.2:20", dt=grid.dt, spike=grid.spike)
    assert (found.a, found.b) == ("Graph on clock", "Graph on reference"), "a grid that is given is stated"
    program, stating = spikec.compile(free), {"dt": grid.dt, "spike": grid.spike}
    found = spikec.validate(program, "reference", "random:0.2:20", **stating, tolerance_time=1.0)
    assert (found.a, found.b) == ("Program on event", "Program on reference"), "only what the program does not run"
    assert spikec.validate(free, program, "random:0.2:20", **stating).ok, "both on the grid that is given"
    assert set(ENGINES) == {"reference", "exact", "source", "event", "clock", "loihi1", "loihi2", "brainscales2",
                            "generic_analog", "dynapse2", "xylo"}


def test_what_cannot_run_a_side_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInputError, match="SC561"):
        spikec.validate(network(), network(), target_b="source")
    with pytest.raises(BadInputError, match="SC561"):
        spikec.validate(network(grid=None), network(), target_a="reference")
    with pytest.raises(BadInputError, match="SC530"):
        spikec.validate(network(), network(), target_a="loihi3")
    monkeypatch.setitem(TARGETS, "abacus", dataclasses.replace(TARGETS["dynapse2"], name="abacus", status="planned"))
    with pytest.raises(UnsupportedError, match="SC531"):
        spikec.validate(network(), network(), target_a="abacus")
    with pytest.raises(BadInputError, match="SC232"):
        spikec.validate(network(), 3)


def test_events_that_are_not_on_the_grid_are_moved_and_told() -> None:
    events = Events.from_samples([([0.0, 1.2e-3, 3e-3], [0, 1, 2])])
    stimulus = make_stimulus(events, {"in": (4,)}, None, duration=5e-3)
    assert np.argwhere(stimulus.rasters(1e-3)["in"][0]).tolist() == [[0, 0], [0, 1], [2, 2]]
    assert stimulus.moved == pytest.approx(1e-3)
    found = spikec.validate(network(), network(), events, duration=5e-3, target_a="reference", target_b="reference")
    assert any("moved onto the grid" in note for note in found.notes)
    assert any("no neuron of 'hidden', 'digit' spiked" in note for note in found.notes)


def test_data_come_in_every_form(place: Path) -> None:
    raster = (np.random.default_rng(0).random((2, 30, 4)) < 0.4).astype(np.uint8)
    np.save("raster.npy", raster)
    write_events("events.npz", {"in": Events.from_dense(raster, 1e-3)})
    forms: list[Any] = ["raster.npy", "events.npz", raster, {"in": raster}, {"other": raster},
                        Events.from_dense(raster, 1e-3)]
    counts = {spikec.validate("a.spk", "a.spk", form, duration=0.03, target_a="reference").layers[0].spikes_a
              for form in forms}
    assert counts == {int(simulate_step(network(), raster).spikes["hidden"].sum())}


@pytest.mark.parametrize(("data", "code"), [
    ("absent.npz", "SC523"), ("absent.npy", "SC523"), ("x.csv", "SC562"), ("random:2", "SC562"),
    ("random:0.1:0", "SC562"), ("random:a", "SC562"), (np.zeros((2, 3, 5)), "SC562"), (np.zeros(3), "SC562"),
    (np.full((1, 3, 4), np.nan), "SC104"), ({"a": np.zeros((1, 3, 4)), "b": np.zeros((1, 3, 4))}, "SC562"),
    (np.array([["x"]]), "SC562"), ("random:0.5:1000000000000", "SC562"),
    (Events.from_samples([([1e-3], [4])]), "SC405"),
])
def test_malformed_data_are_told(data: Any, code: str) -> None:
    with pytest.raises(BadInputError, match=code):
        spikec.validate(network(), network(), data, target_a="reference")


def test_a_raster_without_a_step_is_told() -> None:
    with pytest.raises(BadInputError, match="SC562"):
        spikec.validate(network(grid=None), network(grid=None), np.zeros((1, 3, 4)))


@pytest.mark.parametrize("wrong", [
    {"duration": 0.0}, {"duration": np.nan}, {"tolerance_time": -1e-3}, {"tolerance_voltage": np.inf}, {"dt": -1.0},
    {"spike": "round", "dt": 1e-3}, {"spike": "box"},
])
def test_numbers_out_of_range_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="SC550"):
        spikec.validate(network(), network(), **wrong)


def test_a_long_comparison_leaves_out_membranes_that_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikec.compiler.validation.MOST_VOLTAGES", 4 * 100 * 3)
    found = spikec.validate(network(), network(), target_a="reference")
    assert [layer.membrane is None for layer in found.layers] == [True, False]
    assert any("1 of 2 layers" in note for note in found.notes)


def test_the_command_tells_a_match_and_a_mismatch(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--data", "random:0.3:50", "--target-a", "reference")
    code, out, _ = say(capsys, "validate", "a.spk", "--against", "a.spk", *options)
    assert code == 0
    assert "spike-exact" in out
    code, out, _ = say(capsys, "validate", "a.spk", "--against", "b.spk", *options)
    assert code == 1
    assert "differs: layer 'hidden', neuron 2, sample" in out
    code, told = say_json(capsys, "validate", "a.spk", "--against", "b.spk", *options)
    assert (code, told["ok"], told["verdict"]) == (1, False, "differs")
    assert told["first"]["neuron"] == [2]
    assert [layer["pair"]["a"] for layer in told["layers"]] == ["hidden", "digit"]
    assert say(capsys, "validate", "a.spk", "--against", "absent.spk")[0] == 4
    assert say(capsys, "validate", "a.spk")[0] == 4


def test_a_compiled_folder_is_held_against_its_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "compile", "net.py:make", "-o", "net")
    code, out, _ = say(capsys, "validate", "net", "--against", "net.py:make", "--dt", "0.001",
                       "--data", "random:0.1:20", "--samples", "2")
    assert code == 0
    assert "A: net on event" in out and "B: net.py:make on exact" in out


@pytest.mark.parametrize("name", ["picture.png", "page.html"])
def test_a_comparison_can_be_drawn(place: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    pytest.importorskip("matplotlib")
    code, told = say_json(capsys, "validate", "a.spk", "--against", "b.spk", "--target-a", "reference", "--plot", name)
    assert (code, told["plot"]) == (1, name)
    data = Path(name).read_bytes()
    if name.endswith("png"):
        assert data.startswith(b"\x89PNG")
    else:
        assert b"data:image/png;base64," in data and b"src=\"http" not in data
        assert b"layer &#x27;hidden&#x27;, neuron 2" in data
    assert say(capsys, "validate", "a.spk", "--against", "b.spk", "--target-a", "reference", "--plot", "x.pdf")[0] == 4


def test_a_comparison_prints_itself() -> None:
    found = spikec.validate(network(), network([1.0, 1.0, 1.4, 1.0, 1.0, 1.0]), target_a="reference")
    assert "differs: layer 'hidden', neuron 2" in str(found)
    assert json.loads(json.dumps(found.as_dict(), default=str))["layers"]


SNNTORCH = """
import snntorch, torch

def make(beta=0.9):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(20, 30), snntorch.Leaky(beta=beta, init_hidden=True, threshold=0.3),
        torch.nn.Linear(30, 6), snntorch.Synaptic(alpha=0.8, beta=0.9, init_hidden=True, output=True))

def other():
    return make(0.85)

def fixed():
    class Loops(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.neurons = torch.nn.Linear(20, 6), snntorch.Leaky(beta=0.9, init_hidden=True)

        def forward(self, x):
            for step in range(10):
                spikes = self.neurons(self.layer(x))
            return spikes
    return Loops()
"""


@pytest.fixture
def frameworks(place: Path) -> Path:
    pytest.importorskip("snntorch")
    Path("source.py").write_text(SNNTORCH)
    return place


@pytest.mark.parametrize("target", ["reference", "clock"])
def test_a_torch_module_runs_as_itself(frameworks: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    code, told = say_json(capsys, "validate", "source.py:make", "--against", "source.py:make", "--dt", "0.001",
                          "--data", "random:0.3:60", "--target-a", target)
    assert (code, told["verdict"], told["b"]) == (0, "spike-exact", "source.py:make on source")
    assert [layer["agree"] > 50 for layer in told["layers"]] == [True, True]
    assert told["layers"][1]["membrane"] < 1e-9


def test_two_torch_modules_differ_where_their_neurons_do(
    frameworks: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    code, told = say_json(capsys, "validate", "source.py:other", "--against", "source.py:make", "--dt", "0.001",
                          "--data", "random:0.3:60")
    assert (code, told["a"], told["first"]["layer"]) == (1, "source.py:other on clock", "1")
    raster = (np.random.default_rng(0).random((4, 60, 20)) < 0.3).astype(float)
    mine, its = (native(name, raster) for name in ("other", "make"))
    first = np.argwhere(mine != its)
    assert told["first"]["time"] == pytest.approx((first[:, 1].min() + 1) * 1e-3)


def native(name: str, raster: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Spikes of the first layer, by snnTorch alone."""
    import torch

    from spikec.compiler.frontends.models import load_code

    module = load_code(f"source.py:{name}").double()
    with torch.no_grad():
        return torch.stack([module[1](module[0](torch.from_numpy(raster[:, step])))
                            for step in range(raster.shape[1])], 1).numpy()


def test_the_page_shows_what_is_printed(frameworks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "validating.md").read_text()
    (program, *_), (printed,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("python", "text"))
    (command,) = re.findall(r"```\nspikec (validate .*)\n```", page)
    Path("net.py").write_text(program)
    assert [line.rstrip() for line in say(capsys, *command.split())[1].splitlines()] == printed.splitlines()


def test_a_module_of_a_fixed_number_of_steps_says_so(frameworks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = say(capsys, "validate", "source.py:fixed", "--against", "source.py:fixed", "--dt", "0.001",
                       "--data", "random:0.3:60")
    assert code == 4
    assert "SC561" in err and "10" in err
