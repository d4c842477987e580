"""Rates as power series in time: from the coefficients of the states up to t^k, those of the rates up to t^k.

Every expression of states becomes a row of coefficients, made from other rows by one of four operations:

    sum       c_k = sum of a_k times a constant (of parameters), and a constant at k = 0
    product   c_k = sum over j <= k of a_j b_(k-j)
    quotient  c = a / b, or 1 / b:  c_k = (a_k - sum over 1 <= j <= k of b_j c_(k-j)) / b_0
    chain     c = F(a) where c' = g a':  k c_k = sum over 1 <= j <= k of j a_j g_(k-j)

g is a row of its own: of exp it is c itself, of sin the cosine (Jorba & Zou, Experimental Mathematics 14:99, 2005).
What is not analytic where it is still finite, a root or a power that is not whole, has no such series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import sympy

__all__ = ["CFunction", "Cosh", "Operation", "Series", "Sinh", "Tanh", "series_of"]

ONE = sympy.Integer(1)


class CFunction(sympy.Function):  # type: ignore[misc]
    """A function of one argument that stands in C as it is, under its name there: without the simplifications of
    sympy's own, by which small numbers would lose digits, or whose time doubles with each nesting."""

    in_c: ClassVar[str]

    def _ccode(self, printer: Any) -> str:
        return f"{self.in_c}({printer._print(self.args[0])})"


class Sinh(CFunction):
    nargs, in_c = 1, "sinh"

    def fdiff(self, argindex: int = 1) -> Any:
        return Cosh(self.args[0])


class Cosh(CFunction):
    nargs, in_c = 1, "cosh"

    def fdiff(self, argindex: int = 1) -> Any:
        return Sinh(self.args[0])


class Tanh(CFunction):
    nargs, in_c = 1, "tanh"

    def fdiff(self, argindex: int = 1) -> Any:
        return 1 - self**2


@dataclass(frozen=True, slots=True)
class Operation:
    """What makes `row`. `terms` are (constant, row) of a sum, -1 as the row of a term that has none; `a` and `b` rows
    of a product, of a quotient (a = -1: of 1) or of a chain (b: g; `first`: F in C)."""

    kind: str
    row: int
    terms: tuple[tuple[int, int], ...] = ()
    a: int = -1
    b: int = -1
    first: str = ""


@dataclass(slots=True)
class Series:
    """Rows 0, 1, … are the states; `rates` are sums for none but the states' rates, `constants` what the sums have of
    parameters."""

    rows: int
    operations: list[Operation] = field(default_factory=list)
    rates: list[Operation] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """As JSON has it, without the constants."""
        return {"rows": self.rows, "constants": len(self.constants),
                "operations": [asdict(each) for each in self.operations],
                "rates": [asdict(each) for each in self.rates]}


class _NotAnalyticError(Exception):
    """An expression without such a series."""


def series_of(states: Sequence[Any], rates: Sequence[Any]) -> Series | None:
    """How the rates follow from the states, sympy's symbols and expressions; None where they have no series."""
    made = _Maker(states)
    try:
        made.series.rates = [made.sum_of(rate, -1) for rate in rates]
    except _NotAnalyticError:
        return None
    return made.series


