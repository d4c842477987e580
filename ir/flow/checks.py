"""What a legal neuron of free form is: checks of its text and values, beside those of every node (`ir/checks.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from ..conform import stored
from ..diagnostics import Diagnostics
from ..nodes import Array, Equations, FlowNeuron, Node, Theta
from .expressions import Apply, Expression, Malformed, Symbol, evaluate, substituted, symbols_of
from .flow import takes_current
from .statements import Reading, stated

__all__ = ["check_currents", "check_equations", "check_oscillates", "check_theta"]

LEAST_CURRENT = 0.25
"""The constant current above which V (V - 1) + i0 has no zero, so that a theta neuron oscillates."""


def check_equations(name: str, node: Equations, faults: Diagnostics) -> None:
    """Reports every fault of a text (SC133 to SC136), values that are missing or of no use (SC134), rates that are no
    numbers at the start (SC104), and a reset that leaves the neuron above its threshold (SC137)."""
    reading = stated(node)
    if any(found not in reading.unstated for found in reading.faults):
        faults.extend(replace(found, node=name) for found in reading.faults)
        return
    starts = {f"{state}0" for state in reading.states}
    known = {*reading.parameters, *starts}
    missing = [each for each in reading.parameters if each not in node.values]
    for each in missing:
        close = _meant(each, reading, node)
        faults.add("SC134", "the equations name what is neither a state nor a value that is given", node=name,
                   value=each, limit=", ".join((*reading.states, *node.values)),
                   remedy=f"Is '{close}' meant?" if close else f"Give {each}=….")
    faults.extend(replace(found, node=name) for found, names in reading.unstated.items() if not {*names} & {*missing})
    for each in node.values:
        if each not in known:
            faults.add("SC134", "a value is given that the equations do not name", node=name, value=each,
                       limit=", ".join((*reading.parameters, *sorted(starts))))
    values = {each: np.asarray(stored(value), np.float64) for each, value in node.values.items()}
    finite = all(np.isfinite(value).all() for value in values.values())
    if finite and known == node.values.keys() and not reading.faults:
        _check_start(name, reading, values, faults)
        _check_reset(name, reading, values, faults)


def _meant(name: str, reading: Reading, node: Equations) -> str | None:
    """What a name without a value may stand for: a state, a value that nothing uses, or what is spelled almost so."""
    parts = [*reading.rates.values(), *reading.reset.values(), *reading.receive.values(),
             *(() if reading.level is None else (reading.level,))]
    used = {each for part in parts for each in symbols_of(part)} | {f"{state}0" for state in reading.states}
    idle = [each for each in node.values if each not in used]
    close = get_close_matches(name, [*reading.states, *idle], n=1) or get_close_matches(
        name, [*node.values.keys() - {f"{state}0" for state in reading.states}, *reading.named], n=1, cutoff=0.8)
    return close[0] if close else None


def _check_start(name: str, reading: Reading, values: Mapping[str, Array], faults: Diagnostics) -> None:
    here = {**values, **{state: values[f"{state}0"] for state in reading.states}}
    for state, rate in reading.rates.items():
        with np.errstate(all="ignore"):
            found = np.asarray(evaluate(rate, here))
        if not np.isfinite(found).all():
            faults.add("SC104", f"d{state}/dt is no number at the start", node=name,
                       value=found[~np.isfinite(found)].reshape(-1)[0], remedy="Look for a division by zero, "
                       "or for a root or logarithm of what is negative.")


def _check_reset(name: str, reading: Reading, values: Mapping[str, Array], faults: Diagnostics) -> None:
    """Where the level after the reset follows from the parameters: it has to be below zero."""
    if reading.level is None or not reading.reset:
        return
    try:
        after = substituted(substituted(reading.level, reading.reset), _at_threshold(reading.level, reading.states))
    except Malformed:
        return
    if any(state in symbols_of(after) for state in reading.states):
        return  # it depends on where the neuron is: the run looks
    with np.errstate(all="ignore"):
        level = np.asarray(evaluate(after, values))
    if not (level < 0).all():
        faults.add("SC137", "the reset does not bring the neuron below its threshold", node=name,
                   value=f"{level[~(level < 0)].reshape(-1)[0]:g} above it", limit="< 0")


def _at_threshold(level: Expression, states: tuple[str, ...]) -> dict[str, Expression]:
    """The state that the threshold compares, as it is when the neuron fires."""
    match level:
        case Apply("subtract", (Symbol(own), other)) if own in states and own not in symbols_of(other):
            return {own: other}
        case Apply("subtract", (other, Symbol(own))) if own in states and own not in symbols_of(other):
            return {own: other}
    return {}


def check_theta(name: str, node: Theta, faults: Diagnostics) -> None:
    """Reports a theta neuron without a constant current that does not oscillate (SC155)."""
    check_oscillates(name, stored(node.i0), faults)


def check_oscillates(name: str, current: Array, faults: Diagnostics) -> None:
    """Reports a drive of theta neurons, of any shape, that is 1/4 or less (SC155); what is not finite is reported
    elsewhere."""
    if np.isfinite(current).all() and not (current > LEAST_CURRENT).all():
        faults.add("SC155", "a theta neuron oscillates: i0 and the constant current that a bias adds are above 1/4 "
                   "together", node=name, value=current[~(current > LEAST_CURRENT)].reshape(-1)[0], limit="> 0.25",
                   remedy="Raise i0, or use Equations with spikec.equations.qif().")


def check_currents(name: str, node: Node, bias: Array, faults: Diagnostics) -> None:
    """Reports a constant current (n,), zero where there is none, that has no meaning for a neuron (SC139), or with
    which a theta neuron does not oscillate (SC155)."""
    if not isinstance(node, FlowNeuron):
        return
    if isinstance(node, Theta):
        check_oscillates(name, np.asarray(node.i0, np.float64).reshape(-1) + np.asarray(bias).reshape(-1), faults)
    elif np.any(bias) and not takes_current(node):
        kind = type(node).__name__
        faults.add("SC139", f"{kind} takes no constant current", node=name, value=f"{np.abs(bias).max():g} at most",
                   remedy="Leave out the bias before it; a Linear has none." if kind == "QIF" else
                   "Let `receive` add a multiple of w to states, or leave out the bias.")
