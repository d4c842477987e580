"""The meaning of integer networks against Lava 0.10 itself, compiled and run by its runtime: u, v and spikes, bit for
bit. Dense and sparse projections here, convolutions in test_integer_lava_conv.py: 220 networks together."""

from __future__ import annotations

from pathlib import Path

from integer_nets import assert_as_lava, random_case, random_group

SHOWN = {f"{kind}, {what}" for kind in ("dense", "sparse") for what in (
    "mixed", "excitatory", "inhibitory", "no delay", "delay", "long delay", "exponent -1", "exponent 0", "exponent 1",
    "graded", "flags", "8 bits", "fewer bits")} | {"clipped below", "wrapped", "wrapped once only"}


def test_networks_of_matrices(tmp_path: Path) -> None:
    fired = assert_as_lava([random_group(seed, networks=11, stencils=False) for seed in range(10)], tmp_path, SHOWN)
    assert fired > 5000


def test_networks_with_many_cycles(tmp_path: Path) -> None:
    assert assert_as_lava([random_case(seed, steps=40, stencils=False) for seed in range(3)], tmp_path) > 500
