"""The emulated chip: against the exact meaning of what it is, its noise and its pattern, its links and its converter,
and what it refuses."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analog_nets import OWN, cuba, net, the_chip, with_figures
from cli_commands import say, say_json
from engine_nets import same_spikes
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import any_graphs, cases

import spikec
from spikec.ir import nodes as ir
from spikec.ir.diagnostics import BadInputError, DoesNotFitError, SpikecError, SpikecWarning, UnsupportedError
from spikec.ir.event_files import write_events
from spikec.ir.events import Events
from spikec.ir.exact import simulate_exact
from spikec.ir.graph import Discretization, Graph
from spikec.ir.text import write
from spikec.runtime.analog.device import Device
from spikec.runtime.analog.emulator import _queued, on_stamps
from spikec.runtime.engine import Engine
from spikec.targets.analog.description import own_chip
from spikec.targets.analog.program import AnalogProgram
from spikec.targets.analog.report import LABEL

DURATION = 0.04
QUIET: dict[str, Any] = {"mismatch": "none", "noise": False}


@pytest.fixture(autouse=True)
def _quiet(one_thread: None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)  # of weights that are cut off
        yield


def compiled(graph: Graph, target: str = "brainscales2", **options: Any) -> AnalogProgram:
    program = spikec.compile(graph, target, **options)
    assert isinstance(program, AnalogProgram)
    return program


def stimulus(graph: Graph, seed: int = 0, batch: int = 2, per_sample: int = 40) -> dict[str, Events]:
    rng, (name,) = np.random.default_rng(seed), graph.inputs
    n = int(np.prod(graph.nodes[name].shape))
    return {name: Events.from_samples([(rng.uniform(0, 0.8 * DURATION, per_sample), rng.integers(0, n, per_sample))
                                       for _ in range(batch)])}


def is_its_graph(program: AnalogProgram, events: dict[str, Events], duration: float = DURATION) -> int:
    """Holds a run on the chip, without noise, against the oracle on the graph that the chip is; how many spikes."""
    emulator = program.emulator()
    activity, sent = emulator.run(program.codes, events, duration)
    wanted = simulate_exact(the_chip(program), sent, duration).spikes
    stamp, count = program.chip["time.stamp"] * program.speed_up, 0
    for name, each in program.network.populations.items():
        if not each.spiking:
            continue
        found = activity.spikes[name]
        exact = Events(found.times.numpy(), found.indices.numpy(), found.offsets.numpy())
        same_spikes(exact, wanted[name], name)
        shown = emulator.stamped(found, duration)
        late = shown.times - exact.times
        assert np.array_equal(shown.offsets, exact.offsets) and np.array_equal(shown.indices, exact.indices)
        assert (late >= -1e-9).all() and (late <= stamp + 1e-9).all()
        count += len(exact.times)
    return count


NETS = {"kind": st.sampled_from(["CubaLIF", "LIF"]), "recurrent": st.booleans(), "delay": st.booleans(),
        "bias": st.booleans(), "refractory": st.sampled_from([0.0, 1e-3, 7e-3]), "readout": st.booleans()}


@given(target=st.sampled_from(OWN), seed=st.integers(0, 2**32 - 1), options=st.fixed_dictionaries(NETS))
@settings(max_examples=25)
def test_without_deviations_it_is_the_network_in_steps(target: str, seed: int, options: dict[str, Any]) -> None:
    graph = net(seed, **options)
    program = compiled(graph, target, **QUIET)
    assert is_its_graph(program, stimulus(graph, seed)) or options["kind"] == "LIF"
    # and what it is, is the program's own network: only its weights are in steps
    for name, each in program.emulator().network.populations.items():
        for part in ("tau_mem", "tau_syn", "v_leak", "v_threshold", "r", "w_in"):
            value, model = getattr(each, part), getattr(program.network.populations[name], part)
            assert value is None or np.array_equal(np.asarray(value), np.asarray(model)), part
    for each, model in zip(program.held.projections, program.network.projections, strict=True):
        most = program.chip.levels * each.rows
        weight = np.asarray(model.connection.weight)
        kept = np.clip(weight / each.step[:, None], -most, most)
        assert np.abs(each.codes - kept).max() <= 0.5 + 1e-9 and np.abs(each.codes).max() <= most


@given(target=st.sampled_from(OWN), seed=st.integers(0, 2**32 - 1), options=st.fixed_dictionaries(NETS),
       mismatch=st.sampled_from(["published", "uncalibrated"]), rows=st.integers(1, 3))
@settings(max_examples=20)
def test_with_deviations_it_is_another_network_exactly(target: str, seed: int, options: dict[str, Any], mismatch: str,
                                                       rows: int) -> None:
    graph = net(seed, **options)
    program = compiled(graph, target, mismatch=mismatch, noise=False, seed=seed, rows=rows)
    is_its_graph(program, stimulus(graph, seed))


@given(case=cases(batch=1, duration=0.03, neurons=("CubaLIF", "LIF"), resets=("v_reset", "zero"), delays=False))
@settings(max_examples=20)
def test_graphs_of_every_make(case: Any) -> None:
    program = None
    with suppress(UnsupportedError, DoesNotFitError):
        program = compiled(case.graph, "generic_analog", **QUIET)
    assume(program is not None)
    is_its_graph(program, case.events, case.duration)


@pytest.mark.parametrize("target", OWN)
def test_nets_really_fire(target: str) -> None:
    counts = []
    for seed in range(6):
        graph = net(seed, recurrent=True, delay=True, bias=True, refractory=1e-3, readout=False)
        counts.append(is_its_graph(compiled(graph, target, **QUIET), stimulus(graph, seed)))
    assert min(counts) > 10


def test_a_box_is_the_charge_of_its_area() -> None:
    graph = net(3)
    boxes = dict(graph.nodes)
    for name in ("fc", "fc2"):
        boxes[name] = ir.Linear(weight=np.asarray(boxes[name].weight) * 500)
    box = Graph(boxes, graph.edges, Discretization(dt=2e-3, spike="box"))
    held = [compiled(each, **QUIET).held.projections for each in (graph, box)]
    for one, two in zip(*held, strict=True):
        assert np.array_equal(one.codes, two.codes) and np.abs(one.codes).max() > 10


def test_a_run_is_the_emulators() -> None:
    graph = net(1, readout=False)
    program, events = compiled(graph, **QUIET), stimulus(graph)
    found = program.run(events, duration=DURATION)
    times = program.emulator().measure(program.codes, {"in": Events(
        events["in"].times / 1000, events["in"].indices, events["in"].offsets)}, DURATION / 1000)
    for name in ("hidden", "last"):
        assert len(found.spikes[name].times) > 5
        assert np.allclose(found.spikes[name].times, times[name].times * 1000, atol=1e-12)
        assert (np.abs(found.spikes[name].times / 8e-6 - np.rint(found.spikes[name].times / 8e-6)) < 1e-6).all()
    assert np.array_equal(found.spikes["out"].times, found.spikes["last"].times)


@pytest.mark.parametrize("target", OWN)
def test_seeds(target: str) -> None:
    graph = net(2, recurrent=True, delay=True, readout=False)
    events = stimulus(graph)

    def run(chip: int, noise: int, runs: int = 1) -> Any:
        emulator = compiled(graph, target, seed=chip).emulator(noise)
        for _ in range(runs):
            activity, _ = emulator.run(compiled(graph, target).codes, events, DURATION)
        return activity.spikes["hidden"].times.numpy()

    first = run(3, 4)
    assert np.array_equal(first, run(3, 4))
    for other in (run(5, 4), run(3, 6), run(3, 4, runs=2)):
        assert len(first) and not np.array_equal(first, other)
    assert np.array_equal(run(3, 4, runs=2), run(3, 4, runs=2))
    # a second run with the same emulator is not the first, and one without noise always is
    emulator = compiled(graph, target, noise=False).emulator()
    one, two = (emulator.run(compiled(graph, target).codes, events, DURATION)[0] for _ in range(2))
    assert np.array_equal(one.spikes["hidden"].times.numpy(), two.spikes["hidden"].times.numpy())


def test_noise_is_not_the_pattern() -> None:
    """With both seeds alike, a run's thresholds owe nothing to the chip's."""
    chip = own_chip("brainscales2")
    graph = net(0, n=400, n_in=4)
    program = compiled(graph, seed=0)
    emulator = program.emulator(0)
    moved: list[Any] = []
    still, _ = emulator.engine.constants(torch.float64).cell("hidden")

    def noted(draw: Any, dtype: Any) -> Any:
        cells = type(emulator)._cells(emulator, draw, dtype)
        moved.append((cells["hidden"][0].theta - still.theta).numpy() / program.held.populations["hidden"].span)
        return cells

    emulator._cells = noted  # type: ignore[method-assign]
    for _ in range(3):
        emulator.run(program.codes, {"in": Events.from_samples([((), ())])}, 1e-3)
    pattern = program.device.of("threshold", program.held.populations["hidden"])
    for each in moved:
        assert each.std() == pytest.approx(chip["noise.threshold"], rel=0.15)
        assert abs(np.corrcoef(each, pattern)[0, 1]) < 0.2
    assert abs(np.corrcoef(moved[0], moved[1])[0, 1]) < 0.2


def test_two_programs_on_the_same_circuits_meet_the_same_deviations() -> None:
    one, two = compiled(net(0, n=5), mismatch="uncalibrated", seed=7), compiled(
        net(9, n=4, n_in=3, recurrent=True), mismatch="uncalibrated", seed=7)
    for name in ("threshold", "leak", "reset", "tau_mem", "tau_syn", "gain"):
        first, second = (each.device.of(name, each.held.populations["hidden"]) for each in (one, two))
        assert np.array_equal(first[:4], second), name
    first, second = (each.device.synapses(each.held, 0) for each in (one, two))
    assert np.array_equal(first[:4, :3], second[:, :3])
    other = compiled(net(0, n=5), mismatch="uncalibrated", seed=8)
    assert not np.array_equal(one.device.patterns["threshold"], other.device.patterns["threshold"])


@pytest.mark.parametrize("target", OWN)
def test_deviations_have_the_moments_that_are_published(target: str) -> None:
    chip = own_chip(target)
    for mismatch, part in (("published", "std"), ("uncalibrated", "before")):
        devices = [Device(chip, seed, mismatch) for seed in range(12)]  # type: ignore[arg-type]
        for name in ("threshold", "leak", "reset", "tau_mem", "tau_syn", "gain"):
            spread = chip.spreads[name]
            std = getattr(spread, part).value
            mean = spread.mean.value if mismatch == "published" else 0.0
            values = np.concatenate([each.patterns[name] for each in devices])
            if name not in ("threshold", "leak", "reset"):
                assert (values > 0).all()
                values = np.log(values) - np.log1p(mean) + mean
            assert values.mean() == pytest.approx(mean, abs=4 * std / np.sqrt(len(values)) + 1e-12), name
            assert values.std() == pytest.approx(std, rel=0.04, abs=1e-12), name
    none = Device(chip, 3, "none")
    assert all((each == (0 if name in ("threshold", "leak", "reset") else 1)).all()
               for name, each in none.patterns.items())
    assert (none.offsets == 0).all() and none.synapses(compiled(net(), target).held, 0) is None


def test_synapses_deviate_each_by_itself() -> None:
    held = compiled(net(0, n=40, n_in=60), "generic_analog", cv=0.2).held
    logs = np.log(np.stack([Device(own_chip("generic_analog"), seed, "uncalibrated").synapses(held, 0)
                            for seed in range(4)]))
    assert logs.std() == pytest.approx(0.2, rel=0.03) and abs(logs.mean()) < 0.01
    assert abs(np.corrcoef(logs[:, :, 0].ravel(), logs[:, :, 1].ravel())[0, 1]) < 0.25
    four = compiled(net(0, n=40, n_in=60), "generic_analog", cv=0.2, rows=4)  # rows average
    spread = Device(four.chip, 0, "uncalibrated").synapses(four.held, 0)
    assert np.log(spread).std() == pytest.approx(0.1, rel=0.1)


@given(slots=st.lists(st.integers(0, 30), max_size=60), capacity=st.integers(1, 5))
def test_the_queue_is_a_queue(slots: list[int], capacity: int) -> None:
    slots.sort()
    wanted: list[int] = []
    for slot in slots:  # each at the first slot from its own, and the one before it, on that has room
        at = max([slot, *wanted[-1:]])
        while wanted.count(at) >= capacity:
            at += 1
        wanted.append(at)
    assert _queued(np.array(slots, np.int64), capacity).tolist() == wanted


def test_links_delay_and_lose_what_they_cannot_carry() -> None:
    program = compiled(net(0, n_in=4), **QUIET)
    emulator, stamp = program.emulator(), 8e-6
    crowd = Events.from_samples([(np.full(10, 1e-3), np.arange(10) % 4), ((0.5e-3,), (1,))])
    _, sent = emulator.run(program.codes, {"in": crowd}, DURATION)
    slots = np.rint(sent["in"].times / stamp).astype(int)
    assert slots.tolist() == [125, 125, 125, 126, 126, 126, 127, 127, 127, 128, 62]
    links = emulator.links
    assert (links.sent, links.late, links.lost) == (11, 7, 0) and links.longest == pytest.approx(3 * 8e-9)
    emulator.run(program.codes, {"in": crowd}, 1.012e-3)  # the end comes before they have gone in
    assert links.lost == 4


def inputs_apart(shares: tuple[int, ...]) -> Graph:
    """Inputs of so many channels, all onto one population."""
    nodes: dict[str, ir.Node] = {"hidden": cuba(4, np.random.default_rng(0)), "out": ir.Output(shape=(4,))}
    edges = [("hidden", "out")]
    for number, share in enumerate(shares):
        nodes |= {f"in{number}": ir.Input(shape=(share,)), f"fc{number}": ir.Linear(weight=np.full((4, share), 0.3))}
        edges += [(f"in{number}", f"fc{number}"), (f"fc{number}", "hidden")]
    return Graph(nodes, tuple(edges))


@pytest.mark.parametrize("shares", [(12,), (5, 7), (1,) * 12])
def test_all_inputs_share_the_link_of_the_chip(shares: tuple[int, ...]) -> None:
    program, first = compiled(inputs_apart(shares), **QUIET), np.cumsum([0, *shares])
    emulator, rng = program.emulator(), np.random.default_rng(0)
    times, channels = np.sort(rng.uniform(1e-3, 1.02e-3, 30)), rng.integers(0, 12, 30)
    here = [(low, (channels >= low) & (channels < high)) for low, high in pairwise(first.tolist())]
    events = {f"in{number}": Events.from_samples([(times[mine], channels[mine] - low)])
              for number, (low, mine) in enumerate(here)}
    _, sent = emulator.run(program.codes, events, DURATION)
    late = np.concatenate([each.times for each in sent.values()])
    went = np.rint(np.sort(late) / 8e-6).astype(int)
    assert np.bincount(went).max() == 3  # of time.inputs_a_stamp
    assert went.tolist() == _queued(np.floor(times / 8e-6 + 1e-9).astype(np.int64), 3).tolist()
    assert emulator.links.sent == 30 and emulator.links.late > 15


def test_a_run_tells_what_its_links_lost() -> None:
    program = compiled(net(0, n_in=4), **QUIET)
    crowd = Events.from_samples([(np.full(10, 1e-3), np.arange(10) % 4)])
    with pytest.warns(SpikecWarning, match=r"SC379.*4 of this run"):
        found = program.run({"in": crowd}, 1.012e-3)
    assert (found.links.sent, found.links.late, found.links.lost) == (10, 7, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = program.run({"in": crowd}, DURATION)
        assert found.links.late == 7 and found.links.lost == 0
        # what is after the end is no loss of the link's
        assert program.run({"in": Events.from_samples([((0.2,), (0,))])}, DURATION).links.lost == 0
    assert compiled(net(0), "generic_analog").run({"in": crowd}, DURATION).links is None  # without a clock


@pytest.mark.parametrize("target", OWN)
@pytest.mark.parametrize("duration", [0, 1e-9])
def test_a_run_of_next_to_no_time_reads_once(target: str, duration: float) -> None:
    found = compiled(net(0), target).run({"in": Events.from_samples([((), ())] * 3)}, duration)
    assert found.duration == duration and all(len(each.times) == 0 for each in found.spikes.values())
    voltage, when = found.voltage_max["out"]
    assert voltage.shape == (3, 3) and (when <= duration).all() and np.isfinite(voltage).all()


def test_neurons_that_fire_without_end_are_cut_off_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(net(0, readout=False), "generic_analog", **QUIET)
    events = stimulus(program.graph)
    assert not program.run(events, DURATION).truncated
    plain = Engine._stage

    def small(engine: Engine, component: tuple[str, ...]) -> Any:
        stage = plain(engine, component)
        stage.kernel.limit = 1
        return stage

    monkeypatch.setattr(Engine, "_stage", small)
    with pytest.warns(SpikecWarning, match=r"SC408 at 'hidden"):
        assert program.run(events, DURATION).truncated


def test_stamps_are_the_ends_of_their_steps() -> None:
    times = np.array([0.0, 1e-9, 8e-6, 8.0001e-6, 15e-6])
    assert np.allclose(on_stamps(times, 8e-6), [0, 8e-6, 8e-6, 16e-6, 16e-6])
    assert on_stamps(times, 0.0) is times


@pytest.mark.parametrize("noise", [False, True])
def test_the_converter_reads_whole_steps_within_its_range(noise: bool) -> None:
    graph = net(4, bias=True)
    program = compiled(graph, noise=noise, seed=2)
    grid = np.linspace(0, DURATION, 40)
    result = program.run(stimulus(graph), duration=DURATION, probes={"hidden.v": grid, "last.v": grid})
    seen = []
    for name, read in ((name, result.probes[f"{name}.v"]) for name in ("hidden", "last")):
        held, model = program.held.populations[name], program.network.populations[name]
        steps = 80 + (read - np.asarray(model.v_leak)) / held.span * 70
        assert np.abs(steps - np.rint(steps)).max() < 1e-6 and steps.min() >= 0 and steps.max() <= 255
        seen.append(np.rint(steps))
    assert np.unique(seen[0]).size > 20
    # at rest it reads 80 and the offset of its channel, on average
    if not noise:
        offset = program.device.offsets[program.held.populations["last"].place[:, 0]]
        leak = 70 * program.device.of("leak", program.held.populations["last"])
        assert np.abs(seen[1][:, 0] - (80 + offset + leak)).max() <= 0.5 + 1e-6
    highest, when = result.voltage_max["last"]
    assert highest.shape == when.shape == (2, 3)


def test_reads_of_two_populations_have_noise_of_their_own() -> None:
    graph = net(0, n=3, n_in=2)
    quiet = replace(own_chip("brainscales2"))
    program = compiled(graph, mismatch="none")
    reads = program.run({"in": Events.from_samples([((), ())])}, duration=DURATION,
                        probes={f"{name}.v": np.linspace(0, DURATION, 400) for name in ("hidden", "last")}).probes
    one, two = (reads[f"{name}.v"][0] / program.held.populations[name].span for name in ("hidden", "last"))
    one, two = one - one.mean(0), two - two.mean(0)
    assert one.std() * 70 == pytest.approx(np.hypot(quiet["readout.noise"], 12 ** -0.5), rel=0.1)
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(("target", "options"), [
    ("brainscales2", {}), ("brainscales2", {"mismatch": "calibrated", "seed": 3, "rows": {"fc": 2}}),
    ("generic_analog", {"bits": 4, "cv": 0.15}), ("generic_analog", {"seed": np.int64(5), "speed_up": np.float32(2.1)}),
    ("generic_analog", {"full_scale": np.float32(1.3), "rows": np.int32(2), "noise": False}),
])
def test_a_saved_program_is_the_same_program(tmp_path: Path, target: str, options: dict[str, Any]) -> None:
    graph = net(6, recurrent=True, delay=True, bias=True, readout=False)
    program = compiled(graph, target, **options)
    program.save(tmp_path / "out")
    again = spikec.load(tmp_path / "out")
    assert isinstance(again, AnalogProgram) and again.options == program.options
    assert again.files() == program.files() and str(again.report()) == str(program.report())
    one, two = (each.run(stimulus(graph), duration=DURATION).spikes for each in (program, again))
    assert all(np.array_equal(one[name].times, two[name].times) for name in one) and len(one["last"].times)


def test_tampered_folders_are_refused(tmp_path: Path) -> None:
    compiled(net(6), seed=2).save(tmp_path / "good")
    manifest = json.loads((tmp_path / "good" / "manifest.json").read_text())

    def tampered(file: str, content: bytes | None, sealed: bool = True) -> str:
        """`sealed`: with the manifest's hash made to agree."""
        place = tmp_path / "bad"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(tmp_path / "good", place)
        if content is None:
            (place / file).unlink()
        else:
            (place / file).write_bytes(content)
            if sealed:
                told = json.loads(json.dumps(manifest).replace(
                    hashlib.sha256((tmp_path / "good" / file).read_bytes()).hexdigest(),
                    hashlib.sha256(content).hexdigest()))
                (place / "manifest.json").write_text(json.dumps(told))
        with pytest.raises(BadInputError) as caught:
            spikec.load(place)
        return caught.value.diagnostics[0].code

    options = (tmp_path / "good" / "options.json").read_bytes()
    assert tampered("configuration.npz", None) == "SC520"
    assert tampered("configuration.npz", b"PK", sealed=False) == "SC520"
    assert tampered("configuration.npz", b"PK") == "SC520"
    for content in (b"", b"{}", b"[1]", b"null", b'{"options": 3, "chip": {}}', b"[" * 9000, b"\xff",
                    options.replace(b'"chip"', b'"ship"'), options.replace(b'"figures"', b'"fig"'),
                    options.replace(b" ", b"  "), options.replace(b'"seed": 2', b'"seed": 3.5'),
                    options.replace(b'"value": 512.0', b'"value": 1e30'),
                    options.replace(b'"value": 512.0', b'"value": NaN'),
                    options.replace(b'"value": 512.0', b'"value": "512"'),
                    options.replace(b'"basis": "code"', b'"basis": 3'),
                    options.replace(b'"time.stamp"', b'"wings"')):
        assert tampered("options.json", content) in ("SC520", "SC370", "SC533"), content[:60]


