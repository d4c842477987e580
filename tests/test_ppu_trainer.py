"""Training by the plasticity processor of BrainScaleS-2, modelled: programs, the trainer, folders, commands."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import say, say_json
from test_ppu_learner import SHOWN, network, rewarding, samples, three_factor

import spikec
from spikec import Events, Trainer
from spikec.ir import rules
from spikec.ir.diagnostics import BadInputError, SpikecError, SpikecWarning, UnsupportedError
from spikec.ir.npz import write_npz
from spikec.ir.rules import RULES
from spikec.ir.text import write
from spikec.passes.ppu_rules import GateReads, PpuChoices
from spikec.runtime import jit
from spikec.runtime.analog.in_the_loop import MeasureError
from spikec.runtime.checkpoint import read_checkpoint
from spikec.targets.analog.program import AnalogProgram
from spikec.targets.brainscales2.learner import PpuLearner

RUN = [name for name, entry in RULES.items() if "brainscales2" in entry.targets]
pytestmark = pytest.mark.skipif(jit.compiler() is None, reason="needs a C compiler")


@pytest.fixture(autouse=True)
def _quiet(one_thread: None) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)  # of what the processor does otherwise
        yield


def compiled(hidden: int | None = None, target: str = "brainscales2", **options: Any) -> AnalogProgram:
    program = spikec.compile(network(hidden), target, **{"full_scale": 1.0, **options})
    assert isinstance(program, AnalogProgram)
    return program


def trainer_of(program: AnalogProgram, rule: Any, **settings: Any) -> Trainer:
    return Trainer(program, rule=rule, **{"epochs": 2, "batch_size": 10, "progress": False, **settings})


def weights(trainer: Trainer) -> dict[str, Any]:
    assert isinstance(trainer.learner, PpuLearner)
    return {name: each.copy() for name, each in trainer.learner.codes.items()}


def same(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


# ---- the library ----
def test_the_table_says_which_rules_run() -> None:
    assert RUN == ["biograd", "stdp_pair", "reward_stdp", "hebb"]
    for hidden in (None, 5):
        program = compiled(hidden)
        for name in RULES:
            if name in RUN:
                assert program.learner(name).rule == rules.rule_named(name, "brainscales2")
                continue
            with pytest.raises(UnsupportedError) as caught:
                program.learner(name)
            assert {each.code for each in caught.value.diagnostics} <= {"SC360", "SC361", "SC515"}


@pytest.mark.parametrize("name", RUN)
def test_every_rule_trains_on_the_chip_and_its_weights_go_back(name: str) -> None:
    program, data = compiled(5), samples(20)
    trainer = trainer_of(program, name, epochs=1)
    history = trainer.fit(data)
    assert history[-1].learning is not None and set(history[-1].learning.norm) == {"fc0", "fc1"}
    again = trainer.program
    assert isinstance(again, AnalogProgram) and again.target == "brainscales2"
    codes = weights(trainer)
    assert any((codes[each] != program.codes[each]).any() for each in codes)
    assert same(codes, again.codes)  # onto the chip, as they are
    held = {each.name: each.step for each in program.held.projections}
    for each, found in codes.items():
        assert np.allclose(again.graph.nodes[each].weight, found * held[each][:, None], rtol=1e-6)  # type: ignore[attr-defined]


def test_a_rule_of_ones_own_trains_to_classes() -> None:
    program, held_out = compiled(seed=3), samples(100, 99)
    trainer = trainer_of(program, three_factor(rate=3e-3))
    before = trainer.evaluate(held_out)
    trainer.fit(samples(300))
    after = trainer.evaluate(held_out)
    assert (before.accuracy or 0) < 0.6 and (after.accuracy or 0) > 0.8
    assert trainer_of(trainer.program, three_factor()).evaluate(held_out).accuracy == pytest.approx(
        after.accuracy, abs=0.05)


def test_options_reach_the_learner() -> None:
    trainer = trainer_of(compiled(5), "biograd", rule_options={"rate": 2e-3, "duration": SHOWN}, scheduler=0.5,
                         learner={"projections": ["fc1"], "seed": 7, "choices": PpuChoices(gate=GateReads(4))})
    learner = trainer.learner
    assert isinstance(learner, PpuLearner) and learner.seed == 7 and set(learner.codes) == {"fc1"}
    assert learner.programs["fc1"].reads == 4 and learner.rule.feedback.kind == "transposed"
    trainer.fit(samples(10))
    assert learner.rate == 0.5
    fast = spikec.compile(network(), "brainscales2", speed_up=500, full_scale=1.0)
    taken = fast.learner(three_factor(), choices=PpuChoices())  # the program's is the chip's
    assert taken.speed_up == 500


@pytest.mark.parametrize("mismatch", ["none", "published"])
def test_weights_drift_at_silent_inputs_by_the_noise_of_the_sensors_alone(mismatch: str) -> None:
    graph = network()
    silent, labels = Events.from_samples([((), ())] * 200), np.arange(200) % graph.nodes["out"].shape[0]
    moved = {}
    for noise in (True, False):
        program = spikec.compile(graph, "brainscales2", seed=1, mismatch=mismatch, noise=noise, full_scale=1.0)
        learner = program.learner(three_factor())
        before = {name: each.copy() for name, each in learner.codes.items()}
        learner.learn(silent, labels)
        moved[noise] = sum(int((learner.codes[name] != each).sum()) for name, each in before.items())
    assert moved[True] > 0 == moved[False]


@pytest.mark.parametrize(("settings", "code"), [
    ({"choices": {"both": True}}, "SC533"), ({"choices": PpuChoices(amplitude=float("nan"))}, "SC533"),
    ({"choices": PpuChoices(both=1)}, "SC533"), ({"choices": PpuChoices(factor_range=0)}, "SC533"),  # type: ignore[arg-type]
    ({"choices": PpuChoices(gate=GateReads(0))}, "SC533"), ({"choices": PpuChoices(gate=4)}, "SC533"),  # type: ignore[arg-type]
    ({"choices": PpuChoices(gate=GateReads(rest=float("inf")))}, "SC533"), ({"device": "cuda"}, "SC533"),
    ({"seed": -1}, "SC403"), ({"seed": "a"}, "SC403"), ({"measure": 3}, "SC403"), ({"time_limit": 0}, "SC403"),
    ({"output": "none"}, "SC403"), ({"projections": ["none"]}, "SC403"), ({"rule": "no_such_rule"}, "SC514")])
def test_settings_that_are_none(settings: dict[str, Any], code: str) -> None:
    with pytest.raises(BadInputError) as caught:
        compiled().learner(**{"rule": three_factor(), **settings})
    assert {each.code for each in caught.value.diagnostics} == {code}


def test_a_chip_without_plasticity_and_networks_in_parts_do_not_learn() -> None:
    other = compiled(target="generic_analog")
    for learns in (lambda: other.learner("hebb"), lambda: trainer_of(other, "hebb")):
        with pytest.raises(UnsupportedError, match=r"SC516.*no plasticity"):
            learns()
    assert "rule_kernels.json" not in other.files()
    large = compiled(600, partition=True)
    assert large.held.schedule is not None
    with pytest.raises(UnsupportedError, match=r"SC362.*in parts"):
        large.learner("hebb")


def test_a_checkpoint_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    """On a chip with all its mismatch and noise, whose draws go on too."""
    program, data = compiled(5, seed=2), (samples(20), samples(10, 8))
    rule = three_factor(feedback="transposed", rate=3e-3)
    whole = trainer_of(program, rule, epochs=3)
    history = whole.fit(*data)
    first = trainer_of(program, rule, epochs=3, checkpoint=tmp_path / "training", callbacks=lambda *_: True)
    first.fit(*data)
    second = trainer_of(program, rule, epochs=3, checkpoint=tmp_path / "training")
    resumed = second.fit(*data, resume=True)
    assert same(weights(whole), weights(second))
    assert [each.train.accuracy for each in history] == [each.train.accuracy for each in resumed]
    other = trainer_of(program, rule, epochs=3)
    other.learner.runs = 1000  # type: ignore[union-attr]
    other.fit(*data)
    assert not same(weights(whole), weights(other))


# ---- a user's chip ----
class Chip:
    """The emulated one without noise, which goes wrong at one of its runs."""

    def __init__(self, program: AnalogProgram, wrong: int | None = None, how: Any = None) -> None:
        self.emulator, self.wrong, self.how, self.calls = program.emulator(), wrong, how, 0

    def __call__(self, codes: Any, spikes: Any, duration: float) -> Any:
        self.calls += 1
        found = self.emulator.measure(codes, spikes, duration)
        return self.how(found) if self.how is not None and self.calls - 1 == self.wrong else found


def raises(*given: Any) -> Any:
    raise ConnectionError("the chip is gone")


def late(found: Mapping[str, Events]) -> Any:
    return {**found, "n0": Events(np.array([1.0]), np.array([0]), np.array([0, 1]))}


def unsorted(found: Mapping[str, Events]) -> Any:
    return {**found, "n0": Events(np.array([2e-6, 1e-6]), np.array([0, 0]), np.array([0, 2]))}


@pytest.mark.parametrize(("how", "code", "kind"), [
    (raises, "SC377", MeasureError), (late, "SC485", BadInputError), (unsorted, "SC485", BadInputError),
    (lambda found: None, "SC486", BadInputError), (lambda found: {}, "SC486", BadInputError)])
def test_what_was_learnt_before_a_chip_fails_is_kept(how: Any, code: str, kind: type[SpikecError],
                                                     tmp_path: Path) -> None:
    """In the middle of a batch, of which nothing is learnt."""
    program, data = compiled(mismatch="none", noise=False), samples(40)
    rule = rewarding(rate=0.03)
    whole = trainer_of(program, rule, learner={"measure": Chip(program)})
    wanted = whole.fit(data)
    failing = trainer_of(program, rule, learner={"measure": Chip(program, 40 + 25, how)},
                         checkpoint=tmp_path / "training")
    with pytest.raises(kind) as caught:
        failing.fit(data)
    assert {each.code for each in caught.value.diagnostics} == {code}
    state = read_checkpoint(tmp_path / "training")
    assert (state["epoch"], state["batch"]) == (1, 2)
    again = trainer_of(program, rule, learner={"measure": Chip(program)}, checkpoint=tmp_path / "training")
    history = again.fit(data, resume=True)
    assert same(weights(whole), weights(again))
    one, two = wanted[-1].learning, history[-1].learning
    assert one is not None and two is not None and one.norm == two.norm
    assert two.updated["fc0"] == pytest.approx(one.updated["fc0"], rel=1e-12)
    failing.fit(data)
    assert same(weights(whole), weights(failing))


# ---- folders ----
def test_folders_hold_kernels_where_there_is_a_learner(tmp_path: Path) -> None:
    program = compiled(5)
    program.save(tmp_path / "before")
    assert not list((tmp_path / "before").glob("rule_kernel*"))
    trainer = trainer_of(program, three_factor(feedback="transposed"), epochs=1,
                         learner={"choices": PpuChoices(gate=GateReads(3))})
    trainer.fit(samples(10))
    trainer.program.save(tmp_path / "after")
    told = json.loads((tmp_path / "after" / "rule_kernels.json").read_text())
    assert told == {"label": "generated, not run on silicon", "rule": "biograd", "kernels": [
        {"file": "rule_kernel_0.hpp", "projection": "fc0"}, {"file": "rule_kernel_1.hpp", "projection": "fc1"}]}
    for number in (0, 1):
        text = (tmp_path / "after" / f"rule_kernel_{number}.hpp").read_text()
        assert "NOT RUN ON SILICON" in text and f"spikec_p{number}_factor" in text
    again = spikec.load(tmp_path / "after")
    assert isinstance(again, AnalogProgram) and again.files() == trainer.program.files()
    assert again.recompile(again.graph).files() == again.files()


@pytest.mark.parametrize(("change", "codes"), [
    (("update w sample", "update w simple"), {"SC154"}), (("biograd", "biogra"), {"SC520"}),
    (('"seed": 0', '"seed": 0.5'), {"SC403", "SC520"}), (('"seed": 0', '"seed": "a"'), {"SC403", "SC520", "SC533"}),
    (('"output": null', '"output": "none"'), {"SC403"}), (('"output": null', '"output": 3'), {"SC403", "SC520"}),
    (('"projections": null', '"projections": [3]'), {"SC520"}),
    (('"projections": null', '"projections": 3'), {"SC520"}),
    (('"factor_range": 16.0', '"factor_range": "a"'), {"SC533"}),
    (('"factor_range": 16.0', '"factor_range": NaN'), {"SC533"}),
    (('"factor_range"', '"wings"'), {"SC520"}), (('"gate": null', '"gate": 3'), {"SC520"}),
    (('"learning"', '"yearning"'), {"SC520"})])
def test_tampered_learning_is_refused(change: tuple[str, str], codes: set[str], tmp_path: Path) -> None:
    program = compiled()
    program.learner(three_factor(), choices=PpuChoices())
    program.save(tmp_path / "bad")
    place = tmp_path / "bad"
    content = (place / "options.json").read_text()
    before, _, after = content.rpartition(change[0])
    assert before
    changed = (before + change[1] + after).encode()
    (place / "options.json").write_bytes(changed)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["files"]["options.json"] |= {"size": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
    (place / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SpikecError) as caught:
        spikec.load(place)
    assert {each.code for each in caught.value.diagnostics} <= codes


# ---- commands ----
@pytest.fixture
def ready(place: Path) -> Path:
    write(network(), "net.spk")
    events, labels = samples(20)
    write_npz("data.npz", {"times": events.times, "indices": events.indices, "offsets": events.offsets,
                           "labels": labels})
    return place


TRAIN = ("train", "net.spk", "--target", "brainscales2", "--data", "data.npz", "-o", "trained", "--batch-size", "10",
         "--duration", f"{SHOWN}")


def test_the_command_trains_and_goes_on(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, *TRAIN, "--rule", "biograd", "--rule-option", "rate=3e-3", "--epochs", "1")
    assert (code, told["target"], told["rule"]) == (0, "brainscales2", "biograd")
    code, more = say_json(capsys, *TRAIN, "--rule", "biograd", "--rule-option", "rate=3e-3", "--epochs", "2")
    assert (code, more["resumed_after"]) == (0, 1) and more["history"][0] == told["history"][0]
    program = spikec.load("trained")
    assert isinstance(program, AnalogProgram) and "rule_kernel_0.hpp" in program.files()
    shutil.rmtree("trained")
    code, _, err = say(capsys, *TRAIN, "--fresh", "--rule", "hebb", "--epochs", "1")
    assert code == 0, err
    assert say(capsys, "report", "trained")[0] == 0


def test_the_command_refuses_what_does_not_run(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, *TRAIN[:-2], "--rule", "e_prop")
    assert code == 3 and {each["code"] for each in told["diagnostics"]} == {"SC360"}
    generic = [each if each != "brainscales2" else "generic_analog" for each in TRAIN]
    code, told = say_json(capsys, *generic, "--rule", "hebb")
    assert code == 3 and [each["code"] for each in told["diagnostics"]] == ["SC516"]


def test_the_library_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, "rules", "--target", "brainscales2")
    assert code == 0 and [each["name"] for each in told["rules"]] == RUN
    (biograd,) = [each for each in told["rules"] if each["name"] == "biograd"]
    assert biograd["options"]["feedback"] == "transposed"
    code, told = say_json(capsys, "rules", "--target", "generic_analog")
    assert (code, told["rules"]) == (0, [])
