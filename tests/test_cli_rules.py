"""The commands that list local rules and train by them."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from as_installed import ROOT
from cli_commands import say, say_json
from test_learning_trainer import DeltaLearner

import spikec
from spikec import Events
from spikec.compiler import tasks
from spikec.ir import rules
from spikec.ir.learning.rule import LearningRule
from spikec.ir.learning.text import parse, write
from spikec.ir.npz import write_npz
from spikec.runtime.datasets import Dataset, Split
from spikec.targets.clock.program import ClockProgram
from spikec.targets.registry import TARGETS


class GraphLearner(DeltaLearner):
    """Gives the graph that it was made of."""

    graph: spikec.Graph

    def to_graph(self) -> spikec.Graph:
        return self.graph


@pytest.fixture
def learns(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with data, and a target clock whose programs learn by a stand-in."""

    def learner(program: ClockProgram, rule: LearningRule, *, seed: int = 0, device: str = "cpu") -> GraphLearner:
        made = GraphLearner(rule, np.full((3, 6), 0.2), seed)
        made.graph = program.graph
        return made

    monkeypatch.setattr(ClockProgram, "learner", learner, raising=False)
    labels = np.array([0, 1, 2, 0])
    events = Events.from_samples([(np.full(4, 5e-3), np.arange(4)) for _ in labels])
    write_npz("data.npz", {"times": events.times, "indices": events.indices, "offsets": events.offsets,
                           "labels": labels})


