"""The files for BrainScaleS-2's own software: what is written, that stand-ins of this software take it, and that what
they simulate is what the emulated chip does."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import py_compile
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spikec
from spikec.ir.diagnostics import BadInputError, SpikecWarning
from spikec.ir.events import Events
from spikec.targets.analog.program import AnalogProgram
from spikec.targets.brainscales2 import emit
from spikec.targets.brainscales2.emit import HXTORCH, NIR, PARAMETERS, PYNN, README, WEIGHTS
from spikec.targets.brainscales2.relays import relay_of

STANDIN = Path(__file__).with_name("bss2_standin")
PACKAGES = ("hxtorch", "pynn_brainscales", "bss2_record", "cuba", "signatures")
SPEED_UP = 1000.0
Calls = list[tuple[str, dict[str, Any]]]
Run = Callable[..., tuple[dict[str, Any], Calls]]


@pytest.fixture(autouse=True)
def standins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-ins in the place of the chip's software, in this process, as long as the test lasts."""
    monkeypatch.syspath_prepend(str(STANDIN))
    forget()
    yield
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
        del sys.modules[name]


def network(inputs: int = 4, hidden: int = 5, names: tuple[str, str, str] = ("x", "h", "o"), delay: Any = None,
            **neuron: Any) -> spikec.Graph:
    """Inputs, neurons, a readout."""
    net = spikec.Builder()
    x = net.input(names[0], inputs)
    h = net.cubalif(names[1], hidden, **{"tau_mem": 12e-3, "tau_syn": 6e-3} | neuron)
    o = net.cubali(names[2], 2, tau_mem=12e-3, tau_syn=6e-3)
    draw = np.random.default_rng(3)
    x.connect(h, weight=draw.uniform(0.1, 1.1, (hidden, inputs)), delay=delay)
    h.connect(o, weight=draw.uniform(-0.5, 1.0, (2, hidden)))
    net.output("out", o)
    return net.build()


def compiled(graph: spikec.Graph, **options: Any) -> AnalogProgram:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        program = spikec.compile(graph, target="brainscales2", mismatch="none", noise=False, **options)
    assert isinstance(program, AnalogProgram)
    return program


def spikes(samples: int, channels: int, each: int = 3, end: float = 30e-3, seed: int = 0) -> Events:
    """A few in every channel, in the model's time."""
    draw = np.random.default_rng(seed)
    times = np.sort(draw.uniform(1e-3, end, (samples, channels * each)), axis=1)
    return Events(times.reshape(-1), draw.integers(0, channels, times.size), np.arange(samples + 1) * channels * each)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a script of a program with events of the inputs i0, i1, … in the model's time; gives what it writes, and the
    calls that the stand-ins took."""
    def run(program: AnalogProgram, script: str, events: dict[str, Events], duration: float, *more: str) -> Any:
        for name, content in program.files().items():
            (tmp_path / name).write_bytes(content)
        arrays = {}
        for key, each in events.items():
            arrays |= {f"{key}.times": each.times / SPEED_UP, f"{key}.indices": each.indices,
                       f"{key}.offsets": each.offsets}
        np.savez(tmp_path / "in.npz", **arrays)
        monkeypatch.setattr(sys, "argv", [script, "--input", str(tmp_path / "in.npz"), "--output",
                                          str(tmp_path / "out.npz"), "--duration", str(duration / SPEED_UP), *more])
        calls: Calls = importlib.import_module("bss2_record").CALLS
        calls.clear()
        runpy.run_path(str(tmp_path / script), run_name="__main__")
        with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}, list(calls)

    return run


def found(results: dict[str, Any], key: str) -> Events:
    """Events of a population, in the model's time."""
    return Events(results[f"{key}.times"] * SPEED_UP, results[f"{key}.indices"], results[f"{key}.offsets"])


def trains(events: Events, n: int) -> list[list[Any]]:
    sample = np.repeat(np.arange(len(events.offsets) - 1), np.diff(events.offsets))
    return [[np.sort(events.times[(sample == s) & (events.indices == neuron)]) for neuron in range(n)]
            for s in range(len(events.offsets) - 1)]


STEP = 2e-8
"""Of the stand-ins' grid, seconds on the chip."""