@pytest.mark.parametrize(("change", "said"), [
    ({"tau_mem": 80e-3}, "tau_mem"), ({"tau_mem": 0.2e-3}, "tau_mem"), ({"tau_syn": 40e-3}, "tau_syn"),
    ({"tau_syn": 0.1e-3}, "tau_syn"), ({"v_reset": -5.0}, "v_reset"), ({"v_leak": 2.0}, "threshold is to be above"),
    ({"r": -1.0}, "r w_in"), ({"refractory": 40e-3}, "refractory"),
])
def test_what_the_circuits_cannot_be_set_to(change: dict[str, float], said: str) -> None:
    graph = net(0)
    nodes = dict(graph.nodes)
    nodes["hidden"] = cuba(5, np.random.default_rng(0), **{name: np.full(5, value) for name, value in change.items()})
    with pytest.raises(UnsupportedError) as caught:
        compiled(Graph(nodes, graph.edges))
    (told,) = [each for each in caught.value.diagnostics if said in each.message]
    assert told.code == "SC372" and told.node == "hidden"
    nodes["last"] = ir.CubaLI(shape=(3,), tau_mem=1.0, tau_syn=5e-3, w_in=5e-3)
    with pytest.raises(UnsupportedError) as caught:  # both at once
        compiled(Graph(nodes, graph.edges))
    assert {"hidden", "last"} <= {each.node for each in caught.value.diagnostics}