def test_the_commands_of_the_page_run(place: Path, capsys: pytest.CaptureFixture[str],
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """On fewer digits, for one epoch."""
    page, readme = ((ROOT / name).read_text() for name in ("docs/training.md", "README.md"))
    (made,) = re.findall(r"```python\n(def local\(\):\n.*?)\n\n", readme, re.DOTALL)
    Path("net.py").write_text(f"import spikec\n\n{made}\n")
    (block,) = re.findall(r"```\n(spikec train net.py:local.*?)```", page, re.DOTALL)
    whole = tasks.TASKS["digits"]

    def few() -> Dataset:
        data = whole.load()
        parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
        return replace(data, **{name: Split(each.inputs[:16], each.labels[:16]) for name, each in parts.items()})

    monkeypatch.setitem(tasks.TASKS, "digits", replace(whole, load=few))
    commands = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    assert [words[1] for words in commands] == ["train", "rules", "train"]
    for words in commands:
        wanted, file = (words[1:words.index(">")], words[-1]) if ">" in words else (words[1:], None)
        code, out, err = say(capsys, *wanted, *(("--epochs", "1") if words[1] == "train" else ()))
        assert code == 0, err
        if file is not None:
            Path(file).write_text(out)
    assert Path("learning.html").exists()
    assert spikec.load("changed").target == "clock"


TRAIN = ("train", "net.py:make", "-t", "clock", "--dt", "1e-3", "--spike", "delta", "--data", "data.npz", "-o", "t")


def test_a_rule_trains_and_is_told(learns: None, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--rule", "biograd", "--rule-option", "rate=0.25", "--epochs", "2", "--batch-size", "1")
    code, told = say_json(capsys, *TRAIN, *options, "--figures", "f.html")
    assert (code, told["rule"], told["loss"]) == (0, "biograd", None)
    assert [record["train"]["samples"] for record in told["history"]] == [4, 4]
    assert told["history"][0]["learning"]["norm"]["fc"] > 0
    page = Path("f.html").read_text()
    assert "-0.25*e*t" in page
    assert "changes of a synapse in a sample" in page
    assert "share of synapses" not in page
    assert "<svg" not in page
    assert page.count("<img") == 1
    assert "http" not in page.replace("http-equiv", "")
    assert spikec.load("t").target == "clock"
    code, out, err = say(capsys, *TRAIN, *options)
    assert (code, "norm of the weights" in out, "complete" in err) == (0, True, True), out + err
    code, _, err = say(capsys, *TRAIN, "--rule", "biograd", "--epochs", "2", "--batch-size", "1")
    assert (code, "SC508" in err, "-0.25*e*t" in err, "--fresh" in err) == (4, True, True, True), err


def test_a_rule_comes_from_a_file(learns: None, capsys: pytest.CaptureFixture[str]) -> None:
    write(rules.hebb(rate=0.125), "own.rule")
    code, told = say_json(capsys, *TRAIN, "--rule", "own.rule", "--epochs", "1")
    assert (code, told["rule"], told["history"][0]["train"]["accuracy"]) == (0, "hebb", None)
    code, _, err = say(capsys, *TRAIN, "--rule", "own.rule", "--rule-option", "rate=1")
    assert (code, "SC550" in err, "change the file" in err) == (4, True, True), err


@pytest.mark.parametrize(("options", "code", "said"), [
    (("--rule", "biogrd"), 4, "SC514.*biograd"),
    (("--rule", "biograd", "--rule-option", "rat=1"), 4, "SC514.*hyper-parameter"),
    (("--rule", "biograd", "--rule-option", "rate"), 4, "SC550.*KEY=VALUE"),
    (("--rule", "biograd", "--rule-option", "rate=1", "--rule-option", "rate=2"), 4, "SC550.*twice"),
    (("--rule-option", "rate=1"), 4, "SC550.*local rule"),
    (("--rule", "none.rule"), 4, "SC523.*none.rule"),
    (("--rule", "broken.rule"), 4, "SC154"),
    (("--rule", "biograd", "--loss", "spike-count"), 4, "SC504.*loss is for gradients"),
    (("--rule", "biograd", "--lr", "0.1"), 4, "SC504.*--rule-option rate="),
    (("--rule", "exact"), 3, "SC503.*surrogate"),
    (("--rule", "biograd", "--figures", "f.txt"), 4, "SC550.*html"),
])
def test_what_cannot_be_trained_so_is_refused(learns: None, capsys: pytest.CaptureFixture[str],
                                              options: tuple[str, ...], code: int, said: str) -> None:
    Path("broken.rule").write_text("spikec-rule 1\nrule x\nupdate w sample \"\n")
    found, _, err = say(capsys, *TRAIN, "--epochs", "1", *options)
    assert found == code, err
    assert re.search(said, err.replace("\n", " ")), err
    assert not Path("t").exists()


def test_seconds_of_a_rule_are_those_that_were_asked_for(learns: None, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--rule", "biograd", "--duration", "0.03", "--epochs", "1", "--figures", "f.html")
    assert (say(capsys, *TRAIN, *options)[0], "phase present duration=0.03" in Path("f.html").read_text()) == (0, True)


def test_gradients_have_a_page_too(learns: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, *TRAIN, "--epochs", "1", "--duration", "0.03", "--figures", "f.html")[0] == 0
    assert "loss" in Path("f.html").read_text()


def test_the_library_is_listed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, "rules")
    assert code == 0
    assert [each["name"] for each in told["rules"]] == list(rules.RULES)
    code, out, _ = say(capsys, "rules")
    assert all(name in out for name in rules.RULES)
    code, out, _ = say(capsys, "rules", "biograd", "--rule-option", "rate=0.5")
    assert (code, parse(out)) == (0, rules.biograd(rate=0.5))
    code, told = say_json(capsys, "rules", "biograd")
    assert (parse(told["text"]), told["options"]["feedback"]) == (rules.biograd(), "sleep")
    assert json.dumps(told)
    assert say(capsys, "rules", "--rule-option", "rate=1")[0] == 4


@pytest.mark.parametrize("target", ["clock", "event", "loihi1", "loihi2"])
def test_the_library_is_listed_and_shown_as_a_target_runs_it(place: Path, capsys: pytest.CaptureFixture[str],
                                                             target: str) -> None:
    code, told = say_json(capsys, "rules", "--target", target)
    runs = [name for name, entry in rules.RULES.items() if target in entry.targets]
    assert (code, told["target"], [each["name"] for each in told["rules"]]) == (0, target, runs)
    code, out, _ = say(capsys, "rules", "-t", target)
    assert [name for name in rules.RULES if f"\n{name} " in out] == runs
    for name in runs:
        code, out, err = say(capsys, "rules", name, "-t", target)
        assert (code, parse(out), err) == (0, rules.rule_named(name, target), "")
    code, told = say_json(capsys, "rules", "biograd", "-t", target, "--rule-option", "rate=0.5")
    assert parse(told["text"]) == rules.rule_named("biograd", target, rate=0.5)
    assert told["options"]["error"] == ("spike" if target.startswith("loihi") else "softmax")


def test_a_rule_of_another_target_is_shown_with_a_note(
        place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = say(capsys, "rules", "e_prop", "-t", "loihi2")
    assert (code, parse(out).name, "runs on clock, not on loihi2" in err) == (0, "e_prop", True), err
    write(rules.hebb(), "own.rule")
    code, _, err = say(capsys, "rules", "own.rule", "-t", "loihi2")
    assert (code, "SC550" in err, "Leave --target out" in err) == (4, True, True), err
    assert say(capsys, "rules", "-t", "abacus")[0] == 4
    monkeypatch.setitem(TARGETS, "abacus", replace(TARGETS["dynapse2"], name="abacus", status="planned"))
    assert say(capsys, "rules", "-t", "abacus")[0] == 3
