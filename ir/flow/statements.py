"""The text of a neuron: differential equations, a threshold, what a spike and what an impulse do. Read line by line,
all faults at once; nothing is evaluated.

    dv/dt = (v_rest - v + r*i)/tau : volt (unless refractory)     a state: its equation, and its unit, if any
    drive = r*i : volt                                            a name for an expression
    tau : second (trained)                                        the unit of a parameter

Units are checked where any is stated: states and parameters without one then have none. A state may be called anything
that is not reserved; `w` is the weight of an impulse, in whatever unit it needs. `unless refractory`: the state stays
while the neuron is refractory. `trained`: the parameter, or the state's start, is trained by default.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Protocol

from ..diagnostics import Diagnostic, Diagnostics
from .bounds import bounded, check_derivatives
from .dimensions import Checker
from .expressions import (
    CALLED,
    MAX_TEXT,
    Apply,
    Expression,
    Malformed,
    Number,
    Symbol,
    comparison,
    linear_in,
    parsed,
    substituted,
    symbols_of,
)
from .units import constant, named

__all__ = ["MAX_STATES", "WEIGHT", "Reading", "read", "reserved", "state_names", "stated"]

MAX_STATES = 8
MAX_PARAMETERS = 64
WEIGHT = "w"
"""What the weight of an impulse is called."""
_OWN = frozenset({WEIGHT, "t", "dt", "bias", "pi", "inf", "nan", "none", "true", "false", "name", "shape", "grid",
                  "equations", "threshold", "reset", "receive", "refractory", "values"})
_RESERVED: Mapping[str, str] = {
    WEIGHT: "Call it otherwise: w is the weight of an impulse.",
    "t": "Time is no part of equations: let a state run with it, as dclock/dt = 1, or feed in what changes.",
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_STATE = re.compile(r"\s*d([A-Za-z_][A-Za-z0-9_]*)\s*/\s*dt\s*=(.*)", re.ASCII | re.DOTALL)
_NAMED = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(?!=)(.*)", re.ASCII | re.DOTALL)
_DECLARED = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*$", re.ASCII)
_TAIL = re.compile(r"([^()]*)(?:\(([^()]*)\))?\s*$", re.ASCII)
_FLAGS = re.compile(r"\((?:\s*(?:unless\s+refractory|trained)\s*,?)+\)\s*$")
_STATEMENT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*([-+*/]?)=(?!=)(.*)", re.ASCII | re.DOTALL)
_OPERATION = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}


class _Text(Protocol):
    @property
    def equations(self) -> str: ...
    @property
    def threshold(self) -> str | None: ...
    @property
    def reset(self) -> str: ...
    @property
    def receive(self) -> str: ...


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a text says. `rates`, by state, of states and `parameters`. `level`: a spike is when it rises above zero;
    None of a readout. `reset`, `receive`: the state after a spike, after an impulse `w`, by state. `inflow`: what a
    constant current of 1 adds to the rate of each state that it moves, or None where impulses do not act in proportion.
    `units` as declared; `held`: states that stay in the refractory period; `trained`: names of values; `named`: those
    of expressions. `faults` is empty where all of this can be relied on; where all of them are in `unstated`, units
    alone do not agree: by fault, the names in it that count as 1 as no unit is stated for them."""

    states: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    rates: Mapping[str, Expression] = field(default_factory=dict)
    level: Expression | None = None
    reset: Mapping[str, Expression] = field(default_factory=dict)
    receive: Mapping[str, Expression] = field(default_factory=dict)
    inflow: Mapping[str, Expression] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    faults: tuple[Diagnostic, ...] = ()
    unstated: Mapping[Diagnostic, tuple[str, ...]] = field(default_factory=dict)


