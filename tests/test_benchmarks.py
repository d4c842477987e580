"""The measurements are in step with the documents, and what they measure with is right. Nothing is timed here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def scripts(monkeypatch):
    """The benchmark scripts import each other as scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_tables_are_what_the_results_say():
    done = subprocess.run([sys.executable, BENCHMARKS / "tables.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_table_is_noticed(scripts):
    import tables

    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    pages = text + (ROOT / "docs" / "conversion.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- bench:(\w+):start -->", pages)) == set(tables.TABLES)
    changed = re.sub(r"(<!-- bench:summary:start -->\n)", r"\1| a better figure |\n", text)
    assert changed != text
    assert tables.rewritten(changed) == tables.rewritten(text) == text


def test_a_table_names_the_commits_of_its_figures(scripts, monkeypatch):
    import tables

    def result(commit, day, changes=False):
        return {"machine": {"commit": commit, "started": f"{day}T01:02:03Z", "uncommitted_changes": changes}}

    stored = {"one": result("a" * 40, "2026-01-02"), "other": result("a" * 40, "2026-01-02"),
              "a_third": result("b" * 40, "2026-01-01", True)}
    monkeypatch.setattr(tables, "read_result", stored.get)
    assert tables.measured("one", "other", "absent") == "Measured at `aaaaaaa`, 2026-01-02."
    assert tables.measured("one", "other", "a_third") == (
        "Measured at different commits: a third at `bbbbbbb` with uncommitted changes, 2026-01-01; "
        "one, other at `aaaaaaa`, 2026-01-02.")
    assert tables.measured("absent") == "Not measured yet."


@pytest.mark.parametrize("name", ["mnist", "yin_yang", "recurrent"])
def test_tasks_are_reproducible_and_legal(scripts, name, tmp_path, monkeypatch):
    import tasks
    from worker import load_task, raster

    monkeypatch.delenv("SPIKEC_DATA", raising=False)
    task, again = tasks.TASKS[name](), tasks.TASKS[name]()
    assert np.array_equal(task.times, again.times)
    assert np.array_equal(task.w_hidden, again.w_hidden)
    for begin, end in zip(task.offsets[:-1], task.offsets[1:], strict=True):
        assert (np.diff(task.times[begin:end]) >= 0).all()
    assert task.times.min() >= 0
    assert task.times.max() <= task.duration
    assert task.indices.max() < task.sizes[0]

    task.save(tmp_path / "task.npz")
    loaded = load_task(tmp_path / "task.npz")
    assert (loaded.w_recurrent is None) == (name != "recurrent")
    dense = raster(loaded)
    assert dense.shape == (round(task.duration / task.dt), task.batch, task.sizes[0])
    per_sample = dense.sum((0, 2))
    assert np.array_equal(per_sample, np.diff(task.offsets))


def test_matching_finds_the_factor(scripts):
    from worker import match

    factor = match(lambda x: 100 * x**2, wanted=30.0, start=1.0)
    assert 100 * factor**2 == pytest.approx(30.0, rel=0.02)


def test_peak_is_more_than_scalar_code_reaches(scripts):
    from common import peak_gfma

    peak = peak_gfma()
    if peak is None:
        pytest.skip("needs a C compiler: the peak is measured by a compiled loop")
    assert 1.0 < peak < 1000.0


def test_high_precision_sweep_knows_the_closed_form(scripts):
    """One input of weight w at t = 0, tau_mem = 2 tau_syn: t = -2 tau_syn ln y, y = (w + sqrt(w^2 - 4 w)) / (2 w)."""
    import gradients
    import mpmath

    mpmath.mp.dps = 40
    flow = gradients._flow(mpmath.mpf(2), mpmath.mpf(1))
    found = gradients._first_crossing(flow, mpmath.mpf(0), mpmath.mpf(5), mpmath.mpf(10), mpmath.mpf(2), mpmath.mpf(1))
    assert float(found) == pytest.approx(0.647014262315, abs=1e-12)


def test_random_nets_fire(scripts):
    """Every kind of net that gradients are checked on has spikes to differentiate."""
    import random_nets

    from spikec.ir.exact import simulate_exact

    for kind in random_nets.KINDS:
        case = random_nets.draw(kind, 2.0, recurrent=False, seed=3)
        spikes = simulate_exact(case.graph, case.events, duration=case.duration, probes={"hidden.v": [0.0]}).spikes
        if not case.readout:
            assert len(spikes["out"]) > 0, kind
