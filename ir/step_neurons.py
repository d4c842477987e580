"""One neuron node on a grid: the update equations that `step` states, one function per kind of membrane."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .graph import Discretization
from .membranes import divided_difference
from .nodes import IF, LI, LIF, Array, CubaLI, CubaLIF, I, Neuron, params

__all__ = ["Cells"]

Spiking = IF | LIF | CubaLIF


class Cells:
    """The state of one neuron node for a batch: `voltage` and `current` (batch, *shape). `update` takes one column."""

    def __init__(self, node: Neuron, grid: Discretization, bias: Array, batch: int) -> None:
        shape = (batch, *(node.shape or ()))
        self.grid, self.bias = grid, bias
        self.voltage: Array = np.broadcast_to(node.v0.astype(np.float64), shape)
        self.current: Array = np.zeros(shape)
        self.advance = _ADVANCE[next(kind for kind in (CubaLI, LI, I) if isinstance(node, kind))]
        self.parameters = {name: value.astype(np.float64) for name, value in params(node).items()}
        self.boxed = np.zeros(shape)
        self.left = np.zeros(shape, dtype=np.int64)
        self.late_reset = np.zeros(shape, dtype=bool)
        self.firing = node if isinstance(node, (IF, LIF, CubaLIF)) else None
        if self.firing is not None:
            self.rest = np.rint(self.firing.refractory / grid.dt).astype(np.int64)
            self.late_reset = (self.voltage > self.firing.v_threshold) & (grid.reset == "next")
            self.left = np.where(self.late_reset, self.rest, 0)

    def update(self, arrived: Array) -> Array:
        """Takes one step with what arrived in this column, (batch, *shape); gives the spikes, 0.0 or 1.0."""
        box = self.grid.spike == "box"
        if self.grid.integrator == "exact":
            steady, jump = self.boxed, np.zeros_like(arrived) if box else arrived
            self.boxed = arrived if box else self.boxed
        else:
            steady, jump = (arrived, np.zeros_like(arrived)) if box else (np.zeros_like(arrived), arrived)
        if self.firing is None:
            self.voltage, self.current = self.advance(self, self.voltage, steady + self.bias, jump)
            return np.zeros_like(arrived)
        return self._spike(self.firing, steady + self.bias, jump)

    def _spike(self, node: Spiking, steady: Array, jump: Array) -> Array:
        threshold: Array = node.v_threshold.astype(np.float64)
        subtract = node.reset == "subtract"
        held = np.where(self.late_reset, _reset(node, self.voltage), self.voltage)
        start = self.voltage if subtract else held
        voltage, self.current = self.advance(self, start, steady, jump)
        if subtract:
            voltage = voltage - threshold * self.late_reset
        voltage = np.where(self.left > 0, held, voltage)
        fired = (voltage > threshold) & (self.left == 0)
        self.left = np.where(fired, self.rest, np.maximum(self.left - 1, 0))
        self.late_reset = fired & (self.grid.reset == "next")
        self.voltage = voltage if self.grid.reset == "next" else np.where(fired, _reset(node, voltage), voltage)
        spikes: Array = fired.astype(np.float64)
        return spikes


def _reset(node: Spiking, voltage: Array) -> Array:
    """The membrane after a spike."""
    if node.reset == "subtract":
        after: Array = voltage - node.v_threshold
        return after
    return np.broadcast_to(node.v_reset if node.reset == "v_reset" else 0.0, voltage.shape)


def _integrator(cells: Cells, voltage: Array, steady: Array, jump: Array) -> tuple[Array, Array]:
    r = cells.parameters["r"]
    return voltage + cells.grid.dt * r * steady + r * jump, cells.current


def _leaky(cells: Cells, voltage: Array, steady: Array, jump: Array) -> tuple[Array, Array]:
    p, dt = cells.parameters, cells.grid.dt
    lost = dt / p["tau"] if cells.grid.integrator == "euler" else -np.expm1(-dt / p["tau"])
    moved = (1 - lost) * voltage + lost * p["v_leak"] + (lost * p["r"]) * steady + (p["r"] / p["tau"]) * jump
    return moved, cells.current


def _cuba(cells: Cells, voltage: Array, steady: Array, jump: Array) -> tuple[Array, Array]:
    p, dt = cells.parameters, cells.grid.dt
    kick = (p["w_in"] / p["tau_syn"]) * jump
    if cells.grid.integrator == "euler":
        moved = voltage + dt / p["tau_mem"] * (p["v_leak"] - voltage + p["r"] * cells.current)
        return moved, cells.current + dt / p["tau_syn"] * (p["w_in"] * steady - cells.current) + kick
    lost_mem, lost_syn = -np.expm1(-dt / p["tau_mem"]), -np.expm1(-dt / p["tau_syn"])
    current = (1 - lost_syn) * cells.current + (lost_syn * p["w_in"]) * steady + kick
    if cells.grid.integrator == "decay":
        return (1 - lost_mem) * voltage + lost_mem * p["v_leak"] + (lost_mem * p["r"]) * current, current
    resting = p["w_in"] * steady
    shared = p["r"] / p["tau_mem"] * divided_difference(-1 / p["tau_mem"], -1 / p["tau_syn"], dt)
    target = p["v_leak"] + p["r"] * resting
    return (1 - lost_mem) * voltage + lost_mem * target + shared * (cells.current - resting), current


_ADVANCE: dict[type[Neuron], Callable[[Cells, Array, Array, Array], tuple[Array, Array]]] = {
    I: _integrator, LI: _leaky, CubaLI: _cuba,
}
