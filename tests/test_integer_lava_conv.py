"""As test_integer_lava.py, with convolutions, of inputs and of populations, among the projections."""

from __future__ import annotations

from pathlib import Path

from integer_nets import assert_as_lava, random_case, random_group

SHOWN = {f"conv, {what}" for what in (
    "mixed", "excitatory", "inhibitory", "exponent 0", "exponent 1", "graded", "flags", "8 bits", "fewer bits",
    "stride", "padding", "dilation", "groups")} | {"clipped below", "wrapped"}


def test_networks_with_convolutions(tmp_path: Path) -> None:
    fired = assert_as_lava([random_group(seed, networks=11) for seed in range(100, 110)], tmp_path, SHOWN)
    assert fired > 5000


def test_a_convolution_in_a_cycle(tmp_path: Path) -> None:
    assert assert_as_lava([random_case(seed, steps=40) for seed in range(3)], tmp_path) > 500
