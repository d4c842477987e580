"""Nodes that do nothing go: a Flatten of one axis, a pool of single elements, a Delay of zero."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..ir.graph import Edge, Graph
from ..ir.nodes import Delay, Flatten, Linear, Node, SparseLinear, SumPool2d
from ..ir.shapes import Shapes, infer_shapes
from .manager import Pass

__all__ = ["RemoveIdentity"]


@dataclass(frozen=True)
class RemoveIdentity(Pass[Graph, Graph]):
    """Delays of zero are left out of connections too. A Scale of one stays: it is a trained parameter, and folds
    without cost. `keep_delays` keeps delays of zero, for training them."""

    name: ClassVar[str] = "remove-identity"
    requires: ClassVar[frozenset[str]] = frozenset({"typed"})

    keep_delays: bool = False

    def run(self, graph: Graph) -> Graph:
        shapes, _ = infer_shapes(graph)
        if not self.keep_delays:
            graph = graph.with_nodes({
                name: replace(node, delay=None) for name, node in graph.nodes.items()
                if isinstance(node, (Linear, SparseLinear)) and node.delay is not None and not node.delay.any()
            })
        for name, node in list(graph.nodes.items()):
            if self._does_nothing(node, shapes[name]):
                graph = _bridged(graph, name)
        return graph

    def _does_nothing(self, node: Node, shapes: Shapes) -> bool:
        match node:
            case Flatten():
                return shapes.input == shapes.output
            case SumPool2d():
                return node.kernel_size == node.stride == (1, 1)
            case Delay():
                return not self.keep_delays and not node.delay.any()
            case _:
                return False


def _bridged(graph: Graph, name: str) -> Graph:
    """The graph without the node, its sources joined to its targets; unchanged where such an edge is there already,
    because the two ways add up."""
    sources, targets = graph.sources[name], graph.targets[name]
    if any(target in graph.targets[source] for source in sources for target in targets):
        return graph
    edges: list[Edge] = []
    for source, target in graph.edges:
        if source == name:
            edges += [(each, target) for each in sources]
        elif target != name:
            edges.append((source, target))
    return graph.without([name]).replace(edges=tuple(edges))