def assert_alike(mine: Events, its: Events, n: int, steps: float = 2.5) -> int:
    """As many spikes of each neuron in each sample, the first of them at the same time; how many there are. Forward
    Euler is off by a step or two: by less, the finer its grid."""
    for one, other in zip(trains(mine, n), trains(its, n), strict=True):
        assert [len(each) for each in one] == [len(each) for each in other]
        first = [each[0] for each in one if len(each)], [each[0] for each in other if len(each)]
        np.testing.assert_allclose(*first, rtol=0, atol=steps * STEP * SPEED_UP)
    return len(mine.times)


def on_grid(script: str) -> list[str]:
    return ["--dt", str(STEP)] if script == HXTORCH else []


# What the emulated chip does.


@pytest.mark.parametrize("options", [{}, {"rows": {"x_h": 3}}, {"rows": 2}], ids=["one-row", "rows-of-inputs", "rows"])
@pytest.mark.parametrize("script", [HXTORCH, PYNN])
def test_a_script_does_what_the_emulated_chip_does(run: Run, script: str, options: dict[str, Any]) -> None:
    program, events = compiled(network(v_threshold=0.5), **options), spikes(3, 4, seed=1)
    times = np.array([10e-3, 25e-3, 40e-3])
    wanted = program.run({"x": events}, 60e-3, {"o.v": times})
    results, _ = run(program, script, {"i0": events}, 60e-3, *on_grid(script))
    assert assert_alike(found(results, "p0"), wanted.spikes["h"], 5) > 40
    if script == HXTORCH:
        shown = results["p1.membrane"][:, np.rint(times / (STEP * SPEED_UP)).astype(int)]
        step = 1 / (program.chip["readout.threshold"] - program.chip["readout.leak"])  # of the chip's converter
        np.testing.assert_allclose(shown, wanted.probes["o.v"], rtol=0, atol=2 * step)


def fork(**neuron: Any) -> spikec.Graph:
    """Two inputs, a population that both reach, and one that takes its spikes and an input's."""
    net, draw = spikec.Builder(), np.random.default_rng(5)
    a, b = net.input("a", 3), net.input("b", 2)
    h = net.cubalif("h", 4, tau_mem=10e-3, tau_syn=5e-3, v_threshold=0.5, **neuron)
    k = net.cubalif("k", 3, tau_mem=9e-3, tau_syn=6e-3, v_threshold=0.4, **neuron)
    for source, target, n, pre in ((a, h, 4, 3), (b, h, 4, 2), (h, k, 3, 4), (a, k, 3, 3)):
        source.connect(target, weight=draw.uniform(-0.2, 1.1, (n, pre)))
    net.output("out", k)
    return net.build()


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("script", [HXTORCH, PYNN])
def test_several_projections_meet(run: Run, script: str, rows: int) -> None:
    """Of two parts or more, hxtorch takes neurons without EventProp, which keep their refractory period."""
    program = compiled(fork(refractory=2e-3), rows=rows)
    events = {"a": spikes(2, 3, seed=4), "b": spikes(2, 2, seed=5)}
    wanted = program.run(events, 60e-3).spikes
    results, calls = run(program, script, {"i0": events["a"], "i1": events["b"]}, 60e-3, *on_grid(script))
    assert assert_alike(found(results, "p0"), wanted["h"], 4) > 10
    assert assert_alike(found(results, "p1"), wanted["k"], 3, steps=4) > 10
    if script == HXTORCH:
        assert [name for name, _ in calls if "LIF" in name] == ["LIF", "LIF"]


@pytest.mark.parametrize("script", [HXTORCH, PYNN])
def test_parameters_of_single_neurons(run: Run, script: str) -> None:
    """Time constants and resets that differ within a layer."""
    program = compiled(network(v_threshold=0.5, tau_mem=np.linspace(8e-3, 14e-3, 5), tau_syn=np.linspace(5e-3, 7e-3, 5),
                               reset="v_reset", v_reset=np.array([-0.1, -0.05, 0.0, 0.05, 0.1])), rows=1)
    events = spikes(2, 4, seed=3)
    results, calls = run(program, script, {"i0": events}, 60e-3, *on_grid(script))
    key, unit = ("tau_mem", 1.0) if script == HXTORCH else ("tau_m", 1e6)
    told = next(given for _, given in calls if key in given)
    np.testing.assert_allclose(told[key], unit * np.linspace(8e-6, 14e-6, 5), rtol=1e-6)
    np.testing.assert_array_equal(told["reset" if script == HXTORCH else "v_reset"], [66, 73, 80, 87, 94])
    assert assert_alike(found(results, "p0"), program.run({"x": events}, 60e-3).spikes["h"], 5, steps=4) > 20