@pytest.mark.parametrize("kind", ["CubaLIF", "LIF"])
def test_a_bias_that_alone_brings_the_membrane_to_its_threshold_is_what_is_told(kind: str) -> None:
    graph = net(0, kind=kind, bias=True)
    high = replace(graph.nodes["fc"], bias=np.array([0.0, 1e4, 0.0, 2e4, -1e4]))
    with pytest.raises(UnsupportedError) as caught:
        compiled(Graph({**graph.nodes, "fc": high}, graph.edges))
    (told,) = caught.value.diagnostics
    assert told.code == "SC372" and told.node == "hidden" and "bias" in told.message and "bias=False" in told.remedy
    assert "2 of 5" in str(told.value) and "neuron 3" in str(told.value)


def test_delays_beyond_those_of_its_relays() -> None:
    graph = net(0, delay=True)
    for delay in (1e-3, 40e-3):
        nodes = {**graph.nodes, "wait": ir.Delay(delay=np.full(4, delay))}
        with pytest.raises(UnsupportedError, match=r"SC372.*delay"):
            compiled(Graph(nodes, graph.edges))
    program = compiled(graph)
    assert program.held.projections[0].relays is not None
    assert program.held.used == 5 + 3 + 4


def test_nets_that_are_too_large_say_by_how_much() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        compiled(net(0, n=600))
    (told,) = caught.value.diagnostics
    assert told.code == "SC375" and "hidden 600" in str(told.value) and str(told.limit).startswith("512")
    with pytest.raises(DoesNotFitError) as caught:  # 784 inputs take 7 circuits: 73 neurons
        compiled(net(0, n=74, n_in=784))
    assert "hidden 518" in str(caught.value.diagnostics[0].value)
    assert compiled(net(0, n=72, n_in=784), rows=1).held.used == 72 * 7 + 3
    chosen = compiled(net(0, n=72, n_in=784))  # what is left goes to the rows of the second layer
    assert chosen.rows == {"fc": 1, "fc2": 2} and chosen.held.used == 72 * 7 + 3 * 2
    with pytest.raises(DoesNotFitError) as caught:
        compiled(net(0, n=2, n_in=4097), "generic_analog")
    (told,) = [each for each in caught.value.diagnostics if each.code == "SC374"]
    assert told.node == "hidden" and str(told.value) == "4097 signed inputs, 2 circuits"


