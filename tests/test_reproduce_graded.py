"""The tasks of the differentiable synapse as headline results: what is shown and wanted, how training goes and ends."""

from __future__ import annotations

import copy
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_commands import say, say_json

import spikec
from spikec.compiler.reproduce import config as configs
from spikec.compiler.reproduce import figures, graded, runner
from spikec.compiler.reproduce.graded_tasks import Course

pytestmark = pytest.mark.usefixtures("one_thread")

XOR, ENCODING = (configs.config_named(f"synapse-{name}") for name in ("xor", "encoding"))
TOLD = {name: tomllib.loads((configs.CONFIGS / f"synapse-{name}.toml").read_text()) for name in ("xor", "encoding")}


def changed(name: str, **changes: Any) -> configs.Config:
    """A configuration with other entries, as graded__lr."""
    told = copy.deepcopy(TOLD[name])
    for path, value in changes.items():
        table, _, entry = path.partition("__")
        told[table][entry] = value
    return configs.config_of(told, name)


def test_the_command_trains_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for config, unit in ((XOR, "≥ 99 in every seed"), (ENCODING, "≤ 25")):
        code, told = say_json(capsys, "reproduce", config.name, "--quick", "-o", str(tmp_path))
        assert (code, told["name"], told["row"]["aim"]) == (0, f"reproduce_{config.name}-quick", unit)
        (run,) = told["figures"]["runs"]
        assert len(run["loss_curve"]) == run["steps"] == 10
        assert config is XOR or run["test_error"] < 0.7 * run["before"]["test_error"], "ten steps are little, for XOR"
        assert told["figures"]["mean_percent"] == pytest.approx(100 * run[config.measure.key], rel=1e-5)
        assert 0.3 < run["before"]["fitted"] < 0.8, "a share of right answers, or of the power"
        assert run["spikes"]["neurons"] > 0
        assert json.loads((tmp_path / f"{told['name']}.json").read_text())["figures"]["seeds"] == 1
    code, _, err = say(capsys, "reproduce", "synapse-encoding", "--quick", "--fresh", "-o", str(tmp_path))
    assert (code, "squared error, relative to the signal's power, " in err) == (0, True), err
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}, "no checkpoint is left"


def test_a_training_that_dies_within_an_epoch_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a delay that grows, and an end that comes before the last epoch."""
    config = changed("xor", task__mastered=0.05, task__held=0.3, task__delays=[0.05, 0.07], graded__last=6)
    options: dict[str, Any] = {"seeds": 1, "epochs": 5, "quick": True, "progress": False}
    (whole,) = runner.reproduce(config, output=tmp_path / "whole", **options)["figures"]["runs"]
    assert whole["delay_s"] == 0.07
    assert 6 < whole["steps"] < 25, "it ends when the longest delay is mastered"
    step, made = graded._Training.step, list[int]()

    def dies(training: Any) -> Any:
        made.append(training.course.step)
        if len(made) == 7:
            raise MemoryError("as if it were killed")
        return step(training)

    with monkeypatch.context() as patched:
        patched.setattr(graded._Training, "step", dies)
        with pytest.raises(MemoryError):
            runner.reproduce(config, output=tmp_path / "killed", **options)
        (again,) = runner.reproduce(config, output=tmp_path / "killed", **options)["figures"]["runs"]
    assert made[7] == 5, "from the end of the first epoch"
    assert again["loss_curve"] == whole["loss_curve"]
    assert again["test_loss"] == whole["test_loss"]


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"seeds": 1, "quick": True, "progress": False, "output": tmp_path}
    with monkeypatch.context() as patched:
        patched.setattr(graded.Display, "finish", lambda display, record: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            runner.reproduce(ENCODING, **options)
    with pytest.raises(spikec.BadInputError) as caught:
        runner.reproduce(replace(changed("encoding", graded__lr=0.01), name=ENCODING.name), **options)
    assert {each.code for each in caught.value.diagnostics} == {"SC508"}


def test_what_the_network_hears_says_what_is_wanted_of_it() -> None:
    """The answer is read off the signals again: signs at the middle of each pulse, the window after the cue's end."""
    task = XOR.graded.task
    dt, count, delay = 1e-3, 200, 0.2
    batch = task.batch(np.random.default_rng(1), count, dt, delay)
    pulses, cue = batch.signals[..., 0], batch.signals[..., 1]
    assert batch.wanted.shape == (*pulses.shape, 1)
    for row in range(count):
        on = np.flatnonzero(pulses[row])
        second = on[np.flatnonzero(np.diff(on) > 1)[0] + 1]
        signs = pulses[row, on[0]], pulses[row, second]
        asked = np.flatnonzero(cue[row])
        said = np.flatnonzero(batch.wanted[row, :, 0])
        assert (batch.wanted[row, said, 0] == (1 if signs[0] != signs[1] else -1)).all()
        assert 0.7 * delay - 2 * dt <= (second - on[0]) * dt - task.pulse <= delay + 2 * dt
        assert 0.7 * delay - 2 * dt <= (asked[0] - second) * dt - task.pulse <= delay + 2 * dt
        assert abs(len(said) * dt - task.window) <= 2 * dt, "no window is cut off by the end"
        assert abs(said[0] - asked[-1]) <= 2
    wanted = torch.from_numpy(batch.wanted)
    assert task.figure(wanted, batch) == 1
    assert task.figure(-wanted, batch) == 0
    flipped = wanted * torch.where(torch.arange(count) < 50, -1, 1)[:, None, None]
    assert task.figure(flipped, batch) == 0.75


