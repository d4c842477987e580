"""Pages of reports on analog chips and Xylo: tables, and figures of use, weights and calibration."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import spikec
from spikec.compiler.chip_figures import chip_figures
from spikec.compiler.report_page import page
from spikec.ir.diagnostics import SpikecWarning

pytest.importorskip("matplotlib")


def program_for(target: str, **options: Any) -> Any:
    net, subtract = spikec.Builder(), {"reset": "subtract"} if target == "xylo" else {}
    x = net.input("x", 6)
    h = net.cubalif("h$1", 5, tau_mem=16e-3, tau_syn=8e-3, **subtract)
    o = net.cubalif("o", 3, tau_mem=16e-3, tau_syn=8e-3, **subtract)
    x.connect(h, weight=np.random.default_rng(1).uniform(-1.5, 3, (5, 6)), name="a<b")
    h.connect(o, weight=np.random.default_rng(2).uniform(0.1, 1, (3, 5)))
    net.output("out", o)
    graph = net.build(spikec.Discretization(dt=1e-3)) if target == "xylo" else net.build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpikecWarning)
        return spikec.compile(graph, target=target, **options)


@pytest.mark.parametrize(("target", "options", "titles"), [
    ("brainscales2", {"mismatch": "calibrated", "rows": 1}, ("Circuits", "Weights", "Spreads")),
    ("dynapse2", {}, ("Neurons", "Masks")), ("xylo", {}, ("Of the chip", "Weights"))])
def test_the_page_of_a_chip_has_figures(target: str, options: dict[str, Any], titles: tuple[str, ...]) -> None:
    program = program_for(target, **options)
    report = program.report()
    drawn = list(chip_figures(program, report))
    assert all(title.startswith(start) for (title, _), start in zip(drawn, titles, strict=True))
    shown = {panel.get_title(loc="left") for _, figure in drawn for panel in figure.axes}
    if target == "brainscales2":  # what is cut off stands at the end
        codes = program.codes["a<b"]
        ends = int((np.abs(codes) == 63).sum())
        assert program.held.projections[0].clipped > 0
        assert any(each.startswith("a<b: 30 weights") and f"{ends} at ±63" in each for each in shown)
    text = page(program, report)
    assert text.count("data:image/svg") == len(titles) and "a<b" not in text
    assert "generated, not run on silicon" in text
