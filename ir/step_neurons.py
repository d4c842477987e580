"""One neuron node on a grid: the update equations that `step` states, one function per kind of membrane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .grid import Discretization
from .membranes import divided_difference
from .nodes import IF, LI, LIF, Array, CubaLI, CubaLIF, I, Membrane, Neuron, StepNeuron, params

__all__ = ["Cells", "StepCells", "cells_of"]

Spiking = IF | LIF | CubaLIF


def cells_of(node: Neuron, grid: Discretization, bias: Array, batch: int) -> Cells | StepCells:
    """The state of a neuron node, whose own grid goes before `grid`; `bias` (*shape): the constant current into it."""
    given: Any = node
    kind = StepCells if isinstance(node, StepNeuron) else Cells
    return kind(given, node.grid or grid, bias, batch)


class Cells:
    """The state of one neuron node for a batch: `voltage` and `current` (batch, *shape). `update` takes one column;
    `reached` and `bar` are the membrane before the reset of that column and the threshold that it met."""

    def __init__(self, node: Membrane, grid: Discretization, bias: Array, batch: int) -> None:
        shape = (batch, *(node.shape or ()))
        self.grid, self.bias = grid, bias
        self.voltage: Array = np.broadcast_to(node.v0.astype(np.float64, copy=False), shape)
        self.reached: Array = self.voltage
        self.bar: Array | None = None
        self.current: Array = np.broadcast_to(0.0, shape)
        self.advance = _ADVANCE[next(kind for kind in (CubaLI, LI, I) if isinstance(node, kind))]
        self.parameters = {name: value.astype(np.float64, copy=False) for name, value in params(node).items()}
        self.boxed: Array = self.current
        self.left: Array = np.broadcast_to(0, shape)
        self.late_reset: Array = np.broadcast_to(False, shape)
        self.firing = node if isinstance(node, (IF, LIF, CubaLIF)) else None
        if self.firing is not None:
            self.rest = np.rint(self.firing.refractory / grid.dt).astype(np.int64)
            self.late_reset = (_spikes(self.voltage, self.firing.v_threshold, grid) > 0) & (grid.reset == "next")
            self.left = np.where(self.late_reset, self.rest, 0)

    def update(self, arrived: Array) -> Array:
        """Takes one step with what arrived in this column, (batch, *shape); gives the spikes, 0.0 or 1.0."""
        box = self.grid.spike == "box"
        if self.grid.integrator == "exact":
            steady, jump = self.boxed, np.broadcast_to(0.0, arrived.shape) if box else arrived
            self.boxed = arrived if box else self.boxed
        else:
            nothing = np.broadcast_to(0.0, arrived.shape)
            steady, jump = (arrived, nothing) if box else (nothing, arrived)
        if self.firing is None:
            self.voltage, self.current = self.advance(self, self.voltage, steady + self.bias, jump)
            self.reached = self.voltage
            return np.zeros_like(arrived)
        return self._spike(self.firing, steady + self.bias, jump)

    def _spike(self, node: Spiking, steady: Array, jump: Array) -> Array:
        threshold: Array = node.v_threshold.astype(np.float64, copy=False)
        subtract = node.reset == "subtract"
        held = np.where(self.late_reset, _reset(node, self.voltage), self.voltage)
        start = self.voltage if subtract else held
        voltage, self.current = self.advance(self, start, steady, jump)
        if subtract:
            voltage = voltage - threshold * self.late_reset
        voltage = np.where(self.left > 0, held, voltage)
        spikes = np.where(self.left == 0, _spikes(voltage, threshold, self.grid), 0.0)
        fired = spikes > 0
        self.reached, self.bar = voltage, threshold
        self.left = np.where(fired, self.rest, np.maximum(self.left - 1, 0))
        self.late_reset = fired & (self.grid.reset == "next")
        if self.grid.reset == "same":
            voltage = np.where(fired, _reset(node, voltage, spikes), voltage)
        self.voltage = voltage if node.v_min is None else np.maximum(voltage, node.v_min)
        return spikes


class StepCells:
    """The same for a neuron that is stated on the grid: `states` (K, batch, *shape)."""

    def __init__(self, node: StepNeuron, grid: Discretization, bias: Array, batch: int) -> None:
        shape = node.shape or ()
        self.node, self.grid, self.bias = node, grid, bias
        self.states = np.zeros((len(node.a), batch, *shape))
        self.states[0] = node.v0
        self.fired = np.zeros((batch, *shape))
        self.reached: Array = self.states[0]
        self.bar: Array | None = None

    @property
    def voltage(self) -> Array:
        membrane: Array = self.states[0].copy()
        return membrane

    @property
    def current(self) -> Array:
        return np.zeros_like(self.states[0])

    def update(self, arrived: Array) -> Array:
        """Takes one step with what arrived in this column, (batch, *shape); gives the spikes."""
        node, given = self.node, arrived + self.bias
        late = self.fired if node.late == "fired" else (self._spikes(self.states) > 0).astype(np.float64)
        states = self._affine(node.a, node.b, node.c, given)
        states = states + late * self._affine(node.late_a, node.late_b, node.late_c, given)
        spikes = self._spikes(states)
        self.fired = (spikes > 0).astype(np.float64)
        self.reached, self.bar = states[0], self._threshold(states)
        after = states + self.fired * (_times(node.reset_a, states) + _wide(node.reset_c, 1, states))
        states = after + (spikes * _wide(node.spike_c, 1, states) + late * _wide(node.late_after, 1, states))
        if node.v_min is not None:
            states[0] = np.maximum(states[0], node.v_min)
        self.states = states
        return spikes

    def _spikes(self, states: Array) -> Array:
        threshold = self._threshold(states)
        return np.zeros_like(states[0]) if threshold is None else _spikes(states[0], threshold, self.grid)

    def _threshold(self, states: Array) -> Array | None:
        node = self.node
        if node.v_threshold is None:
            return None
        gained = 0.0 if node.threshold_gain is None else (_wide(node.threshold_gain, 1, states) * states).sum(0)
        threshold: Array = node.v_threshold + gained
        return threshold

    def _affine(self, matrix: Array | None, gain: Array | None, constant: Array | None, given: Array) -> Array:
        result: Array = (_times(matrix, self.states) + _wide(gain, 1, self.states) * given
                         + _wide(constant, 1, self.states))
        return result


def _wide(value: Array | None, axes: int, states: Array) -> Array:
    """A vector (axes 1) or matrix (2) over the states, spread over (batch, *shape)."""
    if value is None:
        return np.zeros((1,) * states.ndim)
    each = value.shape[axes:] or (1,) * (states.ndim - 2)
    return value.astype(np.float64).reshape(*value.shape[:axes], 1, *each)


def _times(matrix: Array | None, states: Array) -> Array:
    if matrix is None:
        return np.zeros_like(states)
    product: Array = (_wide(matrix, 2, states) * states[None]).sum(axis=1)
    return product


def _spikes(voltage: Array, threshold: Array, grid: Discretization) -> Array:
    """How many spikes a membrane gives in one column."""
    fired = voltage >= threshold if grid.fires == "at" or grid.spikes == "many" else voltage > threshold
    count = np.floor(voltage / threshold) if grid.spikes == "many" else 1.0
    spikes: Array = np.where(fired, count, 0.0)
    return spikes


def _reset(node: Spiking, voltage: Array, spikes: Array | float = 1.0) -> Array:
    """The membrane after spikes."""
    if node.reset == "subtract":
        after: Array = voltage - node.v_threshold * spikes
        return after
    return np.broadcast_to(node.v_reset if node.reset == "v_reset" else 0.0, voltage.shape)


def _integrator(cells: Cells, voltage: Array, steady: Array, jump: Array) -> tuple[Array, Array]:
    r = cells.parameters["r"]
    return voltage + cells.grid.dt * r * steady + r * jump, cells.current


def _leaky(cells: Cells, voltage: Array, steady: Array, jump: Array) -> tuple[Array, Array]:
    p, dt = cells.parameters, cells.grid.dt
    lost = dt / p["tau"] if cells.grid.integrator in ("euler", "semi") else -np.expm1(-dt / p["tau"])
    moved = (1 - lost) * voltage + lost * p["v_leak"] + (lost * p["r"]) * steady + (p["r"] / p["tau"]) * jump
    return moved, cells.current


def _cuba(cells: Cells, voltage: Array, steady: Array, jump: Array) -> tuple[Array, Array]:
    p, dt = cells.parameters, cells.grid.dt
    kick = (p["w_in"] / p["tau_syn"]) * jump
    if cells.grid.integrator in ("euler", "semi"):
        current = cells.current + dt / p["tau_syn"] * (p["w_in"] * steady - cells.current) + kick
        seen = current if cells.grid.integrator == "semi" else cells.current
        return voltage + dt / p["tau_mem"] * (p["v_leak"] - voltage + p["r"] * seen), current
    lost_mem, lost_syn = -np.expm1(-dt / p["tau_mem"]), -np.expm1(-dt / p["tau_syn"])
    current = (1 - lost_syn) * cells.current + (lost_syn * p["w_in"]) * steady + kick
    if cells.grid.integrator == "decay":
        return (1 - lost_mem) * voltage + lost_mem * p["v_leak"] + (lost_mem * p["r"]) * current, current
    resting = p["w_in"] * steady
    shared = p["r"] / p["tau_mem"] * divided_difference(-1 / p["tau_mem"], -1 / p["tau_syn"], dt)
    target = p["v_leak"] + p["r"] * resting
    return (1 - lost_mem) * voltage + lost_mem * target + shared * (cells.current - resting), current


_ADVANCE: dict[type[Membrane], Callable[[Cells, Array, Array, Array], tuple[Array, Array]]] = {
    I: _integrator, LI: _leaky, CubaLI: _cuba,
}
