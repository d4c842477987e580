"""The commands with Loihi: a model is compiled with data, compared, run and reported, and what does not fit is told by
its exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_commands import say, say_json
from lava_here import lava_python

import spikec
from spikec import Events
from spikec.ir.event_files import read_events, write_events

GRID = ("--dt", "1e-3", "--spike", "delta")


def grid_events() -> Events:
    return Events.from_dense((np.random.default_rng(0).random((3, 50, 4)) < 0.2) * 1.0, 1e-3)


def compiled(capsys: pytest.CaptureFixture[str], *more: str) -> None:
    write_events("in.npz", {"in": grid_events()})
    code, told = say_json(capsys, "compile", "net.py:make", "-t", "loihi2", *GRID, "-o", "net", *more)
    assert (code, told["report"]["target"]) == (0, "loihi2")


def test_compile_run_and_validate_agree_with_the_library(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiled(capsys, "--calibration", "in.npz", "--method", "minmax")
    program = spikec.load("net")
    assert program.options.method == "minmax"
    assert program.rates is not None
    code, told = say_json(capsys, "run", "net", "-i", "in.npz", "-o", "out.npz", "--duration", "0.05", "--drain")
    expected = program.run(grid_events(), 0.05, drain=True)
    assert code == 0
    assert told["latency"] == dict(expected.latency)
    assert told["spikes"] == {"out": len(expected.spikes["out"])}
    assert np.array_equal(read_events("out.npz", ["out"])["out"].times, expected.spikes["out"].times)
    code, told = say_json(capsys, "validate", "net", "--against", "reference", "--data", "random:0.2:50")
    assert (code, told["verdict"], told["exact"]["ok"]) == (0, "within drift", True)
    assert told["drift"] < told["drift_limit"]
    code, out, _ = say(capsys, "validate", "net", "--against", "net.py:make", *GRID)
    assert code == 0
    assert "bit for bit" in out


def test_a_chip_that_does_otherwise_is_a_mismatch(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiled(capsys)
    Path("other.py").write_text(Path("net.py").read_text().replace("tau_mem=20e-3", "tau_mem=60e-3"))
    code, told = say_json(capsys, "validate", "net", "--against", "other.py:make", *GRID, "--data", "random:0.2:100")
    assert (code, told["verdict"]) == (1, "differs")


def test_lava_runs_the_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lava_python()
    compiled(capsys)
    arguments = ("run", "net", "-i", "in.npz", "--duration", "0.03")
    counts = [say_json(capsys, *arguments, "--backend", backend)[1]["spikes"] for backend in ("emulator", "lava")]
    assert counts[0] == counts[1]
    assert counts[0]["out"] > 0


def test_what_does_not_fit_exits_with_2(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("net.py").read_text().replace('"in", 4', '"in", 4097')
    Path("wide.py").write_text(text.replace("(6, 4)", "(6, 4097)"))
    code, _, err = say(capsys, "compile", "wide.py:make", "-t", "loihi2", *GRID, "-o", "wide")
    assert code == 2
    assert "input axons" in err
    assert "4096" in err
    assert not Path("wide").exists()


@pytest.mark.parametrize(("arguments", "code", "found"), [
    (("compile", "net.py:make", "-t", "loihi2", "-o", "net"), 4, "--dt"),
    (("compile", "net.py:make", "-t", "loihi2", *GRID, "-o", "net", "--method", "guess"), 4, "SC533"),
    (("compile", "net.py:make", "-t", "loihi1", *GRID, "-o", "net", "--message-bits", "in=3"), 4, "SC533"),
    (("compile", "net.py:make", "-t", "loihi2", *GRID, "-o", "net", "--message-bits", "in"), 4, "SC550"),
    (("compile", "net.py:make", "-t", "loihi2", *GRID, "-o", "net", "--calibration", "absent.npz"), 4, "absent"),
    (("compile", "net.py:make", "-t", "event", "-o", "net", "--chips", "2"), 4, "SC533"),
])
def test_options_that_are_wrong_are_told(arguments: tuple[str, ...], code: int, found: str, place: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    done, _, err = say(capsys, *arguments)
    assert done == code
    assert found in err
    assert not Path("net").exists()
