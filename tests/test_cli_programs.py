"""The commands that compile and run: they agree with the library, and say what they did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import MODEL, READOUT, say, say_json, some_events

import spikec
from spikec.compiler.cli.models import open_program
from spikec.ir.event_files import read_events, write_events
from spikec.ir.npz import read_npz


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


def test_the_grid_of_a_file_is_stated_on_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say_json(capsys, "compile", "net.py:make", "-o", "net", "--spike", "box", "--dt", "0.002")
    assert code == 0
    assert (told["report"]["discretization"]["spike"], told["report"]["discretization"]["dt"]) == ("box", 0.002)


def test_options_of_a_target(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As compile takes them; a folder keeps them, and a training of it goes on with them."""
    assert say(capsys, "compile", "net.py:make", "-t", "brainscales2", "-o", "net", "--option", "seed=3",
               "--option", "noise=false", "--option", "rows.in_hidden=4", "--option", "mismatch=none")[0] == 0
    options = spikec.load("net").options
    assert (options.seed, options.noise, options.mismatch, options.rows) == (3, False, "none", {"in_hidden": 4})
    again = open_program("net", "brainscales2", None, None)
    assert again.options == options
    assert open_program("net", "brainscales2", None, None, None, {"seed": 4}).options.seed == 4
    assert open_program("net", "event", None, None).target == "event"
    for text, code in (("seed=a", "SC533"), ("sed=3", "SC533"), ("=3", "SC550"), ("seed", "SC550")):
        exit_code, _, told = say(capsys, "compile", "net.py:make", "-t", "brainscales2", "-o", "two", "--option", text)
        assert exit_code == 4 and code in told, told
    exit_code, _, told = say(capsys, "compile", "net.py:make", "-t", "brainscales2", "-o", "two", "--option", "rows=1",
                             "--option", "rows.in_hidden=1")
    assert exit_code == 4 and "both a value and entries" in told


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
