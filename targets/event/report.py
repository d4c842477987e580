"""What a program for the event target is made of: populations, projections, the order they run in, and the memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from textwrap import wrap
from typing import Any

import numpy as np

from ...ir.graph import Discretization, Graph
from ...ir.network import Conv, Network, Population, Projection
from ...ir.nodes import QIF, Equations, FlowNeuron, about, params
from ..model import stencil_synapses
from ..tables import Table

__all__ = ["Report"]


@dataclass(frozen=True, slots=True)
class PopulationRow:
    """`kind`: of neurons stated by equations the node's, of others what their equations are. `reset`: the rule, or the
    text; "-" where there is none. `stated`: of a text, threshold, what an impulse does, and the range of each value."""

    name: str
    kind: str
    neurons: int
    shape: tuple[int, ...]
    tau_mem: str
    tau_syn: str
    reset: str
    stated: dict[str, str]


@dataclass(frozen=True, slots=True)
class ProjectionRow:
    """`synapses`: connections between single neurons; `weights`: numbers that are stored."""

    name: str
    source: str
    target: str
    kind: str
    synapses: int
    weights: int
    delay: str


@dataclass(frozen=True, slots=True)
class Report:
    """Rows of the network's parts, totals, and the schedule; `print` shows it. `outputs`: the population that each
    output shows. `bytes`: the network's arrays as they are held."""

    target: str
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, str]
    populations: tuple[PopulationRow, ...]
    projections: tuple[ProjectionRow, ...]
    schedule: tuple[tuple[str, ...], ...]
    discretization: Discretization | None
    neurons: int
    synapses: int
    weights: int
    bytes: int

    @classmethod
    def of(cls, network: Network, graph: Graph) -> Report:
        """The report on a network, the graph lowered."""
        populations = tuple(_population_row(each, graph) for each in network.populations.values())
        projections = tuple(_projection_row(each, network) for each in network.projections)
        return cls(
            target="event",
            inputs=dict(network.inputs),
            outputs=dict(network.outputs),
            populations=populations,
            projections=projections,
            schedule=network.schedule,
            discretization=network.discretization,
            neurons=sum(row.neurons for row in populations),
            synapses=sum(row.synapses for row in projections),
            weights=sum(row.weights for row in projections),
            bytes=_bytes_of(network),
        )

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, as `--json` prints it."""
        return asdict(self)

    def __str__(self) -> str:
        grid = self.discretization
        clock = "continuous time" if grid is None else (
            f"dt = {grid.dt:g} s, spike = {grid.spike}, integrator = {grid.integrator}, reset = {grid.reset}, "
            f"delay = {grid.delay}")
        inputs = ", ".join(f"{name} {_shape(shape)}" for name, shape in self.inputs.items())
        outputs = ", ".join(f"{name} (shows {population})" for name, population in self.outputs.items())
        return "\n".join([
            f"target {self.target}, which runs in continuous time; model stated in {clock}",
            f"inputs: {inputs}; outputs: {outputs}",
            "",
            str(Table("", ("population", "kind", "neurons", "shape", "tau_mem", "tau_syn", "reset"), tuple(
                (row.name, row.kind, f"{row.neurons:,}", _shape(row.shape), row.tau_mem, row.tau_syn, row.reset)
                for row in self.populations))),
            *(line for row in self.populations if row.stated for line in ("", *_stated_lines(row))),
            "",
            str(Table("", ("projection", "kind", "synapses", "weights", "delay"), tuple(
                (f"{row.source} -> {row.target}", row.kind, f"{row.synapses:,}", f"{row.weights:,}", row.delay)
                for row in self.projections))),
            "",
            f"order: {' | '.join(' '.join(component) for component in self.schedule)}",
            f"total: {self.neurons:,} neurons, {self.synapses:,} synapses, {self.weights:,} weights, "
            f"{self.bytes / 1e6:.2f} MB",
        ])


def _population_row(population: Population, graph: Graph) -> PopulationRow:
    node, readout = graph.nodes.get(population.name), "" if population.spiking else " readout"
    if not isinstance(node, FlowNeuron):
        return PopulationRow(population.name, population.kind + readout, population.n, population.shape,
                             _seconds(population.tau_mem), _seconds(population.tau_syn),
                             population.reset if population.spiking else "-", {})
    kind = type(node).__name__ + readout
    if not isinstance(node, Equations):
        tau = params(node)["tau"]
        return PopulationRow(population.name, kind, population.n, population.shape, _seconds(tau),
                             _seconds(tau / 2 if isinstance(node, QIF) else None), "-", {})
    text = {"receive": _one_line(node.receive)} if node.threshold is None else {
        "threshold": node.threshold.strip(), "receive": _one_line(node.receive)}
    values = {name: _value(value, about(node, name).unit) for name, value in params(node).items()}
    return PopulationRow(population.name, kind, population.n, population.shape, "-", "-",
                         _one_line(node.reset) if population.spiking else "-", text | values)


def _one_line(text: str) -> str:
    """Statements in one line."""
    lines = (line.partition("#")[0].strip().rstrip(";") for line in text.splitlines())
    return "; ".join(line for line in lines if line)


def _stated_lines(row: PopulationRow) -> list[str]:
    facts = ", ".join(f"{name} {value}" for name, value in row.stated.items())
    return wrap(f"{row.name}: {facts}", 120, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _projection_row(projection: Projection, network: Network) -> ProjectionRow:
    connection = projection.connection
    weights = int(np.size(connection.weight))
    synapses = _stencil_synapses(connection) if isinstance(connection, Conv) else weights
    kind = type(connection).__name__.lower()
    return ProjectionRow(projection.name, projection.source, projection.target, kind, synapses, weights,
                         _seconds(projection.delay))


def _stencil_synapses(conv: Conv) -> int:
    """Connections of a convolution."""
    pairs = stencil_synapses(conv.weight.shape[2:], conv.stride, conv.padding, conv.dilation, conv.input_shape[1:],
                             conv.output_shape[1:])
    return pairs * conv.output_shape[0] * int(conv.weight.shape[1])


def _bytes_of(network: Network) -> int:
    """Bytes of every array of the network; a value that is spread over many neurons counts for each."""
    parts = [*network.populations.values(), *network.projections, *(each.connection for each in network.projections)]
    arrays = [getattr(part, name) for part in parts for name in part.__slots__ if hasattr(part, name)]
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


def _seconds(value: Any) -> str:
    return "-" if value is None else _value(value, "s")


def _value(value: Any, unit: str) -> str:
    low, high = float(np.min(value)), float(np.max(value))
    span = f"{low:.4g}" if low == high else f"{low:.4g}..{high:.4g}"
    return span if unit == "1" else f"{span} {unit}"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape) if prod(shape) != 1 or shape else "1"
