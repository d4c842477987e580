"""The command line, from a model to results: what it writes, what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikec
from spikec import Events
from spikec.compiler.cli import app, run
from spikec.ir.event_files import read_events, read_samples, write_events
from spikec.ir.npz import read_npz, write_npz

MODEL = """
import numpy as np
from spikec import Builder

def make(outputs=1):
    draw = np.random.default_rng(0)
    net = Builder()
    source = net.input("in", 4)
    hidden = net.cubalif("hidden", 6, tau_mem=20e-3, tau_syn=5e-3)
    digit = net.cubalif("digit", 3, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(source, hidden, weight=draw.normal(3.0, 1.0, (6, 4)))
    net.connect(hidden, digit, weight=draw.normal(2.0, 1.0, (3, 6)))
    net.output("out", digit)
    if outputs == 2:
        net.output("inner", hidden)
    return net.build()

def two():
    return make(2)

def jumps():
    net = Builder()
    source = net.input("in", 64)
    net.output("out", net.connect(source, net.lif("hidden", 10, tau=20e-3), weight=np.full((10, 64), 30e-3)))
    return net.build()

def ambiguous():
    net = Builder()
    source = net.input("in", (1, 4, 4))
    pooled = net.max_pool2d("pool", source, kernel_size=2)
    hidden = net.cubalif("hidden", pooled.shape, tau_mem=20e-3, tau_syn=5e-3)
    net.connect(pooled, hidden)
    net.output("out", hidden)
    return net.build()

def raises():
    raise ValueError("not this")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    return tmp_path


def some_events(samples: int = 3, seed: int = 1) -> Events:
    draw = np.random.default_rng(seed)
    return Events.from_samples([(draw.uniform(0, 20e-3, 12), draw.integers(0, 4, 12)) for _ in range(samples)])


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    capsys.readouterr()
    code = app.main(arguments)
    return code, *capsys.readouterr()


def say_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code, out, _ = say(capsys, *arguments, "--json")
    assert out.count("\n") == 1, "one line, one object"
    return code, json.loads(out)


def test_compile_and_run_agree_with_the_library(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = some_events()
    write_events("in.npz", {"in": events})
    assert say(capsys, "compile", "net.py:make", "-t", "event", "-o", "net")[0] == 0
    code, told = say_json(capsys, "run", "net", "--input", "in.npz", "--output", "out.npz", "--duration", "0.05",
                          "--probe", "hidden.v@0.005,0.02", "--probe", "digit.v@0.01")
    assert code == 0
    expected = spikec.load("net").run(events, duration=0.05,
                                      probes={"hidden.v": [0.005, 0.02], "digit.v": [0.01]})
    found = read_events("out.npz", ["out"])["out"]
    assert np.array_equal(found.times, expected.spikes["out"].times)
    assert np.array_equal(found.indices, expected.spikes["out"].indices)
    assert np.array_equal(found.offsets, expected.spikes["out"].offsets)
    assert len(found) > 0
    assert told["spikes"] == {"out": len(found)}
    assert told["samples"] == 3
    assert told["truncated"] is False
    arrays = read_npz("out.npz")
    assert np.array_equal(arrays["probes/hidden.v"], expected.probes["hidden.v"])
    assert arrays["probes/hidden.v"].shape == (3, 2, 6)
    assert arrays["probes/digit.v"].shape == (3, 1, 3)


def test_several_outputs_are_named_in_the_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_events("in.npz", {"in": some_events()})
    assert say(capsys, "compile", "net.py:two", "-o", "net")[0] == 0
    code, out, _ = say(capsys, "run", "net", "-i", "in.npz", "-o", "out.npz", "--duration", "0.05")
    assert code == 0
    assert "3 samples" in out
    assert set(read_events("out.npz", ["out", "inner"])) == {"out", "inner"}


def test_dump_ir_writes_a_text_after_each_pass(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "compile", "net.py:make", "-o", "net", "--dump-ir", "ir")[0] == 0
    assert len(list(Path("ir").iterdir())) >= 2


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


def test_the_grid_of_a_file_is_stated_on_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, "compile", "net.py:make", "-o", "net", "--spike", "box", "--dt", "0.002")
    assert code == 0
    assert (told["report"]["discretization"]["spike"], told["report"]["discretization"]["dt"]) == ("box", 0.002)


def test_a_torch_model_takes_its_time_step(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("snntorch")
    Path("torch_net.py").write_text(
        "import snntorch, torch\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Linear(4, 6),\n"
        "        snntorch.Synaptic(alpha=0.8, beta=0.9, init_hidden=True, output=True))\n")
    code, told = say_json(capsys, "compile", "torch_net.py:make", "--dt", "0.001", "-o", "net")
    assert code == 0
    assert told["report"]["neurons"] == 6
    assert say(capsys, "compile", "torch_net.py:make", "-o", "net")[0] == 4


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (("inspect", "net.py:make", "--spike", "box"), 4, "--dt"),
    (("inspect", "net.py:make", "--spike", "round", "--dt", "0.001"), 4, "round"),
    (("compile", "absent.nir", "-o", "net"), 4, "absent.nir"),
    (("compile", "net.py", "-o", "net"), 4, "net.py:NAME"),
    (("compile", "net.py:nothing", "-o", "net"), 4, "nothing"),
    (("compile", "absent.onnx", "-o", "net"), 4, "SC203"),
    (("compile", "net.py:make", "-o", "net", "-t", "loihi2"), 3, "SC531"),
    (("compile", "net.py:make", "-o", "net", "-t", "abacus"), 4, "SC530"),
    (("compile", "net.py:ambiguous", "-o", "net"), 3, "pool"),
    (("compile", "net.py:make"), 4, "--output"),
    (("compile", "net.py:make", "-o", "net.py"), 4, "SC522"),
    (("run", "absent", "--input", "in.npz"), 4, "SC520"),
    (("run", "absent", "--input", "in.npz", "--probe", "hidden@3"), 4, "SC550"),
    (("run", "absent", "--input", "in.npz", "--duration", "long"), 4, "SC550"),
    (("train", "net.py:make", "--data", "absent", "-o", "t"), 4, "SC540"),
    (("train", "net.py:jumps", "--data", "digits", "-o", "t"), 3, "SC411"),
    (("data", "get", "imagenet"), 4, "mnist"),
    (("data",), 4, "SC550: a command is missing"),
    (("data",), 4, "spikec data --help"),
    (("inspect", "absent"), 4, "spikec compile"),
    (("compile", "net.py:raises", "-o", "net"), 4, "SC231: 'net.py:raises' fails with ValueError: not this"),
    (("compile", "net.py:raises", "-o", "net"), 4, "net.py, line 37"),
    (("compile", "net.py:raises", "-o", "net"), 4, "SPIKEC_TRACEBACK=1"),
    (("fly",), 4, "SC550"),
    (("targets", "--colour"), 4, "SC550"),
])
def test_exit_codes_and_messages(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, _, err = say(capsys, *arguments)
    assert (found, said in err) == (code, True), err
    assert "Traceback" not in err


def test_a_fault_in_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, "compile", "net.py:make", "-o", "net", "-t", "abacus")
    assert (code, told["ok"], told["exit_code"]) == (4, False, 4)
    assert told["diagnostics"][0]["code"] == "SC530"


