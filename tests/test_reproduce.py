"""Headline results from their configurations: what is read and refused, and that runs are kept and gone on with."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli_commands import say, say_json
from hypothesis import given
from hypothesis import strategies as st

import spikec
from spikec.compiler.reproduce import config as configs
from spikec.compiler.reproduce import figures, graded, local, runner
from spikec.compiler.reproduce.activity import active
from spikec.compiler.reproduce.gradients import thinned
from spikec.compiler.reproduce.lock import alone
from spikec.compiler.reproduce.network import built
from spikec.compiler.reproduce.stopwatch import Stopwatch
from spikec.runtime.display import Display
from spikec.runtime.history import EpochRecord
from spikec.runtime.interruption import TrainingInterrupted

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = """
title = "Digits, small"
paper = "none"
[published]
accuracy = 90
deviation = 0.5
verified = false
source = "made up"
[aim]
accuracy = 10.0
seeds = 2
tried = ["another rate"]
[data]
set = "digits"
encoder = "latency"
t_max = 10e-3
[network]
[[network.layers]]
name = "hidden"
kind = "cubalif"
size = 20
weight = { normal = [0.2, 0.4] }
parameters = { tau_mem = 20e-3, tau_syn = 10e-3 }
taps = [[0, 0], [1e-3, 4e-3]]
recurrent = { weight = { uniform = [-0.5, 0.5], by_inputs = true }, delay = [1e-3, 3e-3] }
[[network.layers]]
name = "label"
kind = "cubali"
size = 10
weight = { normal = [0.0, 0.1] }
parameters = { tau_mem = 20e-3, tau_syn = 10e-3 }
[loss]
kind = "integrated-voltage"
scale = 50.0
[training]
lr = 4e-3
rates = { delay = 1e-4 }
trained = ["weight", "delay"]
schedule = 0.9
epochs = 3
batch = 20
duration = 20e-3
input_dropout = 0.1
"""
CONVOLVED = """
title = "x"
paper = "x"
[aim]
accuracy = 99
seeds = 3
[data]
set = "mnist"
encoder = "latency"
t_max = 0.1
[network]
shape = [1, 28, 28]
[[network.layers]]
name = "one"
kind = "cubalif"
channels = 3
kernel = 5
pool = 2
weight = { uniform = [-1, 1] }
parameters = { tau_mem = 0.26, tau_syn = 0.13, v_threshold = 0.04, reset = "subtract" }
[[network.layers]]
name = "label"
kind = "cubalif"
size = 10
weight = { uniform = [-1, 1], by_inputs = true }
parameters = { tau_mem = 0.26, tau_syn = 0.13 }
[loss]
kind = "first-spike"
[training]
lr = 3e-3
epochs = 5
batch = 50
duration = 0.2
steps = { epochs = 10, factor = 0.5, least = 1e-4 }
"""
THETA = """kind = "theta"
weight = { uniform = [-0.5, 0.5], by_inputs = true }
parameters = { tau = 19e-3 }"""
SILENT = f"""
title = "Digits, out of silence"
paper = "none"
[aim]
accuracy = 10.0
seeds = 2
[data]
set = "digits"
encoder = "at-once"
time = 1e-3
threshold = 7.5
[changes]
kind = "flips"
probability = 0.05
peak = 16.0
[network]
[[network.layers]]
name = "hidden"
size = 20
{THETA}
[[network.layers]]
name = "label"
size = 10
{THETA}
[loss]
kind = "pseudospike"
tau0 = 10e-3
gamma = 0.01
[training]
lr = 2e-2
trained = ["weight", "v0"]
schedule = "cosine"
epochs = 10
batch = 20
duration = 20e-3
"""


def small(**changes: Any) -> configs.Config:
    told = tomllib.loads(SMALL)
    for path, value in changes.items():
        *tables, name = path.split("__")
        inner: Any = told
        for each in tables:
            inner = inner[each]
        inner[name] = value
    return configs.config_of(told, "small")


@pytest.mark.parametrize("name", configs.names())
def test_every_configuration_of_the_package_is_sound(name: str) -> None:
    config = configs.config_named(name)
    assert config.name == name
    assert config.epochs >= 2
    assert config.aim.seeds >= 3
    assert config.published is None or config.published.source
    if config.network is not None:
        first, again, other = (built(config.network, config.data.channels, seed) for seed in (0, 0, 1))
        spikec.compile(first)
        name = f"to_{config.network.layers[0].name}"
        assert np.array_equal(first.nodes[name].weight, again.nodes[name].weight)
        assert not np.array_equal(first.nodes[name].weight, other.nodes[name].weight)


def test_weights_of_two_layers_are_drawn_as_they_always_were() -> None:
    """Stored results of accuracies stand on these seeds."""
    graph = built(configs.config_named("eventprop-yin-yang").network, 5, 3)
    assert np.array_equal(graph.nodes["to_hidden"].weight, spikec.normal(0.945, 0.49, seed=7)((200, 5)))
    assert np.array_equal(graph.nodes["to_label"].weight, spikec.normal(0.586, 0.063, seed=8)((3, 200)))


def test_convolutions_taps_and_recurrence_are_laid_out() -> None:
    convolved = configs.config_of(tomllib.loads(CONVOLVED), "c")
    assert convolved.network.form == "3C5-P2-10"
    shapes = {name: node.weight.shape for name, node in built(convolved.network, 784, 0).nodes.items()
              if hasattr(node, "weight")}
    assert shapes == {"to_one": (3, 1, 5, 5), "to_label": (10, 3 * 12 * 12)}
    config = small()
    assert config.network.form == "20R-10"
    network = spikec.compile(built(config.network, config.data.channels, 0)).network
    delays = sorted(float(np.max(each.delay)) for each in network.projections if each.delay is not None)
    assert len(network.projections) == 4
    assert 1e-3 <= delays[-2] <= 4e-3
    assert 1e-3 <= delays[-1] <= 4e-3


def test_all_that_is_wrong_is_told_at_once() -> None:
    told = tomllib.loads(SMALL)
    del told["title"]
    told["aim"]["accuracy"] = 101
    told["data"]["set"] = "digit"
    told["network"]["layers"][0]["kind"] = "cubalf"
    told["network"]["layers"][1]["weight"] = {"normal": [0.0, -1.0]}
    told["network"]["layers"][1]["parameters"]["tau"] = 1
    told["loss"]["scale"] = -1.0
    told["training"]["lr"] = "fast"
    told["training"]["epoch"] = 3
    told["extra"] = 1
    with pytest.raises(spikec.BadInputError) as caught:
        configs.config_of(told, "x")
    found = {each.node for each in caught.value.diagnostics}
    assert {"title", "aim.accuracy", "data.set", "network.layers[0].kind", "network.layers[1].weight.normal",
            "network.layers[1].parameters.tau", "loss", "training.lr", "training.epoch", "extra"} <= found
    assert {each.code for each in caught.value.diagnostics} == {"SC580"}
    assert any("'digits' meant" in (each.remedy or "") for each in caught.value.diagnostics)


def test_what_no_network_can_have_is_told_before_training() -> None:
    told = tomllib.loads(SMALL)
    told["network"]["layers"][0]["parameters"]["tau_mem"] = -1.0
    with pytest.raises(spikec.BadInputError, match="cannot be built") as caught:
        configs.config_of(told, "x")
    assert caught.value.diagnostics[0].code == "SC580"


def test_samples_that_the_network_cannot_take_whole_are_told_by_their_place() -> None:
    told = tomllib.loads(CONVOLVED)
    told["network"]["shape"] = [1, 7, 8]
    told["training"]["duration"] = told["data"]["t_max"] / 2
    with pytest.raises(spikec.BadInputError) as caught:
        configs.config_of(told, "x")
    assert [(each.code, each.node) for each in caught.value.diagnostics] == [
        ("SC580", "network.shape"), ("SC580", "training.duration")]


def test_a_loss_that_does_not_fit_is_told_before_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = tomllib.loads(SMALL)
    told["loss"] = {"kind": "first-spike"}
    monkeypatch.setattr(runner, "loaded", None)
    with pytest.raises(spikec.BadInputError, match="SC409"):
        runner.reproduce(configs.config_of(told, "x"), output=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_training_that_fails_at_once_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("before the first step")

    monkeypatch.setattr(spikec.Trainer, "fit", fails)
    with pytest.raises(RuntimeError, match="first step"):
        runner.reproduce(configs.config_of(tomllib.loads(SMALL), "x"), output=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_parameter_that_a_neuron_needs_is_missed() -> None:
    told = tomllib.loads(SMALL)
    del told["network"]["layers"][0]["parameters"]["tau_mem"]
    del told["network"]["layers"][1]["parameters"]
    with pytest.raises(spikec.BadInputError) as caught:
        configs.config_of(told, "x")
    assert [each.node for each in caught.value.diagnostics] == [
        "network.layers[0].parameters.tau_mem", "network.layers[1].parameters.tau_mem",
        "network.layers[1].parameters.tau_syn"]


def _places(table: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    return [*([path] if path else []), *(place for key, inner in items for place in _places(inner, (*path, key)))]


SYNAPSES = [(configs.CONFIGS / f"synapse-{task}.toml").read_text() for task in ("xor", "encoding")]
PLACES = {text: _places(tomllib.loads(text)) for text in (SMALL, CONVOLVED, SILENT, *SYNAPSES)}


@pytest.mark.parametrize("text", PLACES)
def test_a_kind_that_there_is_none_of_is_one_fault(text: str) -> None:
    """Nothing is said of the entries beside it, which only a known kind gives a meaning."""
    whole = tomllib.loads(text)
    whole.setdefault("way", "gradient")
    if whole["way"] == "gradient":
        whole["changes"] = {"kind": "flips", "probability": 0.1}
    for place in (each for each in _places(whole) if each[-1] in ("kind", "set", "encoder", "way")):
        inner = told = copy.deepcopy(whole)
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = "cifar"
        with pytest.raises(spikec.BadInputError) as caught:
            configs.config_of(told, "x")
        assert [each.message for each in caught.value.diagnostics] == ["this is none of what there is"], place


@given(st.data(), st.sampled_from(list(PLACES)), st.sampled_from([
    None, True, -1, 0, 3, 1e300, float("nan"), float("inf"), "", "cosine", "\0", [], [1, 2], [[0, 1], "x"], {},
    {"normal": [0, 1]}, {"delay": []}, 2**70]))
def test_whatever_stands_there_is_read_or_told(data: st.DataObject, text: str, value: Any) -> None:
    """Any entry replaced by anything: a configuration comes out, or diagnostics."""
    told = copy.deepcopy(tomllib.loads(text))
    place = data.draw(st.sampled_from(PLACES[text]))
    inner = told
    for key in place[:-1]:
        inner = inner[key]
    if value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    faults: tuple[spikec.Diagnostic, ...] = ()
    try:
        config = configs.config_of(told, "x")
    except spikec.BadInputError as error:
        faults = error.diagnostics
    else:
        assert config.epochs >= 1
        if config.training is not None:
            assert all(isinstance(rate, float) for rate in config.training.rates.values())
    assert {each.code for each in faults} <= {"SC580"}


def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.toml").write_text("title = ")
    for name, code, text in ((str(tmp_path / "a.toml"), "SC580", "no TOML"),
                             (str(tmp_path / "b.toml"), "SC523", "No such file"),
                             ("eventprop-mnis", "SC581", "eventprop-mnist")):
        exit_code, _, err = say(capsys, "reproduce", name, "-o", str(tmp_path))
        assert (exit_code, code in err, text in err) == (4, True, True), err


def same(run: dict[str, Any], other: dict[str, Any]) -> bool:
    """But for the time that it took."""
    timed = {"training_cpu_s", "training_wall_s", "started", "commit", "uncommitted_changes"}
    return {key: run[key] for key in run.keys() - timed} == {key: other[key] for key in other.keys() - timed}


def test_runs_are_kept_while_the_settings_are(tmp_path: Path) -> None:
    told: list[str] = []
    options: dict[str, Any] = {"quick": True, "output": tmp_path, "progress": False, "say": told.append}
    first = runner.reproduce(small(), seeds=1, **options)
    assert first["name"] == "reproduce_small-quick"
    (run,) = first["figures"]["runs"]
    assert run["epochs"] == 2
    assert len(run["loss_curve"]) == 2
    assert run["loss_curve"][1] < run["loss_curve"][0]
    assert 0 < run["spikes"]["hidden"] < 20
    assert run["latency_s"] is None
    assert run["training_cpu_s"] > 0
    both = runner.reproduce(small(), seeds=2, **options)
    assert both["figures"]["runs"][0] == json.loads((tmp_path / "reproduce_small-quick.json").read_text()
                                                    )["figures"]["runs"][0]
    assert told.count("seed 0: done before") == 1
    assert both["figures"]["std_percent"] is not None
    assert runner.current(small(), tmp_path) is None, "a trial is not the result"
    (tmp_path / "reproduce_small.json").write_text(json.dumps({**both, "parameters": dict(small().parameters)}))
    assert runner.current(small(), tmp_path)["figures"] == both["figures"]
    assert runner.current(small(training__lr=1e-3), tmp_path) is None, "nor are runs with other settings"
    (tmp_path / "reproduce_small.json").unlink()
    other = runner.reproduce(small(training__lr=1e-3), seeds=1, **options)
    assert len(other["figures"]["runs"]) == 1
    assert "trained again" in told[-2]
    assert [path.name for path in tmp_path.iterdir()] == ["reproduce_small-quick.json"], "no checkpoint is left"


@pytest.mark.parametrize("way", ["gradient", "local", "graded"])
def test_an_interrupted_or_killed_training_comes_to_the_same_bits(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"gradient": small(), "local": configs.config_named("biograd-digits"),
              "graded": configs.config_named("synapse-encoding")}[way]
    whole = runner.reproduce(config, seeds=1, epochs=3, quick=True, output=tmp_path / "whole", progress=False)
    lap = Stopwatch.lap
    done: list[int] = []

    def stops(watch: Stopwatch) -> None:
        lap(watch)
        done.append(1)
        if len(done) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    def dies(watch: Stopwatch) -> None:
        raise MemoryError("as if it were killed, after the checkpoint of its first epoch was written")

    for name, ends, error in (("stopped", stops, TrainingInterrupted), ("killed", dies, MemoryError)):
        options: dict[str, Any] = {"seeds": 1, "epochs": 3, "quick": True, "output": tmp_path / name, "progress": False}
        with monkeypatch.context() as patched:
            patched.setattr(Stopwatch, "lap", ends)
            with pytest.raises(error):
                runner.reproduce(config, **options)
        assert any(path.suffix == ".checkpoint" for path in (tmp_path / name).iterdir()), name
        again = runner.reproduce(config, **options)
        assert same(again["figures"]["runs"][0], whole["figures"]["runs"][0]), name


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that differs in what a training begins from alone, as the draw of weights."""
    def dies(watch: Stopwatch) -> None:
        raise MemoryError

    options: dict[str, Any] = {"seeds": 1, "epochs": 3, "quick": True, "output": tmp_path, "progress": False}
    with monkeypatch.context() as patched:
        patched.setattr(Stopwatch, "lap", dies)
        with pytest.raises(MemoryError):
            runner.reproduce(small(), **options)
    wider = tomllib.loads(SMALL)["network"]["layers"]
    wider[0]["weight"] = {"normal": [0.2, 0.3]}
    with pytest.raises(spikec.BadInputError, match=r"SC508[\s\S]*0\.4[\s\S]*0\.3"):
        runner.reproduce(small(network__layers=wider), **options)
    assert runner.reproduce(small(network__layers=wider), **options, fresh=True)["figures"]["seeds"] == 1


