"""The meaning of integer networks against Lava 0.10 itself: u, v and spikes, bit for bit."""

from __future__ import annotations

from pathlib import Path

from integer_nets import differences, random_case, run_lava

from spikec.ir.integer_step import simulate_integer


def test_random_networks_against_the_models_of_lava(tmp_path: Path) -> None:
    cases = [random_case(seed) for seed in range(240)]
    found = run_lava(cases, tmp_path)
    fired = 0
    for seed, ((network, rasters), lava) in enumerate(zip(cases, found, strict=True)):
        result = simulate_integer(network, rasters)
        assert differences(result, lava) == [], seed
        fired += sum(int(each.sum()) for each in result.spikes.values())
    assert fired > 20_000


def test_random_networks_against_processes_of_lava(tmp_path: Path) -> None:
    """Compiled and run by Lava's runtime, which shows its latencies and the widths of its channels."""
    cases = [random_case(seed, stencils=False) for seed in range(3)]
    for (network, rasters), lava in zip(cases, run_lava(cases, tmp_path, "--runtime"), strict=True):
        assert differences(simulate_integer(network, rasters), lava) == []
