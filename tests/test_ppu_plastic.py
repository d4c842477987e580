"""The plasticity processor's meaning: sensors, whole numbers, random rounding, and what rules become."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikec.ir.analog.correlation import BASELINE, CorrelationSensors, Trains, collected, trains_of
from spikec.ir.analog.plastic import (
    LARGEST,
    WORD,
    Observed,
    PlasticityProgram,
    PlasticTerm,
    check_program,
    random_bits,
    updated,
    updated_weights,
)
from spikec.ir.diagnostics import Diagnostics
from spikec.ir.learning.rule import Error, Factor, Feedback, LearningRule, Phase, Term, Trace, Update
from spikec.ir.rules import RULES, biograd, rule_named, stdp_pair
from spikec.passes.ppu_rules import GateReads, PpuChoices, PpuRule, make_ppu_rule, nearest_coefficient
from spikec.targets.brainscales2.plasticity_limits import PPU, RANGES

MS = 1e-3


def by_definition(pre: list[list[float]], post: list[list[float]], amplitude: Any, tau: Any) -> Any:
    """The two sums of `correlation.py`, spike by spike."""
    found = np.zeros((2, len(post), len(pre)))
    for i, later in enumerate(post):
        for j, earlier in enumerate(pre):
            for branch, (ends, starts) in enumerate(((later, earlier), (earlier, later))):
                before = -math.inf
                for end in ends:
                    between = [start for start in starts if before < start < end]
                    if between:
                        found[branch, i, j] += amplitude[branch, i, j] * math.exp(
                            (max(between) - end) / tau[branch, i, j])
                    before = end
    return found


def as_trains(spikes: list[list[float]]) -> Trains:
    neurons = np.concatenate([np.full(len(each), number) for number, each in enumerate(spikes)] or [[]])
    return trains_of(np.concatenate([*map(np.array, spikes), []]), neurons.astype(np.int64), len(spikes))


# A grid, so that spikes fall on one instant; ascending, as a neuron fires at most once then.
spike_lists = st.lists(st.lists(st.integers(0, 30), max_size=6, unique=True).map(
    lambda times: sorted(MS * time for time in times)), min_size=1, max_size=4)


@given(spike_lists, spike_lists, st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_sensors_collect_nearest_neighbours_alone(pre: list[list[float]], post: list[list[float]], seed: int) -> None:
    sensors = CorrelationSensors.drawn(len(post), len(pre), 1.5, (5 * MS, 9 * MS), (seed,))
    got = collected(sensors, as_trains(pre), as_trains(post))
    np.testing.assert_allclose(got, by_definition(pre, post, sensors.amplitude, sensors.tau), rtol=1e-12, atol=1e-15)


def test_of_several_sources_spikes_between_two_of_the_target_the_last_counts() -> None:
    sensors = CorrelationSensors.ideal(1, 1, 2.0, (5 * MS, 5 * MS))
    causal, acausal = collected(sensors, as_trains([[0.0, MS, 3 * MS]]), as_trains([[4 * MS, 6 * MS]]))[:, 0, 0]
    assert causal == pytest.approx(2.0 * math.exp(-1 / 5))  # 3 ms before 4 ms; nothing before 6 ms any more
    assert acausal == 0.0


def test_reads_fall_from_the_baseline_and_end_at_zero() -> None:
    sensors, random = CorrelationSensors.ideal(1, 3, 1.0, (MS, MS)), np.random.default_rng(0)
    levels = np.broadcast_to(np.array([0.0, 40.4, 1000.0]), (2, 1, 3))
    assert sensors.read(levels, random).tolist() == [[[BASELINE, BASELINE - 40, 0]]] * 2


def test_a_chip_is_its_seed_and_its_mismatch_is_within_a_factor_of_two() -> None:
    one, same, other = (CorrelationSensors.drawn(50, 40, 1.0, (5 * MS, 5 * MS), (seed, 0)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.amplitude, same.amplitude)
    assert (one.amplitude != other.amplitude).mean() > 0.9
    factors = np.concatenate([one.amplitude.ravel(), (one.tau / (5 * MS)).ravel()])
    most = PPU["mismatch"].value
    assert 1 / most <= factors.min() < 0.6 and 1.7 < factors.max() <= most
    assert np.median(factors) == pytest.approx(1.0, abs=0.03)
    causal, acausal = one.amplitude
    assert abs(np.corrcoef(causal.ravel(), acausal.ravel())[0, 1]) < 0.1  # each branch by itself
    assert one.baseline.min() > PPU["baseline"].value


def test_random_bits_are_uniform_and_apart() -> None:
    found = np.stack([random_bits(7, update, rounding, 40, 60) for update in range(4) for rounding in range(3)])
    bits = (found[..., None] >> np.arange(16)) & 1
    assert np.abs(bits.mean(axis=(0, 1, 2)) - 0.5).max() < 0.01
    high = found >> 8
    counts = np.bincount(high.ravel(), minlength=256)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 330  # 255 degrees of freedom: 0.1 % beyond
    flat = found.reshape(len(found), -1).astype(float)
    assert np.abs(np.corrcoef(flat) - np.eye(len(flat))).max() < 0.08
    for one, two in ((found[0, :-1], found[0, 1:]), (found[0, :, :-1], found[0, :, 1:])):  # columns, rows
        assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.06


@pytest.mark.parametrize("change", [0.0, 0.3, -0.3, 0.01, -0.01, 2.5, -1.75])
def test_rounding_is_right_on_average(change: float) -> None:
    """An increment far below one step of a weight is not lost, nor is there a drift where there is none."""
    program = PlasticityProgram((PlasticTerm(1, 4, ("reward", "causal"), (0, 0)),), fraction=8, both=False)
    shape, steps = (64, 64), 40
    read = np.full(shape, 100)  # causal: 100
    reward = round(change * 2**12 / 100)
    total = np.zeros(shape)
    for update in range(steps):
        observed = Observed(causal=np.stack([200 - read] * 2), acausal=np.zeros((2, *shape), dtype=np.int64),
                            baseline=np.full((2, 64), 200), reward=reward)
        total += updated(program, np.zeros(shape, dtype=np.int64), observed, update)[1]
    expected = reward * 100 / 2**12
    error = (total / steps).mean() - expected
    assert abs(error) < 4 * 0.5 / math.sqrt(steps * shape[0] * shape[1]) + 1e-9


def test_weights_stop_at_both_ends_and_pass_from_one_row_to_the_other() -> None:
    program = PlasticityProgram((PlasticTerm(1, 0, ("factor",), (0,)),), fraction=0)
    factor = np.array([127, 3, -3, -128, -5])
    plus, minus = np.array([[60], [62], [1], [0], [2]]), np.array([[0], [0], [0], [60], [9]])
    got = updated_weights(program, plus, minus, Observed(factor=factor), 0)
    assert got[0].ravel().tolist() == [63, 63, 0, 0, 0] and got[1].ravel().tolist() == [0, 0, 2, 63, 12]
    bounded = PlasticityProgram(program.terms, 0, 0, 40)
    assert updated_weights(bounded, plus, minus, Observed(factor=factor), 0)[0].ravel().tolist() == [40, 40, 0, 0, 0]


def test_sums_of_terms_saturate_at_sixteen_bits() -> None:
    term = PlasticTerm(15, 0, ("factor", "source_rate"), (0, 4))
    program = PlasticityProgram((term,) * 5, fraction=8)
    check_program(program)
    observed = Observed(factor=np.array([127, -128]), source_rate=np.array([255]))
    found, change = updated(program, np.zeros((2, 1), dtype=np.int64), observed, 0)
    assert set(np.abs(change.ravel())) <= {127, 128} and found.ravel().tolist() == [63, -63]
    assert (WORD + 1) >> 8 == 128


# ---- from rules to programs


def made(rule: LearningRule, *, lsb: float = 0.02, output: bool = True, rate: float = 1.0,
         **choices: Any) -> tuple[PpuRule | None, Diagnostics]:
    faults = Diagnostics()
    return make_ppu_rule(rule, projection="fc", lsb=lsb, choices=PpuChoices(**choices), seed=0, tau_mem=0.02,
                         threshold=1.0, output=output, rate=rate, faults=faults), faults


def value_of(term: PlasticTerm, program: PlasticityProgram) -> float:
    """What a term adds to a weight, in its steps, for one of each factor."""
    return term.mantissa * 2.0 ** -(term.shift + sum(term.downs) + program.fraction)


RUN: Mapping[str, dict[str, Any]] = {
    "stdp_pair": {}, "reward_stdp": {}, "hebb": {}, "biograd": {"feedback": "transposed"}}


@pytest.mark.parametrize("name", RULES)
def test_which_rules_of_the_library_run(name: str) -> None:
    found, faults = made(rule_named(name, **RUN.get(name, {})))
    assert (found is not None) == (name in RUN)
    assert bool(faults.errors) == (name not in RUN)
    assert all(each.code == "SC360" and each.value and each.node == "fc" for each in faults.errors)
    if found is not None:
        check_program(found.program)
        assert all(each.code == "SC363" and each.severity == "warning" for each in faults.found)


def test_stdp_becomes_two_terms_of_the_right_size() -> None:
    found, _ = made(stdp_pair(rate=0.01, depression=1.05, tau_plus=0.012, tau_minus=0.03), amplitude=2.0, lsb=0.02)
    assert found is not None
    assert found.tau == (0.012, 0.03)
    plus, minus = found.program.terms
    assert plus.factors == ("causal",) and minus.factors == ("acausal",)
    assert value_of(plus, found.program) == pytest.approx(0.01 / 0.02 / 2.0, rel=1 / 16)
    assert value_of(minus, found.program) == pytest.approx(-0.0105 / 0.02 / 2.0, rel=1 / 16)
    assert (found.program.low, found.program.high) == (0, 50)


def test_a_program_does_what_the_rule_says_of_one_pair() -> None:
    """By the float rule a single pair at a distance of one time constant moves the weight by rate / e."""
    rule = stdp_pair(rate=0.002, tau_plus=0.01, tau_minus=0.01, bounds=None)
    found, _ = made(rule, lsb=0.002, amplitude=2.0, both=False)
    assert found is not None
    sensors = CorrelationSensors.ideal(1, 1, 2.0, found.tau)
    # Thirty pairs, so that the read is fine enough.
    pre, post = [0.1 * k for k in range(30)], [0.1 * k + 0.01 for k in range(30)]
    reads = sensors.read(collected(sensors, as_trains([pre]), as_trains([post])), np.random.default_rng(0))
    wide = PlasticityProgram(tuple(found.program.terms), found.program.fraction, both=False)
    _, change = updated(wide, np.zeros((1, 1), dtype=np.int64), Observed(
        causal=np.stack([reads[0]] * 2), acausal=np.stack([reads[1]] * 2), baseline=np.full((2, 1), int(BASELINE))), 0)
    # The acausal partner of each pair is the spike 90 ms before: e^-9.
    assert float(change[0, 0]) == pytest.approx(30 * 0.002 / math.e / 0.002, rel=0.12)


def test_reward_and_error_multiply_what_was_collected() -> None:
    rewarded, _ = made(rule_named("reward_stdp", bounds=None), reward_range=1.0, lsb=0.02, amplitude=1.0)
    assert rewarded is not None and rewarded.third == "none"
    assert [each.factors for each in rewarded.program.terms] == [("reward", "causal"), ("reward", "acausal")]
    assert value_of(rewarded.program.terms[0], rewarded.program) == pytest.approx(0.01 / 127 / 0.02, rel=1 / 16)
    by_host, _ = made(biograd(feedback="none", tau=0.01, rate=0.1), factor_range=8.0, lsb=0.02)
    assert by_host is not None and by_host.third == "factor" and by_host.tau[0] == 0.01
    (term,) = by_host.program.terms
    assert term.factors == ("factor", "causal")
    assert value_of(term, by_host.program) == pytest.approx(-0.1 * (8 / 127) / 2.0 / 0.02, rel=1 / 16)


def test_an_error_of_spikes_is_counted_on_the_chip_where_it_can_be() -> None:
    counted = biograd(feedback="none", error="spike", spikes=False, start=0.0)
    for rule, output, third in ((counted, True, "error"), (counted, False, "factor"),
                                (biograd(feedback="none", error="spike", spikes=True, start=0.0), True, "factor"),
                                (biograd(feedback="none", error="spike", spikes=False, start=0.005), True, "factor")):
        found, _ = made(rule, output=output, counters=True)
        assert found is not None and found.third == third


def test_a_gate_is_read_or_stands_for_spikes() -> None:
    rule = biograd(feedback="none", width=0.5, tau=0.01, rate=0.01)
    spiking, told = made(rule)
    assert spiking is not None and spiking.program.terms[0].factors == ("factor", "causal")
    assert any("stand for the gate" in each.message for each in told.found)
    read, told = made(rule, gate=GateReads(reads=5, rest=80.0, per_unit=60.0))
    assert read is not None and (read.program.reads, read.program.centre, read.program.width) == (5, 140, 30)
    (term,) = read.program.terms
    assert set(term.factors) == {"factor", "gate", "source_rate"}
    # Of a spike of the source, x1 comes to tau / interval in all; the gate's share is reads of 5.
    assert value_of(term, read.program) == pytest.approx(-0.01 * (16 / 127) * (0.01 / 1e-3) / 5 / 0.02, rel=1 / 16)


def test_counts_decay_and_constants_are_said() -> None:
    rule = LearningRule("all", "test", (Update("w", "sample", (
        Term(1e-4, (Factor("x1"), Factor("y1"))), Term(-0.1, (Factor("w"),)), Term(0.05, ()))),
        Update("w", "pre", (Term(0.002, (Factor("w", -1.0),)),)), Update("w", "post", (Term(-0.001, ()),))),
        (Trace("x1", None), Trace("y1", None, 2.0)), phases=(Phase("present", 0.02),), bounds=(-1.0, 0.5))
    found, faults = made(rule, lsb=0.02)
    assert found is not None, faults.found
    got = {each.factors: value_of(each, found.program) for each in found.program.terms}
    expected = {("source_rate", "rate"): 2e-4, ("weight",): -0.1 * 0.02, (): 0.05, ("source_rate", "weight"):
                0.002 * 0.02, ("source_rate",): -0.002, ("rate",): -0.001}
    assert {tuple(sorted(each)) for each in got} == {tuple(sorted(each)) for each in expected}
    for factors, value in expected.items():
        (mine,) = (each for name, each in got.items() if sorted(name) == sorted(factors))
        assert mine == pytest.approx(value / 0.02, rel=1 / 16)
    assert (found.program.low, found.program.high) == (-50, 25)


REFUSED = {
    "triplets": ("SC360", lambda: rule_named("stdp_triplet"), {}, "no three"),
    "every step": ("SC360", lambda: rule_named("e_prop"), {}, "in every step"),
    "learnt feedback": ("SC360", lambda: biograd(), {}, "does not learn"),
    "error spikes": ("SC360", lambda: rule_named("soel"), {}, "no error spike"),
    "two phases": ("SC360", lambda: rule_named("emstdp"), {}, "one phase"),
    "a short tag": ("SC360", lambda: rule_named("reward_stdp", tau_tag=0.05), {}, "does not decay"),
    "a wrong pair": ("SC360", lambda: rule_named("oja"), {}, "a spike of the source with one of the target"),
    "biases": ("SC360", lambda: biograd(feedback="none", bias=True), {}, "biases"),
    "two time constants": ("SC360", lambda: LearningRule(
        "two", "test", (Update("w", "post", (Term(0.1, (Factor("x1"),)), Term(0.1, (Factor("x2"),)))),),
        (Trace("x1", 0.01), Trace("x2", 0.02)), phases=(Phase("present", 0.02),)), {}, "one time constant"),
    "a sign": ("SC360", lambda: LearningRule(
        "sign", "test", (Update("w", "sample", (Term(0.1, (Factor("e", sign=True),)),)),), (), Error("spike"),
        Feedback("none"), (Phase("present", 0.02, teach=True),)), {}, "without a sign"),
    "too large": ("SC361", lambda: rule_named("hebb", rate=50.0), {}, "out of the range"),
    "too small": ("SC361", lambda: rule_named("hebb", rate=1e-9), {}, "out of the range"),
    "bounds": ("SC360", lambda: stdp_pair(bounds=(0.505, 0.515)), {"lsb": 0.02}, "no weight of the chip"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_say_is_refused_at_its_term(name: str) -> None:
    code, rule, settings, message = REFUSED[name]
    found, faults = made(rule(), **settings)
    assert found is None
    assert any(each.code == code and message in each.message + (each.value or "") for each in faults.errors)


def test_a_rate_scales_every_term_and_zero_leaves_none() -> None:
    rule = stdp_pair(rate=0.01)
    one, half, none = (made(rule, rate=rate)[0] for rate in (1.0, 0.5, 0.0))
    assert one is not None and half is not None and none is not None
    for whole, part in zip(one.program.terms, half.program.terms, strict=True):
        assert value_of(part, half.program) == pytest.approx(0.5 * value_of(whole, one.program), rel=1 / 8)
    assert none.program.terms == ()


@given(st.floats(1e-6, 1e6), st.booleans())
@settings(max_examples=200, deadline=None)
def test_coefficients_are_the_nearest(size: float, negative: bool) -> None:
    mantissa, shift = nearest_coefficient(-size if negative else size)
    assert abs(mantissa) % 2 == 1 and abs(mantissa) <= 15 and (mantissa < 0) == negative
    assert abs(mantissa) * 2.0**-shift == pytest.approx(size, rel=1 / 16)


def test_every_limit_has_a_source() -> None:
    assert all(each.source and each.unit and each.value > 0 for each in PPU.values())
    assert all(low < high and source for low, high, source in RANGES.values())
    assert LARGEST["causal"] == PPU["read"].value and LARGEST["rate"] == PPU["counter"].value
    assert LARGEST["weight"] == PPU["weight"].value
