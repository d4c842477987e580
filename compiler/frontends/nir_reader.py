"""NIR file -> graph: nested graphs become flat, scalars are spread, and what older writers did is put right.

Files of NIR 0.1 to 1.0. Every repair that changes what the file literally says is a warning (`SpikecWarning`); what
cannot be repaired is an error, all of them together. NIR: Pedersen et al. 2024, https://neuroir.org.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.checks import check
from ...ir.diagnostics import BadInputError, Diagnostics, SpikecWarning
from ...ir.graph import Discretization, Edge, Graph
from ...ir.nodes import Flatten, Neuron, Node, Output, Scale, params
from ...ir.shapes import Shapes, infer_shapes
from .nir_fields import EXTENSION, make_node
from .nir_file import Limits, RawNode, Value, read_tree
from .nir_nesting import flatten_nesting

__all__ = ["from_nir"]

GRID = f"{EXTENSION}discretization."


def from_nir(path: str | Path, discretization: Discretization | None = None, *, limits: Limits | None = None) -> Graph:
    """The graph in a NIR file.

    NIR states no time grid. `discretization` says what the grid of the file's origin meant; it is never inferred (a
    `dt` in the metadata is kept, and warned about), and only a file that spikec wrote with `extensions` brings its
    own. Names of nested graphs are joined with ".". Metadata of a node appear under "node/key". `limits` bounds what is
    read.

    Raises:
        BadInputError: no NIR file, damaged, too large (SC202 to SC211), or not a legal graph (SC101 to SC117); with
            every fault found.
    """
    faults = Diagnostics()
    root = read_tree(path, limits or Limits(), faults)
    if root is None:
        raise BadInputError(*faults.errors)
    if root.kind not in ("NIRGraph", ""):
        faults.add("SC211", "the file holds a single node, not a graph", value=root.kind, limit="NIRGraph")
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
    metadata = _metadata(root, flat, faults)
    grid = discretization or _stored_grid(root.metadata, faults)
    graph = Graph(nodes if root.ordered else _by_edges(nodes, edges), tuple(edges), grid, metadata)
    graph = _shaped_outputs(_unbatched(_spread(graph, faults), faults), faults)
    faults.extend(check(graph))
    if grid is None:
        _warn_about_dt(metadata, faults)
    faults.raise_if_errors()
    for found in faults.found:
        warnings.warn(str(found), SpikecWarning, stacklevel=2)
    return graph


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


def _spread(graph: Graph, faults: Diagnostics) -> Graph:
    """Neurons whose parameters are single numbers take the shape of what they are fed, or else of what they feed."""
    single = {name: node for name, node in graph.nodes.items() if isinstance(node, Neuron)
              and all(value.size == 1 for value in params(node).values())}
    if not single:
        return graph
    stand_in: Node = Scale(scale=np.ones(()))
    known, _ = infer_shapes(graph.with_nodes(dict.fromkeys(single, stand_in)))
    spread: dict[str, Node] = {}
    for name, node in single.items():
        shape = _shape_around(name, graph, known) or node.shape
        if not shape:
            faults.add("SC205", "the neurons' number is unknown: every parameter is a single number, and so are those "
                       "around it", node=name, remedy="Write parameters with one value for each neuron.")
            continue
        if node.shape not in ((), shape):
            faults.add("SC107", "parameters with one element were spread over the neurons", node=name,
                       value=node.shape, limit=shape, severity="warning")
        if shape != node.shape:
            values = {key: np.broadcast_to(value.reshape(()), shape) for key, value in params(node).items()}
            spread[name] = replace(node, shape=shape, **values)
    return graph.with_nodes(spread)


def _shape_around(name: str, graph: Graph, known: Mapping[str, Shapes]) -> tuple[int, ...] | None:
    if name in known:
        return known[name].input
    return next((known[target].input for target in graph.targets[name] if target in known), None)


def _unbatched(graph: Graph, faults: Diagnostics) -> Graph:
    """NIR has no batch axis, but some writers count one in Flatten. Read so only where the literal reading does not
    fit what follows, and the other does."""
    for name, node in graph.nodes.items():
        if not isinstance(node, Flatten) or node.start_dim < 1:
            continue
        known, _ = infer_shapes(graph)
        wanted = {known[target].input for target in graph.targets[name]
                  if target in known and not isinstance(graph.nodes[target], Output)}
        if not wanted or (name in known and wanted == {known[name].output}):
            continue
        end = node.end_dim - 1 if node.end_dim > 0 else node.end_dim
        other = graph.with_nodes({name: Flatten(start_dim=node.start_dim - 1, end_dim=end)})
        shapes = infer_shapes(other)[0].get(name)
        if shapes is not None and wanted == {shapes.output}:
            graph = other
            faults.add("SC102", "the axes to flatten were counted with a batch axis, which NIR does not have",
                       node=name, value=(node.start_dim, node.end_dim), severity="warning",
                       remedy=f"They were read as ({node.start_dim - 1}, {end}).")
    return graph


def _shaped_outputs(graph: Graph, faults: Diagnostics) -> Graph:
    """An Output with as many elements as its source, but other axes, takes those of the source."""
    known, _ = infer_shapes(graph)
    shaped: dict[str, Node] = {}
    for name in graph.outputs:
        given = {known[source].output for source in graph.sources[name] if source in known}
        shape = graph.nodes[name].shape  # type: ignore[attr-defined]
        if len(given) == 1 and shape not in given and prod(*given) == prod(shape):
            shaped[name] = Output(shape=next(iter(given)))
            faults.add("SC102", "the output states other axes than its source has; the source's were taken", node=name,
                       value=shape, limit=next(iter(given)), severity="warning")
    return graph.with_nodes(shaped)


def _metadata(root: RawNode, flat: Mapping[str, RawNode], faults: Diagnostics) -> dict[str, str | int | float | bool]:
    metadata: dict[str, str | int | float | bool] = {}
    for prefix, values in (("", root.metadata), *((f"{name}/", raw.metadata) for name, raw in flat.items())):
        for key, value in values.items():
            if key.startswith(EXTENSION):
                continue
            plain = value if isinstance(value, str) else value.reshape(-1)[0].item() if value.size == 1 else None
            if plain is None:
                faults.add("SC206", f"metadata '{key}' is a list and was left out", node=prefix.rstrip("/") or None,
                           severity="warning")
            else:
                metadata[prefix + key] = plain
    return metadata


def _stored_grid(metadata: Mapping[str, Value], faults: Diagnostics) -> Discretization | None:
    """The discretisation of a file that spikec wrote with its extensions."""
    stored = {key.removeprefix(GRID): value for key, value in metadata.items() if key.startswith(GRID)}
    names = {entry.name for entry in dataclass_fields(Discretization)}
    if not stored:
        return None
    if "dt" not in stored or not stored.keys() <= names:
        faults.add("SC206", "the stored discretisation is malformed", value=sorted(stored), limit=sorted(names))
        return None
    plain: dict[str, Any] = {key: value if isinstance(value, str) else value.reshape(-1)[:1].tolist()[0]
                             for key, value in stored.items() if isinstance(value, str) or value.size}
    return Discretization(**plain)


def _warn_about_dt(metadata: Mapping[str, Any], faults: Diagnostics) -> None:
    for key, value in metadata.items():
        if key.rsplit("/", 1)[-1].lower() == "dt":
            faults.add("SC210", "the metadata speak of a time step, which says nothing of how it was used",
                       value=f"{key} = {value}", severity="warning",
                       remedy="Pass discretization=Discretization(dt=…), or --dt and --spike to the command, if the "
                       "model was made on a grid.")