def test_an_encoding_is_judged_by_its_share_of_the_power() -> None:
    task = ENCODING.graded.task
    batch = task.batch(np.random.default_rng(1), 400, 1e-3, 0.0)
    assert batch.signals.shape == (400, 201, 2)
    assert np.square(batch.signals).mean() == pytest.approx(0.5, rel=0.05), "that of a sine"
    wanted = torch.from_numpy(batch.wanted)
    assert task.figure(wanted, batch) == 0
    assert task.figure(0 * wanted, batch) == 1
    assert task.figure(1.5 * wanted, batch) == pytest.approx(0.25)
    woken = wanted.clone()
    woken[:, :20] = 7.0
    assert task.figure(woken, batch) == 0, "the time in which the network wakes up"


def test_a_longer_memory_is_asked_for_as_the_shorter_holds() -> None:
    task, course, delays = XOR.graded.task, Course(delay=0.05), [0.05]
    for _ in range(200):
        task.follow(course, 1.0, 250)
        delays.append(course.delay)
        if course.left is not None:
            break
    assert delays == sorted(delays)
    assert delays[-1] == 0.35
    assert course.left == 251
    idle = Course(delay=0.05)
    for _ in range(200):
        task.follow(idle, 0.96, 250)
    assert (idle.delay, idle.left) == (0.05, None)


def test_the_rate_falls_to_zero_in_the_last_steps() -> None:
    training = graded._Training(replace(ENCODING.graded, epochs=2, steps=3, last=4, slower=2.0, batch=2), 0)
    rates = []
    while not training.done:
        training.step()
        rates.append(training.optimizer.param_groups[0]["lr"] / 0.02)
    falling = [1, 1, 1, 3 / 4, 2 / 4, 1 / 4]
    assert rates == pytest.approx([each / (1 + step / 2) for step, each in enumerate(falling)])


@pytest.mark.parametrize(("name", "changes", "nodes"), [
    ("xor", {"task__kind": "and"}, {"task.kind"}),
    ("xor", {"task__pulse": -1, "task__delays": [2, 1], "task__sines": 3}, {"task.pulse", "task.delays", "task.sines"}),
    ("xor", {"graded__dt": 0.2}, {"graded.dt"}),
    ("xor", {"graded__dt": 1e-9}, {"graded.dt"}),
    ("xor", {"graded__test": 65536}, {"graded.test"}),
    ("xor", {"graded__neurons": 0, "graded__zone": 7, "graded__epoch": 1},
     {"graded.neurons", "graded.zone", "graded.epoch"}),
    ("encoding", {"task__wake": 0.3}, {"task.wake"}),
    ("encoding", {"task__period": [0, 0.2], "graded__bias": 1}, {"task.period", "graded.bias"}),
    ("encoding", {"aim__accuracy": 90}, {"aim.accuracy"}),
    ("encoding", {"graded__tolerance": 1}, {"graded.tolerance"}),
])
def test_what_makes_no_sense_is_told(name: str, changes: dict[str, Any], nodes: set[str]) -> None:
    with pytest.raises(spikec.BadInputError) as caught:
        changed(name, **changes)
    assert {each.node for each in caught.value.diagnostics} == nodes
    assert {each.code for each in caught.value.diagnostics} == {"SC580"}


def test_a_measure_and_an_aim_go_together() -> None:
    told = copy.deepcopy(TOLD["encoding"])
    del told["aim"]["error"]
    told["data"] = {"set": "digits"}
    with pytest.raises(spikec.BadInputError) as caught:
        configs.config_of(told, "x")
    assert {each.node for each in caught.value.diagnostics} == {"aim.error", "data"}


def test_an_aim_of_every_seed_and_one_that_is_low() -> None:
    def stored(config: configs.Config, *shares: float) -> dict[str, Any]:
        run = {"spikes": {"n": 1.0}, "silent": {"n": 0.0}, "never": {"n": 0.0}, "before": {"never": {"n": 0.0}},
               "training_cpu_s": 1.0, "training_wall_s": 1.0}
        runs = [{**run, config.measure.key: each} for each in shares]
        return {"name": f"reproduce_{config.name}",
                "figures": {**runner.summary(runs, config.measure), "runs": runs}}

    right = [1.0] * 9
    assert figures.met(XOR, stored(XOR, *right, 0.99)) is True
    assert figures.met(XOR, stored(XOR, *right, 0.98)) is False, "though the mean is above"
    assert figures.met(XOR, stored(XOR, *right)) is None
    assert figures.row(XOR, stored(XOR, *right))["met"] == "– (9 of 10 seeds run)"
    assert figures.met(XOR, stored(XOR, 1.0, 0.98)) is False, "no further seed can mend it"
    assert figures.row(XOR, stored(XOR, 1.0, 0.98))["met"] == "**no**"
    assert figures.met(XOR, {**stored(XOR, 0.98), "name": "reproduce_synapse-xor-quick"}) is None, "a trial"
    assert figures.row(XOR, stored(XOR, *right, 0.98))["ours"] == "99.80 ± 0.63 (10 seeds); ≥ 99 in 9 of 10"
    assert figures.met(ENCODING, stored(ENCODING, 0.2, 0.2, 0.3)) is True
    assert figures.met(ENCODING, stored(ENCODING, 0.2, 0.3, 0.3)) is False
    assert figures.row(ENCODING, stored(ENCODING, 0.2, 0.3, 0.3))["ours"] == "26.67 ± 5.77 (3 seeds)"