@given(graph=any_graphs(), target=st.sampled_from(OWN))
@settings(max_examples=50)
def test_any_graph_compiles_or_is_refused_in_words(graph: Graph, target: str) -> None:
    program = None
    with suppress(SpikecError):
        program = compiled(graph, target)
    if program is None:
        return
    empty = {name: Events.from_samples([((), ())]) for name in graph.inputs}
    program.run(empty, duration=1e-3)
    assert LABEL in str(program.report())


def lif_layer(jump: float, tau: float = 10e-3, n_in: int = 20, n: int = 4) -> Graph:
    """Each impulse moves a membrane by `jump` of its threshold."""
    nodes = {"in": ir.Input(shape=(n_in,)), "fc": ir.Linear(weight=np.full((n, n_in), jump * tau)),
             "hidden": ir.LIF(shape=(n,), tau=np.full(n, tau), r=np.full(n, 1.0), v_leak=np.zeros(n),
                              v_threshold=np.ones(n)), "out": ir.Output(shape=(n,))}
    return Graph(nodes, tuple(pairwise(nodes)))


@pytest.mark.parametrize("target", OWN)
@pytest.mark.parametrize(("jump", "tau"), [(0.05, 10e-3), (0.3, 10e-3), (0.3, 20e-3)])
def test_impulses_get_the_rows_that_they_need(target: str, jump: float, tau: float, tmp_path: Path) -> None:
    graph = lif_layer(jump, tau)
    events = {"in": Events.from_samples([(np.linspace(0, 0.1, 300), np.arange(300) * 7 % 20)])}
    program = compiled(graph, target, **QUIET)
    wanted = len(spikec.compile(graph).run(events, 0.15).spikes["out"].times)
    found = len(program.run(events, 0.15).spikes["out"].times)
    assert wanted and 0.6 * wanted <= found <= 1.4 * wanted
    single = len(compiled(graph, target, rows=1, **QUIET).run(events, 0.15).spikes["out"].times)
    assert single < 0.5 * wanted if program.rows["fc"] > 1 else single == found
    # rows stay where they are when weights change, and in a folder
    small = {"fc": replace(graph.nodes["fc"], weight=graph.nodes["fc"].weight / 50)}
    assert program.recompile(graph.with_nodes(small)).rows == program.rows
    program.save(tmp_path / "net")
    assert spikec.load(tmp_path / "net").rows == program.rows


