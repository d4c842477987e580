"""What a program for the clock target is made of: nodes, their grids, and the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from ...ir.graph import Discretization, Graph
from ...ir.nodes import Neuron, params
from ...ir.shapes import Shapes

__all__ = ["ClockReport"]


@dataclass(frozen=True, slots=True)
class NodeRow:
    """`parameters`: numbers that are stored. `grid`: of a neuron node that has its own."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    grid: Discretization | None


@dataclass(frozen=True, slots=True)
class ClockReport:
    """Rows of the graph's nodes, totals, the grid, and the recurrent components, which run column by column."""

    target: str
    nodes: tuple[NodeRow, ...]
    discretization: Discretization | None
    recurrent: tuple[tuple[str, ...], ...]
    neurons: int
    parameters: int
    bytes: int

    @classmethod
    def of(cls, graph: Graph, shapes: Mapping[str, Shapes], components: tuple[tuple[str, ...], ...],
           size: int) -> ClockReport:
        """The report on a graph."""
        rows = tuple(
            NodeRow(name, type(node).__name__, shapes[name].output,
                    sum(value.size for value in params(node).values()),
                    node.grid if isinstance(node, Neuron) else None)
            for name, node in graph.nodes.items()
        )
        return cls(
            target="clock", nodes=rows, discretization=graph.discretization,
            recurrent=tuple(names for names in components if len(names) > 1 or (names[0], names[0]) in graph.edges),
            neurons=sum(prod(row.shape) for row in rows if isinstance(graph.nodes[row.name], Neuron)),
            parameters=sum(row.parameters for row in rows), bytes=size,
        )

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, as `--json` prints it."""
        return asdict(self)

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.nodes)
        lines = [f"target clock: {self.neurons:,} neurons, {self.parameters:,} parameters, {self.bytes:,} bytes",
                 f"grid: {self.discretization}"]
        for row in self.nodes:
            own = f"  own grid: {row.grid}" if row.grid is not None else ""
            lines.append(f"  {row.name:<{width}}  {row.kind:<12} {'x'.join(map(str, row.shape)):>12} "
                         f"{row.parameters:>10,} parameters{own}")
        lines += [f"recurrent: {', '.join(names)}" for names in self.recurrent]
        return "\n".join(lines)