# What the chip's software is told.


@pytest.mark.parametrize("rows", [1, 3])
def test_hxtorch_gets_the_weights_in_steps(run: Run, rows: int) -> None:
    """What comes out of the weight transform, over all rows, is what the program holds; and EventProp is used where one
    projection leads to a population."""
    program = compiled(network(), rows=rows)
    _, calls = run(program, HXTORCH, {"i0": spikes(1, 4)}, 60e-3, "--mock")
    told = [given["codes"] for name, given in calls if name == "weights"]
    np.testing.assert_array_equal(sum(np.split(told[0], rows, axis=1)), program.codes["x_h"])
    np.testing.assert_array_equal(sum(told[1:]), program.codes["h_o"])
    names = [name for name, _ in calls]
    assert names == ["Experiment", "EventPropSynapse", "EventPropLIF", *["Synapse"] * rows, "LI", "run",
                     *["weights"] * (1 + rows)]
    lif = dict(calls)["EventPropLIF"]
    assert (lif["leak"], lif["threshold"], lif["tau_mem"]) == (80, 150, pytest.approx(12e-6))


def test_hxtorch_holds_the_hardware_while_it_runs(run: Run) -> None:
    program = compiled(network())
    _, calls = run(program, HXTORCH, {"i0": spikes(1, 4)}, 60e-3, "--calibration", "here.pkl")
    names = [name for name, _ in calls]
    assert names[:3] == ["init_hardware", "Experiment", "load_calib"] and names[-1] == "release_hardware"


@pytest.mark.parametrize("rows", [1, 3])
def test_pynn_gets_the_weights_in_steps(run: Run, rows: int) -> None:
    program = compiled(network(), rows=rows)
    _, calls = run(program, PYNN, {"i0": spikes(2, 4)}, 60e-3)
    told = [given for name, given in calls if name == "run"]
    assert len(told) == 2 and told[0]["runtime"] == pytest.approx(60e-3)  # milliseconds, of a chip that is fast
    for number, (source, target) in enumerate(((0, 1), (1, 2))):
        parts = [weight for pre, post, _, weight in told[0]["projections"] if (pre, post) == (source, target)]
        np.testing.assert_array_equal(sum(parts).T, program.held.projections[number].codes)
    kinds = {receptor: int(np.sign(weight).sum()) for _, _, receptor, weight in told[0]["projections"]}
    assert kinds["excitatory"] > 0 > kinds["inhibitory"]
    neurons = next(given for name, given in calls if name == "Population" and given["kind"] == "CalibHXNeuronCuba")
    assert {name: float(neurons[name]) for name in ("v_rest", "v_thresh", "tau_m", "tau_syn_E", "tau_refrac")} == {
        "v_rest": 80, "v_thresh": 150, "tau_m": pytest.approx(12), "tau_syn_E": pytest.approx(6), "tau_refrac": 0.04}


@pytest.mark.parametrize("script", [HXTORCH, PYNN])
def test_weights_can_be_given(run: Run, tmp_path: Path, script: str) -> None:
    """As in a training in the loop: the codes of this run, in the place of those of the program."""
    program = compiled(network())
    codes = {f"w{number}": -each.codes for number, each in enumerate(program.held.projections)}
    np.savez(tmp_path / "codes.npz", **codes)
    _, calls = run(program, script, {"i0": spikes(1, 4)}, 60e-3, "--weights", str(tmp_path / "codes.npz"))
    told = next(given["codes"] for name, given in calls if name == "weights") if script == HXTORCH else sum(
        weight for pre, post, _, weight in dict(calls)["run"]["projections"] if (pre, post) == (0, 1)).T
    np.testing.assert_array_equal(told, codes["w0"])


