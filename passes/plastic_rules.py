"""A learning rule in the numbers of Loihi's learning engine, for one projection.

Each variable of the model is held as a whole number, `scale` times as large; a term c a b of an update of z becomes a
product of mantissa 2^exponent = c scale(z) / (scale(a) scale(b)) 2^shift, where shift makes up for the bits that the
engine drops of a product (`ir/integer/learning.py`). An error e, which has a sign, is told by two traces, y2 - y3; a
reward r by y2 - MARK in the column of an update.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import log2

from ..ir.diagnostics import Diagnostics
from ..ir.integer.learning import LIMITS, Dependency, IntegerFactor, IntegerProduct, IntegerRule, IntegerTrace, shift_of
from ..ir.integer.plastic import MARK
from ..ir.learning.rule import Factor, Term, Update
from ..ir.learning.terms import term_text

__all__ = ["ChipScales", "coefficient_of", "integer_rule", "nearest_product"]

_TARGETS = {"w": "dw", "t": "dt", "d": "dd"}
_DEPENDENCIES: Mapping[str, Dependency] = {"step": "u", "error": "u", "pre": "x0", "post": "y0", "sample": "y0"}
_OFF = 0.34
"""By how much of itself a coefficient may be off: halfway between the two least, 2^-7 and 2^-6, it is a third."""
_LEAST_BITS = 1
"""Of the accumulator (2^-7 of a weight's unit) that the largest product of a term has to reach."""
_LARGEST = {"x1": 127, "x2": 127, "y1": 127, "y2": 127, "y3": 127, "w": 255, "t": 255, "d": 255}


@dataclass(frozen=True, slots=True)
class ChipScales:
    """What a variable of the model is multiplied by, by its name; 1.0 where it is not named. `traces` as the engine
    keeps them. `error`: the traces that tell the positive and the negative part of e. `gated`: what says that a sample
    is over: y0, or, where y0 is the target's own spike, y1 or, with a reward, y3, which are MARK then. `largest`: of
    variables that come to less than what holds them."""

    by_name: Mapping[str, float] = field(default_factory=dict)
    traces: Mapping[str, IntegerTrace] = field(default_factory=dict)
    error: tuple[str, str] = ("y2", "y3")
    gated: str = "y0"
    largest: Mapping[str, int] = field(default_factory=dict)

    def of(self, variable: str) -> float:
        return float(MARK) if variable == self.gated != "y0" else self.by_name.get(variable, 1.0)


def integer_rule(updates: Iterable[Update], scales: ChipScales, name: str, *, three_factor: bool, seed: int,
                 graded: bool = False, signed: str = "e", rate: float = 1.0, faults: Diagnostics) -> IntegerRule:
    """The rule of the projection `name`. `graded`, `seed`: of the rule. `signed`: the variable that two traces tell.
    `rate`: what updates of weights are multiplied by. Adds SC516 (what the engine cannot say) and SC336 (a number that
    it cannot hold), each at its term."""
    products: dict[str, list[IntegerProduct]] = {"dw": [], "dt": [], "dd": []}
    decimations = set()
    for update in updates:
        dependency, factor = _dependency(update, scales, three_factor)
        if dependency == "u":
            decimations.add(update.every)
        for term in update.terms:
            text = term_text(term)
            scaled = Term(term.coefficient * (rate if update.variable == "w" else 1.0), term.factors)
            products[_TARGETS[update.variable]] += _products(
                scaled, update.variable, dependency, factor, scales, signed, name, text, faults)
    if len(decimations) > 1:
        faults.add("SC516", "the learning engine has one interval for all terms of every step", node=name,
                   value=", ".join(f"every 2^{each}" for each in sorted(decimations)), limit="one")
    return IntegerRule(dw=tuple(products["dw"]), dt=tuple(products["dt"]), dd=tuple(products["dd"]),
                       decimation=max(decimations, default=0), traces=scales.traces, three_factor=three_factor,
                       graded=graded, seed=seed)


def coefficient_of(term: Term, variable: str, scales: ChipScales, rate: float = 1.0) -> float:
    """What mantissa 2^exponent has to be for a term of an update of `variable`."""
    told = {"e": scales.error[0], "r": "y2"}
    held = [IntegerFactor(told.get(each.variable, each.variable), 0, each.sign) for each in term.factors]
    shift = shift_of(IntegerProduct(1, 0, "u", tuple(held)))
    return _scaled(term.coefficient * (rate if variable == "w" else 1.0), term.factors, variable, scales) * 2.0**shift


def _scaled(coefficient: float, factors: Iterable[Factor], variable: str, scales: ChipScales) -> float:
    scale = scales.of(variable)
    for each in factors:
        scale /= 1.0 if each.sign else scales.of(each.variable)
    return coefficient * scale


def nearest_product(value: float) -> tuple[int, int] | None:
    """Mantissa and exponent next to `value`, the smallest such mantissa; None where it is out of their range."""
    if not value:
        return None
    low, high = LIMITS["exponent"]
    found = min((abs(mantissa * 2.0**exponent - abs(value)), mantissa, exponent)
                 for mantissa in range(1, 8) for exponent in range(low, high + 1))
    if found[0] > abs(value) * _OFF:
        return None
    return (found[1] if value > 0 else -found[1]), found[2]


def _nearer(value: float) -> str:
    """What brings a coefficient that `nearest_product` does not find to one that it does."""
    low, high = (2.0**each for each in LIMITS["exponent"])
    if value < low:
        return f"Multiply the rate by {1.05 * low / (1 + _OFF) / value:.2g} at least" if value else "Raise the rate"
    return f"Divide the rate by {1.05 * value * (1 - _OFF) / (7 * high):.2g} at least"


def _dependency(update: Update, scales: ChipScales, three_factor: bool) -> tuple[Dependency, tuple[Factor, ...]]:
    """What a product depends on, and the factor that says when, where that is none of the engine's own."""
    if update.when == "sample" and three_factor and scales.gated != "y0":
        return "u", (Factor(scales.gated),)
    return _DEPENDENCIES[update.when], ()


def _products(term: Term, variable: str, dependency: Dependency, extra: tuple[Factor, ...], scales: ChipScales,
              signed: str, name: str, text: str, faults: Diagnostics) -> list[IntegerProduct]:
    """One product, or two where an error is in it."""
    factors = (*term.factors, *extra)
    times = sum(each.variable == signed for each in factors)
    if times > 1 or any(each.variable == signed and (each.offset or each.sign) for each in factors):
        faults.add("SC516", f"{signed} has a sign, so it can be one factor of a term, once and by itself", node=name,
                   value=text, limit="one product of each part")
        return []
    parts = [(1.0, signed)] if not times else [(1.0, scales.error[0]), (-1.0, scales.error[1])]
    made = []
    for sign, part in parts:
        held = [_factor(Factor(part) if each.variable == signed else each, scales, name, text, faults)
                for each in factors]
        product = IntegerProduct(1, 0, dependency, tuple(held))
        wanted = sign * _scaled(term.coefficient, factors, variable, scales) * 2.0 ** shift_of(product)
        found = nearest_product(wanted)
        if found is None:
            if not times or sign > 0:
                low, high = LIMITS["exponent"]
                faults.add("SC336", "the coefficient of the term is out of the engine's range", node=name,
                           value=f"{text}: {abs(wanted):.3g} (2^{log2(abs(wanted)):.1f})" if wanted else text,
                           limit=f"2^{low} to 7*2^{high}",
                           remedy=f"{_nearer(abs(wanted))}, or change the impulse of a trace, or how finely the tag is "
                                  "kept.")
            continue
        made.append(IntegerProduct(found[0], found[1], dependency, tuple(held)))
        _check_size(made[-1], scales, name, text, faults)
    return made


def _factor(factor: Factor, scales: ChipScales, name: str, text: str, faults: Diagnostics) -> IntegerFactor:
    offset = factor.offset * scales.of(factor.variable) - (MARK if factor.variable == "r" else 0)
    if abs(offset - round(offset)) > 0.25 or not LIMITS["offset"][0] <= round(offset) <= LIMITS["offset"][1]:
        faults.add("SC336", "the number beside a variable is no whole number that the engine holds", node=name,
                   value=f"{text}: {offset:.3g}", limit="{}..{}".format(*LIMITS["offset"]))
        offset = 0.0
    if factor.sign and factor.variable not in ("w", "t", "d"):
        faults.add("SC516", "the learning engine knows the sign of w, t and d alone", node=name, value=text,
                   limit="w, t, d")
    return IntegerFactor("y2" if factor.variable == "r" else factor.variable, round(offset), factor.sign)


def _check_size(product: IntegerProduct, scales: ChipScales, name: str, text: str, faults: Diagnostics) -> None:
    """Warns of products that never come to two bits of the accumulator: the floor costs every negative one a bit."""
    most = float(abs(product.mantissa)) * 2.0 ** (product.exponent + 7 - shift_of(product))
    for each in product.factors:
        most *= 1 if each.sign else scales.largest.get(each.variable, _LARGEST.get(each.variable, 1))
    if most < 2**_LEAST_BITS:
        faults.add("SC337", "the term is so small that the floor of the engine outweighs it: every negative product "
                   "counts 1/128 at least", node=name, value=f"{text}: at most {most:.3g}/128", limit=">= 2/128",
                   severity="warning", remedy="Raise the rate, or keep the tag more finely.")
