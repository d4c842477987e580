"""Neurons that a framework states by what a step leaves of them -> neuron nodes and their grid.

A LIF, IF, CubaLIF or a readout of these, which every target takes, where one says exactly what the framework does;
else a `StepNeuron`, which is stated on the grid itself. `ir.decay` has the formulas that both come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from ....ir import nodes
from ....ir.decay import leaky_from_beta, synaptic_from_alpha_beta
from ....ir.diagnostics import BadInputError
from ....ir.graph import Discretization
from ....ir.nodes import Array, Membrane, Neuron, StepNeuron
from ..connections import spread
from .conversion import Conversion, Signal

__all__ = ["Cell", "Firing", "join_later", "place", "step_neuron"]

Entries = Mapping[Any, Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cell:
    """What a step does to the states, x being what comes in; without `alpha`, x takes the place of syn:

        syn := alpha syn + kick x;   mem := beta mem + gain syn + bias

    `later` joins x from the second step on. Each a number, or an array that spreads over the neurons.
    """

    beta: Any
    alpha: Any = None
    gain: Any = 1.0
    kick: Any = 1.0
    bias: Any = 0.0
    later: Any = 0.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Firing:
    """When a neuron spikes and what that does to mem.

    `late`: in the next step. `held`: a late reset to zero takes what arrives in that step, too. `taken`: what a spike
    subtracts, if not the threshold. `at`: it spikes at the threshold, not only above it. `many`: as many spikes a step
    as the threshold fits into mem. `v_min`: mem is clipped there from below, after the reset.

    `left`: a late reset goes by the mem that the last step left, not by its spike; with a subtraction that is not late,
    a mem left above the threshold has it taken off before the next test, too, and given back after that.
    """

    threshold: Any
    reset: Literal["subtract", "zero", "none"] = "subtract"
    late: bool = False
    held: bool = False
    taken: Any = None
    at: bool = False
    many: bool = False
    v_min: Any = None
    left: bool = False


def place(conversion: Conversion, name: str, source: Signal, dt: float, cell: Cell, firing: Firing | None = None,
          integrator: Literal["decay", "euler"] = "decay") -> Signal:
    """Adds the neurons that take `source`, in its shape; without `firing`, a readout. `integrator`: how the
    framework came to its factors, from time constants or, with `euler`, from rates."""
    try:
        cell, firing = _spread(cell, name, source.shape), firing and _spread(firing, name, source.shape)
        node, bias_scale = _node(dt, cell, firing, integrator, name, source.shape)
    except BadInputError as error:
        conversion.faults.extend(error.diagnostics)
        return source
    grid = Discretization(dt, integrator=integrator)
    if firing is not None:
        grid = replace(grid, reset="next" if firing.late else "same", fires="at" if firing.at else "above",
                       spikes="many" if firing.many else "one")
    return conversion.neuron(name, node, source, grid, bias_scale)


def step_neuron(shape: tuple[int, ...], states: int, entries: Mapping[str, Entries], **rest: Any) -> StepNeuron:
    """A `StepNeuron` whose matrices and vectors are given by their entries: `entries["a"][row, column]`,
    `entries["b"][row]`, each a number or an array of `shape`; what is left out is zero. `rest`: its other fields."""
    arrays: dict[str, Any] = {name: _array(shape, states, given) for name, given in entries.items() if given}
    return StepNeuron(shape=shape, **arrays, **rest)


def join_later(a: dict[tuple[int, int], Array], b: Mapping[int, Array], c: dict[int, Array], states: int,
               value: Array) -> int:
    """Lets `value` join what comes in from the second step on, by a state more that is 0 in the first step and then 1.
    Changes the entries `a` and `c`; returns how many states there are now."""
    if not value.any():
        return states
    a |= {(row, states): gain * value for row, gain in b.items()}
    c[states] = np.ones(value.shape)
    return states + 1


def _array(shape: tuple[int, ...], states: int, given: Entries) -> Array:
    axes = 2 if isinstance(next(iter(given)), tuple) else 1
    each = shape if any(np.size(value) > 1 and np.ptp(value) for value in given.values()) else ()
    filled = np.zeros((states,) * axes + each)
    for entry, value in given.items():
        filled[entry] = value if each else np.ravel(value)[0]
    return filled


def _spread(record: Any, name: str, shape: tuple[int, ...]) -> Any:
    """Cell or Firing with every number in it as a float64 array of `shape`."""
    given = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    return replace(record, **{
        label: spread(name, label, np.asarray(value, dtype=np.float64), shape)
        for label, value in given.items() if value is not None and not isinstance(value, bool | str)})


def _node(dt: float, cell: Cell, firing: Firing | None, integrator: str, name: str,
          shape: tuple[int, ...]) -> tuple[Neuron, Array | float]:
    """The neurons, and what turns a bias into a constant current into them."""
    known = None if cell.later.any() or not _continuous(firing) else _equation(dt, cell, integrator, name)
    if known is None:
        return _stated(cell, firing, shape), 1.0
    kind, params, bias_scale = known
    if firing is None:
        return kind(shape=shape, **params), bias_scale
    return _SPIKING[kind](
        shape=shape, **params, v_threshold=firing.threshold, v_min=firing.v_min,
        reset="zero" if firing.reset == "zero" else "subtract",
        refractory=dt if firing.late and firing.held and firing.reset == "zero" else 0.0), bias_scale


_SPIKING: Mapping[type[Membrane], Any] = {nodes.I: nodes.IF, nodes.LI: nodes.LIF, nodes.CubaLI: nodes.CubaLIF}


def _continuous(firing: Firing | None) -> bool:
    """Whether this is what a node of continuous time does at its threshold."""
    if firing is None:
        return True
    if firing.left:
        return False
    if firing.reset == "subtract":
        known = firing.taken is None or np.array_equal(firing.taken, firing.threshold)
    else:
        known = firing.reset == "zero" and not firing.many
    return known and bool((firing.threshold > 0).all())


def _equation(dt: float, cell: Cell, integrator: str,
              name: str) -> tuple[type[Membrane], dict[str, Any], Array | float] | None:
    """The differential equation with the cell's factors, if it has one."""
    lossy = bool(((cell.beta > 0) & (cell.beta < 1)).all())
    params: dict[str, Any] = {}
    if integrator == "euler":
        if not (cell.beta < 1).all():
            return None
        tau = dt / (1 - cell.beta)
        return nodes.LI, {"tau": tau, "r": tau * cell.gain}, 1 / dt
    if cell.alpha is not None:
        if not lossy or not ((cell.alpha > 0) & (cell.alpha < 1)).all():
            return None
        found = synaptic_from_alpha_beta(cell.alpha, cell.beta, dt, node=name)
        params["w_in"] = found.params["w_in"] * cell.kick
    elif lossy or ((cell.beta == 1).all() and not cell.bias.any()):
        found = leaky_from_beta(cell.beta, dt, node=name)
    else:
        return None
    if cell.bias.any():
        params["v_leak"] = cell.bias / (1 - cell.beta)
    params["r"] = found.params["r"] * cell.gain
    kind: Any = {"integrator": nodes.I, "leaky": nodes.LI, "cuba": nodes.CubaLI}[found.kind]
    return kind, {**found.params, **params}, found.bias_scale