def state_names(text: Any) -> tuple[str, ...]:
    """The states that a text has equations for. Never raises."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        return ()
    found = (_STATE.match(line) for line in _lines(text))
    return tuple(dict.fromkeys(match[1] for match in found if match))


def stated(node: _Text) -> Reading:
    """What the text of a node says. Never raises; settings that are no text say nothing."""
    parts = node.equations, node.threshold, node.reset, node.receive
    if not all(isinstance(part, str) for part in parts if part is not None) or node.equations is None:
        return Reading()
    return read(*parts)


@lru_cache(maxsize=256)
def read(equations: str, threshold: str | None, reset: str, receive: str) -> Reading:
    """Reads a neuron's text. Never raises."""
    if sum(len(part or "") for part in (equations, threshold, reset, receive)) > MAX_TEXT:
        faults = Diagnostics()
        faults.add("SC133", "the text of the neuron is too long", limit=f"{MAX_TEXT} characters")
        return Reading(faults=tuple(faults.found))
    return _Reader(equations, threshold, reset, receive).reading()


def reserved(name: str) -> bool:
    """Whether a state or a parameter may not be called this."""
    return (name in _OWN or name in CALLED or constant(name) is not None or keyword.iskeyword(name)
            or not _NAME.fullmatch(name))


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line:
            yield line


def _statements(text: str) -> list[str]:
    return [part.strip() for line in _lines(text) for part in line.split(";") if part.strip()]


