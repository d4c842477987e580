"""Programs for DYNAP-SE2: the emulated chip, training in the loop on it, folders, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_commands import say, say_json
from test_dynapse2 import chain

import spikec
from spikec import BadInputError, Events, SpikecWarning, UnsupportedError, losses
from spikec.ir.analog.dpi_run import simulate_dpi
from spikec.ir.event_files import write_events
from spikec.ir.text import write
from spikec.runtime.analog.dpi import run_dpi
from spikec.targets.dynapse2 import emulator
from spikec.targets.dynapse2.cores import dpi_network, effective_network
from spikec.targets.dynapse2.emulator import QUANTITIES, DpiDevice
from spikec.targets.dynapse2.exact import TOLERANCE, _between_spikes, check_dynapse2_program
from spikec.targets.dynapse2.program import Dynapse2Program
from spikec.targets.dynapse2.report import LABEL

DURATION = 0.03
QUIET: dict[str, Any] = {"mismatch": "none", "noise": False}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        yield


def compiled(graph: spikec.Graph, **options: Any) -> Dynapse2Program:
    return spikec.compile(graph, "dynapse2", **options)


def net(seed: int = 1, **settings: Any) -> spikec.Graph:
    return chain(6, 9, 3, seed=seed, **{"refractory": 1e-3, "v_threshold": 0.5} | settings)


def stimulus(channels: int = 6, samples: int = 2, seed: int = 0) -> dict[str, Events]:
    rng = np.random.default_rng(seed)
    return {"in": Events.from_samples([(rng.uniform(0, 0.02, 120), rng.integers(0, channels, 120))
                                       for _ in range(samples)])}


def same(one: Events, other: Events) -> bool:
    return np.array_equal(one.times, other.times) and np.array_equal(one.indices, other.indices)


# ---- runs --------------------------------------------------------------------------------------------------------


def test_a_chip_without_deviations_is_the_circuits() -> None:
    program, events = compiled(net(), **QUIET), stimulus()
    wanted = run_dpi(dpi_network(program.held), events, DURATION)
    found = program.run(events, DURATION).spikes
    assert len(wanted["n0"]) > 30 and len(wanted["n1"])
    assert same(found["n0"], wanted["n0"]) and same(found["n1"], wanted["n1"]) and same(found["out"], found["n1"])
    linear = compiled(net(), feedback=False, **QUIET).run(events, DURATION).spikes
    assert not same(linear["n0"], wanted["n0"])


def test_serial_numbers_say_how_a_chip_deviates_and_seeds_its_noise() -> None:
    graph, events = net(), stimulus()
    quiet = [compiled(graph, seed=chip, noise=False).run(events, DURATION).spikes["n0"] for chip in (1, 1, 2)]
    assert same(quiet[0], quiet[1]) and not same(quiet[0], quiet[2])
    noisy = [compiled(graph, seed=1).run(events, DURATION, seed=seed).spikes["n0"] for seed in (0, 0, 1)]
    assert same(noisy[0], noisy[1]) and not same(noisy[0], noisy[2]) and not same(noisy[0], quiet[0])


def test_deviations_belong_to_places_and_have_the_stated_spread() -> None:
    device, slots = DpiDevice(3, 0.1), np.arange(256)
    every = np.concatenate([device.factors(name, np.full(256, core), slots) for name in QUANTITIES
                            for core in range(16)])
    assert np.log(every).std() == pytest.approx(0.1, rel=0.02) and abs(np.log(every).mean()) < 0.002
    assert len(np.unique(every)) == len(every)
    some = device.factors("gain", np.array([2, 0, 2]), np.array([7, 7, 9]))
    assert some[0] == device.factors("gain", np.full(256, 2), slots)[7] != some[1]
    assert np.unique(np.stack([device.synapses(core, 5) for core in range(9)])).size == 9 * 64
    ones = DpiDevice(3, 0.0)
    assert (ones.factors("leak", np.zeros(4, np.int64), np.arange(4)) == 1).all() and (ones.synapses(0, 0) == 1).all()


def test_deviations_reach_every_number_of_the_circuits() -> None:
    program = compiled(net(), noise=False)
    plain, chip = dpi_network(program.held), program.emulator().network(program.codes)
    for name, each in plain.populations.items():
        changed = {field for field in ("tau_mem", "leak", "gain", "dc", "threshold", "refractory", "tau_exc", "tau_inh",
                                       "feedback")
                   if not np.isclose(getattr(chip.populations[name], field), getattr(each, field), atol=0).any()}
        assert len(changed) == 9
    for one, other in zip(plain.projections, chip.projections, strict=True):
        there = one.weight != 0
        ratio = other.weight[there] / one.weight[there]
        assert np.log(ratio).std() == pytest.approx(0.14, rel=0.4) and (other.weight[~there] == 0).all()


@pytest.mark.parametrize("settings", [{}, {"recurrent": True}, {"tau": 20e-3}])
def test_the_emulated_chip_is_its_oracle(settings: dict[str, Any]) -> None:
    found = check_dynapse2_program(compiled(net(**settings), seed=5))
    assert found.ok and found.fired["n0"] > 0.3, str(found)


def test_the_check_sees_another_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(net(), seed=5)

    def other(network: Any, events: Any, duration: float, tolerance: float = 1e-8) -> dict[str, Events]:
        slow = {name: replace(each, tau_mem=each.tau_mem * 1.001) for name, each in network.populations.items()}
        return simulate_dpi(replace(network, populations=slow), events, duration)

    monkeypatch.setattr("spikec.targets.dynapse2.exact.run_dpi", other)
    found = check_dynapse2_program(program)
    assert not found.ok and "differs" in str(found)


@pytest.mark.parametrize("spikes", [3, 10, 25])
@pytest.mark.parametrize("options", [{}, QUIET])
def test_a_check_that_ends_early_ends_between_spikes(spikes: int, options: dict[str, Any],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(net(v_threshold=0.2), seed=5, **options)
    monkeypatch.setattr("spikec.targets.dynapse2.exact._SPIKES", spikes)
    found = check_dynapse2_program(program)
    assert found.ok and found.duration < 0.02 and any(found.fired.values()), str(found)


def test_spikes_at_the_end_of_a_check_are_left_out_on_both_sides() -> None:
    mine = Events.from_samples([(np.array([0.1, 0.5, 0.5, 0.9]), np.arange(4))])
    its = Events.from_samples([(np.array([0.1, 0.5, 0.5 + TOLERANCE / 2]), np.arange(3))])
    assert _between_spikes([mine, its], 0.9) == pytest.approx(0.7)
    assert _between_spikes([mine, its], 1.0) == 1.0
    assert _between_spikes([its], 0.5 + TOLERANCE) == pytest.approx(0.3)


def test_validate_tells_both() -> None:
    found = spikec.validate(net(v_threshold=0.2), "exact", stimulus(), duration=DURATION, target_a="dynapse2")
    assert found.exact is not None and found.exact.ok and found.drift_limit == 0.5
    assert 0 < found.drift <= 0.5 and found.verdict == "within drift" and found.fired > 0.5


# ---- in the loop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"recurrent": True}, {"sparse": 0.4}])
def test_weights_in_the_loop_are_those_that_the_cores_hold(settings: dict[str, Any]) -> None:
    program, events = compiled(net(**settings), seed=5, noise=False), stimulus()
    module = program.module(torch.float64)
    held = effective_network(program.held)
    for wanted, found in zip(held.projections, module.network_now().projections, strict=True):
        np.testing.assert_allclose(found.connection.weight, wanted.connection.weight, rtol=1e-12)
    out = module(events, duration=DURATION)
    ran = program.run(events, DURATION).spikes
    assert {name: out.total_spikes(name) for name in ("n0", "n1")} == {name: len(ran[name]) for name in ("n0", "n1")}


def test_weights_without_a_synapse_stay_zero_and_others_within_reach() -> None:
    program = compiled(net(sparse=0.5), **QUIET)
    module, there = program.module(), np.asarray(program.graph.nodes["w0"].weight) != 0
    weight = module.get_parameter("w0.weight")
    with torch.no_grad():
        weight += 100.0
    module(stimulus(), duration=DURATION)
    kept = module.network_now().projections[0].connection.weight
    most = max(sum(each.levels) for each in program.held.circuits)
    assert (kept[~there] == 0).all() and (kept[there] > 0).all() and most > 0
    assert np.ptp(kept[there]) < 1e-3 * kept.max(), "all at the end of one core's range"
    assert (weight.detach().numpy()[~there] == 0).all()


def test_a_measurement_gets_signed_masks_and_gives_the_same() -> None:
    program, events, seen = compiled(net(), seed=4), stimulus(), []
    chip = program.emulator(7)

    def measure(codes: Any, spikes: Any, duration: float) -> Any:
        seen.append(codes)
        return chip.measure(codes, spikes, duration)

    found = program.run(events, DURATION, measure=measure).spikes
    assert same(found["n0"], program.run(events, DURATION, seed=7).spikes["n0"])
    for name, codes in seen[0].items():
        wanted = program.held.signs[name] * program.held.masks[name].astype(int)
        np.testing.assert_array_equal(codes.reshape(-1), wanted)
        assert codes.dtype == np.int32 and codes.min() >= -15 and codes.max() <= 15 and (codes < 0).any()


def toy(seed: int) -> tuple[spikec.Graph, tuple[Events, np.ndarray]]:
    """Which of two groups of inputs comes first; 6-16-2."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 200)
    times = rng.uniform(0, 10e-3, (200, 6))
    times[np.arange(200)[:, None], labels[:, None] * 3 + np.arange(3)] *= 0.6
    events = Events.from_samples([(each, np.arange(6)) for each in times])
    net = spikec.Builder()
    taus = {"tau_mem": 20e-3, "tau_syn": 10e-3, "refractory": 60e-3}
    hidden, label = net.cubalif("hidden", 16, **taus), net.cubalif("label", 2, **taus)
    net.connect(net.input("in", 6), hidden, weight=spikec.normal(1.5, 1.0, seed=seed + 1), name="fc1")
    net.connect(hidden, label, weight=spikec.normal(0.8, 0.5, seed=seed + 2), name="fc2")
    net.output("out", label)
    return net.build(), (events, labels)