def test_rows_are_those_that_there_are_inputs_for() -> None:
    with pytest.warns(SpikecWarning, match=r"SC373.*More rows are not to be had"):
        program = compiled(lif_layer(0.3, n_in=128, n=400))  # 512 circuits of 128 inputs
    assert program.rows == {"fc": 1}
    with pytest.warns(SpikecWarning, match=r"SC373.*More rows are not to be had"):
        assert compiled(lif_layer(30.0)).rows == {"fc": 64}
    with pytest.warns(SpikecWarning, match=r"SC373.*Give rows=.'fc': 9") as told:
        compiled(lif_layer(0.3), rows=1)
    assert len(told) == 1
    assert compiled(lif_layer(0.3), rows={"fc": 9}).held.projections[0].clipped == 0
    assert compiled(net(0)).rows == {"fc": 1, "fc2": 2}


@pytest.mark.parametrize("target", OWN)
def test_weights_that_round_to_nothing_are_told(target: str) -> None:
    graph = net(0)
    small = graph.with_nodes({"fc": replace(graph.nodes["fc"], weight=graph.nodes["fc"].weight / 500)})
    with pytest.warns(SpikecWarning, match=r"SC373 at 'fc': weights are smaller.*Give full_scale=([\d.e-]+)") as told:
        compiled(small, target)
    scale = float(re.search(r"full_scale=([\d.e-]+),", str(told[0].message))[1])  # type: ignore[index]
    assert np.abs(compiled(small, target, full_scale=scale).codes["fc"]).max() in (62, 63)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(graph.with_nodes({"fc": replace(graph.nodes["fc"], weight=np.zeros((5, 4)))}), target, rows=4)


