"""Nested NIR graphs -> one flat graph: the inner inputs and outputs disappear, edges go straight through."""

from __future__ import annotations

from collections.abc import Iterator

from ....ir.diagnostics import Diagnostics
from ....ir.graph import Edge
from .file import RawNode

__all__ = ["flatten_nesting"]

MAX_EDGES = 4_000_000


def flatten_nesting(root: RawNode, faults: Diagnostics) -> tuple[dict[str, RawNode], list[Edge]]:
    """The nodes of all levels by path, without nested graphs and their inner inputs and outputs, and the edges between
    them. Edges to names that do not exist stay, with the path that they would have."""
    nodes: dict[str, RawNode] = {}
    entries: dict[str, str] = {}  # path of a nested graph -> its inner input
    exits: dict[str, str] = {}
    edges: list[Edge] = []
    for graph in _graphs(root):
        for node in graph.nodes.values():
            if node.kind != "NIRGraph":
                if node.path in nodes:
                    faults.add("SC202", "two nodes have the same name once nested graphs are flat", node=node.path)
                nodes[node.path] = node
        if graph is not root:
            _find_ends(graph, entries, exits, faults)
    nested = {graph.path for graph in _graphs(root)} - {root.path}
    for graph in _graphs(root):
        for source, target in graph.edges:
            start, end = _path(graph, source), _path(graph, target)
            if (start in nested and start not in exits) or (end in nested and end not in entries):
                continue  # `_find_ends` has said why
            edges.append((exits.get(start, start), entries.get(end, end)))
    inner = {*entries.values(), *exits.values()}
    return {path: node for path, node in nodes.items() if path not in inner}, _bypass(inner, edges, faults)


def _graphs(graph: RawNode) -> Iterator[RawNode]:
    yield graph
    for node in graph.nodes.values():
        if node.kind == "NIRGraph":
            yield from _graphs(node)


def _path(graph: RawNode, name: str) -> str:
    return f"{graph.path}.{name}" if graph.path else name


def _find_ends(graph: RawNode, entries: dict[str, str], exits: dict[str, str], faults: Diagnostics) -> None:
    for kind, ends in (("Input", entries), ("Output", exits)):
        found = [node.path for node in graph.nodes.values() if node.kind == kind]
        if len(found) == 1:
            ends[graph.path] = found[0]
        else:
            faults.add("SC211", f"a nested graph must have one {kind}: an edge does not say which one it means",
                       node=graph.path, value=len(found), limit=1)


def _bypass(inner: set[str], edges: list[Edge], faults: Diagnostics) -> list[Edge]:
    """Edges with the nodes in `inner` taken out: what came in goes to wherever they led."""
    targets: dict[str, list[str]] = {}
    fed = {target for _, target in edges}
    for source, target in edges:
        if source in inner:
            targets.setdefault(source, []).append(target)
    for name in sorted(inner):
        if name not in targets or name not in fed:
            faults.add("SC211", "an inner Input or Output of a nested graph "
                       f"{'leads nowhere' if name not in targets else 'is given nothing: nothing is fed to it'}",
                       node=name, remedy="Connect it, or leave out the nested graph.")
    through: list[Edge] = []
    for source, target in edges:
        if source in inner:
            continue
        waiting, seen = [target], set()
        while waiting:
            end = waiting.pop(0)
            if end not in inner:
                through.append((source, end))
            elif end not in seen:
                seen.add(end)
                waiting.extend(targets.get(end, ()))
            if len(through) > MAX_EDGES:
                faults.add("SC204", "the nested graphs amount to too many edges", limit=MAX_EDGES)
                return []
    return through
