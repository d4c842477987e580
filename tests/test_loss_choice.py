"""Which loss an output is given, and which remedies for silent neurons: told when a training is made, not in it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import silent_nets
from cli_commands import say, say_json

import spikec
from spikec.ir.diagnostics import BadInputError, SpikecWarning
from spikec.runtime.loss_choice import usual_loss

LOSSES = spikec.losses
def events(samples: int = 6) -> tuple[spikec.Events, np.ndarray[Any, Any]]:
    draw = np.random.default_rng(1)
    rows = [(np.sort(draw.uniform(0, 8e-3, 6)), draw.integers(0, 4, 6)) for _ in range(samples)]
    return spikec.Events.from_samples(rows), np.arange(samples) % 3


def trainer(net: Any, loss: Any, target: str = "event", **options: Any) -> spikec.Trainer:
    return spikec.Trainer(spikec.compile(net, target=target), loss, duration=20e-3, epochs=1, batch_size=3,
                          progress=False, **options)


@pytest.mark.parametrize(("kind", "recurrent"), [("equations", False), ("theta", False), ("lif", True)])
def test_a_named_loss_goes_without_a_remedy_that_cannot_be_had_and_says_so(kind: str, recurrent: bool) -> None:
    """Labels are silent from the start: with a push, training would end at the first batch."""
    with pytest.warns(SpikecWarning, match="SC501 at 'label': silent neurons of this output cannot be pushed"):
        one = trainer(silent_nets.made(kind, recurrent), "first-spike")
    assert one.loss.silent is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        record = one.fit(events())[-1]
    assert record.train.silent == 1


def test_nobody_is_told_where_the_remedy_can_be_had() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trainer(silent_nets.lif(), "first-spike").loss.silent == "push"
        assert trainer(silent_nets.theta(), LOSSES.FirstSpikeCrossEntropy(silent=None)).loss.silent is None
        assert trainer(silent_nets.theta(), "pseudospike").fit(events())


@pytest.mark.parametrize(("kind", "recurrent", "silent", "nodes"), [
    ("equations", False, "push", ["label"]), ("theta", False, "push", ["label"]), ("lif", True, "push", ["label"]),
    ("theta", False, "bump", ["hidden", "label"]), ("equations", False, "both", ["label", "hidden"]),
])
@pytest.mark.parametrize("kind_of_loss", [LOSSES.FirstSpikeCrossEntropy, LOSSES.SpikeCountMSE])
def test_a_remedy_that_was_asked_for_is_refused_before_any_training(
    kind_of_loss: Any, kind: str, recurrent: bool, silent: Any, nodes: list[str],
) -> None:
    with pytest.raises(BadInputError) as caught:
        trainer(silent_nets.made(kind, recurrent), kind_of_loss(silent=silent))
    assert [(each.code, each.node) for each in caught.value.diagnostics] == [("SC501", node) for node in nodes]
    remedies = {str(each.remedy) for each in caught.value.diagnostics}
    assert all("silent=None" in each and ("Pseudospike" in each) == (kind == "theta") for each in remedies)


@pytest.mark.parametrize(("net", "target", "loss", "said"), [
    ("lif", "event", "spike-count", "compile for clock"),
    ("lif", "event", LOSSES.SpikeCountCrossEntropy(), "compile for clock"),
    ("lif", "event", "voltage-max", "Use the loss 'first-spike'"),
    ("shown", "event", "voltage-max", "Use LI, CubaLI or I as the output"),
    ("shown", "event", LOSSES.FirstSpikeCrossEntropy(output="out"), "Use LI, CubaLI or I as the output"),
])
def test_a_loss_that_does_not_fit_is_refused_before_any_training(net: str, target: str, loss: Any, said: str) -> None:
    with pytest.raises(BadInputError, match="SC409") as caught:
        trainer(getattr(silent_nets, net)(), loss, target)
    assert said in str(caught.value)


def test_a_count_on_the_clock_has_a_loss_of_its_own() -> None:
    net = spikec.Builder(spikec.Discretization(dt=1e-3, spike="delta"))
    label = net.lif("label", 3, tau=20e-3)
    net.connect(net.input("in", 4), label, weight=np.full((3, 4), 20.0))
    net.output("out", label)
    program = spikec.compile(net, target="clock")
    with pytest.raises(BadInputError, match=r"SC409.*Use the loss 'spike-count', or compile for event"):
        spikec.Trainer(program, "spike-count-mse", duration=20e-3)
    assert spikec.Trainer(program, "spike-count", duration=20e-3, epochs=1, progress=False).fit(events())


def test_what_is_usual() -> None:
    def usual(name: str, **options: bool) -> str | None:
        return usual_loss(spikec.compile(silent_nets.made(name, **options)).network, "label", "event", None)

    assert (usual("theta"), usual("lif"), usual("equations")) == ("pseudospike", "first-spike", "first-spike")
    assert usual("theta", recurrent=True) == "first-spike"
    assert usual("equations", readout=True) is None


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(silent_nets.__file__, "nets.py")
    given, labels = events()
    np.savez("data.npz", times=given.times, indices=given.indices, offsets=given.offsets, labels=labels)
    return tmp_path


def test_the_command_says_what_is_done_about_silence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--data", "data.npz", "--epochs", "1", "--duration", "0.02")
    code, told = say_json(capsys, "train", "nets.py:theta", *options, "-o", "a")
    assert (code, told["loss"]) == (0, "pseudospike")
    code, _, err = say(capsys, "train", "nets.py:equations", *options, "-o", "b")
    assert (code, "SC501 at 'label'" in err, "loss first-spike" in err) == (0, True, True), err
    code, _, err = say(capsys, "train", "nets.py:equations", *options, "-o", "c", "--silent", "none")
    assert (code, "SC501" in err) == (0, False), err
    for model, more, said in (
        ("equations", ("--silent", "push"), "SC501"), ("lif", ("--silent", "poke"), "none, push, bump, both"),
        ("theta", ("--silent", "none"), "first-spike, spike-time"), ("shown", (), "Use LI, CubaLI or I"),
        ("lif", ("--silent", "none", "--rule", "biograd"), "trains by a rule"),
    ):
        code, _, err = say(capsys, "train", f"nets.py:{model}", *options, *more, "-o", "d")
        assert (code, said in err) == (4, True), err