def test_an_internal_error_is_70_and_short(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "parse_probes", lambda texts: 1 // 0)
    code, _, err = say(capsys, "run", "net", "--input", "in.npz")
    assert code == 70
    assert "ZeroDivisionError" in err
    assert "report" in err
    assert "Traceback" not in err
    monkeypatch.setenv("SPIKEC_TRACEBACK", "1")
    code, _, err = say(capsys, "run", "net", "--input", "in.npz")
    assert code == 70
    assert "Traceback" in err


def test_the_traceback_of_a_model_is_shown_on_request(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "broken.py").write_text("def make(:\n")
    assert "broken.py, line 1" in say(capsys, "inspect", "broken.py:make")[2]
    monkeypatch.setenv("SPIKEC_TRACEBACK", "1")
    code, _, err = say(capsys, "inspect", "net.py:raises")
    assert code == 4
    assert "Traceback" in err
    assert 'raise ValueError("not this")' in err


def test_json_may_stand_before_the_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = say(capsys, "--json", "inspect", "net.py:make")
    assert (code, json.loads(out)["neurons"]) == (0, 9)
    code, out, _ = say(capsys, "--json", "inspect", "absent")
    assert (code, json.loads(out)["diagnostics"][0]["code"]) == (4, "SC230")


def test_targets_promise_what_the_readme_does(capsys: pytest.CaptureFixture[str]) -> None:
    summary = {target["name"]: target["summary"] for target in say_json(capsys, "targets")[1]["targets"]}["event"]
    assert "CUDA" in summary
    assert "not run yet" in summary
    assert "not run yet" in (Path(__file__).parent.parent / "README.md").read_text()


def test_an_interruption_is_130(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(texts: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "parse_probes", interrupted)
    assert say(capsys, "run", "net", "--input", "in.npz")[0] == 130


def test_without_a_command_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = say(capsys)
    assert "compile" in out
    assert (code, "a command is missing" in err) == (4, True)
    assert say(capsys, "--help")[0] == 0
    assert say(capsys, "--version")[1].split() == ["spikec", spikec.__version__]


def test_targets_lists_what_can_be_compiled_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, "targets")
    assert code == 0
    assert {target["name"] for target in told["targets"] if target["status"] == "available"} == {"clock", "event"}
    assert "loihi2" in say(capsys, "targets")[1]


def test_doctor_names_packages_by_their_pip_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEC_DATA", str(tmp_path / "absent"))
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SPIKEC_CACHE", str(tmp_path / "file" / "cache"))
    code, told = say_json(capsys, "doctor")
    findings = {finding["part"]: finding for finding in told["findings"]}
    assert code == 0
    assert {"cuda-core", "nvidia-cuda-nvrtc", "ziglang", "scikit-learn", "snntorch"} <= set(findings)
    assert findings["data folder"]["state"] == "problem"
    assert findings["kernel cache"]["state"] == "problem"
    assert "SPIKEC_CACHE" in findings["kernel cache"]["remedy"]
    assert findings["data set mnist"]["remedy"] == "spikec data get mnist"
    assert findings["torch"]["state"] == "ok"


def test_doctor_tells_a_machine_without_a_compiler(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikec.runtime.jit.compiler", lambda: None)
    findings = {finding["part"]: finding for finding in say_json(capsys, "doctor")[1]["findings"]}
    assert findings["C compiler"]["state"] == "problem"
    assert "ziglang" in findings["C compiler"]["remedy"]


def test_the_command_exits_with_its_code() -> None:
    done = subprocess.run([sys.executable, "-m", "spikec", "run", "absent", "--input", "x.npz"], capture_output=True,
                          text=True, check=False, env=os.environ | {"TERM": "dumb"})
    assert done.returncode == 4
    assert "SC520" in done.stderr
    assert done.stdout == ""


FAULTY: dict[str, dict[str, np.ndarray]] = {
    "lacks the array 'offsets'": {"times": np.zeros(1), "indices": np.zeros(1, np.int64)},
    "wrong type": {"times": np.zeros(1, np.int64), "indices": np.zeros(1, np.int64), "offsets": np.array([0, 1])},
    "not one-dimensional": {"times": np.zeros((1, 1)), "indices": np.zeros(1, np.int64), "offsets": np.array([0, 1])},
    "unknown array": {"times": np.zeros(1), "indices": np.zeros(1, np.int64), "offsets": np.array([0, 1]),
                      "spikes": np.zeros(2)},
    "holds events of 'other'": {"other/times": np.zeros(1), "other/indices": np.zeros(1, np.int64),
                                "other/offsets": np.array([0, 1])},
    "holds no events": {},
}


@pytest.mark.parametrize("said", FAULTY)
def test_malformed_events_are_told(said: str, tmp_path: Path) -> None:
    write_npz(tmp_path / "in.npz", FAULTY[said])
    with pytest.raises(spikec.BadInputError) as error:
        read_events(tmp_path / "in.npz", ["in"])
    assert said in str(error.value)
    assert {diagnostic.code for diagnostic in error.value.diagnostics} == {"SC524"}
    assert all(diagnostic.remedy for diagnostic in error.value.diagnostics)


def test_an_empty_batch_may_be_written_as_lists(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", times=[], indices=[], offsets=[0])
    events = read_events(tmp_path / "in.npz", ["in"])["in"]
    assert (events.batch, len(events), events.indices.dtype) == (0, 0, np.int64)


def test_events_without_a_name_need_a_single_input(tmp_path: Path) -> None:
    write_events(tmp_path / "in.npz", {"in": some_events()})
    with pytest.raises(spikec.BadInputError, match="does not name its node"):
        read_events(tmp_path / "in.npz", ["a", "b"])


def test_labels_lie_beside_the_events(tmp_path: Path) -> None:
    write_events(tmp_path / "in.npz", {"in": some_events()})
    with pytest.raises(spikec.BadInputError, match=r"labels.*one whole number a sample"):
        read_samples(tmp_path / "in.npz", ["in"])


@pytest.mark.parametrize("data", [
    b"", b"PK\x03\x04", b"no zip at all" * 9,
])
def test_a_damaged_npz_is_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.npz").write_bytes(data)
    with pytest.raises(spikec.BadInputError) as error:
        read_events(tmp_path / "in.npz", ["in"])
    assert error.value.diagnostics[0].code == "SC523"


def test_an_npz_with_objects_or_false_sizes_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", times=np.array([{}], dtype=object), allow_pickle=True)
    good = tmp_path / "good.npz"
    np.savez(good, times=np.zeros(4))
    (tmp_path / "false.npz").write_bytes(good.read_bytes().replace(b"'shape': (4,), ", b"'shape': (9**9,)"[:15]))
    for name in ("objects.npz", "false.npz"):
        with pytest.raises(spikec.BadInputError) as error:
            read_npz(tmp_path / name)
        assert {diagnostic.code for diagnostic in error.value.diagnostics} == {"SC523"}
    with pytest.raises(spikec.BadInputError, match="too many bytes"):
        read_npz(good, limit=10)


def test_a_step_without_the_meaning_of_a_spike_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from spikec.compiler.cli.models import open_graph

    spikec.to_nir(open_graph("net.py:make", None, None), "net.nir")
    for model in ("net.nir", "net.py:make"):
        code, _, err = say(capsys, "compile", model, "--dt", "1e-4", "-o", "net")
        assert (code, "SC210" in err, "--spike" in err) == (4, True, True), err
    code, _, err = say(capsys, "compile", "net.nir", "-o", "net")
    assert (code, "continuous time" in err, "--dt SECONDS --spike" in err) == (0, True, True), err
    code, told = say_json(capsys, "compile", "net.nir", "-o", "boxes", "--dt", "1e-4", "--spike", "box")
    assert (code, told["report"]["discretization"]["dt"]) == (0, 1e-4)
    code, _, err = say(capsys, "inspect", "net", "--dt", "1e-4", "--spike", "box")
    assert (code, "compiled folder" in err) == (4, True), err


def write_task(name: str, labels: np.ndarray, channels: int = 4) -> None:
    events = Events.from_samples([(np.full(channels, 5e-3), np.arange(channels)) for _ in labels])
    write_npz(name, {"times": events.times, "indices": events.indices, "offsets": events.offsets, "labels": labels})


READOUT = """
import spikec

def make(inputs=4):
    net = spikec.Builder()
    source = net.input("in", inputs)
    hidden = net.cubalif("hidden", 6, tau_mem=20e-3, tau_syn=5e-3)
    digit = net.cubali("digit", 3, tau_mem=20e-3, tau_syn=5e-3)
    source.connect(hidden, weight=spikec.normal(3.0, 1.0, seed=0))
    hidden.connect(digit, weight=spikec.normal(2.0, 1.0, seed=1))
    net.output("out", digit)
    return net.build()

def wide():
    return make(64)
"""


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


def test_code_that_prints_or_exits(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("loud.py").write_text(MODEL + "\nprint('loaded')\ndef loud():\n    print('made')\n    return make()\n"
                               "def gone():\n    raise SystemExit(3)\n")
    code, told = say_json(capsys, "compile", "loud.py:loud", "-o", "net")
    assert (code, told["ok"]) == (0, True)
    code, _, err = say(capsys, "compile", "loud.py:gone", "-o", "net")
    assert (code, "SC231" in err, "SystemExit" in err) == (4, True, True), err


def test_run_with_a_file_prints_shapes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("readout.py").write_text(READOUT)
    write_events("in.npz", {"in": some_events()})
    say(capsys, "compile", "readout.py:make", "-o", "net")
    command = ["run", "net", "-i", "in.npz", "--duration", "0.05", "--probe", "hidden.v@0.01"]
    code, told = say_json(capsys, *command)
    assert (code, np.shape(told["probes"]["hidden.v"])) == (0, (3, 1, 6))
    code, told = say_json(capsys, *command, "-o", "out.npz")
    assert (code, told["shapes"]) == (0, {"hidden.v": [3, 1, 6], "out.voltage_max": [3, 3]})
    assert "probes" not in told


def test_data_get_says_when_there_is_nothing_to_fetch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikec.runtime.datasets.fetch", lambda parts, mirror, progress: [Path("there.npy")])
    assert "present and sound" in say(capsys, "data", "get", "yin-yang")[1]
    code, out, _ = say(capsys, "data", "get", "digits")
    assert (code, "scikit-learn" in out) == (0, True)


def test_environment_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    settings = {"SPIKEC_THREADS": "abc", "CC": "no-such-compiler", "SPIKEC_CACHE": str(tmp_path / "file" / "cache")}
    done = subprocess.run([sys.executable, "-m", "spikec", "doctor", "--json"], capture_output=True, text=True,
                          check=False, env=os.environ | settings)
    problems = {each["part"] for each in json.loads(done.stdout)["findings"] if each["state"] == "problem"}
    assert {"SPIKEC_THREADS", "CC", "kernel cache"} <= problems
    code = ("from spikec.runtime import jit, threads\n"
            "threads.get_threads(), threads.get_threads()\n"
            "jit.compile_c('int one(void) { return 1; }'), jit.compile_c('int two(void) { return 2; }')")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=os.environ | settings).stderr
    assert {name: told.count(f"SC552: {name}") for name in settings} == dict.fromkeys(settings, 1), told


def test_spikes_cut_off_in_continuous_time_name_the_grid(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikec.runtime.engine import Engine

    write_events("in.npz", {"in": some_events()})
    say(capsys, "compile", "net.py:make", "-o", "net")
    plain = Engine._stage

    def small(engine: Engine, component: tuple[str, ...]) -> Any:
        stage = plain(engine, component)
        stage.kernel.limit = 1
        return stage

    assert "--spike" not in say(capsys, "run", "net", "-i", "in.npz", "--duration", "0.05")[2]
    monkeypatch.setattr(Engine, "_stage", small)
    told = say(capsys, "run", "net", "-i", "in.npz", "--duration", "0.05")[2]
    assert all(word in told for word in ("SC408", "limit: 1 spikes", "--dt SECONDS --spike", "refractory")), told
