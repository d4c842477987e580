"""The command that trains: data, losses, what does not fit, and going on."""

from __future__ import annotations

from pathlib import Path

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
    assert (code, "--loss voltage-max" in err) == (4, True), err
    code, _, err = say(capsys, "train", "net.py:make", *options, "-o", "c", "--loss", "spike-time")
    assert (code, "targets" in err) == (4, True), err
    write_task("timed.npz", np.full((3, 3), 10e-3))
    timed = ["--data", "timed.npz", "--epochs", "1", "--duration", "0.05", "-o", "d"]
    assert say(capsys, "train", "net.py:make", *timed, "--loss", "spike-time")[0] == 0
    code, _, err = say(capsys, "train", "net.py:make", *timed)
    assert (code, "number of a class" in err) == (4, True), err


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
    assert (code, "SC409" in err, "target 'event'" in err, "--target clock" in err) == (4, True, True, True), err