def test_merged_circuits(run: Run) -> None:
    """130 inputs take two circuits a neuron: hxtorch merges them, calibrated neurons of PyNN have one."""
    program = compiled(network(inputs=130, hidden=3))
    assert PYNN not in program.files() and "2 circuits a neuron of p0" in text_of(program, README)
    _, calls = run(program, HXTORCH, {"i0": spikes(1, 130, each=1)}, 60e-3, "--mock")
    assert dict(calls)["EventPropLIF"]["circuits"] == 2 and dict(calls)["LI"]["circuits"] == 1


# Delays and loops.


@pytest.mark.parametrize("tau_syn", [6e-3, 3e-3])
def test_a_neuron_stands_for_a_delay(run: Run, tau_syn: float) -> None:
    """One spike in each channel: the spikes behind it come as late as those of the emulated chip."""
    delays = tau_syn * np.linspace(2.0, 3.5, 4)
    program = compiled(network(delay=delays, tau_syn=tau_syn, tau_mem=2 * tau_syn, v_threshold=0.25), rows={"x_h": 4})
    events = Events(np.array([1e-3, 1.5e-3, 2e-3, 2.5e-3]), np.arange(4), np.array([0, 4]))
    results, calls = run(program, PYNN, {"i0": events}, 60e-3)
    assert assert_alike(found(results, "p0"), program.run({"x": events}, 60e-3).spikes["h"], 5, steps=6) >= 3
    relays = [given for name, given in calls if name == "Population"][3]
    assert relays["size"] == 4 and (relays["v_thresh"] > 80).all()
    assert "delays of w0" in text_of(program, README) and HXTORCH not in program.files()


@given(delay=st.floats(0.3e-6, 20e-6), weight=st.floats(0.8, 2.0))
def test_a_relay_fires_once_and_in_time(delay: float, weight: float) -> None:
    relay = relay_of(delay, weight, 70.0, 0.5e-6, 30e-6)
    assert relay is not None and 0.5e-6 <= relay.tau <= 30e-6 and relay.height >= 1
    times = np.linspace(0, 20 * relay.tau, 20_001)
    psp = times / relay.tau * np.exp(-times / relay.tau)
    assert times[np.argmax(70 * weight * psp >= relay.height)] == pytest.approx(delay, abs=2e-3 * relay.tau)
    left = np.exp(-delay / relay.tau)  # of the current, which goes on after the reset
    assert (70 * weight * left * psp).max() < relay.height


@pytest.mark.parametrize("delay", [0.05e-6, 40e-6])
def test_no_relay_for_a_delay_out_of_reach(delay: float) -> None:
    assert relay_of(delay, 1.1455, 70.0, 0.5e-6, 30e-6) is None


def test_a_loop_runs_in_pynn_alone(run: Run) -> None:
    net = spikec.Builder()
    x, h = net.input("x", 3), net.cubalif("h", 3, tau_mem=12e-3, tau_syn=6e-3, v_threshold=0.4)
    x.connect(h, weight=np.full((3, 3), 0.7))
    h.connect(h, weight=-0.6 * (1 - np.eye(3)))
    net.output("out", h)
    program, events = compiled(net.build()), spikes(1, 3, seed=2)
    assert HXTORCH not in program.files() and NIR not in program.files()
    assert "recurrent connections" in text_of(program, README)
    results, _ = run(program, PYNN, {"i0": events}, 60e-3)
    assert found(results, "p0").times.size > 2


# model.nir.


def chain(**neuron: Any) -> spikec.Graph:
    net, draw = spikec.Builder(), np.random.default_rng(7)
    x = net.input("x", 10)
    h = net.cubalif("h", 8, **{"tau_mem": 12e-3, "tau_syn": 6e-3} | neuron)
    k = net.cubalif("k", 3, tau_mem=8e-3, tau_syn=4e-3)
    x.connect(h, weight=draw.uniform(-0.2, 1.1, (8, 10)))
    h.connect(k, weight=draw.uniform(-0.2, 1.1, (3, 8)))
    net.output("out", k)
    return net.build()


