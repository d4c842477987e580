"""What `spikec validate` says of analog chips: counts, not spikes that nowhere agree to a nanosecond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_commands import say

import spikec


def net() -> spikec.Graph:
    built = spikec.Builder()
    x, h = built.input("x", 6), built.cubalif("h", 5, tau_mem=12e-3, tau_syn=6e-3)
    x.connect(h, weight=2 * np.random.default_rng(1).uniform(0.5, 1.1, (5, 6)))
    built.output("out", h)
    return built.build()


@pytest.mark.parametrize("target", ["brainscales2", "dynapse2"])
def test_spikes_of_an_analog_chip_are_counted(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    program = spikec.compile(net(), target=target, seed=1)
    events = spikec.encoders.latency(np.random.default_rng(0).random((4, 6)), t_max=20e-3)
    found = spikec.validate(program, "exact", events, duration=50e-3)
    (layer,) = found.layers
    assert found.counted and layer.spikes_a > 5 and found.drift == layer.drift
    text = str(found)
    assert "agree" not in text and "A alone" not in text and f"{layer.drift:.1%}" in text
    assert found.conclusion.startswith(found.verdict) and "the limit is spikec's own" in text
    matched = spikec.validate(program, "exact", events, duration=50e-3, tolerance_time=5e-3)
    assert not matched.counted and "agree" in str(matched)
    monkeypatch.chdir(tmp_path)
    program.save("net")
    code, out, _ = say(capsys, "validate", "net", "--against", "exact", "--data", "random:0.1:20", "--dt", "1e-3")
    assert code in (0, 1) and "counts apart" in out and "not matched" in out and "1e-09" not in out