@pytest.mark.parametrize("wrong", [
    {"seed": -1}, {"seed": 2**63}, {"seed": "a"}, {"seed": 1.0}, {"mismatch": "some"}, {"noise": 1}, {"bits": 4},
    {"cv": 0.1}, {"rows": 0}, {"rows": 65}, {"rows": {"fc": 0.5}}, {"rows": {"none": 1, 3: 1}}, {"speed_up": 0},
    {"speed_up": float("nan")}, {"full_scale": -1.0}, {"full_scale": "1"}, {"wings": 2}])
def test_options_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInputError) as caught:
        compiled(net(), **wrong)
    assert {each.code for each in caught.value.diagnostics} == {"SC533"}


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"seed": 2**63}, {"seed": None}, {"seed": True}, {"measure": 3},
                                   {"time_limit": 0}, {"time_limit": 1e12}, {"time_limit": "1"},
                                   {"time_limit": float("nan")}, {"state": {}}])
def test_arguments_of_a_run_that_are_none(wrong: dict[str, Any]) -> None:
    program = compiled(net())
    with pytest.raises(BadInputError, match="SC403"):
        program.run(stimulus(program.graph), duration=DURATION, **wrong)
    if "state" not in wrong:
        with pytest.raises(BadInputError, match="SC403"):
            program.module(**wrong)