def test_the_nir_file_is_read_by_the_nir_package(tmp_path: Path) -> None:
    program = compiled(chain())
    (tmp_path / NIR).write_bytes(program.files()[NIR])
    graph = nir.read(tmp_path / NIR)
    assert list(graph.edges) == [("i0", "w0"), ("w0", "p0"), ("p0", "w1"), ("w1", "p1"), ("p1", "output")]
    assert graph.metadata["time_unit"] in ("ms", b"ms")
    scale = float(graph.metadata["weight_scale"])
    for key, name in (("w0", "x_h"), ("w1", "h_k")):
        assert isinstance(graph.nodes[key], nir.Linear)
        np.testing.assert_allclose(scale * graph.nodes[key].weight, program.codes[name], atol=1e-9)
    lif = graph.nodes["p1"]
    assert isinstance(lif, nir.CubaLIF)
    # as the reader takes them: times a thousandth, seconds on the chip
    np.testing.assert_allclose(lif.tau_mem * 1e-3, 8e-6)
    np.testing.assert_allclose(lif.tau_syn * 1e-3, 4e-6)
    np.testing.assert_allclose(lif.w_in, lif.tau_syn)  # a spike adds its weight to the current
    for values, wanted in ((lif.v_leak, 0), (lif.v_reset, 0), (lif.v_threshold, 1), (lif.r, 1)):
        np.testing.assert_array_equal(values, [wanted] * 3)


def test_the_nir_file_is_the_network_in_milliseconds(tmp_path: Path) -> None:
    """Read by spikec's own reader and simulated in milliseconds, it fires as the program does in seconds on a chip."""
    program, events = compiled(chain()), spikes(2, 10, seed=6)
    (tmp_path / NIR).write_bytes(program.files()[NIR])
    graph = spikec.from_nir(tmp_path / NIR)
    milliseconds = Events(events.times / SPEED_UP * 1e3, events.indices, events.offsets)  # "seconds", by the file
    fired = spikec.compile(graph, target="event").run({"i0": milliseconds}, 60e-3 / SPEED_UP * 1e3)
    mine = fired.spikes["output"]
    wanted = program.run({"x": events}, 60e-3).spikes["out"]
    # in two layers; the chip waits 40 ns after each spike, and takes and gives times in steps of 8 ns
    assert assert_alike(Events(mine.times * 1e-3 * SPEED_UP, mine.indices, mine.offsets), wanted, 3, steps=10) > 3


@pytest.mark.parametrize(("graph", "options", "reason"), [
    (fork, {}, "2 inputs"),
    (network, {"rows": 2}, "w0 over 2 rows"),
    (lambda: network(delay=np.full(4, 15e-3)), {}, "delays of w0"),
    (lambda: chain(tau_mem=np.linspace(10e-3, 12e-3, 8)), {}, "tau_mem differs within p0"),
    (lambda: chain(reset="v_reset", v_reset=0.1), {}, "p0 is reset elsewhere than to rest"),
    (lambda: chain(refractory=1e-3), {}, "a refractory period of p0"),
], ids=["inputs", "rows", "delays", "tau", "reset", "refractory"])
def test_what_the_reader_cannot_be_told_leaves_the_file_out(
        graph: Callable[[], spikec.Graph], options: dict[str, Any], reason: str) -> None:
    program = compiled(graph(), **options)
    assert NIR not in program.files() and reason in text_of(program, README)
    assert any(reason in each for each in json.loads(program.files()[PARAMETERS])["left_out"][NIR])


# The folder.


def text_of(program: AnalogProgram, name: str) -> str:
    return program.files()[name].decode()


def test_the_scripts_are_what_a_reader_expects(golden: Callable[[str, str], None]) -> None:
    program = compiled(network(), rows={"x_h": 2})
    golden("bss2_hxtorch.txt", text_of(program, HXTORCH))
    golden("bss2_pynn.txt", text_of(program, PYNN))
    golden("bss2_readme.txt", text_of(program, README))


def test_no_file_claims_a_chip() -> None:
    files = compiled(network()).files()
    for name in (HXTORCH, PYNN, PARAMETERS):
        assert "generated, not run on silicon" in files[name].decode()
    readme = files[README].decode()
    assert "Generated, not run on silicon" in readme
    assert all(word in readme for word in ("Baseline", "Trace scale", "Weight scale"))


