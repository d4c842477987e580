"""From the equations of a neuron to C: sympy derives flow, Jacobian, adjoint and jumps, `kernels/equations.jinja` puts
them into the one form that the kernels of flows call.

Linear equations are moved by the exponential of their matrix, summed to rounding; all others by steps of order 8 whose
error is held at a tolerance (`dormand_prince`). The adjoint is that of the very steps that are taken. No text of the
user's reaches C: states are x[0], x[1], …, parameters p[0], p[1], …
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
from sympy.printing.c import C99CodePrinter

from ...ir.flow.expressions import Apply, Expression, Number, Symbol
from ...ir.flow.flow import Dynamics
from ...ir.flow.statements import WEIGHT
from .. import jit
from .dormand_prince import ERROR_3, ERROR_5, STAGES, WEIGHTS

__all__ = ["DIVERGED", "MOST_STEPS", "STIFF", "fragment", "is_linear"]

DIVERGED, STIFF = 1, 2
"""Bits of what `flow_advance` returns."""
KEPT = 256
"""Steps that the adjoint holds at a time."""
SEGMENTS = 512
"""Such pieces at most between two events."""
MOST_STEPS = KEPT * SEGMENTS
TOLERANCE = 1e-11
"""Error of one step, relative to the largest size of each state since the last event."""
TERMS = 20
"""Of the series of the exponential, over steps in which the matrix's norm is 1 at most: 1/20! is 4e-19."""
_WHOLE = 8
_FUNCTIONS = {
    "add": sympy.Add, "subtract": lambda a, b: a - b, "multiply": sympy.Mul, "divide": lambda a, b: a / b,
    "power": sympy.Pow, "negative": lambda a: -a, "exp": sympy.exp, "expm1": lambda a: sympy.Function("expm1")(a),
    "log": sympy.log, "log1p": lambda a: sympy.Function("log1p")(a), "sqrt": sympy.sqrt, "sin": sympy.sin,
    "cos": sympy.cos, "tan": sympy.tan, "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh, "atan": sympy.atan,
}


class _Expm1(sympy.Function):
    """exp(x) - 1, kept as one function so that small x lose nothing."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> Any:
        return sympy.exp(self.args[0])

    def _ccode(self, printer: Any) -> str:
        return f"expm1({printer._print(self.args[0])})"


class _Log1p(sympy.Function):
    """log(1 + x), likewise."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> Any:
        return 1 / (1 + self.args[0])

    def _ccode(self, printer: Any) -> str:
        return f"log1p({printer._print(self.args[0])})"


_FUNCTIONS |= {"expm1": _Expm1, "log1p": _Log1p}


class _Printer(C99CodePrinter):  # type: ignore[misc]
    """C with small whole powers written out, and no integers that could be divided as such."""

    def _print_Pow(self, expr: Any) -> str:
        base, exponent = expr.as_base_exp()
        if exponent.is_Integer and 1 < abs(int(exponent)) <= _WHOLE:
            inner = self.parenthesize(base, 1000)
            power = "*".join([inner] * abs(int(exponent)))
            return f"({power})" if exponent > 0 else f"(1.0/({power}))"
        return str(super()._print_Pow(expr))


@dataclass(frozen=True, slots=True)
class _Neuron:
    """A dynamics in sympy: symbols of states, parameters and w, and what the expressions are of them."""

    x: tuple[Any, ...]
    p: tuple[Any, ...]
    w: Any
    rates: tuple[Any, ...]
    level: Any
    reset: tuple[Any, ...]
    receive: tuple[Any, ...]


def is_linear(dynamics: Dynamics) -> bool:
    """Whether all rates are linear in the states, with coefficients that are the neuron's own."""
    neuron = _symbolic(dynamics)
    return all(not sympy.diff(rate, one).has(*neuron.x) for rate in neuron.rates for one in neuron.x)


