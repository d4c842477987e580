"""The command that trains: data, losses, what does not fit, and going on."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import READOUT, say, say_json

import spikec
from spikec import Events
from spikec.ir.event_files import write_events
from spikec.ir.npz import write_npz


def test_train_improves_saves_and_goes_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(2)
    labels = draw.integers(0, 3, 60)
    channels = np.arange(4)
    events = Events.from_samples([
        (np.where(channels == label, 2e-3, 15e-3) + draw.uniform(0, 2e-3, 4), channels) for label in labels
    ])
    write_npz("data.npz", {"times": events.times, "indices": events.indices, "offsets": events.offsets,
                           "labels": labels})
    options = ["--data", "data.npz", "--validation", "data.npz", "-o", "trained", "--batch-size", "20", "--lr", "0.01",
               "--duration", "0.05"]
    code, told = say_json(capsys, "train", "net.py:make", *options, "--epochs", "2")
    assert code == 0
    assert [record["epoch"] for record in told["history"]] == [0, 1]
    code, more = say_json(capsys, "train", "net.py:make", *options, "--epochs", "4")
    assert code == 0
    assert more["history"][:2] == told["history"], "it went on from the checkpoint"
    assert more["history"][-1]["validation"]["loss"] < told["history"][0]["validation"]["loss"]
    code, anew = say_json(capsys, "train", "net.py:make", *options, "--epochs", "1", "--fresh")
    assert anew["history"][0]["train"] == told["history"][0]["train"], "the same seed gives the same training"
    write_events("in.npz", {"in": events})
    assert say(capsys, "run", "trained", "-i", "in.npz", "--duration", "0.05")[0] == 0


def write_task(name: str, labels: np.ndarray, channels: int = 4) -> None:
    events = Events.from_samples([(np.full(channels, 5e-3), np.arange(channels)) for _ in labels])
    write_npz(name, {"times": events.times, "indices": events.indices, "offsets": events.offsets, "labels": labels})


def test_the_loss_follows_the_kind_of_the_output(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("readout.py").write_text(READOUT)
    write_task("data.npz", np.array([0, 1, 2]))
    options = ["--data", "data.npz", "--epochs", "1", "--duration", "0.05"]
    code, told = say_json(capsys, "train", "readout.py:make", *options, "-o", "a")
    assert (code, told["loss"]) == (0, "voltage-max")
    code, told = say_json(capsys, "train", "net.py:make", *options, "-o", "b")
    assert (code, told["loss"]) == (0, "first-spike")
    code, _, err = say(capsys, "train", "readout.py:make", *options, "-o", "c", "--loss", "first-spike")
    assert (code, "Use the loss 'voltage-max'" in err) == (4, True), err
    code, _, err = say(capsys, "train", "net.py:make", *options, "-o", "c", "--loss", "spike-time")
    assert (code, "targets" in err) == (4, True), err
    write_task("timed.npz", np.full((3, 3), 10e-3))
    timed = ["--data", "timed.npz", "--epochs", "1", "--duration", "0.05", "-o", "d"]
    assert say(capsys, "train", "net.py:make", *timed, "--loss", "spike-time")[0] == 0
    code, _, err = say(capsys, "train", "net.py:make", *timed)
    assert (code, "number of a class" in err) == (4, True), err


@pytest.mark.parametrize(("arguments", "said"), [
    (("train", "net.py:raises", "--data", "digits", "-o", "absent/t"), "there is no folder 'absent'"),
    (("train", "net.py:raises", "--data", "digits", "-o", "taken"), "'taken' exists"),
    (("train", "net.py:raises", "--data", "digits", "-o", "t", "--figures", "absent/f.html"), "no folder 'absent'"),
    (("compile", "net.py:raises", "-o", "taken"), "'taken' exists"),
    (("compile", "net.py:raises", "-o", "net.py/t"), "'.*net.py' is no folder"),
    (("run", "absent", "-i", "in.npz", "-o", "absent/out.npz"), "there is no folder 'absent'"),
    (("run", "absent", "-i", "in.npz", "-o", "taken"), "'taken' is a folder"),
    (("report", "absent", "--html", "absent/f.html"), "there is no folder 'absent'"),
    (("validate", "net.py:raises", "--against", "net.py:raises", "--data", "x", "--plot", "absent/f.png"),
     "there is no folder 'absent'"),
])
def test_what_cannot_be_written_is_told_before_there_is_work(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    Path("taken").mkdir()
    Path("taken", "notes.txt").write_text("not to be lost")
    code, _, err = say(capsys, *arguments)
    assert (code, "SC522" in err, bool(re.search(said, err))) == (4, True, True), err


@pytest.mark.parametrize(("encoder", "options", "wanted"), [
    ("latency", (), lambda split: spikec.encoders.latency(split.inputs, 20e-3, v_max=16)),
    ("regular", (), lambda split: spikec.encoders.regular(50 * split.inputs, 20e-3)),
    ("regular", ("--t-max", "0.01", "--peak-rate", "400"), lambda split: spikec.encoders.regular(
        25 * split.inputs, 10e-3)),
    ("poisson", (), lambda split: spikec.encoders.poisson(50 * split.inputs, 20e-3)),
])
def test_the_encoder_is_the_one_that_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, encoder: str,
    options: tuple[str, ...], wanted: Callable[[Any], Events],
) -> None:
    given: list[Events] = []

    def learn(trainer: spikec.Trainer, train: Any, validation: Any, resume: bool | None) -> None:
        given.append(train[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(spikec.Trainer, "fit", learn)
    grid = ("-t", "clock", "--dt", "1e-3", "--spike", "delta")
    command = ("train", "net.py:jumps", *grid, "--data", "digits", "-o", "t")
    assert "encoder latency, the usual one of 'digits' (--encoder)" in say(capsys, *command)[2]
    assert "local rules learn from regular" in say(capsys, *command, "--rule", "biograd")[2]
    say(capsys, *command, *options, "--encoder", encoder)
    expected = wanted(spikec.datasets.load_digits().train)
    assert np.allclose(given[-1].times, expected.times)
    assert np.array_equal(given[-1].indices, expected.indices)
    assert np.array_equal(given[-1].offsets, expected.offsets)


def test_the_help_names_every_loss() -> None:
    from spikec.compiler.cli.losses import LOSS_HELP
    from spikec.runtime.losses import LOSSES

    assert [name for name in LOSSES if name not in LOSS_HELP] == []


@pytest.mark.parametrize(("arguments", "said"), [
    (("--data", "data.npz", "--device", "foo"), "foo"),
    (("--data", "data.npz", "--device", "cuda:99"), "cuda:99"),
    (("--data", "digits"), "the data have 64 channels, the network's input has 4"),
    (("--data", "many.npz"), "the data have events on 5 channels, the network's input has 4"),
    (("--data", "classes.npz"), "the data have 4 classes, the network's output has 3 neurons"),
    (("--data", "empty.npz"), "no samples"),
    (("--data", "data.npz", "--validation", "empty.npz"), "no samples"),
    (("--data", "digits", "--t-max", "0"), "--t-max"),
    (("--data", "data.npz", "--t-max", "0.01"), "--t-max"),
    (("--data", "data.npz", "--encoder", "regular", "--peak-rate", "100"), "--encoder"),
    (("--data", "digits", "--encoder", "yin-yang"), "latency, regular, poisson"),
    (("--data", "digits", "--peak-rate", "100"), "--peak-rate"),
    (("--data", "digits", "--encoder", "regular", "--peak-rate", "0"), "--peak-rate must be positive"),
    (("--data", "data.npz", "--figures", "absent/f.html"), "there is no folder 'absent'"),
    (("--data", "digits", "--validation", "data.npz"), "--validation"),
])
def test_train_refuses_what_does_not_fit(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    for name, labels, channels in (("data", [0, 1, 2], 4), ("many", [0, 1, 2], 5), ("classes", [0, 3], 4),
                                   ("empty", [], 4)):
        write_task(f"{name}.npz", np.array(labels, np.int64), channels)
    code, _, err = say(capsys, "train", "net.py:make", *arguments, "--epochs", "1", "--duration", "0.05", "-o", "t")
    assert (code, said in err) == (4, True), err
    assert not Path("t").exists()


@pytest.mark.parametrize("labels", [np.array([0.5, 1.0]), np.eye(2, dtype=int)])
def test_train_refuses_labels_as_the_trainer_does(
    place: Path, capsys: pytest.CaptureFixture[str], labels: np.ndarray
) -> None:
    write_task("labels.npz", labels)
    code, _, err = say(capsys, "train", "net.py:make", "--data", "labels.npz", "--duration", "0.05", "-o", "t")
    assert (code, "SC506" in err, "argmax" in err) == (4, True, True), err


def test_a_mostly_unused_input_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("readout.py").write_text(READOUT)
    write_task("data.npz", np.array([0, 1, 2]))
    code, _, err = say(capsys, "train", "readout.py:wide", "--data", "data.npz", "--epochs", "1", "--duration", "0.05",
                       "-o", "t")
    assert (code, "4 channels only, the network's input has 64" in err) == (0, True), err


def test_a_resumed_training_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_task("data.npz", np.array([0, 1, 2]))
    command = ["train", "net.py:make", "--data", "data.npz", "--duration", "0.05", "-o", "t"]
    assert "--fresh" not in say(capsys, *command, "--epochs", "1")[2]
    code, _, err = say(capsys, *command, "--epochs", "1")
    assert (code, "complete" in err, "--fresh" in err) == (0, True, True), err
    code, _, err = say(capsys, *command, "--epochs", "2")
    assert (code, "goes on" in err, "--fresh" in err) == (0, True, True), err
    code, _, err = say(capsys, *command, "--epochs", "2", "--lr", "0.5")
    assert (code, "SC508" in err, "resume=False" in err) == (4, True, False), err
    code, _, err = say(capsys, *command, "--epochs", "1", "--lr", "0.5", "--fresh")
    assert (code, "complete" in err) == (0, False), err


def test_a_compiled_folder_keeps_its_target(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_task("data.npz", np.array([0, 1, 2]))
    grid = ["--dt", "1e-3", "--spike", "delta"]
    assert say(capsys, "compile", "net.py:make", "-t", "clock", *grid, "-o", "net")[0] == 0
    command = ["train", "net", "--data", "data.npz", "--epochs", "1", "--duration", "0.05", "-o", "t"]
    code, _, err = say(capsys, *command, "--loss", "spike-count")
    assert (code, "target clock, that of 'net'" in err, spikec.load("t").target) == (0, True, "clock"), err
    code, told = say_json(capsys, *command, "--target", "event", "--fresh")
    assert (code, told["target"], told["loss"]) == (0, "event", "first-spike")
    assert say(capsys, "compile", "net", "-o", "again")[0] == 0
    assert spikec.load("again").target == "clock"


def test_a_loss_of_another_target_names_both(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_task("data.npz", np.array([0, 1, 2]))
    code, _, err = say(capsys, "train", "net.py:make", "--data", "data.npz", "--duration", "0.05", "-o", "t",
                       "--loss", "spike-count")
    assert (code, "SC409" in err, "target 'event'" in err, "compile for clock" in err) == (4, True, True, True), err


def test_an_interrupted_training_says_what_is_kept(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task("data.npz", np.array([0, 1, 2]))
    command = ["train", "net.py:make", "--data", "data.npz", "--duration", "0.05", "-o", "t", "--epochs", "3"]
    whole = spikec.Trainer._train_epoch

    def interrupted(trainer: spikec.Trainer, data: Any, display: Any, guard: Any) -> None:
        if trainer._epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
        whole(trainer, data, display, guard)

    monkeypatch.setattr(spikec.Trainer, "_train_epoch", lambda *given: os.kill(os.getpid(), signal.SIGINT) or 1 / 0)
    monkeypatch.setattr("spikec.runtime.trainer.InterruptGuard", nullcontext)
    code, _, err = say(capsys, *command)
    assert (code, "nothing of the training was written yet" in err, err.count("interrupted")) == (130, True, 1), err
    monkeypatch.undo()
    monkeypatch.chdir(place)
    monkeypatch.setattr(spikec.Trainer, "_train_epoch", interrupted)
    code, told = say_json(capsys, *command)
    assert (code, told["ok"], told["exit_code"]) == (130, False, 130)
    assert told["diagnostics"] == [{
        "code": "SC571", "message": "interrupted: the training is kept in 't.checkpoint'", "node": None, "value": None,
        "limit": None, "remedy": "The same command goes on from there.", "severity": "error"}]
    code, _, err = say(capsys, *command, "--fresh")
    assert (code, "The same command without --fresh goes on" in err) == (130, True), err
    assert not Path("t").exists()
    monkeypatch.undo()
    monkeypatch.chdir(place)
    code, told = say_json(capsys, *command)
    assert (code, told["resumed_after"], len(told["history"])) == (0, 1, 3)
