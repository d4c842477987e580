"""Whether the two sides of equations have one dimension."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from .bounds import MAX_POWER
from .expressions import Apply, Expression, Malformed, Number, Symbol, symbols_of
from .units import NONE, SECOND, WEIGHT, Dimension, named, spelled

__all__ = ["Checker"]


class Checker:
    """Dimensions of the names of a neuron. A zero has every dimension. The weight of an impulse has the one that the
    first sum or statement asks of it in which its powers differ."""

    def __init__(self, states: Mapping[str, Expression], inner: Mapping[str, Expression],
                 units: Mapping[str, str]) -> None:
        self._known = {name: dimension for name, unit in units.items()
                       if not isinstance(dimension := named(unit), str)}
        self._inner = {name: each for name, each in inner.items() if name not in units}
        self._states = states
        self._weight: Dimension | None = None

    def rate(self, state: str, rate: Expression) -> None:
        """Raises Malformed (SC136) where a rate is no `state` a second."""
        self._agree(_product(self.of_name(state), SECOND, -1), self.of(rate), f"d{state}/dt")

    def same(self, name: str, expression: Expression) -> None:
        """Raises Malformed (SC136) where a named expression has another unit than is stated for it."""
        found = self.of(expression)
        if name in self._known:
            self._agree(self._known[name], found, name)

    def level(self, expression: Expression) -> None:
        """Raises Malformed (SC136) where the sides of a comparison differ."""
        match expression:
            case Apply("subtract", (left, right)):
                self._agree(self.of(left), self.of(right), "the threshold")

    def change(self, state: str, operator: str, amount: Expression) -> None:
        """Raises Malformed (SC136) where `state operator= amount` mixes dimensions, or asks of w what another sum or
        statement does not."""
        self._agree(NONE if operator in ("*", "/") else self.of_name(state), self.of(amount), state)

    def unstated(self, *parts: str | Expression) -> tuple[str, ...]:
        """The names in parts of a statement, states and expressions, that count as 1 as no unit is stated for them."""
        found: dict[str, None] = {}
        for part in parts:
            for name in symbols_of(part) if not isinstance(part, str) else (part,) if part in self._states else ():
                if name in self._inner:
                    found |= dict.fromkeys(self.unstated(self._inner[name]))
                elif name not in self._known and name != "w":
                    found[name] = None
        return tuple(found)

    def of_name(self, name: str) -> Dimension:
        """The dimension of a state, a parameter or a named expression; none where none is stated."""
        return self._known.get(name, NONE)

    def of(self, expression: Expression) -> Dimension | None:
        """The dimension of an expression, or None of a zero.

        Raises:
            Malformed: its parts do not agree (SC136).
        """
        match expression:
            case Number(value, dimension):
                return None if value == 0 and dimension == NONE else dimension
            case Symbol("w"):
                return WEIGHT
            case Symbol(name) if name in self._inner:
                return self.of(self._inner[name])
            case Symbol(name):
                return self.of_name(name)
            case Apply("add" | "subtract", (left, right)):
                return self._agree(self.of(left), self.of(right), "a sum")
            case Apply("negative", (inner,)):
                return self.of(inner)
            case Apply("multiply" | "divide" as function, (left, right)):
                one, other = self.of(left), self.of(right)
                sign = 1 if function == "multiply" else -1
                return None if one is None else _product(one, NONE if other is None else other, sign)
            case Apply("power", (base, exponent)):
                return self._of_power(base, exponent)
            case Apply("sqrt", (inner,)):
                found = self.of(inner)
                return None if found is None else _power(found, Fraction(1, 2))
            case Apply(function, (inner,)):
                found = self.of(inner)
                if not self._plain(found):
                    raise Malformed(f"{function} is of plain numbers", "SC136", value=_spelled(found))
        return NONE

    def _of_power(self, base: Expression, exponent: Expression) -> Dimension | None:
        found, power = self.of(base), self.of(exponent)
        if not self._plain(power):
            raise Malformed("an exponent is a plain number", "SC136", value=_spelled(power))
        if found is None or found == NONE:
            return found
        number = _constant(exponent)
        if number is None or abs(number) > MAX_POWER:
            raise Malformed("a quantity with a unit is raised to fixed powers only", "SC136",
                            value=_spelled(found))
        return _power(found, Fraction(number).limit_denominator(16))

    def _agree(self, one: Dimension | None, other: Dimension | None, where: str) -> Dimension | None:
        if one is None or other is None:
            return other if one is None else one
        powers = one[3] - other[3]
        if powers:
            weight = _power(_product((*other[:3], Fraction(0)), (*one[:3], Fraction(0)), -1), 1 / powers)
            if self._weight not in (None, weight):
                raise Malformed("the weight of an impulse would have two units", "SC136", value=spelled(weight),
                                limit=_spelled(self._weight))
            self._weight = weight
        elif one != other:
            raise Malformed(f"the units of {where} do not agree", "SC136", value=spelled(other), limit=spelled(one))
        return one

    def _plain(self, found: Dimension | None) -> bool:
        """Whether this is a plain number; where it has a power of w, w has the unit that makes it one."""
        if found is not None and found[3]:
            self._agree(NONE, found, "w")
            return True
        return found in (None, NONE)


def _spelled(dimension: Dimension | None) -> str:
    return spelled(NONE if dimension is None else dimension)


def _product(one: Dimension, other: Dimension, sign: int) -> Dimension:
    second, volt, ampere, weight = (a + sign * b for a, b in zip(one, other, strict=True))
    return second, volt, ampere, weight


def _power(one: Dimension, power: Fraction) -> Dimension:
    second, volt, ampere, weight = (a * power for a in one)
    return second, volt, ampere, weight


def _constant(expression: Expression) -> float | None:
    match expression:
        case Number(value):
            return value
        case Apply("negative", (Number(value),)):
            return -value
        case Apply("divide", (Number(above), Number(below))) if below:
            return above / below
    return None
