"""Sums of products as text, both ways: what is between the quotes of `terms("2^-4*x1*y0 - 2^-6*x0*y1*(w - 2)")`.

    sum      [-] product, then + product or - product; `0` alone is a sum of nothing
    product  numbers and factors with * between
    number   1, 0.5, 1e-3, 2^-7 (of base 2 alone), or a name that comes with its value: terms("-rate*e*t", rate=0.01)
    factor   a variable of `learning.VARIABLES`, (w - 2), sgn(t)

The numbers of a product become its coefficient; a product whose named number is 0 is left out. Reading gives the same
bits as were written. Nothing is evaluated.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import frexp, isfinite
from typing import NamedTuple

from ..diagnostics import Diagnostics
from ..facts import is_number
from .rule import VARIABLES, Factor, Term

__all__ = ["MAX_TERMS", "MAX_TEXT", "term_text", "terms", "terms_text"]

MAX_TEXT = 8192
"""Characters of a sum."""
MAX_TERMS = 64
"""Products of a sum."""
LARGEST = sys.float_info.max
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<word>[A-Za-z_][A-Za-z_0-9]*)"
    r"|(?P<sign>[-+*^()])|(?P<strange>\S))"
)


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


class _Fault(Exception):
    def __init__(self, message: str, column: int, **facts: object) -> None:
        super().__init__(message)
        self.message, self.column, self.facts = message, column, facts


def terms(text: str, **numbers: float) -> tuple[Term, ...]:
    """The sum of products that a text says; `numbers`: the values of names in it that are no variables.

    Raises:
        BadInputError: naming every product that cannot be read, and the column where it goes wrong (SC150).
    """
    faults = Diagnostics()
    for name, value in numbers.items():
        if name in (*VARIABLES, "sgn") or not is_number(value) or not abs(value) <= LARGEST:
            faults.add("SC150", f"'{name}' stands for no number", value=repr(value)[:80], limit="a finite number")
    faults.raise_if_errors()
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        faults.add("SC150", "terms are a text", value=f"{len(text)} characters" if isinstance(text, str) else
                   type(text).__name__, limit=f"{MAX_TEXT} characters")
        faults.raise_if_errors()
    reader = _Reader(text, {name: float(value) for name, value in numbers.items()})
    found: list[Term] = []
    if reader.tokens[0].text == "0" and len(reader.tokens) == 2:
        return ()
    first = True
    while first or not reader.next_is("end"):
        try:
            found += reader.term(first)
        except _Fault as fault:
            around = text[max(0, fault.column - 31):fault.column + 29]
            faults.add("SC150", f"column {fault.column}: {fault.message}", **{"value": around, **fault.facts})
            reader.skip()
        first = False
        if len(found) + len(faults.found) > MAX_TERMS:
            faults.add("SC150", "there are too many products in one sum", limit=MAX_TERMS)
            break
    faults.raise_if_errors()
    return tuple(found)


def terms_text(sum_of: Sequence[Term]) -> str:
    """A sum as text. Total: what is illegal has a text too, which need not be readable."""
    text = ""
    for number, term in enumerate(sum_of):
        product = term_text(term)
        negative = product.startswith("-")
        joint = ("-" if negative else "") if number == 0 else " - " if negative else " + "
        text += joint + product.removeprefix("-")
    return text or "0"


def term_text(term: Term) -> str:
    """One product as text: '-2^-6*x0*y1*(w - 2)'."""
    factors = [_factor_text(factor) for factor in term.factors]
    if factors and abs(term.coefficient) == 1.0:
        return ("-" if term.coefficient < 0 else "") + "*".join(factors)
    return "*".join([_number_text(term.coefficient), *factors])


def _factor_text(factor: Factor) -> str:
    if factor.offset == 0.0 and not factor.sign:
        return factor.variable
    number = _number_text(factor.offset)
    offset = "" if factor.offset == 0.0 else f" - {number[1:]}" if number.startswith("-") else f" + {number}"
    return f"{'sgn' if factor.sign else ''}({factor.variable}{offset})"


def _number_text(number: float) -> str:
    """The shorter of a decimal and of whole numbers times a power of two, each with the same bits."""
    if number == 0.0 or not abs(number) <= LARGEST:
        return repr(number).removesuffix(".0")
    decimal = repr(float(number)).removesuffix(".0")
    mantissa, exponent = frexp(abs(number))
    while mantissa != int(mantissa):
        mantissa, exponent = 2 * mantissa, exponent - 1
    power = f"{'-' if number < 0 else ''}{'' if mantissa == 1 else f'{int(mantissa)}*'}2^{exponent}"
    return power if len(power) < len(decimal) else decimal


class _Reader:
    """The tokens of a sum, taken one product after the other. Raises `_Fault` where it meets something else."""

    def __init__(self, text: str, numbers: Mapping[str, float]) -> None:
        self._numbers = numbers
        self.tokens = [_Token(match.lastgroup or "", match[match.lastgroup or 0], match.start(match.lastgroup or 0) + 1)
                       for match in TOKEN.finditer(text)]
        self.tokens.append(_Token("end", "the end", len(text) + 1))
        self._position = 0

    @property
    def _next(self) -> _Token:
        return self.tokens[self._position]

    def next_is(self, kind: str, *texts: str) -> bool:
        return self._next.kind == kind and (not texts or self._next.text in texts)

    def term(self, first: bool) -> tuple[Term, ...]:
        """One product, with the sign before it; none where a named number is zero."""
        negative = self.next_is("sign", "-")
        if self.next_is("sign", "+", "-"):
            self._take()
        elif not first:
            raise self._unexpected("'*', '+' or '-'")
        column = self._next.column
        coefficient, factors, left_out = 1.0, [], False
        while True:
            if self.next_is("number") or self._next.text in self._numbers:
                left_out |= self._numbers.get(self._next.text) == 0.0
                coefficient *= self._number()
            else:
                factors.append(self._factor())
            if not self.next_is("sign", "*"):
                break
            self._take()
        if not self.next_is("end") and not self.next_is("sign", "+", "-"):
            raise self._unexpected("'*', '+' or '-'")
        if not isfinite(coefficient):
            raise _Fault("the numbers of a product are too large together", column)
        return () if left_out else (Term(-coefficient if negative else coefficient, tuple(factors)),)

    def skip(self) -> None:
        """To the sign before the next product, past the one that could not be read."""
        depth = 0
        while not self.next_is("end"):
            depth += self._next.text == "("
            depth = max(0, depth - (self._next.text == ")"))
            self._take()
            if not depth and self.next_is("sign", "+", "-") and self.tokens[self._position - 1].text not in ("^", "*"):
                return

    def _take(self) -> _Token:
        token = self._next
        self._position += token.kind != "end"
        return token

    def _want(self, sign: str) -> None:
        if not self.next_is("sign", sign):
            raise self._unexpected(f"'{sign}'")
        self._take()

    def _unexpected(self, wanted: str) -> _Fault:
        found = "the end" if self.next_is("end") else f"'{self._next.text[:40]}'"
        return _Fault(f"{wanted} is expected, not {found}", self._next.column)

    def _number(self) -> float:
        """`0.5`, `2^-7`, or the value of a name."""
        token = self._take()
        if token.kind == "word":
            return self._numbers[token.text]
        number = float(token.text)
        if self.next_is("sign", "^"):
            self._take()
            negative = self.next_is("sign", "-")
            if negative:
                self._take()
            exponent = self._take()
            if number != 2.0 or not re.fullmatch("[0-9]{1,4}", exponent.text):
                raise _Fault("powers are whole powers of two, as 2^-7", token.column)
            number = _power_of_two(-int(exponent.text) if negative else int(exponent.text), token.column)
        if not isfinite(number):
            raise _Fault("the number is too large", token.column)
        return number

    def _factor(self) -> Factor:
        token = self._next
        if self.next_is("word", "sgn"):
            self._take()
            self._want("(")
            variable = self._variable()
            self._want(")")
            return Factor(variable, sign=True)
        if self.next_is("sign", "("):
            self._take()
            variable = self._variable()
            offset = 0.0
            if self.next_is("sign", "+", "-"):
                negative = self._take().text == "-"
                offset = self._product_of_numbers() * (-1 if negative else 1)
            self._want(")")
            return Factor(variable, offset)
        if token.kind != "word":
            raise self._unexpected("a number or a variable")
        return Factor(self._variable())

    def _product_of_numbers(self) -> float:
        column, product = self._next.column, 1.0
        while True:
            if not (self.next_is("number") or self._next.text in self._numbers):
                raise self._unexpected("a number")
            product *= self._number()
            if not self.next_is("sign", "*"):
                break
            self._take()
        if not isfinite(product):
            raise _Fault("the number is too large", column)
        return product

    def _variable(self) -> str:
        token = self._next
        if token.kind != "word":
            raise self._unexpected("a variable")
        if token.text not in VARIABLES:
            near = get_close_matches(token.text.lower(), (*self._numbers, *VARIABLES), 1, 0.4)
            raise _Fault(f"'{token.text[:40]}' is no variable of a rule", token.column, limit=", ".join(VARIABLES),
                         remedy=f"Is '{near[0]}' meant?" if near else None)
        return self._take().text


def _power_of_two(exponent: int, column: int) -> float:
    if not -1074 <= exponent <= 1023:
        raise _Fault("the power is outside float64", column, limit="2^-1074 to 2^1023")
    return 2.0**exponent
