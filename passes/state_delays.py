"""The delay that a grid gives to recurrent edges, stated in the graph: what a network without a grid then also has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..ir.columns import recurrent_edges
from ..ir.graph import Graph
from ..ir.nodes import Delay
from ..ir.shapes import infer_shapes
from .manager import Pass
from .rewiring import Rewiring

__all__ = ["StateDelays"]


@dataclass(frozen=True)
class StateDelays(Pass[Graph, Graph]):
    """Puts a Delay of `Discretization.delay` columns onto each recurrent edge of a graph with a grid."""

    name: ClassVar[str] = "state-delays"
    requires: ClassVar[frozenset[str]] = frozenset({"typed"})

    def run(self, graph: Graph) -> Graph:
        grid = graph.discretization
        if grid is None:
            return graph
        shapes, _ = infer_shapes(graph)
        wiring = Rewiring(graph)
        for source, target in sorted(recurrent_edges(graph, grid.dt)):
            wiring.insert((source, target), f"{source}.late", Delay(
                delay=np.full(shapes[source].output, grid.delay * grid.dt)))
        return wiring.graph()