class _Reader:
    def __init__(self, equations: str, threshold: str | None, reset: str, receive: str) -> None:
        self.faults = Diagnostics()
        self.rates: dict[str, Expression] = {}
        self.named: dict[str, Expression] = {}
        self.units: dict[str, str] = {}
        self.flags: dict[str, tuple[str, ...]] = {}
        self.declared: dict[str, None] = {}
        self.with_units = any(":" in line for line in _lines(equations))
        self.text = threshold, reset, receive
        self.seen: set[str] = set()
        for line in _lines(equations):
            self._try(self._line, line)

    def reading(self) -> Reading:
        states = tuple(self.rates)
        if not 1 <= len(states) <= MAX_STATES and not self.faults.found:
            self.faults.add("SC135", "a neuron has one state or a few, each with an equation dv/dt = …",
                            value=len(states), limit=f"1..{MAX_STATES}")
        self._inline()
        rates = {name: each for name, rate in self.rates.items() if (each := self._try(self._put_in, rate)) is not None}
        threshold, reset, receive = self.text
        level = None if threshold is None else self._try(self._level, threshold)
        after = self._changes(_statements(reset), "reset")
        arriving, inflow = self._receive(receive)
        if threshold is None and after:
            self.faults.add("SC135", "there is a reset and no threshold", value=reset.strip()[:80],
                            remedy="State threshold='v > …', or leave the reset out for a readout.")
        elif threshold is not None and not _statements(reset):
            self.faults.add("SC135", "there is a threshold and no reset", value=threshold.strip()[:80],
                            remedy="State what a spike does, as reset='v = v_reset'.")
        outside = [*rates.values(), *([] if level is None else [level]), *after.values()]
        used = dict.fromkeys(name for each in (*outside, *arriving.values()) for name in symbols_of(each))
        parameters = tuple(name for name in {**self.declared, **used} if name not in self.rates and name != WEIGHT)
        self._check_names(states, parameters, () if WEIGHT in states else outside)
        if len(parameters) > MAX_PARAMETERS:
            self.faults.add("SC133", "a neuron has more parameters than are read", value=len(parameters),
                            limit=MAX_PARAMETERS)
        if not self.faults.found:
            self._try(check_derivatives, [*outside, *arriving.values()])
        unstated = self._check_units() if self.with_units and not self.faults.found else {}
        held = tuple(name for name in states if "unless refractory" in self.flags.get(name, ()))
        trained = tuple(f"{name}0" if name in self.rates else name
                        for name, flags in self.flags.items() if "trained" in flags)
        return Reading(states, parameters, rates, level, after, arriving, inflow, self.units, held, trained,
                       tuple(self.named), tuple(self.faults.found), unstated)

    def _try(self, step: Any, *arguments: Any) -> Any:
        try:
            return step(*arguments)
        except Malformed as fault:
            self.faults.add(fault.code, fault.message, **fault.facts)
            return None

    def _line(self, line: str) -> None:
        body, colon, tail = line.partition(":")
        if not colon and (flags := _FLAGS.search(line)):  # properties may stand without a unit
            body, colon, tail = line[:flags.start()], ":", flags[0]
        state, other = _STATE.match(body), _NAMED.match(body)
        declared = _DECLARED.match(body) if colon else None
        match = state or other or declared
        if match is None:
            raise Malformed("a line is an equation dv/dt = …, a name = …, or a unit tau : second", value=line[:80])
        name = match[1]
        if name in self.seen:
            raise Malformed(f"'{name}' is stated twice", value=line[:80])
        self.seen.add(name)
        if declared:
            self.declared[name] = None
        if state:
            self.rates[name] = Number(0.0)  # a state that is known, whatever is wrong with its equation
        if colon:
            self._try(self._tail, name, tail,
                      ("unless refractory", "trained") if state else () if other else ("trained",))
        if state:
            self.rates[name] = parsed(match[2])
        elif other:
            self.named[name] = parsed(match[2])

    def _tail(self, name: str, tail: str, allowed: tuple[str, ...]) -> None:
        match = _TAIL.match(tail)
        if match is None:
            raise Malformed(f"what follows '{name}' is no unit", "SC136", value=tail.strip()[:80])
        if match[1].strip():
            self.units[name] = match[1].strip()
        dimension = named(self.units.get(name, "1"))
        if isinstance(dimension, str):
            raise Malformed(f"the unit of '{name}': {dimension}", "SC136")
        self.flags[name] = tuple(" ".join(flag.split()) for flag in (match[2] or "").split(",") if flag.strip())
        for flag in self.flags[name]:
            if flag not in allowed:
                raise Malformed(f"'{name}' has no such property", value=flag[:40], limit=", ".join(allowed))

    def _inline(self) -> None:
        """Puts into the named expressions what they name, each after those that it names."""
        waits = {name: {each for each in symbols_of(own) if each in self.named} for name, own in self.named.items()}
        made: dict[str, Expression | None] = {}
        while ready := [name for name, inner in waits.items() if inner <= made.keys()]:
            for name in ready:
                known = {each: value for each in waits[name] if (value := made[each]) is not None}
                whole = len(known) == len(waits.pop(name))
                made[name] = self._try(self._put, self.named[name], known) if whole else None
        for name, inner in waits.items():
            self.faults.add("SC133", f"'{name}' is stated by itself",
                            value=f"{name} = … {' … '.join(sorted(inner))}"[:80])
        self.named = {name: each for name, each in made.items() if each is not None}

    def _put(self, expression: Expression, values: Mapping[str, Expression]) -> Expression:
        return bounded(substituted(expression, values))

    def _put_in(self, expression: Expression) -> Expression:
        return self._put(expression, self.named)

    def _level(self, threshold: str) -> Expression:
        level = self._put_in(comparison(threshold))
        legal = self.rates and not any(reserved(name) for name in self.rates)
        if legal and not any(name in self.rates for name in symbols_of(level)):
            raise Malformed("the threshold compares no state", "SC135", value=threshold.strip()[:80],
                            limit=", ".join(self.rates), remedy="State it of a state, as 'v > theta'.")
        return level

    def _changes(self, statements: list[str], where: str) -> dict[str, Expression]:
        """The state after some statements, by state that they change, of the state before."""
        now: dict[str, Expression] = {}
        for statement in statements:
            found = self._try(self._statement, statement, where, now)
            if found is not None:
                now[found[0]] = found[1]
        return now

    def _statement(self, statement: str, where: str, now: Mapping[str, Expression]) -> tuple[str, Expression]:
        target, operator, amount = self._parts(statement, where)
        right = self._put(self._put_in(amount), now)
        if operator:
            right = bounded(Apply(_OPERATION[operator], (now.get(target, Symbol(target)), right)))
        return target, right

    def _parts(self, statement: str, where: str) -> tuple[str, str, Expression]:
        match = _STATEMENT.match(statement)
        if match is None:
            raise Malformed(f"the {where} is made of statements as v = … or v += …", value=statement[:80])
        if match[1] not in self.rates:
            close = get_close_matches(match[1], self.rates, n=1)
            raise Malformed(f"the {where} changes what is no state", "SC134", value=match[1][:40],
                            limit=", ".join(self.rates), remedy=f"Is '{close[0]}' meant?" if close else None)
        return match[1], match[2], parsed(match[3])

    def _receive(self, receive: str) -> tuple[dict[str, Expression], dict[str, Expression] | None]:
        """The state after an impulse, and how a constant current moves it."""
        statements = _statements(receive)
        if len(statements) == 1 and _DECLARED.match(statements[0]):
            name = statements[0]
            if name not in self.rates:
                self.faults.add("SC135", "what an impulse moves is no state", value=name[:40],
                                limit=", ".join(self.rates), remedy="State receive='v += w', for one of the states.")
                return {}, None
            statements = [f"{name} += {WEIGHT}"]
        arriving = self._changes(statements, "receive")
        if not arriving and not self.faults.found:
            self.faults.add("SC135", "an impulse does nothing", remedy="State receive='v += w'.")
        inflow: dict[str, Expression] = {}
        for statement in statements if not self.faults.found else ():
            target, operator, amount = self._parts(statement, "receive")
            factor = linear_in(self._put_in(amount), WEIGHT) if operator in ("+", "-") else None
            if factor is None:
                return arriving, None
            inflow[target] = Apply(_OPERATION[operator], (inflow.get(target, Number(0.0)), factor))
        return arriving, inflow

    def _check_names(self, states: tuple[str, ...], parameters: tuple[str, ...],
                     outside: Sequence[Expression]) -> None:
        for name in (*states, *self.named, *parameters):
            if reserved(name):
                sort = "has a meaning of its own" if _NAME.fullmatch(name) else "is none that a text can have"
                self.faults.add("SC134", f"the name {sort}", value=name[:64], remedy=_RESERVED.get(
                    name, "Call it otherwise: a letter of ASCII, then letters, digits and _, 64 at most."))
        for state in states:
            if f"{state}0" in (*parameters, *self.named, *states):
                self.faults.add("SC134", f"the name is that of the start of '{state}'", value=f"{state}0",
                                remedy="Call it otherwise.")
        if any(WEIGHT in symbols_of(each) for each in outside):
            self.faults.add("SC134", "w, the weight of an impulse, is known to `receive` alone",
                            remedy="Call it otherwise.")

    def _check_units(self) -> dict[Diagnostic, tuple[str, ...]]:
        """Adds where units do not agree; by fault, the names in it of which none is stated."""
        checker = Checker(self.rates, self.named, self.units)
        threshold, reset, receive = self.text
        parts: list[tuple[Any, tuple[Any, ...]]] = [
            *((checker.rate, each) for each in self.rates.items()),
            *((checker.same, each) for each in self.named.items()),
            *([] if threshold is None else [(checker.level, (comparison(threshold),))]),
            *((checker.change, self._parts(statement, "reset")) for statement in _statements(reset)),
            *((checker.change, self._parts(statement, "receive")) for statement in _statements(receive)
              if not _DECLARED.match(statement))]
        found: dict[Diagnostic, tuple[str, ...]] = {}
        for check, part in parts:
            try:
                check(*part)
            except Malformed as fault:
                names = checker.unstated(*part)
                count = "it counts" if len(names) == 1 else "they count"
                self.faults.add(fault.code, fault.message, **fault.facts, remedy=(
                    f"No unit is stated for {', '.join(names)}: {count} as 1." if names else None))
                found[self.faults.found[-1]] = names
        return found
