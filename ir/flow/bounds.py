"""What keeps the work on a text in proportion to its length: constants are numbers before anything is derived, powers
and depth have a limit, and so have the derivatives, whose size is known without making them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from .expressions import (
    MAX_DEPTH,
    MAX_SIZE,
    Apply,
    Expression,
    Malformed,
    Number,
    Symbol,
    depth_of,
    evaluate,
    size_of,
)

__all__ = ["MAX_DERIVED", "MAX_POWER", "bounded", "check_derivatives", "derived_size"]

MAX_POWER = 64
"""The size of a constant exponent; those of powers of powers multiply."""
MAX_DERIVED = 8000
"""Operations, names and numbers of what is derived of a neuron: the derivatives of its parts by all names in them."""
_OF_PRODUCTS = 3
"""What a factor of a derivative costs, in terms of a sum: the series has a product of its own for each."""
_ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide", "power", "negative"})


def bounded(expression: Expression) -> Expression:
    """The expression with its constant parts as numbers.

    Raises:
        Malformed: a constant part is no finite number, an exponent is too large, or all of it (SC133).
    """
    if (size := size_of(expression)) > MAX_SIZE:
        raise Malformed("the expression is too large when what it names is put in", value=size, limit=MAX_SIZE)
    if (depth := depth_of(expression)) > MAX_DEPTH:
        raise Malformed("the expression is nested too deeply when what it names is put in", value=f"{depth} levels",
                        limit=MAX_DEPTH)
    return _folded(expression)[0]


def _folded(expression: Expression) -> tuple[Expression, float]:
    """The expression, and the largest product of the exponents of powers that lie within each other."""
    if not isinstance(expression, Apply):
        return expression, 1.0
    parts = [_folded(each) for each in expression.arguments]
    made = Apply(expression.function, tuple(part for part, _ in parts))
    if all(isinstance(part, Number) for part in made.arguments):
        return _number(made), 1.0
    if expression.function == "divide" and made.arguments[1] == Number(0.0):
        raise Malformed("a constant part is no finite number", value="a division by 0")
    if expression.function == "power":
        return made, _power(made.arguments[0], made.arguments[1], parts[0][1])
    return made, max(power for _, power in parts) if expression.function in _ARITHMETIC else 1.0


def _number(expression: Apply) -> Number:
    with np.errstate(all="ignore"):
        value = float(evaluate(expression, {}))
    if not math.isfinite(value):
        given = ", ".join(f"{each.value:g}" for each in expression.arguments if isinstance(each, Number))
        raise Malformed("a constant part is no finite number", value=f"{expression.function} of {given}")
    return Number(value)


def _power(base: Expression, exponent: Expression, inner: float) -> float:
    if isinstance(base, Number) and base.value <= 0:
        raise Malformed("a power that is not fixed is of what is positive", value=f"{base.value:g}", limit="> 0")
    if not isinstance(exponent, Number):
        return inner
    power = inner * abs(exponent.value)
    if power > MAX_POWER:
        raise Malformed("an exponent is too large", value=f"{power:g}",
                        limit=f"{MAX_POWER}, those of powers of powers multiplied")
    return max(power, 1.0)


def check_derivatives(expressions: Iterable[Expression]) -> None:
    """Raises Malformed (SC133) where what is derived of expressions would be too large."""
    size = sum(derived_size(each) for each in expressions)
    if size > MAX_DERIVED:
        raise Malformed("the equations are too large to be derived: products of many sums, or many names in one "
                        "expression", value=f"{size} operations", limit=MAX_DERIVED)


def derived_size(expression: Expression) -> int:
    """About how many operations the derivatives of an expression by all the names in it have. Parts that they share
    with the expression are there already: a derivative of a product of n factors is n products of n."""
    return _derived(expression)[0]


def _derived(expression: Expression) -> tuple[int, frozenset[str]]:
    if isinstance(expression, Symbol):
        return 1, frozenset({expression.name})
    if not isinstance(expression, Apply):
        return 0, frozenset()
    many = expression.function in ("multiply", "divide")
    parts = [_derived(each) for each in (_factors(expression) if many else expression.arguments)]
    names = frozenset().union(*(names for _, names in parts))
    inner = sum(size for size, _ in parts)
    if many:
        return inner + _OF_PRODUCTS * len(parts) * sum(len(names) for _, names in parts), names
    return inner + len(names) * (4 if expression.function == "power" else 1), names


def _factors(expression: Expression) -> Iterator[Expression]:
    if isinstance(expression, Apply) and expression.function in ("multiply", "divide", "negative"):
        for each in expression.arguments:
            yield from _factors(each)
    else:
        yield expression