def test_files_are_the_same_bytes_elsewhere(tmp_path: Path) -> None:
    """In another process, with another order of sets; and a changed script is not loaded."""
    program = compiled(network())
    program.save(tmp_path / "folder")
    code = ("import sys, warnings; warnings.simplefilter('ignore'); import spikec; from hashlib import sha256\n"
            "print({name: sha256(content).hexdigest() for name, content in spikec.load(sys.argv[1]).files().items()})")
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path / "folder")], capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONHASHSEED": "7"}, timeout=120)
    assert told.stdout.strip() == str({name: sha256(content).hexdigest() for name, content in program.files().items()})
    manifest = json.loads((tmp_path / "folder" / "manifest.json").read_text())
    changed = (tmp_path / "folder" / HXTORCH).read_bytes() + b"# more\n"
    (tmp_path / "folder" / HXTORCH).write_bytes(changed)
    manifest["files"][HXTORCH] = {"sha256": sha256(changed).hexdigest(), "size": len(changed)}
    (tmp_path / "folder" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInputError, match="SC520"):
        spikec.load(tmp_path / "folder")


def test_another_chip_has_no_files_for_this_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        program = spikec.compile(network(), target="generic_analog")
    assert isinstance(program, AnalogProgram) and not {HXTORCH, PYNN, NIR, WEIGHTS} & program.files().keys()


def test_a_description_beyond_the_software_leaves_the_scripts_out(tmp_path: Path) -> None:
    """Of a user's chip, whose weights have 8 bits and whose synapses are slower than the calibration goes."""
    text = Path(emit.__file__).with_name("chip.toml").read_text()
    text = text.replace("[weights.levels]\nvalue = 63", "[weights.levels]\nvalue = 255")
    (tmp_path / "chip.toml").write_text(text.replace("high = 3e-05", "high = 3e-04"))
    program = compiled(network(tau_syn=50e-3), chip=tmp_path / "chip.toml")
    readme = text_of(program, README)
    assert not {HXTORCH, PYNN, NIR} & program.files().keys()
    assert "weights of 255 steps" in readme and "tau_syn of p0 is 5e-05..5e-05 s" in readme


# Names and arguments.


