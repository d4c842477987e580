"""The page of a headline result: what stands on it, and what it is drawn from."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from cli_commands import say

from spikec.compiler.reproduce import config as configs
from spikec.compiler.reproduce.drawn import result_page
from spikec.compiler.reproduce.measures import Measure
from spikec.compiler.reproduce.runner import summary

pytest.importorskip("matplotlib")


def stored(measure: Measure, *runs: dict[str, Any]) -> dict[str, Any]:
    told = {"spikes": {"h": 0.5}, "silent": {"h": 0.25}, "never": {"h": 0.0}, "before": {"never": {"h": 0.9}},
            "latency_s": 0.02, "undecided": 0.0, "training_cpu_s": 3.0, "training_wall_s": 4.0, "epochs": 3,
            "commit": "0123456789", "uncommitted_changes": False, "started": "2026-01-01T00:00:00Z"}
    full = [{**told, **run} for run in runs]
    return {"name": "reproduce_x", "figures": {**summary(full, measure), "runs": full}}


def pictures(page: str) -> list[str]:
    return [base64.b64decode(each).decode() for each in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)]


def test_seeds_losses_published_and_aim_are_shown() -> None:
    config = configs.config_named("eventprop-yin-yang")
    page = result_page(config, stored(
        config.measure, {"seed": 0, "test_accuracy": 0.9812, "loss_curve": [1.0, 0.5, 0.25]},
        {"seed": 1, "test_accuracy": 0.9754, "loss_curve": [2.0, 0.5, 0.125], "uncommitted_changes": True}))
    assert all(text in page for text in ("98.12", "97.54", "0123456*", config.title, "98.10 ± 0.18"))
    losses, seeds = pictures(page)
    assert all(text in losses for text in ("epoch", "seed 0", "seed 1"))
    assert "step" not in losses
    assert all(text in seeds for text in ("published", "aim", "accuracy, %"))


def test_a_value_a_step_an_error_and_no_published_figure() -> None:
    config = configs.config_named("synapse-encoding")
    page = result_page(config, stored(
        config.measure, {"seed": 0, "test_error": 0.22, "loss_curve": [1.0, -0.5, 0.5, 0.2]}))
    losses, seeds = pictures(page)
    assert "step" in losses
    assert "error, %" in seeds
    assert "published" not in seeds


def test_a_local_rule_has_no_losses() -> None:
    config = configs.config_named("biograd-digits")
    page = result_page(config, stored(config.measure, {"seed": 0, "test_accuracy": 0.98, "loss_curve": []}))
    assert len(pictures(page)) == 1


def test_the_command_writes_it_or_says_so_before_it_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "page.html"
    arguments = ("reproduce", "biograd-digits", "--quick", "-o", str(tmp_path), "--html")
    assert say(capsys, *arguments, str(file))[0] == 0
    assert "<script" not in file.read_text()
    assert pictures(file.read_text())
    for wrong, code in ((tmp_path / "page.txt", "SC550"), (tmp_path / "none" / "page.html", "SC522")):
        status, _, err = say(capsys, *arguments, str(wrong), "--fresh")
        assert (status, code in err, "seed 0" in err) == (4, True, False), err
    status, _, err = say(capsys, "reproduce", "--list", "--html", str(file))
    assert (status, "--html is of one result" in err) == (4, True), err
