"""The meaning of a model graph on a grid: the discretised reference. Plain numpy, float64, one column after another.

Column n (from 0) is the time (n + 1) dt. In it, x is what arrives of weighted spikes, b the constant current (biases).
A membrane goes from V to V', its synaptic current from I to I' (beta = e^(-dt/tau), alpha = e^(-dt/tau_syn)):

    exact   the closed form over the step, under the current that was there at its start; then, delta: x is added as in
            continuous time (V' += r x / tau, V' += r x, or I' += w_in x / tau_syn). box: the box of the last column's
            spikes fills this step.
    decay   leaky       V' = beta V + (1 - beta) (v_leak + r S) + (r / tau) x_delta
            cuba        I' = alpha I + (1 - alpha) w_in S + (w_in / tau_syn) x_delta
                        V' = beta V + (1 - beta) (v_leak + r I')
    euler   leaky       V' = V + dt/tau (v_leak - V + r S) + (r / tau) x_delta
            cuba        V' = V + dt/tau_mem (v_leak - V + r I)
                        I' = I + dt/tau_syn (w_in S - I) + (w_in / tau_syn) x_delta
    semi    the same, but V' is made with I' in the place of I
    these   integrator  V' = V + dt r S + r x_delta

    with S = b and x_delta = x for delta, and S = b + x (the framework's own: a box fills the step of its column) and
    x_delta = 0 for box.

A neuron spikes in a column where V' > v_threshold (fires `at`: >=); `many`: floor(V' / v_threshold) times, and reset
`subtract` takes the threshold off for each. Reset `same`: V' is reset in this column. `next`: V' is shown as it
is; the next step starts from the reset value (zero, v_reset), or v_threshold is taken off what it ends with (subtract).
A membrane that starts above its threshold counts as reset late, too. In the refractory period, round(refractory / dt)
columns after the spike, V stays at its reset value, I goes on and impulses to V are lost. After the reset, V is kept at
or above v_min. What a `StepNeuron` does is said there. A neuron node may have a grid of its own.

Delays are rounded to whole columns. A spike takes `Discretization.delay` columns over a recurrent edge: one that closes
a cycle whose delays are all zero. In the order of the nodes' distance from the inputs, then of the graph's nodes, it
leads to an earlier node or back to its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .columns import columns_of_grid, delay_columns
from .diagnostics import Diagnostics
from .graph import Discretization, Graph
from .nodes import Array, CubaLI, Delay, Input, Neuron, Node, Scale, is_spiking
from .ranges import check_discretization
from .stateless import through
from .step_neurons import cells_of
from .wiring import Wiring

__all__ = ["GridRun", "StepResult", "simulate_step"]


@dataclass(frozen=True, slots=True, eq=False)
class StepResult:
    """`spikes` by spiking node, `voltage` by neuron node and `current` by node with a synaptic current; all
    (batch, time, *shape), after each column. Output nodes are names of what they show."""

    spikes: Mapping[str, Array]
    voltage: Mapping[str, Array]
    current: Mapping[str, Array]
    discretization: Discretization


def simulate_step(
    graph: Graph, raster: Any | Mapping[str, Any], discretization: Discretization | None = None
) -> StepResult:
    """Simulates a model graph on a grid.

    Args:
        graph: a legal model graph.
        raster: (batch, time, *shape) of the one input node, or by input node: spike counts, or any values a column.
        discretization: instead of the graph's own.

    Raises:
        BadInputError: the graph (SC101 to SC117) or the raster is malformed, or no discretisation is stated (SC403).
        UnsupportedError: a readout feeds neurons, or a maximum or threshold is over constant currents (SC302 to SC304),
            or a cycle without delay (SC306).
    """
    wiring = Wiring(graph)
    wiring.refuse_on_a_grid()
    faults = Diagnostics()
    grid = discretization or graph.discretization
    if grid is None:
        faults.add("SC403", "no discretisation is stated", remedy="Give one, or set it in the graph.")
        grid = Discretization(dt=1.0)
    check_discretization(grid, faults)
    given = raster if isinstance(raster, Mapping) else dict.fromkeys(graph.inputs[:1], raster)
    if not isinstance(raster, Mapping) and len(graph.inputs) != 1:
        faults.add("SC403", "the network has several inputs", value=", ".join(graph.inputs),
                   remedy="Give the rasters as a dict by input node.")
    rasters = {name: _raster(wiring, name, array, faults) for name, array in given.items()}
    sizes = {array.shape[:2] for array in rasters.values()}
    if len(sizes) != 1:
        faults.add("SC403", "rasters agree on batch and time", value=sorted(sizes))
    faults.raise_if_errors()
    run = GridRun(wiring, grid, rasters, *sizes.pop())
    run.play()
    return run.result()


class GridRun:
    """A batch under way. `sent` keeps what every node gave, by column, as long as a delay may look back at it. A run
    that learns (`learning_step`) takes its columns one by one."""

    def __init__(self, wiring: Wiring, grid: Discretization, rasters: Mapping[str, Array], batch: int, columns: int):
        self.wiring, self.graph, self.grid, self.columns = wiring, wiring.graph, grid, columns
        self.rasters, self.batch = rasters, batch
        self.cells = {
            name: cells_of(node, grid, wiring.constant[wiring.span[name]].reshape(wiring.shapes[name].input), batch)
            for name, node in self.graph.nodes.items() if isinstance(node, Neuron)
        }
        self.delayed = {name: _by_delay(node, grid.dt) for name, node in self.graph.nodes.items()
                        if not isinstance(node, (Input, Neuron))}
        self.order, self.recurrent = columns_of_grid(self.graph, grid)
        self.sent: dict[str, dict[int, Array]] = {name: {} for name in self.graph.nodes}
        self.reach = {name: max((self.late(name, target) + max(self.delayed.get(target, {}), default=0)
                                 for target in self.graph.targets[name]), default=0) for name in self.graph.nodes}
        self.spikes = {name: self._empty(name) for name in self.cells if is_spiking(self.graph.nodes[name])}
        self.voltage = {name: self._empty(name) for name in self.cells}
        self.current = {name: self._empty(name) for name in self.cells if isinstance(self.graph.nodes[name], CubaLI)}

    def play(self) -> None:
        for column in range(self.columns):
            self.advance(column)

    def advance(self, column: int) -> None:
        """Takes the next column."""
        for name in self.order:
            given = self.gives(name, column)
            if name in self.spikes:
                self.spikes[name][:, column] = given
                given = self.spikes[name][:, column]
            self.sent[name][column] = given
        for name in self.order:
            self.sent[name].pop(column - self.reach[name], None)
        for name, cells in self.cells.items():
            self.voltage[name][:, column] = cells.voltage
            if name in self.current:
                self.current[name][:, column] = cells.current

    def result(self) -> StepResult:
        for output, name in self.wiring.shown_by.items():
            for found in (self.spikes, self.voltage, self.current):
                if name in found:
                    found[output] = found[name]
        return StepResult(self.spikes, self.voltage, self.current, self.grid)

    def gives(self, name: str, column: int) -> Array:
        """What a node gives in a column, (batch, *shape)."""
        if name in self.rasters:
            return self.rasters[name][:, column]
        if name in self.cells:
            return self.cells[name].update(self._gets(name, column))
        total = np.zeros((self.batch, *self.wiring.shapes[name].output))  # of an input without a raster
        for steps, node in self.delayed.get(name, {}).items():
            total += through(node, self._gets(name, column - steps))
        return total

    def _gets(self, name: str, column: int) -> Array:
        """What arrives at a node in a column: the sum over its edges."""
        total = np.zeros((self.batch, *self.wiring.shapes[name].input))
        for source in self.graph.sources[name]:
            when = column - self.late(source, name)
            if when >= 0:
                total += self.sent[source][when]
        return total

    def late(self, source: str, target: str) -> int:
        """Columns that a spike takes over this edge."""
        return self.grid.delay if (source, target) in self.recurrent else 0

    def _empty(self, name: str) -> Array:
        return np.zeros((self.batch, self.columns, *self.wiring.shapes[name].output))


def _by_delay(node: Node, dt: float) -> dict[int, Node]:
    """A node without state as a sum of nodes without delay, by the delay of each in columns."""
    columns = delay_columns(node, dt)
    if columns is None:
        return {0: node}
    if isinstance(node, Delay):
        return {int(each): Scale(scale=(columns == each).astype(np.float64)) for each in np.unique(columns)}
    weighted: Any = node
    return {int(each): replace(weighted, weight=np.where(columns == each, weighted.weight, 0.0), delay=None)
            for each in np.unique(columns)}


def _raster(wiring: Wiring, name: str, raster: Any, faults: Diagnostics) -> Array:
    if name not in wiring.graph.inputs:
        faults.add("SC403", "there is no such input", node=name, limit=", ".join(wiring.graph.inputs))
        return np.empty((0, 0))
    array = np.asarray(raster.detach().cpu() if hasattr(raster, "detach") else raster, dtype=np.float64)
    shape = wiring.shapes[name].output
    if array.ndim < 3 or array.shape[2:] not in (shape, (int(np.prod(shape)),)):
        faults.add("SC403", "a raster is (batch, time, *shape)", node=name, value=array.shape, limit=shape)
        return np.empty((0, 0))
    if not np.isfinite(array).all():
        faults.add("SC403", "a raster holds finite values", node=name)
    return array.reshape(*array.shape[:2], *shape)
