"""Learning rules in the numbers of Loihi's learning engine: sums of products that change the weights w, the tags t and
the delays d of a projection while it runs. What they mean, bit for bit, `ir/integer/learning_step.py` states; what is
legal is here, and how Lava 0.10 writes them (lava/magma/core/learning/{symbolic_equation,product_series}.py).

A product is mantissa 2^exponent times what it depends on, times its factors:

    x0, y0         1 if the source, the target of the synapse fired in this epoch
    u              1 in every 2^decimation-th epoch, the first of them epoch 2^decimation (from 1)
    x1, x2         traces of the source, 7 bits
    y1, y2, y3     traces of the target, 7 bits: of its spikes (two factors), or what its neuron says (three)
    w, t, d        the synapse's own numbers before the epoch, 9 bits with the sign

    mantissa 2^exponent product >> max(0, bits of the factors - 11)        >> with the floor

in units of the variable that it changes, of which fractions of 2^-7 are kept until all products are added. So a product
of two traces is 2^-3 of what it says, x1*w 2^-5, x1*y1*w 2^-12 (`shift_of`), and a negative one is at least one 128th.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, prod
from types import MappingProxyType
from typing import Literal

from ..diagnostics import Diagnostic, Diagnostics
from ..facts import is_number, is_whole

__all__ = [
    "POST_TRACES", "PRE_TRACES", "TARGETS", "Dependency", "IntegerFactor", "IntegerProduct", "IntegerRule",
    "IntegerTrace", "lava_text", "rule_faults", "shift_of",
]

Dependency = Literal["x0", "y0", "u"]
TARGETS = ("dw", "dt", "dd")
PRE_TRACES = ("x1", "x2")
POST_TRACES = ("y1", "y2", "y3")
WIDTHS: Mapping[str, int] = {"x0": 1, "y0": 1, **dict.fromkeys((*PRE_TRACES, *POST_TRACES), 7),
                             **dict.fromkeys(("w", "t", "d"), 9)}
"""Bits of a factor (lava/magma/core/learning/constants.py); with its offset, it is clipped to -2^bits .. 2^bits-1."""
VALUES: Mapping[str, tuple[int, int]] = {
    "x0": (0, 1), "y0": (0, 1), **dict.fromkeys((*PRE_TRACES, *POST_TRACES), (0, 127)), "w": (-256, 255),
    "t": (-257, 255), "d": (0, 255),
}
"""What a variable can be. A tag is clipped to -257 (LearningConnectionModelBitApproximate)."""
MANTISSA_BITS, ACCUMULATOR_BITS = 4, 15
LIMITS: Mapping[str, tuple[int, int]] = {
    "mantissa": (-8, 7), "exponent": (-7, 8), "offset": (-128, 127), "decimation": (0, 9), "epoch": (1, 63),
    "seed": (0, (1 << 31) - 1),
}
"""The least and the largest of each number: of an offset, 8 bits; of u's decimation, the one digit that Lava reads."""
LARGEST_IMPULSE = 127
LONGEST_TAU = 1e15
"""Of which exp(-1 / tau) is still below one, by a double's last bits, and no trace ever loses anything."""


@dataclass(frozen=True, slots=True)
class IntegerFactor:
    """`variable` + `offset`, or the sign of that: -1, 0 or 1. `variable`: x0, x1, x2, y0 .. y3, w, t or d."""

    variable: str
    offset: int = 0
    sign: bool = False

    def __str__(self) -> str:
        text = f"{self.variable}{self.offset:+d}" if self.offset else self.variable
        if self.sign:
            return f"sgn({text})"
        return f"({text})" if self.offset else text


@dataclass(frozen=True, slots=True)
class IntegerProduct:
    """`mantissa` -8..7 times 2 to the `exponent` -7..8, where and when `dependency` is 1, times the `factors`."""

    mantissa: int
    exponent: int
    dependency: Dependency
    factors: tuple[IntegerFactor, ...] = ()