@functools.lru_cache(maxsize=64)
def fragment(dynamics: Dynamics) -> str:
    """The C text of a dynamics of the name "equations": `flow_next`, `flow_advance` and the other functions that the
    kernels of flows call, with their adjoints."""
    neuron, linear = _symbolic(dynamics), is_linear(dynamics)
    states, params = range(len(neuron.x)), range(len(neuron.p))
    m, l = sympy.symbols(f"m:{len(neuron.x)}"), sympy.symbols(f"l:{len(neuron.x)}")
    amount = sympy.Symbol("amount")

    def back(values: Sequence[Any], adjoints: Sequence[Any], names: Iterable[Any]) -> list[Any]:
        """The product of a transposed Jacobian and what comes in."""
        return [sum((one * sympy.diff(value, name) for value, one in zip(values, adjoints, strict=True)),
                    sympy.Integer(0)) for name in names]

    level = sympy.Integer(0) if neuron.level is None else neuron.level
    gradient = [sympy.diff(level, name) for name in neuron.x]
    rate_names = sympy.symbols(f"f:{len(neuron.x)}")
    blocks = {
        "rate": _code([(f"dx[{n}] =", neuron.rates[n]) for n in states]),
        "rate_back": _code(_sums("l", back(neuron.rates, m, neuron.x)) + _sums("gp", back(neuron.rates, m, neuron.p))),
        "size": _code([(f"size[{n}] =", sum((sympy.Abs(sympy.diff(neuron.rates[n], name) * name) for name in neuron.x),
                                            sympy.Integer(0))) for n in states]),
        "level": _code([("level =", level)]),
        "slope": _code([("slope =", sum((g * f for g, f in zip(gradient, rate_names, strict=True)),
                                        sympy.Integer(0)))]),
        "level_back": _code(_sums("l", [amount * g for g in gradient])
                            + _sums("gp", [amount * sympy.diff(level, name) for name in neuron.p])),
        "fire": _code([(f"y[{n}] =", neuron.reset[n]) for n in states]),
        "fire_back": _code([(f"before[{n}] =", each) for n, each in enumerate(back(neuron.reset, l, neuron.x))]
                           + _sums("gp", back(neuron.reset, l, neuron.p))),
        "receive": _code([(f"y[{n}] =", neuron.receive[n]) for n in states]),
        "receive_back": _code([(f"before[{n}] =", each) for n, each in enumerate(back(neuron.receive, l, neuron.x))]
                              + _sums("gp", back(neuron.receive, l, neuron.p))
                              + [("*gw +=", back(neuron.receive, l, (neuron.w,))[0])]),
        "law": "",
        "law_back": "",
    }
    if linear:
        matrix = [[sympy.diff(rate, one) for one in neuron.x] for rate in neuron.rates]
        rest = [rate.subs(dict.fromkeys(neuron.x, 0)) for rate in neuron.rates]
        ga = [[sympy.Symbol(f"ga{row}_{column}") for column in states] for row in states]
        gc = sympy.symbols(f"gc:{len(neuron.x)}")
        flat = [entry for row in matrix for entry in row] + rest
        adjoints = [entry for row in ga for entry in row] + list(gc)
        blocks["law"] = _code([(f"law->a[{row}][{column}] =", matrix[row][column])
                               for row in states for column in states]
                              + [(f"law->c[{n}] =", rest[n]) for n in states])
        blocks["law_back"] = _code(_sums("gp", back(flat, adjoints, neuron.p)))
    return jit.render(
        "equations.jinja", states=len(neuron.x), parameters=len(neuron.p), readout=neuron.level is None, linear=linear,
        held=[int(name in dynamics.held) for name in dynamics.states], shown=dynamics.states.index(dynamics.shown),
        blocks=blocks, stages=[sorted(row.items()) for row in STAGES], weights=sorted(WEIGHTS.items()),
        errors=[sorted(ERROR_3.items()), sorted(ERROR_5.items())], kept=KEPT, segments=SEGMENTS, tolerance=TOLERANCE,
        terms=TERMS, diverged=DIVERGED, stiff=STIFF, count=len(params))


@functools.lru_cache(maxsize=64)
def _symbolic(dynamics: Dynamics) -> _Neuron:
    x = sympy.symbols(f"x:{len(dynamics.states)}")
    p = sympy.symbols(f"p:{len(dynamics.parameters)}") if dynamics.parameters else ()
    w = sympy.Symbol("w")
    names = {**dict(zip(dynamics.states, x, strict=True)), **dict(zip(dynamics.parameters, p, strict=True)), WEIGHT: w}

    def of(expressions: tuple[Expression, ...]) -> tuple[Any, ...]:
        return tuple(_sympy(each, names) for each in expressions)

    level = None if dynamics.level is None else of((dynamics.level,))[0]
    return _Neuron(x, p, w, of(dynamics.rates), level, of(dynamics.reset), of(dynamics.receive))


def _sympy(expression: Expression, names: dict[str, Any]) -> Any:
    match expression:
        case Number(value):
            return sympy.Integer(int(value)) if value == int(value) and abs(value) < 1e15 else sympy.Float(value, 17)
        case Symbol(name):
            return names[name]
        case Apply(function, arguments):
            return _FUNCTIONS[function](*(_sympy(each, names) for each in arguments))


def _sums(name: str, values: Sequence[Any]) -> list[tuple[str, Any]]:
    """Additions to an array, without those of nothing."""
    return [(f"{name}[{n}] +=", value) for n, value in enumerate(values) if value != 0]


def _code(assignments: Sequence[tuple[str, Any]]) -> str:
    """C statements, with common parts computed once. Symbols x0, p1, … become x[0], p[1], …"""
    printer = _Printer({"precision": 17})
    temporary = sympy.numbered_symbols("t")
    common, values = sympy.cse([value for _, value in assignments], symbols=temporary, order="none")
    lines = [f"const double {name} = {_indexed(printer, value)};" for name, value in common]
    lines += [f"{target} {_indexed(printer, value)};" for (target, _), value in zip(assignments, values, strict=True)]
    return "\n    ".join(lines)


def _indexed(printer: Any, value: Any) -> str:
    arrays = {symbol: sympy.Symbol(f"{symbol.name[0]}[{symbol.name[1:]}]") for symbol in value.free_symbols
              if symbol.name[0] in "xpmlf" and symbol.name[1:].isdigit()}
    arrays |= {symbol: sympy.Symbol(f"law->g{symbol.name[1]}[{symbol.name[2:].replace('_', '][')}]")
               for symbol in value.free_symbols if symbol.name[:2] in ("ga", "gc")}
    return str(printer.doprint(value.xreplace(arrays)))
