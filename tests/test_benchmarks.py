"""The measurements are in step with the documents, and what they measure with is right. Nothing is timed here."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
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
    pages = "".join(page.read_text(encoding="utf-8") for page in tables.FILES)
    assert set(re.findall(r"<!-- bench:(\w+):start -->", pages)) == set(tables.TABLES)
    changed = re.sub(r"(<!-- bench:summary:start -->\n)", r"\1| a better figure |\n", text)
    assert changed != text
    assert tables.rewritten(changed) == tables.rewritten(text) == text


def test_a_table_names_the_commits_of_its_figures(scripts, monkeypatch):
    import table_parts

    def result(commit, day, changes=False):
        return {"machine": {"commit": commit, "started": f"{day}T01:02:03Z", "uncommitted_changes": changes}}

    stored = {"one": result("a" * 40, "2026-01-02"), "other": result("a" * 40, "2026-01-02"),
              "a_third": result("b" * 40, "2026-01-01", True)}
    monkeypatch.setattr(table_parts, "read_result", stored.get)
    assert table_parts.measured("one", "other", "absent") == "Measured at `aaaaaaa`, 2026-01-02."
    assert table_parts.measured("one", "other", "a_third") == (
        "Measured at different commits: a third at `bbbbbbb` with uncommitted changes, 2026-01-01; "
        "one, other at `aaaaaaa`, 2026-01-02.")
    assert table_parts.measured("absent") == "Not measured yet."


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


@pytest.mark.parametrize("framework", ["snntorch", "spikingjelly", "sinabs"])
def test_the_clock_and_a_framework_do_the_same_work(scripts, framework, monkeypatch):
    """Before they are timed: both layers spike, all parameters are trained by both, and agree."""
    pytest.importorskip(framework, reason="a framework that the clock is timed beside")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SPIKEC_THREADS"):
        monkeypatch.setenv(name, "1")  # as the script sets it; undone when the test ends
    import clock_nets
    import clock_speed
    import torch

    monkeypatch.setattr(clock_speed, "MISS", 0.9)  # random pixels move neurons together: few rates can be had
    contestant = getattr(clock_nets, framework)(*([False] if framework == "snntorch" else []))
    rng = np.random.default_rng(1)
    raster = torch.from_numpy((rng.random((8, 12, 784)) < 0.4 * rng.random((8, 1, 784)) ** 3).astype(np.float32))
    facts = clock_speed.prepare(contestant, raster, torch.arange(8)).facts
    assert facts["hidden_rate"] == pytest.approx(0.1, rel=0.9)
    assert facts["output_rate"] == pytest.approx(0.1, rel=0.9)
    assert facts["samples_with_other_counts"] == 0
    assert {name.rpartition(".")[2] for name in facts["gradients"]} == {"weight", "bias"}
    assert len(facts["gradients"]) == 4
    if contestant.surrogate:
        assert facts["gradients_apart"] < 1e-3


def test_a_layer_that_stays_off_its_rate_stops_the_measurement(scripts, monkeypatch):
    pytest.importorskip("snntorch")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SPIKEC_THREADS"):
        monkeypatch.setenv(name, "1")
    import clock_nets
    import clock_speed
    import torch

    contestant = clock_nets.snntorch(True)
    with torch.no_grad():
        contestant.module[1].threshold.fill_(1e9)
    with pytest.raises(SystemExit, match="hidden_rate"):
        clock_speed.scaled(contestant, torch.ones(2, 5, 784))


def test_what_does_not_settle_an_aim_is_not_called_met(scripts, monkeypatch):
    import tables

    def points(*large):
        return {"growth": 2.0, "points": [{"spikes": 10, "cpu_ms_quartiles": [9.0, 11.0]},
                                          {"spikes": 100, "cpu_ms_quartiles": large}]}

    def trained(runs):
        times = {"cpu_s": 100.0, "checking_cpu_s": 20.0, "runs": [{}] * runs}
        return {"times_faster": 25.0, "snntorch": times, "spikec": {**times, "cpu_s": 4.0, "checking_cpu_s": 0.0}}

    monkeypatch.setattr(tables, "figures", lambda name: points(190.0, 210.0))
    assert tables.growth(3.0) == 2.0
    monkeypatch.setattr(tables, "figures", lambda name: points(190.0, 290.0))
    with pytest.raises(tables.Unsettled, match=r"2\.0; by the quartiles of the runs 1\.7 to 3\.2"):
        tables.growth(3.0)
    monkeypatch.setattr(tables, "figures", lambda name: trained(3))
    assert tables.race_won(3) == 25.0
    monkeypatch.setattr(tables, "figures", lambda name: trained(1))
    with pytest.raises(tables.Unsettled, match="25 with 1 of 3 seeds; 20 without"):
        tables.race_won(3)


def test_runs_of_learning_are_kept_and_only_those_asked_for_are_done_again(scripts, monkeypatch, tmp_path):
    import common
    import learning_parts
    import table_parts

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(common, "HERE", tmp_path.parent)
    monkeypatch.setattr(learning_parts, "FOLDS", 2)
    done, commits = [], iter("abcdef")

    def measured(variant, part, factor):
        done.append((variant, part.seed, part.fold, factor))
        assert len(part.test[1]) == len(part.test[0]) > 100
        return {"accuracy": 90.0 + factor * (1 if variant == "surrogate" else -1)}

    def go(*words):
        monkeypatch.setattr(sys, "argv", ["x", "--task", "digits", "--seeds", "2", *words])
        options = learning_parts.options_of("", ("sleep", "fixed", "surrogate"))
        commit = next(commits)
        monkeypatch.setattr(learning_parts, "machine_record", lambda: {"commit": commit})
        done.clear()
        assert learning_parts.of_each("x", Settings(), options, ("sleep", "fixed", "surrogate"), measured) == 0
        return common.read_result("x")["figures"]

    figures = go("--only", "sleep")
    # Three factors are tried on each of two folds, and the best is that of the runs: here the least.
    assert [each[3] for each in done].count(0.5) == 2 + 4 and len(done) == 6 + 4
    assert figures["summary"]["sleep"]["runs"] == 4
    go("--only", "sleep")
    assert done == []
    figures = go()
    assert {each[0] for each in done} == {"fixed", "surrogate"} and len(done) == 4 + 6 + 4
    assert {run["factor"] for run in figures["runs"] if run["variant"] == "surrogate"} == {2.0}
    assert figures["summary"]["fixed"]["less_than_sleep"] == 0
    figures = go("--only", "fixed", "--fresh")
    assert [each[:3] for each in done] == [("fixed", seed, fold) for seed in (1, 2) for fold in (0, 1)]
    assert len(figures["runs"]) == 12
    assert {run["commit"] for run in figures["runs"] if run["variant"] == "sleep"} == {"a"}
    stored = common.read_result("x")
    assert table_parts._commits(stored) == "`a` and `d` and `c`"


@dataclass(frozen=True)
class Settings:
    """With a number that JSON does not hold in full, and a tuple."""

    forget: float = 2**-12
    rates: tuple[float, ...] = (1.0, 1 / 3)


def test_random_nets_fire(scripts):
    """Every kind of net that gradients are checked on has spikes to differentiate."""
    import random_nets

    from spikec.ir.exact import simulate_exact

    for kind in random_nets.KINDS:
        case = random_nets.draw(kind, 2.0, recurrent=False, seed=3)
        spikes = simulate_exact(case.graph, case.events, duration=case.duration, probes={"hidden.v": [0.0]}).spikes
        if not case.readout:
            assert len(spikes["out"]) > 0, kind


def test_random_nets_of_flows_fire_and_have_gradients(scripts):
    import gradient_trials
    import random_flows

    trial = gradient_trials.EventTrial(random_flows.draw("theta", recurrent=False, seed=0))
    assert sum(trial.observed()[1]) > 0
    row = gradient_trials.Tally().row([trial])
    assert {"weight", "tau", "i0", "v0", "input times"} <= set(row["errors"])
    assert row["worst"] < 1e-6


def test_a_wrong_gradient_is_told_and_an_unsettled_one_counted(scripts):
    import torch
    from gradient_trials import Tally, Trial

    class Bent(Trial):
        """x³, with another gradient, and beside it what changes faster than any step."""

        def __init__(self):
            self.tensors = {"x": torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True),
                            "rough": torch.tensor([1.0], dtype=torch.float64, requires_grad=True)}
            self.size = 1.0

        def observed(self):
            x, rough = self.tensors.values()
            wrong = 1e-3 * (x[0] - x[0].detach())
            return torch.cat([x**3 + wrong, (1e9 * rough).sin()]), ()

    tally = Tally()
    row = tally.row([Bent()])
    assert 1e-5 < row["errors"]["x"] == tally.worst < 1e-2
    assert "rough" not in row["errors"]
    assert (tally.compared, tally.unsettled, row["unsettled"]) == (2, 1, ["rough"])


@pytest.mark.parametrize("kind", ["GradedTheta", "GradedLI", "GradedTheta, GradedLI"])
def test_random_nets_of_graded_synapses_pass_their_gates(scripts, kind):
    import random_graded

    import spikec

    for impulses in (False, True):
        case = random_graded.draw(kind, True, impulses, 0)
        result = spikec.compile(case.graph).run(case.given, duration=case.duration, dt=random_graded.DT, tolerance=1e-6)
        assert all(len(result.spikes[name]) for name in case.shown)
