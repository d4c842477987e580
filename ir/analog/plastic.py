"""A learning rule as a plasticity processor of BrainScaleS-2 runs it: whole numbers of 16 bits, column by column.

A signed weight w = w+ - w- is a pair of synapses: one in an excitatory row, one in an inhibitory row of the same
source, 0..63 each. An update reads, and then resets, what is around them, and adds a sum of products to w:

    causal, acausal   what the sensors collected (`correlation.py`): baseline - read, of the excitatory synapse, or the
                      mean of both rows, rounded up (-255..255)
    rate              spikes of the target since the last update, a counter of 8 bits (0..255)
    source_rate       spikes of the source, written by the host for each row (0..255)
    gate              of so many reads of the target's membrane since the last update, those within `width` LSB of
                      `centre` (0..reads)
    factor            a third factor for each target, written by the host (-128..127)
    error             rate - wanted, clipped to -128..127; the host writes `wanted` (0..255) for each target
    reward            one number for all, written by the host (-128..127)
    weight            w itself (-63..63)

A term is factors, taken together from the left, then a mantissa, then a shift to the right:

    p = factor 1;   p = round(p, down_i) * factor i+1;   p = round(p, down_m) * mantissa;   p = round(p, shift)
    acc = sat16(acc + p)

All are 16-bit numbers, two's complement; `downs` are such that no product leaves 16 bits. round(p, k) is stochastic:
(sat16(p + r) >> k), r uniform in 0 .. 2^k - 1, the shift arithmetic. At the end

    w <- clamp(w + round(acc, fraction), low, high);   w+ = max(w, 0),   w- = max(-w, 0)

Random numbers are a function of the seed, the number of the update, the row (the source), the column (the target) and
the number of the rounding in the update, counted in the order above; with all sums and products modulo 2^32, then 2^16,
and `mixed` the hash of 32 bits in `ir/integer/learning_numbers.py`:

    key = mixed(mixed(mixed(seed) + update) + 256 row + rounding)        low, high: its halves
    x = 40503 column + low
    x = swap(x (2x + 1) + high);   x = swap(x (2x + 1) + low);   x = swap(x (2x + 1) + high);   x = x (2x + 1) + low
    r = x >> (16 - k)         swap(x) = (x << 8) + (x >> 8)

so a vector unit needs sums, products and shifts alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..diagnostics import BadInputError, Diagnostics
from ..integer.learning_numbers import mixed
from ..nodes import Array

__all__ = [
    "LARGEST", "LARGEST_WEIGHT", "MOST_MANTISSA", "MOST_SHIFT", "WORD", "Observed", "PlasticTerm", "PlasticityProgram",
    "baseline_of", "check_program", "gate_of", "random_bits", "updated", "updated_weights",
]

LARGEST_WEIGHT = 63
WORD = 32767
MOST_MANTISSA = 15
MOST_ROUNDINGS = 256
"""Of one update: the key of a random number has as much room."""
MOST_SHIFT = 15
LARGEST: Mapping[str, int] = {
    "causal": 255, "acausal": 255, "rate": 255, "source_rate": 255, "gate": 255, "factor": 128, "error": 128,
    "reward": 128, "weight": LARGEST_WEIGHT,
}
"""The largest magnitude of what a term may read."""


@dataclass(frozen=True, slots=True)
class PlasticTerm:
    """`mantissa` times `factors`, with `downs` before each multiplication, `len(factors)` of them (before the second,
    third, … factor and the mantissa), then shifted right by `shift`; 0 factors: the mantissa alone, `downs` empty."""

    mantissa: int
    shift: int
    factors: tuple[str, ...] = ()
    downs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PlasticityProgram:
    """`fraction`: bits of the sum of terms below the unit of weights. `low`, `high`: what w is clamped to. `both`:
    whether the sensors of both rows are read. `reads`, `centre`, `width`: of the gate, LSB; 0 reads: there is none.
    `period`: seconds on the chip between updates."""

    terms: tuple[PlasticTerm, ...]
    fraction: int = 8
    low: int = -LARGEST_WEIGHT
    high: int = LARGEST_WEIGHT
    both: bool = True
    reads: int = 0
    centre: int = 0
    width: int = 0
    period: float = 1e-3
    seed: int = 0

    @property
    def observed(self) -> frozenset[str]:
        """What the terms read."""
        return frozenset(name for term in self.terms for name in term.factors)

    def largest(self, name: str) -> int:
        """The largest magnitude of what a term reads."""
        return self.reads if name == "gate" else LARGEST[name]


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What an update finds, whole numbers: `causal`, `acausal` (2, n_target, n_source), as read in the excitatory and
    the inhibitory row, 0..255; `baseline` (2, n_target), of the causal and the acausal branch; `rate`, `wanted`,
    `gate`, `factor` (n_target,); `source_rate` (n_source,); `reward`. None: the program reads none of it."""

    causal: Array | None = None
    acausal: Array | None = None
    baseline: Array | None = None
    rate: Array | None = None
    wanted: Array | None = None
    source_rate: Array | None = None
    gate: Array | None = None
    factor: Array | None = None
    reward: int = 0