def trainer(program: Any, lr: float, epochs: int) -> spikec.Trainer:
    loss = losses.FirstSpikeCrossEntropy(tau0=1e-3, alpha=0.003, tau1=10e-3, silent="push")
    return spikec.Trainer(program, loss, rule="exact", batch_size=25, lr=lr, epochs=epochs, duration=50e-3, seed=0,
                          gradient_clip=0.1, progress=False)


def test_training_in_the_loop_beats_copying(tmp_path: Path) -> None:
    graph, data = toy(0)
    ideal = trainer(spikec.compile(graph), 1e-2, 10)
    ideal.fit(data)
    loop = trainer(compiled(ideal.program.graph, seed=2, cv=0.2), 1e-2, 5)
    copied = loop.evaluate(data).accuracy
    loop.fit(data)
    found = loop.evaluate(data).accuracy
    assert ideal.evaluate(data).accuracy > 0.85 and found > copied + 0.05
    program = loop.program  # on the currents that it was trained on
    assert isinstance(program, Dynapse2Program)
    again = program.recompile(program.graph)
    assert again.held.biases == program.held.biases
    again.save(tmp_path / "trained")
    assert abs(trainer(spikec.load(tmp_path / "trained"), 1e-2, 1).evaluate(data).accuracy - found) < 0.05


