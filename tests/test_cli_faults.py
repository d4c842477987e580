"""Exit codes, messages and JSON of the commands; what they say of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cli_commands import say, say_json

import spikec
from spikec.compiler.cli import interrupts, run
from spikec.targets.registry import TARGETS


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (("inspect", "net.py:make", "--spike", "box"), 4, "--dt"),
    (("inspect", "net.py:make", "--spike", "round", "--dt", "0.001"), 4, "round"),
    (("compile", "absent.nir", "-o", "net"), 4, "absent.nir"),
    (("compile", "net.py", "-o", "net"), 4, "net.py:NAME"),
    (("compile", "net.py:nothing", "-o", "net"), 4, "nothing"),
    (("compile", "absent.onnx", "-o", "net"), 4, "SC203"),
    (("compile", "net.py:make", "-o", "net", "-t", "loihi2"), 4, "--dt"),
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


def test_a_planned_target(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "abacus", replace(TARGETS["dynapse2"], name="abacus", status="planned"))
    code, _, err = say(capsys, "compile", "net.py:make", "-o", "net", "-t", "abacus")
    assert (code, "SC531" in err, "Traceback" in err) == (3, True, False), err


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


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ImportError])
def test_an_interruption_is_130_on_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    def interrupted(texts: list[str]) -> None:
        raise fault

    monkeypatch.setattr(run, "parse_probes", interrupted)
    monkeypatch.setattr(interrupts._Process, "asked", True)  # of which an import may make an error of its own
    code, out, err = say(capsys, "run", "net", "--input", "in.npz")
    assert (code, out, err) == (130, "", "spikec: interrupted: no file is left half-written. Give the same command "
                                         "again.\n")
    code, out, err = say(capsys, "run", "net", "--input", "in.npz", "--json")
    assert (code, out.count("\n"), err.count("\n")) == (130, 1, 1)
    told = json.loads(out)
    assert (told["ok"], told["exit_code"], told["diagnostics"][0]["code"]) == (False, 130, "SC571")


def started(place: Path, until: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that gets SIGINT as soon as it runs the line `until`, which is put into
    `sitecustomize`: it watches what is imported or called, and sends the signal to its own process."""
    (place / "sitecustomize.py").write_text(until)
    done = subprocess.run([sys.executable, "-m", "spikec", *arguments], capture_output=True, text=True, check=False,
                          env=os.environ | {"TERM": "dumb", "PYTHONPATH": str(place)}, cwd=place)
    return done.returncode, done.stdout, done.stderr


ON_IMPORT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("module", ["json", "numpy", "torch.functional"])
def test_ctrl_c_while_modules_are_read_in_leaves_no_traceback(place: Path, module: str) -> None:
    watch = ON_IMPORT.format(module=module)
    write = ("compile", "net.py:make", "-t", "clock", "--dt", "1e-3", "--spike", "delta", "-o", "net", "--json")
    if module.startswith("torch"):
        write = ("train", "net.py:make", "--data", "in.npz", "-o", "net", "--json")
    code, out, err = started(place, watch, *write)
    assert (code, err.count("\n"), err.startswith("spikec: interrupted: ")) == (130, 1, True), err
    assert json.loads(out)["diagnostics"][0]["code"] == "SC571"
    assert not (place / "net").exists()


AT_THE_END = """
import atexit, os, signal

atexit.register(os.kill, os.getpid(), signal.SIGINT)
"""


def test_ctrl_c_after_the_answer_changes_nothing(place: Path) -> None:
    code, out, err = started(place, AT_THE_END, "targets", "--json")
    assert (code, json.loads(out)["ok"], err) == (0, True, "")
    code, out, err = started(place, AT_THE_END, "targets")
    assert (code, "loihi2" in out, err) == (0, True, "")


def test_without_a_command_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = say(capsys)
    assert "compile" in out
    assert (code, "a command is missing" in err) == (4, True)
    assert say(capsys, "--help")[0] == 0
    assert say(capsys, "--version")[1].split() == ["spikec", spikec.__version__]


def test_targets_lists_what_can_be_compiled_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, "targets")
    assert code == 0
    assert {target["name"] for target in told["targets"] if target["status"] == "available"} == {
        "brainscales2", "clock", "dynapse2", "event", "generic_analog", "loihi1", "loihi2", "xylo"}
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [("targets",), ("targets", "--json"), ("--version",), ("nonsense", "--json")])
def test_an_answer_that_finds_no_room_is_told(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "spikec", *arguments], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False)
    assert (done.returncode, "SC522" in done.stderr, "Traceback" in done.stderr) == (4, True, False), done.stderr


def test_a_command_that_nobody_listens_to_does_its_work() -> None:
    done = subprocess.run(["sh", "-c", f"'{sys.executable}' -m spikec targets >&-"], stderr=subprocess.PIPE, text=True,
                          check=False)
    assert (done.returncode, done.stderr) == (0, "")
