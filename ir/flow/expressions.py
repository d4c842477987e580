"""Expressions of neuron equations: trees of three kinds of node, made from text by hand.

Python's `ast` says where the parentheses are; every node of it is looked at, and what is not arithmetic is refused.
Nothing is evaluated but by `evaluate`, which knows the functions of `FUNCTIONS` alone.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from .units import NONE, Dimension, constant

__all__ = [
    "CALLED", "FUNCTIONS", "MAX_DEPTH", "MAX_SIZE", "MAX_TEXT", "Apply", "Expression", "Malformed", "Number", "Symbol",
    "comparison", "depth_of", "evaluate", "linear_in", "parsed", "size_of", "substituted", "symbols_of",
]

MAX_TEXT = 8192
"""Characters of the equations of a neuron."""
MAX_DEPTH = 64
"""Operations that lie within each other in an expression; the terms of a sum do not, nor the factors of a product."""
MAX_SIZE = 2000
"""Operations, names and numbers of an expression, when what it names is put in."""


class Malformed(Exception):
    """What is wrong with a piece of text; `facts` as of a `Diagnostic`."""

    def __init__(self, message: str, code: str = "SC133", **facts: Any) -> None:
        super().__init__(message)
        self.message, self.code, self.facts = message, code, facts


@dataclass(frozen=True, slots=True)
class Number:
    """A number, or a number of units: 70*mV is the product of two."""

    value: float
    dimension: Dimension = NONE


@dataclass(frozen=True, slots=True)
class Symbol:
    """A state, a parameter, or the weight `w` of an impulse."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """`FUNCTIONS[function]` of `arguments`."""

    function: str
    arguments: tuple[Expression, ...]


Expression = Number | Symbol | Apply

FUNCTIONS: Mapping[str, tuple[int, Callable[..., Any]]] = {
    "add": (2, np.add), "subtract": (2, np.subtract), "multiply": (2, np.multiply), "divide": (2, np.divide),
    "power": (2, np.power), "negative": (1, np.negative),
    "exp": (1, np.exp), "expm1": (1, np.expm1), "log": (1, np.log), "log1p": (1, np.log1p), "sqrt": (1, np.sqrt),
    "sin": (1, np.sin), "cos": (1, np.cos), "tan": (1, np.tan), "sinh": (1, np.sinh), "cosh": (1, np.cosh),
    "tanh": (1, np.tanh), "atan": (1, np.arctan),
}
"""Arity and meaning of each function. All are smooth where they are defined, as the integrators need it."""
_LONG = 8
"""Terms of a sum, or factors of a product, from which on they are joined in pairs, and these in pairs, and so on."""
CALLED = frozenset(FUNCTIONS) - {"add", "subtract", "multiply", "divide", "power", "negative"}
_OPERATORS: Mapping[type[ast.AST], str] = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide",
}


def parsed(text: str) -> Expression:
    """The expression that a text states.

    Raises:
        Malformed: it is none, or holds what is not arithmetic (SC133), or calls what is no function (SC134).
    """
    return _expression(_syntax(text), text, 0)


def comparison(text: str) -> Expression:
    """`a > b` or `b < a` as a - b, which rises above zero where the comparison comes to hold.

    Raises:
        Malformed: it is none (SC133, SC134).
    """
    match _syntax(text):
        case ast.Compare(left=left, ops=[ast.Gt() | ast.Lt() as operator], comparators=[right]):
            pair = (left, right) if isinstance(operator, ast.Gt) else (right, left)
            one, other = (_expression(each, text, 1) for each in pair)
            return Apply("subtract", (one, other))
    raise Malformed("a threshold is one comparison, as v > theta", value=_short(text))


def _syntax(text: str) -> ast.expr:
    if len(text) > MAX_TEXT:
        raise Malformed("the text is too long", value=f"{len(text)} characters", limit=MAX_TEXT)
    if not text.isascii():  # Python takes letters that look alike for one another
        raise Malformed("this is no expression: its letters are not all of ASCII", value=_short(text))
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, RecursionError | MemoryError):
            raise Malformed("the expression is too long, or nested too deeply", value=_short(text)) from None
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise Malformed(f"this is no expression: {reason}", value=_short(text)) from None


def _expression(node: ast.AST, text: str, depth: int) -> Expression:
    if depth > MAX_DEPTH:
        raise Malformed("the expression is nested too deeply", value=_short(text), limit=f"{MAX_DEPTH} levels")

    def inner(each: ast.AST) -> Expression:
        return _expression(each, text, depth + 1)

    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _number(value, text)
        case ast.Name(id="pi"):
            return Number(math.pi)
        case ast.Name(id=name):
            unit = constant(name)
            return Symbol(name) if unit is None else Number(*unit)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return inner(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Apply("negative", (inner(operand),))
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as operator):
            chain = _chain(node, (ast.Add, ast.Sub) if isinstance(operator, ast.Add | ast.Sub) else (ast.Mult, ast.Div))
            if len(chain) > MAX_SIZE:
                raise Malformed("the expression is too long", value=f"{len(chain)} terms or factors", limit=MAX_SIZE)
            return _joined([(name, inner(each)) for name, each in chain])
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            return Apply("power", (inner(left), inner(right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in CALLED:
            if len(arguments) != 1 or isinstance(arguments[0], ast.Starred):
                raise Malformed(f"{name} takes one argument", value=_short(text))
            return Apply(name, (inner(arguments[0]),))
        case ast.Call(func=ast.Name(id=name)):
            close = get_close_matches(name, CALLED, n=1)
            raise Malformed("there is no such function", "SC134", value=name[:40], limit=", ".join(sorted(CALLED)),
                            remedy=f"Is '{close[0]}' meant?" if close else None)
    raise Malformed("equations hold arithmetic only: + - * / **, functions, numbers, names", value=_short(
        ast.unparse(node) if isinstance(node, ast.expr) else text))


def _chain(node: ast.expr, kinds: tuple[type[ast.operator], ...]) -> list[tuple[str, ast.expr]]:
    """The terms of a sum, or the factors of a product, each with the operation that joins it to those before."""
    found = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, kinds):
        found.append((_OPERATORS[type(node.op)], node.right))
        node = node.left
    return [("", node), *reversed(found)]


def _joined(chain: list[tuple[str, Expression]]) -> Expression:
    total = chain[0][1]
    if len(chain) <= _LONG:
        for name, each in chain[1:]:
            total = Apply(name, (total, each))
        return total
    join = "add" if chain[1][0] in ("add", "subtract") else "multiply"
    level = [Apply("negative", (each,)) if name == "subtract" else Apply("divide", (Number(1.0), each))
             if name == "divide" else each for name, each in chain]
    while len(level) > 1:
        pairs = [Apply(join, (one, other)) for one, other in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[2 * len(pairs):]
    return level[0]


def _number(value: int | float, text: str) -> Number:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Malformed("a number is too large", value=_short(text))
    return Number(number)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _walk(expression: Expression) -> Iterator[Expression]:
    waiting = [expression]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, Apply):
            waiting.extend(reversed(each.arguments))


def symbols_of(expression: Expression) -> tuple[str, ...]:
    """The names in an expression, each once, from left to right."""
    return tuple(dict.fromkeys(each.name for each in _walk(expression) if isinstance(each, Symbol)))


def size_of(expression: Expression) -> int:
    """Numbers, names and operations in it."""
    return sum(1 for _ in _walk(expression))


def depth_of(expression: Expression) -> int:
    """How many operations lie within each other in it."""
    deepest, waiting = 0, [(expression, 0)]
    while waiting:
        each, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(each, Apply):
            waiting.extend((inner, depth + 1) for inner in each.arguments)
    return deepest


def substituted(expression: Expression, values: Mapping[str, Expression]) -> Expression:
    """The expression with others in the place of names.

    Raises:
        Malformed: it grows beyond `MAX_SIZE`.
    """
    sizes = {name: size_of(value) for name, value in values.items()}
    grown = sum(sizes.get(each.name, 1) if isinstance(each, Symbol) else 1 for each in _walk(expression))
    if grown > MAX_SIZE:
        raise Malformed("the expression is too large when what it names is put in", value=grown, limit=MAX_SIZE)
    return _substituted(expression, values)


def _substituted(expression: Expression, values: Mapping[str, Expression]) -> Expression:
    match expression:
        case Symbol(name):
            return values.get(name, expression)
        case Apply(function, arguments):
            return Apply(function, tuple(_substituted(each, values) for each in arguments))
    return expression


def evaluate(expression: Expression, values: Mapping[str, Any]) -> Any:
    """The value where names have `values`: numbers or arrays."""
    match expression:
        case Number(value):
            return value
        case Symbol(name):
            return values[name]
        case Apply(function, arguments):
            return FUNCTIONS[function][1](*(evaluate(each, values) for each in arguments))


def linear_in(expression: Expression, name: str) -> Expression | None:
    """g, where the expression is g times `name` and g is free of it; None where its form does not show that."""
    match expression:
        case Symbol(own) if own == name:
            return Number(1.0)
        case Apply("negative", (inner,)):
            factor = linear_in(inner, name)
            return None if factor is None else Apply("negative", (factor,))
        case Apply("multiply", (left, right)):
            for one, other in ((left, right), (right, left)):
                factor = linear_in(one, name)
                if factor is not None and name not in symbols_of(other):
                    return Apply("multiply", (factor, other))
        case Apply("divide", (above, below)) if name not in symbols_of(below):
            factor = linear_in(above, name)
            return None if factor is None else Apply("divide", (factor, below))
        case Apply("add" | "subtract" as function, (left, right)):
            factors = linear_in(left, name), linear_in(right, name)
            if factors[0] is not None and factors[1] is not None:
                return Apply(function, (factors[0], factors[1]))
    return None
