"""NIR file -> graph: nested graphs become flat, scalars are spread, and what older writers did is put right.

Files of NIR 0.1 to 1.0. Every repair that changes what the file literally says is a warning (`SpikecWarning`); what
cannot be repaired is an error, all of them together. NIR: Pedersen et al. 2024, https://neuroir.org.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ....ir.checks import check
from ....ir.diagnostics import BadInputError, Diagnostics, SpikecWarning
from ....ir.graph import Discretization, Edge, Graph
from ....ir.nodes import Neuron, Node
from ....ir.paths import path_of
from ....ir.ranges import check_discretization
from .fields import make_node
from .file import Limits, RawNode, read_tree
from .metadata import DISCRETIZATION, READER, read_grid, read_metadata, report_steps
from .nesting import flatten_nesting
from .repairs import repaired

__all__ = ["from_nir"]

NEWEST = 1
"""Major version of NIR up to which files are known."""


def from_nir(path: str | Path, discretization: Discretization | None = None, *, limits: Limits | None = None) -> Graph:
    """The graph in a NIR file.

    NIR states no time grid. `discretization` says what the grid of the file's origin meant; it is never inferred (a
    `dt` in the metadata is kept, and warned about). Only a file that spikec wrote brings its own, in spikec's metadata;
    where `discretization` differs from that, it is taken, and that is told. Names of nested graphs are joined with ".".
    Metadata of a node appear under "node/key". `limits` bounds what is read.

    Raises:
        BadInputError: no path (SC525), no NIR file, damaged, too large (SC202 to SC211), or not a legal graph (SC101 to
            SC117); with every fault found.
    """
    path = path_of(path, "a NIR file", remedy="nir.write(path, graph) writes a graph that is in memory.")
    faults = Diagnostics()
    check_discretization(discretization, faults)
    faults.raise_if_errors()
    root = read_tree(path, limits or Limits(), faults)
    if root is None:
        raise BadInputError(*faults.errors)
    if root.kind not in ("NIRGraph", ""):
        root = _alone(root, faults)
    if root.version.split(".")[0].isdecimal() and int(root.version.split(".")[0]) > NEWEST:
        faults.add("SC203", "the file is of a newer NIR than is known", value=root.version, limit=f"{NEWEST}.x",
                   severity="warning", remedy="It was read as if it were not; compare the graph with its source.")
    flat, edges = flatten_nesting(root, faults)
    nodes: dict[str, Node] = {}
    for name, raw in flat.items():
        node, unknown = make_node(raw, faults)
        if node is not None:
            nodes[name] = node
        for field in sorted(unknown):
            faults.add("SC206", f"the field '{field}' is unknown and was left out", node=name, severity="warning")
    for edge in edges:
        for end in edge:
            if end not in flat:
                faults.add("SC101", f"edge '{edge[0]}' -> '{edge[1]}' names a node that does not exist", value=end,
                           limit=", ".join(sorted(flat)[:20]))
    faults.raise_if_errors()
    metadata = read_metadata(root, flat, faults)
    stored = read_grid(root.metadata, DISCRETIZATION, None, faults)
    grid = stored if discretization is None else discretization
    if stored is not None and grid != stored:
        faults.add("SC210", "the file states another discretization than you; yours is taken, for all of its nodes",
                   value=stored, limit=grid, severity="warning")
        nodes = {name: replace(node, grid=None) if isinstance(node, Neuron) else node for name, node in nodes.items()}
    reader = root.metadata.get(READER)
    if reader is not None:
        faults.add("SC210", "the file was written for one importer; its parameters are in that one's terms",
                   value=reader, severity="warning", remedy="Export again without reader= for everyone else.")
    graph = Graph(nodes if root.ordered else _by_edges(nodes, edges), tuple(edges), grid, metadata)
    graph = repaired(graph, faults)
    faults.extend(check(graph))
    report_steps(metadata, grid, faults)
    faults.raise_if_errors()
    for found in faults.found:
        warnings.warn(str(found), SpikecWarning, stacklevel=2)
    return graph


def _alone(node: RawNode, faults: Diagnostics) -> RawNode:
    """A graph of one node, for a file that holds one without a graph."""
    name = node.kind.lower()
    faults.add("SC211", f"the file holds a single node, not a graph; it is the node '{name}' of one", value=node.kind,
               limit="NIRGraph", severity="warning")
    return RawNode("", "NIRGraph", metadata=node.metadata, nodes={name: replace(node, path=name, metadata={})},
                   version=node.version)


def _by_edges(nodes: Mapping[str, Node], edges: list[Edge]) -> dict[str, Node]:
    """Nodes in the order in which a walk along the edges meets them; a file without an order of its own lists names
    alphabetically, which says nothing."""
    view = Graph(nodes, tuple(edges))
    ordered: dict[str, Node] = {}
    for start in (*view.inputs, *nodes):
        queue = deque([start])
        while queue:
            name = queue.popleft()
            if name not in ordered:
                ordered[name] = nodes[name]
                queue.extend(view.targets[name])
    return ordered
