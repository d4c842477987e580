"""Dimensions of quantities in neuron equations: powers of second, volt and ampere, and of the weight of an impulse.

Values are plain numbers in these units (SI); units serve to check equations, as `70*mV` in one is a number with a
dimension.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

__all__ = ["BASES", "NONE", "SECOND", "WEIGHT", "Dimension", "constant", "named", "spelled"]

Dimension = tuple[Fraction, Fraction, Fraction, Fraction]
"""Powers of second, volt, ampere and w."""


def _dimension(second: int = 0, volt: int = 0, ampere: int = 0, weight: int = 0) -> Dimension:
    return Fraction(second), Fraction(volt), Fraction(ampere), Fraction(weight)


NONE = _dimension()
SECOND = _dimension(1)
WEIGHT = _dimension(weight=1)
BASES: Mapping[str, Dimension] = {
    "second": SECOND, "volt": _dimension(0, 1), "amp": _dimension(0, 0, 1), "hertz": _dimension(-1),
    "ohm": _dimension(0, 1, -1), "siemens": _dimension(0, -1, 1), "farad": _dimension(1, -1, 1),
    "coulomb": _dimension(1, 0, 1), "watt": _dimension(0, 1, 1), "joule": _dimension(1, 1, 1),
}
_SHORT = {"s": "second", "V": "volt", "A": "amp", "Hz": "hertz", "ohm": "ohm", "S": "siemens", "F": "farad",
          "C": "coulomb", "W": "watt", "J": "joule"}
_PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
_FACTOR = re.compile(r"\s*([A-Za-z]+|1)\s*(?:\*\*\s*\(?\s*(-?\d{1,2})\s*\)?)?\s*")
_LONGEST = 200


def constant(name: str) -> tuple[float, Dimension] | None:
    """What a name is as a unit within an expression (`mV`, `Hz`, `second`), or None."""
    if name in BASES:
        return 1.0, BASES[name]
    if name == "Hz":
        return 1.0, BASES["hertz"]
    base = _SHORT.get(name[1:])
    return (_PREFIXES[name[0]], BASES[base]) if base is not None and name[0] in _PREFIXES else None


def named(text: str) -> Dimension | str:
    """The dimension that a declaration states, as `volt/second` or `1`; or what is wrong with it, as text."""
    total, sign, position = list(NONE), 1, 0
    if len(text) > _LONGEST:
        return "a unit is short"
    while True:
        match = _FACTOR.match(text, position)
        if match is None:
            return f"'{text.strip()[:40]}' is no unit; units are products of {', '.join(BASES)} and 1"
        name, power = match[1], int(match[2] or 1)
        if name != "1" and name not in BASES:
            scaled = constant(name)
            if scaled is None:
                return f"'{name[:40]}' is no unit; units are products of {', '.join(BASES)} and 1"
            plain = next(base for base, own in BASES.items() if own == scaled[1])
            return f"values are plain SI numbers: state {plain} instead of {name}"
        for axis, exponent in enumerate(BASES.get(name, NONE)):
            total[axis] += sign * power * exponent
        position = match.end()
        if position == len(text):
            return total[0], total[1], total[2], total[3]
        if text[position] not in "*/":
            return f"'{text.strip()[:40]}' is no unit"
        sign = 1 if text[position] == "*" else -1
        position += 1


def spelled(dimension: Dimension) -> str:
    """A dimension as text, for messages."""
    for name, base in BASES.items():
        if base == dimension:
            return name
    parts = [f"{name}" if power == 1 else f"{name}**{power}"
             for name, power in zip(("second", "volt", "amp", "w"), dimension, strict=True) if power]
    return "*".join(parts) or "1"
