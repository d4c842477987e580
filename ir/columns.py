"""What a grid makes of delays and cycles: which edges are recurrent, in which order nodes act, delays in columns."""

from __future__ import annotations

import networkx as nx
import numpy as np

from .diagnostics import Diagnostic, UnsupportedError
from .graph import Discretization, Edge, Graph
from .nodes import Array, Delay, Input, Linear, Neuron, Node, SparseLinear

__all__ = ["columns_of_grid", "delay_columns", "recurrent_edges"]


def delay_columns(node: Node, dt: float) -> Array | None:
    """The delays of a node's elements or synapses in whole columns, int64, or None where it has none."""
    if not isinstance(node, (Delay, Linear, SparseLinear)) or node.delay is None:
        return None
    return np.rint(node.delay / dt).astype(np.int64)


def columns_of_grid(graph: Graph, grid: Discretization) -> tuple[tuple[str, ...], frozenset[Edge]]:
    """The nodes so that what is needed in the same column comes first, and the recurrent edges: those over which a
    spike takes `delay` columns.

    Raises:
        UnsupportedError: a spike would take no time over a recurrent edge (SC306).
    """
    order, recurrent = _ordered(graph, grid.dt)
    if recurrent and grid.delay < 1:
        raise UnsupportedError(*(Diagnostic(
            "SC306", f"a cycle has no delay on this grid: the edge '{source}' -> '{target}' closes it", node=target,
            value=f"delay={grid.delay}", limit="delay >= 1 steps",
            remedy="Give the discretisation delay=1, or the cycle a delay of its own.")
            for source, target in sorted(recurrent)))
    return order, recurrent


def _ordered(graph: Graph, dt: float) -> tuple[tuple[str, ...], frozenset[Edge]]:
    """What `columns_of_grid` gives, before it looks at the delay of the grid.

    An edge is recurrent if it closes a cycle whose delays are all below half a column: in the order of the nodes'
    distance from the inputs, then of the graph's nodes, it leads to an earlier node or back to its own.
    """
    late = set()
    for name, node in graph.nodes.items():
        columns = None if isinstance(node, (Input, Neuron)) else delay_columns(node, dt)
        if columns is not None and columns.size and columns.min() > 0:
            late.add(name)
    view: nx.DiGraph = nx.DiGraph()
    view.add_nodes_from(graph.nodes)
    view.add_edges_from(graph.edges)
    position = {name: number for number, name in enumerate(graph.nodes)}
    distance = nx.multi_source_dijkstra_path_length(view, set(graph.inputs), weight=None)
    rank = {name: (distance.get(name, len(position)), position[name]) for name in position}
    view.remove_edges_from([edge for edge in graph.edges if edge[1] in late])
    recurrent = [
        (source, target) for component in nx.strongly_connected_components(view)
        for source, target in view.subgraph(component).edges if rank[target] <= rank[source]
    ]
    view.remove_edges_from(recurrent)
    return tuple(nx.lexicographical_topological_sort(view, key=position.__getitem__)), frozenset(recurrent)


def recurrent_edges(graph: Graph, dt: float) -> frozenset[Edge]:
    """The edges of a legal graph over which a spike takes `Discretization.delay` columns, on a grid of `dt` seconds."""
    return _ordered(graph, dt)[1]
