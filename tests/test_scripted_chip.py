"""A chip behind a generated script that stays: `ScriptedChip` and `run_hxtorch.py --serve`, beside a stand-in of the
chip's software (`tests/bss2_standin`)."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikec
from spikec.ir.diagnostics import BadInputError, SpikecWarning
from spikec.ir.events import Events
from spikec.runtime.analog.in_the_loop import MeasureError
from spikec.runtime.analog.worker import ScriptedChip

GRID = ("--dt", "2e-8")


@pytest.fixture(scope="module")
def program() -> Any:
    net, draw = spikec.Builder(), np.random.default_rng(3)
    x, h = net.input("x", 4), net.cubalif("h", 5, tau_mem=12e-3, tau_syn=6e-3, v_threshold=0.5)
    o = net.cubalif("o", 2, tau_mem=12e-3, tau_syn=6e-3, v_threshold=0.5)
    x.connect(h, weight=draw.uniform(0.1, 1.1, (5, 4)))
    h.connect(o, weight=draw.uniform(-0.2, 1.0, (2, 5)))
    net.output("out", o)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        return spikec.compile(net.build(), target="brainscales2", mismatch="none", noise=False, rows={"h_o": 2})


@pytest.fixture
def events() -> Events:
    draw = np.random.default_rng(0)
    return Events(np.sort(draw.uniform(1e-3, 30e-3, (3, 12)), axis=1).reshape(-1), draw.integers(0, 4, 36),
                  np.arange(4) * 12)


@pytest.fixture
def chip(program: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedChip]:
    program.save(tmp_path / "net")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("bss2_standin")))
    with ScriptedChip(tmp_path / "net", GRID) as opened:
        yield opened


def counts(spikes: Events, n: int) -> Any:
    sample = np.repeat(np.arange(spikes.batch), np.diff(spikes.offsets))
    return np.bincount(sample * n + spikes.indices, minlength=spikes.batch * n)


def test_runs_and_weights_go_to_one_process(program: Any, chip: ScriptedChip, events: Events) -> None:
    """Spikes are the emulated chip's, but for what grazes a threshold on the stand-in's grid; other weights and another
    batch are taken, and the first come back the same."""
    wanted = program.run(events, 60e-3).spikes
    first = program.run(events, 60e-3, measure=chip.measure).spikes
    process = chip._process
    assert process is not None
    for name, n in (("h", 5), ("o", 2)):
        assert np.abs(counts(first[name], n) - counts(wanted[name], n)).sum() <= 1 and len(first[name]) > 5
    codes = {name: np.zeros_like(each) for name, each in program.codes.items()}
    given = {"x": Events(events.times / 1000, events.indices, events.offsets).take([0, 2])}
    silent = chip.measure(codes, given, 60e-6)
    assert len(silent["h"]) == len(silent["o"]) == 0 and silent["h"].batch == 2
    again = program.run(events, 60e-3, measure=chip.measure).spikes
    np.testing.assert_array_equal(again["o"].times, first["o"].times)
    assert chip._process is process and process.poll() is None and chip.runs == 3
    chip.close()
    assert process.poll() == 0


def test_the_experiment_is_made_once(program: Any, tmp_path: Path, events: Events,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """What calibrates in hxtorch is the experiment's first run."""
    program.save(tmp_path / "net")
    script = tmp_path / "net" / "run_hxtorch.py"
    script.write_text(script.read_text().replace(
        "    main()\n", "    main()\n    from bss2_record import CALLS\n    print([name for name, _ in CALLS], "
        f"file=open({str(tmp_path / 'calls')!r}, 'w'))\n"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("bss2_standin")))
    with ScriptedChip(tmp_path / "net", GRID) as chip:
        for _ in range(3):
            program.run(events, 60e-3, measure=chip.measure)
    called = (tmp_path / "calls").read_text()
    assert [called.count(f"'{name}'") for name in ("init_hardware", "Experiment", "run", "release_hardware")] == [
        1, 1, 3, 1]


def test_a_training_goes_through_it(program: Any, chip: ScriptedChip, events: Events) -> None:
    module = program.module(measure=chip.measure, time_limit=60)
    out = module(events, duration=60e-3)
    out.first_spike("out").clamp(max=1.0).sum().backward()
    assert any(float(each.grad.abs().sum()) > 0 for each in module.parameters() if each.grad is not None)
    assert chip.runs == 1


def test_what_the_script_says_is_told(program: Any, chip: ScriptedChip, events: Events) -> None:
    good = program.codes
    with pytest.raises(OSError, match="beyond 63 steps"):
        chip.measure({**good, "x_h": good["x_h"] + 100}, {"x": Events(events.times / 1000, events.indices,
                                                                     events.offsets)}, 60e-6)
    assert len(program.run(events, 60e-3, measure=chip.measure).spikes["h"]) > 5  # it goes on


def test_a_script_that_ends_is_told(program: Any, tmp_path: Path, events: Events) -> None:
    program.save(tmp_path / "net")
    assert "PYTHONPATH" not in os.environ
    with ScriptedChip(tmp_path / "net") as chip, pytest.raises(MeasureError, match=r"SC377.*has ended"):
        program.run(events, 60e-3, measure=chip.measure)  # there is no hxtorch here


def test_a_folder_without_a_script(tmp_path: Path) -> None:
    for content in (None, "{}", json.dumps({"inputs": {}, "populations": {}, "projections": {}})):
        if content is not None:
            (tmp_path / "params.json").write_text(content)
        with pytest.raises(BadInputError, match="SC520"):
            ScriptedChip(tmp_path)
