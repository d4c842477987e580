"""A learning rule as C: what each product is, of which bounds, and which synapses it can change at all.

A product with a factor that is zero is zero, and so is what the floor of its shift and its exponent leave of it. A
synapse all of whose products are zero stays as it is: its sum is a whole number of 128ths of 128, nothing is rounded.
But for a tag of -257, which is more than the accumulator holds: it may be rounded to -256 by itself. So rows of
synapses, and targets, are passed over where no product can be other than zero, unless a tag stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import floor

import numpy as np

from ...ir.integer.learning import (
    POST_TRACES,
    PRE_TRACES,
    TARGETS,
    VALUES,
    WIDTHS,
    IntegerFactor,
    IntegerProduct,
    IntegerRule,
    IntegerTrace,
    shift_of,
)
from ...ir.integer.learning_step import ACCUMULATOR, FRACTION, OF_SIGN, OF_TARGET
from ...ir.integer.network import Sign

__all__ = ["ProductCode", "RuleCode", "SumCode", "Variant", "rule_code"]

Interval = tuple[int, int]
BITS = {"u": 1, "x0": 2, "y0": 4}
"""Of a variant: dependencies whose products count."""
GENERAL = 8
"""The variant of all products, whether they count or not, and of tags of -257."""


@dataclass(frozen=True, slots=True)
class ProductCode:
    """`row`: the factors that all targets of a source share; `lanes`: those of each target; `bounds`: between them the
    result is clipped before it is shifted left by `left`, where it must be."""

    number: int
    row: str
    lanes: tuple[str, ...]
    right: int
    left: int
    bounds: Interval | None


@dataclass(frozen=True, slots=True)
class SumCode:
    """A new weight, tag or delay: `variable` w, t or d. `clips`: by product, whether the sum after it may leave the
    accumulator. `rounds`: whether anything is left to round. `lowest`: whether -257 can come of it. `signed`: what
    cuts the sum before it is rounded, min or max with zero."""

    variable: str
    products: tuple[ProductCode, ...]
    clips: tuple[bool, ...]
    rounds: bool
    low: int
    high: int
    lowest: bool
    signed: str


@dataclass(frozen=True, slots=True)
class Variant:
    """What happens where the only dependency that counts is that of `mask`, or, of the mask 8, always. `read`: of w, t
    and d; `whole`: products of a row that only raise tags by whole numbers, for 16 bits, or ()."""

    mask: int
    sums: tuple[SumCode, ...]
    read: str
    whole: tuple[ProductCode, ...]


@dataclass(frozen=True, slots=True)
class RuleCode:
    """`kept`: by trace, x1 to y3, whether anything is left of it after a step; `impulses`: by trace, whole part and
    256ths. `targets`: by product, when it may be other than zero for any target; `rows`: by product, for any target
    of a source; both C, `1` for always. `masks`: by product, the bit of its dependency; `kinds`: whether it
    needs a trace of the source (1), else a spike of it (2), or neither (4)."""

    epoch: int
    decimation: int
    three_factor: bool
    graded: bool
    kept: tuple[bool, ...]
    impulses: tuple[tuple[int, int], ...]
    masks: tuple[int, ...]
    kinds: tuple[int, ...]
    targets: tuple[str, ...]
    rows: tuple[str, ...]
    variants: tuple[Variant, ...]
    tags: bool
    learnt: str


def rule_code(rule: IntegerRule, sign: Sign) -> RuleCode:
    """The rule of a projection whose weights have this sign."""
    everything = list(chain.from_iterable(map(rule.products, TARGETS)))
    counted = iter(enumerate(everything))
    numbered = {target: list(islice(counted, len(rule.products(target)))) for target in TARGETS
                if rule.products(target)}
    masks = sorted({BITS[each.dependency] for each in everything})
    traces = [rule.traces.get(name, IntegerTrace(0, 0)) for name in (*PRE_TRACES, *POST_TRACES)]
    return RuleCode(
        epoch=rule.epoch, decimation=rule.decimation, three_factor=rule.three_factor, graded=rule.graded,
        kept=tuple(each.tau != 0 for each in traces), impulses=tuple(_impulse(each) for each in traces),
        masks=tuple(BITS[each.dependency] for each in everything), kinds=tuple(_kind(each) for each in everything),
        targets=tuple(_of_targets(each) for each in everything), rows=tuple(_of_rows(each) for each in everything),
        variants=tuple(_variant(numbered, mask, sign, rule.epoch) for mask in (*masks, GENERAL)), tags=bool(rule.dt),
        learnt="".join(target[1] for target in numbered))


def _impulse(trace: IntegerTrace) -> tuple[int, int]:
    whole = floor(trace.impulse)
    return whole, int(np.round((trace.impulse - whole) * 256))


def _of_targets(each: IntegerProduct) -> str:
    """C that is zero where every target's factor is."""
    found = [f"any_{factor.variable}" for factor in each.factors
             if factor.variable in ("y0", *POST_TRACES) and not factor.offset]
    if each.dependency == "y0":
        found.append("any_y0")
    if each.dependency == "u":
        found.append("u")
    return " && ".join(sorted(set(found))) or "1"


