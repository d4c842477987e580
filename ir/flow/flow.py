"""What a population of neurons is whose equations need not be linear: its dynamics, which all of its neurons share, and
the values of each.

What holds of every dynamics, beside what the reference says of all neurons (`ir/exact.py`): a spike is when the level
rises above zero between instants, or when it is above zero after an impulse. A neuron whose level is above zero after
its reset, or at the end of its refractory period, fires at its next input, or when the level has been at or below zero
and rises again. In the refractory period there is no spike, the states of `held` stay, and what an impulse would do to
them is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from ..nodes import QIF, Array, Equations, FlowNeuron, Theta, params
from .expressions import Apply, Expression, Symbol
from .statements import stated

__all__ = ["BIAS", "Dynamics", "Flow", "dynamics_of", "takes_current", "values_of"]

BIAS = "bias"
"""What the constant current is called among the parameters, where there is one."""


@dataclass(frozen=True, slots=True)
class Dynamics:
    """`states` and `parameters` in the order of a kernel's columns; the last parameter is `bias` where the neurons get
    a constant current. `shown`: the state that a probe `.v` shows.

    "qif" and "theta" are stated by their kinds (`ir/nodes.py`). Of "equations", expressions in states and parameters:
    `rates`, the derivative of each state; `level`, a spike is when it rises above zero (None of a readout); `reset`,
    each state after a spike; `receive`, each after an impulse of the weight `w`. `held`: states that stay in the
    refractory period.
    """

    name: Literal["qif", "theta", "equations"]
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    shown: str
    held: tuple[str, ...] = ()
    rates: tuple[Expression, ...] = ()
    level: Expression | None = None
    reset: tuple[Expression, ...] = ()
    receive: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Flow:
    """The neurons of one population: `values` by parameter and `start` by state, each (n,), float64, in the order of
    the dynamics; they may be `Derived`."""

    dynamics: Dynamics
    values: Mapping[str, Array]
    start: Mapping[str, Array]

    def __post_init__(self) -> None:
        for name in ("values", "start"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.dynamics, dict(self.values), dict(self.start))


def _again(dynamics: Dynamics, values: Mapping[str, Array], start: Mapping[str, Array]) -> Flow:
    return Flow(dynamics=dynamics, values=values, start=start)


def takes_current(node: FlowNeuron) -> bool:
    """Whether a constant current has a meaning for this neuron."""
    return isinstance(node, Theta) or (isinstance(node, Equations) and stated(node).inflow is not None)


def dynamics_of(node: FlowNeuron, biased: bool) -> Dynamics:
    """The dynamics of a neuron node that is legal. `biased`: it gets a constant current."""
    extra = (BIAS,) if biased else ()
    if isinstance(node, QIF):
        return Dynamics("qif", ("v", "i"), ("tau", *extra), "v")
    if not isinstance(node, Equations):
        return Dynamics("theta", ("v",), ("tau", "i0", *extra), "v")
    reading = stated(node)
    rates = {name: reading.rates[name] for name in reading.states}
    for name, factor in (reading.inflow or {}).items() if biased else ():
        rates[name] = Apply("add", (rates[name], Apply("multiply", (factor, Symbol(BIAS)))))
    same = {name: Symbol(name) for name in reading.states}
    return Dynamics(
        "equations", reading.states, (*reading.parameters, *extra), "v" if "v" in rates else reading.states[0],
        held=reading.held, rates=tuple(rates.values()), level=reading.level,
        reset=tuple({**same, **reading.reset}.values()), receive=tuple({**same, **reading.receive}.values()))


def values_of(node: FlowNeuron) -> tuple[dict[str, Array], dict[str, Array]]:
    """Parameters of the dynamics by name, without `bias`, and starts by state: those that are parameters of the node,
    whose name is the state's with a 0; others start at zero."""
    given, dynamics = params(node), dynamics_of(node, biased=False)
    values = {name: given[name] for name in dynamics.parameters}
    return values, {name: given[f"{name}0"] for name in dynamics.states if f"{name}0" in given}