def check_program(program: PlasticityProgram) -> None:
    """Raises:
        BadInputError: naming every term and number with which an update could leave its 16 bits (SC364).
    """
    faults = Diagnostics()

    def wrong(what: str, value: object, limit: str) -> None:
        faults.add("SC364", what, node="plasticity program", value=value, limit=limit)

    if not (-LARGEST_WEIGHT <= program.low <= program.high <= LARGEST_WEIGHT):
        wrong("bounds of weights are out of order or range", f"{program.low}..{program.high}", "-63..63")
    if not 0 <= program.fraction <= 8:
        wrong("the fraction of the sum is out of range", program.fraction, "0..8 bits")
    if not 0 <= program.reads <= 255 or ("gate" in program.observed and not program.reads):
        wrong("reads of the membrane are out of range", program.reads, "1..255 where a term has the gate")
    if not (0 <= program.centre <= 255 and 0 <= program.width <= 255):
        wrong("the gate is out of range", f"{program.centre} and {program.width}", "0..255 LSB")
    if not 0 <= program.seed < 2**32:
        wrong("the seed is out of range", program.seed, "0..2^32-1")
    if sum(_roundings(term) for term in program.terms) >= MOST_ROUNDINGS:
        wrong("there are too many roundings", len(program.terms), f"{MOST_ROUNDINGS} a row")
    for number, term in enumerate(program.terms):
        where = f"terms[{number}]: {'*'.join((str(term.mantissa), *term.factors))}"
        unknown = [name for name in term.factors if name not in LARGEST]
        if unknown or len(term.downs) != len(term.factors):
            wrong("a term has factors that are not there, or not a shift for each", where, ", ".join(LARGEST))
            continue
        if not 1 <= abs(term.mantissa) <= MOST_MANTISSA:
            wrong("a mantissa is out of range", where, f"1..{MOST_MANTISSA}, or less than 0")
        if not all(0 <= each <= MOST_SHIFT for each in (*term.downs, term.shift)):
            wrong("a shift is out of range", where, f"0..{MOST_SHIFT}")
        most = 1
        for factor, down in zip((*term.factors, ""), (0, *term.downs), strict=True):
            most = (-(-most // 2**down)) * (program.largest(factor) if factor else abs(term.mantissa))
        if most > WORD:
            wrong("a product may leave 16 bits", where, f"{WORD}; it comes to {most}")
    faults.raise_if_errors(BadInputError)


def random_bits(seed: int, update: int, rounding: int, n_target: int, n_source: int) -> Array:
    """(n_target, n_source) of 0..65535; round(p, k) takes the k high bits."""
    keys = mixed(mixed(mixed(np.array([seed])) + update) + 256 * np.arange(n_source) + rounding)
    low, high = keys & 0xFFFF, keys >> 16
    found = 40503 * np.arange(n_target)[:, None] + low
    for plus in (high, low, high):
        found = found * (2 * found + 1) + plus & 0xFFFF
        found = (found << 8) + (found >> 8) & 0xFFFF
    found = found * (2 * found + 1) + low & 0xFFFF
    return np.asarray(found)


def updated(program: PlasticityProgram, weights: Array, observed: Observed, update: int) -> tuple[Array, Array]:
    """The signed weights (n_target, n_source) after update number `update`, and the change that the sum of terms asked
    for, before it was clamped. `weights`: w+ - w-. Nothing is checked: see `check_program`."""
    n_target, n_source = weights.shape
    values = _values(program, weights, observed)
    count = 0

    def rounded(value: Array, bits: int) -> Array:
        nonlocal count
        if bits:
            dither = random_bits(program.seed, update, count, n_target, n_source) >> 16 - bits
            value = _saturated(value + dither) >> bits
            count += 1
        return value

    total = np.zeros((n_target, n_source), dtype=np.int64)
    for term in program.terms:
        first, *others = [*(values[name] for name in term.factors), np.int64(term.mantissa)]
        product = np.broadcast_to(first, total.shape)
        for factor, down in zip(others, term.downs, strict=True):
            product = rounded(product, down) * factor
        total = _saturated(total + rounded(product, term.shift))
    change = rounded(total, program.fraction)
    return np.clip(weights + change, program.low, program.high), change


def baseline_of(reads: Array) -> Array:
    """(2, n_target) of reads (2, n_target, n_source) of empty sensors: the mean over sources, halves up."""
    n_source = reads.shape[2]
    return np.asarray((np.asarray(reads, dtype=np.int64).sum(axis=2) + n_source // 2) // n_source)


def gate_of(program: PlasticityProgram, readouts: Array) -> Array:
    """(n_target,) of reads of the membrane (reads, n_target), LSB: how often it was within the gate."""
    return np.asarray((np.abs(np.asarray(readouts, dtype=np.int64) - program.centre) < program.width).sum(axis=0))


def updated_weights(program: PlasticityProgram, excitatory: Array, inhibitory: Array, observed: Observed,
                    update: int) -> tuple[Array, Array]:
    """w+ and w- (n_target, n_source), 0..63, after update number `update`."""
    found, _ = updated(program, np.asarray(excitatory, dtype=np.int64) - inhibitory, observed, update)
    return np.maximum(found, 0), np.maximum(-found, 0)


def _values(program: PlasticityProgram, weights: Array, observed: Observed) -> dict[str, Array]:
    """By name, each (n_target, n_source), or what broadcasts to it."""
    found: dict[str, Any] = {"weight": weights, "reward": np.int64(observed.reward)}
    for branch, (name, read) in enumerate((("causal", observed.causal), ("acausal", observed.acausal))):
        if read is not None and observed.baseline is not None:
            fallen = np.asarray(observed.baseline, dtype=np.int64)[branch][None, :, None] - read
            found[name] = fallen[0] + fallen[1] + 1 >> 1 if program.both else fallen[0]
    for name, column in (("rate", observed.rate), ("gate", observed.gate), ("factor", observed.factor)):
        if column is not None:
            found[name] = np.asarray(column, dtype=np.int64)[:, None]
    if observed.rate is not None and observed.wanted is not None:
        away = np.asarray(observed.rate, dtype=np.int64) - observed.wanted
        found["error"] = np.clip(away, -128, 127)[:, None]
    if observed.source_rate is not None:
        found["source_rate"] = np.asarray(observed.source_rate, dtype=np.int64)[None, :]
    return found


def _saturated(value: Array) -> Array:
    return np.clip(value, -WORD - 1, WORD)


def _roundings(term: PlasticTerm) -> int:
    return sum(each > 0 for each in (*term.downs, term.shift))
