"""What one neuron of free form does, as plain functions of its state: the equations of the reference.

QIF and theta neurons are stated by an angle, V = tan(phi), in which nothing diverges: a spike is phi = pi/2, and what
comes from V = -inf is phi = -pi/2. The derivative follows from tau V' = V (V - 1) + I.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..nodes import FlowNeuron, is_spiking
from .expressions import Apply, Expression, Number, Symbol
from .flow import BIAS, Dynamics, dynamics_of, values_of
from .statements import WEIGHT

__all__ = ["State", "System", "systems_of"]

State = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class System:
    """One neuron. `rate`: the derivative of a state, NaN where it has none; `level`: above zero it fires (None of a
    readout); `receive`: after an impulse; `fire`: after a spike; `show`: the value of a state by its name, and of `v`.
    """

    start: State
    held: tuple[int, ...]
    rate: Callable[[Sequence[float]], State]
    level: Callable[[Sequence[float]], float] | None
    receive: Callable[[State, float], State]
    fire: Callable[[State], State]
    show: Mapping[str, Callable[[Sequence[float]], float]]


def systems_of(node: FlowNeuron, bias: Sequence[float]) -> list[System]:
    """One system for each neuron of a node; `bias`: the constant current into each, zero where there is none."""
    biased = any(each != 0 for each in bias)
    dynamics = dynamics_of(node, biased)
    values, starts = values_of(node)
    found = []
    for neuron, current in enumerate(bias):
        own = {name: float(value.reshape(-1)[neuron]) for name, value in values.items()}
        begin = {name: float(value.reshape(-1)[neuron]) for name, value in starts.items()}
        if biased:
            own[BIAS] = float(current)
        start = tuple(begin.get(state, 0.0) for state in dynamics.states)
        make = {"qif": _qif, "theta": _theta, "equations": _of_equations}[dynamics.name]
        found.append(make(dynamics, own, start, is_spiking(node)))
    return found


def _qif(dynamics: Dynamics, values: Mapping[str, float], start: State, spiking: bool) -> System:
    tau = values["tau"]

    def rate(y: Sequence[float]) -> State:
        return _turn(y[0], y[1]) / tau, -2.0 * y[1] / tau

    return System((math.atan(start[0]), start[1]), (), rate, _over_the_top, lambda y, w: (y[0], y[1] + w),
                  lambda y: (y[0] - math.pi, y[1]), {"v": lambda y: math.tan(y[0]), "i": lambda y: y[1]})


def _theta(dynamics: Dynamics, values: Mapping[str, float], start: State, spiking: bool) -> System:
    tau, current = values["tau"], values["i0"] + values.get(BIAS, 0.0)
    return System((math.atan(start[0]),), (), lambda y: (_turn(y[0], current) / tau,), _over_the_top,
                  lambda y, w: (math.atan(math.tan(y[0]) + w),), lambda y: (y[0] - math.pi,),
                  {"v": lambda y: math.tan(y[0])})


def _turn(angle: float, current: float) -> float:
    """tau times the derivative of phi: V (V - 1) + I by cos^2 phi."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return sine * sine - sine * cosine + current * cosine * cosine


def _over_the_top(y: Sequence[float]) -> float:
    return y[0] - 0.5 * math.pi


def _of_equations(dynamics: Dynamics, values: Mapping[str, float], start: State, spiking: bool) -> System:
    place = {name: number for number, name in enumerate(dynamics.states)}
    place[WEIGHT] = len(place)  # an impulse goes behind the state
    levels = () if dynamics.level is None else (dynamics.level,)
    made = {each: _function(each, place, values) for each in
            {*dynamics.rates, *dynamics.reset, *dynamics.receive, *levels}}

    def all_of(expressions: tuple[Expression, ...]) -> Callable[[Sequence[float]], State]:
        functions = tuple(made[each] for each in expressions)

        def values_at(y: Sequence[float]) -> State:
            try:
                return tuple(function(y) for function in functions)
            except (ArithmeticError, ValueError):
                return (math.nan,) * len(functions)

        return values_at

    receive, fire, level = all_of(dynamics.receive), all_of(dynamics.reset), None
    if dynamics.level is not None and spiking:
        only = all_of((dynamics.level,))

        def level(y: Sequence[float]) -> float:
            return only(y)[0]

    show = {name: _shower(number) for name, number in place.items() if name != WEIGHT}
    return System(start, tuple(place[name] for name in dynamics.held), all_of(dynamics.rates), level,
                  lambda y, w: receive((*y, w)), fire, {**show, "v": show[dynamics.shown]})


def _shower(number: int) -> Callable[[Sequence[float]], float]:
    return lambda y: y[number]


_CALLED: Mapping[str, Callable[..., float]] = {
    "exp": math.exp, "expm1": math.expm1, "log": math.log, "log1p": math.log1p, "sqrt": math.sqrt, "sin": math.sin,
    "cos": math.cos, "tan": math.tan, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh, "atan": math.atan,
}


def _function(expression: Expression, place: Mapping[str, int], values: Mapping[str, float]) -> Callable[
        [Sequence[float]], float]:
    """The expression as a function of the state; parameters are numbers in it."""
    match expression:
        case Number(value):
            return lambda y: value
        case Symbol(name) if name in place:
            number = place[name]
            return lambda y: y[number]
        case Symbol(name):
            held = values[name]
            return lambda y: held
    inner = [_function(each, place, values) for each in expression.arguments] if isinstance(expression, Apply) else []
    first, last = inner[0], inner[-1]
    match expression:
        case Apply("add"):
            return lambda y: first(y) + last(y)
        case Apply("subtract"):
            return lambda y: first(y) - last(y)
        case Apply("multiply"):
            return lambda y: first(y) * last(y)
        case Apply("divide"):
            return lambda y: first(y) / last(y)
        case Apply("power"):
            return lambda y: math.pow(first(y), last(y))
        case Apply("negative"):
            return lambda y: -first(y)
    plain = _CALLED[expression.function]
    return lambda y: plain(first(y))
