"""Remedies on the command line name what can be typed there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from as_installed import rooms
from cli_commands import say, say_json

import spikec
from spikec.compiler.cli.words import IN_COMMANDS
from spikec.ir.npz import write_npz


@pytest.mark.parametrize("phrase", [phrase for phrases in IN_COMMANDS.values() for phrase in phrases])
def test_every_phrase_is_one_of_the_library(phrase: str) -> None:
    sources = [path.read_text() for folder in rooms().values() for path in folder.rglob("*.py")
               if path.parent.name != "cli"]
    assert any(phrase in source.replace('"\n' + " " * 23 + '"', "") for source in sources)


def test_events_are_sorted_and_runs_are_bounded_by_options(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = ("--dt", "1e-3", "--spike", "delta")
    assert say(capsys, "compile", "net.py:make", "-t", "clock", *grid, "-o", "net")[0] == 0
    write_npz("in.npz", {"times": np.array([1e-3, 6.2e-3]), "indices": np.array([0, 0]), "offsets": np.array([0, 2])})
    code, told = say_json(capsys, "run", "net", "-i", "in.npz")
    assert (code, told["duration"]) == (0, pytest.approx(7e-3))  # the column of the last event
    Path("loop.py").write_text(
        "import spikec\n\n\ndef make():\n    net = spikec.Builder()\n"
        "    x, n = net.input('x', 2), net.cubalif('n', 1, tau_mem=0.01, tau_syn=0.005)\n"
        "    x.connect(n, weight=[[1.0, 1.0]])\n    n.connect(n, weight=[[0.5]])\n    net.output('out', n)\n"
        "    return net.build()\n")
    assert say(capsys, "compile", "loop.py:make", "-t", "event", "-o", "loop")[0] == 0
    code, told = say_json(capsys, "run", "loop", "-i", "in.npz")
    assert (code, told["diagnostics"][0]["remedy"]) == (4, "Give --duration SECONDS.")
    write_npz("in.npz", {"times": np.array([2e-3, 1e-3]), "indices": np.array([0, 1]), "offsets": np.array([0, 2])})
    err = say(capsys, "run", "net", "-i", "in.npz", "--duration", "0.05")[2]
    assert "by time in the file" in err, err


def test_a_target_that_cannot_take_a_model_is_3(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = say(capsys, "inspect", "net.py:make", "--target", "clock")
    assert (code, "SC403" in err, "--dt SECONDS --spike delta|box" in err) == (3, True, True), err
    code, told = say_json(capsys, "inspect", "net.py:make", "--target", "clock")
    assert (code, told["exit_code"], "graph.replace" in told["diagnostics"][0]["remedy"]) == (3, 3, False)


def test_a_module_without_a_step_is_told_the_option(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("snntorch")
    Path("torch_net.py").write_text(
        "import snntorch, torch\n"
        "def make():\n"
        "    return torch.nn.Sequential(torch.nn.Linear(4, 6), snntorch.Leaky(beta=0.9, init_hidden=True))\n"
        "def conv():\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), snntorch.Leaky(beta=0.9, init_hidden=True))\n")
    err = say(capsys, "inspect", "torch_net.py:make")[2]
    assert "SC222" in err and "remedy: Give --dt SECONDS." in err, err
    err = say(capsys, "inspect", "torch_net.py:conv", "--dt", "1e-3")[2]
    assert "SC225" in err and "--sample" in err, err


def test_the_metadata_of_a_file_speak_of_options(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = spikec.compiler.frontends.load_model("net.py:make")
    spikec.to_nir(graph.replace(metadata={"dt": 1e-4}), "net.nir")
    with pytest.warns(spikec.SpikecWarning, match=r"Pass discretization="):
        spikec.from_nir("net.nir")
    err = say(capsys, "inspect", "net.nir")[2]
    assert "warning: SC210" in err and "Give --dt SECONDS --spike delta|box" in err, err
    assert "discretization=" not in err