def _of_rows(each: IntegerProduct) -> str:
    """C that is zero where the factors of a source, or all tags of its synapses, are."""
    names = {"x0": "x0_", "t": "P->tagged[j]"}
    names |= {name: f"x_{each.dependency}[{place}]" for place, name in enumerate(PRE_TRACES)}
    found = [names[factor.variable] for factor in each.factors if factor.variable in names and not factor.offset]
    if each.dependency == "x0":
        found.append("x0_")
    return " && ".join(sorted(set(found))) or "1"


def _kind(each: IntegerProduct) -> int:
    plain = {factor.variable for factor in each.factors if not factor.offset}
    return 1 if plain & set(PRE_TRACES) else 2 if "x0" in plain or each.dependency == "x0" else 4


def _variant(numbered: dict[str, list[tuple[int, IntegerProduct]]], mask: int, sign: Sign, epoch: int) -> Variant:
    sums = []
    for target, products in numbered.items():
        chosen = [(number, each) for number, each in products if _counts(each, mask)]
        if chosen:
            sums.append(_sum(target, chosen, sign, epoch, mask == GENERAL))
    used = {factor.variable for products in numbered.values() for _, each in products if _counts(each, mask)
            for factor in each.factors} | {each.variable for each in sums}
    return Variant(mask, tuple(sums), "".join(each for each in "wtd" if each in used), _whole(numbered, mask, sums))


def _counts(each: IntegerProduct, mask: int) -> bool:
    return mask == GENERAL or bool(BITS[each.dependency] & mask)


def _sum(target: str, products: Sequence[tuple[int, IntegerProduct]], sign: Sign, epoch: int,
         general: bool) -> SumCode:
    low, high = OF_SIGN[sign] if target == "dw" else OF_TARGET[target]
    reached = ((low if general else max(low, -256)) << FRACTION, high << FRACTION)
    codes: list[ProductCode] = []
    clips: list[bool] = []
    below = False
    for number, each in products:
        code, bounds = _product(number, each, epoch, general)
        codes.append(code)
        reached = (reached[0] + bounds[0], reached[1] + bounds[1])
        clips.append(not _within(reached))
        below = below or reached[0] < -256 << FRACTION
        reached = _cut(reached)
    # What is cut off has a fraction; after the last product, only a tag's is not lost in the bounds of its variable.
    fraction = any(each.exponent < 0 for _, each in products) or any(each.bounds for each in codes) or any(clips[:-1])
    clips[-1] = clips[-1] and target == "dt"
    rounds = fraction or (target == "dt" and below)
    return SumCode(target[1], tuple(codes), tuple(clips), rounds, low, high, target == "dt" and below,
                   "FMAX" if low == 0 else "FMIN" if high == 0 else "")


