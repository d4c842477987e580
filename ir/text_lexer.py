"""Tokens of the text form, and the small phrases that its statements are made of. See `text`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .nodes import Array

__all__ = ["DIRECTIVES", "DTYPES", "RESERVED", "VERSION", "WORD", "Fault", "Line", "Reference", "Token"]

VERSION = 1
DTYPES: dict[str, type[np.generic]] = {"f32": np.float32, "f64": np.float64, "i64": np.int64}
WORD = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_.]|-(?!>))*")
CONSTANTS = {"none": None, "true": True, "false": False, "inf": float("inf"), "nan": float("nan")}
DIRECTIVES = ("arrays", "discretization", "metadata")
RESERVED = frozenset((*CONSTANTS, *DIRECTIVES, "spikec-graph"))
"""Words with a meaning of their own: as names they stand in quotes."""
TOKEN = re.compile(
    rf"""[ \t\r]*(?:(?P<comment>\#.*)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<arrow>->)
    |(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|-inf\b)|(?P<word>{WORD.pattern})|(?P<sign>[=()\[\],@]))""",
    re.VERBOSE | re.ASCII,
)
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
MAX_DIGITS = 4000
MAX_AXES = 32
MAX_ELEMENTS = 1 << 40


class Token(NamedTuple):
    """`kind`: the group of `TOKEN` that it matched; `column` counts from 1."""

    kind: str
    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Reference:
    """An array of the sidecar, as the text declares it."""

    key: str
    dtype: type[np.generic]
    shape: tuple[int, ...]
    line: int
    column: int

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


class Fault(Exception):
    """What is wrong in a line, and where; `facts` as of a `Diagnostic`."""

    def __init__(self, message: str, column: int, **facts: object) -> None:
        super().__init__(message)
        self.message, self.column, self.facts = message, column, facts


class Line:
    """The tokens of one line, taken one phrase after the other. Every method raises `Fault` where it meets another."""

    def __init__(self, line: str, number: int) -> None:
        self.number = number
        self._line = line
        self._tokens = list(_tokens(line))
        self._position = 0

    @property
    def done(self) -> bool:
        return self._position >= len(self._tokens)

    @property
    def first(self) -> str:
        return self._tokens[0].text

    @property
    def column(self) -> int:
        return len(self._line) + 1 if self.done else self._tokens[self._position].column

    def take(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def next_is(self, kind: str, text: str | None = None) -> bool:
        if self.done:
            return False
        token = self._tokens[self._position]
        return token.kind == kind and text in (None, token.text)

    def want(self, kind: str, what: str, text: str | None = None) -> Token:
        if not self.next_is(kind, text):
            found = "the end of the line" if self.done else f"'{self._tokens[self._position].text[:40]}'"
            raise Fault(f"{what} is expected, not {found}", self.column)
        return self.take()

    def finish(self) -> None:
        if not self.done:
            raise Fault(f"the statement ends before '{self._tokens[self._position].text[:40]}'", self.column)

    def rest(self) -> str:
        """What is left of the line, as it stands there."""
        left = self._line[self.column - 1:].strip()
        self._position = len(self._tokens)
        return left

    def items(self, closing: str) -> Iterator[None]:
        """Stops before each of the items up to a closing sign, with commas in between and one allowed at the end."""
        while not self.next_is("sign", closing):
            yield
            if not self.next_is("sign", closing):
                self.want("sign", f"',' or '{closing}'", ",")
        self.take()

    def name(self, what: str) -> str:
        if self.next_is("text"):
            return self._string()
        return self.want("word", what).text

    def value(self) -> Any:
        """A number, word, text, tuple, array or reference."""
        if self.next_is("number"):
            return self._number()
        if self.next_is("text"):
            return self._string()
        if self.next_is("sign", "("):
            self.take()
            return tuple(self._scalar() for _ in self.items(")"))
        if self.next_is("sign", "@"):
            column = self.take().column
            return Reference(self.name("the key of an array"), *self._type(), self.number, column)
        if not self.done and self._tokens[self._position].text in DTYPES:
            return self._array()
        return self._word()

    def whole_number(self, what: str) -> int:
        column = self.column
        value = self._number() if self.next_is("number") else None
        if not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise Fault(f"{what} is expected: a whole number", column)
        return value

    def _scalar(self) -> Any:
        if self.next_is("number"):
            column = self.column
            value = self._number()
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise Fault("the number is too large", column)
            return value
        return self._string() if self.next_is("text") else self._word()

    def _word(self) -> Any:
        word = self.want("word", "a value").text
        return CONSTANTS.get(word, word)

    def _number(self) -> int | float:
        token = self.take()
        if len(token.text) > MAX_DIGITS:
            raise Fault("the number has too many digits", token.column, limit=MAX_DIGITS)
        return int(token.text) if INTEGER.fullmatch(token.text) else float(token.text)

    def _string(self) -> str:
        token = self.take()
        try:
            return str(json.loads(token.text))
        except ValueError as error:
            raise Fault("malformed text in quotes", token.column, value=str(error)[:80]) from None

    def _type(self) -> tuple[type[np.generic], tuple[int, ...]]:
        """`f64[2, 3]`, or `f64` of a scalar."""
        column = self.column
        name = self.want("word", "f32, f64 or i64").text
        if name not in DTYPES:
            raise Fault("an array is f32, f64 or i64", column, value=name[:40])
        shape: tuple[int, ...] = ()
        if self.next_is("sign", "["):
            self.take()
            shape = tuple(self.whole_number("the length of an axis") for _ in self.items("]"))
        if len(shape) > MAX_AXES or any(length < 0 for length in shape) or prod(shape) > MAX_ELEMENTS:
            raise Fault("this is no possible shape", column, value=str(shape)[:80],
                         limit=f"{MAX_AXES} axes, {MAX_ELEMENTS} elements")
        return DTYPES[name], shape

    def _array(self) -> Array:
        column = self.column
        dtype, shape = self._type()
        self.want("sign", "'('", "(")
        numbers = []
        for _ in self.items(")"):
            if self.next_is("number"):
                numbers.append(self.whole_number("an index") if dtype is np.int64 else self._number())
            else:
                numbers.append(self._not_finite())
        if len(numbers) != prod(shape) and (len(numbers) != 1 or dtype is np.int64):
            raise Fault("an array states one number, or all of its elements", column, value=len(numbers),
                         limit=prod(shape))
        try:
            with np.errstate(over="ignore"):
                stated = np.array(numbers, dtype=dtype)
        except OverflowError:
            raise Fault("a number is too large", column) from None
        return stated.reshape(shape) if len(numbers) == prod(shape) else np.broadcast_to(stated[0], shape)

    def _not_finite(self) -> float:
        column = self.column
        value = self._word()
        if not isinstance(value, float):
            raise Fault("a number is expected", column)
        return value


def _tokens(line: str) -> Iterator[Token]:
    position, end = 0, len(line.rstrip(" \t\r"))
    while position < end:
        match = TOKEN.match(line, position)
        if match is None:
            column = position + len(line[position:]) - len(line[position:].lstrip(" \t\r"))
            raise Fault("this cannot be read", column + 1, value=repr(line[column:column + 20]))
        position = match.end()
        kind = match.lastgroup or ""
        if kind != "comment":
            yield Token(kind, match[kind], match.start(kind) + 1)