def called(text: str) -> list[tuple[str, int, list[str]]]:
    """Of a script, every call of the chip's software: dotted name, how many arguments by place, names of the others."""
    tree = ast.parse(text)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.asname or each.name: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}

    def dotted(node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return names.get(node.id, "")
        if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
            return f"{base}.{node.attr}"
        return ""

    calls = [(dotted(node.func), len(node.args), [each.arg or "**" for each in node.keywords])
             for node in ast.walk(tree) if isinstance(node, ast.Call)]
    # and what is handed over by name, to be called elsewhere
    calls += [(dotted(each), 0, []) for node in ast.walk(tree) if isinstance(node, ast.Call) for each in node.args]
    return [each for each in calls if each[0].startswith(("hxtorch", "pynn_brainscales"))]


@pytest.mark.parametrize("script", [HXTORCH, PYNN])
def test_names_and_arguments_are_those_that_were_read(script: str) -> None:
    known = importlib.import_module("signatures").SIGNATURES
    for program in (compiled(network(), rows=2), compiled(fork())):
        calls = called(text_of(program, script))
        assert len(calls) > 5
        for name, placed, named in calls:
            assert name in known, name
            arguments, source = known[name]
            assert placed <= len(arguments) and set(named) <= set(arguments), f"{name}: {named}, {source}"


def test_the_stand_ins_take_no_more_than_was_read() -> None:
    for name, (arguments, _) in importlib.import_module("signatures").SIGNATURES.items():
        parts = name.split(".")
        depth = 2 if parts[0] == "pynn_brainscales" else len(parts) - 1
        holder: Any = importlib.import_module(".".join(parts[:depth]))
        for each in parts[depth:]:
            holder = getattr(holder, each)
        taken = list(inspect.signature(holder).parameters)
        assert taken == [each for each in arguments if each in taken], name


@pytest.mark.parametrize(("change", "said"), [
    (lambda arrays: arrays.pop("i0.times"), "lacks i0.times"),
    (lambda arrays: arrays.update({"i0.indices": arrays["i0.indices"] + 4}), "indices 0..3"),
    (lambda arrays: arrays.update({"i0.times": arrays["i0.times"] * 1e6}), "after the end"),
    (lambda arrays: arrays.update({"i0.offsets": arrays["i0.offsets"] + 1}), "are wanted"),
    (lambda arrays: arrays.update({"i0.times": -arrays["i0.times"]}), "seconds from 0 on"),
], ids=["missing", "channel", "late", "offsets", "negative"])
@pytest.mark.parametrize("script", [HXTORCH, PYNN])
def test_a_script_says_what_is_wrong_with_its_input(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, change: Callable[[dict[str, Any]], Any],
        said: str) -> None:
    for name, content in compiled(network()).files().items():
        (tmp_path / name).write_bytes(content)
    arrays: dict[str, Any] = {"i0.times": np.array([1e-6, 2e-6]), "i0.indices": np.array([0, 3]),
                              "i0.offsets": np.array([0, 2])}
    change(arrays)
    np.savez(tmp_path / "in.npz", **arrays)
    monkeypatch.setattr(sys, "argv", [script, "--input", str(tmp_path / "in.npz"), "--output",
                                      str(tmp_path / "out.npz"), "--duration", "6e-5"])
    with pytest.raises(SystemExit, match=said):
        runpy.run_path(str(tmp_path / script), run_name="__main__")
    assert not (tmp_path / "out.npz").exists()


# Random networks.

HOSTILE = ("'''", '"""', "{% raw %}", "{{ x }}", "\\", "__import__('os')", "# nothing", "神経", "`x`", "p0\\n")


@st.composite
def networks(draw: st.DrawFn) -> tuple[spikec.Graph, int]:
    """A graph of one to three layers with names that no script may show, and its inputs."""
    names = draw(st.lists(st.sampled_from(HOSTILE), min_size=5, max_size=5, unique=True))
    net, rng = spikec.Builder(), np.random.default_rng(draw(st.integers(0, 1 << 30)))
    inputs = draw(st.integers(1, 4))
    source, n = net.input(names[0], inputs), inputs
    delayed = draw(st.booleans())
    for name in names[1:1 + draw(st.integers(1, 3))]:
        size, tau_syn = draw(st.integers(1, 4)), draw(st.sampled_from([0.4e-3, 2e-3, 6e-3]))
        spread = 1 + 0.2 * rng.random(size) if draw(st.booleans()) else 1.0
        here = net.cubalif(name, size, tau_mem=2 * tau_syn * spread, tau_syn=tau_syn, v_threshold=0.5)
        source.connect(here, weight=rng.uniform(-0.7, 1.5, (size, n)),
                       delay=tau_syn * rng.uniform(2, 3.5, n) if delayed else None)
        if draw(st.booleans()) and not delayed:
            here.connect(here, weight=rng.uniform(-0.3, 0.3, (size, size)))
        source, n, delayed = here, size, False
    net.output(names[4], source)
    return net.build(), inputs


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=networks(), rows=st.integers(1, 3))
def test_scripts_of_any_network_run(case: tuple[spikec.Graph, int], rows: int, run: Run, tmp_path: Path) -> None:
    graph, inputs = case
    program = compiled(graph, rows=rows)
    files = program.files()
    anonymous = compiled(renamed(graph), rows=rows).files()
    for name in (HXTORCH, PYNN, README):
        assert files.get(name) == anonymous.get(name), "the text depends on the names"
    for name in (HXTORCH, PYNN):
        if name in files:
            (tmp_path / name).write_bytes(files[name])
            py_compile.compile(str(tmp_path / name), doraise=True)
            results, _ = run(program, name, {"i0": spikes(1, inputs, end=5e-3)}, 12e-3, *(
                ["--dt", "1e-8"] if name == HXTORCH else []))
            assert {"p0.times", "p0.indices", "p0.offsets"} <= results.keys()
    assert PYNN in files
    assert json.loads(files[PARAMETERS])["inputs"]["i0"]["name"] in HOSTILE


def renamed(graph: spikec.Graph) -> spikec.Graph:
    """The same network under harmless names."""
    names = {name: f"node{number}" for number, name in enumerate(graph.nodes)}
    return spikec.Graph(nodes={names[name]: node for name, node in graph.nodes.items()},
                        edges=tuple((names[source], names[target]) for source, target in graph.edges))
