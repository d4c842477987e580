"""The model graph: named nodes, directed edges, nothing else. Immutable: a pass returns a new graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import Discretization, Spike
from .nodes import Input, Node, Output, params, settings

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Discretization", "Edge", "Graph", "Spike", "same_graph", "same_node"]

Edge = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Graph:
    """A network. Several edges into a node sum; cycles are normal; there is no batch axis.

    `nodes` by name, in order; `edges` (source, target); `discretization`: what the source framework's grid meant, or
    None for a model that was stated in continuous time; `metadata`: flat, informative only. `print` shows the text
    form. A graph is checked when it is compiled, not when it is made.
    """

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    discretization: Discretization | None = None
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", MappingProxyType(dict(self.nodes)))
        object.__setattr__(self, "edges", tuple((source, target) for source, target in self.edges))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input nodes, in order."""
        return tuple(name for name, node in self.nodes.items() if isinstance(node, Input))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output nodes, in order."""
        return tuple(name for name, node in self.nodes.items() if isinstance(node, Output))

    @cached_property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """For each node, the nodes with an edge into it, in the order of the edges."""
        return self._neighbours(target_of=1)

    @cached_property
    def targets(self) -> Mapping[str, tuple[str, ...]]:
        """For each node, the nodes it has an edge to, in the order of the edges."""
        return self._neighbours(target_of=0)

    def replace(self, **changes: Any) -> Graph:
        """A copy with other `nodes`, `edges`, `discretization` or `metadata`."""
        return replace(self, **changes)

    def with_nodes(self, nodes: Mapping[str, Node]) -> Graph:
        """A copy in which the given nodes take the place of those of the same name (or are added)."""
        return replace(self, nodes={**self.nodes, **nodes})

    def without(self, names: Iterable[str]) -> Graph:
        """A copy without the given nodes and the edges that touch them."""
        gone = set(names)
        return replace(
            self,
            nodes={name: node for name, node in self.nodes.items() if name not in gone},
            edges=tuple(edge for edge in self.edges if not gone.intersection(edge)),
        )

    def to_networkx(self) -> nx.MultiDiGraph:
        """The same graph for networkx's algorithms; the node is the attribute `node`."""
        import networkx as nx

        view: nx.MultiDiGraph = nx.MultiDiGraph()
        view.add_nodes_from((name, {"node": node}) for name, node in self.nodes.items())
        view.add_edges_from(self.edges)
        return view

    def __reduce__(self) -> tuple[Any, ...]:
        """For worker processes: the read-only views are made again there."""
        return Graph, (dict(self.nodes), self.edges, self.discretization, dict(self.metadata))

    def __str__(self) -> str:
        from .text import to_text

        return to_text(self)

    def _neighbours(self, target_of: int) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            found.setdefault(edge[target_of], []).append(edge[1 - target_of])
        return {name: tuple(names) for name, names in found.items()}


def same_node(one: Node, other: Node) -> bool:
    """Whether two nodes are equal: kind, settings, and parameters bit by bit, types and NaN included."""
    if type(one) is not type(other):
        return False
    mine, its = params(one), params(other)
    return (
        mine.keys() == its.keys()
        and all(_same_array(mine[name], its[name]) for name in mine)
        and all(_same(value, settings(other)[name]) for name, value in settings(one).items())
    )


def same_graph(one: Graph, other: Graph) -> bool:
    """Whether two graphs are equal: names, order of nodes, edges, discretisation, metadata, and every node."""
    return (
        list(one.nodes) == list(other.nodes)
        and one.edges == other.edges
        and one.discretization == other.discretization
        and dict(one.metadata) == dict(other.metadata)
        and all(same_node(one.nodes[name], other.nodes[name]) for name in one.nodes)
    )


def _same(one: Any, other: Any) -> bool:
    return _same_array(one, other) if isinstance(one, np.ndarray) else bool(one == other)


def _same_array(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
