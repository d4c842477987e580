"""Every neuron on a grid as one linear form: what the clock engine and the ONNX export compute.

Derived here from a node's equations and its grid; `step_neurons` states the same equations directly and is the oracle.
States are s = (V) or (V, I), or those of a `StepNeuron`. In one column, with x what arrives of spikes, k the constant
current (biases), f = 1 if the neuron fired in the column before and else 0 (`late_above`: if the test of n below,
with s for s*, holds for what the column before has left), and n the spikes of this column:

    s* = (a + f late_a) s + (b + f late_b) x + (d + f late_d) k + (c + f late_c)
    n  = 1 where s*_0 > threshold + gain . s*, else 0     (`at`: >=; `many`: floor of their ratio, where >=)
    s  = s* + [n > 0] (reset_a s* + reset_c) + (n spike_c + f late_after);   s_0 = max(s_0, v_min)

`lag`: x is what arrived in the column before (a box that the closed form takes up at its end). Within `rest` columns
after a spike the membrane stays where the reset has brought it, nothing fires, and the other states go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .grid import Discretization
from .nodes import IF, LI, LIF, Array, CubaLIF, I, Neuron, StepNeuron, params

__all__ = ["Matrix", "StepForm", "Vector", "step_form"]

Vector = tuple[Any, ...]
"""K entries: an array that spreads over the node's shape, or None for zero."""
Matrix = tuple[Vector, ...]
"""K rows of K entries."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StepForm:
    """See above. `threshold` None: a readout. `v0`: the membrane at the start; other states start at zero. `rest`
    (columns, whole numbers) and `v_min` may be None. `resets_late`: the reset is applied in the next column, by
    `late_…`, and `reset_…` then only say where a resting membrane stays."""

    a: Matrix
    b: Vector
    d: Vector
    c: Vector
    late_a: Matrix
    late_b: Vector
    late_d: Vector
    late_c: Vector
    late_after: Vector
    reset_a: Matrix
    reset_c: Vector
    spike_c: Vector
    gain: Vector
    threshold: Any
    v0: Any
    v_min: Any
    rest: Array | None
    resets_late: bool
    late_above: bool
    at: bool
    many: bool
    lag: bool

    @property
    def states(self) -> int:
        return len(self.b)


def step_form(node: Neuron, grid: Discretization, parameters: Mapping[str, Any] | None = None,
              xp: Any = np) -> StepForm:
    """The form of a neuron node, whose own grid goes before `grid`.

    `parameters` in the place of the node's own, as arrays of `xp` (numpy, or torch, where gradients pass); all that the
    node has, by name.
    """
    grid = node.grid or grid
    values = {name: value.astype(np.float64) for name, value in params(node).items()} if parameters is None else dict(
        parameters)
    if isinstance(node, StepNeuron):
        return _stated(grid, values, len(node.b), node.late == "above")
    return _with_reset(node, grid, values, *_advance(node, grid, values, xp))


def _advance(node: Neuron, grid: Discretization, p: Mapping[str, Any],
             xp: Any) -> tuple[Matrix, Vector, Vector, Vector]:
    """a, b, d, c of one kind of membrane."""
    dt, box, exact = grid.dt, grid.spike == "box", grid.integrator == "exact"
    stepped = grid.integrator in ("euler", "semi")
    if isinstance(node, I):
        return ((xp.ones_like(p["r"]),),), (dt * p["r"] if box else p["r"],), (dt * p["r"],), (None,)
    tau = p["tau"] if isinstance(node, LI) else p["tau_mem"]
    lost = dt / tau if stepped else -xp.expm1(-dt / tau)
    kept, leak = 1 - lost, lost * p["v_leak"]
    if isinstance(node, LI):
        steady = lost * p["r"]
        return ((kept,),), (steady if box else p["r"] / tau,), (steady,), (leak,)
    lost_syn = dt / p["tau_syn"] if stepped else -xp.expm1(-dt / p["tau_syn"])
    kept_syn, steady = 1 - lost_syn, lost_syn * p["w_in"]
    kick = steady if box else p["w_in"] / p["tau_syn"]
    drive = lost * p["r"]
    if grid.integrator == "euler":
        return ((kept, drive), (None, kept_syn)), (None, kick), (None, steady), (leak, None)
    if not exact:
        return (((kept, drive * kept_syn), (None, kept_syn)), (drive * kick, kick), (drive * steady, steady),
                (leak, None))
    shared = p["r"] / tau * _divided_difference(-1 / tau, -1 / p["tau_syn"], dt, xp)
    direct = (drive - shared) * p["w_in"]
    return (((kept, shared), (None, kept_syn)), (direct if box else None, kick), (direct, steady), (leak, None))


def _with_reset(node: Neuron, grid: Discretization, p: Mapping[str, Any], a: Matrix, b: Vector, d: Vector,
                c: Vector) -> StepForm:
    states = len(b)
    none, no_matrix = (None,) * states, ((None,) * states,) * states
    late_a: Matrix = no_matrix
    reset_a: Matrix = no_matrix
    late_c: Vector = none
    reset_c: Vector = none
    spike_c: Vector = none
    rest, late = None, False
    if isinstance(node, (IF, LIF, CubaLIF)):
        late = grid.reset == "next"
        if node.reset == "subtract":
            spike_c = (-p["v_threshold"], *none[1:])
            late_c = spike_c
        else:
            reset_a = tuple(tuple(-1.0 if row == column == 0 else None for column in range(states))
                            for row in range(states))
            late_a = tuple((-row[0] if row[0] is not None else None, *none[1:]) for row in a)
            if node.reset == "v_reset":
                reset_c = (p["v_reset"], *none[1:])
                late_c = tuple(None if row[0] is None else row[0] * p["v_reset"] for row in a)
        columns = np.rint(node.refractory / grid.dt).astype(np.int64)
        rest = columns if columns.any() else None
    return StepForm(
        a=a, b=b, d=d, c=c, late_a=late_a if late else no_matrix, late_b=none, late_d=none,
        late_c=late_c if late else none, late_after=none, reset_a=reset_a, reset_c=reset_c, spike_c=spike_c, gain=none,
        threshold=p.get("v_threshold"), v0=p["v0"], v_min=p.get("v_min"), rest=rest, resets_late=late,
        late_above=False, at=grid.fires == "at" or grid.spikes == "many",
        many=grid.spikes == "many", lag=grid.spike == "box" and grid.integrator == "exact",
    )


def _stated(grid: Discretization, p: Mapping[str, Any], states: int, late_above: bool) -> StepForm:
    none = (None,) * states

    def entry(value: Any) -> Any:
        return value if not isinstance(value, np.ndarray | np.floating) or np.any(value) else None

    def vector(name: str) -> Vector:
        return none if name not in p else tuple(entry(p[name][row]) for row in range(states))

    def matrix(name: str) -> Matrix:
        return (none,) * states if name not in p else tuple(
            tuple(entry(p[name][row][column]) for column in range(states)) for row in range(states))

    return StepForm(
        a=matrix("a"), b=vector("b"), d=vector("b"), c=vector("c"), late_a=matrix("late_a"), late_b=vector("late_b"),
        late_d=vector("late_b"), late_c=vector("late_c"), late_after=vector("late_after"), reset_a=matrix("reset_a"),
        reset_c=vector("reset_c"), spike_c=vector("spike_c"),
        gain=vector("threshold_gain"), threshold=p.get("v_threshold"), v0=p["v0"], v_min=p.get("v_min"), rest=None,
        resets_late=False, late_above=late_above, at=grid.fires == "at" or grid.spikes == "many",
        many=grid.spikes == "many", lag=False,
    )


def _divided_difference(x: Any, y: Any, t: float, xp: Any) -> Any:
    """(e^(x t) - e^(y t)) / (x - y), t e^(x t) where x = y, without cancellation: `membranes.divided_difference`, in
    functions that numpy and torch share."""
    half = 0.5 * (x - y) * t
    near = xp.abs(half) < 1.0
    small = xp.where(near & (half != 0), half, xp.ones_like(half))
    shape = xp.where(half == 0, xp.ones_like(half), xp.sinh(small) / small)
    apart = xp.where(near, xp.ones_like(half), x - y)
    return xp.where(near, xp.exp(0.5 * (x + y) * t) * t * shape, (xp.exp(x * t) - xp.exp(y * t)) / apart)