def test_a_result_that_lacks_something_is_none(tmp_path: Path) -> None:
    options: dict[str, Any] = {"seeds": 1, "quick": True, "output": tmp_path, "progress": False}
    whole = runner.reproduce(small(), **options)
    file = tmp_path / "reproduce_small-quick.json"
    (run,) = whole["figures"]["runs"]
    for figures_told in ({"runs": [run]}, {**whole["figures"], "runs": [{"seed": 0}]}, {**whole["figures"], "runs": []},
                         {**whole["figures"], "runs": [{**run, "spikes": 3}]},
                         {**whole["figures"], "runs": [{**run, "never": {"hidden": "x"}}]}):
        file.write_text(json.dumps({**whole, "figures": figures_told}))
        with pytest.raises(spikec.BadInputError, match="SC582"):
            runner.reproduce(small(), **options)


@pytest.mark.parametrize(("way", "batches"), [("local", 13), ("graded", 5)])
def test_an_epoch_that_is_interrupted_goes_on_where_it_was(
    way: str, batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the first epoch, at its end, and at the end of all: no step is made twice, and the records of the epochs
    are those of one that went through."""
    config = configs.config_named({"local": "biograd-digits", "graded": "synapse-encoding"}[way])
    of, name = {"local": (local, "coded"), "graded": (graded._Training, "step")}[way]
    made, finished = [0], list[dict[str, Any]]()
    stops: tuple[int, ...] = ()
    step, finish = getattr(of, name), Display.finish

    def counted(*arguments: Any) -> Any:
        made[0] += 1
        if made[0] in stops:
            os.kill(os.getpid(), signal.SIGINT)
        return step(*arguments)

    def told(display: Display, record: EpochRecord) -> None:
        finished.append({**record.as_dict(), "seconds": record.seconds > 0})
        finish(display, record)

    def reproduced(folder: str) -> dict[str, Any]:
        run: dict[str, Any] = runner.reproduce(config, seeds=1, quick=True, output=tmp_path / folder,
                                               progress=False)["figures"]["runs"][0]
        return run

    monkeypatch.setattr(of, name, counted)
    monkeypatch.setattr(Display, "finish", told)
    whole, once = reproduced("whole"), list(finished)
    assert (made[0], len(once)) == (2 * batches, 2)
    made[0], stops = 0, (2, batches, 2 * batches)
    finished.clear()
    for _ in stops:
        with pytest.raises(TrainingInterrupted):
            reproduced("stopped")
        assert any(path.suffix == ".checkpoint" for path in (tmp_path / "stopped").iterdir())
    again = reproduced("stopped")
    assert made[0] == 2 * batches, "no step was made again"
    assert finished == once
    assert same(again, whole)


def test_images_change_where_they_are_asked_to(tmp_path: Path) -> None:
    options: dict[str, Any] = {"seeds": 1, "quick": True, "progress": False}
    plain = runner.reproduce(small(), output=tmp_path / "a", **options)["figures"]["runs"][0]
    changed, again = (runner.reproduce(small(changes={"rotation": 20.0, "elastic": [0.0, 1.0]}), output=tmp_path / name,
                                       **options)["figures"]["runs"][0] for name in "bc")
    assert plain["before"] == changed["before"], "the test part is as it is"
    assert plain["loss_curve"] != changed["loss_curve"]
    assert same(changed, again)
    with pytest.raises(spikec.BadInputError) as caught:
        small(changes={"rotation": -1, "elastic": [2, 1], "zooms": 1})
    assert {each.node for each in caught.value.diagnostics} == {"changes", "changes.zooms"}
    with pytest.raises(spikec.BadInputError, match="only images change"):
        small(data={"set": "yin-yang", "encoder": "yin-yang", "t_max": 0.03}, changes={})


@pytest.mark.filterwarnings("ignore:SC519")
def test_a_network_that_is_silent_learns_by_pseudospikes(tmp_path: Path) -> None:
    config = configs.config_of(tomllib.loads(SILENT), "silent")
    stored = runner.reproduce(config, seeds=1, epochs=10, quick=True, output=tmp_path, progress=False)
    (run,) = stored["figures"]["runs"]
    assert run["before"]["never"] == {"hidden": 1.0, "label": 1.0}
    assert run["never"]["hidden"] < 0.2
    assert run["test_accuracy"] > 0.75
    assert 0.2 < run["test_accuracy_by_spikes"] < run["test_accuracy"] + 0.05
    assert run["spikes"]["hidden"] > 0.1
    assert re.fullmatch(r"\d\d\.\d\d \(1 seed\); \d\d\.\d\d without pseudospikes", figures.row(config, stored)["ours"])
    names = {name: value for name, value in tomllib.loads(SILENT)["data"].items() if name != "threshold"}
    for changed in ({"data": names}, {"changes": {"kind": "flip"}}, {"changes": {"kind": "flips", "probability": 2}},
                    {"loss": {"kind": "pseudospike", "gamma": -1}}):
        with pytest.raises(spikec.BadInputError, match="SC580"):
            configs.config_of({**tomllib.loads(SILENT), **changed}, "silent")


def test_the_command_says_what_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    file, out = str(tmp_path / "small.toml"), str(tmp_path / "out")
    monkeypatch.setenv("SPIKEC_DATA", str(tmp_path))

    def interrupted(*arguments: Any, **options: Any) -> None:
        raise TrainingInterrupted(None, None)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setitem(runner.WAYS, "gradient", runner.Way(interrupted))  # type: ignore[arg-type, index]
        code, _, err = say(capsys, "reproduce", file, "--quick", "-o", out)
        assert (code, "goes on from there" in err) == (130, True), err
    code, told = say_json(capsys, "reproduce", file, "--quick", "-o", out)
    assert (code, told["name"], told["row"]["met"]) == (0, "reproduce_small-quick", "– (not the whole result)")
    assert told["row"]["published"] == "90.00 ± 0.50 (unverified)"
    code, shown, err = say(capsys, "reproduce", file, "--quick", "-o", out)
    assert (code, "done before" in err, "Digits, small" in shown) == (0, True, True)
    Path(out, "reproduce_small-quick.json").write_text("{}")
    code, _, err = say(capsys, "reproduce", file, "--quick", "-o", out)
    assert (code, "SC582" in err) == (4, True), err
    assert say(capsys, "reproduce", file, "--quick", "--fresh", "-o", out)[0] == 0
    for arguments, text in ((("--seeds", "0"), "--seeds is out of range"), (("--epochs", "0"), "--epochs"),
                            (("--data", file), "--data is no folder")):
        code, _, err = say(capsys, "reproduce", file, *arguments)
        assert (code, text in err) == (4, True), err
    code, _, err = say(capsys, "reproduce", "eventprop-mnist", "--quick", "-o", out)
    assert (code, "SC540" in err) == (4, True), "the data set is not there"
    code, told = say_json(capsys, "reproduce", "--list", "-o", out)
    assert {each["name"] for each in told["results"]} == set(configs.names())
    assert {each["ours"] for each in told["results"]} == {"not run"}
    assert say(capsys, "reproduce")[0] == 4


def test_what_is_met_is_said_of_all_seeds_only() -> None:
    config = small()
    run = {"spikes": {"h": 0.5}, "silent": {"h": 0.25}, "never": {"h": 0.0}, "before": {"never": {"h": 0.9}},
           "latency_s": 0.02, "undecided": 0.0, "training_cpu_s": 3.0, "training_wall_s": 4.0}

    def stored(*accuracies: float) -> dict[str, Any]:
        runs = [{**run, "test_accuracy": each} for each in accuracies]
        return {"name": "reproduce_small", "figures": {**runner.summary(runs, config.measure), "runs": runs}}

    assert figures.met(config, stored(0.9)) is None
    assert figures.row(config, stored(0.9))["met"] == "– (1 of 2 seeds run)"
    trial = {**stored(0.9, 0.8), "name": "reproduce_small-quick"}
    assert (figures.met(config, trial), figures.row(config, trial)["met"]) == (None, "– (not the whole result)")
    assert figures.met(config, stored(0.9, 0.8)) is True
    assert figures.met(config, stored(0.09, 0.1)) is False
    told = figures.row(config, stored(0.9, 0.8))
    assert told["ours"] == "85.00 ± 7.07 (2 seeds)"
    assert (told["spikes"], told["silent"], told["never"]) == ("h 0.5", "h 25.0", "h 90.0; h 0.0")
    assert told["latency"] == "20.0 ms"
    assert set(figures.row(config, None)) == set(figures.COLUMNS)


def test_silence_is_aimed_at_in_every_seed() -> None:
    config = configs.config_named("mnist-pseudospikes")
    sizes = {"first": 100, "second": 100, "label": 10}

    def run(before: float, after: float) -> dict[str, Any]:
        """Shares of the neurons of both hidden layers together; the label's are never counted."""
        at = {"neurons": sizes, "spikes": sizes, "silent": sizes}
        return {**at, "never": {"first": 0.0, "second": 2 * after, "label": 1.0}, "test_accuracy": 0.98,
                "before": {**at, "never": {"first": 1.0, "second": 2 * before - 1.0, "label": 0.0}},
                "training_cpu_s": 1.0, "training_wall_s": 1.0}

    def stored(*runs: dict[str, Any]) -> dict[str, Any]:
        return {"name": "reproduce_mnist-pseudospikes",
                "figures": {**runner.summary(list(runs), config.measure), "runs": list(runs)}}

    whole = [run(0.99, 0.0)] * 10
    assert figures.met(config, stored(*whole)) is True
    assert figures.row(config, stored(*whole))["met"] == "yes; hidden neurons that never fire: yes"
    assert figures.met(config, stored(*whole[:9])) is None
    for other in (run(0.985, 0.0), run(1.0, 0.005)):
        assert figures.met(config, stored(*whole[:9], other)) is False
        told = figures.row(config, stored(*whole[:9], other))
        assert told["met"] == "yes; hidden neurons that never fire: **no**, reached by 9 of 10"
        assert told["aim"].startswith("≥ 97.7; hidden neurons that never fire ≥ 99 before, ≤ 0 after")
        few = figures.row(config, stored(other))["met"]
        assert few == "– (1 of 10 seeds run); hidden neurons that never fire: **no**, reached by 0 of 1"
        assert figures.reached(config, stored(other)) is None, "one seed settles its own part alone"
    told = tomllib.loads(SMALL)
    told["aim"]["silence"] = {"before": 99, "after": 101}
    del told["network"]["layers"][0]
    with pytest.raises(spikec.BadInputError) as caught:
        configs.config_of(told, "x")
    assert {each.node for each in caught.value.diagnostics} == {"aim.silence.after", "aim.silence"}


def test_activity_is_counted() -> None:
    class Out:
        def __init__(self, counts: list[list[int]], first: list[list[float]]) -> None:
            self.counts, self.first = torch.tensor(counts), torch.tensor(first, dtype=torch.float64)

        def spike_count(self, name: str) -> torch.Tensor:
            return self.counts

        def first_spike(self, name: str) -> torch.Tensor:
            return self.first

    never = float("inf")
    outs = [Out([[0, 2, 0], [0, 0, 0]], [[never, 0.2, never], [never] * 3]), Out([[3, 1, 0]], [[0.4, 0.5, never]])]
    found = active(outs, ["a"], "a").record()
    assert found["neurons"] == {"a": 3}
    assert found["spikes"]["a"] == pytest.approx(6 / 9)
    assert found["silent"]["a"] == pytest.approx(6 / 9)
    assert found["never"]["a"] == pytest.approx(1 / 3)
    assert found["latency_s"] == pytest.approx(0.3)
    assert found["undecided"] == pytest.approx(1 / 3)
    assert active([Out([[1]], [[0.1]])], ["a"], None).record()["latency_s"] is None


def test_a_thinned_curve_ends_where_it_ends() -> None:
    assert thinned(list(range(7)), 3) == [0, 3, 6]
    assert thinned([1, 2], 50) == [1, 2]
    assert thinned([], 50) == []


def test_a_result_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    options: dict[str, Any] = {"seeds": 1, "quick": True, "output": tmp_path, "progress": False}
    with alone(tmp_path / "reproduce_small-quick.json"):
        with pytest.raises(spikec.BadInputError, match="SC583"):
            runner.reproduce(small(), **options)
        with alone(tmp_path / "another.json"):
            pass
    assert list(tmp_path.iterdir()) == [], "no lock is left"
    (tmp_path / ".reproduce_small-quick.json.lock").touch()  # of a process that was killed
    assert runner.reproduce(small(), **options)["figures"]["seeds"] == 1


def test_a_list_shows_all_results_where_one_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "reproduce_biograd-digits.json").write_text("{}")
    code, out, err = say(capsys, "reproduce", "--list", "-o", str(tmp_path))
    assert (code, "synapse-xor" in out, "cannot be used" in out, "SC582" in err) == (0, True, True, True)
    code, out, err = say(capsys, "reproduce", "--list", "-o", str(tmp_path), "--json")
    told = {each["name"]: each for each in json.loads(out)["results"]}
    assert (code, told["biograd-digits"]["diagnostics"][0]["code"]) == (0, "SC582")
    assert told["synapse-xor"]["percent"] == {"published": None, "aim": 99, "seeds": 0, "mean": None, "deviation": None,
                                              "met": None}


def test_sizes_that_no_memory_holds_are_told(tmp_path: Path) -> None:
    layers = tomllib.loads(SMALL)["network"]["layers"]
    layers[0] |= {"size": 1 << 20}
    with pytest.raises(spikec.BadInputError, match=r"SC580.*too many weights"):
        small(network__layers=layers)
    (tmp_path / "deep.toml").write_text(f"[{'.'.join('a' * 5000)}]\n")
    with pytest.raises(spikec.BadInputError, match=r"SC580.*32 deep"):
        configs.read_config(tmp_path / "deep.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(spikec.BadInputError, match=r"SC523.*no file"):
        configs.read_config(tmp_path / "pipe.toml")
