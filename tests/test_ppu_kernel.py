"""Generated kernels of the plasticity processor against the integer reference, bit for bit, on a host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ppu_host import COMPILER, HostKernel

from spikec.ir.analog.plastic import (
    LARGEST,
    WORD,
    Observed,
    PlasticityProgram,
    PlasticTerm,
    baseline_of,
    check_program,
    gate_of,
    updated_weights,
)
from spikec.ir.diagnostics import BadInputError, Diagnostics, DoesNotFitError
from spikec.ir.learning.rule import Error, Factor, LearningRule, Phase, Term, Update
from spikec.ir.rules import biograd, hebb, reward_stdp, stdp_pair
from spikec.passes.ppu_rules import GateReads, PpuChoices, make_ppu_rule
from spikec.targets.brainscales2.ppu_kernel import columns_in_order, kernel_text

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
DECAY = LearningRule("decay", "test", (Update("w", "sample", (
    Term(-0.01, (Factor("e"), Factor("x1"))), Term(-0.2, (Factor("w"),)), Term(0.003, ()))),),
    (), Error("spike"), phases=(Phase("present", 0.02, teach=True),))


def compiled(rule: LearningRule, choices: PpuChoices, lsb: float = 0.02, seed: int = 3) -> PlasticityProgram:
    faults = Diagnostics()
    found = make_ppu_rule(rule, projection="fc", lsb=lsb, choices=choices, seed=seed, tau_mem=0.01, threshold=1.0,
                          output=True, faults=faults)
    assert found is not None, faults.found
    return found.program


def any_program(seed: int) -> PlasticityProgram:
    """Terms at random, of up to three factors, that stay within 16 bits."""
    random = np.random.default_rng(seed)
    reads = int(random.integers(1, 6))
    terms = []
    for _ in range(int(random.integers(1, 6))):
        factors = tuple(random.choice(sorted(LARGEST), random.integers(0, 4)).tolist())
        mantissa = int(random.choice([-1, 1]) * random.integers(1, 16))
        sizes = [*(reads if each == "gate" else LARGEST[each] for each in factors), abs(mantissa)]
        downs, most = [], sizes[0]
        for size in sizes[1:]:
            downs.append(next(down for down in range(16) if -(-most // 2**down) * size <= WORD))
            most = -(-most // 2 ** downs[-1]) * size
        terms.append(PlasticTerm(mantissa, int(random.integers(0, 16)), factors, tuple(downs)))
    low, high = sorted(random.integers(-63, 64, 2).tolist())
    return PlasticityProgram(tuple(terms), int(random.integers(0, 9)), low, high, bool(random.integers(2)), reads,
                             int(random.integers(0, 256)), int(random.integers(0, 256)),
                             seed=int(random.integers(2**32)))


PROGRAMS = {
    "stdp_pair": lambda: compiled(stdp_pair(), PpuChoices(both=False)),
    "hebb": lambda: compiled(hebb(), PpuChoices()),
    "reward_stdp": lambda: compiled(reward_stdp(bounds=None), PpuChoices()),
    "biograd": lambda: compiled(biograd(feedback="none", rate=0.05), PpuChoices()),
    "biograd-gate": lambda: compiled(biograd(feedback="none"), PpuChoices(gate=GateReads(3))),
    "biograd-counters": lambda: compiled(
        biograd(feedback="none", error="spike", spikes=False, start=0.0), PpuChoices(counters=True)),
    **{f"any-{seed}": lambda seed=seed: any_program(seed) for seed in range(4)},
}


def scattered(n_target: int, random: np.random.Generator) -> Sequence[tuple[int, int]]:
    places = random.choice(512, n_target, replace=False)
    return [(int(each) // 256, int(each) % 256) for each in places]


@needs_compiler
@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels_are_the_reference_bit_for_bit(name: str, tmp_path: Path) -> None:
    program = PROGRAMS[name]()
    check_program(program)
    random = np.random.default_rng(len(name))
    n_target, n_source = int(random.integers(20, 300)), int(random.integers(1, 7))
    columns = scattered(n_target, random)
    kernel = HostKernel(kernel_text(program, n_target, n_source, rule=name, columns=columns), tmp_path, n_source,
                        columns)
    shape = n_target, n_source
    empty = random.integers(120, 256, (2, *shape))
    kernel.begin(*empty)
    weights = np.stack([random.integers(0, 64, shape), random.integers(0, 64, shape)])
    weights[:, 0], weights[0, 1], weights[1, 1] = 0, 63, 0
    observed = program.observed
    for update in range(12):
        # Of every fourth update each number is one of its ends: what saturates, does.
        def whole(low: int, high: int, *shape: int, at_ends: bool = update % 4 == 3) -> Any:
            return random.choice([low, high], shape) if at_ends else random.integers(low, high + 1, shape)

        found = Observed(
            causal=whole(0, 255, 2, *shape), acausal=whole(0, 255, 2, *shape), baseline=baseline_of(empty),
            rate=whole(0, 255, n_target), wanted=whole(0, 255, n_target), source_rate=whole(0, 255, n_source),
            factor=whole(-128, 127, n_target).astype(np.int8), reward=int(whole(-128, 127, 1)[0]))
        readouts = whole(0, 255, max(1, program.reads) if "gate" in observed else 1, n_target)
        found = Observed(**{each: getattr(found, each) for each in Observed.__slots__ if each != "gate"},
                         gate=gate_of(program, readouts))
        symbols = {"factor": found.factor, "error": found.wanted, "source_rate": found.source_rate,
                   "reward": np.array([found.reward], dtype=np.int8)}
        names = {"error": "wanted"}
        assert found.rate is not None and found.causal is not None and found.acausal is not None
        got = kernel.update(weights, found.causal, found.acausal, found.rate, readouts,
                            **{f"spikec_p0_{names.get(each, each)}": value for each, value in symbols.items()
                               if each in observed})
        expected = updated_weights(program, weights[0], weights[1], found, update)
        np.testing.assert_array_equal(got, expected)
        assert not np.minimum(*got).any() and np.max(got) <= 63
        weights = np.stack(got)
        if update % 3 == 2:
            weights = np.stack([random.integers(0, 64, shape), random.integers(0, 64, shape)])


@needs_compiler
def test_a_kernel_with_another_seed_differs(tmp_path: Path) -> None:
    """The comparison sees a single wrong bit of the random numbers."""
    program = compiled(reward_stdp(bounds=None, rate=0.003), PpuChoices())
    other = PlasticityProgram(**{each: getattr(program, each) for each in PlasticityProgram.__slots__} | {"seed": 4})
    columns = columns_in_order(40)
    kernel = HostKernel(kernel_text(other, 40, 3), tmp_path, 3, columns)
    random = np.random.default_rng(0)
    empty = np.full((2, 40, 3), 180)
    kernel.begin(*empty)
    causal, acausal = random.integers(0, 180, (2, 2, 40, 3))
    found = Observed(causal=causal, acausal=acausal, baseline=baseline_of(empty), reward=40)
    weights = np.zeros((2, 40, 3), dtype=np.int64)
    got = kernel.update(weights, causal, acausal, np.zeros(40), np.zeros((1, 40)),
                        spikec_p0_reward=np.array([40], dtype=np.int8))
    assert (np.stack(got) != np.stack(updated_weights(program, weights[0], weights[1], found, 0))).any()
    np.testing.assert_array_equal(got, updated_weights(other, weights[0], weights[1], found, 0))


def test_no_text_of_the_user_is_code() -> None:
    program = compiled(stdp_pair(), PpuChoices())
    text = kernel_text(program, 2, 2, rule="x\n#include \"/etc/passwd\" /*")
    assert "spikec 0" in text and "passwd\"" not in text and "xincludeetcpasswd." in text


def test_what_has_no_room_is_refused_all_at_once() -> None:
    program = compiled(stdp_pair(), PpuChoices())
    with pytest.raises(DoesNotFitError) as raised:
        kernel_text(program, 600, 129, columns=[(0, 0)] * 600)
    assert [each.code for each in raised.value.diagnostics] == ["SC362"] * 3


@pytest.mark.parametrize("wrong", [
    PlasticityProgram((PlasticTerm(3, 0, ("causal", "factor"), (0, 0)),)),
    PlasticityProgram((PlasticTerm(1, 16, ("causal",), (0,)),)),
    PlasticityProgram((PlasticTerm(16, 1),)),
    PlasticityProgram((PlasticTerm(1, 1, ("voltage",), (0,)),)),
    PlasticityProgram((PlasticTerm(1, 1, ("gate",), (0,)),)),
    PlasticityProgram((PlasticTerm(1, 1),), fraction=9),
    PlasticityProgram((PlasticTerm(1, 1),), low=4, high=3),
    PlasticityProgram((PlasticTerm(1, 1),), seed=-1),
    PlasticityProgram((PlasticTerm(1, 1),) * 256),
])
def test_programs_that_could_leave_their_bits_are_refused(wrong: PlasticityProgram) -> None:
    with pytest.raises(BadInputError, match="SC364"):
        kernel_text(wrong, 2, 2)
