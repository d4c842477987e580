"""Torch modules that can only be traced with a sample: on the command line, and in a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import say, say_json

import spikec
from spikec import BadInputError, Events, SpikecError, UnsupportedError
from spikec.compiler.frontends.models import load_code

pytest.importorskip("snntorch")

LOOPS = """
import snntorch, torch

class Loops(torch.nn.Module):
    def __init__(self, axis):
        super().__init__()
        self.axis = axis
        self.layer, self.neurons = torch.nn.Linear(6, 5), snntorch.Leaky(beta=0.9, threshold=0.3)

    def forward(self, x):
        state, kept = self.neurons.init_leaky(), []
        for step in range(x.size(self.axis)):
            spikes, state = self.neurons(self.layer(x.select(self.axis, step)), state)
            kept.append(spikes)
        return torch.stack(kept, self.axis)

class Flat(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.neurons = torch.nn.Linear(6, 5), snntorch.Leaky(beta=0.9, threshold=0.3, init_hidden=True)

    def forward(self, x):
        return self.neurons(self.layer(x.reshape(x.size(0), -1)))

def time_first():
    torch.manual_seed(0)
    return Loops(0)

def batch_first():
    torch.manual_seed(0)
    return Loops(1)

def step():
    torch.manual_seed(0)
    return Flat()

def drawn():
    return torch.nn.Sequential(torch.nn.Linear(6, 5), snntorch.Leaky(beta=0.9, threshold=0.3, init_hidden=True))
"""


@pytest.fixture
def loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(LOOPS)
    np.save("raster.npy", raster())
    return tmp_path


def raster() -> Any:
    return (np.random.default_rng(0).random((3, 20, 6)) < 0.4).astype(float)


def test_the_sizes_of_a_sample_are_typed(loops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = say(capsys, "inspect", "net.py:time_first", "--dt", "1e-3")
    assert (code, "SC221" in err, "--sample" in err, "sample=" in err) == (3, True, True, False), err
    options = ("--dt", "1e-3", "--sample", "20,3,6")
    code, told = say_json(capsys, "inspect", "net.py:time_first", *options)
    assert (code, told["metadata"]["import.steps"]) == (0, 20)
    assert say(capsys, "compile", "net.py:time_first", *options, "-t", "clock", "-o", "net")[0] == 0
    code, told = say_json(capsys, "validate", "net.py:time_first", "--against", "net.py:time_first", *options, "--data",
                          "random:0.4:20", "--samples", "3")
    assert (code, told["verdict"], told["fired"] > 0) == (0, "spike-exact", True)


@pytest.mark.parametrize("sizes", ["", "20,x", "20,-1", "0,6", "20,,6", "99999,99999,99999"])
def test_what_are_no_sizes_is_told(loops: Path, capsys: pytest.CaptureFixture[str], sizes: str) -> None:
    code, _, err = say(capsys, "inspect", "net.py:time_first", "--dt", "1e-3", "--sample", sizes)
    assert (code, "SC550" in err) == (4, True), err


def test_a_sample_is_for_modules(loops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, "compile", "net.py:drawn", "--dt", "1e-3", "-o", "net")
    for model in ("net", "net/graph.spk"):
        assert "Leave --sample out" in say(capsys, "inspect", model, "--sample", "20,3,6")[2]
    assert say(capsys, "validate", "net", "--against", "net", "--sample", "20,3,6")[0] == 4


@pytest.mark.parametrize("name", ["time_first", "batch_first", "step"])
def test_a_comparison_makes_the_sample_from_its_data(loops: Path, name: str) -> None:
    module: Any = load_code(f"net.py:{name}")
    for data in (raster(), "raster.npy", {"input": raster()}):
        found = spikec.validate(module, module, data, dt=1e-3)
        assert (found.verdict, found.layers[0].spikes_a > 20) == ("spike-exact", True)
    with pytest.raises(SpikecError, match=r"SC221|SC225"):
        spikec.validate(module, module, "random:0.4:20", dt=1e-3)


@pytest.mark.parametrize("data", ["random:0.4:20", "raster.npy", Events.from_dense(raster(), 1e-3)])
def test_the_other_side_tells_the_shape(loops: Path, data: Any) -> None:
    import torch

    module: Any = load_code("net.py:time_first")
    program = spikec.compile(spikec.from_torch(module, torch.zeros(20, 3, 6), dt=1e-3), "clock")
    found = spikec.validate(program, module, data, dt=1e-3, duration=20e-3)
    assert (found.verdict, found.b, found.layers[0].spikes_a > 20) == ("spike-exact", "Loops on source", True)
    assert spikec.validate(module, program, data, dt=1e-3, duration=20e-3).ok


def test_a_fault_that_no_sample_heals_is_told_as_it_is(loops: Path) -> None:
    module: Any = load_code("net.py:time_first")
    with pytest.raises(UnsupportedError, match="SC221"):
        spikec.validate(module, module, np.zeros((3, 20, 7)), dt=1e-3)
    with pytest.raises(BadInputError, match="SC222"):
        spikec.validate(load_code("net.py:drawn"), module, raster())


def test_code_that_is_named_twice_runs_once(loops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--dt", "1e-3", "--data", "random:0.4:20")
    code, told = say_json(capsys, "validate", "net.py:drawn", "--against", "net.py:drawn", *options)
    assert (code, told["verdict"], told["fired"] > 0) == (0, "spike-exact", True)
    say(capsys, "compile", "net.py:drawn", "--dt", "1e-3", "-t", "clock", "-o", "net")
    code, out, _ = say(capsys, "validate", "net", "--against", "net.py:drawn", *options)
    assert (code, "A and B differ in their parameters: '0'.weight" in out, "seed" in out) == (1, True, True), out
