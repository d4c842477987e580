"""Nodes and edges of a graph while a pass rewrites it."""

from __future__ import annotations

from ..ir.graph import Edge, Graph
from ..ir.nodes import Node

__all__ = ["Rewiring"]


class Rewiring:
    """Made from a graph; `graph()` gives the new one."""

    def __init__(self, graph: Graph) -> None:
        self._original = graph
        self.nodes: dict[str, Node] = dict(graph.nodes)
        self.edges: list[Edge] = list(graph.edges)

    def add(self, name: str, node: Node, *feeds: str) -> str:
        """Adds a node that is fed by others; the name that it got, numbered where `name` is taken."""
        free, number = name, 1
        while free in self.nodes:
            number += 1
            free = f"{name}{number}"
        self.nodes[free] = node
        self.edges.extend((feed, free) for feed in feeds)
        return free

    def insert(self, edge: Edge, name: str, node: Node) -> str:
        """Puts a node onto an edge; the name that it got."""
        name = self.add(name, node)
        place = self.edges.index(edge)
        self.edges[place:place + 1] = [(edge[0], name), (name, edge[1])]
        return name

    def before(self, target: str, name: str, node: Node) -> str:
        """Puts a node between `target` and all that it is fed with; the name that it got."""
        name = self.add(name, node)
        self.edges = [(source, name if end == target else end) for source, end in self.edges]
        self.edges.append((name, target))
        return name

    def sources(self, name: str) -> list[str]:
        return [source for source, target in self.edges if target == name]

    def targets(self, name: str) -> list[str]:
        return [target for source, target in self.edges if source == name]

    def graph(self) -> Graph:
        return self._original.replace(nodes=self.nodes, edges=tuple(self.edges))