def _stated(cell: Cell, firing: Firing | None, shape: tuple[int, ...]) -> StepNeuron:
    """States: mem, syn where there is one, and last, where something joins later, 0 in the first step and then 1."""
    a: dict[tuple[int, int], Array] = {(0, 0): cell.beta}
    b = {0: cell.gain * cell.kick}
    c = {0: cell.bias}
    states = 1
    if cell.alpha is not None:
        a |= {(0, 1): cell.gain * cell.alpha, (1, 1): cell.alpha}
        b[1] = cell.kick
        states = 2
    states = join_later(a, b, c, states, cell.later)
    entries: dict[str, Entries] = {"a": a, "b": b, "c": c if any(value.any() for value in c.values()) else {}}
    if firing is None:
        return step_neuron(shape, states, entries)
    if firing.reset == "subtract":
        taken = firing.threshold if firing.taken is None else firing.taken
        entries["late_c" if firing.late else "spike_c"] = {0: -taken}
        if firing.left and not firing.late:
            entries |= {"late_c": {0: -taken}, "late_after": {0: taken}}
    elif firing.reset == "zero" and not firing.late:
        entries["reset_a"] = {(0, 0): -np.ones(shape)}
    elif firing.reset == "zero":
        entries["late_a"] = {at: -value for at, value in a.items() if at[0] == 0 and (firing.held or at == (0, 0))}
        if firing.held:
            entries |= {"late_b": {0: -b[0]}, "late_c": {0: -c[0]} if c[0].any() else {}}
    return step_neuron(shape, states, entries, v_threshold=firing.threshold, v_min=firing.v_min,
                       late="above" if firing.left else "fired")
