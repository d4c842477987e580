"""The order in which the populations of a network can be run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import networkx as nx

from ..ir.network import Network
from .manager import Pass

__all__ = ["Schedule"]


@dataclass(frozen=True)
class Schedule(Pass[Network, Network]):
    """Strongly connected components in topological order; within a component, and among components that do not depend
    on each other, populations keep the network's order."""

    name: ClassVar[str] = "schedule"
    requires: ClassVar[frozenset[str]] = frozenset({"lowered"})
    ensures: ClassVar[frozenset[str]] = frozenset({"scheduled"})

    def run(self, graph: Network) -> Network:
        place = {name: number for number, name in enumerate(graph.populations)}
        view: nx.DiGraph[str] = nx.DiGraph()
        view.add_nodes_from(place)
        view.add_edges_from(
            (projection.source, projection.target) for projection in graph.projections if projection.source in place
        )
        condensed = nx.condensation(view)
        members = {
            number: tuple(sorted(names, key=place.__getitem__)) for number, names in condensed.nodes(data="members")
        }
        order = nx.lexicographical_topological_sort(condensed, key=lambda number: place[members[number][0]])
        return replace(graph, schedule=tuple(members[number] for number in order))