def _product(number: int, each: IntegerProduct, epoch: int, general: bool) -> tuple[ProductCode, Interval]:
    row, reached = [str(each.mantissa)], (each.mantissa, each.mantissa)
    lanes: list[str] = []
    for factor in each.factors:
        bounds = _factor_bounds(factor)
        text, own = _factor(factor, each.dependency, epoch)
        (lanes if own else row).append(text)
        reached = _times(reached, bounds)
    if each.dependency == "y0":
        lanes.insert(0, "y0[i]")
    elif general:
        row.insert(0, "x0_" if each.dependency == "x0" else "u")
    reached = min(reached[0], 0), max(reached[1], 0)
    right, left = shift_of(each), each.exponent + FRACTION
    reached = reached[0] >> right, reached[1] >> right
    held = reached[0] << left, reached[1] << left
    most = (-(-ACCUMULATOR[0] >> left) - 1, (ACCUMULATOR[1] >> left) + 1)
    code = ProductCode(number, " * ".join(row), tuple(lanes), right, left, None if _within(held) else most)
    return code, _cut(held)


def _factor(factor: IntegerFactor, dependency: str, epoch: int) -> tuple[str, bool]:
    """C, and whether each target has its own."""
    name, own = factor.variable, True
    if name in PRE_TRACES:
        place = PRE_TRACES.index(name)
        own = dependency == "y0" and epoch > 1
        text = f"x_then[{place}][then[i]]" if own else f"x_{dependency}[{place}]"
    elif name == "x0":
        text, own = "x0_", False
    elif name == "y0":
        text = "y0[i]"
    elif name in POST_TRACES:
        text = f"y_{dependency}[{POST_TRACES.index(name)}][i]"
    else:
        text = name
    low, high = VALUES[name]
    most = 1 << WIDTHS[name]
    if factor.offset:
        text = f"({text} + {factor.offset})".replace("+ -", "- ")
    if factor.sign:
        return f"(({text} > 0) - ({text} < 0))", own
    if low + factor.offset < -most or high + factor.offset > most - 1:
        text = f"FMIN(FMAX({text}, {-most}), {most - 1})"
    return text, own


def _factor_bounds(factor: IntegerFactor) -> Interval:
    if factor.sign:
        return -1, 1
    low, high = (value + factor.offset for value in VALUES[factor.variable])
    most = 1 << WIDTHS[factor.variable]
    return min(max(low, -most), most - 1), min(max(high, -most), most - 1)


def _whole(numbered: dict[str, list[tuple[int, IntegerProduct]]], mask: int,
           sums: Sequence[SumCode]) -> tuple[ProductCode, ...]:
    if mask == GENERAL or len(sums) != 1 or sums[0].variable != "t":
        return ()
    for _, each in (pair for pair in numbered["dt"] if BITS[pair[1].dependency] & mask):
        plain = all(factor.variable not in ("w", "t", "d", "y0") and not factor.offset for factor in each.factors)
        largest = each.mantissa
        for factor in each.factors:
            largest *= _factor_bounds(factor)[1]
        if (not plain or each.dependency == "y0" or each.mantissa < 0 or each.exponent < 0
                or largest > 32767 or largest >> shift_of(each) << each.exponent > 8191):
            return ()
    return sums[0].products if len(sums[0].products) <= 3 else ()


def _times(one: Interval, other: Interval) -> Interval:
    found = [a * b for a in one for b in other]
    return min(found), max(found)


def _within(reached: Interval) -> bool:
    return ACCUMULATOR[0] <= reached[0] and reached[1] <= ACCUMULATOR[1]


def _cut(reached: Interval) -> Interval:
    low, high = ACCUMULATOR
    return min(max(reached[0], low), high), min(max(reached[1], low), high)