class _Maker:
    """Rows that are there already are used again."""

    def __init__(self, states: Sequence[Any]) -> None:
        self.states = set(states)
        self.series = Series(len(states))
        self.known = {state: number for number, state in enumerate(states)}
        self.numbers: dict[Any, int] = {}

    def constant(self, value: Any) -> int:
        if value not in self.numbers:
            self.numbers[value] = len(self.series.constants)
            self.series.constants.append(value)
        return self.numbers[value]

    def new_row(self) -> int:
        self.series.rows += 1
        return self.series.rows - 1

    def add(self, kind: str, **values: Any) -> int:
        row = self.new_row()
        self.series.operations.append(Operation(kind, row, **values))
        return row

    def linear(self, expression: Any) -> dict[Any, Any]:
        """Its terms as {expression of states: constant}; what has no state is the constant of 1."""
        if not expression.free_symbols & self.states:
            return {ONE: expression} if expression != 0 else {}
        found: dict[Any, Any] = {}
        if expression.is_Add:
            parts = [self.linear(each) for each in expression.args]
        elif expression.is_Mul:
            constant, rest = expression.as_independent(*self.states, as_Add=False)
            if constant == 1 and not rest.is_Add:
                return {rest: ONE}
            parts = [{name: constant * value for name, value in self.linear(rest).items()}]
        else:
            return {expression: ONE}
        for part in parts:
            for name, value in part.items():
                found[name] = found.get(name, sympy.Integer(0)) + value
        return {name: value for name, value in found.items() if value != 0}

    def sum_of(self, expression: Any, row: int) -> Operation:
        terms = [(self.constant(value), -1 if name == ONE else self.row(name))
                 for name, value in self.linear(expression).items()]
        return Operation("sum", row, tuple(terms))

    def row(self, expression: Any) -> int:
        if expression not in self.known:
            self.known[expression] = self.made(expression)
        return self.known[expression]

    def made(self, expression: Any) -> int:
        if self.linear(expression) != {expression: ONE}:
            told = self.sum_of(expression, self.new_row())
            self.series.operations.append(told)
            return told.row
        if expression.is_Mul:
            below = [each for each in expression.args if each.is_Pow and each.exp.is_Integer and each.exp < 0]
            above = [each for each in expression.args if each not in below]
            if below:
                return self.add("quotient", a=self.row(sympy.Mul(*above)) if above else -1,
                                b=self.row(1 / sympy.Mul(*below)))
            first, rest = expression.as_two_terms()
            return self.add("product", a=self.row(first), b=self.row(rest))
        if expression.is_Pow:
            return self.power(expression.base, expression.exp)
        if type(expression).__name__ not in _CHAINS:
            raise _NotAnalyticError
        return self.chain(expression)

    def power(self, base: Any, exponent: Any) -> int:
        if not exponent.is_Integer:
            raise _NotAnalyticError
        if exponent < 0:
            return self.add("quotient", a=-1, b=self.row(base**-exponent))
        half = self.row(base**(exponent // 2))
        return self.add("product", a=half, b=half if exponent % 2 == 0 else self.row(base**(exponent // 2 + 1)))

    def chain(self, expression: Any) -> int:
        """A function, and with it the one that is its derivative: each is needed up to the order before."""
        (argument,) = expression.args
        a, twin = self.row(argument), _CHAINS[type(expression).__name__][1]
        places = {}
        for each in (expression, *([] if twin is None else [twin(argument)])):
            if each not in self.known:
                self.known[each] = self.add("chain")
                places[each] = len(self.series.operations) - 1
        for each, place in places.items():
            first, _, derivative = _CHAINS[type(each).__name__]
            self.series.operations[place] = Operation("chain", self.known[each], a=a,
                                                      b=self.row(derivative(each, argument)), first=first)
        return self.known[expression]


_CHAINS: dict[str, tuple[str, Any, Any]] = {
    "exp": ("exp", None, lambda c, a: c),
    "_Expm1": ("expm1", None, lambda c, a: 1 + c),
    "log": ("log", None, lambda c, a: 1 / a),
    "_Log1p": ("log1p", None, lambda c, a: 1 / (1 + a)),
    "sin": ("sin", sympy.cos, lambda c, a: sympy.cos(a)),
    "cos": ("cos", sympy.sin, lambda c, a: -sympy.sin(a)),
    "Sinh": ("sinh", Cosh, lambda c, a: Cosh(a)),
    "Cosh": ("cosh", Sinh, lambda c, a: Sinh(a)),
    "tan": ("tan", None, lambda c, a: 1 + c**2),
    "Tanh": ("tanh", None, lambda c, a: 1 - c**2),
    "atan": ("atan", None, lambda c, a: 1 / (1 + a**2)),
}
"""By function: its name in C, the one that is its derivative, and its derivative of its value c and argument a."""