@dataclass(frozen=True, slots=True)
class IntegerTrace:
    """Decays by exp(-1/`tau`) a step (tau in steps; 0: forgets at once), and rises by `impulse` at a spike, of which 8
    bits of a fraction are kept; it is rounded at random to whole numbers, and clipped to 0..127."""

    impulse: float
    tau: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntegerRule:
    """`dw`, `dt`, `dd`: what is added to weights, tags and delays at the end of every epoch of `epoch` steps, in the
    order of the products; a variable without a product stays as it is. `decimation`: the k of u_k. `traces`: x1, x2
    and, of a rule of two factors, y1 .. y3, each by its name. `three_factor`: y1 .. y3 are what the target's neurons
    say in each step. `graded`: in the place of an impulse, a spike sets x1 to half of what it carries, rounded to
    even, modulo 256 (Lava's GradedSpikeCfg.OVERWRITE), which decays from the beginning of that epoch, and is clipped to
    127: for spikes of 0..254; x1 has no impulse then. `seed` of the stochastic rounding."""

    dw: tuple[IntegerProduct, ...] = ()
    dt: tuple[IntegerProduct, ...] = ()
    dd: tuple[IntegerProduct, ...] = ()
    decimation: int = 0
    traces: Mapping[str, IntegerTrace] = field(default_factory=dict)
    three_factor: bool = False
    graded: bool = False
    epoch: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "traces", MappingProxyType(dict(self.traces)))

    def products(self, target: str) -> tuple[IntegerProduct, ...]:
        """The products of dw, dt or dd."""
        return {"dw": self.dw, "dt": self.dt, "dd": self.dd}[target]


def shift_of(product: IntegerProduct) -> int:
    """Bits by which a product is shifted right, with the floor, before its exponent counts."""
    return max(0, sum(WIDTHS[each.variable] for each in product.factors) + MANTISSA_BITS - ACCUMULATOR_BITS)


def lava_text(products: tuple[IntegerProduct, ...], decimation: int = 0) -> str:
    """The products as Lava's learning rules write them: `2^-4*y0*t*y3-2^-4*y0*t*y2`; an empty text for none."""
    text = "".join(("-" if each.mantissa < 0 else "+") + _unsigned(each, decimation) for each in products)
    return text.removeprefix("+")


def _unsigned(product: IntegerProduct, decimation: int) -> str:
    mantissa, exponent = abs(product.mantissa), product.exponent
    power = f"2^{exponent}" if mantissa == 1 else f"{mantissa}*2^{exponent}"
    scale = power if exponent else str(mantissa) if mantissa != 1 else ""
    dependency = f"u{decimation}" if product.dependency == "u" else product.dependency
    return "*".join((*filter(None, (scale, dependency)), *map(str, product.factors)))


def rule_faults(rule: IntegerRule, name: str) -> list[Diagnostic]:
    """Every fault of the rule of the projection `name`: SC145 to SC149; an empty list for a legal one."""
    faults = Diagnostics()
    for number in ("decimation", "epoch", "seed"):
        _check_number(number, getattr(rule, number), name, None, faults)
    _check_traces(rule, name, faults)
    if not (rule.dw or rule.dt or rule.dd):
        faults.add("SC145", "a learning rule has a product at least", node=name, value="no dw, dt or dd")
    for target in TARGETS:
        for position, product in enumerate(rule.products(target), 1):
            _check_product(rule, product, f"{target} term {position}", name, faults)
    return faults.found


def _check_number(number: str, value: object, name: str, place: str | None, faults: Diagnostics) -> None:
    low, high = LIMITS[number]
    if not (is_whole(value) and low <= value <= high):
        faults.add("SC146", f"{number} does not fit its field", node=name,
                   value=f"{place}: {value}" if place else value, limit=f"{low}..{high}")