def test_the_report_says_what_became_of_the_numbers() -> None:
    program = compiled(net(6, recurrent=True, delay=True, readout=False), rows={"fc": 2}, mismatch="calibrated", seed=4)
    report = program.report()
    text, told = str(report), json.loads(json.dumps(report.as_dict()))
    assert LABEL in text and "BrainScaleS-2" in text and "nothing here has run on silicon" in text
    assert (report.circuits_used, report.circuits) == (5 + 3 + 4 + 5, 512) and "17 of 512" in text
    hidden, last = report.populations
    tau_mem = np.asarray(program.network.populations["hidden"].tau_mem)
    assert hidden.tau_mem == pytest.approx((tau_mem.min() / 1000, tau_mem.max() / 1000))
    assert hidden.threshold == (150, 150) and hidden.leak == (80, 80) and last.neurons == 3
    for row, each, projection in zip(report.projections, program.held.projections, program.network.projections,
                                     strict=True):
        wanted, kept = np.asarray(projection.connection.weight), each.codes * each.step[:, None]
        assert row.sqnr == pytest.approx(10 * np.log10((wanted ** 2).sum() / ((kept - wanted) ** 2).sum()))
        assert row.steps == np.abs(each.codes).max() <= row.most == 63 * each.rows
        assert row.zero == ((each.codes == 0) & (wanted != 0)).sum() and row.clipped == each.clipped
    assert [row.relays for row in report.projections if row.relays] == [5, 4]
    assert [row.quantity for row in report.calibration] == ["leak", "reset", "threshold", "tau_mem", "tau_syn", "gain"]
    for title in ("Populations", "Weights", "Delays", "Calibration of the emulated chip"):
        assert f"\n{title}" in text
    assert told["calibration"][0]["limit"] == 0.3 and "readout.noise" in told["assumed"]
    plain = compiled(net(6), "generic_analog").report()
    assert plain.calibration == () and "Delays" not in str(plain) and "Calibration" not in str(plain)