# ---- folders and reports -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"seed": np.int64(3), "cv": np.float32(0.2), "noise": False},
                                     {"chips": 2, "watch": "outputs", "feedback": False}])
def test_a_saved_program_is_the_same_program(tmp_path: Path, options: dict[str, Any]) -> None:
    program = compiled(net(), **options)
    program.save(tmp_path / "out")
    again = spikec.load(tmp_path / "out")
    assert isinstance(again, Dynapse2Program) and again.options == program.options
    assert again.files() == program.files() and str(again.report()) == str(program.report())
    assert same(*(each.run(stimulus(), DURATION).spikes["n0"] for each in (program, again)))


def test_other_weights_stay_on_the_currents_and_other_neurons_do_not() -> None:
    program = compiled(net(1))
    module = program.module()
    with torch.no_grad():
        module.get_parameter("w0.weight").mul_(0.7)
    less = program.recompile(module.to_graph())
    assert less.held.biases == program.held.biases and less.held.masks["w0"].sum() != program.held.masks["w0"].sum()
    assert program.recompile(net(1, tau=5e-3)).held.biases != program.held.biases


def test_tampered_folders_are_refused(tmp_path: Path) -> None:
    compiled(net(), seed=2).save(tmp_path / "good")
    manifest = (tmp_path / "good" / "manifest.json").read_text()

    def tampered(file: str, content: bytes) -> str:
        place = tmp_path / "bad"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(tmp_path / "good", place)
        (place / file).write_bytes(content)
        told = json.loads(manifest)
        told["files"][file] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        (place / "manifest.json").write_text(json.dumps(told))
        with pytest.raises(BadInputError) as caught:
            spikec.load(place)
        return caught.value.diagnostics[0].code

    options, config = ((tmp_path / "good" / name).read_bytes() for name in ("options.json", "config.json"))
    assert tampered("config.json", config.replace(b'"tag":', b'"tag" :', 1)) == "SC520"
    assert tampered("run_samna.py", b"import os\n") == "SC520"
    for content in (b"", b"{}", b"[1]", b"null", b"[" * 9000, b"\xff", b'{"options": 3, "biases": []}',
                    b'{"options": {}, "biases": [{"SOIF_LEAK_N": [9, 1]}]}',
                    b'{"options": {}, "biases": [{"WINGS": [1, 1]}]}', b'{"options": {}, "biases": []}',
                    options.replace(b'"seed": 2', b'"seed": 3.5'), options.replace(b'"seed": 2', b'"seed":  2')):
        assert tampered("options.json", content) in ("SC520", "SC533"), content[:60]