def _check_traces(rule: IntegerRule, name: str, faults: Diagnostics) -> None:
    known = _kept(rule)
    for variable, trace in rule.traces.items():
        if variable not in known:
            faults.add("SC145", "the rule keeps no such trace", node=name, value=variable, limit=", ".join(known),
                       remedy="The neuron itself says y1, y2 and y3 of a three-factor rule: leave them out here."
                       if variable in POST_TRACES else None)
        for number, value, most in (("impulse", trace.impulse, LARGEST_IMPULSE), ("tau", trace.tau, LONGEST_TAU)):
            if not (is_number(value) and 0 <= value < inf and value <= most):
                faults.add("SC146", f"{number} of a trace does not fit its field", node=name,
                           value=f"{variable}: {value}", limit=f"0..{most}")
    if rule.graded and "x1" in rule.traces and rule.traces["x1"].impulse != 0:
        faults.add("SC145", "a graded spike sets x1, and adds no impulse", node=name,
                   value=f"x1: {rule.traces['x1'].impulse}", limit=0)


def _kept(rule: IntegerRule) -> tuple[str, ...]:
    """The traces that the rule itself keeps."""
    return PRE_TRACES if rule.three_factor else (*PRE_TRACES, *POST_TRACES)


def _check_product(rule: IntegerRule, product: IntegerProduct, term: str, name: str, faults: Diagnostics) -> None:
    place = f"{term}: {lava_text((product,), rule.decimation) if _readable(product) else product}"
    found = len(faults.found)
    for number in ("mantissa", "exponent"):
        _check_number(number, getattr(product, number), name, place, faults)
    if product.dependency not in ("x0", "y0", "u"):
        faults.add("SC145", "every product depends on x0, y0 or u", node=name, value=place, limit="x0, y0 or u")
    for factor in product.factors:
        if factor.variable not in WIDTHS:
            faults.add("SC145", "the factor is no variable of a learning rule", node=name, value=place,
                       limit=", ".join(WIDTHS))
            continue
        _check_number("offset", factor.offset, name, place, faults)
        if factor.sign and factor.variable not in ("w", "t", "d"):
            faults.add("SC145", "only w, t and d have a sign to ask for", node=name, value=place)
        if factor.variable in _kept(rule) and factor.variable not in rule.traces:
            faults.add("SC147", f"the rule says nothing of the trace {factor.variable}", node=name, value=place,
                       remedy=f"Give traces['{factor.variable}'] its impulse and tau.")
    if len(faults.found) == found:
        _check_size(product, place, name, faults)


def _readable(product: IntegerProduct) -> bool:
    numbers = (product.mantissa, product.exponent, *(each.offset for each in product.factors))
    return all(map(is_whole, numbers))


def _check_size(product: IntegerProduct, place: str, name: str, faults: Diagnostics) -> None:
    if product.mantissa == -8 and product.exponent < LIMITS["exponent"][1]:
        faults.add("SC146", "Lava holds a mantissa of -8 as -4 and one exponent more, which its floor rounds "
                   "differently", node=name, value=place, remedy=f"Write -4*2^{product.exponent + 1}.")
    most = abs(product.mantissa) * prod(map(_largest, product.factors))
    shift = shift_of(product)
    if most >= 1 << 31:
        faults.add("SC149", "the product leaves 32 bits before it is shifted", node=name, value=place,
                   limit="< 2^31", remedy="Use fewer factors.")
    elif most >> shift == 0:
        faults.add("SC148", f"the product is shifted right by {shift} bits: nothing is left of a positive one, and the "
                   "floor makes 1/128 of every negative one", node=name, value=f"{place}, at most {most}",
                   limit=f">= 2^{shift}", remedy="Use fewer factors.")


def _largest(factor: IntegerFactor) -> int:
    """The largest magnitude of a factor."""
    if factor.sign:
        return 1
    low, high = (value + factor.offset for value in VALUES[factor.variable])
    most = 1 << WIDTHS[factor.variable]
    return max(abs(max(low, -most)), abs(min(high, most - 1)))
