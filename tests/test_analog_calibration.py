"""The emulated calibration: how much it leaves, of what, and what it cannot reach."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from analog_nets import net, with_figures
from hypothesis import given, settings
from hypothesis import strategies as st

import spikec
from spikec.ir.analog.chip import AnalogChip, Figure, Span
from spikec.ir.diagnostics import Diagnostics, SpikecWarning
from spikec.runtime.analog.calibration import Calibration, calibrate, fitted_decays, targets_of, trimmed_std
from spikec.runtime.analog.device import Device
from spikec.targets.analog.description import own_chip

BSS2 = own_chip("brainscales2")
LIMITS = {"leak": 0.3, "reset": 0.2, "threshold": 0.35, "tau_mem": 0.45, "tau_syn": 0.2}
"""calix, tests/hw/py/test_neuron_distribution.py."""


def targets(chip: AnalogChip, **given: float) -> dict[str, Any]:
    values = {"leak": 80.0, "reset": 70.0, "threshold": 150.0, "tau_mem": 10e-6, "tau_syn": 5e-6, "gain": 1.0} | given
    return {name: np.full(chip.circuits, value) for name, value in values.items()}


def rows(found: Calibration) -> dict[str, Any]:
    return {row.quantity: row for row in found.rows()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("tau_mem", "tau_syn"), [(10e-6, 10e-6), (0.5e-6, 0.3e-6), (60e-6, 30e-6)])
def test_what_is_left_is_within_the_vendors_limits(seed: int, tau_mem: float, tau_syn: float) -> None:
    found = rows(calibrate(BSS2, seed, targets(BSS2, tau_mem=tau_mem, tau_syn=tau_syn)))
    for name, limit in LIMITS.items():
        row = found[name]
        assert row.limit == limit
        assert row.ratio == pytest.approx(row.after / row.before)
        assert 0 < row.ratio < limit, name
        assert row.unreached <= (0 if tau_mem == 10e-6 else 2), name  # at the ends of the ranges, far outliers
    # what was there before is the chip's spread, with the noise and the offsets of the readout
    assert found["tau_mem"].before == pytest.approx(0.3, rel=0.3)
    assert found["leak"].before > trimmed_std(Device(BSS2, seed, "uncalibrated").patterns["leak"])


def test_what_is_left_is_steps_error_and_what_the_converter_cannot_see() -> None:
    found = calibrate(BSS2, 4, targets(BSS2))
    device = Device(BSS2, 4, "uncalibrated")
    for name in ("leak", "reset", "threshold"):
        # a channel that reads too high leaves the potential too low, by as much
        rest = found.left[name] * 70 + device.offsets
        assert abs(rest.mean()) < 0.3 and 0.3 < rest.std() < 1.2, name
    gap = found.left["threshold"] - found.left["leak"]
    assert gap.std() < 0.5 * found.left["threshold"].std()  # which potentials of a circuit share
    for name in ("tau_mem", "tau_syn"):
        assert abs(found.left[name].mean() - 1) < 0.01 and 0.003 < found.left[name].std() < 0.03, name


def test_the_same_seed_is_the_same_chip_and_another_is_another() -> None:
    one, two, other = (calibrate(BSS2, seed, targets(BSS2)) for seed in (1, 1, 2))
    for name, each in one.quantities.items():
        for part in ("codes", "before", "after", "left"):
            assert np.array_equal(getattr(each, part), getattr(two.quantities[name], part))
        assert not np.array_equal(each.codes, other.quantities[name].codes)


def test_a_circuit_is_calibrated_the_same_whatever_the_others_are_to_be() -> None:
    alike = targets(BSS2)
    mixed = {name: value.copy() for name, value in alike.items()}
    for name, value in mixed.items():
        value[100:] *= 1.0 if name == "gain" else 1.3
    one, two = calibrate(BSS2, 3, alike), calibrate(BSS2, 3, dict(reversed(mixed.items())))
    for name in one.quantities:
        assert np.array_equal(one.quantities[name].left[:100], two.quantities[name].left[:100]), name
        assert (name == "gain") == np.array_equal(one.quantities[name].codes, two.quantities[name].codes)


def left_of(chip: AnalogChip, name: str) -> float:
    """What truly remains of one quantity, without the offsets that nothing of the sort changes."""
    return trimmed_std(calibrate(with_figures(chip, readout__offset=0.0), 0, targets(chip)).left[name])


@pytest.mark.parametrize("name", ["leak", "reset", "threshold", "tau_mem", "tau_syn", "gain"])
def test_worse_instruments_leave_more(name: str) -> None:
    usual = left_of(BSS2, name)
    assert left_of(with_figures(BSS2, readout__noise=5.0), name) > 1.5 * usual
    assert left_of(with_figures(BSS2, calibration__bits=5), name) > 1.3 * usual
    if name in ("leak", "reset", "threshold", "gain"):
        assert left_of(with_figures(BSS2, calibration__reads=64), name) < 0.8 * usual


def test_without_noise_or_steps_nothing_is_left() -> None:
    ideal = with_figures(BSS2, readout__noise=0.0, readout__offset=0.0, readout__bits=24, readout__leak=4e6,
                         readout__threshold=12e6, calibration__bits=20)
    ideal = replace(ideal, spans={**ideal.spans, "dac": Span(0.0, 2.0**24, "LSB", "a test", "given")})
    found = calibrate(ideal, 0, targets(ideal, leak=4e6, reset=3e6, threshold=12e6))
    for name in ("leak", "reset", "threshold"):
        assert np.abs(found.left[name]).max() < 2e-6
    assert np.abs(found.left["gain"] - 1).max() < 1e-5
    for name in ("tau_mem", "tau_syn"):  # what is left is the parabola of the fit
        assert np.abs(found.left[name] - 1).max() < 1e-3


@given(tau=st.floats(0.05, 20.0), height=st.floats(10, 200), floor=st.floats(-50, 200), period=st.floats(0.01, 0.2))
@settings(max_examples=60, deadline=None)
def test_a_fit_finds_the_time_constant(tau: float, height: float, floor: float, period: float) -> None:
    times = period * np.arange(1, 129)
    values = floor + height * np.exp(-times / tau)
    if np.ptp(values) > 1e-3 * height and tau > period:
        assert fitted_decays(times, values[None], 1.0)[0] == pytest.approx(tau, rel=2e-3)


def test_what_does_not_decay_has_no_time_constant() -> None:
    noise = np.random.default_rng(0).standard_normal((200, 128))
    assert np.isnan(fitted_decays(np.arange(1.0, 129.0), noise, 20.0)).all()
    assert np.isnan(fitted_decays(np.arange(1.0, 9.0), np.stack([np.full(8, 3.0), np.zeros(8)]), 1.0)).all()


def test_a_slow_converter_measures_short_time_constants_badly() -> None:
    slow = with_figures(BSS2, calibration__period=1.7e-6)
    short = {"tau_mem": 0.5e-6, "tau_syn": 0.3e-6}
    good, bad = (rows(calibrate(chip, 0, targets(chip, **short))) for chip in (BSS2, slow))
    for name in short:
        assert bad[name].left > 5 * good[name].left
    long = rows(calibrate(slow, 0, targets(slow, tau_mem=50e-6, tau_syn=20e-6)))
    assert long["tau_mem"].left < 0.03 and long["tau_syn"].left < 0.05


def test_the_generic_chip_is_calibrated_too() -> None:
    chip = own_chip("generic_analog")
    found = calibrate(chip, 0, targets(chip, tau_mem=10e-3, tau_syn=5e-3))
    assert "gain" not in found.quantities  # it has no bias for that
    for row in found.rows():
        assert row.limit is None and row.circuits == 4096
        assert row.ratio is not None and row.ratio < 0.1 and row.unreached == 0


def test_a_chip_without_spread_has_nothing_to_calibrate() -> None:
    none = Figure(0.0, "", "a test", "given")
    spreads = {name: replace(each, before=none) for name, each in BSS2.spreads.items()}
    still = with_figures(replace(BSS2, spreads=spreads), readout__noise=0.0, readout__offset=0.0)
    for row in calibrate(still, 0, targets(still)).rows():
        assert row.before == 0 and row.after == 0 and row.ratio is None


def test_quick() -> None:
    given = targets(BSS2)
    calibrate(BSS2, 0, given)
    begin = time.perf_counter()
    calibrate(BSS2, 1, given)
    assert time.perf_counter() - begin < 5  # 0.3 s on one core that is free


def narrow(chip: AnalogChip) -> AnalogChip:
    """Its codes end at the threshold: half of the circuits stay below."""
    return replace(chip, spans={**chip.spans, "dac": Span(0.0, 150.0, "LSB", "a test", "given")})


def test_what_cannot_be_reached_is_told_with_counts() -> None:
    chip = narrow(BSS2)
    found = calibrate(chip, 0, targets(chip))
    lost = ~found.quantities["threshold"].reached
    assert 150 < lost.sum() < 350 and found.quantities["leak"].reached.all()
    assert (found.quantities["threshold"].codes[lost] >= 1021).all()
    assert np.abs(found.left["threshold"][lost]).max() > 0.1  # and they are as far off as they are
    faults = Diagnostics()
    found.tell(np.arange(20), faults)
    (told,) = faults.found
    assert (told.code, told.severity, told.node) == ("SC378", "warning", "threshold")
    assert told.value is not None and told.value.startswith(f"{lost[:20].sum()} of 20 circuits: ")
    faults = Diagnostics()
    found.tell(np.flatnonzero(~lost), faults)
    assert not faults.found


def test_a_program_tells_it(tmp_path: Any) -> None:
    from analog_nets import TOML

    file = tmp_path / "narrow.toml"
    file.write_text(TOML["brainscales2"].replace("high = 416.667", "high = 150.0"), encoding="utf-8")
    program = spikec.compile(net(), "brainscales2", chip=file, mismatch="calibrated", seed=3)
    with pytest.warns(SpikecWarning, match=r"SC378.*threshold") as caught:
        program.device  # noqa: B018
    assert len([each for each in caught if "SC378" in str(each.message)]) == 1


def test_a_program_runs_on_its_calibrated_chip() -> None:
    graph = net(2)
    program = spikec.compile(graph, "brainscales2", mismatch="calibrated", seed=5)
    assert program.calibration is not None
    wanted = targets_of(program.held, program.chip)
    for name, each in program.held.populations.items():
        for quantity in ("tau_mem", "tau_syn", "leak"):
            assert np.array_equal(wanted[quantity][each.place[:, 0]], getattr(each, quantity)), name
    for name, left in program.calibration.left.items():
        assert np.array_equal(program.device.patterns[name], left)
    # synapses have no bias of their own
    assert np.array_equal(program.device.synapses(program.held, 0),
                          Device(program.chip, 5, "uncalibrated").synapses(program.held, 0))
    ideal = spikec.compile(graph, "brainscales2", mismatch="none").network.populations["hidden"]
    apart = {}
    for mismatch in ("calibrated", "uncalibrated"):
        chip = spikec.compile(graph, "brainscales2", mismatch=mismatch, seed=5).emulator()
        other = chip.network.populations["hidden"]
        gap = (other.v_threshold - other.v_leak) - (ideal.v_threshold - ideal.v_leak)
        apart[mismatch] = [float(np.abs(gap).mean()), float(np.abs(other.tau_mem / ideal.tau_mem - 1).mean())]
    assert all(one < 0.5 * two for one, two in zip(*apart.values(), strict=True)), apart
    assert spikec.compile(graph, "brainscales2").calibration is None
