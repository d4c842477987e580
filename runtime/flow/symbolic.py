"""What sympy derives of the equations of a neuron, as statements of C."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
from sympy.printing.c import C99CodePrinter

from ...ir.flow.expressions import Apply, Expression, Number, Symbol
from ...ir.flow.flow import Dynamics
from ...ir.flow.statements import WEIGHT
from .derived import NoNumberError
from .series import CFunction, Cosh, Series, Sinh, Tanh, series_of

__all__ = ["derive"]

_WHOLE = 8
_EXACT = 1024
"""Whole numbers up to it are exact: exponents are, and powers of others would be written out digit by digit."""
_LARGEST = 1e300


class _Expm1(CFunction):
    """exp(x) - 1, kept as one function so that small x lose nothing."""

    nargs, in_c = 1, "expm1"

    def fdiff(self, argindex: int = 1) -> Any:
        return sympy.exp(self.args[0])


class _Log1p(CFunction):
    """log(1 + x), likewise."""

    nargs, in_c = 1, "log1p"

    def fdiff(self, argindex: int = 1) -> Any:
        return 1 / (1 + self.args[0])


class _Fabs(CFunction):
    """|x|, which sympy would take apart as that of a complex number."""

    nargs, in_c = 1, "fabs"


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": sympy.Add, "subtract": lambda a, b: a - b, "multiply": sympy.Mul, "divide": lambda a, b: a / b,
    "power": sympy.Pow, "negative": lambda a: -a, "exp": sympy.exp, "expm1": _Expm1, "log": sympy.log,
    "log1p": _Log1p, "sqrt": sympy.sqrt, "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "sinh": Sinh,
    "cosh": Cosh, "tanh": Tanh, "atan": sympy.atan,
}


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


def derive(dynamics: Dynamics) -> dict[str, str]:
    """Statements by the name that `equations.jinja` has for them. "law" is empty where the rates are neither linear in
    the states nor power series, "series" (as JSON) where they are no power series or need none.

    Raises:
        NoNumberError: a part is no finite real number.
    """
    neuron = _symbolic(dynamics)
    linear = all(not sympy.diff(rate, one).has(*neuron.x) for rate in neuron.rates for one in neuron.x)
    states = range(len(neuron.x))
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
        "size": _code([(f"size[{n}] =", sum((_Fabs(sympy.diff(neuron.rates[n], name) * name) for name in neuron.x),
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
        "series": "",
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
    elif (ways := _ways(neuron, dynamics)) is not None:
        blocks["law"] = _code([(f"law->{name}[{n}] =", each) for name, series in ways.items()
                               for n, each in enumerate(series.constants)])
        blocks["series"] = json.dumps({name: series.record() for name, series in ways.items()})
    return blocks


def _ways(neuron: _Neuron, dynamics: Dynamics) -> dict[str, Series] | None:
    """What is followed as power series in time: "ahead", the states; "back", against time, the states and their
    adjoint; "owing", those and what is owed to each parameter. None where the rates have no such series."""
    x, p = neuron.x, neuron.p
    rates = [rate * sympy.Symbol(f"free{n}") if dynamics.states[n] in dynamics.held else rate
             for n, rate in enumerate(neuron.rates)]
    l, g = sympy.symbols(f"l:{len(x)}"), sympy.symbols(f"g:{len(p)}") if p else ()

    def owed(name: Any) -> Any:
        return sum((one * sympy.diff(rate, name) for one, rate in zip(l, rates, strict=True)), sympy.Integer(0))

    behind = [*(-rate for rate in rates), *(owed(name) for name in x)]
    if (ahead := series_of(x, rates)) is None or (back := series_of((*x, *l), behind)) is None:
        return None
    owing = series_of((*x, *l, *g), [*behind, *(owed(name) for name in p)])
    return None if owing is None else {"ahead": ahead, "back": back, "owing": owing}


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
            return sympy.Integer(int(value)) if abs(value) <= _EXACT and value == int(value) else sympy.Float(value, 17)
        case Symbol(name):
            return names[name]
        case Apply(function, arguments):
            return _FUNCTIONS[function](*(_sympy(each, names) for each in arguments))


def _sums(name: str, values: Sequence[Any]) -> list[tuple[str, Any]]:
    """Additions to an array, without those of nothing."""
    return [(f"{name}[{n}] +=", value) for n, value in enumerate(values) if value != 0]


def _code(assignments: Sequence[tuple[str, Any]]) -> str:
    """C statements, with common parts computed once. Symbols x0, p1, … become x[0], p[1], …

    Raises:
        NoNumberError: something is no finite real number, whatever the states are.
    """
    for _, value in assignments:
        if not all(each.is_finite and each.is_real and abs(each) < _LARGEST for each in value.atoms(sympy.Number)
                   ) or value.has(sympy.I, sympy.zoo, sympy.nan, sympy.oo):
            raise NoNumberError
    printer = _Printer({"precision": 17})
    temporary = sympy.numbered_symbols("t")
    common, values = sympy.cse([value for _, value in assignments], symbols=temporary, order="none")
    lines = [f"const double {name} = {_indexed(printer, value)};" for name, value in common]
    lines += [f"{target} {_indexed(printer, value)};" for (target, _), value in zip(assignments, values, strict=True)]
    return "\n    ".join(lines)


def _indexed(printer: Any, value: Any) -> str:
    arrays = {symbol: sympy.Symbol(f"{symbol.name[0]}[{symbol.name[1:]}]") for symbol in value.free_symbols
              if symbol.name[0] in "xpmlf" and symbol.name[1:].isdigit()}
    arrays |= {symbol: sympy.Symbol(f"debt->g{symbol.name[1]}[{symbol.name[2:].replace('_', '][')}]")
               for symbol in value.free_symbols if symbol.name[:2] in ("ga", "gc")}
    arrays |= {symbol: sympy.Symbol(f"law->free[{symbol.name[4:]}]") for symbol in value.free_symbols
               if symbol.name[:4] == "free"}
    return str(printer.doprint(value.xreplace(arrays)))