def test_the_report_counts_what_is_there() -> None:
    program = compiled(chain(6, 9, 3, seed=1, sparse=0.3), seed=4, cv=0.2)
    report = program.report()
    text, told = str(report), json.loads(json.dumps(report.as_dict()))
    assert LABEL in text and "cores: 1 of 4" in text and "deviate by 20%" in text and told["label"] == LABEL
    (core,) = report.cores
    assert core.neurons == report.neurons == 12 and core.populations == ("n0", "n1")
    assert core.error == program.held.errors[0] and core.levels == program.held.circuits[0].levels
    masks = [program.held.masks[name].reshape(size, -1) for name, size in (("w0", 9), ("w1", 3))]
    assert report.fan_in == max((each > 0).sum(1).max() for each in masks)
    assert [row.synapses for row in report.projections] == [(each > 0).sum() for each in masks]
    for row in report.projections:
        wanted = np.asarray(program.graph.nodes[row.name].weight).reshape(-1)
        assert row.lost == ((program.held.masks[row.name] == 0) & (wanted != 0)).sum() and 15 < (row.sqnr or 0) < 40


def test_the_commands(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(net(), place / "net.spk")
    code, out, _ = say(capsys, "compile", "net.spk", "--target", "dynapse2", "-o", "out")
    assert code == 0 and LABEL in out and "12 " in out
    code, told = say_json(capsys, "report", "out")
    assert code == 0 and told["report"]["label"] == LABEL
    write_events(place / "in.npz", stimulus(), {})
    code, told = say_json(capsys, "run", "out", "--input", "in.npz", "--duration", f"{DURATION}")
    assert code == 0 and told["samples"] == 2
    code, shown, _ = say(capsys, "report", "out", "--html", "out.html")
    assert code == 0 and LABEL in shown and LABEL in (place / "out.html").read_text(encoding="utf-8")


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [
    {"seed": -1}, {"seed": 2**63}, {"seed": "a"}, {"mismatch": "some"}, {"mismatch": []}, {"noise": 1}, {"cv": 0.6},
    {"cv": -0.1}, {"cv": "0.1"}, {"cv": float("nan")}, {"cv": 0.1, "mismatch": "none"}, {"chips": 0}, {"chips": 5},
    {"chips": 1.5}, {"watch": "none"}, {"feedback": None}, {"wings": 2}])
def test_options_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInputError) as caught:
        compiled(net(), **wrong)
    assert {each.code for each in caught.value.diagnostics} == {"SC533"}


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"measure": 3}, {"time_limit": 0}, {"time_limit": 1e12},
                                   {"state": {}}])
def test_arguments_of_a_run_that_are_none(wrong: dict[str, Any]) -> None:
    program = compiled(net())
    with pytest.raises(BadInputError, match="SC403"):
        program.run(stimulus(), DURATION, **wrong)


def test_in_no_time_nothing_happens() -> None:
    found = compiled(net()).run(stimulus(), 0)
    assert found.duration == 0 and all(len(each.times) == 0 and each.batch == 2 for each in found.spikes.values())


def test_what_the_chip_does_not_show_or_train() -> None:
    program = compiled(net(), watch="outputs")
    with pytest.raises(UnsupportedError, match=r"SC356 at 'n0\.v'"):
        program.run(stimulus(), DURATION, probes={"n0.v": [1e-3]})
    for call in (program.module, lambda measure: program.run(stimulus(), DURATION, measure=measure)):
        with pytest.raises(UnsupportedError, match="SC357 at 'n0'"):
            call(measure=program.emulator().measure)
    with pytest.raises(BadInputError, match="SC480 at 'n0'"):
        program.module(train=["n0.tau_mem"])
    with pytest.raises(UnsupportedError, match=r"SC516.*no plasticity.*dynapse2"):
        spikec.Trainer(program, rule="biograd")
    with pytest.raises(UnsupportedError, match=r"SC516.*no plasticity.*dynapse2"):
        program.learner("biograd", seed=1)
    with pytest.raises(UnsupportedError, match="SC324"):
        compiled(net(reset="subtract"))


def test_the_threshold_s_noise_is_the_stated_one(monkeypatch: pytest.MonkeyPatch) -> None:
    program, seen = compiled(net(), mismatch="none"), []
    monkeypatch.setattr(emulator, "run_dpi", lambda network, spikes, duration: seen.append(network) or {})
    chip = program.emulator()
    for _ in range(200):
        chip.measure(program.codes, {}, DURATION)
    moved = np.stack([each.populations["n0"].threshold for each in seen])
    assert (moved.std(0) / moved.mean(0)).mean() == pytest.approx(emulator.THRESHOLD_NOISE, rel=0.05)