@pytest.mark.parametrize("target", OWN)
def test_the_commands_show_it(place: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(net(6), place / "net.spk")
    code, out, _ = say(capsys, "compile", "net.spk", "--target", target, "-o", "out")
    assert code == 0 and LABEL in out and ("8 of 512" in out or "8 of 4,096" in out)
    code, told = say_json(capsys, "report", "out")
    assert code == 0 and told["report"]["label"] == LABEL and told["report"]["target"] == target
    write_events(place / "in.npz", stimulus(net(6)), {})
    code, told = say_json(capsys, "run", "out", "--input", "in.npz", "--duration", f"{DURATION}")
    assert code == 0 and told["samples"] == 2 and told["out.voltage_max"]
    code, shown, _ = say(capsys, "report", "out", "--html", "out.html")
    assert code == 0 and LABEL in shown and LABEL in (place / "out.html").read_text(encoding="utf-8")


def test_membranes_of_readouts_hear_the_jitter_of_delays() -> None:
    """Of spikes that a population of the chip fires, not only of inputs."""
    taus = {"tau_mem": 8e-3, "tau_syn": 5e-3, "w_in": 5e-3}
    graph = Graph({
        "in": ir.Input(shape=(3,)), "fc": ir.Linear(weight=np.full((2, 3), 1.0)),
        "hidden": ir.CubaLIF(shape=(2,), **taus), "wait": ir.Delay(delay=np.full(2, 12e-3)),
        "fc2": ir.Linear(weight=np.full((2, 2), 0.5)), "v": ir.CubaLI(shape=(2,), **taus),
        "out": ir.Output(shape=(2,))},
        tuple(pairwise(("in", "fc", "hidden", "wait", "fc2", "v", "out"))))
    first = compiled(graph, mismatch="none")
    events = {"in": Events.from_samples([(np.linspace(1e-3, 4e-3, 12), np.arange(12) % 3)])}

    def reads(jitter: float, seed: int) -> Any:
        chip = with_figures(first.chip, noise__delay=jitter, readout__noise=0.0, noise__threshold=0.0)
        program = AnalogProgram(graph, "brainscales2", first._lower, first._given, chip=chip)
        return program.run(events, DURATION, probes={"v.v": [20e-3, 24e-3, 28e-3]}, seed=seed).probes["v.v"]

    assert np.array_equal(reads(0.0, 1), reads(0.0, 2))
    assert not np.array_equal(reads(0.5, 1), reads(0.5, 2))
